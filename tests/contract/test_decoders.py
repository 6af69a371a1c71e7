"""What `engine.base.Decoder` promises, held against each decoder of `decoders.CASES`.

Invariant: only the protocol's own methods are used, so that any decoder can be added.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest
from decoder_cases import CASES, DecoderCase, parameters
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slm_lsp.engine.base import Decoder, PromptError
from slm_lsp.types import Special, Start, Text

CODE = "def f(self, x1):\n    for x1 in self:\n        return x1 == 'é'\n"
SPELLED = "</s><s><unk><|endoftext|> <PRE> ▁<PRE><fim_prefix><fim-suffix><|fim_middle|><start><end>"
# The fake decoder's control tokens are the last characters that there are.
TEXTS = st.text(st.characters(max_codepoint=0x10FFFC), max_size=40)
LAW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module", params=parameters())
def case(request: pytest.FixtureRequest) -> DecoderCase:
    found = request.param
    assert isinstance(found, DecoderCase)
    return found


@pytest.fixture(scope="module")
def loaded(
    case: DecoderCase, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DecoderCase, Decoder]]:
    decoder = case.load(tmp_path_factory.mktemp("models"))
    yield case, decoder
    decoder.close()


@pytest.fixture
def decoder(loaded: tuple[DecoderCase, Decoder]) -> Decoder:
    """As it is when it was made: every sequence empty, the first one chosen."""
    found = loaded[1]
    for sequence in range(found.n_sequences - 1, -1, -1):
        found.select(sequence)
        assert found.truncate(0) == 0
    found.use_batch_threads(found.n_batch_threads)
    return found


def tokens_of(decoder: Decoder, text: str = CODE, least: int = 0) -> list[int]:
    tokens = decoder.tokenize([Text(text)])
    while len(tokens) < least:
        text += text
        tokens = decoder.tokenize([Text(text)])
    return tokens[: least or None]


def spelled(decoder: Decoder, tokens: Sequence[int]) -> bytes:
    return b"".join(map(decoder.piece, tokens))


def fed(decoder: Decoder, tokens: Sequence[int], n_chunk: int = 256) -> tuple[int, float]:
    """The pick behind `tokens`, fed to a sequence that is cleared first."""
    decoder.truncate(0)
    for start in range(0, len(tokens), n_chunk):
        decoder.feed(tokens[start : start + n_chunk])
    return decoder.pick()


def same(found: tuple[int, float], expected: tuple[int, float]) -> bool:
    # A single token's logits are others than those of several (decision 8).
    return found[0] == expected[0] and math.isclose(found[1], expected[1], abs_tol=0.05)


# --- tokens ---


def test_a_prompt_is_never_empty(decoder: Decoder) -> None:
    for segments in ([], [Text("")]):
        assert len(decoder.tokenize(segments)) == 1
    # The start token of the model, and nothing that would be text.
    assert not spelled(decoder, decoder.tokenize([]))


def test_a_special_is_one_token_and_no_text(decoder: Decoder) -> None:
    assert decoder.info.specials
    plain = decoder.tokenize([Text("x")])
    for name in decoder.info.specials:
        token = decoder.special(name)
        assert token is not None
        assert not decoder.piece(token)
        found = decoder.tokenize([Text("x"), Special(name)])
        assert found == [*plain, token]
    assert decoder.special("<nosuch>") is None
    with pytest.raises(PromptError, match="<nosuch>"):
        decoder.tokenize([Special("<nosuch>")])


def check_text(case: DecoderCase, decoder: Decoder, parts: list[str]) -> None:
    """`parts` are given as texts of one prompt: they come back, with no control token."""
    controls = {decoder.special(name) for name in decoder.info.specials}
    start = set(decoder.tokenize([]))
    tokens = decoder.tokenize([Text(part) for part in parts])
    if set(tokens[:1]) <= start:
        tokens = tokens[1:]
    assert controls.isdisjoint(tokens)
    assert not any(map(decoder.is_end, tokens))
    text = "".join(parts).encode("utf-8", "replace").decode()
    if case.spaces and text:
        text = " " + text
    if case.blanks:
        text = text.replace("▁", " ")
    assert spelled(decoder, tokens).decode() == text


@pytest.mark.parametrize("around", ["", "x", " "])
def test_a_text_that_spells_a_sentinel_is_text(
    loaded: tuple[DecoderCase, Decoder], around: str
) -> None:
    case, decoder = loaded
    every = "".join(sorted(decoder.info.specials))
    for text in (SPELLED, every, every.replace("▁", " "), every * 2):
        check_text(case, decoder, [around + text + around])
        check_text(case, decoder, [text[:3], text[3:]])


@LAW
@given(parts=st.lists(TEXTS | st.sampled_from([SPELLED, CODE, "\0", "\ud800", "▁"]), max_size=4))
def test_a_text_comes_back(loaded: tuple[DecoderCase, Decoder], parts: list[str]) -> None:
    check_text(*loaded, parts)


def test_a_long_text_of_one_kind_is_taken(loaded: tuple[DecoderCase, Decoder]) -> None:
    for sign in " a=\n9":
        check_text(*loaded, [sign * 20_000])


def test_the_end_is_an_end(decoder: Decoder) -> None:
    ends = {name for name in decoder.info.specials if decoder.is_end(decoder.special(name) or 0)}
    assert ends & {"</s>", "<|endoftext|>", "<end>"}
    assert not any(decoder.is_end(token) for token in tokens_of(decoder)[1:])


# --- sequences ---


def test_what_is_picked_does_not_depend_on_the_steps(decoder: Decoder) -> None:
    tokens = tokens_of(decoder, least=70)
    whole = fed(decoder, tokens)
    for n_chunk in (2, 7, 33, 64):
        assert same(fed(decoder, tokens, n_chunk), whole)
    assert same(fed(decoder, tokens, 1), whole)


def test_what_is_picked_depends_on_what_was_fed(decoder: Decoder) -> None:
    """Or the tests here would hold for a decoder that looks at nothing."""
    tokens = tokens_of(decoder, least=40)
    found = {fed(decoder, tokens[at:]) for at in range(8)}
    assert len(found) > 4


def test_a_sequence_cut_back_goes_on_as_if_it_had_never_been_longer(decoder: Decoder) -> None:
    tokens = tokens_of(decoder, least=60)
    expected = fed(decoder, tokens)
    fed(decoder, [*tokens[:30], *reversed(tokens)])
    n_kept = decoder.truncate(30)
    assert n_kept == (30 if decoder.cuts else 0)
    decoder.feed(tokens[n_kept:])
    assert same(decoder.pick(), expected)
    assert decoder.truncate(200) == 60  # no more than there is
    assert decoder.truncate(0) == 0


def test_every_token_of_a_step_can_be_picked_behind(decoder: Decoder) -> None:
    tokens = tokens_of(decoder, least=40)
    expected = {end: fed(decoder, tokens[:end]) for end in range(36, 41)}
    fed(decoder, tokens[:30])
    decoder.feed(tokens[30:], n_picks=5)
    for end, pick in expected.items():
        assert same(decoder.pick(at=end - 41), pick)
    # A rejected draft is cut off; what is picked behind the rest is as before.
    if decoder.cuts:
        assert decoder.truncate(37) == 37
        assert same(decoder.pick(at=-4), expected[37])
        decoder.feed(tokens[37:])
        assert same(decoder.pick(), expected[40])


def test_a_sequence_holds_a_whole_context(decoder: Decoder) -> None:
    n_ctx = decoder.info.n_ctx
    assert decoder.n_cells >= n_ctx
    tokens = tokens_of(decoder, least=n_ctx)
    expected = fed(decoder, tokens, 64)
    if decoder.cuts:
        decoder.truncate(n_ctx - 1)
        decoder.feed(tokens[-1:])
        assert same(decoder.pick(), expected)


def test_sequences_do_not_see_each_other(decoder: Decoder) -> None:
    tokens = tokens_of(decoder, least=40)
    expected = fed(decoder, tokens)
    other = fed(decoder, tokens[::-1])
    fed(decoder, tokens[:20])
    for sequence in range(1, decoder.n_sequences):
        decoder.select(sequence)
        assert same(fed(decoder, tokens[::-1]), other)
    decoder.select(0)
    decoder.feed(tokens[20:])
    assert same(decoder.pick(), expected)


def test_a_copy_goes_on_by_itself(decoder: Decoder) -> None:
    if decoder.n_sequences < 2:
        pytest.skip("one sequence only")
    tokens = tokens_of(decoder, least=40)
    expected = fed(decoder, tokens)
    fed(decoder, tokens[:30])
    decoder.select(1)
    decoder.feed(tokens[:5])
    n_copied = decoder.copy(0, 20)
    assert n_copied == (20 if decoder.cuts else 0)
    decoder.feed(tokens[n_copied:])
    assert same(decoder.pick(), expected)
    decoder.select(0)
    decoder.feed(tokens[30:])
    assert same(decoder.pick(), expected)


def test_what_was_saved_is_restored_or_nothing_is_saved(decoder: Decoder) -> None:
    tokens = tokens_of(decoder, least=40)
    expected = fed(decoder, tokens)
    fed(decoder, tokens[:30])
    state = decoder.save_sequence(1 << 24)
    if not decoder.kv_identity:
        assert state is None
        decoder.truncate(0)
        assert not decoder.restore_sequence(bytearray(8), tokens[:30])
        return
    assert state is not None
    assert decoder.save_sequence(len(state) - 1) is None
    decoder.truncate(0)
    assert decoder.restore_sequence(state, tokens[:30])
    decoder.feed(tokens[30:])
    assert same(decoder.pick(), expected)


def test_threads_change_the_time_only(decoder: Decoder) -> None:
    tokens = tokens_of(decoder, least=40)
    expected = fed(decoder, tokens)
    decoder.use_batch_threads(1)
    assert same(fed(decoder, tokens), expected)


# --- picks ---


@pytest.mark.parametrize("required", [b"", b" ", b"r", b" ret", b"retu", b"(", b"==", b"\xc3"])
@pytest.mark.parametrize("start", list(Start))
def test_what_is_picked_is_allowed(
    case: DecoderCase, decoder: Decoder, required: bytes, start: Start
) -> None:
    if required == b"\xc3" and not case.library:
        required = "é".encode()  # a character is a token there
    fed(decoder, tokens_of(decoder, least=30))
    # Far down the list is what the model would never write by itself.
    for rank in (0, 1, 7, *range(decoder.info.n_vocab - 12, decoder.info.n_vocab)):
        token, logprob = decoder.pick(required, start, rank=max(0, rank))
        assert logprob <= 0
        if logprob == -math.inf:
            continue
        assert decoder.allows(token, required, start)
        piece = decoder.piece(token)
        assert piece.startswith(required) or required.startswith(piece)
        shown = piece[len(required) :].lstrip(b" \t")
        if start > Start.ANY:
            assert not shown.startswith((b"\n", b"\r"))
        if start is Start.TEXT:
            assert piece
            assert not decoder.is_end(token)


def test_an_end_or_a_line_break_is_allowed_where_nothing_forbids_it(decoder: Decoder) -> None:
    end = next(
        token
        for token in map(decoder.special, sorted(decoder.info.specials))
        if token is not None and decoder.is_end(token)
    )
    newline = decoder.tokenize([Text("x\n")])[-1]
    assert decoder.piece(newline) == b"\n"
    for token, allowed in ((end, Start.NO_BREAK), (newline, Start.ANY)):
        for start in Start:
            assert decoder.allows(token, b"", start) == (start <= allowed)
        assert not decoder.allows(token, b"r", Start.ANY)


def test_required_text_is_written_in_the_end(decoder: Decoder) -> None:
    for required in (b"return x1", b"  (self)", "é1".encode(), b"\t\t{"):
        decoder.truncate(0)
        decoder.feed(tokens_of(decoder, least=20))
        left, written = required, b""
        while left:
            token = decoder.pick(left)[0]
            written += decoder.piece(token)
            left = left[len(decoder.piece(token)) :]
            decoder.feed([token])
        assert written.startswith(required)


def test_ranks_are_places_in_one_order(decoder: Decoder) -> None:
    fed(decoder, tokens_of(decoder, least=30))
    picks = [decoder.pick(rank=rank) for rank in range(5)]
    assert picks[0] == decoder.pick()
    assert len({token for token, _ in picks}) == 5
    logprobs = [logprob for _, logprob in picks]
    assert logprobs == sorted(logprobs, reverse=True)
    assert decoder.pick(b"{", rank=10_000 if not decoder.info.n_vocab else 200)[1] == -math.inf


@pytest.mark.parametrize("required", [b"ret", b"retu", b" ret", b"=", b"x"])
def test_behind_the_first_come_those_that_begin_with_all_that_is_required(
    decoder: Decoder, required: bytes
) -> None:
    if not decoder.info.n_vocab:
        pytest.skip("it cannot be asked for all of its tokens")
    vocabulary = range(decoder.info.n_vocab)
    allowed = {each for each in vocabulary if decoder.allows(each, required, Start.ANY)}
    longer = {each for each in allowed if decoder.piece(each).startswith(required)}
    for n_tokens in range(8, 24, 2):
        fed(decoder, tokens_of(decoder, least=n_tokens))
        picks = [decoder.pick(required, rank=rank) for rank in range(len(longer) + 1)]
        tokens = [token for token, logprob in picks if logprob > -math.inf]
        assert tokens[0] in allowed
        assert set(tokens[1:]) == longer - {tokens[0]}
        assert len(tokens) == len(set(tokens))


def test_what_narrows_allows_no_more(decoder: Decoder) -> None:
    texts = [b"", b" ", b"r", b"re", b"ret", b"retu", b" r", b" re", b"=", b"==", b"\xc3"]
    tokens = {*tokens_of(decoder), *decoder.tokenize([Text("return ret re r = == ( self")])}
    for before in texts:
        for required in texts:
            if decoder.narrows(before, required):
                for token in tokens:
                    allowed = decoder.allows(token, required, Start.ANY)
                    assert not allowed or decoder.allows(token, before, Start.ANY)
    assert decoder.narrows(b"", b"re")
    assert not decoder.narrows(b"re", b"r")


def test_what_it_says_of_itself(loaded: tuple[DecoderCase, Decoder]) -> None:
    case, decoder = loaded
    assert decoder.info.n_ctx <= decoder.n_cells
    assert decoder.n_sequences >= 1
    assert decoder.n_batch_threads >= 1
    assert decoder.info.specials
    if case.library:
        assert decoder.info.metadata["general.architecture"]


def test_both_libraries_are_here() -> None:
    """Each case's library is tried wherever the cases are: none is skipped for want of it."""
    assert {case.library for case in CASES} == {"", "llama.cpp", "ctransformers"}
