"""A text as the protocol describes it: a list of lines, edited the plain way.

Owns: what the fuzzers hold documents and positions against. Written from the specification of LSP
3.17 ("Text Documents", "Position", "Range"); it shares no code and no idea with `slm_lsp.text`.

Invariant: no index and no offsets are kept. Each edit takes the lines apart at its two borders,
and all of the text is split anew. Threads: the test's own.
"""

from __future__ import annotations

from dataclasses import dataclass

Place = tuple[int, int]
"""A line, and a number of characters (not units) in it."""


def split(text: str) -> list[str]:
    """The lines with their ends, which are LF, CR LF and CR; two halves that meet are joined."""
    lines, line, at = [], [], 0
    while at < len(text):
        char = text[at]
        following = text[at + 1 : at + 2]
        if char == "\r" and following == "\n":
            char = "\r\n"
        elif 0xD800 <= ord(char) < 0xDC00 and following and 0xDC00 <= ord(following) < 0xE000:
            char = (char + following).encode("utf-16-be", "surrogatepass").decode("utf-16-be")
            at += 1
        at += len(char)
        line.append(char)
        if char in ("\n", "\r", "\r\n"):
            lines.append("".join(line))
            line = []
    return [*lines, "".join(line)]


def size(char: str, encoding: str) -> int:
    """Units of one character."""
    code = ord(char)
    if encoding == "utf-8":
        return 1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)
    return 1 + (encoding == "utf-16" and code > 0xFFFF)


@dataclass
class LineModel:
    """See the module."""

    encoding: str
    lines: list[str]

    @classmethod
    def of(cls, text: str, encoding: str) -> LineModel:
        return cls(encoding, split(text))

    @property
    def text(self) -> str:
        return "".join(self.lines)

    def starts(self) -> list[int]:
        """Where the lines begin, counted in characters of the text."""
        found = [0]
        for line in self.lines[:-1]:
            found.append(found[-1] + len(line))
        return found

    def place(self, line: int, character: int) -> Place:
        """Past the line's end is its end, past the last line is the text's end, negative is 0, and
        within a character is its beginning."""
        if line >= len(self.lines):
            return len(self.lines) - 1, len(self.lines[-1])
        line = max(0, line)
        units = 0
        content = self.lines[line].rstrip("\r\n")
        for n, char in enumerate(content):
            units += size(char, self.encoding)
            if units > character:
                return line, n
        return line, len(content)

    def offset(self, line: int, character: int) -> int:
        line, n = self.place(line, character)
        return sum(map(len, self.lines[:line])) + n

    def edit(self, start: Place | None, end: Place | None, text: str) -> None:
        """Replace between two positions of the client; no start: everything."""
        if start is None:
            self.lines = split(text)
            return
        first = self.place(*start)
        last = first if end is None else self.place(*end)
        (line, n), (last_line, last_n) = sorted((first, last))
        before = "".join(self.lines[:line]) + self.lines[line][:n]
        after = self.lines[last_line][last_n:] + "".join(self.lines[last_line + 1 :])
        self.lines = split(before + text + after)
