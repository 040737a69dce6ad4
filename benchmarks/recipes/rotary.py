"""Chapter 4's recipe with rotary positions in place of learned ones."""

from dataclasses import asdict
from pathlib import Path

import torch

from bertlearn.model.config import BertConfig, ModernConfig
from bertlearn.model.modern import ModernForMaskedLM
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import pretraining_task
from bertlearn.training.loop import train as run
from bertlearn.training.options import TrainingOptions

STEPS = 1450


def train(shards: Path, seed: int) -> torch.nn.Module:
    """Train with a schedule that ends at the last step."""
    opened = Shards.open(shards)
    options = PretrainOptions(training=TrainingOptions(steps=STEPS, seed=seed, precision="fp32"))
    tiny = BertConfig.preset("tiny", vocab_size=len(opened.vocab), max_position_embeddings=64)
    values = {**asdict(tiny), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(seed)
    config = ModernConfig(**{**values, "initializer_range": options.initializer_range, "rope": True})
    model = ModernForMaskedLM(config)
    run(model, pretraining_task(opened, options), options.training, callback=lambda progress: False)
    return model
