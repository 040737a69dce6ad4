"""The tokenizer explorer in a browser: it shows the tokenizer's output for any typed text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from bertlearn import WordPieceTokenizer
from bertlearn.course.widgets import TokenizerExplorer
from bertlearn.course.widgets.tokenizer_explorer import lookups

from .lab import Lab, assert_accessible, shortcuts_unharmed, show_in

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

Alone = Callable[[str], "Page"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [*"abcdefghijklmnopqrstuvwxyzשלוםש<>/=()1"]
PIECES = ["un", "##fat", "##able", "film", "##s", "the", "mess"]
VOCAB = list(dict.fromkeys([*SPECIAL, *LETTERS, *("##" + letter for letter in LETTERS), *PIECES]))
SMALL = WordPieceTokenizer(VOCAB)
CASED = WordPieceTokenizer([*VOCAB[::-1], "##ilm"], do_lower_case=False)
HOSTILE = "<img src=x onerror=alert(1)>\n🎬 films 🎬🎬 שלום Ünfat\u200b [MASK] " + "a" * 101
CELLS = [
    "from bertlearn import WordPieceTokenizer\nfrom bertlearn.course.widgets import TokenizerExplorer\n"
    f"tokenizer = WordPieceTokenizer({VOCAB!r})",
    "w = TokenizerExplorer(tokenizer, text='the unfathomable film', word=1)\nw",
]


def texts(locator: Locator) -> list[str]:
    return [text.replace("\n", " ").strip() for text in locator.all_inner_texts()]


def pieces(page: Page | Locator, number: int = 0) -> list[list[str]]:
    """Return token, id and position of each wordpiece of one tokenizer."""
    found = page.get_by_role("listbox", name="wordpieces").nth(number).get_by_role("option")
    return [text.split("\n") for text in found.all_inner_texts()]


def expected(tokenizer: WordPieceTokenizer, text: str) -> list[list[str]]:
    encoding = tokenizer.encode(text)
    positions = ["added", *(f"{start}–{end}" for start, end in encoding.offsets[1:-1]), "added"]
    return [list(row) for row in zip(encoding.tokens, map(str, encoding.input_ids), positions, strict=True)]


def marked(page: Page, part: str) -> list[str]:
    return texts(page.locator(f"{part} .tx-marked"))


def test_the_page_shows_the_output_of_the_tokenizers(alone: Alone) -> None:
    page = alone(TokenizerExplorer(SMALL, CASED, text=HOSTILE, titles=("small", "cased")).to_html())
    for number, tokenizer in enumerate((SMALL, CASED)):
        assert pieces(page, number) == expected(tokenizer, HOSTILE)
    words = page.get_by_role("listbox", name="words")
    before = CASED.basic_tokenizer.tokenize(HOSTILE.split("[MASK]")[0])
    assert texts(words.nth(1).get_by_role("option")) == [*before, "[MASK]", "a" * 39 + "…"]
    rows = page.locator(".tx-counts tbody tr").all_inner_texts()
    encoding = SMALL.encode(HOSTILE)
    n, unknown = len(encoding.tokens) - 2, encoding.tokens.count("[UNK]")
    count = words.first.get_by_role("option").count()
    assert rows[0].split() == [
        *("small", str(len(VOCAB)), str(len(HOSTILE)), str(count), str(n), str(unknown)),
        *(f"{n / count:.2f}", str(n + 2)),
    ]
    assert page.locator("#widget img, #widget script").count() == 0
    assert page.locator(".tx-piece.tx-unknown").count() == unknown + CASED.encode(HOSTILE).tokens.count(
        "[UNK]"
    )
    assert_accessible(page, ".bl")
    show_in(page, "dark")
    assert_accessible(page, ".bl")


def test_normalization_is_shown_below_the_characters(alone: Alone) -> None:
    page = alone(TokenizerExplorer(SMALL, text="Ün e\u0301\t\u200bx 한 [MASK]").to_html())
    changes = page.locator(".tx-typed ruby").evaluate_all(
        "all => all.map(e => [e.firstChild.data, e.lastChild.textContent, e.dataset.kinds])"
    )
    assert changes == [
        ["Ü", "u", "accent case"],
        ["e\u0301", "e", "accent"],
        ["⇥", "space", "blank"],
        ["␣", "gone", "dropped"],
        ["한", "\u1112\u1161\u11ab", "taken apart"],
    ]
    assert texts(page.get_by_role("list", name="changes").get_by_role("listitem")) == [
        "ab lower case: 1",
        "ab accent dropped: 2",
        "ab decomposed: 1",
        "ab plain space: 1 (tab)",
        "ab gone: 1 (zero width space)",
    ]


def test_pieces_and_characters_point_at_each_other(alone: Alone) -> None:
    page = alone(TokenizerExplorer(SMALL, text="🎬 films שלום").to_html())
    option = page.get_by_role("listbox", name="wordpieces").get_by_role("option")
    option.nth(3).hover()
    assert marked(page, ".tx-typed") == ["s"] and marked(page, ".tx-chips")[0] == "films"
    option.nth(4).hover()
    assert marked(page, ".tx-typed") == ["ש"]
    page.locator(".tx-typed span", has_text="film").hover()
    assert [text.split()[0] for text in marked(page, ".tx-chips")] == ["films", "film"]
    option.first.hover()
    assert marked(page, ".tx-typed") == [], "[CLS] has no characters"
    option.nth(1).click()
    page.keyboard.press("ArrowRight")
    assert marked(page, ".tx-typed") == ["film"], "by keyboard as well"
    page.keyboard.press("Enter")
    assert page.locator(".tx-chosen").inner_text() == "Word 2 of 3: films"


def listed(page: Page) -> list[tuple[str, str]]:
    """Return the candidates that are listed, each with its verdict."""
    rows = page.locator(".tx-rounds li").all()
    return [(row.locator("span").first.inner_text(), row.locator("span").last.inner_text()) for row in rows]


def test_the_search_goes_step_by_step_as_the_tokenizer_searches(alone: Alone) -> None:
    page = alone(TokenizerExplorer(SMALL, text="unfats mess🎬 " + "b" * 101 + " [MASK]").to_html())
    said = page.locator(".bl-say")
    assert listed(page) == [("unfats", "?")]
    tried = list(lookups("unfats", SMALL.vocab))
    verdicts = [("✗ no" if each.id is None else f"✓ id {each.id}") for each in tried]
    page.get_by_role("button", name="Next").click()
    page.keyboard.press("ArrowRight")
    assert listed(page) == [("unfats", "✗ no"), ("unfat", "✗ no"), ("unfa", "?")]
    assert "lookup 2 of 8, “unfat” is not in the vocabulary." in said.inner_text()
    page.keyboard.press("End")
    assert listed(page) == [(each.piece, verdict) for each, verdict in zip(tried, verdicts, strict=True)]
    assert texts(page.locator(".tx-word .tx-box")) == ["un", "##fat", "##s"]
    page.get_by_role("button", name="Back").click()
    assert listed(page)[-1] == ("##s", "?")
    page.get_by_label("Looked up").press("Home")
    assert listed(page) == [("unfats", "?")]
    page.get_by_role("button", name="Play").click()
    page.get_by_text("lookup 2 of 8").wait_for()
    page.get_by_role("button", name="Pause").click()

    words = page.get_by_role("listbox", name="words")
    words.get_by_role("option").first.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_label("Looked up").press("End")
    tried = list(lookups("mess🎬", SMALL.vocab))
    assert [piece for piece, _ in listed(page)] == [each.piece for each in tried]
    assert page.locator(".tx-word").inner_text() == "mess🎬 so the whole word is [UNK]"
    assert "the whole word is unknown, even if its beginning was found" in said.inner_text()
    words.get_by_role("option").nth(2).click()
    assert "101 characters; a word of more than 100 becomes [UNK] at once." in said.inner_text()
    words.get_by_role("option").nth(3).click()
    assert "a special token, found before the text is split" in said.inner_text()


def test_a_stand_alone_page_says_what_it_cannot_do(alone: Alone) -> None:
    page = alone(TokenizerExplorer(SMALL, text="film").to_html())
    box = page.get_by_label("Text", exact=True)
    assert box.is_disabled() and box.input_value() == "film"
    assert page.locator(".bl-note").inner_text() == "typing needs a running notebook"


def test_empty_and_long_texts(alone: Alone) -> None:
    for text in ("", " \n\t "):
        page = alone(TokenizerExplorer(SMALL, text=text).to_html())
        assert [row[0] for row in pieces(page)] == ["[CLS]", "[SEP]"]
        assert page.locator(".bl-say").inner_text() == "No words: BERT would read only [CLS] and [SEP]."
    page = alone(TokenizerExplorer(SMALL, text="films " * 600).to_html())
    assert page.locator(".tx-counts td").last.inner_text() == "1202: BERT reads 512"
    page.get_by_role("listbox", name="words").get_by_role("option").first.focus()
    page.keyboard.press("End")
    assert page.locator(".tx-chosen").inner_text() == "Word 600 of 600: films"
    last = page.get_by_role("listbox", name="wordpieces").get_by_role("option").nth(1200)
    assert last.evaluate(
        "e => { const [a, b] = [e, e.parentElement].map(x => x.getBoundingClientRect());"
        "return a.top >= b.top && a.bottom <= b.bottom + 1; }"
    ), "the list has scrolled to the wordpieces of the chosen word"
    page.keyboard.press("Home")
    page.get_by_label("Looked up").press("End")
    assert listed(page)[-1] == ("##s", f"✓ id {SMALL.vocab['##s']}")


@pytest.mark.slow
def test_typing_asks_the_kernel(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    page, widget = notebook.page, notebook.page.locator(".bl")
    box = widget.get_by_label("Text", exact=True)
    box.press("Control+End")
    page.keyboard.type("s 🎬 Fähre")
    notebook.expect("w.text", "the unfathomable films 🎬 Fähre")
    widget.locator(".tx-piece", has_text="[UNK]").wait_for()
    page.wait_for_function("document.querySelector('.tx-counts td:nth-child(2)').textContent === '30'")
    assert pieces(widget) == expected(SMALL, "the unfathomable films 🎬 Fähre")
    widget.get_by_role("button", name="Next").press("ArrowRight")
    notebook.expect("(w.word, w.step)", [1, 1])
    widget.get_by_role("listbox", name="words").get_by_role("option", name="films").click()
    notebook.expect("(w.word, w.step)", [2, 0])
    widget.get_by_label("Looked up").press("End")
    notebook.expect("w.step == w.steps == 3", True)

    notebook.value("setattr(w, 'text', 'Un שלום')")
    page.wait_for_function("document.querySelector('.bl textarea').value === 'Un שלום'")
    assert pieces(widget) == expected(SMALL, "Un שלום")
    for part in (box, *(widget.get_by_role("option").all()[:3]), widget.get_by_label("Looked up")):
        shortcuts_unharmed(page, part)
    shortcuts_unharmed(page, widget.get_by_role("button", name="Next"))
    assert_accessible(page, ".bl")


@pytest.mark.slow
def test_a_text_that_is_too_long_stays_in_the_box(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    page, widget = notebook.page, notebook.page.locator(".bl")
    box, note = widget.get_by_label("Text", exact=True), widget.locator(".bl-note")
    box.fill("🎬" * 5000)
    notebook.expect("len(w.text)", 5000, seconds=120)
    expect(note).to_have_text("")
    box.press("Control+End")
    page.keyboard.type("x")
    expect(note).to_contain_text("text has 5,001 characters; at most 5,000 can be shown, so shorten it")
    assert len(box.input_value()) == 5001 and box.get_attribute("aria-invalid") == "true"
    box.fill("film")
    notebook.expect("w.text", "film")
    expect(note).to_have_text("")
    assert box.get_attribute("aria-invalid") == "false"
    page.wait_for_function("document.querySelectorAll('.tx-piece').length === 3")
    box.evaluate("e => { e.value = 'a \\ud83c'; e.dispatchEvent(new Event('input')); }")
    notebook.expect("w.text", "a \ufffd")


@pytest.mark.slow
def test_an_answer_to_another_text_is_not_shown(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    page = notebook.page
    page.evaluate(
        """() => {
            window.counts = [];
            const count = () => counts.push(document.querySelectorAll(".tx-piece").length);
            addEventListener("bl-drawn", count, true);
        }"""
    )
    notebook.value("setattr(w, 'answer', w._read('film')['answer'])")
    again = "{**found, 'panels': [{**found['panels'][0], 'title': 'again'}]}"
    notebook.value(f"[setattr(w, 'answer', {again}) for found in [w._read(w.text)['answer']]]")
    page.locator(".tx-counts th", has_text="again").wait_for()
    shown = len(SMALL.encode("the unfathomable film").tokens)
    assert page.evaluate("[...new Set(counts)]") == [shown]
