"""Holes: places in a repository where what is missing calls what another file defines.

Owns: which call sites are used, what is cut out of them, and in which order they come.

Invariant: pure. The choice depends on the files, the seed and the limit alone, and a smaller
limit chooses from what a larger one does. Prefix, middle and suffix together are the file.

Threads: any.
"""

from __future__ import annotations

import ast
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from benchmarks.repository.definitions import Definition, Module, Modules
from benchmarks.repository.packages import Repository

# No file and no definition may have the word alone.
MAX_PER_FILE, MAX_PER_DEFINITION = 6, 3
MIN_CHARS, MAX_CHARS = 4, 120
ARGUMENTS, STATEMENT = "arguments", "statement"


@dataclass(frozen=True, slots=True)
class Hole:
    """Fill `middle` between `prefix` and `suffix` of the file at `path`. `kind`: the rest of the
    line behind the call's bracket, or the whole statement that calls."""

    repository: str
    path: str
    line: int
    kind: str
    prefix: str
    middle: str
    suffix: str
    definition: Definition

    @property
    def name(self) -> str:
        """Of all holes, this one's alone."""
        return f"{self.path}:{self.line}:{self.kind}"


def choose(repositories: Sequence[Repository], limit: int | None, seed: int = 0) -> list[Hole]:
    """The first holes of all repositories in turns, both kinds alike."""
    listed = []
    for repository in repositories:
        modules = Modules(repository.files)
        holes = [
            hole
            for module in modules.by_name.values()
            for hole in punched(repository, modules, module)
        ]
        random.Random(f"{seed}/{repository.name}").shuffle(holes)
        listed.append(_spread(holes))
    turns = (hole for turn in zip_longest(*listed) for hole in turn if hole is not None)
    return list(turns)[:limit]


def punched(repository: Repository, modules: Modules, module: Module) -> Iterator[Hole]:
    """All holes of a file."""
    text = repository.files[module.path]
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    for statement in ast.walk(module.tree):
        if not isinstance(statement, ast.Expr | ast.Assign | ast.Return | ast.AugAssign):
            continue
        line = lines[statement.lineno - 1]
        for call, definition in _calls(modules, module, statement):
            for kind, column in _columns(line, statement, call):
                begin = starts[statement.lineno - 1] + column
                end = starts[statement.lineno] - 1
                if MIN_CHARS <= end - begin <= MAX_CHARS:
                    yield Hole(
                        *(repository.name, module.path, statement.lineno, kind),
                        *(text[:begin], text[begin:end], text[end:], definition),
                    )


def _calls(
    modules: Modules, module: Module, statement: ast.stmt
) -> Iterator[tuple[ast.Call, Definition]]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Call):
            definition = modules.resolve(module, node.func)
            if definition is not None:
                yield node, definition


def _columns(line: str, statement: ast.stmt, call: ast.Call) -> Iterator[tuple[str, int]]:
    """Where the cursor stands; nowhere if the statement is not a line of its own."""
    is_whole = statement.lineno == statement.end_lineno and statement.end_col_offset == len(line)
    if not is_whole or not line.isascii() or line[: statement.col_offset].strip():
        return
    if not call.args and not call.keywords:
        return
    at = call.func.end_col_offset or 0
    if line[at : at + 1] == "(":
        yield ARGUMENTS, at + 1
    yield STATEMENT, statement.col_offset


def _spread(holes: Sequence[Hole]) -> list[Hole]:
    """Those that are not one too many of a file, a definition or a line; kinds in turns."""
    per_file, per_definition = Counter[str](), Counter[tuple[str, str]]()
    lines: set[tuple[str, int]] = set()
    kept: dict[str, list[Hole]] = {ARGUMENTS: [], STATEMENT: []}
    for hole in holes:
        called = (hole.definition.path, hole.definition.name)
        if per_file[hole.path] >= MAX_PER_FILE or per_definition[called] >= MAX_PER_DEFINITION:
            continue
        fewer = min(kept, key=lambda kind: len(kept[kind]))
        if (hole.path, hole.line) in lines or hole.kind != fewer:
            continue
        lines.add((hole.path, hole.line))
        per_file[hole.path] += 1
        per_definition[called] += 1
        kept[hole.kind].append(hole)
    pairs = zip_longest(*kept.values())
    return [hole for pair in pairs for hole in pair if hole is not None]
