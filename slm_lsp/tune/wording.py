"""The result of `slm-lsp tune` in plain words, and as settings.

Owns: the sentences around the table, and which settings say what was recommended.

Invariant: pure. An estimate is called one; a setting that would change nothing is not named.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slm_lsp.config import Config
from slm_lsp.registry.specs import DEFAULT_MODEL
from slm_lsp.tune.candidate import Candidate
from slm_lsp.tune.cost import LINE_TOKENS
from slm_lsp.tune.machine import BUSY_SHARE
from slm_lsp.tune.measurement import NEW_TOKENS
from slm_lsp.tune.recommend import RESERVE_MS, Limits, Verdict, recommended, worth_obtaining

# Half of the measurements farther from each other than this: say so.
WIDE_SPREAD = 0.25


def settings_for(verdict: Verdict, config: Config, default_quantization: str) -> dict[str, object]:
    """The settings to change in `config` for that verdict; `default_quantization` is the one
    that its model has without a setting."""
    candidate, choice = verdict.candidate, verdict.choice
    changed: dict[str, object] = {}
    if candidate.model != (config.model or DEFAULT_MODEL):
        changed["model"] = candidate.model
    if default_quantization and candidate.quantization != (
        config.quantization or default_quantization
    ):
        changed["quantization"] = candidate.quantization
    if choice.threads != config.n_threads:
        changed["threads"] = choice.threads
    if choice.batch_threads != config.n_threads_batch:
        changed["batch_threads"] = choice.batch_threads
    for name in ("prompt_tokens", "context_tokens"):
        if getattr(choice, name) != getattr(config, name):
            changed[name] = getattr(choice, name)
    return changed


def explain(verdicts: Sequence[Verdict], failed: Sequence[Candidate], limits: Limits) -> list[str]:
    """What is recommended and why, line by line."""
    return [
        *_how(limits),
        *(f"{each.label}: {each.trouble}" for each in failed),
        *_recommendation(verdicts, limits),
        *_to_obtain(verdicts),
    ]


def _how(limits: Limits) -> Iterator[str]:
    yield (
        f"line: while typing, {NEW_TOKENS} new tokens are read behind the prompt and "
        f"{LINE_TOKENS} written. cold: tokens of the longest prompt that is read afresh and "
        f"answered with such a line in time. {RESERVE_MS:g} of {limits.budget_ms:g} ms are for "
        "all but the model. threads: to write, to read."
    )


def _recommendation(verdicts: Sequence[Verdict], limits: Limits) -> Iterator[str]:
    best = recommended(verdicts)
    measured = [each for each in verdicts if not each.candidate.is_estimate]
    if best is None:
        if measured:
            nearest = min(measured, key=lambda each: each.warm_ms)
            yield (
                f"Nothing here keeps {limits.budget_ms:g} ms for a whole line. Nearest is "
                f"{nearest.candidate.label}, which {nearest.why_not}. With less time the answer "
                "gets shorter, not later; for whole lines choose a smaller model "
                "(`slm-lsp models list`), or raise `automatic_budget_ms`."
            )
        return
    choice = best.choice
    yield (
        f"Recommended: {best.candidate.label} with prompts of {choice.prompt_tokens} tokens, "
        f"{_threads(choice.threads)} to write and {_threads(choice.batch_threads)} to read."
    )
    yield f"Why: {_why(best, measured, limits)}."
    if choice.threads >= limits.n_cores > 1:
        yield (
            "It needs all cores to write in time: while another program works it will be slower "
            "by far more than its share, and answers get shorter."
        )
    if choice.prompt_tokens < limits.prompt_tokens:
        yield (
            f"Prompts are shorter than the {limits.prompt_tokens} tokens asked for: longer ones "
            "would not keep budget, memory or the time to read a file just opened."
        )


def _why(best: Verdict, measured: Sequence[Verdict], limits: Limits) -> str:
    own = f"a line while typing takes {best.warm_ms:.0f} of {limits.budget_ms:g} ms"
    others = [each for each in measured if each is not best]
    if not others:
        return f"{own}; nothing else was measured"
    why = f"of what keeps the budget it has the best weights, and {own}"
    faster = [each for each in others if each.keeps and each.warm_ms < best.warm_ms]
    if faster:
        quickest = min(faster, key=lambda each: each.warm_ms)
        why += f"; {quickest.candidate.label} is faster ({quickest.warm_ms:.0f} ms) but "
        why += _worse(quickest.candidate, best.candidate)
    better = [each for each in others if each.candidate.quality > best.candidate.quality]
    if better:
        nearest = min(better, key=lambda each: each.warm_ms)
        why += f"; {nearest.candidate.label} would be better but {nearest.why_not}"
    return why


def _worse(candidate: Candidate, best: Candidate) -> str:
    if candidate.n_parameters < 0.9 * best.n_parameters:
        return "smaller, and speed beyond the budget gains nothing"
    if candidate.faithful_bits < candidate.bits:
        return "quantized a second time, which costs quality"
    return "coarser, and speed beyond the budget gains nothing"


def _to_obtain(verdicts: Sequence[Verdict]) -> Iterator[str]:
    better = worth_obtaining(verdicts)
    if better is not None:
        yield (
            f"By estimate {better.candidate.label}, which is not here, would keep the budget, too, "
            f"and is larger: `slm-lsp models pull {better.candidate.model}`, then tune again."
        )


def doubts(verdicts: Sequence[Verdict], load_average: float, limits: Limits) -> list[str]:
    """What makes the figures less than certain."""
    known = [each.candidate.measured for each in verdicts if not each.candidate.is_estimate]
    others = max((each.other_cores for each in known if each), default=0.0)
    found = []
    if others > BUSY_SHARE * limits.n_cores:
        found.append(
            f"Other programs kept {others:.1f} of {limits.n_cores} cores busy while this was "
            "measured: on an idle machine figures are better. Close them and tune again."
        )
    elif load_average > (1 - BUSY_SHARE) * limits.n_cores:
        found.append(
            f"The machine was busy (load {load_average:.1f} on {limits.n_cores} cores) when this "
            "began: figures may be low."
        )
    wide = [e for e in known if e and (e.spread > WIDE_SPREAD or e.n_rounds < 2)]
    if wide and not found:
        found.append("Measurements of the same thing lie far apart; tune again to be sure.")
    return found


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
