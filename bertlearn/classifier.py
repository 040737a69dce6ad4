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

from bertlearn import ladder
from bertlearn.data import minilm_path
from bertlearn.encoder import BertModel
from bertlearn.finetune import Features, Finetuned, finetune, text_features
from bertlearn.finetuning import BertForSequenceClassification, predict
from bertlearn.history import Record
from bertlearn.options import FinetuneOptions, TableOptions
from bertlearn.shards import Problems
from bertlearn.tables import (
    LabeledTexts,
    check_classes,
    check_known,
    describe_labels,
    read_table,
    split_off,
)
from bertlearn.tokenization import WordPieceTokenizer
from bertlearn.weights import write_folder


@dataclass(frozen=True)
class Plan:
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


def make_plan(
    name: str,
    table: TableOptions,
    seed: int = 0,
    pooling: Literal["cls", "mean"] = "cls",
    dropout: float | None = None,
    max_length: int = 128,
) -> Plan:
    """Read the texts and the model; bad rows are told on standard error.

    Args:
        name: of the model, see `load_encoder`.
        table: files and columns.
        seed: draws the head, and the texts that are kept back.
        pooling, dropout: see `BertForSequenceClassification.from_encoder`.
        max_length: tokens of a text at most; never more than the model has positions.

    Raises:
        OSError, ValueError, DataError: what was asked for cannot be read, or nothing be learned from it.
    """
    train, validation = read_tables(table, seed)
    encoder, tokenizer = load_encoder(name)
    labels = sorted(set(train.labels))
    generator = torch.Generator().manual_seed(seed)
    model = BertForSequenceClassification.from_encoder(encoder, labels, generator, pooling, dropout)
    return Plan(train, validation, model, tokenizer, min(max_length, model.config.max_position_embeddings))


def read_tables(table: TableOptions, seed: int) -> tuple[LabeledTexts, LabeledTexts]:
    """Return the texts to train on and those to validate on."""
    problems = Problems()
    columns = (table.text_column, table.label_column, problems)
    rows = read_table(table.train, *columns)
    check_classes(rows, table.train, table.label_column)
    if table.validation is None:
        train, validation = split_off(rows, table.validation_share, seed)
    else:
        train, validation = rows, read_table(table.validation, *columns)
    check_known(validation, sorted(set(train.labels)), table.validation or table.train)
    return train, validation


def load_encoder(name: str) -> tuple[BertModel, WordPieceTokenizer]:
    """Return a pretrained encoder and its tokenizer.

    Args:
        name: "minilm", "ladder" (its top rung), or a model's folder or hub name.
    """
    if name == "ladder":
        top = ladder.load_rung(ladder.RUNGS[-1])
        return top.model.bert, top.tokenizer
    folder = minilm_path() if name == "minilm" else name
    return BertModel.from_pretrained(folder), WordPieceTokenizer.from_pretrained(folder)


def describe_plan(plan: Plan, options: FinetuneOptions) -> str:
    """Return in some lines what will be learned from what."""
    lines = [
        describe_labels(plan.train.labels),
        f"{len(plan.train.texts):,} texts to train on, {len(plan.validation.texts):,} to validate on",
        f"{options.training(len(plan.train.texts)).steps:,} steps of {options.batch_size} texts, cut after "
        f"{plan.max_length} tokens",
    ]
    if plan.model.config.classifier_pooling == "mean":
        lines.append("pooling mean: transformers will load the model but give other scores (see --pooling)")
    return "\n".join(lines)


def train_plan(plan: Plan, options: FinetuneOptions, device: str | None = None) -> Finetuned:
    """Train the plan's model in place."""
    train, validation = plan.features(plan.train), plan.features(plan.validation)
    return finetune(plan.model, train, validation, options, device=device)


def validation_scores(plan: Plan) -> Record:
    """Return accuracy and macro-F1 on the validation texts, and the accuracy of the commonest label alone."""
    probs = predict(plan.model, plan.tokenizer, plan.validation.texts, max_length=plan.max_length)
    guesses = [plan.labels[number] for number in probs.argmax(-1).tolist()]
    right = plan.validation.labels
    commonest = Counter(plan.train.labels).most_common(1)[0][0]
    return {
        "accuracy": float(accuracy_score(right, guesses)),
        "macro_f1": float(f1_score(right, guesses, labels=plan.labels, average="macro", zero_division=0.0)),
        "commonest": right.count(commonest) / len(right),
    }


def save_plan(plan: Plan, output: str | Path) -> None:
    """Write model and tokenizer, as transformers has them, into a new folder: all of it or nothing.

    Raises:
        OSError: disk full or not writable, or there is something in the folder.
    """

    def write(folder: Path) -> None:
        plan.model.save_pretrained(folder)
        plan.tokenizer.save_pretrained(folder, plan.max_length)

    write_folder(output, write)


def describe_result(plan: Plan, tuned: Finetuned, output: str | Path) -> str:
    """Return in some lines how well the saved model does, and how to use it."""
    found = validation_scores(plan)
    return (
        f"step {tuned.step} of {tuned.run.step} was the best: validation accuracy {found['accuracy']:.3f}, "
        f"macro-F1 {found['macro_f1']:.3f}; always the commonest label: {found['commonest']:.3f}\n"
        f"{output} is written; to use it:\n{usage(plan, output)}"
    )


def usage(plan: Plan, output: str | Path) -> str:
    """Return the line of Python that uses a saved model."""
    folder = repr(str(output))
    pairs = not isinstance(plan.train.texts[0], str)
    if plan.model.config.classifier_pooling == "mean":
        text = '("a text", "its partner")' if pairs else '"a text"'
        return (
            "from bertlearn import BertForSequenceClassification, WordPieceTokenizer, predict; "
            f"print(predict(BertForSequenceClassification.from_pretrained({folder}), "
            f"WordPieceTokenizer.from_pretrained({folder}), [{text}], max_length={plan.max_length}))"
        )
    text = '{"text": "a text", "text_pair": "its partner"}' if pairs else '"a text"'
    return (
        "from transformers import pipeline; "
        f'print(pipeline("text-classification", model={folder}, truncation=True)({text}))'
    )
