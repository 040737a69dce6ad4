"""What can be chosen for a pretraining run and for the text it reads (chapter 4); imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bertlearn.training.options import TrainingOptions


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
