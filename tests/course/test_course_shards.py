"""The shards of the course's texts: in a shared cache, in the user's own, built once, and reported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

import pytest

import bertlearn
from bertlearn import cli, data
from bertlearn.course import corpus
from bertlearn.data import DataError, Document
from bertlearn.pretraining.corpus import Shards

NOBODY = 65534
FEWER = """
import json, os
from bertlearn.course import corpus

real = corpus.course_documents
corpus.course_documents = lambda split: real(split)[::40]
"""  # all the texts would take half a minute
CHAPTER_4 = """
import json
from bertlearn.course.corpus import course_shards
from bertlearn.pretraining.corpus import Examples, Shards

shards, held_out = Shards.open(course_shards("train")), Shards.open(course_shards("validation"))
row = Examples(shards, max_length=64, pairs=False, seed=0).rows(0, 1).input_ids
print(json.dumps([str(shards.folder), str(held_out.folder), row.shape], ensure_ascii=False))
"""


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder that every user can read; those of `tmp_path` belong to one alone."""
    folder = Path(mkdtemp(prefix="bertlearn public é "))
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def make_read_only(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def as_student(code: str, cache: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run code as a user who can read the cache and write only a home of their own."""
    home.mkdir(exist_ok=True)
    if os.getuid() == 0:  # Python itself may lie in root's home, so it has imported all before this
        code = f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n{code}"
        os.chown(home, NOBODY, NOBODY)
    names = ("BERTLEARN_CACHE", "XDG_CACHE_HOME", "HF_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"BERTLEARN_CACHE": str(cache), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    code = f"{FEWER}{code}"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(bertlearn.__file__).parents[1],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_chapter_4_runs_on_a_read_only_cache_with_and_without_shards(
    public: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.fetch(["reviews", "wikipedia", "bible"])
    data.load_articles()
    cache, home = public / "cache", public / "home"
    for name in ("reviews", "wikipedia", "bible"):
        shutil.copytree(data.cache_folder() / name, cache / name)
    make_read_only(cache)
    lacking = as_student(CHAPTER_4, cache, home)
    assert lacking.returncode == 0, lacking.stderr[-2000:]
    own = Path("home", ".cache", "bertlearn", "shards")
    assert f"{cache} has no shards of the course's texts and cannot be written; they are built in {home}" in (
        lacking.stdout
    )
    assert lacking.stdout.count("cannot be written") == 2  # of the training and of the held-out text
    assert str(own / "train-e037bc3e8741") in lacking.stdout.splitlines()[-1]
    again = as_student(CHAPTER_4, cache, home)
    assert again.stdout == lacking.stdout.splitlines(keepends=True)[-1]

    for path in (cache, *cache.iterdir()):
        path.chmod(0o755)
    monkeypatch.setenv("BERTLEARN_CACHE", str(cache))
    few = corpus.course_documents("train")[::40]
    monkeypatch.setattr(corpus, "ENGLISH", replace(corpus.ENGLISH, documents=lambda split: few))
    corpus.ENGLISH.build()
    make_read_only(cache)
    shared = as_student(CHAPTER_4, cache, public / "other home")
    assert shared.returncode == 0 and str(cache / "shards") in shared.stdout.splitlines()[-1]
    assert "cannot be written" not in shared.stdout and list((public / "other home").iterdir()) == []


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Use an empty cache and few texts; return the splits that were read."""
    splits: list[str] = []

    def documents(split: str) -> list[Document]:
        splits.append(split)
        return [Document("plots", f"two friends talk about the {split} and talk")] * 3

    monkeypatch.setattr(corpus, "ENGLISH", replace(corpus.ENGLISH, documents=documents))
    monkeypatch.setattr(corpus, "own_cache_folder", lambda: tmp_path / "own")
    monkeypatch.setenv("BERTLEARN_CACHE", str(tmp_path / "cache"))
    return splits


def test_shards_are_built_once(quick: list[str], tmp_path: Path) -> None:
    folders = [corpus.course_shards("train") for _ in range(2)]
    assert folders[0] == folders[1] and folders[0].parent == tmp_path / "cache" / "shards"
    assert quick == ["train"]
    corpus.ENGLISH.build()
    corpus.ENGLISH.build()
    assert quick == ["train", "validation"]
    assert corpus.ENGLISH.status()[:3] == ("shards", "intact", tmp_path / "cache" / "shards")
    assert corpus.ENGLISH.status().size > 1000


def test_damaged_shards_are_reported_and_built_again(quick: list[str]) -> None:
    assert corpus.ENGLISH.status().state == "missing"
    corpus.ENGLISH.build()
    path = corpus.course_shards("validation") / "00000.tokens.npy"
    path.write_bytes(path.read_bytes()[:-2] + b"\7\0")
    assert corpus.ENGLISH.status().state == "damaged"
    corpus.ENGLISH.build()
    assert quick == ["train", "validation", "validation"]
    assert corpus.ENGLISH.status().state == "intact"


def test_shards_of_the_shared_cache_come_first(quick: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").touch()  # nothing can be written there, not even by root
    own = corpus.course_shards("train")
    assert own.parent == tmp_path / "own" / "shards"
    (tmp_path / "cache").unlink()
    shutil.copytree(tmp_path / "own", tmp_path / "cache")
    assert corpus.course_shards("train").parent == tmp_path / "cache" / "shards"
    assert quick == ["train"]


def test_no_place_to_build_shards(quick: list[str], tmp_path: Path) -> None:
    for name in ("cache", "own"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match=r"cannot be built in .*set BERTLEARN_CACHE to a folder of your own"):
        corpus.course_shards("train")
    with pytest.raises(DataError, match="cannot be built in "):
        corpus.ENGLISH.build()


def test_of_several_processes_one_builds(tmp_path: Path) -> None:
    code = (
        "import time\n"
        "from dataclasses import replace\n"
        "from bertlearn.course import corpus\n"
        "from bertlearn.data import Document\n"
        "def documents(split):\n"
        "    print('built', flush=True)\n"
        "    time.sleep(0.5)\n"
        "    return [Document('plots', 'two friends talk and talk')] * 3\n"
        "corpus.ENGLISH = replace(corpus.ENGLISH, documents=documents)\n"
        "corpus.own_cache_folder = corpus.cache_folder\n"
        "print(corpus.Shards.open(corpus.course_shards('train')).documents)\n"
    )
    environment = {**os.environ, "BERTLEARN_CACHE": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(3)
    ]
    lines = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert [one[-1] for one in lines] == ["3"] * 3
    assert sum("built" in one for one in lines) == 1


def test_the_data_command_builds_and_reports_the_shards(
    quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    intact = data.Status("reviews", "intact", tmp_path, 3_000_000)
    monkeypatch.setattr(data, "fetch", lambda names: None)
    monkeypatch.setattr(data, "status", lambda names: [intact])
    assert cli.data(check=True) == 1
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["reviews", "intact"],
        ["shards", "missing"],
    ]
    assert cli.data(names=("reviews",)) == 0 and quick == []
    assert capsys.readouterr().out.split()[0] == "reviews"
    assert cli.data() == 0 and quick == ["train", "validation"]
    assert "shards       intact" in capsys.readouterr().out
    assert cli.data(check=True) == 0
    assert Shards.open(corpus.course_shards("train")).documents == 3
