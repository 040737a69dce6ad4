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
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

import material
from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_raw_cell
from notebook_page import TEMPLATES, export, highlighting, page
from syllabus import syllabus

import notebooks as tool
from bertlearn.files import write_whole

KEYS = '<p class="keys">s: notes · t: light or dark · ?: all keys</p>'
COLUMNS = 89  # characters that fit in a line of a slide, in its smallest type
PAPER = """\
# {title}: questions

Name: ______________________________

**{exam.points} points, {exam.minutes} minutes.** {exam.allowed} Each title says what its question is worth. \
Show your steps: they earn points even if the result is wrong.\
"""
# A sheet of paper: smaller text and margins than a page to read on a screen.
SHEET = """
@page { size: A4; margin: 13mm 15mm; }
main { max-width: 210mm; }
math { math-style: normal; }
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
  :not(pre) > code { padding: 0; background: none; }
  blockquote { margin: 0.5em 0; }
  p, li, pre, table, ul, ol { break-inside: avoid; }
  p:has(+ :is(table, ul, ol, .highlight)) { break-after: avoid; }
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
    css, speaker = (_text(TEMPLATES / "deck" / name) for name in ("style.css", "speaker.css"))
    dark = highlighting('[data-theme="dark"] .highlight', "github-dark")
    styles = [_reveal("dist/reset.css"), _reveal("dist/reveal.css"), highlighting(), dark, css]
    # The speaker's view is a page in a string of the plugin.
    notes = _reveal("plugin/notes/notes.js").replace("</style>", json.dumps(speaker)[1:-1] + "</style>")
    scripts = [_in_html(script) for script in (_reveal("dist/reveal.js"), notes)]
    return export(new_notebook(cells=shown), material.ROOT, "deck", css="\n".join(styles), scripts=scripts)


def _slide(slide: material.Slide, cells: dict[str, NotebookNode], first: bool) -> Iterator[NotebookNode]:
    """Yield a slide as the cells of a notebook; raw cells open and close it."""
    yield _html('<section><div class="slide">')
    texts = material.REFERENCE.split(slide.body)  # text, kind, name, text, …
    for text, kind, name in zip(texts[::3], [*texts[1::3], ""], [*texts[2::3], ""], strict=True):
        yield _markdown(text)
        if kind:
            yield from _shown(kind, cells[name])
    yield _html(f'{KEYS if first else ""}</div><aside class="notes">')
    yield _markdown(slide.notes)
    yield _html("</aside></section>")


def _markdown(text: str) -> NotebookNode:
    """Return a cell whose pictures are found from the root: nbconvert embeds none from above its folder."""
    return new_markdown_cell(text.replace("](../../../", "]("))


def _html(text: str) -> NotebookNode:
    return new_raw_cell(text, metadata={"raw_mimetype": "text/html"})


def _shown(kind: str, cell: NotebookNode) -> Iterator[NotebookNode]:
    """Yield a cell's code alone, or its outputs alone, in type that their longest line allows."""
    source, outputs = (cell.source, []) if kind == "code" else ("", _outputs(cell))
    lines = "\n".join([source, *map(_text_of, outputs)]).splitlines()
    yield _html(f'<div class="fitted" style="--columns: {max(map(len, lines), default=0)}">')
    yield new_code_cell(source, outputs=outputs)
    yield _html("</div>")


def _outputs(cell: NotebookNode) -> list[NotebookNode]:
    """Return the outputs that a class is shown: pictures alone if there are any, of a widget its still."""
    outputs = [output for output in from_dict(cell.outputs) if _is_shown(output)]
    shown = [output for output in outputs if _is_picture(output)] or outputs
    for output in shown:
        if "text" in output:
            output.text = "".join(map(_folded, output.text.splitlines()))
        elif "text/html" in output.data:
            still = re.sub(r"<iframe.*?</iframe>", "", output.data["text/html"], flags=re.DOTALL)
            output.data["text/html"] = still
    return shown


def _is_shown(output: NotebookNode) -> bool:
    """Return whether an output has something for a class; what only repeats a guess's result has not."""
    return bool(output.get("data") or output.get("text")) and not _text_of(output).startswith("Result: ")


def _is_picture(output: NotebookNode) -> bool:
    data = output.get("data", {})
    return "image/png" in data or "<img" in data.get("text/html", "")


def _text_of(output: NotebookNode) -> str:
    data = output.get("data", {})
    return output.get("text", data["text/plain"] if list(data) == ["text/plain"] else "")


def _folded(line: str) -> str:
    """Return a line, folded if it is too long for a slide; what follows its widest gap stays one column."""
    gap = max(re.findall(r" {2,}", line), key=len, default="")
    indent = " " * (line.index(gap) + len(gap)) if gap else ""
    # In “him 0.50  them 0.12”, a single space belongs to an item.
    kept = re.sub(r"(?<=\S) (?=\S)", "\xa0", line) if gap else line
    return fill(kept, COLUMNS, subsequent_indent=indent, break_long_words=False).replace("\xa0", " ") + "\n"


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


def paper(exam: material.Exam, title: str) -> str:
    """Return the paper that students get, as Markdown: the questions without the marking and the variants."""
    questions = [
        f"## {heading}\n\n{part.partition('**Marking:**')[0].strip()}"
        for heading, part in exam.questions.items()
    ]
    return "\n\n".join([PAPER.format(title=title, exam=exam), *questions]) + "\n"


def write_pages(to: Path) -> list[Path]:
    """Write a deck, a handout and an exam paper for each chapter, and return their paths."""
    to.mkdir(parents=True, exist_ok=True)
    written = list[Path]()
    for folder in sorted(path.parent for path in material.CHAPTERS.glob("*/slides.md")):
        notebook = tool.read(material.NOTEBOOKS / f"{folder.name}.ipynb")
        title = material.read_plan(folder / "plan.md").title
        exam = paper(material.read_exam(folder / "exam.md"), title)
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
