"""The pages that grading makes: templates that escape every text, with one style, without scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bertlearn.files import write_whole

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _with_code(text: str) -> Markup:
    """Return a text as HTML: what stands between two backticks is code, and nothing in it is markup."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a backtick without another one
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts)
    )


_TEMPLATES.filters["with_code"] = _with_code


def write_page(path: Path, template: str, **values: Any) -> None:
    """Write a page that needs no other file; what stands there is replaced whole.

    Args:
        path: the file to write; its folder is made.
        template: the name of a template in this folder.
        values: what the template shows.
    """
    text = _TEMPLATES.get_template(template).render(**values)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))
