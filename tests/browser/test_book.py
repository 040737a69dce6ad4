"""The book in a browser: offline, readable in both themes and on a phone, with widgets that react."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from PIL import Image

from .lab import HERE, ROOT, assert_accessible, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Locator, Page

sys.path.insert(0, str(ROOT / "tools"))
from make_book import NOTEBOOKS, PAGES, PARTS

import notebooks as tool

CHAPTERS = [f"notebooks/{path.stem}" for path in NOTEBOOKS]
OTHERS = ["index", "exercises", *(page.removesuffix(".md") for page in PAGES), "search", "genindex"]
REFERENCE = ["api/index", *(f"api/{part}" for part in PARTS)]
QUICK = ["index", "exercises", "docs/glossary", "notebooks/00_welcome", "api/files"]
slow = pytest.mark.slow
PHONE, DESK = {"width": 390, "height": 800}, {"width": 1280, "height": 900}


def make_book(folder: Path, **environment: str) -> Path:
    command = [sys.executable, "tools/make_book.py", "--to", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_book(tmp_path_factory.mktemp("site") / "book", BERTLEARN_REPOSITORY="", BERTLEARN_HUB="")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def address(book: Path) -> Iterator[str]:
    server = ThreadingHTTPServer((HERE, 0), partial(Quiet, directory=book))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{HERE}:{server.server_port}"
    server.shutdown()
    server.server_close()


def opened(page: Page, address: str) -> Page:
    """Load a page and wait until its formulas are drawn."""
    page.goto(address)
    page.evaluate("window.MathJax?.startup.promise.then(() => true)")
    return page


def unfold(page: Page) -> None:
    page.evaluate("for (const fold of document.querySelectorAll('.bd-article details')) fold.open = true")


def sampled(names: list[str]) -> list[Any]:
    """Return pages as parameters; those that are not quick to judge belong to the slow tests."""
    return [pytest.param(name, marks=[] if name in QUICK else slow) for name in names]


# --- every page ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHAPTERS + OTHERS + REFERENCE)
def test_a_page_on_a_phone(name: str, book: Path, address: str, browser: Browser) -> None:
    """It asks no other host, logs no error (`watched`), draws its formulas, and does not scroll sideways."""
    with watched(browser) as watch:
        page = watch.context.new_page()
        page.set_viewport_size(PHONE)
        opened(page, f"{address}/{name}.html")
        assert page.locator("html").get_attribute("lang") == "en"
        formulas = page.locator(".math")
        assert formulas.count() == page.locator(".math > mjx-container").count() == formulas_in(name)
        assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
        unfold(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        pictures = page.locator(".bd-article img")
        assert all(" " in (picture.get_attribute("alt") or "") for picture in pictures.all())  # a sentence
        assert (
            page.locator(".bd-article table:not(:has(th)):not(.indextable):not(.output table)").count() == 0
        )


def formulas_in(name: str) -> int:
    """Return how many formulas the Markdown of a chapter has; other pages have none."""
    if name not in CHAPTERS:
        return 0
    texts = [
        re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.DOTALL)
        for cell in tool.read(ROOT / f"{name}.ipynb").cells
        if cell.cell_type == "markdown"
    ]
    return sum(len(re.findall(r"\$\$.+?\$\$|\$[^$]+\$", text, re.DOTALL)) for text in texts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", sampled(CHAPTERS + OTHERS + REFERENCE))
def test_accessibility(name: str, scheme: Any, address: str, browser: Browser) -> None:
    with watched(browser) as watch:
        page = watch.context.new_page()
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size(PHONE if scheme == "dark" else DESK)
        opened(page, f"{address}/{name}.html")
        unfold(page)
        assert_accessible(page, "html")


class Links(HTMLParser):
    """Collects the links of a page, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.links |= {values[name] for name in ("href", "src") if name in values}


def test_every_link_leads_somewhere(book: Path) -> None:
    pages = {
        path: Links(path.read_text(encoding="utf-8"))
        for path in book.rglob("*.html")
        if path.parent.name != "_static"
    }
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if parts.scheme or parts.netloc:
                continue
            known = parts.fragment in ("", "top") or target not in pages
            if not target.exists() or not (known or unquote(parts.fragment) in pages[target].anchors):
                dead.append(f"{path.relative_to(book)}: {link}")
    assert len(pages) > len(CHAPTERS + OTHERS + REFERENCE) and not dead, "\n".join(dead)


# --- chapters ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHAPTERS)
def test_what_is_to_guess_is_folded(name: str, book: Path) -> None:
    """Each fold of the notebook is a closed fold of the page, and no result of a guess is above its fold."""
    text = (book / f"{name}.html").read_text(encoding="utf-8")
    folded = [
        [
            cell.metadata.get("jupyter", {}).get(key)
            for cell in tool.code_cells(tool.read(ROOT / f"{name}.ipynb"))
        ]
        for key in ("outputs_hidden", "source_hidden")
    ]
    assert text.count('<details class="fold"><summary>Show the result<') == sum(map(bool, folded[0])) > 0
    assert text.count('<details class="fold"><summary>Show the code<') == sum(map(bool, folded[1])) > 0
    cells = re.split(r'<div class="cell (?=[^"]*docutils container)', text)[1:]
    predictions = [cell for cell in cells if "tag_prediction" in cell.partition('"')[0]]
    assert len(predictions) == sum(map(bool, folded[0]))
    for cell in predictions:
        assert '<div class="cell_output' not in cell.partition("<summary>Show the result<")[0]


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_output_is_drawn(name: str, address: str, browser: Browser) -> None:
    """No output is an empty box; each widget and each view of bertviz appears, without a light frame."""
    with watched(browser) as watch:
        page = watch.context.new_page()
        page.set_viewport_size({"width": 1280, "height": 2400})  # higher than any widget
        page.emulate_media(color_scheme="dark")
        opened(page, f"{address}/{name}.html")
        unfold(page)
        empty = "boxes => boxes.filter(box => box.offsetHeight < 10).map(box => box.outerHTML)"
        assert page.locator(".cell_output, .cell_output > .output").evaluate_all(empty) == []
        for picture in page.locator(".cell_output img:not(.bl-flat img), .bd-article p img").all():
            assert drawn_in_the_dark(picture), picture.get_attribute("alt")
        for place in page.locator(".bl-view > iframe").all():
            place.scroll_into_view_if_needed()
            frame_of(place).wait_for_selector(".bl[data-theme=dark] *, #vis svg *", state="attached")
            assert drawn_in_the_dark(place), place.get_attribute("title")
        assert page.locator(".bl-view > iframe").count() == views_in(name)


def frame_of(place: Locator) -> Frame:
    frame = place.element_handle().content_frame()
    assert frame is not None
    return frame


def views_in(name: str) -> int:
    cells = tool.code_cells(tool.read(ROOT / f"{name}.ipynb"))
    return sum(
        "<iframe" in output.get("data", {}).get("text/html", "") for cell in cells for output in cell.outputs
    )


def drawn_in_the_dark(place: Locator) -> bool:
    """Return whether a picture shows something, on a dark ground."""
    pixels = np.asarray(Image.open(io.BytesIO(place.screenshot())).convert("L")) / 255
    return pixels.mean() < 0.4 and pixels.std() > 0.02


def test_a_widget_reacts_and_follows_the_theme(address: str, browser: Browser) -> None:
    with watched(browser) as watch:
        page = watch.context.new_page()
        opened(page, f"{address}/notebooks/01_attention.html")
        place = page.locator(".bl-view > iframe[title^='Attention explorer']")
        place.scroll_into_view_if_needed()
        widget = frame_of(place)
        says = widget.locator(".bl-say")
        before = says.inner_text()
        widget.get_by_label("is looked at by").check()
        assert says.inner_text() != before
        assert widget.locator(".bl").get_attribute("data-theme") == "light"
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        widget.locator(".bl[data-theme=dark]").wait_for()


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_text_is_that_of_the_notebook(name: str, book: Path) -> None:
    """Each cell's prose is on the page as plain Markdown has it: no syntax of other Markdown took a word."""
    page = Words((book / f"{name}.html").read_text(encoding="utf-8").partition('class="bd-article"')[2])
    text = " ".join(page.words)
    markdown = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
    for cell in tool.read(ROOT / f"{name}.ipynb").cells:
        if cell.cell_type == "markdown":
            assert " ".join(Words(markdown.render(cell.source)).words) in text, cell.source


class Words(HTMLParser):
    """Collects the words of HTML outside of formulas."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self._formula = ""  # the element of the formula that is being read
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if "math" in (dict(attributes).get("class") or "").split():
            self._formula = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._formula:
            self._formula = ""

    def handle_data(self, data: str) -> None:
        self.words += [] if self._formula else re.findall(r"\w+", data)


# --- finding one's way ---------------------------------------------------------------------------------


def test_previous_and_next_follow_the_course(address: str, browser: Browser) -> None:
    there, back = list(CHAPTERS), list(reversed(CHAPTERS[:-1]))
    way = [("a.right-next", name) for name in there] + [("a.left-prev", name) for name in back]
    visited = []
    with watched(browser) as watch:
        page = opened(watch.context.new_page(), f"{address}/index.html")
        for button, name in way:
            page.locator(button).click()
            page.wait_for_url(f"**/{name}.html")
            visited.append(page.url.removeprefix(f"{address}/").removesuffix(".html"))
    assert visited == there + back


@pytest.mark.parametrize("served", [True, False], ids=["served", "from a file"])
def test_search(served: bool, book: Path, address: str, browser: Browser) -> None:
    with watched(browser) as watch:
        start = address if served else book.as_uri()
        page = opened(watch.context.new_page(), f"{start}/search.html?q=softmax")
        results = page.locator("#search-results li a")
        results.first.wait_for()
        links = [link.get_attribute("href") or "" for link in results.all()]
        assert any("notebooks/01_attention.html" in link for link in links), links


def test_a_term_is_found_in_the_glossary(address: str, browser: Browser) -> None:
    with watched(browser) as watch:
        page = opened(watch.context.new_page(), f"{address}/notebooks/01_attention.html")
        page.locator("a", has_text=re.compile("^query$")).first.click()
        page.wait_for_url("**/docs/glossary.html#term-query")
        assert page.locator("#term-query").inner_text() == "query"


def test_every_exercise_is_listed(book: Path) -> None:
    """The index has a row for each function that a notebook asks for, and each heading with stars."""
    listed = (book / "exercises.html").read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        cells = tool.read(path).cells
        asked = sum("exercise" in tool.tags(cell) for cell in cells)
        starred = sum(len(re.findall("^#+ .*★", c.source, re.M)) for c in cells if c.cell_type == "markdown")
        links = set(re.findall(rf'href="notebooks/{path.stem}.html#([^"]+)"', listed))
        assert len(links) == asked >= starred


def test_the_reference_has_every_main_name(book: Path) -> None:
    import bertlearn

    text = (book / "api" / "index.html").read_text(encoding="utf-8")
    for name in bertlearn.__all__:
        assert re.search(rf'href="[^"]*#bertlearn\.[\w.]*\.?{name}"', text), name


# --- the notebooks themselves --------------------------------------------------------------------------


def test_the_button_downloads_the_notebook(address: str, browser: Browser) -> None:
    with watched(browser) as watch:
        page = opened(watch.context.new_page(), f"{address}/notebooks/02_tokenization.html")
        with page.expect_download() as download:
            page.get_by_role("link", name="Notebook").click()
        original = ROOT / "notebooks" / "02_tokenization.ipynb"
        assert Path(download.value.path()).read_bytes() == original.read_bytes()
        assert download.value.suggested_filename == original.name


def test_buttons_only_with_a_repository(book: Path, tmp_path: Path) -> None:
    """A small book is enough to see the buttons; the whole one is built without a repository."""
    assert not re.search(
        "colab|mybinder|git-pull", (book / f"{CHAPTERS[1]}.html").read_text(encoding="utf-8")
    )
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "index.md").write_text("# Book\n\n```{toctree}\nnotebooks/a\n```\n", encoding="utf-8")
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A")]),
        tmp_path / "notebooks" / "a.ipynb",
    )
    variables = {
        "BERTLEARN_REPOSITORY": "https://github.com/o/n/tree/dev",
        "BERTLEARN_HUB": "https://hub.example.org",
    }
    command = [sys.executable, "-m", "sphinx", "-q", "-c", "docs/book", str(tmp_path), str(tmp_path / "out")]
    subprocess.run(command, cwd=ROOT, env=os.environ | variables, check=True)
    links = Links((tmp_path / "out" / "notebooks" / "a.html").read_text(encoding="utf-8")).links
    place = "notebooks/a.ipynb"
    assert {
        f"https://colab.research.google.com/github/o/n/blob/dev/{place}",
        f"https://mybinder.org/v2/gh/o/n/dev?urlpath=lab/tree/{place}",
        "https://hub.example.org/hub/user-redirect/git-pull"
        f"?repo=https%3A//github.com/o/n&urlpath=lab/tree/n/{place}&branch=dev",
    } <= links
