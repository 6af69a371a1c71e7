"""Syntax trees of the open documents, kept current by re-parsing only what changed.

Owns: the parsers, one tree for each of the most recently used documents, and the few
questions others ask of a tree. Columns and ends of nodes are utf-8 bytes; `text.position`
converts.

Invariant: the only module that imports tree_sitter, and not before the first tree is asked
for. A tree that was handed out never changes. Text that is too long, binary or too broken to
parse in bounded work has no tree; nobody may depend on having one.

Threads: one worker thread owns a `SyntaxTrees` and every tree it returns; no locks.
"""

from __future__ import annotations

import importlib
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

from slm_lsp.context.edits import apply_edit, edit_between, row_at
from slm_lsp.context.foreign import without_magic
from slm_lsp.context.languages import Language, language_of
from slm_lsp.context.pieces import Pieces
from slm_lsp.types import DocumentSnapshot

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar
    from tree_sitter import Node as Node
    from tree_sitter import Parser as Parser
    from tree_sitter import Query
    from tree_sitter import Tree as Tree

MAX_CHARS = 1_000_000
# The parser reports once in a hundred steps of its own. Source code needs 5 to 10 reports a
# kilobyte at about 30 µs each; text that is no source code at all can cost 1 ms each.
MAX_REPORTS = 10_000
# About a millisecond, in source code.
HURRIED_REPORTS = 60
# States of a query that are followed at once; the oldest are given up beyond.
MAX_QUERY_STATES = 4_096
_PIECES = Pieces()
# More than most nodes have whose text is asked for.
_TEXT_BYTES = 256
# Parsers that are kept with what their ended parses left behind.
_MAX_ENDED = 4
_BINARY_HEAD = 8_000
_PART = "\n"  # stands in no uri
_SURROGATE = re.compile("[\ud800-\udfff]")

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Parsed:
    language: str
    text: str
    source: bytes
    tree: Tree | None
    # Of the parse; more where one shortly before took more, as the next may.
    n_reports: int
    # The tree as it was moved last, and the text that it was moved to, also encoded.
    moved: tuple[str, bytes, Tree] | None = None
    # Where that began, and its row: the next is near, and nobody need count from the first row.
    near: tuple[int, int] = (0, 0)


class SyntaxTrees:
    """The parsers and the trees of the most recently used documents."""

    def __init__(self, max_documents: int = 32) -> None:
        self._max_documents = max_documents
        self._parsers: dict[str, Parser | None] = {}
        self._parsed: OrderedDict[str, _Parsed] = OrderedDict()
        self._encoded = ("", b"")
        self._ended: list[Parser] = []

    def source(self, text: str) -> bytes:
        """The text encoded; once, however many ask for it in turn."""
        if self._encoded[0] != text:
            self._encoded = text, encode(text)
        return self._encoded[1]

    def tree(
        self,
        snapshot: DocumentSnapshot,
        stop: Callable[[], bool] | None = None,
        *,
        hurried: bool = False,
    ) -> Tree | None:
        """The tree of this snapshot, or None where there can be none.

        `stop` is asked every few dozen microseconds and ends the parse when true. The answer
        is then the last tree, moved to where its nodes are now: right but for what was typed
        since. The next call goes on from the last one, too. If `hurried`, a document whose
        last parses were long is not parsed at all but answered in that way at once.
        """
        snapshot = without_magic(snapshot)
        known = self._parsed.get(snapshot.uri)
        if known is not None and known.language != snapshot.language:
            del self._parsed[snapshot.uri]
            known = None
        if known is not None:
            self._parsed.move_to_end(snapshot.uri)
            # A document that was too much work once is not tried again on every keystroke.
            if known.tree is None or known.text == snapshot.text:
                return known.tree
        parser = self._parser(snapshot.language)
        if parser is None or _unsuitable(snapshot.text):
            self.forget(snapshot.uri)
            return None
        return self._parse(parser, snapshot, known, stop, hurried)

    def forget(self, uri: str) -> None:
        """Drop what is kept for a document and for parts of it."""
        for known in [each for each in self._parsed if each == uri or each.startswith(uri + _PART)]:
            del self._parsed[known]

    def moved(self, snapshot: DocumentSnapshot) -> tuple[Tree, bytes] | None:
        """The last tree with its nodes where they are in this snapshot, and the snapshot's
        source; right but for what was typed since. Nothing is parsed."""
        known = self._parsed.get(snapshot.uri)
        if known is None or known.tree is None or known.language != snapshot.language:
            return None
        if known.text == snapshot.text:
            return known.tree, known.source
        return self._moved(known, known.tree, snapshot.text), self.source(snapshot.text)

    def apart(
        self, language: str, source: bytes, stop: Callable[[], bool] | None = None
    ) -> Tree | None:
        """The tree of a source that is no document's; None if `stop` ended the parse."""
        parser = self._parser(language)
        if parser is None:
            return None
        tree, _ = _run(parser, source, None, stop)
        if tree is None:
            self._set_aside(language)
        return tree

    def has_tree(self, uri: str) -> bool:
        """Whether a document has one."""
        known = self._parsed.get(uri)
        return known is not None and known.tree is not None

    def _parse(
        self,
        parser: Parser,
        snapshot: DocumentSnapshot,
        known: _Parsed | None,
        stop: Callable[[], bool] | None,
        hurried: bool,
    ) -> Tree | None:
        source = self.source(snapshot.text)
        old = None
        if known is not None and known.tree is not None:
            old = self._moved(known, known.tree, snapshot.text)
            if hurried and known.n_reports > HURRIED_REPORTS:
                return old
        stopped = False

        def asked_to_stop() -> bool:
            nonlocal stopped
            stopped = stop is not None and stop()
            return stopped

        tree, n_reports = _run(parser, source, old, asked_to_stop)
        if tree is None:
            self._set_aside(snapshot.language)
        if tree is None and stopped:
            if hurried and known is not None:  # nor would the next such call have the time
                known.n_reports = max(known.n_reports, HURRIED_REPORTS + 1)
            return old
        if tree is None:
            source = b""
        n_expected = _n_expected(n_reports, known.n_reports if known is not None else None)
        near = known.near if known is not None and old is not None else (0, 0)
        parsed = _Parsed(snapshot.language, snapshot.text, source, tree, n_expected, near=near)
        self._parsed[snapshot.uri] = parsed
        self._parsed.move_to_end(snapshot.uri)
        while len(self._parsed) > self._max_documents:
            self._parsed.popitem(last=False)
        return tree

    def _moved(self, known: _Parsed, tree: Tree, text: str) -> Tree:
        """The known tree with its nodes where they are in the text.

        Moved on from where it was moved last: one span over two edits that are far apart would
        hold all that stands between them, and nothing would be known of that any more.
        """
        before, source, moved = known.moved or (known.text, known.source, tree)
        if before != text:
            # A copy, as editing changes a tree in place and callers hold the old one.
            now, moved = self.source(text), moved.copy()
            edit = edit_between(source, now)
            row = row_at(source, edit.start, known.near)
            apply_edit(moved, source, now, edit, row)
            known.moved, known.near = (text, now, moved), (edit.start, row)
        return moved

    def tidy(self) -> None:
        """Let go of what ended parses left behind; in a large file that takes milliseconds."""
        self._ended.clear()

    def _set_aside(self, language_id: str) -> None:
        """Leave a parser whose parse was ended, and would be resumed with the next text, to `tidy`:
        somebody may be waiting just for that parse to end."""
        if len(self._ended) == _MAX_ENDED:
            self.tidy()
        parser = self._parsers.pop(language_of(language_id).name)
        if parser is not None:
            self._ended.append(parser)

    def _parser(self, language_id: str) -> Parser | None:
        language = language_of(language_id)
        if language.name not in self._parsers:
            self._parsers[language.name] = parser_of(language)
        return self._parsers[language.name]


def part_of(uri: str, language: str) -> str:
    """The name under which a part of a document in another language is kept."""
    return f"{uri}{_PART}{language}"


def parser_of(language: Language) -> Parser | None:
    """A new parser, which one thread may use; None where there is no grammar."""
    grammar = _grammar(language)
    if grammar is None:
        return None
    import tree_sitter

    return tree_sitter.Parser(grammar)


def parse(parser: Parser, source: bytes, stop: Callable[[], bool] | None = None) -> Tree | None:
    """The tree of a source by itself; None if it is too much work, or was stopped."""
    tree, _ = _run(parser, source, None, stop)
    if tree is None:
        # An ended parse would otherwise be resumed with the next text.
        parser.reset()
    return tree


def matches(tree: Tree, language: Language, query: str) -> Iterator[Mapping[str, list[Node]]]:
    """What a query of the language finds in the tree, in order: for each match its captures.

    Nothing where the language has no such query.
    """
    compiled = _query(language, query)
    if compiled is None:
        return
    from tree_sitter import QueryCursor

    cursor = QueryCursor(compiled, match_limit=MAX_QUERY_STATES)
    for _, captures in cursor.matches(tree.root_node):
        yield captures


def encode(text: str) -> bytes:
    """The text as valid utf-8; a lone surrogate becomes U+FFFD, which is as long."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub("\ufffd", text).encode()


def nodes_at(tree: Tree, at: int) -> list[Node]:
    """The nodes that hold the byte before `at` (the first byte if there is none), innermost
    first and the root last."""
    root = tree.root_node
    leaf = root.descendant_for_byte_range(max(at - 1, 0), max(at, 0)) or root
    # Downwards, as each look at a node's parent would start from the root again.
    path = [root]
    while path[-1] != leaf and (child := path[-1].child_with_descendant(leaf)) is not None:
        path.append(child)
    path.reverse()
    return path


def errors(node: Node) -> Iterator[Node]:
    """Every error and every missing token at or below the node."""
    pending = [node] if node.has_error else []
    while pending:
        current = pending.pop()
        if current.is_error or current.is_missing:
            yield current
        pending.extend(child for child in current.children if child.has_error or child.is_missing)


def _run(
    parser: Parser, source: bytes, old: Tree | None, stop: Callable[[], bool] | None
) -> tuple[Tree | None, int]:
    """The tree, None if the parse was ended, and how often the parser reported. After an ended
    parse the parser has to be reset or given up."""
    reports, is_parsing = 0, True

    def read(at: int, _point: object) -> bytes:
        if is_parsing:
            return cast("bytes", _PIECES.at(source, at))  # any buffer will do
        # Later a query asks here for the text of a node, and takes nothing but bytes for bytes.
        return source[at : at + _TEXT_BYTES]

    def ended(_at: int, _has_error: bool) -> bool:
        nonlocal reports
        reports += 1
        return reports > MAX_REPORTS or (stop is not None and stop())

    try:
        if old is None:  # which the parser does not take for an absent argument
            return parser.parse(read, progress_callback=ended), reports
        return parser.parse(read, old, progress_callback=ended), reports
    except ValueError:
        return None, reports
    finally:
        is_parsing = False


def _n_expected(n_reports: int, before: int | None) -> int:
    """How often a parser may report the next time, after `n_reports` now and `before` until then.

    Who types breaks the syntax with one key and mends it with the next: after a short parse a
    long one may follow, and to begin it in vain costs a request a millisecond. A first parse
    reads all of a text and says little of what an edit costs.
    """
    if before is None:
        return min(n_reports, HURRIED_REPORTS + 1)
    return max(n_reports, before // 2)


def _unsuitable(text: str) -> bool:
    return len(text) > MAX_CHARS or text.find("\0", 0, _BINARY_HEAD) >= 0


@cache
def _grammar(language: Language) -> Grammar | None:
    if not language.module:
        return None
    try:
        import tree_sitter

        load = getattr(importlib.import_module(language.module), language.function)
        return tree_sitter.Language(load())
    except (ImportError, AttributeError, ValueError) as error:
        _log.warning("no syntax trees for %s: %s", language.name, error)
        return None


@cache
def _query(language: Language, name: str) -> Query | None:
    grammar, text = _grammar(language), language.queries.get(name)
    if grammar is None or text is None:
        return None
    from tree_sitter import Query, QueryError

    try:
        return Query(grammar, text)
    except QueryError as error:  # of a release whose nodes have other names
        _log.warning("no %s for %s: %s", name, language.name, error)
        return None
