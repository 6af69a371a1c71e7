"""What is looked at for whom, what comes of it, and the prompt that is made of it.

Owns: the values that the worker takes and gives, and how much a prompt may hold.

Invariant: pure; no secret gets into a prompt.

Threads: any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from slm_lsp.completion.anchors import Chosen, Room
from slm_lsp.config import Config
from slm_lsp.deadline import CancelToken, Deadline
from slm_lsp.prompt import anchor, fim, plan
from slm_lsp.prompt.budget import CHARS_PER_TOKEN
from slm_lsp.prompt.plan import UNKNOWN, Speed
from slm_lsp.prompt.redacted import without_secrets
from slm_lsp.prompt.start import start_of
from slm_lsp.types import (
    CompletionContext,
    DocumentSnapshot,
    FimTemplate,
    ModelInfo,
    Prompt,
    Trigger,
    Want,
)

# Room in the model's context for control tokens and for text denser than estimated.
SPARE_TOKENS = 32


class Kind(Enum):
    """What a prompt is for: an answer `NOW`, reading `AHEAD` of one, or what would follow if
    text that is only `SUPPOSED` stood in the document."""

    NOW = auto()
    AHEAD = auto()
    SUPPOSED = auto()


@dataclass(frozen=True, slots=True)
class Target:
    """Where to look, for whom: `model` None asks for no prompt. What is supposed is read without
    a tree, so that the document's own stays. What is read ahead is read wherever it is."""

    snapshot: DocumentSnapshot
    offset: int
    deadline: Deadline
    cancel: CancelToken
    model: ModelInfo | None
    kind: Kind = Kind.NOW
    speed: Speed = UNKNOWN
    trigger: Trigger = Trigger.AUTOMATIC


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the worker makes of a target; no prompt where nothing is wanted. `chosen` says
    what the prompt is anchored to, and which KV sequence is its own; `others` are the prompts of
    its anchors of other sizes. `has_tree`: texts for the place can be checked."""

    context: CompletionContext
    prompt: Prompt | None = None
    chosen: Chosen | None = None
    others: tuple[Prompt, ...] = ()
    has_tree: bool = False


def room_for(target: Target, config: Config) -> Room:
    """How much a prompt for a target may hold, given what the engine takes for a token."""
    assert target.model is not None
    n_ctx, speed = target.model.n_ctx, target.speed
    # An eighth of the context and more for what is typed behind an anchor.
    max_typed_chars = min(anchor.MAX_TYPED_CHARS, n_ctx * CHARS_PER_TOKEN // 5)
    n_reserved = max_typed_chars // CHARS_PER_TOKEN + SPARE_TOKENS
    n_room = n_ctx - max(config.max_line_tokens, config.max_block_tokens) - n_reserved
    n_most = max(1, min(config.prompt_tokens, n_room))
    remaining_ms = target.deadline.remaining_ms()
    n_soon = plan.soon_tokens(n_most, speed, remaining_ms)
    others = plan.other_sizes(n_most, n_soon, speed, remaining_ms)
    return Room(plan.window_tokens(n_most, speed), n_soon, max_typed_chars, others)


def is_empty(context: CompletionContext) -> bool:
    """Whether a document says nothing: of that a model makes a scrap of prose. Only one that knows
    a repository's format can begin a file by what other files hold."""
    return all(not text or text.isspace() for text in (context.prefix, context.suffix))


def prompt_of(
    context: CompletionContext,
    chosen: Chosen,
    n_typed: int | None,
    template: FimTemplate,
    config: Config,
) -> Prompt:
    """The prompt of a place from what was chosen; the last `n_typed` characters before the cursor
    were typed since, None where there is no anchor."""
    block = context.want is Want.BLOCK or bool(context.opens)
    max_tokens = config.max_block_tokens if block else config.max_line_tokens
    anchored = anchor.shown(chosen.anchor, chosen.typed, context)
    # The only way into a prompt: no secret gets to the engine, or to what it keeps on the disk.
    anchored, n_shown = without_secrets(anchored, n_typed or 0)
    n_typed = None if n_typed is None else n_shown
    stop = fim.stop_rule(context, config.max_block_lines)
    prompt = fim.build(template, anchored, stop, max_tokens, n_typed)
    # By the document: what is blank there may not be to the anchor, and the other way round.
    return replace(prompt, start=start_of(context))
