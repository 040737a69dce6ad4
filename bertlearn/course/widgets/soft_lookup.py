"""Soft lookup: how scale, temperature and dimension sharpen or flatten a softmax (chapter 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import traitlets
from numpy.typing import NDArray

from bertlearn.course.figures import INK, PALETTE, Picture, new_figure
from bertlearn.course.widgets.base import Widget, check_choice

DIMENSIONS = [2**n for n in range(11)]  # 1 to 1024 features
QUERIES, KEYS = 100, 32  # of the random lookup; each query has its own keys
MOST_KEYS = 64  # more would be too small to read
LIMIT = 64.0  # a temperature lies between 1 / LIMIT and LIMIT
DIVISORS: dict[str, Callable[[float], float]] = {"none": lambda d: 1.0, "root": math.sqrt, "d": float}

Floats = NDArray[np.float64]


class Saturation(NamedTuple):
    """Measures of how sharp weights are."""

    largest: float  # the largest weight
    entropy: float  # nats; ln K if all K weights are equal
    derivative: float  # size (Frobenius norm) of diag(p) − p pᵀ, the derivative of weights by scores


class SoftLookup(Widget):
    """Turn scores into weights, softmax(scores / (scale · temperature)), and see how much gradient is left.

    `temperature` can be read and set; with random vectors also `dimension` (a power of two up to 1024),
    `scale` ("none", "root" or "d": divide by 1, √d or d) and `query`.
    """

    files = "soft_lookup"
    height = 1040  # of the exported page; less with given scores

    names = traitlets.List(traitlets.Unicode()).tag(sync=True)  # K keys
    values = traitlets.List(traitlets.Float()).tag(sync=True)  # K values to mix, or none
    table = traitlets.Bytes().tag(sync=True)  # scores, float32 (dimensions, queries, K)
    # numbers of features of the random vectors; [1] if scores are given
    dimensions = traitlets.List(traitlets.Int()).tag(sync=True)
    queries = traitlets.Int().tag(sync=True)
    scale = traitlets.Enum(list(DIVISORS), "none").tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    dimension = traitlets.Int().tag(sync=True)
    query = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        scores: Mapping[str, float] | None = None,
        values: Mapping[str, float] | None = None,
        *,
        dimension: int = 64,
        scale: str = "none",
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        """Look up with given scores, or with random queries and random keys.

        Args:
            scores: how well the query matches each key, by the key's name; None for 100 random queries, each
                with 32 random keys, whose features are independent, with mean 0 and variance 1.
            values: the value of each key, to be mixed by the weights.
            dimension: d, the number of features of the random vectors that are used at first.
            scale: divisor of random scores: "none", "root" (√d) or "d".
            temperature: divisor of all scores, 1/64 to 64.
            seed: seed of the random vectors.

        Raises:
            ValueError: there is no key, or more than 64; a number is not finite; or the values are for other
                keys.
        """
        given = scores is not None
        self.height = 720 if given else SoftLookup.height
        self._scores = _given_scores(scores) if scores is not None else _random_scores(seed)
        names = list(scores) if scores is not None else [str(key) for key in range(KEYS)]
        described = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
        super().__init__(
            names=names,
            values=_values_of(names, values),
            table=self._scores.tobytes(),
            dimensions=[1] if given else DIMENSIONS,
            queries=self._scores.shape[1],
            scale=scale,
            temperature=temperature,
            dimension=1 if given else dimension,
            description=f"Soft lookup among {described}" if given else "Soft lookup among random keys",
        )

    @property
    def weights(self) -> Floats:
        """The weights of the shown query's keys, floats (K,)."""
        return self._weights(self.dimension, self._divisor(self.dimension))[self.query]

    @property
    def entropy(self) -> float:
        """The entropy of the weights, in nats."""
        return _saturation(self.weights[None]).entropy

    @property
    def derivative(self) -> float:
        """The size of the derivative of the weights by the scores."""
        return _saturation(self.weights[None]).derivative

    @property
    def over_queries(self) -> Saturation:
        """All queries together: mean of the largest weight, mean of the entropy, median of the derivative."""
        return _saturation(self._weights(self.dimension, self._divisor(self.dimension)))

    def picture(self) -> Picture:
        """Return the weights, and the largest weight over d, or over the temperature if scores are given."""
        figure, (left, right) = new_figure(8.0, 3.4, columns=2)
        places, many = range(len(self.names)), len(self.names) > 8
        left.bar(places, self.weights, 0.7, color=PALETTE[5])
        if not many:
            left.bar_label(left.containers[0], fmt="%.2f", padding=2)
        shown = range(0, len(self.names), 4 if many else 1)
        left.set_xticks(shown, [_short(self.names[i]) for i in shown], rotation=90 if many else 0)
        left.tick_params(axis="x", length=0)
        left.grid(visible=False, axis="x")
        left.set(title="Weight of each key", ylabel="weight", ylim=(0, 1.1))
        across, curve, now = self._curve()
        right.plot(across, curve, color=PALETTE[0], linewidth=2)
        right.plot(now, self.over_queries.largest, "o", color=PALETTE[1], markersize=8)
        mean = "" if self.queries == 1 else f" (mean of {self.queries} queries)"
        xlabel = "temperature" if self.queries == 1 else "d, features"
        right.set(title=f"Largest weight{mean}", xlabel=xlabel, xscale="log", ylim=(0, 1.1))
        right.set_xticks(across[::2], [f"{x:g}" if x >= 1 else f"1/{1 / x:g}" for x in across[::2]])
        figure.suptitle(
            f"Soft lookup, {self._setting()}", x=0.01, ha="left", weight="bold", size=11.5, color=INK
        )
        return Picture(figure, self._alt())

    def _alt(self) -> str:
        best = int(self.weights.argmax())
        largest = f"largest {self.weights[best]:.2f}, of {self.names[best]}"
        alt = f"Bars. Weights of {len(self.names)} keys, {self._setting()}: {largest}."
        if len(self.values):
            alt += f" The mixed value is {self.weights @ self.values:.2f}."
        across, curve, now = self._curve()
        over = "temperature" if self.queries == 1 else "d"
        ends = f"from {curve[0]:.2f} at {over} {across[0]:.2g} to {curve[-1]:.2f} at {across[-1]:g}"
        return f"{alt} Curve: the largest weight goes {ends}; now {now:.4g}."

    def _setting(self) -> str:
        temperature = f"temperature {self.temperature:.3g}"
        if self.queries == 1:
            return temperature
        divided = {"none": "not divided", "root": "divided by √d", "d": "divided by d"}[self.scale]
        return f"d = {self.dimension}, {divided}, {temperature}"

    def _curve(self) -> tuple[list[float], list[float], float]:
        """Return the x values of the curve, the largest weight at each, and the current x."""
        if self.queries == 1:
            across = [2.0**n for n in range(-6, 7)]
            return across, [_saturation(self._weights(1, t)).largest for t in across], self.temperature
        curve = [_saturation(self._weights(d, self._divisor(d))).largest for d in DIMENSIONS]
        return [float(d) for d in DIMENSIONS], curve, self.dimension

    def _divisor(self, dimension: int) -> float:
        return DIVISORS[self.scale](dimension) * self.temperature

    def _weights(self, dimension: int, divisor: float) -> Floats:
        """Return the weights of all queries: (queries, K)."""
        scores = self._scores[self.dimensions.index(dimension)].astype(float) / divisor
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    @traitlets.validate("temperature")
    def _is_temperature(self, proposal: Any) -> float:
        if not 1 / LIMIT <= proposal["value"] <= LIMIT:
            raise ValueError(f"temperature={proposal['value']} is out of range; expected 1/64 to 64")
        return proposal["value"]

    @traitlets.validate("dimension")
    def _is_dimension(self, proposal: Any) -> int:
        if proposal["value"] not in self.dimensions:
            known = "1, as scores were given" if len(self.dimensions) == 1 else f"one of {self.dimensions}"
            raise ValueError(f"dimension={proposal['value']} does not exist; expected {known}")
        return proposal["value"]

    @traitlets.validate("query")
    def _is_query(self, proposal: Any) -> int:
        return check_choice("query", proposal["value"], self.queries)


def _saturation(weights: Floats) -> Saturation:
    """Measure weights (queries, K)."""
    logs = np.log(weights, out=np.zeros_like(weights), where=weights > 0)
    derivatives = weights[:, :, None] * (np.eye(weights.shape[1]) - weights[:, None, :])
    sizes = np.linalg.norm(derivatives, axis=(1, 2))
    entropies = -(weights * logs).sum(axis=-1)
    return Saturation(float(weights.max(axis=-1).mean()), float(entropies.mean()), float(np.median(sizes)))


def _given_scores(scores: Mapping[str, float]) -> NDArray[np.float32]:
    if not 0 < len(scores) <= MOST_KEYS:
        raise ValueError(f"{len(scores)} scores were given; expected 1 to {MOST_KEYS}")
    return np.array(_finite("score", scores), dtype="<f4").reshape(1, 1, -1)


def _random_scores(seed: int) -> NDArray[np.float32]:
    """Return q · k over the first d features, for every d: (dimensions, queries, K)."""
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((QUERIES, 1, DIMENSIONS[-1]))
    key = rng.standard_normal((QUERIES, KEYS, DIMENSIONS[-1]))
    parts = np.add.reduceat(query * key, [0, *DIMENSIONS[:-1]], axis=-1)  # features 0, 1, 2–3, 4–7 …
    return np.ascontiguousarray(np.moveaxis(parts.cumsum(axis=-1), -1, 0), dtype="<f4")


def _values_of(names: list[str], values: Mapping[str, float] | None) -> list[float]:
    if values is None:
        return []
    if set(values) != set(names):
        raise ValueError(f"values are for {list(values)}, scores for {names}; give one value for each key")
    return _finite("value", {name: values[name] for name in names})


def _finite(what: str, numbers: Mapping[str, float]) -> list[float]:
    for name, number in numbers.items():
        if not abs(float(number)) < 1e30:
            raise ValueError(f"the {what} of {name!r} is {float(number)}; expected a finite number")
    return [float(number) for number in numbers.values()]


def _short(name: str) -> str:
    text = " ".join(name.split()).replace("$", r"\$")
    return text if len(text) <= 12 else text[:11] + "…"
