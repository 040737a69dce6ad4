"""JupyterLab on this machine, driven in a real browser: the tools for the tests in this folder.

A test asks for these fixtures (`conftest.py`); all but `browser` are fresh for each test, and the
kernels that a test started end with it:

`lab`
    Opens notebooks. `notebook = lab.open(["x = 1", "x"])` makes a notebook of these code cells, loads it in
    JupyterLab and waits for its kernel; a `Path` instead of the list loads a copy of that file, untrusted if
    it has outputs. Options: `app="notebook"` loads it in Notebook 7; `theme="JupyterLab Dark"`.
`page`
    An empty page (Playwright's `Page`), the one in which `lab` opens its notebooks.
`watch`
    Collects what goes wrong in `page`, see below. `watch.allow("regex")` allows what a test does on purpose.
`alone`
    `page = alone(html)` opens a whole HTML page from a file, with the network off.
`browser`
    Playwright's `Browser`, for everything else, such as `with watched(browser) as watch:`.

A test fails, even if its own assertions pass, if a page sent a request to another host, caused a JavaScript
or console error, opened a dialog or got an HTTP status of 400 or more. A page of `alone` may send no request.

A `Notebook` has the Playwright `page` it is in, and

    run_all()                    runs every cell; returns the errors, ["cell 1: NameError: name 'y' …"]
    value("x + 1")               evaluates it in the kernel; returns the value through JSON, tensors as lists
    expect("w.layer", 2)         evaluates it until it equals this value: a widget's messages take a moment
    cells()                      the sources of the cells in the page
    set_theme("JupyterLab Dark") or "JupyterLab Light"
    save()
    shut_down()                  ends the kernel; the page stays as it is
    reopen()                     loads the saved notebook again, with its kernel, or a new one if that was
                                 shut down; `kernel=False` shuts it down and starts none; `trusted=False`
                                 loads the notebook as untrusted

Functions for widgets:

    assert_accessible(page, ".bl")       fails on serious or critical accessibility problems there;
                                         in plain outputs of JupyterLab it does not check contrast
    show_in(page, "dark")                sets the page's color scheme; fails if the widget does not follow
    shortcuts_unharmed(page, locator)    fails if keys pressed in that element reach JupyterLab's shortcuts
    latency(page, action, "keydown")     median time in ms from this event to the resulting picture

A widget's test, then:

    def test_a_key_chooses_the_next_layer(lab: Lab) -> None:
        notebook = lab.open(["from bertlearn.course.widgets import Heads", "w = Heads()", "w"])
        assert notebook.run_all() == []
        notebook.page.get_by_label("Layer").press("ArrowDown")
        notebook.expect("w.layer", 1)

    def test_alone(alone: Callable[[str], Page]) -> None:
        page = alone(Heads().to_html())
        page.get_by_label("Layer").press("ArrowDown")
        expect(page.get_by_role("status")).to_have_text("layer 1")
        assert_accessible(page, ".bl")

To see a page: `page.screenshot(path="x.png")`.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import nbformat

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Dialog, Frame, Locator, Page, WebError

ROOT = Path(__file__).parent.parent.parent
HERE = "127.0.0.1"
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    "--disable-dev-shm-usage",  # a container may have little of it
    *("--disable-background-networking", "--disable-component-update"),
    f"--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE {HERE}",  # nothing can leave the machine
]
REMEDY = (
    "install Chromium (Debian: apt install chromium; elsewhere: python -m playwright install chromium) "
    "or name a Chrome in BERTLEARN_BROWSER"
)

PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
SLOW = r"\[anywidget\] Failed to initialize model"  # logged after two busy seconds; the widget still appears
OWN_ERRORS = {  # errors of JupyterLab 4.6 and Notebook 7.6 themselves
    "lab": [
        SLOW,
        "Could not restore the debugger state",  # a kernel that is shut down
        r"null \(reading 'kernel'\).*@jupyter-widgets/jupyterlab-manager",  # a notebook without a kernel
    ],
    "notebook": [
        SLOW,
        r"undefined \(reading 'schema'\).*notebook_core",  # settings that load late
        "Command 'filebrowser:open-path' not registered",
    ],
}


def find_browser() -> str:
    """Return the path of a browser.

    Raises:
        LookupError: there is none, or Playwright is missing; the message says how to get it.
    """
    if importlib.util.find_spec("playwright") is None:
        raise LookupError("no Playwright to drive a browser: pip install -e '.[dev]'")
    if named := os.environ.get("BERTLEARN_BROWSER"):
        if shutil.which(named) is None:
            raise LookupError(f"BERTLEARN_BROWSER={named} is not a program: {REMEDY}")
        return named
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    if not Path(own).is_file():
        raise LookupError(f"no browser found: {REMEDY}")
    return own


class Watch:
    """Collects what the pages of a browser context do that no page of the course may do."""

    def __init__(self, context: BrowserContext, hosts: Sequence[str] = (HERE,)) -> None:
        self.context = context
        self._hosts = hosts
        self._problems: list[str] = []
        self._allowed: list[str] = []
        context.on("request", lambda request: self._reach(request.url))
        context.on("page", lambda page: page.on("websocket", lambda socket: self._reach(socket.url)))
        context.on("weberror", self._error)
        context.on("dialog", self._dialog)
        context.on("console", lambda m: m.type == "error" and self._problems.append(f"console: {m.text}"))
        context.on(
            "response", lambda r: r.status >= 400 and self._problems.append(f"HTTP {r.status}: {r.url}")
        )

    def _reach(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in self._hosts:
            self._problems.append(f"request: {url}")

    def _error(self, fault: WebError) -> None:
        self._problems.append(f"JavaScript error: {fault.error.stack or fault.error.message}")

    def _dialog(self, dialog: Dialog) -> None:
        if dialog.type == "beforeunload":  # JupyterLab asks whether to leave unsaved changes
            dialog.accept()
        else:
            self._problems.append(f"dialog: {dialog.message}")
            dialog.dismiss()

    def allow(self, pattern: str) -> None:
        """Ignore every problem that this regular expression matches; its dots match line ends."""
        self._allowed.append(pattern)

    def settle(self) -> None:
        """Let the pages report pending events."""
        for page in self.context.pages:
            page.evaluate("new Promise(done => setTimeout(done))")

    def problems(self) -> list[str]:
        """Return the problems so far that are not allowed."""
        self.settle()
        return [
            text for text in self._problems if not any(re.search(p, text, re.DOTALL) for p in self._allowed)
        ]


@contextmanager
def watched(browser: Browser, hosts: Sequence[str] = (HERE,), offline: bool = False) -> Iterator[Watch]:
    """Yield a fresh context that may reach only these hosts; fail at its end if something went wrong."""
    context = browser.new_context(
        viewport={"width": 1200, "height": 900}, service_workers="block", offline=offline
    )
    try:
        watch = Watch(context, hosts)
        yield watch
        problems = watch.problems()
        assert not problems, "the page did what it may not do:\n" + "\n".join(problems)
    finally:
        context.close()


class Server:
    """A JupyterLab with its own settings that also serves Notebook 7; it runs until `stop`."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "notebooks"
        self.settings = folder / "config" / "lab" / "user-settings" / "@jupyterlab"
        self.data = folder / "data"
        self._token = secrets.token_hex(16)
        self._log = folder / "log.txt"
        self.root.mkdir()
        self.set("notebook-extension/tracker", windowingMode="none")  # also render cells out of sight
        self.set("apputils-extension/notification", fetchNews="false", checkForUpdates=False)
        runtime = folder / "runtime"
        self._process = self._start(folder, runtime)
        self.url = f"http://{HERE}:{self._wait_for_port(runtime)}"

    def set(self, extension: str, **values: object) -> None:
        """Write the user settings of an extension."""
        path = self.settings / f"{extension}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")

    def _start(self, folder: Path, runtime: Path) -> subprocess.Popen[bytes]:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("JUPYTER")}
        environment |= {
            "JUPYTER_CONFIG_DIR": str(folder / "config"),
            "JUPYTER_DATA_DIR": str(self.data),
            "JUPYTER_RUNTIME_DIR": str(runtime),
            "IPYTHONDIR": str(folder / "ipython"),
            "PYTHONPATH": str(ROOT),  # the kernels import the package next to these tests
            "BERTLEARN_PROGRESS": str(folder / "progress"),  # what these tests solve and guess is no one's
        }
        with socket.socket() as free:
            free.bind((HERE, 0))
            port = free.getsockname()[1]  # the server takes a later one if this is gone by then
        options = [
            *("--no-browser", f"--ServerApp.ip={HERE}", f"--ServerApp.port={port}"),
            *(f"--ServerApp.root_dir={self.root}", "--ServerApp.allow_root=True"),
            *(f"--IdentityProvider.token={self._token}", "--LabApp.extension_manager=readonly"),
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            *("--LabApp.expose_app_in_browser=True", "--JupyterNotebookApp.expose_app_in_browser=True"),
        ]
        with self._log.open("wb") as log:
            command = [sys.executable, "-m", "jupyterlab", *options]
            return subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def _wait_for_port(self, runtime: Path) -> int:
        """Wait until the server has written its port to a file, and return it."""
        written = runtime / f"jpserver-{self._process.pid}.json"
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                return json.loads(written.read_text(encoding="utf-8"))["port"]
            except (OSError, ValueError):
                pass
            try:
                self._process.wait(0.1)
                break
            except subprocess.TimeoutExpired:
                pass
        self._kill()
        raise RuntimeError("JupyterLab did not start:\n" + self._log.read_text(encoding="utf-8"))

    def address(self, path: str) -> str:
        """Return the URL of a path, with the token that opens it."""
        return f"{self.url}/{path}{'&' if '?' in path else '?'}token={self._token}"

    def shut_down_kernels(self) -> None:
        """End every kernel."""
        with urllib.request.urlopen(self.address("api/sessions"), timeout=60) as answer:
            sessions = json.load(answer)
        for session in sessions:
            request = urllib.request.Request(self.address(f"api/sessions/{session['id']}"), method="DELETE")
            urllib.request.urlopen(request, timeout=60).close()

    def stop(self) -> None:
        """End the kernels, and kill the server: it has nothing to clean up, and a shutdown can take long."""
        try:
            self.shut_down_kernels()
        finally:
            self._kill()

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


class Lab:
    """Opens notebooks in one page."""

    def __init__(self, server: Server, watch: Watch, page: Page) -> None:
        self._server = server
        self._watch = watch
        self.page = page

    def open(
        self, content: Sequence[str] | Path, app: str = "lab", theme: str = "JupyterLab Light"
    ) -> Notebook:
        """Write a notebook of code cells, or copy a notebook file, and load it; see the top of this file."""
        notebook = Notebook(self._server, self._watch, self.page, app)
        if isinstance(content, Path):
            shutil.copy(content, notebook.file)
        else:
            cells = [nbformat.v4.new_code_cell(source) for source in content]
            nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=PYTHON), notebook.file)
        self._server.set("apputils-extension/themes", theme=theme)
        notebook.load()
        return notebook


class Notebook:
    """A notebook open in a page; its methods are described at the top of this file."""

    def __init__(self, server: Server, watch: Watch, page: Page, app: str) -> None:
        self._server = server
        self._watch = watch
        self.page = page
        self.file = server.root / f"{secrets.token_hex(4)}.ipynb"
        self._app = app

    def load(self, kernel: bool = True) -> None:
        """Load the file in the page; with a kernel wait until it is idle."""
        for pattern in OWN_ERRORS[self._app]:
            self._watch.allow(pattern)
        if kernel:
            self._go(f"{'lab/tree' if self._app == 'lab' else 'notebooks'}/{self.file.name}?reset")
        else:
            self._go("lab?reset")
            preference = {
                "path": self.file.name,
                "factory": "Notebook",
                "kernelPreference": {"shouldStart": False},
            }
            self._command("docmanager:open", preference)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
        if kernel:
            idle = "jupyterapp.shell.currentWidget?.sessionContext.session?.kernel?.status === 'idle'"
            self.page.wait_for_function(idle, timeout=120_000)

    def _go(self, path: str) -> None:
        self.page.goto(self._server.address(path), wait_until="domcontentloaded")
        self.page.wait_for_function("window.jupyterapp !== undefined", timeout=120_000)
        self.page.evaluate("jupyterapp.restored")

    def _command(self, name: str, options: dict[str, Any] | None = None, seconds: int = 30) -> None:
        """Run one of JupyterLab's commands to its end."""
        self.page.evaluate(
            """([name, options, seconds]) => Promise.race([
                jupyterapp.commands.execute(name, options).then(() => null),
                new Promise((_, fail) => setTimeout(
                    () => fail(new Error(`${name} took longer than ${seconds} s`)), seconds * 1000)),
            ])""",
            [name, options or {}, seconds],
        )

    def run_all(self, seconds: int = 120) -> list[str]:
        """Run every cell and return the errors."""
        self._command("notebook:run-all-cells", seconds=seconds)
        self.page.wait_for_function("[...document.querySelectorAll('.bl')].every(e => e.dataset.theme)")
        cells = self.page.evaluate("jupyterapp.shell.currentWidget.content.model.toJSON().cells")
        return [
            f"cell {number}: {output['ename']}: {output['evalue']}"
            for number, cell in enumerate(cells)
            for output in cell.get("outputs", [])
            if output["output_type"] == "error"
        ]

    def value(self, expression: str) -> Any:
        """Evaluate an expression in the kernel and return its value, by way of JSON."""
        code = f"__import__('json').dumps(({expression}), default=lambda value: value.tolist())"
        answer = self.page.evaluate(
            """async code => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const request = {code: "", store_history: false, user_expressions: {value: code}};
                return (await kernel.requestExecute(request).done).content.user_expressions.value;
            }""",
            code,
        )
        assert answer["status"] == "ok", f"{expression}: {answer['ename']}: {answer['evalue']}"
        return json.loads(ast.literal_eval(answer["data"]["text/plain"]))

    def expect(self, expression: str, value: object, seconds: int = 30) -> None:
        """Evaluate an expression in the kernel until it has this value."""
        end = time.monotonic() + seconds
        while (last := self.value(expression)) != value:
            assert time.monotonic() < end, f"{expression} is {last!r}, not {value!r}"

    def cells(self) -> list[str]:
        """Return the sources of the cells in the page."""
        return [cell[1] for cell in _state(self.page)["cells"]]

    def set_theme(self, name: str) -> None:
        """Change the theme of the page."""
        self._command("apputils:change-theme", {"theme": name})
        self.page.wait_for_function("name => document.body.dataset.jpThemeName === name", arg=name)

    def save(self) -> None:
        """Save the notebook; JupyterLab trusts it from then on."""
        self._command("docmanager:save")

    def shut_down(self) -> None:
        """End the kernel."""
        self.page.evaluate("jupyterapp.shell.currentWidget.sessionContext.shutdown()")

    def reopen(self, kernel: bool = True, trusted: bool = True) -> None:
        """Load the saved notebook again, without a kernel or as untrusted on request."""
        if not kernel:
            self._server.shut_down_kernels()
        if not trusted:
            notebook = nbformat.read(self.file, as_version=4)
            notebook.metadata["changed"] = True  # so the signature no longer fits
            nbformat.write(notebook, self.file)
        self.load(kernel)


def _state(page: Page) -> dict[str, Any]:
    """Return what shortcuts could change: kinds and sources of the cells, the active cell, and the mode."""
    return page.evaluate(
        """() => {
            const notebook = jupyterapp.shell.currentWidget.content;
            const cells = notebook.model.toJSON().cells.map(cell => [cell.cell_type, cell.source]);
            return {cells, active: notebook.activeCellIndex, mode: notebook.mode};
        }"""
    )


def shortcuts_unharmed(page: Page, locator: Locator) -> None:
    """Press keys in an element that are shortcuts of JupyterLab, and fail if the notebook changed."""
    for _ in range(20):  # a page that is drawing may take the focus back
        locator.focus()
        if locator.evaluate("element => element.contains(document.activeElement)"):
            break
        page.wait_for_timeout(100)
    else:
        raise AssertionError("takes no focus")
    before = _state(page)
    for key in ("j", "k", "a", "b", "m", "d", "d", "ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"):
        page.keyboard.press(key)
        assert _state(page) == before, f"JupyterLab took the key {key}"


def assert_accessible(page: Page | Frame, selector: str) -> None:
    """Fail on serious or critical problems that axe-core finds in the elements of a selector."""
    from axe_playwright_python.base import AXE_SCRIPT

    page.evaluate(AXE_SCRIPT)
    options = {
        "resultTypes": ["violations"],
        "iframes": False,
        "preload": False,
    }  # loads no style sheet again
    result = page.evaluate("([selector, options]) => axe.run(selector, options)", [selector, options])
    judged = {rule["id"] for kind in ("passes", "violations") for rule in result[kind]}
    assert "color-contrast" in judged, f"{selector} shows no text whose contrast can be judged: is it drawn?"
    faults = [
        f"{fault['id']} ({fault['impact']}): {fault['help']}\n  {node['html']}\n  {node['failureSummary']}"
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
    assert not faults, "\n\n".join(faults)


COLORS = """element => {
    const light = color => color.match(/[\\d.]+/g).slice(0, 3).reduce((sum, part) => sum + +part, 0) / 765;
    const own = [];
    for (let e = element; e; e = e.parentElement) own.push(getComputedStyle(e).backgroundColor);
    const ground = own.find(color => !/, 0\\)$|transparent/.test(color)) ?? "rgb(255, 255, 255)";
    return [light(getComputedStyle(element).color), light(ground)];
}"""


def show_in(page: Page, scheme: Literal["light", "dark"]) -> None:
    """Set the preferred color scheme; fail unless the page's widget follows."""
    page.emulate_media(color_scheme=scheme)
    widget = page.locator(f".bl[data-theme={scheme}]").first
    widget.wait_for()
    ink, ground = widget.evaluate(COLORS)
    assert abs(ink - ground) > 0.5 and (ink > ground) == (scheme == "dark"), (ink, ground)


ARM = """([event, drawn]) => { window.reaction = new Promise(done => {
    let begin;
    window.addEventListener(event, input => { begin = input.timeStamp; }, {capture: true, once: true});
    window.addEventListener(drawn, function painted() {
        if (begin === undefined) return;
        window.removeEventListener(drawn, painted, true);
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - begin)));
    }, true);
}); }"""
REACTION = """([event, drawn, seconds]) => Promise.race([window.reaction, new Promise((_, fail) =>
    setTimeout(() => fail(new Error(`no ${event}, or no ${drawn} after it`)), seconds * 1000))])"""


def latency(
    page: Page | Frame,
    action: Callable[[int], object],
    event: str,
    drawn: str = "bl-drawn",
    count: int = 9,
    seconds: int = 10,
) -> float:
    """Return the median time from an input event to the resulting picture.

    Args:
        page: where both events happen; a `Frame` if that is an iframe
        action: causes one reaction by Playwright; called with the reaction's number
        event: the DOM event that the action begins with, such as "keydown", "pointermove", "input"
        drawn: the DOM event a widget dispatches on itself after drawing
        count: number of reactions
        seconds: how long to wait for one of them

    Returns: milliseconds from the event's own time stamp until after the first frame that follows `drawn`;
        up to one frame (17 ms) too much for a widget that draws in `requestAnimationFrame`.
    """
    times = []
    for number in range(count):
        page.evaluate(ARM, [event, drawn])
        action(number)
        times.append(page.evaluate(REACTION, [event, drawn, seconds]))
    return statistics.median(times)
