"""Which attention heads does a model need: they are switched off, and what happens is measured (chapter 6).

Source: Michel et al. 2019, §3; Voita et al. 2019. Leaves out: estimates by gradients; pruning for speed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from bertlearn.config import BertConfig
from bertlearn.encoder import BertModel
from bertlearn.finetune import Features, predict_logits
from bertlearn.finetuning import PATIENCE, BertForSequenceClassification

Head = tuple[int, int]  # layer and head, both from 0


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


def head_importance(
    model: BertForSequenceClassification, features: Features, batch_size: int = 64
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
    layers, width = range(config.num_hidden_layers), range(config.num_attention_heads)
    found: dict[int, Tensor] = {}
    for layer, head in heads:
        if layer not in layers or head not in width:
            raise ValueError(
                f"the model has no head {(layer, head)}; it has layers 0 to {layers[-1]} with heads 0 to "
                f"{width[-1]} each"
            )
        off = found.setdefault(layer, torch.zeros(config.hidden_size, dtype=torch.bool))
        off.view(len(width), -1)[head] = True  # (A, D), the same memory
    return found


def _encoder(model: nn.Module) -> BertModel:
    encoder = getattr(model, "bert", model)
    if not isinstance(encoder, BertModel):
        raise ValueError(f"model is {type(model).__name__}, expected a BertModel or a model built on one")
    return encoder
