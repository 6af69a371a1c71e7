"""What a matrix consists of: which programs run with which options, in which order.

Owns: the order of importance, how many sessions and keys each part has, and how long it takes.

Invariant: pure. The first parts are those that most goals are about; no part needs another.

Threads: any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.latency.cold_sessions import make_cold_session
from benchmarks.latency.options import DEFAULT, is_random, label
from benchmarks.latency.sessions import Kind, Session, make_session

LATENCY = "benchmarks.latency"
BUDGETS_MS = (100, 500)
MAIN_BUDGET_MS = 250
KEYSTROKES, PATIENT_KEYSTROKES = 200, 100
# For this many minutes the numbers of sessions below are.
MINUTES = 60.0
MAIN_SESSIONS, MORE_SESSIONS, PATIENT_SESSIONS, OTHER_SESSIONS, COLD_SESSIONS = 4, 6, 2, 2, 1
REPEATS, SERVERS = 5, 8
# Seconds: start of a child (a model is loaded, a daemon ends); what a session takes beside its
# keys (a server's start, its last answer, the pause behind it) and what accepting adds to them; a
# key that waits for the answer of a peer without limit.
START_S, SESSION_S, ACCEPTING, PATIENT_KEY_S = 12.0, 4.5, 1.15, 2.0
COLDSTART_S, FLEET_S = 12.0, 25.0
# The model on which most is compared with the peer.
PEER_MODEL = "random-0.5b"


@dataclass(frozen=True, slots=True)
class Part:
    """One child's run; `seconds` is what it is expected to take."""

    name: str
    module: str
    arguments: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What the parts are made for."""

    models: tuple[str, ...]
    texts: Mapping[str, str]
    minutes: float = MINUTES
    keystrokes: int = KEYSTROKES
    passed_on: tuple[str, ...] = ()

    def n(self, sessions: int) -> int:
        """So many sessions in the time there is."""
        return max(1, round(sessions * min(1.0, self.minutes / MINUTES)))

    def typing_s(self, n_sessions: int, *, cold: bool = False) -> float:
        """What typing the sessions takes one policy."""
        make = make_cold_session if cold else make_session
        sessions = [make(self.texts, 0, number) for number in range(n_sessions)]
        typed_s = sum(_typed_ms(session, self.keystrokes) for session in sessions) / 1e3
        return ACCEPTING * typed_s + SESSION_S * n_sessions


def parts(plan: Plan) -> list[Part]:
    """All parts, the most important first."""
    found = [_main(plan, m) for m in sorted(plan.models, key=lambda m: label(m) != PEER_MODEL)]
    found[1:1] = [_patient(plan, model) for model in plan.models if label(model) == PEER_MODEL]
    found += [_coldstart(plan, model) for model in plan.models[:1]]
    found += [_fleet(plan, model) for model in plan.models[:1]]
    found += [_cold(plan, model, MAIN_BUDGET_MS) for model in plan.models]
    for budget_ms in BUDGETS_MS:
        found += [_alone(plan, model, budget_ms) for model in plan.models]
        found += [_cold(plan, model, budget_ms) for model in plan.models]
    return found + [_coldstart(plan, model) for model in plan.models[1:]]


def _main(plan: Plan, model: str) -> Part:
    """Ours and the peer, where the model can serve it."""
    n_sessions = plan.n(MORE_SESSIONS if label(model) == PEER_MODEL else MAIN_SESSIONS)
    n_policies = 2 if is_random(model) else 1
    return _latency(
        plan,
        f"{label(model)}-{MAIN_BUDGET_MS}",
        [*_model(model), *_budget(MAIN_BUDGET_MS), "--may-lack-peer", *_sessions(n_sessions)],
        n_policies * plan.typing_s(n_sessions),
    )


def _patient(plan: Plan, model: str) -> Part:
    """What there is to be shown at each key, and what of it ours shows in time."""
    # The first keys of the same sessions: what is compared are keys that both have.
    plan = replace(plan, keystrokes=min(plan.keystrokes or PATIENT_KEYSTROKES, PATIENT_KEYSTROKES))
    n_sessions = plan.n(PATIENT_SESSIONS)
    policies = ["--policy", "ours", "--policy", "llama.vim-unlimited"]
    how = ["--pace", "fast", "--accept", "never"]
    return _latency(
        plan,
        f"{label(model)}-unlimited",
        [*_model(model), *_budget(MAIN_BUDGET_MS), *policies, *how, *_sessions(n_sessions)],
        n_sessions * plan.keystrokes * (PATIENT_KEY_S + MAIN_BUDGET_MS / 1e3),
    )


def _alone(plan: Plan, model: str, budget_ms: int) -> Part:
    n_sessions = plan.n(OTHER_SESSIONS)
    return _latency(
        plan,
        f"{label(model)}-{budget_ms}",
        [*_model(model), *_budget(budget_ms), "--policy", "ours", *_sessions(n_sessions)],
        plan.typing_s(n_sessions),
    )


def _cold(plan: Plan, model: str, budget_ms: int) -> Part:
    n_sessions = plan.n(COLD_SESSIONS)
    how = ["--cold", "--policy", "ours", *_sessions(n_sessions)]
    return _latency(
        plan,
        f"{label(model)}-{budget_ms}-cold",
        [*_model(model), *_budget(budget_ms), *how],
        plan.typing_s(n_sessions, cold=True),
    )


def _latency(plan: Plan, name: str, arguments: list[str], seconds: float) -> Part:
    arguments += ["--keystrokes", str(plan.keystrokes), *plan.passed_on]
    return Part(f"latency-{name}", LATENCY, tuple(arguments), math.ceil(START_S + seconds))


def _coldstart(plan: Plan, model: str) -> Part:
    n_repeats = plan.n(REPEATS)
    arguments = (*_model(model), "--repeats", str(n_repeats))
    seconds = COLDSTART_S * (n_repeats + 1)
    return Part(f"coldstart-{label(model)}", f"{LATENCY}.coldstart", arguments, seconds)


def _fleet(plan: Plan, model: str) -> Part:
    arguments = (*_model(model), "--servers", str(SERVERS))
    return Part(f"fleet-{label(model)}", f"{LATENCY}.fleet", arguments, FLEET_S)


def _model(model: str) -> Iterator[str]:
    if model != DEFAULT:
        path = Path(model)
        yield from ("--model", str(path.resolve()) if path.suffix == ".gguf" else model)


def _budget(budget_ms: int) -> tuple[str, str]:
    return "--budget-ms", str(budget_ms)


def _sessions(n_sessions: int) -> tuple[str, str]:
    return "--sessions", str(n_sessions)


def _typed_ms(session: Session, keystrokes: int) -> float:
    """The time until a session's last key that counts."""
    n_keys, ms = 0, 0.0
    for event in session.events:
        if keystrokes and n_keys >= keystrokes:
            break
        ms += event.gap_ms
        n_keys += event.kind not in (Kind.OPEN, Kind.WAIT)
    return ms
