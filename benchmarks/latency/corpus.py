"""Function bodies of the standard library, which the sessions delete and type back.

Owns: which functions are fit to be typed: several lines of plain text, of a length that a
session can type.

Invariant: `bodies` is pure; `sources` reads the installed standard library and nothing else,
so two machines with the same Python have the same sessions.

Threads: any.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from models.training.held_out import HELD_OUT_STDLIB

MIN_CHARS, MAX_CHARS = 90, 900
MIN_LINES = 3


@dataclass(frozen=True, slots=True)
class Body:
    """Where a function's statements lie in a module's text, without the docstring."""

    start: int
    end: int


def sources() -> dict[str, str]:
    """The text of each held-out module, by its name."""
    return {name: _source(name) for name in HELD_OUT_STDLIB}


def _source(name: str) -> str:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the standard library has no source of {name}")
    path = Path(spec.origin)
    # Packages would have several files; each of these modules is one.
    return path.read_text(encoding="utf-8").replace("\r\n", "\n")


@functools.lru_cache(maxsize=64)
def bodies(source: str) -> tuple[Body, ...]:
    """The bodies fit to be typed, in the order of the text; none lies within another."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    found: list[Body] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            body = _body(node, lines, starts)
            if body is not None and _fit(source[body.start : body.end]):
                found.append(body)
    found.sort(key=lambda body: (body.start, -body.end))
    kept: list[Body] = []
    for body in found:
        if not kept or body.start >= kept[-1].end:
            kept.append(body)
    return tuple(kept)


def _body(node: ast.FunctionDef, lines: list[str], starts: list[int]) -> Body | None:
    statements = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    if not statements or statements[0].lineno == node.lineno:
        return None
    first, last_line = statements[0].lineno - 1, (statements[-1].end_lineno or 0) - 1
    line = lines[first]
    start = starts[first] + len(line) - len(line.lstrip(" "))
    end = starts[last_line] + len(lines[last_line].rstrip("\n"))
    return Body(start, end)


def _fit(text: str) -> bool:
    plain = text.isascii() and "\t" not in text and "\f" not in text and "\\\n" not in text
    return plain and MIN_CHARS <= len(text) <= MAX_CHARS and text.count("\n") + 1 >= MIN_LINES
