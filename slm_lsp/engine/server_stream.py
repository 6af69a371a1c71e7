"""A server's answer as it arrives: bytes in, JSON objects out.

Owns: server-sent events, JSON a line, and one JSON object for the whole answer.

Invariant: pure but for its own buffer; it does not matter in which pieces the bytes came. What is
no such stream raises `GarbledAnswer` and is never passed on; a server cannot make the buffer grow
without end.

Threads: the event loop.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum, auto
from typing import Any

MAX_EVENT_BYTES = 1 << 20
SHOWN_CHARS = 160
DONE = "[DONE]"
_LINE_END = re.compile(rb"\r\n|\n|\r(?!\n)(?=.)", re.DOTALL)

Json = dict[str, Any]


class GarbledAnswer(Exception):
    """The answer is not what the API says; the message shows its beginning."""


class Form(Enum):
    """How an answer is made up."""

    EVENTS = auto()
    LINES = auto()
    WHOLE = auto()

    @classmethod
    def of(cls, content_type: str) -> Form:
        """By what the server declares. Raises GarbledAnswer."""
        kind = content_type.partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return cls.EVENTS
        if kind in ("application/x-ndjson", "application/jsonl", "application/jsonlines"):
            return cls.LINES
        if kind == "application/json":
            return cls.WHOLE
        raise GarbledAnswer(f"it answered {kind or 'something of no kind'} instead of a stream")


class Events:
    """See the module. `done` once the stream has said that it is complete."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.done = False
        self._buffer = b""
        self._event: list[str] = []

    def feed(self, received: bytes) -> Iterator[Json]:
        """The objects that are complete with these bytes. Raises GarbledAnswer."""
        self._buffer += received
        if self.form is not Form.WHOLE:
            *lines, self._buffer = _LINE_END.split(self._buffer)
            for line in lines:
                yield from self._line(line.decode("utf-8", "replace"))
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise GarbledAnswer("it sent a line that does not end")

    def end(self) -> Iterator[Json]:
        """What is left once all bytes have come."""
        rest, self._buffer = self._buffer.decode("utf-8", "replace"), b""
        if self.form is Form.WHOLE:
            yield _object(rest)
            return
        yield from self._line(rest.rstrip("\r"))
        yield from self._line("")

    def _line(self, line: str) -> Iterator[Json]:
        if self.form is Form.LINES:
            if line.strip():
                yield _object(line)
            return
        if line:
            name, _, value = line.partition(":")
            if name == "data":
                self._event.append(value.removeprefix(" "))
            return
        text, self._event = "\n".join(self._event), []
        if text.strip() == DONE:
            self.done = True
        elif text:
            yield _object(text)


def _object(text: str) -> Json:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise GarbledAnswer(f"it sent what is no JSON object: {shown(text)}")
    return found


def shown(text: str) -> str:
    """A server's text on one line of a message."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:2000]).split())
    return line if len(line) <= SHOWN_CHARS else line[:SHOWN_CHARS] + "…"
