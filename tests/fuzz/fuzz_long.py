"""The long runs: a million edits, a hundred thousand messages, a thousand broken model files.

Usage: python tests/fuzz/fuzz_long.py text | protocol [--tries N] [--seed N] [--json FILE]

Writes what was tried, what failed and how long it took; ends with status 1 where anything failed.
What fails is said with the seed that makes it again.

Threads: the main one; the server under test is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def text(tries: int, seed: int) -> dict[str, Any]:
    """So many edits."""
    from test_fuzz_text import run_sessions

    from slm_lsp.text import document

    document.BLOCK_LINES = 1  # as in the tests
    done = sessions = failures = 0
    numbers = random.Random(seed)
    while done < tries:
        number = numbers.getrandbits(32)
        try:
            done += run_sessions(100, number)
        except Exception:
            failures += 1
            print(f"--- seed {number}\n{traceback.format_exc()}", file=sys.stderr)
            if failures == 10:
                break
        sessions += 100
    return {"what": "edits", "tries": done, "failures": failures, "sessions": sessions}


def protocol(tries: int, seed: int) -> dict[str, Any]:
    """So many messages, in sessions of ten thousand."""
    import rpc_fuzz

    failures, growth_kb, internal_errors = 0, [], []
    sessions = [min(10_000, tries - at) for at in range(0, tries, 10_000)]
    for number, n_messages in enumerate(sessions, start=seed * 1000):
        with tempfile.TemporaryDirectory(prefix="slm-lsp-fuzz-") as folder:
            try:
                told = rpc_fuzz.run(Path(folder), n_messages, number)
                growth_kb.append(told["rss_kb"][1] - told["rss_kb"][0])
                internal_errors += told["internal_errors"]
            except rpc_fuzz.Failed as error:
                failures += 1
                print(f"--- seed {number}\n{error}", file=sys.stderr)
    for each in internal_errors:
        print(each, file=sys.stderr)
    return {
        "what": "messages",
        "tries": tries,
        "failures": failures + len(internal_errors),
        "sessions": len(sessions),
        "most_growth_kb": max(growth_kb, default=None),
    }


RUNS = {"text": (text, 1_000_000), "protocol": (protocol, 100_000)}


def main() -> int:
    """Run one; the exit status tells whether all held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("--tries", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]
    run, usual = RUNS[chosen.run]
    began = time.monotonic()
    told = run(chosen.tries or usual, chosen.seed)
    told |= {"seed": chosen.seed, "seconds": round(time.monotonic() - began)}
    print(json.dumps(told, indent=1))
    if chosen.json:
        chosen.json.write_text(json.dumps(told, indent=1) + "\n")
    return 1 if told["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
