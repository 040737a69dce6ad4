"""Inside a head: from a query and a key to a score, a weight and the mixed values (chapter 1)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from bertlearn.course.figures import AttentionMaps, Picture, plot_matrix
from bertlearn.course.figures.figures import shortened
from bertlearn.course.widgets.base import Widget, check_choice

STEPS = 32767  # a number is sent as an integer of two bytes: how many of its head's steps it is
MOST_BYTES = 300_000  # up to here all layers are sent at once; beyond, one at a time, on request

Floats = NDArray[np.float32]


class InsideHead(Widget):
    """Follow one query and one key through a head: products, score, softmax, mixed values.

    `layer`, `head`, `query` (the token that looks), `key` (the token looked at) and `feature` (whose numbers
    are next to the strips) can be read and set.
    """

    files = "inside_head"
    height = 1250

    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    shape = traitlets.List(traitlets.Int()).tag(sync=True)  # layers, heads, features
    # by layer: vectors as bytes, and the size of a step by kind and head
    pages = traitlets.Dict().tag(sync=True)
    layer = traitlets.Int().tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    query = traitlets.Int().tag(sync=True)
    key = traitlets.Int().tag(sync=True)
    feature = traitlets.Int().tag(sync=True)

    def __init__(
        self, maps: AttentionMaps, *, layer: int = 0, head: int = 0, query: int = 0, key: int = 0
    ) -> None:
        """Show the heads of a model on one text.

        Args:
            maps: from `read_attention`, as queries, keys and values are needed.
            layer, head, query, key: what is chosen at first, counted from 0.

        Raises:
            ValueError: queries, keys or values are missing or not finite, or a choice does not exist.
        """
        self.maps = maps
        self._vectors = _vectors(maps)
        layers, heads, length, features = self._vectors.shape[1:]
        fits = 2 * self._vectors.size <= MOST_BYTES
        super().__init__(
            tokens=maps.tokens,
            shape=[layers, heads, features],
            pages={
                str(i): self._page(i)
                for i in (range(layers) if fits else [check_choice("layer", layer, layers)])
            },
            layer=layer,
            head=head,
            query=query,
            key=key,
            description=f"Inside an attention head: {layers} layers, {heads} heads, {length} tokens",
        )

    @property
    def scores(self) -> Floats:
        """How well the query matches each key, q · k / √D: floats (S,)."""
        query, key, _ = self._vectors[:, self.layer, self.head]
        return key @ query[self.query] / math.sqrt(key.shape[-1])

    @property
    def weights(self) -> Floats:
        """The softmax of the scores: floats (S,)."""
        powers = np.exp(self.scores - self.scores.max())
        return powers / powers.sum()

    @property
    def context(self) -> Floats:
        """What the query gets from this head, the values mixed by the weights: floats (D,)."""
        return self.weights @ self._vectors[2, self.layer, self.head]

    def picture(self) -> Picture:
        """Return query, key, products, value and context as strips, each divided by its largest number."""
        query, key, value = self._vectors[:, self.layer, self.head]
        looks, looked_at = self.tokens[self.query], self.tokens[self.key]
        strips = {
            f"query of {looks}": query[self.query],
            f"key of {looked_at}": key[self.key],
            "query × key": query[self.query] * key[self.key],
            f"value of {looked_at}": value[self.key],
            f"context of {looks}": self.context,
        }
        shares = np.stack([x / max(float(np.abs(x).max()), 1e-30) for x in strips.values()])
        score, weight = self.scores[self.key], self.weights[self.key]
        where, looking = f"layer {self.layer}, head {self.head}", f"“{looks}” looks at “{looked_at}”"
        title = f"{shortened(f'{looking}: score {score:.2f}, weight {weight:.3f}', 70)}\n({where}; "
        title += "each strip divided by its largest number)"
        features = [str(feature) for feature in range(shares.shape[1])]
        alt = f"Heat map, {where}. {looking} with score {score:.2f} and weight {weight:.3f}. "
        alt += f"Strips of {len(features)} numbers: {', '.join(strips)}."
        title = title.replace("$", r"\$")
        return plot_matrix(shares, list(strips), features, title, xlabel="feature", limits=(-1, 1), alt=alt)

    def _page(self, layer: int) -> dict[str, Any]:
        vectors = self._vectors[:, layer]  # (3, A, S, D)
        steps = np.maximum(np.abs(vectors).max(axis=(2, 3)) / STEPS, 1e-30)  # (3, A)
        whole = np.rint(vectors / steps[..., None, None]).astype("<i2")
        return {"steps": steps.tolist(), "vectors": whole.tobytes()}

    @traitlets.observe("layer")
    def _send_page(self, change: Any) -> None:
        if str(self.layer) not in self.pages:
            self.pages = {str(self.layer): self._page(self.layer)}

    @traitlets.validate("layer", "head", "query", "key", "feature")
    def _within(self, proposal: Any) -> int:
        layers, heads, features = self.shape
        count = len(self.tokens)
        limits = {"layer": layers, "head": heads, "query": count, "key": count, "feature": features}
        name = proposal["trait"].name
        return check_choice(name, proposal["value"], limits[name])


def _vectors(maps: AttentionMaps) -> Floats:
    """Return queries, keys and values: (3, L, A, S, D)."""
    kinds = (maps.queries, maps.keys, maps.values)
    if any(vectors is None for vectors in kinds):
        raise ValueError("the maps have no queries, keys and values; make them with read_attention(model, …)")
    vectors = np.stack([x for x in kinds if x is not None])
    if not np.isfinite(vectors).all():
        raise ValueError("queries, keys or values contain NaN or infinity; check the model's weights")
    return vectors
