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

ALLOWED = {  # module or folder: what of the package it may import
    "config": set(),
    "normalization": set(),
    "data": {"spans"},  # names are labeled with spans; imported when called, as the data come without torch
    "attention": {"config", "normalization"},
    "embeddings": {"config", "normalization"},
    "weights": {"config"},
    "encoder": {"config", "normalization", "attention", "embeddings", "weights"},
    "pretraining": {"config", "encoder", "normalization", "tokenization", "weights"},
    "packing": set(),
    "finetuning": {"config", "encoder", "packing", "pretraining", "tokenization", "weights"},
    "spans": {"pretraining", "tokenization"},
    "options": set(),
    "distributed": set(),
    "checkpoints": {"weights"},
    "history": {"weights"},
    "training": {"checkpoints", "distributed", "history", "options", "weights"},
    "shards": {"data", "tokenization", "weights"},
    "tokenization": {"weights", "wordpiece_training", "unicode_tables"},
    "wordpiece_training": {"tokenization", "unicode_tables"},
    "unicode_tables": set(),
    "visualization": {"config", "tokenization"},
    "widgets": {
        *("ablation", "attribution", "encoder", "finetuning", "history"),
        *("ladder", "spans", "tokenization", "visualization", "wordpiece_training"),
    },
    "checks": {
        *("attention", "config", "embeddings", "encoder", "normalization", "tokenization"),
        *("history", "options", "pretrain", "pretraining", "shards", "training"),  # the bug hunt trains
    },
    "pretrain": {
        *(
            "config",
            "data",
            "distributed",
            "embeddings",
            "history",
            "options",
            "pretraining",
            "shards",
            "tokenization",
            "training",
        ),
    },
    "ladder": {
        "history",
        "options",
        "pretrain",
        "pretraining",
        "shards",
        "tokenization",
        "training",
        "weights",
    },
    "doctor": {"config", "data", "encoder"},
    "results": set(),
    "tables": {"shards"},
    "finetune": {"finetuning", "history", "options", "pretraining", "spans", "tokenization", "training"},
    "classifier": {
        *("data", "encoder", "finetune", "finetuning", "history", "ladder", "options", "shards", "tables"),
        *("tokenization", "weights"),
    },
    "evaluation": set(),
    "attribution": {"finetuning", "spans", "tokenization"},
    "ablation": {"attention", "config", "encoder", "finetune", "finetuning"},
    "behavior": set(),
    "model_card": {"behavior", "config", "weights"},
    "cli": {
        *("classifier", "data", "distributed", "doctor", "options", "pretrain", "shards", "tokenization"),
        "weights",
    },
    "__main__": {"cli"},
}


def module_files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("bertlearn.")}
    return found


@pytest.mark.parametrize("path", module_files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    part = part_of(path)
    assert imported_parts(path) - {part} <= ALLOWED[part]


def test_every_part_of_the_package_exists() -> None:
    assert {part_of(path) for path in module_files()} == set(ALLOWED)


def test_main_names_can_be_imported() -> None:
    for name in bertlearn.__all__:
        assert getattr(bertlearn, name) is not None
    assert {"BertModel", "BertConfig", "WordPieceTokenizer", "train_wordpiece", "use"} <= set(dir(bertlearn))
    with pytest.raises(AttributeError, match="has no attribute 'BertModle'"):
        _ = bertlearn.BertModle


PAGES = [
    path for kind in ("*.md", "docs/*.md", "benchmarks/*.md", "notebooks/*.ipynb") for path in ROOT.glob(kind)
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
    starts = [line for line in text.splitlines() if re.match(r"(\t\S+/)?jupyter lab", line)]
    assert len(starts) == 3
    assert all("--LabApp.default_url=/lab/tree/notebooks/00_welcome.ipynb" in line for line in starts)


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
    assert pip == ["--constraint constraints.txt", "--editable .[dev]"]


def test_importing_the_package_loads_no_torch() -> None:
    code = "import sys, bertlearn, bertlearn.cli, bertlearn.doctor; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_unpickles() -> None:
    for path in module_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            assert not {"pickle", "joblib", "dill", "cloudpickle"} & set(names), path
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in ("torch.load", "numpy.load", "np.load"), path
                assert all(k.arg != "shell" for k in node.keywords), path
