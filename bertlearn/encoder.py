"""The encoder: embeddings, a stack of layers, and a pooler for the whole sequence (chapter 3).

Source: Devlin et al. 2019, §3; Vaswani et al. 2017, §3.1–3.3. The order is post-LN.
Leaves out: decoding, caches, cross-attention; the heads for particular tasks come with chapters 4 and 5.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from bertlearn.attention import AttentionOutput, BertAttention, additive_mask
from bertlearn.config import BertConfig
from bertlearn.embeddings import BertEmbeddings
from bertlearn.normalization import LayerNorm, add_and_norm
from bertlearn.weights import PreTrainedModel


def init_weights(model: nn.Module, std: float) -> None:
    """Draw every matrix below `model` anew, with this standard deviation, and set biases and [PAD] to 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight[module.padding_idx])


class BertModelOutput(NamedTuple):
    """What `BertModel` gives back; the optional parts are None unless asked for."""

    last_hidden_state: Tensor  # floats (B, S, H)
    pooler_output: Tensor | None  # floats (B, H); None for a model without pooler
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (B, S, H), the embeddings first
    attentions: tuple[Tensor, ...] | None = None  # L of (B, A, S, S)


def gelu(x: Tensor) -> Tensor:
    """x · Φ(x), Φ the normal distribution function: the exact (erf) form, as BERT uses it.

    Takes and returns floats of any shape. Source: Hendrycks & Gimpel 2016, §2.
    """
    return nn.functional.gelu(x)


def mean_pooling(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """Average a sequence's token vectors, padding left out: one vector for the text.

    Args:
        hidden_states: floats (B, S, H).
        attention_mask: (B, S), 1 = keep, 0 = padding.

    Returns:
        floats (B, H). Source: Reimers & Gurevych 2019, §3.
    """
    keep = attention_mask[..., None].to(hidden_states.dtype)  # (B, S, 1)
    return (hidden_states * keep).sum(dim=1) / keep.sum(dim=1).clamp(min=1)  # (B, H)


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
    """One layer: attention lets tokens exchange, the feed-forward network works on each alone."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = BertAttention(config)
        self.intermediate = BertIntermediate(config)
        self.output = BertOutput(config)

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, output_attentions: bool = False
    ) -> AttentionOutput:
        """Take and return the same as `BertSelfAttention`."""
        attended, probs = self.attention(hidden_states, attention_mask, output_attentions)
        return AttentionOutput(self.output(self.intermediate(attended), attended), probs)


class BertEncoder(nn.Module):
    """The stack of `num_hidden_layers` layers, each with weights of its own."""

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
    """The first token's vector, `[CLS]`, through a dense layer and tanh: BERT's summary of the sequence."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return floats (B, H) from (B, S, H)."""
        return torch.tanh(self.dense(hidden_states[:, 0]))


class BertModel(PreTrainedModel):
    """BERT's encoder: token ids in, a vector for each token and one for the sequence out.

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
            input_ids: whole numbers (B, S).
            attention_mask: (B, S), 1 = keep, 0 = padding; all 1 if None.
            token_type_ids: whole numbers (B, S), 0 or 1; all 0 if None.
            position_ids: whole numbers (B, S), where each token stands; 0, 1, 2, … if None.
            output_attentions: also return each layer's probabilities; they cost S² numbers a head.
            output_hidden_states: also return the embeddings and each layer's output.

        Raises:
            ValueError: ids, mask, segments or positions of a wrong type, shape or range.
        """
        _check_inputs(self.config, input_ids, attention_mask, token_type_ids, position_ids)
        embeddings = self.embeddings(input_ids, token_type_ids, position_ids)  # (B, S, H)
        mask = None if attention_mask is None else additive_mask(attention_mask, embeddings.dtype)
        states, attentions = self.encoder(embeddings, mask, output_attentions)
        return BertModelOutput(
            last_hidden_state=states[-1],
            pooler_output=None if self.pooler is None else self.pooler(states[-1]),
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


def _check_inputs(
    config: BertConfig,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
) -> None:
    """Refuse what would end in an index error, a NaN or, worse, a silent wrong answer."""
    _check_ids("input_ids", input_ids, config.vocab_size, "use the tokenizer that belongs to this model")
    if input_ids.shape[1] > config.max_position_embeddings:
        raise ValueError(
            f"input_ids has {input_ids.shape[1]} tokens, the model has positions for "
            f"{config.max_position_embeddings}; truncate with max_length={config.max_position_embeddings}"
        )
    if token_type_ids is not None:
        _check_ids("token_type_ids", token_type_ids, config.type_vocab_size, "0 = first sentence, 1 = second")
        _check_shape("token_type_ids", token_type_ids, input_ids)
    if position_ids is not None:
        _check_ids("position_ids", position_ids, config.max_position_embeddings, "0 = the first place")
        _check_shape("position_ids", position_ids, input_ids)
    if attention_mask is not None:
        _check_mask(attention_mask, input_ids)


def _check_ids(name: str, ids: Tensor, limit: int, remedy: str) -> None:
    if isinstance(ids, tuple):
        raise ValueError(f"{name} is a whole batch; unpack it: model(**batch._asdict())")
    if not isinstance(ids, Tensor):
        raise ValueError(
            f"{name} is {type(ids).__name__}, expected a tensor (B, S) of whole numbers; "
            "wrap one encoded text as torch.tensor([encoding.input_ids])"
        )
    if ids.dtype not in (torch.int64, torch.int32):
        raise ValueError(f"{name} has dtype {ids.dtype}, expected torch.int64; convert with .long()")
    if ids.dim() != 2 or 0 in ids.shape:
        raise ValueError(
            f"{name} has shape {tuple(ids.shape)}, expected (B, S) with at least one token; "
            "add the batch axis with [None]"
        )
    if torch.compiler.is_compiling():  # reading values would break the graph
        return
    low, high = ids.aminmax()
    if low < 0 or high >= limit:
        raise ValueError(f"{name} holds {int(low if low < 0 else high)}, expected 0 to {limit - 1}; {remedy}")


def _check_shape(name: str, given: Tensor, input_ids: Tensor) -> None:
    if given.shape != input_ids.shape:
        raise ValueError(
            f"{name} has shape {tuple(given.shape)}, expected that of input_ids, {tuple(input_ids.shape)}"
        )


def _check_mask(mask: Tensor, input_ids: Tensor) -> None:
    if not isinstance(mask, Tensor):
        raise ValueError(f"attention_mask is {type(mask).__name__}, expected a tensor (B, S) of 1 and 0")
    _check_shape("attention_mask", mask, input_ids)
    if torch.compiler.is_compiling():
        return
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError("attention_mask holds other values than 1 = keep and 0 = padding")
    empty = (mask == 0).all(dim=1).nonzero()
    if len(empty):
        raise ValueError(
            f"attention_mask is all 0 in row {int(empty[0])}: nothing to attend to; drop that row"
        )
