"""From BERT to ModernBERT in one file, one switch at a time, to be read from top to bottom.

Chapter 8 turns each switch by itself. With all of them off this is BERT, with the preset `modernbert` it is
ModernBERT; tests compare both with the originals. What is the same in both is imported from `bert.py`.
Source: Warner et al. 2024, "Smarter, better, faster, longer", §2.1 and appendix D; each part has its own.
Leaves out: what belongs to a training run (optimizer, schedule, masking rate), and ModernBERT's smaller
initial weights of the output layers.

Shape letters: B batch, S sequence, H hidden, A heads, D = H / A, I intermediate, N tokens without padding.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertlearn.model.bert import (
    AttentionOutput,
    BertModelOutput,
    BertPooler,
    PreTrainedModel,
    additive_mask,
    fused_attention,
    gelu,
    init_weights,
    merge_heads,
    scaled_dot_product_attention,
    split_heads,
)
from bertlearn.model.config import ModernConfig
from bertlearn.model.heads import PretrainingOutput, labeled, targets
from bertlearn.model.inputs import check_inputs, check_labels

# 1. Positions: rotate queries and keys, so that scores depend on distances


class Rotation(NamedTuple):
    """The cosine and the sine of each pair of features' angle, floats (B or 1, 1, S, D / 2)."""

    cos: Tensor
    sin: Tensor


def rotation(position_ids: Tensor, head_size: int, theta: float) -> Rotation:
    """Return the angles: position · θ^(−2i / D) for the i-th pair of features, from fast to slow.

    Args:
        position_ids: int64 (B or 1, S).
        head_size: D, even.
        theta: the base of the frequencies; a larger one tells longer distances apart.

    Source: Su et al. 2021, §3.2.2.
    """
    pairs = torch.arange(0, head_size, 2, device=position_ids.device)  # (D / 2,)
    angles = position_ids[:, None, :, None] * theta ** (-pairs / head_size)  # (B or 1, 1, S, D / 2)
    return Rotation(angles.cos(), angles.sin())


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Rotate each pair of features (i, i + D / 2) of queries or keys, floats (B, A, S, D), by its angle.

    Differs from the paper, which pairs neighbors (2i, 2i + 1): transformers pairs halves. Weights trained
    with the one do not work with the other.
    """
    first, second = x.float().chunk(2, dim=-1)  # (B, A, S, D / 2) each
    turned = torch.cat((first * by.cos - second * by.sin, second * by.cos + first * by.sin), dim=-1)
    return turned.to(x.dtype)


def local_mask(position_ids: Tensor, window: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return numbers to add to the scores: 0 for keys at most window / 2 away, very negative for others.

    Args:
        position_ids: int64 (B or 1, S).
        window: even.

    Returns:
        floats (B or 1, 1, S, S). Source: Beltagy et al. 2020 (Longformer), §3.1.
    """
    distances = (position_ids[:, None, :, None] - position_ids[:, None, None, :]).abs()
    hidden = distances > window // 2
    seen = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return seen.masked_fill(hidden, torch.finfo(dtype).min)


# 2. Padding: left out of everything but attention


def without_padding(x: Tensor, keep: Tensor | None) -> Tensor:
    """Return the kept tokens' vectors, (N, H) from (B, S, H); all as they are if `keep` is None."""
    return x if keep is None else x[keep]


def with_padding(x: Tensor, keep: Tensor | None) -> Tensor:
    """Put the N vectors back into (B, S, H), with zeros where the padding is."""
    if keep is None:
        return x
    padded = x.new_zeros(*keep.shape, x.shape[-1])
    padded[keep] = x
    return padded


# 3. The layer


class Norm(nn.Module):
    """LayerNorm, with or without bias, or RMSNorm, which only divides by the root mean square: no bias.

    Source: Ba et al. 2016; Zhang & Sennrich 2019, §3.
    """

    def __init__(self, config: ModernConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden_size))
        self.rms, self.eps = config.norm == "rms", config.layer_norm_eps
        biased = config.bias and not self.rms
        self.bias = nn.Parameter(torch.zeros(config.hidden_size)) if biased else None

    def forward(self, x: Tensor) -> Tensor:
        """Normalize floats (..., H) over the last axis."""
        if self.rms:
            return nn.functional.rms_norm(x, self.weight.shape, self.weight, self.eps)
        return nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class Surroundings(NamedTuple):
    """What a layer knows about the batch beside its tokens' vectors."""

    mask: Tensor | None  # floats that broadcast to (B, A, S, S), added to the scores
    rotation: Rotation | None
    keep: Tensor | None  # booleans (B, S): the tokens that are computed, None for all


class ModernLayer(nn.Module):
    """Attention, then a feed-forward network; each adds to the vectors that flow past it."""

    def __init__(self, config: ModernConfig, number: int) -> None:
        super().__init__()
        hidden, inner, bias = config.hidden_size, config.intermediate_size, config.bias
        self.num_attention_heads = config.num_attention_heads
        self.query = nn.Linear(hidden, hidden, bias)
        self.key = nn.Linear(hidden, hidden, bias)
        self.value = nn.Linear(hidden, hidden, bias)
        self.attention_output = nn.Linear(hidden, hidden, bias)
        self.up = nn.Linear(hidden, inner, bias)
        self.gate = nn.Linear(hidden, inner, bias) if config.gated else None
        self.down = nn.Linear(inner, hidden, bias)
        already_normalized = config.pre_norm and number == 0  # by the embeddings' norm
        self.attention_norm = nn.Identity() if already_normalized else Norm(config)
        self.mlp_norm = Norm(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.attention_dropout, self.pre_norm = config.attention_probs_dropout_prob, config.pre_norm

    def forward(
        self, x: Tensor, around: Surroundings, output_attentions: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the vectors, (B, S, H) or (N, H) as they came, and probs (B, A, S, S) if asked for."""
        if self.pre_norm:
            context, probs = self.attend(self.attention_norm(x), around, output_attentions)
            x = x + context
            return x + self.feed_forward(self.mlp_norm(x)), probs
        context, probs = self.attend(x, around, output_attentions)
        x = self.attention_norm(x + context)
        return self.mlp_norm(x + self.feed_forward(x)), probs

    def attend(self, x: Tensor, around: Surroundings, output_attentions: bool) -> AttentionOutput:
        """Mix the tokens by content and, with rotations, by distance; values are never rotated."""
        query, key, value = (
            split_heads(with_padding(project(x), around.keep), self.num_attention_heads)  # (B, A, S, D)
            for project in (self.query, self.key, self.value)
        )
        if around.rotation is not None:
            query, key = rotate(query, around.rotation), rotate(key, around.rotation)
        dropout_p, probs = self.attention_dropout if self.training else 0.0, None
        if output_attentions:
            context, probs = scaled_dot_product_attention(query, key, value, around.mask, dropout_p)
        else:
            context = fused_attention(query, key, value, around.mask, dropout_p)
        mixed = without_padding(merge_heads(context), around.keep)
        return AttentionOutput(self.dropout(self.attention_output(mixed)), probs)

    def feed_forward(self, x: Tensor) -> Tensor:
        """Transform each token by itself; a gate multiplies the features. Source: Shazeer 2020, eq. 6."""
        features = gelu(self.up(x))
        if self.gate is not None:
            features = features * self.gate(x)
        return self.dropout(self.down(features))


# 4. The model


class ModernEmbeddings(nn.Module):
    """Word embeddings, and those of positions and token types unless a switch drops them; normalized."""

    def __init__(self, config: ModernConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.word = nn.Embedding(config.vocab_size, hidden, config.pad_token_id)
        self.position = None if config.rope else nn.Embedding(config.max_position_embeddings, hidden)
        self.token_type = nn.Embedding(config.type_vocab_size, hidden) if config.token_types else None
        self.norm = Norm(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, token_type_ids: Tensor | None, position_ids: Tensor) -> Tensor:
        """Return floats (B, S, H) from ids (B, S) and positions (B or 1, S)."""
        x = self.word(input_ids)
        if self.position is not None:
            x = x + self.position(position_ids)
        if self.token_type is not None:
            x = x + self.token_type(torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids)
        return self.dropout(self.norm(x))


class ModernPreTrainedModel(PreTrainedModel):
    """Loads and saves: in BERT's or ModernBERT's format where transformers has the model, else in our own."""

    config: ModernConfig

    @classmethod
    def from_pretrained(cls, folder_or_name: str | Path) -> Self:
        """Load a BERT, a ModernBERT, or anything between; raises what `modern_files.load` raises."""
        from bertlearn.model.modern_files import load

        return load(cls, folder_or_name)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`."""
        from bertlearn.model.modern_files import save

        save(self, folder)


class ModernModel(ModernPreTrainedModel):
    """The encoder. What `BertModel` takes and returns, this takes and returns as well."""

    def __init__(self, config: ModernConfig, add_pooling_layer: bool = False) -> None:
        super().__init__()
        self.config = config
        self.embeddings = ModernEmbeddings(config)
        self.layers = nn.ModuleList(ModernLayer(config, number) for number in range(config.num_hidden_layers))
        self.final_norm = Norm(config) if config.pre_norm else None
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
        """Encode a batch; arguments, result and errors are those of `BertModel.forward`.

        With `unpadding`, the vectors of padding are 0. With `pre_norm`, the last of the hidden states is
        normalized, the others are not.
        """
        check_inputs(self.config, input_ids, attention_mask, token_type_ids, position_ids)
        _check_token_types(self.config, token_type_ids)
        if position_ids is None:
            position_ids = torch.arange(input_ids.shape[1], device=input_ids.device)[None]  # (1, S)
        embeddings = self.embeddings(input_ids, token_type_ids, position_ids)  # (B, S, H)
        keep = attention_mask.bool() if self.config.unpadding and attention_mask is not None else None
        around = _surroundings(self.config, attention_mask, position_ids, keep, embeddings.dtype)
        states, attentions = [without_padding(embeddings, keep)], []
        for number, layer in enumerate(self.layers):
            x, probs = layer(states[-1], around[self.config.is_local(number)], output_attentions)
            states.append(x)
            attentions.append(probs)
        if self.final_norm is not None:
            states[-1] = self.final_norm(states[-1])
        last = with_padding(states[-1], keep)
        return BertModelOutput(
            last_hidden_state=last,
            pooler_output=None if self.pooler is None else self.pooler(last),
            hidden_states=tuple(with_padding(x, keep) for x in states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


def _surroundings(
    config: ModernConfig,
    attention_mask: Tensor | None,
    positions: Tensor,
    keep: Tensor | None,
    dtype: torch.dtype,
) -> tuple[Surroundings, Surroundings]:
    """Return what global layers know, and what local ones know."""
    mask = None if attention_mask is None else additive_mask(attention_mask, dtype)
    size = config.head_size
    far, near = (
        rotation(positions, size, theta) if config.rope else None
        for theta in (config.global_rope_theta, config.local_rope_theta)
    )
    narrow = mask
    if config.local_attention:
        window = local_mask(positions, config.local_attention, dtype)
        narrow = window if mask is None else torch.minimum(window, mask)
    return Surroundings(mask, far, keep), Surroundings(narrow, near, keep)


def _check_token_types(config: ModernConfig, token_type_ids: Tensor | None) -> None:
    if config.token_types or token_type_ids is None or torch.compiler.is_compiling():
        return
    if token_type_ids.any():
        raise ValueError("token_type_ids holds a 1, but the model has token_types=False; give one text")


class ModernForMaskedLM(ModernPreTrainedModel):
    """The encoder with the head that predicts masked tokens; what `BertForMaskedLM` does, this does."""

    base_model_prefix, head_prefix = "model", "decoder"

    def __init__(self, config: ModernConfig) -> None:
        super().__init__()
        self.config = config
        self.model = ModernModel(config)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size, config.bias)
        self.norm = Norm(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.decoder.weight = self.model.embeddings.word.weight  # tied: one matrix with two uses
        init_weights(self.dense, config.initializer_range)
        nn.init.zeros_(self.decoder.bias)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
    ) -> PretrainingOutput:
        """Predict the labeled tokens or, without labels, all; see `BertForMaskedLM.forward`."""
        encoded = self.model(
            input_ids, attention_mask, token_type_ids, position_ids, output_attentions, output_hidden_states
        )
        if labels is not None:
            check_labels("labels", labels, input_ids.shape, self.config.vocab_size)
        chosen = labeled(encoded.last_hidden_state, labels)
        logits = self.decoder(self.norm(gelu(self.dense(chosen))))
        loss = None if labels is None else cross_entropy(logits, targets(labels))
        return PretrainingOutput(loss, logits, None, encoded.hidden_states, encoded.attentions)
