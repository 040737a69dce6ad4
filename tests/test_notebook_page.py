"""A chapter as one page: formulas, folded results, pictures, and nothing that is loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import notebook_page  # noqa: E402
from mathml import to_mathml  # noqa: E402

import notebooks as tool  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><title>A mask</title></svg>'


def text_of(tex: str) -> str:
    """Return the characters of a formula in MathML, which has to be well-formed."""
    markup = to_mathml(tex).replace("&nbsp;", " ")
    return "".join(ElementTree.fromstring(markup).itertext())


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\operatorname{softmax}(s)_i = \frac{e^{s_i}}{\sum_j e^{s_j}}", "softmax(s)i=esi∑jesj"),
        (r"\frac1H \sum_i x_i", "1H∑ixi"),
        (r"\left(\frac{Q K^T}{\sqrt{d_k}}\right) V", "(QKTdk)V"),
        (r"x'_i - 3.14", "xi′−3.14"),
        (r"\text{as a matrix: } J", "as a matrix: J"),
        (r"\hat m \leftarrow \beta_1\, m", "m^←β1m"),
        (r"a < b \& c", "a<b&c"),
        (r"\big(x\big)", "(x)"),
        (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", "(abcd)"),
        (r"\log x", "logx"),
        (r"\sqrt[3]{x}", "x3"),
    ],
)
def test_formulas(tex: str, text: str) -> None:
    assert text_of(tex) == text


def test_the_structure_of_formulas() -> None:
    assert "<mfrac><mn>1</mn><mi>H</mi></mfrac>" in to_mathml(r"\frac1H")
    assert "<msubsup><mi>x</mi><mi>i</mi><mrow><mn>2</mn></mrow></msubsup>" in to_mathml("x_i^2")
    assert "<msup><mn>10</mn><mrow><mrow><mn>38</mn></mrow></mrow></msup>" in to_mathml("10^{38}")
    assert '<munder><mo movablelimits="true">∑</mo><mi>i</mi></munder>' in to_mathml(r"\sum_i")
    assert to_mathml("x", display=True).startswith('<math display="block" alttext="x">')
    assert 'alttext="a &lt; &quot;b&quot;"' in to_mathml('a < "b"')


@pytest.mark.parametrize(
    ("tex", "message"),
    [
        (r"\unheard x", r"\\unheard is not known"),
        (r"\frac{1", "} is missing"),
        (r"\frac1", "ends too early"),
        (r"\left( x", r"\\right is missing"),
        (r"\text x", "a { is missing"),
        ("^2}", "nothing goes before"),
        (r"\begin{tikz}\end{tikz}", "tikz"),
        (r"\begin{matrix}\end{cases}", "another end"),
    ],
)
def test_a_formula_that_is_not_known_is_refused(tex: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_mathml(tex)


def test_an_unknown_formula_stays_tex_and_is_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(r"See $\unheard<x$.")])
    assert r'<code class="tex">\unheard&lt;x</code>' in notebook_page.page(notebook, tmp_path)
    assert r"\unheard is not known" in capsys.readouterr().err


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_formula_of_the_course_is_known(path: Path) -> None:
    """An unknown command raises an error; what is known becomes MathML that keeps its TeX."""
    for cell in tool.read(path).cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```|`[^`]*`", "", cell.source, flags=re.DOTALL)
            for display, inline in re.findall(r"\$\$(.+?)\$\$|\$([^$]+)\$", text, re.DOTALL):
                assert re.match(r"<math alttext.*</math>$", to_mathml(display or inline), re.DOTALL)


class Loads(HTMLParser):
    """Collects what a page would fetch, and the elements that results are in."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.pictures: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        if tag == "img":
            self.pictures.append((values.get("alt", ""), values["src"]))
        if tag in ("img", "script", "iframe", "link", "source", "video", "object", "embed"):
            addresses = [values[name] for name in ("src", "href", "data") if name in values]
            self.loaded += [address for address in addresses if not address.startswith("data:")]


@pytest.fixture(scope="module")
def small_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("chapter")
    (folder / "images").mkdir()
    (folder / "images" / "mask.svg").write_text(PICTURE, encoding="utf-8")
    new_output = nbformat.v4.new_output
    cells = [
        nbformat.v4.new_markdown_cell("# Attention & <b>more</b>\n\n![The mask](images/mask.svg) $d_k$"),
        nbformat.v4.new_markdown_cell(
            "[next](02_tokenization.ipynb#words), [elsewhere](https://a.b/x.ipynb)"
        ),
        nbformat.v4.new_markdown_cell("<details><summary>Answer</summary>\n\n*hidden*\n\n</details>"),
        nbformat.v4.new_code_cell("x = 1", outputs=[new_output("stream", text="open\n")]),
        nbformat.v4.new_code_cell("x + 1", outputs=[new_output("stream", text="folded <i>\n")]),
        nbformat.v4.new_code_cell(
            "w", outputs=[new_output("display_data", {tool.WIDGET: {"model_id": "1"}})]
        ),
    ]
    cells[4].metadata["tags"] = ["prediction"]
    cells.append(nbformat.v4.new_code_cell("y = 7", outputs=[new_output("stream", text="seven")]))
    cells[-1].metadata["tags"] = ["prediction", "answer"]
    cells.append(nbformat.v4.new_code_cell("# Numbers above, checked.\nassert z"))
    notebook = nbformat.v4.new_notebook(cells=cells)
    tool.normalize(notebook)
    return notebook_page.page(notebook, folder)


def test_the_result_of_a_prediction_is_folded(small_page: str) -> None:
    answer, details, code, result, checked = re.findall("<details>.*?</details>", small_page, re.DOTALL)
    assert "Show the code" in code and ">7<" in code and "seven" in result
    assert "Show the code" in checked and "assert" in checked
    assert "<em>hidden</em>" in answer
    assert "<summary>Show the result</summary>" in details
    assert "folded &lt;i&gt;" in details and "x" not in re.sub("<[^>]*>", "", details).replace("&lt;", "")
    assert small_page.count("folded") == 1 and "open\n" in small_page


def test_a_page_is_whole(small_page: str) -> None:
    assert small_page.lower().lstrip().startswith("<!doctype html>") and small_page.rstrip().endswith(
        "</html>"
    )
    assert "<title>Attention &amp; &lt;b&gt;more&lt;/b&gt;</title>" in small_page
    ((alt, source),) = Loads(small_page).pictures
    assert alt == "The mask" and source.startswith("data:image/svg+xml;base64,")
    assert "<math alttext" in small_page
    assert 'href="02_tokenization.html#words"' in small_page and 'href="https://a.b/x.ipynb"' in small_page
    assert tool.WIDGET not in small_page


def test_a_chapters_page_loads_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    command = [sys.executable, "tools/notebooks.py", "page", "notebooks/01_attention.ipynb", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    page = out.read_text(encoding="utf-8")
    assert Loads(page).loaded == []
    assert "cdn" not in re.sub("[A-Za-z0-9+/=]{100,}", "", page).lower()
    assert "default-src 'none'" in page
