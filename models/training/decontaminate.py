"""Removes what would let the model see a benchmark's problems or a held-out file.

Three rules:
- name: a Python function with the name of a benchmark's function is cut out, and the document
  falls when less than half of it is left. A name of several words counts anywhere; a single word
  (`add`, `median`) only at the top level, for benchmarks ask for functions, not methods, and only
  HumanEval's: MBPP's single words (`split`, `replace`) name half of every library;
- text: a document falls that shares three 10-token shingles with one problem's docstring or
  solution (12 tokens on end), or three tenths of a problem. Shingles found in four unrelated
  sources, or with fewer than four words in them, are idioms and count only for the three tenths;
- held out: a document falls when a quarter of its shingles come from files that must stay unseen.
Invariant: the rules see only hashes of benchmark texts. Pure; one thread.
"""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from models.training.document import Document, stable_hash
from models.training.shingles import Hashes, shingle_hashes, worded_shingles

SHINGLE_TOKENS = 10
_SHINGLE_WORDS = 4  # lists of numbers and runs of brackets are nobody's text
_BOILERPLATE_SOURCES = 4
_TELLING_SHINGLES = 3
_COPY_SHARE = 0.3
_LEFT_MIN_SHARE = 0.5
_HELD_OUT_SHARE = 0.25

_DEFINITION = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)", re.M)
_WORD_BREAK = re.compile(r"[a-zA-Z\d]_[A-Za-z\d]|[a-z][A-Z]")
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Benchmark:
    """One benchmark as hashes: each problem's shingles, and its functions' names."""

    name: str
    problems: Sequence[Hashes]
    name_hashes: frozenset[int]
    single_words: bool = False


@dataclass
class Contamination:
    """What was found, by rule, for the manifest."""

    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, rule: str, document: Document) -> None:
        """Counts one dropped document and keeps the first few paths of each rule."""
        self.dropped[rule] = self.dropped.get(rule, 0) + 1
        examples = self.examples.setdefault(rule, [])
        if len(examples) < 20:
            examples.append(f"{document.source}:{document.path}")


def name_hash(name: str) -> int:
    """The hash under which a function name is listed."""
    return stable_hash(f"def {name}")


def problem_shingles(texts: Iterable[str]) -> Hashes:
    """The distinct shingle hashes of one problem's texts, sorted."""
    parts = [worded_shingles(text, SHINGLE_TOKENS, _SHINGLE_WORDS) for text in texts]
    return np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))


class Decontaminator:
    """The rules over a fixed set of benchmarks and held-out texts."""

    def __init__(self, benchmarks: Sequence[Benchmark], held_out: Iterable[str] = ()) -> None:
        self._benchmarks = benchmarks
        self._held_out = problem_shingles(held_out)
        owners = [
            (b, hashes) for b, benchmark in enumerate(benchmarks) for hashes in benchmark.problems
        ]
        every = [np.empty(0, np.uint64), *(hashes for _, hashes in owners)]
        self._listed = np.unique(np.concatenate(every))
        self._problems = [(b, np.searchsorted(self._listed, hashes)) for b, hashes in owners]

    def cut(self, document: Document, found: Contamination) -> Document | None:
        """The document less the functions that bear a benchmark's name; None if little is left."""
        if document.language != "python":
            return document
        defined = set(_DEFINITION.findall(document.text))
        named = {name: rule for name in defined if (rule := self._name_rule(name))}
        if not named:
            return document
        text = without_functions(document.text, set(named))
        if text == document.text:
            return document
        rule = min(named.values())
        if len(text) < _LEFT_MIN_SHARE * len(document.text) or not _parses(text):
            found.add(f"{rule}_dropped", document)
            return None
        found.add(f"{rule}_cut", document)
        return replace(document, text=text)

    def clean(
        self, documents: Sequence[Document], tokens: Sequence[Hashes], found: Contamination
    ) -> list[bool]:
        """For each document: whether its text may stay; what fell is counted in `found`."""
        rules: list[str | None] = []
        matches: list[NDArray[np.intp]] = []
        for document_tokens in tokens:
            shingles = np.unique(shingle_hashes(document_tokens, SHINGLE_TOKENS))
            matches.append(_positions(self._listed, shingles))
            n_held_out = len(_positions(self._held_out, shingles))
            rules.append("held_out" if n_held_out > _HELD_OUT_SHARE * len(shingles) else None)
        boilerplate = self._boilerplate(documents, matches)
        for i, document in enumerate(documents):
            rules[i] = rule = rules[i] or self._quoted(matches[i], boilerplate)
            if rule:
                found.add(rule, document)
        return [rule is None for rule in rules]

    def _name_rule(self, name: str) -> str | None:
        hashed = name_hash(name)
        several_words = bool(_WORD_BREAK.search(name))
        for benchmark in self._benchmarks:
            if hashed in benchmark.name_hashes and (several_words or benchmark.single_words):
                return f"{benchmark.name}_name"
        return None

    def _boilerplate(
        self, documents: Sequence[Document], matches: Sequence[NDArray[np.intp]]
    ) -> NDArray[np.bool_]:
        """Which listed shingles so many sources hold that they belong to no benchmark."""
        pairs: set[tuple[str, int]] = set()
        for document, matched in zip(documents, matches, strict=True):
            pairs.update((document.source, int(position)) for position in matched)
        n_sources = np.bincount(
            np.fromiter((position for _, position in pairs), np.intp), minlength=len(self._listed)
        )
        return n_sources >= _BOILERPLATE_SOURCES

    def _quoted(self, matched: NDArray[np.intp], boilerplate: NDArray[np.bool_]) -> str | None:
        if len(matched) < _TELLING_SHINGLES:
            return None
        for b, positions in self._problems:
            shared = np.intersect1d(positions, matched, assume_unique=True)
            if len(shared) < _TELLING_SHINGLES:
                continue
            n_telling = int(np.count_nonzero(~boilerplate[shared]))
            if n_telling >= _TELLING_SHINGLES or len(shared) >= _COPY_SHARE * len(positions):
                return f"{self._benchmarks[b].name}_text"
        return None


def without_functions(text: str, names: set[str]) -> str:
    """Python source less the functions so named, decorators included; methods only if the name
    has several words."""
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, _FUNCTION) or node.name not in names:
            continue
        if node.col_offset and not _WORD_BREAK.search(node.name):
            continue
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        for i in range(first - 1, node.end_lineno or node.lineno):
            lines[i] = "\0"
    return "\n".join(line for line in lines if line != "\0")


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def _positions(listed: Hashes, wanted: Hashes) -> NDArray[np.intp]:
    """Where in the sorted `listed` the wanted hashes stand; those not listed are left out."""
    if not len(listed):
        return np.empty(0, np.intp)
    positions = np.minimum(np.searchsorted(listed, wanted), len(listed) - 1)
    return np.unique(positions[listed[positions] == wanted])
