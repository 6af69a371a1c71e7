"""An editor that is to be killed: `dying_editor.py MODEL COMMAND…` starts a server, says its id on
stdout, asks, and waits for ever.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.chaos.program import SOURCE  # noqa: E402
from benchmarks.chaos.scene import INLINE, INVOKED, SETTINGS  # noqa: E402
from benchmarks.latency.client import LspClient  # noqa: E402
from benchmarks.latency.ours import editor  # noqa: E402

URI = "file:///chaos/dying/a.py"


async def main(model: str, *command: str) -> None:
    """Ask until something is being written."""
    client = LspClient(command)
    await client.start(editor({**SETTINGS, "model": model}))
    print(client.pid, flush=True)
    item = {"uri": URI, "languageId": "python", "version": 0, "text": SOURCE}
    client.notify("textDocument/didOpen", {"textDocument": item})
    place = {"line": 0, "character": len(SOURCE)}
    asked = {
        "textDocument": {"uri": URI},
        "position": place,
        "context": {"triggerKind": INVOKED},
    }
    while True:
        await client.call(INLINE, asked)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
