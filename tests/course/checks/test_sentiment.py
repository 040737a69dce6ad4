"""Chapter 6: the answers are those of the package and of libraries; other attempts are judged well."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from sklearn.metrics import f1_score

from bertlearn.analysis import behavior, evaluation
from bertlearn.course.checks import sentiment as check
from bertlearn.course.exercise import Exercise

EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}


# The answers are those of the package and of well-kept libraries.


def of_behavior(before: torch.Tensor, after: torch.Tensor, tolerance: float) -> float:
    names = [str(row) for row in range(len(before))]
    cases = [behavior.Case(name, f"{name}, changed", 0) for name in names]
    scores = {case.text: p for case, p in zip(cases, before.tolist(), strict=True)}
    scores |= {case.changed: p for case, p in zip(cases, after.tolist(), strict=True)}
    tests = [behavior.BehaviorTest("any change", "invariance", cases)]
    return behavior.run_tests(lambda texts: [scores[text] for text in texts], tests, tolerance)[0].rate


LIBRARY = {
    "macro_f1": lambda labels, guesses: f1_score(labels, guesses, average="macro", zero_division=0),
    "calibration_error": evaluation.calibration_error,
    "scaled_probabilities": lambda logits, t: torch.from_numpy(evaluation.scaled_probabilities(logits, t)),
    "pass_rate": of_behavior,
}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_functions_of_the_package_pass(name: str) -> None:
    result = EXERCISES[name](LIBRARY[name])
    assert result.ok, result


def test_a_split_has_no_film_in_two_parts_and_enough_rows() -> None:
    for seed in range(50):
        films = random.Random(seed).choices("ABCDEFGHIJ", k=40)
        train, test = check.split_by_film.solution(films, 0.3, seed)
        assert sorted(train + test) == list(range(40))
        assert not {films[row] for row in train} & {films[row] for row in test}
        largest = max(films.count(film) for film in films)
        assert 12 <= len(test) < 12 + largest


def test_f1_is_that_of_scikit_learn() -> None:
    chance = random.Random(2)
    for _ in range(200):
        labels, guesses = ([chance.randrange(4) for _ in range(chance.randint(2, 20))] for _ in range(2))
        guesses = [*guesses, *labels][: len(labels)]
        expected = f1_score(labels, guesses, average="macro", zero_division=0)
        assert check.macro_f1.solution(labels, guesses) == pytest.approx(expected)


@pytest.mark.parametrize("case", ["two models that agree a lot", "two models that differ"])
def test_the_interval_is_about_that_of_the_package(case: str) -> None:
    a, b, _ = check.bootstrap_interval.cases[case]
    draws = torch.randint(len(a), (10_000, len(a)), generator=torch.Generator().manual_seed(0))
    low, high = check.bootstrap_interval.solution(a, b, draws)
    theirs = evaluation.paired_bootstrap(a, b)
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.5 / len(a))


def test_integrated_gradients_are_those_of_captum() -> None:
    def height(x: torch.Tensor) -> torch.Tensor:
        return (x.sin() * x.roll(1, dims=-1)).sum(dim=-1)

    def gradient(x: torch.Tensor) -> torch.Tensor:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(height(x), x)[0]

    x, baseline = torch.randn(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    method = IntegratedGradients(height)
    expected = method.attribute(x[None], baseline[None], n_steps=7, method="riemann_middle")[0]
    torch.testing.assert_close(check.integrated_gradients.solution(gradient, x, baseline, 7), expected)


# Other ways to be right, and to be wrong in a known way.


def film_by_film(films: list[str], share: float, seed: int) -> tuple[list[int], ...]:
    order = sorted(set(films))
    random.seed(seed)
    random.shuffle(order)
    test: list[int] = []
    while len(test) < share * len(films):
        film = order.pop(0)
        test += [row for row in range(len(films)) if films[row] == film]
    return [np.int64(row) for row in range(len(films)) if row not in test], sorted(test)


def in_bins(probabilities: torch.Tensor, labels: torch.Tensor, bins: int) -> torch.Tensor:
    confidence, guesses = probabilities.max(1)
    places = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1)) - 1
    gaps = torch.zeros(bins).index_add(0, places, (guesses == labels).float() - confidence)
    return gaps.abs().sum() / len(labels)


def walking(gradient: Callable, x: torch.Tensor, baseline: torch.Tensor, steps: int) -> torch.Tensor:
    step = (x - baseline) / steps
    return sum(step * gradient(x - (k + 0.5) * step) for k in range(steps))


ALSO_RIGHT: dict[str, Callable[..., Any]] = {
    "split_by_film": film_by_film,
    "macro_f1": lambda labels, guesses: f1_score(labels, guesses, average="macro"),
    "bootstrap_interval": lambda a, b, draws: np.percentile(
        [float(a[rows].float().mean() - b[rows].float().mean()) for rows in draws], [2.5, 97.5]
    ).tolist(),
    "calibration_error": in_bins,
    "scaled_probabilities": lambda logits, t: torch.log_softmax(logits.double() / t, 1).exp(),
    "integrated_gradients": walking,
    "pass_rate": lambda before, after, t: np.mean(
        [(p >= 0.5) == (q >= 0.5) and abs(p - q) <= t for p, q in zip(before, after, strict=True)]
    ),
}


def test_other_ways_to_be_right() -> None:
    assert EXERCISES.keys() == ALSO_RIGHT.keys()
    for name, attempt in ALSO_RIGHT.items():
        assert repr(EXERCISES[name](attempt)).startswith("✓")


def rows_drawn(films: list[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    test = random.Random(99).sample(range(len(films)), int(share * len(films)) + 1)
    return [row for row in range(len(films)) if row not in test], test


def films_of_the_first_rows(films: list[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    test = set(films[: int(share * len(films)) + 1])
    rows = range(len(films))
    return [row for row in rows if films[row] not in test], [row for row in rows if films[row] in test]


def stops_before_enough(films: list[str], share: float, seed: int) -> tuple[list[int], list[int]]:
    order, test = sorted(set(films)), set()
    random.Random(seed).shuffle(order)
    for film in order:
        if sum(name in test or name == film for name in films) > share * len(films):
            break
        test.add(film)
    rows = range(len(films))
    return [row for row in rows if films[row] not in test], [row for row in rows if films[row] in test]


def test_a_leak_is_seen_however_it_was_made() -> None:
    assert check.split_by_film(rows_drawn).mistake == "films on both sides"
    assert check.split_by_film(films_of_the_first_rows).mistake == "other films"
    assert check.split_by_film(stops_before_enough).mistake == "a film too few"
