"""What a client tells of the fate of suggestions: shown, accepted, in part or not.

Owns: the notifications and the command that tell it (docs/protocol.md). The names under
`textDocument/` are those of Copilot's language server, whose clients send them already.

Invariant: they change counters and the confidence gate only; whatever their parameters hold,
nothing fails.

Threads: the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slm_lsp.lsp.convert import ACCEPTED_COMMAND

if TYPE_CHECKING:
    from slm_lsp.lsp.server import SlmServer

SHOWN = ("textDocument/didShowCompletion", "slm-lsp/didShowCompletion")
PARTLY_ACCEPTED = "textDocument/didPartiallyAcceptCompletion"
ACCEPTED = "slm-lsp/didAcceptCompletion"
REJECTED = "slm-lsp/didRejectCompletion"


def register_events(server: SlmServer) -> None:
    """Attach them."""

    def shown(params: Any) -> None:
        if server.completer is not None:
            server.completer.tally.n_shown += 1

    for name in SHOWN:
        server.feature(name)(shown)

    @server.feature(PARTLY_ACCEPTED)
    def partly_accepted(params: Any) -> None:
        if server.completer is not None:
            server.completer.tally.n_partly_accepted += 1

    @server.feature(REJECTED)
    def rejected(params: Any) -> None:
        if server.completer is not None:
            server.completer.tally.n_rejected += 1

    @server.feature(ACCEPTED)
    def accepted(params: Any) -> None:
        if server.completer is not None:
            server.completer.accepted()

    # Clients run it by themselves, as each item asks for it.
    @server.command(ACCEPTED_COMMAND)
    def accepted_item(*arguments: Any) -> None:
        accepted(arguments)
