"""Decks and sheets in a browser: nothing overflows or is loaded, the speaker's view works, paper fits."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from .lab import ROOT, watched

sys.path.insert(0, str(ROOT / "tools"))
import make_teaching
import material

import notebooks as tool

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

STEMS = sorted(path.parent.name for path in material.CHAPTERS.glob("*/slides.md"))
MODEL = "01_attention"
# Of each slide: its number, its height, the smallest text, its pictures, and what is wider than it.
# Of a picture: by which factor it is stretched, and which share of the slide it covers.
MEASURE = """() => Reveal.getSlides().map((slide, index) => {
  Reveal.slide(index);
  const frame = slide.querySelector(".slide"), parts = [...frame.querySelectorAll("*")];
  const texts = parts.filter(part => [...part.childNodes].some(n => n.nodeType === 3 && n.data.trim()) &&
    part.checkVisibility() && !part.closest("math, sup, sub"));
  const drawn = image => {
    const scales = [image.width / image.naturalWidth, image.height / image.naturalHeight];
    return getComputedStyle(image).objectFit === "contain" ? scales.fill(Math.min(...scales)) : scales;
  };
  return {
    slide: index + 1,
    height: frame.scrollHeight,
    text: Math.min(...texts.map(part => parseFloat(getComputedStyle(part).fontSize))),
    pictures: [...frame.querySelectorAll("img")].map(image => {
      const [x, y] = drawn(image);
      return { stretched: x / y, share: x * image.naturalWidth * y * image.naturalHeight / (1280 * 720) };
    }),
    wide: parts.filter(part => part.scrollWidth > part.clientWidth + 1 && part.clientWidth &&
      getComputedStyle(part).display !== "inline").map(part => part.tagName),
  };
})"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Return a page of a reveal.js slide's size, without network; it fails if the page asks for anything."""
    with watched(browser, hosts=(), offline=True) as watch:
        page = watch.context.new_page()
        page.set_viewport_size({"width": 1280, "height": 720})
        yield page


def deck(page: Page, stem: str, tmp_path: Path, query: str = "") -> None:
    """Open a chapter's deck from a file."""
    notebook = tool.read(material.NOTEBOOKS / f"{stem}.ipynb")
    path = tmp_path / "deck.html"
    path.write_text(make_teaching.deck(material.CHAPTERS / stem, notebook), encoding="utf-8")
    page.goto(path.as_uri() + query)
    page.locator(".reveal.ready").wait_for()


def pages_of(pdf: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def background(page: Page) -> list[int]:
    color = page.evaluate("getComputedStyle(document.querySelector('.reveal-viewport')).backgroundColor")
    return list(map(int, re.findall(r"\d+", color)))


@pytest.mark.parametrize("stem", STEMS)
def test_no_slide_overflows_and_all_can_be_read(page: Page, stem: str, tmp_path: Path) -> None:
    deck(page, stem, tmp_path)
    slides = page.evaluate(MEASURE)
    assert len(slides) >= 14
    assert [slide for slide in slides if slide["height"] > 720] == []
    assert [slide for slide in slides if slide["text"] < 22 or slide["wide"]] == []
    pictures = [(slide["slide"], picture) for slide in slides for picture in slide["pictures"]]
    assert [found for found in pictures if abs(found[1]["stretched"] - 1) > 0.01] == []
    assert [found for found in pictures if found[1]["share"] < 1 / 3] == []


def test_what_overflows_is_seen(page: Page, tmp_path: Path) -> None:
    """The test above can fail: for a long slide, a wide word, small text, a small or a stretched picture."""
    deck(page, MODEL, tmp_path)
    page.evaluate("""() => {
      const [first, second, third, , fifth] = document.querySelectorAll(".slide");
      first.insertAdjacentHTML("beforeend", "<p>line</p>".repeat(30));
      second.insertAdjacentHTML("beforeend", `<p>${"word".repeat(99)}</p>`);
      third.insertAdjacentHTML("beforeend", '<p style="font-size:12px">small</p>' + "<p>line</p>".repeat(5));
      fifth.querySelector("img").style = "object-fit: fill; align-self: stretch";
    }""")
    first, second, third, _, fifth = page.evaluate(MEASURE)[:5]
    assert first["height"] > 720 and second["wide"] and third["text"] == 12
    assert third["pictures"][0]["share"] < 1 / 3 and fifth["pictures"][0]["stretched"] > 1.1


def test_the_speaker_sees_notes_and_the_next_slide(page: Page, tmp_path: Path) -> None:
    deck(page, MODEL, tmp_path)
    notes = page.locator("aside.notes").nth(1).text_content() or ""
    with page.context.expect_page() as popup:
        page.keyboard.press("s")
    speaker = popup.value
    page.bring_to_front()
    page.keyboard.press("ArrowRight")
    expect(speaker.locator(".speaker-controls-notes .value")).to_have_text(" ".join(notes.split()))
    upcoming = speaker.frame_locator("#upcoming-slide iframe").locator("section.present h2")
    expect(upcoming).to_have_text(page.locator("section h2").nth(1).text_content() or "no heading")
    for layout in ("default", "wide", "tall"):
        speaker.locator(".speaker-layout-dropdown").select_option(layout)
        for label in speaker.locator("#upcoming-slide .label, #speaker-layout").all():
            assert not overlap(label, upcoming), (layout, label)


def overlap(one: Locator, other: Locator) -> bool:
    a, b = one.bounding_box(), other.bounding_box()
    assert a and b
    return all(
        a[start] < b[start] + b[size] and b[start] < a[start] + a[size]
        for start, size in (("x", "width"), ("y", "height"))
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_key_chooses_light_or_dark(page: Page, tmp_path: Path, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    deck(page, MODEL, tmp_path)
    assert (min(background(page)) > 200) is (scheme == "light")
    page.keyboard.press("t")
    assert (min(background(page)) > 200) is (scheme == "dark")


def test_slides_are_numbered_and_progress_is_shown(page: Page, tmp_path: Path) -> None:
    deck(page, MODEL, tmp_path)
    page.keyboard.press("ArrowRight")
    assert page.locator(".slide-number").inner_text().split() == [
        "2",
        "/",
        str(page.evaluate("Reveal.getTotalSlides()")),
    ]
    assert page.evaluate("Reveal.getProgress()") > 0 and page.locator(".progress").is_visible()


def test_a_deck_prints_a_slide_a_page_in_light_colors(page: Page, tmp_path: Path) -> None:
    page.emulate_media(color_scheme="dark")
    deck(page, MODEL, tmp_path, "?print-pdf")
    page.locator(".pdf-page").last.wait_for()
    count = page.locator(".pdf-page").count()
    assert min(background(page)) > 200
    assert pages_of(page.pdf(prefer_css_page_size=True)) == count >= 14


@pytest.mark.parametrize("stem", STEMS)
def test_nothing_is_wider_than_the_sheet(page: Page, stem: str, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 680, "height": 1000})  # 180 mm, the width of A4 without its margins
    page.emulate_media(media="print")
    exam = make_teaching.paper(material.read_exam(material.CHAPTERS / stem / "exam.md"), stem)
    for text in (exam, (material.CHAPTERS / stem / "handout.md").read_text(encoding="utf-8")):
        path = tmp_path / "sheet.html"
        path.write_text(make_teaching.sheet(text), encoding="utf-8")
        page.goto(path.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 680


@pytest.mark.parametrize("stem", STEMS)
def test_a_handout_is_one_sheet_of_a4(page: Page, stem: str, tmp_path: Path) -> None:
    handout = (material.CHAPTERS / stem / "handout.md").read_text(encoding="utf-8")
    for text, count in ((handout, 1), (handout + "\n\nOne line more." * 40, 2)):
        path = tmp_path / "handout.html"
        path.write_text(make_teaching.sheet(text), encoding="utf-8")
        page.goto(path.as_uri())
        pdf = page.pdf(prefer_css_page_size=True)
        width, height = map(float, re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)[0])
        assert (round(width), round(height)) == (595, 842) and pages_of(pdf) == count
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
