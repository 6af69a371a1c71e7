"""Messages that a good client, a bad one and a broken pipe send, from a seed.

Owns: what is sent, and how many answers each id must have. `Sent.n_answers` says how many;
None where any number will do, as what was sent is no request.

Invariant: after every item the stream is between two messages, so whatever comes next is whole.
The same seed gives the same items. Threads: any.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

URIS = [f"file:///fuzzed/{name}" for name in ("a.py", "b.ts", "c.rs", "d.unknown")]
TEXTS = (
    "x = (",
    "def f(a):\n    return ",
    "😀\r\nb\u2028c\r",
    "\ud800 = ",
    "",
    "(((\t",
    "# <|fim|>",
)
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**31, 2**63, -(2**63), 10**30, 1.5, -0.0, 1e308),
    *(float("nan"), float("inf"), "", "x", "\ud800", "\0", "é" * 1000, [], {}, [[]], [None]),
    *({"a": {"b": {}}}, [1, "a", {}], {"jsonrpc": "2.0", "id": "inner", "method": "shutdown"}),
    *({"jsonrpc": "2.0", "id": "inner"}, {"jsonrpc": []}, "file:///fuzzed/a.py", "2.0"),
)
COMMANDS = ("stats", "why", "status", "resume", "pause", "no-such", "accepted")
NOTIFIED = (
    *("$/setTrace", "$/progress", "initialized", "workspace/didChangeConfiguration", "no/such"),
    *("textDocument/didSave", "workspace/didChangeWatchedFiles", "$/cancelRequest"),
    *("workspace/didChangeWorkspaceFolders", "textDocument/didShowCompletion", "$/no/such"),
    *(
        "slm-lsp/didAcceptCompletion",
        "slm-lsp/didRejectCompletion",
        "window/workDoneProgress/cancel",
    ),
    *("textDocument/willSave", "notebookDocument/didOpen", "notebookDocument/didClose"),
)
RAW = (
    *(b"", b"{", b"\xff\xfe\x00", b"[]", b"[{}]", b"1", b"null", b'"x"', b"{}", b"[" * 20_000),
    *(b'{"a":' * 5_000, b"9" * 6_000, b"NaN", b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0","id":1}'),
    *(b'{"jsonrpc":"2.0","id":null,"method":"shutdown"}', b'{"jsonrpc":"2.0","method":5}'),
    *(b'{"jsonrpc":"2.0","id":[],"result":{}}', b'{"jsonrpc":"2.0","id":{},"error":{}}'),
    *(b'{"jsonrpc":"2.0","id":"u","error":{"code":1e999,"message":[]}}', b"\0" * 100),
)
HEADERS = (
    *(b"", b"\r\n", b"X-Other: 1\r\n", b"Content-Length: -5\r\n\r\n", b"Content-Length: 0\r\n\r\n"),
    *(b"Content-Length: ten\r\n\r\n", b"Content-Length:\r\n\r\n", b"\0\0\0\r\n", b"junk\n"),
    *(b"Content-Length: 5 5\r\n\r\n", b"Content-Length: " + b"9" * 5_000 + b"\r\n\r\n"),
    *(b"Content-Length: 1e3\r\n\r\n", b"Content-Length: \xd9\xa3\r\n\r\n", b"a" * 70_000 + b"\r\n"),
    *(
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Content-Length: 4611686018427387904\r\n\r\n",
    ),
)


@dataclass(frozen=True, slots=True)
class Sent:
    """Bytes for the server's stdin; `key` is the id whose answers are counted."""

    raw: bytes
    key: Any = None
    n_answers: int | None = 0


def frame(message: Any) -> bytes:
    body = json.dumps(message).encode()
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


class Messages:
    """See the module. `next()` makes one item."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._n_ids = 0
        self._kinds: tuple[tuple[Callable[[], Sent], int], ...] = (
            (self.request, 30),
            (self.broken_request, 20),
            (self.notification, 20),
            (self.broken_notification, 14),
            (self.no_message, 5),
            (self.odd_frame, 5),
            (self.wrong_length, 2),
            (self.twice, 2),
            (self.batch, 1),
            (self.deep, 1),
        )

    def next(self) -> Sent:
        makers, weights = zip(*self._kinds, strict=True)
        maker: Callable[[], Sent] = self._random.choices(makers, weights)[0]
        return maker()

    # --- what a good client sends ---

    def _id(self) -> str | int:
        self._n_ids += 1
        return self._n_ids if self._random.random() < 0.8 else f"id-{self._n_ids}"

    def _position(self) -> Json:
        return {
            "line": self._random.choice([0, 0, 1, 2, 7, 2**31 - 1]),
            "character": self._random.choice([0, 1, 2, 3, 9, 2**31 - 1]),
        }

    def a_request(self) -> Json:
        uri = self._random.choice([*URIS, "file:///fuzzed/closed.py"])
        document = {"textDocument": {"uri": uri}, "position": self._position()}
        method, params = self._random.choice(
            [
                ("textDocument/completion", document),
                ("textDocument/completion", {**document, "context": {"triggerKind": 1}}),
                (
                    "textDocument/inlineCompletion",
                    {**document, "context": {"triggerKind": self._random.choice([1, 2])}},
                ),
                (
                    "workspace/executeCommand",
                    {"command": f"slm-lsp.{self._random.choice(COMMANDS)}", "arguments": []},
                ),
                ("textDocument/hover", document),
                ("initialize", {"processId": None, "rootUri": None, "capabilities": {}}),
            ]
        )
        return {"jsonrpc": "2.0", "id": self._id(), "method": method, "params": params}

    def request(self) -> Sent:
        message = self.a_request()
        return Sent(frame(message), message["id"], 1)

    def a_notification(self) -> Json:
        uri, choice = self._random.choice(URIS), self._random.randrange(6)
        params: Any
        if choice == 0:
            item = {"uri": uri, "languageId": "python", "version": 1}
            method, params = (
                "textDocument/didOpen",
                {"textDocument": {**item, "text": self._text()}},
            )
        elif choice == 1:
            method, params = "textDocument/didClose", {"textDocument": {"uri": uri}}
        elif choice < 5:
            changes = [self._change() for _ in range(self._random.randrange(4))]
            identifier = {"uri": uri, "version": self._random.choice([0, 1, 2, -5, 2**31 - 1])}
            method = "textDocument/didChange"
            params = {"textDocument": identifier, "contentChanges": changes}
        else:
            method = self._random.choice(NOTIFIED)
            last = {"id": self._random.randrange(1, self._n_ids + 2)}
            params = last if method == "$/cancelRequest" else self._random.choice([{}, None, last])
        return {"jsonrpc": "2.0", "method": method, "params": params}

    def _text(self) -> str:
        return "".join(self._random.choices(TEXTS, k=self._random.randrange(4)))

    def _change(self) -> Json:
        if self._random.random() < 0.3:
            return {"text": self._text()}
        edited = {"start": self._position(), "end": self._position()}
        return {"range": edited, "text": self._text()}

    def notification(self) -> Sent:
        return Sent(frame(self.a_notification()))

    # --- what others send ---

    def _broken(self, message: Json) -> Json:
        """The message with one member, somewhere in it, of another type or left out."""
        message = deepcopy(message)
        inner: Any = message
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            keys = [key for key in keys if inner is not message or key not in ("id", "jsonrpc")]
            if not keys:
                return message
            key = self._random.choice(keys)
            if isinstance(inner[key], (dict, list)) and self._random.random() < 0.7:
                inner = inner[key]
                continue
            if isinstance(inner, dict) and self._random.random() < 0.2:
                del inner[key]
            else:
                inner[key] = self._random.choice(JUNK)
            return message

    def broken_request(self) -> Sent:
        message = self._broken(self.a_request())
        is_request = isinstance(message.get("method"), str)
        if message.get("method") in ("exit", "shutdown"):
            return self.request()
        return Sent(frame(message), message["id"], 1 if is_request else None)

    def broken_notification(self) -> Sent:
        return Sent(frame(self._broken(self.a_notification())))

    def no_message(self) -> Sent:
        if self._random.random() < 0.3:
            body = bytearray(frame(self.a_request()).partition(b"\r\n\r\n")[2])
            for _ in range(3):
                body[self._random.randrange(len(body))] = self._random.randrange(256)
            # It may be a request still, and one of any id.
            return Sent(b"Content-Length: %d\r\n\r\n" % len(body) + body, None, None)
        raw = self._random.choice(RAW)
        return Sent(b"Content-Length: %d\r\n\r\n" % len(raw) + raw, None, None)

    def odd_frame(self) -> Sent:
        """Headers that are none before a good message, or others beside the good one."""
        message = self.a_request()
        raw = frame(message)
        if self._random.random() < 0.3:
            head, _, body = raw.partition(b"\r\n\r\n")
            raw = b"Content-Type: x; charset=utf-8\r\n" + head + b"\r\nX-A: b\r\n\r\n" + body
        else:
            raw = self._random.choice(HEADERS) + raw
        return Sent(raw, message["id"], 1)

    def wrong_length(self) -> Sent:
        """A body shorter or longer than it was said to be; line ends let the reader find out."""
        body = json.dumps(self.a_notification()).encode()
        off = self._random.randrange(-len(body) + 1, 200)
        eaten = frame(self.a_notification()) + b" " * 200
        rest = eaten if off > 0 else b""
        return Sent(b"Content-Length: %d\r\n\r\n" % (len(body) + off) + body + rest + b"\r\n\r\n")

    def twice(self) -> Sent:
        """Two requests of one id."""
        first, second = self.a_request(), self.a_request()
        second["id"] = first["id"]
        return Sent(frame(first) + frame(second), first["id"], 2)

    def batch(self) -> Sent:
        """LSP has none; nothing need be answered."""
        return Sent(frame([self.a_request(), self.a_notification()]), None, None)

    def deep(self) -> Sent:
        message = self.a_request()
        value: Any = 1
        for _ in range(self._random.choice([50, 300, 900])):
            value = [value] if self._random.random() < 0.5 else {"a": value}
        message["params"]["deep"] = value
        # Too deep to be read at all is no request.
        return Sent(frame(message), message["id"], None)
