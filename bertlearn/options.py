"""What can be chosen for a run, as plain dataclasses for notebooks and command line (chapters 4 to 6).

Imports no torch, so that `--help` answers at once. The defaults are the recipe of chapter 4;
`docs/pretraining.md` says what each choice is worth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
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
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name}={value!r} must be a whole number of at least {least}")
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
