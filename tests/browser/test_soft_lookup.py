"""The soft lookup in a browser: its numbers match Python's, and mouse and keyboard reach everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from bertlearn.course.widgets import SoftLookup

from .lab import Lab, assert_accessible, shortcuts_unharmed, show_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

Alone = Callable[[str], "Page"]
SCORES = {"comedy": 0.7, "horror": 0.22, "romance": 0.05, "war": -0.07}
MOODS = {"comedy": 0.9, "horror": -0.8, "romance": 0.5, "war": -0.9}
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "שלום",
    "🙂\u202e",
    "a\nb",
    "",
]


def column(page: Page, table: str, number: int) -> list[str]:
    """Return the texts of a table's column, without the heading."""
    return page.locator(f"{table} tbody tr").evaluate_all(
        f"rows => rows.map(row => row.cells[{number}].textContent)"
    )


def press(page: Page, label: str, key: str, times: int = 1) -> None:
    for _ in range(times):
        page.get_by_label(label, exact=True).press(key)


def assert_shows(page: Page, widget: SoftLookup) -> None:
    """Check that the page's numbers are Python's, to four decimals."""
    shown = [float(text) for text in column(page, ".sl-keys", 3)]
    assert shown == pytest.approx(widget.weights.tolist(), abs=5.1e-5)
    own = [float(text) for text in column(page, ".sl-measures", 1)]
    mixed = [widget.weights @ widget.values] if len(widget.values) else []
    expected = [widget.weights.max(), widget.entropy, widget.derivative, *mixed]
    assert own == pytest.approx(expected, abs=5.1e-5)
    if widget.queries > 1:
        every = [float(text.split()[1]) for text in column(page, ".sl-measures", 2)]
        assert every == pytest.approx(list(widget.over_queries), abs=5.1e-5)


def test_long_names_of_keys_leave_the_values_beside_the_curve(alone: Alone) -> None:
    name = "a film that is long and slow"
    page = alone(SoftLookup({name: 1.0, "two": 2.0}, {name: 1.0, "two": -1.0}).to_html())
    page.set_viewport_size({"width": 885, "height": 900})
    page.locator(".bl[data-theme]").wait_for()
    values = page.locator(".sl-keys thead th").last.bounding_box()
    curve = page.locator(".sl-figure").first.bounding_box()
    assert values is not None and curve is not None and curve["x"] > 400, "side by side"
    assert values["x"] + values["width"] <= curve["x"]


def test_random_numbers_are_pythons_at_each_setting(alone: Alone) -> None:
    widget = SoftLookup()
    page = alone(widget.to_html())
    assert_shows(page, widget)
    page.get_by_label("q · k / √d", exact=True).check()
    press(page, "d", "ArrowRight", 2)
    widget.scale, widget.dimension = "root", 256
    assert_shows(page, widget)
    press(page, "Temperature T", "ArrowLeft", 8)  # eight steps are a factor of 2
    press(page, "Query", "ArrowRight", 3)
    widget.temperature, widget.query = 0.5, 3
    assert_shows(page, widget)
    page.get_by_label("q · k / d", exact=True).check()
    press(page, "d", "End")
    page.get_by_label("Temperature T, exactly").fill("0.02")
    page.get_by_label("Temperature T, exactly").press("Enter")
    widget.scale, widget.dimension, widget.temperature = "d", 1024, 0.02
    assert_shows(page, widget)
    assert (
        page.locator(".sl-formula").inner_text()
        == "weights = softmax(q · k / (1024 × T)) = softmax(q · k / 20.5)"
    )


def test_the_dot_is_on_the_curve_at_the_current_value(alone: Alone) -> None:
    page = alone(SoftLookup(dimension=16).to_html())
    dots = []
    for _ in range(2):
        for i in range(2):
            plot = page.locator(".sl-plot").nth(i)
            x, y = (float(plot.locator(".sl-dot").get_attribute(name) or "nan") for name in ("cx", "cy"))
            path = plot.locator(".sl-curve.sl-chosen").get_attribute("d") or ""
            points = [[float(number) for number in point.split(",")] for point in path[1:].split("L")]
            assert any(abs(x - a) < 0.1 and abs(y - b) < 0.1 for a, b in points)
            dots.append((x, y))
        press(page, "d", "End")
    assert dots[2][0] > dots[0][0] and dots[2][1] < dots[0][1], "largest weight: right and up"
    assert dots[3][1] > dots[1][1] + 20, "derivative: down"


def test_given_scores_and_values(alone: Alone) -> None:
    widget = SoftLookup(SCORES, MOODS, temperature=0.2)
    page = alone(widget.to_html())
    assert_shows(page, widget)
    assert column(page, ".sl-keys", 0) == list(SCORES)
    mixed = widget.weights @ list(MOODS.values())
    assert f"The mixed value is {mixed:.3f}." in page.locator(".bl-say").inner_text()
    assert page.get_by_label("Query").count() == page.get_by_label("d", exact=True).count() == 0
    field = page.get_by_label("Temperature T, exactly")
    for typed, expected in (("0.05", 0.05), ("1000", 64.0), ("-3", 64.0), ("", 64.0), ("0", 1 / 64)):
        field.fill(typed)
        field.press("Enter")
        widget.temperature = expected
        assert_shows(page, widget)


def test_hostile_names_stay_text(alone: Alone) -> None:
    page = alone(SoftLookup(dict.fromkeys(HOSTILE, 0.5)).to_html())
    assert column(page, ".sl-keys", 0)[0] == HOSTILE[0] and column(page, ".sl-keys", 0)[-1] == "∅"
    assert page.locator("#widget img, #widget script").count() == 0


def test_accessible_in_the_dark(alone: Alone) -> None:
    for widget in (SoftLookup(), SoftLookup(SCORES, MOODS)):
        page = alone(widget.to_html())
        show_in(page, "dark")
        assert_shows(page, widget)
        assert_accessible(page, ".bl")


def test_the_keyboard_reaches_everything(alone: Alone) -> None:
    page = alone(SoftLookup().to_html())
    reached = []
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.labels[0]?.textContent ?? document.activeElement.ariaLabel")
        )
    assert reached == ["q · k", "d", "Temperature T", "Temperature T, exactly", "Query"]


@pytest.mark.slow
def test_state_is_synchronized_both_ways_in_jupyterlab(lab: Lab) -> None:
    notebook = lab.open(["from bertlearn.course.widgets import SoftLookup\nw = SoftLookup()", "w"])
    assert notebook.run_all() == []
    page = notebook.page
    press(page, "d", "ArrowRight", 2)
    notebook.expect("w.dimension", 256)
    field = page.get_by_label("Temperature T, exactly")
    field.fill("0.02")
    field.press("Enter")
    notebook.expect("w.temperature", 0.02)
    field.fill("1")
    field.press("Enter")
    page.get_by_label("q · k / √d", exact=True).check()
    notebook.expect("w.scale", "root")
    press(page, "Temperature T", "ArrowRight", 8)
    notebook.expect("w.temperature", 2.0)
    assert float(column(page, ".sl-measures", 1)[2]) == pytest.approx(
        notebook.value("w.derivative"), abs=5.1e-5
    )
    notebook.value("setattr(w, 'temperature', 0.25)")
    page.wait_for_function("document.querySelector('.sl-field').value === '0.25'")
    for label in ("d", "Temperature T, exactly", "q · k / √d"):
        shortcuts_unharmed(page, page.get_by_label(label, exact=True))
    assert_accessible(page, ".bl")
