"""Measured rates on the disk, so that the first request of a process is planned well too.

Owns: where they are kept, one file for a model and a machine, and when they are written.

Invariant: reading and writing never raise; a file is replaced as a whole or not at all.

Threads: the Scheduler's.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
from pathlib import Path

from slm_lsp.engine.rates import Rates

log = logging.getLogger(__name__)

SAVE_EVERY_MS = 180_000.0


def default_folder() -> Path:
    """The user's cache folder for rates."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("slm-lsp")) / "rates"


def rates_path(folder: Path, model: str) -> Path:
    """The file for `model` on this machine: a home may be shared by several."""
    machine = f"{platform.node()} {platform.machine()} {os.cpu_count()}"
    digest = hashlib.sha256(f"{model}\0{machine}".encode("utf-8", "replace")).hexdigest()
    # Two names may look alike once they are made safe; the digest tells them apart.
    return folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', model)[:60]}-{digest[:12]}.json"


class RatesFile:
    """One file, and when it was last written."""

    def __init__(self, path: Path, now_ms: float) -> None:
        self._path = path
        self._saved_ms = now_ms

    def read(self) -> Rates:
        """What was measured before; nothing where the file is missing or broken."""
        try:
            return Rates.from_json(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Rates()
        except (OSError, ValueError, RecursionError) as error:
            log.warning("measured rates are ignored: %s: %s", self._path, error)
            return Rates()

    def save_if_due(self, rates: Rates, now_ms: float) -> None:
        """Write the rates every few minutes."""
        if now_ms - self._saved_ms >= SAVE_EVERY_MS:
            self._saved_ms = now_ms
            self.save(rates)

    def save(self, rates: Rates) -> None:
        """Replace the file, if anything was measured."""
        values = rates.to_json()
        if not values:
            return
        # Named for the process: two may close at once.
        half = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            half.write_text(json.dumps(values), encoding="utf-8")
            half.replace(self._path)
        except OSError as error:
            log.warning("measured rates are not kept: %s", error)
