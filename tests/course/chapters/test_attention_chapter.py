"""The helpers of chapter 1's cells measure and show what the chapter says they do."""

from __future__ import annotations

import math

import pytest
import torch

from bertlearn.course.chapters.attention import (
    compare_gradients,
    plot_saturation,
    saturation,
    source,
)


def test_saturation_of_equal_and_of_extreme_scores() -> None:
    even = saturation(torch.zeros(5, 4))
    assert even.largest == pytest.approx(0.25)
    assert even.derivative == pytest.approx(math.sqrt(4 * (3 / 16) ** 2 + 12 * (1 / 16) ** 2))
    sharp = saturation(100 * torch.eye(4))
    assert sharp.largest == pytest.approx(1) and sharp.derivative == pytest.approx(0, abs=1e-6)


def test_the_derivative_is_that_of_softmax() -> None:
    scores = torch.tensor([2.0, 1.0, -1.0])
    jacobian = torch.autograd.functional.jacobian(lambda s: s.softmax(-1), scores)
    assert saturation(scores[None]).derivative == pytest.approx(jacobian.norm().item(), rel=1e-5)


def test_the_saturation_picture_says_what_was_measured() -> None:
    plain = [saturation(scale * torch.eye(4)) for scale in (1.0, 50.0)]
    divided = [saturation(torch.zeros(4, 4))] * 2
    alt = plot_saturation([1, 1024], plain, divided).alt
    assert "from 1 to 1024" in alt and "to 1.00" in alt and "0.25 to 0.25" in alt


def test_the_source_is_shown_without_its_docstring() -> None:
    shown = source(saturation)
    assert shown.startswith("def saturation(") and "softmax" in shown
    assert "Measure how sharp" not in shown and '"""' not in shown


def test_gradients_are_compared(capsys: pytest.CaptureFixture[str]) -> None:
    expected = torch.tensor([1.0, 2.0])
    compare_gradients([expected, expected + 1e-7], {"dQ": expected, "dK": expected})
    exact, close = capsys.readouterr().out.splitlines()
    assert "exact: True" in exact and "exact: False" in close and "approximate: True" in close
    with pytest.raises(AssertionError, match="dQ is off by 1"):
        compare_gradients([expected + 1], {"dQ": expected})
    with pytest.raises(AssertionError, match="dQ has no gradient yet"):
        compare_gradients([expected], {"dQ": None})
