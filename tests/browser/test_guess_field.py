"""The field for a guess in a browser: numbers, choices and curves, by mouse and by keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from bertlearn.course.guess_kinds import POINTS, Choice, Curve, Number, Question
from bertlearn.course.widgets.guess_field import GuessField

from .lab import Lab, assert_accessible, shortcuts_unharmed, show_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

Alone = Callable[[str], "Page"]
HOSTILE = "<img src=x onerror=alert(1)> </script><script>alert(2)</script> שלום 🎬"
QUESTIONS: dict[str, Question] = {
    "number": Number("Largest weight at temperature ¼", 0, 1),
    "percent": Number("How many tokens are masked?", 0, 100, "%"),
    "open": Number("How many parameters?", unit="millions"),
    "choice": Choice("Which word does “it” look at?", ("animal", "street", "itself")),
    "curve": Curve("Held-out loss", (0, 5000), (0, 11), "step", "loss in nats"),
}
LONG = Choice(HOSTILE * 3, tuple(f"{HOSTILE} {i}" for i in range(3)))


def html(question: Question, guess: object = None, locked: bool = False) -> str:
    return GuessField(question, lambda guess: None, guess, locked).to_html()


def heights(page: Page) -> list[float]:
    return [float(dot.get_attribute("aria-valuenow") or "nan") for dot in page.locator(".gf-dot").all()]


def draw(page: Page, points: list[tuple[float, float]]) -> None:
    """Draw a stroke through points, given as parts of the plotting area from its lower left corner."""
    box = page.locator(".gf-area").bounding_box()
    assert box is not None
    places = [(box["x"] + box["width"] * x, box["y"] + box["height"] * (1 - y)) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def test_field_and_slider_show_the_same_number(alone: Alone) -> None:
    page = alone(html(QUESTIONS["percent"]))
    field, slider = page.get_by_role("spinbutton"), page.get_by_role("slider")
    assert field.input_value() == "", "nothing suggests a number"
    field.fill("15")
    assert slider.input_value() == "15"
    slider.press("ArrowRight")
    assert field.input_value() == "16"
    assert page.get_by_role("spinbutton", name="How many tokens are masked?").is_visible()


def test_a_curve_is_drawn_by_mouse(alone: Alone) -> None:
    page = alone(html(QUESTIONS["curve"]))
    middle = heights(page)
    assert middle == [5.5] * POINTS
    draw(page, [(0, 1), (0.5, 0.5), (1, 0)])
    assert heights(page) == pytest.approx([11 * (1 - i / 8) for i in range(POINTS)], abs=0.15)
    draw(page, [(0.75, 0.75), (1, 1.3)])
    assert heights(page)[-1] == 11, "a curve stays within its axes"
    assert heights(page)[:5] == pytest.approx([11 * (1 - i / 8) for i in range(5)], abs=0.15)
    page.get_by_role("button", name="Start over").click()
    assert heights(page) == middle


def test_a_stroke_that_stops_short_goes_on_level(alone: Alone) -> None:
    page = alone(html(QUESTIONS["curve"]))
    draw(page, [(0.2, 0.9), (0.8, 0.1)])
    found = heights(page)
    assert found[0] == found[1] == found[2] > 8 and found[-1] == found[-2] < 3


def test_a_curve_is_drawn_by_keyboard(alone: Alone) -> None:
    page = alone(html(QUESTIONS["curve"]))
    page.keyboard.press("Tab")
    for key in ("End", "ArrowRight", "ArrowUp", "ArrowRight", "PageDown", "ArrowRight", "Home"):
        page.keyboard.press(key)
    assert heights(page)[:5] == pytest.approx([11, 5.72, 4.4, 0, 5.5])
    assert page.evaluate("document.activeElement.ariaLabel") == "loss in nats at step 1,875"
    assert page.evaluate("document.activeElement.getAttribute('aria-valuetext')") == "0"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "loss in nats at step 1,875", "one tab stop"


def test_a_curve_keeps_its_points_when_the_width_changes(alone: Alone) -> None:
    page = alone(html(QUESTIONS["curve"]))
    draw(page, [(0, 0.9), (1, 0.1)])
    before, line = heights(page), page.locator(".gf-line").get_attribute("d")
    page.set_viewport_size({"width": 400, "height": 700})
    page.wait_for_function("line => document.querySelector('.gf-line').getAttribute('d') !== line", arg=line)
    assert heights(page) == before


@pytest.mark.parametrize("high", [1, 100_000, 0.00025])
@pytest.mark.parametrize("width", [400, 1100])
def test_the_numbers_of_an_axis_are_not_cut(alone: Alone, high: float, width: int) -> None:
    page = alone(html(Curve("Words", (0, 80_000), (0, high), "sentences", "words")))
    page.set_viewport_size({"width": width, "height": 700})
    page.wait_for_timeout(100)
    cut = page.evaluate("""() => {
        const plot = document.querySelector(".gf-plot"), frame = plot.getBoundingClientRect();
        return [...plot.querySelectorAll("text")].filter(text => {
            const {left, right} = text.getBoundingClientRect();
            return left < frame.left || right > frame.right;
        }).map(text => text.textContent);
    }""")
    assert cut == []


@pytest.mark.parametrize("name", [*QUESTIONS, "long"])
@pytest.mark.parametrize("width", [400, 1100])
def test_accessible_at_each_width_in_light_and_dark(alone: Alone, name: str, width: int) -> None:
    page = alone(html(QUESTIONS.get(name, LONG)))
    page.set_viewport_size({"width": width, "height": 700})
    for scheme in ("light", "dark"):
        show_in(page, scheme)  # type: ignore[arg-type]
        assert_accessible(page, ".bl")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        wide = "[...document.querySelectorAll('.bl, .bl *')].filter(e => e.scrollWidth > e.clientWidth + 1"
        assert page.evaluate(f"{wide} && getComputedStyle(e).overflowX === 'auto').length") == 0
    stolen = page.locator(".bl :is(button, input, [tabindex]):not([data-lm-suppress-shortcuts])")
    assert stolen.count() == 0
    assert page.get_by_role("status").inner_text() == "Writing down a guess needs a running notebook."


@pytest.mark.parametrize(
    ("name", "guess"), [("number", 0.6), ("choice", "street"), ("curve", [1.0] * POINTS)]
)
def test_a_locked_guess_is_shown_and_cannot_be_changed(alone: Alone, name: str, guess: object) -> None:
    page = alone(html(QUESTIONS[name], guess, locked=True))
    for scheme in ("light", "dark"):
        show_in(page, scheme)  # type: ignore[arg-type]
        assert_accessible(page, ".bl")
    assert page.get_by_role("button").count() == 0
    if name == "curve":
        draw(page, [(0, 1), (1, 1)])
        page.locator(".gf-dot").first.press("End")
        assert heights(page) == guess
    else:
        assert all(field.is_disabled() for field in page.locator("input").all())
        assert page.locator("input:checked, input[type=number]").first.input_value() in ("0.6", "1")


def test_texts_stay_text(alone: Alone) -> None:
    page = alone(html(LONG))
    assert page.locator(".gf-question").inner_text() == " ".join(LONG.question.split())
    assert page.locator(".gf-option").first.inner_text() == LONG.options[0]
    assert page.locator("#widget img, #widget script").count() == 0


CELLS = [
    "from bertlearn.course.guesses import Guesses\nguess = Guesses(901)",
    'guess.number("n", "How many heads?", low=1, high=16)',
    'guess.choice("it", "Which word?", "animal", "street")',
    'guess.curve("loss", "Held-out loss", x=(0, 5000), y=(0, 11), xlabel="step", ylabel="loss in nats")',
]
KEPT = "{name: entry['guess'] for name, entry in guess._entries().items()}"


def field(page: Page, question: str) -> Page:
    return page.get_by_role("group", name=f"Your guess: {question}")  # type: ignore[return-value]


@pytest.mark.slow
def test_guesses_survive_a_restart_of_the_kernel(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    page = notebook.page
    assert notebook.run_all() == []
    number, choice, curve = (
        field(page, name) for name in ("How many heads?", "Which word?", "Held-out loss")
    )
    commit = "Commit"
    number.get_by_role("button", name=commit).click()
    number.get_by_text("Enter a number first.").wait_for()
    number.get_by_role("spinbutton").fill("17")
    number.get_by_role("button", name=commit).click()
    number.get_by_text("17 is out of range").wait_for()
    number.get_by_role("spinbutton").fill("12")
    number.get_by_role("spinbutton").press("Enter")
    number.get_by_text("✓ Your guess is 12. You can change it").wait_for()
    choice.get_by_label("street").check()
    choice.get_by_role("button", name=commit).click()
    choice.get_by_text("✓ Your guess is “street”.").wait_for()
    draw(page, [(0, 1), (1, 0)])
    curve.get_by_role("slider").first.press("PageDown")
    curve.get_by_role("button", name=commit).click()
    curve.get_by_text("✓ Your guess is the curve above.").wait_for()
    drawn = heights(page)
    notebook.expect(KEPT, {"n": 12, "it": "street", "loss": drawn})
    page.evaluate("jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    assert notebook.run_all() == []
    assert notebook.value(KEPT) == {"n": 12, "it": "street", "loss": drawn}
    assert number.get_by_role("spinbutton").input_value() == "12"
    assert choice.get_by_label("street").is_checked()
    assert heights(page) == drawn
    choice.get_by_label("animal").check()
    choice.get_by_text("Not committed yet. Your guess is still “street”.").wait_for()
    assert_accessible(page, ".bl")
    notebook.set_theme("JupyterLab Dark")
    page.wait_for_function("[...document.querySelectorAll('.bl')].every(e => e.dataset.theme === 'dark')")
    assert_accessible(page, ".bl")


@pytest.mark.slow
def test_the_result_ends_the_guessing(lab: Lab) -> None:
    cells = [
        CELLS[0].replace("901", "902"),
        CELLS[1],
        "guess.commit('n', 8)",
        "guess.result('n', 12)",
        "guess.card()",
    ]
    notebook = lab.open(cells)
    page = notebook.page
    assert notebook.run_all() == []
    number = field(page, "How many heads?")
    number.get_by_text("You guessed 8. The result has been shown").wait_for()
    assert number.get_by_role("spinbutton").is_disabled() and number.get_by_role("button").count() == 0
    page.get_by_text("Off by 4").first.wait_for()
    assert page.get_by_role("caption").inner_text() == "Your guesses in this chapter: 0 of 1 were hits"


def test_an_entry_without_a_commit_reaches_the_result(lab: Lab) -> None:
    notebook = lab.open([CELLS[0].replace("901", "904"), *CELLS[1:]])
    page = notebook.page
    assert notebook.run_all() == []
    field(page, "How many heads?").get_by_role("spinbutton").fill("9")
    field(page, "Which word?").get_by_label("street").check()
    draw(page, [(0, 1), (1, 0)])
    drawn = heights(page)
    drafts = "{name: field.draft for name, field in guess._fields.items()}"
    notebook.expect(drafts, {"n": 9, "it": "street", "loss": drawn})
    assert notebook.value("(guess.result('n', 12), guess.forget('it'))") == [None, None]
    field(page, "How many heads?").get_by_text("You guessed 9. The result has been shown").wait_for()
    page.wait_for_function("document.querySelectorAll('.gf-option :checked').length === 0")
    assert heights(page) == drawn


@pytest.mark.slow
def test_keys_stay_in_the_field_and_without_a_kernel_the_question_remains(lab: Lab) -> None:
    notebook = lab.open([CELLS[0].replace("901", "903"), *CELLS[1:]])
    page = notebook.page
    assert notebook.run_all() == []
    for inner in (field(page, "How many heads?").get_by_role("slider"), page.get_by_role("radio").first):
        shortcuts_unharmed(page, inner)
    shortcuts_unharmed(page, page.locator(".gf-dot").first)
    field(page, "Which word?").get_by_label("street").check()
    field(page, "Which word?").get_by_role("button", name="Commit").click()
    notebook.expect(KEPT, {"it": "street"})
    notebook.save()
    assert "street" not in notebook.file.read_text(encoding="utf-8").replace(
        '\\"animal\\", \\"street\\"', ""
    ).replace("“animal” or “street”", "")
    for trusted in (True, False):
        notebook.reopen(kernel=False, trusted=trusted)
        page.get_by_text("Run this cell to answer with “animal” or “street”.").wait_for()
        assert not page.get_by_text("model not found").first.is_visible()
