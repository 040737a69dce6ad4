"""Attention explorer: all heads small, one head large, a token followed both ways (chapters 1, 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets

from bertlearn.course.figures import AttentionMaps, Picture, plot_attention
from bertlearn.course.widgets.base import Widget, check_choice

SPECIAL = ("[CLS]", "[SEP]", "[PAD]")
STEPS = 65535  # a weight is sent as an integer of two bytes


class AttentionExplorer(Widget):
    """Explore the attention of one text, or of two texts or models side by side.

    `layer`, `head` and `token` can be read and set; `direction` is "to" (tokens that the token looks at) or
    "from" (tokens that look at it); `special` shows or hides [CLS], [SEP] and [PAD].
    """

    files = "attention_explorer"
    height = 960

    panels: Any = traitlets.List().tag(sync=True)  # title, tokens, second, special positions, weights
    shape = traitlets.List(traitlets.Int()).tag(sync=True)  # layers, heads
    layer = traitlets.Int().tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    token = traitlets.Int().tag(sync=True)
    direction = traitlets.Enum(["to", "from"], "to").tag(sync=True)
    special = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self,
        *maps: AttentionMaps,
        titles: Sequence[str] = (),
        layer: int = 0,
        head: int = 0,
        token: int = 0,
    ) -> None:
        """Show one or two maps, from `read_attention` or `attention_maps`.

        Args:
            maps: one or two maps with the same number of layers and heads.
            titles: a name for each map; "first" and "second" by default if there are two.
            layer, head, token: what is chosen at first, counted from 0.

        Raises:
            ValueError: there is no map, or more than two; sizes or titles do not fit; or a choice does not
                exist.
        """
        _check_maps(maps, titles)
        self.maps = maps
        titles = titles or (("",) if len(maps) == 1 else ("first", "second"))
        layers, heads = maps[0].probs.shape[:2]
        tokens = " | ".join(_sentence(each) for each in maps)
        super().__init__(
            panels=[_panel(each, title) for each, title in zip(maps, titles, strict=True)],
            shape=[layers, heads],
            layer=layer,
            head=head,
            token=token,
            description=f"Attention explorer: {layers} layers, {heads} heads; {tokens}",
        )

    def picture(self) -> Picture:
        """Return the chosen head of the first map as a heat map."""
        shown = self.maps[0]
        title = f"Attention of layer {self.layer}, head {self.head}"
        return plot_attention(shown.probs[self.layer, self.head], shown.tokens, title)

    @property
    def _limits(self) -> dict[str, int]:
        layers, heads = self.shape
        return {"layer": layers, "head": heads, "token": max(len(panel["tokens"]) for panel in self.panels)}

    @traitlets.validate("layer", "head", "token")
    def _within(self, proposal: Any) -> int:
        name = proposal["trait"].name
        return check_choice(name, proposal["value"], self._limits[name])


def _check_maps(maps: Sequence[AttentionMaps], titles: Sequence[str]) -> None:
    if len(maps) not in (1, 2):
        raise ValueError(f"{len(maps)} maps were given; expected one, or two to compare")
    if titles and len(titles) != len(maps):
        raise ValueError(f"{len(titles)} titles for {len(maps)} maps; give one for each")
    sizes = [each.probs.shape[:2] for each in maps]
    if len(set(sizes)) > 1:
        raise ValueError(f"maps of {sizes[0]} and {sizes[1]} layers and heads cannot be shown side by side")


def _panel(maps: AttentionMaps, title: str) -> dict[str, Any]:
    weights = np.rint(np.clip(maps.probs, 0, 1) * STEPS).astype("<u2")  # (L, A, S, S)
    return {
        "title": title,
        "tokens": maps.tokens,
        "second": maps.second,
        "special": [position for position, token in enumerate(maps.tokens) if token in SPECIAL],
        "weights": weights.tobytes(),
    }


def _sentence(maps: AttentionMaps, limit: int = 60) -> str:
    text = " ".join(maps.tokens)
    return text if len(text) <= limit else text[: limit - 1] + "…"
