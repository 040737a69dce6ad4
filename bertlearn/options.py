"""What can be chosen for a run, as plain dataclasses for notebooks and command line (chapters 4 to 6).

Imports no torch, so that `--help` answers at once. The defaults are the recipe of chapter 4;
`docs/pretraining.md` says what each choice is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

_COUNTS = ("steps", "batch_size", "log_every", "evaluate_every", "checkpoint_every", "keep")
_CHOICES = {
    "precision": ("auto", "fp32", "bf16"),
    "compile": ("auto", "on", "off"),
    "strategy": ("ddp", "fsdp"),
}


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; the defaults are the recipe of chapter 4."""

    steps: int = 5000
    """Updates of the weights, from the first to the end of the decay."""
    batch_size: int = 16
    """Sequences a step, over all processes together."""
    micro_batch_size: int = 0
    """Sequences that go through the model at once; 0: a step's whole share of a process. Fewer save memory;
    their gradients are added up. Each part draws its own masks and dropout, whichever process has it."""
    learning_rate: float = 2e-3
    """The highest, at the end of the warm-up."""
    warmup: float = 0.06
    """Share of the steps in which the learning rate rises from 0; then it falls to 0 in a straight line."""
    weight_decay: float = 0.01
    """AdamW's decay; not for biases and LayerNorm."""
    beta1: float = 0.9
    """AdamW's memory of the gradient."""
    beta2: float = 0.98
    """AdamW's memory of the squared gradient."""
    epsilon: float = 1e-6
    """Added to AdamW's root."""
    max_grad_norm: float = 1.0
    """Longer gradients are cut down to this length."""
    seed: int = 0
    """Start of all chance: data, masks, dropout."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 computes matrix products with 16 bits; auto takes it where the device has units for it."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile; auto: on a GPU."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """How several processes share the work: ddp, or fsdp, which also shares the memory."""
    log_every: int = 50
    """Steps between two lines of the history."""
    evaluate_every: int = 500
    """Steps between two looks at the held-out text; also at the end."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; also at the end, and when stopped."""
    keep: int = 2
    """Checkpoints that are kept, the newest."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        lowest = {"micro_batch_size": 0, "seed": 0} | dict.fromkeys(_COUNTS, 1)
        for name, least in lowest.items():
            _check_count(name, getattr(self, name), least)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r} is unknown; use {', '.join(choices)}")
        for name in ("learning_rate", "max_grad_norm", "epsilon"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name}={getattr(self, name)} must be a positive number")
        for name in ("warmup", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must lie in [0, 1)")


@dataclass(frozen=True)
class PretrainOptions:
    """What to pretrain, on what; how to train is `training`."""

    preset: Literal["tiny", "mini", "small", "medium", "base", "large"] = "tiny"
    """Size of the model, as published."""
    max_length: int = 64
    """Tokens in a sequence, [CLS] and [SEP] counted."""
    short_length: int = 8
    """Tokens in a piece, at the beginning: sequences are cut there, since fewer tokens teach faster."""
    short_share: float = 0.1
    """Share of the steps with sequences cut into pieces; 0 for none."""
    pairs: bool = False
    """Also learn whether text B follows A (NSP), as BERT did; otherwise masked tokens only, as RoBERTa."""
    mask_probability: float = 0.4
    """Share of the tokens to be guessed in training, BERT's is 0.15; held-out text always has that."""
    whole_words: bool = False
    """Mask words with all their pieces."""
    positions: Literal["random", "sinusoidal"] = "random"
    """What the learned position embeddings start from."""
    initializer_range: float = 0.05
    """Standard deviation of the initial weights; BERT's 0.02 is for base, narrow models need more."""
    dropout: float = 0.0
    """In the encoder and in attention; a short run on little text is faster without."""
    training: TrainingOptions = field(default_factory=TrainingOptions)
    """How to train."""

    def __post_init__(self) -> None:
        """Refuse lengths that do not go together."""
        if not 0 <= self.short_share < 1:
            raise ValueError(f"short_share={self.short_share} must lie in [0, 1)")
        if self.short_length < 1 or (self.short_share and self.max_length % self.short_length):
            raise ValueError(
                f"max_length={self.max_length} cannot be cut into pieces of short_length="
                f"{self.short_length}; use for example 8 and 64, or short_share=0"
            )

    @property
    def short_steps(self) -> int:
        """Steps with sequences cut into pieces, at the beginning."""
        return round(self.short_share * self.training.steps)


@dataclass(frozen=True)
class FinetuneOptions:
    """How to fine-tune; the defaults suit some thousand sentences and a small BERT."""

    epochs: int = 3
    """How often each example is seen."""
    batch_size: int = 32
    """Examples a step."""
    micro_batch_size: int = 0
    """Examples that go through the model at once; 0: a whole step. Fewer save memory; their gradients are
    added up."""
    learning_rate: float = 1e-4
    """The highest, at the end of the warm-up; 2e-5 to 5e-5 for base, small models bear more."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises from 0; then it falls to 0 in a straight line."""
    weight_decay: float = 0.01
    """AdamW's decay; not for biases and LayerNorm."""
    layer_decay: float = 1.0
    """A layer's learning rate is multiplied by this once for every layer above it, so the embeddings have the
    lowest; the head has the full one. 1 for the same everywhere."""
    trainable_layers: int | None = None
    """Top layers that are trained with the head; 0: the head alone, what it sees stays as pretraining left
    it. None: all layers, and the embeddings."""
    looks: int = 1
    """Looks at the validation set an epoch; the weights of the best one are kept."""
    seed: int = 0
    """Start of all chance: the order of the examples, dropout; in the command also the head, and which texts
    are kept back."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 computes matrix products with 16 bits; auto takes it where the device has units for it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("epochs", "batch_size", "looks"):
            _check_count(name, getattr(self, name), 1)
        if self.trainable_layers is not None:
            _check_count("trainable_layers", self.trainable_layers, 0)
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay={self.layer_decay} must lie in (0, 1]; 1 for none")
        self.training(1)

    def training(self, examples: int) -> TrainingOptions:
        """Return the options of the training loop for so many examples."""
        steps = math.ceil(self.epochs * examples / self.batch_size)
        return TrainingOptions(
            steps=steps,
            batch_size=self.batch_size,
            micro_batch_size=self.micro_batch_size,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            beta2=0.999,
            seed=self.seed,
            precision=self.precision,
            compile="off",  # batches have many lengths, and each would be compiled anew
            log_every=math.ceil(steps / 50),
            evaluate_every=math.ceil(steps / (self.epochs * self.looks)),
            checkpoint_every=steps,
        )


@dataclass(frozen=True)
class TableOptions:
    """A file with a header and a labeled text in each row."""

    train: Path
    """Texts to learn from: .csv, .tsv or .jsonl, also .gz, .bz2 and .xz."""
    validation: Path | None = None
    """Texts to choose the best weights by and to measure them on; if not given, a share of the training
    texts."""
    text_column: tuple[str, ...] = ("text",)
    """Column of the text; two columns for pairs of texts."""
    label_column: str = "label"
    """Column of the label."""
    validation_share: float = 0.1
    """Share of each label's texts kept back where no file is given for validation."""

    def __post_init__(self) -> None:
        """Refuse columns and shares that cannot be meant."""
        columns = (*self.text_column, self.label_column)
        if len(self.text_column) not in (1, 2) or len(set(columns)) < len(columns):
            raise ValueError(
                f"text_column={' '.join(self.text_column)} and label_column={self.label_column} must be one "
                "text column, or two for pairs, and another one for the label"
            )
        if not 0 < self.validation_share <= 0.5:
            raise ValueError(f"validation_share={self.validation_share} must lie in (0, 0.5]")


@dataclass(frozen=True)
class TextOptions:
    """Text to make shards of."""

    input: tuple[str, ...] = ()
    """Patterns of .txt and .jsonl files, also .gz, .bz2 and .xz, such as "books/**/*.txt" (quoted), or
    hub:owner/name[@config] for a data set of the Hugging Face hub. A .txt has blank lines between documents,
    a .jsonl a document a line. Without any: the course's own texts, no test film among them."""
    split: str = "train"
    """Part to take of a hub data set, or of the course's texts (train or validation; of these a vocabulary is
    always learned from train)."""
    lines: bool = False
    """Each line of a .txt is a document."""
    field: str = "text"
    """Where a line of a .jsonl, or a row of a data set, has its text."""


def _check_count(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number of at least {least}")
