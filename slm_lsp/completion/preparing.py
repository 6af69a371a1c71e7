"""What is known of the documents: syntax trees, contexts, prompts and the index of open files.

Owns: all that only the worker touches, and the share of a request's time that looking at the
document may take.

Invariant: nothing is parsed or indexed on the event loop. What is only caught up with gives way
to a request, and goes on once that is answered.

Threads: public methods on the event loop; `_prepare`, `_check`, `_parse`, `_index`, `_guess`,
`_advance` and `_forget` on the worker, and all of the workspace but its ends.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from slm_lsp.completion import collecting, lexical
from slm_lsp.completion.anchors import Anchors, Chosen, Room
from slm_lsp.completion.collecting import Collector
from slm_lsp.completion.place import Place
from slm_lsp.completion.target import Kind, Prepared, Target, is_empty, prompt_of, room_for
from slm_lsp.completion.token_index import TokenIndex
from slm_lsp.completion.worker import Worker
from slm_lsp.config import Config
from slm_lsp.prompt import anchor, fim
from slm_lsp.trace import Span
from slm_lsp.types import (
    CompletionContext,
    DocumentSnapshot,
    FimTemplate,
    Finish,
    ModelInfo,
    Trigger,
    Unwanted,
    Want,
)

if TYPE_CHECKING:
    from slm_lsp.completion.syntax_gate import Verdict
    from slm_lsp.context.excerpt import Excerpt
    from slm_lsp.context.syntax import SyntaxTrees
    from slm_lsp.workspace.source import WorkspaceSource

# Of the time that is left, a parse may take this part; then the last tree has to do, and the
# parse is caught up with while the engine works. In a file of 10,000 lines an edit that adds a
# statement costs the parser 13 ms, and one that breaks the syntax up to 100 ms.
PARSE_SHARE = 0.004


class Preparer:
    """See the module. Close it to end its worker."""

    def __init__(
        self,
        *,
        anchored: bool = True,
        workspace: WorkspaceSource | None = None,
        collector: Collector | None = None,
    ) -> None:
        """Not `anchored`: every prompt is made anew from the document as it is. `workspace` is
        told of the documents, and given time for what it could not say at once; `collector`
        finds what is shown of other files."""
        self.workspace = workspace
        self.index = TokenIndex()
        self._collector = collector
        self._trees: SyntaxTrees | None = None
        self._anchors = Anchors() if anchored else None
        self._worker = Worker(self._catch_up)
        self._template: tuple[ModelInfo, FimTemplate] | None = None
        # A place, and what texts are tried in there.
        self._around: tuple[tuple[DocumentSnapshot, int] | None, Excerpt | None] = (None, None)
        # The document whose parse gave way; the worker's.
        self._behind: DocumentSnapshot | None = None

    @property
    def closed(self) -> bool:
        """Whether nothing is looked at any more."""
        return self._worker.closed

    async def prepare(self, target: Target, config: Config, span: Span) -> Prepared | None:
        """Context and prompt of a place; None where that took too long.

        Raises WorkerClosed.
        """
        template = self.template_of(target.model) if target.model is not None else None
        work = (self._prepare, target, config, template, span)
        return await self._worker.wait(target.deadline, *work)

    async def check(self, target: Target, text: str, place: Place) -> Verdict | None:
        """What the syntax at the target's place says of a text; None where that took too long.

        Raises WorkerClosed.
        """
        return await self._worker.wait(target.deadline, self._check, target, text, place)

    def hurried(self) -> AbstractContextManager[None]:
        """What is only caught up with gives way meanwhile: somebody is about to ask."""
        return self._worker.hurried()

    def guess(self, snapshot: DocumentSnapshot, offset: int) -> asyncio.Future[str]:
        """Begin to look what the open files say of a place. Raises WorkerClosed."""
        return self._worker.begin(self._guess, snapshot, offset)

    def was_read(self, uri: str, prepared: Prepared) -> None:
        """The engine has read a prompt that was made ahead."""
        anchors, chosen = self._anchors, prepared.chosen
        if anchors is not None and chosen is not None:
            self._worker.submit(anchors.mark_read, uri, chosen.anchor)

    def answered(self, uri: str, chosen: Chosen, other_at: int | None) -> None:
        """The engine has answered from what was chosen for a request."""
        if self._anchors is not None and chosen.others:
            self._worker.submit(self._anchors.settle, uri, chosen, other_at)

    def follow(self, snapshot: DocumentSnapshot) -> None:
        """Parse and index a document when there is time; not one that is only supposed."""
        if snapshot.actual is not None:
            return
        # A request that comes while it is parsed waits for no more than what cannot give way.
        if self.workspace is not None:
            self._worker.submit(self.workspace.follow, snapshot)
        self._worker.submit(self._parse, snapshot)
        self._worker.submit(self._index, snapshot)
        if self.workspace is not None:
            self._worker.submit(self._advance, self.workspace)

    def look_around(self, target: Target, prepared: Prepared) -> None:
        """See what a text for a place will be held against, while there is none yet."""
        if prepared.has_tree:
            self._worker.submit(self._look_around, target, prepared.context)

    def forget(self, uri: str) -> None:
        """Drop what is kept for a document."""
        self._worker.submit(self._forget, uri)

    def end_of_word(self, beginning: str) -> str | None:
        """What makes a word of the open files of a `beginning`, see `lexical`."""
        return lexical.end_of_word(self.index, beginning)

    def template_of(self, info: ModelInfo) -> FimTemplate:
        """The model's template, chosen once."""
        if self._template is None or self._template[0] is not info:
            self._template = (info, fim.choose_template(info))
        return self._template[1]

    def close(self) -> None:
        """End the worker."""
        self._worker.close()

    def _catch_up(self) -> None:
        """Go on with what gave way to a request."""
        if self._behind is not None:
            self._worker.submit(self._parse_behind)
        if self.workspace is not None and self.workspace.is_waiting:
            self._worker.submit(self._advance, self.workspace)

    # --- on the worker ---

    def _prepare(
        self, target: Target, config: Config, template: FimTemplate | None, span: Span
    ) -> Prepared:
        from slm_lsp.context.extract import extract

        self._go_on_from(target)
        parse_until = target.deadline.earlier(target.deadline.remaining_ms() * (1 - PARSE_SHARE))

        def stop() -> bool:
            return target.cancel.cancelled or parse_until.expired()

        trees = None if target.kind is Kind.SUPPOSED else self._syntax()
        trigger = Trigger.INVOKED if target.kind is Kind.AHEAD else target.trigger
        with span.stage("context"):
            context = extract(target.snapshot, target.offset, trees, stop, trigger)
        span.note(want=context.want)
        if context.want is Want.NOTHING or target.model is None or template is None:
            return Prepared(context)
        has_tree = self._syntax().has_tree(target.snapshot.uri)
        room = room_for(target, config)
        if self._collector is not None:
            with span.stage("snippets"):
                until = (target.deadline, target.cancel)
                context = self._collector.add_to(
                    *(context, target.snapshot, target.offset, room.n_tokens, until)
                )
        with span.stage("prompt"):
            chosen = self._choose(context, target, template, room)
            if is_empty(context) and not (chosen.anchor.snippets and template.files_layout):
                span.note(want=Want.NOTHING)
                return Prepared(replace(context, want=Want.NOTHING, unwanted=Unwanted.EMPTY_FILE))
            n_typed = len(chosen.typed) if self._anchors is not None else None
            prompt = prompt_of(context, chosen, n_typed, template, config)
            others = tuple(
                prompt_of(context, replace(chosen, anchor=each), n_typed, template, config)
                for each in chosen.others
            )
        span.note(n_window=chosen.anchor.n_tokens, n_typed_chars=len(chosen.typed))
        collecting.note(span, chosen.anchor.snippets)
        return Prepared(context, prompt, chosen, others, has_tree)

    def _check(self, target: Target, text: str, place: Place) -> Verdict:
        from slm_lsp.completion import syntax_gate
        from slm_lsp.context.trial import Trial

        def stop() -> bool:
            return target.cancel.cancelled or target.deadline.expired()

        where, near = self._around
        known = near if where == (target.snapshot, target.offset) else None
        trial = Trial.at(self._syntax(), target.snapshot, target.offset, stop, known)
        if trial is None:
            return syntax_gate.Verdict(text, syntax_gate.State.UNCHECKED)
        return syntax_gate.judge(text, place, trial)

    def _look_around(self, target: Target, context: CompletionContext) -> None:
        from slm_lsp.context.languages import language_of
        from slm_lsp.context.trial import excerpt_at

        if not self._worker.is_wanted() and not target.cancel.cancelled:
            snapshot, offset = target.snapshot, target.offset
            self._around = (snapshot, offset), excerpt_at(self._syntax(), snapshot, offset)
            language = language_of(context.language or snapshot.language)
            Place.of(context, Finish.STOP, language).keep_lines()

    def _choose(
        self, context: CompletionContext, target: Target, template: FimTemplate, room: Room
    ) -> Chosen:
        if self._anchors is None:
            dropped = anchor.drop(context, template, room.n_tokens)
            return Chosen(dropped, context.prefix[dropped.at :], target.snapshot.uri)
        choose = self._anchors.ahead if target.kind is Kind.AHEAD else self._anchors.now
        return choose(target.snapshot.uri, context, template, room)

    def _syntax(self) -> SyntaxTrees:
        # Imported here, on the worker: `initialize` is answered without any grammar.
        if self._trees is None:
            # What looks at texts comes along, so that the first one need not wait for it.
            from slm_lsp.completion import syntax_gate  # noqa: F401
            from slm_lsp.context.syntax import SyntaxTrees

            self._trees = SyntaxTrees()
        return self._trees

    def _parse(self, snapshot: DocumentSnapshot) -> None:
        gave_way = False

        def stop() -> bool:
            nonlocal gave_way
            gave_way = self._worker.is_wanted()
            return gave_way

        if not self._worker.is_wanted():
            self._syntax().tidy()
        self._syntax().tree(snapshot, stop)
        if gave_way:
            self._behind = snapshot
        elif self._is_behind(snapshot.uri):
            self._behind = None

    def _parse_behind(self) -> None:
        # What a newer parse, or the end of the document, has settled is nothing to go on with.
        if self._behind is not None and not self._worker.is_wanted():
            self._parse(self._behind)

    def _go_on_from(self, target: Target) -> None:
        """Catch up with the document as it is now, if anything is to be caught up with."""
        is_actual = target.kind is not Kind.SUPPOSED and target.snapshot.actual is None
        if is_actual and self._is_behind(target.snapshot.uri):
            self._behind = target.snapshot

    def _is_behind(self, uri: str) -> bool:
        return self._behind is not None and self._behind.uri == uri

    def _index(self, snapshot: DocumentSnapshot) -> None:
        self.index.update(snapshot.uri, snapshot.text, self._worker.is_wanted)

    def _advance(self, workspace: WorkspaceSource) -> None:
        stopped = False

        def stop() -> bool:
            nonlocal stopped
            # Python lets a thread compute for milliseconds while the event loop waits to go on.
            time.sleep(0)
            # For good: what was left out for it must not be taken for all there is.
            stopped = stopped or self._worker.is_wanted()
            return stopped

        if workspace.is_waiting and not stop():
            workspace.advance(stop)

    def _guess(self, snapshot: DocumentSnapshot, offset: int) -> str:
        # An edit is followed at once; a document not read yet is left to `_index`.
        self.index.update(snapshot.uri, snapshot.text, lambda: True)
        return lexical.guess(self.index, snapshot.uri, snapshot.text, offset)

    def _forget(self, uri: str) -> None:
        if self._is_behind(uri):
            self._behind = None
        if self._trees is not None:
            self._trees.forget(uri)
        if self._anchors is not None:
            self._anchors.forget(uri)
        self.index.forget(uri)
        if self.workspace is not None:
            self.workspace.forget(uri)
