"""What the widgets share: how a widget is assembled, shown, exported and described.

A widget is one .py file with its state and one .js file that draws it. Code that all of them need is in
shared.js and shared.css. Python joins the files, so there is no build step, and nothing is fetched.
A notebook shows a widget twice: first a still, which can be shown everywhere (GitHub, an untrusted notebook,
nbconvert, a notebook reopened without a kernel), then the live widget, which hides the still.
"""

from __future__ import annotations

import json
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets
from IPython.display import publish_display_data

from bertlearn.course.figures import Picture, View

_FOLDER = Path(__file__).parent
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# In a notebook reopened without its kernel, JupyterLab shows "model not found" in place of the live widget;
# the first rule hides that below a still. The second hides a still that is updated next to a live widget.
_CHILD = ".jp-OutputArea-child"
_STILL = (
    f'<div class="bl-still"><style>{_CHILD}:has(.bl-still:not([hidden])) '
    f"+ {_CHILD}:has([data-mime-type='{_WIDGET_VIEW}']):not(:has(.bl)), "
    f"{_CHILD}:has(.bl-still):has(+ {_CHILD} .bl) {{display: none}}</style>%s</div>"
)
_PATIENCE = 500  # milliseconds in which the live widget can hide the still, whose page then never runs
_EXPORT = "\nexport default { render };\n"  # the end of every module; a stand-alone page needs none
_PAGE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>%s</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'\"><style>%s</style></head>"
    '<body class="bl-page"><main id="widget"></main><script type="module">%s</script></body></html>'
)


class Widget(anywidget.AnyWidget):
    """A widget of the course; a subclass names its `files`, sets `description`, and draws its `picture`."""

    files: ClassVar[str]  # the name of the .js and .css files next to the module
    height: int = 480  # pixels of the exported page inside a notebook

    description = traitlets.Unicode().tag(sync=True)  # one sentence; the widget's name for screen readers

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Join the shared code and the class's own."""
        if "files" in cls.__dict__:
            kind = f'const KIND = "bl-{cls.files}";\n'
            cls._esm = _text("shared.js") + kind + _text(f"{cls.files}.js") + _EXPORT
            # A page can have many widgets, each with the shared rules; its own rules apply to itself only.
            cls._css = _text("shared.css") + f".bl-{cls.files} {{\n{_text(f'{cls.files}.css')}}}\n"
        super().__init_subclass__(**kwargs)

    def picture(self) -> Picture:
        """Return a static figure of what the widget shows now."""
        raise NotImplementedError(f"{type(self).__name__} has no picture")

    def to_html(self) -> str:
        """Return a stand-alone page, interactive without network and, where possible, without a kernel."""
        state = {name: value for name, value in self.get_state().items() if _is_own(name)}
        code = self._esm.removesuffix(_EXPORT) + _text("alone.js") + f"start({_json(state)});"
        return _PAGE % (_escaped(self.description), self._css, code)

    def __repr__(self) -> str:
        """Return what the widget shows, the same text at each run."""
        return f"[widget] {self.description}"

    def _ipython_display_(self) -> None:
        self._publish_still()
        reference = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        publish_display_data({_WIDGET_VIEW: reference})

    def _publish_still(self, update: bool = False) -> None:
        """Publish the still that a notebook keeps, or replace the one that was published before."""
        picture = self.picture()
        still = View(
            self.to_html(), self.description, self.height, picture.png(), delay=_PATIENCE, alt=picture.alt
        )
        data = {"text/plain": repr(self), "text/html": _STILL % still._repr_html_()}
        publish_display_data(data, transient={"display_id": self.model_id}, update=update)


class AskedWidget(Widget):
    """A widget whose page has text fields: a typed text is a question, answered by setting traits.

    A question is answered once, in one message with everything that follows from it. An invalid text changes
    nothing, and the answer says why.
    """

    asked: Any = traitlets.Dict().tag(sync=True)  # by field: number of the question, values by trait
    answered: Any = traitlets.Dict().tag(sync=True)  # by field: number of the question, what is wrong with it

    @traitlets.observe("asked")
    def _answer(self, change: Any) -> None:
        for field, (number, values) in change["new"].items():
            if self.answered.get(field, [0])[0] != number:
                with self.hold_sync():
                    problem = self._take(values)
                    self.answered = {**self.answered, field: [number, problem]}

    def _clear_problem(self, field: str) -> None:
        """Drop the problem of a text that is no longer in the field."""
        if field in self.answered:
            self.answered = {**self.answered, field: [self.answered[field][0], ""]}

    def _take(self, values: dict[str, Any]) -> str:
        """Set traits; return the problem with one of them, or "" if there is none."""
        try:
            for name, value in values.items():
                setattr(self, name, value)
        except ValueError as error:
            return str(error)
        return ""


def check_choice(name: str, value: int, count: int) -> int:
    """Return the value if it is one of 0 to count − 1.

    Raises:
        ValueError: it is not; the message states the range.
    """
    if not 0 <= value < count:
        raise ValueError(f"{name}={value} does not exist; expected 0 to {count - 1}")
    return value


@cache
def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _is_own(name: str) -> bool:
    return not name.startswith("_") and name not in ("layout", "tabbable", "tooltip")


def _json(state: dict[str, Any]) -> str:
    """Return plain values and bytes as JSON in which nothing can end a script."""
    return json.dumps(state, default=_bytes).replace("<", "\\u003c")


def _bytes(value: Any) -> dict[str, str]:
    return {"$bytes": b64encode(bytes(value)).decode()}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
