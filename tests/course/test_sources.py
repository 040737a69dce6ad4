"""The course's notebooks are found, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertlearn.course import sources


def test_a_checkout_has_every_chapter() -> None:
    files = sources.chapter_files()
    assert list(files) == [*range(10), 90] and files[1].name == "01_attention.ipynb"


def test_the_wheels_notebooks_come_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "PACKED", tmp_path)
    assert sources.notebooks_folder() == sources.CHECKOUT
    (tmp_path / "00_welcome.ipynb").touch()
    assert sources.chapter_files() == {0: tmp_path / "00_welcome.ipynb"}


def test_an_installation_without_notebooks_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sources, "PACKED", tmp_path)
    monkeypatch.setattr(sources, "CHECKOUT", tmp_path)
    with pytest.raises(FileNotFoundError, match="install the package again"):
        sources.notebooks_folder()
