"""What the ready process does in advance: imports, and the classes and functions of `initialize`.

Owns: the list of what a server imports up to its first suggestion, and the files all of it came
from, with what they looked like.

Invariant: leaves no thread, no open file and no setting behind; nothing native that computes
(numpy, llama.cpp) is imported.

Threads: a thread of low priority, which has ended before anything is forked.
"""

from __future__ import annotations

import contextvars
import gc
import importlib
import os
import sys
import threading
import time
from pathlib import Path

LOWEST_PRIORITY = 19
MODULES = (
    *("slm_lsp.cli", "slm_lsp.wiring", "slm_lsp.trace", "slm_lsp.registry.cache"),
    *("slm_lsp.registry.specs", "slm_lsp.registry.naming"),
    *("slm_lsp.engine.launch", "slm_lsp.engine.remote"),
    *("slm_lsp.engine.link", "slm_lsp.engine.wire", "slm_lsp.completion.completer"),
    *("slm_lsp.completion.ledger", "slm_lsp.completion.notes", "slm_lsp.completion.sessions_file"),
    *("slm_lsp.context.syntax", "slm_lsp.context.extract", "slm_lsp.workspace.source"),
    *("slm_lsp.workspace.builds", "slm_lsp.workspace.store", "slm_lsp.secrets.search"),
    *("slm_lsp.completion.syntax_gate", "slm_lsp.context.excerpt", "slm_lsp.context.trial"),
    *("slm_lsp.lsp.stdio", "slm_lsp.registry.toml_table", "importlib.resources"),
    *("tree_sitter", "filelock", "platformdirs", "tomllib", "asyncio", "concurrent.futures.thread"),
)

Stamp = tuple[int, int]


def warm() -> dict[str, Stamp]:
    """Do it; the files that it came from. Raises ImportError, or what else is broken."""
    trouble: list[BaseException] = []

    def run() -> None:
        # Of this thread alone: the children are to have the usual one.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LOWEST_PRIORITY)
        try:
            _import()
        except BaseException as error:
            trouble.append(error)

    began_ns = time.time_ns()
    gc.disable()
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if trouble:
        raise trouble[0]
    stamps = look()
    if any(modified_ns > began_ns for modified_ns, _ in stamps.values()):
        raise ImportError("a file was changed while it was read")
    gc.collect()
    gc.freeze()
    gc.enable()
    return stamps


def _import() -> None:
    from slm_lsp.lsp import compiled, lazy_types

    with compiled.remembered(compiled.default_path()):
        lazy_types.import_types()
        from slm_lsp.lsp import prepared

        for name in MODULES:
            importlib.import_module(name)
        contextvars.copy_context().run(prepared.prepare)


def look() -> dict[str, Stamp]:
    """What the files look like now of which this process consists. Raises OSError."""
    names = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    tables = Path(__file__).parents[1].joinpath("languages").glob("*.toml")
    return stamps_of({name for name in names if name} | {str(table) for table in tables})


def stamps_of(paths: set[str]) -> dict[str, Stamp]:
    """When each was modified, and its size. Raises OSError."""
    stamps = {}
    for path in paths:
        status = os.stat(path)
        stamps[path] = (status.st_mtime_ns, status.st_size)
    return stamps
