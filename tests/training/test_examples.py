"""Samples are the document's own text around the middle, in the layout that was asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from words import MARKS, Words

from models.training.document import Document
from models.training.examples import PLAIN, PRESETS, Options, Sample, fill, ready, samples
from models.training.pieces import RememberingTokenizer
from models.training.spans import Span
from models.training.tokenized import TokenizedText

FUNCTION = '''def function{n}(first, second):
    """Add what is given."""
    total = first + second
    for each in range({n}):
        total += each * 2  # don't stop
    return total


'''
TEXT = "import os\n\n\n" + "".join(FUNCTION.format(n=n) for n in range(30))
DOCUMENT = Document("somebody/project", "src/functions.py", "python", TEXT)
NEIGHBOUR = Document("somebody/project", "src/other.py", "python", "def other():\n    return 1\n")
BARE = Options(
    lengths={256: 1.0}, fim_rate=1.0, path_share=0.0, snippet_share=0.0, no_suffix_share=0.0
)


def many(options: Options, words: Words, neighbour: Document | None = NEIGHBOUR) -> list[Sample]:
    marks: Any = MARKS
    options = replace(options, samples_per_kib=60.0, max_samples=300)
    return list(samples(DOCUMENT, neighbour, words, marks, options))


def one(start: int, end: int, options: Options, words: Words, text: str = TEXT) -> Sample | None:
    marks: Any = MARKS
    source = ready(replace(DOCUMENT, text=text), words, marks)
    return fill(source, Span(start, end, "some"), 256, options, Random(3))


def parts(sample: Sample, words: Words) -> tuple[str, str, str]:
    """Prefix, middle and suffix of a sample without a header."""
    tokens = sample.tokens
    assert tokens[-1] == MARKS.end
    middle = words.decode(tokens[sample.middle_start : -1])
    before = words.decode(tokens[: sample.middle_start])
    if before.startswith("<4>"):
        suffix, _, prefix = before.removeprefix("<4>").partition("<3>")
    else:
        prefix, _, suffix = before.removeprefix("<3>").removesuffix("<5>").partition("<4>")
    return prefix, middle, suffix


@pytest.mark.parametrize("psm_share", [0.0, 1.0])
@pytest.mark.parametrize("joint_share", [0.0, 1.0])
def test_the_parts_are_the_text_around_the_cursor(psm_share: float, joint_share: float) -> None:
    words = Words()
    found = many(replace(BARE, psm_share=psm_share, joint_share=joint_share), words)
    assert len(found) > 200
    for sample in found:
        prefix, middle, suffix = parts(sample, words)
        assert middle.strip()
        start = TEXT.index(prefix + middle + suffix)
        assert start == 0 or TEXT[start - 1] == "\n"
        assert suffix.endswith("\n") or (prefix + middle + suffix) == TEXT[start:]


def test_joint_samples_are_tokenized_as_one_text() -> None:
    words = Words()
    inside = 0
    for sample in many(replace(BARE, joint_share=1.0), words):
        ids = sample.tokens[sample.suffix_end : -1]
        assert ids == words.encode(words.decode(ids))
        inside += words.decode(ids[: sample.middle_start - sample.suffix_end])[-1:].isalpha()
    assert inside > 10


def test_in_a_joint_sample_the_token_that_holds_the_cursor_is_of_the_middle() -> None:
    words = Words(longest=9)
    start = TEXT.index("total = first") + 2
    sample = one(start, TEXT.index("\n", start), replace(BARE, joint_share=1.0), words)
    assert sample is not None
    assert words.decode(sample.tokens[sample.middle_start : -1]) == " total = first + second"


def test_in_a_separate_sample_the_middle_starts_at_the_cursor() -> None:
    words = Words(longest=9)
    start = TEXT.index("total = first") + 2
    sample = one(start, TEXT.index("\n", start), replace(BARE, joint_share=0.0), words)
    assert sample is not None
    assert words.decode(sample.tokens[sample.middle_start : -1]) == "tal = first + second"


def test_suffix_first_layout() -> None:
    for sample in many(BARE, Words()):
        controls = [token for token in sample.tokens if token < 6]
        assert controls == [MARKS.fim_suffix, MARKS.fim_prefix, MARKS.end]
        assert sample.tokens[0] == MARKS.fim_suffix
        assert sample.tokens[sample.suffix_end - 1] == MARKS.fim_prefix
        assert sample.suffix_start == 0


def test_prefix_first_layout() -> None:
    for sample in many(replace(BARE, psm_share=1.0), Words()):
        controls = [token for token in sample.tokens if token < 6]
        assert controls == [3, 4, 5, MARKS.end]
        assert sample.tokens[0] == MARKS.fim_prefix
        assert sample.tokens[sample.suffix_start] == MARKS.fim_suffix
        assert sample.tokens[sample.middle_start - 1] == MARKS.fim_middle
        assert sample.suffix_end == sample.middle_start


def test_no_sample_is_longer_than_its_length() -> None:
    for lengths in (preset.lengths for preset in PRESETS.values()):
        found = many(Options(lengths=lengths), Words())
        assert max(len(sample.tokens) for sample in found) <= max(lengths)
    found = many(replace(Options(), lengths={64: 1.0}), Words())
    assert 0 < max(len(sample.tokens) for sample in found) <= 64


def test_windows_are_filled_with_as_many_lines_as_fit() -> None:
    words = Words()
    options = replace(BARE, scope_start_share=0.0)
    late = TEXT.index("def function20")
    sample = one(late, TEXT.index("\n", late), options, words)
    assert sample is not None
    assert 256 - 24 < len(sample.tokens) <= 256


def test_the_suffix_has_the_lines_that_the_server_sends() -> None:
    words = Words(longest=99)
    text = "x = 1\n" * 40
    sample = one(6, 11, replace(BARE, server_suffix_share=1.0), words, text)
    assert sample is not None
    assert parts(sample, words)[2] == "\n" + "x = 1\n" * 10


def test_a_suffix_too_long_for_its_share_is_cut_at_a_line_end() -> None:
    words = Words(longest=1)
    late = TEXT.index("def function9")
    sample = one(late, TEXT.index("\n", late), replace(BARE, server_suffix_share=1.0), words)
    assert sample is not None
    assert 40 < sample.suffix_end - 2 <= 256 // 3
    assert parts(sample, words)[2].endswith("\n")


def test_no_sample_has_a_suffix_of_one_line_that_is_too_long() -> None:
    words = Words(longest=99)
    assert one(0, 5, BARE, words, "first" + " word" * 80 + "\n") is not None
    assert one(0, 5, BARE, words, "first" + " word" * 90 + "\n") is None


def test_some_samples_have_no_suffix_but_only_at_a_line_end() -> None:
    words = Words()
    found = many(replace(BARE, no_suffix_share=1.0), words)
    empty = [sample for sample in found if sample.suffix_end == 2]
    assert 100 < len(empty) < len(found)
    for sample in empty:
        prefix, middle, _ = parts(sample, words)
        assert (prefix + middle + "\n") in TEXT


def test_headers() -> None:
    words = Words()
    path = "<2>src/functions.py\n"
    texts = [
        words.decode(sample.tokens)
        for sample in many(replace(Options(), fim_rate=1.0, snippet_share=0.3), words)
    ]
    found = Counter(text.partition("<4>")[0] for text in texts)
    snippet = "<1>somebody/project\n<2>src/other.py\ndef other():\n    return 1\n\n" + path
    assert set(found) == {"", path, snippet}
    assert all(n > 30 for n in found.values())


def test_without_a_neighbour_there_is_no_repository() -> None:
    found = many(replace(Options(), snippet_share=1.0), Words(), neighbour=None)
    assert not any(MARKS.repo_name in sample.tokens for sample in found)


def test_plain_text_ends_in_the_end_token_only_at_the_end_of_the_file() -> None:
    words = Words()
    found = many(replace(Options(), fim_rate=0.0), words)
    at_end = 0
    for sample in found:
        assert sample.kind == PLAIN
        assert sample.middle_start == len(sample.tokens)
        assert sample.suffix_end == 0
        text = words.decode(sample.tokens).removeprefix("<2>src/functions.py\n")
        ended = text.endswith("<0>")
        at_end += ended
        assert text.removesuffix("<0>") in TEXT
        assert ended == TEXT.endswith(text.removesuffix("<0>"))
    assert 0 < at_end < len(found)


def test_shares() -> None:
    found = many(Options(), Words())
    plain = sum(sample.kind == PLAIN for sample in found) / len(found)
    assert 0.04 < plain < 0.17


def test_samples_depend_on_seed_epoch_and_document_alone() -> None:
    marks: Any = MARKS

    def tokens(path: str = "a.py", seed: int = 1, epoch: int = 0) -> list[list[int]]:
        document = replace(DOCUMENT, path=path)
        options = replace(BARE, samples_per_kib=3.0)
        words = Words()
        words.encode(TEXT)
        found = samples(document, None, words, marks, options, seed=seed, epoch=epoch)
        return [sample.tokens for sample in found]

    assert tokens() == tokens()
    assert len({str(each) for each in (tokens(), tokens("b.py"), tokens(seed=2))}) == 3
    assert tokens() != tokens(epoch=1)


def test_no_middle_is_drawn_twice() -> None:
    words = Words()
    options = replace(BARE, lengths={4096: 1.0}, scope_start_share=0.0, joint_share=0.0)
    short = replace(DOCUMENT, text=FUNCTION.format(n=1))
    marks: Any = MARKS
    options = replace(options, samples_per_kib=400.0)
    found = list(samples(short, None, words, marks, options))
    places = [(len(prefix), len(middle)) for prefix, middle, _ in (parts(s, words) for s in found)]
    assert len(set(places)) == len(places) > 30


@pytest.mark.parametrize("text", ["", "\n\n", "#", "x", "x" * 5000])
def test_odd_documents_give_sound_samples_or_none(text: str) -> None:
    marks: Any = MARKS
    words = Words()
    options = Options(samples_per_kib=2000.0, max_samples=20)
    for sample in samples(replace(DOCUMENT, text=text), None, words, marks, options):
        assert 2 <= len(sample.tokens) <= 384


CODE = st.lists(
    st.sampled_from(
        ["foo", " ba", "don't", "('s", "'s", "é", "1", "_", " ", "    ", "\n", "(", "🎈"]
    ),
    max_size=25,
).map("".join)
ODD = st.text(st.sampled_from("ab '\n\t é\u00a0\x0c."), max_size=40)


@given(CODE | ODD, st.integers(0, 80), st.integers(0, 80))
def test_a_piece_is_tokenized_as_if_it_stood_alone(text: str, start: int, end: int) -> None:
    start, end = sorted((min(start, len(text)), min(end, len(text))))
    words = Words()
    with patch("models.training.tokenized._SHORT_CHARS", 2):
        ids, offsets = TokenizedText(text, words).piece_with_offsets(start, end)
    alone, alone_offsets = words.encode_with_offsets(text[start:end])
    assert ids == alone
    assert offsets == [start + offset for offset in alone_offsets]


def test_every_piece_is_tokenized_as_if_it_stood_alone() -> None:
    text = "x" + " " * 20 + "foo 123.bar\n    it's a\n\n  b"
    words = Words()
    whole = TokenizedText(text, words)
    with patch("models.training.tokenized._SHORT_CHARS", 2):
        for end in range(len(text) + 1):
            for start in range(end + 1):
                assert whole.piece(start, end) == words.encode(text[start:end])


@given(CODE | ODD)
def test_remembered_words_have_the_same_tokens(text: str) -> None:
    words = Words()
    remembering = RememberingTokenizer(words)
    for _ in range(2):
        assert remembering.encode_with_offsets(text) == words.encode_with_offsets(text)


def test_words_are_remembered_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Counting(Words):
        def encode_with_offsets(self, text: str) -> tuple[list[int], list[int]]:
            calls.append(text)
            return super().encode_with_offsets(text)

    remembering = RememberingTokenizer(Counting())
    remembering.encode("one two one two")
    assert calls == ["one", " two", " one"]
    monkeypatch.setattr("models.training.pieces.MAX_PIECES", 3)
    remembering.encode(" three two")
    assert calls == ["one", " two", " one", " three", " two"]
