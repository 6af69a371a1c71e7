"""One command from the list of sources to a clean corpus.

    python -m models.training.collect --work DIR [--mirror DIR] [--mbpp FILE]

Writes DIR/corpus/LANGUAGE.jsonl.gz, one record a line: source, path, language, text, split; and
DIR/corpus/manifest.json with what came from where and what was left out, by filter.
Invariant: the same archives give the same bytes; a file is replaced only when it is complete; a
source that fails is reported and left out, the others go on. Main thread only.
"""

import argparse
import gzip
import json
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from models.training.benchmark_problems import read_infilling_benchmark, read_mbpp
from models.training.clean import clean
from models.training.decontaminate import Contamination, Decontaminator
from models.training.document import LANGUAGES, Document, language_of, stable_hash
from models.training.held_out import HELD_OUT_PATHS
from models.training.near_duplicates import SeenDocuments
from models.training.obtain import obtain
from models.training.shingles import token_hashes
from models.training.sources import (
    Source,
    SourceError,
    check_licence,
    is_licence_file,
    read_sources,
)

_HERE = Path(__file__).parent
_HUMANEVAL = _HERE.parents[1] / "benchmarks" / "data" / "human-eval-infilling"


@dataclass
class Tally:
    """What the manifest says of one run."""

    filters: Counter[str] = field(default_factory=Counter)
    near_duplicates: Counter[str] = field(default_factory=Counter)
    contamination: Contamination = field(default_factory=Contamination)
    removed_benchmarks: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    sources: dict[str, dict[str, object]] = field(default_factory=dict)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; exits 1 when a source failed."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True)
    started_s = time.monotonic()
    try:
        sources = _chosen(read_sources(options.sources), options.only, options.languages)
    except SourceError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    tally = Tally()
    documents, held_out = gather(sources, options, tally, console)
    corpus = options.work / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    decontaminator = _decontaminator(held_out, options.mbpp, tally)
    if options.mbpp is None:
        console.print("no --mbpp: MBPP's problems are not removed from the text", style="yellow")
    totals = {}
    for language in options.languages:
        kept = refine(documents.pop(language, []), decontaminator, tally, console)
        totals[language] = _totals(kept)
        write_documents(corpus / f"{language}.jsonl.gz", kept)
    _write_manifest(corpus / "manifest.json", tally, totals)
    console.print(f"{corpus}: {totals}\n{time.monotonic() - started_s:.0f} s", markup=False)
    return 1 if tally.failures else 0


def gather(
    sources: Sequence[Source], options: argparse.Namespace, tally: Tally, console: Console
) -> tuple[dict[str, list[Document]], list[str]]:
    """The cleaned documents of all sources by language, and the held-out texts."""
    documents: dict[str, list[Document]] = {}
    held_out: list[str] = []
    with Progress(console=console) as progress:
        task = progress.add_task("sources", total=len(sources))
        for source in sources:
            progress.update(task, description=source.name)
            try:
                taken, unseen = read_source(source, options.work / "raw", options.mirror, tally)
            except SourceError as error:
                tally.failures.append(str(error))
                console.print(str(error), style="red", markup=False)
                taken, unseen = [], []
            for document in taken:
                documents.setdefault(document.language, []).append(document)
            held_out += unseen
            progress.advance(task)
    return documents, held_out


def read_source(
    source: Source, raw: Path, mirror: Path | None, tally: Tally
) -> tuple[list[Document], list[str]]:
    """One source's cleaned documents in path order, and its held-out texts."""
    licences: dict[str, str] = {}
    files: list[tuple[str, bytes]] = []
    held_out: list[str] = []
    for path, content in obtain(source, raw, mirror):
        if is_licence_file(path):
            licences[path] = content.decode("utf-8", errors="replace")
        elif not source.takes(path) or language_of(path) is None:
            continue
        elif source.kind == "stdlib" and path in HELD_OUT_PATHS:
            held_out.append(content.decode("utf-8"))
        else:
            files.append((path, content))
    check_licence(source, licences)
    taken = cleaned(source, files, tally)
    tally.sources[source.name] = {**_described(source), "cleaned": _totals(taken)}
    return taken, held_out


def cleaned(source: Source, files: list[tuple[str, bytes]], tally: Tally) -> list[Document]:
    """What the filters leave of a source, up to its limit: files drawn by name, in path order."""
    if source.max_bytes:
        files = sorted(files, key=lambda file: stable_hash(file[0]))
    taken: list[Document] = []
    n_bytes = 0
    for i, (path, content) in enumerate(files):
        if source.max_bytes and n_bytes >= source.max_bytes:
            tally.filters["over_source_limit"] += len(files) - i
            break
        outcome = clean(source.name, path, content)
        if isinstance(outcome, str):
            tally.filters[outcome] += 1
            continue
        document = _as_in(source, outcome)
        if document.language in source.languages:
            taken.append(document)
            n_bytes += len(content)
    return sorted(taken, key=lambda document: document.path)


def refine(
    documents: list[Document], decontaminator: Decontaminator, tally: Tally, console: Console
) -> list[Document]:
    """The documents of one language that repeat nothing and quote no benchmark."""
    seen = SeenDocuments()
    unique, tokens = [], []
    with Progress(console=console) as progress:
        label = documents[0].language if documents else "nothing"
        for document in progress.track(documents, description=f"{label}: near duplicates"):
            remaining = decontaminator.cut(document, tally.contamination)
            if remaining is None:
                continue
            hashes = token_hashes(remaining.text)
            if seen.admit(hashes):
                unique.append(remaining)
                tokens.append(hashes)
            else:
                tally.near_duplicates[document.language] += 1
    keep = decontaminator.clean(unique, tokens, tally.contamination)
    return [document for document, kept in zip(unique, keep, strict=True) if kept]


def write_documents(path: Path, documents: Iterable[Document]) -> None:
    """Writes the records in order, compressed, replacing the file at once."""
    partial = path.with_suffix(".part")
    with partial.open("wb") as file, gzip.GzipFile("", "wb", 5, file, mtime=0) as packed:
        for document in documents:
            record = {**asdict(document), "split": document.split}
            packed.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    os.replace(partial, path)


def _as_in(source: Source, document: Document) -> Document:
    """The document with the source's own view of headers: in a C++ project all are C++."""
    if document.language == "c" and "c" not in source.languages and document.path.endswith(".h"):
        return replace(document, language="cpp")
    return document


def _decontaminator(held_out: Iterable[str], mbpp: Path | None, tally: Tally) -> Decontaminator:
    benchmarks = [read_infilling_benchmark(_HUMANEVAL)]
    if mbpp is not None:
        benchmarks.append(read_mbpp(mbpp))
    tally.removed_benchmarks = [benchmark.name for benchmark in benchmarks]
    return Decontaminator(benchmarks, held_out)


def _totals(documents: Iterable[Document]) -> dict[str, int]:
    sizes = [len(document.text.encode()) for document in documents]
    return {"documents": len(sizes), "bytes": sum(sizes)}


def _described(source: Source) -> dict[str, object]:
    version = platform.python_version() if source.kind == "stdlib" else source.version
    origin = source.package or source.repository or "the running interpreter"
    pin = source.commit or version
    return {"kind": source.kind, "origin": origin, "pin": pin, "licence": source.licence}


def _write_manifest(path: Path, tally: Tally, totals: dict[str, dict[str, int]]) -> None:
    manifest = {
        "languages": totals,
        "sources": tally.sources,
        "filters": dict(tally.filters.most_common()),
        "near_duplicates": dict(tally.near_duplicates),
        "benchmarks_removed": tally.removed_benchmarks,
        "contaminated": asdict(tally.contamination),
        "failures": tally.failures,
    }
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    os.replace(partial, path)


def _chosen(sources: list[Source], only: list[str], languages: list[str]) -> list[Source]:
    if unknown := set(only) - {source.name for source in sources}:
        raise SourceError(f"no source is named {', '.join(sorted(unknown))}; see sources.toml")
    wanted = [source for source in sources if not only or source.name in only]
    return [source for source in wanted if set(source.languages) & set(languages)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.training.collect")
    parser.add_argument("--work", type=Path, required=True, help="folder for archives and corpus")
    parser.add_argument("--mirror", type=Path, help="folder of bare clones named OWNER+NAME")
    parser.add_argument("--mbpp", type=Path, help="mbpp.jsonl, whose problems are then removed")
    parser.add_argument("--only", nargs="+", default=[], help="names of sources to take")
    parser.add_argument("--languages", nargs="+", default=list(LANGUAGES), choices=LANGUAGES)
    parser.add_argument("--sources", type=Path, default=_HERE / "sources.toml")
    return parser


if __name__ == "__main__":
    sys.exit(main())
