"""The soft lookup's numbers match torch's, and errors name what is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from traitlets import TraitError

from bertlearn.course.widgets import SoftLookup
from bertlearn.course.widgets.soft_lookup import DIMENSIONS

SCORES = {"comedy": 0.7, "horror": 0.22, "romance": 0.05, "war": -0.07}
MOODS = {"war": -0.9, "comedy": 0.9, "romance": 0.5, "horror": -0.8}


def by_torch(scores: torch.Tensor) -> tuple[torch.Tensor, float, float]:
    """Return weights, entropy and the size of the derivative for scores (K,), the last one by autograd."""
    probs = scores.softmax(dim=0)
    derivative = torch.autograd.functional.jacobian(lambda s: s.softmax(dim=0), scores)
    return probs, float(torch.special.entr(probs).sum()), float(derivative.norm())


@pytest.mark.parametrize("temperature", [1 / 64, 0.2, 1.0, 64.0])
def test_given_scores_are_measured_as_torch_does(temperature: float) -> None:
    widget = SoftLookup(SCORES, temperature=temperature)
    scores = torch.tensor(list(SCORES.values())).double() / temperature
    probs, entropy, derivative = by_torch(scores)
    np.testing.assert_allclose(widget.weights, probs, atol=1e-6)
    assert widget.entropy == pytest.approx(entropy, abs=1e-6)
    assert widget.derivative == pytest.approx(derivative, abs=1e-6)
    assert widget.over_queries.largest == pytest.approx(float(probs.max()), abs=1e-6)


@pytest.mark.parametrize(("scale", "divisor"), [("none", 1.0), ("root", 16.0), ("d", 256.0)])
def test_random_scores_are_measured_as_in_the_chapter(scale: str, divisor: float) -> None:
    widget = SoftLookup(dimension=256, scale=scale, temperature=0.5)
    table = np.frombuffer(widget.table, dtype="<f4").reshape(len(DIMENSIONS), 100, 32)
    scores = torch.tensor(table[DIMENSIONS.index(256)]).double() / (divisor * 0.5)
    expected = [by_torch(row) for row in scores]
    largest, entropy, derivative = widget.over_queries
    assert largest == pytest.approx(float(torch.stack([probs.max() for probs, _, _ in expected]).mean()))
    assert entropy == pytest.approx(np.mean([entropy for _, entropy, _ in expected]))
    assert derivative == pytest.approx(np.median([derivative for _, _, derivative in expected]), abs=1e-12)
    widget.query = 7
    np.testing.assert_allclose(widget.weights, expected[7][0], atol=1e-12)


def test_random_scores_grow_with_the_root_of_d() -> None:
    table = np.frombuffer(SoftLookup().table, dtype="<f4").reshape(len(DIMENSIONS), -1)
    for d, scores in zip(DIMENSIONS, table, strict=True):
        assert 0.75 < scores.var() / d < 1.25
    assert SoftLookup().table == SoftLookup().table != SoftLookup(seed=1).table


def test_a_temperature_of_root_d_undoes_d() -> None:
    divided = SoftLookup(dimension=256, scale="root")
    np.testing.assert_array_equal(SoftLookup(dimension=256, temperature=16).weights, divided.weights)


def test_the_derivative_is_exact_where_the_softmax_is_saturated() -> None:
    widget = SoftLookup(
        {"a": 0.0, "b": 1.0}, temperature=1 / 32
    )  # p = e⁻³² and 1 − e⁻³²: all entries p (1 − p)
    assert widget.derivative == pytest.approx(2 * math.exp(-32), rel=0.05)


def test_values_follow_the_order_of_the_scores() -> None:
    assert SoftLookup(SCORES, MOODS).values == [0.9, -0.8, 0.5, -0.9]


@pytest.mark.parametrize(
    ("scores", "values", "message"),
    [
        ({}, None, "0 scores were given; expected 1 to 64"),
        ({str(i): 0.0 for i in range(600)}, None, "600 scores were given"),
        ({"a": math.nan}, None, "score of 'a' is nan; expected a finite number"),
        ({"a": 1e300}, None, "score of 'a' is 1e\\+300; expected a finite number"),
        ({"a": 1.0}, {"a": math.inf}, "value of 'a' is inf"),
        ({"a": 1.0}, {"b": 1.0}, "values are for \\['b'\\], scores for \\['a'\\]"),
    ],
)
def test_bad_numbers(scores: dict[str, float], values: dict[str, float] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftLookup(scores, values)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temperature", 0.0, "temperature=0.0 is out of range; expected 1/64 to 64"),
        ("temperature", math.nan, "temperature=nan is out of range"),
        ("dimension", 48, "dimension=48 does not exist; expected one of \\[1, 2, 4"),
        ("query", 100, "query=100 does not exist; expected 0 to 99"),
    ],
)
def test_bad_state_is_refused_and_changes_nothing(name: str, value: float, message: str) -> None:
    widget = SoftLookup()
    before = getattr(widget, name)
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, value)
    assert getattr(widget, name) == before


def test_given_scores_have_no_dimension() -> None:
    with pytest.raises(ValueError, match="expected 1, as scores were given"):
        SoftLookup(SCORES).dimension = 64
    with pytest.raises(TraitError, match="scale"):
        SoftLookup(scale="√d")


@pytest.mark.parametrize(
    "names", [["<img src=x onerror=alert(1)>", "שלום", "🙂", "a\nb", "$x$"], ["long " * 9, "long " * 8]]
)
def test_hostile_names_are_shown_and_never_html(names: list[str]) -> None:
    widget = SoftLookup(dict.fromkeys(names, 0.0))
    assert "<img" not in widget.to_html()
    figure = widget.picture().figure
    assert len(figure.axes[0].patches) == len(names)


def test_repr_and_picture_say_what_is_shown() -> None:
    widget = SoftLookup(SCORES, temperature=0.2)
    assert repr(widget) == "[widget] Soft lookup among comedy, horror, romance, war"
    alt = widget.picture().alt
    assert "temperature 0.2: largest 0.87, of comedy" in alt and "mixed value" not in alt
    mixed = SoftLookup(SCORES, MOODS)
    assert f"The mixed value is {mixed.weights @ mixed.values:.2f}." in mixed.picture().alt
    assert "d = 64, divided by √d, temperature 1:" in SoftLookup(scale="root").picture().alt


def test_the_export_is_small_and_the_same_at_each_run() -> None:
    page = SoftLookup().to_html()
    assert len(page) < 250_000 and page == SoftLookup().to_html()
