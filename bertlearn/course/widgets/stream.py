"""The residual stream of a text: every token's vector after every step of the model (chapter 3).

Source: Vaswani et al. 2017, §3.1; Devlin et al. 2019, §3.
Leaves out: batches and pairs of texts; models of other packages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from bertlearn.model.bert import BertLayer, BertModel
from bertlearn.model.inference import check_fit, evaluation_mode
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

MAX_TOKENS = 64  # more would not be readable
STEPS_IN = ("word", "+ position", "+ segment", "LayerNorm")
STEPS_OF_A_LAYER = ("+ attention", "LayerNorm", "+ feed-forward", "LayerNorm")


class Stream(NamedTuple):
    """The vectors of S tokens after each of T steps, which `step_names` names."""

    tokens: list[str]  # S
    states: Tensor  # floats (T, S, H)
    updates: Tensor  # floats (T, S, H), what the step added; 0 where it added nothing


def step_names(layers: int) -> list[str]:
    """Return the names of the 4 + 4 · layers steps, such as "layer 0: + attention"."""
    groups = [("embeddings", STEPS_IN), *((f"layer {layer}", STEPS_OF_A_LAYER) for layer in range(layers))]
    return [f"{group}: {step}" for group, steps in groups for step in steps]


def find_encoder(model: nn.Module) -> BertModel:
    """Return a model's encoder: its `bert` if it has a head, otherwise the model itself.

    Raises:
        ValueError: the encoder is not this package's `BertModel`.
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
    """Run a model on a text and return every token's vector after each step.

    Args:
        model: one of this package, with any head or none; dropout is off during the call.
        tokenizer: the model's own.
        text: at most 64 tokens, including [CLS] and [SEP].

    Raises:
        ValueError: the model is not of this package, the text is empty or too long, or a number is not
            finite.
    """
    encoder, encoding = find_encoder(model), tokenizer.encode(text)
    check_fit(encoder.config, tokenizer)
    if len(encoding.tokens) > MAX_TOKENS:
        raise ValueError(f"the text has {len(encoding.tokens)} tokens; shorten it to at most {MAX_TOKENS}")
    embeddings, layers = encoder.embeddings, cast(list[BertLayer], encoder.encoder.layer)
    outputs = [output for layer in layers for output in (layer.attention.output, layer.output)]
    adders = [embeddings.token_type_embeddings, *(output.dense for output in outputs)]
    norms = [embeddings.LayerNorm, *(output.LayerNorm for output in outputs)]
    position = embeddings.position_embeddings.weight[: len(encoding.tokens)]
    with evaluation_mode(encoder), _recorded([embeddings.word_embeddings, *adders, *norms]) as recorded:
        encoder(torch.tensor([encoding.input_ids], device=position.device))
    word = recorded[embeddings.word_embeddings][1]
    states, updates = [word, word + position], [torch.zeros_like(word), position]
    for adder, norm in zip(adders, norms, strict=True):
        states += recorded[norm]  # its input, which is the sum, and its output
        updates += [recorded[adder][1], torch.zeros_like(word)]
    return Stream(encoding.tokens, _finite(torch.stack(states)), torch.stack(updates).float().cpu())


@contextmanager
def _recorded(modules: Sequence[nn.Module]) -> Iterator[dict[nn.Module, tuple[Tensor, Tensor]]]:
    """Record each module's input and output for the first text of the batch."""
    recorded: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def keep(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        recorded[module] = (inputs[0][0], output[0])

    with ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(keep).remove)
        yield recorded


def _finite(states: Tensor) -> Tensor:
    if not states.isfinite().all():
        step = int((~states.isfinite()).flatten(1).any(1).nonzero()[0])
        name = step_names(len(states) // 4 - 1)[step]
        raise ValueError(f"the model's numbers are not finite from “{name}” on; check its weights")
    return states.float().cpu()
