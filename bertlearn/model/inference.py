"""A trained model in use: labels and vectors for texts, words for masks (chapters 3 to 6)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from bertlearn.model.bert import BertModel, PreTrainedModel, mean_pooling
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForMaskedLM, BertForPreTraining, BertForSequenceClassification
from bertlearn.model.prepacking import prepacked_weights
from bertlearn.tokenizer.inputs import check_texts
from bertlearn.tokenizer.wordpiece import Encoding, WordPieceTokenizer

Pair = tuple[str, str]

PATIENCE = float(os.environ.get("BERTLEARN_PATIENCE", "2"))  # seconds before a progress bar appears

WORTH_PREPACKING = 64  # texts; for fewer, prepacking takes longer than it saves


@torch.no_grad()
def predict(
    model: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str] | Sequence[Pair],
    batch_size: int = 32,
    max_length: int | None = None,
) -> Tensor:
    """Return the probability of each label for each text.

    Texts of similar length share a batch, the longest first, so that there is little padding. Neither the
    order of the texts nor the batch size changes a probability beyond rounding.

    Args:
        model: on any device; dropout is off during the call.
        tokenizer: the model's own.
        texts: N texts, or N pairs of texts.
        batch_size: texts per batch.
        max_length: longer texts are truncated to this many tokens; None for as many as the model has
            positions.

    Returns:
        float32 (N, C) on the CPU, in the order of the texts; the C labels are `model.config.id2label`.

    Raises:
        ValueError: texts mixed with pairs, an empty text or one that `encode` refuses, another kind of model,
            a tokenizer that does not fit it.
    """
    check_fit(model.config, tokenizer)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(
            f"batch_size={batch_size!r} is not a number of texts; use a whole number of at least 1"
        )
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
    """Return one vector for each text: the mean of the last hidden states of its tokens.

    Args:
        encoder: such as MiniLM, which was trained to give similar vectors to texts of similar meaning.
        tokenizer, batch_size, max_length: see `predict`.
        texts: N texts.

    Returns:
        float32 (N, H) on the CPU, in the order of the texts, not normalized.

    Raises:
        ValueError: an empty text, or one that `encode` refuses; a tokenizer that does not fit the model.
    """
    check_fit(encoder.config, tokenizer)
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
    """One token that could replace a `[MASK]`."""

    token: str
    probability: float


@torch.no_grad()
def fill_mask(
    model: BertForMaskedLM | BertForPreTraining, tokenizer: WordPieceTokenizer, text: str, k: int = 5
) -> list[list[Guess]]:
    """Return the most likely tokens for each `[MASK]` of a text.

    Args:
        model: a `BertForMaskedLM` or `BertForPreTraining`; dropout is off during the call.
        tokenizer: the model's own.
        text: with at least one [MASK].
        k: number of guesses for each [MASK].

    Returns:
        For each [MASK] the k most likely tokens, the most likely first. Some models have more ids than the
        tokenizer has tokens: such an id is never offered, but like in transformers the probabilities of all
        ids sum to 1.

    Raises:
        ValueError: no [MASK] in the text or none left after truncation, or k not in 1 … V; a tokenizer that
            does not fit the model.
    """
    check_fit(model.config, tokenizer)
    if not 1 <= k <= tokenizer.vocab_size:
        raise ValueError(f"k={k} is not a possible number of guesses; use 1 to {tokenizer.vocab_size}")
    batch = tokenizer.encode_batch([text], max_length=model.config.max_position_embeddings)
    masks = batch.input_ids[0] == tokenizer.mask_token_id
    if not masks.any():
        raise ValueError(
            f"no [MASK] to fill in the first {batch.input_ids.shape[1]} tokens of {text[:60]!r}; write for "
            "example 'the film was [MASK].'"
        )
    device = next(model.parameters()).device
    with evaluation_mode(model):
        output = model(**{name: value.to(device) for name, value in batch._asdict().items()})
    probs = output.prediction_logits[0, masks].float().softmax(-1)  # (masks, V of the model)
    best = probs[:, : tokenizer.vocab_size].topk(k)  # (masks, k)
    return [
        [Guess(tokenizer.ids_to_tokens[i], p) for i, p in zip(ids, likely, strict=True)]
        for ids, likely in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def check_fit(config: BertConfig, tokenizer: WordPieceTokenizer, encodings: Sequence[Encoding] = ()) -> None:
    """Check that a model can read what a tokenizer returns, before any work is done.

    A model may have more embeddings than the tokenizer has tokens; the further ones are then never read.

    Args:
        config: the model's.
        tokenizer: the one to use with it.
        encodings: made by it; none if there are none yet.

    Raises:
        ValueError: a tokenizer of another library; more tokens than the model has word embeddings; an
            encoding that is longer than the model has positions; pairs for a model without a second segment.
    """
    if not isinstance(tokenizer, WordPieceTokenizer):
        raise ValueError(
            f"tokenizer is {type(tokenizer).__name__}, expected bertlearn's WordPieceTokenizer; use "
            "WordPieceTokenizer.from_pretrained"
        )
    tokens = len(tokenizer.vocab)
    if tokens > config.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokens} tokens, but the model has embeddings for "
            f"{config.vocab_size}; use the tokenizer that belongs to this model"
        )
    longest = max((len(encoding.input_ids) for encoding in encodings), default=0)
    if longest > config.max_position_embeddings:
        raise ValueError(
            f"a text has {longest} tokens, but the model has positions for {config.max_position_embeddings}; "
            f"truncate with max_length={config.max_position_embeddings}"
        )
    if config.type_vocab_size < 2 and any(1 in encoding.token_type_ids for encoding in encodings):
        raise ValueError(
            f"a text is a pair, but the model has type_vocab_size={config.type_vocab_size}, no embedding for "
            "the second text of a pair; use single texts"
        )


def encode_texts(
    tokenizer: WordPieceTokenizer, texts: Sequence[str] | Sequence[Pair], max_length: int
) -> list[Encoding]:
    """Encode texts or pairs, keeping only ids: tokens and offsets of many texts would fill the memory."""
    return [
        tokenizer.encode(first, second, max_length)._replace(tokens=[], offsets=[], ends=[])
        for first, second in tqdm(split_pairs(texts), desc="encode", delay=PATIENCE, leave=False)
    ]


def outputs(
    model: PreTrainedModel, tokenizer: WordPieceTokenizer, encodings: Sequence[Encoding], batch_size: int
) -> Iterator[tuple[list[int], Any]]:
    """Run a model over encodings, batch by batch, without dropout; yield row numbers and output."""
    check_fit(model.config, tokenizer, encodings)
    device = next(model.parameters()).device
    prepacking = prepacked_weights(model) if len(encodings) >= WORTH_PREPACKING else nullcontext()
    with evaluation_mode(model), prepacking:
        for rows in tqdm(buckets(encodings, batch_size), desc="predict", delay=PATIENCE, leave=False):
            batch = tokenizer.pad([encodings[row] for row in rows])
            yield rows, model(**{name: value.to(device) for name, value in batch._asdict().items()})


def split_pairs(texts: Sequence[Any]) -> list[tuple[str, str | None]]:
    """Return each text with its second text, None if it has none; refuse texts mixed with pairs."""
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        raise ValueError(f"texts is {type(texts).__name__}, expected a list; put a single text into a list")
    if not texts:
        return []
    firsts, seconds = (texts, None) if isinstance(texts[0], str) else _columns(texts)
    return list(zip(firsts, check_texts(firsts, seconds), strict=True))


def _columns(pairs: Sequence[Any]) -> tuple[list[str], list[str]]:
    """Return the first texts and the second texts of pairs."""
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise ValueError(f"texts[{number}] is {repr(pair)[:60]}, expected a pair (A, B) like texts[0]")
    return [first for first, _ in pairs], [second for _, second in pairs]


def buckets(encodings: Sequence[Encoding], batch_size: int) -> list[list[int]]:
    """Return the row numbers of the encodings in batches of similar length, the longest first."""
    order = sorted(range(len(encodings)), key=lambda row: len(encodings[row].input_ids), reverse=True)
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Turn dropout off inside the block; afterwards each module is in the mode it was in."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def text_logits(output: Any) -> Tensor:
    """Return the logits (B, C) of a model's output; refuse a model that has none for whole texts."""
    logits = getattr(output, "logits", None)
    if logits is None or logits.dim() != 2:
        raise ValueError(
            f"a model with a {type(output).__name__} has no label for a whole text; use a "
            "BertForSequenceClassification"
        )
    return logits
