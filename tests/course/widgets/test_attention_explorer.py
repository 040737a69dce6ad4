"""The attention explorer's state: what it sends, what can be set, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from bertlearn.course.figures import AttentionMaps
from bertlearn.course.widgets import AttentionExplorer

TOKENS = ["[CLS]", "one", "two", "[SEP]"]


def maps(tokens: list[str] = TOKENS, layers: int = 2, heads: int = 3) -> AttentionMaps:
    rng = np.random.default_rng(len(tokens))
    probs = rng.dirichlet(np.full(len(tokens), 0.3), size=(layers, heads, len(tokens)))
    return AttentionMaps(tokens, probs.astype(np.float32))


def test_the_weights_are_sent_to_the_fourth_decimal() -> None:
    given = maps()
    panel = AttentionExplorer(given).panels[0]
    sent = np.frombuffer(panel["weights"], "<u2").reshape(given.probs.shape) / 65535
    np.testing.assert_allclose(sent, given.probs, atol=1e-5)
    assert panel["tokens"] == TOKENS and panel["special"] == [0, 3]


def test_layer_head_and_token_can_be_read_and_set() -> None:
    widget = AttentionExplorer(maps(), layer=1, head=2, token=3)
    assert (widget.layer, widget.head, widget.token) == (1, 2, 3)
    widget.layer = 0
    with pytest.raises(ValueError, match="layer=2 does not exist; expected 0 to 1"):
        widget.layer = 2
    with pytest.raises(ValueError, match="head=-1 does not exist; expected 0 to 2"):
        widget.head = -1
    with pytest.raises(ValueError, match="token=4 does not exist; expected 0 to 3"):
        AttentionExplorer(maps(), token=4)
    assert (widget.layer, widget.head) == (0, 2), "a refused value changes nothing"


def test_two_maps_stand_side_by_side() -> None:
    widget = AttentionExplorer(maps(), maps(["[CLS]", "x", "[SEP]"]), token=3)
    assert [panel["title"] for panel in widget.panels] == ["first", "second"]
    assert repr(widget) == (
        "[widget] Attention explorer: 2 layers, 3 heads; [CLS] one two [SEP] | [CLS] x [SEP]"
    )


@pytest.mark.parametrize(
    ("given", "titles", "message"),
    [
        ([], (), "0 maps were given; expected one, or two to compare"),
        ([maps()] * 3, (), "3 maps were given"),
        ([maps()], ("a", "b"), "2 titles for 1 maps; give one for each"),
        (
            [maps(), maps(layers=3)],
            (),
            r"maps of \(2, 3\) and \(3, 3\) layers and heads cannot be shown side",
        ),
    ],
)
def test_maps_that_do_not_fit_are_refused(given: list[AttentionMaps], titles: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionExplorer(*given, titles=titles)  # type: ignore[arg-type]


def test_the_picture_is_of_the_chosen_head() -> None:
    given = maps()
    widget = AttentionExplorer(given, layer=1, head=2)
    image = widget.picture().figure.axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), given.probs[1, 2], atol=1e-6)
    assert "layer 1, head 2" in widget.picture().alt
