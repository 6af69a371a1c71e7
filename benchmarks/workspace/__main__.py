"""`python -m benchmarks.workspace`: the index of a workspace of 20,000 files.

Run it with nothing else running. Without --tree the workspace is made of installed files.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.workspace import measure, tree
from slm_lsp import __version__
from slm_lsp.workspace.store import index_path

# What the project promises.
TARGETS = {"build_s": 20.0, "builder_peak_rss_mb": 150.0}


def figures(samples: list[float]) -> dict[str, float]:
    ordered = sorted(samples)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

    median = round(statistics.median(ordered), 3)
    return {"n": len(ordered), "p50": median, "p95": at(0.95), "p99": at(0.99), "max": at(1.0)}


def run(root: Path, indexes: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of a workspace."""
    index = index_path(indexes, root)
    n_text = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    rss_before = measure.rss_mb()
    child, began = measure.start(root, index, None)
    # A server goes on while its index is built.
    try:
        meanwhile = measure.places(root, indexes, options.places // 4, options.seed)
        built = measure.ended(child, began)
    except BaseException:
        child.kill()
        child.wait()
        raise
    rescanned = measure.ended(*measure.start(root, index, None))
    some = next(path for path in sorted(root.rglob("*.py")))
    some.write_text(some.read_text(encoding="utf-8", errors="replace") + "\nadded = 1\n", "utf-8")
    updated = measure.ended(*measure.start(root, index, [some.relative_to(root).as_posix()]))
    asked = measure.places(root, indexes, options.places, options.seed)
    typed = measure.typing_in_a_long_file(root, indexes, options.places // 2, options.seed)
    results: dict[str, Any] = {
        "n_files": built.told["n_files"],
        "source_mb": round(n_text / 1e6, 1),
        "index_mb": round(index.stat().st_size / 1e6, 1),
        "build_s": round(built.wall_s, 2),
        "build_cpu_s": round(built.cpu_s, 2),
        "builder_peak_rss_mb": round(built.peak_rss_mb, 1),
        "rescan_s": round(rescanned.wall_s, 2),
        "update_of_one_file_s": round(updated.wall_s, 2),
        "update_cpu_s": round(updated.cpu_s, 2),
        "server_rss_grown_mb": round(measure.rss_mb() - rss_before, 1),
    }
    for name, times in (("", asked), ("while_building_", meanwhile), ("long_file_", typed)):
        results[f"{name}follow_ms"] = figures(times.follow)
        results[f"{name}collect_first_ms"] = figures(times.first)
        results[f"{name}collect_again_ms"] = figures(times.again)
        results[f"{name}advance_ms"] = figures(times.advance)
    results["n_snippets_first"] = round(asked.n_shown_first / len(asked.first), 2)
    results["n_snippets_again"] = round(asked.n_shown_again / len(asked.again), 2)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workspace", description=__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="size of the workspace")
    parser.add_argument("--tree", type=Path, help="a workspace; one file of it is changed")
    parser.add_argument("--places", type=int, default=400, help="places to ask at")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the result here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        root = options.tree.resolve() if options.tree else folder / "project"
        if not options.tree:
            print(f"{tree.make(root, options.files)} files", file=sys.stderr)
        results = run(root, folder / "cache" / "workspace", options)
    for key, row in results.items():
        target = f"   target: <= {TARGETS[key]:g}" if key in TARGETS else ""
        shown = "  ".join(f"{k} {v:g}" for k, v in row.items()) if isinstance(row, dict) else row
        print(f"{key:34} {shown}{target}")
    if options.json:
        document = {
            "benchmark": "workspace",
            "slm_lsp": __version__,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "results": results,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
