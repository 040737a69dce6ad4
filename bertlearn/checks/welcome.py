"""The one exercise of the welcome page, where the learner tries out what a check does."""

from __future__ import annotations

from bertlearn.checks.core import Exercise, Wrong


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _sum_of_sums(a: list[float], b: list[float]) -> float:
    return sum(a) + sum(b)


def _product_of_sums(a: list[float], b: list[float]) -> float:
    return sum(a) * sum(b)


def _products(a: list[float], b: list[float]) -> list[float]:
    return [x * y for x, y in zip(a, b, strict=True)]


dot = Exercise(
    name="dot",
    reference=_dot,
    cases={
        "two numbers": ([1.0, 2.0], [3.0, 4.0]),
        "a right angle": ([1.0, 0.0], [0.0, 5.0]),
        "opposite directions": ([1.0, -2.0], [-1.0, 2.0]),
    },
    wrong={
        "products without the sum": Wrong(_products, "The result should be one number. How many are yours?"),
        "sums multiplied": Wrong(_product_of_sums, "Which element of b should each element of a meet?"),
        "everything added": Wrong(_sum_of_sums, "Where does a product come in?"),
    },
    hints=(
        "`zip(a, b)` gives the pairs of elements.",
        "Multiply each pair, then add the products up: `sum(…)`.",
    ),
)
