"""LlamaDecoder with the real default model: what the Scheduler relies on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from slm_lsp.config import Config
from slm_lsp.engine.base import ModelLoadError
from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.types import Special, Text
from slm_lsp.wiring import obtain

pytestmark = pytest.mark.model

CODE = (
    "def total_of(items, limit):\n    total = 0\n    for item in items:\n        if item < limit:\n"
)


@pytest.fixture(scope="module")
def decoder() -> Iterator[LlamaDecoder]:
    model = obtain(Config())
    decoder = LlamaDecoder(model.path, model.name, template=model.template, n_ctx=1024)
    yield decoder
    decoder.close()


def feed(decoder: LlamaDecoder, tokens: list[int], n_chunk: int) -> list[float]:
    """The logits after `tokens`, fed in chunks to an empty sequence."""
    decoder.truncate(0)
    for start in range(0, len(tokens), n_chunk):
        decoder.feed(tokens[start : start + n_chunk])
    return [float(logit) for logit in decoder._logits()]


@pytest.mark.parametrize("n_chunk", [2, 7, 16, 64, 200])
def test_logits_do_not_depend_on_how_a_prompt_is_cut(decoder: LlamaDecoder, n_chunk: int) -> None:
    # So many that no chunk, the last included, has a single token: those differ (decision 8).
    tokens = decoder.tokenize([Special("<file_sep>"), Text(CODE * 8)])[:140]
    assert len(tokens) == 140
    whole = feed(decoder, tokens, 500)
    np.testing.assert_allclose(feed(decoder, tokens, n_chunk), whole, atol=1e-3)


def test_a_sequence_cut_back_goes_on_as_if_it_had_never_been_longer(decoder: LlamaDecoder) -> None:
    tokens = decoder.tokenize([Text(CODE)])
    fresh = feed(decoder, tokens, 100)
    feed(decoder, tokens[:10] + tokens[:20], 100)
    assert decoder.truncate(10) == 10
    decoder.feed(tokens[10:])
    np.testing.assert_allclose(decoder._logits(), fresh, atol=1e-3)


def test_the_log_probability_is_that_of_the_softmax(decoder: LlamaDecoder) -> None:
    logits = np.array(feed(decoder, decoder.tokenize([Text(CODE)]), 100))
    token, logprob = decoder.pick()
    expected = logits[token] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
    assert token == int(logits.argmax())
    assert math.isclose(logprob, expected, abs_tol=1e-3)
    shifted = np.asarray(logits + 200, dtype=np.float32)
    assert math.isclose(
        decoder._log_sum_exp(shifted, float(shifted.max())),
        decoder._log_sum_exp(shifted - np.float32(200), float(logits.max())) + 200,
        abs_tol=1e-2,
    )


@pytest.mark.parametrize("required", [b" ", b" to", b"to", b"(", b"\xc3"])
def test_a_required_beginning_is_kept(decoder: LlamaDecoder, required: bytes) -> None:
    feed(decoder, decoder.tokenize([Text(CODE + "            total +=")]), 100)
    piece = decoder.piece(decoder.pick(required)[0])
    assert piece.startswith(required) or required.startswith(piece)


def test_no_line_break_where_none_may_be(decoder: LlamaDecoder) -> None:
    feed(decoder, decoder.tokenize([Text(CODE + "            total += item")]), 100)
    free, fresh = decoder.pick()[0], decoder.pick(line_break=False)[0]
    assert decoder.piece(free).strip(b" \t").startswith(b"\n")
    assert not decoder.piece(fresh).strip(b" \t").startswith(b"\n")


def test_what_is_no_model_says_so(tmp_path: Path) -> None:
    whole = obtain(Config()).path.read_bytes()
    half = tmp_path / "half.gguf"
    half.write_bytes(whole[: len(whole) // 2])
    text = tmp_path / "text.gguf"
    text.write_text("not a model")
    for path, why in (
        (half, "incomplete"),
        (text, "not a GGUF"),
        (tmp_path / "none", "cannot read"),
    ):
        with pytest.raises(ModelLoadError, match=why):
            LlamaDecoder(path, "broken")
    with pytest.raises(ModelLoadError, match="cannot read"):
        LlamaDecoder(tmp_path, "a folder")
