"""Training for the small tasks of chapter 9: a short loop, and two encoders for two texts.

The package's own loop (`bertlearn.training`) does more: evaluation, checkpoints, resuming. These runs take
seconds to a few minutes, and nothing is chosen during them.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bertlearn.course.solutions.at_work import contrastive_loss
from bertlearn.finetuning.features import Features
from bertlearn.model.bert import BertModel, mean_pooling
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


def learn(
    model: nn.Module,
    loss_of: Callable[[list[int]], Tensor],
    count: int,
    recipe: Mapping[str, float],
    seed: int,
) -> None:
    """Train a model in place with AdamW: a short warm-up, then a straight fall of the rate.

    Args:
        model: returned in evaluation mode.
        loss_of: returns the loss of the examples with these numbers.
        count: of examples.
        recipe: "epochs", "batch_size", "learning_rate" and "warmup_steps".
        seed: of the order and of dropout.
    """
    size = min(int(recipe["batch_size"]), count)
    steps = int(recipe["epochs"] * count) // size
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe["learning_rate"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / recipe["warmup_steps"], (steps - step) / steps)
    )
    torch.manual_seed(seed)
    draw = random.Random(seed)
    order: list[int] = []
    model.train()
    for _ in range(steps):
        if len(order) < size:
            order = draw.sample(range(count), count)
        loss = loss_of([order.pop() for _ in range(size)])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


def learn_features(model: nn.Module, features: Features, recipe: Mapping[str, float], seed: int) -> None:
    """Train a model in place on labeled texts; see `learn`."""

    def loss_of(rows: list[int]) -> Tensor:
        batch = features.batch(rows)._asdict()
        loss: Tensor = model(**{name: value for name, value in batch.items() if value is not None}).loss
        return loss

    learn(model, loss_of, len(features), recipe, seed)


PAIRS = {"epochs": 1, "batch_size": 32, "learning_rate": 3e-5, "warmup_steps": 5}
PAIR_LENGTH = 128  # tokens of a text


def train_pairs(
    encoder: BertModel, tokenizer: WordPieceTokenizer, pairs: Sequence[tuple[str, str]], seed: int
) -> BertModel:
    """Return a copy of an encoder that learned to find each pair's second text with its first (`PAIRS`).

    The wrong answers to a first text are the other second texts of its batch. Equal ones are none. The
    embeddings stay as they are.
    """
    trained = copy.deepcopy(encoder)
    trained.embeddings.requires_grad_(False)  # half of the parameters; few texts change them little
    numbers = {text: number for number, text in enumerate(dict.fromkeys(second for _, second in pairs))}

    def loss_of(rows: list[int]) -> Tensor:
        firsts, seconds = zip(*(pairs[row] for row in rows), strict=True)
        names = torch.tensor([numbers[text] for text in seconds])
        queries, documents = (_unit(trained, tokenizer, texts) for texts in (firsts, seconds))
        return contrastive_loss(queries, documents, names)

    learn(trained, loss_of, len(pairs), PAIRS, seed)
    return trained


def _unit(encoder: BertModel, tokenizer: WordPieceTokenizer, texts: Sequence[str]) -> Tensor:
    """Return the mean vectors of texts, of length 1, through which gradients flow."""
    encodings = [tokenizer.encode(text, max_length=PAIR_LENGTH) for text in texts]
    batch = tokenizer.pad(encodings)
    hidden = encoder(**batch._asdict()).last_hidden_state
    return normalize(mean_pooling(hidden, batch.attention_mask), dim=1)
