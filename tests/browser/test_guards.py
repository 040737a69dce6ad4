"""Each guard of `lab.py` catches its fault, and a missing browser is reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from . import conftest
from .lab import Server, Watch, assert_accessible, latency, watched

pytestmark = pytest.mark.slow  # of the tests' own guards

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FAULTS = {  # what a page does: the message about it
    "new Image().src = 'https://example.org/x.png'": r"request: https://example\.org/x\.png",
    "fetch('http://localhost:9/').catch(() => 0)": "request: http://localhost:9/",
    "new WebSocket('wss://example.org/socket')": r"request: wss://example\.org/socket",
    "setTimeout(() => missing.name)": "JavaScript error: ReferenceError: missing is not defined",
    "Promise.reject(new Error('nobody caught this'))": "JavaScript error: Error: nobody caught this",
    "console.error('broken', 3)": "console: broken 3",
    "alert('hello')": "dialog: hello",
    "confirm('sure?')": r"dialog: sure\?",
}


@pytest.mark.parametrize("script", FAULTS)
def test_a_page_at_fault_is_caught(browser: Browser, script: str) -> None:
    with pytest.raises(AssertionError, match=FAULTS[script]), watched(browser) as watch:
        watch.context.new_page().set_content(f"<script>{script}</script>")


def test_faults_in_a_sandboxed_frame_are_caught(browser: Browser) -> None:
    frame = "<iframe sandbox='allow-scripts' srcdoc='<script>missing.name</script>'></iframe>"
    with pytest.raises(AssertionError, match="missing is not defined"), watched(browser) as watch:
        watch.context.new_page().set_content(frame)


def test_a_missing_file_is_caught(browser: Browser, server: Server) -> None:
    with pytest.raises(AssertionError, match=r"HTTP 404: .*/nothing"), watched(browser) as watch:
        watch.context.new_page().goto(server.address("nothing"))


def test_a_good_page_passes(page: Page, watch: Watch) -> None:
    page.set_content("<button onclick='this.textContent = 2'>1</button><script>console.warn(1)</script>")
    page.get_by_role("button").click()
    assert page.get_by_role("button").inner_text() == "2"
    assert watch.problems() == []


def test_only_what_is_allowed_is_ignored(browser: Browser) -> None:
    with pytest.raises(AssertionError) as caught, watched(browser) as watch:
        watch.allow("console: o.e")
        watch.context.new_page().set_content("<script>console.error('one'); console.error('two')</script>")
    assert "two" in str(caught.value)
    assert "one" not in str(caught.value)


def test_a_failed_test_keeps_its_own_message(browser: Browser) -> None:
    with pytest.raises(KeyError), watched(browser) as watch:
        watch.context.new_page().set_content("<script>console.error('one')</script>")
        raise KeyError("mine")


def test_a_file_is_opened_alone(alone: Callable[[str], Page]) -> None:
    assert alone("<title>é</title><p>by itself</p>").title() == "é"


@pytest.mark.parametrize(("offline", "outcome"), [(False, "reached"), (True, "failed")])
def test_offline_means_that_nothing_is_reached(
    browser: Browser, server: Server, offline: bool, outcome: str
) -> None:
    with watched(browser, offline=offline) as watch:
        watch.allow("console: Failed to load resource")
        page = watch.context.new_page()
        load = "url => fetch(url, {mode: 'no-cors'}).then(() => 'reached', () => 'failed')"
        assert page.evaluate(load, f"{server.url}/static/logo/logo.png") == outcome


def test_a_stand_alone_page_may_not_even_reach_this_machine(browser: Browser, server: Server) -> None:
    image = f"<img src='{server.url}/static/logo/logo.png'>"
    with (
        pytest.raises(AssertionError, match=r"request: .*/logo\.png"),
        watched(browser, hosts=(), offline=True) as watch,
    ):
        watch.context.new_page().set_content(image)


def test_axe(page: Page) -> None:
    page.set_content(
        "<html lang='en'><div class='good'><button>more</button></div>"
        "<div class='bad'><button></button><p style='color: #ccc; background: #fff'>pale</p></div>"
        "<div class='empty'></div></html>"
    )
    assert_accessible(page, ".good")
    with pytest.raises(AssertionError) as caught:
        assert_accessible(page, ".bad")
    assert "button-name (critical): Buttons must have discernible text\n  <button></button>" in str(
        caught.value
    )
    assert "color-contrast (serious)" in str(caught.value)
    with pytest.raises(AssertionError, match="is it drawn"):
        assert_accessible(page, ".empty")


def test_latency(page: Page) -> None:
    page.set_content("""<select><option>a<option>b</select><script>
        const select = document.querySelector("select");
        const waits = [50, 50, 50, 0, 0];
        select.addEventListener("input", event => {
            const wait = waits.shift();
            while (performance.now() - event.timeStamp < wait);
            if (wait !== undefined) select.dispatchEvent(new CustomEvent("bl-drawn", {bubbles: true}));
        });
    </script>""")
    select = page.get_by_role("combobox")
    assert latency(page, lambda number: select.select_option("ba"[number % 2]), "input", count=5) >= 50
    with pytest.raises(Exception, match="no input, or no bl-drawn after it"):
        latency(page, lambda _: select.select_option("a"), "input", count=1, seconds=1)


def test_a_missing_browser_is_reported(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    collect = conftest.pytest_pycollect_makemodule
    folder = request.node.parent.parent
    assert collect(request.path, folder) is None
    monkeypatch.setenv("BERTLEARN_BROWSER", "/nowhere/chrome")
    monkeypatch.setenv("BERTLEARN_REQUIRE_BROWSER", "0")
    with pytest.raises(
        pytest.skip.Exception, match="BERTLEARN_BROWSER=/nowhere/chrome is not a program: install"
    ):
        collect(request.path, folder)
    monkeypatch.setenv("BERTLEARN_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.Collector.CollectError, match="install Chromium"):
        collect(request.path, folder)
