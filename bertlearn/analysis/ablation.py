"""Which attention heads a model needs: switch heads off and measure the effect (chapter 6).

Single edges can also be cut: in one head, one token no longer attends to another.
Source: Michel et al. 2019, §3; Voita et al. 2019. Leaves out: gradient-based estimates; pruning for speed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from bertlearn.finetuning.checks import check_features
from bertlearn.finetuning.features import Features
from bertlearn.finetuning.run import predict_logits
from bertlearn.model.bert import BertModel, BertSelfAttention
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import IGNORE, BertForSequenceClassification
from bertlearn.model.inference import PATIENCE, check_model, evaluation_mode

Head = tuple[int, int]  # layer and head, both counted from 0
Edge = tuple[int, int, int, int]  # layer, head, attending token (query), attended token (key), from 0


class HeadImportance(NamedTuple):
    """How well a model does without one head; layer and head are None if all heads are on."""

    layer: int | None
    head: int | None
    loss: float  # cross-entropy in nats, the mean over the texts
    accuracy: float


@contextmanager
def without_heads(model: nn.Module, heads: Iterable[Head]) -> Iterator[None]:
    """Switch heads off inside the block: their part of the context is 0 before the output projection.

    Args:
        model: a `BertModel`, or a model with one as `bert`.
        heads: pairs (layer, head), both counted from 0.

    Raises:
        ValueError: not a list of such pairs, or a head that the model does not have.
    """
    encoder = _encoder(model)
    with ExitStack() as hooks:
        for layer, off in _features_off(heads, encoder.config).items():
            output = encoder.get_submodule(f"encoder.layer.{layer}.attention.output")
            hooks.callback(output.register_forward_pre_hook(partial(_zero_features, off)).remove)
        yield


def _zero_features(off: Tensor, module: nn.Module, inputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the inputs of `BertSelfOutput`: context (B, S, H), with some features at 0, and residual."""
    context, residual = inputs
    return context.masked_fill(off.to(context.device), 0), residual


@contextmanager
def without_edges(model: nn.Module, edges: Iterable[Edge]) -> Iterator[None]:
    """Cut edges inside the block: in one head, one token no longer attends to another.

    The edge's score is masked before the softmax, as for padding. The edge thus has a weight of 0, and the
    other weights of its row grow in proportion, so that they still sum to 1.

    Args:
        model: a `BertModel`, or a model with one as `bert`.
        edges: (layer, head, query, key), all counted from 0; the same positions in every text of a batch.

    Raises:
        ValueError: not a list of such edges, or a head that the model does not have; when the model is
            called, a position that the text does not have, or a token that has nothing left to attend to.
    """
    encoder = _encoder(model)
    with ExitStack() as hooks:
        for layer, layer_edges in _edges_by_layer(edges, encoder.config).items():
            attention = encoder.get_submodule(f"encoder.layer.{layer}.attention.self")
            hooks.callback(attention.register_forward_pre_hook(partial(_mask_edges, layer_edges)).remove)
        yield


def _mask_edges(
    edges: list[tuple[int, int, int]], module: BertSelfAttention, inputs: tuple[Any, ...]
) -> tuple[Any, ...]:
    """Return the inputs of `BertSelfAttention`, with edges masked in the mask: floats (1 or B, A, S, S)."""
    states, mask, *rest = inputs
    length, lowest = states.shape[1], torch.finfo(states.dtype).min
    is_cut = torch.zeros(module.num_attention_heads, length, length, dtype=torch.bool)
    for head, query, key in edges:
        if query not in range(length) or key not in range(length):
            raise ValueError(f"no edge from {query} to {key}; the text has tokens 0 to {length - 1}")
        is_cut[head, query, key] = True
    mask = states.new_zeros(1, 1, 1, length) if mask is None else mask
    mask = mask.masked_fill(is_cut.to(states.device), lowest)  # finite, see `additive_mask`
    isolated = (mask == lowest).all(-1).nonzero()  # (text, head, query) of tokens without any edge
    if len(isolated):
        raise ValueError(
            f"all edges of token {int(isolated[0, 2])} in head {int(isolated[0, 1])} are cut; keep one, or "
            "switch the head off with without_heads"
        )
    return states, mask, *rest


@torch.no_grad()
def logits_without_each_head(model: BertForSequenceClassification, input_ids: Tensor) -> Tensor:
    """Return the logits of one text without each head, with one batch for all heads of a layer.

    Args:
        model: on any device; dropout is off during the call.
        input_ids: whole numbers (1, S).

    Returns:
        floats (L, A, C): entry (i, j) holds the logits without head j of layer i. To measure many texts, use
        `head_importance`.

    Raises:
        ValueError: another kind of model, or not the ids of one text.
    """
    check_model(model, BertForSequenceClassification)
    if not isinstance(input_ids, Tensor) or input_ids.dim() != 2 or len(input_ids) != 1:
        shape = getattr(input_ids, "shape", type(input_ids).__name__)
        raise ValueError(
            f"input_ids is {shape}, expected a tensor (1, S), the ids of one text; use head_importance for "
            "many texts"
        )
    config, logits = model.config, []
    heads = config.num_attention_heads
    off = torch.eye(heads, dtype=torch.bool)[:, None]  # (A, 1, A): row i loses head i
    off = off.repeat_interleave(config.hidden_size // heads, dim=-1)  # (A, 1, H)
    for layer in range(config.num_hidden_layers):
        output = model.get_submodule(f"bert.encoder.layer.{layer}.attention.output")
        with evaluation_mode(model), ExitStack() as hooks:
            hooks.callback(output.register_forward_pre_hook(partial(_zero_features, off)).remove)
            logits.append(model(input_ids.expand(heads, -1)).logits)
    return torch.stack(logits)


def head_importance(
    model: BertForSequenceClassification, features: Features, batch_size: int = 32
) -> list[HeadImportance]:
    """Return loss and accuracy of a classifier with all heads, and then without each single head.

    Args:
        model: on any device; dropout is off during the call.
        features: N labeled texts, as returned by `text_features`; not those of the test set. Texts with the
            label −100 do not count.
        batch_size: texts per batch.

    Returns:
        1 + L · A rows: first all heads on, then each head off, layer by layer. Source: Michel et al. 2019,
        §3.2.

    Raises:
        ValueError: another kind of model, features of another task, or labels that the model lacks.
    """
    check_model(model, BertForSequenceClassification)
    check_features("features", features, model)
    if any(isinstance(label, list) for label in features.targets["labels"]):
        raise ValueError("features has labels of tokens, expected one for each text; use text_features")
    config = model.config
    all_heads = list(product(range(config.num_hidden_layers), range(config.num_attention_heads)))
    rows = [HeadImportance(None, None, *_measure(model, features, batch_size))]
    for layer, head in tqdm(all_heads, desc="heads", delay=PATIENCE, leave=False):
        with without_heads(model, [(layer, head)]):
            rows.append(HeadImportance(layer, head, *_measure(model, features, batch_size)))
    return rows


def _measure(
    model: BertForSequenceClassification, features: Features, batch_size: int
) -> tuple[float, float]:
    """Return the mean loss and the accuracy of the texts whose label counts."""
    logits = torch.stack(predict_logits(model, features, batch_size))  # (N, C)
    labels = torch.tensor(features.targets["labels"])
    counts = labels != IGNORE
    correct = logits.argmax(-1)[counts] == labels[counts]
    return cross_entropy(logits, labels, ignore_index=IGNORE).item(), correct.float().mean().item()


def _features_off(heads: Iterable[Head], config: BertConfig) -> dict[int, Tensor]:
    """Return, for each layer that loses a head, which features of its context become 0: booleans (H,)."""
    by_layer: dict[int, Tensor] = {}
    for layer, head in _whole_numbers("heads", heads, "(layer, head)"):
        _check_head(layer, head, config)
        off = by_layer.setdefault(layer, torch.zeros(config.hidden_size, dtype=torch.bool))
        off.view(config.num_attention_heads, -1)[head] = True  # (A, D), a view of the same memory
    return by_layer


def _edges_by_layer(edges: Iterable[Edge], config: BertConfig) -> dict[int, list[tuple[int, int, int]]]:
    """Return, for each layer that loses an edge, the (head, query, key) of its edges."""
    by_layer: dict[int, list[tuple[int, int, int]]] = {}
    for layer, head, query, key in _whole_numbers("edges", edges, "(layer, head, query, key)"):
        _check_head(layer, head, config)
        by_layer.setdefault(layer, []).append((head, query, key))
    return by_layer


def _whole_numbers(name: str, rows: Iterable[Any], form: str) -> list[tuple[int, ...]]:
    """Return heads or edges as tuples of whole numbers, whichever library they come from."""
    try:
        numbers = [tuple(int(operator.index(number)) for number in row) for row in rows]
    except TypeError:
        numbers = [()]
    if any(len(row) != form.count(",") + 1 for row in numbers):
        raise ValueError(f"{name}={repr(rows)[:60]} is not a list of {form}, whole numbers from 0")
    return numbers


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
