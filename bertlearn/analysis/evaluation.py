"""Evaluation of a classifier: differences between models, and calibration of probabilities (chapter 6).

All functions take only numbers, as arrays, lists or tensors on the CPU, so they work for any model. For
accuracy, F1, log loss and Brier score, use scikit-learn.
Source: Efron & Tibshirani 1993, chapter 13 (percentile intervals); Guo et al. 2017, §2 and §4 (calibration,
temperature). Leaves out: corrections for many comparisons at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from scipy.stats import bootstrap
from torch import Tensor

from bertlearn.arguments import check_count

Floats = NDArray[np.floating[Any]]
LOG_TEMPERATURES = (-5.0, 5.0)  # search range of the log temperature: temperatures from 0.007 to 148


class Interval(NamedTuple):
    """A difference of accuracies, and its 95 % confidence interval."""

    difference: float  # accuracy of A − accuracy of B, from −1 to 1
    low: float
    high: float


class Bin(NamedTuple):
    """The texts about which a model is equally confident, within the width of a bin."""

    low: float  # their confidences are above this
    high: float  # and up to this
    confidence: float  # mean confidence: how often the model expects to be correct
    accuracy: float  # how often it is correct
    texts: int  # number of texts


# 1. Is A better than B?


def paired_bootstrap(
    right_a: ArrayLike,
    right_b: ArrayLike,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Interval:
    """Return the difference in accuracy of two models, and how far it would vary with other texts.

    The bootstrap draws texts with replacement, the same ones for both models, because texts that are hard for
    one model are often hard for the other. Texts of one group are similar and carry less information than as
    many unrelated texts; with groups, the bootstrap therefore draws whole groups.

    Args:
        right_a, right_b: for each of N texts whether the model is correct, as True and False or 1 and 0.
        groups: for each text its group, such as its film.
        resamples: number of draws.
        seed: random seed.

    Returns:
        The difference, and the 2.5th and 97.5th percentiles of the differences drawn. The interval covers
        the choice of the texts, but not the seed of the training.

    Raises:
        ValueError: lists of different lengths, other values, or fewer than two texts, groups or resamples.
    """
    resamples, seed = check_count("resamples", resamples, 2), check_count("seed", seed, 0)
    a = _correct("right_a", right_a)
    gain = a - _correct("right_b", right_b, len(a))  # (N,), 1 where only A is correct, −1 where only B is
    numbers = np.arange(len(gain)) if groups is None else _group_numbers(groups, len(gain))
    gains, counts = np.bincount(numbers, gain), np.bincount(numbers)  # (G,): sum and texts of each group
    if len(counts) < 2:
        raise ValueError(f"{len(counts)} texts or groups to draw from; give at least 2")
    interval = bootstrap(
        (gains, counts),
        _mean_gain,
        n_resamples=resamples,
        batch=100,  # draws in memory at a time
        paired=True,
        method="percentile",
        rng=seed,
    ).confidence_interval
    return Interval(float(gain.mean()), float(interval.low), float(interval.high))


def _mean_gain(gains: Floats, counts: Floats, axis: int = -1) -> Floats:
    """Return the mean gain per text: a ratio of sums, not a mean of ratios, because groups differ in size."""
    return gains.sum(axis) / counts.sum(axis)


# 2. Are the probabilities calibrated?


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> list[Bin]:
    """Sort texts by the model's confidence into bins of equal width, and return the accuracy in each bin.

    Args:
        probabilities: floats (N, C); each row sums to 1.
        labels: N ids of the correct labels, counted from 0.
        bins: number of bins between 0 and 1; a confidence on an edge belongs to the lower bin.

    Returns:
        The bins that are not empty, least confident first. Source: Guo et al. 2017, §2.

    Raises:
        ValueError: arrays whose shapes do not match or whose values are not valid.
    """
    probs, labels_array = _scored("probabilities", probabilities, labels)
    if not (np.all(probs >= 0) and np.allclose(probs.sum(axis=1), 1, atol=1e-3)):
        raise ValueError("probabilities has rows that do not sum to 1; turn logits into them with softmax")
    bins = check_count("bins", bins)
    confidence, correct = probs.max(axis=1), probs.argmax(axis=1) == labels_array  # (N,) each
    edges = np.linspace(0, 1, bins + 1, dtype=probs.dtype)  # same dtype: confidences can equal an edge
    indices = np.digitize(confidence, edges[1:-1], right=True)
    return [
        Bin(
            float(edges[index]),
            float(edges[index + 1]),
            float(confidence[indices == index].mean()),
            float(correct[indices == index].mean()),
            int((indices == index).sum()),
        )
        for index in np.unique(indices)
    ]


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Return the expected calibration error (ECE): the mean gap between confidence and accuracy of the bins.

    Args:
        probabilities, labels, bins: see `reliability`.

    Returns:
        The mean over the texts, from 0 (in each bin, accuracy equals confidence) to 1. Source: Guo et al.
        2017, equation 3.

    Raises:
        ValueError: arguments that `reliability` rejects.
    """
    filled = reliability(probabilities, labels, bins)
    gaps = [abs(one.accuracy - one.confidence) for one in filled]
    return float(np.average(gaps, weights=[one.texts for one in filled]))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Return the temperature, one number for all texts, that makes the correct labels most likely.

    Args:
        logits: floats (N, C), of texts that are neither in the training set nor in the test set.
        labels: N ids of the correct labels, counted from 0.

    Returns:
        T: above 1 if the model was overconfident, below 1 if it was underconfident; near 0 if no prediction
        was wrong, because then no confidence is too high. Source: Guo et al. 2017, §4.2.

    Raises:
        ValueError: arrays whose shapes do not match or whose values are not valid.
    """
    scores, labels_array = _scored("logits", logits, labels)

    def loss(log_temperature: float) -> float:
        """Return the negative log-likelihood in nats, averaged over the texts."""
        log_probs = log_softmax(scores / np.exp(log_temperature), axis=1)
        return float(-log_probs[np.arange(len(scores)), labels_array].mean())

    return float(np.exp(minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded").x))


def scaled_probabilities(logits: ArrayLike, temperature: float) -> Floats:
    """Return softmax(logits / T): the predictions stay the same; a T above 1 makes them less confident.

    Args:
        logits: floats (N, C).
        temperature: T, above 0.

    Returns:
        floats (N, C).

    Raises:
        ValueError: a temperature that is not positive, or logits without a softmax, such as NaN.
    """
    if not (isinstance(temperature, Real) and 0 < temperature < np.inf):
        raise ValueError(f"temperature={temperature!r} must be above 0; fit_temperature finds one")
    values = as_array(logits)
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError(f"logits has dtype {values.dtype}, shape {values.shape}, expected finite numbers")
    return softmax(values / temperature, axis=-1)


def as_array(numbers: ArrayLike) -> NDArray[Any]:
    """Convert numbers to a NumPy array: tensors are detached, and bf16, which NumPy lacks, becomes fp32."""
    if isinstance(numbers, Tensor):
        numbers = numbers.detach().cpu()
        numbers = numbers.float() if numbers.dtype == torch.bfloat16 else numbers
    return np.asarray(numbers)


# What callers may get wrong


def _correct(name: str, flags: ArrayLike, count: int | None = None) -> Floats:
    """Return whether the model is correct, as floats (N,) of 1 and 0."""
    values = as_array(flags)
    if values.ndim != 1 or not np.isin(values, (0, 1)).all():
        raise ValueError(f"{name} must be a list of True and False, or 1 and 0; use predictions == labels")
    if count is not None and len(values) != count:
        raise ValueError(f"right_a has {count} texts, {name} {len(values)}; give both models the same texts")
    return values.astype(float)


def _group_numbers(groups: Sequence[Hashable], count: int) -> NDArray[np.int64]:
    """Return the number of each text's group, counted from 0."""
    names = groups.tolist() if isinstance(groups, np.ndarray | Tensor) else groups
    if isinstance(names, str) or not isinstance(names, Iterable) or isinstance(names, Set | Mapping):
        raise ValueError(f"groups is {type(groups).__name__}, expected a list in the order of the texts")
    names = list(names)
    if len(names) != count:
        raise ValueError(f"groups has {len(names)} names, expected one for each of {count} texts")
    for name in names:
        if not isinstance(name, Hashable) or name != name:
            raise ValueError(f"groups has {repr(name)[:60]}, expected names or numbers; give every group one")
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names])


def _scored(name: str, scores: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    """Return scores (N, C) and labels (N,) as arrays; refuse them if they do not fit each other."""
    values, labels_array = as_array(scores), as_array(labels)
    if values.ndim != 2 or values.dtype.kind != "f" or 0 in values.shape or not np.isfinite(values).all():
        raise ValueError(
            f"{name} has shape {values.shape} and dtype {values.dtype}, expected finite floats (N, C)"
        )
    if labels_array.shape != values.shape[:1] or labels_array.dtype.kind not in "iu":
        raise ValueError(
            f"labels has shape {labels_array.shape} and dtype {labels_array.dtype}, expected "
            f"{len(values)} whole numbers"
        )
    if labels_array.min() < 0 or labels_array.max() >= values.shape[1]:
        raise ValueError(
            f"labels has numbers outside 0 to {values.shape[1] - 1}, but {name} has {values.shape[1]} columns"
        )
    return values, labels_array
