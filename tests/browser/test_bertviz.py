"""bertviz's views in a real browser: they draw without a network, show tokens as text, and fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bertlearn.course.figures import AttentionMaps, View, head_view, model_view, neuron_view

from .lab import Lab

if TYPE_CHECKING:
    from playwright.sync_api import Frame, Page

VIEWS = (head_view, model_view, neuron_view)
HOSTILE = ["[CLS]", "</script><i>", "<script>", '"', "\\", "\u2028", "$x$", "telecommunications", "[SEP]"]

CUT = """Array.from(document.querySelectorAll('#vis text')).map(text => text.getBoundingClientRect())
    .filter(box => box.width && (box.left < 0 || box.right > innerWidth)).length"""


def maps(layers: int = 2, second: int | None = None) -> AttentionMaps:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(len(HOSTILE), 0.2), size=(layers, 12, len(HOSTILE))).astype(np.float32)
    vectors = rng.normal(size=(2, layers, 12, len(HOSTILE), 8)).astype(np.float32)
    return AttentionMaps(HOSTILE, probs, second, *vectors)


def inside(page: Page, number: int = 0) -> Frame:
    """Return the page of a view, drawn."""
    element = page.locator("iframe").nth(number).element_handle()
    frame = element.content_frame()
    frame.wait_for_selector("#vis svg")
    return frame


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_draws_without_a_network(alone: Callable[[str], Page], view: Callable[..., View]) -> None:
    frame = inside(alone(view(maps())._repr_html_()))
    if view is model_view:
        frame.locator("rect").last.click()  # the last head is enlarged and shows its tokens
    shown = [text.strip() for text in frame.locator("#vis text").all_text_contents()]
    assert {"[CLS]", "<script>", '"', "\\", "⏎", "$x$", "[SEP]"} <= set(shown)
    assert frame.locator("i").count() == 0, "a token became HTML"


@pytest.mark.parametrize("view", VIEWS)
def test_the_numbers_reach_the_page(alone: Callable[[str], Page], view: Callable[..., View]) -> None:
    given = maps(second=4)
    frame = inside(alone(view(given)._repr_html_()))
    part = frame.evaluate("window.bertviz_params.attention.ba")
    np.testing.assert_allclose(part["attn"], given.probs[:, :, 4:, :4], atol=0.5 / 127 + 1e-4)
    assert part["left_text"] == frame.evaluate("payload.tokens.slice(4)")
    if view is neuron_view:
        for name, vectors in (("queries", given.queries[:, :, 4:]), ("keys", given.keys[:, :, :4])):
            np.testing.assert_allclose(part[name], vectors, atol=0.03)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("width", [1100, 480])
def test_twelve_layers_fit(alone: Callable[[str], Page], view: Callable[..., View], width: int) -> None:
    page = alone(f'<div style="width:{width}px">{view(maps(12, second=4))._repr_html_()}</div>')
    frame = inside(page)
    fits = "[scrollHeight <= innerHeight, scrollWidth <= innerWidth]"
    assert (
        frame.evaluate(f"(({{scrollHeight, scrollWidth}}) => {fits})(document.documentElement)") == [True] * 2
    )
    assert frame.evaluate(CUT) == 0, "labels are cut"
    box, image = page.locator("iframe").bounding_box(), page.locator("img").bounding_box()
    assert image["height"] <= box["height"] + 1 and image["width"] <= box["width"] + 1, "the picture is seen"


def test_a_drawing_shrinks_with_the_window(alone: Callable[[str], Page]) -> None:
    page = alone(neuron_view(maps())._repr_html_())
    frame = inside(page)
    page.set_viewport_size({"width": 400, "height": 900})
    for _ in range(50):  # not wait_for_function, which evaluates strings: the view's page forbids that
        if frame.evaluate(f"innerWidth < 400 && {CUT} === 0"):
            return
        page.wait_for_timeout(100)
    raise AssertionError(
        f"after 5 s {frame.evaluate(CUT)} labels are cut at a width of {frame.evaluate('innerWidth')}"
    )


def test_menus_choose_layer_and_texts(alone: Callable[[str], Page]) -> None:
    frame = inside(alone(head_view(maps(second=4))._repr_html_()))
    frame.select_option("#layer", "1")
    frame.select_option("#filter", "ba")
    assert frame.locator("#left text").all_text_contents() == [
        "\\",
        "⏎",
        "$x$",
        "telecommunications",
        "[SEP]",
    ]
    assert frame.locator("#right text").count() == 4


@pytest.mark.slow
def test_a_notebook_shows_the_view_and_an_untrusted_one_the_picture(lab: Lab) -> None:
    notebook = lab.open(
        [
            "import numpy as np",
            "from bertlearn.course.figures import attention_maps, head_view",
            "head_view(attention_maps(np.full((2, 3, 4, 4), 0.25), list('abcd')))",
        ]
    )
    assert notebook.run_all() == []
    assert inside(notebook.page).locator("#left text").all_text_contents() == list("abcd")
    notebook.save()
    notebook.reopen(kernel=False)
    assert inside(notebook.page).locator("#left text").count() == 4, "without a kernel"
    notebook.reopen(trusted=False)
    image = notebook.page.get_by_alt_text("Heat map. Layer 0, mean of 3 heads.")
    image.wait_for()
    assert image.evaluate("image => image.naturalWidth") > 200
    assert notebook.page.locator(".jp-OutputArea iframe").count() == 0
