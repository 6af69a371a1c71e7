"""Result files: written after every step, and gone on with.

Owns: how a result lies on the disk.

Invariant: a file is replaced as a whole or not at all. `complete` is true once nothing is left to
do; what was measured under other conditions is never gone on with.

Threads: the main thread.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Result = dict[str, Any]


class ResultFile:
    """One result; without a path it is kept in memory alone."""

    def __init__(self, path: Path | None, conditions: Mapping[str, Any]) -> None:
        self.path = path
        self.conditions = dict(conditions)

    def earlier(self) -> Result:
        """What an earlier run under the same conditions has left; empty if there is none."""
        found = read(self.path) if self.path else {}
        same = all(found.get(name) == value for name, value in self.conditions.items())
        return found if same else {}

    def save(self, measured: Mapping[str, Any], *, complete: bool = False) -> Result:
        """Write what has been measured by now; the whole result is returned."""
        result = {**self.conditions, "complete": complete, **measured}
        if self.path is not None:
            half = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            half.write_text(json.dumps(result) + "\n", encoding="utf-8")
            half.replace(self.path)
        return result


def read(path: Path) -> Result:
    """A result; empty where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def is_complete(path: Path) -> bool:
    return bool(read(path).get("complete"))
