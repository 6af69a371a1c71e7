"""The scripted server that editors are tested with says what its script says."""

from __future__ import annotations

import json
from pathlib import Path

from editor import CURSOR
from pipe_editor import PipeEditor

SERVER = Path(__file__).with_name("serve_scripted.py")
SCRIPT = [
    {"before": "total = ", "texts": ["sum(items)", "len(items)", "max(items)"]},
    {"before": "):\n    ", "texts": ["first = 1\n    return first\n"]},
]
ONE_EACH = [
    (f"items = [1]\ntotal = su{CURSOR}\n", ["m(items)"]),
    (f"def f():\n    {CURSOR}\n", ["first = 1\n    return first"]),
    (f"other = {CURSOR}\n", []),
]
STATS = "slm-lsp.stats"


async def test_the_script_is_followed(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps(SCRIPT))
    async with PipeEditor([str(SERVER), str(script)]) as editor:
        await editor.start()
        position = await editor.open(f"items = [1]\ntotal = {CURSOR}\n")
        texts = [item["insertText"] for item in await editor.inline(position)]
        assert texts == SCRIPT[0]["texts"]
        for n, (source, said) in enumerate(ONE_EACH):
            position = await editor.open(source, uri := f"file:///{n}.py")
            items = await editor.inline(position, uri, invoked=False)
            assert [item["insertText"] for item in items] == said
        stats = await editor.call("workspace/executeCommand", {"command": STATS})
        assert stats["engine"]["n_requests"] == 4
