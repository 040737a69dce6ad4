"""The checks of chapter 1 accept the library's functions and autograd, and know a mistake in other words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from bertlearn.course.checks import attention as check
from bertlearn.course.exercise import Exercise
from bertlearn.model import bert


def softmax_backward(probs: Tensor, grad_probs: Tensor) -> Tensor:
    scores = probs.log().requires_grad_()
    return torch.autograd.grad(scores.softmax(dim=-1), scores, grad_probs)[0]


def attention_backward(
    query: Tensor, key: Tensor, value: Tensor, probs: Tensor, grad_context: Tensor
) -> tuple[Tensor, ...]:
    inputs = [x.clone().requires_grad_() for x in (query, key, value)]
    mask = torch.zeros_like(probs).masked_fill(probs == 0, torch.finfo(probs.dtype).min)
    return torch.autograd.grad(bert.fused_attention(*inputs, mask), inputs, grad_context)


RIGHT = {
    "softmax": lambda x: torch.nn.functional.softmax(x, dim=-1),
    "additive_mask": bert.additive_mask,
    "scaled_dot_product_attention": bert.scaled_dot_product_attention,
    "split_heads": bert.split_heads,
    "merge_heads": bert.merge_heads,
    "softmax_backward": softmax_backward,
    "attention_backward": attention_backward,
}


def test_every_exercise_is_compared_with_the_library_or_with_torch() -> None:
    assert {name for name, value in vars(check).items() if isinstance(value, Exercise)} == RIGHT.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_the_library_and_torch_agree_with_the_solution(name: str) -> None:
    result = replace(getattr(check, name), forbidden=())(RIGHT[name])  # the numbers alone
    assert result.ok, result


@pytest.mark.parametrize(
    ("exercise", "attempt", "mistake"),
    [
        (check.softmax, lambda x: x.softmax(0), "softmax over the wrong axis"),
        (check.softmax, lambda x: x.log_softmax(-1), "the logarithm of softmax"),
        (
            check.softmax,
            lambda x: x.exp() / x.exp().sum(0),
            "softmax over the wrong axis, and no maximum subtracted",
        ),
        (
            check.additive_mask,
            lambda mask, dtype=torch.float32: (1 - mask[:, None, None].to(dtype)) * -1e9,
            "(1 − mask) times −1e9",
        ),
        (check.split_heads, lambda x, heads: x.unflatten(2, (-1, heads)).movedim(3, 1), "heads interleaved"),
        (check.merge_heads, lambda x: x.movedim(1, 3).flatten(2), "heads interleaved"),
        (check.softmax_backward, lambda p, g: (p - p**2) * g, "only the diagonal, p (1 − p)"),
    ],
)
def test_a_known_mistake_is_recognized_in_other_words(
    exercise: Exercise, attempt: Callable, mistake: str
) -> None:
    assert exercise(attempt).mistake == mistake


def test_a_softmax_by_its_logarithm_is_right_as_well() -> None:
    assert check.softmax(lambda x: (x - x.logsumexp(dim=-1, keepdim=True)).exp()).ok
