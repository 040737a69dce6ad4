"""Feedback and report in a browser: light, dark and narrow, without a request, readable for everyone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parents[1] / "course" / "grading"))
from test_pages import class_rows, hostile_guesses, pages

from tests.browser.lab import assert_accessible


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_a_phone_and_can_be_read(
    tmp_path: Path, alone: Callable[[str], Page], scheme: str
) -> None:
    _, *_, student, shown, private = pages(tmp_path, class_rows(), hostile_guesses(tmp_path / "guesses"))
    for path in (student, shown, private):
        page = alone(path.read_text(encoding="utf-8"))
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(255, 255, 255)") == (scheme == "light")
        assert_accessible(page, "main")
