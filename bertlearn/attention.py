"""Attention: every token asks all others what they hold (chapter 1).

Source: Vaswani et al. 2017, §3.2 (equation 1 and multi-head attention); Devlin et al. 2019, §3.
Two paths give the same numbers: one written out, which can show its probabilities, and torch's fused
kernel, which never stores them. Leaves out: causal masks, cross-attention, caches.

Shape letters: B batch, S sequence, H hidden, A heads, D = H / A.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bertlearn.config import BertConfig
from bertlearn.normalization import LayerNorm, add_and_norm


class AttentionOutput(NamedTuple):
    """What attention gives back: the mixed values and, where they were asked for, the weights."""

    context: Tensor  # floats: (B, A, S, D) from the functions, (B, S, H) from the modules
    probs: Tensor | None  # floats (B, A, S, S); each row sums to 1


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, dropout_p: float = 0.0
) -> AttentionOutput:
    """Mix the values by how well each query matches each key: softmax(Q Kᵀ / √D + mask) V.

    Args:
        query: floats (B, A, S, D).
        key: floats (B, A, S, D).
        value: floats (B, A, S, D).
        attention_mask: floats that broadcast to (B, A, S, S) and are added to the scores before the
            softmax: 0 where a key may be seen, a very negative number where not (see `additive_mask`).
        dropout_p: probability of dropping an attention weight; the others grow by 1 / (1 − dropout_p).

    Returns:
        context, floats (B, A, S, D), and probs, floats (B, A, S, S), after dropout.

    Source: Vaswani et al. 2017, equation 1.
    """
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])  # (B, A, S, S)
    if attention_mask is not None:
        scores = scores + attention_mask
    probs = scores.softmax(dim=-1)
    probs = nn.functional.dropout(probs, dropout_p)
    return AttentionOutput(probs @ value, probs)  # context: (B, A, S, D)


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, dropout_p: float = 0.0
) -> Tensor:
    """`scaled_dot_product_attention` in one kernel of torch's; returns the context (B, A, S, D) alone."""
    return nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, dropout_p)


def additive_mask(attention_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn the 1/0 mask of a batch into numbers to add to the scores.

    Args:
        attention_mask: (B, S), 1 = keep, 0 = padding; whole numbers, floats or booleans.
        dtype: dtype of the scores.

    Returns:
        floats (B, 1, 1, S): 0 where kept, the dtype's most negative finite number where masked. A row
        with nothing kept so becomes an even spread, never NaN, which −∞ would give.
    """
    masked = attention_mask[:, None, None, :] == 0  # (B, 1, 1, S)
    return torch.zeros(masked.shape, dtype=dtype, device=masked.device).masked_fill(
        masked, torch.finfo(dtype).min
    )


def split_heads(x: Tensor, num_attention_heads: int) -> Tensor:
    """Cut each token's features into heads: (B, S, H) → (B, A, S, D), H = A · D with the head index first."""
    batch, length, hidden = x.shape
    x = x.view(batch, length, num_attention_heads, hidden // num_attention_heads)  # (B, S, A, D)
    return x.transpose(1, 2)  # (B, A, S, D)


def merge_heads(x: Tensor) -> Tensor:
    """Lay the heads side by side again, the inverse of `split_heads`: (B, A, S, D) → (B, S, H)."""
    batch, heads, length, size = x.shape
    return x.transpose(1, 2).reshape(batch, length, heads * size)  # (B, S, H)


class BertSelfAttention(nn.Module):
    """Queries, keys and values from the same tokens, attended in `num_attention_heads` heads at once.

    Source: Vaswani et al. 2017, §3.2.2; the three projections have biases, as in BERT's code.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout_p = config.attention_probs_dropout_prob

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> AttentionOutput:
        """Attend.

        Args:
            hidden_states: floats (B, S, H).
            attention_mask: additive, floats that broadcast to (B, A, S, S).
            output_attentions: also return the probabilities, which takes the slower, written-out path.

        Returns:
            context, floats (B, S, H), and probs, floats (B, A, S, S) or None.
        """
        query, key, value = (
            split_heads(project(hidden_states), self.num_attention_heads)  # (B, A, S, D)
            for project in (self.query, self.key, self.value)
        )
        dropout_p = self.dropout_p if self.training else 0.0
        if output_attentions:
            context, probs = scaled_dot_product_attention(query, key, value, attention_mask, dropout_p)
        else:
            context, probs = fused_attention(query, key, value, attention_mask, dropout_p), None
        return AttentionOutput(merge_heads(context), probs)  # (B, S, H)


class BertSelfOutput(nn.Module):
    """Mix the heads' results (W^O of the paper), then add the input and normalize."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, context: Tensor, residual: Tensor) -> Tensor:
        """Return floats (B, S, H) from the context and the attention's input, both (B, S, H)."""
        return add_and_norm(self.dropout(self.dense(context)), residual, self.LayerNorm)


class BertAttention(nn.Module):
    """Self-attention with its output projection, residual and LayerNorm: the first half of a layer."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = BertSelfAttention(config)
        self.output = BertSelfOutput(config)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> AttentionOutput:
        """Take and return the same as `BertSelfAttention`, with the context projected and normalized."""
        context, probs = self.self(hidden_states, attention_mask, output_attentions)
        return AttentionOutput(self.output(context, hidden_states), probs)
