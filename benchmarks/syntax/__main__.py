"""`python -m benchmarks.syntax`: how many shown completions add a syntax error to a sound file.

At random places in real files of ten languages the rest of a line, a line or a body is taken out
and completed by the whole pipeline, without time pressure, with the look at the syntax on and off.
What is shown is put in, and the whole file is parsed anew (`judge.py`). With --json FILE a run that
was stopped goes on where it was when the same is called again: its rows are in FILE.partial.jsonl
or, with --jobs N, in FILE.partial-0.jsonl and so on, one for each of N processes.

`--says truth` and `--says spoiled` ask no model: the pipeline is given what stood there, as it was
or with one change.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quality.journal import Journal, OtherRun
from benchmarks.syntax.asking import Asking
from benchmarks.syntax.judge import Judge, is_misplaced, repeats_below
from benchmarks.syntax.places import Hole, holes
from benchmarks.syntax.sources import File, NoSource, files_of, folder, listed, obtained
from benchmarks.syntax.spoiling import MODEL, SAYS
from benchmarks.syntax.table import offenders, summary, table
from slm_lsp import __version__
from slm_lsp.cli import UsageError
from slm_lsp.config import Config
from slm_lsp.engine.base import ModelLoadError
from slm_lsp.oneshot import obtain_with_bar
from slm_lsp.wiring import obtain

MODES = {"on": True, "off": False}
TICK = 10


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.syntax", description=__doc__)
    parser.add_argument("--positions", type=int, default=2000, help="of all languages together")
    parser.add_argument("--language", action="append", help="only these (may be repeated)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--says", choices=SAYS, default=MODEL, help="who: see spoiling.py")
    parser.add_argument("--threads", type=int, default=0, help="0: as the server chooses")
    parser.add_argument("--model", default="", help="name or path (default: the default model)")
    parser.add_argument("--quantization", default="")
    parser.add_argument("--sources", type=Path, default=folder(), help="where packages are kept")
    parser.add_argument("--json", type=Path, help="write the result here")
    parser.add_argument(
        "--jobs", type=int, default=1, help="processes, each with --threads threads"
    )
    parser.add_argument("--job", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.jobs > 1 and not options.json:
        parser.error("--jobs wants --json: the processes meet in files beside it")
    return options


def placed(options: argparse.Namespace, judge: Judge) -> list[Hole]:
    """The places, one language after the other. Raises NoSource."""
    files: dict[str, list[File]] = {}
    for source in listed()[0]:
        if not options.language or source.language in options.language:
            found = files_of(source, obtained(source, options.sources))
            files.setdefault(source.language, []).extend(found)

    def is_sound(file: File) -> bool:
        return judge.n_errors(file.language, file.text) == 0

    n = -(-options.positions // max(1, len(files)))
    return [
        hole
        for language, each in files.items()
        for hole in holes(each, language, n, options.seed, is_sound)
    ]


def row_of(hole: Hole, shown: str, facts: dict[str, Any], judge: Judge) -> dict[str, Any]:
    """What is kept of an answer: no text of a file."""
    row = {
        "name": hole.name,
        "kind": hole.kind,
        "path": hole.file.path,
        "offset": len(hole.before),
        "n_taken_out": len(hole.middle),
        "n_chars": len(shown),
        "n_lines": shown.count("\n") + 1 if shown else 0,
        "exact": bool(shown) and shown.strip() == hole.middle.strip(),
        **facts,
    }
    if shown:
        language = hole.file.language
        row |= judge.verdict(language, hole.before, shown, hole.after)
        row["repeats_below"] = repeats_below(hole.before, shown, hole.after)
        text, at = hole.before + hole.middle + hole.after, len(hole.before)
        is_code = not judge.in_literal(language, text, at)
        row["misplaced"] = (
            is_misplaced(hole.before, shown, hole.after, hole.true_line) if is_code else None
        )
    return row


class JobFailed(Exception):
    """A process ended without all of its rows."""


def journal_of(options: argparse.Namespace, job: int, run: dict[str, Any]) -> Journal:
    """The rows of a process. Raises OtherRun."""
    if options.json is None:
        return Journal(None, run)
    of_job = f"-{job}" if options.jobs > 1 else ""
    return Journal(Path(f"{options.json}.partial{of_job}.jsonl"), run)


def answer(
    options: argparse.Namespace,
    config: Config,
    places: Sequence[Hole],
    judge: Judge,
    journal: Journal,
) -> None:
    """Ask for the rows that the journal lacks. Raises UsageError."""
    n_added = dict.fromkeys(MODES, 0)
    with closing(Asking(config, MODES, options.says)) as asking:
        for number, hole in enumerate(places, 1):
            for mode in MODES:
                row = journal.row(mode, hole.name)
                if row is None:
                    shown, facts = asking.answer(mode, hole)
                    row = row_of(hole, shown, facts, judge)
                    journal.add(mode, row)
                n_added[mode] += row.get("added", False)
            if number % TICK == 0 or number == len(places):
                print(f"{number}/{len(places)}: errors added {n_added}", file=sys.stderr)


def wait_for_jobs(n_jobs: int) -> None:
    """Let processes with this one's arguments answer their shares. Raises JobFailed."""
    command = [sys.executable, "-m", "benchmarks.syntax", *sys.argv[1:]]
    jobs = [subprocess.Popen([*command, "--job", str(number)]) for number in range(n_jobs)]
    try:
        failed = [number for number, job in enumerate(jobs) if job.wait() != 0]
    except BaseException:
        for job in jobs:
            job.terminate()
        raise
    if failed:
        raise JobFailed(f"processes {failed} failed; the same call goes on from their rows")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The whole result. Raises NoSource, UsageError, ModelLoadError, OtherRun or JobFailed."""
    config = replace(
        Config(),
        model=options.model,
        quantization=options.quantization,
        threads=options.threads,
        batch_threads=options.threads,
    )
    if options.says == MODEL:
        obtain_with_bar(config)
    result = {
        "benchmark": "syntax",
        "slm_lsp": __version__,
        "model": obtain(config).path.name if options.says == MODEL else options.says,
        "python": platform.python_version(),
        "positions": options.positions,
        "languages": options.language or "all",
        "seed": options.seed,
        "jobs": options.jobs,
    }
    judge = Judge(listed()[1])
    places = placed(options, judge)
    if options.job is not None:
        share = places[options.job :: options.jobs]
        answer(options, config, share, judge, journal_of(options, options.job, result))
        return result
    if options.jobs > 1:
        wait_for_jobs(options.jobs)
    journals = [journal_of(options, job, result) for job in range(options.jobs)]
    if options.jobs == 1:
        answer(options, config, places, judge, journals[0])
    return written(options, result, places, journals)


def written(
    options: argparse.Namespace,
    result: dict[str, Any],
    places: Sequence[Hole],
    journals: Sequence[Journal],
) -> dict[str, Any]:
    """The result of all rows, said and written."""
    rows = {
        mode: [
            row
            for number, hole in enumerate(places)
            if (row := journals[number % len(journals)].row(mode, hole.name)) is not None
        ]
        for mode in MODES
    }
    figures = {mode: summary(each) for mode, each in rows.items()}
    print(table(figures))
    for mode in MODES:
        for said in offenders(mode, rows[mode]):
            print(said)
    if options.json:
        whole = {**result, "summary": figures, "rows": rows}
        options.json.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    for journal in journals:
        journal.remove()
    return {**result, "summary": figures}


def main() -> int:
    try:
        run(parse(None))
    except (NoSource, UsageError, ModelLoadError, OtherRun, JobFailed) as error:
        print(f"benchmarks.syntax: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
