"""Which model to use: the best one that keeps the budget here.

Owns: when a model keeps the budget, with which settings, and the choice among those that do.

Invariant: pure. What is recommended keeps budget and memory limit by its own figures, and a machine
that is faster or has more memory never gets a smaller recommendation (tests/test_tune_laws.py).

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from slm_lsp.tune.candidate import Candidate
from slm_lsp.tune.cost import (
    LINE_TOKENS,
    line_ms,
    longest_cold_prompt,
    read_ms,
    speed_of,
    warm_ms,
)
from slm_lsp.tune.measurement import Measurement

# Of a request's time: what is done besides the model's steps, and the editor's part.
RESERVE_MS = 15.0
# A prompt that is to be read afresh, after a jump or in a file just opened, is read ahead; longer
# than this nobody should wait for the first good suggestion.
FILL_MS = 4_000.0
MIN_PROMPT_TOKENS = 512
# Documents kept warm, each with a context of its own (engine.llama.N_SEQUENCES).
N_CONTEXTS = 4
# Threads that gain less than this are left to the other programs.
WORTH = 1.1


@dataclass(frozen=True, slots=True)
class Limits:
    """What is to be kept: the budget, the memory there is, and the settings to start from."""

    budget_ms: float
    memory_bytes: int
    prompt_tokens: int
    context_tokens: int
    n_cores: int

    @property
    def for_model_ms(self) -> float:
        return self.budget_ms - RESERVE_MS


@dataclass(frozen=True, slots=True)
class Choice:
    """The settings of one way to run a candidate."""

    prompt_tokens: int
    context_tokens: int
    threads: int
    batch_threads: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a candidate does here. Where it does not keep the budget, `misses` names what it does
    not keep, `why_not` says so, and the figures are those of the choice that comes nearest."""

    candidate: Candidate
    choice: Choice
    keeps: bool
    warm_ms: float
    fill_ms: float
    cold_prompt_tokens: int
    reads_per_s: float
    writes_per_s: float
    memory_bytes: int
    misses: str = ""
    why_not: str = ""


def judge(candidate: Candidate, limits: Limits) -> Verdict | None:
    """What this candidate does; None for one without figures."""
    if candidate.measured is None:
        return None
    for prompt_tokens in prompt_sizes(limits.prompt_tokens, candidate.trained_tokens):
        for context_tokens in _contexts(prompt_tokens, limits):
            if memory_bytes(candidate, context_tokens) > limits.memory_bytes:
                continue
            choices = [
                Choice(prompt_tokens, context_tokens, threads, batch_threads)
                for threads, batch_threads in _threads(candidate.measured)
            ]
            if kept := [each for each in choices if not _misses(candidate, each, limits)[0]]:
                return _verdict(candidate, _sparing(candidate.measured, kept, limits), limits)
    return _nearest(candidate, limits)


def prompt_sizes(asked: int, trained_tokens: int) -> list[int]:
    """Prompts to try, the largest first: none larger than what the settings ask for, as what
    more would gain is not known; a model trained on less gets half of that."""
    top = min(asked, trained_tokens // 2) if trained_tokens else asked
    smaller = [size for size in (2048, 1536, 1024, 768, MIN_PROMPT_TOKENS) if size < top]
    return [top, *smaller]


def _contexts(prompt_tokens: int, limits: Limits) -> list[int]:
    """Contexts that hold such a prompt, what is typed behind it and what is written: the one of
    the settings, and a smaller one."""
    small = 2 * max(MIN_PROMPT_TOKENS, prompt_tokens)
    if limits.context_tokens < 1.25 * prompt_tokens:
        return [small]
    return [limits.context_tokens, *([small] if small < limits.context_tokens else [])]


def _threads(measured: Measurement) -> Iterator[tuple[int, int]]:
    for threads in sorted(measured.write_ms):
        for batch_threads in sorted(measured.step_ms):
            yield threads, batch_threads


def memory_bytes(candidate: Candidate, context_tokens: int) -> int:
    """What it takes with contexts of that size, from what it took with the measured one."""
    assert candidate.measured is not None
    more_tokens = N_CONTEXTS * (context_tokens - candidate.measured.n_ctx)
    return candidate.measured.rss_bytes + more_tokens * candidate.cache_bytes_per_token


def _misses(candidate: Candidate, choice: Choice, limits: Limits) -> tuple[str, str]:
    """What this choice does not keep, as a word and as a sentence says it; empty if nothing."""
    assert candidate.measured is not None
    needed = memory_bytes(candidate, choice.context_tokens)
    if needed > limits.memory_bytes:
        had = _size(limits.memory_bytes)
        return "memory", f"takes {_size(needed)} of memory, and {had} are to be had"
    speed = speed_of(candidate.measured, choice.threads, choice.batch_threads)
    warm = warm_ms(speed, choice.prompt_tokens)
    if warm > limits.for_model_ms:
        to_spend = f"{limits.for_model_ms:.0f} ms to spend"
        return "line", f"takes {warm:.0f} ms for a line while typing, with {to_spend}"
    fill = read_ms(speed, choice.prompt_tokens)
    if fill > FILL_MS:
        prompt = f"a prompt of {choice.prompt_tokens} tokens"
        return "reading", f"takes {fill / 1e3:.1f} s to read {prompt}"
    return "", ""


def _sparing(measured: Measurement, kept: Sequence[Choice], limits: Limits) -> Choice:
    """Of these the one with the fewest threads that is about as fast as any of them.

    Threads that write wait for each other at every step: with all cores at it, one that another
    program has is waited for every time (docs/decisions/0006-threads.md). So all cores write
    only where the budget is not kept otherwise.
    """
    spare = [each for each in kept if each.threads < limits.n_cores] or kept
    best_ms = min(measured.write_ms[each.threads] for each in spare)
    good = [each for each in spare if measured.write_ms[each.threads] <= WORTH * best_ms]
    threads = min(each.threads for each in good)
    same = [each for each in good if each.threads == threads]
    fills = {
        each: read_ms(speed_of(measured, threads, each.batch_threads), each.prompt_tokens)
        for each in same
    }
    quick = [each for each in same if fills[each] <= WORTH * min(fills.values())]
    return min(quick, key=lambda each: each.batch_threads)


def _nearest(candidate: Candidate, limits: Limits) -> Verdict:
    """The figures of what comes nearest to keeping the budget, and why it does not."""
    assert candidate.measured is not None
    prompt_tokens = prompt_sizes(limits.prompt_tokens, candidate.trained_tokens)[-1]
    context_tokens = _contexts(prompt_tokens, limits)[-1]
    choices = [
        Choice(prompt_tokens, context_tokens, threads, batch_threads)
        for threads, batch_threads in _threads(candidate.measured)
    ]

    def missed_ms(choice: Choice) -> tuple[float, float]:
        assert candidate.measured is not None
        speed = speed_of(candidate.measured, choice.threads, choice.batch_threads)
        return warm_ms(speed, prompt_tokens), read_ms(speed, prompt_tokens)

    return _verdict(candidate, min(choices, key=missed_ms), limits)


def _verdict(candidate: Candidate, choice: Choice, limits: Limits) -> Verdict:
    assert candidate.measured is not None
    speed = speed_of(candidate.measured, choice.threads, choice.batch_threads)
    fill = read_ms(speed, choice.prompt_tokens)
    line = line_ms(speed, choice.prompt_tokens)
    misses, why_not = _misses(candidate, choice, limits)
    return Verdict(
        candidate=candidate,
        choice=choice,
        keeps=not misses,
        warm_ms=warm_ms(speed, choice.prompt_tokens),
        fill_ms=fill,
        cold_prompt_tokens=longest_cold_prompt(speed, limits.for_model_ms, choice.prompt_tokens),
        reads_per_s=1e3 * choice.prompt_tokens / fill,
        writes_per_s=1e3 * LINE_TOKENS / line,
        memory_bytes=memory_bytes(candidate, choice.context_tokens),
        misses=misses,
        why_not=why_not,
    )


def recommended(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The best that keeps the budget, of what was measured; None where nothing does.

    Better means better weights: among models that are fast enough, speed is no merit. Between
    equals the one with the longer prompt, then the faster one.
    """
    kept = [each for each in verdicts if each.keeps and not each.candidate.is_estimate]
    return max(kept, key=_merit, default=None)


def _merit(verdict: Verdict) -> tuple[float, int, float]:
    return verdict.candidate.quality, verdict.choice.prompt_tokens, -verdict.warm_ms


def worth_obtaining(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The best model that would keep the budget by the estimates, if it is better than what is
    recommended of those that are here."""
    best = recommended(verdicts)
    better = [
        each
        for each in verdicts
        if each.keeps
        and each.candidate.is_estimate
        and (best is None or each.candidate.quality > best.candidate.quality)
    ]
    return max(better, key=_merit, default=None)


def _size(size_bytes: float) -> str:
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"
