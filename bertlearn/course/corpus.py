"""The course's own texts as a corpus to pretrain on, and their shards (chapters 4 to 6)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from bertlearn.data import (
    Document,
    cache_folder,
    load_articles,
    load_bible,
    load_plots,
    load_reviews,
    split_of,
)
from bertlearn.pretraining.corpus import build_shards
from bertlearn.pretraining.corpus.store import META, vocabulary_hash
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

SNAPSHOTS = Path(__file__).parent / "snapshots"


def course_documents(split: str = "train") -> list[Document]:
    """Return the course's texts as documents to pretrain on, source by source, in a fixed order.

    A document is all review sentences of a film ("reviews"), a plot ("plots"), an article ("wikipedia") or a
    chapter of the Bible ("bible"). Films are split by `split_of`; every 10th article and every 20th chapter
    are for validation. Neither split contains text about a test film.

    Raises:
        DataError: a source could not be fetched, or a cached file was changed.
        ValueError: `split` is neither "train" nor "validation".
    """
    if split not in ("train", "validation"):
        raise ValueError(f"split={split!r} is not for pretraining; choose 'train' or 'validation'")
    reviews = getattr(load_reviews(), split)
    sources = {
        "reviews": _gather(zip(reviews.films, reviews.sentences, strict=True)),
        "plots": [plot.text for plot in load_plots() if split_of(plot.film) == split],
        "wikipedia": _part(["\n".join(article.paragraphs) for article in load_articles()], 10, split),
        "bible": _part(_gather(((v.book, v.chapter), v.text) for v in load_bible()), 20, split),
    }
    return [Document(source, text) for source, texts in sources.items() for text in texts]


def course_shards(split: Literal["train", "validation"]) -> Path:
    """Return the folder with the shards of the course's own texts, which are built on the first call.

    Their vocabulary is that of the snapshots, 4,096 tokens. They contain no text about a test film (see
    `course_documents`).

    Raises:
        DataError: a source could not be fetched, or the disk is full.
    """
    tokenizer = WordPieceTokenizer.from_pretrained(SNAPSHOTS)
    folder = cache_folder() / "shards" / f"{split}-{vocabulary_hash(tokenizer.ids_to_tokens)[:12]}"
    if not (folder / META).is_file():
        build_shards(course_documents(split), folder, tokenizer)
    return folder


def _gather(rows: Iterable[tuple[object, str]]) -> list[str]:
    """Join the texts with the same key, one per line."""
    groups: dict[object, list[str]] = {}
    for key, text in rows:
        groups.setdefault(key, []).append(text)
    return ["\n".join(texts) for texts in groups.values()]


def _part(texts: list[str], step: int, split: str) -> list[str]:
    """Return every `step`-th text for validation, the others for training."""
    return [text for number, text in enumerate(texts) if (number % step == 0) == (split == "validation")]
