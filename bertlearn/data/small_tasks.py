"""Small tasks: kinds of question, spam, rated sentences, exchanges; and a BERT for sparse search (chapter 9).

Source: Li & Roth 2002 (questions); Almeida et al. 2011 (messages); Hutto & Gilbert 2014 (rated sentences);
chatterbot-corpus (exchanges).
Texts are as in the files, without repeats; the order is that of the files.
"""

from __future__ import annotations

import csv
import html
import io
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import yaml

from bertlearn.data.download import checked_folder, read_member
from bertlearn.data.sources import SOURCES

Field = Literal["tweets", "products", "editorials"]


class Question(NamedTuple):
    """A question and what it asks for."""

    text: str
    kind: str  # coarse: ABBR, DESC, ENTY, HUM, LOC or NUM
    detail: str  # fine, one of 50 within the kinds, such as "city"


class Message(NamedTuple):
    """A text message."""

    text: str
    spam: bool


class Rated(NamedTuple):
    """A sentence with the mean of about twenty people's ratings, −4 (negative) to 4 (positive)."""

    text: str
    rating: float


class Exchange(NamedTuple):
    """What is said, and what is answered; one line each."""

    subject: str  # the file, such as "science"
    says: str
    reply: str


def load_questions() -> list[Question]:
    """Return 5,381 questions, each with its kind; one that has two kinds in the file has its first.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    found: dict[str, Question] = {}
    for line in _text("tasks", "questions.txt").splitlines():
        label, text = line.split(" ", 1)
        found.setdefault(text, Question(text, *label.split(":")))
    return list(found.values())


def load_messages() -> list[Message]:
    """Return the text messages without repeats.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    rows = csv.DictReader(io.StringIO(_text("tasks", "messages.csv"), newline=""))
    found = {row["text"].strip(): Message(row["text"].strip(), row["spam"] == "1") for row in rows}
    return [message for text, message in found.items() if text]


def load_rated(field: Field) -> list[Rated]:
    """Return sentences of a field with their ratings.

    Args:
        field: "tweets", "products" (reviews on Amazon) or "editorials" (New York Times).

    Raises:
        DataError: the download failed, or the cached file was changed.
        ValueError: an unknown field.
    """
    if field not in get_args(Field):
        fields = ", ".join(get_args(Field))
        raise ValueError(f"field={field!r} has no rated sentences; choose one of {fields}")
    rows = (line.split("\t") for line in _text("tasks", f"{field}.tsv").splitlines()[1:])
    plain = ((html.unescape(html.unescape(text)).strip(), float(rating)) for _, rating, text in rows)
    found = dict(plain)  # editorials have &amp;amp;
    return [Rated(text, rating) for text, rating in found.items() if text]


def load_exchanges() -> list[Exchange]:
    """Return what was said and what was answered, of each conversation each two lines in a row.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    found: dict[Exchange, None] = {}
    for member in SOURCES["dialogues"].members:
        content = yaml.safe_load(_text("dialogues", member.name))
        for lines in content["conversations"]:
            said = [" ".join(str(line).split()) for line in lines]
            pairs = (pair for pair in pairwise(said) if all(pair))
            found |= dict.fromkeys(Exchange(Path(member.name).stem, *pair) for pair in pairs)
    return list(found)


def splade_path() -> Path:
    """Return the folder of a small SPLADE in transformers' layout, with every checksum verified.

    Raises:
        DataError: the download failed, or a cached file was changed.
    """
    return checked_folder(SOURCES["splade"])


def _text(source: str, name: str) -> str:
    return read_member(SOURCES[source], name).decode("utf-8")
