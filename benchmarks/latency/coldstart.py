"""`python -m benchmarks.latency.coldstart`: how soon a server that is started shows a text.

Each repeat has runtime, settings, log and rates folders of its own and goes through CASES: no
daemon runs; the editor is started again while the daemon runs on; the daemon was stopped by
`slm-lsp daemon stop` and all is started again. The same file is opened each time. Warm is what an
installed program has warm: the model file in the system's cache of pages, and compiled code (an
unmeasured start comes first). The confidence gate is off: what is asked is how soon a text can be
there, not whether the model is sure of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.latency import corpus, options
from benchmarks.latency.first_text import first_text, place
from benchmarks.latency.home import Home
from benchmarks.latency.quantiles import quantile, rounded
from benchmarks.latency.results import ResultFile

CASES = ("no daemon", "editor restarted", "daemon restarted")
GOALS_MS = {"no daemon": 2500.0, "editor restarted": 300.0}
# For what one server leaves running when it ends.
SETTLE_S = 1.0
FIELDS = ("initialized_ms", "text_ms", "model_ms")

Server = tuple[Sequence[str], Mapping[str, Any]]


async def measure(server: Server, n_repeats: int, file: ResultFile) -> dict[str, Any]:
    """All repeats that have not been made yet; each is written to `file` when it is done."""
    repeats: list[dict[str, Any]] = list(file.earlier().get("repeats", []))
    if len(repeats) < n_repeats:
        await _repeat(server, 0, CASES[:1])
    for number in range(len(repeats), n_repeats):
        repeats.append(await _repeat(server, number, CASES))
        print(json.dumps(repeats[-1]), file=sys.stderr, flush=True)
        file.save(measured(repeats))
    return file.save(measured(repeats), complete=True)


async def _repeat(server: Server, number: int, cases: Sequence[str]) -> dict[str, Any]:
    """One home from its first server to its last."""
    home = Home()
    view = place(corpus.sources(), number)
    found: dict[str, Any] = {}
    try:
        for case in cases:
            if case == "daemon restarted":
                found["stop_ms"] = await asyncio.to_thread(_stop_daemon, home)
            found[case] = asdict(await first_text(*server, home, view))
            await asyncio.sleep(SETTLE_S)
    finally:
        home.close()
    return found


def _stop_daemon(home: Home) -> float:
    """Stop the home's daemon as a user does; how long that took."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "slm_lsp", "daemon", "stop"]
    subprocess.run(command, env=home.env(), check=True, stdout=subprocess.DEVNULL)
    return round((time.perf_counter() - started) * 1e3, 1)


def measured(repeats: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The result: the repeats, and for each case the median and the largest of each time."""
    cases = {case: [repeat[case] for repeat in repeats if case in repeat] for case in CASES}
    return {
        "cases": {case: figures(found, GOALS_MS.get(case)) for case, found in cases.items()},
        "repeats": list(repeats),
    }


def figures(found: Sequence[Mapping[str, Any]], goal_ms: float | None) -> dict[str, Any]:
    """A case's figures; one in which no text came counts in `n_silent` alone."""
    row: dict[str, Any] = {
        "n": len(found),
        "n_silent": sum(each["text_ms"] is None for each in found),
        "goal_ms": goal_ms,
    }
    for field in FIELDS:
        row[field] = _median_and_max([each[field] for each in found if each[field] is not None])
    # What the server itself takes once it speaks: goals are counted from the process's start.
    row["after_initialized_ms"] = _median_and_max(
        [each["text_ms"] - each["initialized_ms"] for each in found if each["text_ms"] is not None]
    )
    return row


def _median_and_max(times: Sequence[float]) -> dict[str, float | None]:
    return {
        "median": rounded(quantile(times, 0.5), 1),
        "max": rounded(max(times, default=None), 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency.coldstart", description=__doc__
    )
    options.add_server_options(parser)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    model = options.model_file(given.model)
    conditions = {"benchmark": "coldstart", **options.conditions(given, model)}
    file = ResultFile(given.json, conditions)
    command, settings = options.server(given, model)
    server = command, {**settings, "confidence_gate": "off"}
    result = options.run_to_end(measure(server, given.repeats, file))
    print(json.dumps(result["cases"], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
