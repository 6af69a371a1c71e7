"""HTTP to one server: a pool of connections, requests, and streams that can be cut.

Owns: the only use of an HTTP library, its settings, and the words for all that can go wrong.

Invariant: the key goes to the one address that the user named, over no redirect, and into no
message. Whatever fails raises `Trouble`, which says whether asking again may help. A stream that
is left is closed; nothing is read of it any more.

Threads: the event loop; `HttpLink.make` may run anywhere, as the library takes its time to load.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from slm_lsp.engine.server_settings import Key, host_of, is_loopback
from slm_lsp.engine.server_stream import Events, Form, GarbledAnswer, Json, shown

log = logging.getLogger(__name__)

CONNECT_PATIENCE_S = 10.0
LOOK_PATIENCE_S = 10.0
# Of an answer that is no stream, and of an error, no more is read.
MAX_BODY_BYTES = 4 << 20
MAX_ERROR_BYTES = 4096
KEEP_ALIVE_S = 120.0
# How long a server is left alone that will not answer before the user has done something.
HOPELESS_WAIT_MS = 30_000.0
MAX_WAIT_S = 600.0
ADVICE = {
    401: "the key is missing or wrong",
    403: "the key may not do that",
    404: "the model or the address is wrong",
}


class Trouble(Exception):
    """A request failed. `retriable`: nothing was answered, and the same may be asked again;
    `wait_ms`: not before so long; `status`: what the server said, if it did."""

    def __init__(
        self, said: str, *, retriable: bool = False, wait_ms: float = 0.0, status: int = 0
    ) -> None:
        super().__init__(said)
        self.retriable, self.wait_ms, self.status = retriable, wait_ms, status

    @property
    def is_too_long(self) -> bool:
        """Whether the server refuses the prompt for its length: llama.cpp's, vLLM and OpenAI all
        name the context then."""
        return self.status in (400, 413) and "context" in str(self)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; `body` is None where it is no JSON object."""

    status: int
    body: Json | None


class Link(Protocol):
    """What the engine needs of HTTP."""

    async def look(self, path: str, body: Json | None = None) -> Reply:
        """One small request and its whole answer, whatever its status. Raises Trouble."""

    def stream(self, path: str, body: Json) -> AbstractAsyncContextManager[AsyncIterator[Json]]:
        """The objects of an answer as they come. Raises Trouble, on entering and within."""

    async def close(self) -> None: ...


class HttpLink:
    """A Link over HTTP/1.1."""

    def __init__(self, base: str, key: Key, client: Any, library: Any) -> None:
        self._base, self._key, self._client, self._library = base, key, client, library

    @classmethod
    def make(cls, base: str, key: Key) -> HttpLink:
        """Load the library and make a client that has no connection yet."""
        import httpx2

        for name in ("httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        is_local = is_loopback(host_of(base))
        client = httpx2.AsyncClient(
            headers={
                **key.headers(),
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
            },
            # The one absolute deadline is the caller's; these only bound what nobody waits for.
            timeout=httpx2.Timeout(60.0, connect=CONNECT_PATIENCE_S),
            limits=httpx2.Limits(
                max_connections=8, max_keepalive_connections=4, keepalive_expiry=KEEP_ALIVE_S
            ),
            follow_redirects=False,
            # A proxy is for what lies beyond this machine.
            trust_env=not is_local,
            verify=base.startswith("https:"),
        )
        return cls(base, key, client, httpx2)

    async def look(self, path: str, body: Json | None = None) -> Reply:
        """See Link."""
        try:
            async with asyncio.timeout(LOOK_PATIENCE_S):
                async with self._sent(path, body) as response:
                    self._refuse_redirect(response)
                    read = await _read(response, MAX_BODY_BYTES)
        except TimeoutError:
            raise Trouble(f"{path}: no answer in {LOOK_PATIENCE_S:.0f} s") from None
        if response.status_code >= 400:  # a complaint may show the key
            read = self._key.hide(read.decode("utf-8", "replace")).encode()
        return Reply(response.status_code, _json(read))

    @asynccontextmanager
    async def stream(self, path: str, body: Json) -> AsyncIterator[AsyncIterator[Json]]:
        """See Link."""
        async with self._sent(path, body) as response:
            self._refuse_redirect(response)
            if response.status_code != 200:
                raise await self._refused(response)
            async with aclosing(self._objects(response)) as objects:
                yield objects

    async def close(self) -> None:
        """See Link."""
        await self._client.aclose()

    async def _objects(self, response: Any) -> AsyncGenerator[Json, None]:
        try:
            events = Events(Form.of(response.headers.get("content-type", "")))
            async with aclosing(response.aiter_bytes()) as parts:
                async for received in parts:
                    for found in events.feed(received):
                        yield found
            for found in events.end():
                yield found
        except GarbledAnswer as error:
            raise Trouble(self._key.hide(str(error))) from error

    @asynccontextmanager
    async def _sent(self, path: str, body: Json | None) -> AsyncIterator[Any]:
        """A response whose body is not read yet."""
        method = "GET" if body is None else "POST"
        content = None if body is None else json.dumps(body).encode()
        try:
            async with self._client.stream(method, self._base + path, content=content) as response:
                yield response
        except self._library.ConnectError as error:
            raise Trouble(f"cannot be reached: {self._why(error)}", retriable=True) from error
        except self._library.TimeoutException as error:
            raise Trouble(f"does not answer: {self._why(error)}") from error
        except (self._library.RequestError, self._library.StreamError) as error:
            said = f"the connection broke: {self._why(error)}"
            raise Trouble(said, retriable=True) from error

    def _why(self, error: Exception) -> str:
        return self._key.hide(shown(str(error)) or type(error).__name__)

    def _refuse_redirect(self, response: Any) -> None:
        if 300 <= response.status_code < 400:
            target = self._key.hide(shown(response.headers.get("location", "elsewhere")))
            raise Trouble(
                f"answered {response.status_code}: it sends on to {target}; the key is not sent "
                "there: set server_url to the address that is meant",
                wait_ms=HOPELESS_WAIT_MS,
                status=response.status_code,
            )

    async def _refused(self, response: Any) -> Trouble:
        status: int = response.status_code
        said = _complaint(await _read(response, MAX_ERROR_BYTES))
        text = "; ".join(part for part in (ADVICE.get(status, ""), said) if part)
        message = self._key.hide(f"answered {status}: {text or 'nothing more'}")
        if status == 429 or status >= 500:
            wait_ms = _retry_after_ms(response.headers.get("retry-after", ""))
            may_pass = status in (429, 502, 503, 504)
            return Trouble(message, retriable=may_pass, wait_ms=wait_ms, status=status)
        return Trouble(message, wait_ms=HOPELESS_WAIT_MS, status=status)


async def _read(response: Any, max_bytes: int) -> bytes:
    read = b""
    async for received in response.aiter_bytes():
        read += received
        if len(read) > max_bytes:
            break
    return read[:max_bytes]


def _json(read: bytes) -> Json | None:
    try:
        found = json.loads(read)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _complaint(read: bytes) -> str:
    """What a server says of an error: OpenAI's shape, FastAPI's, or any text."""
    found = _json(read)
    if found is None:
        return shown(read.decode("utf-8", "replace"))
    said = found.get("error") or found.get("detail") or found.get("message") or found
    if isinstance(said, dict):
        said = said.get("message", said)
    return shown(str(said))


def _retry_after_ms(told: str) -> float:
    """Seconds; a date is taken as not told."""
    try:
        return min(MAX_WAIT_S, max(0.0, float(told))) * 1e3
    except ValueError:
        return 0.0
