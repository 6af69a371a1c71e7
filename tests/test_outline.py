"""What an outline says of one text in every language, of its signatures and documentation.

Invariant: the samples are judged whole: a definition or import too many fails, too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from language_samples import SAMPLES

from slm_lsp.context import outline as outlines
from slm_lsp.context.languages import LANGUAGES, UNKNOWN, language_of
from slm_lsp.context.outline import Definition, Import, Outline, outline


def told(definition: Definition) -> str:
    return f"{definition.kind}:{'.'.join((*definition.scope, definition.name))}"


def told_of(imported: Import) -> list[str]:
    if not imported.names:
        return [imported.module + (f"={imported.local}" if imported.local else "")]
    return [
        f"{imported.module}:{each.name}" + (f"={each.local}" if each.local != each.name else "")
        for each in imported.names
    ]


@pytest.mark.parametrize("language", SAMPLES)
def test_definitions_and_imports_of_a_sample(language: str) -> None:
    sample = SAMPLES[language]
    found = outline(language_of(language), sample.text)
    assert " ".join(map(told, found.definitions)) == sample.definitions
    assert " ".join(one for each in found.imports for one in told_of(each)) == sample.imports
    assert outlines.imports(language_of(language), sample.text) == found.imports


def check(text: str, language: str = "python", **expected: object) -> None:
    """The named fields of the first definition have these values."""
    first = outline(language_of(language), text).definitions[0]
    assert {name: getattr(first, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("language", "text", "signature"),
    [
        (
            "python",
            "def f(a,\n      b: int = 1) -> str:\n    pass\n",
            "def f(a, b: int = 1) -> str:",
        ),
        ("python", "class A(B, metaclass=C):\n    x = 1\n", "class A(B, metaclass=C):"),
        ("typescript", "export function f<T>(a: T): void {\n}\n", "function f<T>(a: T): void"),
        (
            "go",
            "func (s *S) F(x int) (string, error) {\n}\n",
            "func (s *S) F(x int) (string, error)",
        ),
        (
            "rust",
            "pub fn f<T>(x: &T) -> u8\nwhere T: X {\n 1 }\n",
            "pub fn f<T>(x: &T) -> u8 where T: X",
        ),
        ("java", "class A<T> extends B {\n  int x;\n}\n", "class A<T> extends B"),
        ("c", "struct s {\n  int a;\n};\n", "struct s { int a; }"),
        ("ruby", "def f(a, b = 1)\n  a\nend\n", "def f(a, b = 1)"),
        ("elixir", "def f(a) do\n  a\nend\n", "def f(a)"),
        ("haskell", "f :: Int\n  -> Int\n", "f :: Int -> Int"),
    ],
)
def test_signature(language: str, text: str, signature: str) -> None:
    check(text, language, signature=signature)


@pytest.mark.parametrize(
    ("language", "text", "doc"),
    [
        ("python", 'def f():\n    """Say it.\n\n    More.\n    """\n', "Say it."),
        ("python", 'def f():\n    r"""\n    Say it.\n    """\n', "Say it."),
        ("python", "# Say it.\n# More.\ndef f():\n    pass\n", "Say it."),
        ("python", "# Apart.\n\ndef f():\n    pass\n", ""),
        ("python", "# Say it.\n@a\ndef f():\n    pass\n", "Say it."),
        ("javascript", "/**\n * Say it.\n * @param x\n */\nfunction f() {}\n", "Say it."),
        ("rust", "/// Say it.\n#[inline]\nfn f() {}\n", "Say it."),
        ("c", "/* Say it. */\nint f() {}\n", "Say it."),
        ("lua", "--- Say it.\nfunction f() end\n", "Say it."),
        ("sql", "-- Say it.\nCREATE TABLE t (a INT);\n", "Say it."),
        ("haskell", "-- | Say it.\nf :: Int\n", "Say it."),
    ],
)
def test_doc(language: str, text: str, doc: str) -> None:
    check(text, language, doc=doc)


def test_lines_and_scope() -> None:
    text = (
        "\nclass A:\n    class B:\n        def f(self):\n            pass\n\n\ndef g():\n    pass\n"
    )
    found = outline(language_of("python"), text).definitions
    assert [(each.line, each.end_line, each.scope) for each in found] == [
        (1, 4, ()),
        (2, 4, ("A",)),
        (3, 4, ("A", "B")),
        (7, 8, ()),
    ]


def test_no_grammar_a_huge_text_and_a_stop_give_an_empty_outline() -> None:
    python = language_of("python")
    assert outline(UNKNOWN, "def f():\n    pass\n") == Outline()
    assert outline(language_of("dart"), "class A {}\n") == Outline()
    assert outline(python, "x = 1\n" * outlines.MAX_CHARS) == Outline()
    assert outline(python, "x = 1\n" * 5_000, lambda: True) == Outline()


def test_a_stop_behind_the_parse_ends_the_outline() -> None:
    text = "import a\n" + "".join(f"def f{i}():\n    pass\n" for i in range(200))
    n_asked = 0

    def stop() -> bool:
        nonlocal n_asked
        n_asked += 1
        return n_asked > 150

    python = language_of("python")
    assert outline(python, text, stop) == Outline()
    # Not one by one through all that is defined.
    assert 150 < n_asked < 160
    n_asked = 0
    assert [each.module for each in outlines.imports(python, text, stop)] == ["a"]


def test_broken_code_gives_what_can_be_read() -> None:
    found = outline(
        language_of("python"), "class A:\n    def g(self):\n        return 1\n\ndef f(x:\n"
    )
    assert "g" in {each.name for each in found.definitions}


def test_every_thread_has_parsers_of_its_own() -> None:
    python, text = language_of("python"), "def f():\n    pass\n" * 200
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: outline(python, text), range(16)))
    assert all(each == found[0] for each in found)
    assert len(found[0].definitions) == 200


@settings(max_examples=150, deadline=None)
@given(
    language=st.sampled_from(sorted(LANGUAGES)),
    text=st.lists(
        st.sampled_from(
            [*"ab{}()<>[]\n \t'\"`#/*-=:;\ud800é🙂", "def f", "class A", "import a", "end"]
        ),
        max_size=30,
    ).map("".join),
)
def test_any_text_has_an_outline(language: str, text: str) -> None:
    found = outline(language_of(language), text)
    lines = text.count("\n")
    for each in found.definitions:
        assert 0 <= each.line <= each.end_line <= lines + 1
        assert each.name
        assert "\n" not in each.signature + each.doc
