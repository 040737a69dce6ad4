"""Small models of the three tasks of fine-tuning, and their transformers twins."""

from __future__ import annotations

from dataclasses import replace

import torch
import transformers
from conftest import CONFIG, perturb, twin_of
from torch import nn

from bertlearn.model.config import BertConfig
from bertlearn.model.heads import (
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)

LABELS = ["good", "so so", "bad"]
TASKS = ["sequence", "token", "question"]
OURS = dict(
    zip(
        TASKS,
        (BertForSequenceClassification, BertForTokenClassification, BertForQuestionAnswering),
        strict=True,
    )
)
THEIRS = {task: getattr(transformers, ours.__name__) for task, ours in OURS.items()}
SHAPE = (6, 13)
WORDS = [f"{first}{second}" for first in "bcdfghjklm" for second in "aeiou"]  # 50
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def config_of(task: str, **changes: object) -> BertConfig:
    labels = {} if task == "question" else {"id2label": dict(enumerate(LABELS))}
    return replace(CONFIG, **labels, **changes)


def twins(task: str, seed: int = 0, **changes: object) -> tuple[nn.Module, nn.Module]:
    """Return our model and transformers', with the same perturbed weights, in evaluation mode."""
    torch.manual_seed(seed)
    one = OURS[task](config_of(task, **changes)).eval()
    perturb(one, seed, scale=0.1)
    return one, twin_of(one, THEIRS[task])


def varied(pooling: str) -> BertForSequenceClassification:
    """Return a model so far from its beginning that its scores vary from text to text."""
    torch.manual_seed(0)
    model = BertForSequenceClassification(config_of("sequence", classifier_pooling=pooling)).eval()
    perturb(model, scale=0.3)
    return model
