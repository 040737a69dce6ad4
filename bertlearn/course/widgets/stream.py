"""The residual stream of a text: every token's vector after every step of the model (chapter 3).

Source: Vaswani et al. 2017, §3.1; Devlin et al. 2019, §3.
Leaves out: batches and pairs of texts; models that are not this package's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from bertlearn.model.bert import BertLayer, BertModel
from bertlearn.model.inference import evaluation_mode
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

MAX_TOKENS = 64  # more would be too many to see
STEPS_IN = ("word", "+ position", "+ segment", "LayerNorm")
STEPS_OF_A_LAYER = ("+ attention", "LayerNorm", "+ feed-forward", "LayerNorm")


class Stream(NamedTuple):
    """The vectors of S tokens after each of T steps, which `step_names` names."""

    tokens: list[str]  # S
    states: Tensor  # floats (T, S, H)
    updates: Tensor  # floats (T, S, H), what the step added; 0 where it added nothing


def step_names(layers: int) -> list[str]:
    """Return the names of the 4 + 4 · layers steps, such as "layer 0: + attention"."""
    places = [("embeddings", STEPS_IN), *((f"layer {layer}", STEPS_OF_A_LAYER) for layer in range(layers))]
    return [f"{place}: {step}" for place, steps in places for step in steps]


def find_encoder(model: nn.Module) -> BertModel:
    """Return the model or, of a model with a head, its encoder.

    Raises:
        ValueError: there is none of this package.
    """
    encoder = getattr(model, "bert", model)
    if not isinstance(encoder, BertModel):
        raise ValueError(
            f"model is {type(model).__name__}, expected bertlearn's BertModel, alone or with a head; "
            "load one with BertModel.from_pretrained"
        )
    return encoder


@torch.no_grad()
def read_stream(model: nn.Module, tokenizer: WordPieceTokenizer, text: str) -> Stream:
    """Run a text through a model and keep every token's vector after each step.

    Args:
        model: ours, with any head or none; dropout is off during the call.
        tokenizer: the model's own.
        text: at most 64 tokens, [CLS] and [SEP] among them.

    Raises:
        ValueError: another model, no text or a longer one, numbers that are not finite.
    """
    encoder, encoding = find_encoder(model), tokenizer.encode(text)
    if len(encoding.tokens) > MAX_TOKENS:
        raise ValueError(f"the text has {len(encoding.tokens)} tokens; shorten it to {MAX_TOKENS} at most")
    embeddings, layers = encoder.embeddings, cast(list[BertLayer], encoder.encoder.layer)
    halves = [half for layer in layers for half in (layer.attention.output, layer.output)]
    adders = [embeddings.token_type_embeddings, *(half.dense for half in halves)]
    norms = [embeddings.LayerNorm, *(half.LayerNorm for half in halves)]
    position = embeddings.position_embeddings.weight[: len(encoding.tokens)]
    with evaluation_mode(encoder), _recorded([embeddings.word_embeddings, *adders, *norms]) as seen:
        encoder(torch.tensor([encoding.input_ids], device=position.device))
    word = seen[embeddings.word_embeddings][1]
    states, updates = [word, word + position], [torch.zeros_like(word), position]
    for adder, norm in zip(adders, norms, strict=True):
        states += seen[norm]  # the sum that goes in, and what comes out
        updates += [seen[adder][1], torch.zeros_like(word)]
    return Stream(encoding.tokens, _finite(torch.stack(states)), torch.stack(updates).float().cpu())


@contextmanager
def _recorded(modules: Sequence[nn.Module]) -> Iterator[dict[nn.Module, tuple[Tensor, Tensor]]]:
    """Keep each module's input and output for the first text of the batch."""
    seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        seen[module] = (inputs[0][0], output[0])

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(keep).remove)
        yield seen


def _finite(states: Tensor) -> Tensor:
    if not states.isfinite().all():
        step = int((~states.isfinite()).flatten(1).any(1).nonzero()[0])
        name = step_names(len(states) // 4 - 1)[step]
        raise ValueError(f"the model's numbers are not finite from “{name}” on; look at its weights")
    return states.float().cpu()
