"""The variants of the ablation, and its table."""

from __future__ import annotations

from typing import Any

from benchmarks.latency.ablation import PLAIN, table, variants
from slm_lsp.completion.policy import SWITCHES, Policy
from slm_lsp.config import Config, from_environment
from slm_lsp.config import apply as put

SUMMARY: dict[str, Any] = {
    "shown_within": {"250": 0.75},
    "fates": {"not_overtaken": {"shown_within_budget": None}},
    "answer_ms": {"p50": 4.4, "p95": None},
    "read_per_keystroke": {"warm": {"mean": 1.25}, "after_jump": {"mean": None}},
    "cpu_s_per_session": 6.54,
}


def test_every_switch_has_a_variant_that_turns_it_over() -> None:
    usual, turned = Policy.of(Config()), set()
    for name, environment in variants().items():
        config, problems = put(Config(), from_environment(environment), name)
        assert problems == []
        policy = Policy.of(config)
        changed = [each for each in SWITCHES if getattr(policy, each) != getattr(usual, each)]
        assert len(changed) <= 1
        turned.update(changed)
    assert turned == set(SWITCHES)


def test_what_is_not_known_is_a_dash() -> None:
    lines = table({PLAIN: SUMMARY}).splitlines()
    assert lines[-1] == "| as it is | 75 % | – | 4 / – | 1.2 | – | 6.5 |"
