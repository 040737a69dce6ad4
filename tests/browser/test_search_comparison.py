"""The search comparison in a browser: rankings, what matched, and documents that several searches found."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from bertlearn.course.searching import Match, Part, WordSearch
from bertlearn.course.widgets import SearchComparison

from .lab import Lab, assert_accessible, shortcuts_unharmed, show_in

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

Alone = Callable[[str], "Page"]
TEXTS = ["Three blind men rob a bank.", "A heist without a plan.", "Two women open a bank.", "Music only."]
TITLES = ["Aankhen", "Heist", "Bank", "Song"]
HOSTILE = "<img src=x onerror=alert(1)> </script><script>alert(2)</script> שלום \u202e🎬 " + "a" * 500
CELLS = [
    "from bertlearn.course.searching import WordSearch\n"
    "from bertlearn.course.widgets import SearchComparison\n"
    f"texts, titles = {TEXTS!r}, {TITLES!r}",
    "systems = {'words': WordSearch(texts), 'again': WordSearch(texts)}\n"
    "w = SearchComparison(systems, texts, titles, queries=['blind bank', 'music'])\nw",
]


class Fixed:
    """A search that finds the same documents for each query."""

    def __init__(self, *found: Match) -> None:
        self.found = list(found)

    def search(self, query: str, k: int = 10) -> list[Match]:
        return self.found[:k]


def comparison() -> SearchComparison:
    parts = [
        Part("robbery", 0.6, None, None),
        Part("bank", 0.3, 22, 26),
        Part("thief", 0.06, None, None),
        Part("Three", 0.04, 0, 5),
    ]
    weights = Fixed(Match(1, 9.5, [Part("plan", 1.0, 18, 22)]), Match(0, 7.125, parts))
    systems = {"words": WordSearch(TEXTS), "weights": weights, "none": Fixed()}
    return SearchComparison(systems, TEXTS, TITLES, ["blind bank", "music"], k=3)


def column(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("listbox", name=f"found by {name}").get_by_role("option")


def titles(found: Locator) -> list[str]:
    return found.locator(".sc-title").all_inner_texts()


def pointed(page: Page) -> list[str]:
    selected = page.locator(".sc-pointed[aria-selected=true] .sc-title").all_inner_texts()
    assert page.locator(".sc-document[aria-selected=true]").count() == len(selected)
    return selected


def test_the_rankings_and_what_matched(alone: Alone) -> None:
    page = alone(comparison().to_html())
    words, weights = column(page, "words"), column(page, "weights")
    assert titles(words) == ["Aankhen", "Bank"] and titles(weights) == ["Heist", "Aankhen"]
    assert words.locator("mark").all_inner_texts() == ["blind", "bank", "bank"]
    second = weights.nth(1)
    assert second.locator(".sc-head").inner_text().split() == ["2", "Aankhen", "7.13"]
    assert second.locator(".sc-excerpt").inner_text() == TEXTS[0]
    marks = second.locator("mark").evaluate_all("all => all.map(e => [e.textContent, e.className, e.title])")
    assert marks == [
        ["Three", "sc-mark sc-1", "4 % of the score"],
        ["bank", "sc-mark sc-3", "30 % of the score"],
    ]
    assert second.locator(".sc-added").text_content() == "+ added: robbery, thief"
    assert second.locator(".sc-others").inner_text() == "also words rank 1"
    assert weights.first.locator(".sc-added, .sc-others").count() == 0
    assert page.locator(".sc-column", has_text="none").inner_text().split("\n")[-1] == "Nothing found."
    said = page.locator(".bl-say").inner_text()
    assert "3 documents are shown, none of them found by all 3 searches" in said
    assert "Nothing was found by none." in said
    assert_accessible(page, ".bl")
    show_in(page, "dark")
    assert_accessible(page, ".bl")


def test_strength_is_seen_without_color(alone: Alone) -> None:
    page = alone(comparison().to_html())
    weak, strong = column(page, "weights").nth(1).locator("mark").all()
    style = "e => { const s = getComputedStyle(e); return [s.borderBottomWidth, s.fontWeight]; }"
    assert (weak.evaluate(style), strong.evaluate(style)) == (["1px", "400"], ["3px", "700"])


def test_a_document_is_marked_in_every_ranking(alone: Alone) -> None:
    page = alone(comparison().to_html())
    said = page.locator(".bl-say")
    column(page, "weights").nth(1).hover()
    assert pointed(page) == ["Aankhen", "Aankhen"]
    assert said.inner_text() == (
        "“Aankhen”. words: rank 1 (blind 63 %, bank 37 %); "
        "weights: rank 2 (robbery 60 %, bank 30 %, thief 6 %); none: not found."
    )
    page.mouse.move(0, 0)
    assert pointed(page) == [] and "Point at a document" in said.inner_text()

    column(page, "words").first.focus()
    assert pointed(page) == ["Aankhen", "Aankhen"]
    for key, expected in (
        ("ArrowDown", ["Bank"]),
        ("ArrowDown", ["Bank"]),
        ("ArrowRight", ["Aankhen", "Aankhen"]),
        ("ArrowRight", ["Aankhen", "Aankhen"]),
        ("ArrowUp", ["Heist"]),
        ("ArrowDown", ["Aankhen", "Aankhen"]),
        ("ArrowLeft", ["Bank"]),
    ):
        page.keyboard.press(key)
        assert pointed(page) == expected, key
    assert page.locator(".sc-document[tabindex='0']").count() == 2, "one in the tab order of each ranking"
    page.keyboard.press("Tab")
    assert pointed(page) == ["Aankhen", "Aankhen"], "where the focus was in that ranking"


def test_examples_can_be_chosen_in_a_stand_alone_page(alone: Alone) -> None:
    page = alone(comparison().to_html())
    box = page.get_by_label("Query")
    assert box.is_disabled() and box.input_value() == "blind bank"
    assert page.get_by_role("button", name="Search", exact=True).is_disabled()
    assert page.locator(".bl-note").inner_text() == "typing needs a running notebook"
    example = page.get_by_role("button", name="music")
    example.focus()
    page.keyboard.press("Enter")
    assert titles(column(page, "words")) == ["Song"] and box.input_value() == "music"
    assert example.get_attribute("aria-pressed") == "true"
    assert page.get_by_role("button", name="blind bank").get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="blind bank").click()
    assert titles(column(page, "words")) == ["Aankhen", "Bank"]


def test_hostile_texts_are_only_text(alone: Alone) -> None:
    text, title = HOSTILE * 10, "<img src=x onerror=alert(1)>" + "a" * 90
    at = text.index("שלום")
    parts = [Part("<img>", 0.5, None, None), Part("שלום", 0.3, at, at + 4), Part(HOSTILE, 0.2, None, None)]
    systems = {HOSTILE: Fixed(Match(0, 1.0, parts)), "words": WordSearch([text])}
    page = alone(SearchComparison(systems, [text], [title], [HOSTILE[:290], "alert"]).to_html())
    assert page.locator("#widget img, #widget script").count() == 0
    assert page.locator(".sc-title").first.inner_text() == title[:79] + "…"
    assert "\u202e" not in page.locator("#widget").inner_text()
    assert page.locator("mark").first.inner_text() == "שלום"
    page.get_by_role("button", name="alert", exact=True).click()
    page.locator(".sc-document").first.hover()
    assert "(<img> 50 %, \u2068שלום\u2069 30 %, " in page.locator(".bl-say").inner_text()
    for width in (1000, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(
            "document.querySelector('.bl').scrollWidth <= document.querySelector('.bl').clientWidth"
        )
    assert_accessible(page, ".bl")


def test_columns_are_stacked_in_a_narrow_window(alone: Alone) -> None:
    page = alone(comparison().to_html())
    for width, lines in ((1000, 1), (400, 3)):
        page.set_viewport_size({"width": width, "height": 900})
        narrow = re.compile(r"\bbl-narrow\b")
        card = expect(page.locator(".bl"))
        card.to_have_class(narrow) if width < 680 else card.not_to_have_class(narrow)
        tops = page.locator(".sc-column").evaluate_all("all => all.map(e => e.getBoundingClientRect().top)")
        assert len(set(tops)) == lines
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.slow
def test_typing_asks_the_kernel(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    page, widget = notebook.page, notebook.page.locator(".bl")
    box, note = widget.get_by_label("Query"), widget.locator(".bl-note")
    box.fill("a plan")
    box.press("Enter")
    notebook.expect("w.query", "a plan")
    expect(column(widget, "words").locator(".sc-title")).to_have_text(["Heist"])
    assert pointed(page) == []
    box.fill("music 🎬")
    widget.get_by_role("button", name="Search", exact=True).click()
    notebook.expect("w.query", "music 🎬")
    expect(column(widget, "again").locator(".sc-title")).to_have_text(["Song"])

    box.fill(" ")
    box.press("Enter")
    expect(note).to_contain_text("query is empty, expected at least one character")
    assert box.get_attribute("aria-invalid") == "true" and titles(column(widget, "words")) == ["Song"]
    notebook.expect("w.query", "music 🎬")
    widget.get_by_role("button", name="blind bank").click()
    notebook.expect("w.query", "blind bank")
    expect(note).to_have_text("")
    expect(box).to_have_value("blind bank")
    expect(column(widget, "words").locator(".sc-title")).to_have_text(["Aankhen", "Bank"])

    notebook.value("setattr(w, 'query', 'women')")
    expect(box).to_have_value("women")
    expect(column(widget, "words").locator(".sc-title")).to_have_text(["Bank"])
    for part in (box, widget.get_by_role("button", name="music"), column(widget, "words").first):
        shortcuts_unharmed(page, part)
    assert_accessible(page, ".bl")
