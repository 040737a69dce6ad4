"""The encoder walk in a browser: by pointer, by keyboard, by typing, and as a stand-alone page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import pytest
import torch

from bertlearn import BertConfig, BertModel, WordPieceTokenizer
from bertlearn.course.widgets import EncoderWalk

from .lab import Lab, assert_accessible, shortcuts_unharmed, show_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

BUILD = """
import torch
from bertlearn import BertConfig, BertModel, WordPieceTokenizer
from bertlearn.course.widgets import EncoderWalk
words = "[PAD] [UNK] [CLS] [SEP] [MASK] the cat sat light on < > / b img x ! שלום".split()
tokenizer = WordPieceTokenizer(words)
torch.manual_seed(0)
sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32}
model = BertModel(BertConfig(vocab_size=len(words), initializer_range=0.4, **sizes)).eval()
w = EncoderWalk(model, tokenizer, "the cat sat on the light", "light on", word="light")
"""


def build() -> EncoderWalk:
    scope: dict[str, EncoderWalk] = {}
    exec(BUILD, scope)
    return scope["w"]


@pytest.fixture
def walk() -> EncoderWalk:
    return build()


def details(page: Page) -> str:
    return page.get_by_label("the chosen step").inner_text()


@pytest.mark.slow
def test_in_a_notebook(lab: Lab) -> None:
    from playwright.sync_api import expect

    notebook = lab.open([BUILD, "w"])
    assert notebook.run_all() == []
    page = notebook.page
    steps = page.get_by_role("listbox", name="steps")
    steps.get_by_role("option", name="layer 0: + attention").click()
    notebook.expect("w.step", 4)
    page.keyboard.press("ArrowDown")
    notebook.expect("w.step", 5)
    page.get_by_role("listbox", name="token to follow").get_by_role("option", name="cat").click()
    notebook.expect("w.token", 2)
    page.keyboard.press("End")
    notebook.expect("w.token", 7)
    notebook.value("setattr(w, 'step', 11)")
    expect(steps.get_by_role("option", selected=True)).to_have_accessible_name("layer 1: LayerNorm")
    shortcuts_unharmed(page, steps.get_by_role("option", selected=True))
    assert_accessible(page, ".bl")


@pytest.mark.slow
def test_typing_asks_the_kernel(lab: Lab) -> None:
    from playwright.sync_api import expect

    notebook = lab.open([BUILD, "w"])
    assert notebook.run_all() == []
    page = notebook.page
    text, other = page.get_by_label("● Text"), page.get_by_label("■ Second text")
    text.fill("the")
    text.fill("<b>the light</b>")
    expect(page.get_by_role("listbox", name="token to follow").get_by_role("option")).to_have_text(
        ["[CLS]", "<", "b", ">", "the", "light", "<", "/", "b", ">", "[SEP]"]
    )
    notebook.expect("w.text", "<b>the light</b>")
    notebook.expect("w.token", 5)
    text.fill("cat " * 70)
    expect(page.get_by_text("the text has 72 tokens; shorten it to at most 64")).to_be_visible()
    assert notebook.value("w.text") == "<b>the light</b>"
    expect(text).to_have_value("cat " * 70)
    other.fill("שלום 😀 !")
    options = page.get_by_role("listbox", name="token of the second text").get_by_role("option")
    expect(options).to_have_text(["[CLS]", "שלום", "[UNK]", "!", "[SEP]"])
    other.fill("")
    expect(options).to_have_count(0)
    notebook.expect("w.other", "")
    assert "cosine between the two" not in (page.get_by_label("the chosen step").text_content() or "")
    expect(page.get_by_role("button", name="cosine of both")).not_to_be_visible()
    shortcuts_unharmed(page, text)


def test_by_keyboard_only(alone: Callable[[str], Page], walk: EncoderWalk) -> None:
    page = alone(walk.to_html())
    charts = ("cosine to start", "cosine of both", "length", "update / stream")
    for name in ("light", "light", *charts, "embeddings: word"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent || ''").endswith(name.split()[-1])
    for key, step in (("End", 11), ("ArrowUp", 10), ("PageUp", 0), ("ArrowDown", 1)):
        page.keyboard.press(key)
        assert details(page).startswith(walk.steps[step])


def test_a_stand_alone_page_shows_the_models_numbers(alone: Callable[[str], Page], walk: EncoderWalk) -> None:
    page = alone(walk.to_html())
    assert (
        page.get_by_label("● Text").is_disabled()
        and page.get_by_text("needs a running notebook").count() == 2
    )
    page.get_by_text("Numbers of this step").click()
    page.get_by_role("option", name="layer 1: + feed-forward").hover()
    (_, one, update), (_, other, other_update) = walk.streams
    (x, y), (before, other_before) = (one[10, 6], other[10, 1]), (one[9, 6], other[9, 1])
    (u, v), pair = (update[10, 6], other_update[10, 1]), torch.cosine_similarity
    expected = {
        "length": (x.norm(), y.norm()),
        "cosine to its start": (pair(x, one[0, 6], 0), pair(y, other[0, 1], 0)),
        "cosine to the step before": (pair(x, before, 0), pair(y, other_before, 0)),
        "length of the update": (u.norm(), v.norm()),
        "update / stream": (u.norm() / before.norm(), v.norm() / other_before.norm()),
        "cosine of update to stream": (pair(u, before, 0), pair(v, other_before, 0)),
        "cosine between the two": (pair(x, y, 0),),
    }
    rows = [row.split("\t") for row in page.locator("tbody tr").all_inner_texts()]
    assert rows == [[name, *(f"{number:.2f}" for number in numbers)] for name, numbers in expected.items()]
    box = page.get_by_role("img", name="cosine to start at each step").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] * 3.5 / 12)
    assert details(page).startswith("embeddings: LayerNorm")
    assert page.get_by_role("status").inner_text().startswith("embeddings: LayerNorm. “light” (6): length ")


def test_it_begins_with_two_charts_and_opens_the_others_on_demand(
    alone: Callable[[str], Page], walk: EncoderWalk
) -> None:
    page = alone(walk.to_html())
    charts = page.get_by_role("img", name="at each step")
    assert [chart.get_attribute("aria-label") for chart in charts.all()] == [
        "cosine to start at each step",
        "cosine of both at each step",
    ]
    length = page.get_by_role("button", name="length")
    length.press("Enter")
    assert length.get_attribute("aria-pressed") == "true"
    widths = [chart.evaluate("e => e.getBoundingClientRect().width") for chart in charts.all()]
    assert len(widths) == 3 and min(widths) > 50
    assert page.get_by_role("img", name="length at each step").locator(".ew-mark").first.get_attribute("d")
    length.click()
    assert not page.get_by_role("img", name="length at each step").is_visible()
    assert not page.locator(".ew-words").first.is_visible()
    page.get_by_text("Nearest rows of the word table").click()
    assert page.locator(".ew-words").first.is_visible()


def test_the_steps_stay_where_they_are(alone: Callable[[str], Page], walk: EncoderWalk) -> None:
    page = alone(walk.to_html())
    options = page.get_by_role("listbox", name="steps").get_by_role("option")
    boxes = set()
    for t in range(12):
        options.nth(t).hover()
        box = options.nth(0).bounding_box()
        assert box is not None
        boxes.add((box["x"], box["y"], box["width"]))
    assert len(boxes) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible(
    alone: Callable[[str], Page], walk: EncoderWalk, scheme: Literal["light", "dark"]
) -> None:
    page = alone(walk.to_html())
    show_in(page, scheme)
    assert page.get_by_role("listbox", name="token to follow").inner_text().split() == walk.walks[0]["tokens"]
    steps = page.get_by_role("listbox", name="steps").get_by_role("option")
    assert steps.count() == 12 and all(step.is_visible() for step in steps.all()) and details(page)
    assert_accessible(page, ".bl")


def test_tokens_are_text(alone: Callable[[str], Page], walk: EncoderWalk) -> None:
    walk.text = "<img x>"
    page = alone(walk.to_html())
    assert page.get_by_role("listbox", name="token to follow").inner_text().split() == walk.walks[0]["tokens"]
    assert page.locator(".bl img").count() == 0


def test_twelve_layers_are_drawn(alone: Callable[[str], Page]) -> None:
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cat"])
    sizes = {"hidden_size": 24, "num_hidden_layers": 12, "num_attention_heads": 3, "intermediate_size": 32}
    page = alone(EncoderWalk(BertModel(BertConfig(vocab_size=6, **sizes)), tokenizer, "cat " * 62).to_html())
    assert page.get_by_role("listbox", name="steps").get_by_role("option").count() == 52
    assert page.get_by_role("listbox", name="token to follow").get_by_role("option").count() == 64
