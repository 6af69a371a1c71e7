"""The pipeline of one completion: context, prompt, engine, post-processing.

Owns: the order of the stages and what is said when one of them has no answer.

Invariant: every request ends in one `Outcome`, with a completion or with a reason, and in
one trace line, whatever fails. The engine is reached only through `Engine.generate`; parsing
runs on the worker thread, never on the event loop, and is not waited for past the deadline.

Threads: the event loop; `_prepare`, `_parse` and `_forget` on the worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slm_lsp.completion import postprocess, reuse
from slm_lsp.completion.place import Place
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.config import Config
from slm_lsp.context.languages import language_of
from slm_lsp.deadline import Cancelled
from slm_lsp.engine.base import Engine, EngineUnavailable, PromptError, Superseded
from slm_lsp.prompt import budget, fim
from slm_lsp.text.whitespace import columns
from slm_lsp.trace import Span, Trace
from slm_lsp.types import (
    Completion,
    CompletionContext,
    CompletionRequest,
    DocumentSnapshot,
    EngineState,
    FimTemplate,
    Generation,
    GenerationRequest,
    ModelInfo,
    Origin,
    Prompt,
    Want,
)

if TYPE_CHECKING:
    from slm_lsp.context.syntax import SyntaxTrees

log = logging.getLogger(__name__)

# What the answer still has to go through once the engine has stopped.
RESERVE_MS = 8.0
# Of the time that is left, a parse may take this part; then the last tree has to do, and the
# parse is caught up with while the engine works. In a file of 10,000 lines an edit that adds a
# statement costs the parser 13 ms, and one that breaks the syntax up to 100 ms.
PARSE_SHARE = 0.004
# Room in the model's context for control tokens and for text denser than estimated.
SPARE_TOKENS = 32
CLOSED = "the completer was closed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A completion, or the reason for silence; and what the engine did for it."""

    completion: Completion | None
    reject: RejectReason | None = None
    generation: Generation | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the worker makes of a request; no prompt where nothing is wanted."""

    context: CompletionContext
    prompt: Prompt | None


class Completer:
    """Completes requests on one engine. Close it to end its worker."""

    def __init__(
        self,
        engine: Engine,
        config: Config,
        trace: Trace | None = None,
        latest_text: Callable[[str], str | None] | None = None,
    ) -> None:
        """`latest_text` gives a document's text as it is now, None once it is closed."""
        self.engine = engine
        self.config = config
        self.trace = trace or Trace()
        self._latest_text = latest_text
        self._trees: SyntaxTrees | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="slm-context")
        self._template: tuple[ModelInfo, FimTemplate] | None = None
        self._closed = False
        # Requests whose context is not extracted yet; what is only caught up with gives way.
        self._n_waiting = 0

    async def complete(self, request: CompletionRequest) -> Outcome:
        """See the module. Only asyncio.CancelledError is ever raised."""
        span = Span(request.deadline.clock)
        span.note(
            session=request.session, version=request.snapshot.version, trigger=request.trigger
        )
        outcome = Outcome(None, RejectReason.CANCELLED)
        try:
            outcome = await self._complete(request, span)
        except asyncio.CancelledError:
            request.cancel.cancel()
            raise
        except Exception as error:
            log.exception("a completion failed")
            # Its message may hold source text, which the trace must not.
            name = type(error).__name__
            outcome = Outcome(None, RejectReason.INTERNAL_ERROR, detail=name)
        finally:
            self._note(span, outcome)
            self.trace.write(span)
        return outcome

    async def _complete(self, request: CompletionRequest, span: Span) -> Outcome:
        info = self.engine.info
        if info is None or self.engine.state is not EngineState.READY:
            return self._unavailable(self.engine.failure or "")
        if self._closed:
            return Outcome(None, RejectReason.ENGINE_FAILED, detail=CLOSED)
        if request.deadline.earlier(RESERVE_MS).expired():
            return Outcome(None, RejectReason.NO_TIME, detail="the request came too late")
        with span.stage("prepare"):
            prepared = await self._on_worker(request, info, span)
        if not isinstance(prepared, Prepared):
            return prepared
        self._submit(self._parse, request.snapshot)
        if prepared.prompt is None:
            return Outcome(None, RejectReason.INSIDE_WORD)
        job = GenerationRequest(
            session=request.session,
            prompt=prepared.prompt,
            deadline=request.deadline.earlier(RESERVE_MS),
            cancel=request.cancel,
        )
        try:
            with span.stage("engine"):
                generation = await self.engine.generate(job)
        except Superseded:
            return Outcome(None, RejectReason.SUPERSEDED)
        except Cancelled:
            return Outcome(None, RejectReason.CANCELLED)
        except EngineUnavailable as error:
            return self._unavailable(str(error))
        except PromptError as error:
            return Outcome(None, RejectReason.PROMPT_REFUSED, detail=str(error))
        with span.stage("finish"):
            return self._finish(request, prepared.context, generation)

    async def _on_worker(
        self, request: CompletionRequest, info: ModelInfo, span: Span
    ) -> Prepared | Outcome:
        """Run `_prepare` on the worker, for no longer than there is time."""
        loop = asyncio.get_running_loop()
        template = self._template_of(info)
        work = loop.run_in_executor(self._worker, self._prepare, request, info, template, span)
        self._n_waiting += 1
        work.add_done_callback(self._extracted)
        left_ms = request.deadline.earlier(RESERVE_MS).remaining_ms()
        try:
            await asyncio.wait({work}, timeout=max(0.0, left_ms / 1e3))
        except asyncio.CancelledError:
            work.cancel()
            raise
        if not work.done():
            request.cancel.cancel()
            work.cancel()
            return Outcome(None, RejectReason.NO_TIME, detail="parsing took too long")
        if work.cancelled():
            return Outcome(None, RejectReason.ENGINE_FAILED, detail=CLOSED)
        return work.result()

    def _extracted(self, work: asyncio.Future[Prepared]) -> None:
        self._n_waiting -= 1
        if not work.cancelled():
            work.exception()  # looked at, even if nobody waits for it any more

    def _unavailable(self, detail: str) -> Outcome:
        loading = self.engine.state is EngineState.LOADING
        reason = RejectReason.LOADING if loading else RejectReason.ENGINE_FAILED
        return Outcome(None, reason, detail=detail)

    def _template_of(self, info: ModelInfo) -> FimTemplate:
        if self._template is None or self._template[0] is not info:
            self._template = (info, fim.choose_template(info))
        return self._template[1]

    def _prepare(
        self, request: CompletionRequest, info: ModelInfo, template: FimTemplate, span: Span
    ) -> Prepared:
        from slm_lsp.context.extract import extract

        left_ms = request.deadline.remaining_ms()
        parse_until = request.deadline.earlier(left_ms * (1 - PARSE_SHARE))

        def stop() -> bool:
            return request.cancel.cancelled or parse_until.expired()

        with span.stage("context"):
            context = extract(request.snapshot, request.offset, self._syntax(), stop)
        span.note(want=context.want)
        if context.want is Want.NOTHING:
            return Prepared(context, None)
        with span.stage("prompt"):
            return Prepared(context, self._prompt(context, info, template))

    def _prompt(self, context: CompletionContext, info: ModelInfo, template: FimTemplate) -> Prompt:
        config = self.config
        block = context.want is Want.BLOCK
        max_tokens = config.max_block_tokens if block else config.max_line_tokens
        n_room = info.n_ctx - max_tokens - SPARE_TOKENS
        window = budget.Window.of(max(1, min(config.prompt_tokens, n_room)))
        return fim.build(
            template,
            budget.fit(context, template, window),
            fim.stop_rule(context, columns(context.block_indent), config.max_block_lines),
            max_tokens,
        )

    def _syntax(self) -> SyntaxTrees:
        # Imported here, on the worker: `initialize` is answered without any grammar.
        if self._trees is None:
            from slm_lsp.context.syntax import SyntaxTrees

            self._trees = SyntaxTrees()
        return self._trees

    def _finish(
        self, request: CompletionRequest, context: CompletionContext, generation: Generation
    ) -> Outcome:
        language = language_of(request.snapshot.language)
        place = Place.of(context, generation.finish, language)
        text = postprocess.apply(generation.text, place)
        if isinstance(text, RejectReason):
            return Outcome(None, text, generation)
        completion = Completion(text, request.offset, request.offset, Origin.MODEL)
        if self._latest_text is not None:
            latest = self._latest_text(request.snapshot.uri)
            if latest is None:
                return Outcome(None, RejectReason.MOVED_ON, generation)
            fitted = reuse.refit(completion, request.snapshot.text, latest)
            return Outcome(fitted, None if fitted else RejectReason.MOVED_ON, generation)
        return Outcome(completion, None, generation)

    def _note(self, span: Span, outcome: Outcome) -> None:
        completion, generation = outcome.completion, outcome.generation
        span.note(
            origin=completion.origin if completion else None,
            reject=outcome.reject,
            n_chars=len(completion.text) if completion else 0,
        )
        if outcome.detail:
            span.note(detail=outcome.detail)
        if generation is not None:
            span.note(
                finish=generation.finish,
                n_prompt=generation.n_prompt,
                n_cached=generation.n_cached,
                n_predicted=generation.n_predicted,
                ttft_ms=generation.ttft_ms,
                engine_ms=round(generation.total_ms, 3),
            )

    def opened(self, snapshot: DocumentSnapshot) -> None:
        """Parse a document ahead of its first request, on the worker."""
        self._submit(self._parse, snapshot)

    def closed(self, uri: str) -> None:
        """Forget a document's tree."""
        self._submit(self._forget, uri)

    def _submit(self, call: Callable[[Any], None], value: Any) -> None:
        if not self._closed:
            self._worker.submit(_logged, call, value)

    def _parse(self, snapshot: DocumentSnapshot) -> None:
        self._syntax().tree(snapshot, lambda: self._n_waiting > 0)

    def _forget(self, uri: str) -> None:
        if self._trees is not None:
            self._trees.forget(uri)

    def close(self) -> None:
        """End the worker; the engine belongs to whoever made it."""
        self._closed = True
        self._worker.shutdown(wait=False, cancel_futures=True)


def _logged(call: Callable[[Any], None], value: Any) -> None:
    """Call; an exception would otherwise stay in a future that nobody looks at."""
    try:
        call(value)
    except Exception:
        log.exception("the syntax of a document is not known")
