"""A notebook as one stand-alone HTML page, which needs no network, no kernel and no other file.

The results of predictions are folded until the reader opens them; formulas are MathML; pictures are embedded;
widgets are there as far as they work without a kernel. The template and its style sheet are in `page/`.
"""

from __future__ import annotations

import re
import sys
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import pass_context
from jinja2.runtime import Context
from mathml import to_mathml
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

TEMPLATES = Path(__file__).resolve().parent
# Not the live view of a widget, which needs its kernel; its still comes as an output of its own.
DISPLAYED = ["image/svg+xml", "text/html", "text/markdown", "image/png", "image/jpeg", "text/plain"]
_CHAPTER = re.compile(r"^(\d\d_\w+)\.ipynb(?=#|$)")


class Renderer(IPythonRenderer):
    """Markdown as HTML with formulas as MathML, and links to chapters as links to their pages."""

    def inline_math(self, body: str) -> str:
        return _formula(body, display=False)

    def block_math(self, body: str) -> str:
        return _formula(body, display=True)

    def block_html(self, html: str) -> str:
        # nbconvert repairs HTML to embed its pictures, which would close the first half of a <details>.
        return super().block_html(html) if "<img" in html else html

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, _CHAPTER.sub(r"\1.html", url), title)


def _formula(tex: str, display: bool) -> str:
    """Return a formula as MathML, or as TeX if it has something that is not known, and say so."""
    try:
        return to_mathml(tex, display)
    except ValueError as error:
        print(f"a formula stays TeX, as {error}: {' '.join(tex.split())}", file=sys.stderr)
        return f'<code class="tex">{escape(tex)}</code>'


class PageExporter(HTMLExporter):
    """nbconvert's exporter with our template, which loads nothing."""

    @property
    def default_config(self) -> Config:
        config = Config(
            {
                "NbConvertBase": {"display_data_priority": DISPLAYED},
                "TemplateExporter": {"exclude_input_prompt": True, "exclude_output_prompt": True},
            }
        )
        base = super().default_config
        base.merge(config)
        return base

    @pass_context
    def markdown2html(self, context: Context, source: str) -> str:
        metadata = context.get("resources", {}).get("metadata", {})
        renderer = Renderer(
            escape=False,
            embed_images=True,
            path=metadata.get("path", ""),
            exclude_anchor_links=True,
            attachments=context.get("cell", {}).get("attachments", {}),
        )
        return MarkdownWithMath(renderer=renderer).render(source)


def page(notebook: NotebookNode, folder: Path, style: str = "") -> str:
    """Return a notebook as a page.

    Args:
        notebook: with its outputs.
        folder: the notebook's, in which the pictures of its Markdown are.
        style: further rules for its style sheet.
    """
    return export(notebook, folder, "page", page_css=_style() + style)


def export(notebook: NotebookNode, folder: Path, template: str, **resources: Any) -> str:
    """Return a notebook in one of the templates beside this file, which gets these resources."""
    resources["metadata"] = {"path": str(folder), "name": title(notebook)}
    exporter = PageExporter(template_name=template, extra_template_basedirs=[str(TEMPLATES)])
    shown = nbformat.from_dict(notebook)
    for cell in shown.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not _needs_a_kernel(output)]
    text, _ = exporter.from_notebook_node(shown, resources)
    return text


def _needs_a_kernel(output: NotebookNode) -> bool:
    return "data" in output and not set(output.data) & set(DISPLAYED)


def _style() -> str:
    """Return the page's style sheet and the colors of code, for light and for dark."""
    light, dark = highlighting(), highlighting(style="github-dark")
    page_css = (TEMPLATES / "page" / "style.css").read_text(encoding="utf-8")
    own = ".highlight.highlight { background: var(--panel); color: var(--text); }"
    return f"{page_css}{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}\n"


def highlighting(selector: str = ".highlight", style: str = "default") -> str:
    """Return the colors of code in what a selector finds."""
    return HtmlFormatter(style=style).get_style_defs(selector)


def title(notebook: NotebookNode) -> str:
    """Return the first heading."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"^# +(.+)$", cell.source, re.MULTILINE)):
            return found[1].strip()
    return "bertlearn"
