"""What the scripted server says in the tests of all editors.

Owns: the texts, and what stands before the cursor for each.

Invariant: the same place has the same texts in every editor; what one needs beside is its own.
Threads: none.
"""

from __future__ import annotations

from typing import Any

SCRIPT: list[dict[str, Any]] = [
    {
        "before": "def add(a, b):\n    ",
        "texts": ["return a + b", "return b + a", "return sum((a, b))"],
    },
    {"before": "def loop(names):\n    ", "texts": ["for name in names:\n        print(name)"]},
    {"before": "face = '😀'\nx = ", "texts": ["len(face)"]},
    {"before": "smile('😀', ", "texts": ["face)"]},
]
