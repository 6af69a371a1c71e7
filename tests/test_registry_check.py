"""Where a registry entry is wrong: the line of each key, and all problems at once.

Invariant: no network, no model file.
"""

from __future__ import annotations

import logging
import re
import tomllib
from pathlib import Path

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st
from test_registry_specs import GOOD, write

from slm_lsp.prompt import fim
from slm_lsp.prompt.file_formats import FORMATS
from slm_lsp.registry.location import (
    DiskLocation,
    HubLocation,
    OllamaLocation,
    WebLocation,
    parse_location,
)
from slm_lsp.registry.spec_file import check_file
from slm_lsp.registry.specs import (
    DEFAULT_MODEL,
    FileSource,
    SpecError,
    find_spec,
    load_registry,
    load_spec,
    load_specs,
    shipped_folder,
    user_folder,
)
from slm_lsp.registry.toml_lines import key_lines, line_of

SEVERAL = """
name = "tiny"
title = "Tiny"
licence = "MIT"
architecture = "llama"
context_tokens = 512

[[sources]]
location = "hf:someone/tiny-GGUF/a/tiny.Q8_0.gguf@main"
quantization = "Q8_0"
[[sources]]
location = "https://example.org/tiny.Q4_0.gguf"
quantization = "Q4_0"
size_bytes = 200
[quantizations]
default = "Q4_0"
made_here = ["Q4_1", "Q8_0"]
[template]
family = "starcoder"
files = "starcoder2"
[shape]
n_parameters = 1000
n_layers = 2
n_heads = 4
n_kv_heads = 2
head_width = 8
n_vocab = 100
"""

# --- the lines of keys ---

LINES = '''# a comment = 1
name = "x"   # [no.table]

[a.b]
text = """
[not.a.table]
key = 1 \\"""
"""
list = [
  "one", # ]
  "two = 3",
]
after = 1
[[many]]
x = 'a "quoted" = text'
y.z = {p = 1, q = [1,
2]}
[[many]]
"x" = 2
'''


def test_the_lines_of_keys() -> None:
    lines = key_lines(LINES)
    assert lines == {
        **{"name": 2, "a.b": 4, "a.b.text": 5, "a.b.list": 9, "a.b.after": 13},
        **{"many": 14, "many[0]": 14, "many[0].x": 15, "many[0].y.z": 16},
        **{"many[1]": 18, "many[1].x": 19},
    }
    assert line_of(lines, "many[1].missing") == 18
    assert line_of(lines, "many[0].y.z.p") == 16
    assert line_of(lines, "missing") == 1


NAMES = st.text("abc-_", min_size=1, max_size=3)
VALUES = st.recursive(
    st.one_of(st.text('ab"\\\n#[]={} ', max_size=8), st.integers(0, 9), st.booleans()),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.dictionaries(NAMES, VALUES, max_size=3))
def test_every_key_is_found_on_its_line(top: dict[str, object], inner: dict[str, object]) -> None:
    content = {**top, "table": inner}
    text = tomlkit.dumps(content)
    assert tomllib.loads(text) == content
    lines, written = key_lines(text), text.split("\n")
    for name in (*top, *(f"table.{key}" for key in inner)):
        line = written[lines[name] - 1]
        assert line.startswith((f"{name.removeprefix('table.')} =", f'"{name}" ='))


# --- several sources ---


def test_an_entry_with_several_sources_loads(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, SEVERAL))
    assert [each.quantization for each in spec.sources] == ["Q8_0", "Q4_0"]
    assert spec.sources[0] == FileSource("hf:someone/tiny-GGUF/a/tiny.Q8_0.gguf@main", "Q8_0")
    known = [(each.name, each.size_bytes) for each in spec.quantizations]
    assert known == [("Q4_0", 200), ("Q4_1", None), ("Q8_0", None)]
    assert spec.source_of() is spec.sources[1]
    assert spec.source_of("Q4_1") is spec.sources[0]  # the finest, to requantize it from
    assert spec.template.name == "starcoder"
    assert "<file_sep>" in spec.template.file
    assert spec.shape is not None
    assert (spec.shape.key_width, spec.shape.value_width) == (16, 16)
    assert check_file(tmp_path / "tiny.toml") == []


def test_sources_of_the_same_quantization_are_tried_in_their_order(tmp_path: Path) -> None:
    more = '[[sources]]\nlocation = "ollama:tiny:latest"\nquantization = "Q8_0"\n[quantizations]'
    spec = load_spec(write(tmp_path, SEVERAL.replace("[quantizations]", more)))
    assert spec.sources_of("Q8_0") == spec.sources_of("Q4_1") == (spec.sources[0], spec.sources[2])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf:a/b/c.gguf", HubLocation("a/b", "c.gguf")),
        ("hf:a/b-1/x/y_z.Q4_K_M.gguf@v1.0", HubLocation("a/b-1", "x/y_z.Q4_K_M.gguf", "v1.0")),
        ("hf:a/b/old.bin", HubLocation("a/b", "old.bin")),
        ("https://example.org/a%20b.gguf?x=1", WebLocation("https://example.org/a%20b.gguf?x=1")),
        ("http://127.0.0.1:8000/a.gguf", WebLocation("http://127.0.0.1:8000/a.gguf")),
        ("file:/home/me/a b.gguf", DiskLocation("/home/me/a b.gguf")),
        ("file:///home/me/a%20b.gguf", DiskLocation("/home/me/a b.gguf")),
        ("ollama:qwen2.5-coder:1.5b-base", OllamaLocation("qwen2.5-coder", "1.5b-base")),
        ("ollama:JetBrains/Mellum-4b-base", OllamaLocation("JetBrains/Mellum-4b-base", "latest")),
    ],
)
def test_locations(text: str, expected: object) -> None:
    assert parse_location(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tiny.gguf",
        "ftp://example.org/a.gguf",
        "hf:a/b",
        "hf:a/../c.gguf",
        "hf:a/b/../../c.gguf",
        "hf:a/b/c.gguf@../x",
        "hf:a/b/-c.gguf",
        "hf:a/b/c.txt",
        "https://",
        "https://example.org",
        "https://me:secret@example.org/a.gguf",
        "https://example.org/a\nb.gguf",
        "https://[::1/a.gguf",
        "http://example.org/a.gguf",
        "file:a.gguf",
        "file://elsewhere/a.gguf",
        "ollama:",
        "ollama:../x:y",
    ],
)
def test_locations_that_are_none(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_location(text)
    assert "secret" not in str(caught.value)


# --- what is wrong, and where ---


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "Tiny"', "title = 3", "3: title: must be a string, not 3"),
        ('title = "Tiny"\n', "", "1: title: missing"),
        ("hf:someone", "hg:someone", "9: sources[0].location: 'hg:someone"),
        ("https://example", "https://a:b@example", "12: sources[1].location: the address of"),
        ("size_bytes = 200", 'size_bytes = "x"', "14: sources[1].size_bytes: must be an integer"),
        ("size_bytes = 200", "size = 200", "14: sources[1].size: unknown key"),
        ('"Q4_1", "Q8_0"]', '"q 4"]', "17: quantizations.made_here: 'q 4' does not match"),
        ('default = "Q4_0"', 'default = "Q2_K"', "16: quantizations.default: 'Q2_K' has no"),
        ('family = "starcoder"', 'family = "qwen3"', "19: template.family: must be one of qwen, "),
        ('files = "starcoder2"', 'files = "qwen"', "20: template.files: the family starcoder has"),
        ("n_layers = 2\n", "", "21: shape.n_layers: missing"),
        ("[template]", "[template]\nlayout = []", "19: template.layout: unknown key"),
        ('[[sources]]\nlocation = "hf', '[source]\nlocation = "hf', "8: source: and sources"),
    ],
)
def test_the_line_of_what_is_wrong(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert SEVERAL.count(old) == 1
    file = write(tmp_path, SEVERAL.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_spec(file)
    assert str(caught.value).startswith(f"{file}:{says}")
    assert str(caught.value) in check_file(file)


def test_all_problems_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    wrong = SEVERAL.replace('title = "Tiny"', "title = 3\nodd = 1").replace('"MIT"', '""')
    wrong = wrong.replace("[template]", "[templates]").replace('default = "Q4_0"', "default = 4")
    file = write(tmp_path, wrong)
    found = [problem.removeprefix(f"{file}:") for problem in check_file(file)]
    assert [problem.split(": ")[:2] for problem in found] == [
        ["1", "template"],
        ["3", "title"],
        ["4", "odd"],
        ["5", "licence"],
        ["17", "quantizations.default"],
        ["19", "templates"],
    ]


def test_a_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    [missing] = check_file(tmp_path / "none.toml")
    assert "none.toml" in missing
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    [undecodable] = check_file(binary)
    assert "utf-8" in undecodable
    [syntax] = check_file(write(tmp_path, "name = \n", "x.toml"))
    assert "x.toml:1: " in syntax
    [deep] = check_file(write(tmp_path, "a = " + "[" * 200_000, "deep.toml"))
    assert "deep.toml:1: " in deep
    [large] = check_file(write(tmp_path, "#" * (1 << 20) + "\n", "large.toml"))
    assert "larger than" in large


@given(st.text(max_size=60), st.integers(0, len(SEVERAL)), st.integers(0, 60))
def test_a_file_changed_anywhere_is_judged_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, put: str, at: int, cut: int
) -> None:
    file = tmp_path_factory.getbasetemp() / "tiny.toml"
    file.write_bytes((SEVERAL[:at] + put + SEVERAL[at + cut :]).encode("utf-8", "replace"))
    problems = check_file(file)
    try:
        load_spec(file)
    except SpecError:
        assert problems
    else:
        assert problems == []


@pytest.mark.parametrize(
    "file", sorted(shipped_folder().glob("*.toml")), ids=lambda each: each.stem
)
def test_the_shipped_entries_have_no_problems(file: Path) -> None:
    assert check_file(file) == []


# --- the user's own entries ---


def folders(tmp_path: Path) -> tuple[Path, Path]:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    shipped.mkdir()
    own.mkdir()
    write(shipped, GOOD)
    write(shipped, SEVERAL.replace('"tiny"', '"other"'), "other.toml")
    return shipped, own


def test_the_users_entry_goes_before_the_shipped_one(tmp_path: Path) -> None:
    shipped, own = folders(tmp_path)
    write(own, SEVERAL.replace('"Tiny"', '"Mine"'))
    specs = load_specs(shipped, own)
    assert {name: spec.title for name, spec in specs.items()} == {"other": "Tiny", "tiny": "Mine"}
    assert find_spec("tiny", shipped, own).title == "Mine"
    assert find_spec("other", shipped, own).file == shipped / "other.toml"


def test_a_wrong_entry_of_the_users_takes_down_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shipped, own = folders(tmp_path)
    write(own, "name = 3\n")
    write(own, SEVERAL.replace('"tiny"', '"third"'), "third.toml")
    registry = load_registry(shipped, own)
    assert sorted(registry.specs) == ["other", "third", "tiny"]
    assert registry.specs["tiny"].file == shipped / "tiny.toml"
    [problem] = registry.problems
    assert problem.startswith(f"{own / 'tiny.toml'}:1: name: must be a string")
    with caplog.at_level(logging.WARNING):
        load_specs(shipped, own)
    assert problem in caplog.text
    # Who asks for this very entry is told instead of being given another.
    with pytest.raises(SpecError, match="must be a string"):
        find_spec("tiny", shipped, own)


def test_a_folder_of_the_users_need_not_exist(tmp_path: Path) -> None:
    shipped, _ = folders(tmp_path)
    assert sorted(load_specs(shipped, tmp_path / "none")) == ["other", "tiny"]
    with pytest.raises(SpecError, match="no model 'x'; known are other, tiny"):
        find_spec("x", shipped, tmp_path / "none")


def test_the_users_folder_lies_beside_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "slm-lsp" / "models"
    user_folder().mkdir(parents=True)
    write(user_folder(), SEVERAL)
    assert {"tiny", DEFAULT_MODEL} <= set(load_specs())
    assert find_spec("tiny").title == "Tiny"


# --- the page for whoever writes an entry ---


def test_the_entries_of_the_page_are_right(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text(encoding="utf-8")
    entry, own = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    before, _, after = entry.partition("[template]\n")
    _, _, shape = after.partition("[shape]\n")
    for text in (entry, f"{before}{own}[shape]\n{shape}"):
        file = tmp_path / "my-model.toml"
        file.write_text(text, encoding="utf-8")
        assert check_file(file) == []
    formats = {each.name for group in FORMATS.values() for each in group}
    for name in (*fim.family_names(), *formats):
        assert f"`{name}`" in page
