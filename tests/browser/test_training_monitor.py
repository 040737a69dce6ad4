"""The training monitor in a browser: read by mouse and keyboard, and its button stops a run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from playwright.sync_api import expect

from bertlearn.course.snapshots import Band
from bertlearn.course.widgets import TrainingMonitor

from .lab import Lab, Notebook, Server, assert_accessible, shortcuts_unharmed, show_in

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TESTS = Path(__file__).parent.parent
BAND = Band([20, 40], [5.0, 4.0], [0.1, 0.1])
HISTORY = [
    {"step": 10, "mlm_loss": 7.5, "learning_rate": 0.001},
    {"step": 20, "mlm_loss": 6.5, "learning_rate": 0.002, "valid_mlm_loss": 5.05},
    {"step": 30, "mlm_loss": 6.0, "learning_rate": 0.0015, "valid_mlm_loss": 4.9},
    {"step": 40, "mlm_loss": 5.5, "learning_rate": 0.001, "valid_mlm_loss": 3.1},
]


def said(page: Page) -> str:
    return page.locator(".bl-say").inner_text()


@pytest.fixture
def over(alone: Callable[[str], Page]) -> Page:
    """Return the page of a finished run."""
    history = [record | {"seconds": 2 * record["step"], "tokens": 100 * record["step"]} for record in HISTORY]
    return alone(TrainingMonitor.of_history(history, BAND, {"guessing": 6.9}, "<b>Mine</b>").to_html())


def test_a_run_is_read_by_keyboard(over: Page) -> None:
    newest = (
        "Step 40: loss 3.100 (held-out text), 5.500 (training); learning rate 0.001. The held-out loss is "
        "below the band, 9.0 standard deviations below its mean. 1 of 3 evaluations are inside."
    )
    assert said(over) == newest
    assert over.locator(".mo-badge").inner_text() == "▼ below the band"
    assert "done: step 40 of 40 · 50 tokens a second · took 1 min 20 s" in over.locator(".bl").inner_text()
    for _ in range(2):  # the first of the radio buttons that is chosen, then the plot
        over.keyboard.press("Tab")
    over.keyboard.press("ArrowLeft")
    assert "Step 30: loss 4.900" in said(over)
    assert "above the band, 4.0 standard deviations above" in said(over)
    over.keyboard.press("Home")
    assert said(over) == "Step 10: loss 7.500 (training); learning rate 0.001. 1 of 3 evaluations are inside."
    assert over.locator(".mo-badge").inner_text() == ""
    assert over.get_by_role("slider").get_attribute("aria-valuetext") == "step 10"
    over.keyboard.press("ArrowRight")
    assert over.locator(".mo-badge").inner_text() == "● inside the band"
    over.keyboard.press("End")
    assert said(over) == newest


def test_a_run_is_read_by_mouse(over: Page) -> None:
    plot = over.get_by_role("slider")
    box = plot.bounding_box()
    assert box is not None
    plot.hover(position={"x": box["width"] * 0.55, "y": 50})
    assert said(over).startswith("Step 20:")
    over.mouse.move(5, 5)
    assert said(over).startswith("Step 40:")
    over.get_by_label("learning rate").check()
    over.keyboard.press("Tab")
    assert "learning rate" in over.locator(".mo-plot text").all_text_contents()
    assert over.locator(".mo-legend").inner_text().split() == ["learning", "rate", "0.001"]


def corners(path: Locator) -> list[tuple[float, float]]:
    """Return the points that an SVG path goes through."""
    found = re.findall(r"([\d.]+) ([\d.]+)", path.get_attribute("d") or "")
    return [(float(x), float(y)) for x, y in found]


def test_the_curves_are_where_the_numbers_are(over: Page) -> None:
    held_out, training = [corners(path) for path in over.locator(".mo-plot .mo-curve").all()]
    assert [x for x, _ in training[1:]] == [x for x, _ in held_out]
    per_nat = (training[-1][1] - training[0][1]) / (7.5 - 5.5)
    assert held_out[-1][1] - held_out[0][1] == pytest.approx(per_nat * (5.05 - 3.1), abs=0.3)
    assert held_out[0][1] - training[1][1] == pytest.approx(per_nat * (6.5 - 5.05), abs=0.3)
    ends = corners(over.locator(".mo-band"))
    assert [x for x, _ in ends] == [held_out[0][0], held_out[2][0], held_out[2][0], held_out[0][0]]
    assert ends[0][1] - ends[3][1] == pytest.approx(per_nat * 0.4, abs=0.3)  # ± 2 · 0.1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_stand_alone_page_is_accessible_and_has_nothing_to_stop(
    over: Page, scheme: Literal["light", "dark"]
) -> None:
    show_in(over, scheme)
    assert over.get_by_text("<b>Mine</b>").is_visible()
    assert not over.get_by_role("button").is_visible()
    assert_accessible(over, ".bl")


def test_without_a_run_it_shows_the_band(alone: Callable[[str], Page]) -> None:
    page = alone(TrainingMonitor(BAND).to_html())
    assert said(page) == "No step yet: run the cell that trains."
    assert page.locator(".mo-band").count() == 1
    page.get_by_role("slider").press("ArrowLeft")
    assert_accessible(page, ".bl")


STEPS = 100_000  # minutes: the run must still be going when it is stopped, by a slow browser as well
RUN = [
    f"import sys; sys.path.insert(0, {str(TESTS)!r})",
    f"""from tiny_training import *
from bertlearn.course.widgets import TrainingMonitor
import tempfile
folder = tempfile.mkdtemp()
monitor = TrainingMonitor()
display(monitor)
run = train(tiny_model(), tiny_task(), options(steps={STEPS}), folder, callback=monitor)
print(run.summary)""",
]


def begin(lab: Lab) -> Notebook:
    """Run the cells without waiting for their end, until there is something to see."""
    notebook = lab.open(RUN)
    notebook.page.evaluate("() => void jupyterapp.commands.execute('notebook:run-all-cells')")
    expect(notebook.page.locator(".mo-legend")).to_contain_text("held-out text", timeout=180_000)
    return notebook


def check_that_it_stopped(notebook: Notebook) -> None:
    """Check that the run ended early, was reported, and left a checkpoint of its last step."""
    step = notebook.value("run.step")  # after the cell
    assert 0 < step < STEPS
    assert notebook.value("run.finished") is False
    assert notebook.value("find_checkpoints(Path(folder))[0].name") == f"step-{step:08d}.safetensors"
    expect(notebook.page.locator(".bl")).to_contain_text(f"stopped at step {step:,} of {STEPS:,}")
    expect(notebook.page.get_by_role("button", name="■ Stop")).not_to_be_visible()


def test_the_button_stops_a_run_while_its_cell_is_running(lab: Lab) -> None:
    notebook = begin(lab)
    page = notebook.page
    shortcuts_unharmed(page, page.get_by_role("slider"))
    page.get_by_role("button", name="■ Stop").press("Enter")
    check_that_it_stopped(notebook)
    expect(page.get_by_role("slider")).to_be_focused()  # not lost with the button
    expect(page.locator(".mo-plot")).to_be_visible()
    drawn = re.compile(r"^M[\d. ]+L[\d. ]+")  # a curve that is still flat has a box without height
    expect(page.locator(".mo-plot .mo-curve").first).to_have_attribute("d", drawn)
    assert not page.locator(".bl-still").is_visible()  # updated, below the live widget
    page.get_by_label("learning rate").check()
    notebook.expect("monitor.quantity", "learning rate")
    notebook.save()
    notebook.reopen(kernel=False)
    still = page.frame_locator(".bl-still iframe")
    expect(still.locator(".bl")).to_contain_text("stopped at step")  # the end of the run, not its beginning
    expect(still.get_by_role("button", name="■ Stop")).not_to_be_visible()


@pytest.mark.slow
def test_a_kernel_that_misses_the_button_obeys_the_notebooks_own(lab: Lab, server: Server) -> None:
    setting = "apputils-extension/kernels-settings"
    server.set(setting, commsOverSubshells="disabled")
    try:
        notebook = begin(lab)
        page = notebook.page
        page.get_by_role("button", name="■ Stop").click()
        hint = page.get_by_text("no answer: press the notebook’s own stop button ■")
        expect(hint).to_be_visible(timeout=20_000)
        page.get_by_role("button", name="Interrupt the kernel").click()
        check_that_it_stopped(notebook)
    finally:
        server.set(setting, commsOverSubshells="perCommTarget")
