"""The knock-out lab in a browser: switches and rows by mouse and keyboard, with and without a kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import pytest
from playwright.sync_api import expect

from bertlearn.course.knockout import MODERN
from bertlearn.course.widgets import KnockoutLab
from bertlearn.course.widgets.knockout_lab import name
from tests.every_widget import knockout_rows

from .lab import Lab, Notebook, assert_accessible, shortcuts_unharmed, show_in

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ROWS = knockout_rows()
DONE = {"state": "done", "step": 1500, "until": 1500, "seconds": 80.0}
SLOW = 400_000  # ms for what a process on a busy machine may take


def html(*on: str, live: int = 0) -> str:
    """Return a page, with some runs of the combination that were made live."""
    widget = KnockoutLab(ROWS, on=on)
    curve = [[500, 5.5, 0.14], [1000, 5.1, 0.16], [1500, 4.6, 0.19]]
    widget.live = [{**DONE, "on": widget.on, "seed": seed, "curve": curve} for seed in range(live)]
    return widget.to_html()


def switch(page: Page, label: str) -> Locator:
    return page.get_by_role("switch", name=label, exact=True)


def is_on(page: Page) -> list[str]:
    """Return the labels of the switches that are on."""
    labels = "all => all.filter(e => e.checked).map(e => e.labels[0].textContent)"
    return page.get_by_role("switch").evaluate_all(labels)


def said(page: Page) -> str:
    return (page.locator(".bl-say").text_content() or "").replace("\u00a0", " ")


def row(page: Page, label: str) -> Locator:
    return page.get_by_role("option", name=label)


def told(*on: str) -> str:
    """Return what the status says of a stored combination's accuracy, up to its interval."""
    widget = KnockoutLab(ROWS, on=on)
    run = next(run for run in widget.stored if run["on"] == widget.on)
    mean, margin = run["estimates"]["accuracy"]
    return f"{name(on)}: accuracy {mean:.3f} ± {margin:.3f} (mean of 3 seeds)"


def test_switches_show_stored_combinations(alone: Callable[[str], Page]) -> None:
    page = alone(html())
    assert is_on(page) == [] and said(page).startswith(told())
    switch(page, "rope").check()
    assert said(page).startswith(told("rope"))
    assert row(page, "BERT with rope").get_attribute("aria-selected") == "true"
    assert page.locator("[aria-selected=true]").count() == 1
    page.get_by_role("button", name="Modern, 2024").click()
    assert set(is_on(page)) == MODERN and said(page).startswith(told(*MODERN))
    assert page.get_by_role("button", name="Modern, 2024").get_attribute("aria-pressed") == "true"
    switch(page, "muon").press("Space")
    assert said(page).startswith(told(*(MODERN - {"muon"})))
    page.get_by_role("button", name="BERT, 2018").click()
    assert is_on(page) == []


def test_the_two_masking_rates_exclude_each_other(alone: Callable[[str], Page]) -> None:
    page = alone(html("mask_15"))
    switch(page, "mask_30").check()
    assert is_on(page) == ["mask_30"]
    switch(page, "mask_15").press("Space")
    assert is_on(page) == ["mask_15"]
    switch(page, "mask_15").uncheck()
    assert is_on(page) == []


def test_a_row_is_previewed_and_chosen_by_mouse(alone: Callable[[str], Page]) -> None:
    page = alone(html("rope"))
    row(page, "Modern without muon").hover()
    assert said(page).startswith(told(*(MODERN - {"muon"})))
    assert is_on(page) == ["rope"]
    differing = page.locator(".kl-differs label").all_text_contents()
    assert set(differing) == (MODERN - {"muon"}) ^ {"rope"}
    page.mouse.move(2, 2)
    assert said(page).startswith(told("rope")) and page.locator(".kl-differs").count() == 0
    row(page, "Modern without muon").click()
    assert set(is_on(page)) == MODERN - {"muon"}


def test_a_row_is_previewed_and_chosen_by_keyboard(alone: Callable[[str], Page]) -> None:
    page = alone(html("rope"))
    page.get_by_label("relative time").focus()
    page.keyboard.press("Tab")
    assert said(page).startswith(told("rope")), "it begins with what is chosen"
    page.keyboard.press("ArrowUp")
    assert said(page).startswith(told("geglu"))
    assert is_on(page) == ["rope"]
    page.keyboard.press("Enter")
    assert is_on(page) == ["geglu"]
    page.keyboard.press("End")
    assert said(page).startswith(told(*MODERN, "dropout"))
    active = page.get_by_role("listbox").get_attribute("aria-activedescendant")
    assert page.locator(f"#{active}").get_attribute("title") == "Modern with dropout"
    page.keyboard.press("Tab")
    assert said(page).startswith(told("geglu"))


@pytest.mark.parametrize("quantity", ["accuracy", "loss"])
def test_dots_and_intervals_are_where_the_numbers_are(
    alone: Callable[[str], Page], quantity: Literal["accuracy", "loss"]
) -> None:
    page = alone(html())
    page.get_by_label(quantity, exact=True).check()
    stored = KnockoutLab(ROWS).stored
    centers = "all => all.map(e => { const {x, width} = e.getBoundingClientRect(); return x + width / 2; })"
    low, high = (page.locator(".kl-axis span").evaluate_all(centers)[i] for i in (0, -1))
    first, last = (float(page.locator(".kl-axis span").all_text_contents()[i]) for i in (0, -1))
    for index in (0, 4, 20):
        option = page.get_by_role("option").nth(index)
        values = [
            first + (x - low) / (high - low) * (last - first)
            for x in option.locator(".kl-seed").evaluate_all(centers)
        ]
        assert values == pytest.approx(stored[index]["values"][quantity], abs=0.004 * (last - first))
        box, (mean, margin) = (
            option.locator(".kl-interval").bounding_box(),
            stored[index]["estimates"][quantity],
        )
        assert box is not None
        assert box["width"] == pytest.approx(2 * margin * (high - low) / (last - first), abs=1)
        assert box["x"] + box["width"] / 2 == pytest.approx(
            low + (mean - first) / (last - first) * (high - low), abs=1
        )


def test_the_table_has_differences_and_times(alone: Callable[[str], Page]) -> None:
    page = alone(html("rope"))
    run = next(run for run in KnockoutLab(ROWS).stored if run["on"] == ["rope"])
    shown = [text.replace("−", "-") for text in page.locator(".kl-numbers tbody td").all_text_contents()]
    numbers = [[float(part) for part in text.split("±")] for text in shown]
    bert, modern = (run["off"][end] for end in ("BERT", "Modern"))
    expected = [
        part[kind] for kind in ("accuracy", "loss", "time") for part in (run["estimates"], bert, modern)
    ]
    for found, wanted in zip(numbers, expected, strict=True):
        assert found == pytest.approx([x for x in wanted if x is not None], abs=0.006)
    page.get_by_label("relative time").check()
    assert "BERT with rope: relative time 1.02 (BERT = 1); +0.02 from BERT" in said(page)
    assert page.locator(".kl-interval:visible").count() == 1, "only the legend’s"


def test_without_a_kernel_a_combination_that_is_not_stored_names_its_neighbors(
    alone: Callable[[str], Page],
) -> None:
    page = alone(html("geglu"))
    switch(page, "rope").check()
    box = page.locator(".kl-run")
    expect(box).to_contain_text("This combination is not stored.")
    expect(box).to_contain_text("Running it needs a running notebook.")
    assert not box.get_by_role("button", name="Run").is_visible()
    assert said(page) == "BERT with geglu and rope: no run yet."
    assert box.locator(".kl-nearest").get_by_role("button").all_text_contents() == [
        "BERT with geglu",
        "BERT with rope",
    ]
    box.get_by_role("button", name="BERT with rope").press("Enter")
    assert is_on(page) == ["rope"]
    expect(page.get_by_role("listbox")).to_be_focused()  # not lost with the button


def test_names_are_those_of_python(alone: Callable[[str], Page]) -> None:
    page = alone(html())
    for on in (["geglu", "rope", "muon"], [*MODERN - {"rope", "wsd"}, "dropout"]):
        page.get_by_role("button", name="BERT, 2018").click()
        for label in on:
            switch(page, label).check()
        assert said(page) == f"{name(on)}: no run yet."


def test_live_runs_are_kept_in_the_page(alone: Callable[[str], Page]) -> None:
    page = alone(html("geglu", "rope", live=2))
    assert "two" not in said(page) and "accuracy 0.190 (one seed, just now)" in said(page)
    expect(page.locator(".kl-run")).to_contain_text("2 seeds were run here, just now")
    own = page.get_by_role("group", name="Run here, one seed each")
    assert own.locator(".kl-seed").count() == 2
    assert page.locator(".kl-live circle").count() == 6
    switch(page, "rope").uncheck()
    assert own.locator(".kl-seed").count() == 2, "beside the stored ones"
    expect(page.locator(".kl-curves")).to_contain_text("BERT with geglu and rope, one seed, just now")


@pytest.mark.parametrize("width", [375, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_and_all_can_be_read(
    alone: Callable[[str], Page], scheme: Literal["light", "dark"], width: int
) -> None:
    page = alone(html("geglu", "rope", live=1))
    page.set_viewport_size({"width": width, "height": 900})
    show_in(page, scheme)
    assert_accessible(page, ".bl")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = """all => all.filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent)"""
    assert page.locator(".kl-label, .kl-value, .kl-numbers td, .kl-numbers th").evaluate_all(cut) == []
    row(page, "Modern without rope").hover()
    assert_accessible(page, ".bl")


CELLS = [
    "from tests.every_widget import knockout_rows\nfrom bertlearn.course.widgets import KnockoutLab",
    "w = KnockoutLab(knockout_rows(), on=['geglu', 'rope'], steps=3)\nw",
]


def opened(lab: Lab, steps: int = 3) -> Notebook:
    notebook = lab.open([cell.replace("steps=3", f"steps={steps}") for cell in CELLS])
    assert notebook.run_all() == []
    return notebook


def test_a_run_is_followed_and_kept(lab: Lab) -> None:
    notebook = opened(lab)
    page = notebook.page
    shortcuts_unharmed(page, switch(page, "pre_norm"))
    shortcuts_unharmed(page, page.get_by_role("listbox"))
    notebook.expect("w.on", ["geglu", "rope"])
    page.get_by_role("button", name="Run it here").press("Enter")
    expect(page.get_by_role("button", name="■ Stop")).to_be_focused()
    expect(page.locator(".kl-progress")).to_contain_text(
        "BERT with geglu and rope: step 1 of 3", timeout=SLOW
    )
    expect(page.get_by_role("button", name="Run another seed")).to_be_visible(timeout=SLOW)
    curve = notebook.value("w.live[0]['curve']")
    assert [step for step, *_ in curve] == [1, 2, 3]
    assert f"accuracy {curve[-1][2]:.3f} (one seed, just now)" in said(page)
    assert page.locator(".kl-live circle").count() == 3
    assert not page.locator(".bl-still").is_visible()
    notebook.value("w.wait()")  # until the still is updated
    notebook.save()
    notebook.reopen(kernel=False)
    still = page.frame_locator(".bl-still iframe")
    expect(still.locator(".bl-say")).to_contain_text(f"accuracy {curve[-1][2]:.3f} (one seed, just now)")


@pytest.mark.slow
def test_a_run_that_is_stopped_while_a_cell_is_running_ends_with_the_cell(lab: Lab) -> None:
    notebook = opened(lab, steps=100_000)
    page = notebook.page
    page.get_by_role("button", name="Run it here").click()
    expect(page.locator(".kl-progress")).to_contain_text("step 1", timeout=SLOW)
    page.evaluate(
        """() => void jupyterapp.shell.currentWidget.sessionContext.session.kernel
            .requestExecute({code: "import time\\nfor _ in range(100): time.sleep(0.1)"})"""
    )
    expect(page.locator(".kl-progress")).to_contain_text("step 2", timeout=SLOW)  # also during the cell
    page.get_by_role("button", name="■ Stop").click()
    expect(page.get_by_role("button", name="Run it here")).to_be_visible(timeout=SLOW)
    assert said(page) == "BERT with geglu and rope: no run yet."
    notebook.expect("(w.running, w.live, w.problem)", [False, [], ""])
