"""What can be chosen for a fine-tuning run and for the file it reads (chapters 5 and 6); imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertlearn.training.options import TrainingOptions, check_count


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
    evaluations: int = 1
    """Evaluations on the validation set per epoch; the weights of the best one are kept."""
    seed: int = 0
    """Start of all chance: the order of the examples, dropout; in the command also the head, and which texts
    are kept back."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 computes matrix products with 16 bits; auto takes it where the device has units for it."""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        for name in ("epochs", "batch_size", "evaluations"):
            check_count(name, getattr(self, name), 1)
        if self.trainable_layers is not None:
            check_count("trainable_layers", self.trainable_layers, 0)
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
            evaluate_every=math.ceil(steps / (self.epochs * self.evaluations)),
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
