"""What every widget must do in a browser: paint, keep text as text, take keys, and leave a still."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbconvert import HTMLExporter

from bertlearn.course import widgets
from bertlearn.course.widgets import base
from tests.every_widget import every_widget

from .lab import Lab, assert_accessible, show_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = sorted(set(widgets.__all__) - {"Widget"})
CELLS = [
    "from tests.every_widget import every_widget\nw = every_widget()",
    *(f"w[{name!r}]" for name in NAMES),
]
FOCUSABLE = "button, input, select, textarea, [tabindex]"


def test_the_list_is_complete() -> None:
    assert sorted(every_widget()) == NAMES


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_all_are_painted_and_their_stills_are_hidden(lab: Lab, app: str) -> None:
    notebook = lab.open(CELLS, app=app)
    assert notebook.run_all() == []
    page = notebook.page
    page.wait_for_function(f"document.querySelectorAll('.bl[data-theme]').length === {len(NAMES)}")
    assert all(said.inner_text().strip() for said in page.locator(".bl .bl-say").all())
    page.wait_for_function("[...document.querySelectorAll('.bl-still')].every(still => still.hidden)")
    stolen = page.locator(f".bl :is({FOCUSABLE}):not([data-lm-suppress-shortcuts])")
    assert [each.evaluate("e => e.outerHTML") for each in stolen.all()] == []


@pytest.mark.slow
def test_the_stills_page_does_not_run_behind_the_widget(lab: Lab) -> None:
    notebook = lab.open(["from bertlearn.course.widgets import SoftLookup\n\nSoftLookup()"])
    assert notebook.run_all() == []
    page = notebook.page
    page.locator(".bl[data-theme]").wait_for()
    page.wait_for_timeout(1500)
    (frame,) = [frame for frame in page.frames if frame.parent_frame]
    assert frame.locator(".bl").count() == 0
    page.evaluate(
        "document.querySelector('.bl').remove(); document.querySelector('.bl-still').hidden = false"
    )
    frame.locator(".bl[data-theme]").wait_for()


@pytest.mark.slow
def test_all_can_be_used_in_both_themes(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    assert_accessible(notebook.page, ".bl")
    notebook.set_theme("JupyterLab Dark")
    notebook.page.wait_for_function(
        "[...document.querySelectorAll('.bl')].every(e => e.dataset.theme === 'dark')"
    )
    assert_accessible(notebook.page, ".bl")


@pytest.mark.slow
def test_reopened_without_a_kernel_they_can_still_be_explored(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    notebook.save()
    notebook.reopen(kernel=False)
    page = notebook.page
    page.locator(".bl-still iframe").nth(len(NAMES) - 1).wait_for()
    assert page.locator(".bl-still iframe").count() == len(NAMES)
    for number in range(len(NAMES)):
        page.locator(".bl-still iframe").nth(number).scroll_into_view_if_needed()
        frame = page.frame_locator(".bl-still iframe").nth(number)
        frame.locator(".bl[data-theme]").wait_for()
        assert frame.locator(".bl-say").inner_text().strip()
    assert not page.get_by_text("model not found").first.is_visible()


def test_an_untrusted_notebook_shows_only_pictures(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    notebook.save()
    notebook.reopen(kernel=False, trusted=False)
    page = notebook.page
    page.locator(".jp-OutputArea img").nth(len(NAMES) - 1).wait_for()
    alts = [picture.get_attribute("alt") for picture in page.locator(".jp-OutputArea img").all()]
    assert len(alts) == len(NAMES) and all(alts)
    assert page.locator(".jp-OutputArea iframe").count() == 0
    sizes = page.locator(".jp-OutputArea img").evaluate_all("all => all.map(e => e.naturalWidth)")
    assert min(sizes) > 300


def test_text_printed_below_a_widget_is_seen_without_its_live_view(
    monkeypatch: pytest.MonkeyPatch, alone: Callable[[str], Page]
) -> None:
    outputs = []
    monkeypatch.setattr(base, "publish_display_data", lambda data, **_: outputs.append(data))
    every_widget()["SoftLookup"]._ipython_display_()
    children = (outputs[0]["text/html"], "the summary of the run")  # as JupyterLab and nbconvert show outputs
    html = "".join(f'<div class="jp-OutputArea-child">{child}</div>' for child in children)
    page = alone(f"<!doctype html><title>notebook</title><body>{html}")
    assert page.get_by_text("the summary of the run").is_visible()


def still_of(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the HTML that a notebook keeps of a widget."""
    outputs = []
    monkeypatch.setattr(base, "publish_display_data", lambda data, **_: outputs.append(data))
    every_widget("The film is not bad at all, [MASK] it is long.")[name]._publish_still()
    return outputs[0]["text/html"]


@pytest.mark.parametrize("name", NAMES)
def test_a_still_is_as_high_as_its_page(
    monkeypatch: pytest.MonkeyPatch, alone: Callable[[str], Page], name: str
) -> None:
    page = alone(f"<!doctype html><title>notebook</title><body>{still_of(name, monkeypatch)}")
    frame = page.locator("iframe").element_handle().content_frame()
    for width in (1000, 700):
        page.set_viewport_size({"width": width, "height": 2400})
        frame.locator(".bl[data-theme]").wait_for()
        for _ in range(50):
            page.screenshot()  # a page that nobody sees is not laid out
            high = frame.evaluate("Math.ceil(document.documentElement.getBoundingClientRect().height)")
            if page.locator("iframe").bounding_box()["height"] == high:
                break
        assert page.locator(".bl-view").bounding_box()["height"] == high
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")  # JupyterLab's own theme, not the system's
    page.set_viewport_size({"width": 900, "height": 2400})
    frame.locator(".bl[data-theme=dark]").wait_for()


def test_without_its_page_a_still_is_as_high_as_its_picture(
    monkeypatch: pytest.MonkeyPatch, alone: Callable[[str], Page]
) -> None:
    still = still_of("TokenizerExplorer", monkeypatch)
    bare = re.sub(r"<style>.*?</style>|<iframe.*</iframe>", "", still)  # what JupyterLab does not trust
    page = alone(f"<!doctype html><title>notebook</title><body>{bare}")
    parts = [page.locator(f".bl-view {tag}").bounding_box()["height"] for tag in ("img", "p")]
    assert 0 <= page.locator(".bl-view").bounding_box()["height"] - sum(parts) < 8


@pytest.mark.slow
def test_a_converted_notebook_stays_interactive(lab: Lab, alone: Callable[[str], Page]) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    notebook.save()
    saved = nbformat.read(notebook.file, as_version=4)
    html, _ = HTMLExporter(template_name="basic").from_notebook_node(saved)
    page = alone(f"<!doctype html><title>notebook</title><body>{html}")
    for number in range(len(NAMES)):
        page.locator(".bl-still iframe").nth(number).scroll_into_view_if_needed()
        page.frame_locator(".bl-still iframe").nth(number).locator(".bl[data-theme]").wait_for()


@pytest.mark.parametrize("name", NAMES)
def test_its_layout_does_not_depend_on_other_widgets_in_the_page(
    alone: Callable[[str], Page], name: str
) -> None:
    page = alone(every_widget()[name].to_html())
    page.locator(".bl[data-theme]").wait_for()
    boxes = """() => [...document.querySelectorAll(".bl, .bl *")].map(element => {
        const {x, y, width, height} = element.getBoundingClientRect();
        return [element.outerHTML.slice(0, 60), x, y, width, height];
    })"""
    before = page.evaluate(boxes)
    for other in every_widget().values():
        page.add_style_tag(content=other._css)
    assert page.evaluate(boxes) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_alone_page_works_without_kernel_and_network(alone: Callable[[str], Page], name: str) -> None:
    page = alone(every_widget()[name].to_html())
    show_in(page, "light")
    assert page.get_by_role("status").first.inner_text().strip()
    assert page.locator("img, script[src], link, iframe").count() == 0
    assert_accessible(page, ".bl")
    show_in(page, "dark")
    assert_accessible(page, ".bl")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it fits the window"
