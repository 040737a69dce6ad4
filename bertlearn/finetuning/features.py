"""From labeled texts to batches: features for each kind of task, and the order of the rows (chapter 5)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from bertlearn.finetuning.spans import (
    NO_ANSWER,
    Span,
    answer_positions,
    as_spans,
    chars_to_tokens,
    check_label2id,
    token_labels,
)
from bertlearn.model.heads import IGNORE
from bertlearn.model.inference import Pair, check_tokenizer, encode_texts
from bertlearn.tokenizer.encoding import Encoding, SubwordTokenizer
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

BATCHES_PER_MEGABATCH = 50  # rows are sorted by length within a megabatch, as in transformers


class FinetuningBatch(NamedTuple):
    """Texts and their targets, under the names of `forward`'s arguments; targets of other tasks are None."""

    input_ids: Tensor  # int64 (B, S)
    attention_mask: Tensor  # int64 (B, S), 1 = keep
    token_type_ids: Tensor  # int64 (B, S)
    labels: Tensor | None = None  # int64 (B,), one per text; or (B, S), one per token; −100 is ignored
    start_positions: Tensor | None = None  # int64 (B,), the answer's first token
    end_positions: Tensor | None = None  # int64 (B,), its last token


@dataclass(frozen=True)
class Features:
    """N labeled texts, tokenized.

    `targets` holds lists of length N under the names of `forward`'s arguments: "labels", for each text a
    number or a list with one number per token; or "start_positions" and "end_positions".
    """

    tokenizer: SubwordTokenizer
    encodings: list[Encoding]
    targets: Mapping[str, list[Any]]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.encodings)

    def batch(self, rows: Sequence[int]) -> FinetuningBatch:
        """Return the texts with these indices as tensors, padded to the longest of them."""
        padded = self.tokenizer.pad([self.encodings[row] for row in rows])
        targets = {name: _stack([values[row] for row in rows]) for name, values in self.targets.items()}
        return FinetuningBatch(*padded, **targets)


def text_features(
    tokenizer: SubwordTokenizer,
    texts: Iterable[str] | Iterable[Pair],
    labels: Iterable[int],
    max_length: int,
) -> Features:
    """Return features of texts, or of pairs of texts, for `BertForSequenceClassification`.

    Args:
        tokenizer: the model's own.
        texts: N texts, or N pairs of texts.
        labels: N label ids, from 0, or −100 where a text does not count. Any type of whole number will do:
            NumPy's, torch's, Booleans, 1.0.
        max_length: maximum number of tokens; longer texts are truncated.

    Raises:
        ValueError: a tokenizer of another library; not one label per text, a label that is not such an id,
            single texts mixed with pairs, or a text that `encode` rejects.
    """
    check_tokenizer(tokenizer)
    texts, labels = _columns(texts=texts, labels=labels)
    numbers = [_class_number(index, label) for index, label in enumerate(labels)]
    return Features(tokenizer, encode_texts(tokenizer, texts, max_length), {"labels": numbers})


def token_features(
    tokenizer: WordPieceTokenizer,
    texts: Iterable[str],
    spans: Iterable[Iterable[Span]],
    label2id: dict[str, int],
    max_length: int,
) -> Features:
    """Return features of texts with marked spans for `BertForTokenClassification`.

    Args:
        tokenizer: the model's own.
        texts: N texts.
        spans: the spans of each text; an empty list if it has none.
        label2id: the number of each BIO label: `model.config.label2id`.
        max_length: maximum number of tokens; longer texts are truncated.

    Raises:
        ValueError: a tokenizer of another library; not one list of spans per text, a span that ends after its
            text or has no word, or something that `encode` or `token_labels` rejects; if the error concerns
            one text, the message begins with its number.
    """
    check_tokenizer(tokenizer, WordPieceTokenizer)
    check_label2id(label2id)
    texts, spans = _columns(texts=texts, spans=spans)
    encodings, labels = [], []
    for index, (text, text_spans) in enumerate(zip(texts, spans, strict=True)):
        with _named(f"texts[{index}]"):
            encoding, text_spans = tokenizer.encode(text, max_length=max_length), as_spans(text_spans)
            _check_spans(tokenizer, text, encoding, text_spans)
            labels.append(token_labels(encoding, text_spans, label2id))
        encodings.append(encoding)
    return Features(tokenizer, encodings, {"labels": labels})


def answer_features(
    tokenizer: WordPieceTokenizer,
    questions: Iterable[str],
    contexts: Iterable[str],
    answers: Iterable[tuple[int, int] | None],
    max_length: int,
) -> Features:
    """Return features of questions, contexts and answers for `BertForQuestionAnswering`.

    Args:
        tokenizer: the model's own.
        questions, contexts: N of each.
        answers: for each question, the answer's first character in the context and one after its last; None
            if there is no answer. A truncated answer counts as no answer.
        max_length: maximum number of tokens; the longer of question and context is truncated.

    Raises:
        ValueError: a tokenizer of another library; lists of different lengths, an answer that is not two
            whole numbers, or something that `encode` or `answer_positions` rejects; if the error concerns one
            question, the message begins with its number.
    """
    check_tokenizer(tokenizer, WordPieceTokenizer)
    questions, contexts, answers = _columns(questions=questions, contexts=contexts, answers=answers)
    ends = [_answer_ends(index, answer) for index, answer in enumerate(answers)]
    encodings, spans = [], []
    for index, (question, context, answer) in enumerate(zip(questions, contexts, ends, strict=True)):
        with _named(f"questions[{index}]"):
            encoding = tokenizer.encode(question, context, max_length)
            span = NO_ANSWER if answer is None else answer_positions(tokenizer, encoding, context, *answer)
        encodings.append(encoding)
        spans.append(span)
    targets = {
        "start_positions": [span.first for span in spans],
        "end_positions": [span.last for span in spans],
    }
    return Features(tokenizer, encodings, targets)


def endless_rows(lengths: Sequence[int], batch_size: int, seed: int) -> Callable[[int, int], list[int]]:
    """Return a function that returns rows `first` to `first + count − 1` of an endless sequence.

    The sequence consists of epochs of N rows, each with every row once; see `epoch_order`.
    """
    size = len(lengths)

    @lru_cache(maxsize=2)
    def epoch(number: int) -> list[int]:
        return epoch_order(np.asarray(lengths), batch_size, seed, number).tolist()

    return lambda first, count: [epoch(index // size)[index % size] for index in range(first, first + count)]


def epoch_order(lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return every row once, shuffled, but with rows of similar length in the same batch.

    The shuffled rows are split into megabatches of 50 batches, and each megabatch is sorted by length; then
    the batches are shuffled. The first few rows complete the batch in which the previous epoch ended.

    Args:
        lengths: (N,), tokens.
        batch_size: rows per batch.
        seed, epoch: the same seed and epoch always give the same order.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(lengths))
    first = min(-epoch * len(lengths) % batch_size, len(lengths))
    last = len(lengths) - (len(lengths) - first) % batch_size
    megabatch_size = BATCHES_PER_MEGABATCH * batch_size
    for begin in range(first, last, megabatch_size):
        megabatch = order[begin : min(begin + megabatch_size, last)]  # a view
        megabatch[:] = megabatch[np.argsort(lengths[megabatch], kind="stable")]
    rng.shuffle(order[first:last].reshape(-1, batch_size))  # also a view
    return order


def _stack(values: list[Any]) -> Tensor:
    """Return numbers as (B,), and lists of numbers as (B, S), padded with −100."""
    if not isinstance(values[0], list):
        return torch.tensor(values)
    return pad_sequence([torch.tensor(row) for row in values], batch_first=True, padding_value=IGNORE)


def _class_number(index: int, label: Any) -> int:
    """Return the id of a class as an int; refuse anything else, such as 0.9 or NaN."""
    try:
        number = int(label)
        is_class = bool(number == label) and (number >= 0 or number == IGNORE)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several numbers
        is_class = False
    if not is_class:
        raise ValueError(
            f"labels[{index}] is {repr(label)[:60]}, expected the id of a class: 0, 1, 2, …, or {IGNORE} "
            "where a text does not count"
        )
    return number


def _answer_ends(index: int, answer: Any) -> tuple[int, int] | None:
    """Return the start and the end of an answer as ints, None for no answer."""
    if answer is None:
        return None
    try:
        start, end = map(operator.index, answer)
    except (TypeError, ValueError):  # ValueError: more or fewer than two
        raise ValueError(
            f"answers[{index}] is {repr(answer)[:60]}, expected (start, end), counted in characters of the "
            "context, or None if there is no answer"
        ) from None
    return start, end


@contextmanager
def _named(row: str) -> Iterator[None]:
    """Let an error message begin with the row that it concerns."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{row}: {error}") from error


def _check_spans(tokenizer: WordPieceTokenizer, text: str, encoding: Encoding, spans: Sequence[Span]) -> None:
    for span in spans:
        if span.end > len(text):
            raise ValueError(f"{span} ends after the text, which has {len(text)} characters")
        characters = text[span.start : span.end]
        if chars_to_tokens(encoding, span.start, span.end) is None and not tokenizer.tokenize(characters):
            raise ValueError(f"{span} covers only {characters!r}, no part of a word; correct it, or drop it")


def _columns(**columns: Any) -> list[list[Any]]:
    """Return the columns as lists, so that a generator can be read twice; refuse other lengths and types."""
    for name, column in columns.items():
        has_no_rows = isinstance(column, str | bytes | Mapping | Set) or hasattr(column, "columns")  # a table
        if has_no_rows or not isinstance(column, Iterable):
            raise ValueError(f"{name} is {type(column).__name__}, expected a list with one entry per text")
    lists = {name: list(column) for name, column in columns.items()}
    counts = {name: len(column) for name, column in lists.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        lengths = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ValueError(f"{lengths}; give the same number of each, at least one")
    return list(lists.values())
