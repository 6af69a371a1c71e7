"""Process start to the answer to `initialize`, over real pipes, beside a bare pygls server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "initialize"


def message(body: dict[str, Any]) -> bytes:
    """A framed JSON-RPC message."""
    raw = json.dumps(body).encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(raw), raw)


OURS = [sys.executable, "-m", "slm_lsp", "serve"]
# The same library with nothing in it: what a server in Python costs at least without our measures.
BARE = [
    sys.executable,
    "-c",
    "from pygls.lsp.server import LanguageServer; LanguageServer('slm-lsp', '0').start_io()",
]


def answer_ms(command: list[str], params: dict[str, Any]) -> float:
    """Start a server, send `initialize`, and time the answer."""
    started = time.perf_counter()
    # From nothing, also where a process is kept ready.
    env = {**os.environ, "SLM_LSP_KEEP_READY": "off"}
    with subprocess.Popen(
        command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        request = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
        server.stdin.write(message(request))
        server.stdin.flush()
        n_bytes = 0
        while (line := server.stdout.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                n_bytes = int(line.split(b":")[1])
        answer = json.loads(server.stdout.read(n_bytes))
        elapsed_ms = (time.perf_counter() - started) * 1e3
        assert answer["result"]["serverInfo"]["name"] == "slm-lsp"
        server.stdin.write(message({"jsonrpc": "2.0", "id": 2, "method": "shutdown"}))
        server.stdin.write(message({"jsonrpc": "2.0", "method": "exit"}))
        server.stdin.close()
        server.wait()
    return elapsed_ms


def measure(n_runs: int) -> tuple[list[float], list[float]]:
    """`n_runs` starts of ours and of a bare server in turn, after one that is not counted."""
    params = json.loads((FIXTURES / "vscode-1.139.json").read_text(encoding="utf-8"))
    params["processId"] = None
    answer_ms(OURS, params)
    pairs = [(answer_ms(OURS, params), answer_ms(BARE, params)) for _ in range(n_runs)]
    return [ours for ours, _ in pairs], [bare for _, bare in pairs]
