"""Every fault of `benchmarks.chaos` once: there is a good answer again, every request was answered,
and no process, no socket and no half of a file is left.

Invariant: nothing is asserted of time; `python -m benchmarks.chaos` measures it, with many tries.
Threads: the event loop; servers and daemons are processes.
"""

from __future__ import annotations

import random

import pytest

from benchmarks.chaos import faults
from benchmarks.chaos.faults import FAULTS, Fault
from benchmarks.chaos.root_faults import DISK, ROOT_FAULTS, on_small_disk, why_not
from benchmarks.chaos.scene import Disk, Scene

pytestmark = pytest.mark.e2e

# One server sees all of a signal's, one after the other.
SIGNALS = ("TERM", "KILL", "SEGV")
OTHERS = [name for name in FAULTS if name.split()[1] not in SIGNALS]


async def happens(*faults: Fault, disk: Disk | None = None) -> None:
    """Each, in this order, to one server; see the module."""
    rng = random.Random(1)
    async with Scene(disk=disk) as scene:
        session = await scene.session()
        for fault in faults:
            await fault(scene, session, rng)


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_daemon_dies_at_any_stage(number: str) -> None:
    await happens(*(FAULTS[name] for name in FAULTS if name.startswith(f"daemon {number} ")))


@pytest.mark.parametrize("name", OTHERS)
async def test_there_is_an_answer_again_after(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Fewer than the benchmark has, for the time it takes.
    monkeypatch.setattr(faults, "N_STORM", 6)
    monkeypatch.setattr(faults, "N_UNREAD", 1000)
    await happens(FAULTS[name])


@pytest.mark.parametrize("name", ROOT_FAULTS)
async def test_there_is_an_answer_again_after_what_root_does(name: str) -> None:
    if (reason := why_not(name)) is not None:
        pytest.skip(reason)
    await happens(ROOT_FAULTS[name], disk=on_small_disk if name == DISK else None)
