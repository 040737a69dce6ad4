"""Inside a head in a browser: its numbers match Python's, by mouse and keyboard, with a kernel or without."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bertlearn.course.figures import AttentionMaps
from bertlearn.course.widgets import InsideHead

from .lab import Lab, assert_accessible, shortcuts_unharmed, show_in

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

Alone = Callable[[str], "Page"]
TOKENS = ["[CLS]", "roller", "##ball", "left", "us", "cold", ".", "[SEP]"]
HOSTILE = [
    "[CLS]",
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    "שלום",
    "🙂",
    "\n",
    "",
]


def maps(tokens: list[str], layers: int = 2, heads: int = 3, size: int = 32) -> AttentionMaps:
    shape = (layers, heads, len(tokens))
    vectors = 2 * np.random.default_rng(0).normal(size=(3, *shape, size)).astype(np.float32)
    return AttentionMaps(tokens, np.full((*shape, len(tokens)), 1 / len(tokens)), None, *vectors)


def numbers_in(texts: list[str]) -> list[float]:
    """Return the number after the last equals sign of each text."""
    return [float(text.split("= ")[-1]) for text in texts]


def chosen_key(page: Page) -> Locator:
    return page.locator(".ih-keys li[aria-selected=true]")


def assert_shows(page: Page, widget: InsideHead) -> None:
    """Check that the page's numbers are Python's, to three decimals."""
    rows = page.locator(".ih-keys li").evaluate_all(
        "rows => rows.map(row => [...row.children].slice(0, 4).map(part => part.textContent))"
    )
    table = np.array([[float(text) for text in row[1:]] for row in rows])
    powers = np.exp(widget.scores - widget.scores.max())
    np.testing.assert_allclose(table[:, 0], widget.scores, atol=2e-3)
    np.testing.assert_allclose(table[:, 1], powers, atol=5e-4)
    np.testing.assert_allclose(table[:, 2], widget.weights, atol=5e-4)
    assert chosen_key(page).get_attribute("data-i") == str(widget.key)
    query, key, value = widget._vectors[:, widget.layer, widget.head]
    q, k, v = query[widget.query], key[widget.key], value[widget.key]
    i, p = widget.feature, widget.weights[widget.key]
    strips = numbers_in(page.locator(".ih-number").all_inner_texts())
    assert strips == pytest.approx([q[i], k[i], q[i] * k[i], v[i], p * v[i], widget.context[i]], abs=2e-3)
    steps = numbers_in(page.locator(".ih-says").all_inner_texts()[1:3])
    assert steps == pytest.approx([q @ k, widget.scores[widget.key]], abs=1e-2)


def test_numbers_are_pythons_by_keyboard(alone: Alone) -> None:
    widget = InsideHead(maps(TOKENS), query=3, key=2)
    page = alone(widget.to_html())
    assert_shows(page, widget)
    page.get_by_label("Layer", exact=True).select_option("1")
    page.get_by_label("Head", exact=True).press("ArrowDown")
    page.get_by_label("Query (who looks)").press("ArrowDown")
    chosen_key(page).press("ArrowDown")
    page.keyboard.press("ArrowDown")
    for _ in range(7):
        page.get_by_label("Feature").press("ArrowRight")
    widget.layer, widget.head, widget.query, widget.key, widget.feature = 1, 1, 4, 4, 7
    assert_shows(page, widget)
    assert "“us” (4) looks at “us” (4)" in page.locator(".bl-say").inner_text()


def test_the_pointer_chooses_key_and_feature(alone: Alone) -> None:
    widget = InsideHead(maps(TOKENS), query=3)
    page = alone(widget.to_html())
    page.locator(".ih-keys li").nth(5).locator("span").nth(2).hover()
    page.locator(".ih-cells").nth(4).locator("i").nth(20).hover()
    widget.key, widget.feature = 5, 20
    assert_shows(page, widget)
    assert page.locator(".ih-here").count() == 6


def test_a_clicked_key_stays_chosen_until_it_is_released(alone: Alone) -> None:
    page = alone(InsideHead(maps(TOKENS), query=3).to_html())
    rows = page.locator(".ih-keys li")
    chosen = page.locator(".ih-keys [aria-selected=true]")
    for release in (lambda: page.keyboard.press("Escape"), rows.nth(5).click):
        rows.nth(5).click()
        rows.nth(2).hover()
        assert chosen.get_attribute("data-i") == "5"
        release()
        rows.nth(6).hover()
        assert chosen.get_attribute("data-i") == "6"


def test_cells_show_size_and_sign(alone: Alone) -> None:
    widget = InsideHead(maps(TOKENS), query=3, key=2)
    page = alone(widget.to_html())
    cells = page.locator(".ih-cells").first.locator("i")
    signs = cells.evaluate_all("cells => cells.map(cell => (cell.matches('.ih-minus') ? -1 : 1))")
    sizes = cells.evaluate_all(
        "cells => cells.map(cell => parseFloat(cell.style.getPropertyValue('--share')))"
    )
    queries = widget.maps.queries[0, 0]  # type: ignore[index]
    assert np.multiply(signs, sizes) == pytest.approx(100 * queries[3] / np.abs(queries).max(), abs=4)
    colors = page.locator(".ih-cells i").evaluate_all(
        "cells => new Set(cells.map(cell => getComputedStyle(cell).backgroundColor)).size"
    )
    assert colors > 20


def test_hostile_tokens_stay_text(alone: Alone) -> None:
    page = alone(InsideHead(maps(HOSTILE), query=1, key=1).to_html())
    assert page.locator(".ih-keys li bdi").all_inner_texts()[1] == HOSTILE[1]
    assert page.locator("#widget img, #widget script").count() == 0


def test_accessible_in_the_dark(alone: Alone) -> None:
    widget = InsideHead(maps(TOKENS))
    page = alone(widget.to_html())
    show_in(page, "dark")
    assert_shows(page, widget)
    assert_accessible(page, ".bl")


def test_a_page_without_kernel_offers_the_layers_it_has(alone: Alone) -> None:
    large = maps([str(i) for i in range(40)], layers=3, heads=12, size=64)
    page = alone(InsideHead(large, layer=1).to_html())
    options = page.get_by_label("Layer", exact=True).locator("option")
    assert options.all_inner_texts() == ["0 (needs a running notebook)", "1", "2 (needs a running notebook)"]
    assert [options.nth(i).is_disabled() for i in range(3)] == [True, False, True]


@pytest.mark.slow
def test_the_kernel_sends_layers_and_receives_choices(lab: Lab) -> None:
    cells = [
        f"import numpy as np\nfrom bertlearn.course.figures import AttentionMaps\n{inspect.getsource(maps)}",
        "from bertlearn.course.widgets import InsideHead",
        "w = InsideHead(maps([str(i) for i in range(40)], layers=3, heads=12, size=64), query=3)",
        "w",
    ]
    notebook = lab.open(cells)
    assert notebook.run_all() == []
    page = notebook.page
    page.get_by_label("Layer", exact=True).select_option("2")
    notebook.expect("list(w.pages)", ["2"])
    page.wait_for_selector(".bl[aria-busy=false]")
    page.locator(".ih-keys li").nth(5).click()
    notebook.expect("w.key", 5)
    widget = InsideHead(
        maps([str(i) for i in range(40)], layers=3, heads=12, size=64), layer=2, query=3, key=5
    )
    assert_shows(page, widget)
    notebook.value("setattr(w, 'feature', 9)")
    page.wait_for_function("document.querySelector('.ih-number').textContent.startsWith('q₉')")
    shortcuts_unharmed(page, chosen_key(page))
    shortcuts_unharmed(page, page.get_by_label("Feature"))
    assert_accessible(page, ".bl")
