"""Options of a fine-tuning run and of the table it reads (chapters 5 and 6); does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertlearn.arguments import OptionError, check_count
from bertlearn.training.options import TrainingOptions


@dataclass(frozen=True)
class FinetuneOptions:
    """How to fine-tune; the defaults suit a few thousand sentences and a small BERT."""

    epochs: int = 3
    """Passes over the training examples."""
    batch_size: int = 32
    """Examples per step; all of them if there are fewer."""
    micro_batch_size: int = 0
    """Examples that go through the model at once; 0 means all examples of a step. A smaller number saves
    memory; the gradients of the micro-batches are added up."""
    learning_rate: float = 1e-4
    """Peak learning rate, at the end of the warm-up. BERT-base needs 2e-5 to 5e-5; small models tolerate
    more."""
    warmup: float = 0.1
    """Share of the steps in which the learning rate rises from 0; then it falls linearly to 0."""
    weight_decay: float = 0.01
    """AdamW's weight decay; biases and LayerNorm have none."""
    layer_decay: float = 1.0
    """Factor by which the learning rate shrinks from each layer to the one below. The head and the top layer
    have the full learning rate, the embeddings the lowest. 1 means the same learning rate everywhere."""
    trainable_layers: int | None = None
    """Number of top layers to train along with the head. 0 trains only the head and leaves the pretrained
    layers as they are; None trains all layers and the embeddings."""
    evaluations: int = 1
    """Evaluations on the validation set per epoch; the weights of the best one are kept."""
    seed: int = 0
    """Random seed for the order of the examples and for dropout; on the command line, also for the new head
    and the choice of held-out texts."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 computes matrix products in 16 bits; auto does so where the device has hardware for it."""

    log_to: Literal["csv", "tensorboard"] = "csv"
    """tensorboard also writes the numbers of history.csv to files that TensorBoard shows."""

    def __post_init__(self) -> None:
        """Validate the options."""
        for name in ("epochs", "batch_size", "evaluations"):
            check_count(name, getattr(self, name), 1)
        if self.trainable_layers is not None:
            check_count("trainable_layers", self.trainable_layers, 0)
        if not 0 < self.layer_decay <= 1:
            raise OptionError(f"layer_decay={self.layer_decay} must lie in (0, 1]; 1 means no decay")
        self.training(self.batch_size)

    def training(self, examples: int) -> TrainingOptions:
        """Return the options of the training loop for this number of examples.

        A step has all examples if there are fewer than `batch_size`.
        """
        batch_size, micro_batch_size = self.batch_size, self.micro_batch_size
        if examples < batch_size:
            batch_size, micro_batch_size = examples, math.gcd(examples, micro_batch_size)
        steps = math.ceil(self.epochs * examples / batch_size)
        evaluate_every = math.ceil(steps / (self.epochs * self.evaluations))
        return TrainingOptions(
            steps=steps,
            batch_size=batch_size,
            micro_batch_size=micro_batch_size,
            learning_rate=self.learning_rate,
            warmup=self.warmup,
            weight_decay=self.weight_decay,
            beta2=0.999,
            seed=self.seed,
            precision=self.precision,
            compile="off",  # batches have many different lengths, and each would need its own compilation
            log_every=math.ceil(steps / 50),
            evaluate_every=evaluate_every,
            checkpoint_every=evaluate_every,
            keep=1,
            log_to=self.log_to,
        )


@dataclass(frozen=True)
class TableOptions:
    """A table with a labeled text, or a labeled pair of texts, in each row."""

    train: Path
    """File with the training texts: .csv, .tsv or .jsonl, also compressed as .gz, .bz2 or .xz."""
    validation: Path | None = None
    """File with the validation texts, used to choose the best weights and to report their scores. If not
    given, a share of the training texts is held out."""
    text_column: tuple[str, ...] = ("text",)
    """Column with the text; give two columns for pairs of texts."""
    label_column: str = "label"
    """Column with the label. In a .jsonl file it may also be a number or a Boolean, and counts as the same
    label as the string that is written like it: 1 as "1", true as "true"."""
    validation_share: float = 0.1
    """Share of each label's texts to hold out if there is no validation file."""
    quoting: Literal["checked", "standard", "none"] = "checked"
    """What double quotes mean in a .csv or .tsv file. With standard, they enclose a field, which may then
    have commas, tabs and line breaks. With checked, the same holds, but a file whose quotes seem to
    hide rows inside a field is refused. With none, they are characters like any other."""
    max_skipped: float = 0.1
    """Largest share of a file's rows that may be skipped because they cannot be used; 1 allows all."""

    def __post_init__(self) -> None:
        """Validate the options."""
        columns = (*self.text_column, self.label_column)
        if len(self.text_column) not in (1, 2) or len(set(columns)) < len(columns):
            raise OptionError(
                f"text_column={' '.join(self.text_column)} and label_column={self.label_column} are not "
                "valid; use one text column, or two for pairs of texts, and a different label column"
            )
        if not 0 < self.validation_share <= 0.5:
            raise OptionError(f"validation_share={self.validation_share} must lie in (0, 0.5]")
        if self.quoting not in ("checked", "standard", "none"):
            raise OptionError(f"quoting={self.quoting!r} is unknown; use checked, standard or none")
        if not 0 <= self.max_skipped <= 1:
            raise OptionError(f"max_skipped={self.max_skipped} must lie in [0, 1]")
