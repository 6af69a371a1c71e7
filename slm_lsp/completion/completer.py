"""The pipeline of one completion: context, prompt, engine, post-processing.

Owns: the order of the stages and what is said when one of them has no answer.

Invariant: every request ends in one `Outcome`, with a completion or with a reason, and in
one trace line. The engine is reached only through `Engine.generate`; parsing runs on the
worker thread, never on the event loop.

Threads: the event loop; `_prepare` and `_parse` on the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slm_lsp.completion import postprocess, reuse
from slm_lsp.completion.postprocess import Place, RejectReason
from slm_lsp.config import Config
from slm_lsp.deadline import Cancelled
from slm_lsp.engine.base import Engine, EngineUnavailable, PromptError
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

# What the answer still has to go through once the engine has stopped.
RESERVE_MS = 8.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A completion, or the reason for silence; and what the engine did for it."""

    completion: Completion | None
    reject: RejectReason | None = None
    generation: Generation | None = None
    detail: str = ""


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
        finally:
            self._note(span, outcome)
            self.trace.write(span)
        return outcome

    async def _complete(self, request: CompletionRequest, span: Span) -> Outcome:
        info = self.engine.info
        if info is None or self.engine.state is not EngineState.READY:
            return self._unavailable(self.engine.failure or "")
        loop = asyncio.get_running_loop()
        template = self._template_of(info)
        with span.stage("prepare"):
            context, prompt = await loop.run_in_executor(
                self._worker, self._prepare, request, template, span
            )
        if prompt is None:
            return Outcome(None, RejectReason.INSIDE_WORD)
        try:
            with span.stage("engine"):
                generation = await self.engine.generate(
                    GenerationRequest(
                        session=request.session,
                        prompt=prompt,
                        deadline=request.deadline.earlier(RESERVE_MS),
                        cancel=request.cancel,
                    )
                )
        except Cancelled:
            return Outcome(None, RejectReason.SUPERSEDED)
        except EngineUnavailable as error:
            return self._unavailable(str(error))
        except PromptError as error:
            return Outcome(None, RejectReason.PROMPT_REFUSED, detail=str(error))
        with span.stage("finish"):
            return self._finish(request, context, generation)

    def _unavailable(self, detail: str) -> Outcome:
        loading = self.engine.state is EngineState.LOADING
        reason = RejectReason.LOADING if loading else RejectReason.ENGINE_FAILED
        return Outcome(None, reason, detail=detail)

    def _template_of(self, info: ModelInfo) -> FimTemplate:
        if self._template is None or self._template[0] is not info:
            self._template = (info, fim.choose_template(info))
        return self._template[1]

    def _prepare(
        self, request: CompletionRequest, template: FimTemplate, span: Span
    ) -> tuple[CompletionContext, Prompt | None]:
        """Context and prompt; no prompt where nothing is wanted."""
        from slm_lsp.context.extract import extract

        with span.stage("context"):
            context = extract(request.snapshot, request.offset, self._syntax())
        span.note(want=context.want)
        if context.want is Want.NOTHING:
            return context, None
        with span.stage("prompt"):
            window = budget.Window.of(self.config.prompt_tokens)
            block = context.want is Want.BLOCK
            prompt = fim.build(
                template,
                budget.fit(context, template, window),
                fim.stop_rule(context, columns(context.block_indent), self.config.max_block_lines),
                self.config.max_block_tokens if block else self.config.max_line_tokens,
            )
        return context, prompt

    def _syntax(self) -> SyntaxTrees:
        # Imported here, on the worker: `initialize` is answered without any grammar.
        if self._trees is None:
            from slm_lsp.context.syntax import SyntaxTrees

            self._trees = SyntaxTrees()
        return self._trees

    def _finish(
        self, request: CompletionRequest, context: CompletionContext, generation: Generation
    ) -> Outcome:
        text = postprocess.apply(generation.text, Place(context, generation.finish))
        if isinstance(text, RejectReason):
            return Outcome(None, text, generation)
        completion = Completion(text, request.offset, request.offset, Origin.MODEL)
        if self._latest_text is not None:
            latest = self._latest_text(request.snapshot.uri)
            fitted = latest and reuse.refit(completion, request.snapshot.text, latest)
            if not fitted:
                return Outcome(None, RejectReason.MOVED_ON, generation)
            completion = fitted
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
        self._worker.submit(self._parse, snapshot)

    def closed(self, uri: str) -> None:
        """Forget a document's tree."""
        self._worker.submit(self._forget, uri)

    def _parse(self, snapshot: DocumentSnapshot) -> None:
        self._syntax().tree(snapshot)

    def _forget(self, uri: str) -> None:
        if self._trees is not None:
            self._trees.forget(uri)

    def close(self) -> None:
        """End the worker; the engine belongs to whoever made it."""
        self._worker.shutdown(wait=False, cancel_futures=True)
