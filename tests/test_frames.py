"""Messages are found in whatever comes on stdin, and nothing there ends the session."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.lsp import frames
from slm_lsp.lsp.frames import Frames

BODY = b'{"jsonrpc": "2.0"}'
GOOD = b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
QUICK = settings(derandomize=True, deadline=None, max_examples=80, database=None)


def bodies(raw: bytes) -> list[bytes]:
    """What pygls takes out of a stream."""
    stream, found = Frames(io.BytesIO(raw)), []
    while line := stream.readline():
        assert stream.readline() == b"\r\n"
        found.append(stream.read(int(line.removeprefix(b"Content-Length: "))))
    return found


@pytest.mark.parametrize(
    "junk",
    [
        *(b"", b"\r\n", b"\n\n", b"junk\r\n", b"X-Other: 1\r\n", b"\xff\0\r\n\r\n"),
        *(
            b"Content-Length: 0\r\n\r\n",
            b"Content-Length: -5\r\n\r\n",
            b"Content-Length: x\r\n\r\n",
        ),
        b"Content-Length: 4611686018427387904\r\n\r\n",
        b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n",
        # A body that was said to be shorter: the next header goes on behind it.
        b'Content-Length: 3\r\n\r\n{"a": 1}',
        b"a" * (3 * frames.MAX_LINE_BYTES) + b"\r\n",
    ],
)
def test_what_is_no_message_is_passed_over(junk: bytes) -> None:
    assert bodies(junk + GOOD)[-1:] == [BODY]
    assert bodies(GOOD + junk + GOOD + GOOD)[-2:] == [BODY, BODY]


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 18\r\nContent-Type: x\r\n\r\n",
        b"Content-Type: x\r\nContent-Length: 18\r\n\r\n",
        b"content-length:18\r\n\r\n",
        b"Content-Length: 18\n\n",
    ],
)
def test_headers_as_others_write_them(head: bytes) -> None:
    assert bodies(head + BODY + GOOD) == [BODY, BODY]


def test_a_body_that_is_too_large_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_BODY_BYTES", 1000)
    large = b'{"text": "' + b"x" * 300_000 + b'"}'
    read = []

    class Stream(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            read.append(len(line))
            return line

    stream = Frames(Stream(b"Content-Length: %d\r\n\r\n" % len(large) + large + GOOD))
    assert stream.readline() == b"Content-Length: 18\r\n"
    assert max(read) <= frames.MAX_LINE_BYTES


def test_a_stream_that_ends_within_a_message_ends() -> None:
    for n_bytes in range(len(GOOD)):
        assert bodies(GOOD + GOOD[:n_bytes]) == [BODY]


@QUICK
@given(st.lists(st.binary(max_size=30) | st.sampled_from([GOOD, b"\r\n", b"Content-Length: 9"])))
def test_any_bytes_are_read_to_their_end(parts: list[bytes]) -> None:
    assert all(bodies(b"".join(parts)))
