"""Messages and their frames: what goes in comes out, and what is none is named.

Invariant: pure; no socket. Deadlines are on a FakeClock.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.deadline import Cancelled, CancelToken, Deadline, FakeClock
from slm_lsp.engine import wire as subject
from slm_lsp.engine.base import EngineStats, EngineUnavailable, PromptError, Superseded
from slm_lsp.engine.codec import WireError
from slm_lsp.engine.wire import (
    HEADER,
    KINDS,
    MAX_FRAME_BYTES,
    Abandon,
    Answer,
    Cancel,
    Error,
    Generate,
    Hello,
    Message,
    State,
    Stats,
    Stop,
    Trouble,
    decode,
    encode,
    error_of,
    exception_of,
    length,
)
from slm_lsp.types import (
    EngineState,
    FimTemplate,
    Generation,
    GenerationRequest,
    ModelInfo,
    Prompt,
    Special,
    StopRule,
    Text,
)

QUICK = settings(derandomize=True, deadline=None, max_examples=80, database=None)
# Half surrogate pairs included: editors send them.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff😀"), max_size=8)
st.register_type_strategy(str, ANY_TEXT)
FLOATS = st.floats(allow_nan=False, allow_subnormal=False)
TEMPLATES = st.builds(FimTemplate)
INFOS = st.builds(
    ModelInfo,
    specials=st.frozensets(ANY_TEXT, max_size=3),
    metadata=st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3),
    template=st.none() | TEMPLATES,
)
SEGMENTS = st.lists(st.builds(Special) | st.builds(Text), max_size=4).map(tuple)
RULES = st.builds(StopRule, line_opens=st.none() | st.text(max_size=3))
PROMPTS = st.builds(Prompt, segments=SEGMENTS, stop=RULES)
MESSAGES = st.one_of(
    st.builds(Hello),
    st.builds(Cancel),
    st.builds(
        Answer,
        generation=st.builds(
            Generation,
            logprobs=st.lists(FLOATS, max_size=3).map(tuple),
            ends=st.lists(st.integers(), max_size=3).map(tuple),
            total_ms=FLOATS,
        ),
        stats=st.builds(EngineStats),
    ),
    st.builds(Error),
    st.builds(Stats, stats=st.none() | st.builds(EngineStats)),
    st.builds(State, info=st.none() | INFOS, done=st.none() | FLOATS),
    st.builds(Stop),
)


def body(message: Message) -> bytes:
    frame = encode(message)
    assert length(frame[: HEADER.size]) == len(frame) - HEADER.size
    return frame[HEADER.size :]


@QUICK
@given(MESSAGES)
def test_what_goes_in_comes_out(message: Message) -> None:
    assert decode(body(message)) == message


def test_halves_of_surrogate_pairs_cross_as_they_are() -> None:
    # Two halves are two characters in a str, and not the one that JSON's escapes would make.
    for text in ("\ud800", "a\udfff😀", "\ud83d\ude00"):
        assert decode(body(Error(1, Trouble.PROMPT, text))) == Error(1, Trouble.PROMPT, text)


@QUICK
@given(st.integers(), ANY_TEXT, PROMPTS, st.floats(-1e6, 1e6))
def test_a_request_crosses_with_the_time_that_remains(
    id_: int, session: str, prompt: Prompt, remaining_ms: float
) -> None:
    here, there = FakeClock(1000.0), FakeClock(5.0)
    deadline = Deadline.after(remaining_ms, here)
    sent = GenerationRequest(session, prompt, deadline, CancelToken(), branch=2, branch_at=3)
    got = decode(body(Generate(id_, sent)), there)
    assert isinstance(got, Generate)
    request = got.request
    assert (got.id, request.session, request.prompt) == (id_, session, prompt)
    assert (request.priority, request.branch, request.branch_at) == (sent.priority, 2, 3)
    assert request.deadline.clock is there
    assert request.deadline.remaining_ms() == pytest.approx(deadline.remaining_ms(), abs=1e-6)
    sent.cancel.cancel()
    assert not request.cancel.cancelled


def test_no_clock_reading_is_written() -> None:
    clock = FakeClock(987654.0)
    request = GenerationRequest("s", Prompt(()), Deadline.after(50.0, clock), CancelToken())
    content = json.loads(body(Generate(1, request)))
    assert content["request"]["deadline"] == 50.0
    assert "987" not in json.dumps(content)


def test_every_message_has_a_type_of_its_own() -> None:
    assert KINDS.keys() == {
        *("hello", "generate", "cancel", "abandon", "answer", "error", "stats", "state", "stop")
    }


# --- what is no message ---


def altered(message: Message, *path: str | int, to: Any) -> bytes:
    """The body of `message` with the value at a path replaced."""
    content = json.loads(body(message))
    inner = content
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = to
    return json.dumps(content).encode()


PROMPT = Prompt((Special("<a>"), Text("secret source")))
REQUEST = Generate(7, GenerationRequest("s", PROMPT, Deadline.after(9.0), CancelToken()))
INFO = State(EngineState.READY, info=ModelInfo("m", 1))


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 5000, "not JSON"),
        (b"[]", "must be an object, not list"),
        (b"{}", "no message of that type"),
        (b'{"type": 3}', "no message of that type"),
        (b'{"type": ["hello"]}', "no message of that type"),
        (b'{"type": "cancel"}', "cancel: lacks id"),
        (b'{"type": "cancel", "id": 1, "x": 2}', "cancel: has a field that is not known"),
        (b'{"type": "cancel", "id": true}', "cancel.id: must be int, not bool"),
        (b'{"type": "cancel", "id": 1.0}', "cancel.id: must be int, not float"),
        (altered(REQUEST, "request", to=[]), "generate.request: must be dict, not list"),
        (altered(REQUEST, "request", "priority", to=9), "request.priority: must be one of 0, 1, 2"),
        (altered(REQUEST, "request", "priority", to=True), "must be one of 0"),
        (altered(REQUEST, "request", "deadline", to="9"), "deadline: must be float, not str"),
        (altered(REQUEST, "request", "deadline", to=10**400), "deadline: too large"),
        (altered(REQUEST, "request", "deadline", to=float("nan")), "number of milliseconds"),
        (altered(REQUEST, "request", "prompt", "segments", to="x"), "segments: must be list"),
        (
            altered(REQUEST, "request", "prompt", "segments", 1, "kind", to="Evil"),
            r"segments\[1\].kind: must be one of Special, Text",
        ),
        (
            altered(REQUEST, "request", "prompt", "segments", 0, "text", to=None),
            r"segments\[0\].text: must be str, not NoneType",
        ),
        (altered(REQUEST, "request", "prompt", "stop", "max_lines", to="3"), "max_lines: must be"),
        (altered(INFO, "info", "metadata", to={"a": 1}), r"metadata\[…\]: must be str"),
        (altered(INFO, "info", "specials", to=[1]), r"specials\[0\]: must be str"),
        (altered(INFO, "state", to="happy"), "state.state: must be one of loading"),
    ],
)
def test_what_is_no_message_is_named(raw: bytes, says: str) -> None:
    with pytest.raises(WireError, match=says) as raised:
        decode(raw)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


@QUICK
@given(
    st.binary(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["type", "id", "state", "request"]), inner)
        ),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).replace('"type": ""', '"type": "generate"').encode())
)
def test_anything_else_is_a_wire_error(raw: bytes) -> None:
    try:
        message = decode(raw)
    except WireError:
        return
    assert isinstance(message, (Cancel, Stop))


def test_frames_have_a_limit() -> None:
    assert length(HEADER.pack(MAX_FRAME_BYTES)) == MAX_FRAME_BYTES
    for n_bytes in (0, MAX_FRAME_BYTES + 1, 0xFFFFFFFF):
        with pytest.raises(WireError, match=f"a frame of {n_bytes} bytes"):
            length(HEADER.pack(n_bytes))
    with pytest.raises(WireError, match="at most"):
        encode(Error(1, Trouble.PROMPT, "x" * MAX_FRAME_BYTES))


async def test_messages_are_read_whatever_the_pieces() -> None:
    messages: list[Message] = [Cancel(1), Abandon("d"), Stop(), Cancel(2)]
    reader = asyncio.StreamReader()
    reading = asyncio.create_task(read(reader, 4))
    for byte in b"".join(map(encode, messages)):
        reader.feed_data(bytes([byte]))
        await asyncio.sleep(0)
    assert await reading == messages
    reader.feed_data(b"\0\0")
    reader.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError):
        await subject.receive(reader)


async def read(reader: asyncio.StreamReader, n: int) -> list[Message]:
    return [await subject.receive(reader) for _ in range(n)]


@pytest.mark.parametrize(
    ("error", "same"),
    [
        (Cancelled(), ""),
        (Superseded(), ""),
        (EngineUnavailable("why"), "why"),
        (PromptError("too long"), "too long"),
    ],
)
def test_errors_cross(error: Exception, same: str) -> None:
    got = decode(body(error_of(3, error)))
    assert isinstance(got, Error)
    assert got.id == 3
    raised = exception_of(got)
    assert type(raised) is type(error)
    assert str(raised) == same


def test_an_error_that_is_not_foreseen_is_unavailable() -> None:
    raised = exception_of(error_of(3, RuntimeError()))
    assert isinstance(raised, EngineUnavailable)
    assert str(raised) == "RuntimeError()"
