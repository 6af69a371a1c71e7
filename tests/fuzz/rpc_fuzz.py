"""A session of the real server over its pipes, in which everything that is sent is held account of.

Owns: the process, what it answers, and the checks: every request answered as often as it was
sent, nothing on stdout but the protocol, no hang, no end, memory within a bound.

Invariant: after every BATCH items the server is asked a question and must answer it and all
before it within PATIENCE_S. A failure says the seed and the items sent since the last
question.

Threads: the test's own, one that reads the server's stdout.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from rpc_messages import Json, Messages, Sent, frame

TESTS = Path(__file__).parents[1]
SCRIPT = [{"before": "x = (", "texts": ["value + 1)"]}, {"before": "return ", "texts": ["a"]}]
BATCH = 50
PATIENCE_S = 60.0
# What a session may grow by between its first tenth and its end.
MAX_GROWTH_KB = 48 * 1024
INTERNAL_ERROR = -32603


class Failed(AssertionError):
    """The server did not do as it should."""


class Session:
    """See the module."""

    def __init__(self, folder: Path, seed: int) -> None:
        script = folder / "script.json"
        script.write_text(json.dumps(SCRIPT))
        self.seed = seed
        self._stderr = (folder / f"stderr-{seed}").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, str(TESTS / "serve_scripted.py"), str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self._arrived: queue.Queue[Any] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._wanted: Counter[str] = Counter()
        self._free: set[str] = set()
        self._answered: Counter[str] = Counter()
        self.internal_errors: list[str] = []
        self._recent: list[bytes] = []
        self._n_questions = 0
        self._known = True

    # --- the server's side ---

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            while (message := _message(self._process.stdout)) is not None:
                self._arrived.put(message)
        except Exception as error:
            self._arrived.put(error)
        self._arrived.put(None)

    def _take(self, until: float) -> Any:
        """One message of the server's, counted; its requests are answered."""
        try:
            message = self._arrived.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise self._failure("no answer in time") from None
        if not isinstance(message, dict):
            raise self._failure(f"stdout ended, or is no protocol: {message!r}")
        if "method" in message:
            if "id" in message:
                self.write(frame({"jsonrpc": "2.0", "id": message["id"], "result": None}))
            return message
        key = json.dumps(message["id"])
        self._answered[key] += 1
        if message.get("error", {}).get("code") == INTERNAL_ERROR:
            self.internal_errors.append(f"{message['error']} after {self._recent[-3:]}")
        if self._known and self._answered[key] > self._wanted[key] and key not in self._free:
            raise self._failure(f"an answer that nothing asked for: {message}")
        return message

    def _failure(self, why: str) -> Failed:
        self._process.poll()
        self._stderr.seek(0)
        said = self._stderr.read()[-2000:].decode("utf-8", "replace")
        sent = b"\n".join(each[:300] for each in self._recent)
        state = f"seed {self.seed}, status {self._process.returncode}"
        return Failed(f"{why} ({state})\n--- sent\n{sent!r}\n--- stderr\n{said}")

    # --- the client's ---

    def write(self, raw: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(raw)
            self._process.stdin.flush()
        except OSError as error:
            raise self._failure(f"stdin is closed: {error}") from error

    def send(self, sent: Sent) -> None:
        """Send an item; what must be answered is waited for by `settle`."""
        self._recent.append(sent.raw)
        key = json.dumps(sent.key)
        if sent.n_answers is None:
            self._free.add(key)
            if sent.key is None:
                self._known = False
        else:
            self._wanted[key] += sent.n_answers
        self.write(sent.raw)

    def call(self, method: str, params: Any) -> Any:
        """A request's answer, and nothing else waited for."""
        self._n_questions += 1
        key = f"question-{self._n_questions}"
        self._wanted[json.dumps(key)] += 1
        self.write(frame({"jsonrpc": "2.0", "id": key, "method": method, "params": params}))
        until = time.monotonic() + PATIENCE_S
        while True:
            message = self._take(until)
            if message.get("id") == key and "method" not in message:
                return message

    def notify(self, method: str, params: Any) -> None:
        self.write(frame({"jsonrpc": "2.0", "method": method, "params": params}))

    def settle(self) -> None:
        """All that was sent so far is answered, as often as it must be."""
        self.call("workspace/executeCommand", {"command": "slm-lsp.status"})
        until = time.monotonic() + PATIENCE_S
        while any(self._answered[key] < n for key, n in self._wanted.items()):
            self._take(until)
        self._recent.clear()
        self._wanted.clear()
        self._answered.clear()
        self._free.clear()
        self._known = True

    def rss_kb(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def initialize(self) -> None:
        params: Json = {"processId": None, "rootUri": None, "capabilities": {}}
        if "result" not in self.call("initialize", params):
            raise self._failure("initialize was refused")
        self.notify("initialized", {})

    def end(self) -> None:
        """Shut down; what comes later is refused, and the process ends as it should."""
        if self.call("shutdown", None).get("result", 0) is not None:
            raise self._failure("shutdown was refused")
        if "error" not in self.call("textDocument/hover", {}):
            raise self._failure("a request after shutdown was taken")
        self.notify("exit", None)
        if self._process.wait(PATIENCE_S) != 0:
            raise self._failure("the wrong exit status")

    def kill(self) -> None:
        """Leave nothing running."""
        self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE_S)
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            assert stream is not None
            with suppress(OSError):
                stream.close()


def _message(stream: IO[bytes]) -> Any:
    """The next message of a stream; None at its end. Raises for anything else."""
    length = -1
    while (line := stream.readline()) != b"\r\n":
        if not line and length < 0:
            return None
        name, _, value = line.partition(b": ")
        if name not in (b"Content-Length", b"Content-Type"):
            raise ValueError(f"not protocol: {line!r}")
        if name == b"Content-Length":
            length = int(value)
    return json.loads(stream.read(length))


def run(folder: Path, n_messages: int, seed: int) -> dict[str, Any]:
    """One session of so many items; what it took. Raises Failed."""
    session, messages = Session(folder, seed), Messages(seed)
    try:
        # Before `initialize` everything is refused.
        for _ in range(5):
            early = messages.request()
            if b'"initialize"' not in early.raw:
                session.send(early)
        session.initialize()
        before_kb = 0
        for n in range(1, n_messages + 1):
            session.send(messages.next())
            if n % BATCH == 0 or n == n_messages:
                session.settle()
            if n == max(1, n_messages // 10):
                session.settle()
                before_kb = session.rss_kb()
        after_kb = session.rss_kb()
        if after_kb - before_kb > MAX_GROWTH_KB:
            raise Failed(f"memory grew from {before_kb} to {after_kb} kB (seed {seed})")
        session.end()
    finally:
        session.kill()
    return {"rss_kb": [before_kb, after_kb], "internal_errors": session.internal_errors}
