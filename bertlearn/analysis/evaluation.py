"""Judging a classifier: is the difference real, and can its probabilities be believed (chapter 6).

Takes numbers alone, as arrays, lists or tensors on the CPU; so it serves every model. Accuracy, F1, log loss
and Brier score are scikit-learn's.
Source: Efron & Tibshirani 1993, chapter 13 (percentile intervals); Guo et al. 2017, §2 and §4 (calibration,
temperature). Leaves out: corrections for many comparisons at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import bootstrap

Floats = NDArray[np.floating[Any]]
LOG_TEMPERATURES = (-5.0, 5.0)  # where the temperature is looked for: 0.007 to 148


class Interval(NamedTuple):
    """A difference of accuracies, and between what it lies with 95 % confidence."""

    difference: float  # accuracy of A − accuracy of B, from −1 to 1
    low: float
    high: float


class Bin(NamedTuple):
    """The texts that a model is about equally sure of."""

    low: float  # they have a confidence above this
    high: float  # up to this
    confidence: float  # their mean confidence: how often the model expects to be right
    accuracy: float  # how often it is
    texts: int  # how many


# 1. Is A better than B?


def paired_bootstrap(
    right_a: ArrayLike,
    right_b: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Compare two models on the same texts: how far would the difference move with other texts?

    Texts are drawn anew with replacement, for both models the same ones, since what is hard for one is often
    hard for the other. Texts of a group are alike and count for less than as many strangers: with groups,
    whole groups are drawn.

    Args:
        right_a, right_b: for each of N texts whether the model is right, True and False or 1 and 0.
        groups: for each text its group, such as its film.
        resamples: draws.
        seed: start of all chance.

    Returns:
        The difference and the 2.5th and 97.5th percentiles of its draws. It says how much the choice of the
        texts matters, not the seed of the training.

    Raises:
        ValueError: lists of different lengths, other values, or fewer than two texts or groups.
    """
    a = _right("right_a", right_a)
    gain = a - _right("right_b", right_b, len(a))  # (N,), 1 where only A is right, −1 where only B is
    names = np.arange(len(gain)) if groups is None else _numbered(groups, len(gain))
    gains, counts = np.bincount(names, gain), np.bincount(names)  # (G,) each: sums over a group, its texts
    if len(counts) < 2:
        raise ValueError(f"{len(counts)} texts or groups to draw from; give at least 2")
    found = bootstrap(
        (gains, counts),
        _mean_gain,
        n_resamples=resamples,
        batch=100,  # draws in the memory at a time
        paired=True,
        method="percentile",
        rng=seed,
    ).confidence_interval
    return Interval(float(gain.mean()), float(found.low), float(found.high))


def _mean_gain(gains: Floats, counts: Floats, axis: int = -1) -> Floats:
    """Return the gain a text of groups that differ in size: a ratio of sums, not a mean of ratios."""
    return gains.sum(axis) / counts.sum(axis)


# 2. Are the probabilities right?


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> list[Bin]:
    """Sort texts by the model's confidence into bins of equal width, and see how often it is right in each.

    Args:
        probabilities: floats (N, C), rows sum to 1.
        labels: N numbers of the right labels, from 0.
        bins: how many between 0 and 1; a confidence on an edge belongs to the lower bin.

    Returns:
        The bins that hold a text, the least confident first. Source: Guo et al. 2017, §2.

    Raises:
        ValueError: arrays that do not fit each other, or hold something else.
    """
    probs, right_labels = _scored("probabilities", probabilities, labels)
    if not (np.all(probs >= 0) and np.allclose(probs.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("probabilities has rows that do not sum to 1; turn logits into them with softmax")
    if not isinstance(bins, int) or bins < 1:
        raise ValueError(f"bins={bins!r} must be a whole number of at least 1")
    confidence, right = probs.max(axis=1), probs.argmax(axis=1) == right_labels  # (N,) each
    edges = np.linspace(0, 1, bins + 1, dtype=probs.dtype)  # the same rounding, so that edges are met
    places = np.digitize(confidence, edges[1:-1], right=True)
    return [
        Bin(
            float(edges[place]),
            float(edges[place + 1]),
            float(confidence[places == place].mean()),
            float(right[places == place].mean()),
            int((places == place).sum()),
        )
        for place in np.unique(places)
    ]


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Return by how much confidence and accuracy differ, the mean over the texts, bin by bin (ECE).

    Args:
        probabilities, labels, bins: see `reliability`.

    Returns:
        0 (each bin is as often right as it expects) to 1. Source: Guo et al. 2017, equation 3.

    Raises:
        ValueError: what `reliability` refuses.
    """
    found = reliability(probabilities, labels, bins)
    gaps = [abs(group.accuracy - group.confidence) for group in found]
    return float(np.average(gaps, weights=[group.texts for group in found]))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Find the temperature that makes the right labels most likely: one number for all texts.

    Args:
        logits: floats (N, C), of texts that were kept back from training and are not those of the test.
        labels: N numbers of the right labels, from 0.

    Returns:
        T: above 1 the model was too sure of itself, below 1 too timid; near 0 where no guess was wrong, since
        then no confidence is too much. Source: Guo et al. 2017, §4.2.

    Raises:
        ValueError: arrays that do not fit each other, or hold something else.
    """
    scores, right_labels = _scored("logits", logits, labels)

    def loss(log_temperature: float) -> float:
        """Return the negative log-likelihood in nats, the mean over the texts."""
        log_probs = log_softmax(scores / np.exp(log_temperature), axis=1)
        return float(-log_probs[np.arange(len(scores)), right_labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded").x))


def scaled_probabilities(logits: ArrayLike, temperature: float) -> Floats:
    """Return softmax(logits / T): the guesses stay, a T above 1 makes all of them less sure.

    Args:
        logits: floats (N, C).
        temperature: T, above 0.

    Returns:
        floats (N, C).

    Raises:
        ValueError: a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0; fit_temperature finds one")
    return softmax(np.asarray(logits) / temperature, axis=-1)


# What callers may get wrong


def _right(name: str, given: ArrayLike, count: int | None = None) -> Floats:
    """Return who is right as floats (N,) of 1 and 0."""
    values = np.asarray(given)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise ValueError(f"{name} must be a list of True and False, or 1 and 0; use guesses == labels")
    if count is not None and len(values) != count:
        raise ValueError(f"right_a has {count} texts, {name} {len(values)}; give both models the same texts")
    return values.astype(float)


def _numbered(groups: Sequence[Hashable], count: int) -> NDArray[np.int64]:
    """Return for each text the number of its group, from 0."""
    if len(groups) != count:
        raise ValueError(f"groups has {len(groups)} names, expected one for each of {count} texts")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups])


def _scored(name: str, scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    """Return scores (N, C) and labels (N,) that fit each other."""
    found, right_labels = np.asarray(scores), np.asarray(labels)
    if found.ndim != 2 or found.dtype.kind != "f" or 0 in found.shape or not np.isfinite(found).all():
        raise ValueError(
            f"{name} has shape {found.shape} and dtype {found.dtype}, expected finite floats (N, C)"
        )
    if right_labels.shape != found.shape[:1] or right_labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels has shape {right_labels.shape} and dtype {right_labels.dtype}, expected "
            f"{len(found)} whole numbers"
        )
    if right_labels.min() < 0 or right_labels.max() >= found.shape[1]:
        raise ValueError(
            f"labels holds numbers outside 0 to {found.shape[1] - 1}; {name} has so many columns"
        )
    return found, right_labels
