"""Record the README's moving pictures in a real browser, from cells of the course.

python tools/make_pictures.py                every picture
python tools/make_pictures.py time_machine   one of them

`docs/pictures.json` stores a checksum of the cells that each picture shows, so that a test can tell when a
picture has become stale. Chromium is needed, as for the tests in `tests/browser/`.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nbformat
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from browser.lab import FLAGS, Lab, Notebook, Server, find_browser, watched  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

DOCS = ROOT / "docs"
RECORD = DOCS / "pictures.json"
LARGEST = 300_000  # bytes of a picture
Frame = tuple[Image.Image, int]  # a picture, and the milliseconds for which it is shown


class Moving(NamedTuple):
    """A moving picture: the cells that it shows, and how it is recorded from their sources."""

    notebook: str
    marks: tuple[str, ...]  # a text that occurs in one cell of the notebook, for each cell
    record: Callable[[Browser, Sequence[str]], list[Frame]]


def sources(picture: Moving) -> list[str]:
    """Return the sources of the cells that a picture shows.

    Raises:
        LookupError: a mark is in no cell, or in several.
    """
    cells = nbformat.read(ROOT / "notebooks" / picture.notebook, as_version=4).cells
    found = []
    for mark in picture.marks:
        with_mark = [cell.source for cell in cells if cell.cell_type == "code" and mark in cell.source]
        if len(with_mark) != 1:
            raise LookupError(
                f"{mark!r} is in {len(with_mark)} cells of {picture.notebook}; expected exactly one"
            )
        found += with_mark
    return found


def checksum(picture: Moving) -> str:
    """Return a checksum of the sources of the cells that a picture shows."""
    return hashlib.sha256("\0".join(sources(picture)).encode()).hexdigest()[:16]


# --- the time machine ------------------------------------------------------------------------------------


def record_time_machine(browser: Browser, cells: Sequence[str]) -> list[Frame]:
    """Move the slider of chapter 4's time machine through the eight steps of the pretraining."""
    widget = _last_value(cells[0])
    with tempfile.TemporaryDirectory() as folder, watched(browser, hosts=(), offline=True) as watch:
        path = Path(folder) / "page.html"
        path.write_text(widget.to_html(), encoding="utf-8")
        page = watch.context.new_page()
        page.set_viewport_size({"width": 960, "height": 700})
        page.goto(path.as_uri())
        slider, frames = page.get_by_role("slider", name="Step"), []
        slider.press("Home")
        for step in range(8):
            frames.append((_shot(page.locator(".bl")), 2600 if step in (0, 7) else 1300))
            slider.press("ArrowRight")
    return frames


def _last_value(source: str) -> Any:
    """Run a cell and return the value of its last line."""
    *statements, last = ast.parse(source).body
    scope: dict[str, object] = {}
    exec(compile(ast.Module(statements, []), "cell", "exec"), scope)
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), scope)


# --- a check ---------------------------------------------------------------------------------------------

_WRONG = """def softmax(x):
    powers = (x - x.max()).exp()
    return powers / powers.sum()"""
_RIGHT = """def softmax(x):
    powers = (x - x.max(dim=-1, keepdim=True).values).exp()
    return powers / powers.sum(dim=-1, keepdim=True)"""


def record_check(browser: Browser, cells: Sequence[str]) -> list[Frame]:
    """Answer chapter 1's first exercise in JupyterLab, first wrong, then right, and run its check."""
    stub, check = cells
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BERTLEARN_PROGRESS"] = str(Path(folder) / "progress")
        server = Server(Path(folder))
        try:
            with watched(browser) as watch:
                page = watch.context.new_page()
                page.set_viewport_size({"width": 1060, "height": 440})
                lab = Lab(server, watch, page)
                imports = "import torch\nfrom bertlearn.course.checks import attention as check"
                return _answer(lab.open([imports, stub, check]))
        finally:
            server.stop()


def _answer(notebook: Notebook) -> list[Frame]:
    page, frames = notebook.page, []
    page.evaluate("jupyterapp.commands.execute('application:toggle-left-area')")
    view = page.locator(".jp-NotebookPanel .jp-WindowedPanel-outer").first
    notebook.run_all()
    frames.append((_shot(view), 2200))
    for answer, seconds in ((_WRONG, 5000), (_RIGHT, 5000)):
        for lines in range(1, answer.count("\n") + 2):
            text = "\n".join(answer.splitlines()[:lines])
            page.evaluate(
                "text => jupyterapp.shell.currentWidget.content.widgets[1].model.sharedModel.setSource(text)",
                text,
            )
            page.wait_for_timeout(150)
            frames.append((_shot(view), 700))
        notebook.run_all()
        page.wait_for_timeout(300)
        frames.append((_shot(view), seconds))
    return frames


def _shot(element: Locator) -> Image.Image:
    return Image.open(io.BytesIO(element.screenshot())).convert("RGB")


PICTURES = {
    "time_machine": Moving("04_pretraining.ipynb", ("TimeMachine(text, [",), record_time_machine),
    "check": Moving("01_attention.ipynb", ("def softmax(x):", "check.softmax(softmax)"), record_check),
}


def save(frames: Sequence[Frame], path: Path) -> None:
    """Write frames of equal size as an animated WebP that repeats forever.

    Raises:
        ValueError: the file would be too large for the repository.
    """
    images, durations = zip(*frames, strict=True)
    height = min(image.height for image in images)
    images = [image.crop((0, 0, image.width, height)) for image in images]
    data = io.BytesIO()
    images[0].save(
        data,
        "WEBP",
        save_all=True,
        append_images=images[1:],
        duration=durations,
        loop=0,
        quality=80,
        method=6,
    )
    if len(data.getvalue()) > LARGEST:
        raise ValueError(f"{path.name} would have {len(data.getvalue()):,} bytes; at most {LARGEST:,}")
    path.write_bytes(data.getvalue())


def main(names: list[str]) -> None:
    """Record the pictures of these names, or all."""
    if unknown := set(names) - set(PICTURES):
        raise SystemExit(
            f"no picture is called {', '.join(sorted(unknown))}; there are: {', '.join(PICTURES)}"
        )
    from playwright.sync_api import sync_playwright

    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=FLAGS)
        for name in names or PICTURES:
            picture = PICTURES[name]
            save(picture.record(browser, sources(picture)), DOCS / f"{name}.webp")
            record[name] = checksum(picture)
            print(f"docs/{name}.webp: {(DOCS / f'{name}.webp').stat().st_size:,} bytes")
        browser.close()
    RECORD.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
