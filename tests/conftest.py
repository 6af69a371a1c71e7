"""No test's server keeps a process ready, or uses the user's, but those that ask for it. What
Python compiles for a run is there for the next one, too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["SLM_LSP_KEEP_READY"] = "off"

if sys.dont_write_bytecode:
    # Whoever wants no files beside the sources gets none. But without any, each run and each child
    # compiles everything anew, which takes longer than most of the tests.
    _folder = Path(__file__).parents[1] / ".pytest_cache" / "bytecode"
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(_folder)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
