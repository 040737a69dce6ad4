"""The options of the training loop, a plain dataclass for notebooks and the command line.

Does not import torch, so that `--help` answers at once. The defaults are the recipe of chapter 4;
`docs/pretraining.md` says what each choice is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from bertlearn.arguments import LARGEST_SEED, OptionError, check_count, check_positive, check_share

_COUNTS = ("steps", "batch_size", "log_every", "evaluate_every", "checkpoint_every", "keep")

_CHOICES = {
    "optimizer": ("adamw", "muon"),
    "precision": ("auto", "fp32", "bf16"),
    "compile": ("auto", "on", "off"),
    "log_to": ("csv", "tensorboard"),
}


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; the defaults are the recipe of chapter 4."""

    steps: int = 5000
    """Updates of the weights; the learning rate has decayed to 0 after the last."""
    batch_size: int = 16
    """Sequences in a step, over all processes together."""
    micro_batch_size: int = 0
    """Sequences that go through the model at once; 0 means all that a process has in a step. A smaller number
    saves memory; the gradients are added up. Each micro-batch draws its own masks and dropout, whichever
    process it is on."""
    learning_rate: float = 2e-3
    """Peak learning rate, at the end of the warm-up."""
    warmup: float = 0.06
    """Share of the steps in which the learning rate rises from 0; in the end it falls linearly to 0."""
    stable: float = 0.0
    """Share of the steps, between rise and fall, in which the learning rate stays at its peak."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon updates the matrices of the layers with Muon; everything else is AdamW's in any case."""
    muon_learning_rate: float = 0.02
    """Muon's peak learning rate; it rises and falls with AdamW's."""
    weight_decay: float = 0.01
    """The optimizers' weight decay; biases and LayerNorm have none."""
    beta1: float = 0.9
    """AdamW's decay rate for the average gradient."""
    beta2: float = 0.98
    """AdamW's decay rate for the average squared gradient."""
    epsilon: float = 1e-6
    """Added to AdamW's denominator."""
    max_grad_norm: float = 1.0
    """Gradients with a larger norm are scaled down to this one."""
    seed: int = 0
    """Random seed for the order of the data, the masks and dropout."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 computes matrix products in 16 bits; auto does so where the device has hardware for it."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether to use torch.compile; auto does so on a GPU."""
    log_every: int = 50
    """Steps between two lines of the history."""
    evaluate_every: int = 500
    """Steps between two evaluations on the held-out text; there is also one at the end."""
    checkpoint_every: int = 500
    """Steps between two checkpoints; there is also one at the end, and when the run is stopped."""
    keep: int = 2
    """How many of the newest checkpoints are kept."""
    log_to: Literal["csv", "tensorboard"] = "csv"
    """tensorboard also writes the numbers of history.csv to files that TensorBoard shows."""

    def __post_init__(self) -> None:
        """Validate the options."""
        for name in _COUNTS:
            check_count(name, getattr(self, name), 1)
        check_count("micro_batch_size", self.micro_batch_size, 0)
        check_count("seed", self.seed, 0, LARGEST_SEED)
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise OptionError(
                f"batch_size={self.batch_size} is not a multiple of micro_batch_size="
                f"{self.micro_batch_size}; use a micro_batch_size that divides it, or make batch_size a "
                f"multiple of {self.micro_batch_size}"
            )
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise OptionError(f"{name}={getattr(self, name)!r} is unknown; use {', '.join(choices)}")
        for name in ("learning_rate", "muon_learning_rate", "max_grad_norm", "epsilon"):
            check_positive(name, getattr(self, name))
        if not 0 <= self.weight_decay < math.inf:
            raise OptionError(f"weight_decay={self.weight_decay} must be a number of at least 0")
        for name in ("warmup", "stable", "beta1", "beta2"):
            check_share(name, getattr(self, name))
        if self.warmup + self.stable >= 1:
            raise OptionError(
                f"warmup={self.warmup} and stable={self.stable} leave no step in which the learning rate "
                "falls; their sum must be below 1"
            )
