"""teaching/running.md says what is so: its table is fresh, its commands and files exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bertlearn.cli import commands
from bertlearn.course import doctor
from bertlearn.course.sources import chapter_files

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import class_size  # noqa: E402

TEXT = class_size.PAGE.read_text(encoding="utf-8")
BINDER = ROOT / ".binder"


def test_the_table_is_the_one_that_the_notebooks_give() -> None:
    assert class_size.page_with_table(TEXT) == TEXT, "run `python tools/class_size.py --write`"
    assert class_size.table().count("\n| ") == len(chapter_files()) + 1


def test_a_chapter_that_needs_more_memory_takes_fewer_students(monkeypatch: pytest.MonkeyPatch) -> None:
    chapters = {path.stem: doctor._measurement(path) for path in chapter_files().values()}
    assert class_size.peaks() == {name: found["memory_mb"] for name, found in chapters.items() if found}
    beside = class_size.SERVER
    assert class_size.students(16, 2000 - beside) == (16_000 - class_size.SYSTEM) // 2000
    assert class_size.students(1, 500) == 0  # the system alone takes more
    for peak in class_size.peaks().values():  # the machine for a class takes it, and a smaller one does not
        machine = class_size.machine_for(60, peak)
        assert class_size.students(machine, peak) >= 60 > class_size.students(machine - 1, peak)
    monkeypatch.setattr(class_size, "peaks", lambda: {"01_x": 2000 - beside, "02_y": 2001 - beside})
    assert class_size.fits(2000) == "- Chapters that fit into 2 GB: 1."
    assert class_size.page_with_table(TEXT) != TEXT


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="once each"):
        class_size.page_with_table("no marks")


def test_commands_and_targets_of_the_page_exist() -> None:
    code = "\n".join(
        block or word for block, word in re.findall(r"```\n(.*?)```|`([^`\n]+)`", TEXT, re.DOTALL)
    )
    named = set(re.findall(r"(?<![\w/.-])bertlearn (?!bertlearn)(course \w+|[a-z]+)\b", code))
    assert {"data", "doctor", "lab", "course link", "course grade"} <= named <= set(commands())
    targets = set(re.findall(r"\bmake ([a-z]+)", code))
    assert {"hub", "lab"} <= targets <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))


def test_links_of_the_page_lead_to_files_and_headings() -> None:
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", TEXT)
    headings = {
        re.sub(r"[^\w -]", "", line).lower().replace(" ", "-") for line in re.findall(r"^#+ (.+)", TEXT, re.M)
    }
    for link in links:
        file, _, anchor = link.partition("#")
        assert (class_size.PAGE.parent / file).exists() and (file or anchor in headings), link


def test_the_container_file_copies_only_what_exists() -> None:
    text = (ROOT / "teaching" / "Containerfile").read_text(encoding="utf-8")
    copied = [word for line in re.findall(r"^COPY (?!--)(.+)", text, re.M) for word in line.split()[:-1]]
    assert "notebooks" in copied and [name for name in copied if not (ROOT / name).exists()] == []
    assert text.index("USER student") < text.index("CMD")  # nothing runs as root


@pytest.mark.skipif(sys.platform == "win32", reason="Binder runs these scripts on Linux")
def test_binder_finds_the_data_where_it_puts_them() -> None:
    for name in ("postBuild", "start"):
        assert os.access(BINDER / name, os.X_OK)
        subprocess.run(["bash", "-n", str(BINDER / name)], check=True)
    settings = os.environ | {"NB_PYTHON_PREFIX": "/srv/env"}
    run = [str(BINDER / "start"), sys.executable, "-c", "import os; print(os.environ['BERTLEARN_CACHE'])"]
    shown = subprocess.run(run, env=settings, cwd="/", capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "/srv/env/share/bertlearn"
    assert '. "$(dirname "$0")/cache"' in (BINDER / "postBuild").read_text(encoding="utf-8")
