"""The repository benchmark: holes are where they should be, and scores mean what they say.

Owns: a small repository written out here. Invariant: no model and no installed package is
needed. Threads: the test's own.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from benchmarks.repository import holes, likelihood, oracle, packages, scoring
from benchmarks.repository.definitions import Modules
from benchmarks.repository.gain import Gain, Pair, gain
from benchmarks.repository.holes import ARGUMENTS, STATEMENT, Hole, choose, punched
from benchmarks.repository.packages import Repository
from benchmarks.repository.pipeline import Filled, is_defined_in
from slm_lsp.workspace.base import place_of

LIB = '''\
import os


def join(first: str, second: str = "",
         *rest: str) -> str:
    """Make one of several.

    And more.
    """
    return first + second


@final
class Box:
    """Holds."""

    size: int
    name: str = ""

    def __init__(self, size: int) -> None:
        """Make it."""
        self.size = size

    def grow(self) -> None:
        self.size += 1


class Empty(Exception): ...
'''
APP = """\
import json
from .lib import join, Box as Crate
from pkg import lib, again
from pkg.nowhere import lost


def local(x):
    return x


def main(a, b):
    c = join(a, b)
    d = Crate(12)
    local(a)
    json.dumps(a)
    lost(a, b)
    lib.join(a, c, d)
    again(c, d)
    if join(a, b):
        join()
    e = [
        join(a, b),
    ]
    return join(c, "é")


class Other:
    def again_here(self):
        return again(self, 1)
"""
FILES = {
    "pkg/__init__.py": "from .lib import *\nfrom pkg.lib import join as again\n",
    "pkg/lib.py": LIB,
    "pkg/app.py": APP,
    "pkg/broken.py": "def (:\n",
}
REPOSITORY = Repository("pkg", "1.0", "MIT", Path("/nowhere"), FILES)


def all_holes(files: dict[str, str] = FILES) -> list[Hole]:
    repository = Repository("pkg", "1.0", "MIT", Path("/nowhere"), files)
    modules = Modules(files)
    return [
        each for module in modules.by_name.values() for each in punched(repository, modules, module)
    ]


def test_holes_are_call_sites_of_other_files_definitions() -> None:
    found = {(hole.kind, hole.middle, hole.definition.name) for hole in all_holes()}
    assert found == {
        (ARGUMENTS, "a, b)", "join"),
        (STATEMENT, "c = join(a, b)", "join"),
        (STATEMENT, "d = Crate(12)", "Box"),
        (ARGUMENTS, "a, c, d)", "join"),
        (STATEMENT, "lib.join(a, c, d)", "join"),
        (ARGUMENTS, "c, d)", "join"),
        (STATEMENT, "again(c, d)", "join"),
        (ARGUMENTS, "self, 1)", "join"),
        (STATEMENT, "return again(self, 1)", "join"),
    }


def test_a_hole_is_its_file() -> None:
    for hole in all_holes():
        assert hole.prefix + hole.middle + hole.suffix == FILES[hole.path]
        assert hole.suffix[:1] == "\n"
        assert hole.prefix.count("\n") + 1 == hole.line
        last = hole.prefix.rpartition("\n")[2]
        assert last.endswith("(") if hole.kind == ARGUMENTS else not last.strip()
        assert hole.definition.path == "pkg/lib.py"


def test_what_a_file_binds_itself_is_not_followed() -> None:
    for shadow in ("join = None", "def f(join): ...", "class join: ...", "for join in (): ..."):
        own = {**FILES, "pkg/app.py": f"from .lib import join\n{shadow}\njoin(1, 2)\n"}
        assert not [hole for hole in all_holes(own) if hole.path == "pkg/app.py"]


def test_stars_and_chains_are_followed() -> None:
    modules = Modules({**FILES, "pkg/user.py": "import pkg as p\np.Box(11)\n"})
    call = ast.parse("p.Box(11)").body[0]
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    found = modules.resolve(modules.by_name["pkg.user"], call.value.func)
    assert found is not None
    assert (found.path, found.name) == ("pkg/lib.py", "Box")
    # Two that import each other end the search.
    circle = Modules({"a.py": "from b import x\nx(1, 2)\n", "b.py": "from a import x\n"})
    assert circle.resolve(circle.by_name["a"], ast.Name("x")) is None


def test_the_choice_is_the_same_and_a_smaller_one_is_a_part_of_it() -> None:
    calls = "".join(f"    join(a{n}, b{n}, c)\n" for n in range(40))
    files = {
        **FILES,
        **{
            f"pkg/m{n}.py": f"from .lib import join, Box\n\ndef f():\n{calls}    Box(size={n})\n"
            for n in range(3)
        },
    }
    repository = Repository("pkg", "1.0", "MIT", Path("/nowhere"), files)
    found = choose([repository], None)
    assert choose([repository], None) == found
    assert choose([repository], 4) == found[:4]
    assert choose([repository], 4, seed=1) != found[:4]
    places = {(hole.path, hole.line) for hole in found}
    assert len(places) == len(found)
    for name in ("join", "Box"):
        n_called = sum(hole.definition.name == name for hole in found)
        assert 0 < n_called <= holes.MAX_PER_DEFINITION
    other = Repository("other", "1.0", "MIT", Path("/nowhere"), files)
    assert [each.repository for each in choose([repository, other], 4)] == ["pkg", "other"] * 2


def test_the_oracle_shows_signatures() -> None:
    modules = Modules(FILES)
    shown = {
        definition.name: oracle.signature(definition, LIB).text
        for definition in modules.used_by("pkg/app.py")
    }
    assert shown == {
        "join": 'def join(first: str, second: str = "",\n         *rest: str) -> str:\n'
        '    """Make one of several."""\n    ...\n',
        "Box": '@final\nclass Box:\n    """Holds."""\n    size: int\n    name: str = ""\n'
        '    def __init__(self, size: int) -> None:\n        """Make it."""\n        ...\n',
    }


def test_the_oracle_knows_the_hole() -> None:
    source = oracle.OracleSource({"pkg": REPOSITORY}, n_others=1)
    for hole in all_holes():
        source.at(hole)
        place = place_of("u", hole.path, "python", hole.prefix, len(hole.prefix), 1000)
        found = source.collect(place, lambda: False)
        assert len(found) == 2
        assert is_defined_in(found[:1], hole)
        assert not is_defined_in(found[1:], hole)
    assert source.collect(place_of("u", "", "python", "", 0, 10), lambda: False) == ()


def filled(text: str, **fields: object) -> Filled:
    values = {"reject": None, "n_prompt": 100, "n_cached": 10, "n_snippets": 1}
    return Filled(text, has_definition=True, **{**values, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "exact", "similarity"),
    [
        ("a, b)", True, 1.0),
        ("a, b)  \nmore", True, 1.0),
        (" a, b)", True, 1.0),
        ("a, c)", False, 0.8),
        ("", False, 0.0),
    ],
)
def test_scores(text: str, exact: bool, similarity: float) -> None:
    hole = next(hole for hole in all_holes() if hole.middle == "a, b)")
    row = scoring.score(hole, filled(text))
    assert (row["exact"], row["similarity"], row["n_prefilled"]) == (exact, similarity, 90)


@pytest.mark.parametrize(
    ("got", "expected", "f1"),
    [
        ("a, b)", "a, b)", 1.0),
        ("b, a)", "a, b)", 1.0),
        ("a)", "a, b)", 0.667),
        ("a, a)", "a)", 0.667),
        ("x", "a", 0.0),
        ("", "a", 0.0),
        ("1)", "2)", 1.0),
    ],
)
def test_names_agree(got: str, expected: str, f1: float) -> None:
    assert scoring.identifiers_f1(got, expected) == f1


def test_a_summary_compares_the_same_holes() -> None:
    some = all_holes()[:4]
    before = [scoring.score(hole, filled("x", n_cached=100)) for hole in some]
    after = [scoring.score(hole, filled(hole.middle)) for hole in some[1:]]
    found = scoring.compared(before, after)
    assert (found["n"], found["exact"]["only_after"], found["exact"]["only_before"]) == (3, 3, 0)
    assert found["exact"]["mean"] == 1.0
    assert found["n_prefilled"]["mean"] == 90
    assert 0 < found["similarity"]["low"] <= found["similarity"]["mean"] <= 1
    whole = scoring.summary(after)
    assert (whole["n"], whole["exact"]["percent"], whole["mean_n_prompt"]) == (3, 100.0, 100)
    assert scoring.summary([])["mean_similarity"] is None


def test_a_gain_is_as_sure_as_its_files_are_many() -> None:
    assert gain([]) == Gain(0.0, 0.0, 0.0, 1.0)
    one_file = gain([Pair("a", 0.0, 1.0)] * 20)
    assert (one_file.mean, one_file.p) == (1.0, 1.0)
    many = gain([Pair(f"f{n}", 0.0, 1.0) for n in range(20)])
    assert (many.low, many.high) == (1.0, 1.0)
    assert many.p < 0.001
    mixed = gain([Pair(f"f{n}", 0.0, 1.0 if n % 2 else -1.0) for n in range(20)])
    assert mixed.low < 0 < mixed.high
    assert mixed.p > 0.5


def test_a_package_that_is_not_there_is_told() -> None:
    with pytest.raises(packages.NoPackage, match="pip install no_such_package"):
        packages.read("no_such_package")
    with pytest.raises(packages.NoPackage):
        packages.read("ast")  # one file


def test_an_installed_package_is_read() -> None:
    found = packages.read("pygls")
    assert found.version
    assert "pygls/__init__.py" in found.files


def test_a_likelier_text_is_a_gain() -> None:
    def row(file: str, before: float, after: float) -> dict[str, object]:
        situations = {"without": before, "with": after}
        told = {
            name: {"nats": nats, "tokens": 4, "n_prompt": 100} for name, nats in situations.items()
        }
        return {"name": file, "file": file, "kind": ARGUMENTS, **told}

    rows = [row("a", 12.0, 8.0), row("b", 4.0, 2.0)]
    found = likelihood.summary(rows, ("without", "with"))
    assert found["without"]["nats_per_token"] == 2.0
    assert found["without"]["gain_per_hole"] == [0.0, 0.0, 0.0]
    assert found["with"]["nats_per_token"] == 1.25
    assert found["with"]["gain_per_hole"][0] == 3.0
    assert found["with"]["mean_n_prompt"] == 100
