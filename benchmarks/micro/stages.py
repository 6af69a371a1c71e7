"""`python -m benchmarks.micro.stages`: what the start of a server spends its processor time on.

Each stage is a program that imports what a server has imported by then; the least of several runs
counts, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

REMEMBERED = """
import asyncio, gc, slm_lsp.cli
gc.set_threshold(5_000, 1_000, 1_000)
from slm_lsp.lsp import compiled
with compiled.remembered(compiled.default_path()) as memory:
    import {}
    memory.save()
"""
STAGES = {
    "Python": "pass",
    "command line and settings": "import slm_lsp.cli",
    "asyncio": "import asyncio, slm_lsp.cli",
    "lsprotocol's types": REMEMBERED.format("lsprotocol.types"),
    "pygls": REMEMBERED.format("lsprotocol.types, pygls.lsp.server"),
    "the server": REMEMBERED.format("slm_lsp.lsp.server"),
}


def cpu_ms(program: str, n_runs: int) -> float:
    """The least processor time that the program took."""
    found = []
    for _ in range(n_runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", program], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return round(min(found) * 1e3, 1)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.micro.stages", description=__doc__)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    sums = {name: cpu_ms(program, options.runs) for name, program in STAGES.items()}
    before = 0.0
    for name, ms in sums.items():
        print(f"{name:28} {ms - before:7.1f} ms, {ms:7.1f} ms so far")
        before = ms
    if options.json:
        options.json.write_text(
            json.dumps({"benchmark": "stages", "cpu_ms": sums}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
