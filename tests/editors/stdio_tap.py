"""A server's stdin and stdout, written down on their way; and a door for questions of the tests.

Usage: python stdio_tap.py FOLDER COMMAND [ARGUMENT…]

Every message goes into FOLDER/messages.jsonl as
`{"at_ms", "from": "client" | "server", "message"}`.
FOLDER/pid holds the server's process id. Who connects to FOLDER/door and sends a request's
`{"method", "params"}` on a line gets the answer's line, which the client does not see.

Invariant: what client and server say to each other arrives unchanged and in order.
Threads: one a direction, one for the door.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

OURS = "tap-"


def read_message(stream: IO[bytes]) -> bytes | None:
    """The body of the next message."""
    length = 0
    while line := stream.readline():
        if line == b"\r\n":
            return stream.read(length)
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return None


class Tap:
    """See the module."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        self.folder = folder
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._log = (folder / "messages.jsonl").open("a")
        self._lock = threading.Lock()
        self._answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def run(self) -> int:
        """Until the server ends."""
        (self.folder / "pid").write_text(str(self.server.pid))
        for work in (self._from_client, self._from_server, self._door):
            threading.Thread(target=work, daemon=True).start()
        return self.server.wait()

    def _note(self, origin: str, message: dict[str, Any]) -> None:
        line = {"at_ms": time.time() * 1000, "from": origin, "message": message}
        with self._lock:
            self._log.write(json.dumps(line) + "\n")
            self._log.flush()

    def _to_server(self, body: bytes) -> None:
        assert self.server.stdin is not None
        with self._lock:
            self.server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self.server.stdin.flush()

    def _from_client(self) -> None:
        while (body := read_message(sys.stdin.buffer)) is not None:
            self._note("client", json.loads(body))
            self._to_server(body)
        assert self.server.stdin is not None
        self.server.stdin.close()

    def _from_server(self) -> None:
        assert self.server.stdout is not None
        while (body := read_message(self.server.stdout)) is not None:
            message = json.loads(body)
            if str(message.get("id", "")).startswith(OURS):
                self._answers.put(message)
                continue
            self._note("server", message)
            sys.stdout.buffer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            sys.stdout.buffer.flush()

    def _door(self) -> None:
        path = self.folder / "door"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(path))
            door.listen()
            for n in range(sys.maxsize):
                connection = door.accept()[0]
                with connection, connection.makefile("rw") as lines:
                    request = {"jsonrpc": "2.0", "id": f"{OURS}{n}"} | json.loads(lines.readline())
                    self._to_server(json.dumps(request).encode())
                    lines.write(json.dumps(self._answers.get()) + "\n")
                    lines.flush()


if __name__ == "__main__":
    os.environ.pop("PYTHONUNBUFFERED", None)
    # The streams' other ends are read by threads that cannot be ended.
    os._exit(Tap(Path(sys.argv[1]), sys.argv[2:]).run())
