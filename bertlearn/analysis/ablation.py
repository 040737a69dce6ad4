"""Which attention heads does a model need: they are switched off, and what happens is measured (chapter 6).

The same for single edges: one token no longer looks at another, in one head.
Source: Michel et al. 2019, §3; Voita et al. 2019. Leaves out: estimates by gradients; pruning for speed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from bertlearn.finetuning.features import Features
from bertlearn.finetuning.run import predict_logits
from bertlearn.model.bert import BertModel, BertSelfAttention
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.inference import PATIENCE, evaluation_mode

Head = tuple[int, int]  # layer and head, both from 0
Edge = tuple[int, int, int, int]  # layer, head, the token that looks (query), the one looked at (key), from 0


class HeadImportance(NamedTuple):
    """How well a model does without one head; layer and head are None where all heads work."""

    layer: int | None
    head: int | None
    loss: float  # cross-entropy in nats, the mean over the texts
    accuracy: float


@contextmanager
def without_heads(model: nn.Module, heads: Iterable[Head]) -> Iterator[None]:
    """Switch heads off for a while: their part of the context is 0 before the output projection mixes it in.

    Args:
        model: a `BertModel`, or a model with one as `bert`.
        heads: pairs (layer, head), both from 0.

    Raises:
        ValueError: a head that the model has not.
    """
    encoder = _encoder(model)
    with ExitStack() as hooks:
        for layer, off in _silenced(heads, encoder.config).items():
            output = encoder.get_submodule(f"encoder.layer.{layer}.attention.output")
            hooks.callback(output.register_forward_pre_hook(partial(_silence, off)).remove)
        yield


def _silence(off: Tensor, module: nn.Module, given: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return what enters `BertSelfOutput`, the context (B, S, H) and the residual, the first with gaps."""
    context, residual = given
    return context.masked_fill(off.to(context.device), 0), residual


@contextmanager
def without_edges(model: nn.Module, edges: Iterable[Edge]) -> Iterator[None]:
    """Cut edges for a while: in one head, one token no longer looks at another.

    The edge's score is masked before the softmax, as padding is. So its weight is 0, and what it had goes to
    the row's other weights in proportion: they still sum to 1.

    Args:
        model: a `BertModel`, or a model with one as `bert`.
        edges: (layer, head, query, key), all from 0; the same places in every text of a batch.

    Raises:
        ValueError: a head that the model has not; when the model is called, a place that the text has not, or
            a token that would have nothing left to look at.
    """
    encoder = _encoder(model)
    with ExitStack() as hooks:
        for layer, cut in _by_layer(edges, encoder.config).items():
            attention = encoder.get_submodule(f"encoder.layer.{layer}.attention.self")
            hooks.callback(attention.register_forward_pre_hook(partial(_cut, cut)).remove)
        yield


def _cut(
    cut: list[tuple[int, int, int]], module: BertSelfAttention, given: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Return what enters `BertSelfAttention`, the additive mask with gaps: floats (1 or B, A, S, S)."""
    states, mask, *rest = given
    length, lowest = states.shape[1], torch.finfo(states.dtype).min
    gaps = torch.zeros(module.num_attention_heads, length, length, dtype=torch.bool)
    for head, query, key in cut:
        if query not in range(length) or key not in range(length):
            raise ValueError(f"no edge from {query} to {key}; the text has tokens 0 to {length - 1}")
        gaps[head, query, key] = True
    mask = states.new_zeros(1, 1, 1, length) if mask is None else mask
    mask = mask.masked_fill(gaps.to(states.device), lowest)  # finite, see `additive_mask`
    blind = (mask == lowest).all(-1).nonzero()  # rows of text, head, query
    if len(blind):
        raise ValueError(
            f"all edges of token {int(blind[0, 2])} in head {int(blind[0, 1])} are cut; leave one, or switch "
            "the head off with without_heads"
        )
    return states, mask, *rest


@torch.no_grad()
def logits_without_each_head(model: BertForSequenceClassification, input_ids: Tensor) -> Tensor:
    """Switch every head off by itself, for one text: a layer's heads at a time, as a batch.

    Args:
        model: on any device; dropout is off during the call.
        input_ids: whole numbers (1, S).

    Returns:
        floats (L, A, C), the logits without this head of this layer; `head_importance` measures many texts.
    """
    config, logits = model.config, []
    heads = config.num_attention_heads
    own = torch.eye(heads, dtype=torch.bool)[:, None]  # (A, 1, A): row i loses head i
    own = own.repeat_interleave(config.hidden_size // heads, dim=-1)  # (A, 1, H)
    for layer in range(config.num_hidden_layers):
        output = model.get_submodule(f"bert.encoder.layer.{layer}.attention.output")
        with evaluation_mode(model), ExitStack() as hooks:
            hooks.callback(output.register_forward_pre_hook(partial(_silence, own)).remove)
            logits.append(model(input_ids.expand(heads, -1)).logits)
    return torch.stack(logits)


def head_importance(
    model: BertForSequenceClassification, features: Features, batch_size: int = 32
) -> list[HeadImportance]:
    """Measure a classifier with all heads, and then without each one.

    Args:
        model: on any device; dropout is off during the call.
        features: N labeled texts, such as `text_features` gives: not those of the test.
        batch_size: texts at a time.

    Returns:
        1 + L · A rows: all heads on, then layer by layer, head by head. Source: Michel et al. 2019, §3.2.

    Raises:
        ValueError: features of another task.
    """
    if "labels" not in features.targets or not isinstance(model, BertForSequenceClassification):
        raise ValueError(
            f"{type(model).__name__} with {', '.join(features.targets)}; expected a "
            "BertForSequenceClassification and what text_features gives"
        )
    config = model.config
    every = list(product(range(config.num_hidden_layers), range(config.num_attention_heads)))
    rows = [HeadImportance(None, None, *_measure(model, features, batch_size))]
    for layer, head in tqdm(every, desc="heads", delay=PATIENCE, leave=False):
        with without_heads(model, [(layer, head)]):
            rows.append(HeadImportance(layer, head, *_measure(model, features, batch_size)))
    return rows


def _measure(
    model: BertForSequenceClassification, features: Features, batch_size: int
) -> tuple[float, float]:
    """Return the loss and the accuracy on labeled texts."""
    logits = torch.stack(predict_logits(model, features, batch_size))  # (N, C)
    labels = torch.tensor(features.targets["labels"])
    return cross_entropy(logits, labels).item(), (logits.argmax(-1) == labels).float().mean().item()


def _silenced(heads: Iterable[Head], config: BertConfig) -> dict[int, Tensor]:
    """Return for each layer that loses a head which features of its context go: booleans (H,)."""
    found: dict[int, Tensor] = {}
    for layer, head in heads:
        _check_head(layer, head, config)
        off = found.setdefault(layer, torch.zeros(config.hidden_size, dtype=torch.bool))
        off.view(config.num_attention_heads, -1)[head] = True  # (A, D), the same memory
    return found


def _by_layer(edges: Iterable[Edge], config: BertConfig) -> dict[int, list[tuple[int, int, int]]]:
    """Return for each layer that loses an edge the edges' heads, queries and keys."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    for layer, head, query, key in edges:
        _check_head(layer, head, config)
        found.setdefault(layer, []).append((head, query, key))
    return found


def _check_head(layer: int, head: int, config: BertConfig) -> None:
    layers, heads = range(config.num_hidden_layers), range(config.num_attention_heads)
    if layer not in layers or head not in heads:
        raise ValueError(
            f"the model has no head {(layer, head)}; it has layers 0 to {layers[-1]} with heads 0 to "
            f"{heads[-1]} each"
        )


def _encoder(model: nn.Module) -> BertModel:
    encoder = getattr(model, "bert", model)
    if not isinstance(encoder, BertModel):
        raise ValueError(f"model is {type(model).__name__}, expected a BertModel or a model built on one")
    return encoder
