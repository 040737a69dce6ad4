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
        "the first product alone": Wrong(
            "With three elements, how many products should be added? Is your `return` inside the loop?",
            ("sum(x * y for x, y in zip(a, b, strict=True))", "a[0] * b[0]"),
        ),
        "the last product alone": Wrong(
            "What happens to the earlier products each time around your loop: `=` or `+=`?",
            ("sum(x * y for x, y in zip(a, b, strict=True))", "a[-1] * b[-1]"),
        ),
        "the mean of the products": Wrong(
            "Twice as many elements: should the result stay about the same? The task asks for a sum.",
            ("strict=True))", "strict=True)) / len(a)"),
        ),
    },
    hints=(
        "`zip(a, b)` gives the pairs of elements.",
        "Multiply each pair, then add the products: `sum(…)`.",
    ),
    why="This one number measures how well two vectors match; every attention score is such a product.",
)
