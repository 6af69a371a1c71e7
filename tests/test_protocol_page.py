"""docs/protocol.md says what the code does.

Invariant: every name in the page's tables is one that the server knows, and the other way round.
Threads: the event loop.
"""

from __future__ import annotations

import re
from pathlib import Path

from fake_editor import FakeEditor

from slm_lsp.lsp.session_status import CAPABILITY, STATUS_NOTIFICATION

PAGE = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text()
# About documents, folders and the session.
USUAL = ("workspace/did", "textDocument/didSave", "initialize", "shutdown")


def names(section: str) -> set[str]:
    """The names in the first column of a section's table."""
    body = re.split(r"^## ", PAGE.split(f"\n## {section}\n")[1], flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| (`.+?) \|", body, flags=re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


async def test_commands() -> None:
    async with FakeEditor() as editor:
        result = await editor.start()
    commands = result["capabilities"]["executeCommandProvider"]["commands"]
    assert names("Commands") == set(commands)


async def test_requests_and_notifications() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        features = set(editor.server.protocol.fm.features)
    ours = {name for name in features if not name.startswith(USUAL)}
    requests = names("Requests") - {"workspace/executeCommand"}
    assert requests | names("Notifications from the client") == ours
    assert not requests & names("Notifications from the client")


async def test_the_status() -> None:
    async with FakeEditor() as editor:
        await editor.start()
        assert names("Status") == set(editor.server.status.now())
    assert f"`{STATUS_NOTIFICATION}`" in PAGE
    assert f'"{CAPABILITY}": true' in PAGE
