"""The run: the same sessions for every policy, in turns.

Owns: the order of sessions, and what is measured around one: CPU-seconds and memory.

Invariant: policies are paired: session by session, each types the same, and who goes first
changes from session to session, so that a machine whose speed drifts treats them alike.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.latency import processes
from benchmarks.latency.figures import paired, summary
from benchmarks.latency.policy import Policy
from benchmarks.latency.replay import Replay
from benchmarks.latency.sessions import Session
from benchmarks.latency.typist import Habits, Typist

# Between sessions, for what the one before left running.
SETTLE_S = 2.0


async def one_session(session: Session, policy: Policy, habits: Habits) -> dict[str, Any]:
    """Type one session at one policy; the result's entry for it."""
    replay = Replay(session)
    typist = Typist(replay, policy, habits)
    cpu_before_s = processes.cpu_s(policy.marks())
    records = await typist.run()
    # Before its end: a process that has ended has no figures. A server that the session
    # started counts from its start, loading included.
    cpu_s = processes.cpu_s(policy.marks()) - cpu_before_s
    memory = processes.memory(policy.marks())
    work = await policy.end()
    return {
        "number": session.number,
        "files": list(session.files),
        "n_accepted_chars": typist.n_accepted_chars,
        "cpu_s": round(cpu_s, 3),
        "memory": asdict(memory),
        "work": asdict(work),
        "records": [record.as_json() for record in records],
    }


async def run(
    sessions: Sequence[Session],
    policies: Sequence[Policy],
    habits: Habits,
    budget_ms: float,
) -> dict[str, Any]:
    """All sessions at all policies; the result's `policies` and `paired`."""
    done: dict[str, list[dict[str, Any]]] = {policy.name: [] for policy in policies}
    started: list[Policy] = []
    try:
        for policy in policies:
            started.append(policy)
            await policy.start()
        for turn, session in enumerate(sessions):
            order = policies if turn % 2 == 0 else policies[::-1]
            for policy in order:
                done[policy.name].append(await one_session(session, policy, habits))
                _tell(policy.name, done[policy.name][-1], budget_ms)
                await asyncio.sleep(SETTLE_S if habits.real else 0.0)
    finally:
        for policy in started:
            await policy.stop()
    return {
        "policies": {
            name: {
                "summary": summary(entries, budget_ms),
                "memory": _largest(entries),
                "sessions": entries,
            }
            for name, entries in done.items()
        },
        "paired": _pairs(done, budget_ms),
    }


def _pairs(done: Mapping[str, list[dict[str, Any]]], budget_ms: float) -> dict[str, Any]:
    """The first policy against each other one."""
    first, *others = done
    return {other: paired(done[first], done[other], budget_ms) for other in others}


def _largest(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The memory of the session that held most."""
    empty = asdict(processes.Memory(0, 0.0, 0.0, 0.0))
    return max((dict(e["memory"]) for e in entries), key=lambda m: m["rss_mb"], default=empty)


def _tell(name: str, entry: Mapping[str, Any], budget_ms: float) -> None:
    figures = summary([entry], budget_ms)
    print(
        f"session {entry['number']:3} {name:10} keys {figures['n_keystrokes']:4} "
        f"answered {figures['n_answered']:4} shown {figures['n_shown']:4} "
        f"p50 {figures['answer_ms']['p50']} ms, cpu {entry['cpu_s']} s",
        file=sys.stderr,
        flush=True,
    )
