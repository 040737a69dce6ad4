"""The one exercise of the welcome page, where the learner tries out what a check does."""

from __future__ import annotations

from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.solutions import welcome as solution

dot = Exercise(
    solution.dot,
    cases={
        "two numbers": ([1.0, 2.0], [3.0, 4.0]),
        "a right angle": ([1.0, 0.0], [0.0, 5.0]),
        "opposite directions": ([1.0, -2.0], [-1.0, 2.0]),
    },
    wrong={
        "products without the sum": Wrong(
            "The result should be one number. How many are yours?",
            ("sum(x * y for", "[x * y for"),
            ("True))", "True)]"),
        ),
        "sums multiplied": Wrong(
            "Which element of b should each element of a meet?",
            ("sum(x * y for x, y in zip(a, b, strict=True))", "sum(a) * sum(b)"),
        ),
        "everything added": Wrong("Where does a product come in?", ("x * y", "x + y")),
    },
    hints=(
        "`zip(a, b)` gives the pairs of elements.",
        "Multiply each pair, then add the products: `sum(…)`.",
    ),
)
