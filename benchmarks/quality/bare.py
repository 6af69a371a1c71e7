"""The bare model on this project's own prompt: no post-processing, no time limit.

Owns: how far a generation may go in each suite, and one decoder.

Invariant: the prompt is the pipeline's, from context to template, inferred indentation and
healing included; only the stop rule and the number of tokens differ. What one problem left in
the KV sequence beyond its prompt is dropped, so the order of problems does not matter.

Threads: the caller's, which runs the decoder too.
"""

from __future__ import annotations

from benchmarks.quality.problems import Problem
from benchmarks.quality.scoring import Answer
from slm_lsp.completion.target import SPARE_TOKENS
from slm_lsp.config import Config
from slm_lsp.context.extract import extract
from slm_lsp.context.syntax import SyntaxTrees
from slm_lsp.deadline import SYSTEM_CLOCK, CancelToken, Deadline
from slm_lsp.engine.base import Decoder, EngineStats
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.run import Run
from slm_lsp.prompt import anchor, fim
from slm_lsp.types import (
    CompletionContext,
    DocumentSnapshot,
    GenerationRequest,
    Prompt,
    StopRule,
    Text,
)
from slm_lsp.wiring import load_decoder

# Never reached; a run without a deadline does not exist.
BUDGET_MS = 600_000.0
# The longest line of the suite has 141 characters.
MAX_LINE_TOKENS = 64
# Of a middle of n tokens, a model may write twice as many and these.
EXTRA_TOKENS = 64
LINE_END = StopRule(strings=("\n",))


class BareModel:
    """Answers problems by greedy generation. Close it to free the model."""

    def __init__(self, decoder: Decoder, config: Config, *, single_line: bool) -> None:
        """Owns `decoder` from now on; `single_line` ends an answer at its first line end."""
        self._decoder = decoder
        self._config = config
        self._single_line = single_line
        self._kv = KvCache(decoder, SYSTEM_CLOCK, EngineStats())
        self._template = fim.choose_template(decoder.info)
        self._trees = SyntaxTrees()

    @classmethod
    def load(cls, config: Config, *, single_line: bool) -> BareModel:
        """The configured model. Raises ModelLoadError."""
        decoder = load_decoder(config, lambda text, done: None)
        return cls(decoder, config, single_line=single_line)

    @property
    def template(self) -> str:
        """The name of the prompt's template."""
        return self._template.name

    def answer(self, problem: Problem) -> Answer:
        """What the model writes at the problem's cursor."""
        text = problem.prefix + problem.suffix
        snapshot = DocumentSnapshot(f"file:///{problem.name}.py", 1, "python", text)
        context = extract(snapshot, len(problem.prefix), self._trees)
        self._trees.forget(snapshot.uri)
        request = GenerationRequest(
            session=problem.name,
            prompt=self._prompt(context, self._max_tokens(problem)),
            deadline=Deadline.after(BUDGET_MS),
            cancel=CancelToken(),
            document="quality",  # one sequence, so that a problem is not read beside others
        )
        generation = Run(self._kv, request, SYSTEM_CLOCK).finish()
        self._kv.cut(generation.n_prompt)
        return Answer(
            text=context.inferred_indent + generation.text,
            finish=generation.finish,
            n_prompt=generation.n_prompt,
            n_predicted=generation.n_predicted,
        )

    def _max_tokens(self, problem: Problem) -> int:
        if self._single_line:
            return MAX_LINE_TOKENS
        return 2 * len(self._decoder.tokenize([Text(problem.middle)])) + EXTRA_TOKENS

    def _prompt(self, context: CompletionContext, max_tokens: int) -> Prompt:
        n_room = self._decoder.info.n_ctx - max_tokens - SPARE_TOKENS
        n_tokens = max(1, min(self._config.prompt_tokens, n_room))
        dropped = anchor.drop(context, self._template, n_tokens)
        typed = context.prefix[dropped.at :]
        stop = LINE_END if self._single_line else StopRule()
        shown = anchor.shown(dropped, typed, context)
        return fim.build(self._template, shown, stop, max_tokens, len(typed))

    def close(self) -> None:
        """Free the model."""
        self._decoder.close()
