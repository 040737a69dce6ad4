"""The verdict of a check in a narrow notebook: its lines break between words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch

from bertlearn.course.checks.attention import softmax

if TYPE_CHECKING:
    from playwright.sync_api import Page

JUPYTERLAB = "<style>pre { word-break: break-all; white-space: pre-wrap; }</style>"  # its rule for outputs
BROKEN = """() => {
    const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    const broken = [], range = document.createRange();
    for (let node; (node = walker.nextNode());)
        for (const { 0: word, index } of node.data.matchAll(/\\S+/g)) {
            range.setStart(node, index);
            range.setEnd(node, index + word.length);
            if (new Set([...range.getClientRects()].map(box => box.top)).size > 1) broken.push(word);
        }
    return broken;
}"""


@pytest.mark.parametrize("width", [400, 700])
def test_a_long_verdict_breaks_between_words(alone: Callable[[str], Page], width: int) -> None:
    def wrong(x: torch.Tensor) -> torch.Tensor:
        return x - x.sum(-1, keepdim=True)

    verdict = softmax(wrong, hint=2)
    assert max(map(len, verdict.text.splitlines())) > 120
    page = alone(f"<!doctype html><title>notebook</title>{JUPYTERLAB}<main>{verdict._repr_html_()}</main>")
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate(BROKEN) == []
    assert page.locator("pre").evaluate("e => getComputedStyle(e).fontFamily") == "monospace"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
