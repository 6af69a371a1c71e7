"""`python -m benchmarks.repository`: what texts of other files are worth, and what they cost.

Holes are punched in installed packages at call sites of what other files of the same package
define. Each is filled greedily, without time pressure, through the whole pipeline, with snippets
of other files and without. `--source oracle` shows the true definition's signature: what could be
gained; several sources are measured side by side. With `--json FILE` a run that was stopped goes
on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality.journal import Journal, OtherRun
from benchmarks.repository import packages, sources
from benchmarks.repository.holes import Hole, choose
from benchmarks.repository.packages import NoPackage, Repository
from benchmarks.repository.pipeline import WITHOUT, Pipeline
from benchmarks.repository.scoring import Row, gains, score, summary
from slm_lsp import __version__
from slm_lsp.cli import UsageError
from slm_lsp.config import Config
from slm_lsp.engine.base import ModelLoadError
from slm_lsp.oneshot import obtain_with_bar
from slm_lsp.wiring import obtain

TICK_HOLES = 10


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.repository", description=__doc__)
    parser.add_argument("--limit", type=int, help="how many holes (default: all)")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many of them")
    parser.add_argument("--source", choices=sorted(sources.SOURCES), action="append")
    parser.add_argument("--package", action="append", help="an installed package; several times")
    parser.add_argument("--model", default="", help="name or path (default: the default model)")
    parser.add_argument("--quantization", default="")
    parser.add_argument("--prompt-tokens", type=int, default=Config().prompt_tokens)
    parser.add_argument("--threads", type=int, default=0, help="for reading and for writing")
    parser.add_argument("--json", type=Path, help="write the result here")
    return parser.parse_args(arguments)


def describe(
    options: argparse.Namespace, model: Path, repositories: Mapping[str, Repository]
) -> dict[str, Any]:
    """What a run is: rows of runs that differ in any of it do not belong together."""
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "benchmark": "repository",
        "sources": options.source or [sources.DEFAULT],
        "skip": options.skip,
        "prompt_tokens": options.prompt_tokens,
        "packages": {
            each.name: {"version": each.version, "licence": each.licence, "files": len(each.files)}
            for each in repositories.values()
        },
        "slm_lsp": __version__,
        "model": model.name,
        "sha256": digest,
        "python": platform.python_version(),
    }


def fill_all(
    pipeline: Pipeline, journal: Journal, holes: Sequence[Hole], situations: Sequence[str]
) -> dict[str, list[Row]]:
    """The rows of all holes by situation; those that the journal has are not asked for again."""
    rows: dict[str, list[Row]] = {name: [] for name in situations}
    for n, hole in enumerate(holes, 1):
        for situation, found in rows.items():
            row = journal.row(situation, hole.name)
            if row is None:
                row = score(hole, pipeline.fill(hole, situation))
                journal.add(situation, row)
            found.append(row)
        if n % TICK_HOLES == 0 or n == len(holes):
            exact = {name: sum(row["exact"] for row in found) for name, found in rows.items()}
            print(f"{n}/{len(holes)}, exact: {exact}", file=sys.stderr, flush=True)
    return rows


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The whole result. Raises UsageError, ModelLoadError, NoPackage or OtherRun."""
    config = replace(
        Config(),
        model=options.model,
        quantization=options.quantization,
        prompt_tokens=options.prompt_tokens,
        threads=options.threads,
        batch_threads=options.threads,
    )
    obtain_with_bar(config)
    with tempfile.TemporaryDirectory() as folder:
        names = options.package or packages.PACKAGES
        repositories = {name: packages.read(name).copied(Path(folder)) for name in names}
        return _run(options, config, repositories)


def _run(
    options: argparse.Namespace, config: Config, repositories: Mapping[str, Repository]
) -> dict[str, Any]:
    result = describe(options, obtain(config).path, repositories)
    journal = Journal(Path(f"{options.json}.partial.jsonl") if options.json else None, result)
    holes = choose(list(repositories.values()), options.limit)[options.skip :]
    with ExitStack() as stack:
        chosen = {
            name: stack.enter_context(closing(sources.SOURCES[name](repositories)))
            for name in result["sources"]
        }
        pipeline = stack.enter_context(closing(Pipeline(config, chosen, repositories)))
        rows = fill_all(pipeline, journal, holes, [WITHOUT, *chosen])
    result["gains"] = {name: gains(rows[WITHOUT], rows[name]) for name in chosen}
    result["situations"] = {
        name: {"summary": summary(found), "holes": found} for name, found in rows.items()
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    journal.remove()
    return result


def main() -> int:
    try:
        result = run(parse(None))
    except (UsageError, ModelLoadError, NoPackage, OtherRun) as error:
        print(f"benchmarks.repository: {error}", file=sys.stderr)
        return 2
    for name, found in result["situations"].items():
        print(name, json.dumps(found["summary"]))
    for name, found in result["gains"].items():
        for kind, gain in found.items():
            print(f"gain, {name}, {kind}", json.dumps(gain))
    return 0


if __name__ == "__main__":
    sys.exit(main())
