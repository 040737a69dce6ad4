"""The wheel: it brings the course, every link of its pages leads to a file, and the course runs from it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mistune
import nbformat
import pytest
from nbclient import NotebookClient

from bertlearn.course.links import pack
from bertlearn.course.sources import CHECKOUT

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    process = subprocess.run(
        command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the package as `setup.py` builds it for the wheel."""
    folder = tmp_path_factory.mktemp("built")
    metadata = ["egg_info", "--egg-base", str(folder)]  # leaves the clone as it is
    run(sys.executable, "setup.py", "-q", *metadata, "build_py", "--build-lib", folder / "lib", cwd=ROOT)
    return folder / "lib" / "bertlearn"


def links_of(markdown: str) -> Iterator[str]:
    """Yield the links and images of a text, as a Markdown parser finds them."""
    waiting = mistune.create_markdown(renderer="ast", plugins=["table"])(markdown)
    while waiting:
        token = waiting.pop()
        waiting += token.get("children", [])
        if token["type"] in ("link", "image"):
            yield token["attrs"]["url"]


def markdown_of(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return text
    cells = nbformat.reads(text, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def local_links(page: Path) -> list[str]:
    links = [link.partition("#")[0] for link in links_of(markdown_of(page))]
    return [link for link in links if link and not re.match(r"https?:", link)]


def pages(folder: Path) -> list[Path]:
    return sorted(path for kind in ("*.ipynb", "*.md") for path in folder.rglob(kind))


def test_each_link_of_each_packed_page_opens_a_file(built: Path) -> None:
    folder = built / "course" / "notebooks"
    found = {page: local_links(page) for page in pages(folder)}
    for page, links in found.items():
        for link in links:
            target = (page.parent / link).resolve()
            assert target.is_file() and target.is_relative_to(folder.resolve()), f"{page}: {link}"
    in_clone = [link for page in CHECKOUT.glob("*.ipynb") for link in local_links(page)]
    assert sum(len(links) for page, links in found.items() if page.suffix == ".ipynb") == len(in_clone) > 20


def test_the_packed_notebooks_differ_in_their_links_alone(built: Path) -> None:
    packed = {path.name: json.loads(path.read_bytes()) for path in built.glob("course/notebooks/*.ipynb")}
    assert sorted(packed) == sorted(path.name for path in CHECKOUT.glob("*.ipynb"))
    for path in CHECKOUT.glob("*.ipynb"):
        own, other = json.loads(path.read_bytes()), packed[path.name]
        for one in (own, other):
            for cell in one["cells"]:
                if cell["cell_type"] == "markdown":
                    cell["source"] = re.sub(r"\]\([^)]*\)", "](…)", "".join(cell["source"]))
        assert own == other, path.name


def test_the_wheel_brings_the_lock_and_each_linked_module_as_it_is(built: Path) -> None:
    assert (built / "course" / "constraints.txt").read_bytes() == (ROOT / "constraints.txt").read_bytes()
    modules = list(built.glob("course/notebooks/source/**/*.py"))
    assert modules
    for path in modules:
        name = path.relative_to(built / "course" / "notebooks" / "source")
        assert path.read_bytes() == (ROOT / name).read_bytes()


def test_no_folder_of_the_course_looks_like_the_package(built: Path) -> None:
    """A notebook's folder is the first place where Python looks for modules."""
    assert not [path for path in (built / "course" / "notebooks").iterdir() if path.stem == "bertlearn"]


def test_a_link_that_leads_nowhere_stops_the_build(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    cell = nbformat.v4.new_markdown_cell("See [this](../docs/gone.md#part) and [that](https://example.org).")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "notebooks" / "00_welcome.ipynb")
    with pytest.raises(ValueError, match=r"00_welcome\.ipynb links to .*gone\.md, which is no file"):
        pack(tmp_path, tmp_path / "packed")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "gone.md").write_text("[back](../notebooks/00_welcome.ipynb) `a[0](x.md)`", "utf-8")
    with pytest.raises(ValueError, match=r"gone\.md links to .*x\.md, which is no file"):
        pack(tmp_path, tmp_path / "packed")


def test_an_editable_installation_copies_no_notebooks(tmp_path: Path) -> None:
    code = "import sys; from setuptools import build_meta; build_meta.build_editable(sys.argv[1])"
    run(sys.executable, "-c", code, tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert names and not [name for name in names if name.endswith((".ipynb", "constraints.txt"))]
    assert not (ROOT / "bertlearn" / "course" / "notebooks").exists()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder into which a wheel, built from an sdist of a clean copy, is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "clone", ignore=unwanted)
    run(sys.executable, "-m", "build", "--no-isolation", "-o", folder / "dist", ".", cwd=folder / "clone")
    (wheel,) = (folder / "dist").glob("*.whl")
    options = ["--no-deps", "--no-index", "--target", str(folder / "site")]
    run(sys.executable, "-m", "pip", "install", *options, wheel, cwd=folder)
    return folder / "site"


@contextmanager
def laboratory(folder: Path, site: Path) -> Iterator[str]:
    """Yield the address of a JupyterLab that `bertlearn lab` runs on a folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--ip=127.0.0.1", f"--port={port}", "--no-browser", "--IdentityProvider.token="]
    command = [sys.executable, "-m", "bertlearn", "lab", "--folder", str(folder), "--", *flags]
    process = subprocess.Popen(command, cwd=folder.parent, env=os.environ | {"PYTHONPATH": str(site)})
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=60)


def fetched(address: str) -> bytes:
    """Return what a server answers, which may take minutes to start on a busy machine."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(address, timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(address)


@pytest.mark.slow
def test_the_course_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    folder, site = tmp_path / "Kurs für Ann", {"PYTHONPATH": str(installed)}
    said = run(
        sys.executable, "-m", "bertlearn", "lab", "--folder", folder, "--no-open", cwd=tmp_path, **site
    )
    assert str(folder) in said and "files copied" in said
    report = json.loads(run(sys.executable, "-m", "bertlearn", "doctor", "--json", cwd=tmp_path, **site))
    assert len(report["chapters"]) == len(list(CHECKOUT.glob("*.ipynb")))
    assert "match the lock" in str(report["findings"]) or "differ from the lock" in str(report["findings"])

    notebook = nbformat.read(folder / "01_attention.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("import bertlearn\nprint(bertlearn.__file__)"))
    place = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=place)
    client.execute(env=os.environ | site)
    assert Path(notebook.cells[-1].outputs[0].text.strip()).is_relative_to(installed)
    nbformat.write(notebook, folder / "01_attention.ipynb")
    said = run(
        sys.executable, "-m", "bertlearn", "lab", "--folder", folder, "--no-open", cwd=tmp_path, **site
    )
    assert len(said.splitlines()) == 1  # neither running cells nor adding one is a reason to do anything


@pytest.mark.slow
def test_lab_serves_the_folder_with_all_that_is_linked(installed: Path, tmp_path: Path) -> None:
    with laboratory(tmp_path / "course", installed) as address:
        assert b"00_welcome.ipynb" in fetched(f"{address}/api/contents")
        for name in ("docs/glossary.md", "images/query_key_value.svg", "source/bertlearn/model/bert.py"):
            assert json.loads(fetched(f"{address}/api/contents/{name}?content=0"))["name"] in name
        page = urllib.request.urlopen(f"{address}/", timeout=30)
        assert page.url == f"{address}/lab/tree/00_welcome.ipynb"
