"""The index on disk: exact neighbors, interrupted builds, damaged files, other models and other texts."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CONFIG, random_model
from task_models import WORDS

from bertlearn.files import file_lock
from bertlearn.model.bert import BertModel
from bertlearn.model.inference import sentence_vectors
from bertlearn.search import Entry, IndexFolderError, SearchIndex, record
from bertlearn.search import index as module
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

TOKENIZER = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS])


@pytest.fixture(scope="module")
def encoder() -> BertModel:
    return random_model(BertModel)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 8)
    monkeypatch.setattr(module, "SCANNED", 7)


def some_texts(count: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(2, 12))) for _ in range(count)]


def built(folder: Path, encoder: BertModel, texts: list[str]) -> SearchIndex:
    index = SearchIndex(folder, encoder, TOKENIZER)
    index.build(texts)
    return index


@pytest.mark.parametrize("count", [1, 8, 30])
def test_the_nearest_texts_are_those_of_a_plain_product(
    tmp_path: Path, encoder: BertModel, count: int
) -> None:
    texts = some_texts(count)
    index = built(tmp_path / "index", encoder, texts)
    unit = torch.nn.functional.normalize(sentence_vectors(encoder, TOKENIZER, texts), dim=1)
    queries = index.vectors(some_texts(5, seed=1))
    expected = (queries @ unit.T).topk(min(10, count))
    scores, rows = index.nearest(queries, k=10)
    assert rows.equal(expected.indices)
    torch.testing.assert_close(scores, expected.values, atol=2e-3, rtol=0)  # half precision


def test_texts_come_back_as_they_were(tmp_path: Path, encoder: BertModel) -> None:
    texts = [*some_texts(9), "the film\nfilm, in two lines", "café film 电影 the", " the  film "]
    index = built(tmp_path, encoder, texts)
    assert [index.entry(row).text for row in range(len(texts))] == texts
    best = index.search(texts[3], k=1)[0]
    assert (best.row, best.text) == (3, texts[3]) and best.score == pytest.approx(1, abs=2e-3)


def test_texts_have_places(tmp_path: Path, encoder: BertModel) -> None:
    entries = [Entry(text, f"{number}.txt") for number, text in enumerate(some_texts(11))]
    index = SearchIndex(tmp_path, encoder, TOKENIZER)
    index.build([*entries[:10], "the film"])
    assert index.search(entries[4].text, k=1)[0].place == "4.txt" and index.entry(10) == Entry("the film")
    with pytest.raises(IndexFolderError, match=r"text 4 is .*\(moved\.txt\), but .* holds .*\(3\.txt\)"):
        index.build([*entries[:3], entries[3]._replace(place="moved.txt")])


def test_texts_that_are_longer_than_what_is_read_are_counted(tmp_path: Path, encoder: BertModel) -> None:
    index = SearchIndex(tmp_path, encoder, TOKENIZER, max_length=6)
    index.build(["ba be bi bo", "ba be bi bo bu", "the film", "bu" * 40])  # the last one is one [UNK]
    assert index.record.cut == 1
    index.build([*(index.entry(row) for row in range(4)), "ba " * 9])
    assert index.record.cut == 2 == SearchIndex(tmp_path, encoder, TOKENIZER).record.cut


def test_an_addition_that_was_interrupted_before_its_first_block_is_known(
    tmp_path: Path, encoder: BertModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = built(tmp_path, encoder, some_texts(8))
    assert index.record.complete

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SearchIndex, "vectors", interrupt)
    with pytest.raises(KeyboardInterrupt):
        index.build(some_texts(12))
    again = SearchIndex(tmp_path, encoder, TOKENIZER)
    assert len(again) == 8 and not again.record.complete


def test_an_index_is_opened_again_and_grows(tmp_path: Path, encoder: BertModel) -> None:
    texts = some_texts(20)
    built(tmp_path, encoder, texts[:11])
    before = (tmp_path / "vectors.f16").read_bytes()
    again = SearchIndex(tmp_path, encoder, TOKENIZER)
    assert len(again) == 11
    again.build(iter(texts))
    assert len(again) == 20 and (tmp_path / "vectors.f16").read_bytes().startswith(before)
    whole = built(tmp_path.parent / "whole", encoder, texts)
    queries = again.vectors(texts)
    assert again.nearest(queries, 5)[1].equal(whole.nearest(queries, 5)[1])


def test_building_again_computes_nothing(
    tmp_path: Path, encoder: BertModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = some_texts(11)
    built(tmp_path, encoder, texts)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(SearchIndex, "vectors", None)  # a call of it would fail
    assert len(built(tmp_path, encoder, texts)) == 11
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_build_that_failed_continues(tmp_path: Path, encoder: BertModel) -> None:
    texts = some_texts(20)

    def breaks_off() -> Iterator[str]:
        yield from texts[:13]
        raise OSError("the disk was pulled out")

    with pytest.raises(OSError, match="pulled out"):
        built(tmp_path, encoder, breaks_off())
    index = SearchIndex(tmp_path, encoder, TOKENIZER)
    assert len(index) == 8 and not index.record.complete  # the blocks before
    index.build(texts)
    assert index.record.complete and SearchIndex(tmp_path, encoder, TOKENIZER).record.complete
    assert [index.entry(row).text for row in range(20)] == texts


def test_what_lies_beyond_the_record_is_cut_off(tmp_path: Path, encoder: BertModel) -> None:
    texts = some_texts(12)
    built(tmp_path, encoder, texts[:8])
    for name in ("vectors.f16", "texts.utf8", "ends.i64"):  # a killed process wrote part of a block
        with (tmp_path / name).open("ab") as file:
            file.write(b"rubbish")
    index = built(tmp_path, encoder, texts)
    assert [index.entry(row).text for row in range(12)] == texts
    assert index.nearest(index.vectors(texts), 1)[1][:, 0].tolist() == list(range(12))


def test_a_killed_process_loses_one_block_at_most(tmp_path: Path, encoder: BertModel) -> None:
    encoder.save_pretrained(tmp_path / "model")
    TOKENIZER.save_pretrained(tmp_path / "model")
    texts = some_texts(60)
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    program = f"""
        import json, time
        from bertlearn import BertModel, WordPieceTokenizer
        from bertlearn.search import SearchIndex, index
        index.BLOCK = 8
        folder = {str(tmp_path / "model")!r}
        model, tokenizer = BertModel.from_pretrained(folder), WordPieceTokenizer.from_pretrained(folder)
        texts = json.load(open({str(tmp_path / "texts.json")!r}))
        slow = (time.sleep(0.02) or text for text in texts)
        SearchIndex({str(tmp_path / "index")!r}, model, tokenizer).build(slow)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    record, end = tmp_path / "index" / "index.json", time.monotonic() + 120
    while (
        not (record.exists() and json.loads(record.read_text())["texts"])
        and time.monotonic() < end
        and process.poll() is None
    ):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait(timeout=60)
    index = SearchIndex(tmp_path / "index", encoder, TOKENIZER)
    assert 8 <= len(index) < 60
    index.build(texts)
    assert [index.entry(row).text for row in range(60)] == texts


def test_two_builds_at_a_time_are_refused(tmp_path: Path, encoder: BertModel) -> None:
    index = SearchIndex(tmp_path, encoder, TOKENIZER)
    with file_lock(tmp_path / ".lock"), pytest.raises(IndexFolderError, match="another process"):
        index.build(some_texts(3))


@pytest.mark.parametrize("texts", [some_texts(11, seed=5), some_texts(5)])
def test_other_texts_are_refused(tmp_path: Path, encoder: BertModel, texts: list[str]) -> None:
    index = built(tmp_path, encoder, some_texts(11))
    with pytest.raises(IndexFolderError, match=r"text 1 is .* but .* holds .*; give the same|only 5 given"):
        index.build(texts)
    assert len(SearchIndex(tmp_path, encoder, TOKENIZER)) == 11


def test_another_model_is_refused(tmp_path: Path, encoder: BertModel) -> None:
    built(tmp_path, encoder, some_texts(3))
    other = BertModel(CONFIG)
    cased = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS], do_lower_case=False)
    fewer = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS[:-1]])
    exact = BertModel(replace(CONFIG, layer_norm_eps=1e-3)).eval()
    exact.load_state_dict(encoder.state_dict())
    for model, tokenizer in ((other, TOKENIZER), (encoder, fewer), (encoder, cased), (exact, TOKENIZER)):
        with pytest.raises(IndexFolderError, match="made with another model or tokenizer"):
            SearchIndex(tmp_path, model, tokenizer)
    with pytest.raises(IndexFolderError, match="max_length=32, not 16"):
        SearchIndex(tmp_path, encoder, TOKENIZER, max_length=16)


@pytest.mark.parametrize("name", ["vectors.f16", "texts.utf8", "ends.i64", "places.utf8", "place_ends.i64"])
@pytest.mark.parametrize("damage", ["cut", "changed", "deleted"])
def test_damaged_files_are_found(tmp_path: Path, encoder: BertModel, name: str, damage: str) -> None:
    built(tmp_path, encoder, [Entry(text, "notes.txt") for text in some_texts(9)])
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    if damage == "deleted":
        path.unlink()
    else:
        content[5] ^= 1
        path.write_bytes(content if damage == "changed" else content[:-1])
    with pytest.raises(IndexFolderError, match=rf"{name} .*delete .* and build it again"):
        SearchIndex(tmp_path, encoder, TOKENIZER)


@pytest.mark.parametrize("content", ["{}", "[1]", "not JSON", '{"format": 1}', '{"format": 2, "texts": 3}'])
def test_a_damaged_record_is_found(tmp_path: Path, encoder: BertModel, content: str) -> None:
    built(tmp_path, encoder, some_texts(9))
    (tmp_path / "index.json").write_text(content)
    with pytest.raises(IndexFolderError, match=r"index\.json .*delete .* and build the index again"):
        SearchIndex(tmp_path, encoder, TOKENIZER)


def test_an_older_object_does_not_overwrite_what_another_built(tmp_path: Path, encoder: BertModel) -> None:
    older = SearchIndex(tmp_path, encoder, TOKENIZER)
    built(tmp_path, encoder, some_texts(9))
    with pytest.raises(IndexFolderError, match="text 1 is"):
        older.build(some_texts(9, seed=3))
    older.build(some_texts(12))
    assert len(SearchIndex(tmp_path, encoder, TOKENIZER)) == 12


def test_a_process_killed_while_it_wrote_the_first_record_leaves_a_usable_folder(
    tmp_path: Path, encoder: BertModel
) -> None:
    (tmp_path / ".index.json.0a1b").write_text("{")
    (tmp_path / "vectors.f16").write_bytes(b"half")
    index = built(tmp_path, encoder, some_texts(3))
    assert len(index) == 3 and not (tmp_path / ".index.json.0a1b").exists()


def test_a_full_disk_leaves_the_last_record(
    tmp_path: Path, encoder: BertModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = built(tmp_path, encoder, some_texts(8))

    def fail(*arguments: object) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
        patch.setattr(record, "write_whole", fail)
        index.build(some_texts(20))
    assert len(index) == len(SearchIndex(tmp_path, encoder, TOKENIZER)) == 8
    index.build(some_texts(20))
    assert index.entry(19).text == some_texts(20)[19]


def test_the_borders_of_texts_are_compared(tmp_path: Path, encoder: BertModel) -> None:
    index = built(tmp_path, encoder, ["ba be", "bi"])
    with pytest.raises(IndexFolderError, match="text 1 is"):
        index.build(["ba", " bebi"])
    with pytest.raises(IndexFolderError, match="text 1 is"):
        index.build(["ba b", "ebi"])


def test_home_is_found(tmp_path: Path, encoder: BertModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    built(Path("~/index"), encoder, some_texts(2))
    assert (tmp_path / "index" / "index.json").exists()


def test_a_folder_of_something_else_is_refused(tmp_path: Path, encoder: BertModel) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    with pytest.raises(IndexFolderError, match="not an index and not an empty folder"):
        SearchIndex(tmp_path, encoder, TOKENIZER)
    with pytest.raises(IndexFolderError, match="not an index"):
        SearchIndex(tmp_path / "thesis.txt", encoder, TOKENIZER)
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_wrong_texts_and_queries_are_refused(tmp_path: Path, encoder: BertModel) -> None:
    index = SearchIndex(tmp_path, encoder, TOKENIZER)
    with pytest.raises(ValueError, match="has no texts yet"):
        index.search("the film")
    with pytest.raises(ValueError, match="text 9"):
        index.build([*some_texts(9), "", "the film"])
    assert len(SearchIndex(tmp_path, encoder, TOKENIZER)) == 8
    for query in ("  ", None, 3):
        with pytest.raises(ValueError, match="query"):
            index.search(query)
    with pytest.raises(ValueError, match="put a single text into a list"):
        index.build("the film")
    with pytest.raises(ValueError, match="max_length=2"):
        SearchIndex(tmp_path / "new", encoder, TOKENIZER, max_length=2)
    with pytest.raises(ValueError, match="k=0"):
        index.search("the film", k=0)


def test_memory_does_not_grow_with_the_texts(
    tmp_path: Path, encoder: BertModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 64)
    monkeypatch.setattr(
        SearchIndex, "vectors", lambda self, texts, batch_size: torch.ones(len(texts), CONFIG.hidden_size)
    )
    peaks = []
    for count in (2_000, 20_000):
        tracemalloc.start()
        built(tmp_path / str(count), encoder, (f"text {number}" for number in range(count)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 200_000


def test_vectors_are_stored_in_two_bytes_a_number(tmp_path: Path, encoder: BertModel) -> None:
    built(tmp_path, encoder, some_texts(9))
    stored = np.fromfile(tmp_path / "vectors.f16", "<f2").reshape(9, CONFIG.hidden_size)
    np.testing.assert_allclose(np.linalg.norm(stored.astype(float), axis=1), 1, atol=2e-3)
