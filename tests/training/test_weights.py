"""Weights through GGUF: what llama.cpp computes from the file is what was trained."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")
pytest.importorskip("tokenizers")

from tiny import SHAPE, WHOLE, network

from models.training import weights
from models.training.four_bits import as_shipped, rounded_q4_0, rounded_q8_0

pytestmark = pytest.mark.training


def exact() -> dict[str, npt.NDArray[np.float32]]:
    return {name: p.detach().numpy() for name, p in network().named_parameters()}


def logits_of_llama_cpp(path: Path, tokens: list[int]) -> npt.NDArray[np.float32]:
    """Logits behind the last token, from llama.cpp itself."""
    import llama_cpp

    model = llama_cpp.llama_model_load_from_file(
        str(path).encode(), llama_cpp.llama_model_default_params()
    )
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx, parameters.flash_attn_type = 64, 0
    context = llama_cpp.llama_init_from_model(model, parameters)
    assert context
    array = (ctypes.c_int32 * len(tokens))(*tokens)
    assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(tokens))) == 0
    found = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, -1), (SHAPE.n_vocab,))
    copied = found.copy()
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return copied


def test_unquantized_weights_survive_writing_and_reading(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    weights.write(path, exact(), WHOLE, SHAPE, "f32")
    read = weights.read(path, WHOLE, SHAPE)
    assert read.keys() == exact().keys()
    for name, value in exact().items():
        assert np.array_equal(read[name], value), name
    assert list(tmp_path.iterdir()) == [path]


def test_llama_cpp_computes_what_the_network_computes(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    weights.write(path, exact(), WHOLE, SHAPE, "f32")
    tokens = [9, 14, 41, 20, 33, 12, 46]
    net = network()
    expected = (net(torch.tensor([tokens]))[0, -1] @ net.token_embd.T).detach().numpy()
    np.testing.assert_allclose(logits_of_llama_cpp(path, tokens), expected, rtol=2e-2, atol=5e-3)


def test_the_shipped_file_holds_what_training_saw(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    weights.write(path, exact(), WHOLE, SHAPE, "shipped")
    for name, value in weights.read(path, WHOLE, SHAPE).items():
        seen = as_shipped(name, torch.from_numpy(exact()[name])).numpy()
        np.testing.assert_allclose(value, seen, rtol=1e-6, atol=1e-7, err_msg=name)


def test_sentinels_are_in_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    weights.write(path, exact(), WHOLE, SHAPE, "f16")
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    for key, text in (("pre", "prefix"), ("suf", "suffix"), ("mid", "middle"), ("pad", "pad")):
        at = fields[f"tokenizer.ggml.fim_{key}_token_id"].contents()
        assert tokens[at] == f"<fim_{text}>"
    assert tokens[fields["tokenizer.ggml.eos_token_id"].contents()] == "<|endoftext|>"


@pytest.mark.parametrize(("rounded", "kind"), [(rounded_q4_0, "Q4_0"), (rounded_q8_0, "Q8_0")])
def test_rounding_is_that_of_the_file_format(rounded: object, kind: str) -> None:
    assert callable(rounded)
    values = np.random.default_rng(3).normal(size=(16, 64)).astype(np.float32)
    values[2, :32] = 0.0
    values[3, 5] = 40.0
    quantization = gguf.GGMLQuantizationType[kind]
    stored = gguf.quants.dequantize(gguf.quants.quantize(values, quantization), quantization)
    found = rounded(torch.from_numpy(values))
    np.testing.assert_allclose(found.numpy(), stored, rtol=1e-6)
    np.testing.assert_allclose(rounded(found).numpy(), found.numpy(), rtol=2e-3)


def test_norms_are_never_rounded() -> None:
    value = torch.linspace(0.1, 3.0, 64)
    assert torch.equal(as_shipped("layers.0.ffn_norm", value), value)
