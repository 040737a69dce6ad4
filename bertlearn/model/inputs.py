"""Checks of a model's inputs: their types, shapes and ranges; each error names a remedy (chapter 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from bertlearn.model.config import BertConfig

IGNORE = -100  # the label of a position that does not count in the loss


def check_inputs(
    config: BertConfig,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    token_type_ids: Tensor | None,
    position_ids: Tensor | None,
) -> None:
    """Refuse inputs that would end in an index error, in NaN or, worse, in a silently wrong answer."""
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
        _check_ids("position_ids", position_ids, config.max_position_embeddings, "0 = the first position")
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
        raise ValueError("attention_mask holds values other than 1 = keep and 0 = padding")
    empty = (mask == 0).all(dim=1).nonzero()
    if len(empty):
        raise ValueError(
            f"attention_mask is all 0 in row {int(empty[0])}: nothing to attend to; drop that row"
        )


def check_labels(name: str, labels: Tensor | None, shape: torch.Size, count: int) -> Tensor:
    """Return the labels if they are whole numbers of this shape, from 0 to count − 1, or −100."""
    labels = check_targets(name, labels, shape)
    if not torch.compiler.is_compiling():  # reading values would break the graph
        wrong = labels[(labels != IGNORE) & ((labels < 0) | (labels >= count))]
        if len(wrong):
            raise ValueError(
                f"{name} holds {int(wrong[0])}, expected 0 to {count - 1}, or {IGNORE} where none counts"
            )
    return labels


def check_targets(name: str, targets: Tensor | None, shape: torch.Size) -> Tensor:
    """Return the targets if they are whole numbers of this shape."""
    if not isinstance(targets, Tensor):
        raise ValueError(
            f"{name} is {type(targets).__name__}, expected a tensor {tuple(shape)} of torch.int64"
        )
    if targets.dtype != torch.int64:
        raise ValueError(
            f"{name} has dtype {targets.dtype}, expected torch.int64: classes and positions are whole "
            "numbers; convert with .long()"
        )
    if targets.shape != shape:
        raise ValueError(f"{name} has shape {tuple(targets.shape)}, expected {tuple(shape)}")
    return targets
