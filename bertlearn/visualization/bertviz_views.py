"""bertviz's three views of attention, without its network and its holes (chapters 1 and 3).

bertviz (Vig 2019) fetches d3 and jQuery from a CDN and writes tokens into scripts as they are. Here both come
from installed packages, tokens stay text, and a view lives in an iframe that reaches neither the notebook nor
the network. Where no script may run, its place is taken by a picture.
"""

from __future__ import annotations

import gzip
import html
import re
from base64 import b64encode
from functools import cache
from importlib.resources import files
from typing import Any

import bertviz
import bertviz.neuron_view
import numpy as np
import torch
from torch import Tensor

from bertlearn.visualization.figures import plot_heads
from bertlearn.visualization.maps import AttentionMaps

DIGITS = 4  # of a weight; bertviz writes seventeen
VECTOR_DIGITS = 1  # of a query or a key, which have many numbers and are shown as shades

_CDN = re.compile(r'<script src="https://cdnjs\.cloudflare\.com/[^"]*"></script>')
_SCRIPT = '\n<script type="text/javascript">\n'
# bertviz calls require.config(…), then requirejs(["jquery", "d3"], draw): no more of require.js is needed.
_REQUIRE = (
    "window.require = {config() {}}; window.requirejs = (names, draw) =>"
    " draw(...names.map(name => ({jquery: window.jQuery, d3: window.d3})[name]));"
)
# A page is mostly numbers: packed, it takes a third of the notebook.
_UNPACK = (
    '<!doctype html><meta charset="utf-8"><script>const bytes = Uint8Array.from(atob("%s"), c => c.charCodeAt(0));'
    'new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text()'
    ".then(page => {document.open(); document.write(page); document.close();});</script>"
)


class View:
    """A page that a notebook shows in a sandboxed iframe, with a picture for where no script may run."""

    def __init__(self, page: str, title: str, height: int, picture: bytes) -> None:
        self.page, self.title, self.height, self.picture = page, title, height, picture

    def __repr__(self) -> str:
        """Return what it shows; the same at each run."""
        return f"[view] {self.title}"

    def _repr_html_(self) -> str:
        """Return the iframe over the picture: whoever takes out the iframe leaves the picture."""
        title = html.escape(self.title)
        picture = f"data:image/png;base64,{b64encode(self.picture).decode()}"
        frame = html.escape(_UNPACK % b64encode(gzip.compress(self.page.encode(), mtime=0)).decode())
        return (
            f'<div style="position:relative;min-height:{self.height}px">'
            f'<img alt="{title}" src="{picture}" style="max-width:100%">'
            f'<iframe sandbox="allow-scripts" title="{title}" srcdoc="{frame}" '
            'style="position:absolute;inset:0;width:100%;height:100%;border:0;background:white"></iframe></div>'
        )


def head_view(maps: AttentionMaps, layer: int = 0, heads: list[int] | None = None) -> View:
    """Draw one layer's heads as lines between tokens; hover over a token, click a head's color.

    Args:
        maps: from `read_attention` or `attention_maps`.
        layer, heads: what is chosen at first; all heads if None.
    """
    _check_choice(maps, layer, heads or [])
    page = bertviz.head_view(
        _tensors(maps.probs), maps.tokens, maps.second, layer=layer, heads=heads, html_action="return"
    )
    return _view(page, f"Head view: {_sizes(maps)}", maps, 90 + 24 * len(maps.tokens))


def model_view(maps: AttentionMaps, dark: bool = False) -> View:
    """Draw all heads of all layers at once; click one to enlarge it.

    Args:
        maps: from `read_attention` or `attention_maps`.
        dark: on black instead of white.
    """
    mode = "dark" if dark else "light"
    page = bertviz.model_view(
        _tensors(maps.probs), maps.tokens, maps.second, display_mode=mode, html_action="return"
    )
    return _view(page, f"Model view: {_sizes(maps)}", maps, 120 + 90 * len(maps.probs))


def neuron_view(maps: AttentionMaps, layer: int = 0, head: int = 0, dark: bool = False) -> View:
    """Draw how one head's weights come from queries and keys; click the + beside a token.

    Args:
        maps: from `read_attention`, which keeps queries and keys.
        layer, head: what is chosen at first.
        dark: on black instead of white.

    Raises:
        ValueError: maps without queries and keys, from `attention_maps`.
    """
    if maps.queries is None or maps.keys is None:
        raise ValueError(
            "these maps have no queries and keys, only probabilities; make them with read_attention(model, …)"
        )
    _check_choice(maps, layer, [head])
    stand_in: Any = _Recording(maps)
    page = bertviz.neuron_view.show(
        stand_in,
        "bert",
        stand_in,
        "a",
        None if maps.second is None else "b",
        display_mode="dark" if dark else "light",
        layer=layer,
        head=head,
        html_action="return",
    )
    return _view(page, f"Neuron view: {_sizes(maps)}", maps, 140 + 24 * len(maps.tokens))


class _Recording:
    """What bertviz's neuron view asks of a model and of a tokenizer, answered from the maps."""

    def __init__(self, maps: AttentionMaps) -> None:
        self.maps, self.parts = (
            maps,
            [maps.tokens[: maps.second], maps.tokens[maps.second or len(maps.tokens) :]],
        )
        self.cls_token, self.sep_token = maps.tokens[0], maps.tokens[-1]

    def eval(self) -> None:
        """Do nothing: the model has spoken already."""

    def tokenize(self, name: str) -> list[str]:
        """Return the first text's tokens ("a") or the second's ("b") without the special ones."""
        return self.parts[0][1:-1] if name == "a" else self.parts[1][:-1]

    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
        return list(range(len(tokens)))

    def __call__(self, ids: Tensor, token_type_ids: Tensor | None = None) -> tuple[list[dict[str, Tensor]]]:
        columns = {
            "attn": _tensors(self.maps.probs),
            "queries": _tensors(self.maps.queries, VECTOR_DIGITS),
            "keys": _tensors(self.maps.keys, VECTOR_DIGITS),
        }
        return ([dict(zip(columns, layer, strict=True)) for layer in zip(*columns.values(), strict=True)],)


def _tensors(values: Any, digits: int = DIGITS) -> list[Tensor]:
    """Return a tensor (1, A, …) a layer, of numbers that are written with few digits."""
    return [torch.from_numpy(np.round(layer[None].astype(np.float64), digits)) for layer in values]


def _sizes(maps: AttentionMaps) -> str:
    layers, heads = maps.probs.shape[:2]
    words = " ".join(maps.tokens)
    return f"{layers} layers, {heads} heads, {words if len(words) <= 80 else words[:79] + '…'}"


def _check_choice(maps: AttentionMaps, layer: int, heads: list[int]) -> None:
    layers, count = maps.probs.shape[:2]
    if layer not in range(layers):
        raise ValueError(f"layer={layer} is none of the model's; expected 0 to {layers - 1}")
    for head in heads:
        if head not in range(count):
            raise ValueError(f"head {head} is none of the model's; expected 0 to {count - 1}")


def _view(found: Any, title: str, maps: AttentionMaps, height: int) -> View:
    """Put bertviz's page together anew, with scripts that are here and cannot be broken out of."""
    text, replaced = _CDN.subn("", found.data)
    body, *scripts = text.split(_SCRIPT)  # bertviz's own words; tokens stand in the scripts alone
    if replaced != 1 or not scripts:
        raise RuntimeError(
            f"bertviz {bertviz.__version__} writes another page than expected; install bertviz 1.4.1"
        )
    libraries = [_library("xstatic.pkg.jquery", "data/jquery.min.js"), _library("mpld3", "js/d3.v5.min.js")]
    own = [script[: script.rindex("\n</script>")] for script in scripts]
    page = (
        '<!doctype html><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "script-src 'unsafe-inline'; style-src 'unsafe-inline'\"><body style=\"margin:0\">"
        f"{body}{''.join(f'<script>{_inert(script)}</script>' for script in (*libraries, _REQUIRE, *own))}"
    )
    return View(page, title, height, plot_heads(maps.probs, title="").png())


def _inert(script: str) -> str:
    """Make a script that no string in it can end: "</script>" becomes "<\\/script>", which JavaScript reads alike."""
    return re.sub(r"<(?=/|!--|script)", r"\\u003c", script, flags=re.IGNORECASE)


@cache
def _library(package: str, path: str) -> str:
    """Return a script that an installed package brings."""
    return files(package).joinpath(path).read_text(encoding="utf-8")
