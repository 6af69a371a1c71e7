"""What every editor under test does, whatever carries its messages.

Owns: what an editor holds: its texts, in its own units, and every message in both directions.

Invariant: it shares no code with the server's conversions. `check_drained` fails unless every
request has had exactly one response and every message of the server's has been taken.

Threads: the test's event loop.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

URI = "file:///project/a.py"
CURSOR = "<CURSOR>"
PATIENCE_S = 30.0
CODECS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
INITIALIZE_DIR = Path(__file__).parent / "fixtures" / "initialize"

Json = dict[str, Any]


def to_position(text: str, offset: int, encoding: str) -> Json:
    """A client's position of `offset`, counted in the bytes of its own encoding."""
    codec, width = CODECS[encoding]
    lines = re.split(r"\r\n|\r|\n", text[:offset])
    encoded = lines[-1].encode(codec, "surrogatepass")
    return {"line": len(lines) - 1, "character": len(encoded) // width}


def to_offset(text: str, position: Json, encoding: str) -> int:
    """The offset of a position that lies within `text`; any other is an error."""
    codec, width = CODECS[encoding]
    starts = [0, *(end.end() for end in re.finditer(r"\r\n|\r|\n", text))]
    start = starts[position["line"]]
    line = re.split(r"[\r\n]", text[start:], maxsplit=1)[0].encode(codec, "surrogatepass")
    n_bytes = position["character"] * width
    assert n_bytes <= len(line), f"{position} lies behind the end of its line"
    return start + len(line[:n_bytes].decode(codec, "surrogatepass"))


def edited(text: str, edit_range: Json, new_text: str, encoding: str) -> str:
    """`text` after a client has replaced a range."""
    start = to_offset(text, edit_range["start"], encoding)
    end = to_offset(text, edit_range["end"], encoding)
    return text[:start] + new_text + text[end:]


class Editor(ABC):
    """See the module; a subclass carries the messages."""

    def __init__(self, capabilities: Json | None = None) -> None:
        self.capabilities = capabilities or {}
        self.encoding = "utf-16"
        self.texts: dict[str, str] = {}
        self.refuses_progress = False
        # What the server has asked this client to tell it of.
        self.registered: list[Json] = []
        self._versions: dict[str, int] = {}
        self._answers: dict[Any, asyncio.Future[Json]] = {}
        self._inbox: list[Json] = []
        self._arrived = asyncio.Event()
        self._n_sent = 0

    @abstractmethod
    async def send(self, message: Any) -> None:
        """Send one message; nothing is waited for."""

    @abstractmethod
    def reply(self, message: Json) -> None:
        """Send one message from where nothing can be awaited."""

    def check_drained(self) -> None:
        """See the module."""
        late = [str(key) for key, answer in self._answers.items() if not answer.done()]
        assert not late, f"requests without a response: {late}"
        assert not self._inbox, f"messages that the test did not expect: {self._inbox}"

    # --- messages ---

    async def notify(self, method: str, params: Any = None) -> None:
        await self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def message(self, method: str, params: Any = None) -> Json:
        """A request, not yet sent, to whose id a response is now expected."""
        self._n_sent += 1
        self.expect(self._n_sent)
        return {"jsonrpc": "2.0", "id": self._n_sent, "method": method, "params": params}

    def expect(self, msg_id: Any) -> None:
        self._answers[msg_id] = asyncio.get_running_loop().create_future()

    async def request(self, method: str, params: Any = None) -> Any:
        """Send a request and return its id."""
        message = self.message(method, params)
        await self.send(message)
        return message["id"]

    async def response(self, msg_id: Any) -> Json:
        """The whole response to a request."""
        return await asyncio.wait_for(asyncio.shield(self._answers[msg_id]), PATIENCE_S)

    async def result(self, msg_id: Any) -> Any:
        response = await self.response(msg_id)
        assert "error" not in response, response["error"]
        return response["result"]

    async def error(self, msg_id: Any) -> Json:
        response = await self.response(msg_id)
        assert "result" not in response, response["result"]
        error: Json = response["error"]
        return error

    async def call(self, method: str, params: Any = None) -> Any:
        """Send a request and return its result."""
        return await self.result(await self.request(method, params))

    def receive(self, message: Json) -> None:
        """Take one message of the server's."""
        if "method" in message and "id" in message:
            self._answer(message)
        elif "method" in message:
            self._inbox.append(message)
        else:
            assert message["id"] in self._answers, f"a response to no request: {message}"
            assert not self._answers[message["id"]].done(), f"a second response: {message}"
            self._answers[message["id"]].set_result(message)
        self._arrived.set()

    def _answer(self, request: Json) -> None:
        answer: Json = {"jsonrpc": "2.0", "id": request["id"], "result": None}
        if request["method"] == "client/registerCapability":
            self.registered += request["params"]["registrations"]
            self.reply(answer)
            return
        assert request["method"] == "window/workDoneProgress/create", request
        if self.refuses_progress:
            del answer["result"]
            answer["error"] = {"code": -32601, "message": "no"}
        self.reply(answer)

    async def take(self, method: str) -> Json:
        """The parameters of the next notification, which must be of this method."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._inbox:
                self._arrived.clear()
                await self._arrived.wait()
        message = self._inbox.pop(0)
        assert message["method"] == method, message
        params: Json = message["params"]
        return params

    def take_progress(self) -> list[str]:
        """The kinds of all progress messages that have come so far."""
        progress = [message for message in self._inbox if message["method"] == "$/progress"]
        self._inbox = [message for message in self._inbox if message not in progress]
        return [message["params"]["value"]["kind"] for message in progress]

    # --- a session ---

    async def start(self, **params: Any) -> Json:
        """Initialize with the given parameters beside the capabilities; return the result."""
        given = {"processId": None, "rootUri": None, "capabilities": self.capabilities, **params}
        result: Json = await self.call("initialize", given)
        self.encoding = result["capabilities"].get("positionEncoding", "utf-16")
        await self.notify("initialized", {})
        return result

    async def open(self, source: str, uri: str = URI, language: str = "python") -> Json:
        """Open a document; the position of its cursor, or of its end, is returned."""
        before, _, after = source.partition(CURSOR)
        self.texts[uri], self._versions[uri] = before + after, 1
        item = {"uri": uri, "languageId": language, "version": 1, "text": before + after}
        await self.notify("textDocument/didOpen", {"textDocument": item})
        return to_position(self.texts[uri], len(before), self.encoding)

    def change_message(self, *changes: Json, uri: str = URI) -> Json:
        """A change notification; the editor's own text follows it."""
        for change in changes:
            new = change["text"]
            if "range" in change:
                new = edited(self.texts[uri], change["range"], new, self.encoding)
            self.texts[uri] = new
        self._versions[uri] += 1
        identifier = {"uri": uri, "version": self._versions[uri]}
        params = {"textDocument": identifier, "contentChanges": list(changes)}
        return {"jsonrpc": "2.0", "method": "textDocument/didChange", "params": params}

    async def change(self, *changes: Json, uri: str = URI) -> None:
        await self.send(self.change_message(*changes, uri=uri))

    async def close(self, uri: str = URI) -> None:
        await self.notify("textDocument/didClose", {"textDocument": {"uri": uri}})

    def inline_message(
        self, position: Json, uri: str = URI, invoked: bool = True, **context: Any
    ) -> Json:
        params = {
            "textDocument": {"uri": uri},
            "position": position,
            "context": {"triggerKind": 1 if invoked else 2, **context},
        }
        return self.message("textDocument/inlineCompletion", params)

    async def inline(
        self, position: Json, uri: str = URI, invoked: bool = True, **context: Any
    ) -> list[Json]:
        """The items of an inline completion; `context` is what it holds beside its trigger."""
        message = self.inline_message(position, uri, invoked, **context)
        await self.send(message)
        items: list[Json] = (await self.result(message["id"]))["items"]
        return items

    async def popup(self, position: Json, uri: str = URI) -> list[Json]:
        """The items of a completion, which always says that it is incomplete."""
        params = {"textDocument": {"uri": uri}, "position": position}
        answer = await self.call("textDocument/completion", params)
        assert answer["isIncomplete"] is True
        items: list[Json] = answer["items"]
        return items

    def accept_inline(self, item: Json, uri: str = URI) -> str:
        """The text after accepting an inline item."""
        return edited(self.texts[uri], item["range"], item["insertText"], self.encoding)

    def accept(self, item: Json, uri: str = URI) -> str:
        """The text after accepting a popup's item."""
        edit = item["textEdit"]
        return edited(self.texts[uri], edit["range"], edit["newText"], self.encoding)
