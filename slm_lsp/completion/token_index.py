"""The tokens of the open documents, and the words in them.

Owns: which documents are kept, the words that begin with some letters, and the longest
match of what stands before a cursor.

Invariant: bounded: the documents used least recently are dropped beyond MAX_TOKENS, and one
that is larger than all is never taken in. The words are those of the kept documents.

Threads: the completer's worker; `words_from` and `is_word` from any, as they read a list and
a dictionary that change in steps which are whole in themselves.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from slm_lsp.completion.tokens import (
    END_OF_LINE,
    MAX_LINE_CHARS,
    WORD,
    DocumentTokens,
    never,
)

# About 40,000 lines, which take some 15 MB.
MAX_TOKENS = 300_000
MIN_WORD_CHARS = 3
# Of a frequent run of tokens, the nearest places are looked at: the others say the same.
MAX_PLACES = 128
# Putting more words than this into the sorted list one by one is slower than sorting it.
MANY_WORDS = 200


@dataclass(frozen=True, slots=True)
class Match:
    """Where a run of `n_tokens` tokens that ends the text before the cursor also stands:
    right before the token `at` of `document`."""

    document: DocumentTokens
    at: int
    n_tokens: int


class TokenIndex:
    """See the module."""

    def __init__(self, max_tokens: int = MAX_TOKENS) -> None:
        self._max_tokens = max_tokens
        self._documents: OrderedDict[str, DocumentTokens] = OrderedDict()
        self._counts: Counter[str] = Counter()
        self._words: list[str] = []
        self._too_large: set[str] = set()

    @property
    def n_tokens(self) -> int:
        return sum(each.n_tokens for each in self._documents.values())

    @property
    def words(self) -> list[str]:
        """All words, in order."""
        return self._words.copy()

    def __contains__(self, uri: str) -> bool:
        return uri in self._documents

    def update(self, uri: str, text: str, stop: Callable[[], bool] = never) -> bool:
        """Follow a document; tell whether it could be done before `stop` said so."""
        if uri in self._too_large:
            return True
        document = self._documents.get(uri) or DocumentTokens()
        change = document.update(text, stop)
        if change is None:
            return False
        self._documents[uri] = document
        self._documents.move_to_end(uri)
        self._count(change.removed, change.added)
        while len(self._documents) > 1 and self.n_tokens > self._max_tokens:
            self.forget(next(iter(self._documents)))
        if self.n_tokens > self._max_tokens:
            self.forget(uri)
            # Reading it again on every keystroke would keep the worker from all else.
            self._too_large.add(uri)
        return True

    def forget(self, uri: str) -> None:
        """Drop a document."""
        self._too_large.discard(uri)
        document = self._documents.pop(uri, None)
        if document is not None:
            self._count(document.lines, ())

    def words_from(self, beginning: str, limit: int) -> list[str]:
        """Up to `limit` words that are longer than their `beginning`."""
        words = self._words
        at = bisect_left(words, beginning)
        near = words[at : at + limit + 1]
        return [each for each in near if each != beginning and each.startswith(beginning)][:limit]

    def is_word(self, text: str) -> bool:
        """Whether the text is one of the words."""
        return text in self._counts

    def longest_match(
        self, uri: str, row: int, context: str, fits: Callable[[Match], bool], min_tokens: int
    ) -> Match | None:
        """The place before which the most of `context` (codes) stands, and which `fits`.

        Line ends match but do not count. Of equals, the nearest above the cursor's line
        `row` comes first, then the last below it, then the other documents, latest first.
        """
        seed = _tail(context, min_tokens)
        best: Match | None = None
        if seed is None:
            return None
        for document, begin, end in self._regions(uri, row):
            for at in _places(document.codes, seed, begin, end):
                n = _n_matching(document.codes, at, begin, context)
                if best is not None and n <= best.n_tokens:
                    continue
                match = Match(document, at, n)
                if fits(match):
                    best = match
        return best

    def _regions(self, uri: str, row: int) -> Iterator[tuple[DocumentTokens, int, int]]:
        """Where to look: everywhere but in the cursor's own line."""
        own = self._documents.get(uri)
        if own is not None:
            yield own, 0, own.start_of(row)
            yield own, own.start_of(row + 1), len(own.codes)
        for other, document in reversed(list(self._documents.items())):
            if other != uri:
                yield document, 0, len(document.codes)

    def _count(self, removed: Iterable[str], added: Iterable[str]) -> None:
        change = Counter(_words_in(added))
        change.subtract(_words_in(removed))
        fresh, gone = [], set()
        for word, n in change.items():
            before = self._counts.get(word, 0)
            if before + n > 0:
                self._counts[word] = before + n
                if before == 0:
                    fresh.append(word)
            elif before > 0:
                del self._counts[word]
                gone.add(word)
        if len(fresh) + len(gone) > MANY_WORDS:
            self._words = sorted(self._counts)
            return
        for word in gone:
            del self._words[bisect_left(self._words, word)]
        for word in fresh:
            insort(self._words, word)


def _words_in(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if len(line) <= MAX_LINE_CHARS:
            yield from (word for word in WORD.findall(line) if len(word) >= MIN_WORD_CHARS)


def _tail(context: str, n_tokens: int) -> str | None:
    """The shortest end of `context` with so many tokens, or None."""
    for at in range(len(context) - 1, -1, -1):
        n_tokens -= context[at] != END_OF_LINE
        if n_tokens <= 0:
            return context[at:]
    return None


def _places(codes: str, seed: str, begin: int, end: int) -> Iterator[int]:
    """What stands behind each `seed` within the bounds, the last first. Something has to:
    the text before the cursor itself is no match."""
    at = max(begin, end - 1)
    for _ in range(MAX_PLACES):
        at = codes.rfind(seed, begin, at)
        if at < 0:
            return
        yield at + len(seed)
        at += len(seed) - 1


def _n_matching(codes: str, at: int, begin: int, context: str) -> int:
    """How many tokens before `at`, and not before `begin`, agree with the end of `context`."""
    n, limit = 0, min(len(context), at - begin)
    for i in range(1, limit + 1):
        if codes[at - i] != context[-i]:
            break
        n += codes[at - i] != END_OF_LINE
    return n
