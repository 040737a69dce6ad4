"""What all widgets share: how they are described, shown and exported."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import traitlets

from bertlearn.course.figures import AttentionMaps
from bertlearn.course.widgets import AttentionExplorer, base
from bertlearn.course.widgets.base import Widget, check_choice

Shown = Callable[[Widget], list[dict[str, Any]]]
HOSTILE = ["</script><script>alert(1)</script>", "<!--", "<img src=x onerror=alert(1)>", '"', "\n", "\u2028"]


def explorer(tokens: list[str]) -> AttentionExplorer:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.ones(len(tokens)), size=(2, 3, len(tokens))).astype(np.float32)
    return AttentionExplorer(AttentionMaps(tokens, probs))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[Widget], list[dict[str, Any]]]:
    """Return a function that displays a widget and returns the outputs' data."""

    def show(widget: Widget) -> list[dict[str, Any]]:
        outputs: list[dict[str, Any]] = []
        monkeypatch.setattr(base, "publish_display_data", lambda data, **_: outputs.append(data))
        widget._ipython_display_()
        return outputs

    return show


def test_a_widget_is_shown_as_a_still_and_as_itself(shown: Shown) -> None:
    still, live = shown(explorer(["a", "b"]))
    assert set(still) == {"text/plain", "text/html"}
    assert still["text/plain"] == "[widget] Attention explorer: 2 layers, 3 heads; a b"
    assert set(live) == {"application/vnd.jupyter.widget-view+json"}


def test_the_still_is_a_picture_where_no_script_runs_and_the_same_at_each_run(shown: Shown) -> None:
    one, other = (shown(explorer(["a", "b"]))[0]["text/html"] for _ in range(2))
    assert one == other
    bare = re.sub(r"<iframe.*</iframe>", "", one)
    assert re.search(
        r'<img alt="Heat map. Attention of layer 0, head 0[^"]*" src="data:image/png;base64,', bare
    )
    assert "<script" not in bare


def test_a_stand_alone_page_needs_no_network_and_holds_its_state() -> None:
    page = explorer(["a", "b"]).to_html()
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=|https?://(?!www\.w3\.org/2000/svg)|import\s", page)
    state = json.loads(re.search(r"start\((.*)\);</script>", page)[1])  # type: ignore[index]
    assert state["shape"] == [2, 3] and "$bytes" in state["panels"][0]["weights"]
    assert not [name for name in state if name.startswith("_")]


def test_no_token_becomes_markup() -> None:
    page, plain = explorer(HOSTILE).to_html(), explorer(["a"] * len(HOSTILE)).to_html()
    for tag in ("<script", "</script", "<!--", "<img"):
        assert page.count(tag) == plain.count(tag)


def test_shared_code_comes_once_and_first() -> None:
    module = AttentionExplorer._esm
    assert module.count("function render(") == module.count("export default") == 1
    assert module.index("function render(") < module.index("function draw(")
    assert ".bl-bar" in AttentionExplorer._css and ".ax-map" in AttentionExplorer._css


def test_a_choice_that_does_not_exist_is_refused_with_the_range() -> None:
    assert check_choice("layer", 1, 2) == 1
    for value in (-1, 2):
        with pytest.raises(ValueError, match=f"layer={value} does not exist; expected 0 to 1"):
            check_choice("layer", value, 2)


def test_a_widget_without_a_picture_says_so() -> None:
    class Bare(Widget):
        number = traitlets.Int()

    with pytest.raises(NotImplementedError, match="Bare has no picture"):
        Bare().picture()
