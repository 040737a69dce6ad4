"""The result of a prediction is folded until the reader runs the cell, or opens it in a page."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from .lab import PYTHON, ROOT, Lab, assert_accessible

sys.path.insert(0, str(ROOT / "tools"))
import notebook_page

import notebooks as tool

if TYPE_CHECKING:
    from playwright.sync_api import Page

SOURCE = "print('the', 'secret')"


def chapter() -> nbformat.NotebookNode:
    """Return a small chapter whose second code cell is a prediction, with the outputs of a run."""
    output = nbformat.v4.new_output
    cells = [
        nbformat.v4.new_markdown_cell("# A chapter\n\n**Predict.** What is printed?"),
        nbformat.v4.new_code_cell("print('the', 'start')", outputs=[output("stream", text="the start\n")]),
        nbformat.v4.new_code_cell(SOURCE, outputs=[output("stream", text="the secret\n")]),
        nbformat.v4.new_code_cell("'html'", outputs=[output("display_data", {"text/html": "a secret, too"})]),
    ]
    for cell in cells[2:]:
        cell.metadata["tags"] = ["prediction"]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=PYTHON)
    tool.normalize(notebook)
    return notebook


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_a_stored_result_is_folded_until_its_cell_is_run(lab: Lab, tmp_path: Path, app: str) -> None:
    nbformat.write(chapter(), tmp_path / "chapter.ipynb")
    notebook = lab.open(tmp_path / "chapter.ipynb", app=app)
    page = notebook.page
    page.get_by_text("the start", exact=True).wait_for()
    page.locator(".jp-OutputPlaceholder").nth(1).wait_for()
    outputs = page.locator(".jp-Cell-outputWrapper")
    assert not any("secret" in text for text in outputs.all_inner_texts())
    assert notebook.run_all() == []
    page.get_by_text("the secret", exact=True).wait_for()
    assert page.locator(".jp-OutputPlaceholder").count() == 0


def test_a_result_in_a_page_is_folded_until_it_is_opened(
    alone: Callable[[str], Page], tmp_path: Path
) -> None:
    page = alone(notebook_page.page(chapter(), tmp_path))
    secret = page.get_by_text("the secret", exact=True)
    assert page.get_by_text("the start", exact=True).is_visible() and not secret.is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Show the result"
    page.keyboard.press("Enter")
    assert secret.is_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert_accessible(page, "body")
    page.set_viewport_size({"width": 400, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_a_whole_chapter_as_a_page_is_accessible_and_its_widgets_run(alone: Callable[[str], Page]) -> None:
    path = ROOT / "notebooks" / "01_attention.ipynb"
    page = alone(notebook_page.page(tool.read(path), path.parent))
    for width in (400, 1100):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_accessible(page, "main")
    stills = page.locator(".bl-still iframe")
    assert stills.count() >= 1
    stills.first.scroll_into_view_if_needed()
    page.frame_locator(".bl-still iframe").first.locator(".bl[data-theme]").wait_for()
