"""A small widget in JupyterLab and Notebook 7: the functions that the other tests rely on."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from .lab import PYTHON, Lab, Watch, latency, shortcuts_unharmed

pytestmark = pytest.mark.slow  # of the tests' own tools: each is used by the tests of the widgets

WIDGET = '''
import anywidget, traitlets
from IPython.display import HTML, display

class Counter(anywidget.AnyWidget):
    _esm = """
    function render({model, el}) {
        const button = document.createElement("button");
        if (model.get("keeps_keys")) button.setAttribute("data-lm-suppress-shortcuts", "true");
        const draw = () => {
            button.textContent = "count " + model.get("count");
            button.dispatchEvent(new CustomEvent("bl-drawn", {bubbles: true}));
        };
        button.addEventListener("click", () => {
            model.set("count", model.get("count") + 1);
            model.save_changes();
        });
        model.on("change:count", draw);
        el.append(button);
        draw();
    }
    export default {render};
    """
    count = traitlets.Int(0).tag(sync=True)
    keeps_keys = traitlets.Bool(True).tag(sync=True)

w = Counter()
'''


@pytest.mark.parametrize("app", ["lab", "notebook"])
def test_the_kernel_receives_a_click(lab: Lab, app: str) -> None:
    notebook = lab.open([WIDGET, "w"], app=app)
    assert notebook.run_all() == []
    assert notebook.value("w.count") == 0
    notebook.page.get_by_role("button", name="count 0").click()
    notebook.expect("w.count", 1)
    with pytest.raises(AssertionError, match=r"w\.count is 1, not 2"):
        notebook.expect("w.count", 2, seconds=0)
    with pytest.raises(AssertionError, match="unheard: NameError"):
        notebook.value("unheard")


def test_values_of_the_kernel(lab: Lab) -> None:
    notebook = lab.open(["import torch", "torch.eye(2), {'a': None}, 'é\\'\"'"])
    assert notebook.value("7") == 7
    assert notebook.run_all() == []
    assert notebook.value("torch.eye(2), {'a': None}, 'é\\'\"'") == [[[1, 0], [0, 1]], {"a": None}, "é'\""]


def test_errors_of_cells_are_returned(lab: Lab) -> None:
    notebook = lab.open(["x = 1", "x + y", "x"])
    assert notebook.run_all() == ["cell 1: NameError: name 'y' is not defined"]


def test_shortcuts(lab: Lab) -> None:
    notebook = lab.open([WIDGET, "w", "Counter(keeps_keys=False, count=5)", "1"])
    assert notebook.run_all() == []
    shortcuts_unharmed(notebook.page, notebook.page.get_by_role("button", name="count 0"))
    with pytest.raises(AssertionError, match="JupyterLab took the key"):
        shortcuts_unharmed(notebook.page, notebook.page.get_by_role("button", name="count 5"))


def test_latency_through_the_kernel(lab: Lab) -> None:
    notebook = lab.open([WIDGET, "w"])
    assert notebook.run_all() == []
    button = notebook.page.get_by_role("button", name="count")
    assert latency(notebook.page, lambda _: button.click(), "click", count=3) > 0
    notebook.expect("w.count", 3)  # the third may still be on its way, after the answer to the second


def test_themes(lab: Lab) -> None:
    notebook = lab.open(["1"], theme="JupyterLab Dark")
    background = "getComputedStyle(document.querySelector('.jp-Notebook')).backgroundColor"
    dark = notebook.page.evaluate(background)
    notebook.set_theme("JupyterLab Light")
    assert notebook.page.evaluate(background) == "rgb(255, 255, 255)" != dark


SCRIPT = "<i>run the cell</i><script>window.ran = true</script>"
FALLBACK = f"""display(HTML({SCRIPT!r}))
display(w)"""


def test_reopened(lab: Lab, watch: Watch) -> None:
    watch.allow("widget model not found")  # JupyterLab may look for it in the new kernel, which has none
    notebook = lab.open([WIDGET, FALLBACK])
    page = notebook.page
    button, fallback = page.get_by_role("button", name="count"), page.get_by_text("run the cell", exact=True)
    assert notebook.run_all() == []
    button.click()
    notebook.save()
    notebook.reopen()
    button.get_by_text("count 1").wait_for()  # the kernel still has the widget
    notebook.shut_down()
    notebook.reopen()
    fallback.wait_for()
    assert notebook.value("'w' in dir()") is False
    assert button.count() == 0


def test_reopened_without_a_kernel(lab: Lab) -> None:
    notebook = lab.open([WIDGET, FALLBACK])
    page = notebook.page
    assert notebook.run_all() == []
    notebook.save()
    for trusted in (True, False):
        notebook.reopen(kernel=False, trusted=trusted)
        page.get_by_text("run the cell", exact=True).wait_for()
        assert page.evaluate("window.ran === true") is trusted
        assert page.evaluate("jupyterapp.shell.currentWidget.sessionContext.session") is None
    assert notebook.cells() == [WIDGET, FALLBACK]


def test_a_file_is_loaded_untrusted(lab: Lab, tmp_path: Path) -> None:
    output = nbformat.v4.new_output("display_data", {"text/html": SCRIPT})
    cell = nbformat.v4.new_code_cell("1", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata=PYTHON), tmp_path / "some.ipynb")
    notebook = lab.open(tmp_path / "some.ipynb")
    notebook.page.get_by_text("run the cell", exact=True).wait_for()
    assert notebook.page.evaluate("window.ran") is None
    assert notebook.value("2 + 2") == 4
