"""From labeled texts to batches: features for each kind of task, and their order (chapter 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bertlearn.finetuning.spans import NO_ANSWER, Span, answer_positions, token_labels
from bertlearn.model.heads import IGNORE
from bertlearn.model.inference import Pair, encode_texts
from bertlearn.tokenizer.wordpiece import Encoding, WordPieceTokenizer

WINDOW = 50  # batches among whose examples those of the same length are put together


class FinetuningBatch(NamedTuple):
    """Texts and what is to be said of them, by the names of `forward`; parts of other tasks are None."""

    input_ids: Tensor  # int64 (B, S)
    attention_mask: Tensor  # int64 (B, S), 1 = keep
    token_type_ids: Tensor  # int64 (B, S)
    labels: Tensor | None = None  # int64 (B,), one a text; or (B, S), one a token; −100 does not count
    start_positions: Tensor | None = None  # int64 (B,), the answer's first token
    end_positions: Tensor | None = None  # int64 (B,), its last


@dataclass(frozen=True)
class Features:
    """N labeled texts, in pieces.

    `targets` has, under the names of `forward`, a list of N: "labels", for each text a number or a list with
    one a token; or "start_positions" and "end_positions".
    """

    tokenizer: WordPieceTokenizer
    encodings: list[Encoding]
    targets: Mapping[str, list[Any]]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.encodings)

    def batch(self, rows: Sequence[int]) -> FinetuningBatch:
        """Return some of the texts as tensors, padded to the longest of them."""
        padded = self.tokenizer.pad([self.encodings[row] for row in rows])
        targets = {name: _stack([values[row] for row in rows]) for name, values in self.targets.items()}
        return FinetuningBatch(*padded, **targets)


def text_features(
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str] | Sequence[Pair],
    labels: Sequence[int],
    max_length: int,
) -> Features:
    """Make texts, or pairs, ready for `BertForSequenceClassification`.

    Args:
        tokenizer: the model's own.
        texts: N texts, or N pairs of texts.
        labels: N numbers of labels, from 0.
        max_length: tokens at most, longer texts are cut.

    Raises:
        ValueError: not a label a text, texts mixed with pairs, or what `encode` refuses.
    """
    _check_counts(texts=texts, labels=labels)
    encodings = encode_texts(tokenizer, texts, max_length)
    return Features(tokenizer, encodings, {"labels": [int(label) for label in labels]})


def token_features(
    tokenizer: WordPieceTokenizer,
    texts: Sequence[str],
    spans: Sequence[Sequence[Span]],
    label2id: dict[str, int],
    max_length: int,
) -> Features:
    """Make texts with marked spans ready for `BertForTokenClassification`.

    Args:
        tokenizer: the model's own.
        texts: N texts.
        spans: the spans of each text.
        label2id: the number of each BIO label: `model.config.label2id`.
        max_length: tokens at most, longer texts are cut.

    Raises:
        ValueError: not a list of spans a text, or what `encode` and `token_labels` refuse.
    """
    _check_counts(texts=texts, spans=spans)
    encodings = [tokenizer.encode(text, max_length=max_length) for text in texts]
    labels = [token_labels(encoding, own, label2id) for encoding, own in zip(encodings, spans, strict=True)]
    return Features(tokenizer, encodings, {"labels": labels})


def answer_features(
    tokenizer: WordPieceTokenizer,
    questions: Sequence[str],
    contexts: Sequence[str],
    answers: Sequence[tuple[int, int] | None],
    max_length: int,
) -> Features:
    """Make questions and texts with their answers ready for `BertForQuestionAnswering`.

    Args:
        tokenizer: the model's own.
        questions, contexts: N each.
        answers: for each the answer's first character in the context and one after its last; None where
            there is none. An answer that is cut off counts as none.
        max_length: tokens at most, the longer of the two is cut.

    Raises:
        ValueError: lists of different lengths, or what `encode` and `answer_positions` refuse.
    """
    _check_counts(questions=questions, contexts=contexts, answers=answers)
    rows = list(zip(questions, contexts, answers, strict=True))
    encodings = [tokenizer.encode(question, context, max_length) for question, context, _ in rows]
    spans = [
        NO_ANSWER if answer is None else answer_positions(tokenizer, encoding, context, *answer)
        for encoding, (_, context, answer) in zip(encodings, rows, strict=True)
    ]
    targets = {
        "start_positions": [span.first for span in spans],
        "end_positions": [span.last for span in spans],
    }
    return Features(tokenizer, encodings, targets)


def endless_rows(lengths: Sequence[int], batch_size: int, seed: int) -> Callable[[int, int], list[int]]:
    """Return a function that gives the rows numbered `first` to `first + count − 1` of an endless sequence.

    Each N of them, an epoch, hold every row once; see `epoch_order`.
    """
    size = len(lengths)

    @lru_cache(maxsize=2)
    def epoch(number: int) -> list[int]:
        return epoch_order(np.asarray(lengths), batch_size, seed, number).tolist()

    return lambda first, count: [epoch(place // size)[place % size] for place in range(first, first + count)]


def epoch_order(lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return every row once, shuffled, but so that rows of about the same length meet in a batch.

    Among the examples of 50 batches, drawn by chance, those of about the same length are put together; then
    the batches are shuffled. The first few rows complete the batch in which the epoch before ended.

    Args:
        lengths: (N,), tokens.
        batch_size: rows a batch.
        seed, epoch: the same two always give the same order.
    """
    chance = np.random.default_rng([seed, epoch])
    order = chance.permutation(len(lengths))
    first = min(-epoch * len(lengths) % batch_size, len(lengths))
    last = len(lengths) - (len(lengths) - first) % batch_size
    for begin in range(first, last, WINDOW * batch_size):
        window = order[begin : min(begin + WINDOW * batch_size, last)]  # a view
        window[:] = window[np.argsort(lengths[window], kind="stable")]
    chance.shuffle(order[first:last].reshape(-1, batch_size))  # a view, too
    return order


def _stack(values: list[Any]) -> Tensor:
    """Return numbers as (B,), lists of numbers as (B, S), padded with what does not count."""
    if not isinstance(values[0], list):
        return torch.tensor(values)
    return pad_sequence([torch.tensor(own) for own in values], batch_first=True, padding_value=IGNORE)


def _check_counts(**columns: Sequence[Any]) -> None:
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        found = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"{found}; give as many of each, at least one")
