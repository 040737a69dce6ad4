"""One text's attention as all views take it: tokens, probabilities, and the vectors they were made from.

Leaves out: batches; encoder-decoder models, whose queries and keys come from different texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bertlearn.model.inference import evaluation_mode
from bertlearn.tokenizer.inputs import check_text
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

MAX_TOKENS = 256  # more would be too small to see, and too large to save
PROJECTIONS = ("query", "key", "value")  # module names, in this package and in transformers

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """The attention of every head on one text of S tokens."""

    tokens: list[str]
    probs: Floats  # (L, A, S, S), each row sums to 1
    second: int | None = None  # index of the second text's first token, if there are two texts
    queries: Floats | None = None  # (L, A, S, D), as they enter the scores
    keys: Floats | None = None  # (L, A, S, D)
    values: Floats | None = None  # (L, A, S, D); probs @ values is the context

    def __post_init__(self) -> None:
        """Check that the views can show these arrays."""
        self._check_probs()
        if self.second is not None and not 0 < self.second < len(self.tokens):
            raise ValueError(
                f"second={self.second} does not start a second text; expected 1 to {len(self.tokens) - 1}"
            )
        for name in ("queries", "keys", "values"):
            vectors = getattr(self, name)
            if vectors is not None and (vectors.ndim != 4 or vectors.shape[:3] != self.probs.shape[:3]):
                raise ValueError(
                    f"{name} have shape {vectors.shape}, expected {(*self.probs.shape[:3], 'size')}, "
                    "with the layers, heads and tokens of the attentions"
                )

    def _check_probs(self) -> None:
        if self.probs.size == 0:
            raise ValueError(f"attentions of shape {self.probs.shape} are empty; expected at least one token")
        if self.probs.ndim != 4 or self.probs.shape[2] != self.probs.shape[3]:
            raise ValueError(
                f"attentions have shape {self.probs.shape}, expected (layers, heads, tokens, tokens)"
            )
        if self.probs.shape[-1] != len(self.tokens):
            raise ValueError(
                f"attentions are of {self.probs.shape[-1]} tokens, but {len(self.tokens)} tokens were given; "
                "give those of the same encoding, with [CLS] and [SEP] and without padding"
            )
        if len(self.tokens) > MAX_TOKENS:
            raise ValueError(
                f"{len(self.tokens)} tokens are too many to show; shorten the text to at most {MAX_TOKENS}"
            )
        if not np.isfinite(self.probs).all():
            raise ValueError("attentions contain NaN or infinity; look for a row that is fully masked")
        if self.probs.min() < 0:
            raise ValueError("attentions are negative: these are scores; take their softmax over the keys")

    def __repr__(self) -> str:
        """Return the sizes."""
        layers, heads = self.probs.shape[:2]
        return f"AttentionMaps({layers} layers, {heads} heads, {len(self.tokens)} tokens)"


def attention_maps(
    attentions: Sequence[Tensor] | Tensor | NDArray[Any], tokens: Sequence[str], second: int | None = None
) -> AttentionMaps:
    """Return the maps of existing attentions: a model's tuple, or one array.

    Args:
        attentions: L tensors (1, A, S, S) or (A, S, S); or one tensor or array (L, A, S, S).
        tokens: S tokens.
        second: index of the second text's first token, if there are two texts.

    Raises:
        ValueError: the attentions are empty or of several texts, or sizes do not fit.
    """
    if attentions is None or len(attentions) == 0 or any(layer is None for layer in attentions):
        raise ValueError(
            "attentions are empty: call the model with output_attentions=True, and load a transformers "
            'model with attn_implementation="eager", as its fast paths return none'
        )
    layers = [_array(layer) for layer in attentions]
    shapes = {layer.shape for layer in layers}
    if len(shapes) > 1:
        raise ValueError(f"layers have different shapes, {sorted(shapes)}; give attentions of one text")
    probs = np.stack(layers)
    if probs.ndim == 5:
        if probs.shape[1] != 1:
            raise ValueError(
                f"attentions are of a batch of {probs.shape[1]} texts; take one: "
                "[layer[:1] for layer in attentions]"
            )
        probs = probs[:, 0]
    return AttentionMaps([str(token) for token in tokens], probs, second)


@torch.no_grad()
def read_attention(model: nn.Module, tokenizer: Any, text: str, pair: str | None = None) -> AttentionMaps:
    """Run a model on one or two texts, and return every head's attention, queries, keys and values.

    Args:
        model: one of this package, or of transformers with BERT's layers; it may have any head. Dropout is
            off during the call.
        tokenizer: the model's own, of this package or of transformers.
        text: the text to read.
        pair: a second text, after the first [SEP].

    Raises:
        ValueError: a text is empty or no string, there is no tokenizer, the model has no layers like BERT's,
            or `AttentionMaps` refuses a value.
    """
    texts = [check_text(text)] + ([] if pair is None else [check_text(pair, "pair")])
    if not all(one.strip() for one in texts):
        raise ValueError("the text is empty; give some words to look at")
    ids, segments, tokens = _encode(tokenizer, text, pair)
    layers = _self_attentions(model)
    with evaluation_mode(model), _eager(model), _recorded(layers) as recorded:
        device = next(model.parameters()).device
        encoder = getattr(model, "bert", model)
        output = encoder(ids.to(device), token_type_ids=segments.to(device), output_attentions=True)
    maps = attention_maps(output.attentions, tokens, _first_of_second(segments))
    heads = maps.probs.shape[1]
    vectors = (np.stack([_split(x, heads) for x in kept]) for kept in recorded.values())
    return AttentionMaps(maps.tokens, maps.probs, maps.second, *vectors)


def _array(layer: Any) -> Floats:
    if isinstance(layer, Tensor):
        layer = layer.detach().cpu().float().numpy()
    return np.asarray(layer, dtype=np.float32)


def _encode(tokenizer: Any, text: str, pair: str | None) -> tuple[Tensor, Tensor, list[str]]:
    """Return ids and segments, (1, S), and the tokens."""
    if isinstance(tokenizer, WordPieceTokenizer):
        encoding = tokenizer.encode(text, pair)
        ids, segments, tokens = encoding.input_ids, encoding.token_type_ids, encoding.tokens
    elif not callable(tokenizer):
        raise ValueError(
            f"tokenizer is {type(tokenizer).__name__}, expected one of bertlearn or of transformers; use "
            "WordPieceTokenizer.from_pretrained"
        )
    else:
        encoding = tokenizer(text, pair, return_token_type_ids=True)
        ids, segments = encoding["input_ids"], encoding["token_type_ids"]
        tokens = tokenizer.convert_ids_to_tokens(ids)
    return torch.tensor([ids]), torch.tensor([segments]), list(tokens)


def _first_of_second(segments: Tensor) -> int | None:
    """Return where the second text begins, None if there is none."""
    positions = segments[0].nonzero()
    return int(positions[0]) if len(positions) else None


def _self_attentions(model: nn.Module) -> list[nn.Module]:
    """Return the modules with `query`, `key` and `value`, layer by layer."""
    modules = [m for m in model.modules() if all(hasattr(m, name) for name in PROJECTIONS)]
    if not modules:
        raise ValueError(
            f"{type(model).__name__} has no layers with query, key and value; "
            "expected a BERT of this package or of transformers"
        )
    return modules


@contextmanager
def _eager(model: Any) -> Iterator[None]:
    """Let a transformers model return its attentions, which its fast paths do not."""
    before = getattr(model.config, "_attn_implementation", None)
    if before in (None, "eager"):
        yield
        return
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def _recorded(layers: list[nn.Module]) -> Iterator[dict[str, list[Tensor]]]:
    """Record the output of every layer's projections, (S, H) each, by the projection's name."""
    recorded: dict[str, list[Tensor]] = {name: [] for name in PROJECTIONS}
    with ExitStack() as hooks:
        for layer, (name, kept) in product(layers, recorded.items()):
            hook = layer.get_submodule(name).register_forward_hook(
                lambda _, __, output, kept=kept: kept.append(output[0])
            )
            hooks.callback(hook.remove)
        yield recorded


def _split(x: Tensor, heads: int) -> Floats:
    """Split (S, H) into heads as the model does: (A, S, D)."""
    return _array(x.unflatten(-1, (heads, -1)).transpose(0, 1))
