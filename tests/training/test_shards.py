"""Shards keep what was written; batches weight it and can be taken up anywhere."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from words import MARKS, Words

from models.training.batches import BUCKET_TOKENS, Batch, LossWeights, batches, plan, width_of
from models.training.document import Document
from models.training.draws import Worker, line_samples, make, read_corpus, tasks_of, weight_of
from models.training.examples import Options, Sample
from models.training.shard_file import Shard, join, read, shard_of, write

CONTROL = (1, 2, 3, 4, 5)
# <fim_suffix> 10 11 <fim_prefix> 20 21 22 | 30 31 <end>
FILLED = Sample([4, 10, 11, 3, 20, 21, 22, 30, 31, 0], 0, 4, 7, "lines")
# <file_sep> 9 <fim_prefix> 20 <fim_suffix> 10 <fim_middle> | 30 <end>
PREFIX_FIRST = Sample([2, 9, 3, 20, 4, 10, 5, 30, 0], 4, 7, 7, "block")
PLAIN = Sample([40, 41, 42, 0], 0, 0, 4, "plain")


def some(n: int, seed: int = 1) -> Shard:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(2, 400, n).tolist()
    found = [Sample(rng.integers(6, 9999, k).tolist(), 0, k // 3, k // 2, "k") for k in lengths]
    return shard_of(found, CONTROL, {})


def lists(batch: Batch) -> list[Any]:
    return [batch.tokens.tolist(), batch.targets.tolist(), batch.weights.tolist()]


def only(sample: Sample, weights: LossWeights | None = None) -> Batch:
    shard = shard_of([sample], CONTROL, {})
    (batch,) = batches(shard, 64, seed=1, epoch=0, weights=weights or LossWeights())
    return batch


def same(one: Shard, other: Shard) -> bool:
    return (
        one.tokens.tolist() == other.tokens.tolist()
        and one.table.tolist() == other.table.tolist()
        and (one.kinds, one.control, one.made_with) == (other.kinds, other.control, other.made_with)
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    shard = shard_of([FILLED, PLAIN, PREFIX_FIRST], CONTROL, {"seed": "1"})
    n_bytes = write(shard, tmp_path / "a" / "one.xz")
    assert n_bytes == (tmp_path / "a" / "one.xz").stat().st_size
    assert same(read(tmp_path / "a" / "one.xz"), shard)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["one.xz"]


def test_an_empty_shard_can_be_read(tmp_path: Path) -> None:
    write(shard_of([], CONTROL, {}), tmp_path / "none.xz")
    assert read(tmp_path / "none.xz").n_samples == 0


@pytest.mark.parametrize("content", [b"", b"text", lzma.compress(b"{}\n"), lzma.compress(b"[")])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other.xz").write_bytes(content)
    with pytest.raises(ValueError, match=r"other\.xz is no shard"):
        read(tmp_path / "other.xz")


def test_a_shard_cut_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.xz"
    write(some(30), path)
    path.write_bytes(lzma.compress(lzma.decompress(path.read_bytes())[:-2]))
    with pytest.raises(ValueError, match="cut short"):
        read(path)


def test_selected_samples_keep_their_tokens_and_parts() -> None:
    shard = shard_of([FILLED, PLAIN, PREFIX_FIRST], CONTROL, {})
    assert same(
        shard.select(np.array([2, 0])),
        Shard(
            np.array(PREFIX_FIRST.tokens + FILLED.tokens, np.uint16),
            shard.table[:, [2, 0]],
            shard.kinds,
            CONTROL,
            {},
        ),
    )


def test_joined_shards_keep_the_kinds_of_their_samples() -> None:
    parts = [shard_of([each], CONTROL, {}) for each in (PLAIN, FILLED, PREFIX_FIRST)]
    empty = shard_of([], CONTROL, {})
    whole = shard_of([PLAIN, FILLED, PREFIX_FIRST], CONTROL, {})
    assert same(join([*parts, empty]), whole)


def test_weights_of_a_suffix_first_sample() -> None:
    batch = only(FILLED, LossWeights(suffix=0.5, prefix=1.0, middle=3.0))
    assert batch.tokens.shape == (1, BUCKET_TOKENS)
    assert batch.tokens[0, :9].tolist() == FILLED.tokens[:-1]
    assert batch.targets[0, :9].tolist() == FILLED.tokens[1:]
    # targets: 10 11 <fim_prefix> 20 21 22 30 31 <end>
    assert batch.weights[0, :9].tolist() == [0.5, 0.5, 0, 1, 1, 1, 3, 3, 3]
    assert not batch.weights[0, 9:].any()
    assert not batch.tokens[0, 9:].any()
    assert batch.in_middle[0].nonzero()[0].tolist() == [6, 7, 8]
    assert batch.lengths.tolist() == [9]


def test_weights_of_a_prefix_first_sample() -> None:
    batch = only(PREFIX_FIRST, LossWeights(suffix=0.5, prefix=1.0, middle=3.0))
    # targets: 9 <fim_prefix> 20 <fim_suffix> 10 <fim_middle> 30 <end>
    assert batch.weights[0, :8].tolist() == [1, 0, 1, 0, 0.5, 0, 3, 3]


def test_weights_of_plain_text() -> None:
    batch = only(PLAIN)
    assert batch.weights[0, :3].tolist() == [1, 1, 1]
    assert not batch.in_middle.any()


def test_default_weights() -> None:
    assert LossWeights() == LossWeights(suffix=0.3, prefix=1.0, middle=3.0)


@given(st.integers(1, 80), st.sampled_from([64, 512, 2048]), st.integers(0, 5))
def test_every_sample_is_in_one_batch(n: int, tokens_per_batch: int, epoch: int) -> None:
    shard = some(n)
    planned = plan(shard, tokens_per_batch, 1, epoch)
    assert sorted(np.concatenate(planned).tolist()) == list(range(n))
    for rows in planned:
        width = width_of(shard, rows)
        assert width % BUCKET_TOKENS == 0
        assert len(rows) * width <= tokens_per_batch or len(rows) == 1


def test_batches_hold_samples_of_like_length() -> None:
    shard = some(4000)
    planned = plan(shard, 4096, 1, 0)
    n_padded = sum(len(rows) * width_of(shard, rows) for rows in planned)
    assert 1 - (shard.lengths - 1).sum() / n_padded < 0.16
    assert sum(len(rows) * width_of(shard, rows) < 3000 for rows in planned) <= 7


def test_a_resumed_epoch_goes_on_as_it_would_have() -> None:
    shard = some(100)
    whole = [lists(batch) for batch in batches(shard, 1024, seed=3, epoch=2)]
    for start in (1, 7, len(whole)):
        rest = batches(shard, 1024, seed=3, epoch=2, start_step=start)
        assert [lists(batch) for batch in rest] == whole[start:]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    shard = some(100)

    def order(seed: int, epoch: int) -> str:
        return str([rows.tolist() for rows in plan(shard, 1024, seed, epoch)])

    assert order(1, 0) == order(1, 0)
    assert len({order(1, 0), order(1, 1), order(2, 0)}) == 3


def test_tokens_need_no_more_than_sixteen_bits() -> None:
    with pytest.raises(OverflowError):
        shard_of([Sample([70_000, 1], 0, 0, 2, "plain")], CONTROL, {})


FUNCTION = "def f(a):\n    total = a + 1\n    # why\n    return total\n\n\n"
DOCUMENTS = [
    Document(source, f"{path}.py", "python", FUNCTION * 3)
    for source in ("one", "two")
    for path in ("a", "b", "test_c")
]


def worker(**options: float) -> Worker:
    marks: Any = MARKS
    words = Words()
    words.encode(FUNCTION)
    return Worker(words, marks, Options(**{"samples_per_kib": 20.0, **options}), seed=1)  # type: ignore[arg-type]


def test_the_corpus_is_read_by_split(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    with gzip.open(tmp_path / "corpus" / "python.jsonl.gz", "wt") as file:
        for i, split in enumerate(("train", "valid", "train")):
            record = {"source": "s", "path": str(i), "language": "python", "text": "x"}
            file.write(json.dumps({**record, "split": split}) + "\n")
    train, valid = read_corpus(tmp_path, ["python"])
    assert [document.path for document in train] == ["0", "2"]
    assert [document.path for document in valid] == ["1"]


def test_every_document_is_in_every_epoch_in_another_order() -> None:
    tasks = tasks_of(DOCUMENTS, lambda _: 1.0, 1, 2)
    orders = [[t.document for t in tasks if t.epoch == epoch] for epoch in (0, 1)]
    assert sorted(map(str, orders[0])) == sorted(map(str, orders[1])) == sorted(map(str, DOCUMENTS))
    assert orders[0] != orders[1]
    again = tasks_of(reversed(DOCUMENTS), lambda _: 1.0, 1, 2)
    assert again == tasks


def test_a_neighbour_is_another_document_of_the_same_source() -> None:
    tasks = tasks_of(DOCUMENTS, lambda _: 1.0, 1, 2)
    with_one = [task for task in tasks if task.neighbour is not None]
    assert len(with_one) == 8
    for task in with_one:
        assert task.neighbour is not None
        assert task.neighbour.source == task.document.source
        assert task.neighbour.path != task.document.path


def test_sources_and_tests_are_weighted() -> None:
    weights = {"one": 3.0}
    assert [weight_of(document, weights, 0.5) for document in DOCUMENTS] == [3, 3, 1.5, 1, 1, 0.5]


def test_a_document_of_more_weight_gives_more_samples() -> None:
    def n_samples(weight: float) -> int:
        return len(list(make(tasks_of(DOCUMENTS, lambda _: weight, 1, 4), worker())))

    assert 2 * n_samples(1.0) < n_samples(3.0) < 4 * n_samples(1.0)


def test_held_out_lines_are_code_in_functions_from_the_first_character() -> None:
    drawing = worker()
    assert isinstance(drawing.tokenizer, Words)
    found = line_samples(DOCUMENTS, drawing, 20)
    assert len(found) == 20
    for sample in found:
        assert sample.tokens[0] == MARKS.fim_suffix
        middle = drawing.tokenizer.decode(sample.tokens[sample.middle_start : -1]).strip()
        assert middle in ("total = a + 1", "return total")
