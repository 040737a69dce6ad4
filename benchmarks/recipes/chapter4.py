"""The recipe of chapter 4, declared to stop at the step at which it first reached an accuracy of 0.25."""

from pathlib import Path

import torch

from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import pretrain

STEPS = 2750


def train(shards: Path, seed: int) -> torch.nn.Module:
    """Train with the schedule of 5,000 steps, and stop."""
    options = PretrainOptions()
    training = {**vars(options.training), "seed": seed, "precision": "fp32"}
    options = PretrainOptions(training=type(options.training)(**training))
    return pretrain(shards, options, until=STEPS, callback=lambda progress: False).model
