"""What goes over the socket between a server and the daemon: messages and their frames.

Owns: the frame (four bytes of length, big-endian, then JSON in UTF-8), the messages, and which
message tells of which exception. How a value is written is `codec`'s.

Invariant: no state and no socket of its own; whatever is not a whole message raises WireError.

Threads: any.
"""

from __future__ import annotations

import asyncio
import json
import struct
import typing
from dataclasses import dataclass
from enum import StrEnum

from slm_lsp.deadline import SYSTEM_CLOCK, Cancelled, Clock
from slm_lsp.engine.base import EngineStats, EngineUnavailable, PromptError, Superseded
from slm_lsp.engine.codec import WireError, made, named, plain_fields
from slm_lsp.types import EngineState, Generation, GenerationRequest, ModelInfo

PROTOCOL_VERSION = 6
MAX_FRAME_BYTES = 8 << 20
HEADER = struct.Struct(">I")


class Trouble(StrEnum):
    """Why there is no generation, or no session."""

    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"
    UNAVAILABLE = "unavailable"
    PROMPT = "prompt"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of either side. A client without a `key` only looks or stops."""

    protocol: int
    version: str
    key: str
    pid: int


@dataclass(frozen=True, slots=True)
class Generate:
    id: int
    request: GenerationRequest


@dataclass(frozen=True, slots=True)
class Cancel:
    id: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """A document was closed."""

    document: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A generation, and the engine's counters as they are now."""

    id: int
    generation: Generation
    stats: EngineStats


@dataclass(frozen=True, slots=True)
class Error:
    """A request's failure; without an `id` it refuses the client."""

    id: int | None
    trouble: Trouble
    message: str


@dataclass(frozen=True, slots=True)
class Stats:
    """A question without `stats`, the answer with it; `id` is the asker's. Serves as a ping."""

    id: int
    stats: EngineStats | None = None
    n_clients: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """How the engine is; `progress` is a step of loading, `done` its share of 1. `stats` come
    along, as the first request of a client is planned with the speed they tell."""

    state: EngineState
    failure: str | None = None
    info: ModelInfo | None = None
    progress: str | None = None
    done: float | None = None
    stats: EngineStats | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """The daemon is to end."""


Message = Hello | Generate | Cancel | Abandon | Answer | Error | Stats | State | Stop
KINDS: dict[str, type[Message]] = {kind.__name__.lower(): kind for kind in typing.get_args(Message)}


# --- frames ---


def encode(message: Message) -> bytes:
    """The frame of a message. Raises WireError if it is too large."""
    content = {"type": type(message).__name__.lower(), **plain_fields(message)}
    # surrogatepass: an editor may send half a surrogate pair, and Python's str holds it.
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    raw = body.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_FRAME_BYTES:
        raise WireError(f"a message of {len(raw)} bytes; at most {MAX_FRAME_BYTES} are sent")
    return HEADER.pack(len(raw)) + raw


def length(header: bytes) -> int:
    """Bytes of the body that follows. Raises WireError for a length that is not allowed."""
    (n_bytes,) = HEADER.unpack(header)
    if not 0 < n_bytes <= MAX_FRAME_BYTES:
        raise WireError(f"a frame of {n_bytes} bytes; allowed are 1 to {MAX_FRAME_BYTES}")
    return int(n_bytes)


def decode(body: bytes, clock: Clock = SYSTEM_CLOCK) -> Message:
    """The message in a frame's body; its deadlines are on `clock`. Raises WireError."""
    try:
        content = json.loads(body.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        # Not chained: the exception's own text may quote the body.
        raise WireError(f"not JSON in UTF-8 ({type(error).__name__})") from None
    if not isinstance(content, dict):
        raise WireError(f"a message must be an object, not {named(content)}")
    kind = content.pop("type", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise WireError("there is no message of that type")
    message: Message = made(KINDS[kind], content, kind, clock)
    return message


async def receive(reader: asyncio.StreamReader, clock: Clock = SYSTEM_CLOCK) -> Message:
    """The next message. Raises WireError, asyncio.IncompleteReadError or OSError."""
    n_bytes = length(await reader.readexactly(HEADER.size))
    return decode(await reader.readexactly(n_bytes), clock)


# --- errors ---


def error_of(id_: int, error: Exception) -> Error:
    """The message that tells of a failed request."""
    if isinstance(error, Superseded):
        return Error(id_, Trouble.SUPERSEDED, "")
    if isinstance(error, Cancelled):
        return Error(id_, Trouble.CANCELLED, "")
    if isinstance(error, PromptError):
        return Error(id_, Trouble.PROMPT, str(error))
    return Error(id_, Trouble.UNAVAILABLE, str(error) or repr(error))


def exception_of(error: Error) -> Exception:
    """The exception that an Engine raises for it."""
    if error.trouble is Trouble.SUPERSEDED:
        return Superseded()
    if error.trouble is Trouble.CANCELLED:
        return Cancelled()
    kind = PromptError if error.trouble is Trouble.PROMPT else EngineUnavailable
    return kind(error.message)
