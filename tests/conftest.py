"""No test's server keeps a process ready, or uses the user's, but those that ask for it."""

from __future__ import annotations

import os

os.environ["SLM_LSP_KEEP_READY"] = "off"
