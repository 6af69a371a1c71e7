"""The language server: one session.

Owns: the life of the engine within an LSP session, its idleness, and what the user is told. What
is completed is the Completer's, which message goes where `handlers`', and what of a session stays
on the disk the Ledger's.

Invariant: `initialize` is answered before anything of the engine is touched; no handler
blocks the loop; `window/showMessage` is for what a user must act on.

Threads: the event loop. The engine reports from its thread through `_from_engine`, and is
closed on a thread of its own, which before that writes what the Ledger has.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cattrs import Converter
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException, JsonRpcInternalError
from pygls.lsp.server import LanguageServer
from pygls.protocol import default_converter

from slm_lsp import __version__
from slm_lsp.config import Config, apply
from slm_lsp.deadline import SYSTEM_CLOCK, CancelToken, Clock, Deadline
from slm_lsp.engine.base import Engine
from slm_lsp.engine.switch import Switch
from slm_lsp.lsp import convert
from slm_lsp.lsp.feed import WorkspaceFeed
from slm_lsp.lsp.handlers import register
from slm_lsp.lsp.parts import Choices, EngineFactory
from slm_lsp.lsp.progress import LoadProgress
from slm_lsp.lsp.protocol import RECEIVED_MS, SlmProtocol
from slm_lsp.lsp.selected import Selected
from slm_lsp.lsp.session_status import SessionStatus
from slm_lsp.text.document import Document, Edit
from slm_lsp.trace import Trace
from slm_lsp.types import Completion, CompletionRequest, DocumentSnapshot, EngineState, Trigger

if TYPE_CHECKING:
    from slm_lsp.completion.completer import Completer
    from slm_lsp.completion.ledger import Ledger
    from slm_lsp.completion.notes import Notes
    from slm_lsp.completion.notices import Told
    from slm_lsp.completion.outcome import Outcome
    from slm_lsp.completion.policy import Policy
    from slm_lsp.workspace.source import WorkspaceSource

log = logging.getLogger(__name__)

# Without a request for so long after a change, the user is thinking or has accepted: longer
# than most pauses within a word, shorter than it takes to read a suggestion.
IDLE_S = 0.4
NOTEBOOKS = lsp.NotebookDocumentSyncOptions(
    notebook_selector=[
        lsp.NotebookDocumentFilterWithNotebook(
            notebook="*", cells=[lsp.NotebookCellLanguage(language="*")]
        )
    ]
)


class SlmServer(LanguageServer):
    """One LSP session."""

    protocol: SlmProtocol
    # Whether the workspace leaves a document or its language out.
    leaves_out: Callable[[str, str], bool]
    _n_engines = 0
    _told: Told | None = None

    def __init__(
        self,
        config: Config,
        make_engine: EngineFactory,
        trace: Trace,
        problems: list[str],
        clock: Clock = SYSTEM_CLOCK,
        make_converter: Callable[[], Converter] = default_converter,
        policy: Policy | None = None,
        sessions_folder: Callable[[], Path] | None = None,
        notes_folder: Callable[[], Path] | None = None,
        make_workspace: Callable[[Config], WorkspaceSource] | None = None,
        choices: Callable[[], Choices] | None = None,
    ) -> None:
        """`sessions_folder` tells where the session's counters are kept, `notes_folder` where
        reasons for silence and what the gate learnt are; None: nowhere. `make_workspace` makes
        what knows the other files, `choices` what knows the models; None: nobody does."""
        super().__init__(
            "slm-lsp",
            __version__,
            notebook_document_sync=NOTEBOOKS,
            protocol_cls=SlmProtocol,
            converter_factory=make_converter,
        )
        self.protocol.clock = clock
        self.config, self.trace = config, trace
        self.completer: Completer | None = None
        self._make_engine, self.choices = make_engine, choices
        self._policy, self._sessions_folder = policy, sessions_folder
        self.feed = WorkspaceFeed(self, make_workspace)
        self._notes_folder = notes_folder
        self._ledger: Ledger | None = None
        self._notes: Notes | None = None
        self._problems = problems
        self._progress, self.status = LoadProgress(self), SessionStatus(self)
        self._engine: Switch | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: threading.Thread | None = None
        self._idle: dict[str, asyncio.TimerHandle] = {}
        self._attach()

    def _attach(self) -> None:
        """Take what the protocol has for us."""
        # What is done once the process of the client has ended.
        self.client_gone: Callable[[], None] = lambda: None
        self.leaves_out = lambda uri, language: False
        self.protocol.on_open = self._opened
        self.protocol.on_close = self._closed
        self.protocol.on_change = self._changed
        register(self)

    # --- the engine ---

    def configure(self, options: Any) -> None:
        """Take the client's initializationOptions; what is wrong is said once initialized."""
        if options is None:
            return
        before = self.config
        self.config, problems = apply(before, options, "initializationOptions")
        self._problems = [*self._problems, *problems]
        if self.config.trace != before.trace:
            self.trace.close()
            self.trace = Trace(Path(self.config.trace) if self.config.trace else None)

    def narrow(self) -> None:
        """Take what the files of the workspace's folders ask for, and say what is refused.

        What a folder narrowed stays so until the session's end, even where the folder is closed.
        """
        # Imported only now: `initialize` is answered without it.
        from slm_lsp.workspace.narrowing import NAME, Narrowings

        narrowings = Narrowings(self.feed.uris)
        problems = narrowings.problems
        for each in narrowings.all:
            values = each.narrower(asdict(self.config))
            self.config, found = apply(self.config, values, str(each.folder / NAME))
            problems += found
        self.leaves_out = narrowings.leave_out
        if self.completer is not None:
            self.completer.config = self.config
        for problem in problems:
            self.show(problem, lsp.MessageType.Warning)

    def start_engine(self) -> None:
        """Begin to load the model, the first time this is called."""
        if self.completer is not None:
            return
        self._loop = asyncio.get_running_loop()
        for problem in self._problems:
            self.show(problem, lsp.MessageType.Warning)
        self.narrow()
        self._progress.begin()
        self._engine = Switch(self._new_engine())
        # Imported only now: `initialize` is answered without the pipeline.
        from slm_lsp.completion.completer import Completer
        from slm_lsp.completion.notices import Told

        self._told = Told()
        workspace = self.feed.start(self.config)
        self.completer = Completer(
            self._engine, self.config, self.trace, self._latest_text, self._policy, workspace
        )
        # Asked anew each time: folders come and go.
        self.completer.leaves_out = lambda uri, language: self.leaves_out(uri, language)
        self.completer.pause(self.status.is_paused)
        if self._sessions_folder is not None:
            from slm_lsp.completion.ledger import Ledger

            self._ledger = Ledger(self.completer, self._sessions_folder())
        if self._notes_folder is not None:
            from slm_lsp.completion.notes import Notes

            self._notes = Notes(self.completer, self._notes_folder())

    def _new_engine(self) -> Engine:
        """An engine for the settings as they are, whose reports count until there is another."""
        self._n_engines += 1
        number = self._n_engines
        return self._make_engine(
            self.config,
            lambda state: self._from_engine(self._engine_is, number, state),
            lambda text, done: self._from_engine(self._engine_reports, number, text, done),
        )

    def use(self, config: Config) -> None:
        """Go on with other settings of the model, and with what they ask for."""
        self.config = config
        if self.completer is None or self._engine is None or self._stopping is not None:
            return
        self._progress = LoadProgress(self)
        self._progress.begin()
        before = self._engine.use(self._new_engine())
        # It may be within a native step.
        threading.Thread(target=before.close, daemon=True).start()
        self.completer.config = config
        for uri in self.protocol.documents.uris():
            # What is known of its places is what the engine before had read.
            self.completer.closed(uri)
            self.completer.opened(self.protocol.notebooks.snapshot(uri))
        self.status.changed()

    def _from_engine(self, call: Callable[..., None], *args: Any) -> None:
        """Go on with a report of the engine's thread on the loop."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, *args)
        except RuntimeError:  # the loop has ended
            log.debug("a report of the engine came after the session's end")

    def _engine_reports(self, number: int, text: str, done: float | None) -> None:
        if number == self._n_engines:
            self._progress.report(text, done)
            self.status.loading(text, done)

    def _engine_is(self, number: int, state: EngineState) -> None:
        if number != self._n_engines:
            return
        assert self.completer is not None
        self.status.loaded()
        self._progress.end("ready" if state is EngineState.READY else "failed")
        if state is EngineState.READY:
            if self._ledger is not None:
                self._ledger.ready()
            if self._notes is not None:
                self._notes.ready()
            self.completer.ready()
        self._tell(is_change=True)

    def _tell(self, *, is_change: bool = False) -> None:
        """What the user should know of the engine, each thing once in a session; that there will be
        no completions, each time that it comes to that."""
        assert self.completer is not None
        assert self._told is not None
        for each in self._told.news(self.completer.engine, self.config, is_change=is_change):
            kind = lsp.MessageType.Error if each.is_error else lsp.MessageType.Warning
            self.show(each.text, kind)

    def stop(self) -> None:
        """End the session's work, on the client's word."""
        self._progress.end("stopped")
        self.status.close()
        self._stop_engine()

    def _stop_engine(self) -> None:
        """Close the engine on another thread, as it may be within a native step."""
        for uri in list(self._idle):
            self._awake(uri)
        if self.completer is not None and self._stopping is None:
            self.completer.close()
            self.feed.close()
            if self._ledger is not None:
                self._ledger.end()
            if self._notes is not None:
                self._notes.end()
            self._stopping = threading.Thread(target=self._close_engine, daemon=True)
            self._stopping.start()

    def _close_engine(self) -> None:
        # First, as a native step may take longer than the process is given.
        if self._ledger is not None:
            self._ledger.flush()
        if self._notes is not None:
            self._notes.flush()
        assert self.completer is not None
        self.completer.engine.close()

    def close(self, patience_s: float) -> bool:
        """What is left to do once the loop has ended; tell whether the engine has, too."""
        self._stop_engine()
        self.trace.close()
        if self._stopping is None:
            return True
        self._stopping.join(patience_s)
        return not self._stopping.is_alive()

    # --- completions ---

    def _opened(self, snapshot: DocumentSnapshot) -> None:
        self.start_engine()
        assert self.completer is not None
        self.completer.opened(snapshot)

    def _changed(self, uri: str, edits: list[Edit]) -> None:
        """Wait for the end of typing; every further change begins anew."""
        self._awake(uri)
        if self.completer is not None and self._stopping is None:
            loop = asyncio.get_running_loop()
            offset = convert.end_of(self.protocol.document(uri), edits)
            self._idle[uri] = loop.call_later(IDLE_S, self._is_idle, uri, offset)

    def _is_idle(self, uri: str, offset: int | None) -> None:
        del self._idle[uri]
        document = self.latest(uri)
        if document is not None and self.completer is not None:
            self.completer.idle(self.protocol.notebooks.snapshot(uri), offset)

    def _awake(self, uri: str) -> None:
        timer = self._idle.pop(uri, None)
        if timer is not None:
            timer.cancel()

    def _closed(self, uri: str) -> None:
        self._awake(uri)
        if self.completer is not None:
            self.completer.closed(uri)

    def latest(self, uri: str) -> Document | None:
        """A document as it is now, which may be closed."""
        documents = self.protocol.documents
        return documents.get(uri) if uri in documents else None

    def _latest_text(self, uri: str) -> str | None:
        document = self.latest(uri)
        return None if document is None else document.text

    async def inline(
        self,
        uri: str,
        position: lsp.Position,
        trigger: Trigger,
        n_alternatives: int,
        info: lsp.SelectedCompletionInfo | None,
    ) -> Iterable[Completion]:
        """The texts for a place, which go on from the item that a popup has selected, if any."""
        selected = Selected.of(self.protocol.document(uri), position, info)
        actual = self._latest_text(uri)
        outcome = await self.complete(uri, position, trigger, n_alternatives, selected)
        if selected is None or self._latest_text(uri) != actual:
            # Accepted meanwhile, the item stands in the document.
            return outcome.texts
        return selected.extended(outcome.texts)

    async def complete(
        self,
        uri: str,
        position: lsp.Position,
        trigger: Trigger,
        n_alternatives: int = 0,
        selected: Selected | None = None,
    ) -> Outcome:
        """Complete in an open document; the deadline counts from the message's receipt."""
        document = self.protocol.document(uri)
        snapshot = self.protocol.notebooks.snapshot(uri)
        offset = document.offset_at((position.line, position.character))
        if selected is not None:
            snapshot, offset = selected.put_into(snapshot)
        invoked = trigger is Trigger.INVOKED
        budget_ms = self.config.invoked_budget_ms if invoked else self.config.automatic_budget_ms
        request = CompletionRequest(
            session=uri,
            snapshot=snapshot,
            offset=offset,
            trigger=trigger,
            deadline=Deadline(RECEIVED_MS.get() + budget_ms, self.protocol.clock),
            cancel=CancelToken(),
            n_alternatives=n_alternatives if invoked else 0,
        )
        self._awake(uri)
        self.start_engine()
        assert self.completer is not None
        outcome = await self.completer.complete(request)
        self.status.changed()
        self._tell()
        return outcome

    def show(self, message: str, kind: lsp.MessageType = lsp.MessageType.Error) -> None:
        """Tell the user what he must act on."""
        self.window_show_message(lsp.ShowMessageParams(type=kind, message=message))

    def report_server_error(self, error: Exception, source: Any) -> None:
        """Log; pygls would interrupt the user with every error of a client."""
        expected = isinstance(error, JsonRpcException) and not isinstance(
            error, JsonRpcInternalError
        )
        log.log(logging.WARNING if expected else logging.ERROR, "%s", error, exc_info=not expected)
