"""How a verdict is shown in a notebook: as text whose lines break between words."""

from __future__ import annotations

from html import escape

_WRAPPED = "margin:0;white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere"


def as_html(text: str) -> str:
    """Return a text in a fixed width, broken between words; JupyterLab breaks plain text anywhere."""
    return f'<pre style="{_WRAPPED}">{"".join(map(_hanging, text.splitlines()))}</pre>'


def _hanging(line: str) -> str:
    """Return a line as HTML whose continuation is indented by two more characters than its beginning."""
    indent = len(line) - len(line.lstrip()) + 2
    style = f"display:block;padding-left:{indent}ch;text-indent:-{indent}ch"
    return f'<span style="{style}">{escape(line)}</span>'
