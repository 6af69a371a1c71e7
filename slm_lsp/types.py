"""Every value that crosses a package boundary.

Owns: the frozen, slotted dataclasses that flow through a request, from the editor's
snapshot to the completion, and the small enums in them.

Invariant: values only, no behaviour beyond derived properties, and no import of another
package of this project besides `deadline`. Offsets are code points, never bytes or
UTF-16 units; conversions live in `text.position`.

Threads: any; everything here is immutable except `CancelToken`, which is thread-safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from slm_lsp.deadline import CancelToken, Deadline


class Trigger(StrEnum):
    """Why a completion was asked for; it selects the latency budget."""

    AUTOMATIC = "automatic"
    INVOKED = "invoked"


class Priority(IntEnum):
    """Order in which the Scheduler serves jobs; lower runs first."""

    INTERACTIVE = 0
    SPECULATIVE = 1
    WARMUP = 2


class Finish(StrEnum):
    """Why a generation ended. Cancelling raises instead."""

    EOS = "eos"
    STOP = "stop"
    LENGTH = "length"
    DEADLINE = "deadline"


class Origin(StrEnum):
    """Where a completion's text came from."""

    MODEL = "model"
    REUSED = "reused"
    LEXICAL = "lexical"


class Want(StrEnum):
    """How much text fits at the cursor."""

    NOTHING = "nothing"
    LINE = "line"
    BLOCK = "block"


class Unwanted(StrEnum):
    """Why no text is wanted at the cursor."""

    INSIDE_WORD = "inside_word"
    TEXT_BEHIND = "text_behind"
    STATEMENT_ENDED = "statement_ended"
    NO_CONTEXT = "no_context"
    EMPTY_FILE = "empty_file"


class Start(IntEnum):
    """What a text may begin with, the more the less: anything, no line break, or neither that nor
    the model's end. White space before is passed over."""

    ANY = 0
    NO_BREAK = 1
    TEXT = 2


class EngineState(StrEnum):
    """Life of an engine, as users and traces see it."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class DocumentSnapshot:
    """One version of one document. `text` keeps the client's own line ends.

    Of a notebook's cell, `preamble` is what the cells before it say; offsets do not count it.
    Where `text` is only what the document would be, `actual` is what it is.
    """

    uri: str
    version: int | None
    language: str
    text: str
    preamble: str = ""
    in_notebook: bool = False
    actual: str | None = None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """What the editor asked: complete `snapshot` at `offset` before `deadline`; and, if it was
    invoked, so many other texts beside the first, in what is left of the time."""

    session: str
    snapshot: DocumentSnapshot
    offset: int
    trigger: Trigger
    deadline: Deadline
    cancel: CancelToken
    n_alternatives: int = 0


@dataclass(frozen=True, slots=True)
class Snippet:
    """Text of another file shown to the model."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class FileName:
    """What a file is called to a model: its repository's name, and its path in that."""

    repo: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class CompletionContext:
    """What the syntax around the cursor says.

    `prefix` and `suffix` are the whole text before and after the cursor, with the cells
    before a notebook's cell. `language` is the id of what stands there. `indent` is the
    white space the completed line starts with: the line's own up to the cursor, or the
    one inferred from syntax where the line is still empty. `inferred_indent` is the part
    of it that the document does not hold yet and the completion must insert.
    `scope` names the enclosing definitions, outermost first. `block_indent` is the
    indentation (text) below which a block completion has ended. `unwanted` says why nothing is
    wanted; `opens` are the endings of a first line that let the text go on, see
    `StopRule.line_opens`: empty where nothing is decided anew.
    `snippets` are texts of other files, in the order in which they are shown; `file` is what
    the file itself is called, and `line_comment` what begins a comment in it.
    """

    prefix: str
    suffix: str
    indent: str = ""
    inferred_indent: str = ""
    block_indent: str = ""
    scope: tuple[str, ...] = ()
    in_string: bool = False
    in_comment: bool = False
    want: Want = Want.BLOCK
    language: str = ""
    snippets: tuple[Snippet, ...] = ()
    unwanted: Unwanted | None = None
    opens: str = ""
    trigger: Trigger = Trigger.INVOKED
    file: FileName = FileName()
    line_comment: str = ""


@dataclass(frozen=True, slots=True)
class Special:
    """One control token, by its exact text in the model's vocabulary."""

    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text; tokenized so that no control token can come out of it."""

    text: str


Segment = Special | Text


@dataclass(frozen=True, slots=True)
class StopRule:
    """When generated text is complete; data, so that it can cross a process boundary.

    `strings`: the first occurrence ends the text (not included).
    `indent`: a complete line that starts left of this many columns ends the text before
    it; None switches the rule off. Tabs count to the next multiple of `tab_columns`.
    `max_lines`: the text ends before the line break that would start one more line.
    `line_opens`: the first line ends the text unless it ends with one of these characters, white
    space aside; a blank first line counts as a line break. None switches the rule off.
    """

    strings: tuple[str, ...] = ()
    indent_columns: int | None = None
    max_lines: int | None = None
    tab_columns: int = 8
    line_opens: str | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model reads. `heal` is the end of the prefix that is left out of the
    segments: generated text is forced to begin with it and is returned without it.
    `start` says what the text behind that may begin with, see `prompt.start`."""

    segments: tuple[Segment, ...]
    stop: StopRule = StopRule()
    stop_specials: tuple[str, ...] = ()
    max_tokens: int = 64
    heal: str = ""
    start: Start = Start.ANY


# What a line takes, where time has to be left for one.
LINE_TOKENS = 8


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One job for an engine. The latest INTERACTIVE job of a session wins.

    `document` names the KV sequence (empty: the session's). A prompt with `max_tokens` 0 is
    read and nothing is written; at WARMUP priority it gives way and goes on by itself.
    `others` are the same place with more or less context, the most first. The engine takes one
    with more instead of `prompt` where it holds so much of it that this is as quick, or in time
    for a line; one with less where only that, of which it holds enough, is in time for a line.
    With a `branch` the text is another one: the token behind `branch_at` others is not the
    likeliest but so many places behind it; all others are the likeliest.
    """

    session: str
    prompt: Prompt
    deadline: Deadline
    cancel: CancelToken
    priority: Priority = Priority.INTERACTIVE
    document: str = ""
    others: tuple[Prompt, ...] = ()
    branch: int = 0
    branch_at: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """What an engine produced. `logprobs` holds one natural logarithm a token, `ends` how long
    the text was behind each, before it was cut where it is complete; `n_resumed` of the tokens
    were known from an earlier job and took no step. `other_at`: behind which of the request's
    `others` it was written, None for its `prompt`."""

    text: str
    finish: Finish
    n_prompt: int = 0
    n_cached: int = 0
    n_predicted: int = 0
    ttft_ms: float | None = None
    total_ms: float = 0.0
    logprobs: tuple[float, ...] = ()
    n_resumed: int = 0
    other_at: int | None = None
    ends: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """Replace `start`..`end` (offsets in the request's snapshot) by `text`."""

    text: str
    start: int
    end: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class FimTemplate:
    """How a model family is shown prefix and suffix.

    `layout` is a sequence of sentinels and the placeholders `{prefix}` and `{suffix}`.
    `stop` lists sentinels that end a generation beside the model's own end tokens.
    `suffix_lines` caps the suffix where a model was not trained to use more.
    `suffix_is_file` says that the suffix is shown as a file of its own, to a model that has
    no sentinels for it: it then begins with its first line that holds something.
    `joins_sign`: the model's tokenizer makes one token of a sign and the word behind it (`.name`).
    `files_layout` is the layout where texts of other files are shown, in the format that the
    family was trained on: `{files}` stands for them, each as `file` says with its `{path}` and
    `{text}`; `{repo}` and `{path}` are the file's own. Without it they are shown as comments.
    """

    name: str
    layout: tuple[str, ...]
    stop: tuple[str, ...] = ()
    suffix_lines: int | None = None
    suffix_is_file: bool = False
    joins_sign: bool = False
    files_layout: tuple[str, ...] = ()
    file: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What an engine says of its model. `specials` are its control tokens' texts;
    `metadata` is the model file's own; `template` comes from the registry entry."""

    name: str
    n_ctx: int
    n_vocab: int = 0
    specials: frozenset[str] = frozenset()
    metadata: Mapping[str, str] = field(default_factory=dict)
    template: FimTemplate | None = None
