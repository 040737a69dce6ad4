"""The shards on disk: what a folder holds, and opening one with every check that needs no reading.

meta.json               written last: a folder without it is unfinished
vocab.txt, …            the tokenizer, in transformers' layout
00000.tokens.npy        uint16 (uint32 when V > 65,536): all pieces, and a [SEP] after each document
00000.sentences.npy     int64 (sentences,): where each sentence begins among the tokens
00000.documents.npy     int64 (documents + 1, 2): for each document its first sentence and first token,
                        and at the end the number of sentences and of tokens
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

if TYPE_CHECKING:
    from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

VERSION = 1
META, VOCAB = "meta.json", "vocab.txt"
TOKENS, SENTENCES, DOCUMENTS = "tokens", "sentences", "documents"
SPECIAL = ("[CLS]", "[SEP]", "[PAD]")


class Shard(NamedTuple):
    """One shard: memory-mapped arrays (see the module), where its documents come from, and its checksum."""

    tokens: NDArray[Any]
    sentences: NDArray[np.int64]
    documents: NDArray[np.int64]
    sources: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, eq=False)
class Shards:
    """A finished folder of shards; nothing of the data is in memory.

    Attributes:
        folder: where it is.
        shards: its shards, in order.
        vocab: the pieces in the order of their ids.
        vocabulary: sha256 of the vocabulary, in hexadecimal.
        do_lower_case: whether the text was made small.
        problems: how often what was left out while building.
    """

    folder: Path
    shards: tuple[Shard, ...] = field(repr=False)
    vocab: tuple[str, ...] = field(repr=False)
    vocabulary: str
    do_lower_case: bool
    problems: dict[str, int]

    @classmethod
    def open(cls, folder: str | Path) -> Shards:
        """Map a folder that `build_shards` finished.

        Raises:
            FileNotFoundError: no such folder, or a file missing in it.
            ValueError: an unfinished folder, another version, another vocabulary than the one it was built
                with, or an array that is cut short or not as its header says; the file is named.
        """
        folder = Path(folder).expanduser()
        meta = _read_meta(folder)
        try:
            vocab = _read_vocab(folder, meta["vocabulary"])
            shards = tuple(
                _open_shard(folder, number, meta["dtype"], record)
                for number, record in enumerate(meta["shards"])
            )
            return cls(
                folder, shards, vocab, meta["vocabulary"], meta["do_lower_case"], dict(meta["problems"])
            )
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{folder / META} is not what bertlearn writes ({type(error).__name__}: {error}); build the "
                "shards again"
            ) from error

    @property
    def tokens(self) -> int:
        """The number of tokens, with one [SEP] for each document."""
        return sum(len(shard.tokens) for shard in self.shards)

    @property
    def documents(self) -> int:
        """The number of documents."""
        return sum(len(shard.documents) - 1 for shard in self.shards)

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the documents come from, each source once, in order."""
        return tuple(dict.fromkeys(source for shard in self.shards for source in shard.sources))

    @property
    def fingerprint(self) -> str:
        """The sha256 of all that examples depend on: vocabulary and contents, not the folder's place."""
        contents = [VERSION, self.vocabulary, self.do_lower_case, *(shard.sha256 for shard in self.shards)]
        return hashlib.sha256(json.dumps(contents).encode()).hexdigest()

    def of_source(self, source: str) -> Shards:
        """Return the same folder with only the shards of one source, such as "wikipedia".

        Raises:
            ValueError: no shard holds this source alone.
        """
        chosen = tuple(shard for shard in self.shards if shard.sources == (source,))
        if not chosen:
            raise ValueError(f"no shard of {self.folder} is all from {source!r}; sources: {self.sources}")
        return replace(self, shards=chosen)

    def check_vocabulary(self, tokenizer: WordPieceTokenizer) -> None:
        """Refuse a tokenizer for which the ids of these shards mean other pieces.

        Raises:
            ValueError: another vocabulary, or another choice of `do_lower_case`.
        """
        given = vocabulary_hash(tokenizer.ids_to_tokens)
        if given != self.vocabulary:
            raise ValueError(
                f"the shards in {self.folder} were built with the vocabulary {self.vocabulary[:16]}… of "
                f"{len(self.vocab)} pieces, but this tokenizer has {given[:16]}… of {tokenizer.vocab_size}; "
                "use the tokenizer in that folder, or build the shards again with this one"
            )
        if tokenizer.do_lower_case != self.do_lower_case:
            raise ValueError(
                f"the shards in {self.folder} were built with do_lower_case={self.do_lower_case}, this "
                f"tokenizer has {tokenizer.do_lower_case}; use the tokenizer in that folder"
            )


def vocabulary_hash(vocab: Iterable[str]) -> str:
    """Return the sha256 of the pieces in order, as vocab.txt holds them."""
    return hashlib.sha256("".join(f"{token}\n" for token in vocab).encode("utf-8")).hexdigest()


def array_path(folder: Path, number: int, name: str) -> Path:
    """Return the file of one array of one shard."""
    return folder / f"{number:05}.{name}.npy"


def _read_meta(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; make one with `bertlearn data build --output {folder}`")
    path = folder / META
    if not path.is_file():
        raise ValueError(
            f"{folder} has no {META}: it holds no shards, or building them was interrupted; run "
            "`bertlearn data build` again"
        )
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); build the shards again") from error
    version = meta.get("version") if isinstance(meta, dict) else None
    if version != VERSION:
        raise ValueError(
            f"{path} has version {version!r}, this bertlearn reads version {VERSION}; build the shards again"
        )
    return meta


def _read_vocab(folder: Path, expected: str) -> tuple[str, ...]:
    path = folder / VOCAB
    if not path.is_file():
        raise FileNotFoundError(f"{folder} has no {VOCAB}, with which its shards were built; copy all of it")
    vocab = tuple(path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1])
    found = vocabulary_hash(vocab)
    if found != expected:
        raise ValueError(
            f"{path} has the sha256 {found[:16]}…, but the shards were built with {expected[:16]}…; put the "
            "original back, or build the shards again"
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


def _map(path: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map an array, and compare what its own header and its size on disk say with meta.json."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, which {META} lists; copy it, or build the shards again")
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # never unpickles
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{path} is cut short or no array ({error}); copy it anew, or build the shards again"
        ) from error
    if array.dtype != dtype or array.shape != shape or path.stat().st_size != array.offset + array.nbytes:
        raise ValueError(
            f"{path} holds {array.dtype} {array.shape} in {path.stat().st_size} bytes, but {META} says "
            f"{dtype} {shape}; copy the folder anew, or build the shards again"
        )
    return array
