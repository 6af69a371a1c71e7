"""The kept part of the vocabulary: nothing is lost but length."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("gguf")
pytest.importorskip("tokenizers")
pytest.importorskip("torch")

from tiny import BASE, CONTROLS, LETTERS, WHOLE

from models.training import vocabulary
from models.training.vocabulary import Tokenizer, Vocabulary, closed, read_kept, write_kept

pytestmark = pytest.mark.training

ALPHABET = len(CONTROLS) + len(LETTERS)


def ids(*tokens: str) -> set[int]:
    return {BASE.tokens.index(token) for token in tokens}


def test_closing_adds_the_parts_that_merges_go_through() -> None:
    kept = set(closed(BASE, ids("return")))
    assert kept == set(range(ALPHABET)) | ids("re", "tu", "retu", "retur", "return")


def test_control_tokens_and_single_bytes_stay_under_their_ids() -> None:
    assert closed(BASE, ()) == tuple(range(ALPHABET))


def test_a_smaller_vocabulary_says_the_same_in_more_tokens() -> None:
    small = Vocabulary(BASE, closed(BASE, ids("re")))
    text = "return re"
    for made, n_tokens in ((WHOLE, 3), (small, 7)):
        found = Tokenizer(made).encode(text)
        assert len(found) == n_tokens
        assert "".join(made.tokens[i] for i in found).replace("Ġ", " ") == text


def test_sentinels_take_the_place_of_unused_control_tokens() -> None:
    found = WHOLE.sentinels
    assert WHOLE.tokens[found.fim_prefix] == "<fim_prefix>"
    assert BASE.tokens[WHOLE.kept[found.fim_prefix]] == "<filename>"
    assert (found.end, found.repo_name, found.file_sep) == (0, 3, 5)
    assert len({found.fim_prefix, found.fim_suffix, found.fim_middle, 0, 3, 5}) == 6


def test_the_text_of_a_sentinel_is_plain_text() -> None:
    found = Tokenizer(WHOLE).encode("a(fim_prefix)")
    assert min(found) >= len(CONTROLS)


def test_offsets_are_code_points() -> None:
    found, starts = Tokenizer(WHOLE).encode_with_offsets("a return")
    assert [WHOLE.tokens[i] for i in found] == ["a", "Ġreturn"]
    assert starts == [0, 1]


def test_kept_ids_survive_writing(tmp_path: Path) -> None:
    kept = (0, 1, 7, 8, 1023, 1024, 2046)
    write_kept(kept, 2047, tmp_path / "kept.txt")
    assert read_kept(tmp_path / "kept.txt") == kept


def test_the_committed_list_keeps_controls_and_fits_the_accelerator() -> None:
    kept = read_kept(vocabulary.KEPT)
    assert kept[:17] == tuple(range(17))
    assert len(kept) % 64 == 0
    assert kept[-1] < 49152
