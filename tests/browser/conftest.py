"""Fixtures of the browser tests, described in `lab.py`; without a browser this folder is skipped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .lab import FLAGS, Lab, Server, Watch, find_browser, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> None:
    """Skip a file if there is no browser to run it in."""
    try:
        find_browser()
    except LookupError as missing:
        if os.environ.get("BERTLEARN_REQUIRE_BROWSER") == "1":
            raise parent.CollectError(str(missing)) from None
        pytest.skip(str(missing), allow_module_level=True)


@pytest.fixture(scope="package")  # closed after this folder: other tests in the process need asyncio's loop
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    path = find_browser()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def watch(browser: Browser) -> Iterator[Watch]:
    with watched(browser) as watch:
        yield watch


@pytest.fixture
def page(watch: Watch) -> Page:
    return watch.context.new_page()


@pytest.fixture
def alone(browser: Browser, tmp_path: Path) -> Iterator[Callable[[str], Page]]:
    with watched(browser, hosts=(), offline=True) as watch:

        def opened(html: str) -> Page:
            path = tmp_path / "alone.html"
            path.write_text(html, encoding="utf-8")
            page = watch.context.new_page()
            page.goto(path.as_uri())
            return page

        yield opened


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("lab"))
    yield server
    server.stop()


@pytest.fixture
def lab(server: Server, watch: Watch, page: Page) -> Iterator[Lab]:
    yield Lab(server, watch, page)
    watch.settle()
    page.close()  # first, as the page would complain about its missing kernel
    server.shut_down_kernels()
