"""Checks, before a fine-tuning run, that a model can learn from its features (chapter 5)."""

from __future__ import annotations

from numbers import Integral
from typing import Any

from bertlearn.finetuning.features import Features
from bertlearn.model.heads import (
    IGNORE,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from bertlearn.model.inference import check_fit

FinetuningModel = BertForSequenceClassification | BertForTokenClassification | BertForQuestionAnswering
TARGETS = {  # what each kind of model learns from, and the function that makes it
    BertForSequenceClassification: ("one label per text", "text_features"),
    BertForTokenClassification: ("one label per token", "token_features"),
    BertForQuestionAnswering: ("answers", "answer_features"),
}


def check_features(name: str, features: Any, model: FinetuningModel) -> None:
    """Check that a model can learn from features, before any work is done.

    Args:
        name: of the argument, for the message.
        features: what was given.
        model: one of the three kinds.

    Raises:
        ValueError: something other than features; targets of the wrong kind for the model, or labels, ids or
            lengths that it lacks; no label that counts.
    """
    check_type(name, features)
    _check_kind(name, features, model)
    check_fit(model.config, features.tokenizer, features.encodings)
    if isinstance(model, BertForQuestionAnswering):
        _check_positions(name, features)
    else:
        _check_labels(name, features, model.config.num_labels)


def check_type(name: str, features: Any) -> None:
    """Refuse anything but `Features`."""
    if not isinstance(features, Features):
        raise ValueError(
            f"{name} is {type(features).__name__}, expected Features; use text_features, token_features or "
            "answer_features"
        )


def check_same_tokenizer(train: Features, validation: Features) -> None:
    """Refuse two sets whose ids mean different tokens, or whose texts were normalized in different ways.

    Raises:
        ValueError: the tokenizers differ.
    """
    one, other = ({"vocab": x.tokenizer.vocab, **x.tokenizer.settings} for x in (train, validation))
    if different := next((name for name in one if one[name] != other.get(name)), None):
        raise ValueError(
            f"train and validation were made by tokenizers with different {different}; make both with the "
            "tokenizer that belongs to the model"
        )


def _check_kind(name: str, features: Features, model: FinetuningModel) -> None:
    rows = features.targets.get("labels")
    if rows is None:
        found = {"answers"}
    else:
        found = {"one label per token" if isinstance(row, list) else "one label per text" for row in rows}
    expected, maker = next(learns for kind, learns in TARGETS.items() if isinstance(model, kind))
    if found - {expected}:
        raise ValueError(
            f"{name} has {' and '.join(sorted(found))}, but {type(model).__name__} learns from {expected}; "
            f"use {maker}"
        )


def _check_labels(name: str, features: Features, count: int) -> None:
    """Refuse labels that the model lacks, and a whole set without one, whose scores would be NaN."""
    rows = features.targets["labels"]
    for row, encoding in zip(rows, features.encodings, strict=True):
        if isinstance(row, list) and len(row) != len(encoding.input_ids):
            raise ValueError(
                f"{name} has a text with {len(row)} labels for {len(encoding.input_ids)} tokens; use "
                "token_features"
            )
    labels = set().union(*(row if isinstance(row, list) else [row] for row in rows)) - {IGNORE}
    if not labels:
        raise ValueError(
            f"{name} has no label but {IGNORE}, which does not count; give a label to at least one of the "
            f"{len(rows)} texts"
        )
    unknown = [label for label in labels if not isinstance(label, Integral) or not 0 <= int(label) < count]
    if unknown:
        raise ValueError(
            f"{name} has the label {unknown[0]!r}, but the model has {count}, 0 to {count - 1}; give all "
            f"labels to from_encoder, and {IGNORE} to what does not count"
        )


def _check_positions(name: str, features: Features) -> None:
    """Refuse answers that are not in their text."""
    columns = (features.targets["start_positions"], features.targets["end_positions"], features.encodings)
    for row, (first, last, encoding) in enumerate(zip(*columns, strict=True)):
        if not 0 <= first <= last < len(encoding.input_ids):
            raise ValueError(
                f"{name} has the answer from token {first} to token {last} in row {row}, which has "
                f"{len(encoding.input_ids)} tokens; use answer_features"
            )
