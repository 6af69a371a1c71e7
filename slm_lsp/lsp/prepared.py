"""Answers one `initialize` in advance, so that what it takes is there for the next server.

Owns: the converter with its functions for all that a session's start reads and writes. Without
`prepare`, which only the ready process calls, a server makes its own as it goes.

Invariant: nothing is left but what is the same for every session.

Threads: any; before there is a server.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, get_args

import attrs
from cattrs import Converter
from lsprotocol import types as lsp
from pygls.protocol import default_converter

from slm_lsp.config import Config
from slm_lsp.lsp.server import SlmServer
from slm_lsp.trace import Trace

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"processId": None, "rootUri": None, "capabilities": {}},
}
# What comes behind `initialize` until a suggestion is shown.
PARAMETERS = (
    *("InitializeParams", "InitializedParams", "DidOpenTextDocumentParams", "CompletionParams"),
    *("DidChangeTextDocumentParams", "InlineCompletionParams", "DidChangeConfigurationParams"),
)
RESULTS = ("InitializeResult", "InlineCompletionList", "CompletionList", "ProgressParams")
_make: Callable[[], Converter] = default_converter
_prepared: list[Converter] = []


def converter() -> Converter:
    """The one that was prepared, or a new one."""
    return _prepared[0] if _prepared else _make()


def prepare() -> None:
    """Make it, and all that answering needs besides. Raises whatever is broken."""
    _prepared.append(_make())
    for names, make in (
        (PARAMETERS, _prepared[0].get_structure_hook),
        (RESULTS, _prepared[0].get_unstructure_hook),
    ):
        _make_hooks(make, [getattr(lsp, name) for name in names])
    _initialize()


def _make_hooks(make: Callable[[Any], Any], types: list[Any]) -> None:
    """What reads or writes these types and all that they hold, which is else made by and by."""
    seen: set[Any] = set()
    while types:
        kind = types.pop()
        if kind in seen or kind is type(None):
            continue
        seen.add(kind)
        # Some of the parts are never asked for by themselves, and may have none.
        with suppress(Exception):
            make(kind)
        types += get_args(kind)
        if isinstance(kind, type) and attrs.has(kind):
            types += [field.type for field in attrs.fields(kind)]


def _initialize() -> None:
    """Answer one, so that what it takes is made."""
    no_engine: Any = None

    server = SlmServer(Config(), no_engine, Trace(), [], make_converter=converter)
    protocol: Any = server.protocol
    answers: list[bytes] = []
    protocol.set_writer(SimpleNamespace(write=answers.append))
    message = json.dumps(INITIALIZE)
    protocol.handle_message(json.loads(message, object_hook=protocol.structure_message))
    if len(answers) != 1 or b'"capabilities"' not in answers[0]:
        raise RuntimeError("`initialize` was not answered")
