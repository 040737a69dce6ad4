"""The learner's progress survives a new kernel; a damaged file or a full disk never stops a chapter."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from bertlearn.course import progress


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "progress"))
    progress._warned.clear()
    yield tmp_path / "progress"
    progress._in_memory.clear()
    progress._warned.clear()


def test_what_is_saved_is_loaded_and_kinds_and_chapters_are_kept_apart(folder: Path) -> None:
    assert progress.load(1, "exercises") == {}
    assert not folder.exists()  # looking creates nothing
    progress.save(1, "exercises", {"softmax": "2026"})
    progress.save(1, "guesses", {"it": {"guess": 3}})
    progress.save(2, "exercises", {"strip_accents": "2027"})
    assert progress.load(1, "exercises") == {"softmax": "2026"}
    assert progress.load(1, "guesses") == {"it": {"guess": 3}}
    assert progress.load(2, "exercises") == {"strip_accents": "2027"}
    assert sorted(path.name for path in folder.iterdir()) == ["chapter_1.json", "chapter_2.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"exercises": 1'])
def test_a_damaged_file_counts_as_empty_is_mentioned_once_and_replaced(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "chapter_3.json").write_bytes(content)
    with pytest.warns(UserWarning, match=r"chapter_3.json cannot be read"):
        assert progress.load(3, "exercises") == {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert progress.load(3, "guesses") == {}
        progress.save(3, "guesses", {"a": 1})
        assert progress.load(3, "guesses") == {"a": 1}


@pytest.mark.parametrize("content", [[], 3, None, {"exercises": [1, 2]}, {"exercises": "x"}, {"other": {}}])
def test_wrong_types_inside_count_as_empty(folder: Path, content: object) -> None:
    folder.mkdir()
    (folder / "chapter_3.json").write_text(json.dumps(content))
    assert progress.load(3, "exercises") == {}


@pytest.mark.parametrize("name", ["file/below", "nul\0character", "~no-such-user/x"])
def test_a_folder_that_cannot_be_written_is_said_once_and_memory_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(progress, "folder", lambda: tmp_path / name)
    if name.startswith("~"):
        monkeypatch.setattr(progress, "write_whole", _no_space)
    with pytest.warns(UserWarning, match="your progress is kept until this kernel ends") as caught:
        progress.save(1, "exercises", {"softmax": "2026"})
        progress.save(1, "guesses", {"a": 1})
    assert sum("kept until" in str(warning.message) for warning in caught) == 1
    assert progress.load(1, "exercises") == {"softmax": "2026"}
    assert progress.load(1, "guesses") == {"a": 1}


def _no_space(*args: object) -> None:
    raise OSError("no space left on device")


def test_the_folder_is_the_named_one_or_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, "~no-such-user/x")
    assert progress.folder() == Path("~no-such-user/x")
    monkeypatch.setenv(progress.VARIABLE, "")
    assert progress.folder().name == "progress"
    assert progress.folder().is_absolute()


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="kind='dreams'"):
        progress.load(1, "dreams")
    with pytest.raises(ValueError, match="chapter='1'"):
        progress.save("1", "guesses", {})  # type: ignore[arg-type]
