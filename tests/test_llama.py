"""LlamaDecoder with the real default model: what the Scheduler relies on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slm_lsp.config import Config
from slm_lsp.deadline import SYSTEM_CLOCK, CancelToken, Deadline
from slm_lsp.engine.base import EngineStats, ModelLoadError
from slm_lsp.engine.draft import Odds
from slm_lsp.engine.keeping import keep
from slm_lsp.engine.kv import KvCache
from slm_lsp.engine.kv_file import KvFiles
from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.engine.rates import Rates
from slm_lsp.engine.run import Run
from slm_lsp.types import Generation, GenerationRequest, Prompt, Special, Start, StopRule, Text
from slm_lsp.wiring import obtain

pytestmark = pytest.mark.model

CODE = (
    "def total_of(items, limit):\n    total = 0\n    for item in items:\n        if item < limit:\n"
)
# With its opening bracket.
SILENT = "def build(provider, model_id):\n    response = self.session.request"


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


def test_every_token_of_a_step_can_be_picked_behind(decoder: LlamaDecoder) -> None:
    tokens = decoder.tokenize([Text(CODE)])
    assert len(tokens) > 16
    # Steps of two tokens and more, as those of a single one differ (decision 8).
    expected = {}
    for end in (12, 13, 14, 16):
        feed(decoder, tokens[:8], 100)
        decoder.feed(tokens[8:end])
        expected[end] = np.array(decoder._logits()), decoder.pick()
    feed(decoder, tokens[:8], 100)
    decoder.feed(tokens[8:16], n_picks=5)
    for end, (logits, pick) in expected.items():
        np.testing.assert_allclose(decoder._logits(end - 17), logits, atol=1e-3)
        assert decoder.pick(at=end - 17)[0] == pick[0]
    # What was cut off leaves the picks behind what is kept as they are.
    assert decoder.truncate(13) == 13
    assert decoder.pick(at=-4)[0] == expected[13][1][0]
    decoder.feed(tokens[13:16])
    np.testing.assert_allclose(decoder._logits(), expected[16][0], atol=1e-3)


def test_sequences_do_not_see_each_other(decoder: LlamaDecoder) -> None:
    assert decoder.n_cells == decoder.n_sequences * decoder.info.n_ctx
    tokens = decoder.tokenize([Text(CODE)])
    fresh = feed(decoder, tokens, 100)
    decoder.truncate(0)
    decoder.feed(tokens[:20])
    for other in range(1, decoder.n_sequences):
        decoder.select(other)
        decoder.feed(tokens[::-1])
    decoder.select(1)
    assert decoder.truncate(5) == 5
    decoder.select(0)
    decoder.feed(tokens[20:])
    np.testing.assert_allclose(decoder._logits(), fresh, atol=1e-3)
    decoder.select(1)
    decoder.feed(tokens[::-1][5:])
    one = np.array(decoder._logits())
    for other in range(1, decoder.n_sequences):
        decoder.select(other)
        assert decoder.truncate(0) == 0
    decoder.select(0)
    np.testing.assert_allclose(one, feed(decoder, tokens[::-1], 100), atol=1e-3)


@pytest.fixture
def unified() -> Iterator[LlamaDecoder]:
    model = obtain(Config())
    decoder = LlamaDecoder(model.path, model.name, n_ctx=512, n_sequences=4, unified=True)
    yield decoder
    decoder.close()


def test_shared_cells_can_all_be_filled(unified: LlamaDecoder) -> None:
    tokens = [unified.tokenize([Text("x")])[0]] * 128
    assert (unified.n_cells, unified.info.n_ctx) == (512, 512)
    for _ in range(2):
        for sequence in range(4):
            unified.select(sequence)
            unified.truncate(0)
            unified.feed(tokens)
    # Holes here and there are as good as room at the end.
    for sequence in range(1, 4):
        unified.select(sequence)
        assert unified.truncate(96) == 96
    unified.select(0)
    unified.feed(tokens[:96])
    with pytest.raises(RuntimeError, match="code 1"):
        unified.feed(tokens[:1])


def test_shared_cells_hold_what_only_their_own_sequence_sees(unified: LlamaDecoder) -> None:
    tokens, found = unified.tokenize([Text(CODE)]), []
    for other in (5, 900):
        for sequence in range(2):
            unified.select(sequence)
            unified.truncate(0)
        unified.select(0)
        unified.feed(tokens[:20])
        unified.select(1)
        unified.feed([other] * 40)
        unified.select(0)
        unified.feed(tokens[20:])
        found.append(np.array(unified._logits()))
    np.testing.assert_array_equal(found[0], found[1])


def test_resuming_writes_what_decoding_anew_does(decoder: LlamaDecoder) -> None:
    def ask(kv: KvCache, text: str, max_tokens: int, heal: str = "") -> Generation:
        prompt = Prompt((Text(text),), max_tokens=max_tokens, heal=heal)
        request = GenerationRequest("s", prompt, Deadline.after(60_000.0), CancelToken())
        return Run(kv, request, SYSTEM_CLOCK).finish()

    kv, stats = KvCache(decoder, SYSTEM_CLOCK, EngineStats()), EngineStats()
    whole = ask(KvCache(decoder, SYSTEM_CLOCK, stats), CODE, 24)
    assert stats.n_decode_steps == 23
    ask(kv, CODE, 8)
    resumed = ask(kv, CODE, 24)
    assert (resumed.text, resumed.n_resumed) == (whole.text, 8)
    word = whole.text.lstrip()[:3]
    healed = ask(kv, CODE, 24, heal=whole.text[: whole.text.index(word) + 2])
    assert healed.text == whole.text[whole.text.index(word) + 2 :]
    assert healed.n_resumed == 24


def test_a_sequence_that_was_kept_goes_on_in_another_decoder(
    decoder: LlamaDecoder, tmp_path: Path
) -> None:
    def ask(kv: KvCache, text: str, max_tokens: int) -> Generation:
        prompt = Prompt((Text(text),), max_tokens=max_tokens)
        deadline = Deadline.after(600_000.0)
        request = GenerationRequest("s", prompt, deadline, CancelToken(), document="file:///a.py")
        return Run(kv, request, SYSTEM_CLOCK).finish()

    def cache(decoder: LlamaDecoder) -> KvCache:
        kv = KvCache(decoder, SYSTEM_CLOCK, EngineStats())
        kv.files = KvFiles(tmp_path, decoder.kv_identity, decoder.info.n_ctx)
        return kv

    before = cache(decoder)
    ask(before, CODE * 4, 8)
    keep(before, SYSTEM_CLOCK)
    # The same with another context, whose cells the file does not fit.
    model = obtain(Config())
    other = LlamaDecoder(model.path, model.name, n_ctx=512)
    assert other.kv_identity != decoder.kv_identity
    assert not KvFiles(tmp_path, other.kv_identity, 512).kept
    other.close()
    again = LlamaDecoder(model.path, model.name, n_ctx=1024)
    again.select(3)
    after = cache(again)
    text = CODE * 4 + "            total"
    resumed = ask(after, text, 24)
    assert after.stats.n_restored_tokens > 100
    assert resumed.n_cached == resumed.n_prompt - after.stats.n_prefill_tokens > 100
    assert resumed == replace(
        ask(before, text, 24), ttft_ms=resumed.ttft_ms, total_ms=resumed.total_ms
    )
    np.testing.assert_array_equal(again._logits(), decoder._logits())
    again.close()


def test_a_state_that_does_not_fit_is_not_taken(decoder: LlamaDecoder) -> None:
    tokens = decoder.tokenize([Text(CODE)])
    feed(decoder, tokens, 100)
    state = decoder.save_sequence(1 << 30)
    assert state is not None
    assert decoder.save_sequence(len(state) - 1) is None
    # As it goes on from there: a single token's logits are others than those of several.
    decoder.truncate(len(tokens) - 1)
    decoder.feed(tokens[-1:])
    expected = decoder._logits().copy()
    for wrong in (state[: len(state) // 2], state[:8], bytearray(len(state)), state + state):
        decoder.truncate(0)
        assert not decoder.restore_sequence(wrong, tokens)
        assert decoder.truncate(0) == 0
    assert not decoder.restore_sequence(state, tokens[:-1])
    assert decoder.restore_sequence(state, tokens)
    assert decoder.truncate(len(tokens) - 1) == len(tokens) - 1
    decoder.feed(tokens[-1:])
    np.testing.assert_allclose(decoder._logits(), expected, atol=1e-3)


class Eager(Odds):
    """Drafts whatever is of use, right or wrong."""

    def length(self, n_match: int, n_max: int, rates: Rates, within_ms: float) -> int:
        return n_max


def test_drafts_write_what_single_steps_do(decoder: LlamaDecoder) -> None:
    """Where the model is sure: close calls may go either way, as a single token's logits differ."""
    function = CODE + "            total += item\n    return total\n\n\n"
    prompt = Prompt((Text(function * 2 + CODE[:40]),), max_tokens=22)
    found = []
    for odds in (None, Eager()):
        stats = EngineStats()
        kv = KvCache(decoder, SYSTEM_CLOCK, stats, odds=odds)
        kv.cut(0)
        request = GenerationRequest("s", prompt, Deadline.after(60_000.0), CancelToken())
        generation = Run(kv, request, SYSTEM_CLOCK).finish()
        assert len(kv.tokens) == decoder._n_past
        found.append((generation.text, generation.finish, generation.n_predicted))
        if odds is None:
            assert (stats.n_decode_steps, stats.n_drafted_tokens) == (21, 0)
        else:
            assert 12 < stats.n_accepted_tokens <= stats.n_drafted_tokens
            assert stats.n_decode_steps + stats.n_accepted_tokens == 21
    assert found[0] == found[1]


def test_what_is_allowed_is_what_may_be_picked(decoder: LlamaDecoder) -> None:
    feed(decoder, decoder.tokenize([Text(CODE)]), 100)
    for required in (b"", b" ", b" to", b"to", b"\xc3"):
        for start in Start:
            token = decoder.pick(required, start)[0]
            assert decoder.allows(token, required, start)
    newline = decoder.tokenize([Text("\n")])[-1]
    assert decoder.allows(newline, b"", Start.ANY)
    assert not decoder.allows(newline, b"", Start.NO_BREAK)
    assert not decoder.allows(newline, b"t", Start.ANY)


def test_the_log_probability_is_that_of_the_softmax(decoder: LlamaDecoder) -> None:
    logits = np.array(feed(decoder, decoder.tokenize([Text(CODE)]), 100))
    token, logprob = decoder.pick()
    expected = logits[token] - np.log(np.exp(logits - logits.max()).sum()) - logits.max()
    assert token == int(logits.argmax())
    assert math.isclose(logprob, expected, abs_tol=1e-3)
    shifted = np.asarray(logits + 200, dtype=np.float32)
    assert math.isclose(
        decoder.picker.log_sum_exp(shifted, float(shifted.max())),
        decoder.picker.log_sum_exp(shifted - np.float32(200), float(logits.max())) + 200,
        abs_tol=1e-2,
    )


@pytest.mark.parametrize("required", [b" ", b" to", b"to", b"(", b"\xc3"])
def test_a_required_beginning_is_kept(decoder: LlamaDecoder, required: bytes) -> None:
    feed(decoder, decoder.tokenize([Text(CODE + "            total +=")]), 100)
    piece = decoder.piece(decoder.pick(required)[0])
    assert piece.startswith(required) or required.startswith(piece)


def test_no_line_break_where_none_may_be(decoder: LlamaDecoder) -> None:
    feed(decoder, decoder.tokenize([Text(CODE + "            total += item")]), 100)
    free, fresh = decoder.pick()[0], decoder.pick(start=Start.NO_BREAK)[0]
    assert decoder.piece(free).strip(b" \t").startswith(b"\n")
    assert not decoder.piece(fresh).strip(b" \t").startswith(b"\n")


@pytest.mark.parametrize("required", [b"", b"("])
def test_what_may_not_begin_a_text_is_never_picked(decoder: LlamaDecoder, required: bytes) -> None:
    barred = decoder.vocabulary.barred(required, Start.TEXT)
    assert decoder.vocabulary.ends <= barred
    closing = decoder.tokenize([Text(required.decode() + ")")])[0]
    assert decoder.allows(closing, required, Start.TEXT)
    assert not decoder.allows(min(decoder.vocabulary.ends), b"", Start.TEXT)
    feed(decoder, decoder.tokenize([Text(CODE + "            total += len")]), 100)
    for rank in range(20):
        assert decoder.pick(required, Start.TEXT, rank=rank)[0] not in barred


def test_a_place_that_was_silent_gets_text(decoder: LlamaDecoder) -> None:
    """Behind a bracket the model would begin a line, which is no part of a single one."""
    kv = KvCache(decoder, SYSTEM_CLOCK, EngineStats())

    def ask(start: Start) -> tuple[Generation, int]:
        segments, n_steps = (Text(SILENT),), kv.stats.n_decode_steps
        prompt = Prompt(segments, StopRule(("\n",)), max_tokens=16, heal="(", start=start)
        request = GenerationRequest("s", prompt, Deadline.after(60_000.0), CancelToken())
        generation = Run(kv, request, SYSTEM_CLOCK).finish()
        return generation, kv.stats.n_decode_steps - n_steps

    assert not ask(Start.ANY)[0].text.strip()
    written, n_steps = ask(Start.TEXT)
    assert written.text.strip(" )")
    assert n_steps < written.n_predicted


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


def test_a_rank_is_a_place_in_the_models_list(decoder: LlamaDecoder) -> None:
    feed(decoder, decoder.tokenize([Text(CODE)]), 100)
    logits = np.array(decoder._logits())
    order = np.argsort(-logits)
    for rank in range(4):
        assert decoder.pick(rank=rank)[0] == order[rank]
    logprobs = [decoder.pick(rank=rank)[1] for rank in range(4)]
    assert logprobs == sorted(logprobs, reverse=True)
    assert decoder.pick()[1] == logprobs[0]
    # Among those that are allowed, without the parts of what is required.
    breaks = decoder.vocabulary.barred(b"", Start.NO_BREAK)
    kept = [token for token in order if token not in breaks]
    assert decoder.pick(start=Start.NO_BREAK, rank=2)[0] == kept[2]
    words = [token for token in order if decoder.piece(token).startswith(b" tot")]
    first = decoder.pick(b" tot")[0]
    others = [token for token in words if token != first]
    assert [decoder.pick(b" tot", rank=rank)[0] for rank in (1, 2)] == others[:2]
    # There are not so many.
    n_allowed = len(decoder.vocabulary.candidates(b" total"))
    assert decoder.pick(b" total", rank=n_allowed)[1] == -math.inf


def test_a_branch_leaves_what_was_asked_as_it_was(decoder: LlamaDecoder) -> None:
    def ask(kv: KvCache, branch: int = 0, branch_at: int = 0) -> Generation:
        deadline, prompt = Deadline.after(60_000.0), Prompt((Text(CODE),), max_tokens=12)
        request = GenerationRequest(
            "s", prompt, deadline, CancelToken(), branch=branch, branch_at=branch_at
        )
        return Run(kv, request, SYSTEM_CLOCK).finish()

    decoder.truncate(0)
    kv = KvCache(decoder, SYSTEM_CLOCK, EngineStats())
    first = ask(kv)
    other = ask(kv, 1, 3)
    assert other.text != first.text
    assert other.logprobs[:3] == pytest.approx(first.logprobs[:3], abs=0.2)
    assert other.n_resumed == 3
    assert ask(kv).text == first.text
    assert len(first.ends) == len(first.logprobs)
    assert first.ends[-1] >= len(first.text)


def test_a_word_is_begun_as_the_tokenizer_would(decoder: LlamaDecoder) -> None:
    """Behind "<" a lone space is likely, as a number may follow; a word does not follow it."""
    text = "def near(distance, threshold):\n    if distance <"
    feed(decoder, decoder.tokenize([Text(text)]), 100)
    token, _ = decoder.pick(b" t")
    assert decoder.piece(token) == b" threshold"
