"""What ctransformers can load, what it is kept from, and that it says what llama.cpp says."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import model_files as files
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slm_lsp.config import GGML_FAMILIES, Config
from slm_lsp.engine.base import Decoder, ModelLoadError
from slm_lsp.engine.ctransformers import CTransformersDecoder
from slm_lsp.engine.ctransformers_load import FAMILY_OF, look
from slm_lsp.engine.ggml_file import F16, F32, GgmlFile, read_file
from slm_lsp.engine.ggml_file import FAMILIES as LAYOUTS
from slm_lsp.engine.llama import LlamaDecoder
from slm_lsp.gguf.header import ARRAY
from slm_lsp.types import Text
from slm_lsp.wiring import load_decoder

CODE = "def f(self, x1):\n    for x1 in self:\n        return x1 == 'é'\n\n"
FAMILIES = ("starcoder", "santacoder", "gptj", "mpt", "replit")
LAW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
Q4_0, Q8_0 = files.Q4_0, files.Q8_0


def refused(path: Path, content: bytes, model_type: str = "") -> str:
    """What is said of a file that native code must not see."""
    path.write_bytes(content)
    with pytest.raises(ModelLoadError) as found:
        look(path, model_type)
    return str(found.value)


# --- what is refused, and where it can be loaded ---


def test_the_settings_names_are_those_that_are_known() -> None:
    assert set(GGML_FAMILIES) == set(FAMILY_OF) - {""}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"general__architecture": "starcoder2"}, "architecture is 'starcoder2'"),
        ({"tokenizer__ggml__model": "gpt2"}, "tokenizer is 'gpt2'"),
        ({"tokenizer__ggml__model": None}, "tokenizer is None"),
        ({"llama__expert_count": 8}, "expert_count is 8"),
        ({"llama__rope__scaling__type": "yarn"}, "rope.scaling.type is 'yarn'"),
        ({"llama__rope__scaling__factor": 4.0}, "rope.scaling.factor is 4.0"),
        ({"llama__attention__sliding_window": 64}, "sliding_window is 64"),
        ({"llama__attention__key_length": 16}, "key_length"),
        ({"llama__attention__head_count": 1}, "heads"),
        ({"llama__attention__head_count_kv": 3}, "heads"),
        ({"llama__context_length": None}, "context_length is None"),
        ({"llama__block_count": 3}, "lacks the tensor blk.2"),
        ({"llama__block_count": 1}, "it has a tensor blk.1"),
        ({"llama__feed_forward_length": 96}, "it has a tensor"),
        ({"tokenizer__ggml__eos_token_id": 9999}, "eos_token_id is 9999"),
        ({"llama__attention__head_count_kv": [2, 2]}, "heads are 4 and a list"),
        ({"llama__rope__scaling__type": ["yarn"]}, "rope.scaling.type is a list"),
        ({"tokenizer__ggml__eos_token_id": [2]}, "eos_token_id is a list"),
        ({"tokenizer__ggml__scores": [0.5]}, "lacks the scores of each token"),
        ({"tokenizer__ggml__token_type": None}, "lacks the token_type of each token"),
    ],
)
def test_what_came_later_is_refused_with_the_engine_that_can(
    tmp_path: Path, changed: dict[str, Any], why: str
) -> None:
    said = refused(tmp_path / "m.gguf", files.llama(**changed))
    assert why in said
    assert said.endswith("llama.cpp loads it: set library = llama.cpp")


def test_a_list_of_lists_is_llama_cpps(tmp_path: Path) -> None:
    name = b"general.name"
    changed: dict[str, Any] = {"general__name": ["x" * 20]}
    content = files.llama(**changed)
    at = content.index(name) + len(name) + 4
    # A list of one text becomes a list of one list of bytes.
    nested = struct.pack("<IQIQ", ARRAY, 1, 0, 16) + b"x" * 16
    content = content[:at] + nested + content[at + 12 + 8 + 20 :]
    assert "general.name is a list of lists" in refused(tmp_path / "m.gguf", content)


def test_a_qwen_is_llama_cpps(tmp_path: Path) -> None:
    said = refused(tmp_path / "m.gguf", files.qwen2())
    assert "architecture is 'qwen2'" in said
    assert "llama.cpp loads it" in said


def test_weights_of_a_later_type_are_llama_cpps(tmp_path: Path) -> None:
    content = files.llama()
    at = content.index(b"blk.0.ffn_up.weight") + len("blk.0.ffn_up.weight") + 4 + 16
    assert content[at : at + 4] == bytes(4)
    iq4_nl = content[:at] + struct.pack("<I", 20) + content[at + 4 :]
    assert "quantized in a later way (ggml type 20)" in refused(tmp_path / "m.gguf", iq4_nl)


def test_a_vocabulary_without_bytes_is_refused(tmp_path: Path) -> None:
    tokens, _, _ = files.spm_tokens()
    tokens[100] = "other"
    content = files.llama(tokenizer__ggml__tokens=tokens)
    assert "lacks tokens of single bytes" in refused(tmp_path / "m.gguf", content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"tjgg" + bytes(100), "GGJT from before GGUF, which no engine here loads"),
        (b"", "neither a GGUF nor a GGML"),
        (b"PK\x03\x04" + bytes(50), "neither a GGUF nor a GGML"),
        (b"GGUF" + struct.pack("<I", 9), "GGUF of version 9"),
        (b"GGUF" + struct.pack(">I", 3), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "incomplete"),
        (b"lmgg" + bytes(200), "sizes make no sense"),
    ],
)
def test_what_is_no_model_says_so(tmp_path: Path, content: bytes, why: str) -> None:
    assert why in refused(tmp_path / "m.bin", content)
    with pytest.raises(ModelLoadError, match="cannot read"):
        look(tmp_path / "none.gguf", "")


WHOLE = {name: files.ggml(name) for name in FAMILIES} | {"llama": files.llama()}


@LAW
@given(name=st.sampled_from(sorted(WHOLE)), share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_is_refused(tmp_path: Path, name: str, share: float) -> None:
    content = WHOLE[name]
    assert refused(tmp_path / "m.bin", content[: int(share * len(content))])


@LAW
@given(name=st.sampled_from(FAMILIES), at=st.integers(4, 40), byte=st.integers(1, 255))
def test_a_ggml_file_with_another_head_is_refused_or_is_the_same(
    tmp_path: Path, name: str, at: int, byte: int
) -> None:
    """No number at its head can be another without the tensors being others."""
    content = bytearray(WHOLE[name])
    content[at] ^= byte
    (tmp_path / "m.bin").write_bytes(content)
    try:
        found = look(tmp_path / "m.bin", "")
    except ModelLoadError:
        return
    assert isinstance(found, GgmlFile)
    (tmp_path / "m.bin").write_bytes(WHOLE[name])
    whole = look(tmp_path / "m.bin", "")
    assert isinstance(whole, GgmlFile)
    # Heads, rotations and MPT's two numbers shape no tensor.
    free = {"n_head", "n_rot", "alibi", "clip", "ftype"}
    for key, value in whole.numbers.items():
        assert (
            key in free
            or (key == "n_ctx" and name in ("gptj", "mpt", "replit"))
            or (found.numbers[key] == value)
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_ggml_file_without_its_last_tensor_is_refused(tmp_path: Path, name: str) -> None:
    """The library would take it, with whatever is in memory there."""
    (tmp_path / "m.bin").write_bytes(WHOLE[name])
    found = read_file(tmp_path / "m.bin")
    shapes = next(each for each in LAYOUTS if each.name == found.family).shapes(found.numbers)
    last, (shape, _) = shapes.popitem()
    content = WHOLE[name][: WHOLE[name].rindex(last.encode()) - 12 - 4 * len(shape)]
    assert "lacks the tensor" in refused(tmp_path / "m.bin", content)


def test_a_ggml_files_family_is_found_out(tmp_path: Path) -> None:
    for name in FAMILIES:
        (tmp_path / name).write_bytes(WHOLE[name])
        found = look(tmp_path / name, "")
        assert isinstance(found, GgmlFile)
        assert found.family == ("starcoder" if name == "santacoder" else name)
        for given_type, family in FAMILY_OF.items():
            if family == found.family:
                assert look(tmp_path / name, given_type) == found
            elif family:
                said = refused(tmp_path / "m.bin", WHOLE[name], given_type)
                assert f"as {family}:" in said
                assert "library = llama.cpp" in said


@pytest.mark.parametrize("ftype", [2, 1002, 3007])
def test_an_older_quantization_is_refused(tmp_path: Path, ftype: int) -> None:
    said = refused(tmp_path / "m.bin", files.ggml("gptj", ftype))
    assert "misread" in said


def test_an_mpt_vocabulary_that_would_end_the_process_is_refused(tmp_path: Path) -> None:
    content = files.ggml("mpt").replace(
        "é".encode("latin-1").decode("latin-1").encode(), b"\xff\xff"
    )
    assert "not UTF-8" in refused(tmp_path / "m.bin", content)


# --- wiring ---


def loaded(**settings: Any) -> Decoder:
    return load_decoder(Config(**settings), lambda text, done: None)


def test_gpu_layers_are_llama_cpps(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"gpu_layers is for llama\.cpp"):
        loaded(model=str(tmp_path / "x.gguf"), library="ctransformers", gpu_layers=1)


@pytest.mark.model
def test_a_build_without_a_gpu_says_so(tmp_path: Path) -> None:
    import llama_cpp

    if llama_cpp.llama_supports_gpu_offload():
        pytest.skip("this build has one")
    path = files.made(tmp_path, "llama")
    with pytest.raises(ModelLoadError, match="built without GPU support"):
        loaded(model=str(path), gpu_layers=-1)


@pytest.mark.model
def test_the_setting_chooses_the_library(tmp_path: Path) -> None:
    path = files.made(tmp_path, "llama")
    for library, kind in (("llama.cpp", LlamaDecoder), ("ctransformers", CTransformersDecoder)):
        decoder = loaded(model=str(path), library=library)
        assert isinstance(decoder, kind)
        assert decoder.info.n_ctx == files.N_CTX
        decoder.close()
    path = files.made(tmp_path, "gptj")
    with pytest.raises(ModelLoadError, match="set library = ctransformers"):
        loaded(model=str(path))
    loaded(model=str(path), library="ctransformers", model_type="codegen").close()


# --- the same as llama.cpp, and as its own tokenizers ---

Load = Callable[..., CTransformersDecoder]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    decoders: list[CTransformersDecoder] = []

    def load(content: bytes, n_ctx: int = 512) -> CTransformersDecoder:
        path = tmp_path / f"{len(decoders)}.bin"
        path.write_bytes(content)
        decoders.append(CTransformersDecoder(path, path.name, n_ctx=n_ctx))
        return decoders[-1]

    yield load
    for decoder in decoders:
        decoder.close()


def written(decoder: Decoder, n_tokens: int = 40) -> list[int]:
    """What the model writes behind CODE."""
    decoder.truncate(0)
    decoder.feed(decoder.tokenize([Text(CODE)]))
    tokens = []
    for _ in range(n_tokens):
        tokens.append(decoder.pick()[0])
        decoder.feed(tokens[-1:])
    return tokens


@pytest.mark.model
@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", [F32, F16])
def test_it_writes_what_llama_cpp_writes(
    load: Load, tmp_path: Path, version: int, kind: int
) -> None:
    content = files.llama(version, kind=kind)
    path = tmp_path / "same.gguf"
    path.write_bytes(content)
    other = LlamaDecoder(path, "same", n_ctx=512)
    tokens = written(other)
    assert written(load(content)) == tokens
    assert len(set(tokens)) > 10
    other.close()


@pytest.mark.model
def test_it_tokenizes_as_llama_cpp_does(load: Load, tmp_path: Path) -> None:
    content = files.llama()
    path = tmp_path / "same.gguf"
    path.write_bytes(content)
    decoder, other = load(content), LlamaDecoder(path, "same", vocab_only=True)
    spelled = ["</s>", " <PRE>", "▁<PRE>", "<unk>", "\0", "\n", "ret", "x1</s>x"]

    @LAW
    @given(st.lists(st.lists(st.text(max_size=5) | st.sampled_from(spelled)), max_size=3))
    def law(parts: list[list[str]]) -> None:
        segments = [Text("".join(each)) for each in parts]
        assert decoder.tokenize(segments) == other.tokenize(segments)

    law()
    other.close()


@pytest.mark.model
@pytest.mark.parametrize("kind", [Q4_0, Q8_0])
def test_it_loads_what_is_quantized(load: Load, tmp_path: Path, kind: int) -> None:
    """Rounding differs between the libraries, so only what was read is compared."""
    content = files.llama(kind=kind)
    path = tmp_path / "same.gguf"
    path.write_bytes(content)
    other, decoder = LlamaDecoder(path, "same", n_ctx=512), load(content)
    tokens = other.tokenize([Text(CODE)])
    assert decoder.tokenize([Text(CODE)]) == tokens
    for each in (other, decoder):
        each.feed(tokens)
    assert abs(other.pick()[1] - decoder.pick()[1]) < 0.5
    other.close()


@pytest.mark.model
def test_the_first_gguf_version_is_loaded_too(load: Load) -> None:
    """llama.cpp no longer does."""
    assert written(load(files.llama(1))) == written(load(files.llama(2)))


@pytest.mark.model
@pytest.mark.parametrize("name", FAMILIES)
def test_quantized_ggml_files_are_loaded(load: Load, name: str) -> None:
    found = []
    for ftype in (0, 1, 2007, 2002):
        decoder = load(files.ggml(name, ftype))
        decoder.feed(decoder.tokenize([Text(CODE)]))
        found.append(np.array(decoder._logits()))
    for logits, least in zip(found[1:], (0.999, 0.97, 0.4), strict=True):
        assert np.corrcoef(found[0], logits)[0, 1] > least


@pytest.mark.model
@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_are_those_of_its_own_tokenizer(load: Load, name: str) -> None:
    decoder = load(files.ggml(name))

    @LAW
    @given(st.text(st.characters(codec="utf-8", exclude_characters="\0<"), min_size=1, max_size=30))
    def law(text: str) -> None:
        assert decoder.tokenize([Text(text)]) == (
            decoder._native_tokens(text.encode()) or [decoder.vocabulary.start]
        )

    law()
    source = Path(__file__).read_text(encoding="utf-8")[:1500]
    assert decoder.tokenize([Text(source)]) == decoder._native_tokens(source.encode())


@pytest.mark.model
def test_its_own_tokenizer_takes_control_texts_from_code(load: Load) -> None:
    """Why it is not used."""
    decoder = load(files.ggml("santacoder"))
    control = decoder.special("<fim-prefix>")
    assert decoder._native_tokens(b"x<fim-prefix>") == [*decoder._native_tokens(b"x"), control]
    assert control not in decoder.tokenize([Text("x<fim-prefix>")])
    assert decoder._native_tokens(b"x\0y") == decoder._native_tokens(b"x")


ENDS = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<EOT>", "▁<EOT>"),
    *("<fim_pad>", "<fim-pad>", "<|fim_pad|>", "<PAD>", "[PAD]", "<|repo_name|>", "<reponame>"),
    *(
        "<|file_sep|>",
        "<file_sep>",
        "<fim_prefix>",
        "<|fim_prefix|>",
        "▁<PRE>",
        "<eos>",
        "[SUFFIX]",
    ),
)


@pytest.mark.model
@pytest.mark.parametrize("name", ENDS)
def test_a_text_ends_where_it_does_for_llama_cpp(load: Load, tmp_path: Path, name: str) -> None:
    content = files.llama(sentinels=[name])
    path = tmp_path / "same.gguf"
    path.write_bytes(content)
    decoder, other = load(content), LlamaDecoder(path, "same", vocab_only=True)
    token = decoder.special(name)
    assert token is not None
    assert token == other.special(name)
    assert decoder.is_end(token) == other.is_end(token)
    other.close()


@pytest.mark.model
@pytest.mark.parametrize("name", FAMILIES)
def test_a_long_context_with_many_heads_keeps_within_its_memory(load: Load, name: str) -> None:
    """What does not fit its buffers ends the process."""
    decoder = load(files.ggml(name, n_head=16, n_ctx=8192, n_rot=2), n_ctx=8192)
    tokens = [65] * 512
    while decoder.truncate(9999) < 8192 - 64:  # as if it had been fed
        decoder._n_past = 8192 - 64
    decoder.feed(tokens[:64])
    assert decoder.truncate(9999) == 8192
    with pytest.raises(RuntimeError, match="no room"):
        decoder.feed(tokens[:1])


@pytest.mark.model
def test_a_control_token_of_one_character_is_no_text(load: Load) -> None:
    decoder = load(files.llama(sentinels=["§"]))
    tokens = decoder.tokenize([Text("x§y")])
    assert decoder.special("§") not in tokens
    assert b"".join(map(decoder.piece, tokens)).decode() == " x§y"
