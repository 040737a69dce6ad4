"""`bertlearn lab`: which folder is opened, what is said, and what JupyterLab is started with."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from jupyterlab.labapp import LabApp

from bertlearn import cli, data
from bertlearn.course import lab, sources
from bertlearn.course.links import pack


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the flags of each JupyterLab that would have been started; texts and weights are there."""
    calls: list[list[str]] = []
    monkeypatch.setattr(LabApp, "launch_instance", calls.append)
    monkeypatch.setattr(data, "fetch", lambda: [])
    return calls


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let the package be one that was installed from a wheel; return a home folder."""
    pack(sources.CHECKOUT.parent, tmp_path / "packed")
    monkeypatch.setattr(sources, "PACKED", tmp_path / "packed")
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def bertlearn_lab(*words: str) -> int:
    return cli._run(["lab", *words])


def test_a_clone_is_opened_as_a_whole(started: list[list[str]], tmp_path: Path) -> None:
    assert bertlearn_lab() == 0
    root, page = sources.CHECKOUT.parent, "/lab/tree/notebooks/00_welcome.ipynb"
    assert started[0][:2] == [f"--ServerApp.root_dir={root}", f"--LabApp.default_url={page}"]


def test_a_clone_refuses_a_folder(started: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    assert bertlearn_lab("--folder", "mine") == 1
    assert "--folder=mine is for a course installed from a wheel" in capsys.readouterr().err
    assert not started


def test_the_wheels_course_is_copied_to_a_visible_folder(
    started: list[list[str]], wheel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bertlearn_lab("--", "--port", "9000", "--IdentityProvider.token=") == 0
    folder = wheel / "bertlearn-course"
    assert (folder / "01_attention.ipynb").is_file() and (folder / "docs" / "glossary.md").is_file()
    assert started[0][:2] == [
        f"--ServerApp.root_dir={folder}",
        "--LabApp.default_url=/lab/tree/00_welcome.ipynb",
    ]
    assert started[0][-3:] == ["--port", "9000", "--IdentityProvider.token="]
    first = capsys.readouterr().out
    assert str(folder) in first and re.search(r"\d+ files copied", first) and "new " not in first
    assert bertlearn_lab() == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_without_opening_it_only_copies(started: list[list[str]], wheel: Path, tmp_path: Path) -> None:
    assert bertlearn_lab("--no-open", "--folder", str(tmp_path / "mine")) == 0
    assert (tmp_path / "mine" / "00_welcome.ipynb").is_file() and not started
    assert not list(wheel.iterdir())


def test_a_new_version_says_what_changed_and_how_to_go_on(
    started: list[list[str]], wheel: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bertlearn_lab()
    own, new = wheel / "bertlearn-course", sources.PACKED
    (own / "docs" / "glossary.md").write_text("mine", "utf-8")
    (new / "docs" / "glossary.md").write_text("theirs", "utf-8")
    (new / "images" / "new.svg").write_text("<svg/>", "utf-8")
    monkeypatch.setattr(metadata, "version", lambda name: "9.9")
    capsys.readouterr()
    bertlearn_lab()
    said = capsys.readouterr().out
    assert "new      images/new.svg" in said and "kept     docs/glossary.md" in said
    assert "glossary-9.9.md" in said and lab.ADVICE in said


def test_data_come_before_jupyterlab_and_their_lack_is_told(
    started: list[list[str]], wheel: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise data.DataError("no network; do this")

    monkeypatch.setattr(data, "fetch", fail)
    assert bertlearn_lab() == 1
    assert "bertlearn lab: no network; do this" in capsys.readouterr().err
    assert not started and (wheel / "bertlearn-course" / "00_welcome.ipynb").is_file()


def test_a_folder_that_cannot_be_used_is_refused(
    started: list[list[str]], wheel: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert bertlearn_lab("--folder", str(tmp_path / "file")) == 1
    assert "is a file, expected a folder; choose another folder" in capsys.readouterr().err
    (tmp_path / "mine" / "01_attention.ipynb").mkdir(parents=True)
    assert bertlearn_lab("--folder", str(tmp_path / "mine")) == 1
    assert "could not all be copied" in capsys.readouterr().err
    assert not started


@pytest.mark.parametrize(
    ("platform", "display", "user", "flags"),
    [
        ("linux", {}, 1000, ["--no-browser"]),
        ("linux", {"DISPLAY": ":0"}, 1000, []),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, 0, ["--allow-root"]),
        ("darwin", {}, 501, []),
        ("win32", {}, 0, []),
    ],
)
def test_flags_fit_the_machine(
    platform: str, display: dict[str, str], user: int, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine: Any = type("os", (), {"environ": display, "geteuid": staticmethod(lambda: user)})
    monkeypatch.setattr(lab, "os", machine)
    monkeypatch.setattr(sys, "platform", platform)
    assert lab._machine_flags() == flags
