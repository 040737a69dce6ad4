"""Make what a teacher shows, prints and hands out from `teaching/chapters/`.

python tools/make_teaching.py pages [FOLDER]      decks, handouts, exam papers (default: build/teaching/)
python tools/make_teaching.py syllabus            teaching/syllabus.md, from the plans and the notebooks
python tools/make_teaching.py syllabus --check    exit with 1 if that file is not what would be written

Each page is one file that needs no network. In a deck, `s` opens the speaker's view, `t` chooses light or
dark, `?` lists the keys; with `?print-pdf` at the end of its address the browser prints a slide a page.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import material
from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from notebook_page import TEMPLATES, export, highlighting, page
from syllabus import syllabus

import notebooks as tool
from bertlearn.files import write_whole

KEYS = '<p class="keys">s: notes · t: light or dark · ?: all keys</p>'
WIDE = 65  # characters of the large type that fit in a line of a slide
# A sheet of paper: smaller text and margins than a page to read on a screen.
SHEET = """
@page { size: A4; margin: 13mm 15mm; }
main { max-width: 210mm; }
math[display="block"] { overflow: visible; }
img { display: block; margin: 0 auto; max-height: 55mm; }
@media print {
  body { font-size: 10pt; line-height: 1.4; }
  main { max-width: none; padding: 0; }
  h1, h2 { border: 0; padding: 0; break-after: avoid; }
  h1 { font-size: 18pt; margin: 0 0 0.3em; }
  h2 { font-size: 13pt; margin: 0.9em 0 0.3em; }
  p, ul, ol, table, math[display="block"] { margin: 0.5em 0; }
  table { font-size: 9pt; display: table; }
  th, td { padding: 3px 8px; }
  code, pre { font-size: 8.5pt; white-space: pre-wrap; }
  p, li, pre, table { break-inside: avoid; }
}
"""


def deck(folder: Path, notebook: NotebookNode) -> str:
    """Return a chapter's slides as a page.

    Args:
        folder: the chapter's, with its `slides.md`.
        notebook: the chapter's, with the cells that the slides refer to.
    """
    slides = material.read_slides((folder / "slides.md").read_text(encoding="utf-8"))
    cells = material.tagged(notebook)
    shown = [part for number, slide in enumerate(slides) for part in _slide(slide, cells, first=number == 0)]
    css = (TEMPLATES / "deck" / "style.css").read_text(encoding="utf-8")
    dark = highlighting('[data-theme="dark"] .highlight', "github-dark")
    styles = [_reveal("dist/reset.css"), _reveal("dist/reveal.css"), highlighting(), dark, css]
    scripts = [_in_html(_reveal(name)) for name in ("dist/reveal.js", "plugin/notes/notes.js")]
    return export(new_notebook(cells=shown), material.ROOT, "deck", css="\n".join(styles), scripts=scripts)


def _slide(slide: material.Slide, cells: dict[str, NotebookNode], first: bool) -> Iterator[NotebookNode]:
    """Yield a slide as the cells of a notebook; raw cells open and close it."""
    yield _html('<section><div class="slide">')
    texts = material.REFERENCE.split(slide.body)  # text, kind, name, text, …
    for text, kind, name in zip(texts[::3], [*texts[1::3], ""], [*texts[2::3], ""], strict=True):
        yield _markdown(text)
        if kind:
            yield _shown(kind, cells[name])
    yield _html(f'{KEYS if first else ""}</div><aside class="notes">')
    yield _markdown(slide.notes)
    yield _html("</aside></section>")


def _markdown(text: str) -> NotebookNode:
    """Return a cell whose pictures are found from the root: nbconvert embeds none from above its folder."""
    return new_markdown_cell(text.replace("](../../../", "]("))


def _html(text: str) -> NotebookNode:
    return new_raw_cell(text, metadata={"raw_mimetype": "text/html"})


def _shown(kind: str, cell: NotebookNode) -> NotebookNode:
    """Return a cell's code alone, or its outputs alone; of a widget, the still picture."""
    if kind == "code":
        return _sized(new_code_cell(cell.source), cell.source)
    outputs = from_dict([output for output in cell.outputs if _is_shown(output)])
    for output in outputs:
        if "text/html" in output.get("data", {}):
            still = re.sub(r"<iframe.*?</iframe>", "", output.data["text/html"], flags=re.DOTALL)
            output.data["text/html"] = still
    return _sized(new_code_cell("", outputs=outputs), "".join(map(_text_of, outputs)))


def _is_shown(output: NotebookNode) -> bool:
    """Return whether an output has something for a class; what only repeats a guess's result has not."""
    return bool(output.get("data") or output.get("text")) and not _text_of(output).startswith("Result: ")


def _text_of(output: NotebookNode) -> str:
    data = output.get("data", {})
    return output.get("text", data["text/plain"] if list(data) == ["text/plain"] else "")


def _sized(cell: NotebookNode, text: str) -> NotebookNode:
    """Tag a cell whose lines are long; the style sheet sets them smaller."""
    cell.metadata["tags"] = ["wide"] if any(len(line) > WIDE for line in text.splitlines()) else []
    return cell


def _reveal(name: str) -> str:
    """Return a file of reveal.js, which the package sphinx-revealjs brings."""
    package = importlib.util.find_spec("sphinx_revealjs")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "reveal.js comes with sphinx-revealjs; install it: pip install -e '.[book]'"
        )
    return (Path(package.origin).parent / "_static" / "revealjs" / name).read_text(encoding="utf-8")


def _in_html(script: str) -> str:
    """Escape what would start or end a script or a comment in a page; in a string it stays the same."""
    return re.sub(r"<(?=/?script|!--)", r"\\x3c", script)


def sheet(text: str) -> str:
    """Return Markdown of a chapter's folder as a page to print on A4."""
    return page(new_notebook(cells=[_markdown(text)]), material.ROOT, SHEET)


def paper(exam: str, title: str) -> str:
    """Return the questions of an exam, as Markdown without the marking and the variants."""
    questions = re.sub(r"^\*\*Marking:\*\*.*?(?=^## |\Z)", "", exam, flags=re.MULTILINE | re.DOTALL)
    body = re.sub(r"\A.*?(?=^## )|^## Variants.*", "", questions, flags=re.MULTILINE | re.DOTALL)
    return f"# {title}: questions\n\nName:\n\n{body.strip()}\n"


def write_pages(to: Path) -> list[Path]:
    """Write a deck, a handout and an exam paper for each chapter, and return their paths."""
    to.mkdir(parents=True, exist_ok=True)
    written = list[Path]()
    for folder in sorted(path.parent for path in material.CHAPTERS.glob("*/slides.md")):
        notebook = tool.read(material.NOTEBOOKS / f"{folder.name}.ipynb")
        exam = paper(_text(folder / "exam.md"), material.read_plan(folder / "plan.md").title)
        pages = {
            "slides": deck(folder, notebook),
            "handout": sheet(_text(folder / "handout.md")),
            "exam": sheet(exam),
        }
        for kind, html in pages.items():
            written.append(to / f"{folder.name}_{kind}.html")
            _write(written[-1], html)
    return written


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def write_syllabus(check: bool) -> int:
    """Write the syllabus, or only say whether it is stale."""
    path, text = material.CHAPTERS.parent / "syllabus.md", syllabus()
    if check and (not path.is_file() or _text(path) != text):
        print(f"{path.name} is stale: run `python tools/make_teaching.py syllabus`")
        return 1
    if not check:
        _write(path, text)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    pages = commands.add_parser("pages")
    pages.add_argument("folder", nargs="?", type=Path, default=material.ROOT / "build" / "teaching")
    commands.add_parser("syllabus").add_argument("--check", action="store_true")
    args = parser.parse_args()
    if args.command == "syllabus":
        return write_syllabus(args.check)
    for path in write_pages(args.folder):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
