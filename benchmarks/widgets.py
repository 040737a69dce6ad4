"""How large are the widgets' pages, how soon are they painted, and how fast do they react?

    python -m benchmarks.widgets [--rounds 15] [--json FILE]

Each widget is opened as a page of its own in a browser, with weights drawn by chance for 12 × 12 heads and 64
tokens where it shows attention (the encoder walk, the time machine and the surgery: BERT-mini's 4 × 4 heads).
First paint is the time from opening the page to the picture that has the widget in it, median of five; a
reaction the time from an event to the picture that it leads to, median of all rounds. Needs Chromium.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bertlearn import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    WordPieceTokenizer,
)
from bertlearn.ladder import LADDER, Rung, band, history
from bertlearn.visualization import AttentionMaps
from bertlearn.widgets import (
    AttentionExplorer,
    EncoderWalk,
    HeadSurgery,
    InsideHead,
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
Act = Callable[["Page", int], None]


def press(selector: str) -> tuple[str, Act]:
    """React to an arrow key in an element, down and up in turns."""
    return "keydown", lambda page, n: page.locator(selector).first.press(("ArrowDown", "ArrowUp")[n % 2])


def slide(selector: str) -> tuple[str, Act]:
    """React to a slider that is moved by keys."""
    return "input", lambda page, n: page.locator(selector).first.press(("ArrowLeft", "ArrowRight")[n % 2])


def chance_maps(layers: int = 12, heads: int = 12, size: int = 64) -> AttentionMaps:
    random = np.random.default_rng(0)
    probs = random.dirichlet(np.full(TOKENS, 0.1), size=(layers, heads, TOKENS)).astype(np.float32)
    vectors = random.normal(size=(3, layers, heads, TOKENS, size)).astype(np.float32)
    tokens = ["[CLS]", *(f"token{place}" for place in range(1, TOKENS - 1)), "[SEP]"]
    return AttentionMaps(tokens, probs, None, *vectors)


def widgets() -> dict[str, tuple[Widget, tuple[str, Act]]]:
    """Return each widget with a way to make it react."""
    torch.manual_seed(0)
    tokenizer, maps = WordPieceTokenizer.from_pretrained(LADDER), chance_maps()
    config = BertConfig.preset("mini", vocab_size=tokenizer.vocab_size)
    model = BertModel(config).eval()
    classifier = BertForSequenceClassification.from_encoder(
        model, ["rotten", "fresh"], torch.Generator().manual_seed(0)
    )
    rungs = [Rung(step, BertForMaskedLM(config).eval(), tokenizer) for step in (0, 1000, 10000, 40000)]
    made: list[tuple[Widget, tuple[str, Act]]] = [
        (AttentionExplorer(maps), press(".bl-tokens [aria-selected=true]")),
        (SoftLookup(), slide("input[type=range]")),
        (InsideHead(maps), press(".bl-tokens [aria-selected=true]")),
        (TokenizerExplorer(tokenizer, tokenizer, text=TEXT), press(".tx-chips [tabindex='0']")),
        (EncoderWalk(model, tokenizer, TEXT), press("[aria-selected=true]")),
        (TimeMachine(TEXT + " [MASK]", rungs=rungs, history=history()), slide("input[type=range]")),
        (TrainingMonitor.of_history(history(), band("breakthrough")), press("[tabindex='0']")),
        (HeadSurgery(classifier, tokenizer, TEXT), press("[role=gridcell][tabindex='0']")),
    ]
    return {type(widget).__name__: (widget, reaction) for widget, reaction in made}


def first_paint(browser: Browser, path: Path) -> float:
    """Return the ms from opening a page to the picture that has the widget in it."""
    page = browser.new_page()
    page.add_init_script(
        """addEventListener("bl-drawn", () => requestAnimationFrame(() => setTimeout(() => {
            window.painted ??= performance.now();
        })), true);"""
    )
    page.goto(path.as_uri())
    page.wait_for_function("window.painted !== undefined")
    found = page.evaluate("window.painted")
    page.close()
    return found


def measure(browser: Browser, widget: Widget, reaction: tuple[str, Act], rounds: int) -> dict[str, float]:
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
    return {"kilobytes": len(html) / 1000, "first_paint_ms": paint, "reaction_ms": reacts}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="reactions of each widget")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    found: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        print(
            f"Chromium {browser.version}\n"
            f"{'widget':20}{'page, KB':>10}{'first paint, ms':>17}{'reaction, ms':>14}"
        )
        for name, (widget, reaction) in widgets().items():
            found[name] = figures = measure(browser, widget, reaction, args.rounds)
            print(
                f"{name:20}{figures['kilobytes']:10.0f}{figures['first_paint_ms']:17.0f}{figures['reaction_ms']:14.1f}"
            )
        browser.close()
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
