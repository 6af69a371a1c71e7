"""Near duplicates fall, the first of them stays, and the rest is left alone."""

import random

import numpy as np

from models.training.near_duplicates import admitted, signature, similarity
from models.training.shingles import Hashes, shingle_hashes, token_hashes, worded_shingles


def words(n_words: int, seed: int) -> list[str]:
    drawn = random.Random(seed)
    return [f"name{drawn.randrange(5000)}" for _ in range(n_words)]


def changed(text: list[str], n_changes: int) -> list[str]:
    """The text with that many words, evenly spread, replaced: each changes five shingles."""
    step = len(text) // n_changes
    return [f"other{i}" if i % step == step // 2 else word for i, word in enumerate(text)]


def check(*texts: list[str], kept: list[bool]) -> None:
    assert admitted(token_hashes(" ".join(text)) for text in texts) == kept


def test_copies_fall_and_the_first_stays() -> None:
    check(words(500, 1), words(500, 2), words(500, 1), kept=[True, True, False])


def test_layout_does_not_hide_a_copy() -> None:
    text = words(300, 1)
    one, other = token_hashes(" ".join(text)), token_hashes("\n\n    ".join(text))
    assert admitted([one, other]) == [True, False]


def test_small_changes_do_not_hide_a_copy() -> None:
    check(words(1000, 1), changed(words(1000, 1), 5), kept=[True, False])  # Jaccard 0.95


def test_half_a_text_in_common_is_no_duplicate() -> None:
    text = words(1000, 1)
    check(text, text[:500] + words(500, 2), kept=[True, True])  # Jaccard 0.33
    check(text, changed(text, 60), kept=[True, True])  # Jaccard 0.54


def test_texts_shorter_than_a_shingle_are_never_duplicates() -> None:
    check(["a", "b"], ["a", "b"], kept=[True, True])


def test_similarity_estimates_jaccard() -> None:
    text = words(2000, 3)
    for n_changes in (10, 40, 100):
        other = changed(text, n_changes)
        one, two = (set(shingle_hashes(token_hashes(" ".join(t)), 5)) for t in (text, other))
        exact = len(one & two) / len(one | two)
        signed = [signature(token_hashes(" ".join(t))) for t in (text, other)]
        assert signed[0] is not None
        assert signed[1] is not None
        assert abs(similarity(signed[0], signed[1]) - exact) < 0.2


def test_hashes_are_the_same_in_every_process() -> None:
    hashes = shingle_hashes(token_hashes("def f(x): return x + 1"), 5)
    assert int(hashes[0]) == 1179544321699613947
    assert len(hashes) == 10 - 5 + 1


def test_a_chunk_boundary_changes_no_signature() -> None:
    tokens = token_hashes(" ".join(words(9000, 4)))
    rolled: Hashes = np.concatenate([tokens[4000:], tokens[:4000]])
    one, other = signature(tokens), signature(rolled)
    assert one is not None
    assert other is not None
    assert similarity(one, other) > 0.9


def test_only_shingles_with_words_are_listed() -> None:
    assert len(worded_shingles("1, 2, 3, 4, 5, 6, 7, 8, 9", 10, 4)) == 0
    assert len(worded_shingles("a b c d e f g h i j", 10, 4)) == 1
    assert len(worded_shingles("", 10, 4)) == 0
