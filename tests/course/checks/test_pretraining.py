"""The checks of chapter 4 accept what the library and torch compute, and know a mistake in other words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from conftest import random_batch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bertlearn.course.checks import pretraining as check
from bertlearn.course.exercise import Exercise
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForMaskedLM
from bertlearn.pretraining.masking import mask_tokens
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.optim import learning_rate_at, make_optimizer
from bertlearn.training.options import TrainingOptions

NUMBERED = WordPieceTokenizer([*SPECIAL_TOKENS, *(f"w{number}" for number in range(5, 100))])


def hide_tokens(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> tuple[Tensor, Tensor]:
    """Let the library's own draws come out as those of a case; an ordinary piece's index is its id − 5."""
    draws = mock.patch("torch.rand", side_effect=[chance, fate])
    with draws, mock.patch("torch.randint", return_value=random_ids - 5):
        return mask_tokens(ids, NUMBERED, torch.Generator())


def make_pair(
    document: list[list[int]], index: int, stranger: list[int], follows: bool, cls_id: int, sep_id: int
) -> tuple[list[int], list[int], int]:
    chosen = (document[index], document[index + 1] if follows else stranger)
    encoding = NUMBERED.encode(*(" ".join(f"w{number}" for number in ids) for ids in chosen))
    return encoding.input_ids, encoding.token_type_ids, int(not follows)


def unigram_entropy(counts: Tensor) -> float:
    return torch.special.entr(counts.double() / counts.sum()).sum().item()


def learning_rate(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    options = TrainingOptions(steps=steps, warmup=warmup_steps / steps, learning_rate=peak)
    return learning_rate_at(step, options)


def adamw_step(
    parameter: Tensor, gradient: Tensor, average: Tensor, square: Tensor, step: int, rate: float, decay: float
) -> tuple[Tensor, ...]:
    weight = torch.nn.Parameter(parameter[None].clone())  # two axes, or there would be no decay
    optimizer = make_optimizer(
        torch.nn.ParameterDict({"weight": weight}), TrainingOptions(weight_decay=decay)
    )
    optimizer.param_groups[0]["lr"], weight.grad = rate, gradient[None]
    state = {"exp_avg": average[None].clone(), "exp_avg_sq": square[None].clone()}
    optimizer.state[weight] = {"step": torch.tensor(step - 1.0), **state}
    optimizer.step()
    return weight[0].detach(), *(kept[0] for kept in state.values())


def with_gradients(gradients: list[Tensor]) -> list[torch.nn.Parameter]:
    parameters = [torch.nn.Parameter(torch.zeros_like(gradient)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    return parameters


def clip_gradients(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    parameters = with_gradients(gradients)
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return [parameter.grad for parameter in parameters]


def weight_at_offset(probs: Tensor, offset: int) -> Tensor:
    length = probs.shape[-1]
    pairs = [(i, i + offset) for i in range(length) if 0 <= i + offset < length]
    return torch.stack([probs[..., i, j] for i, j in pairs]).mean(dim=(0, 1))


RIGHT = {
    "hide_tokens": hide_tokens,
    "make_pair": make_pair,
    "masked_lm_loss": lambda logits, labels: cross_entropy(logits.transpose(1, 2), labels),
    "unigram_entropy": unigram_entropy,
    "learning_rate": learning_rate,
    "adamw_step": adamw_step,
    "clip_gradients": clip_gradients,
    "combine_gradients": lambda gradients, counts: torch.from_numpy(
        np.average(torch.stack(gradients).numpy(), axis=0, weights=counts)
    ),
    "weight_at_offset": weight_at_offset,
}


def test_every_exercise_is_compared_with_the_library_or_with_torch() -> None:
    assert {name for name, value in vars(check).items() if isinstance(value, Exercise)} == RIGHT.keys()


@pytest.mark.parametrize("name", RIGHT)
def test_the_library_and_torch_agree_with_the_solution(name: str) -> None:
    result = replace(getattr(check, name), forbidden=())(RIGHT[name])  # the numbers alone
    assert result.ok, result


def test_tokens_are_hidden_as_the_library_does_with_the_same_draws() -> None:
    def draws() -> torch.Generator:
        return torch.Generator().manual_seed(0)

    generator, ids = draws(), torch.arange(6000).reshape(60, 100) % 100
    chance, fate = (torch.rand(ids.shape, generator=generator) for _ in range(2))
    random_ids = 5 + torch.randint(95, ids.shape, generator=generator)
    mine = check.hide_tokens.solution(ids, chance, fate, random_ids, torch.arange(5), 4)
    for one, other in zip(mine, mask_tokens(ids, NUMBERED, draws()), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("warmup_steps", [4, 0])
def test_the_learning_rate_is_that_of_the_training_loop(warmup_steps: int) -> None:
    for step in range(1, 41):
        mine = check.learning_rate.solution(step, 40, warmup_steps, 2e-3)
        assert mine == pytest.approx(learning_rate(step, 40, warmup_steps, 2e-3))


def test_the_adamw_step_is_that_of_the_optimizer() -> None:
    parameter = torch.nn.Parameter(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    model = torch.nn.ParameterDict({"weight": parameter})
    optimizer = make_optimizer(model, TrainingOptions(weight_decay=0.3))
    optimizer.param_groups[0]["lr"] = 0.1
    state = parameter.detach().clone(), torch.zeros(5, 3), torch.zeros(5, 3)
    for step in range(1, 4):
        parameter.grad = parameter.detach().cos()
        state = check.adamw_step.solution(state[0], parameter.grad.clone(), *state[1:], step, 0.1, 0.3)
        optimizer.step()
        torch.testing.assert_close(parameter.detach(), state[0])


def test_the_masked_lm_loss_is_that_of_the_model(small_config: BertConfig) -> None:
    model = BertForMaskedLM(small_config).eval()
    ids = random_batch(small_config)["input_ids"]
    labels = torch.where(ids % 5 == 0, ids, -100)
    with torch.no_grad():
        mine = check.masked_lm_loss.solution(model(ids).prediction_logits, labels)
        torch.testing.assert_close(mine, model(ids, labels=labels).loss)


def test_the_pair_and_the_weight_on_a_neighbor_by_hand() -> None:
    ids, types, label = check.make_pair.solution([[7], [8, 9]], 0, [5], True, 2, 3)
    assert (ids, types, label) == ([2, 7, 3, 8, 9, 3], [0, 0, 0, 1, 1, 1], 0)
    probs = torch.tensor([[[[1.0, 0.0], [0.25, 0.75]]]])  # the second token looks at the first with 0.25
    assert check.weight_at_offset.solution(probs, -1).tolist() == [0.25]


def in_place(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> tuple[Tensor, Tensor]:
    masked, chosen = ids, (chance < 0.15) & ~torch.isin(ids, special_ids)
    masked[chosen & (fate < 0.8)] = mask_id
    replaced = chosen & (fate >= 0.8) & (fate < 0.9)
    masked[replaced] = random_ids[replaced]
    return masked, torch.where(chosen, ids, -100)


def adam_with_l2(
    parameter: Tensor, gradient: Tensor, average: Tensor, square: Tensor, step: int, rate: float, decay: float
) -> tuple[Tensor, ...]:
    weight = with_gradients([gradient])[0]
    weight.data = parameter.clone()
    optimizer = torch.optim.Adam([weight], lr=rate, betas=(0.9, 0.98), eps=1e-6, weight_decay=decay)
    state = {"exp_avg": average.clone(), "exp_avg_sq": square.clone()}
    optimizer.state[weight] = {"step": torch.tensor(step - 1.0), **state}
    optimizer.step()
    return weight.detach(), *state.values()


def clipped_values(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    parameters = with_gradients(gradients)
    torch.nn.utils.clip_grad_value_(parameters, max_norm)
    return [parameter.grad for parameter in parameters]


@pytest.mark.parametrize(
    ("exercise", "attempt", "mistake"),
    [
        (check.hide_tokens, in_place, "the labels taken from ids that were masked in place"),
        (
            check.masked_lm_loss,
            lambda logits, labels: cross_entropy(logits.softmax(-1).transpose(1, 2), labels),
            "softmax twice",
        ),
        (
            check.masked_lm_loss,
            lambda logits, labels: cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(),
            "divided by all tokens, B · S",
        ),
        (
            check.unigram_entropy,
            lambda counts: torch.distributions.Categorical(counts.double()).entropy().item() / np.log(2),
            "bits instead of nats",
        ),
        (check.adamw_step, adam_with_l2, "the decay added to the gradient"),
        (check.clip_gradients, clipped_values, "each number by itself"),
        (
            check.combine_gradients,
            lambda gradients, counts: torch.stack(gradients).mean(dim=0),
            "the mean of the means",
        ),
        (
            check.weight_at_offset,
            lambda probs, offset: weight_at_offset(probs.mT, offset),
            "before and after mixed up",
        ),
    ],
)
def test_a_mistake_is_known_in_other_words(
    exercise: Exercise, attempt: Callable[..., object], mistake: str
) -> None:
    assert exercise(attempt).mistake == mistake
