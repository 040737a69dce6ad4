"""The checks of chapter 7 accept the library's functions, autograd and torch's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from bertlearn.analysis import static_vectors
from bertlearn.course.checks import family as check
from bertlearn.course.exercise import Exercise


def ppmi(counts: Tensor, smoothing: float = 0.75) -> Tensor:
    return torch.from_numpy(static_vectors.ppmi(csr_matrix(counts.numpy()), smoothing).toarray()).float()


def negative_distribution(counts: Tensor, power: float = 0.75) -> Tensor:
    words = np.repeat(np.arange(len(counts)), counts.numpy())
    found = static_vectors.negative_distribution([words], len(counts), power)
    return torch.from_numpy(found).float()


def skipgram_gradients(word: Tensor, neighbor: Tensor, negatives: Tensor) -> tuple[Tensor, ...]:
    inputs = [x.clone().requires_grad_() for x in (word, neighbor, negatives)]
    loss = static_vectors.skipgram_loss(*(x[None] for x in inputs))
    return torch.autograd.grad(loss, inputs)


def prefix_mask(length: int, prefix: int) -> Tensor:
    rows = [[key <= query or key < prefix for key in range(length)] for query in range(length)]
    return torch.tensor(rows)


def permutation_mask(order: Tensor) -> Tensor:
    seen = torch.zeros(len(order), len(order), dtype=torch.bool)
    for turn, position in enumerate(order.tolist()):
        seen[position, order[:turn]] = True
    return seen


def replaced_labels(original: Tensor, corrupted: Tensor, attention_mask: Tensor) -> Tensor:
    return torch.where(attention_mask.bool(), original.ne(corrupted).int(), -100).long()


def sample_tokens(logits: Tensor, numbers: Tensor) -> Tensor:
    sums = np.cumsum(torch.softmax(logits, -1).numpy(), axis=1, dtype=np.float32)
    return torch.tensor(
        [np.searchsorted(row, number, side="right") for row, number in zip(sums, numbers, strict=True)]
    )


def unmask(ids: Tensor, logits: Tensor, mask_id: int, count: int) -> Tensor:
    filled, open_ = ids.tolist(), [i for i, token in enumerate(ids.tolist()) if token == mask_id]
    probabilities = logits.softmax(-1)
    for i in sorted(open_, key=lambda i: -float(probabilities[i].max()))[:count]:
        filled[i] = int(probabilities[i].argmax())
    return torch.tensor(filled)


RIGHT: dict[str, Callable] = {
    "ppmi": ppmi,
    "negative_distribution": negative_distribution,
    "skipgram_gradients": skipgram_gradients,
    "prefix_mask": prefix_mask,
    "permutation_mask": permutation_mask,
    "replaced_labels": replaced_labels,
    "sample_tokens": sample_tokens,
    "unmask": unmask,
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
        (check.ppmi, lambda counts, smoothing=0.75: ppmi(counts, 1.0), "no smoothing whatever the argument"),
        (
            check.prefix_mask,
            lambda length, prefix: torch.ones(length, length).tril() > 0,
            "no prefix",
        ),
        (
            check.sample_tokens,
            lambda logits, numbers: logits.argmax(-1),
            "the most probable token",
        ),
        (
            check.replaced_labels,
            lambda original, corrupted, mask: (original != corrupted).long(),
            "padding counted as original",
        ),
    ],
)
def test_a_known_mistake_is_recognized_in_other_words(
    exercise: Exercise, attempt: Callable, mistake: str
) -> None:
    assert exercise(attempt).mistake == mistake
