"""A Chinese BERT of one's own: its texts, its shards, and the weights of one long run (chapter 10).

`tools/make_chinese.py` made the vocabulary and the weights in snapshots/chinese; provenance.json there
records the data, the settings and the time. The weights of step 0 are drawn again from the seed.
"""

from __future__ import annotations

from pathlib import Path

from bertlearn.course.corpus import SNAPSHOTS, Corpus, Split
from bertlearn.course.snapshots import Snapshot, read_snapshot
from bertlearn.data import Document, load_novel, split_shop_reviews
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.training.options import TrainingOptions

FOLDER = SNAPSHOTS / "chinese"
STEPS = (0, 2000, 20000)
OPTIONS = PretrainOptions(
    short_share=0.025, training=TrainingOptions(steps=20000, warmup=0.025, evaluate_every=500)
)


def chinese_documents(split: Split) -> list[Document]:
    """Return the Chinese texts to pretrain on: each chapter of the novel, each review.

    For training: 114 chapters, and the reviews for training. For validation: every 20th chapter, and the
    reviews for validation. A test review is in neither.

    Raises:
        DataError: a source could not be fetched, or a cached file was changed.
    """
    chapters = [
        "\n".join((chapter.title, *chapter.paragraphs))
        for number, chapter in enumerate(load_novel())
        if (number % 20 == 0) == (split == "validation")
    ]
    reviews = getattr(split_shop_reviews(), split).texts
    documents = [Document("novel", text) for text in chapters]
    return documents + [Document("reviews", text) for text in reviews]


def chinese_shards(split: Split) -> Path:
    """Return the folder with the shards of the Chinese texts, which are built if they are missing.

    Raises:
        DataError: see `Corpus.shards`.
    """
    return CHINESE.shards(split)


def load_chinese_bert(step: int = STEPS[-1]) -> Snapshot:
    """Return the model of one of the `STEPS`.

    Raises:
        ValueError: there are no weights of this step.
    """
    if step not in STEPS:
        raise ValueError(f"step={step} was not kept; choose among {', '.join(map(str, STEPS))}")
    return read_snapshot(FOLDER, step, OPTIONS)


CHINESE = Corpus("chinese-shards", FOLDER, chinese_documents)
