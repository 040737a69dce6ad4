"""Finding files: the patterns of `glob`, each real file once, and links that do not lead astray."""

from __future__ import annotations

import glob
import os
import sys
from pathlib import Path

import pytest

from bertlearn.pretraining.corpus import SkippedRows, input_bytes, read_documents
from bertlearn.pretraining.corpus.find import find_files

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
TREE = ("a.txt", "b.jsonl", "x1.txt", "deep/a.txt", "deep/er/c.txt", ".hidden.txt", ".dot/d.txt", "q[1].txt")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "with space é"
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"The text of {name}.\n", encoding="utf-8")
    monkeypatch.chdir(root)
    return root


def read(*inputs: str) -> tuple[list[str], SkippedRows]:
    skipped = SkippedRows(shown=0)
    return [document.text for document in read_documents(inputs, skipped)], skipped


@pytest.mark.parametrize(
    "pattern",
    [
        "*.txt", "**/*.txt", "**", "*", "*/*", "?.txt", "x[0-9].txt", "[!a]*.txt", "deep/**/*.txt",
        "**/er/*", "**/**/*.txt", ".*", ".dot/*", "**/.dot/*", "deep/../*.txt", "./*.txt", "none/*.txt",
        "a.txt/*", "none.txt", "q[[]1].txt", "**/deep/**", "*/er/../*.txt", "",
    ],
)  # fmt: skip
def test_patterns_mean_what_they_mean_to_glob(tree: Path, pattern: str) -> None:
    for prefix in ("", f"{tree}/"):
        matches = {Path(name) for name in glob.glob(prefix + pattern, recursive=True) if Path(name).is_file()}
        assert set(find_files(Path(prefix + pattern), SkippedRows())) == matches
    names = [str(path) for path in find_files(Path(pattern), SkippedRows())]
    assert names == sorted(names)


def test_a_file_whose_name_looks_like_a_pattern_and_the_home_folder(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read("q[1].txt")[0] == ["The text of q[1].txt."]
    monkeypatch.setenv("HOME", str(tree))
    monkeypatch.setenv("USERPROFILE", str(tree))
    assert read("~/x*.txt")[0] == ["The text of x1.txt."]
    with pytest.raises(ValueError, match="is a folder; name the files in it"):
        read("~")
    with pytest.raises(ValueError, match=r"'~no such user/a\.txt' has no home directory"):
        read("~no such user/a.txt")


@needs_links
@pytest.mark.parametrize("loops", [1, 2])
def test_links_below_a_folder_are_not_followed_and_are_reported(tree: Path, loops: int) -> None:
    """Two links to the folder itself would give two names to the power of the depth."""
    for number in range(loops):
        (tree / f"loop{number}").symlink_to(".")
    texts, skipped = read("**/*.txt")
    assert texts == [
        f"The text of {name}." for name in sorted(TREE) if "." not in name[0] and "json" not in name
    ]
    assert skipped.counts == {"link to a folder, which is not followed": loops}
    assert input_bytes(["**/*.txt"]) == sum(len(text) + 1 for text in texts)


@needs_links
def test_a_folder_that_the_user_names_is_followed_even_if_it_is_a_link(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree / "deep")
    (tree / "deep" / "up").symlink_to(tree)
    for pattern in (f"{tmp_path}/link/**/*.txt", f"{tmp_path}/l*/**/*.txt"):
        assert read(pattern)[0] == ["The text of deep/a.txt.", "The text of deep/er/c.txt."]
    assert len(read("deep/up/*.txt")[0]) == 3


@needs_links
def test_a_file_with_several_names_is_read_once(tree: Path) -> None:
    (tree / "soft.txt").symlink_to("a.txt")
    (tree / "deep" / "soft.txt").symlink_to(tree / "soft.txt")
    os.link(tree / "a.txt", tree / "hard.txt")
    texts, skipped = read("*.txt", "deep/*.txt", "a.txt", "**/a.txt", str(tree / "a.txt"))
    assert sorted(texts) == [f"The text of {name}." for name in ("a.txt", "deep/a.txt", "q[1].txt", "x1.txt")]
    assert skipped.counts == {"another name of a file that is read already": 4}
    assert input_bytes(["a.txt", "soft.txt", "hard.txt"]) == len("The text of a.txt.\n")


@needs_links
def test_a_link_to_nothing_is_reported(tree: Path) -> None:
    (tree / "gone.txt").symlink_to("nowhere.txt")
    texts, skipped = read("*.txt")
    assert len(texts) == 3
    assert skipped.counts == {"link to a file that does not exist": 1}
    with pytest.raises(ValueError, match=r"no file matches 'gone\.txt'"):
        read("gone.txt")


def test_a_folder_that_cannot_be_read_is_reported(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir, os.listdir

    def refuse(function, path):
        if Path(path).name == "deep":
            raise PermissionError(13, "Permission denied", str(path))
        return function(path)

    monkeypatch.setattr(os, "scandir", lambda path: refuse(real[0], path))
    monkeypatch.setattr(os, "listdir", lambda path: refuse(real[1], path))
    for pattern in ("**/*.txt", "*/*.txt"):
        if pattern == "*/*.txt":
            (tree / "other").mkdir()
            (tree / "other" / "o.txt").write_text("Other.", encoding="utf-8")
        _, skipped = read(pattern)
        assert skipped.counts == {"folder cannot be read (PermissionError)": 1}


def test_the_vocabulary_of_earlier_shards_is_not_text(tree: Path) -> None:
    """As when the output folder lies inside the input folder, and the shards are built once more."""
    for name in ("vocab.txt", "tokenizer_config.json"):
        (tree / "deep" / name).write_text("{}", encoding="utf-8")
    texts, skipped = read("deep/*.txt")
    assert texts == ["The text of deep/a.txt."]
    assert skipped.counts == {"the vocabulary of a tokenizer, not text": 1}
    (tree / "vocab.txt").write_text("Mine.", encoding="utf-8")
    assert read("vocab.txt")[0] == ["Mine."]


def test_a_file_that_vanishes_is_reported(tree: Path) -> None:
    skipped = SkippedRows(shown=0)
    documents = read_documents(["*.txt"], skipped)
    (tree / "x1.txt").unlink()
    assert len(list(documents)) == 2
    assert skipped.counts == {"cannot be read to the end (FileNotFoundError)": 1}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes with names")
@pytest.mark.parametrize("name", ["pipe.txt", "link.txt", "/dev/zero"])
def test_what_is_no_regular_file_is_named(tree: Path, name: str) -> None:
    os.mkfifo(tree / "pipe.txt")
    (tree / "link.txt").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=rf"{name} is not a regular file but a pipe.*; write its text to a"):
        read("x1.txt", name)
    texts, skipped = read("*.txt")
    assert len(texts) == 3
    assert skipped.counts == {"not a regular file but a pipe, a socket or a device": 2}


def test_an_empty_pattern_is_the_working_directory(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"^\. is a folder; name the files in it, such as \*\*.\*\.txt"):
        read("")
