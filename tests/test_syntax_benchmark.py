"""The syntax benchmark without a model: the judge, the places, the figures.

Owns: what counts as an error that was added, a line said again, a line that stands wrong.

Invariant: no package is obtained and no model loaded.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.syntax import __main__ as main
from benchmarks.syntax import judge as judging
from benchmarks.syntax.judge import Judge, is_misplaced, repeats_below
from benchmarks.syntax.places import BODY, KINDS, LINE, REST, holes
from benchmarks.syntax.sources import File, files_of, listed, obtained
from benchmarks.syntax.spoiling import SPOILED, TRUTH, said
from benchmarks.syntax.table import offenders, summary, table

SOURCES, GRAMMARS = listed()
JUDGE = Judge(GRAMMARS)
TEXT = (
    "import os\n\n\ndef f(a, b):\n    if a:\n        return b\n    return a + b\n\n\nx = f(1, 2)\n"
)
FILE = File("python", "a.py", TEXT)


@pytest.mark.parametrize(
    ("language", "fixture", "text", "added", "unfinished"),
    [
        ("python", "x = <CURSOR>\n", "1", False, False),
        ("python", "x = <CURSOR>\n", "1)", False, False),  # as broken as before
        ("python", "<CURSOR>\n", "x = 1)", True, False),
        ("python", "<CURSOR>\n", "foo(", True, True),
        ("python", "<CURSOR>\n", "foo(a,", True, True),
        ("python", "<CURSOR>\n", "foo(a", True, False),
        ("python", "<CURSOR>\n", "foo(a) )", True, False),
        ("python", "class A:\n    <CURSOR>\n", "@property", True, True),
        ("javascript", "function f() {\n  <CURSOR>\n}\n", "if (x) {", True, True),
        ("javascript", "function f() {\n  <CURSOR>\n}\n", "if (x) {\n  y();", True, False),
        ("javascript", "function f() {\n  <CURSOR>\n}\n", "try {", True, True),
        ("java", "class A {\n  <CURSOR>\n}\n", "int x = 1", True, False),
        ("c", "int f() {\n  <CURSOR>\n}\n", "int x[] = {", True, True),
    ],
)
def test_what_counts_as_an_error(
    language: str, fixture: str, text: str, added: bool, unfinished: bool
) -> None:
    before, _, after = fixture.partition("<CURSOR>")
    verdict = JUDGE.verdict(language, before, text, after)
    assert (verdict["added"], verdict["unfinished"]) == (added, unfinished)


@pytest.mark.parametrize(
    ("language", "fixture", "inside"),
    [
        ("python", "def f():\n<CURSOR>    return 1\n", False),
        ("python", 'x = """\n<CURSOR>  a\n"""\n', True),
        ("javascript", "/**\n<CURSOR> * a\n */\n", True),
        ("javascript", "x = `\n<CURSOR>  a\n`;\n", True),
        ("javascript", "x = `${f(\n<CURSOR>  a\n)}`;\n", False),
        ("php", "<?php\n$x = 'a\n<CURSOR>  b\n';\n", True),
        ("php", "<?php\nf(\n<CURSOR>  $b\n);\n", False),
    ],
)
def test_white_space_in_a_string_or_comment_is_no_indentation(
    language: str, fixture: str, inside: bool
) -> None:
    before, _, after = fixture.partition("<CURSOR>")
    assert JUDGE.in_literal(language, before + after, len(before)) is inside


def test_the_judge_uses_nothing_of_what_it_judges() -> None:
    tree = ast.parse(Path(judging.__file__).read_text("utf-8"))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [each.name for each in node.names]
        )
    }
    assert not any(str(name).startswith(("slm_lsp", "benchmarks")) for name in imported)


@pytest.mark.parametrize(
    ("fixture", "text", "repeats"),
    [
        ("a = 1\n<CURSOR>\nb = 2\n", "b = 2", True),
        ("a = 1\n<CURSOR>\n\nb = 2\n", "c = 3\nb = 2", True),
        ("a = 1\n<CURSOR>\nb = 2\n", "c = 3", False),
        ("if a:\n    <CURSOR>\nreturn_this()\n", "return_this()", True),
        ("if a:\n    <CURSOR>\nb()\n", "b()", False),
        ("f(<CURSOR>\n}\n", "}", False),
    ],
)
def test_what_repeats_the_line_below(fixture: str, text: str, repeats: bool) -> None:
    before, _, after = fixture.partition("<CURSOR>")
    assert repeats_below(before, text, after) is repeats


@pytest.mark.parametrize(
    ("fixture", "text", "true_line", "misplaced"),
    [
        ("def f():\n    a = 1\n<CURSOR>\n    b = 2\n", "    c = 3", "    c", False),
        ("def f():\n    a = 1\n    <CURSOR>\n    b = 2\n", "c = 3", "    c", False),
        ("def f():\n    a = 1\n<CURSOR>\n    b = 2\n", "  c = 3", "    c", True),
        ("def f():\n    a = 1\n<CURSOR>\n    b = 2\n", "c = 3", "    c", True),
        ("def f():\n    a = 1\n<CURSOR>\n    b = 2\n", "        c = 3", "    c", True),
        ("def f():\n    a = 1\n<CURSOR>\n\nb = 2\n", "c = 3", "    c", False),
        ("def f():\n<CURSOR>\n\nb = 2\n", "  c = 3", "    c", False),
        ("f(\n<CURSOR>\n)\n", "   c = 3", "    c", False),
        ("x = <CURSOR>\n", "1", "x = 1", None),
    ],
)
def test_where_a_first_line_may_stand(
    fixture: str, text: str, true_line: str, misplaced: bool | None
) -> None:
    before, _, after = fixture.partition("<CURSOR>")
    assert is_misplaced(before, text, after, true_line) is misplaced


def test_places_are_known_by_their_seed_and_make_up_the_file() -> None:
    found = holes([FILE], "python", 60, 1, lambda file: True)
    assert found == holes([FILE], "python", 60, 1, lambda file: True)
    assert found != holes([FILE], "python", 60, 2, lambda file: True)
    assert {each.kind for each in found} == set(KINDS)
    for hole in found:
        assert hole.before + hole.middle + hole.after == TEXT
        assert hole.middle.strip()
        if hole.kind in (REST, LINE):
            assert "\n" not in hole.middle
        if hole.kind == BODY:
            assert hole.before.rstrip().endswith(":")
    assert not holes([FILE], "python", 5, 1, lambda file: False)


def test_what_is_said_without_a_model() -> None:
    found = holes([FILE], "python", 60, 1, lambda file: True)
    for hole in found:
        assert said(hole, TRUTH).strip() == hole.middle.strip()
        assert said(hole, SPOILED) == said(hole, SPOILED)
    assert sum(said(hole, SPOILED) != said(hole, TRUTH) for hole in found) > 40


def test_files_are_listed_with_their_licence_and_a_grammar(tmp_path: Path) -> None:
    assert len({each.language for each in SOURCES}) == 10
    assert {each.language for each in SOURCES} == set(GRAMMARS)
    for source in SOURCES:
        assert source.licence
        assert source.version or source.kind == "stdlib"
    stdlib = SOURCES[0]
    (tmp_path / "long.py").write_text("x = 1\n" * 500)
    (tmp_path / "short.py").write_text("x = 1\n")
    (tmp_path / "wide.py").write_text("x = " + "1 + " * 500 + "1\n")
    assert [each.path for each in files_of(stdlib, tmp_path)] == ["python/long.py"]
    assert obtained(stdlib, tmp_path) != tmp_path


def row(name: str, **more: Any) -> dict[str, Any]:
    plain = {
        "name": name,
        "kind": LINE,
        "path": "a.py",
        "offset": 3,
        "want": "line",
        "syntax": "ok",
        "syntax_ms": 1.5,
        "n_chars": 4,
        "exact": False,
        "n_before": 0,
        "n_after": 0,
        "added": False,
        "unfinished": False,
        "repeats_below": False,
        "misplaced": None,
    }
    return {**plain, **more}


def test_the_figures() -> None:
    rows = [
        row("python/0", exact=True),
        row("python/1", added=True, n_after=1),
        row("go/0", added=True, unfinished=True, misplaced=True),
        {**row("go/1"), "n_chars": 0, "syntax": "dropped"},
    ]
    figures = summary(rows)
    assert list(figures) == ["python", "go", "all"]
    every = figures["all"]
    assert (every["asked"], every["shown"], every["added"], every["unfinished"]) == (4, 3, 2, 1)
    assert (every["broken"], every["sound_share"], every["sound_share_strict"]) == (
        *(1, 0.6667, 0.3333),
    )
    assert (every["dropped"], every["indent"], every["exact"]) == (1, 1, 1)
    assert "33.33 %" in table({"on": figures})
    said = list(offenders("on", rows))
    assert len(said) == 2
    assert "errors 0 -> 1" in said[0]
    assert "errors 0 -> 0, unfinished, misplaced" in said[1]


def test_the_rows_of_several_processes_are_those_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = holes([FILE], "python", 7, 1, lambda file: True)
    monkeypatch.setattr(main, "placed", lambda options, judge: found)
    arguments = ["--says", TRUTH, "--json"]

    def jobs_here(n_jobs: int) -> None:
        for job in range(n_jobs):
            main.run(main.parse([*arguments, str(several), "--jobs", "2", "--job", str(job)]))

    monkeypatch.setattr(main, "wait_for_jobs", jobs_here)
    one, several = tmp_path / "one.json", tmp_path / "several.json"
    main.run(main.parse([*arguments, str(one)]))
    main.run(main.parse([*arguments, str(several), "--jobs", "2"]))

    def rows(path: Path) -> Any:
        kept = json.loads(path.read_text("utf-8"))["rows"]
        return [{**row, "syntax_ms": 0} for mode in ("on", "off") for row in kept[mode]]

    assert rows(one) == rows(several)
    assert len(rows(one)) == 14
    assert set(tmp_path.iterdir()) == {one, several}
    assert "python" in capsys.readouterr().out


def test_several_processes_need_a_file_to_meet_in(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.parse(["--jobs", "2"])
    assert "--json" in capsys.readouterr().err
