"""The README's moving pictures: none is stale, and a recording says what it lacks."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import make_pictures as tool  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", tool.PICTURES)
def test_a_picture_shows_the_cells_of_today(name: str) -> None:
    recorded = json.loads(tool.RECORD.read_text(encoding="utf-8"))
    assert recorded[name] == tool.checksum(tool.PICTURES[name]), f"run `make pictures`: {name} is stale"


def test_a_changed_cell_changes_the_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = tool.PICTURES["check"]
    before = tool.checksum(picture)
    found = tool.sources(picture)
    monkeypatch.setattr(tool, "sources", lambda _: [found[0], found[1] + " "])
    assert tool.checksum(picture) != before


def test_a_cell_that_is_gone_is_named() -> None:
    gone = tool.PICTURES["check"]._replace(marks=("no such text",))
    with pytest.raises(LookupError, match=r"'no such text' is in 0 cells of 01_attention\.ipynb"):
        tool.sources(gone)


@pytest.mark.parametrize("name", tool.PICTURES)
def test_a_picture_moves_and_is_small(name: str) -> None:
    path = tool.DOCS / f"{name}.webp"
    assert path.stat().st_size <= tool.LARGEST
    with Image.open(path) as picture:
        assert picture.n_frames > 4 and picture.width > 900


def test_every_picture_is_in_the_readme_with_alternative_text_and_no_other_lies_about() -> None:
    shown = dict(re.findall(r"!\[([^\]]+)\]\(docs/([^)]+)\)", README))
    assert sorted(shown.values()) == sorted(f"{name}.webp" for name in tool.PICTURES)
    assert all(len(text.split()) >= 10 for text in shown)
    files = {path.name for path in tool.DOCS.iterdir() if path.suffix in Image.registered_extensions()}
    assert files == set(shown.values())


def test_frames_are_cut_to_one_height_and_a_large_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [(Image.new("RGB", (30, height), color), 100) for height, color in ((20, "red"), (24, "blue"))]
    tool.save(frames, tmp_path / "x.webp")
    with Image.open(tmp_path / "x.webp") as picture:
        assert (picture.size, picture.n_frames) == ((30, 20), 2)
    monkeypatch.setattr(tool, "LARGEST", 10)
    with pytest.raises(ValueError, match=r"y\.webp would have \d+ bytes; at most 10"):
        tool.save(frames, tmp_path / "y.webp")
    assert not (tmp_path / "y.webp").exists()


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SystemExit, match="no picture is called cat; there are: time_machine, check"):
        tool.main(["cat"])
