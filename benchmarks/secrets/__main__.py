"""`python -m benchmarks.secrets`: recall on made-up secrets, false alarms on real code, and cost.

The recall is that on the forms of `corpus`, which are ours: it says that the rules do what they
are meant to, not what share of the world's secrets they find. False alarms are what is found in
the standard library outside of its tests, where no secret is; its tests hold made-up passwords,
and are counted apart. Times are of the processor: they hold, more or less, beside other work.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sysconfig
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.secrets.corpus import leaks, left_of
from slm_lsp import __version__
from slm_lsp.prompt.budget import Window
from slm_lsp.secrets import search
from slm_lsp.secrets.paths import is_secret_path
from slm_lsp.secrets.redaction import prints_secret, redact, redact_around

PROMPT_TOKENS = 1024
TYPED = "    result = compute(values, token_of(self.name), limit=12)\n"


def recall(n_each: int, seed: int) -> dict[str, Any]:
    """Of every kind, the share of which nothing is left."""
    made, found = Counter[str](), Counter[str]()
    for leak in leaks(n_each, seed):
        made[leak.kind] += 1
        found[leak.kind] += not left_of(leak.secret, redact(leak.text))
    kinds = {kind: round(found[kind] / n, 4) for kind, n in made.items()}
    return {"n": made.total(), "all": round(found.total() / made.total(), 4), "kinds": kinds}


def false_alarms(paths: list[Path]) -> dict[str, Any]:
    """What is redacted in code, and what a line costs that was not looked at before."""
    n_lines = n_found = 0
    spent_s = 0.0
    for path in paths:
        text = path.read_text("utf-8", "replace")
        begin = time.thread_time()
        found = search.in_text(text)
        spent_s += time.thread_time() - begin
        n_lines, n_found = n_lines + text.count("\n"), n_found + len(found)
    return {
        "n_files": len(paths),
        "n_lines": n_lines,
        "n_redacted": n_found,
        "per_1000_lines": round(n_found / n_lines * 1000, 4),
        "new_line_us": round(spent_s / n_lines * 1e6, 2),
    }


def keystrokes(text: str, rounds: int) -> dict[str, Any]:
    """What redaction adds to a request, with the largest window, in µs: while one types, at a
    place that is new, and for the check of an answer."""
    window = Window.of(PROMPT_TOKENS)
    warm_us: list[float] = []
    cold_us: list[float] = []
    check_us: list[float] = []
    for i in range(rounds):
        at = text.find("\n", (i + 1) * len(text) // (rounds + 1)) + 1
        head, after = text[max(0, at - window.prefix_chars) : at], text[at:][: window.suffix_chars]
        search._remembered.cache_clear()
        for n in range(len(TYPED)):
            begin = time.thread_time()
            redact_around((head, TYPED[:n]), after)
            (warm_us if n else cold_us).append((time.thread_time() - begin) * 1e6)
            begin = time.thread_time()
            prints_secret(head[-1200:] + TYPED[:n], TYPED[n:], "")
            check_us.append((time.thread_time() - begin) * 1e6)
    return {
        "typing": quantiles(warm_us),
        "new_place": quantiles(cold_us),
        "check": quantiles(check_us),
    }


def quantiles(samples: list[float]) -> dict[str, float]:
    ordered = sorted(samples)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return {"median_us": round(statistics.median(ordered), 1), "p99_us": round(p99, 1)}


def path_us(paths: list[Path]) -> float:
    """What the question costs whether a path is secret."""
    names = [str(path) for path in paths]
    is_secret_path(names[0])
    begin = time.thread_time()
    for name in names:
        is_secret_path(name)
    return round((time.thread_time() - begin) / len(names) * 1e6, 2)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.secrets", description=__doc__)
    parser.add_argument("--each", type=int, default=60, help="made-up secrets of a kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--places", type=int, default=100, help="places that are typed at")
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    folder = Path(sysconfig.get_path("stdlib"))
    files = [path for path in sorted(folder.rglob("*.py")) if "site-packages" not in path.parts]
    tests = [path for path in files if {"test", "tests", "idle_test"} & set(path.parts)]
    code = [path for path in files if path not in set(tests)]
    large = "\n".join(path.read_text("utf-8", "replace") for path in code[:60])
    large = "\n".join(large.split("\n")[:10_000])
    result = {
        "recall": recall(options.each, options.seed),
        "false_alarms": {"code": false_alarms(code), "tests": false_alarms(tests)},
        "keystroke": keystrokes(large, options.places),
        "path_us": path_us(files),
        "python": platform.python_version(),
        "version": __version__,
    }
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
