"""The knock-out lab of chapter 8: one small model, and switches that lead from BERT to ModernBERT.

Every run has the same text, vocabulary, batches and number of steps, so runs differ only in their switches.
`tools/make_lab.py` makes the stored runs; a notebook makes any other one in a minute or two.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

import torch

from bertlearn.course.corpus import course_shards
from bertlearn.model.config import BertConfig, ModernConfig
from bertlearn.model.modern import ModernForMaskedLM
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import pretraining_task
from bertlearn.training.loop import train
from bertlearn.training.metrics import Callback
from bertlearn.training.options import TrainingOptions
from bertlearn.training.step import derive_seed
from bertlearn.training.task import Run

STEPS, LENGTH, LAYERS, WINDOW = 1500, 64, 3, 16
SWITCHES = {  # name: what it does when it is on
    "pre_norm": "normalize what a sublayer reads, not the sum",
    "no_bias": "no biases in layers and norms",
    "geglu": "a gate in the feed-forward network, at the same number of weights",
    "rope": "rotary positions in place of learned ones",
    "rms_norm": "RMSNorm in place of LayerNorm",
    "local": f"two of three layers see only {WINDOW} tokens",
    "muon": "Muon for the matrices of the layers",
    "wsd": "the learning rate stays at its peak for half of the run",
    "whole": "no short chunks at the beginning",
    "mask_30": "mask 30 % of the tokens in place of 40 %",
    "mask_15": "mask 15 % of the tokens, as BERT does",
    "dropout": "dropout 0.1, as BERT has",
}
EXCLUSIVE = frozenset({"mask_15", "mask_30"})  # at most one of them is on
BERT: frozenset[str] = frozenset()
MODERN = frozenset({"pre_norm", "no_bias", "geglu", "rope", "local", "muon", "wsd", "whole", "mask_30"})


class Recipe(NamedTuple):
    """What the switches make of a run."""

    config: ModernConfig
    options: PretrainOptions


class Pretrained(NamedTuple):
    """The result of `pretrain`."""

    model: ModernForMaskedLM  # in evaluation mode
    run: Run


def recipe(on: Collection[str], vocab_size: int, seed: int = 0, steps: int = STEPS) -> Recipe:
    """Return the model and the options of a run.

    Args:
        on: names of `SWITCHES`; none of them is BERT with the recipe of chapter 4.
        vocab_size: V.
        seed: of the weights, the order of the text and the masks.
        steps: of the run.

    Raises:
        ValueError: an unknown switch, or two that contradict each other.
    """
    check_switches(on)
    dropout = 0.1 if "dropout" in on else 0.0
    return Recipe(_config(on, vocab_size, dropout), _options(on, seed, steps, dropout))


def _config(on: Collection[str], vocab_size: int, dropout: float) -> ModernConfig:
    tiny = BertConfig.preset("tiny")
    inner = tiny.intermediate_size
    return ModernConfig(
        vocab_size=vocab_size,
        hidden_size=tiny.hidden_size,
        num_hidden_layers=LAYERS,
        num_attention_heads=tiny.num_attention_heads,
        intermediate_size=ModernConfig.gated_size(inner) if "geglu" in on else inner,
        max_position_embeddings=LENGTH,
        initializer_range=PretrainOptions().initializer_range,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        pre_norm="pre_norm" in on,
        bias="no_bias" not in on,
        norm="rms" if "rms_norm" in on else "layer",
        gated="geglu" in on,
        rope="rope" in on,
        local_attention=WINDOW if "local" in on else 0,
    )


def _options(on: Collection[str], seed: int, steps: int, dropout: float) -> PretrainOptions:
    training = TrainingOptions(
        steps=steps,
        seed=seed,
        optimizer="muon" if "muon" in on else "adamw",
        stable=0.5 if "wsd" in on else 0.0,
        precision="fp32",
        compile="off",
        log_every=steps,
        evaluate_every=max(1, steps // 3),
    )
    return PretrainOptions(
        max_length=LENGTH,
        short_share=0.0 if "whole" in on else PretrainOptions().short_share,
        mask_probability=0.3 if "mask_30" in on else 0.15 if "mask_15" in on else 0.4,
        dropout=dropout,
        training=training,
    )


def check_switches(on: Iterable[str]) -> None:
    """Check that switches exist and can be on together.

    Raises:
        ValueError: an unknown switch, or two that contradict each other.
    """
    if unknown := sorted(set(on) - SWITCHES.keys()):
        raise ValueError(f"there is no switch {unknown[0]!r}; there are {', '.join(SWITCHES)}")
    if set(on) >= EXCLUSIVE:
        raise ValueError(f"{' and '.join(sorted(EXCLUSIVE))} are both on; choose one of them")


def new_model(config: ModernConfig, seed: int) -> ModernForMaskedLM:
    """Return a model with its initial weights; the same seed always gives the same ones."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed))
        return ModernForMaskedLM(config)


def pretrain(
    on: Collection[str], seed: int = 0, steps: int = STEPS, callback: Callback | None = None
) -> Pretrained:
    """Pretrain one model; its history has the held-out text's loss and accuracy at three steps.

    Args:
        on: names of `SWITCHES`.
        seed: of everything random.
        steps: of the run.
        callback: see `train`.

    Raises:
        ValueError: an unknown switch, or two that contradict each other.
    """
    shards, held_out = Shards.open(course_shards("train")), Shards.open(course_shards("validation"))
    made = recipe(on, len(shards.vocab), seed, steps)
    model = new_model(made.config, seed)
    task = pretraining_task(shards, made.options, held_out)
    return Pretrained(model, train(model, task, made.options.training, device="cpu", callback=callback))


def run(on: Collection[str], seed: int = 0, steps: int = STEPS, callback: Callback | None = None) -> Run:
    """Return the run of `pretrain`, without the model."""
    return pretrain(on, seed, steps, callback).run


def knock_outs() -> list[frozenset[str]]:
    """Return the stored combinations: each switch on from BERT, each changed from modern."""
    changed = [BERT, *(frozenset({name}) for name in SWITCHES)]
    for name in SWITCHES:
        flipped = MODERN ^ {name}
        changed.append(flipped - {"mask_30"} if name == "mask_15" else flipped)
    return [*changed[: len(SWITCHES) + 1], MODERN, *changed[len(SWITCHES) + 1 :]]
