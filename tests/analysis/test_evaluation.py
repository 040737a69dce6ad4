"""The interval of a difference against resampling by hand; calibration and temperature on known cases."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from bertlearn.analysis.evaluation import (
    Bin,
    calibration_error,
    fit_temperature,
    paired_bootstrap,
    reliability,
    scaled_probabilities,
)


def two_models(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return where each model is correct; texts that are hard for one are mostly hard for the other."""
    rng = np.random.default_rng(seed)
    a = rng.random(count) < 0.8
    b = np.where(rng.random(count) < 0.1, ~a, a)
    return a, b


def by_hand(a: np.ndarray, b: np.ndarray, groups: np.ndarray, draws: int = 2000) -> np.ndarray:
    """Return the 2.5th and 97.5th percentiles over draws of whole groups, computed text by text."""
    rng = np.random.default_rng(1)
    members = [np.flatnonzero(groups == name) for name in np.unique(groups)]
    differences = []
    for _ in range(draws):
        rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        differences.append(a[rows].mean() - b[rows].mean())
    return np.percentile(differences, (2.5, 97.5))


def test_the_interval_agrees_with_resampling_by_hand() -> None:
    a, b = two_models()
    found = paired_bootstrap(a, b, resamples=4000)
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert (found.low, found.high) == pytest.approx(by_hand(a, b, np.arange(400)), abs=0.004)


def test_whole_groups_of_any_size_are_drawn() -> None:
    """All sentences of a film are correct or all wrong, so the interval is far wider than without groups."""
    rng = np.random.default_rng(5)
    sizes = rng.integers(1, 40, size=40)
    films = np.repeat(np.arange(40), sizes)
    a = np.repeat(rng.random(40) < 0.8, sizes)
    b = np.repeat(rng.random(40) < 0.7, sizes)
    names = [f"film {number}" for number in films]
    found = paired_bootstrap(a, b, names, 4000)
    assert found.difference == pytest.approx(a.mean() - b.mean())  # a mean over texts, not over films
    assert (found.low, found.high) == pytest.approx(by_hand(a, b, films), abs=0.02)
    alone = paired_bootstrap(a, b, resamples=1000)
    assert found.high - found.low > 3 * (alone.high - alone.low)
    order = rng.permutation(len(a))
    mixed = paired_bootstrap(a[order], b[order], [names[row] for row in order], 4000)
    assert mixed == pytest.approx(found, abs=0.02)


def test_a_group_is_drawn_with_all_its_texts() -> None:
    """A is always right, B never: whichever groups are drawn, the difference is 1."""
    assert paired_bootstrap([1] * 9, [0] * 9, list("abbbccccc"), 50) == pytest.approx((1, 1, 1))


def test_shared_errors_do_not_widen_the_interval() -> None:
    a, b = two_models(1000)
    same = paired_bootstrap(a, a, resamples=10)
    assert same == (0, 0, 0)
    found = paired_bootstrap(a, b, resamples=4000)
    spread = 1.96 * (a.astype(float) - b).std() / 1000**0.5
    assert (found.high - found.low) / 2 == pytest.approx(spread, rel=0.1)


def test_the_interval_depends_on_the_seed_and_changes_sign_with_the_models() -> None:
    a, b = two_models()
    found = paired_bootstrap(a, b, resamples=60, seed=3)
    assert found == paired_bootstrap(a.astype(int).tolist(), torch.from_numpy(b), resamples=60, seed=3)
    assert found != paired_bootstrap(a, b, resamples=60, seed=4)
    other = paired_bootstrap(b, a, resamples=60, seed=3)
    assert other == pytest.approx((-found.difference, -found.high, -found.low))


BAD_FLAGS: dict[str, tuple[tuple[Any, ...], str]] = {
    "lengths": (([1, 0, 1], [1, 0]), "right_a has 3 texts, right_b 2"),
    "guesses": (([2, 0], [1, 0]), "right_a must be a list of True and False"),
    "probabilities": (([1, 0], [0.5, 0.5]), "right_b must be a list of True and False"),
    "two axes": (([[1, 0]], [[1, 0]]), "right_a must be a list"),
    "a number": ((1, 1), "right_a must be a list"),
    "one text": (([1], [0]), "1 texts or groups to draw from; give at least 2"),
    "nothing": (([], []), "0 texts or groups"),
    "one group": (([1, 0], [1, 1], ["a", "a"]), "1 texts or groups"),
    "no draws": (([1, 0], [1, 1], None, 0), "resamples=0 must be a whole number of at least 2"),
    "half a draw": (([1, 0], [1, 1], None, 2.5), "resamples=2.5 must be a whole number"),
    "a seed": (([1, 0], [1, 1], None, 9, "x"), "seed='x' must be a whole number"),
    "lists": (([1, 0], [1, 1], [["a"], ["b"]]), r"groups has \['a'\], expected names or numbers"),
    "a missing group": (([1, 0], [1, 1], np.array([1, np.nan])), "groups has nan, expected names"),
    "a set": (([1, 0], [1, 1], {"a", "b"}), "groups is set, expected a list in the order of the texts"),
    "a dict": (([1, 0], [1, 1], {"a": 0, "b": 1}), "groups is dict, expected a list"),
    "a string": (([1, 0], [1, 1], "ab"), "groups is str, expected a list"),
    "groups": (([1, 0], [1, 1], ["a"]), "groups has 1 names, expected one for each of 2 texts"),
}


@pytest.mark.parametrize("name", BAD_FLAGS)
def test_invalid_comparisons_are_refused(name: str) -> None:
    arguments, message = BAD_FLAGS[name]
    with pytest.raises(ValueError, match=message):
        paired_bootstrap(*arguments)


# Calibration.


def two_labels(*confidences: float, dtype: type = np.float64) -> np.ndarray:
    """Return rows that predict label 1 with these probabilities."""
    high = np.array(confidences, dtype=dtype)
    return np.stack([1 - high, high], axis=1)


def test_bins_by_hand() -> None:
    """A text on the edge 0.8 belongs to the lower bin; (0.6, 0.7] is empty."""
    probs = two_labels(0.55, 0.75, 0.8, 0.95, 1.0)
    found = reliability(probs, [1, 0, 1, 1, 1], bins=10)
    assert [(group.texts, group.accuracy) for group in found] == [(1, 1), (2, 0.5), (2, 1)]
    assert [group.confidence for group in found] == pytest.approx([0.55, 0.775, 0.975])
    assert [group.low for group in found] == pytest.approx([0.5, 0.7, 0.9])
    assert [group.high for group in found] == pytest.approx([0.6, 0.8, 1])
    assert isinstance(found[0], Bin)
    expected = (1 * 0.45 + 2 * 0.275 + 2 * 0.025) / 5
    assert calibration_error(probs, [1, 0, 1, 1, 1], bins=10) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bins", [5, 10, 20])
def test_an_edge_belongs_to_the_lower_bin(bins: int, dtype: type) -> None:
    for number in range(bins // 2 + 1, bins + 1):
        (found,) = reliability(two_labels(number / bins, dtype=dtype), [1], bins)
        assert found.high == pytest.approx(number / bins)


def test_gaps_of_different_signs_do_not_cancel() -> None:
    probs = two_labels(0.6, 0.6, 0.9, 0.9)
    assert calibration_error(probs, [1, 1, 0, 1]) == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    assert calibration_error(probs, [1, 1, 0, 1], bins=1) == pytest.approx(0)


def test_confidence_is_the_probability_of_the_predicted_label() -> None:
    probs = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]])
    assert calibration_error(probs, [0, 2, 1]) == pytest.approx((0.3 + 0.3 + 0.6) / 3)
    assert calibration_error(torch.from_numpy(probs), [0, 2, 1]) == calibration_error(probs, [0, 2, 1])


def calibrated_logits(count: int = 20_000, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits of three labels, and labels drawn with exactly those probabilities."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (count, 3))
    labels = (softmax(logits, axis=1).cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return logits * scale, labels


def test_a_calibrated_model_has_almost_no_calibration_error() -> None:
    logits, labels = calibrated_logits()
    assert calibration_error(softmax(logits, axis=1), labels) < 0.01
    assert calibration_error(softmax(logits * 3, axis=1), labels) > 0.1


@pytest.mark.parametrize("scale", [0.25, 1.0, 3.0])
def test_the_temperature_undoes_a_scaling_of_the_logits(scale: float) -> None:
    logits, labels = calibrated_logits(scale=scale)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(scale, rel=0.03)
    probs = scaled_probabilities(logits, temperature)
    assert calibration_error(probs, labels) < 0.01
    assert (probs.argmax(1) == logits.argmax(1)).all()
    losses = [
        -np.log(scaled_probabilities(logits, t)[range(len(labels)), labels]).mean()
        for t in (temperature, temperature * 0.97, temperature * 1.03)
    ]
    assert losses[0] == min(losses)


def test_without_errors_the_temperature_approaches_zero() -> None:
    assert fit_temperature([[5.0, 0.0], [0.0, 5.0]], [0, 1]) < 0.2


def test_scaling_divides_the_logits() -> None:
    logits = np.log([[0.9, 0.1], [0.2, 0.8]])
    assert scaled_probabilities(logits, 1) == pytest.approx(np.exp(logits))
    assert scaled_probabilities(torch.from_numpy(logits), 2)[0] == pytest.approx([0.75, 0.25])  # √0.9 : √0.1


BAD_SCORES: dict[str, tuple[Any, Any, str]] = {
    "logits": ([[2.0, -1.0]], [0], "rows that do not sum to 1; turn logits into them with softmax"),
    "positive logits": ([[2.0, 1.0]], [0], "rows that do not sum to 1"),
    "one probability": ([0.4, 0.6], [0, 1], r"probabilities has shape \(2,\)"),
    "whole numbers": ([[0, 1]], [1], "dtype int64, expected finite floats"),
    "NaN": ([[np.nan, 1.0]], [1], "expected finite floats"),
    "nothing": (np.zeros((0, 2)), [], r"shape \(0, 2\)"),
    "few labels": ([[0.5, 0.5]] * 2, [1], r"labels has shape \(1,\) .* expected 2 whole numbers"),
    "names": ([[0.5, 0.5]], ["fresh"], "expected 1 whole numbers"),
    "a third label": ([[0.5, 0.5]], [2], "labels has numbers outside 0 to 1"),
    "−100": ([[0.5, 0.5]], [-100], "labels has numbers outside 0 to 1"),
}


@pytest.mark.parametrize("name", BAD_SCORES)
def test_invalid_scores_are_refused(name: str) -> None:
    scores, labels, message = BAD_SCORES[name]
    with pytest.raises(ValueError, match=message):
        reliability(scores, labels)
    if "logits" not in name:
        with pytest.raises(ValueError, match=message.replace("probabilities", "logits")):
            fit_temperature(scores, labels)


@pytest.mark.parametrize("bins", [0, -1, 2.5, "15"])
def test_invalid_bins_are_refused(bins: Any) -> None:
    with pytest.raises(ValueError, match="must be a whole number of at least 1"):
        calibration_error([[0.5, 0.5]], [1], bins)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf"), "1", None, [1.0]])
def test_a_temperature_must_be_positive(temperature: Any) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        scaled_probabilities([[1.0, 2.0]], temperature)


@pytest.mark.parametrize("logits", [[[np.nan, 1.0]], [[np.inf, 1.0]], None, [["a", "b"]]])
def test_only_numbers_are_scaled(logits: Any) -> None:
    with pytest.raises(ValueError, match=r"logits has dtype .*, expected finite numbers"):
        scaled_probabilities(logits, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_of_a_model_are_taken_as_they_are(dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.5, 0.0], [0.0, 2.0], [1.5, 0.0]], requires_grad=True).to(dtype)
    plain, labels = logits.detach().float().numpy(), torch.tensor([0, 0, 1])
    assert scaled_probabilities(logits, 2.0) == pytest.approx(scaled_probabilities(plain, 2.0))
    assert fit_temperature(logits, labels) == pytest.approx(fit_temperature(plain, labels.numpy()))
    probs = torch.tensor([[0.5, 0.5], [0.25, 0.75]], requires_grad=True).to(dtype)
    assert reliability(probs, [0, 0]) == reliability(probs.detach().float().numpy(), [0, 0])
    right = torch.tensor([1.0, 0.0, 1.0], requires_grad=True).to(dtype)
    assert paired_bootstrap(right, [0, 0, 1], resamples=9).difference == pytest.approx(1 / 3)


@pytest.mark.parametrize("groups", [torch.tensor([7, 7, 8, 8]), np.array([7, 7, 8, 8]), iter("aabb")])
def test_groups_may_be_of_any_library(groups: Any) -> None:
    a, b = [1, 1, 0, 1], [0, 0, 1, 1]
    expected = paired_bootstrap(a, b, [7, 7, 8, 8], resamples=60)
    assert paired_bootstrap(a, b, groups, resamples=60) == expected
