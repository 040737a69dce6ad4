"""The files of a folder of shards, and opening them with all checks but one: `verify` reads whole files.

meta.json               written last: a folder without it is incomplete
vocab.txt, …            the tokenizer, in transformers' layout
00000.tokens.npy        uint16 (uint32 if V > 65,536): all token ids, and a [SEP] after each document
00000.sentences.npy     int64 (sentences,): the index of each sentence's first token
00000.documents.npy     int64 (documents + 1, 2): the indexes of each document's first sentence and first
                        token; the last row has the total numbers of sentences and tokens
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertlearn.pretraining.corpus.verify import Stored, verify

if TYPE_CHECKING:
    from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

VERSION = 1
META, VOCAB = "meta.json", "vocab.txt"
TOKENS, SENTENCES, DOCUMENTS = "tokens", "sentences", "documents"
UNKNOWN = "unknown"  # in meta.json, the number of tokens that are [UNK]
FILES = "files_sha256"  # in meta.json, the checksum of each array of a shard
SPECIAL = ("[CLS]", "[SEP]", "[PAD]")


class Shard(NamedTuple):
    """One shard: memory-mapped arrays (see the module), the sources of its documents, and its checksum."""

    tokens: NDArray[Any]
    sentences: NDArray[np.int64]
    documents: NDArray[np.int64]
    sources: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, eq=False)
class Shards:
    """A complete folder of shards; the data stays on disk.

    Attributes:
        folder: the path of the folder.
        shards: its shards, in order.
        vocab: the tokens in the order of their ids.
        vocabulary: sha256 of the vocabulary, in hexadecimal.
        do_lower_case: whether the tokenizer lowercased the text.
        settings: the tokenizer's other settings, by name; older folders lack them.
        skipped: what was skipped while building, counted by kind.
    """

    folder: Path
    shards: tuple[Shard, ...] = field(repr=False)
    vocab: tuple[str, ...] = field(repr=False)
    vocabulary: str
    do_lower_case: bool
    settings: dict[str, Any]
    skipped: dict[str, int]

    @classmethod
    def open(cls, folder: str | Path, verify_again: bool = False) -> Shards:
        """Open a folder that `build_shards` has completed, and map its arrays into memory.

        The first time, all checksums are verified, which takes about a second per GB; see `verify`.

        Args:
            folder: the folder.
            verify_again: verify the checksums even if they were verified before.

        Raises:
            FileNotFoundError: there is no such folder, or one of its files is missing.
            ValueError: an incomplete folder, another version of the format, a changed vocabulary, or an array
                that is truncated, changed or does not match meta.json; the message names the file.
        """
        folder = Path(folder).expanduser()
        meta = _read_meta(folder)
        try:
            vocab = _read_vocab(folder, meta["vocabulary"])
            shards = tuple(
                _open_shard(folder, number, meta["dtype"], record)
                for number, record in enumerate(meta["shards"])
            )
            stored = [
                _stored(folder, number, shard, record.get(FILES))
                for number, (shard, record) in enumerate(zip(shards, meta["shards"], strict=True))
            ]
            verify(folder, stored, verify_again)
            return cls(
                folder,
                shards,
                vocab,
                meta["vocabulary"],
                meta["do_lower_case"],
                dict(meta.get("settings", {})),
                dict(meta["problems"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{folder / META} is not what bertlearn writes ({type(error).__name__}: {error}); build the "
                "shards again"
            ) from error

    @property
    def tokens(self) -> int:
        """The number of tokens, including one [SEP] per document."""
        return sum(len(shard.tokens) for shard in self.shards)

    @property
    def documents(self) -> int:
        """The number of documents."""
        return sum(len(shard.documents) - 1 for shard in self.shards)

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources of the documents, each once, in order."""
        return tuple(dict.fromkeys(source for shard in self.shards for source in shard.sources))

    @property
    def fingerprint(self) -> str:
        """The sha256 of everything that examples depend on: the vocabulary and contents, not the path."""
        contents = [VERSION, self.vocabulary, self.do_lower_case, *(shard.sha256 for shard in self.shards)]
        return hashlib.sha256(json.dumps(contents).encode()).hexdigest()

    def of_source(self, source: str) -> Shards:
        """Return the same folder with only the shards of one source, such as "wikipedia".

        Raises:
            ValueError: no shard has documents of this source only.
        """
        chosen = tuple(shard for shard in self.shards if shard.sources == (source,))
        if not chosen:
            raise ValueError(f"no shard of {self.folder} is only from {source!r}; sources: {self.sources}")
        return replace(self, shards=chosen)

    def check_vocabulary(self, tokenizer: WordPieceTokenizer) -> None:
        """Check that the ids of these shards mean the same tokens to this tokenizer.

        Raises:
            ValueError: another vocabulary, or another value of a setting such as `do_lower_case`.
        """
        vocabulary = vocabulary_hash(tokenizer.ids_to_tokens)
        if vocabulary != self.vocabulary:
            raise ValueError(
                f"the shards in {self.folder} were built with the vocabulary {self.vocabulary[:16]}… of "
                f"{len(self.vocab)} tokens, but this tokenizer has {vocabulary[:16]}… of "
                f"{tokenizer.vocab_size}; use the tokenizer in that folder, or build the shards again with "
                "this one"
            )
        for name, value in {"do_lower_case": self.do_lower_case, **self.settings}.items():
            if getattr(tokenizer, name) != value:
                raise ValueError(
                    f"the shards in {self.folder} were built with {name}={value}, this tokenizer has "
                    f"{getattr(tokenizer, name)}; use the tokenizer that the shards were built with"
                )


def settings_of(tokenizer: WordPieceTokenizer) -> dict[str, Any]:
    """Return the settings of a tokenizer besides `do_lower_case`."""
    return {name: getattr(tokenizer, name) for name in ("strip_accents", "tokenize_chinese_chars")}


def vocabulary_hash(vocab: Iterable[str]) -> str:
    """Return the sha256 of the vocabulary, as vocab.txt contains it."""
    return hashlib.sha256("".join(f"{token}\n" for token in vocab).encode("utf-8")).hexdigest()


def array_path(folder: Path, number: int, name: str) -> Path:
    """Return the path of one array of one shard."""
    return folder / f"{number:05}.{name}.npy"


def _read_meta(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}; create one with `bertlearn data build --output {folder}`"
        )
    path = folder / META
    if not path.is_file():
        raise ValueError(
            f"{folder} has no {META}: it is not a folder of shards, or building them was interrupted; run "
            "`bertlearn data build` again"
        )
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); build the shards again") from error
    version = meta.get("version") if isinstance(meta, dict) else None
    if version != VERSION:
        raise ValueError(
            f"{path} has version {version!r}, but this bertlearn reads version {VERSION}; build the shards "
            "again"
        )
    return meta


def _read_vocab(folder: Path, expected: str) -> tuple[str, ...]:
    path = folder / VOCAB
    if not path.is_file():
        raise FileNotFoundError(f"{folder} lacks the {VOCAB} of its shards; copy the complete folder")
    vocab = tuple(path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1])
    actual = vocabulary_hash(vocab)
    if actual != expected:
        raise ValueError(
            f"{path} has the sha256 {actual[:16]}…, but the shards were built with {expected[:16]}…; restore "
            "the original file, or build the shards again"
        )
    return vocab


def _open_shard(folder: Path, number: int, dtype: str, record: dict[str, Any]) -> Shard:
    tokens, sentences, documents = (record[name] for name in (TOKENS, SENTENCES, DOCUMENTS))
    return Shard(
        _map(array_path(folder, number, TOKENS), np.dtype(dtype), (tokens,)),
        _map(array_path(folder, number, SENTENCES), np.dtype("<i8"), (sentences,)),
        _map(array_path(folder, number, DOCUMENTS), np.dtype("<i8"), (documents + 1, 2)),
        tuple(record["sources"]),
        record["sha256"],
    )


def _stored(folder: Path, number: int, shard: Shard, files: dict[str, str] | None) -> Stored:
    names = (TOKENS, SENTENCES, DOCUMENTS)
    arrays = {array_path(folder, number, name): getattr(shard, name) for name in names}
    return Stored(arrays, shard.sha256, None if files is None else [files[name] for name in names])


def _map(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map an array into memory, and check its header and its size on disk against meta.json."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}, listed in {META}, is missing; copy it, or build the shards again")
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # never unpickles
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is truncated or not an array ({error}); copy it again, or build the shards again"
        ) from error
    size = path.stat().st_size
    if (array.dtype, array.shape, size) != (dtype, shape, array.offset + array.nbytes) or (
        not array.flags.c_contiguous
    ):
        raise ValueError(
            f"{path} holds {array.dtype} {array.shape} in {size} bytes, but {META} says "
            f"{dtype} {shape}; copy the folder again, or build the shards again"
        )
    return array
