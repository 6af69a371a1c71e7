"""The LLaMA network in PyTorch, with weights laid out as a GGUF file has them.

Owns: forward pass and loss. Query and key rows stay in llama.cpp's order, so rotary embedding
turns neighbouring pairs and nothing is permuted on the way in or out.

Invariant: the same weights give the same logits as llama.cpp, within rounding (tested).

Threads: the training process's own; no state but parameters.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LOSS_CHUNK_TOKENS = 1024
LOSS_CHUNK_TOKENS_CUDA = 8192


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network; the defaults are SmolLM2-135M's."""

    n_vocab: int
    n_layers: int = 30
    d_model: int = 576
    n_heads: int = 9
    n_kv_heads: int = 3
    d_head: int = 64
    d_ff: int = 1536
    rope_base: float = 100_000.0
    norm_epsilon: float = 1e-5


def rotations(shape: Shape, n_positions: int, device: torch.device) -> Tensor:
    """Cosines and sines `[2, n_positions, d_head / 2]` of the rotary embedding."""
    steps = torch.arange(0, shape.d_head, 2, device=device, dtype=torch.float32)
    angles = torch.outer(
        torch.arange(n_positions, device=device, dtype=torch.float32),
        shape.rope_base ** (-steps / shape.d_head),
    )
    return torch.stack((angles.cos(), angles.sin()))


def rotate(x: Tensor, cos_sin: Tensor) -> Tensor:
    """Turn neighbouring pairs of `x [b, t, heads, d_head]` by their position."""
    b, t, heads, d = x.shape
    even, odd = x.reshape(b, t, heads, d // 2, 2).unbind(-1)
    cos, sin = cos_sin[0, :t, None, :].to(x.dtype), cos_sin[1, :t, None, :].to(x.dtype)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).reshape(b, t, heads, d)


class Layer(nn.Module):
    """One transformer layer. Matrices that read the same input are one: q, k, v and gate, up."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        d, q, kv = shape.d_model, shape.n_heads * shape.d_head, shape.n_kv_heads * shape.d_head
        self.attn_norm = nn.Parameter(torch.ones(d))
        self.attn_qkv = nn.Parameter(torch.empty(q + 2 * kv, d))
        self.attn_output = nn.Parameter(torch.empty(d, q))
        self.ffn_norm = nn.Parameter(torch.ones(d))
        self.ffn_gate_up = nn.Parameter(torch.empty(2 * shape.d_ff, d))
        self.ffn_down = nn.Parameter(torch.empty(d, shape.d_ff))

    def forward(self, x: Tensor, cos_sin: Tensor) -> Tensor:
        return self._feed_forward(self._attention(x, cos_sin))

    def _attention(self, x: Tensor, cos_sin: Tensor) -> Tensor:
        b, t, _ = x.shape
        s = self.shape
        h = F.rms_norm(x, (s.d_model,), self.attn_norm, s.norm_epsilon)
        qkv = F.linear(h, self.attn_qkv).view(b, t, s.n_heads + 2 * s.n_kv_heads, s.d_head)
        q, k, v = qkv.split((s.n_heads, s.n_kv_heads, s.n_kv_heads), dim=2)
        q, k = rotate(q, cos_sin), rotate(k, cos_sin)
        n_shared = s.n_heads // s.n_kv_heads
        k, v = (kv.repeat_interleave(n_shared, dim=2) for kv in (k, v))
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + F.linear(out.transpose(1, 2).reshape(b, t, -1), self.attn_output)

    def _feed_forward(self, x: Tensor) -> Tensor:
        h = F.rms_norm(x, (self.shape.d_model,), self.ffn_norm, self.shape.norm_epsilon)
        gate, up = F.linear(h, self.ffn_gate_up).chunk(2, dim=-1)
        return x + F.linear(F.silu(gate) * up, self.ffn_down)


class Network(nn.Module):
    """Token ids to hidden states; the output matrix is the embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Parameter(torch.empty(shape.n_vocab, shape.d_model))
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.n_layers))
        self.output_norm = nn.Parameter(torch.ones(shape.d_model))
        self.n_frozen = 0

    def freeze(self, n_layers: int) -> None:
        """Leave the lowest layers as they are: nothing is computed backward through them."""
        self.n_frozen = n_layers
        for layer in self.layers[:n_layers]:
            layer.requires_grad_(False)

    def trained(self) -> list[tuple[str, nn.Parameter]]:
        """Names and parameters that have gradients."""
        return [(name, p) for name, p in self.named_parameters() if p.requires_grad]

    def forward(self, tokens: Tensor) -> Tensor:
        """Normed hidden states `[b, t, d_model]`; each of `tokens [b, t]` sees those before it."""
        cos_sin = rotations(self.shape, tokens.shape[1], tokens.device)
        with torch.no_grad() if self.n_frozen else nullcontext():
            x = F.embedding(tokens, self.token_embd)
            for layer in self.layers[: self.n_frozen]:
                x = layer(x, cos_sin)
        for layer in self.layers[self.n_frozen :]:
            x = layer(x, cos_sin)
        return F.rms_norm(x, (self.shape.d_model,), self.output_norm, self.shape.norm_epsilon)


class _Loss(torch.autograd.Function):
    """Cross-entropy whose logits exist for one chunk of tokens at a time, forward and backward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, embd: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        """`hidden [n, d]`, `embd [v, d]`, `targets [n]`, `weights [n]` -> weighted sum of nats."""
        total = torch.zeros((), device=hidden.device)
        grad_hidden = torch.empty_like(hidden)
        grad_embd = torch.zeros(embd.shape, device=embd.device)
        n_chunk = LOSS_CHUNK_TOKENS_CUDA if hidden.is_cuda else LOSS_CHUNK_TOKENS
        for i in range(0, len(targets), n_chunk):
            part = slice(i, i + n_chunk)
            logits = (hidden[part] @ embd.T).float()
            rows, w = torch.arange(len(logits), device=hidden.device), weights[part, None]
            log_sum = torch.logsumexp(logits, -1, keepdim=True)
            total += (w[:, 0] * (log_sum[:, 0] - logits[rows, targets[part]])).sum()
            slope = logits.sub_(log_sum).exp_()
            slope[rows, targets[part]] -= 1
            slope = slope.mul_(w).to(hidden.dtype)
            grad_hidden[part] = slope @ embd
            grad_embd += slope.T @ hidden[part]
        ctx.save_for_backward(grad_hidden, grad_embd.to(embd.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden, grad_embd = ctx.saved_tensors
        return grads[0] * grad_hidden, grads[0] * grad_embd, None, None


def weighted_loss(
    network: Network, hidden: Tensor, targets: Tensor, weights: Tensor, total: float
) -> Tensor:
    """Sum of cross-entropies in nats times `weights / total`; zero weights cost nothing."""
    counted = weights > 0
    loss: Tensor = _Loss.apply(
        hidden[counted], network.token_embd, targets[counted], weights[counted] / total
    )
    return loss
