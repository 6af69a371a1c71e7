"""What may be shown of other files, and the choice among it.

Owns: windows of a text, the fusion of ranked lists, and the rules for what is too alike.

Invariant: deterministic, and pure but for a bounded memory of lines: the same lists give the same
pieces in the same order. No piece is nearly what is around the cursor, no two are nearly the same,
and together they fit.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise

from slm_lsp.workspace.identifiers import contained, dice, token_set

WINDOW_LINES, STEP_LINES = 16, 8
MAX_WINDOW_CHARS = 1200
# Lines of one file that are cut into windows, around the place of interest in it.
MAX_LINES = 2400
# Reciprocal rank fusion: how little the first ranks matter (Cormack et al. 2009 use 60).
_RRF = 60
MAX_PIECES = 12
LIKE_CURSOR, LIKE_EACH_OTHER, WITHIN_CURSOR = 0.5, 0.9, 0.8
# So few different words may all stand around the cursor by chance.
FEW_WORDS = 6
# Lines around cursors whose words are remembered; longer ones change with every key typed in them.
MAX_LINES_KEPT, MAX_KEPT_CHARS = 2048, 400


@dataclass(frozen=True, slots=True)
class Piece:
    """A text of another file; `is_window`: a stretch of it as it is."""

    path: str
    line: int
    text: str
    words: frozenset[str]
    is_window: bool = False


def windows(path: str, text: str, around: int = 0) -> Iterator[Piece]:
    """Overlapping stretches of a text, those of a long one around a line."""
    lines = text.split("\n")
    first = max(0, min(around - MAX_LINES // 2, len(lines) - MAX_LINES))
    first -= first % STEP_LINES
    last = min(len(lines), first + MAX_LINES)
    for start in range(first, max(first + 1, last - STEP_LINES), STEP_LINES):
        piece = window(path, lines, start, start + WINDOW_LINES)
        if piece is not None:
            yield piece


def window(path: str, lines: Sequence[str], start: int, end: int) -> Piece | None:
    """The lines from `start` to `end` without blank ones at the edges, if they hold anything."""
    start, end = max(0, start), min(end, len(lines))
    while start < end and not lines[start].strip():
        start += 1
    while end > start and not lines[end - 1].strip():
        end -= 1
    text = "\n".join(lines[start:end])
    if not text or len(text) > 4 * MAX_WINDOW_CHARS:
        return None
    if len(text) > MAX_WINDOW_CHARS:
        text = text[:MAX_WINDOW_CHARS].rpartition("\n")[0]
    words = token_set(text)
    return Piece(path, start, text, words, is_window=True) if words else None


def fused(lists: Iterable[tuple[float, Sequence[Piece]]]) -> list[Piece]:
    """The pieces of ranked lists of these weights in one order."""
    scores: dict[Piece, float] = {}
    for weight, pieces in lists:
        for rank, piece in enumerate(dict.fromkeys(pieces)):
            scores[piece] = scores.get(piece, 0.0) + weight / (_RRF + rank)
    return sorted(scores, key=lambda each: (-scores[each], each.path, each.line, each.text))


def chosen(
    pieces: Iterable[Piece], prefix: str, suffix: str, max_chars: int, max_pieces: int = MAX_PIECES
) -> tuple[Piece, ...]:
    """The first pieces that may be shown at a place, and fit."""
    is_too_alike = likeness(prefix, suffix)
    taken: list[Piece] = []
    for piece in pieces:
        if len(taken) == max_pieces:
            break
        if len(piece.path) + len(piece.text) > max_chars or is_too_alike(piece):
            continue
        if any(_tells_the_same(piece, other) for other in taken):
            continue
        taken.append(piece)
        max_chars -= len(piece.path) + len(piece.text)
    return tuple(taken)


def likeness(prefix: str, suffix: str) -> Callable[[Piece], bool]:
    """Tells whether a piece is nearly what stands around a place: a model copies that."""
    around = _Around(prefix, suffix)

    def is_too_alike(piece: Piece) -> bool:
        is_long = len(piece.words) > FEW_WORDS
        if not piece.is_window and not is_long:
            return False  # a signature, whose names are those of its use
        most = LIKE_CURSOR if is_long else LIKE_EACH_OTHER
        n_shared = len(piece.words & around.everything)
        # A part shares no more than that, and has no fewer words than it shares.
        could_be = 2 * n_shared > most * (len(piece.words) + n_shared)
        if could_be and any(dice(piece.words, part) > most for part in around.parts):
            return True
        if dice(piece.words, around.everything) > most:
            return True
        is_long_window = piece.is_window and is_long
        return is_long_window and contained(piece.words, around.everything) > WITHIN_CURSOR

    return is_too_alike


class _Around:
    """The words of the text around a place, taken apart once somebody asks."""

    def __init__(self, prefix: str, suffix: str) -> None:
        self._text = f"{prefix}{suffix}"

    @cached_property
    def _of_lines(self) -> list[frozenset[str]]:
        return [_words_in_line(line) for line in self._text.split("\n")]

    @cached_property
    def everything(self) -> frozenset[str]:
        return frozenset[str]().union(*self._of_lines)

    @cached_property
    def parts(self) -> list[frozenset[str]]:
        """Of as much text as a piece is: a set of words is alike only to one as large."""
        lines = self._of_lines
        steps = [
            frozenset[str]().union(*lines[start : start + STEP_LINES])
            for start in range(0, len(lines), STEP_LINES)
        ]
        # As windows are: two steps each.
        return [one | other for one, other in pairwise(steps)] or steps


def _words_in_line(line: str) -> frozenset[str]:
    return token_set(line) if len(line) > MAX_KEPT_CHARS else _remembered(line)


@lru_cache(MAX_LINES_KEPT)
def _remembered(line: str) -> frozenset[str]:
    """Of the lines around a place, typing changes one."""
    return token_set(line)


def _tells_the_same(piece: Piece, other: Piece) -> bool:
    if dice(piece.words, other.words) > LIKE_EACH_OTHER:
        return True
    # A method next to the class that it is of, or a window over a definition.
    return piece.path == other.path and _is_within(piece.words, other.words)


def _is_within(some: Set[str], others: Set[str]) -> bool:
    return contained(some, others) > LIKE_EACH_OTHER
