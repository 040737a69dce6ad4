"""A classifier of a user's own texts: from a file of labeled texts to a model folder (chapter 6).

This is what `bertlearn finetune` does; the notebooks combine the same functions themselves.
Leaves out: token labels and answers, which do not fit into a table.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from sklearn.metrics import accuracy_score, f1_score

from bertlearn.files import check_empty, check_output, save_or_rescue, write_folder
from bertlearn.finetuning.csv_data import read_table
from bertlearn.finetuning.features import Features, text_features
from bertlearn.finetuning.labeled_texts import (
    LabeledTexts,
    check_classes,
    check_known,
    check_validation,
    describe_labels,
    doubts,
    split_off,
)
from bertlearn.finetuning.options import FinetuneOptions, TableOptions
from bertlearn.finetuning.run import Finetuned, check_layers, finetune
from bertlearn.finetuning.seen_texts import describe_cut, look, unseen
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.model.inference import check_fit, predict
from bertlearn.pretraining.corpus import SkippedRows
from bertlearn.pretraining.run import CHECKPOINTS
from bertlearn.tokenizer.encoding import SubwordTokenizer
from bertlearn.training.checkpoint import find_checkpoints
from bertlearn.training.loop import HISTORY, LOCK
from bertlearn.training.metrics import Record


@dataclass(frozen=True)
class Setup:
    """Everything a run needs: texts, and a model whose head is still untrained."""

    train: LabeledTexts
    validation: LabeledTexts
    model: BertForSequenceClassification
    tokenizer: SubwordTokenizer
    max_length: int  # tokens

    @property
    def labels(self) -> list[str]:
        """The label names, in the order of their numbers."""
        return list(self.model.config.id2label.values())

    def features(self, rows: LabeledTexts) -> Features:
        """Return the texts and their label numbers as features for the model."""
        label2id = self.model.config.label2id
        labels = [label2id[label] for label in rows.labels]
        return text_features(self.tokenizer, rows.texts, labels, self.max_length)


def check_folder(output: Path, resume: bool) -> bool:
    """Check that a run can write to its output folder; return whether there is a checkpoint to resume from.

    Raises:
        ValueError: the folder cannot be written to, is not empty, or has checkpoints that are not resumed.
    """
    check_output(output)
    checkpoints = output / CHECKPOINTS
    if not find_checkpoints(checkpoints):
        in_it = [path.name for path in checkpoints.iterdir()] if checkpoints.is_dir() else []
        stopped_early = set(in_it) <= {LOCK, HISTORY}
        check_empty(output, (CHECKPOINTS,) if stopped_early else ())
        return False
    if not resume:
        raise ValueError(
            f"{output} has checkpoints of an earlier run; continue it with --resume, or choose another folder"
        )
    return True


def make_setup(
    encoder: BertModel,
    tokenizer: SubwordTokenizer,
    train: LabeledTexts,
    validation: LabeledTexts,
    generator: torch.Generator,
    pooling: Literal["cls", "mean"] = "cls",
    dropout: float | None = None,
    max_length: int = 128,
) -> Setup:
    """Return the setup of a run: the texts, and a pretrained encoder with a new head for their labels.

    Args:
        encoder, tokenizer: the pretrained model to start from.
        train, validation: see `read_tables`.
        generator: draws the weights of the head.
        pooling, dropout: see `BertForSequenceClassification.from_encoder`.
        max_length: texts are truncated to this many tokens; at most the model's number of positions.

    Raises:
        ValueError: the tokenizer does not fit the encoder.
    """
    check_fit(encoder.config, tokenizer)
    labels = sorted(set(train.labels))
    model = BertForSequenceClassification.from_encoder(encoder, labels, generator, pooling, dropout)
    return Setup(train, validation, model, tokenizer, min(max_length, model.config.max_position_embeddings))


def read_tables(table: TableOptions, seed: int) -> tuple[LabeledTexts, LabeledTexts]:
    """Return the training and the validation texts; skipped rows are reported on standard error.

    Args:
        table: files and columns.
        seed: chooses the texts to hold out if there is no validation file.

    Raises:
        OSError, ValueError: a file cannot be read, or nothing can be learned from it.
    """
    if table.validation is not None and _is_same_file(table.train, table.validation):
        raise ValueError(
            f"{table.validation} is the training file as well; validate on another file, or leave it out to "
            "hold out a share of the training texts"
        )
    rows = _read(table.train, table)
    check_classes(rows, table.train, table.label_column)
    if table.validation is None:
        train, validation = split_off(rows, table.validation_share, seed)
        _tell_large_share(len(validation.texts), len(rows.texts), table)
        return train, validation
    validation = _read(table.validation, table)
    check_known(validation, sorted(set(rows.labels)), table.validation)
    check_validation(rows, validation, table.validation)
    return rows, validation


def _tell_large_share(held_out: int, size: int, table: TableOptions) -> None:
    if held_out > 1.5 * table.validation_share * size:
        print(
            f"{table.train}: {held_out:,} texts of {size:,} ({held_out / size:.0%}) are held out, more than "
            f"--validation-share {table.validation_share}: each label needs one, "
            "and equal texts stay together",
            file=sys.stderr,
        )


def _is_same_file(one: Path, other: Path) -> bool:
    one, other = one.expanduser(), other.expanduser()
    return one.exists() and other.exists() and one.samefile(other)


def _read(path: Path, table: TableOptions) -> LabeledTexts:
    """Read a file; say how many rows were skipped and why, and refuse too many."""
    skipped = SkippedRows()
    rows = read_table(path, table.text_column, table.label_column, skipped, table.quoting)
    count = sum(skipped.counts.values())
    share = count / (count + len(rows.texts))
    if count:
        print(f"{path}: {count:,} rows of {count + len(rows.texts):,} skipped: {skipped}", file=sys.stderr)
    if share > table.max_skipped:
        raise ValueError(
            f"{path}: {share:.0%} of the rows were skipped, but at most {table.max_skipped:.0%} may be; "
            "correct the file, or allow more with --max-skipped"
        )
    return rows


def describe_setup(setup: Setup, options: FinetuneOptions) -> str:
    """Return a few lines that describe the data and the run."""
    training = options.training(len(setup.train.texts))
    train, validation = (
        look(setup.tokenizer, rows, setup.max_length) for rows in (setup.train, setup.validation)
    )
    lines = [
        describe_labels(setup.train.labels),
        f"{len(setup.train.texts):,} texts to train on, {len(setup.validation.texts):,} to validate on",
        f"{training.steps:,} steps of {training.batch_size} texts, {describe_cut(train)}",
    ]
    if training.batch_size < options.batch_size:
        lines.append(f"each step has all texts: there are fewer than --batch-size {options.batch_size}")
    if setup.model.config.classifier_pooling == "mean":
        lines.append("pooling mean: transformers loads the model but gives different scores (see --pooling)")
    warnings = [
        *doubts(setup.train, setup.validation),
        *unseen(train, "training"),
        *unseen(validation, "validation"),
    ]
    return "\n".join([*lines, *(f"warning: {sentence}" for sentence in warnings)])


def train_setup(
    setup: Setup,
    options: FinetuneOptions,
    device: str | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
) -> Finetuned:
    """Train the setup's model in place; see `finetune` for the folder of checkpoints."""
    check_layers(setup.model, options.trainable_layers)  # before all texts are encoded
    train, validation = setup.features(setup.train), setup.features(setup.validation)
    return finetune(setup.model, train, validation, options, device=device, folder=folder, resume=resume)


def validation_scores(setup: Setup) -> Record:
    """Return accuracy and macro-F1 on the validation texts, and the accuracy of the commonest label alone."""
    probs = predict(setup.model, setup.tokenizer, setup.validation.texts, max_length=setup.max_length)
    predicted = [setup.labels[number] for number in probs.argmax(-1).tolist()]
    labels = setup.validation.labels
    commonest = Counter(setup.train.labels).most_common(1)[0][0]
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(
            f1_score(labels, predicted, labels=setup.labels, average="macro", zero_division=0.0)
        ),
        "commonest": labels.count(commonest) / len(labels),
    }


def save_setup(setup: Setup, output: str | Path, replace: bool = False) -> None:
    """Write model and tokenizer in transformers' format into a folder, or else into a temporary one.

    Args:
        setup: with a trained model.
        output: created if it does not exist.
        replace: replace the model in the folder, from an earlier part of the run.

    Raises:
        OSError: the folder could not be written; the message names the temporary one, see `save_or_rescue`.
    """

    def write(folder: Path) -> None:
        setup.model.save_pretrained(folder)
        setup.tokenizer.save_pretrained(folder, setup.max_length)

    save_or_rescue(output, lambda folder: write_folder(folder, write, replace))


def describe_stop(setup: Setup, tuned: Finetuned, output: str | Path) -> str:
    """Return a few lines about a run that was stopped: what is there, and how to continue."""
    stopped, resume = f"stopped at step {tuned.run.step}", "to continue, repeat the command with --resume"
    if not tuned.scores:
        return f"{stopped}, before the first evaluation, so there is no model yet; {resume}"
    return f"{describe_result(setup, tuned, output)}\n{stopped}; {resume}"


def describe_result(setup: Setup, tuned: Finetuned, output: str | Path) -> str:
    """Return a few lines about the scores of the saved model and how to use it."""
    scores = validation_scores(setup)
    return (
        f"step {tuned.step} of {tuned.run.step} was the best: validation accuracy {scores['accuracy']:.3f}, "
        f"macro-F1 {scores['macro_f1']:.3f}; always predicting the commonest label: "
        f"{scores['commonest']:.3f}\nthe model is in {output}; to use it:\n{usage(setup, output)}"
    )


def usage(setup: Setup, output: str | Path) -> str:
    """Return a line of Python that uses the saved model."""
    folder = repr(str(output))
    has_pairs = not isinstance(setup.train.texts[0], str)
    if setup.model.config.classifier_pooling == "mean":
        text = '("a text", "its partner")' if has_pairs else '"a text"'
        return (
            "from bertlearn import BertForSequenceClassification, WordPieceTokenizer, predict; "
            f"print(predict(BertForSequenceClassification.from_pretrained({folder}), "
            f"WordPieceTokenizer.from_pretrained({folder}), [{text}], max_length={setup.max_length}))"
        )
    text = '{"text": "a text", "text_pair": "its partner"}' if has_pairs else '"a text"'
    return (
        "from transformers import pipeline; "
        f'print(pipeline("text-classification", model={folder}, truncation=True)({text}))'
    )
