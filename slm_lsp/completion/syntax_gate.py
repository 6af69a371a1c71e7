"""No more of a text than leaves the file's syntax as sound as it was.

Owns: what counts as an error that the text adds, where the text is cut before it, and which
brackets and quotes are closed instead.

Invariant: pure but for the trial, and total. What the end of a text asks for may never be
written, so it counts as missing. The result is a piece of the text from its beginning,
and behind it at most what closes brackets, a quote and a statement at the end of a line. A text
of which nothing is known when time is over is left as it is.

Threads: the owner of the trial.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from slm_lsp.completion import ladder
from slm_lsp.completion.brackets import CLOSING, open_quote, scan, unpaired
from slm_lsp.completion.place import Place
from slm_lsp.completion.postprocess import laid_out
from slm_lsp.context.languages import Blocks
from slm_lsp.context.trial import Look, Stopped, Trial
from slm_lsp.types import Finish, Want

_ENDED = (Finish.STOP, Finish.EOS)
# What a user sees is going on in the next line.
_OPENS = re.compile(r"[(\[{]\Z")
_GOES_ON = re.compile(r"(?:(?<!\+)\+|(?<!-)-|[*/%=<>&|^?,]|(?<![\w.])(?:and|or|not|in|is))\Z")
_OPERAND_END = re.compile(r"[\w)\]}\"'`]\Z")
_ONLY_CLOSERS = re.compile(r"[)\]};,\s]*\Z")


class State(StrEnum):
    """What the gate did to a text."""

    OK = "ok"
    CLOSED = "closed"
    CUT = "cut"
    DROPPED = "dropped"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be shown of a text (nothing, if it is dropped), and what was done to it."""

    text: str
    state: State


@dataclass(frozen=True, slots=True)
class _Tail:
    """What closes all that is open behind a piece and that nothing behind the cursor closes.

    `n_written` of it belong in the piece's last line. The piece opened the first `n_own` of it
    itself, and `before_last_line` some of that.
    """

    closers: str
    n_written: int
    n_own: int
    before_last_line: bool
    in_string: bool

    @property
    def opened(self) -> bool:
        """Whether the piece itself opened some of it."""
        return self.n_own > 0

    @property
    def may_go_on(self) -> bool:
        """Whether the last line alone leaves open what it opened, and in code."""
        return not self.before_last_line and not self.in_string


@dataclass(frozen=True, slots=True)
class _Ending:
    """Text behind a piece; the first `n_written` characters may be shown with it. Where it leaves
    no error, the piece is fit to be shown without it if that `is_to_come`."""

    text: str
    n_written: int
    is_to_come: bool


def judge(text: str, place: Place, trial: Trial) -> Verdict:
    """What of a text may be shown."""
    gate = _Gate(place, trial)
    try:
        return gate.judge(text)
    except Stopped:
        # What is known to break something is not shown, whatever a longer look would leave of it.
        return Verdict("", State.DROPPED) if gate.is_bad else Verdict(text, State.UNCHECKED)


class _Gate:
    """The tries of one text."""

    is_bad = False

    def __init__(self, place: Place, trial: Trial) -> None:
        self._place = place
        self._trial = trial

    # Of most texts the first look says all.

    @cached_property
    def _open_before(self) -> str:
        return scan(self._trial.before, self._place.language).open

    @cached_property
    def _behind(self) -> str:
        return scan(self._trial.after, self._place.language).reaching

    def judge(self, text: str) -> Verdict:
        whole, limit = self._to_block_end(text), len(text)
        no_worse = ""
        for piece in _pieces(whole, self._place):
            if len(piece) > limit:
                continue
            look = self._look(piece)
            if look is None:
                break
            shown, n_errors = self._shown(piece, look, is_whole=piece is text)
            if shown and self._adds_none(shown):
                return _verdict(text, shown)
            baseline = self._trial.look(self._tail("").closers)
            if n_errors is None or baseline is None or not self._adds_none(piece):
                pass
            elif n_errors <= baseline.n_errors:
                if n_errors < baseline.n_errors or not baseline.in_line:
                    return _verdict(text, piece)  # its errors are elsewhere
                # The place is broken and stays so. A piece of what makes it worse is not shown.
                no_worse = no_worse or (piece if piece is whole else "")
            self.is_bad = not no_worse
            limit = min(limit, look.until - self._n_indent(piece))
        return _verdict(text, no_worse)

    def _look(self, piece: str, behind: str = "") -> Look | None:
        return self._trial.look(laid_out(piece, self._place) + behind)

    def _adds_none(self, piece: str) -> bool:
        """Whether a piece as it stands adds no error: what its end asks for may never be written.

        What the user left open may be closed behind it. A missing `;` is no error where time was
        too short.
        """
        if self._compares(piece, "", ""):
            return True
        tail, users = self._tail(piece), self._tail("").closers
        if users and self._compares(piece, tail.closers[tail.n_own :], users):
            return True
        is_cut = self._place.finish is Finish.DEADLINE
        lacks_end = is_cut and self._place.language.blocks is Blocks.BRACES
        return lacks_end and self._compares(piece, ";", "")

    def _compares(self, piece: str, behind: str, behind_nothing: str) -> bool:
        """Whether there are no more errors with a piece than without."""
        now = self._look(piece, behind)
        if now is None or now.n_errors == 0:
            return now is not None
        without = self._trial.look(behind_nothing)
        return without is not None and now.n_errors <= without.n_errors

    def _n_indent(self, piece: str) -> int:
        """How much is put before a piece."""
        return 0 if piece.startswith("\n") else len(self._place.context.inferred_indent)

    def _to_block_end(self, text: str) -> str:
        if self._place.context.want is not Want.BLOCK or "\n" not in text.strip("\n"):
            return text
        put = laid_out(text, self._place)
        if self._trial.look(put) is None:
            return text
        begin = len(put) - len(put.lstrip())
        end = self._trial.block_end(put, begin) - self._n_indent(text)
        if not 0 < end < len(text):
            return text
        # What closes a statement may stand behind the last of its nodes.
        at = text.find("\n", len(text[:end].rstrip()))
        return text[:at] if at > 0 and text[at:].strip() else text

    # --- one piece ---

    def _shown(self, piece: str, look: Look, *, is_whole: bool) -> tuple[str, int | None]:
        """What is shown of a piece; if nothing, how many errors it leaves, None if it leaves
        open what nobody expects to be."""
        if look.n_errors == 0:
            return piece, 0
        tail, n_least = self._tail(piece), look.n_errors
        opens = bool(_OPENS.search(piece)) and tail.may_go_on
        for ending in self._endings(piece, tail, opens=opens):
            ended = self._look(piece, ending.text)
            if ended is None:
                break
            if ending.is_to_come:
                n_least = min(n_least, ended.n_errors)
            if ended.n_errors == 0:
                if ending.is_to_come and not ending.n_written:
                    return piece, 0
                closed = piece + ending.text[: ending.n_written]
                if is_whole and self._may_close(piece, tail, ending):
                    after = self._look(closed)
                    if after is not None and after.n_errors <= look.n_errors:
                        return closed, 0
                if ending.is_to_come:
                    return piece, 0
                break  # no other ending is needed
        return "", n_least if opens or not tail.opened else None

    def _endings(self, piece: str, tail: _Tail, *, opens: bool) -> Iterator[_Ending]:
        written, rest = tail.closers[: tail.n_written], tail.closers[tail.n_written :]
        ends_statement = self._place.language.blocks is Blocks.BRACES
        goes_on = bool(_GOES_ON.search(piece)) and tail.may_go_on
        may_go_on = ends_statement or bool(tail.closers or self._place.rest.strip())
        if goes_on and may_go_on:
            yield _Ending(" x" + tail.closers, 0, True)
            if ends_statement:
                yield _Ending(" x" + written + ";" + rest, 0, True)
            return
        n_written = 0 if opens else tail.n_written
        if tail.closers:
            yield _Ending(tail.closers, n_written, opens or not tail.opened)
        if ends_statement:
            later = opens or (not tail.opened and self._place.finish not in _ENDED)
            yield _Ending(written + ";" + rest, 0 if opens else tail.n_written + 1, later)

    def _may_close(self, piece: str, tail: _Tail, ending: _Ending) -> bool:
        """Whether a user would expect to see it closed: at the end of a line that the model
        took for finished."""
        place, written = self._place, ending.text[: ending.n_written]
        if place.finish not in _ENDED or place.context.in_comment or tail.before_last_line:
            return False
        if not place.context.in_string and not _OPERAND_END.search(piece):
            return False
        # The brace of a block goes on a line of its own.
        if place.language.blocks is not Blocks.COLON and written.rstrip(";").endswith("}"):
            return False
        rest = place.rest.strip()
        return not rest or (written[-1:] != ";" and bool(_ONLY_CLOSERS.match(rest)))

    def _tail(self, piece: str) -> _Tail:
        place, language = self._place, self._place.language
        last = (place.line + piece).rpartition("\n")[2]
        quote = open_quote(last, language)
        mark = quote.mark if quote is not None and quote.mark not in language.long_quotes else ""
        now = scan(piece + mark, language, self._open_before)
        n_left = next(
            (
                n
                for n in range(len(now.open), -1, -1)
                if not unpaired(self._behind, now.open[:n])[1]
            ),
            0,
        )
        closers = mark + "".join(CLOSING[each] for each in reversed(now.open[n_left:]))
        in_last = len(mark) + len(scan(last + mark, language).opened)
        newline = piece.rfind("\n")
        own = now.opened[-(len(now.open) - n_left) :] if n_left < len(now.open) else ()
        begun = bool(mark) and quote is not None and quote.at >= len(last) - len(piece)
        return _Tail(
            closers,
            min(in_last, len(closers)),
            len(own) + begun,
            any(at < newline for at in own),
            bool(mark),
        )


def _verdict(text: str, shown: str) -> Verdict:
    if not shown:
        return Verdict("", State.DROPPED)
    if shown == text:
        return Verdict(text, State.OK)
    return Verdict(shown, State.CUT if text.startswith(shown) else State.CLOSED)


def _pieces(text: str, place: Place) -> Iterator[str]:
    """The text, its lines, and what ends with an operand in the first of them."""
    yield text
    at = text.rfind("\n")
    while at > 0 and text[:at].strip():
        piece = text[:at].rstrip()
        if ladder.is_closed(piece, place):
            yield piece
        at = text.rfind("\n", 0, at)
    if not place.context.in_string and not place.context.in_comment:
        n_blank = len(text) - len(text.lstrip("\n"))
        end = text.find("\n", n_blank)
        yield from ladder.expressions(text[:end] if end >= 0 else text, place)
