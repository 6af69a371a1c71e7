"""Headers of GGUF files: what is read from good ones, and bad ones refused whatever they claim.

Invariant: no file makes the reader raise anything else than GgufError, or use memory or time
beyond the file's own size.
"""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vocabularies import FAMILIES, family_bytes, vocabulary_bytes

from slm_lsp.gguf import reader
from slm_lsp.gguf.header import UNKEPT, GgufError
from slm_lsp.gguf.reader import read_header
from slm_lsp.prompt import fim

U32, I32, TEXT, LIST, U64 = 4, 5, 8, 9, 10


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def listed(kind: int, *items: bytes, count: int | None = None) -> bytes:
    return struct.pack("<IQ", kind, len(items) if count is None else count) + b"".join(items)


def gguf(
    *keys: bytes,
    tensors: tuple[bytes, ...] = (),
    version: int = 3,
    n_keys: int | None = None,
    n_tensors: int | None = None,
    rest: bytes = b"",
) -> bytes:
    counts = (
        len(tensors) if n_tensors is None else n_tensors,
        len(keys) if n_keys is None else n_keys,
    )
    head = b"GGUF" + struct.pack("<IQQ", version, *counts)
    return head + b"".join(keys) + b"".join(tensors) + rest


def tensor(*dimensions: int) -> bytes:
    shape = struct.pack(f"<I{len(dimensions)}Q", len(dimensions), *dimensions)
    return text("t") + shape + struct.pack("<IQ", 0, 0)


TOKENS = key("tokenizer.ggml.tokens", LIST, listed(TEXT, *map(text, ("a", "<x>", "<y>", "<P>"))))
TYPES = key("tokenizer.ggml.token_type", LIST, listed(I32, struct.pack("<4i", 1, 3, 4, 1), count=4))
LONG = text("x" * ((1 << 20) + 1))
GOOD = gguf(
    key("general.architecture", TEXT, text("llama")),
    key("llama.block_count", U32, struct.pack("<I", 3)),
    key("llama.rope.scale", 6, struct.pack("<f", 0.5)),
    key("general.odd", 7, b"\x01"),
    key("general.lists", LIST, listed(LIST, listed(U32, struct.pack("<I", 1)), listed(TEXT))),
    TOKENS,
    TYPES,
    tensors=(tensor(4, 8), tensor(2)),
    rest=b"\0" * 200,
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "model.gguf"
        path.write_bytes(data)
        return path

    return write


def test_what_a_header_says(write: Callable[[bytes], Path]) -> None:
    header = read_header(write(GOOD))
    assert header.metadata == {
        "general.architecture": "llama",
        "llama.block_count": 3,
        "llama.rope.scale": 0.5,
        "general.odd": True,
    }
    assert header.array_lengths["general.lists"] == 2
    assert header.n_vocab == 4
    assert [each.shape for each in header.tensors] == [(4, 8), (2,)]
    assert header.n_parameters == 34
    assert header.specials() == {"<x>", "<y>"}
    assert header.specials({"<P>", "<Q>"}) == {"<x>", "<y>", "<P>"}
    assert header.number("none", "llama.block_count") == 3
    assert (header.number("general.odd"), header.text("llama.block_count")) == (0, "3")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "does not begin with 'GGUF'"),
        (b"GGUF\x03\0\0\0", "ends in the middle"),
        (b"GGJT" + b"\0" * 40, "does not begin with 'GGUF'"),
        (gguf(version=1), "version 1, which is not known here"),
        (gguf(version=4), "version 4, which is not known here"),
        (gguf(version=3 << 24), "version 3, which is written for big-endian"),
        (gguf(n_keys=1 << 62), "claims 4611686018427387904 keys"),
        (gguf(n_tensors=1 << 62), "claims 4611686018427387904 tensors"),
        (gguf(n_keys=1, rest=b"\xff" * 200), "a key of 18446744073709551615 bytes"),
        (gguf(key("a", TEXT, struct.pack("<Q", 1 << 60))), "ends in the middle"),
        (gguf(key("a", U32, b"\0" * 4), key("a", TEXT, text("x"))), "the key 'a' twice"),
        (gguf(key("general.alignment", U32, b"\0" * 4)), "its alignment is 0"),
        (gguf(key("general.alignment", LIST, listed(U32))), "its alignment is a list"),
        (gguf(key("tokenizer.ggml.tokens", LIST, listed(TEXT, LONG))), "longer texts"),
        (gguf(tensors=(text("t" * 2_000) + b"\0" * 200,)), "whose name has 2000 bytes"),
        (gguf(key("a", 99, b"\0" * 60)), "a type that there is not (99)"),
        (gguf(key("a", LIST, listed(99, count=1)), rest=b"\0" * 60), "that there is not (99)"),
        (gguf(key("a", LIST, listed(U64, count=1 << 61))), "claims 2305843009213693952 items"),
        (gguf(key("a", LIST, listed(TEXT, count=5)), rest=b"\0" * 39), "claims 5 items"),
        (gguf(tensors=(tensor(1, 1, 1, 1, 1),)), "5 dimensions"),
        (gguf(tensors=(tensor(1 << 63, 1 << 63),)), "larger than the file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_refused(write: Callable[[bytes], Path], data: bytes, says: str) -> None:
    path = write(data)
    with pytest.raises(GgufError) as caught:
        read_header(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_what_was_not_kept_is_not_taken_for_what_is_not_there(
    write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A native library may read what this passes over."""
    monkeypatch.setattr(reader, "MAX_KEPT_BYTES", 10)
    listed_heads = key("llama.heads", LIST, listed(U32, struct.pack("<I", 1)))
    keys = (key("general.architecture", TEXT, text("llama")), listed_heads)
    header = read_header(write(gguf(*keys, key("long", TEXT, text("x" * 11)))))
    assert header.of_architecture("heads", 4) is UNKEPT
    assert header.value("long", "") is UNKEPT
    assert header.of_architecture("none", 4) == 4
    assert "llama.heads" not in header.lists


def test_lists_are_kept_where_they_are_asked_for(write: Callable[[bytes], Path]) -> None:
    odd = key("texts", LIST, listed(TEXT, text(b"\xff"), text("b")))
    floats = key("floats", LIST, listed(6, struct.pack("<2f", 0.5, 2), count=2))
    header = read_header(write(gguf(odd, floats)), keep=("texts", "floats"))
    assert header.lists == {"texts": ["\udcff", "b"], "floats": (0.5, 2.0)}
    assert header.item_kinds == {"texts": TEXT, "floats": 6}
    assert not read_header(write(gguf(odd, floats))).lists


def test_the_first_version_counts_in_32_bits(write: Callable[[bytes], Path]) -> None:
    def short(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    head = b"GGUF" + struct.pack("<III", 1, 1, 2)
    head += short("a") + struct.pack("<I", TEXT) + short("b")
    head += short("l") + struct.pack("<III", LIST, U32, 1) + b"\x07\0\0\0"
    head += short("t") + struct.pack("<IIIIQ", 2, 3, 5, 0, 64)
    header = read_header(write(head + b"\0" * 300), keep=("l",), versions=(1, 2, 3))
    assert (header.version, header.metadata, header.lists) == (1, {"a": "b"}, {"l": (7,)})
    [found] = header.tensors
    assert (found.name, found.shape, found.offset) == ("t", (3, 5), 64)
    assert header.n_parameters == 15
    assert header.weights_at % 32 == 0
    assert len(head) <= header.weights_at < len(head) + 32


def test_lists_are_not_followed_without_end(write: Callable[[bytes], Path]) -> None:
    nested = listed(U32)
    for _ in range(2_000):
        nested = listed(LIST, nested)
    with pytest.raises(GgufError, match="too deep"):
        read_header(write(gguf(key("a", LIST, nested))))


def test_endless_lists_of_nothing_are_not_read(
    write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_ITEMS", 100)
    keys = [key(f"k{n}", LIST, listed(TEXT, *[text("")] * 60)) for n in range(2)]
    with pytest.raises(GgufError, match="more than any model has"):
        read_header(write(gguf(*keys)))


def test_long_texts_are_read_past(
    write: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "MAX_KEPT_BYTES", 10)
    long = key("tokenizer.chat_template", TEXT, text("x" * 11))
    header = read_header(write(gguf(long, key("b", TEXT, text("y")))))
    assert header.metadata == {"b": "y"}
    monkeypatch.setattr(reader, "MAX_KEPT_TEXTS_BYTES", 15)
    header = read_header(write(gguf(*(key(f"k{n}", TEXT, text("z" * 6)) for n in range(4)))))
    assert sorted(header.metadata) == ["k0", "k1"]


def test_no_file_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(GgufError, match="no file"):
        read_header(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "none")


@given(
    st.integers(0, len(GOOD) - 1),
    st.integers(0, 24),
    st.binary(max_size=24),
)
@settings(max_examples=300, deadline=None)
def test_a_file_changed_anywhere_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, cut: int, put: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.gguf"
    path.write_bytes(GOOD[:at] + put + GOOD[at + cut :])
    try:
        header = read_header(path)
    except GgufError:
        return
    assert header.n_parameters <= 64 * 2 * len(GOOD)


@pytest.mark.parametrize("n_bytes", [4, 23, 24, 30, 1_000, 50_000, 400_000])
def test_an_incomplete_file_is_refused(write: Callable[[bytes], Path], n_bytes: int) -> None:
    with pytest.raises(GgufError):
        read_header(write(vocabulary_bytes("llama-spm")[:n_bytes]))


def test_a_header_costs_little_memory_whatever_it_claims(write: Callable[[bytes], Path]) -> None:
    """A list of numbers is not kept, and its length is not allocated."""
    data = gguf(
        key("a", LIST, listed(U32, b"\0" * 8_000_000, count=2_000_000)),
        key("b", LIST, listed(U64, count=1 << 60)),
    )
    path = write(data)
    tracemalloc.start()
    with pytest.raises(GgufError, match="claims"):
        read_header(path)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4_000_000


@pytest.mark.model
@pytest.mark.parametrize("name", ["starcoder2", "refact", "deepseek", "qwen", "codellama"])
def test_llama_cpp_reads_the_same(name: str, write: Callable[[bytes], Path]) -> None:
    from slm_lsp.engine.llama import LlamaDecoder

    path = write(family_bytes(name))
    header = read_header(path)
    specials = header.specials(fim.all_sentinels())
    decoder = LlamaDecoder(path, name, vocab_only=True)
    try:
        info = decoder.info
        # llama.cpp also takes for a control token what often ends a text.
        assert info.specials - specials <= {"</s>"}
        assert specials <= info.specials
        assert header.n_vocab == info.n_vocab
        texts = {k: v for k, v in header.metadata.items() if isinstance(v, str) and len(v) < 400}
        assert texts == {k: info.metadata[k] for k in texts}
        assert len(texts) >= 3
    finally:
        decoder.close()
    assert name in FAMILIES
