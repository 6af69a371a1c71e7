"""`python -m models.training.shards`: from the corpus to shards of samples.

Owns: the worker processes, the files and the report.

Invariant: the shards depend on the corpus and the options alone, not on the number of workers.
Documents of the split "valid" are in no training shard.

Threads: main; workers are processes, each with its own tokenizer.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from models.training.batches import plan, width_of
from models.training.document import Document
from models.training.draws import (
    Task,
    Worker,
    line_samples,
    make,
    read_corpus,
    tasks_of,
    weight_of,
)
from models.training.examples import PRESETS
from models.training.pieces import RememberingTokenizer
from models.training.shard_file import Shard, join, shard_of, write
from models.training.vocabulary import Sentinels, Tokenizer, load

# 50 MB before compression, so that a file always stays below 60 MB.
MAX_SHARD_TOKENS = 25_000_000
DOCUMENTS_PER_TASK = 32
N_LINES = 400
N_CHECKED = 20


_worker: Worker | None = None


def check_tokens(documents: Iterable[Document], tokenizer: Tokenizer) -> None:
    """ValueError if remembering words changes any token of these documents."""
    remembering = RememberingTokenizer(tokenizer)
    for document in documents:
        direct = tokenizer.encode_with_offsets(document.text)
        if remembering.encode_with_offsets(document.text) != direct:
            raise ValueError(f"{document.path}: not the tokenizer that pieces.py was made for")


def control_ids(sentinels: Sentinels) -> tuple[int, ...]:
    """The sentinels that no model should learn to write."""
    known = asdict(sentinels)
    return tuple(sorted(id_ for name, id_ in known.items() if name != "end"))


def _start(worker: Worker) -> None:
    global _worker
    _worker = worker


def _work(extent: tuple[int, int]) -> Shard:
    assert _worker is not None
    found = list(make(_worker.tasks[extent[0] : extent[1]], _worker))
    return shard_of(found, control_ids(_worker.sentinels), {})


def collect(
    worker: Worker, tasks: Sequence[Task], max_tokens: int, n_workers: int, name: str
) -> Shard:
    """The samples of some documents until there are `max_tokens`, shuffled."""
    n_tasks = len(tasks)
    extents = [
        (start, min(start + DOCUMENTS_PER_TASK, n_tasks))
        for start in range(0, n_tasks, DOCUMENTS_PER_TASK)
    ]
    parts, n_tokens = [], 0
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    # The corpus is large: workers are forked, so that they share it.
    context = multiprocessing.get_context("fork")
    with (
        Progress(*columns, TimeRemainingColumn()) as bar,
        context.Pool(n_workers, _start, (replace(worker, tasks=tasks),)) as pool,
    ):
        shown = bar.add_task(name, total=min(max_tokens, 10**12))
        for part in pool.imap(_work, extents):
            parts.append(part)
            n_tokens += len(part.tokens)
            bar.update(shown, completed=n_tokens)
            if n_tokens >= max_tokens:
                break
    if not n_tokens:
        raise ValueError(f"{name}: no samples")
    whole = join(parts)
    return whole.select(np.random.default_rng(worker.seed).permutation(whole.n_samples))


def report(name: str, shard: Shard, seconds: float) -> str:
    """What is in a shard, for a person."""
    n_tokens = len(shard.tokens)
    lengths = shard.lengths
    n_middle = int((lengths - shard.middle_start).sum())
    n_padded = sum(width_of(shard, rows) * len(rows) for rows in plan(shard, 8192, 0, 0))
    kinds = Counter(shard.kinds[i] for i in shard.kind)
    shares = ", ".join(f"{kind} {n / shard.n_samples:.3f}" for kind, n in kinds.most_common())
    percentiles = np.percentile(lengths, (5, 25, 50, 75, 95)).astype(int).tolist()
    return (
        f"{name}: {shard.n_samples:,} samples, {n_tokens:,} tokens, {n_tokens / seconds:,.0f}/s;"
        f" middle {n_middle / n_tokens:.3f}, padding {1 - (lengths - 1).sum() / n_padded:.3f},"
        f" lengths (5, 25, 50, 75, 95 %) {percentiles}\n  {shares}"
    )


def save(shard: Shard, out: Path, made_with: Mapping[str, object]) -> None:
    """Write a shard, in several files if it is large."""
    ends = shard.starts()[1:]
    n_files = -(-int(ends[-1]) // MAX_SHARD_TOKENS)
    pieces = np.array_split(np.arange(shard.n_samples), n_files)
    for i, indices in enumerate(pieces):
        name = f"{out.name}-{i:02}.xz" if n_files > 1 else f"{out.name}.xz"
        piece = replace(shard.select(indices), made_with=made_with)
        n_bytes = write(piece, out.with_name(name))
        print(f"{out.with_name(name)}: {n_bytes / 1e6:.1f} MB")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the shards that the command line asks for."""
    options = _parser().parse_args(arguments)
    work: Path = options.work
    vocabulary = load(options.base)
    tokenizer = Tokenizer(vocabulary)
    train, valid = read_corpus(work, options.languages.split(","))
    print(f"{len(train):,} documents, {len(valid):,} held out")
    check_tokens(train[:: max(1, len(train) // N_CHECKED)], tokenizer)
    wanted = replace(
        PRESETS[options.lengths],
        samples_per_kib=options.samples_per_kib,
        psm_share=options.psm_share,
    )
    made_with = {name: str(value) for name, value in vars(options).items()}
    tokenizer_of_all = RememberingTokenizer(tokenizer)
    worker = Worker(tokenizer_of_all, vocabulary.sentinels, wanted, options.seed)
    if valid:
        held_out_shards(valid, worker, options, made_with)
    weights = {source: float(n) for source, _, n in (w.rpartition("=") for w in options.weight)}
    tasks = tasks_of(
        train,
        lambda document: weight_of(document, weights, options.test_weight),
        options.seed,
        options.epochs,
    )
    build(worker, "train", tasks, options.max_tokens, options.workers, options.out, made_with)


def held_out_shards(
    documents: Sequence[Document],
    worker: Worker,
    options: argparse.Namespace,
    made_with: Mapping[str, object],
) -> None:
    """Write the two shards to measure with: like the training shard, and single lines."""
    out: Path = options.out
    tasks = tasks_of(documents, lambda _: 1.0, options.seed, 1)
    python = (task.document for task in tasks if task.document.language == "python")
    found = line_samples(python, worker, N_LINES)
    if found:
        lines = shard_of(found, control_ids(worker.sentinels), {})
        save(lines, out.with_name(out.name + "-lines"), made_with)
    out = out.with_name(out.name + "-valid")
    build(worker, "valid", tasks, options.valid_tokens, options.workers, out, made_with)


def build(
    worker: Worker,
    name: str,
    tasks: Sequence[Task],
    max_tokens: int,
    n_workers: int,
    out: Path,
    made_with: Mapping[str, object],
) -> None:
    """Make and write one shard, and say what is in it."""
    began = time.monotonic()
    shard = collect(worker, tasks, max_tokens, n_workers, name)
    print(report(name, shard, time.monotonic() - began))
    save(shard, out, made_with)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="models.training.shards", description=__doc__)
    add = parser.add_argument
    add("--work", type=Path, required=True, help="folder that holds corpus/")
    add("--base", type=Path, required=True, help="GGUF of the base model, for its vocabulary")
    add("--languages", default="python", help="separated by commas")
    add("--out", type=Path, required=True, help="path of the shard, less .xz")
    add("--seed", type=int, default=1)
    add("--lengths", choices=PRESETS, default="short")
    add("--max-tokens", type=int, default=20_000_000)
    add("--valid-tokens", type=int, default=300_000)
    add("--samples-per-kib", type=float, default=1.0)
    add("--epochs", type=int, default=1, help="draw from every document this often")
    add("--psm-share", type=float, default=0.0)
    add("--weight", action="append", default=[], metavar="SOURCE=FACTOR")
    add("--test-weight", type=float, default=0.5, help="factor for files that are tests")
    add("--workers", type=int, choices=(1, 2), default=2)
    return parser


if __name__ == "__main__":
    main()
