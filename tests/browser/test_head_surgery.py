"""Head surgery in a browser: heads and edges by pointer and by keyboard, typed sentences, no kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

from bertlearn import BertConfig, BertForSequenceClassification, WordPieceTokenizer
from bertlearn.course.widgets import HeadSurgery
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS

from .lab import Lab, assert_accessible, shortcuts_unharmed

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CELLS = [
    "from tests.browser.test_head_surgery import small_surgery",
    "w = small_surgery()\nw",
]
WORDS = ["not", "a", "bad", "good", "film", "<", ">", "/", "b", "שלום"]
IDLE = "document.querySelector('.bl').getAttribute('aria-busy') === 'false'"


def small_surgery(text: str = "not a bad film") -> HeadSurgery:
    """Return the widget of a model with random weights, and labels that look like HTML."""
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS])
    config = BertConfig.preset("tiny", vocab_size=tokenizer.vocab_size, id2label={0: "<i>bad</i>", 1: "good"})
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return HeadSurgery(model, tokenizer, text)


def head(page: Page, layer: int, number: int) -> Locator:
    return page.get_by_role("grid", name="all heads").get_by_role("gridcell").nth(2 * layer + number)


def said(page: Page) -> str:
    page.wait_for_function(IDLE)
    return page.get_by_role("status").inner_text()


def test_heads_and_edges_by_pointer(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    page = notebook.page
    head(page, 1, 0).click()
    notebook.expect("(w.layer, w.head, w.off)", [1, 0, []])
    head(page, 1, 0).click()
    notebook.expect("w.off", [[1, 0]])
    assert "off" in (head(page, 1, 0).get_attribute("aria-label") or "")
    page.get_by_label("off", exact=True).uncheck()
    notebook.expect("w.off", [])
    page.locator(".hs-map").scroll_into_view_if_needed()
    box = page.locator(".hs-map").bounding_box()
    assert box
    page.mouse.click(box["x"] + 2.5 * box["width"] / 6, box["y"] + 4.5 * box["height"] / 6)
    notebook.expect("w.cut", [[1, 0, 4, 2]])
    assert "“film” (4) looks at “a” (2): cut" in said(page)
    now = notebook.value("(w.logits[1] - w.logits[0]).item()")
    assert f"now {now:.2f}".replace("-", "−") in page.locator(".hs-key").inner_text()
    page.get_by_role("button", name="heal layer 1, head 0: “film” (4) → “a” (2)").click()
    notebook.expect("w.cut", [])
    head(page, 0, 1).click()
    head(page, 0, 1).click()
    notebook.expect("w.off", [[0, 1]])
    page.get_by_role("button", name="Heal all").click()
    notebook.expect("w.off", [])
    notebook.expect("w.head", 0)
    head(page, 0, 1).click()
    notebook.value("setattr(w, 'cut', [[0, 1, 4, key] for key in (0, 1, 3, 4, 5)])")
    page.locator(".hs-cut").nth(4).wait_for()
    page.locator(".hs-cell").press("Enter")
    assert "“film” (4) has no other edge left; leave one" in said(page)
    assert notebook.value("len(w.cut)") == 5
    assert_accessible(page, ".bl")
    notebook.set_theme("JupyterLab Dark")
    assert_accessible(page, ".bl")


@pytest.mark.slow
def test_heads_edges_and_sentences_by_keyboard(lab: Lab) -> None:
    notebook = lab.open(CELLS)
    assert notebook.run_all() == []
    page = notebook.page
    head(page, 0, 0).focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Space"):
        page.keyboard.press(key)
    notebook.expect("(w.layer, w.head, w.off)", [1, 1, [[1, 1]]])
    page.get_by_role("grid", name="edges of layer 1, head 1").get_by_role("gridcell").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    notebook.expect("w.cut", [[1, 1, 2, 3]])
    page.keyboard.press("Space")
    notebook.expect("w.cut", [])
    field = page.get_by_label("Sentence")
    field.fill("good film")
    page.keyboard.press("Enter")
    field.fill("שלום 🎬 <b>good</b>")
    page.keyboard.press("Enter")
    notebook.expect("w.text", "שלום 🎬 <b>good</b>")
    assert said(page).startswith("The model says") and field.input_value() == "שלום 🎬 <b>good</b>"
    assert page.locator(".hs-words tbody th").all_inner_texts() == notebook.value("w.tokens[1:-1]")
    field.fill("film " * 70)
    page.keyboard.press("Enter")
    notebook.expect("w.answered['text'][1]", "the text has 72 tokens; shorten it to at most 64")
    assert said(page).startswith("Cannot read it: the text has 72 tokens")
    notebook.value("setattr(w, 'text', 'bad')")
    page.wait_for_function("document.querySelector('.hs-words tbody').rows.length === 1")
    assert said(page).startswith("The model says")
    shortcuts_unharmed(page, head(page, 1, 1))
    shortcuts_unharmed(page, page.locator(".hs-cell"))
    shortcuts_unharmed(page, page.get_by_label("Layer", exact=True))
    assert (notebook.value("w.off"), notebook.value("w.cut")) == ([[1, 1]], [])


def test_without_a_kernel_heads_can_be_explored_but_not_cut(alone: Callable[[str], Page]) -> None:
    widget = small_surgery()
    page = alone(widget.to_html())
    whole = widget.base_logits[1] - widget.base_logits[0]
    for layer, number in ((1, 0), (0, 1)):
        head(page, layer, number).click()
        effect = widget.effects[layer, number]
        key = page.locator(".hs-key").inner_text()
        assert (
            f"only layer {layer}, head {number} off {whole + effect:.2f} ({effect:+.2f})".replace("-", "−")
            in key
        )
    head(page, 0, 1).click()
    page.locator(".hs-cell").press("Enter")
    assert (
        page.get_by_role("status").inner_text().endswith("Switching off and cutting need a running notebook.")
    )
    assert page.locator(".hs-head.hs-off, .hs-cut").count() == 0
    assert page.get_by_label("Sentence").is_disabled() and page.get_by_label("off", exact=True).is_disabled()
    assert page.locator(".hs-labels th[scope=row]").all_inner_texts() == ["<i>bad</i>", "good"]
    assert_accessible(page, ".bl")


def test_a_kernel_that_is_busy_with_a_cell_is_waited_for(alone: Callable[[str], Page]) -> None:
    call = "render({ model, el: document"
    html = small_surgery().to_html().replace("alone: true", "alone: false")
    page = alone(html.replace(call, f"window.model = model; {call}"))
    for _ in range(2):
        head(page, 0, 1).click()
    status = page.get_by_role("status")
    assert status.inner_text() == "The model is computing …"
    page.get_by_text("Waiting for the cell that is running").wait_for()
    page.evaluate("model.set('outcome', { ...model.get('outcome'), off: [[0, 1]] })")
    assert status.inner_text().startswith("The model says")
    assert page.evaluate(IDLE)


@pytest.mark.parametrize("order", [1, -1])
def test_parts_of_an_answer_may_come_in_any_order(alone: Callable[[str], Page], order: int) -> None:
    call = "render({ model, el: document"
    html = small_surgery().to_html().replace(call, f"window.model = model; {call}")
    page, other = alone(html), small_surgery("good")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown"):  # to a token that the next text does not have
        page.locator(".hs-cell").press(key)
    other.cut = [[0, 0, 2, 1]]
    outcome = other.outcome | {"weights": list(other.outcome["weights"])}
    page.evaluate(
        """([parts, outcome]) => {
            outcome.weights = new DataView(Uint8Array.from(outcome.weights).buffer);
            for (const [name, value] of [...parts, ["outcome", outcome]]) window.model.set(name, value);
        }""",
        [[("cut", other.cut), ("text", "good"), ("reading", other.reading)][::order], outcome],
    )
    name = page.locator(".hs-cell").get_attribute("aria-label")
    assert name and name.startswith("“[SEP]” (2) looks at “good” (1)")
    assert page.locator(".hs-left li").all_inner_texts() == ["[CLS]", "good", "[SEP]"]
    assert page.locator(".hs-cut").count() == 1


def test_colors_follow_the_weights_and_the_effects(alone: Callable[[str], Page]) -> None:
    widget = small_surgery()
    page = alone(widget.to_html())
    reds = page.evaluate(
        """() => {
            const canvas = document.querySelector(".hs-map");
            const dots = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
            return Array.from({length: canvas.width * canvas.height}, (_, i) => dots[4 * i]);
        }"""
    )
    with torch.no_grad():
        ids = torch.tensor([widget.tokenizer.encode(widget.text).input_ids])
        weights = widget.model(ids, output_attentions=True).attentions[0][0, 0].flatten()
    expected = (255 * (1 - weights.sqrt())).tolist()  # from white to a blue without red
    assert max(abs(red - one) for red, one in zip(reds, expected, strict=True)) < 2
    strongest = page.locator(".hs-head").nth(int(abs(widget.effects).argmax()))
    assert strongest.evaluate("cell => cell.style.getPropertyValue('--tone')") == "100%"
    against = [
        cell.evaluate("cell => cell.classList.contains('hs-against')")
        for cell in page.locator(".hs-head").all()
    ]
    assert against == (widget.effects < 0).flatten().tolist()
