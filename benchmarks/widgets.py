"""How large are the widgets' pages, how soon are they painted, and how fast do they react?

    python -m benchmarks.widgets [--quick]

Each widget is opened in a browser as a separate page. Where it shows attention, it has random weights for
12 × 12 heads and 64 tokens (the time machine: 4 × 4 heads at four steps). First paint is the time from
opening the page to the first frame that shows the widget, median of five. A reaction is the time from an
event to the frame that shows its effect, median of all rounds. Needs Chromium.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.common import Table, keep, read_setting
from bertlearn import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    WordPieceTokenizer,
    load_plots,
)
from bertlearn.course.figures import AttentionMaps
from bertlearn.course.searching import WordSearch
from bertlearn.course.snapshots import SNAPSHOTS, Snapshot, band, history
from bertlearn.course.widgets import (
    AttentionExplorer,
    EncoderWalk,
    HeadSurgery,
    InsideHead,
    KnockoutLab,
    SearchComparison,
    SoftLookup,
    TimeMachine,
    TokenizerExplorer,
    TrainingMonitor,
    Widget,
)
from tests.browser.lab import FLAGS, find_browser, latency

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TOKENS = 64
TEXT = " ".join(["the film was a delight and the ending left us cold"] * 5)  # 55 words and [CLS], [SEP]
BLANK = '<!doctype html><p></p><script>dispatchEvent(new CustomEvent("bl-drawn"))</script>'
Act = Callable[["Page", int], None]


def press(selector: str) -> tuple[str, Act]:
    """React to arrow keys in an element, alternating down and up."""
    return "keydown", lambda page, n: page.locator(selector).first.press(("ArrowDown", "ArrowUp")[n % 2])


def slide(selector: str) -> tuple[str, Act]:
    """React to a slider that is moved with the arrow keys, left and right."""
    return "input", lambda page, n: page.locator(selector).first.press(("ArrowLeft", "ArrowRight")[n % 2])


def flip(selector: str) -> tuple[str, Act]:
    """React to a switch that the space bar turns on and off."""
    return "input", lambda page, n: page.locator(selector).first.press("Space")


def click(selector: str) -> tuple[str, Act]:
    """React to clicks on the first two of several buttons, in turns."""
    return "click", lambda page, n: page.locator(selector).nth((n + 1) % 2).click()


def random_maps(layers: int = 12, heads: int = 12, size: int = 64) -> AttentionMaps:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(TOKENS, 0.1), size=(layers, heads, TOKENS)).astype(np.float32)
    vectors = rng.normal(size=(3, layers, heads, TOKENS, size)).astype(np.float32)
    tokens = ["[CLS]", *(f"token{index}" for index in range(1, TOKENS - 1)), "[SEP]"]
    return AttentionMaps(tokens, probs, None, *vectors)


def widgets() -> dict[str, tuple[Widget, tuple[str, Act]]]:
    """Return each widget with an event and an action that triggers it."""
    torch.manual_seed(0)
    tokenizer, maps = WordPieceTokenizer.from_pretrained(SNAPSHOTS), random_maps()
    mini = BertConfig.preset("mini", vocab_size=tokenizer.vocab_size)
    sizes = {"num_hidden_layers": 12, "num_attention_heads": 12, "hidden_size": 192}
    model = BertModel(replace(mini, **sizes)).eval()
    classifier = BertForSequenceClassification.from_encoder(
        model, ["rotten", "fresh"], torch.Generator().manual_seed(0)
    )
    snapshots = [Snapshot(step, BertForMaskedLM(mini).eval(), tokenizer) for step in (0, 1000, 10000, 40000)]
    plots = [plot.text for plot in load_plots()]
    three = dict.fromkeys(("one", "two", "three"), WordSearch(plots))  # what is drawn is as long in each
    examples: list[tuple[Widget, tuple[str, Act]]] = [
        (AttentionExplorer(maps), press(".bl-tokens [aria-selected=true]")),
        (SoftLookup(), slide("input[type=range]")),
        (InsideHead(maps), press(".bl-tokens [aria-selected=true]")),
        (TokenizerExplorer(tokenizer, tokenizer, text=TEXT), press(".tx-chips [tabindex='0']")),
        (EncoderWalk(model, tokenizer, TEXT), press("[aria-selected=true]")),
        (TimeMachine(TEXT + " [MASK]", snapshots=snapshots, history=history()), slide("input[type=range]")),
        (TrainingMonitor.of_history(history(), band("breakthrough")), press("[tabindex='0']")),
        (HeadSurgery(classifier, tokenizer, TEXT), press("[role=gridcell][tabindex='0']")),
        (KnockoutLab(), flip("[role=switch]")),
        (SearchComparison(three, plots), click(".sc-example")),
    ]
    return {type(widget).__name__: (widget, reaction) for widget, reaction in examples}


def first_paint(browser: Browser, path: Path) -> float:
    """Return the ms from opening a page to the first frame that shows the widget."""
    page = browser.new_page()
    page.add_init_script(
        """addEventListener("bl-drawn", () => requestAnimationFrame(() => setTimeout(() => {
            window.painted ??= performance.now();
        })), true);"""
    )
    page.goto(path.as_uri())
    page.wait_for_function("window.painted !== undefined")
    painted = page.evaluate("window.painted")
    page.close()
    return painted


def measure(
    browser: Browser, widget: Widget, reaction: tuple[str, Act], rounds: int
) -> tuple[float, float, float]:
    """Return the size of the page in KB, the ms to its first paint, and the ms of a reaction."""
    event, act = reaction
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "widget.html"
        html = widget.to_html()
        path.write_text(html, encoding="utf-8")
        paint = statistics.median(first_paint(browser, path) for _ in range(5))
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.goto(path.as_uri())
        page.locator(".bl[data-theme]").wait_for()
        reacts = latency(page, lambda n: act(page, n), event, count=rounds)
        page.close()
    return len(html) / 1000, paint, reacts


def main() -> None:
    setting = read_setting("widgets", __doc__, ["cpu"], ["anywidget", "playwright"])
    from playwright.sync_api import sync_playwright

    raw = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        with tempfile.TemporaryDirectory() as folder:
            blank = Path(folder) / "blank.html"
            blank.write_text(BLANK, encoding="utf-8")
            paint = statistics.median(first_paint(browser, blank) for _ in range(5))
        for name, (widget, reaction) in widgets().items():
            raw[name] = measure(browser, widget, reaction, 3 if setting.quick else 15)
            print("{}: {:,.0f} KB, painted {:.0f} ms, reacts {:.0f} ms".format(name, *raw[name]), flush=True)
        name_of_browser = f"Chromium {browser.version}"
        browser.close()
    rows = [["(a blank page)", "0", f"{paint:.0f}", ""]]
    rows += [[name, *(f"{number:,.0f}" for number in numbers)] for name, numbers in raw.items()]
    columns = ["widget", "page, KB", "first paint, ms", "reaction, ms"]
    keep(setting, [Table(f"The widgets in {name_of_browser}", columns, rows)], raw)


if __name__ == "__main__":
    main()
