"""A classifier of a user's own texts: from the file with labels to the folder with the model (chapter 6).

This is what `bertlearn finetune` does; the notebooks put the same parts together themselves.
Leaves out: tokens and answers, which no table holds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from sklearn.metrics import accuracy_score, f1_score

from bertlearn.files import write_folder
from bertlearn.finetuning.csv_data import (
    LabeledTexts,
    check_classes,
    check_known,
    describe_labels,
    read_table,
    split_off,
)
from bertlearn.finetuning.features import Features, text_features
from bertlearn.finetuning.options import FinetuneOptions, TableOptions
from bertlearn.finetuning.run import Finetuned, finetune
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.inference import predict
from bertlearn.pretraining.corpus import SkippedRows
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.metrics import Record


@dataclass(frozen=True)
class Setup:
    """All that a run needs: texts, and a model whose head is still untrained."""

    train: LabeledTexts
    validation: LabeledTexts
    model: BertForSequenceClassification
    tokenizer: WordPieceTokenizer
    max_length: int  # tokens

    @property
    def labels(self) -> list[str]:
        """The names of the labels, in the order of their numbers."""
        return list(self.model.config.id2label.values())

    def features(self, rows: LabeledTexts) -> Features:
        """Return texts and the numbers of their labels, ready for the model."""
        numbers = self.model.config.label2id
        labels = [numbers[label] for label in rows.labels]
        return text_features(self.tokenizer, rows.texts, labels, self.max_length)


def make_setup(
    encoder: BertModel,
    tokenizer: WordPieceTokenizer,
    train: LabeledTexts,
    validation: LabeledTexts,
    generator: torch.Generator,
    pooling: Literal["cls", "mean"] = "cls",
    dropout: float | None = None,
    max_length: int = 128,
) -> Setup:
    """Put a new head for the labels of the training texts on a pretrained encoder.

    Args:
        encoder, tokenizer: where to start.
        train, validation: see `read_tables`.
        generator: draws the head.
        pooling, dropout: see `BertForSequenceClassification.from_encoder`.
        max_length: tokens of a text at most; never more than the model has positions.
    """
    labels = sorted(set(train.labels))
    model = BertForSequenceClassification.from_encoder(encoder, labels, generator, pooling, dropout)
    return Setup(train, validation, model, tokenizer, min(max_length, model.config.max_position_embeddings))


def read_tables(table: TableOptions, seed: int) -> tuple[LabeledTexts, LabeledTexts]:
    """Return the texts to train on and those to validate on; skipped rows are reported on standard error.

    Args:
        table: files and columns.
        seed: draws the texts that are kept back where there is no file to validate on.

    Raises:
        OSError, ValueError: a file that cannot be read, or one from which nothing can be learned.
    """
    skipped = SkippedRows()
    columns = (table.text_column, table.label_column, skipped)
    rows = read_table(table.train, *columns)
    check_classes(rows, table.train, table.label_column)
    if table.validation is None:
        train, validation = split_off(rows, table.validation_share, seed)
    else:
        train, validation = rows, read_table(table.validation, *columns)
    check_known(validation, sorted(set(train.labels)), table.validation or table.train)
    return train, validation


def describe_setup(setup: Setup, options: FinetuneOptions) -> str:
    """Return in some lines what will be learned from what."""
    lines = [
        describe_labels(setup.train.labels),
        f"{len(setup.train.texts):,} texts to train on, {len(setup.validation.texts):,} to validate on",
        f"{options.training(len(setup.train.texts)).steps:,} steps of {options.batch_size} texts, cut after "
        f"{setup.max_length} tokens",
    ]
    if setup.model.config.classifier_pooling == "mean":
        lines.append("pooling mean: transformers will load the model but give other scores (see --pooling)")
    return "\n".join(lines)


def train_setup(setup: Setup, options: FinetuneOptions, device: str | None = None) -> Finetuned:
    """Train the setup's model in place."""
    train, validation = setup.features(setup.train), setup.features(setup.validation)
    return finetune(setup.model, train, validation, options, device=device)


def validation_scores(setup: Setup) -> Record:
    """Return accuracy and macro-F1 on the validation texts, and the accuracy of the commonest label alone."""
    probs = predict(setup.model, setup.tokenizer, setup.validation.texts, max_length=setup.max_length)
    guesses = [setup.labels[number] for number in probs.argmax(-1).tolist()]
    right = setup.validation.labels
    commonest = Counter(setup.train.labels).most_common(1)[0][0]
    return {
        "accuracy": float(accuracy_score(right, guesses)),
        "macro_f1": float(f1_score(right, guesses, labels=setup.labels, average="macro", zero_division=0.0)),
        "commonest": right.count(commonest) / len(right),
    }


def save_setup(setup: Setup, output: str | Path) -> None:
    """Write model and tokenizer, as transformers has them, into a new folder: all of it or nothing.

    Raises:
        OSError: disk full or not writable, or there is something in the folder.
    """

    def write(folder: Path) -> None:
        setup.model.save_pretrained(folder)
        setup.tokenizer.save_pretrained(folder, setup.max_length)

    write_folder(output, write)


def describe_result(setup: Setup, tuned: Finetuned, output: str | Path) -> str:
    """Return in some lines how well the saved model does, and how to use it."""
    found = validation_scores(setup)
    return (
        f"step {tuned.step} of {tuned.run.step} was the best: validation accuracy {found['accuracy']:.3f}, "
        f"macro-F1 {found['macro_f1']:.3f}; always the commonest label: {found['commonest']:.3f}\n"
        f"{output} is written; to use it:\n{usage(setup, output)}"
    )


def usage(setup: Setup, output: str | Path) -> str:
    """Return the line of Python that uses a saved model."""
    folder = repr(str(output))
    pairs = not isinstance(setup.train.texts[0], str)
    if setup.model.config.classifier_pooling == "mean":
        text = '("a text", "its partner")' if pairs else '"a text"'
        return (
            "from bertlearn import BertForSequenceClassification, WordPieceTokenizer, predict; "
            f"print(predict(BertForSequenceClassification.from_pretrained({folder}), "
            f"WordPieceTokenizer.from_pretrained({folder}), [{text}], max_length={setup.max_length}))"
        )
    text = '{"text": "a text", "text_pair": "its partner"}' if pairs else '"a text"'
    return (
        "from transformers import pipeline; "
        f'print(pipeline("text-classification", model={folder}, truncation=True)({text}))'
    )
