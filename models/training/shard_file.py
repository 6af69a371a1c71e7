"""Samples on disk: one compressed file of tokens, lengths and what part of each sample is what.

Owns: the file format. xz over a line of JSON, then little-endian numbers of 16 bits: the
rows of the table, then the tokens.

Invariant: what is read is what was written; a file of another format or cut short is refused.

Threads: any.
"""

from __future__ import annotations

import json
import lzma
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.training.examples import Sample

FORMAT = "slm-lsp-shard-1"
ROWS = ("lengths", "suffix_start", "suffix_end", "middle_start", "kind")
_XZ_PRESET = 3

Uint16 = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """Samples in order. `tokens` are those of all samples end to end; `table` has a column for
    each sample, its rows are `ROWS` and count from the sample's first token. `control` are ids that
    are never worth predicting: all sentinels but the end token."""

    tokens: Uint16
    table: Uint16
    kinds: tuple[str, ...]
    control: tuple[int, ...]
    made_with: Mapping[str, object]

    @property
    def n_samples(self) -> int:
        return int(self.table.shape[1])

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return self._row(0).astype(np.int64)

    @property
    def suffix_start(self) -> Uint16:
        return self._row(1)

    @property
    def suffix_end(self) -> Uint16:
        return self._row(2)

    @property
    def middle_start(self) -> Uint16:
        return self._row(3)

    @property
    def kind(self) -> Uint16:
        """Indices into `kinds`."""
        return self._row(4)

    def _row(self, row: int) -> Uint16:
        values: Uint16 = self.table[row]
        return values

    def starts(self) -> npt.NDArray[np.int64]:
        """Where in `tokens` each sample starts, and the end."""
        starts = np.zeros(self.n_samples + 1, np.int64)
        np.cumsum(self.lengths, out=starts[1:])
        return starts

    def select(self, indices: npt.NDArray[np.int64]) -> Shard:
        """The samples at `indices`, in that order."""
        starts = self.starts()
        parts = [self.tokens[starts[i] : starts[i + 1]] for i in indices]
        tokens = np.concatenate(parts) if parts else np.zeros(0, np.uint16)
        return replace(self, tokens=tokens, table=self.table[:, indices])


def shard_of(
    samples: Sequence[Sample], control: Sequence[int], made_with: Mapping[str, object]
) -> Shard:
    """The shard that holds `samples` in their order."""
    kinds = tuple(sorted({sample.kind for sample in samples}))
    rows = [
        (
            len(sample.tokens),
            sample.suffix_start,
            sample.suffix_end,
            sample.middle_start,
            kinds.index(sample.kind),
        )
        for sample in samples
    ]
    tokens = np.array([token for sample in samples for token in sample.tokens], np.uint16)
    table = np.array(rows, np.uint16).reshape(-1, len(ROWS)).T
    return Shard(tokens, table, kinds, tuple(control), dict(made_with))


def join(shards: Sequence[Shard]) -> Shard:
    """All samples of several shards, one shard after the other."""
    kinds = tuple(sorted({kind for shard in shards for kind in shard.kinds}))
    tables = []
    for shard in shards:
        table = shard.table.copy()
        table[4] = np.array([kinds.index(kind) for kind in shard.kinds] or [0], np.uint16)[table[4]]
        tables.append(table)
    tokens = np.concatenate([shard.tokens for shard in shards])
    return replace(shards[0], tokens=tokens, table=np.concatenate(tables, axis=1), kinds=kinds)


def write(shard: Shard, path: Path) -> int:
    """Write the shard as a whole or not at all; the file's size in bytes."""
    header = {
        "format": FORMAT,
        "n_samples": shard.n_samples,
        "n_tokens": len(shard.tokens),
        "kinds": shard.kinds,
        "control": shard.control,
        "made_with": shard.made_with,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with lzma.open(partial, "wb", preset=_XZ_PRESET) as file:
        file.write(json.dumps(header).encode() + b"\n")
        for array in (shard.table, shard.tokens):
            file.write(array.astype("<u2").tobytes())
    os.replace(partial, path)
    return path.stat().st_size


def read(path: Path) -> Shard:
    """A shard from its file; ValueError if it is none."""
    try:
        with lzma.open(path) as file:
            header, _, body = file.read().partition(b"\n")
        known = json.loads(header)
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is no shard: {error}") from error
    n_samples, n_tokens = known.get("n_samples", 0), known.get("n_tokens", 0)
    n_table = len(ROWS) * n_samples
    if known.get("format") != FORMAT or len(body) != 2 * (n_table + n_tokens):
        raise ValueError(f"{path} is no shard of format {FORMAT}, or is cut short")
    values = np.frombuffer(body, "<u2").astype(np.uint16)
    table = values[:n_table].reshape(len(ROWS), n_samples)
    kinds, control = tuple(known["kinds"]), tuple(known["control"])
    return Shard(values[n_table:], table, kinds, control, known["made_with"])
