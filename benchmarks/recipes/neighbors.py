"""Rotary positions, and word vectors from counting neighbors, as chapter 7 makes them.

A word's left and right neighbors are counted apart, weighted (PPMI) and compressed (SVD). As the word
embeddings are the output layer as well, the model predicts by kinds of words from the start. The rest is the
rotary recipe with whole sequences, twice the learning rate, and a quarter of the features inside its
feed-forward networks.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import csr_matrix, hstack

from bertlearn.analysis.static_vectors import ppmi
from bertlearn.model.config import BertConfig, ModernConfig
from bertlearn.model.modern import ModernForMaskedLM
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import pretraining_task
from bertlearn.training.loop import train as run
from bertlearn.training.options import TrainingOptions

STEPS = 650
WINDOW = 2  # tokens on each side that count as neighbors
SCALE = 0.1  # standard deviation of the word vectors


def train(shards: Path, seed: int) -> torch.nn.Module:
    """Count neighbors, set the word vectors, then train."""
    opened = Shards.open(shards)
    training = TrainingOptions(steps=STEPS, seed=seed, learning_rate=4e-3, precision="fp32")
    options = PretrainOptions(short_share=0.0, training=training)
    torch.manual_seed(seed)
    model = ModernForMaskedLM(_config(len(opened.vocab), options))
    with torch.no_grad():
        set_words(model, opened)
    run(model, pretraining_task(opened, options), training, callback=lambda progress: False)
    return model


def _config(vocab_size: int, options: PretrainOptions) -> ModernConfig:
    tiny = BertConfig.preset("tiny", vocab_size=vocab_size, max_position_embeddings=options.max_length)
    changed = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "intermediate_size": 128}
    return ModernConfig(
        **{**asdict(tiny), **changed, "initializer_range": options.initializer_range, "rope": True}
    )


def set_words(model: ModernForMaskedLM, shards: Shards) -> None:
    """Set the word embeddings to what counting gives, and the output's biases to log frequencies."""
    size, hidden = len(shards.vocab), model.config.hidden_size
    frequency = sum(np.bincount(shard.tokens, minlength=size) for shard in shards.shards) + 1.0
    model.decoder.bias.copy_(torch.from_numpy(np.log(frequency / frequency.sum())))
    right = _right_neighbors(shards, size)
    sides = hstack([ppmi(csr_matrix(right)), ppmi(csr_matrix(right.T))])  # (V, 2V)
    left, values, _ = torch.svd_lowrank(torch.from_numpy(sides.toarray()).float(), q=hidden + 12)
    vectors = (left * values.sqrt())[:, :hidden]
    turn, _ = torch.linalg.qr(torch.randn(hidden, hidden))  # so that no feature is larger than the others
    model.model.embeddings.word.weight.copy_(vectors @ turn * (SCALE / vectors.std()))


def _right_neighbors(shards: Shards, size: int) -> np.ndarray:
    """Count how often each token stands right of each other, at distance d as 1 / d: floats (V, V)."""
    counts = np.zeros(size * size)
    for shard in shards.shards:
        tokens = np.asarray(shard.tokens, dtype=np.int64)
        for distance in range(1, WINDOW + 1):
            pairs = tokens[:-distance] * size + tokens[distance:]
            counts += np.bincount(pairs, minlength=size * size) / distance
    return counts.reshape(size, size)
