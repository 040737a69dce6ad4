"""Options of a pretraining run and of the text it reads (chapter 4).

This module does not import torch, so that `--help` is fast.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from bertlearn.arguments import OptionError, check_count, check_positive, check_share
from bertlearn.training.options import TrainingOptions


@dataclass(frozen=True)
class PretrainOptions:
    """Options for the model, the objective and the sequences; `training` has those of the training loop."""

    preset: Literal["tiny", "mini", "small", "medium", "base", "large"] = "tiny"
    """Size of the model: one of the published BERT sizes."""
    architecture: Literal["bert", "modern"] = "bert"
    """bert is the model of 2018; modern is ModernBERT's architecture of 2024 at the size of the preset."""
    objective: Literal["mlm", "electra"] = "mlm"
    """mlm predicts masked tokens; electra finds the tokens that a smaller model put in their places."""
    max_length: int = 64
    """Number of tokens in a sequence, including [CLS] and [SEP]."""
    short_length: int = 8
    """Number of tokens in a chunk.
    In the first steps, sequences are split into chunks, because the model learns faster from short ones."""
    short_share: float = 0.1
    """Share of the steps, at the start, in which sequences are split into chunks; 0 to never split them."""
    pairs: bool = False
    """Also predict whether sentence B follows sentence A (NSP), as BERT does.
    Without it, the model predicts only masked tokens, as RoBERTa does."""
    mask_probability: float = 0.4
    """Share of the tokens to predict in training; BERT's value is 0.15. Held-out text always uses 0.15."""
    masking: Literal["tokens", "words", "spans"] = "tokens"
    """What is masked together: nothing, as in BERT; all tokens of a word; or spans of up to ten words, as in
    SpanBERT."""
    positions: Literal["random", "sinusoidal"] = "random"
    """Initial values of the position embeddings, which are learned."""
    initializer_range: float = 0.05
    """Standard deviation of the initial weights.
    BERT's value is 0.02, for the base model; narrower models need a larger one."""
    dropout: float = 0.0
    """Dropout probability in the encoder and in attention. Short runs on little text learn faster at 0."""
    training: TrainingOptions = field(default_factory=TrainingOptions)
    """Training loop."""

    def __post_init__(self) -> None:
        """Check that the options are valid together."""
        check_count("max_length", self.max_length, 8)
        check_share("short_share", self.short_share)
        check_share("dropout", self.dropout)
        check_positive("initializer_range", self.initializer_range)
        self._check_architecture()
        if self.masking not in ("tokens", "words", "spans"):
            raise OptionError(f"masking={self.masking!r} is unknown; use tokens, words or spans")
        if not 0 < self.mask_probability < 1:
            raise OptionError(
                f"mask_probability={self.mask_probability} must lie between 0 and 1, for example 0.15"
            )
        if self.short_length < 1 or (self.short_share and self.max_length % self.short_length):
            raise OptionError(
                f"max_length={self.max_length} cannot be split into chunks of short_length="
                f"{self.short_length}; use for example 64 and 8, or short_share=0"
            )

    def _check_architecture(self) -> None:
        if self.architecture not in ("bert", "modern"):
            raise OptionError(f"architecture={self.architecture!r} is unknown; use bert or modern")
        if self.objective not in ("mlm", "electra"):
            raise OptionError(f"objective={self.objective!r} is unknown; use mlm or electra")
        if self.objective == "electra" and (self.pairs or self.architecture == "modern"):
            raise OptionError("objective='electra' is for single texts and architecture='bert' alone")
        if self.architecture == "modern" and self.pairs:
            raise OptionError("architecture='modern' has no token types to tell pairs apart; use pairs=False")
        plain = self.architecture == "bert" and self.objective == "mlm"
        if self.positions == "sinusoidal" and not plain:
            raise OptionError("positions='sinusoidal' is for architecture='bert' with objective='mlm'")

    def check_corpus(self, tokens: int) -> None:
        """Refuse a batch with more tokens than the whole text to train on, which has `tokens`."""
        if self.training.batch_size * self.max_length > tokens:
            raise OptionError(
                f"batch_size={self.training.batch_size} sequences of max_length={self.max_length} tokens are "
                f"more than the whole text, which has {tokens:,}; use smaller values, or more text"
            )

    @property
    def short_steps(self) -> int:
        """Number of steps at the start in which sequences are split into chunks."""
        return round(self.short_share * self.training.steps)


@dataclass(frozen=True)
class TextOptions:
    """The text to build shards from."""

    input: tuple[str, ...] = ()
    """Files to read: quoted patterns such as "books/**/*.txt", or hub:owner/name[@config] for a hub data set.
    A .txt file has blank lines between documents, a .jsonl file has one document per line.
    Both may be compressed (.gz, .bz2, .xz). The default is the course's own texts, which
    contain nothing about a film of the test set."""
    split: str = "train"
    """Split of a hub data set to read, or of the course's texts (train or validation).
    A vocabulary for the course's texts is always learned from train."""
    lines: bool = False
    """Treat each line of a .txt file as a document."""
    field: str = "text"
    """Field of a .jsonl line, or of a row of a data set, that contains the text."""
