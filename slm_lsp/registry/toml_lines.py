"""On which line of a TOML file each key stands.

Owns: a look at a file that is known to be valid TOML; `tomllib` tells no lines.

Invariant: pure. A key inside an inline table or an array stands where the value that holds it
begins, and a line is never told for a key that is not there.

Threads: any.
"""

from __future__ import annotations

import re

# Strings first: what looks like a comment, a bracket or a key inside of one is none.
_PIECE = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}=\n]"
    r"|[^\s\[\]{}=\"'#]+"
    r"|[ \t\r]+",
    re.DOTALL,
)
_QUOTED = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'|([A-Za-z0-9_-]+)")


def key_lines(text: str) -> dict[str, int]:
    """The line of each key and table by its full name, such as `sources[1].sha256`.

    What this cannot follow is left out; lines count from 1.
    """
    found: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix = ""
    for line, statement in _statements(text):
        if statement.startswith("[["):
            name = _name(statement[2:-2])
            index = counts.get(name, 0)
            counts[name] = index + 1
            prefix = f"{name}[{index}]."
            found.setdefault(name, line)
            found[f"{name}[{index}]"] = line
        elif statement.startswith("["):
            name = _name(statement[1:-1])
            prefix = name + "."
            found.setdefault(name, line)
        else:
            found.setdefault(prefix + _name(statement), line)
    return found


def line_of(lines: dict[str, int], name: str) -> int:
    """The line of the key, or of the nearest table around it; 1 where the whole file is meant."""
    while name:
        if name in lines:
            return lines[name]
        name = name.rpartition(".")[0] if "." in name else ""
    return 1


def _statements(text: str) -> list[tuple[int, str]]:
    """Each table header, and the name before each `=`, with its line."""
    found: list[tuple[int, str]] = []
    line, depth, start, pending = 1, 0, 1, ""
    in_value = is_header = False
    for piece in _PIECE.findall(text):
        if piece == "\n" and depth == 0:
            if is_header:
                found.append((start, pending.strip()))
            pending, in_value, is_header = "", False, False
        elif in_value or piece == "\n":
            depth += (piece in "[{") - (piece in "]}") if len(piece) == 1 else 0
        elif piece == "=" and not is_header:
            found.append((start, pending.strip()))
            in_value = True
        elif not piece.startswith("#"):
            if not pending.strip() and piece.strip():
                start, is_header = line, piece == "["
            pending += piece
        line += piece.count("\n")
    if is_header:
        found.append((start, pending.strip()))
    return found


def _name(written: str) -> str:
    """A dotted name without its quotes and blanks."""
    return ".".join(a or b or c for a, b, c in _QUOTED.findall(written))
