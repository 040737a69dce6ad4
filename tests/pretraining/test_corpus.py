"""Corpora: reading text, building shards, and the examples drawn from them."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import lzma
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from bertlearn import WordPieceTokenizer, train_wordpiece
from bertlearn.data import DataError, Document
from bertlearn.pretraining.corpus import (
    Examples,
    Shards,
    SkippedRows,
    build,
    build_shards,
    examples,
    read_documents,
    sample_texts,
    split_sentences,
    texts,
)
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS

WORDS = 40_000  # each word occurs once, so its id tells its position in the corpus
FIRST = len(SPECIAL_TOKENS)
CLS, SEP = SPECIAL_TOKENS.index("[CLS]"), SPECIAL_TOKENS.index("[SEP]")
FILMS = [
    "The film begins well. It doesn't end well, though. Nobody laughed.",
    "A café in Paris: two friends talk. They talk. And talk!",
    "Unwatchable.",
    "“Who is he?” asks Dr. Brown. Nobody knows; the year is 1968. Fin.",
]


def numbered_documents(seed: int = 0) -> list[Document]:
    """Return documents with the words x0, x1, x2, … in sentences of 3 to 30 words."""
    generator = np.random.default_rng(seed)
    documents, word = [], 0
    while word < WORDS - 400:
        end = word + int(generator.choice([3, 20, 60, 150, 400]))
        sentences = []
        while word < end:
            stop = min(end, word + int(generator.integers(3, 31)))
            sentences.append(" ".join(f"x{number}" for number in range(word, stop)))
            word = stop
        documents.append(Document("late" if word > WORDS // 2 else "early", "\n".join(sentences)))
    return documents


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *(f"x{number}" for number in range(WORDS))])
    folder = tmp_path_factory.mktemp("numbered")
    return build_shards(numbered_documents(), folder, tokenizer, progress=False)


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer(train_wordpiece(FILMS * 2, 120, progress=False).vocab)


@pytest.fixture
def films(tokenizer: WordPieceTokenizer, tmp_path: Path) -> Shards:
    documents = [Document("films", text) for text in FILMS]
    return build_shards(documents, tmp_path / "films", tokenizer, progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder of shards, without the hidden record of what was verified."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def documents_of(shards: Shards) -> np.ndarray:
    """Return for each word of `numbered_documents` the number of its document."""
    ends = np.cumsum([len(document.text.split()) for document in numbered_documents()])
    return np.searchsorted(ends, np.arange(WORDS), side="right")


class TestSentences:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("One. Two! Three?", ["One.", "Two!", "Three?"]),
            ("He met Mr. Smith and J. Brown. They left.", ["He met Mr. Smith and J. Brown.", "They left."]),
            ("“Who?” he said. “Me.” “You?”", ["“Who?” he said.", "“Me.”", "“You?”"]),
            ("It costs 3.50 dollars... or more. 20 came.", ["It costs 3.50 dollars... or more.", "20 came."]),
            ("one line\n\n  another line \r\nlast", ["one line", "another line", "last"]),
            ("你好。世界！好", ["你好。", "世界！", "好"]),
            (" \n ", []),
        ],
    )
    def test_splits(self, text: str, expected: list[str]) -> None:
        assert split_sentences(text) == expected

    def test_no_text_is_lost_and_no_sentence_is_endless(self) -> None:
        text = "word " * 1000 + "x" * 5000
        sentences = split_sentences(text)
        assert "".join(sentences) == text
        assert max(map(len, sentences)) == texts.MAX_SENTENCE
        assert sentences[0].endswith("word ")


class TestReading:
    def read(self, *inputs: Path | str, **options: object) -> tuple[list[Document], SkippedRows]:
        skipped = SkippedRows()
        found = list(read_documents([str(name) for name in inputs], skipped, **options))  # type: ignore[arg-type]
        return found, skipped

    def test_blank_lines_or_lines_separate_documents(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_bytes("\ufeffone\r\ntwo\r\n\r\n \n\nthree".encode())
        found, skipped = self.read(path)
        assert found == [(str(path), "one\ntwo", f"{path}:1"), (str(path), "three", f"{path}:6")]
        assert not skipped.counts
        found, skipped = self.read(path, one_document_a_line=True)
        assert [document.text for document in found] == ["one", "two", "three"]
        assert skipped.counts == {"empty document": 3}

    @pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r\n"])
    def test_every_system_may_end_lines_in_its_way(self, tmp_path: Path, end: str) -> None:
        path = tmp_path / "a.txt"
        path.write_bytes(f"\ufeffone{end}two{end}{end}{end}three é{end}".encode())
        found, _ = self.read(path)
        assert found == [(str(path), "one\ntwo", f"{path}:1"), (str(path), "three é", f"{path}:5")]
        found, skipped = self.read(path, one_document_a_line=True)
        assert [(document.text, document.location) for document in found] == [
            ("one", f"{path}:1"),
            ("two", f"{path}:2"),
            ("three é", f"{path}:5"),
        ]
        assert skipped.counts == {"empty document": 2}
        path = tmp_path / "a.jsonl"
        path.write_bytes(f'{{"text": "one"}}{end}{end}{{"text": "two"}}{end}'.encode())
        found, _ = self.read(path)
        assert [document.location for document in found] == [f"{path}:1", f"{path}:3"]

    @pytest.mark.parametrize("max_bytes", range(3, 30))
    def test_a_line_end_may_lie_anywhere_in_what_is_read_at_once(self, max_bytes: int) -> None:
        """Lines are those of Python; only a line of more bytes than are read at once is split."""
        text = b"ab\r\ncd\r\nef\n\r\ngh\ri\r\rjk\r\n\r\nlm\r"
        lines: dict[int, bytes] = {}
        skipped = SkippedRows()
        for number, line in texts._raw_lines(Path("a"), io.BytesIO(text), skipped, max_bytes, cut=True):
            lines[number] = lines.get(number, b"") + line
        expected = [b"ab", b"cd", b"ef", b"", b"gh", b"i", b"", b"jk", b"", b"lm"]
        assert list(lines.values()) == expected and list(lines) == list(range(1, len(expected) + 1))

    def test_memory_is_bounded_whatever_ends_the_lines(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(texts._lines, "__defaults__", (1000, True))
        path = tmp_path / "a.txt"
        path.write_bytes(b"\r" * 5000 + b"word\r" * 5000 + b"\rlast")
        parts: list[int] = []
        with path.open("rb") as file:
            lines = [line for _, line in texts._lines(path, file, SkippedRows())]
        with path.open("rb") as file:
            parts = [len(part) for part in texts._line_parts(file, 1000)]
        assert max(parts) <= 6 and lines == [""] * 5000 + ["word"] * 5000 + ["", "last"]

    def test_patterns_are_read_in_order_and_each_file_once(self, tmp_path: Path) -> None:
        (tmp_path / "deep").mkdir()
        for name in ("b.txt", "a.txt", "deep/c.txt"):
            (tmp_path / name).write_text(name, encoding="utf-8")
        both = (f"{tmp_path}/**/*.txt", f"{tmp_path}/*.txt")
        found, _ = self.read(*both)
        assert [(document.text, document.source) for document in found] == [
            ("a.txt", both[0]),
            ("b.txt", both[0]),
            ("deep/c.txt", both[0]),
        ]

    def test_compressed_files(self, tmp_path: Path) -> None:
        for name, module in (("a.txt.gz", gzip), ("b.txt.bz2", bz2), ("c.jsonl.xz", lzma)):
            text = '{"text": "c"}\n' if "jsonl" in name else name[0]
            with module.open(tmp_path / name, "wt", encoding="utf-8") as file:
                file.write(text)
        found, _ = self.read(f"{tmp_path}/*")
        assert [document.text for document in found] == ["a", "b", "c"]
        content = gzip.compress(b"first line\n\n" + bytes(range(32, 120)) * 3000)
        (tmp_path / "a.txt.gz").write_bytes(content[: len(content) // 2])
        found, skipped = self.read(f"{tmp_path}/*")
        assert [document.text for document in found][-2:] == ["b", "c"]
        assert skipped.counts == {"cannot be read to the end (EOFError)": 1}

    def test_json_lines(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "a.jsonl"
        rows = ['{"text": "good"}', "[1]", "{", "", '{"title": "x"}', '{"text": 5}', '{"text": " "}']
        path.write_text("\n".join([*rows, r'{"text": "\ud800"}', '{"text": "last"}']), encoding="utf-8")
        found, skipped = self.read(path)
        assert [(document.text, document.location) for document in found] == [
            ("good", f"{path}:1"),
            ("last", f"{path}:9"),
        ]
        assert skipped.counts == {
            "not a JSON object": 1,
            "not valid JSON": 1,
            "empty line": 1,
            "no text in the field 'text'": 2,
            "empty document": 1,
            "half a surrogate pair": 1,
        }
        assert f"{path}:3: not valid JSON" in capsys.readouterr().err
        found, _ = self.read(path, field="title")
        assert [document.text for document in found] == ["x"]

    def test_what_is_odd_in_other_fields_of_a_line_does_no_harm(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        rows = [
            f'{{"n": {"9" * 5000}, "text": "a large number"}}',
            '{"id": 1, "id": 2, "text": "a field twice"}',
            '\ufeff{"text": "the begin of a joined file"}',
            '{"text": "first", "text": "second"}',
        ]
        path.write_text("\n".join(rows), encoding="utf-8")
        found, skipped = self.read(path)
        assert [document.text for document in found] == [
            "a large number",
            "a field twice",
            "the begin of a joined file",
        ]
        assert skipped.counts == {"has the field 'text' several times": 1}

    def test_a_text_that_shows_nothing_is_empty(self, tmp_path: Path, tokenizer: WordPieceTokenizer) -> None:
        path = tmp_path / "a.jsonl"
        nothing = ["", " \n\t", "\u200b\u200d\x01", "\xa0\u2028", "\ufeff", "\ue000", "\ufffd"]
        path.write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in [*nothing, ".", "\u0378"]), encoding="utf-8"
        )
        found, skipped = self.read(path)
        assert [document.text for document in found] == [".", "\u0378"]
        assert skipped.counts == {"empty document": len(nothing)}
        assert skipped.with_places() == f"{len(nothing)} × empty document (first: {path}:1)"
        assert not any(tokenizer.tokenize(text) for text in nothing)

    def test_bad_bytes_and_empty_files_are_reported_and_counted(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "a.txt").write_bytes(
            b"good\nbad \xff byte\n" + b"\xe9\n" * 4 + b"good again\n" + b"\n" + b"good\n" * 5
        )
        (tmp_path / "b.txt").touch()
        found, skipped = self.read(f"{tmp_path}/*.txt")
        assert [document.text for document in found] == ["good\ngood again", "good\n" * 4 + "good"]
        assert skipped.counts == {"line is not UTF-8": 5, "empty file": 1}
        reported = capsys.readouterr().err.splitlines()
        assert reported == [
            f"{tmp_path / 'a.txt'}:2: line is not UTF-8",
            f"{tmp_path / 'a.txt'}:3: line is not UTF-8",
            f"{tmp_path / 'a.txt'}:4: line is not UTF-8 (further cases are only counted)",
            f"{tmp_path / 'b.txt'}: empty file",
        ]
        assert str(skipped) == "5 × line is not UTF-8, 1 × empty file"

    @pytest.mark.parametrize("by_line", [True, False])
    def test_a_very_long_line_is_split_into_bounded_parts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_line: bool
    ) -> None:
        monkeypatch.setattr(texts, "MAX_DOCUMENT", 100)
        monkeypatch.setattr(texts._lines, "__defaults__", (99, True))
        path = tmp_path / "a.txt"
        path.write_text("é" * 333 + " word" * 100 + "\nend", encoding="utf-8")
        found, skipped = self.read(path, one_document_a_line=by_line)
        assert max(len(document.text) for document in found) <= 100
        joined = "".join(document.text for document in found).replace("\n", "")
        assert joined == "é" * 333 + " word" * 100 + "end"
        assert not any("UTF-8" in kind for kind in skipped.counts)

    def test_lines_without_a_blank_one_are_split_into_bounded_documents(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(texts, "MAX_DOCUMENT", 100)
        path = tmp_path / "a.txt"
        path.write_text("nine char\n" * 50, encoding="utf-8")
        found = [text for text, _ in texts._file_texts(path, SkippedRows(shown=0), False, "text")]
        assert [len(text) for text in found] == [99] * 5

    def test_a_very_long_json_line_is_skipped(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(texts, "MAX_JSON_LINE", 100)
        path = tmp_path / "a.jsonl"
        path.write_text('{"text": "' + "x" * 500 + '"}\n{"text": "short"}\n', encoding="utf-8")
        found, skipped = self.read(path)
        assert [(document.text, document.location) for document in found] == [("short", f"{path}:2")]
        assert skipped.counts == {"line of more than 100 bytes": 1}

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("none/*.txt", r"no file matches '.*none/\*.txt'"),
            ("", r"is a folder; name the files in it, such as .*\*\*.\*\.txt"),
            ("a.pdf", r"a\.pdf is neither \.txt nor \.jsonl"),
        ],
    )
    def test_invalid_inputs_are_rejected_before_reading(
        self, tmp_path: Path, name: str, message: str
    ) -> None:
        (tmp_path / "a.pdf").touch()
        with pytest.raises(ValueError, match=message):
            read_documents([f"{tmp_path}/{name}"], SkippedRows())

    def test_a_hub_data_set_is_streamed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import datasets

        calls = []
        rows = [{"body": "one"}, {"body": None}, {"body": "two"}]
        monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: calls.append((a, k)) or rows)
        found, skipped = self.read("hub:owner/name@small", field="body", split="test")
        assert calls == [(("owner/name", "small"), {"split": "test", "streaming": True})]
        assert found == [
            ("hub:owner/name@small", "one", "hub:owner/name row 0"),
            ("hub:owner/name@small", "two", "hub:owner/name row 2"),
        ]
        assert skipped.counts == {"no text in the field 'body' (the fields are body)": 1}

    def test_a_hub_data_set_that_cannot_be_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import datasets

        def fail(*_args: object, **_options: object) -> None:
            raise ConnectionError("no network\nat all")

        monkeypatch.setattr(datasets, "load_dataset", fail)
        with pytest.raises(
            DataError, match=r"hub:a/b, split 'train', could not be read .*no network\); check the"
        ):
            self.read("hub:a/b")
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(DataError, match=r"pip install 'bertlearn\[hub\]'"):
            self.read("hub:a/b")

    def test_a_sample_is_bounded_and_evenly_spread(self) -> None:
        documents = [Document("s", f"{number:010}") for number in range(1000)]
        assert len(sample_texts(documents, 10_000)) == 1000
        sample = [int(text) for text in sample_texts(iter(documents), 1000)]
        assert 50 <= len(sample) <= 100
        assert len(set(np.diff(sample))) == 1 and sample[-1] > 900


class TestBuilding:
    def test_tokens_are_those_of_the_tokenizer(self, films: Shards, tokenizer: WordPieceTokenizer) -> None:
        (shard,) = films.shards
        documents = np.split(shard.tokens, shard.documents[1:-1, 1])
        for text, ids in zip(FILMS, documents, strict=True):
            assert ids[-1] == tokenizer.sep_token_id
            assert tokenizer.convert_ids_to_tokens(ids[:-1].tolist()) == tokenizer.tokenize(text)
        sentences = np.split(shard.tokens, shard.sentences[1:])
        expected = [tokenizer.tokenize(sentence) for text in FILMS for sentence in split_sentences(text)]
        assert [
            [token for token in tokenizer.convert_ids_to_tokens(ids.tolist()) if token != "[SEP]"]
            for ids in sentences
        ] == expected
        assert shard.documents[:, 0].tolist() == [0, 3, 6, 7, 10]
        assert shard.documents[-1, 1] == len(shard.tokens) == films.tokens
        assert (shard.tokens.dtype, films.documents, films.sources) == (np.dtype("<u2"), 4, ("films",))

    def test_sentences_without_tokens_are_dropped(
        self, tokenizer: WordPieceTokenizer, tmp_path: Path
    ) -> None:
        shards = build_shards([Document("s", "one\n\u200b\ntwo")], tmp_path, tokenizer, progress=False)
        one = len(tokenizer.tokenize("one"))
        assert shards.shards[0].sentences.tolist() == [0, one]

    def test_special_tokens_in_a_text_are_text(self, tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
        shards = build_shards([Document("s", "a [SEP] b [MASK] [PAD]")], tmp_path, tokenizer, progress=False)
        ids = shards.shards[0].tokens
        assert (ids == tokenizer.sep_token_id).tolist() == [False] * (len(ids) - 1) + [True]
        assert not np.isin(ids, [tokenizer.mask_token_id, tokenizer.pad_token_id]).any()

    def test_large_vocabularies_use_four_bytes(self, tmp_path: Path) -> None:
        tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, *(f"x{number}" for number in range(1 << 16))])
        shards = build_shards([Document("s", "x65535 x0")], tmp_path, tokenizer, progress=False)
        assert shards.shards[0].tokens.tolist() == [65540, 5, SEP]

    def test_files_do_not_depend_on_the_number_of_workers(
        self, tokenizer: WordPieceTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        documents = [Document(f"s{number // 40}", FILMS[number % 4] * (number % 7)) for number in range(80)]
        one = build_shards(documents, tmp_path / "1", tokenizer, workers=1, shard_tokens=900, progress=False)
        monkeypatch.setattr(build, "_BLOCK", 300)
        build_shards(iter(documents), tmp_path / "2", tokenizer, workers=2, shard_tokens=900, progress=False)
        assert len(one.shards) > 4
        assert contents(tmp_path / "1") == contents(tmp_path / "2")
        assert one.skipped == {"document of fewer than 2 tokens": 12}

    def test_a_shard_has_one_source_and_two_documents(
        self, tokenizer: WordPieceTokenizer, tmp_path: Path
    ) -> None:
        text = "talk talk talk"
        for sources, expected in (
            ("aabbb", [("a",), ("b",)]),
            ("aab", [("a", "b")]),
            ("abbaab", [("a", "b")]),
            ("aaaaa", [("a",), ("a",)]),
            ("aaaaaa", [("a",), ("a",), ("a",)]),
        ):
            documents = [Document(source, text) for source in sources]
            length = len(tokenizer.tokenize(text)) + 1
            shards = build_shards(
                documents, tmp_path, tokenizer, shard_tokens=2 * length, overwrite=True, progress=False
            )
            if sources == "abbaab":
                shards = build_shards(documents, tmp_path, tokenizer, overwrite=True, progress=False)
            assert [shard.sources for shard in shards.shards] == expected, sources
            assert min(len(shard.documents) for shard in shards.shards) >= 3

    def test_finished_shards_are_kept_unless_overwritten(
        self, films: Shards, tokenizer: WordPieceTokenizer
    ) -> None:
        before = contents(films.folder)
        with pytest.raises(ValueError, match=r"has finished shards; .*--overwrite"):
            build_shards([Document("s", "A new one.")], films.folder, tokenizer, progress=False)
        assert contents(films.folder) == before
        (films.folder / "notes.txt").write_text("mine", encoding="utf-8")
        (films.folder / "00007.tokens.npy").touch()
        new = build_shards(
            [Document("s", "A new one.")], films.folder, tokenizer, overwrite=True, progress=False
        )
        assert new.documents == 1 and new.fingerprint != films.fingerprint
        assert (films.folder / "notes.txt").exists() and not (films.folder / "00007.tokens.npy").exists()

    @pytest.mark.parametrize("workers", [1, 2])
    def test_an_interrupted_build_leaves_nothing(
        self,
        tokenizer: WordPieceTokenizer,
        tmp_path: Path,
        workers: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(build, "_BLOCK", 300)

        def interrupted() -> object:
            yield from [Document("s", FILMS[0])] * 50
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            build_shards(interrupted(), tmp_path, tokenizer, workers=workers, progress=False)  # type: ignore[arg-type]
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(
            ValueError, match=r"has no meta\.json: .*interrupted; run `bertlearn data build` again"
        ):
            Shards.open(tmp_path)

    def test_a_killed_build_leaves_a_folder_that_is_rejected_and_can_be_filled_again(
        self, tokenizer: WordPieceTokenizer, tmp_path: Path
    ) -> None:
        tokenizer.save_pretrained(tmp_path / "vocab")
        code = (
            "import os, psutil, sys\n"
            "from bertlearn import WordPieceTokenizer\n"
            "from bertlearn.data import Document\n"
            "from bertlearn.pretraining.corpus import build, build_shards\n"
            "build._BLOCK = 20_000\n"
            "def documents():\n"
            "    for _ in range(3000): yield Document('s', 'Two friends talk and talk and talk.')\n"
            "    print(*(child.pid for child in psutil.Process().children()), flush=True)\n"
            "    os.kill(os.getpid(), 9)\n"
            "tokenizer = WordPieceTokenizer.from_pretrained(sys.argv[1])\n"
            "build_shards(documents(), sys.argv[2], tokenizer, workers=2, shard_tokens=5000)\n"
        )
        folder = tmp_path / "killed"
        command = [sys.executable, "-c", code, str(tmp_path / "vocab"), str(folder)]
        result = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        assert result.returncode == -9
        children = [pid for pid in map(int, result.stdout.split()) if psutil.pid_exists(pid)]
        assert len(result.stdout.split()) >= 2
        assert not psutil.wait_procs(map(psutil.Process, children), timeout=20)[1], "orphaned processes"
        assert (folder / ".unfinished" / "00001.tokens.npy").is_file()
        with pytest.raises(ValueError, match=r"killed has no meta\.json"):
            Shards.open(folder)
        shards = build_shards([Document("s", FILMS[0])], folder, tokenizer, progress=False)
        assert shards.documents == 1 and not (folder / ".unfinished").exists()

    def test_an_error_leaves_the_folder_as_it_was(
        self, films: Shards, tokenizer: WordPieceTokenizer, tmp_path: Path
    ) -> None:
        """Also shards that were to be overwritten, and a tokenizer."""
        other = WordPieceTokenizer([*SPECIAL_TOKENS, *"abc"])
        WordPieceTokenizer([*SPECIAL_TOKENS, "x"]).save_pretrained(tmp_path / "mine")
        (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
        for folder in (films.folder, tmp_path / "mine"):
            before = contents(folder)
            for documents in ([], [Document("s", "a")]):
                with pytest.raises(ValueError, match="no document of at least 2 tokens"):
                    build_shards(documents, folder, other, overwrite=True, progress=False)
            assert contents(folder) == before and not (folder / ".unfinished").exists()
        with pytest.raises(ValueError, match="no document of at least 2 tokens"):
            build_shards([], tmp_path / "new", other, progress=False)
        assert not (tmp_path / "new").exists()
        assert Shards.open(films.folder).fingerprint == films.fingerprint
        new = build_shards([Document("s", "a b")], films.folder, other, overwrite=True, progress=False)
        new.check_vocabulary(WordPieceTokenizer.from_pretrained(films.folder))

    def test_a_model_keeps_its_vocabulary(self, tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}", encoding="utf-8")
        tokenizer.save_pretrained(tmp_path)
        before = contents(tmp_path)
        with pytest.raises(ValueError, match=r"has a model \(config\.json\).*; choose another folder"):
            build_shards([Document("s", "a b")], tmp_path, tokenizer, overwrite=True, progress=False)
        assert contents(tmp_path) == before

    def test_a_full_disk(
        self, tokenizer: WordPieceTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_args: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(build._ArrayFile, "append", fail)
        with pytest.raises(
            DataError, match=r"the disk is full; free some space .*No incomplete files are left"
        ):
            build_shards([Document("s", FILMS[0])], tmp_path, tokenizer, progress=False)
        assert list(tmp_path.iterdir()) == []

    def test_a_worker_that_dies_is_reported(
        self, tokenizer: WordPieceTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(build, "_work", sys.exit)  # pickled by name, so that the worker just exits
        with pytest.raises(DataError, match=r"a worker process died, .*fewer workers"):
            build_shards([Document("s", FILMS[0])], tmp_path, tokenizer, workers=2, progress=False)

    def test_nothing_to_build_from(self, tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
        skipped = SkippedRows(shown=0)
        with pytest.raises(ValueError, match="no document of at least 2 tokens"):
            build_shards([Document("s", "")], tmp_path, tokenizer, skipped=skipped, progress=False)
        assert skipped.counts == {"document of fewer than 2 tokens": 1}
        with pytest.raises(ValueError, match="workers=0 must be a whole number of at least 1"):
            build_shards([], tmp_path, tokenizer, workers=0)

    def test_a_bar_and_a_summary(
        self, tokenizer: WordPieceTokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        build_shards([Document("s", text) for text in FILMS], tmp_path, tokenizer, total_bytes=1000)
        output = capsys.readouterr()
        assert "100%" in output.err
        assert output.out.startswith("4 documents, ") and output.out.endswith("left out: nothing\n")
        assert " tokens, 0.00% of them [UNK] (" in output.out
        texts = [Document("s", "the 山 talks"), Document("s", "山 山")]
        unknown = build_shards(texts, tmp_path, tokenizer, overwrite=True)
        share = (unknown.shards[0].tokens == tokenizer.unk_token_id).mean()
        assert 0.2 < share < 0.5 and f" {share:.2%} of them [UNK]" in capsys.readouterr().out

    def test_memory_does_not_grow_with_the_text(self, tmp_path: Path) -> None:
        code = (
            "import psutil, sys\n"
            "from bertlearn import WordPieceTokenizer\n"
            "from bertlearn.pretraining.corpus import SkippedRows, build_shards, read_documents\n"
            "from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS\n"
            "words = ['verylongword' * 6 + str(number) for number in range(100)]\n"
            "line = ' '.join(words) + '.\\n'\n"
            "with open('text.txt', 'w') as file:\n"
            "    for number in range(10_000_000 // len(line)):\n"
            "        file.write(line + '\\n' * (number % 9 == 0))\n"
            "def measured():\n"
            "    for number, document in enumerate(read_documents(['text.txt'], SkippedRows())):\n"
            "        if number % 10 == 0: memory.append(psutil.Process().memory_info().rss)\n"
            "        yield document\n"
            "memory = []\n"
            "tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, '.', *words])\n"
            "build_shards(measured(), 'shards', tokenizer, shard_tokens=100_000, progress=False)\n"
            "print(max(memory[:len(memory) // 10]), max(memory))\n"
        )
        command = [sys.executable, "-c", code]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        after_1_mb, after_10_mb = map(int, result.stdout.split())  # bytes
        assert after_10_mb < 1.2 * after_1_mb
        assert after_10_mb - after_1_mb < 4_000_000  # the text alone would be 9 million

    def test_each_worker_has_at_most_one_block(self, tokenizer: WordPieceTokenizer) -> None:
        taken = []

        def blocks() -> Iterator[list[Document]]:
            for number in range(20):
                taken.append(number)
                yield [Document("s", FILMS[0])]

        with closing(build._encode_all(blocks(), tokenizer.fast().to_str(), 2)) as encoded:
            next(encoded)
            assert len(taken) <= 3
            assert len(list(encoded)) == 19


class TestOpening:
    def test_nothing_is_copied(self, films: Shards) -> None:
        reader = Examples(films, 16, pairs=True, seed=0)
        for shard, view in zip(films.shards, reader._views, strict=True):
            assert all(isinstance(array, np.memmap) for array in shard[:3])
            assert np.shares_memory(view.tokens, shard.tokens)
            assert np.shares_memory(np.asarray(view.sentences), shard.sentences)

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(
            FileNotFoundError, match=r"no folder .*nowhere; create one with `bertlearn data build"
        ):
            Shards.open(tmp_path / "nowhere")

    @pytest.mark.parametrize("name", ["tokens", "sentences", "documents"])
    def test_a_truncated_array_is_named_in_the_error(self, films: Shards, name: str) -> None:
        path = films.folder / f"00000.{name}.npy"
        complete = path.read_bytes()
        for content in (complete[:-8], complete[:60], b"", complete + bytes(8)):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=rf"00000\.{name}\.npy .*build the shards again"):
                Shards.open(films.folder)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=rf"00000\.{name}\.npy, listed in meta\.json, is missing"):
            Shards.open(films.folder)

    def test_an_array_of_another_build_is_rejected(self, films: Shards) -> None:
        path = films.folder / "00000.sentences.npy"
        np.save(path, np.load(path)[:-1])
        with pytest.raises(
            ValueError, match=r"00000\.sentences\.npy holds int64 \(9,\) .* says int64 \(10,\)"
        ):
            Shards.open(films.folder)

    def test_a_pickled_array_is_never_opened(self, films: Shards) -> None:
        np.save(films.folder / "00000.tokens.npy", np.array([{}], dtype=object), allow_pickle=True)
        with pytest.raises(ValueError, match=r"00000\.tokens\.npy is truncated or not an array"):
            Shards.open(films.folder)

    def test_another_version_and_a_broken_header(self, films: Shards) -> None:
        path = films.folder / "meta.json"
        meta = json.loads(path.read_text(encoding="utf-8"))
        for text, message in (
            (json.dumps({**meta, "version": 2}), r"meta\.json has version 2, but .* reads version 1"),
            ("[]", r"meta\.json has version None"),
            (json.dumps({"version": 1}), r"meta\.json is not what bertlearn writes \(KeyError: 'vocabulary'"),
            ("{", r"meta\.json is not valid JSON"),
        ):
            path.write_text(text, encoding="utf-8")
            with pytest.raises(ValueError, match=message):
                Shards.open(films.folder)

    def test_another_vocabulary_is_rejected(self, films: Shards, tokenizer: WordPieceTokenizer) -> None:
        films.check_vocabulary(tokenizer)
        films.check_vocabulary(WordPieceTokenizer.from_pretrained(films.folder))
        swapped = [*tokenizer.ids_to_tokens]
        swapped[-1], swapped[-2] = swapped[-2], swapped[-1]
        other = WordPieceTokenizer(swapped)
        hashes = [films.vocabulary[:16], examples_hash(other)[:16]]
        with pytest.raises(ValueError, match=rf"built with the vocabulary {hashes[0]}… .* has {hashes[1]}…"):
            films.check_vocabulary(other)
        with pytest.raises(ValueError, match="built with do_lower_case=True, this tokenizer has False"):
            films.check_vocabulary(WordPieceTokenizer(tokenizer.ids_to_tokens, do_lower_case=False))
        other.save_pretrained(films.folder)
        with pytest.raises(ValueError, match=rf"vocab\.txt has the sha256 {hashes[1]}…, .*{hashes[0]}…"):
            Shards.open(films.folder)
        (films.folder / "vocab.txt").unlink()
        with pytest.raises(FileNotFoundError, match=r"lacks the vocab\.txt"):
            Shards.open(films.folder)

    def test_the_fingerprint_depends_on_the_contents_alone(
        self, films: Shards, tokenizer: WordPieceTokenizer, tmp_path: Path
    ) -> None:
        documents = [Document("elsewhere", text) for text in FILMS]
        same = build_shards(documents, tmp_path / "same", tokenizer, progress=False)
        assert same.fingerprint == films.fingerprint
        documents[0] = Document("films", FILMS[0].replace("film", "cafe"))
        other = build_shards(documents, tmp_path / "other", tokenizer, progress=False)
        assert other.fingerprint != films.fingerprint

    def test_one_source_of_several(self, numbered: Shards) -> None:
        late = numbered.of_source("late")
        assert late.sources == ("late",) and 0 < late.tokens < numbered.tokens
        reader = Examples(late, 32, False, 0)
        ids = reader.rows(0, reader.examples_per_epoch).input_ids
        words = [document.text.split() for document in numbered_documents() if document.source == "late"]
        assert ids[ids > SEP].min() == FIRST + int(words[0][0].removeprefix("x"))
        with pytest.raises(ValueError, match="only from 'never'; sources: \\('early', 'late'\\)"):
            numbered.of_source("never")


def numbered_last() -> int:
    return FIRST + int(numbered_documents()[-1].text.split()[-1].removeprefix("x"))


def examples_hash(tokenizer: WordPieceTokenizer) -> str:
    from bertlearn.pretraining.corpus.store import vocabulary_hash

    return vocabulary_hash(tokenizer.ids_to_tokens)


class TestShuffle:
    @pytest.mark.parametrize("size", [1, 2, 3, 17, 1000, 4097])
    def test_every_number_occurs_once_in_an_order_given_by_the_keys(self, size: int) -> None:
        keys = np.random.default_rng(size).integers(2**64, size=4, dtype=np.uint64)
        whole = examples.shuffled(0, size, size, keys)
        assert sorted(whole.tolist()) == list(range(size))
        parts = [examples.shuffled(first, 1, size, keys) for first in range(min(size, 50))]
        assert np.concatenate(parts).tolist() == whole[:50].tolist()
        if size > 100:
            other = examples.shuffled(0, size, size, keys + np.uint64(1))
            assert (whole == other).mean() < 0.02
            for reference in (np.arange(size), other, np.roll(whole, 1)):
                assert abs(np.corrcoef(whole, reference)[0, 1]) < 4 / size**0.5


class TestSwappedPairs:
    def test_both_orders_are_of_one_passage(self, numbered: Shards) -> None:
        """In the numbered documents each token is the next number, so that the order can be read off."""
        rows = Examples(numbered, 64, pairs=True, seed=3, swapped=True).rows(0, 400)
        assert rows.attention_mask is not None and rows.next_sentence_label is not None
        for ids, types, mask, label in zip(*rows[:3], rows.next_sentence_label, strict=True):
            ordinary = mask.astype(bool) & (ids != CLS) & (ids != SEP)
            a, b = ids[ordinary & (types == 0)], ids[ordinary & (types == 1)]
            whole = np.concatenate([b, a] if label else [a, b])
            assert (np.diff(whole) == 1).all() and len(a) and len(b)
        assert 0.4 < rows.next_sentence_label.mean() < 0.6

    def test_labels_are_those_of_the_same_rows_with_other_texts(self, numbered: Shards) -> None:
        swapped, other = (Examples(numbered, 64, True, 3, swapped=x).rows(7, 50) for x in (True, False))
        assert swapped.next_sentence_label is not None and other.next_sentence_label is not None
        assert (swapped.next_sentence_label == other.next_sentence_label).all()
        assert (swapped.input_ids != other.input_ids).any()

    def test_passages_end_with_a_sentence_unless_they_have_only_one(self, numbered: Shards) -> None:
        rows = Examples(numbered, 64, pairs=True, seed=3, swapped=True).rows(0, 400)
        starts = {int(shard.tokens[at]) for shard in numbered.shards for at in shard.sentences}
        ended = []
        for ids in rows.input_ids:
            words = np.sort(ids[ids >= FIRST])
            ended.append(int(words[-1]) + 1 in starts or words[-1] == numbered_last())
            inside = [word for word in words[1:].tolist() if word in starts]
            assert ended[-1] or len(inside) < 2
        assert np.mean(ended) > 0.8


@pytest.mark.parametrize("pairs", [True, False])
class TestAnyExamples:
    def test_a_row_depends_on_seed_and_number_alone(self, numbered: Shards, pairs: bool) -> None:
        reader = Examples(numbered, 32, pairs, seed=7)
        start = 2 * reader.examples_per_epoch - 20  # across two epochs
        whole = reader.rows(start, 40)
        again = Examples(Shards.open(numbered.folder), 32, pairs, seed=7)
        for first in (0, 1, 13, 19, 33):
            part = again.rows(start + first, 7)
            for ours, theirs in zip(whole, part, strict=True):
                assert (ours is None and theirs is None) or (ours[first : first + 7] == theirs).all()
        other = Examples(numbered, 32, pairs, seed=8).rows(start, 40)
        assert (other.input_ids != whole.input_ids).any(axis=1).mean() > 0.9

    def test_epochs_differ_in_order_and_in_where_rows_begin(self, numbered: Shards, pairs: bool) -> None:
        reader = Examples(numbered, 64, pairs, seed=0)
        count = reader.examples_per_epoch
        one, two = (reader.rows(epoch * count, count).input_ids for epoch in (0, 1))
        assert (one == two).all(axis=1).sum() < 3
        both = set(map(bytes, one)) & set(map(bytes, two))
        assert len(both) < 0.35 * count  # a short document is a row of its own in every epoch

    def test_the_text_is_covered_evenly(self, numbered: Shards, pairs: bool) -> None:
        reader = Examples(numbered, 64, pairs, seed=0)
        epochs, count = 25, reader.examples_per_epoch
        seen = np.zeros(WORDS + FIRST)
        for epoch in range(epochs):
            seen += np.bincount(reader.rows(epoch * count, count).input_ids.ravel(), minlength=len(seen))
        used = seen[FIRST : numbered_last() + 1] / epochs
        mean = used.mean()
        assert 0.95 < mean < 1.25
        assert used.min() > 0.1 * mean and used.max() < 2.5 * mean
        parts = part_of_document(numbered)[: len(used)]
        for part in ("first ten", "last ten", "between", "all of a short one"):
            assert 0.9 < used[parts == part].mean() / mean < 1.1, part

    def test_shapes_and_special_tokens(self, numbered: Shards, pairs: bool) -> None:
        rows = Examples(numbered, 32, pairs, seed=0).rows(5, 9)
        assert rows.input_ids.shape == rows.token_type_ids.shape == (9, 32)
        assert {array.dtype for array in rows if array is not None} == {np.dtype(np.int64)}
        assert (rows.input_ids[:, 0] == CLS).all()
        if not pairs:
            assert rows.attention_mask is rows.next_sentence_label is None
            assert (rows.input_ids[:, -1] == SEP).all() and not rows.token_type_ids.any()

    def test_arguments_out_of_range(self, numbered: Shards, pairs: bool) -> None:
        with pytest.raises(ValueError, match="max_length=7 must be"):
            Examples(numbered, 7, pairs, 0)
        with pytest.raises(ValueError, match=f"seed=-1 must be a whole number from 0 to {2**64 - 1}"):
            Examples(numbered, 32, pairs, -1)
        with pytest.raises(ValueError, match="first=-1 must be at least 0"):
            Examples(numbered, 32, pairs, 0).rows(-1, 2)


def part_of_document(shards: Shards) -> np.ndarray:
    """Return for each word whether it is among the first or last ten of a document of more than 100."""
    parts = np.full(WORDS, "all of a short one", dtype=object)
    start = 0
    for document in numbered_documents():
        end = start + len(document.text.split())
        if end - start > 100:
            parts[start:end] = "between"
            parts[start : start + 10], parts[end - 10 : end] = "first ten", "last ten"
        start = end
    return parts


class TestWindows:
    def test_a_window_is_a_contiguous_part_of_the_text(self, numbered: Shards) -> None:
        reader = Examples(numbered, 50, False, seed=3)
        streams = [np.concatenate([shard.tokens] * 2) for shard in numbered.shards]
        lengths = [len(shard.tokens) for shard in numbered.shards]
        for row in reader.rows(0, reader.examples_per_epoch).input_ids[:, 1:-1]:
            word = np.flatnonzero(row != SEP)[0]
            shard = 0 if row[word] in numbered.shards[0].tokens else 1
            start = (int(np.flatnonzero(streams[shard] == row[word])[0]) - word) % lengths[shard]
            assert (streams[shard][start : start + 48] == row).all()

    def test_too_little_text(self, films: Shards) -> None:
        with pytest.raises(
            ValueError, match=r"max_length=500 is longer than every shard .* use a smaller max_length"
        ):
            Examples(films, 500, False, 0)


class TestPairs:
    @pytest.fixture(scope="class")
    def rows(self, numbered: Shards) -> list[tuple[np.ndarray, np.ndarray, int]]:
        """Return A, B and label of 24,000 rows from several epochs with several seeds."""
        rows = []
        for seed in range(4):
            batch = Examples(numbered, 64, True, seed).rows(0, 6000)
            assert batch.attention_mask is not None and batch.next_sentence_label is not None
            for ids, types, mask, label in zip(*batch[:3], batch.next_sentence_label, strict=True):
                length = mask.sum()
                middle = length - types.sum()
                assert mask[:length].all() and types[middle:length].all() and not types[:middle].any()
                assert ids[0] == CLS and ids[middle - 1] == ids[length - 1] == SEP and not ids[length:].any()
                rows.append((ids[1 : middle - 1] - FIRST, ids[middle : length - 1] - FIRST, int(label)))
        return rows

    def test_half_of_the_labels_are_1(self, rows: list[tuple[np.ndarray, np.ndarray, int]]) -> None:
        labels = np.array([label for _, _, label in rows])
        for part in (labels, *np.split(labels, 4)):
            assert abs(part.mean() - 0.5) < 4.5 * 0.5 / len(part) ** 0.5

    def test_b_follows_a_or_is_from_another_document(
        self, numbered: Shards, rows: list[tuple[np.ndarray, np.ndarray, int]]
    ) -> None:
        document = documents_of(numbered)
        for a, b, label in rows:
            assert len(a) and len(b)
            assert (np.diff(a) == 1).all() and (np.diff(b) == 1).all()
            assert document[a[0]] == document[a[-1]] and document[b[0]] == document[b[-1]]
            if label == 0:
                assert b[0] == a[-1] + 1 and document[a[0]] == document[b[0]]
            else:
                assert document[a[0]] != document[b[0]]

    def test_b_begins_and_ends_alike_with_both_labels(
        self, numbered: Shards, rows: list[tuple[np.ndarray, np.ndarray, int]]
    ) -> None:
        starts = np.concatenate([shard.tokens[shard.sentences] for shard in numbered.shards]) - FIRST
        is_start = np.zeros(WORDS + 1, dtype=bool)
        is_start[starts] = is_start[numbered_last() - FIRST + 1] = True
        features = np.array(
            [
                (label, is_start[b[0]], is_start[b[-1] + 1], len(a) + len(b) < 61, len(b))
                for a, b, label in rows
            ]
        )
        for feature in features.T[1:4]:
            shares = [feature[features[:, 0] == label].mean() for label in (0, 1)]
            assert abs(shares[0] - shares[1]) < 0.04, shares
        lengths = [features[features[:, 0] == label, 4].mean() for label in (0, 1)]
        assert 0.92 < lengths[1] / lengths[0] < 1.08  # some documents are too short for some B

    def test_a_does_not_depend_on_the_label(self, rows: list[tuple[np.ndarray, np.ndarray, int]]) -> None:
        lengths = [np.array([len(a) for a, _, label in rows if label == wanted]) for wanted in (0, 1)]
        shares = [np.bincount(part, minlength=62).cumsum() / len(part) for part in lengths]
        largest = np.abs(shares[0] - shares[1]).max()  # Kolmogorov and Smirnov's, at 1 in 1,000
        assert (
            largest < 1.95 * (sum(map(len, lengths)) / np.prod([float(len(part)) for part in lengths])) ** 0.5
        )

    def test_rows_are_nearly_full(self, rows: list[tuple[np.ndarray, np.ndarray, int]]) -> None:
        assert max(len(a) + len(b) for a, b, _ in rows) == 61
        short = {
            number for number, document in enumerate(numbered_documents()) if len(document.text.split()) < 61
        }
        document = documents_of(None)  # type: ignore[arg-type]
        long = [len(a) + len(b) for a, b, label in rows if label == 0 and document[a[0]] not in short]
        assert np.mean(long) > 57

    def test_no_sentence_is_split_within_a_word(self, tmp_path: Path) -> None:
        tokenizer = WordPieceTokenizer([*SPECIAL_TOKENS, "x", "##y", "##z"])
        documents = [Document("s", "xyz " * 200), Document("s", "xyz " * 150)]
        shards = build_shards(documents, tmp_path, tokenizer, progress=False)
        rows = Examples(shards, 32, True, 0).rows(0, 300)
        first_of_b = rows.token_type_ids.argmax(axis=1)
        tokens = rows.input_ids[np.arange(300), first_of_b]
        assert (tokens == tokenizer.vocab["x"]).all()
        assert len(set(first_of_b.tolist())) > 5

    def test_a_single_document_is_rejected(self, tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
        shards = build_shards([Document("book", FILMS[0])], tmp_path, tokenizer, progress=False)
        with pytest.raises(
            ValueError, match=r"shard 00000 of .* \(book\) is a single document, .*pairs=False"
        ):
            Examples(shards, 16, True, 0)
        assert Examples(shards, 16, False, 0).rows(0, 3).input_ids.shape == (3, 16)
