"""Other calls of what is being called at a cursor.

Owns: the search for them: in the document itself beyond what its prompt shows, in the other open
ones, and in the files of the workspace that hold the name. A signature says what may be passed;
what is passed elsewhere is what a small model can follow (decision 16).

Invariant: files are read only by `search`, one at a time, and `stop` is asked between them; a
definition is no use of itself. Bounded: so many files, uses of a file, and lines of a use.

Threads: the completer's worker.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import replace

from slm_lsp.text.whitespace import unix_lines
from slm_lsp.workspace.files import read_source
from slm_lsp.workspace.headers import definitions
from slm_lsp.workspace.identifiers import dice, token_set
from slm_lsp.workspace.imports import are_kin
from slm_lsp.workspace.live import LiveFile, LiveFiles
from slm_lsp.workspace.pieces import Piece
from slm_lsp.workspace.roots import Roots

MAX_READ, MAX_A_FILE, MAX_FOUND, MAX_USES = 10, 12, 64, 6
MAX_LINES, MAX_CHARS = 6, 400
# What the document's own prompt shows around the cursor, about: it is not shown twice.
SEEN_BEFORE_CHARS, SEEN_AFTER_CHARS = 2400, 800
MAX_NAMES = 32
_CONSTRUCTOR = re.compile(r"\b(?:__init__|constructor|initialize|init|__construct)\b")
OPENED, CLOSED = frozenset("([{"), frozenset(")]}")


class Uses:
    """See the module."""

    def __init__(self, roots: Roots, live: LiveFiles) -> None:
        self._roots, self._live = roots, live
        self._found: OrderedDict[Hashable, tuple[Piece, ...]] = OrderedDict()

    def known(self, uri: str, language: str, name: str) -> tuple[Piece, ...] | None:
        """What was found of a name in other files, None if that has not been looked for."""
        return self._found.get(self._key(uri, language, name))

    def search(
        self, uri: str, language: str, name: str, stop: Callable[[], bool]
    ) -> tuple[Piece, ...] | None:
        """Look in other files; None if it had to stop."""
        found: list[Piece] = []
        for each in self._live.others(uri):
            if are_kin(language, each.language):
                found += calls_in(each.path, each.text, each.language, name)
        document = self._live.get(uri)
        hidden = self._live.keys() | {document.key if document is not None else ""}
        for root in self._roots.all:
            for file in root.reader.like([name], MAX_READ):
                if stop():
                    return None
                key = f"{root.folder.as_posix()}/{file.path}"
                if key in hidden or not are_kin(language, file.language):
                    continue
                source = read_source(root.folder / file.path)
                if source is not None:
                    text = unix_lines(source[1])
                    found += calls_in(root.prefix + file.path, text, file.language, name)
        if stop():  # questions to the index may have been given up
            return None
        self._found[self._key(uri, language, name)] = kept = tuple(found[:MAX_FOUND])
        while len(self._found) > MAX_NAMES:
            self._found.popitem(last=False)
        return kept

    def own(self, uri: str, name: str, prefix: str, suffix: str) -> list[Piece]:
        """Calls in the document itself that its prompt does not show."""
        document = self._live.get(uri)
        seen = _seen(document, prefix, suffix) if document is not None else None
        if document is None or seen is None:
            return []
        calls = calls_in(document.path, document.text, document.language, name, MAX_FOUND)
        return [each for each in calls if each.line not in seen]

    def _key(self, uri: str, language: str, name: str) -> Hashable:
        others = tuple((each.uri, each.revision) for each in self._live.others(uri))
        generations = tuple(root.reader.generation for root in self._roots.all)
        return uri, language, name, others, generations


def likest(own: Sequence[Piece], others: Sequence[Piece], words: frozenset[str]) -> list[Piece]:
    """The uses most like the lines around the cursor; of equals those in its own file."""
    rated = [
        (-dice(each.words, words), n, each) for n, uses in enumerate((own, others)) for each in uses
    ]
    rated.sort(key=lambda each: (each[0], each[1], each[2].path, each[2].line))
    return [each for _, _, each in rated][:MAX_USES]


def brief(piece: Piece, name: str) -> Piece:
    """The definition of what is called, without what is not needed to call it: it would leave no
    room for uses. Of a class the head and the constructor, or what it begins with."""
    if len(piece.text) <= MAX_CHARS:
        return piece
    lines = piece.text.split("\n")
    head = next((n for n, line in enumerate(lines) if _is_head(line, name)), 0) + 1
    made = [line for line in lines[head:] if _CONSTRUCTOR.search(line) or f" {name}(" in line]
    kept = lines[:head]
    for line in made or lines[head:]:
        if sum(map(len, kept)) + len(line) > MAX_CHARS:
            break
        kept.append(line)
    text = "\n".join(kept)[:MAX_CHARS]
    return replace(piece, text=text, words=token_set(text))


def _is_head(line: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", line) is not None


def calls_in(path: str, text: str, language: str, name: str, most: int = MAX_A_FILE) -> list[Piece]:
    """The first calls of a name in a text, each with the line above it."""
    found: list[Piece] = []
    number, counted, free = 0, 0, 0
    for at in _calls(text, name):
        if len(found) == most:
            break
        first = text.rfind("\n", 0, at) + 1
        if at < free or _defines(language, text[first:at], name):
            continue
        number, counted = number + text.count("\n", counted, first), first
        above = text.rfind("\n", 0, first - 1) + 1 if first else 0
        end = _end(text, at)
        shown = text[max(free, above) : end].strip("\n")
        free = end
        if len(shown) <= MAX_CHARS:
            found.append(Piece(path, number, shown, token_set(shown)))
    return found


def _calls(text: str, name: str) -> Iterator[int]:
    """Where the calls of a name are open: behind their brackets."""
    at = text.find(name)
    while at >= 0:
        end = at + len(name)
        is_word = not (at and (text[at - 1].isalnum() or text[at - 1] in "_$"))
        if is_word and text.startswith("(", end):
            yield end + 1
        at = text.find(name, end)


def _defines(language: str, line: str, name: str) -> bool:
    return any(name == each for each, _ in definitions(language, line))


def _end(text: str, at: int) -> int:
    """The end of the line in which a call ends that is open at `at`, as far as it is shown."""
    depth, n_lines, last = 1, 1, min(len(text), at + MAX_CHARS)
    for end in range(at, last):
        char = text[end]
        depth += (char in OPENED) - (char in CLOSED)
        if not depth:
            newline = text.find("\n", end)
            return newline if newline >= 0 else len(text)
        if char == "\n":
            if n_lines == MAX_LINES:
                return end
            n_lines += 1
    return last


def _seen(document: LiveFile, prefix: str, suffix: str) -> range | None:
    """The document's lines that its prompt shows around the cursor; None where the document is
    not the one that is asked about."""
    before = prefix[-SEEN_BEFORE_CHARS:]
    at = document.text.find(before + suffix[:SEEN_AFTER_CHARS])
    if at < 0:
        return None
    first = document.text.count("\n", 0, at)
    n_lines = before.count("\n") + suffix.count("\n", 0, SEEN_AFTER_CHARS)
    return range(first, first + n_lines + 1)
