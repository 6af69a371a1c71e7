"""Network, loss, gradients and scores, on a tiny network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("gguf")
pytest.importorskip("tokenizers")

from tiny import SHAPE, batch, network

from models.training import gradients as gradients_module
from models.training.batches import Batch
from models.training.evaluate import evaluate
from models.training.examples import Sample
from models.training.gradients import gradients
from models.training.network import weighted_loss
from models.training.shard_file import Shard, shard_of

pytestmark = pytest.mark.training
CPU = torch.device("cpu")


def reference(made: Batch) -> float:
    """The loss as PyTorch computes it from all logits at once."""
    net = network()
    logits = net(torch.from_numpy(made.tokens)) @ net.token_embd.T
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.from_numpy(made.targets).flatten(), reduction="none"
    )
    weights = torch.from_numpy(made.weights).flatten()
    return float((nats * weights).sum().detach() / weights.sum())


def test_loss_is_the_weighted_mean_of_cross_entropies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.training.network.LOSS_CHUNK_TOKENS", 7)
    made = batch()
    loss, _ = gradients(network(), made, CPU, 1 << 20)
    assert loss == pytest.approx(reference(made), rel=1e-5)


def test_gradients_are_those_of_automatic_differentiation() -> None:
    made, net = batch(), network()
    _, found = gradients(net, made, CPU, 1 << 20)
    logits = net(torch.from_numpy(made.tokens)) @ net.token_embd.T
    nats = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.from_numpy(made.targets).flatten(), reduction="none"
    )
    weights = torch.from_numpy(made.weights).flatten()
    expected = torch.autograd.grad((nats * weights).sum() / weights.sum(), net.parameters())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("micro_tokens", [16, 33, 1 << 20])
def test_parts_sum_to_the_whole(micro_tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made, net = batch(rows=5), network()
    whole, expected = gradients_module._of_part(
        net, gradients_module.parts_of(made, 1, CPU)[0], float(made.weights.sum())
    )
    loss, found = gradients(net, made, CPU, micro_tokens)
    assert loss == pytest.approx(whole, rel=1e-5)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_token_of_no_weight_has_no_gradient() -> None:
    made = batch()
    only = replace(made, weights=np.zeros_like(made.weights))
    only.weights[1, 3] = 1.0
    net = network()
    hidden = net(torch.from_numpy(only.tokens)).detach().requires_grad_()
    loss = weighted_loss(
        net, hidden, torch.from_numpy(only.targets), torch.from_numpy(only.weights), 1.0
    )
    (slope,) = torch.autograd.grad(loss, [hidden])
    counted = slope.abs().sum(-1) > 0
    assert counted.nonzero().tolist() == [[1, 3]]


def test_what_follows_does_not_change_what_was_read() -> None:
    net = network()
    tokens = torch.from_numpy(batch().tokens)
    changed = tokens.clone()
    changed[:, 9:] = 10
    torch.testing.assert_close(net(tokens)[:, :9], net(changed)[:, :9])


def test_frozen_layers_have_no_gradients_and_change_no_result() -> None:
    free, frozen = network(), network()
    frozen.freeze(2)
    tokens = torch.from_numpy(batch().tokens)
    torch.testing.assert_close(free(tokens), frozen(tokens))
    names = [name for name, _ in frozen.trained()]
    assert not any(name.startswith(("layers.0.", "layers.1.")) for name in names)
    assert {"token_embd", "output_norm", "layers.2.ffn_down"} <= set(names)
    loss, found = gradients(frozen, batch(), CPU, 1 << 20)
    assert loss == pytest.approx(reference(batch()), rel=1e-5)
    assert len(found) == len(names)


def greedy(prompt: list[int], n_tokens: int) -> list[int]:
    """What the network writes after `prompt`."""
    net, written = network(), list(prompt)
    for _ in range(n_tokens):
        written.append(int((net(torch.tensor([written]))[0, -1] @ net.token_embd.T).argmax()))
    return written[len(prompt) :]


def scored(*samples: Sample) -> Shard:
    return shard_of(samples, (), {})


def test_a_line_is_exact_if_greedy_decoding_writes_it() -> None:
    prompt = [11, 12, 13, 14]
    written = greedy(prompt, 4)
    right = Sample([*prompt, *written], 0, 2, 4, "x")
    wrong = Sample(
        [*prompt, written[0], (written[1] + 1) % SHAPE.n_vocab, *written[2:]], 0, 2, 4, "x"
    )
    score = evaluate(network(), scored(right, wrong), CPU, 10)
    assert (score.n_samples, score.exact) == (2, 1)


def test_the_end_token_is_counted_apart() -> None:
    prompt = [11, 12, 13, 14]
    written = greedy(prompt, 3)
    open_ended = Sample([*prompt, *written[:2], (written[2] + 1) % SHAPE.n_vocab], 0, 2, 4, "x")
    closed = Sample([*prompt, *written], 0, 2, 4, "x")
    score = evaluate(network(), scored(open_ended, closed), CPU, 10)
    assert (score.exact, score.ended) == (2, 1)


def test_a_sample_without_a_middle_is_neither_exact_nor_ended() -> None:
    score = evaluate(network(), scored(Sample([11, 12, 13], 0, 0, 3, "plain")), CPU, 10)
    assert (score.exact, score.ended) == (0, 0)
