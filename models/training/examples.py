"""From a document to token sequences to train on.

Owns: the layouts (Bavarian et al. 2022, 2207.14255): suffix, prefix, middle with nothing between
the last two; prefix, suffix, middle; and plain text. How much of the file is shown, and what is
shown of others.

Invariant: pure; samples depend on the seed, the epoch, the document and its neighbour alone. What
stands between the sentinels is the file's own text around the middle, unchanged. No sample is
longer than the length drawn for it.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

from models.training import headers
from models.training.document import Document, stable_hash
from models.training.outline import Outline, outline
from models.training.spans import KINDS, Span, draw
from models.training.tokenized import TokenizedText, Tokenizer

if TYPE_CHECKING:
    from models.training.vocabulary import Sentinels

SHORT: Mapping[int, float] = MappingProxyType({96: 0.25, 128: 0.3, 192: 0.3, 256: 0.15})
LONG: Mapping[int, float] = MappingProxyType({512: 0.3, 1024: 0.4, 2048: 0.3})

# What the server sends: `suffix_lines` of models/smollm2-135m.toml.
SERVER_SUFFIX_LINES = 10
PLAIN = "plain"
_TRIES = 4
_MIDDLE_CHARS_PER_TOKEN = 3
_MAX_MIDDLE_TOKENS = 160


@dataclass(frozen=True, slots=True)
class Options:
    """Shares are probabilities, `lengths` are weights of most tokens a sample may have."""

    lengths: Mapping[int, float] = field(default_factory=lambda: SHORT)
    kinds: Mapping[str, float] = field(default_factory=lambda: KINDS)
    samples_per_kib: float = 1.0
    max_samples: int = 64
    fim_rate: float = 0.9
    psm_share: float = 0.0
    joint_share: float = 0.75
    path_share: float = 0.3
    snippet_share: float = 0.1
    no_suffix_share: float = 0.07
    server_suffix_share: float = 0.6
    scope_start_share: float = 0.3


# On a CPU every token counts: short windows have more of the middle in them.
PRESETS = MappingProxyType(
    {
        "short": Options(
            lengths=SHORT, path_share=0.1, snippet_share=0.03, scope_start_share=0.6, fim_rate=0.95
        ),
        "long": Options(lengths=LONG),
    }
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One sequence. `tokens[suffix_start:suffix_end]` is the suffix with its sentinels,
    `tokens[middle_start:]` the middle and the end token; plain text has neither."""

    tokens: list[int]
    suffix_start: int
    suffix_end: int
    middle_start: int
    kind: str


@dataclass(frozen=True, slots=True)
class Source:
    """A document made ready for many samples."""

    document: Document
    text: TokenizedText
    outline: Outline
    neighbour: Document | None
    tokenizer: Tokenizer
    sentinels: Sentinels


def samples(
    document: Document,
    neighbour: Document | None,
    tokenizer: Tokenizer,
    sentinels: Sentinels,
    options: Options,
    *,
    seed: int = 0,
    epoch: int = 0,
) -> Iterator[Sample]:
    """The samples of one document; `neighbour` is another one of the same source."""
    if not document.text.strip():
        return
    rng = Random(stable_hash(f"{seed}\0{epoch}\0{document.source}\0{document.path}"))
    wanted = len(document.text) / 1024 * options.samples_per_kib + rng.random()
    n_samples = min(int(wanted), options.max_samples)
    if n_samples == 0:
        return
    source = ready(document, tokenizer, sentinels, neighbour)
    taken: set[tuple[int, int]] = set()
    for _ in range(n_samples):
        if rng.random() < options.fim_rate:
            sample = _filled(source, taken, options, rng)
        else:
            sample = _plain(source, options, rng)
        if sample is not None:
            yield sample


def _filled(
    source: Source, taken: set[tuple[int, int]], options: Options, rng: Random
) -> Sample | None:
    """A sample whose middle is not among `taken`; adds it there."""
    for _ in range(_TRIES):
        budget = _draw(options.lengths, rng)
        span = draw(source.outline, rng, _max_middle_chars(budget), options.kinds)
        if span is None or (span.start, span.end) in taken:
            continue
        sample = fill(source, span, budget, options, rng)
        if sample is not None:
            taken.add((span.start, span.end))
            return sample
    return None


def ready(
    document: Document,
    tokenizer: Tokenizer,
    sentinels: Sentinels,
    neighbour: Document | None = None,
) -> Source:
    """A document tokenized and parsed, for `fill`."""
    text = TokenizedText(document.text, tokenizer)
    lines = outline(document.text, document.language)
    return Source(document, text, lines, neighbour, tokenizer, sentinels)


def fill(source: Source, span: Span, budget: int, options: Options, rng: Random) -> Sample | None:
    """The sample whose middle is `span`, in at most `budget` tokens; None if it does not fit."""
    header = _header(source, budget, options, rng)
    suffix = _suffix(source, span.end, budget // 3, options, rng)
    if suffix is None:
        return None
    psm = rng.random() < options.psm_share
    left = budget - len(header) - len(suffix) - (4 if psm else 3)
    found = _prefix_and_middle(source, span, left, options, rng)
    if found is None:
        return None
    ids, n_prefix = found
    prefix, middle = ids[:n_prefix], [*ids[n_prefix:], source.sentinels.end]
    marks = source.sentinels
    if psm:
        before = [*header, marks.fim_prefix, *prefix]
        behind = [marks.fim_suffix, *suffix, marks.fim_middle]
        start, end = len(before), len(before) + len(behind)
        return Sample([*before, *behind, *middle], start, end, end, span.kind)
    before = [*header, marks.fim_suffix, *suffix, marks.fim_prefix]
    return Sample([*before, *prefix, *middle], 0, len(before), len(before) + n_prefix, span.kind)


def _suffix(
    source: Source, start: int, max_tokens: int, options: Options, rng: Random
) -> list[int] | None:
    """The rest of the cursor's line and the lines behind it; None if that line alone is long."""
    # As if the file ended here, which it only ever does at the end of a line.
    at_line_end = source.document.text[start : start + 1] in ("\n", "")
    if rng.random() < options.no_suffix_share and at_line_end:
        return []
    n_lines = rng.randint(4, 20)
    if rng.random() < options.server_suffix_share:
        n_lines = SERVER_SUFFIX_LINES
    starts, n_chars = source.outline.starts, len(source.document.text)
    line = source.outline.line_at(start)
    last = min(line + 1 + n_lines, len(starts) - 1)
    limit = source.text.offset_after(start, max_tokens)
    while last > line + 1 and starts[last] > limit:
        last -= 1
    ids = source.text.piece(start, min(starts[last], n_chars))
    return ids if len(ids) <= max_tokens else None


def _prefix_and_middle(
    source: Source, span: Span, max_tokens: int, options: Options, rng: Random
) -> tuple[list[int], int] | None:
    """Tokens of the lines before the middle and of the middle, and how many are the prefix's."""
    lines, text = source.outline, source.text
    top = text.offset_before(span.end, max_tokens)
    line, cursor_line = lines.line_at(top), lines.line_at(span.start)
    if lines.starts[line] < top:
        line += 1
    if span.scope is not None and rng.random() < options.scope_start_share:
        line = max(line, lines.line_at(span.scope.start))
    joint = rng.random() < options.joint_share
    while line <= cursor_line:
        start = lines.starts[line]
        if joint:
            ids, offsets = text.piece_with_offsets(start, span.end)
            n_prefix = _token_at(offsets, span.start)
        else:
            before = text.piece(start, span.start)
            ids, n_prefix = [*before, *text.piece(span.start, span.end)], len(before)
        if len(ids) <= max_tokens:
            return ids, n_prefix
        line += 1
    return None


def _token_at(offsets: list[int], offset: int) -> int:
    """The first token that holds any of the text behind an offset."""
    n = len(offsets)
    while n > 0 and offsets[n - 1] >= offset:
        n -= 1
    return n if n < len(offsets) and offsets[n] == offset else n - 1


def _header(source: Source, budget: int, options: Options, rng: Random) -> list[int]:
    """Nothing, or the file's path in the repository format, perhaps behind another file."""
    drawn, code = rng.random(), (source.tokenizer, source.sentinels)
    if drawn < options.snippet_share and source.neighbour is not None:
        snippet = headers.snippet(source.neighbour, *code, budget // 4, rng)
        return [*snippet, *headers.path(source.document, *code)]
    if drawn < options.snippet_share + options.path_share:
        return headers.path(source.document, *code)
    return []


def _plain(source: Source, options: Options, rng: Random) -> Sample | None:
    """Lines of the file from a random one on, ending in the end token only at the file's end."""
    budget = _draw(options.lengths, rng)
    header = []
    if rng.random() < options.path_share:
        header = headers.path(source.document, source.tokenizer, source.sentinels)
    starts, text = source.outline.starts, source.text
    n_chars = len(source.document.text)
    # No later than leaves a full chunk, so that few chunks are short.
    latest = source.outline.line_at(text.offset_before(n_chars, budget // 2))
    start = starts[rng.randint(0, latest)]
    left = budget - len(header) - 1
    end = text.offset_after(start, left)
    ids = text.piece(start, end)
    at_end = end == n_chars and len(ids) <= left
    tokens = [*header, *ids[:left], *([source.sentinels.end] if at_end else [])]
    return Sample(tokens, 0, 0, len(tokens), PLAIN) if len(tokens) > 1 else None


def _draw(weights: Mapping[int, float], rng: Random) -> int:
    return rng.choices(list(weights), list(weights.values()))[0]


def _max_middle_chars(budget: int) -> int:
    return min(budget // 3, _MAX_MIDDLE_TOKENS) * _MIDDLE_CHARS_PER_TOKEN
