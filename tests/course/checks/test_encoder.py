"""The checks of chapter 3 accept the library's functions and torch's, and know a mistake in other words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bertlearn.course.checks import attention as attention_check
from bertlearn.course.checks import encoder as check
from bertlearn.course.exercise import Exercise
from bertlearn.course.solutions import encoder as solution
from bertlearn.model import bert
from bertlearn.model.config import BertConfig


def count_parameters(config: BertConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in bert.BertModel(config).parameters())


RIGHT = {
    "sum_embeddings": bert.sum_embeddings,
    "layer_norm": bert.layer_norm,
    "add_and_norm": bert.add_and_norm,
    "gelu": bert.gelu,
    "count_parameters": count_parameters,
    "mean_pooling": bert.mean_pooling,
    "causal_mask": lambda length: nn.Transformer.generate_square_subsequent_mask(length).exp(),
}


def test_every_exercise_is_compared_with_the_library_or_with_torch() -> None:
    assert {name for name, value in vars(check).items() if isinstance(value, Exercise)} == RIGHT.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_the_library_and_torch_agree_with_the_solution(name: str) -> None:
    result = replace(getattr(check, name), forbidden=())(RIGHT[name])  # the numbers alone
    assert result.ok, result


def test_the_attention_written_again_in_this_chapter_is_that_of_chapter_1() -> None:
    assert attention_check.scaled_dot_product_attention(solution.scaled_dot_product_attention).ok


@pytest.mark.parametrize(
    ("exercise", "attempt", "mistake"),
    [
        (
            check.layer_norm,
            lambda x, w, b, eps: F.layer_norm(x, w.shape, w, b, 0.0),
            "the argument ε not used",
        ),
        (
            check.layer_norm,
            lambda x, w, b, eps: F.layer_norm(x, w.shape, w, None, eps),
            "the shift forgotten",
        ),
        (check.layer_norm, lambda x, w, b, eps: F.rms_norm(x, w.shape, w, eps) + b, "RMSNorm"),
        (
            check.layer_norm,
            lambda x, w, b, eps: F.layer_norm(x, x.shape, None, None, eps) * w + b,
            "one mean and variance for the whole tensor",
        ),
        (check.gelu, lambda x: F.gelu(x, approximate="tanh"), "the tanh approximation"),
        (check.gelu, F.relu, "ReLU"),
        (check.gelu, F.silu, "SiLU: the logistic function for Φ"),
        (
            check.causal_mask,
            nn.Transformer.generate_square_subsequent_mask,
            "already additive",
        ),
    ],
)
def test_a_known_mistake_is_recognized_in_other_words(
    exercise: Exercise, attempt: Callable, mistake: str
) -> None:
    assert exercise(attempt).mistake == mistake
