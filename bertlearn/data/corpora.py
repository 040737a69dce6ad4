"""Loaders for the course's corpora: reviews, plots, the Bible, and MiniLM's folder (all chapters).

Each loader downloads what is missing, verifies it, and returns plain Python lists in a fixed order.
Wikipedia, which needs cleaning, has its own module.
"""

from __future__ import annotations

import bz2
import csv
import html
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

from bertlearn.data.cache import Status, explain_os_errors, source_status
from bertlearn.data.download import checked_folder, fetch_sources, read_member
from bertlearn.data.sources import SOURCES
from bertlearn.data.wikipedia import load_articles

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

# Of the seeds 0 to 1999, this one gives splits closest to 80/10/10 % and to equal shares of fresh reviews.
_SPLIT_SEED = 1745
_SAME_FILM = {"el_crimen_del_padre_amaro": "the_crime_of_padre_amaro"}  # two names of one film in the file


@dataclass(frozen=True)
class ReviewSet:
    """Review sentences and, at the same index, their labels (1 = fresh, 0 = rotten) and films."""

    sentences: list[str]
    labels: list[int]
    films: list[str]

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.sentences)


@dataclass(frozen=True)
class Reviews:
    """All review sentences in the order of the file, and the same sentences split into three sets.

    No film is in two sets: a model must not see in training the actors and titles it is tested on.
    """

    sentences: list[str]
    labels: list[int]
    films: list[str]
    train: ReviewSet
    validation: ReviewSet
    test: ReviewSet


class Plot(NamedTuple):
    """A plot summary and its film."""

    film: str
    text: str


class Document(NamedTuple):
    """A text to pretrain on."""

    source: str  # the corpus or input that the text belongs to
    text: str  # one sentence or paragraph per line
    location: str = ""  # file and line, for messages


class Verse(NamedTuple):
    """One verse of the Bible; chapters and verses count from 1."""

    book: str
    chapter: int
    verse: int
    text: str


def fetch(names: Sequence[str] | None = None) -> None:
    """Download the named sources, or those of the set-up; what is already intact is skipped.

    Args:
        names: names in `SOURCES`; None for all that more than one chapter needs.

    Raises:
        DataError: a download failed; the message says why and what to do.
        ValueError: a name that is not in `SOURCES`.
    """
    chosen = [name for name, source in SOURCES.items() if source.chapter is None] if names is None else names
    unknown = [name for name in chosen if name not in SOURCES]
    if unknown:
        raise ValueError(f"names={unknown} are not sources; choose among {list(SOURCES)}")
    if "wikipedia" in fetch_sources([SOURCES[name] for name in chosen]):
        load_articles()  # cleaning takes some seconds; do it now rather than in the middle of a chapter


def status(names: Sequence[str] | None = None) -> list[Status]:
    """Verify all checksums and return for each source whether it is intact, missing or damaged.

    Args:
        names: names in `SOURCES`; None for all, less those of one chapter that are missing.

    Raises:
        DataError: the cache cannot be read.
    """
    statuses = []
    for source in SOURCES.values() if names is None else [SOURCES[name] for name in names]:
        with explain_os_errors(source):
            statuses.append(source_status(source))
        if names is None and source.chapter and statuses[-1].state == "missing":
            statuses.pop()
    return statuses


def load_reviews() -> Reviews:
    """Return the review sentences from Rotten Tomatoes with their labels, split by film, without repeats.

    Returns:
        12,751 sentences: about 80 % for training, 10 % each for validation and test. The split is fixed.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    reviews: dict[str, tuple[str, int, str]] = {}  # the keys ignore case, so that repeats are found
    for category, film, text in _read_films():
        if category != "plot":
            reviews.setdefault(text.casefold(), (text, int(category == "fresh"), film))
    rows = list(reviews.values())
    train, validation, test = ([row for row in rows if split_of(row[2]) == split] for split in SPLITS)
    return Reviews(
        *_columns(rows),
        train=ReviewSet(*_columns(train)),
        validation=ReviewSet(*_columns(validation)),
        test=ReviewSet(*_columns(test)),
    )


def load_plots() -> list[Plot]:
    """Return the 1,083 plot summaries that are not empty, each with its film.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    return [Plot(film, text) for category, film, text in _read_films() if category == "plot" and text]


def split_of(film: str) -> Split:
    """Return the split to which all reviews of this film belong; it depends on the film's name alone.

    Use it to keep the plots of test films out of training as well.
    """
    digest = sha256(f"{_SPLIT_SEED}:{film}".encode()).digest()
    tenth = int.from_bytes(digest[:4], "big") % 10
    return "test" if tenth == 0 else "validation" if tenth == 1 else "train"


def load_bible() -> list[Verse]:
    """Return the 31,102 verses of the King James Bible in order.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    lines = read_member(SOURCES["bible"], "verses.jsonl").decode("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    verses = [Verse(row["book"], row["chapter"], row["verse"], " ".join(row["text"].split())) for row in rows]
    return [verse for verse in verses if verse.text != "[]"]  # 3 John 1:15, which this translation lacks


def minilm_path() -> Path:
    """Return the folder of all-MiniLM-L6-v2 in transformers' layout, with every checksum verified.

    Both `bertlearn.BertModel.from_pretrained` and `transformers.AutoModel.from_pretrained` load it.

    Raises:
        DataError: the download failed, or a cached file was changed.
    """
    return checked_folder(SOURCES["minilm"])


def _columns(rows: list[tuple[str, int, str]]) -> tuple[list[str], list[int], list[str]]:
    return [text for text, _, _ in rows], [label for _, label, _ in rows], [film for _, _, film in rows]


def _read_films() -> list[tuple[str, str, str]]:
    """Return (category, film, text) for each row; the category is "plot", "fresh" or "rotten"."""
    text = bz2.decompress(read_member(SOURCES["reviews"], "reviews.csv.bz2")).decode("utf-8")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [(row["category"], _film(row["movie_name"]), _tidy(row["text"])) for row in rows]


def _film(name: str) -> str:
    """Return one name for each film."""
    return _SAME_FILM.get(name, name)


def _tidy(text: str) -> str:
    """Remove what is left of web pages: entities (`&amp;`), a stray `;` as in "R&B;", repeated spaces."""
    text = re.sub(r"&(\w\.?);", r"&\1", html.unescape(text))
    return " ".join(text.split())
