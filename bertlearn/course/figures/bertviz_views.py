"""bertviz's three views of attention, offline and without its security holes (chapters 1 and 3).

bertviz (Vig 2019) draws in the browser. Its own Python code fetches d3 and jQuery from the network, writes
tokens into scripts unescaped, and gives each output a new name. Here we pass the numbers to its drawing code,
d3 and jQuery come from installed packages, tokens stay text, and a view is in an iframe that can access
neither the notebook nor the network. Where scripts may not run, a picture is shown instead.
"""

from __future__ import annotations

import html
import json
from base64 import b64encode
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import numpy as np

from bertlearn.course.figures.figures import Picture, plot_attention, plot_heads, shortened
from bertlearn.course.figures.maps import AttentionMaps, Floats
from bertlearn.course.figures.view import View

MAX_HEIGHT = 2400  # pixels; a taller view scrolls
MAX_LINES = 400_000  # of the model view, which draws every weight of every head
LABEL = {"head": 18, "model": 11, "neuron": 18}  # characters of a token; BERT's longest word has 18

_FILTERS = {
    "all": "both texts",
    "aa": "first → first",
    "ab": "first → second",
    "ba": "second → first",
    "bb": "second → second",
}
# bertviz calls require.config(…), then requirejs(["jquery", "d3"], draw). Nothing else of it is needed.
_REQUIRE = (
    "window.require = {config() {}}; window.requirejs = (names, draw) =>"
    " draw(...names.map(name => ({jquery: window.jQuery, d3: window.d3})[name]));"
)
# Unpacks the numbers into bertviz's parameters, runs its code, and scales a wide drawing to fit.
_DRAW = """
const bytes = new Int8Array(Uint8Array.from(atob(payload.numbers), c => c.charCodeAt(0)).buffer);
let offset = 0;
const unpacked = ({scales, width}) => scales.map(layer => layer.map(scale => payload.tokens.map(
    () => Array.from(bytes.subarray(offset, offset += width), number => number * scale))));
const [attn, queries, keys] = payload.arrays.map(unpacked);
const rowsOf = (array, span) => array && array.map(layer => layer.map(head => head.slice(...span)));
const part = ([rows, columns]) => ({
    left_text: payload.tokens.slice(...rows), right_text: payload.tokens.slice(...columns),
    attn: rowsOf(attn, rows).map(layer => layer.map(head => head.map(row => row.slice(...columns)))),
    queries: rowsOf(queries, rows), keys: rowsOf(keys, columns),
});
const parts = Object.entries(payload.parts).map(([name, spans]) => [name, part(spans)]);
window.bertviz_params = {...payload.options, attention: Object.fromEntries(parts)};
for (const code of payload.scripts) {
    const script = document.createElement("script");
    script.textContent = code;
    document.head.append(script);
}
const fit = () => { document.body.style.zoom = Math.min(1, innerWidth / payload.width); };
addEventListener("resize", fit);
fit();
"""
_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>%s</title>'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'\">"
    "<style>html {background: %s} body {margin: 0 8px; color: %s; font: 15px Helvetica, Arial, sans-serif}"
    " label {display: inline-block; margin: 6px 12px 6px 0} svg {overflow: visible}"
    " #vis {padding-left: %dpx} #vis text {font-size: 13px} svg > text, #placeholder {fill: %s}"
    "</style></head>"
    '<body><div id="view">%s<div id="vis"></div></div>'
    '<script>"use strict"; const payload = %s;%s</script></body></html>'
)


def head_view(maps: AttentionMaps, layer: int = 0, heads: list[int] | None = None) -> View:
    """Draw one layer's heads as lines between tokens; hover over a token, double-click a head's color.

    Args:
        maps: from `read_attention` or `attention_maps`.
        layer: the layer shown at first, counted from 0.
        heads: the heads shown at first, counted from 0; all if None.

    Raises:
        ValueError: the model has no such layer or head, or `heads` is empty.
    """
    chosen = list(range(maps.probs.shape[1])) if heads is None else list(heads)
    _check_choice(maps, layer, chosen)
    which = f"head {chosen[0]}" if len(chosen) == 1 else f"mean of {len(chosen)} heads"
    picture = plot_attention(maps.probs[layer, chosen].mean(0), maps.tokens, f"Layer {layer}, {which}")
    options = {"layer": layer, "heads": chosen, "include_layers": list(range(len(maps.probs)))}
    height = 80 + 22.5 * len(maps.tokens)
    return _view("head", maps, options, picture, (500, height))


def model_view(maps: AttentionMaps, dark: bool = False) -> View:
    """Draw all heads of all layers at once; click one to enlarge it.

    Args:
        maps: from `read_attention` or `attention_maps`.
        dark: whether to draw on black instead of white.

    Raises:
        ValueError: the view has more lines than a browser can draw.
    """
    layers, heads, tokens = maps.probs.shape[:3]
    if maps.probs.size > MAX_LINES:
        raise ValueError(
            f"{layers} layers × {heads} heads × {tokens} × {tokens} tokens are {maps.probs.size:,} lines; "
            f"a browser can draw {MAX_LINES:,} at most: shorten the text, or call plot_heads(maps.probs)"
        )
    options = {
        "display_mode": "dark" if dark else "light",
        "include_layers": list(range(layers)),
        "include_heads": list(range(heads)),
        "total_heads": heads,
    }
    height = 50 + 36 * (maps.second is not None) + max(layers * (tokens * 84 / heads + 10), 18 * tokens + 25)
    return _view("model", maps, options, plot_heads(maps.probs), (990, height))


def neuron_view(maps: AttentionMaps, layer: int = 0, head: int = 0, dark: bool = False) -> View:
    """Draw how one head's weights come from queries and keys; hover over a token, click the + next to it.

    Args:
        maps: from `read_attention`, which keeps queries and keys.
        layer: the layer shown at first, counted from 0.
        head: the head shown at first, counted from 0.
        dark: whether to draw on black instead of white.

    Raises:
        ValueError: the maps have no queries and keys, as those from `attention_maps`; or the model has no
            such layer or head.
    """
    if maps.queries is None or maps.keys is None:
        raise ValueError(
            "these maps have no queries and keys, only probabilities; make them with read_attention(model, …)"
        )
    _check_choice(maps, layer, [head])
    picture = plot_attention(maps.probs[layer, head], maps.tokens, f"Layer {layer}, head {head}")
    options = {
        "layer": layer,
        "head": head,
        "display_mode": "dark" if dark else "light",
        "bidirectional": True,
    }
    height = 140 + 26 * len(maps.tokens)
    return _view("neuron", maps, options, picture, (1075, height))


def _view(
    kind: str, maps: AttentionMaps, options: dict[str, Any], picture: Picture, size: tuple[int, float]
) -> View:
    """Return a page in which bertviz's code draws; `size` is its width and height in pixels."""
    shown = [maps.probs, maps.queries, maps.keys] if kind == "neuron" else [maps.probs]
    packed = [_packed(array) for array in shown if array is not None]
    payload = {
        "tokens": [shortened(token, LABEL[kind]) for token in maps.tokens],
        "parts": _parts(maps),
        "numbers": b64encode(b"".join(numbers for numbers, _ in packed)).decode(),
        "arrays": [shape for _, shape in packed],
        "options": options | {"root_div_id": "view", "default_filter": "all"},
        "scripts": [*_libraries(), _drawing(kind)],
        "width": size[0],
    }
    layers, heads = maps.probs.shape[:2]
    words = shortened(" ".join(maps.tokens), 80)
    title = f"{kind.capitalize()} view: {layers} layers, {heads} heads, {words}"
    colors = ("black", "#ccc") if options.get("display_mode") == "dark" else ("white", "black")
    text = json.dumps(payload).replace("<", "\\u003c")  # "<" occurs in strings only; none may end the script
    margin = 0 if kind == "model" else 40  # room for tokens longer than bertviz's boxes
    page = _PAGE % (html.escape(title), *colors, margin, colors[1], _choices(kind, maps), text, _DRAW)
    return View(page, title, round(min(size[1], MAX_HEIGHT)), picture.png(), size[0], alt=picture.alt)


def _packed(array: Floats) -> tuple[bytes, dict[str, Any]]:
    """Round (L, A, S, N) to bytes, −127 to 127 times a scale per head, which is precise enough for colors."""
    scales = np.abs(array).max(axis=(2, 3), keepdims=True) / 127 + np.finfo(np.float32).tiny
    numbers = np.round(array / scales).astype(np.int8).tobytes()
    digits = [[float(f"{scale:.4g}") for scale in layer] for layer in scales[:, :, 0, 0]]
    return numbers, {"scales": digits, "width": array.shape[-1]}


def _parts(maps: AttentionMaps) -> dict[str, Any]:
    """Return the rows and columns (start, end) of every filter that the view offers."""
    end = len(maps.tokens)
    if maps.second is None:
        return {"all": [[0, end], [0, end]]}
    spans = {"a": [0, maps.second], "b": [maps.second, end]}
    pairs = {name: [spans[name[0]], spans[name[1]]] for name in ("aa", "ab", "ba", "bb")}
    return {"all": [[0, end], [0, end]]} | pairs


def _choices(kind: str, maps: AttentionMaps) -> str:
    """Return the menus that bertviz's code fills and listens to."""
    menus = {"head": ["layer"], "model": [], "neuron": ["layer", "att_head"]}[kind]
    names = {"layer": "Layer", "att_head": "Head"}
    made = [f'<label>{names[menu]} <select id="{menu}"></select></label>' for menu in menus]
    if maps.second is not None:
        listed = "".join(f'<option value="{name}">{text}</option>' for name, text in _FILTERS.items())
        made.append(f'<label>Attention <select id="filter">{listed}</select></label>')
    return "".join(made)


def _check_choice(maps: AttentionMaps, layer: int, heads: list[int]) -> None:
    layers, count = maps.probs.shape[:2]
    if layer not in range(layers):
        raise ValueError(f"layer={layer} does not exist; expected 0 to {layers - 1}")
    if not heads:
        raise ValueError("heads is empty; give at least one head, or None for all of them")
    for head in heads:
        if head not in range(count):
            raise ValueError(f"head {head} does not exist; expected 0 to {count - 1}")


def _drawing(kind: str) -> str:
    """Return bertviz's code for one of its views, which takes its numbers from `window.bertviz_params`."""
    code = _text("bertviz", f"{kind}_view.js").replace("PYTHON_PARAMS", "window.bertviz_params")
    if "params = window.bertviz_params" not in code or "requirejs(['jquery', 'd3']" not in code:
        raise RuntimeError(f"bertviz {version('bertviz')} is not supported; install bertviz 1.4.1")
    return code


def _libraries() -> list[str]:
    return [_text("xstatic.pkg.jquery", "data/jquery.min.js"), _text("mpld3", "js/d3.v5.min.js"), _REQUIRE]


@cache
def _text(package: str, path: str) -> str:
    """Return a script that comes with an installed package."""
    return files(package).joinpath(path).read_text(encoding="utf-8")
