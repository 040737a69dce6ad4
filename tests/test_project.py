"""The project's own order: imports point one way, what is generated is fresh, the main names are there."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

import bertlearn

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bertlearn"
sys.path.insert(0, str(ROOT / "tools"))
import sync_env  # noqa: E402

BASE = {"arguments", "files"}
LIBRARY = BASE | {"tokenizer", "model", "training", "data", "pretraining", "finetuning", "search", "analysis"}
ALLOWED = {  # file or folder: what else of the package it may import; imports point one way
    "arguments": set(),
    "files": set(),
    "tokenizer": BASE,
    "model": BASE | {"tokenizer"},
    "training": BASE,
    "data": {"files"},
    "pretraining": BASE | {"tokenizer", "model", "training", "data"},
    "finetuning": BASE | {"tokenizer", "model", "training", "data", "pretraining"},
    "search": BASE | {"tokenizer", "model"},
    "analysis": BASE | {"tokenizer", "model", "training", "data", "pretraining", "finetuning"},
    "course": LIBRARY,
    "cli": LIBRARY | {"course"},
    "__init__": LIBRARY | {"course"},
    "__main__": {"cli"},
}
DOORS = {"__init__.py", "cli.py"}  # the library does not know the course, except in these two files
FURTHER = {  # rules within a folder: what a file of it imports when it is loaded
    "model/config.py": set(),
    "model/inputs.py": {"model.config"},
    "model/bert.py": {"model.config", "model.inputs"},
}


def module_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(tree: ast.AST) -> set[str]:
    """Return what of the package is imported anywhere below a node, such as "model.bert"."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            inner = node.module == "bertlearn"
            found |= {f"bertlearn.{alias.name}" for alias in node.names} if inner else {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.removeprefix("bertlearn.") for name in found if name.startswith("bertlearn.")}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def parts(imports: set[str]) -> set[str]:
    return {name.split(".")[0] for name in imports}


@pytest.mark.parametrize("path", module_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    assert parts(imports_of(parsed(path))) - {part} <= ALLOWED[part]


def test_the_library_does_not_know_the_course() -> None:
    knowing = {path for path in module_files() if "course" in parts(imports_of(parsed(path)))}
    outside = {path for path in knowing if part_of(path) != "course"}
    assert {str(path.relative_to(PACKAGE)) for path in outside} == DOORS
    for path in outside:
        lazily = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.If)]
        in_functions = set().union(*(imports_of(node) for node in lazily))
        top = ast.Module([n for n in parsed(path).body if isinstance(n, ast.Import | ast.ImportFrom)], [])
        assert "course" not in parts(imports_of(top)), path
        assert "course" in parts(in_functions), path


@pytest.mark.parametrize("name", FURTHER)
def test_the_file_with_the_layers_imports_only_config_and_checks(name: str) -> None:
    body = [node for node in parsed(PACKAGE / name).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert imports_of(ast.Module(body, [])) == FURTHER[name]


def test_the_file_with_the_layers_touches_no_hub_and_no_disk() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); import bertlearn.model.bert; "
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "bertlearn" in run.stdout
    assert not {"safetensors", "huggingface_hub", "tokenizers", "transformers"} & set(run.stdout.split())


def test_the_file_with_the_layers_can_be_read_in_an_evening() -> None:
    assert len((PACKAGE / "model" / "bert.py").read_text(encoding="utf-8").splitlines()) <= 450


def test_the_package_has_few_entries_and_all_are_known() -> None:
    assert {part_of(path) for path in module_files()} == set(ALLOWED)
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert len(entries - {"__init__.py", "__main__.py", "py.typed"}) <= 12


def test_main_names_can_be_imported() -> None:
    for name in bertlearn.__all__:
        assert getattr(bertlearn, name) is not None
    assert {"BertModel", "BertConfig", "WordPieceTokenizer", "train_wordpiece", "use"} <= set(dir(bertlearn))
    with pytest.raises(AttributeError, match="has no attribute 'BertModle'"):
        _ = bertlearn.BertModle


PAGES = [
    path
    for kind in ("*.md", "docs/*.md", "benchmarks/*.md", "teaching/**/*.md", "notebooks/*.ipynb")
    for path in ROOT.glob(kind)
]
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = nbformat.reads(text, as_version=4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []


def test_jupyterlab_serves_the_repository() -> None:
    """Started on a notebook, it serves that one's folder, and links to `../benchmarks` lead nowhere."""
    text = (ROOT / "README.md").read_text(encoding="utf-8") + (ROOT / "Makefile").read_text(encoding="utf-8")
    starts = re.findall(r"^(?:\t\S+/)?(jupyter lab.*|bertlearn lab\b)", text, re.MULTILINE)
    assert "bertlearn lab" in starts  # tests/course/test_lab.py has its flags
    page = "--LabApp.default_url=/lab/tree/notebooks/00_welcome.ipynb"
    assert all(start == "bertlearn lab" or page in start for start in starts)


def test_the_readmes_run_times_are_those_of_the_notebooks() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"\(notebooks/(\w+\.ipynb)\).*\| ([\d.]+) min \|", text)
    assert len(rows) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    for name, minutes in rows:
        notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
        assert float(minutes) == round(notebook.metadata["bertlearn"]["seconds"] / 60, 1), name


def test_lock_and_environment_are_fresh() -> None:
    assert sync_env.faults() == []


def test_a_stale_environment_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stale = tmp_path / "environment.yml"
    stale.write_text("name: bertlearn\n")
    monkeypatch.setattr(sync_env, "ENVIRONMENT", stale)
    assert sync_env.faults() == ["environment.yml is stale: run `python tools/sync_env.py`"]


def test_a_dependency_without_lock_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lock = tmp_path / "constraints.txt"
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    lock.write_text("\n".join(line for line in lines if not line.startswith(("numpy==", "torch=="))))
    monkeypatch.setattr(sync_env, "LOCK", lock)
    assert [fault.split()[-1] for fault in sync_env.faults()] == ["numpy", "torch", "torch==2.13.0"]


def test_environment_is_valid_for_conda() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = environment["dependencies"][-1]["pip"]
    assert [d for d in environment["dependencies"] if isinstance(d, str)][1] == "pip"
    assert pip == ["--constraint constraints.txt", "--editable .[test]"]


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, bertlearn, bertlearn.cli, bertlearn.course.doctor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_unpickles() -> None:
    for path in module_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert not {"pickle", "joblib", "dill", "cloudpickle"} & set(names), path
            if isinstance(node, ast.Call):
                safely = "allow_pickle=False" in map(ast.unparse, node.keywords)
                assert safely or ast.unparse(node.func) not in ("torch.load", "numpy.load", "np.load"), path
                assert all(k.arg != "shell" for k in node.keywords), path
