"""The time machine in a browser: by mouse and keyboard, with and without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from bertlearn.course.widgets import TimeMachine

from .lab import Lab, assert_accessible, shortcuts_unharmed, show_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

TEXT = "the king sent his [MASK] into the [MASK]."
CELL = (
    "from bertlearn.course.widgets import TimeMachine\n"
    f'w = TimeMachine("{TEXT}", ["servants", "city"], head=1)\nw'
)
INK = """canvas => {
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return new Set(new Uint32Array(data.buffer)).size;
}"""


@pytest.fixture(scope="module")
def html() -> str:
    return TimeMachine(TEXT, ["servants", "city"], head=1).to_html()


def status(page: Page) -> str:
    return page.get_by_role("status").text_content() or ""


@contextmanager
def stopped_time(page: Page) -> Iterator[None]:
    """Let time pass only when the test advances it."""
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    try:
        yield
    finally:
        page.clock.resume()


def test_lines_do_not_cross_texts(alone: Callable[[str], Page], html: str) -> None:
    page = alone(html)
    page.get_by_role("slider", name="Step").press("Home")
    page.get_by_role("slider", name="Step").press("ArrowRight")
    marker = page.locator(".tm-marker").bounding_box()
    label = page.get_by_text("knows nothing").bounding_box()
    assert marker is not None and label is not None and marker["x"] + marker["width"] < label["x"]
    answer = page.locator(".tm-answer").first
    edges = answer.evaluate("""row => {
        const range = document.createRange();
        range.selectNodeContents(row.firstElementChild);
        return [row.getBoundingClientRect().left, range.getBoundingClientRect().left];
    }""")
    assert edges[1] >= edges[0] + 3, "the rank is not under the bar that marks the right word"


def test_alone_by_keyboard(alone: Callable[[str], Page], html: str) -> None:
    page = alone(html)
    assert page.locator("canvas").evaluate(INK) > 3
    assert status(page).startswith("Step 40,000: held-out loss 3.40. [MASK] 1 of 2: “")
    slide = page.get_by_role("slider", name="Step")
    slide.press("Home")
    assert status(page).startswith("Step 0: held-out loss not measured.")
    for _ in range(5):
        slide.press("ArrowRight")
    assert slide.get_attribute("aria-valuetext") == "step 3,000"
    assert "Step 3,000: held-out loss 4.40." in status(page)
    page.get_by_role("radio").first.press("ArrowRight")
    assert "[MASK] 2 of 2: “king”" in status(page) and "The right word “city” is guess" in status(page)
    page.get_by_label("Head", exact=True).press("ArrowUp")
    assert "In layer 0, head 0, it looks most at “.”" in status(page)


def test_the_keyboard_reaches_every_control(alone: Callable[[str], Page], html: str) -> None:
    page = alone(html)
    found = []
    for _ in range(6):
        page.keyboard.press("Tab")
        found.append(
            page.evaluate(
                "document.activeElement.outerHTML.match(/^<(\\w+)/)[1] + (document.activeElement.type ?? '')"
            )
        )
    assert found[:5] == ["buttonbutton", "inputrange", "inputradio", "selectselect-one", "selectselect-one"]
    assert page.evaluate(
        "[...document.querySelectorAll('button, input, select')].every(x => x.dataset.lmSuppressShortcuts)"
    )


def test_alone_by_mouse(alone: Callable[[str], Page], html: str) -> None:
    page = alone(html)
    page.locator(".tm-track li").nth(4).click()
    assert "Step 1,000: held-out loss 5.39." in status(page)
    page.locator(".tm-target").nth(2).click()
    assert "Step 500: held-out loss 6.03." in status(page)
    page.locator(".tm-chip").nth(1).click()
    assert "[MASK] 2 of 2" in status(page)
    guesses = page.locator(".tm-guesses li:visible")
    assert guesses.count() == 9 and "city ✓" in (guesses.last.text_content() or "")


def test_without_a_kernel_typing_is_disabled_and_the_page_says_why(
    alone: Callable[[str], Page], html: str
) -> None:
    page = alone(html)
    assert (
        page.get_by_label("Text with [MASK]").is_disabled() and page.get_by_label("Right word").is_disabled()
    )
    assert page.get_by_text("needs a running notebook").is_visible()
    assert_accessible(page, ".bl")
    show_in(page, "dark")
    assert_accessible(page, ".bl")


def test_play_goes_from_snapshot_to_snapshot_and_stops_at_the_last(
    alone: Callable[[str], Page], html: str
) -> None:
    page = alone(html)
    with stopped_time(page):
        play = page.locator(".tm-play")
        seen = []
        play.click()
        for _ in range(9):
            seen.append(page.get_by_role("slider").input_value())
            page.clock.run_for(1200)
        assert seen == ["0", "1", "2", "3", "4", "5", "6", "7", "7"] and play.text_content() == "▶ Play"
        play.click()
        page.clock.run_for(1200)
        play.click()
        page.clock.run_for(5000)
        assert page.get_by_role("slider").input_value() == "1"
        play.click()
        page.get_by_role("slider").press("End")  # moving the slider ends it
        page.clock.run_for(5000)
        assert page.get_by_role("slider").input_value() == "7" and play.text_content() == "▶ Play"


def test_with_reduced_motion_each_press_is_one_step(alone: Callable[[str], Page], html: str) -> None:
    page = alone(html)
    page.emulate_media(reduced_motion="reduce")
    page.reload()
    with stopped_time(page):
        play = page.get_by_role("button", name="Next step")
        play.press("Enter")
        page.clock.run_for(10000)
        assert page.get_by_role("slider").input_value() == "0"
        play.press("Enter")
        assert page.get_by_role("slider").input_value() == "1"


def test_a_late_answer_overwrites_nothing_newer(alone: Callable[[str], Page], html: str) -> None:
    answering = html.replace("alone: true", "alone: false").replace(
        "render({ model, el: d", "render({ model: window.kernel = model, el: d"
    )
    page = alone(answering)
    with stopped_time(page):
        text = page.get_by_label("Text with [MASK]")
        text.fill("he said [MASK]")
        page.clock.run_for(200)
        assert page.evaluate("kernel.get('asked').text[0]") == 1
        assert page.get_by_label("Right word").input_value() == ""
        assert page.get_by_text("reading …").is_visible()
        text.fill("he said unto [MASK]")
        page.clock.run_for(200)
        values = {"text": "he said unto [MASK]", "answers": []}
        assert page.evaluate("kernel.get('asked')") == {"text": [2, values]}
        page.evaluate("kernel.set('text', 'he said [MASK]'); kernel.set('answered', {text: [1, '']})")
        assert text.input_value() == "he said unto [MASK]" and page.get_by_text("reading …").is_visible()
        page.evaluate("kernel.set('answered', {text: [2, 'no such word']})")
        assert status(page) == "no such word"
        assert page.locator(".bl-note").text_content() == "⚠ no such word. Below is what was read before."
        page.evaluate("kernel.set('answered', {text: [2, '']})")  # the previous text, typed again
        assert status(page).startswith("Step 40,000")


def test_hostile_tokens_are_text(alone: Callable[[str], Page]) -> None:
    w = TimeMachine('<img src=x onerror="alert(1)"> </script> 😀 שלום [MASK]')
    tokens = {**w.seen, "tokens": [*w.seen["tokens"][:-1], "<b>bold</b>\n\u202e"]}
    w.seen = {**tokens, "guesses": [[[["<i>x</i>", 0.5]] * 8]] * 8}
    page = alone(w.to_html())
    assert page.locator(".bl img, .bl b, .bl i").count() == 0
    assert "<i>x</i>" in status(page) and page.locator(".tm-grid").get_by_text("<b>bold</b>⏎␣").count() == 2


@pytest.mark.slow
def test_in_a_notebook(lab: Lab) -> None:
    notebook = lab.open([CELL])
    assert notebook.run_all() == []
    page = notebook.page
    assert_accessible(page, ".bl")
    slide = page.get_by_role("slider", name="Step")
    slide.press("ArrowLeft")
    notebook.expect("w.step", 10000)
    shortcuts_unharmed(page, page.locator(".tm-play"))
    text = page.get_by_label("Text with [MASK]")
    text.fill("he said unto him")
    expect(page.locator(".bl-note")).to_contain_text("no [MASK] in 'he said unto him'")
    notebook.expect("w.text", TEXT)
    assert page.locator(".tm-chip").count() == 2  # the view before
    text.fill("")
    text.press_sequentially("he said unto [MASK],")
    page.get_by_label("Right word").press_sequentially("him")
    notebook.expect("(w.text, w.answers)", ["he said unto [MASK],", ["him"]])
    expect(page.get_by_role("status")).to_contain_text("Step 10,000: held-out loss 3.93. [MASK]: “him” 0.88")
    expect(page.locator(".bl-note")).to_have_text("")
    assert text.input_value() == "he said unto [MASK],"
    page.get_by_label("Layer", exact=True).press("ArrowDown")
    notebook.expect("w.layer", 1)
