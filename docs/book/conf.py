"""Sphinx's configuration of the book; `tools/make_book.py` assembles the sources and runs Sphinx."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]
from make_book import launchers  # noqa: E402

project, author, language = "bertlearn", "", "en"
html_title = "bertlearn"
html_show_copyright = False

extensions = [
    "myst_nb",
    "sphinx-mathjax-offline",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]

# The notebooks: with their own outputs, and with Markdown as JupyterLab shows it.
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, Any] = {}  # would be fetched from another host; the stills need no script
myst_enable_extensions = ["dollarmath", "attrs_inline"]
myst_heading_anchors = 4
smartquotes_action = "D"  # quotes stay as they are; the reference has -- for a dash
FOLDS = {"above-input": "Show the code", "below-input": "Show the result"}  # where a fold is: what it hides

# The reference.
default_role = "code"  # of a name in backticks
autodoc_member_order = "bysource"
add_module_names = False
toc_object_entries = False  # hundreds of names, which the navigation of every page would hold

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_js_files = ["book.js"]
html_favicon = "static/icon.svg"
html_context = {"default_mode": "auto"}  # light or dark as the system is
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],  # the sidebar has a field for the search
    "max_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,  # see `add_download`
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
    **launchers(os.environ.get("BERTLEARN_REPOSITORY", ""), os.environ.get("BERTLEARN_HUB", "")),
}


def setup(app: Sphinx) -> None:
    """Add what the settings above cannot express."""
    app.add_node(HideCodeCellNode, override=True, html=(open_fold, close_fold))
    app.connect("doctree-read", describe_pictures)
    app.connect("autodoc-process-docstring", as_written)
    app.connect("autodoc-process-signature", readable)
    app.connect("html-page-context", add_download, priority=502)  # after the theme's buttons


def open_fold(writer: Any, node: nodes.Element) -> None:
    """Begin a fold with the words that the course uses elsewhere."""
    (place,) = node["classes"]
    writer.body.append(f'<details class="fold"><summary>{FOLDS[place]}</summary>\n')


def close_fold(writer: Any, node: nodes.Element) -> None:
    """End it."""
    writer.body.append("</details>\n")


def describe_pictures(app: Sphinx, tree: nodes.document) -> None:
    """Give each picture of a cell its alt text, which myst-nb leaves out."""
    for cell in tree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code":
            alts = cell["cell_metadata"].get("alts", [])
            for picture, alt in zip(cell.findall(nodes.image), alts, strict=True):
                picture["alt"] = alt


def as_written(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep aligned columns of a docstring as they are, and asterisks: docstrings here use only backticks."""
    text = re.sub(r"(`[^`]*`)|\*", lambda found: found[1] or r"\*", "\n".join(lines))
    blocks = [
        "::\n\n" + re.sub("^", "   ", block, flags=re.MULTILINE).replace(r"\*", "*")
        if re.search(r"^\S+(, …)? {2,}\S", block, re.MULTILINE)
        else block
        for block in text.split("\n\n")
    ]
    lines[:] = [] if text.startswith("Alias for field number") else "\n\n".join(blocks).split("\n")


def readable(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Write ... for a default such as <factory>, which is no Python: Sphinx would show all of it as it is."""
    return signature and re.sub(r"(?<= )<.*?>+(?=[,)])", "...", signature), returns


def add_download(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: object) -> None:
    """Offer each chapter's notebook for download."""
    if page.startswith("notebooks/"):
        button = {
            "type": "link",
            "url": f"{context['pathto']('_sources', 1)}/{page}.ipynb",
            "text": "Notebook",
            "tooltip": "Download this notebook",
            "icon": "fas fa-download",
            "label": "download",
        }
        context["header_buttons"].insert(0, button)
