"""What this machine has, and what else runs on it.

Owns: choices of threads, the memory to be had, and how busy other programs keep the cores.

Invariant: reading only. Where the platform does not tell, the answer is the one that changes no
decision.

Threads: any.
"""

from __future__ import annotations

import contextlib

import psutil

# More threads than these are tried in steps: neighbours would not differ by more than noise.
COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)
# The rest is the editor's, the other language servers' and the browser's.
MEMORY_SHARE = 0.5
# Of all cores; more, and the figures say little of an idle machine.
BUSY_SHARE = 0.2


def thread_counts(n_cores: int, few: bool = False) -> tuple[int, ...]:
    """Numbers of threads to try; `few`: half the cores and all of them."""
    most = max(1, min(COUNTS[-1], n_cores))
    if few:
        return tuple(sorted({max(1, most // 2), most}))
    return tuple(sorted({*(count for count in COUNTS if count < most), most}))


def memory_to_be_had() -> int:
    """Bytes that a model may take: a share of what no program holds now."""
    return int(MEMORY_SHARE * psutil.virtual_memory().available)


def own_memory() -> tuple[int, int]:
    """This process's memory: all that it touches, and with what is shared counted in shares."""
    process = psutil.Process()
    rss_bytes = int(process.memory_info().rss)
    with contextlib.suppress(psutil.Error, AttributeError):
        return rss_bytes, int(process.memory_full_info().pss)
    return rss_bytes, rss_bytes


class Usage:
    """How long programs other than this process keep cores busy, from its making on."""

    def __init__(self) -> None:
        self._busy_s, self._own_s = _busy_s(), _own_s()

    def others_ms(self) -> float:
        """The time of all cores together that others took."""
        others_s = (_busy_s() - self._busy_s) - (_own_s() - self._own_s)
        return max(0.0, 1e3 * others_s)


def load_average() -> float:
    """Programs that ran or wanted to over the last minute; 0 where that is not counted."""
    with contextlib.suppress(OSError, AttributeError):
        return float(psutil.getloadavg()[0])
    return 0.0


def _busy_s() -> float:
    """Seconds that all cores together have worked, or were held back by the host."""
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    # Linux counts a guest's time in `user`, too.
    guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    return float(sum(times) - idle_s - guests_s)


def _own_s() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)
