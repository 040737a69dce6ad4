"""The attention explorer in a browser: by pointer, by keyboard, with the kernel and without."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from bertlearn.course.figures import AttentionMaps
from bertlearn.course.widgets import AttentionExplorer

from .lab import Lab, assert_accessible, shortcuts_unharmed

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOKENS = ["[CLS]", "<img src=x onerror=alert(1)>", "שלום", "🎬", "a\nb", "[SEP]"]
CELLS = [
    "import numpy as np\nfrom bertlearn.course.figures import AttentionMaps\n"
    "from bertlearn.course.widgets import AttentionExplorer\n"
    f"tokens = {TOKENS!r}\n"
    "probs = np.random.default_rng(0).dirichlet(np.ones(6), size=(3, 4, 6)).astype('float32')",
    "w = AttentionExplorer(AttentionMaps(tokens, probs), AttentionMaps(tokens, probs[:, ::-1]), token=2)\nw",
]


def clear_maps() -> AttentionMaps:
    """Return attention with an obvious pattern: in layer 1, head 2 every token looks at the one before it."""
    probs = np.full((2, 3, 4, 4), 0.25, dtype=np.float32)
    probs[1, 2] = np.eye(4, k=-1)
    probs[1, 2, 0, 0] = 1
    return AttentionMaps(["[CLS]", "<b>one</b>", "two", "[SEP]"], probs)


@pytest.mark.slow
def test_pointer_and_keyboard_change_the_kernels_state(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    page, widget = notebook.page, notebook.page.locator(".bl")
    assert widget.count() == 1 and not page.locator(".bl-still").is_visible(), "the still is hidden"
    widget.get_by_label("Layer").first.press("ArrowDown")
    notebook.expect("w.layer", 1)
    widget.get_by_role("gridcell", name="layer 1, head 0").first.click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    notebook.expect("(w.layer, w.head)", [2, 1])
    widget.get_by_role("option", name="🎬").first.hover()
    notebook.expect("w.token", 3)
    widget.get_by_role("option", name="🎬").first.click()
    page.keyboard.press("End")
    notebook.expect("w.token", 5)
    notebook.value("setattr(w, 'head', 3)")
    page.wait_for_function("document.querySelector('.bl-say').textContent.startsWith('Layer 2, head 3.')")
    weight = notebook.value("probs[2, 3, 5].max()")
    assert f"{weight:.3f}" in widget.get_by_role("status").inner_text()
    shortcuts_unharmed(page, widget.locator(".bl-tokens [aria-selected=true]").first)
    shortcuts_unharmed(page, widget.get_by_role("gridcell", name="layer 2, head 3").first)
    assert_accessible(page, ".bl")
    notebook.set_theme("JupyterLab Dark")
    assert widget.get_attribute("data-theme") == "dark"
    assert_accessible(page, ".bl")


def test_a_stand_alone_page_needs_no_kernel(alone: Callable[[str], Page]) -> None:
    page = alone(AttentionExplorer(clear_maps()).to_html())
    page.get_by_role("gridcell", name="layer 1, head 2").click()
    page.get_by_role("option", name="two").click()
    said = page.get_by_role("status")
    assert said.inner_text() == "Layer 1, head 2. “two” (2) looks most at “<b>one</b>” (1) 1.000."
    page.locator(".ax-map").hover(position={"x": 5, "y": 5})
    assert said.inner_text() == "Layer 1, head 2. “two” (2) looks most at “<b>one</b>” (1) 1.000.", (
        "the click pins it"
    )
    page.get_by_label("is looked at by").check()
    assert said.inner_text() == "Layer 1, head 2. “two” (2) is looked at most by “[SEP]” (3) 1.000."
    page.get_by_label("[CLS], [SEP]").uncheck()
    assert said.inner_text() == "Layer 1, head 2. “two” (2) is looked at by none of these tokens."
    rows = page.get_by_label("token to follow").get_by_role("option").all()
    assert [row.inner_text() for row in rows if row.is_visible()] == ["<b>one</b>", "two"]
    assert_accessible(page, ".bl")


def test_the_colors_follow_the_weights(alone: Callable[[str], Page]) -> None:
    page = alone(AttentionExplorer(clear_maps(), layer=1, head=2).to_html())
    shades = page.evaluate(
        """() => {
            const canvas = document.querySelector(".ax-map");
            const dots = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return Array.from({length: canvas.width * canvas.height}, (_, i) => dots[4 * i]);
        }"""
    )
    dark = {index for index, red in enumerate(shades) if red < 128}
    assert dark == {0, 4, 9, 14} and len(shades) == 16


def test_every_head_is_in_the_overview(alone: Callable[[str], Page]) -> None:
    page = alone(AttentionExplorer(clear_maps()).to_html())
    names = [cell.get_attribute("aria-label") for cell in page.get_by_role("gridcell").all()]
    assert names == [f"layer {layer}, head {head}" for layer in range(2) for head in range(3)]
    chosen = page.locator('[role=gridcell][aria-selected="true"]')
    assert re.fullmatch("layer 0, head 0", chosen.get_attribute("aria-label") or "")
