"""BERT's encoder in one file, to be read from top to bottom: attention, layers, embeddings, the model.

Chapters 1 and 3 build it in this order.
Source: Vaswani et al. 2017, §3 and §5.4; Ba et al. 2016; Devlin et al. 2019, §3. Attribute names are
transformers', so a state dict loads in either library. Attention has two paths that give the same numbers
up to rounding: one written out, which can show its probabilities, and torch's fused kernel, which cannot.
Leaves out: causal masks, cross-attention, caches; the heads for particular tasks are in `heads.py`.

Shape letters: B batch, S sequence, H hidden, A heads, D = H / A, I intermediate, L layers.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from bertlearn.model.config import BertConfig
from bertlearn.model.inputs import check_inputs

# 1. Attention: every token reads from every token (chapter 1)


class AttentionOutput(NamedTuple):
    """The result of attention: the mixed values and, if requested, the weights."""

    context: Tensor  # floats: (B, A, S, D) from the functions, (B, S, H) from the modules
    probs: Tensor | None  # floats (B, A, S, S); each row sums to 1 before dropout


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None, dropout_p: float = 0.0
) -> AttentionOutput:
    """Mix the values by how well each query matches each key: softmax(Q Kᵀ / √D + mask) V.

    Args:
        query: floats (B, A, S, D).
        key: floats (B, A, S, D).
        value: floats (B, A, S, D).
        attention_mask: floats that broadcast to (B, A, S, S) and are added to the scores before the
            softmax: 0 for a visible key, a very negative number for a hidden one (see `additive_mask`).
        dropout_p: probability of dropping an attention weight; the others are scaled by 1 / (1 − dropout_p).

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
    """Compute the same in torch's fused kernel; return only the context, (B, A, S, D)."""
    return nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, dropout_p)


def additive_mask(attention_mask: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Turn the 1/0 mask of a batch into numbers to add to the scores.

    Args:
        attention_mask: (B, S), 1 = keep, 0 = padding; integers, floats or booleans.
        dtype: dtype of the scores.

    Returns:
        floats (B, 1, 1, S): 0 where kept, the dtype's most negative finite number where masked. With −∞
        instead, a row that keeps nothing would become NaN; with this value its weights are equal.
    """
    masked = attention_mask[:, None, None, :] == 0  # (B, 1, 1, S)
    return torch.zeros(masked.shape, dtype=dtype, device=masked.device).masked_fill(
        masked, torch.finfo(dtype).min
    )


def split_heads(x: Tensor, num_attention_heads: int) -> Tensor:
    """Split each token's features into heads: (B, S, H) → (B, A, S, D), H = A · D; head 0 has the first D."""
    batch, length, hidden = x.shape
    x = x.view(batch, length, num_attention_heads, hidden // num_attention_heads)  # (B, S, A, D)
    return x.transpose(1, 2)  # (B, A, S, D)


def merge_heads(x: Tensor) -> Tensor:
    """Put the heads side by side again, the inverse of `split_heads`: (B, A, S, D) → (B, S, H)."""
    batch, heads, length, size = x.shape
    return x.transpose(1, 2).reshape(batch, length, heads * size)  # (B, S, H)


class BertSelfAttention(nn.Module):
    """Project the tokens to queries, keys and values, and attend in `num_attention_heads` heads at once.

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
            output_attentions: also return the probabilities, by the slower, written-out path.

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


# 2. One layer: attention, a feed-forward network, and LayerNorm around each (chapter 3)


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-12) -> Tensor:
    """Normalize each token's features to mean 0 and variance 1, then scale and shift them.

    (x − mean) / √(variance + eps) · weight + bias, with the biased variance (divided by H, not H − 1).

    Args:
        x: floats (..., H).
        weight: scale, floats (H,).
        bias: shift, floats (H,).
        eps: added to the variance, inside the root.

    Returns:
        floats (..., H), of x's dtype.
    """
    return nn.functional.layer_norm(x, weight.shape, weight, bias, eps)


def add_and_norm(sublayer_output: Tensor, residual: Tensor, norm: nn.Module) -> Tensor:
    """Add a sublayer's output to its input (the residual), then normalize the sum: post-LN.

    Args:
        sublayer_output: floats (B, S, H), after the sublayer's dropout.
        residual: floats (B, S, H), the sublayer's input.
        norm: the LayerNorm of this sublayer; it returns floats (B, S, H).
    """
    return norm(sublayer_output + residual)


class LayerNorm(nn.Module):
    """`layer_norm` with its two learned vectors (H,): `weight`, which starts at 1, and `bias`, at 0."""

    def __init__(self, hidden_size: int, eps: float = 1e-12) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize floats (..., H) over the last axis."""
        return layer_norm(x, self.weight, self.bias, self.eps)


class BertSelfOutput(nn.Module):
    """Mix the heads (W^O in the paper), then add the input and normalize."""

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
        """Do what `BertSelfAttention` does, then mix the heads, add the input and normalize."""
        context, probs = self.self(hidden_states, attention_mask, output_attentions)
        return AttentionOutput(self.output(context, hidden_states), probs)


def gelu(x: Tensor) -> Tensor:
    """Return x · Φ(x), where Φ is the normal distribution function: the exact (erf) form, as in BERT.

    Takes and returns floats of any shape. Source: Hendrycks & Gimpel 2016, §2.
    """
    return nn.functional.gelu(x)


class BertIntermediate(nn.Module):
    """First half of the feed-forward network: H → I features, then GELU."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return floats (B, S, I) from (B, S, H)."""
        return gelu(self.dense(hidden_states))


class BertOutput(nn.Module):
    """Second half of the feed-forward network: I → H features, then add the input and normalize."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, intermediate: Tensor, residual: Tensor) -> Tensor:
        """Return floats (B, S, H) from the features (B, S, I) and the layer's input (B, S, H)."""
        return add_and_norm(self.dropout(self.dense(intermediate)), residual, self.LayerNorm)


class BertLayer(nn.Module):
    """One layer: attention mixes the tokens, then the feed-forward network transforms each by itself."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> AttentionOutput:
        """Take and return what `BertSelfAttention` does: context (B, S, H) and probs (B, A, S, S) or None."""
        attended, probs = self.attention(hidden_states, attention_mask, output_attentions)
        return AttentionOutput(self.output(self.intermediate(attended), attended), probs)


# 3. Embeddings, the stack of layers, and one vector for the whole sequence (chapter 3)


def sum_embeddings(word: Tensor, position: Tensor, token_type: Tensor) -> Tensor:
    """Add the word, position and token-type embeddings.

    Args:
        word: floats (B, S, H).
        position: floats (S, H), the same for every sequence of the batch, or (B, S, H).
        token_type: floats (B, S, H).

    Returns:
        floats (B, S, H), not yet normalized.
    """
    return word + position + token_type


class BertEmbeddings(nn.Module):
    """Word, position and token-type embeddings, summed and normalized, then dropout."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Look up and add the three embeddings.

        Args:
            input_ids: int64 (B, S), each below vocab_size; S at most max_position_embeddings.
            token_type_ids: int64 (B, S), 0 for the first segment, 1 for the second; all 0 if None.
            position_ids: int64 (B, S), the position of each token; 0, 1, 2, … if None.

        Returns:
            floats (B, S, H).
        """
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        positions = slice(input_ids.shape[1]) if position_ids is None else position_ids
        embeddings = sum_embeddings(
            self.word_embeddings(input_ids),
            self.position_embeddings.weight[positions],
            self.token_type_embeddings(token_type_ids),
        )
        return self.dropout(self.LayerNorm(embeddings))


class BertEncoder(nn.Module):
    """A stack of `num_hidden_layers` layers, each with its own weights."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(BertLayer(config) for _ in range(config.num_hidden_layers))

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the L + 1 hidden states (B, S, H), and 0 or L attentions (B, A, S, S)."""
        states, attentions = [hidden_states], []
        for layer in self.layer:
            hidden_states, probs = layer(hidden_states, attention_mask, output_attentions)
            states.append(hidden_states)
            if probs is not None:
                attentions.append(probs)
        return states, attentions


class BertPooler(nn.Module):
    """The vector of the first token, `[CLS]`, through a dense layer and tanh: one vector for the sequence."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return floats (B, H) from (B, S, H)."""
        return torch.tanh(self.dense(hidden_states[:, 0]))


def mean_pooling(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """Average the vectors of a sequence's tokens, without padding: another vector for the sequence.

    Args:
        hidden_states: floats (B, S, H).
        attention_mask: (B, S), 1 = keep, 0 = padding.

    Returns:
        floats (B, H). Source: Reimers & Gurevych 2019, §3.
    """
    keep = attention_mask[..., None].to(hidden_states.dtype)  # (B, S, 1)
    return (hidden_states * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1)  # (B, H)


# 4. The model


class PreTrainedModel(nn.Module):
    """Base class: loads and saves a model, with its `config`, in transformers' folder layout."""

    config: BertConfig

    @classmethod
    def from_pretrained(cls, folder_or_name: str | Path) -> Self:
        """Load config and weights from a folder in transformers' layout, or from the hub by name.

        The model is in evaluation mode (dropout off). Raises what `load_pretrained` raises.
        """
        from bertlearn.model.pretrained import load_pretrained

        return load_pretrained(cls, folder_or_name)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, which transformers can also load."""
        from bertlearn.model.pretrained import save_pretrained

        save_pretrained(self, folder)


def init_weights(model: nn.Module, std: float) -> None:
    """Draw every weight matrix from N(0, std²); set biases and the [PAD] vector to 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])


class BertModelOutput(NamedTuple):
    """The output of `BertModel`; the optional parts are None unless requested."""

    last_hidden_state: Tensor  # floats (B, S, H)
    pooler_output: Tensor | None  # floats (B, H); None for a model without pooler
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (B, S, H), the embeddings first
    attentions: tuple[Tensor, ...] | None = None  # L of (B, A, S, S)


class BertModel(PreTrainedModel):
    """BERT's encoder: from token ids to a vector for each token and one for the sequence.

    Source: Devlin et al. 2019. Attribute names are transformers', so state dicts move both ways.
    """

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__()
        self.config = config
        self.embeddings = BertEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.pooler = BertPooler(config) if add_pooling_layer else None
        init_weights(self, config.initializer_range)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> BertModelOutput:
        """Encode a batch.

        Args:
            input_ids: int64 (B, S).
            attention_mask: (B, S), 1 = keep, 0 = padding; all 1 if None.
            token_type_ids: int64 (B, S), 0 or 1; all 0 if None.
            position_ids: int64 (B, S), the position of each token; 0, 1, 2, … if None.
            output_attentions: also return each layer's probabilities, S² numbers for each head.
            output_hidden_states: also return the embeddings and each layer's output.

        Raises:
            ValueError: ids, mask, segments or positions of a wrong type, shape or range.
        """
        check_inputs(self.config, input_ids, attention_mask, token_type_ids, position_ids)
        embeddings = self.embeddings(input_ids, token_type_ids, position_ids)  # (B, S, H)
        mask = None if attention_mask is None else additive_mask(attention_mask, embeddings.dtype)
        states, attentions = self.encoder(embeddings, mask, output_attentions)
        return BertModelOutput(
            last_hidden_state=states[-1],
            pooler_output=None if self.pooler is None else self.pooler(states[-1]),
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )
