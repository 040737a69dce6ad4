"""A trained model in use: labels and vectors for texts, words for masks (chapters 3 to 6)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from bertlearn.model.bert import BertModel, mean_pooling
from bertlearn.model.heads import BertForMaskedLM, BertForPreTraining, BertForSequenceClassification
from bertlearn.model.prepacking import prepacked_weights
from bertlearn.tokenizer.inputs import check_texts
from bertlearn.tokenizer.wordpiece import Encoding, WordPieceTokenizer

Pair = tuple[str, str]

PATIENCE = float(os.environ.get("BERTLEARN_PATIENCE", "2"))  # seconds before a progress bar appears

WORTH_PACKING = 64  # texts: for fewer, packing takes longer than it saves


@torch.no_grad()
def predict(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str] | Sequence[Pair],
    batch_size: int = 32,
    max_length: int | None = None,
) -> Tensor:
    """Return the probability of each label for each text.

    Texts of about the same length go through the model together, the longest first, so that little is
    padded. Neither the order of the texts nor the size of the batches changes a probability by more than
    rounding does.

    Args:
        model: on any device; dropout is off during the call.
        tokenizer: the model's own.
        texts: N texts, or N pairs of texts.
        batch_size: texts at a time.
        max_length: tokens at most, longer texts are cut; None for as many as the model has positions.

    Returns:
        float32 (N, C) on the CPU, in the order of the texts; C are `model.config.id2label`.

    Raises:
        ValueError: texts mixed with pairs, an empty one, what `encode` refuses, or another kind of model.
    """
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} is no number of texts; use a whole number from 1 up")
    limit = model.config.max_position_embeddings if max_length is None else max_length
    encodings = encode_texts(tokenizer, texts, limit)
    probs = torch.zeros(len(encodings), model.config.num_labels)
    for rows, output in outputs(model, tokenizer, encodings, batch_size):
        probs[rows] = text_logits(output).float().softmax(-1).cpu()
    return probs


@torch.no_grad()
def sentence_vectors(
    encoder: BertModel,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    batch_size: int = 32,
    max_length: int | None = None,
) -> Tensor:
    """Return one vector for each text: the mean of its tokens' last hidden states.

    Args:
        encoder: such as MiniLM, which was trained to give texts of like meaning like vectors.
        tokenizer, batch_size, max_length: see `predict`.
        texts: N texts.

    Returns:
        float32 (N, H) on the CPU, in the order of the texts, not normalized.

    Raises:
        ValueError: an empty text, or what `encode` refuses.
    """
    limit = encoder.config.max_position_embeddings if max_length is None else max_length
    encodings = encode_texts(tokenizer, texts, limit)
    vectors = torch.zeros(len(encodings), encoder.config.hidden_size)
    for rows, output in outputs(encoder, tokenizer, encodings, batch_size):
        hidden = output.last_hidden_state  # (B, S, H)
        lengths = torch.tensor([len(encodings[row].input_ids) for row in rows])
        keep = torch.arange(hidden.shape[1]) < lengths[:, None]  # (B, S)
        vectors[rows] = mean_pooling(hidden.float().cpu(), keep)
    return vectors


class Guess(NamedTuple):
    """One token that could stand in place of a `[MASK]`."""

    token: str
    probability: float


@torch.no_grad()
def fill_mask(
    model: BertForMaskedLM | BertForPreTraining, tokenizer: WordPieceTokenizer, text: str, k: int = 5
) -> list[list[Guess]]:
    """Guess what stands in place of each `[MASK]` of a text.

    Args:
        model: a `BertForMaskedLM` or `BertForPreTraining`; dropout is off during the call.
        tokenizer: the model's own.
        text: with at least one [MASK].
        k: guesses for each.

    Returns:
        For each [MASK] the k likeliest tokens, the likeliest first.

    Raises:
        ValueError: no [MASK] in the text, or none left after truncation, or a k that is not in 1 … V.
    """
    if not 1 <= k <= tokenizer.vocab_size:
        raise ValueError(f"k={k} guesses cannot be made; use 1 to {tokenizer.vocab_size}")
    batch = tokenizer.encode_batch([text], max_length=model.config.max_position_embeddings)
    masks = batch.input_ids[0] == tokenizer.mask_token_id
    if not masks.any():
        raise ValueError(
            f"no [MASK] to fill in the first {batch.input_ids.shape[1]} tokens of {text[:60]!r}; write for "
            "example 'the film was [MASK].'"
        )
    device = next(model.parameters()).device
    was_training = model.training
    output = model.eval()(**{name: value.to(device) for name, value in batch._asdict().items()})
    model.train(was_training)
    best = output.prediction_logits[0, masks].float().softmax(-1).topk(k)  # (masks, k)
    return [
        [Guess(tokenizer.ids_to_tokens[i], p) for i, p in zip(ids, probs, strict=True)]
        for ids, probs in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def encode_texts(
    tokenizer: WordPieceTokenizer, texts: Sequence[str] | Sequence[Pair], max_length: int
) -> list[Encoding]:
    """Encode texts or pairs, ids alone: tokens and offsets of many texts would fill the memory."""
    return [
        tokenizer.encode(first, second, max_length)._replace(tokens=[], offsets=[])
        for first, second in tqdm(split_pairs(texts), desc="encode", delay=PATIENCE, leave=False)
    ]


def outputs(
    model: nn.Module, tokenizer: WordPieceTokenizer, encodings: Sequence[Encoding], batch_size: int
) -> Iterator[tuple[list[int], Any]]:
    """Run a model over encodings, batch by batch, dropout off; give the rows' numbers and the output."""
    device = next(model.parameters()).device
    packing = prepacked_weights(model) if len(encodings) >= WORTH_PACKING else nullcontext()
    with evaluation_mode(model), packing:
        for rows in tqdm(buckets(encodings, batch_size), desc="predict", delay=PATIENCE, leave=False):
            batch = tokenizer.pad([encodings[row] for row in rows])
            yield rows, model(**{name: value.to(device) for name, value in batch._asdict().items()})


def split_pairs(texts: Sequence[Any]) -> list[tuple[str, str | None]]:
    """Return every text with its second one, None where there is none; refuse texts mixed with pairs."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        raise ValueError(f"texts is {type(texts).__name__}, expected a list; put a single text in a list")
    if not texts:
        return []
    firsts, seconds = (texts, None) if isinstance(texts[0], str) else _columns(texts)
    return list(zip(firsts, check_texts(firsts, seconds), strict=True))


def _columns(pairs: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Return the first and the second texts of pairs."""
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"texts[{number}] is {repr(pair)[:60]}, expected a pair (A, B) like texts[0]")
    return [first for first, _ in pairs], [second for _, second in pairs]


def buckets(encodings: Sequence[Encoding], batch_size: int) -> list[list[int]]:
    """Return the encodings' numbers in batches of about the same length, the longest first."""
    order = sorted(range(len(encodings)), key=lambda row: len(encodings[row].input_ids), reverse=True)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Turn dropout off for a while; afterwards each part of the model is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def text_logits(output: Any) -> Tensor:
    """Return the logits (B, C) of a model's output; refuse a model that gives none for whole texts."""
    logits = getattr(output, "logits", None)
    if logits is None or logits.dim() != 2:
        raise ValueError(
            f"a model with a {type(output).__name__} has no label for a whole text; use a "
            "BertForSequenceClassification"
        )
    return logits
