"""What the tests in a real VS Code share: the script of the server, and what it counts.

Owns: the script, and the files of the workspace (one a test).

Invariant: what is looked at is what server and editor said, never how the extension does it.
Threads: none.
"""

from __future__ import annotations

import json
from typing import Any

import script
from vscode_driver import VSCode, until

SCRIPT = [
    *script.SCRIPT,
    {"before": "x = average_of", "texts": ["(numbers)"]},
    {"before": "x = averages", "texts": [".pop()"]},
    {"before": "def cell(a):\n    ", "texts": ["return a * 2"]},
    {"before": "t = (", "texts": ["1, 2, 3)"]},
]
ADD = b"def add(a, b):"
LOOP = "for name in names:        print(name)"
FILES = {
    **{f"{name}.py": ADD for name in ("tab", "words", "cycle", "typed", "escape", "killed")},
    **{f"{name}.py": ADD for name in ("paused", "off", "model", "why")},
    "loop.py": b"def loop(names):",
    "crlf.py": b"# one\r\ndef loop(names):\r\n",
    "emoji.py": "face = '😀'\nx =".encode(),
    "inside.py": "smile('😀',".encode(),
    "popup.py": b"def average_of(numbers, averages):\n    pass\n\n\nx = aver",
    "timing.py": b"",
    "demo.py": b"",
    "cells.ipynb": json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code",
                    "execution_count": None,
                    "metadata": {},
                    "outputs": [],
                    "source": ["def cell(a):"],
                }
            ],
            "metadata": {"language_info": {"name": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    ).encode(),
}
COUNTERS = ("n_shown", "n_accepted", "n_partly_accepted", "n_rejected")


def counters(code: VSCode) -> dict[str, int]:
    """What the server counted of suggestions."""
    stats = code.stats()
    return {name: stats[name] for name in COUNTERS}


def grew(code: VSCode, before: dict[str, int], **by: int) -> None:
    """Wait until exactly these counters have grown."""
    wanted = {name: n + by.get(name, 0) for name, n in before.items()}
    try:
        until(lambda: counters(code) == wanted, "counters")
    except AssertionError as error:
        raise AssertionError(f"{error}: {wanted}, but {counters(code)}") from None


def n_engine_calls(code: VSCode) -> int:
    """How often the model was asked."""
    return int(code.stats()["engine"]["n_requests"])


def answers(code: VSCode) -> list[tuple[float, dict[str, Any]]]:
    """How long each inline request took, in milliseconds by the tap's clock, and its answer."""
    asked: dict[Any, float] = {}
    found = []
    for each in code.log():
        message, msg_id = each["message"], each["message"].get("id")
        if message.get("method") == "initialize":
            asked.clear()  # a server started anew counts from 0
        if each["from"] == "client" and message.get("method") == "textDocument/inlineCompletion":
            asked[msg_id] = each["at_ms"]
        elif each["from"] == "server" and msg_id in asked and "method" not in message:
            found.append((each["at_ms"] - asked.pop(msg_id), message))
    return found


def n_answers(code: VSCode) -> int:
    """How many inline requests have got a result."""
    return sum("result" in answer for _, answer in answers(code))
