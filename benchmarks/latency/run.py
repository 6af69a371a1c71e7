"""The run: the same sessions for every policy, in turns.

Owns: the order of sessions, and what is measured around one: CPU-seconds and memory.

Invariant: policies are paired: session by session, each types the same, and who goes first
changes from session to session, so that a machine whose speed drifts treats them alike.

Threads: the event loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.latency import processes
from benchmarks.latency.figures import paired, pooled, summary
from benchmarks.latency.infill import InfillError
from benchmarks.latency.policy import Policy
from benchmarks.latency.replay import Replay
from benchmarks.latency.sessions import Session
from benchmarks.latency.typist import Habits, Typist

# Between sessions, for what the one before left running.
SETTLE_S = 2.0

Entries = list[dict[str, Any]]


@dataclass(slots=True)
class Progress:
    """What has been done: `save` is called after every session with the result so far. Where it
    `may_lack_peer`, a peer that cannot start (a model that cannot infill) is left out."""

    done: dict[str, Entries] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    save: Callable[[dict[str, Any]], object] = lambda result: None
    may_lack_peer: bool = False

    def numbers(self, name: str) -> set[int]:
        """The sessions that a policy has been through."""
        return {entry["number"] for entry in self.done[name]}

    def lacks(self, sessions: Sequence[Session]) -> bool:
        """Whether any session is still to be typed."""
        wanted = {session.number for session in sessions}
        return any(not wanted <= self.numbers(name) for name in self.done)


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
    work = asdict(await policy.end())
    reads = work.pop("read_each")
    if len(reads) == len(records):
        for record, n_read in zip(records, reads, strict=True):
            record.n_read = n_read
    return {
        "number": session.number,
        "files": list(session.files),
        "n_accepted_chars": typist.n_accepted_chars,
        "cpu_s": round(cpu_s, 3),
        "memory": asdict(memory),
        "work": work,
        "records": [record.as_json() for record in records],
    }


async def run(
    sessions: Sequence[Session],
    policies: Sequence[Policy],
    habits: Habits,
    budget_ms: float,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """What is still to be done of all sessions at all policies; the whole result."""
    progress = progress or Progress()
    progress.done = {policy.name: progress.done.get(policy.name, []) for policy in policies}
    started: list[Policy] = []
    try:
        for policy in policies if progress.lacks(sessions) else ():
            await _start(policy, started, progress)
        for turn, session in enumerate(sessions):
            for policy in started if turn % 2 == 0 else started[::-1]:
                if session.number in progress.numbers(policy.name):
                    continue
                entry = await one_session(session, policy, habits)
                progress.done[policy.name].append(entry)
                _tell(policy.name, entry, budget_ms)
                progress.save(assembled(progress, budget_ms))
                await asyncio.sleep(SETTLE_S if habits.real else 0.0)
    finally:
        for policy in started:
            await policy.stop()
    return assembled(progress, budget_ms)


async def _start(policy: Policy, started: list[Policy], progress: Progress) -> None:
    started.append(policy)
    try:
        await policy.start()
    except InfillError as error:
        if not progress.may_lack_peer:
            raise
        await policy.stop()
        started.remove(policy)
        del progress.done[policy.name]
        progress.left_out[policy.name] = str(error)
        print(f"left out: {policy.name}: {error}", file=sys.stderr)


def assembled(progress: Progress, budget_ms: float) -> dict[str, Any]:
    """The result's `policies`, `paired`, `pooled` and `left_out`."""
    return {
        "policies": {
            name: {
                "summary": summary(entries, budget_ms),
                "memory": _largest(entries),
                "sessions": entries,
            }
            for name, entries in progress.done.items()
        },
        "paired": _pairs(progress.done, lambda one, two: paired(one, two, budget_ms)),
        "pooled": _pairs(progress.done, pooled),
        "left_out": progress.left_out,
    }


def _pairs(
    done: Mapping[str, Entries], compare: Callable[[Entries, Entries], dict[str, Any]]
) -> dict[str, Any]:
    """The first policy against each other one."""
    first, *others = done or [""]
    return {other: compare(done[first], done[other]) for other in others}


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
