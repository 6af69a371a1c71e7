"""Which documents samples are drawn from, how often, and in which order.

Owns: reading the corpus, the order of the documents, each one's neighbour and weight, and the
set of held-out lines.

Invariant: the samples depend on the documents, the seed and the options alone. A document is
either for training or held out.

Threads: any; a `Worker` belongs to one process.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from models.training.document import Document, stable_hash
from models.training.examples import Options, Sample, fill, ready, samples
from models.training.outline import CODE
from models.training.spans import Span
from models.training.tokenized import Tokenizer

if TYPE_CHECKING:
    from models.training.vocabulary import Sentinels

LINES_PER_DOCUMENT, LINE_BUDGET = 12, 384
LINE_OPTIONS = Options(
    joint_share=1.0, path_share=0.0, snippet_share=0.0, no_suffix_share=0.0,
    server_suffix_share=1.0, scope_start_share=0.0,
)  # fmt: skip
_TESTS = re.compile(r"(?:^|/)(?:tests?/|test_|conftest\.)|_test\.")


@dataclass(frozen=True, slots=True)
class Task:
    """One document, another of its source, and how often to draw from it."""

    document: Document
    neighbour: Document | None
    weight: float
    epoch: int


@dataclass(slots=True)
class Worker:
    """What a worker process keeps."""

    tokenizer: Tokenizer
    sentinels: Sentinels
    options: Options
    seed: int
    tasks: Sequence[Task] = ()


def read_corpus(work: Path, languages: Iterable[str]) -> tuple[list[Document], list[Document]]:
    """The training and the held-out documents of some languages."""
    train: list[Document] = []
    valid: list[Document] = []
    for language in languages:
        with gzip.open(work / "corpus" / f"{language}.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in file:
                known = json.loads(line)
                document = Document(
                    known["source"], known["path"], known["language"], known["text"]
                )
                (valid if known["split"] == "valid" else train).append(document)
    return train, valid


def weight_of(document: Document, weights: Mapping[str, float], test_weight: float) -> float:
    """How many more samples than usual a document gives."""
    weight = weights.get(document.source, 1.0)
    return weight * test_weight if _TESTS.search(document.path) else weight


def tasks_of(
    documents: Iterable[Document], weight: Callable[[Document], float], seed: int, n_epochs: int
) -> list[Task]:
    """All documents, shuffled anew in every epoch; a neighbour is next to it in its source."""
    by_place = sorted(documents, key=lambda document: (document.source, document.path))
    tasks = []
    for epoch in range(n_epochs):
        drawn = []
        for i, document in enumerate(by_place):
            # The file before in one epoch, the one behind in the next.
            other = i - 1 if epoch % 2 == 0 else i + 1
            near = by_place[other] if 0 <= other < len(by_place) else None
            near = near if near and near.source == document.source else None
            drawn.append(Task(document, near, weight(document), epoch))
        drawn.sort(key=lambda task: _place_in_epoch(task, seed))
        tasks += drawn
    return tasks


def _place_in_epoch(task: Task, seed: int) -> int:
    return stable_hash(f"{seed}\0{task.epoch}\0{task.document.source}\0{task.document.path}")


def make(tasks: Sequence[Task], worker: Worker) -> Iterator[Sample]:
    """The samples of some documents, in order."""
    for task in tasks:
        options = worker.options
        options = replace(options, samples_per_kib=options.samples_per_kib * task.weight)
        yield from samples(
            task.document,
            task.neighbour,
            worker.tokenizer,
            worker.sentinels,
            options,
            seed=worker.seed,
            epoch=task.epoch,
        )


def line_samples(documents: Iterable[Document], worker: Worker, n_wanted: int) -> list[Sample]:
    """Held-out lines in functions, the cursor at each line's first character."""
    rng = Random(worker.seed)
    found: list[Sample] = []
    for document in documents:
        source = ready(document, worker.tokenizer, worker.sentinels)
        outline = source.outline
        lines = [
            (scope, line)
            for scope in outline.scopes
            for line in range(scope.first, scope.last)
            if outline.worth[line] == CODE
        ]
        for scope, line in rng.sample(lines, min(LINES_PER_DOCUMENT, len(lines))):
            span = Span(outline.code_start(line), outline.end(line), "line", scope)
            sample = fill(source, span, LINE_BUDGET, LINE_OPTIONS, rng)
            if sample is not None:
                found.append(sample)
        if len(found) >= n_wanted:
            break
    return found[:n_wanted]
