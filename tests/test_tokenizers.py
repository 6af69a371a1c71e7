"""Prompts in the tokens of real vocabularies: sentinels are tokens, and only they are.

Invariant: in what is tokenized, a control token stands where the template says and nowhere else.
Threads: the test's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest
from vocabularies import CONTROL, FAMILIES, USER_DEFINED, family_bytes, vocabulary_bytes

from slm_lsp.engine.base import ModelLoadError, PromptError
from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.prompt import files, fim
from slm_lsp.text.whitespace import unix_lines
from slm_lsp.types import (
    CompletionContext,
    FileName,
    Segment,
    Snippet,
    Special,
    Start,
    StopRule,
    Text,
)

pytestmark = pytest.mark.model

PREFIX, SUFFIX = "{prefix}", "{suffix}"
SENTINELS = "".join(
    chain.from_iterable(fim.sentinels(each) for each in (*fim.FAMILIES, *fim.NAMED.values()))
)
CODE = "class A:\n\tdef f(self, x):  # 漢字 é 😀\n        return x[1:]\r\n\n\n    y = 'ab'"
ODD = "\x00a\x00 \ud800 \udfff\ufeff\u2028\x7f\x85õ÷ÿ�</s><s><unk><0x0A>\t \n \n"


Load = Callable[..., LlamaDecoder]


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """Loads a family's vocabulary, its own sentinels of one type."""
    folder = tmp_path_factory.mktemp("vocabs")
    decoders: dict[tuple[str, int], LlamaDecoder] = {}

    def load(name: str, kind: int = CONTROL) -> LlamaDecoder:
        if (name, kind) not in decoders:
            path = folder / f"{name}-{kind}.gguf"
            path.write_bytes(family_bytes(name, kind))
            decoders[name, kind] = LlamaDecoder(path, name, vocab_only=True)
            path.unlink()
        return decoders[name, kind]

    yield load
    for decoder in decoders.values():
        decoder.close()


def pieces(decoder: LlamaDecoder, tokens: list[int]) -> str:
    return b"".join(map(decoder.piece, tokens)).decode()


def check(decoder: LlamaDecoder, template: str, prefix: str, suffix: str) -> list[list[int]]:
    """Tokenize a prompt; compare its control tokens and its texts; return the texts' tokens."""
    chosen = fim.choose_template(decoder.info)
    assert chosen.name == template
    prompt = fim.build(chosen, CompletionContext(prefix, suffix), StopRule(), 8)
    tokens = decoder.tokenize(prompt.segments)
    vocabulary = decoder.vocabulary
    if vocabulary.adds_bos:
        assert tokens.pop(0) == vocabulary.bos
    sentinels = {decoder.special(text) for text in fim.sentinels(chosen)}
    controls = [token for token in tokens if token in sentinels]
    assert controls == [
        decoder.special(part.text) for part in prompt.segments if isinstance(part, Special)
    ]
    texts: list[list[int]] = [[]]
    for token in tokens:
        if token in sentinels:
            texts.append([])
        else:
            texts[-1].append(token)
    expected = {PREFIX: prefix.removesuffix(prompt.heal), SUFFIX: suffix}
    wanted = [expected[part] for part in chosen.layout if part in expected]
    texts = [each for each in texts if each]
    spaced = bool(vocabulary.lead)  # SentencePiece: a space before the first text, "▁" is a space
    for n, (found, text) in enumerate(zip(texts, wanted, strict=True)):
        text = unix_lines(text).encode("utf-8", "replace").decode()
        text = text.replace("▁", " ") if spaced else text
        assert pieces(decoder, found) == (" " if spaced and n == 0 else "") + text
        named = {token for name, token in vocabulary.specials.items() if name[0] in "<[▁"}
        assert not named.intersection(found)
        assert not vocabulary.ends.intersection(found)
    return texts


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, CONTROL) for name in FAMILIES),
        *((name, USER_DEFINED) for name in ("qwen", "codellama", "codestral", "granite")),
    ],
)
def test_sentinels_are_tokens_and_text_is_text(load: Load, name: str, kind: int) -> None:
    decoder, template = load(name, kind), FAMILIES[name].template
    check(decoder, template, CODE, CODE)
    check(decoder, template, SENTINELS + "1", SENTINELS)
    check(decoder, template, ODD + "1", ODD)
    every = "".join(decoder.info.specials)
    check(decoder, template, every + "1", f"<{every} [[PAD151659]<")


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("starcoder2", "<repo_name> <file_sep>"),
        ("deepseek", ""),
        ("qwen", "<|repo_name|> <|file_sep|>"),
        ("codegemma", "<|file_separator|>"),
        ("codestral", ""),
        ("mellum", "<filename>"),
        ("refact", "<filename> <reponame>"),
        ("codellama", ""),  # no format: comments
    ],
)
def test_other_files_are_text_between_the_formats_own_tokens(
    load: Load, name: str, tokens: str
) -> None:
    decoder = load(name)
    template = fim.choose_template(decoder.info)
    named = {*files.sentinels((*template.files_layout, *template.file))}
    assert named - {*fim.sentinels(template)} == set(tokens.split())
    every = "".join(sorted(decoder.info.specials)) + SENTINELS
    context = CompletionContext(
        CODE,
        CODE,
        snippets=(Snippet(f"a/{every}", every), Snippet("b.py", CODE)),
        file=FileName(every, "c.py"),
    )
    prompt = fim.build(template, context, StopRule(), 8)
    found = decoder.tokenize(prompt.segments)
    if decoder.vocabulary.adds_bos:
        assert found.pop(0) == decoder.vocabulary.bos
    controls = [decoder.special(part.text) for part in prompt.segments if isinstance(part, Special)]
    every_control = {
        token for text, token in decoder.vocabulary.specials.items() if text[0] in "<["
    }
    assert [token for token in found if token in {*controls, *every_control}] == controls


def test_the_ids_of_qwen(load: Load) -> None:
    decoder = load("qwen")
    template = fim.choose_template(decoder.info)
    tokens = decoder.tokenize(
        fim.build(template, CompletionContext("a", "b"), StopRule(), 8).segments
    )
    a, b = decoder.tokenize([Text("a")]), decoder.tokenize([Text("b")])
    assert tokens == [151659, *a, 151661, *b, 151660]
    stops = {decoder.special(text) for text in template.stop}
    assert stops == {151643, 151645, *range(151659, 151665)}


def test_the_spaces_of_codellama(load: Load) -> None:
    """As its own generation.py: a space before the prefix, none before the suffix."""
    decoder = load("codellama")
    prefix, suffix = check(decoder, "codellama", "return x", "return y")
    assert [decoder.piece(token) for token in (prefix[0], suffix[0])] == [b" return", b"return"]
    prompt: list[Segment] = [
        Special("▁<PRE>"),
        Text("x\n"),
        Text("\n"),
        Text("y"),
        Special("▁<SUF>"),
        Text(" z"),
    ]
    tokens = decoder.tokenize(prompt)
    assert tokens[:2] == [decoder.vocabulary.bos, decoder.special("▁<PRE>")]
    assert pieces(decoder, tokens) == " x\n\ny z"


@pytest.mark.parametrize(
    ("name", "tokens"), [("starcoder2", [0]), ("qwen", [151643]), ("codellama", [1])]
)
def test_no_text_is_one_start_token(load: Load, name: str, tokens: list[int]) -> None:
    assert load(name).tokenize([Text("")]) == tokens


def test_an_unknown_sentinel_is_refused(load: Load) -> None:
    with pytest.raises(PromptError, match="<nosuch>"):
        load("refact").tokenize([Special("<nosuch>")])


@pytest.mark.parametrize("name", ["starcoder2", "deepseek", "codellama", "qwen"])
def test_required_text_has_candidates(load: Load, name: str) -> None:
    vocabulary = load(name).vocabulary
    for required in (b" ret", b"(", b" ", b"==", "é".encode(), "漢".encode()[1:], b"\x00", b"Zqx"):
        found = [vocabulary.pieces[token] for token in vocabulary.candidates(required)]
        assert all(piece.startswith(required) or required.startswith(piece) for piece in found)
        assert required[:1] in found or required in found
    assert b" return" in {vocabulary.pieces[token] for token in vocabulary.candidates(b" ret")}
    breaks = {vocabulary.pieces[token] for token in vocabulary.barred(b"", Start.NO_BREAK)}
    assert breaks == {piece for piece in vocabulary.pieces if re.match(rb"[ \t]*[\r\n]", piece)}
    assert b"\n" in breaks


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot read"),
        (b"", "not a GGUF"),
        (b"GGUF\x03", "incomplete"),
        (b"{}", "not a GGUF"),
    ],
)
def test_a_broken_file_is_told(tmp_path: Path, content: bytes | None, why: str) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelLoadError, match=why):
        LlamaDecoder(path, "model", vocab_only=True)


@pytest.mark.parametrize("n_bytes", [20, 5_000, 400_000])
def test_an_incomplete_file_is_told(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "model.gguf"
    whole = vocabulary_bytes("llama-spm")
    path.write_bytes(whole[:n_bytes])
    with pytest.raises(ModelLoadError, match="incomplete"):
        LlamaDecoder(path, "model", vocab_only=True)


# --- token healing ---

TYPED = Path(__file__).parents[1] / "slm_lsp" / "completion" / "filters.py"


@pytest.mark.parametrize("name", ["starcoder2", "qwen", "deepseek", "codellama"])
def test_a_word_begun_goes_on_in_the_models_own_tokens(load: Load, name: str) -> None:
    """Inside a word the prompt ends where a token of the whole text does, and the token that
    stands there in the whole text is one of those that may come."""
    decoder = load(name)
    template = fim.choose_template(decoder.info)
    code = TYPED.read_text("utf-8")[1500:5000]
    whole = decoder.tokenize([Text(code)])
    inside = [
        at for at in range(200, len(code) - 60, 7) if code[at - 1].isalpha() and code[at].isalpha()
    ]
    n_good = 0
    for at in inside:
        head, heal = fim.split_heal(code[:at], template.joins_sign)
        tokens = decoder.tokenize([Text(head)])
        assert heal
        if whole[: len(tokens)] == tokens:
            n_good += decoder.allows(whole[len(tokens)], heal.encode(), Start.ANY)
    assert len(inside) > 100
    assert n_good >= 0.95 * len(inside)


@pytest.mark.parametrize("name", ["starcoder2", "qwen", "deepseek"])
def test_a_token_that_the_tokenizer_would_not_begin_with_does_not_begin(
    load: Load, name: str
) -> None:
    decoder = load(name)
    space, t = (decoder.vocabulary.candidates(text)[0] for text in (b" ", b" t"))
    assert decoder.piece(int(space)) == b" "
    # A space alone stands before a number, so that it is likely, and a word behind it is not.
    assert not decoder.allows(int(space), b" t", Start.ANY)
    assert decoder.allows(int(t), b" t", Start.ANY)
    # What the tokenizer itself splits may come in parts.
    long = b" unthinkablewordbegun"
    begin = decoder.tokenize([Text("x" + long.decode())])[1 + decoder.vocabulary.adds_bos]
    assert len(decoder.piece(begin)) < len(long)
    assert decoder.allows(begin, long, Start.ANY)
    # Half of a character: the tokenizer cannot tell.
    assert decoder.allows(decoder.vocabulary.candidates(b"\xa9")[0], b"\xa9", Start.ANY)


@pytest.mark.parametrize("name", ["starcoder2", "qwen", "codellama"])
def test_what_narrows_allows_no_more(load: Load, name: str) -> None:
    decoder = load(name)
    texts = [b"", b" ", b" t", b" th", b" thickn", b".", b".va", b"_", b"_x", "é".encode()[:1]]
    for before in texts:
        for required in texts:
            if not decoder.narrows(before, required) or not before:
                continue
            more = set(decoder.vocabulary.candidates(before))
            assert set(decoder.vocabulary.candidates(required)) <= more
    assert decoder.narrows(b" t", b" th")
    assert not decoder.narrows(b" th", b" t")
