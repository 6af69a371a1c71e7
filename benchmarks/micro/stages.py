"""`python -m benchmarks.micro.stages`: what the start of a server spends its processor time on.

Each stage is a program that does what a server has done by then; the least of several runs
counts, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.micro.startup import FIXTURES

# As `serve` imports them; `memory` is of what earlier runs compiled.
REMEMBERED = """
import asyncio, gc, slm_lsp.cli
gc.set_threshold(5_000, 1_000, 1_000)
from slm_lsp.lsp import compiled
with compiled.remembered(compiled.default_path()) as memory:
    from slm_lsp.lsp import lazy_types
    lazy_types.import_types()
    import lsprotocol.types
"""
SERVER = f"{REMEMBERED}    import slm_lsp.lsp.server, slm_lsp.trace\n"
INITIALIZE = f"""
{SERVER}
    import json, types
    from slm_lsp.config import Config
    gc.freeze()
    gc.set_threshold(700, 10, 10)
    answers = []
    server = slm_lsp.lsp.server.SlmServer(Config(), None, slm_lsp.trace.Trace(), [])
    server.protocol.set_writer(types.SimpleNamespace(write=answers.append))
    params = json.loads(open({str(FIXTURES / "vscode-1.139.json")!r}, "rb").read())
    message = {{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}}
    structure = server.protocol.structure_message
    server.protocol.handle_message(json.loads(json.dumps(message), object_hook=structure))
    assert b"capabilities" in answers[0]
"""
STAGES = {
    "Python": "pass",
    "command line and settings": "import slm_lsp.cli",
    "asyncio": "import asyncio, slm_lsp.cli",
    "attrs, cattrs, lsprotocol": REMEMBERED,
    "pygls": f"{REMEMBERED}    import pygls.lsp.server\n",
    "the server": SERVER,
    "initialize": INITIALIZE,
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
