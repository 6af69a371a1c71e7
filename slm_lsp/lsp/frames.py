"""The frames of the protocol on stdin, whatever else comes there.

Owns: finding the next whole message: its header, its length, its body.

Invariant: no header ends the session, and no more than MAX_BODY_BYTES are held. What is no header,
or one of a length that cannot be, is passed over until the next that can. (pygls takes such a
length at its word, and ends.)

Threads: the one that reads stdin.
"""

from __future__ import annotations

import logging
import re
from typing import BinaryIO

log = logging.getLogger(__name__)

# No editor sends a document so large; held as JSON and as text it would take a gigabyte.
MAX_BODY_BYTES = 64 << 20
MAX_LINE_BYTES = 1 << 16
# At a line's end: behind a body that was longer than it was said to be, a header begins anywhere.
_LENGTH = re.compile(rb"(?i)content-length:[ \t]*([0-9]{1,18})[ \t]*\r?\n\Z")


class Frames:
    """A stream as pygls reads it: of every message a header, an empty line, and the body."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        self._body = b""

    def readline(self) -> bytes:
        """The next line of a header; nothing at the stream's end."""
        if not self._lines:
            body = self._next()
            if body is None:
                return b""
            self._body = body
            self._lines = [b"\r\n", b"Content-Length: %d\r\n" % len(body)]
        return self._lines.pop()

    def read(self, n_bytes: int) -> bytes:
        """The body whose header was read."""
        body, self._body = self._body[:n_bytes], b""
        return body

    def _next(self) -> bytes | None:
        """The next body that is not empty; None where the stream ends before its end."""
        n_bytes = 0
        while line := self._stream.readline(MAX_LINE_BYTES):
            if found := _LENGTH.search(line):
                n_bytes = int(found[1])
                if n_bytes > MAX_BODY_BYTES:
                    log.warning("a message of %d bytes is passed over", n_bytes)
                    n_bytes = 0
            elif n_bytes and not line.strip():
                body = self._stream.read(n_bytes)
                return body if len(body) == n_bytes else None
        return None
