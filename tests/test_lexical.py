"""The open files as a source of completions: tokens, index, and what is likely enough.

Owns: the law that updates give what a fresh index has, and that the longest match is the one
that a look at every place finds.

Invariant: no model; the completer's tests here have an engine that cannot answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from completer_scene import Scene
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.completion import lexical
from slm_lsp.completion.policy import PLAIN
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.token_index import TokenIndex
from slm_lsp.completion.tokens import (
    END_OF_LINE,
    MAX_LINE_CHARS,
    STOP_EVERY_LINES,
    DocumentTokens,
    codes_of,
)
from slm_lsp.engine.base import EngineUnavailable
from slm_lsp.types import DocumentSnapshot, EngineState, Finish, Generation, Origin

QUICK = settings(derandomize=True, deadline=None, max_examples=150, database=None)
CODE = st.lists(
    st.sampled_from(["abc", "abd", "x1", " ", "\n", "\n", "(", ")", "==", "'", '"', "é", "\r"]),
    max_size=14,
).map("".join)
EDITS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9), CODE), max_size=6)


def edited(text: str, edit: tuple[int, int, str]) -> str:
    at, n_deleted, put = edit
    at = min(at, len(text))
    return text[:at] + put + text[at + n_deleted :]


def fresh(text: str) -> DocumentTokens:
    document = DocumentTokens()
    document.update(text)
    return document


# --- the tokens of a document ---


@QUICK
@given(CODE, EDITS)
def test_updates_give_what_a_fresh_one_has(text: str, edits: list[tuple[int, int, str]]) -> None:
    document = fresh(text)
    for edit in edits:
        text = edited(text, edit)
        document.update(text)
        other = fresh(text)
        assert (document.lines, document.rows) == (other.lines, other.rows)
        assert document.codes == other.codes == "".join(other.rows)
        assert "\n".join(document.lines) == text


def test_only_lines_that_changed_are_read_again() -> None:
    lines = [f"value_{i} = compute({i})" for i in range(10_000)]
    document = fresh("\n".join(lines))
    lines[5000:5001] = ["a = 1", "b = 2"]
    change = document.update("\n".join(lines))
    assert change is not None
    assert (change.removed, change.added) == (["value_5000 = compute(5000)"], ["a = 1", "b = 2"])


def test_a_token_is_found_again_by_its_number() -> None:
    document = fresh("x = f(1)\n\ny == 'a b'\n")
    assert document.n_tokens == 6 + 1 + 1 + 3 + 1 + 1
    assert [document.row_at(at) for at in (0, 6, 7, 8, 12)] == [0, 0, 1, 2, 3]
    tokens = [document.token_at(at) for at in (5, 6, 9, 10)]
    assert [token and token.group() for token in tokens] == [")", None, "==", "'a b'"]


def test_a_line_of_data_has_no_tokens() -> None:
    assert codes_of("a " * MAX_LINE_CHARS) == END_OF_LINE


def test_reading_a_long_document_gives_way() -> None:
    index = TokenIndex()
    text = "x = 1\n" * STOP_EVERY_LINES
    assert not index.update("a", text, lambda: True)
    assert "a" not in index
    assert index.update("a", text)
    assert index.update("a", text + "y", lambda: True)


# --- the index ---


@QUICK
@given(CODE, EDITS, CODE)
def test_an_edited_index_is_as_a_fresh_one(
    text: str, edits: list[tuple[int, int, str]], other: str
) -> None:
    index = TokenIndex()
    index.update("b", "gone abc")
    index.update("c", other)
    index.update("a", text)
    for edit in edits:
        text = edited(text, edit)
        index.update("a", text)
    index.forget("b")
    expected = TokenIndex()
    for uri, each in (("a", text), ("c", other)):
        expected.update(uri, each)
    assert index.words == expected.words == sorted(set(expected.words))
    assert index.n_tokens == expected.n_tokens


@QUICK
@given(CODE, CODE, CODE, st.integers(0, 4), st.integers(1, 3))
def test_the_longest_match_is_found(
    own: str, other: str, before: str, row: int, min_tokens: int
) -> None:
    index = TokenIndex()
    index.update("a", own)
    index.update("b", other)
    context = "".join(map(codes_of, before.split("\n")))[:-1]
    found = index.longest_match("a", row, context, lambda _: True, min_tokens)
    document = fresh(own)
    begin, end = document.start_of(row), document.start_of(row + 1)
    best = 0
    for region in (document.codes[:begin], document.codes[end:], fresh(other).codes):
        for at in range(len(region)):
            n = 0
            for i in range(1, min(at, len(context)) + 1):
                if region[at - i] != context[-i]:
                    break
                n += context[-i] != END_OF_LINE
            best = max(best, n)
    assert (found.n_tokens if found else 0) == (best if best >= min_tokens else 0)


def test_memory_is_bounded_by_tokens() -> None:
    index = TokenIndex(max_tokens=1000)
    for i in range(20):
        index.update(f"{i}", f"name_{i} = 1\n" * 60)
        assert index.n_tokens <= 1000
    assert "19" in index
    assert "0" not in index
    assert "name_0" not in index.words
    index.update("huge", "name_huge = 1\n" * 900)
    assert "huge" not in index
    assert index.n_tokens <= 1000
    assert "name_huge" not in index.words


# --- what is likely ---

OTHER = """
def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)
"""


def check(fixture: str, expect: str, *others: str) -> None:
    before, cursor, after = fixture.partition("<CURSOR>")
    assert cursor
    index = TokenIndex()
    for i, other in enumerate(others):
        index.update(str(i), other)
    index.update("own", before + after)
    assert lexical.guess(index, "own", before + after, len(before)) == expect


@pytest.mark.parametrize(
    ("fixture", "expect"),
    [
        ("def save(path):\n    with open(path, <CURSOR>\n", 'encoding="utf-8") as file:'),
        ("def save(path):\n    with open(path,<CURSOR>\n", ' encoding="utf-8") as file:'),
        ("def save(path):\n    with open(path, enc<CURSOR>\n", 'oding="utf-8") as file:'),
        # Fewer than three tokens agree.
        ("path, <CURSOR>\n", ""),
        # Another word than the one there.
        ("    with open(path, mo<CURSOR>\n", ""),
        # The line ends where the files' does.
        ('    with open(path, encoding="utf-8") as file:<CURSOR>\n', ""),
        # A new line takes a longer match.
        ('x\n    with open(path, encoding="utf-8") as file:\n<CURSOR>', "return json.load(file)"),
        ("as file:\n<CURSOR>", ""),
        # The only word that begins so, and one of two.
        ("y = enco<CURSOR>\n", "ding"),
        ("encoder = 1\ny = enco<CURSOR>\n", ""),
        ("y = en<CURSOR>\n", ""),
        ("<CURSOR>", ""),
    ],
)
def test_what_the_open_files_go_on_with(fixture: str, expect: str) -> None:
    check(fixture, expect, OTHER)


def test_the_nearest_of_equal_places_wins() -> None:
    near = "log.info('bb', one)\nlog.info('bb', two)\nlog.info('bb', <CURSOR>\n"
    check(near, "two)", "log.info('bb', three)\n")
    longer = "x = log.info('bb', three)\n"
    check("log.info('bb', two)\nx = log.info('bb', <CURSOR>\n", "three)", longer)


def test_brackets_alone_are_no_match() -> None:
    check("}), (<CURSOR>\n", "", "}), (one)\n")


# --- the completer ---

SAID = "alpha = compute(beta, gamma)\n"
AT = SAID + "delta = compute(beta, <CURSOR>\n"


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path, dataclasses.replace(PLAIN, lexical=True))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("state", "reason"), [(EngineState.LOADING, "loading"), (EngineState.FAILED, "engine_failed")]
)
async def test_it_answers_while_the_engine_cannot(
    scene: Scene, state: EngineState, reason: str
) -> None:
    scene.engine.state, scene.engine.info = state, None
    outcome = await scene.complete(AT)
    assert outcome.completion is not None
    assert (outcome.completion.text, outcome.completion.origin) == ("gamma)", Origin.LEXICAL)
    assert scene.engine.requests == []
    (line,) = scene.lines()
    assert (line["origin"], line["reject"], line["detail"]) == ("lexical", None, reason)


@pytest.mark.parametrize(
    "answer",
    [
        Generation("", Finish.DEADLINE),
        Generation("ga", Finish.DEADLINE),
        EngineUnavailable("gone"),
    ],
)
async def test_it_answers_where_the_model_had_no_time(
    scene: Scene, answer: Generation | Exception
) -> None:
    scene.engine.enqueue(answer)
    completion = (await scene.complete(AT)).completion
    assert completion is not None
    assert (completion.text, completion.origin) == ("gamma)", Origin.LEXICAL)


async def test_the_model_comes_first(scene: Scene) -> None:
    scene.engine.enqueue("epsilon)")
    completion = (await scene.complete(AT)).completion
    assert completion is not None
    assert (completion.text, completion.origin) == ("epsilon)", Origin.MODEL)
    scene.engine.enqueue("")
    assert (await scene.complete(AT)).reject is RejectReason.EMPTY


async def test_it_is_filtered_like_any_text(scene: Scene) -> None:
    scene.engine.state, scene.engine.info = EngineState.LOADING, None
    outcome = await scene.complete(AT.replace("<CURSOR>", "<CURSOR>)"))
    assert outcome.completion is not None
    assert outcome.completion.text == "gamma"


async def test_other_open_files_count_until_they_are_closed(scene: Scene) -> None:
    scene.engine.state, scene.engine.info = EngineState.LOADING, None
    other = DocumentSnapshot("file:///b.py", 1, "python", SAID)
    scene.completer.opened(other)
    fixture = AT.removeprefix(SAID)
    assert (await scene.complete(fixture)).completion is not None
    scene.completer.closed(other.uri)
    assert (await scene.complete(fixture)).reject is RejectReason.LOADING


async def test_a_word_that_was_cut_is_made_whole(scene: Scene) -> None:
    scene.engine.state = EngineState.LOADING
    await scene.complete(AT)  # the file has been read once this is answered
    scene.engine.state = EngineState.READY
    scene.engine.enqueue(Generation("gam", Finish.DEADLINE))
    completion = (await scene.complete(SAID + "print(<CURSOR>\n")).completion
    assert completion is not None
    assert (completion.text, completion.origin) == ("gamma", Origin.MODEL)
