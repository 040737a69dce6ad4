"""Damaged shards are found at the first opening; what was verified is remembered, and for whom."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bertlearn import WordPieceTokenizer
from bertlearn.data import Document
from bertlearn.pretraining.corpus import Shards, build_shards, store, verify
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS

NAMES = ("tokens", "sentences", "documents")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return two shards of equal shapes, verified; records for others go to a cache of our own."""
    monkeypatch.setattr(verify, "own_cache_folder", lambda: tmp_path / "own cache é")
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *"abcdef"])
    documents = [Document(source, f"{source} b.\nc d e.") for source in "aafff" for _ in range(2)]
    folder = tmp_path / "shards"
    build_shards(documents[:8], folder, tokenizer, progress=False)
    return folder


@pytest.fixture
def digests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the files that are read to verify them, as it happens."""
    read: list[str] = []
    real = verify._digest
    monkeypatch.setattr(verify, "_digest", lambda path, *rest: read.append(path.name) or real(path, *rest))
    return read


def change(path: Path, at: int = -3) -> None:
    """Flip a bit of a file, and let its time differ even where the clock of files is coarse."""
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))


@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_is_found_and_its_file_named(folder: Path, name: str) -> None:
    Shards.open(folder)
    path = folder / f"00001.{name}.npy"
    change(path)
    with pytest.raises(ValueError, match=rf"00001\.{name}\.npy was changed or damaged after") as error:
        Shards.open(folder)
    assert str(error.value).count(".npy") == 1
    with pytest.raises(ValueError, match="was changed"):  # it is not remembered as verified
        Shards.open(folder)
    change(path)
    Shards.open(folder)


def test_swapped_files_are_found(folder: Path) -> None:
    one, other = (folder / f"0000{number}.tokens.npy" for number in (0, 1))
    assert one.stat().st_size == other.stat().st_size
    one.rename(folder / "x"), other.rename(one), (folder / "x").rename(other)
    with pytest.raises(ValueError, match=r"00000\.tokens\.npy was changed"):
        Shards.open(folder)


def test_an_edited_array_and_an_edited_list_are_found(folder: Path) -> None:
    path = folder / "00000.documents.npy"
    documents = np.load(path)
    documents[1, 1] += 1
    np.save(path, documents)
    with pytest.raises(ValueError, match=r"00000\.documents\.npy was changed"):
        Shards.open(folder)
    documents[1, 1] -= 1
    np.save(path, documents)
    Shards.open(folder)
    meta = folder / store.META
    values = json.loads(meta.read_text(encoding="utf-8"))
    values["shards"][0]["sha256"] = "0" * 64
    meta.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ValueError, match=r"meta\.json was changed"):
        Shards.open(folder)


def test_an_array_stored_by_columns_is_rejected(folder: Path) -> None:
    path = folder / "00000.documents.npy"
    np.save(path, np.asfortranarray(np.load(path)))
    with pytest.raises(ValueError, match=r"00000\.documents\.npy holds"):
        Shards.open(folder)


def test_shards_of_before_have_one_checksum_for_three_files(folder: Path) -> None:
    meta = folder / store.META
    values = json.loads(meta.read_text(encoding="utf-8"))
    for record in values["shards"]:
        del record[store.FILES]
    del values["settings"]
    meta.write_text(json.dumps(values), encoding="utf-8")
    Shards.open(folder, verify_again=True)
    change(folder / "00001.sentences.npy")
    with pytest.raises(ValueError, match=r"00001\.tokens\.npy or .*00001\.sentences\.npy or .*was changed"):
        Shards.open(folder)


def test_what_was_verified_is_read_once(folder: Path, digests: list[str]) -> None:
    Shards.open(folder)
    assert digests == []  # building has verified them
    (folder / verify.RECORD).unlink()
    Shards.open(folder)
    assert digests == [f"0000{number}.{name}.npy" for number in (0, 1) for name in NAMES]
    Shards.open(folder)
    assert len(digests) == 6
    Shards.open(folder, verify_again=True)
    assert len(digests) == 12


@pytest.mark.parametrize("seconds", [-10.0, 10**8])  # the second is years in the future
def test_another_time_or_inode_is_verified_again(folder: Path, digests: list[str], seconds: float) -> None:
    path = folder / "00000.tokens.npy"
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + seconds))
    Shards.open(folder), Shards.open(folder)
    assert len(digests) == 6
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    shutil.copy(path, folder / "copy")
    (folder / "copy").replace(path)
    os.utime(path, ns=times)
    Shards.open(folder), Shards.open(folder)
    assert len(digests) == 12


@pytest.mark.parametrize("record", ["", "{", "[]", '{"00000.tokens.npy": [1, 2, 3, "x"]}'])
def test_a_broken_record_only_costs_time(folder: Path, digests: list[str], record: str) -> None:
    (folder / verify.RECORD).write_text(record, encoding="utf-8")
    Shards.open(folder), Shards.open(folder)
    assert len(digests) == 6


def test_a_full_disk_only_costs_time(
    folder: Path, digests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    (folder / verify.RECORD).unlink()
    monkeypatch.setattr(verify, "write_whole", fail)
    Shards.open(folder), Shards.open(folder)
    assert len(digests) == 12


@pytest.fixture
def read_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Return a function that lets nothing be opened for writing in a folder, even by root."""
    real = Path.open

    def apply(forbidden: Path) -> None:
        def open_(self: Path, mode: str = "r", *rest: object, **options: object) -> object:
            if "r" not in mode and forbidden in self.parents:
                raise PermissionError(13, "Permission denied", str(self))
            return real(self, mode, *rest, **options)  # type: ignore[call-overload]

        monkeypatch.setattr(Path, "open", open_)

    return apply


def test_a_folder_that_can_only_be_read_is_remembered_in_the_users_cache(
    folder: Path, tmp_path: Path, digests: list[str], read_only: Callable[[Path], None]
) -> None:
    (folder / verify.RECORD).unlink()
    read_only(folder)
    Shards.open(folder), Shards.open(folder)
    assert len(digests) == 6
    assert verify.own_record(folder).is_file() and not (folder / verify.RECORD).exists()
    read_only(tmp_path)
    Shards.open(folder)
    assert len(digests) == 6
    verify.own_record(folder).unlink()
    Shards.open(folder), Shards.open(folder)  # nothing can be written: each time anew, but they open
    assert len(digests) == 18


def test_of_several_processes_one_verifies(folder: Path, tmp_path: Path) -> None:
    (folder / verify.RECORD).unlink()
    code = (
        "import sys, time\n"
        "from bertlearn.pretraining.corpus import Shards, verify\n"
        "real = verify._digest\n"
        "def slow(path, *rest):\n"
        "    time.sleep(0.3)\n"
        "    print(path.name, flush=True)\n"
        "    return real(path, *rest)\n"
        "verify._digest = slow\n"
        "Shards.open(sys.argv[1])\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    lines = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(map(len, lines)) == [0, 0, 6]


def test_changed_settings_of_the_tokenizer_are_found(folder: Path) -> None:
    for name in ("strip_accents", "tokenize_chinese_chars"):
        tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *"abcdef"], **{name: False})
        with pytest.raises(ValueError, match=rf"built with {name}=(None|True), this tokenizer has False"):
            Shards.open(folder).check_vocabulary(tokenizer)
