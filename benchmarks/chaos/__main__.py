"""`python -m benchmarks.chaos`: every fault, many times, at moments that a seed chooses.

Owns: the order of the tries, the table and the result file.

Invariant: a try that fails is counted and said, and the next one begins with a scene of its own.

Threads: the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import traceback
from pathlib import Path
from typing import Any

from benchmarks.chaos.faults import FAULTS, STORM, Seen
from benchmarks.chaos.root_faults import DISK, ROOT_FAULTS, on_small_disk, why_not
from benchmarks.chaos.scene import Scene
from benchmarks.latency.quantiles import quantile, rounded
from slm_lsp import __version__

GOAL_MS = 2000.0
ALL = {**FAULTS, **ROOT_FAULTS}
# It takes as long as all others together.
STORM_SHARE = 5


async def tries(name: str, n_tries: int, rng: random.Random) -> dict[str, Any]:
    """A fault, so many times; what became of it."""
    seen: list[Seen] = []
    troubles: list[str] = []
    while len(seen) + len(troubles) < n_tries:
        try:
            async with Scene(disk=on_small_disk if name == DISK else None) as scene:
                session = await scene.session()
                while len(seen) + len(troubles) < n_tries:
                    seen.append(await ALL[name](scene, session, rng))
        except Exception as error:
            traceback.print_exc()
            troubles.append(f"{type(error).__name__}: {error}"[:300])
    times = [each.recovery_ms for each in seen]
    return {
        "fault": name,
        "tries": n_tries,
        "failures": len(troubles),
        "recovery_p50_ms": rounded(quantile(times, 0.5)),
        "recovery_max_ms": rounded(max(times, default=None)),
        # Most of a recovery is the start of Python, which other work on the machine delays.
        "load_average": round(os.getloadavg()[0], 1),
        "saw": sorted({each.saw for each in seen})[:6],
        "troubles": troubles[:6],
    }


def row(result: dict[str, Any]) -> str:
    """A line of the table, in Markdown."""
    p50, most = result["recovery_p50_ms"], result["recovery_max_ms"]
    took = "–" if most is None else f"{p50 / 1e3:.2f} / {most / 1e3:.2f} s"
    late = " (goal missed)" if most is not None and most > GOAL_MS else ""
    return (
        f"| {result['fault']} | {result['tries']} | {result['failures']} | {took}{late} | "
        f"{'; '.join(result['saw'][:2])} |"
    )


async def run(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All faults, or those that were named."""
    found = []
    print("| fault | tries | failures | recovery p50 / max | seen meanwhile |")
    print("|---|---|---|---|---|")
    for name in options.only or ALL:
        if name in ROOT_FAULTS and (reason := why_not(name)) is not None:
            print(f"not tried: {name} ({reason})")
            continue
        rng = random.Random(f"{options.seed} {name}")
        n_tries = max(1, options.tries // STORM_SHARE) if name == STORM else options.tries
        found.append(await tries(name, n_tries, rng))
        print(row(found[-1]), flush=True)
    return found


def main() -> int:
    """Read the options and run; 1 where a try failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__)
    parser.add_argument("--tries", type=int, default=20, help="how often each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=ALL, help="these faults alone")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    found = asyncio.run(run(options))
    if options.json:
        told = {
            "benchmark": "chaos",
            "version": __version__,
            "python": platform.python_version(),
            "seed": options.seed,
            "faults": found,
        }
        options.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 1 if any(each["failures"] for each in found) else 0


if __name__ == "__main__":
    sys.exit(main())
