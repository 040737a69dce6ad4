"""The course's own texts as a corpus to pretrain on, and their shards (chapters 4 to 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from bertlearn.data import (
    DataError,
    Document,
    Status,
    cache_folder,
    load_articles,
    load_bible,
    load_plots,
    load_reviews,
    own_cache_folder,
    split_of,
)
from bertlearn.data.cache import State
from bertlearn.files import file_lock
from bertlearn.pretraining.corpus import Shards, build_shards
from bertlearn.pretraining.corpus.store import META, vocabulary_hash
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

SNAPSHOTS = Path(__file__).parent / "snapshots"
Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")


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


@dataclass(frozen=True)
class Corpus:
    """Texts to pretrain on, as shards in the cache.

    Args:
        folder: the name of the shards' folder in the cache.
        vocabulary: the folder of the tokenizer.
        documents: returns the documents of a split.
    """

    folder: str
    vocabulary: Path
    documents: Callable[[Split], list[Document]]

    def shards(self, split: Split) -> Path:
        """Return the folder with the shards of a split, which are built if they are missing.

        If the cache can only be read and lacks them, they are built in the user's own.

        Raises:
            DataError: a source could not be fetched, or the disk is full.
        """
        name = self._name(split)
        folders = [cache / self.folder / name for cache in (cache_folder(), own_cache_folder())]
        finished = [folder for folder in folders if (folder / META).is_file()]
        return finished[0] if finished else self._build(split, _writable_cache() / self.folder / name)

    def build(self) -> None:
        """Build the shards of both splits in the cache, unless they are there and intact.

        Raises:
            DataError: a source could not be fetched, the disk is full, or the cache cannot be written.
        """
        for split in SPLITS:
            folder = cache_folder() / self.folder / self._name(split)
            if _state(folder) != "intact":
                self._build(split, folder)

    def status(self) -> Status:
        """Verify the shards of both splits in the cache."""
        folder = cache_folder() / self.folder
        folders = [folder / self._name(split) for split in SPLITS]
        states = {_state(one) for one in folders}
        state: State = "missing" if "missing" in states else "damaged" if "damaged" in states else "intact"
        size = sum(path.stat().st_size for one in folders for path in one.glob("*.*"))
        return Status(self.folder, state, folder, size)

    def _name(self, split: Split) -> str:
        tokenizer = WordPieceTokenizer.from_pretrained(self.vocabulary)
        return f"{split}-{vocabulary_hash(tokenizer.ids_to_tokens)[:12]}"

    def _build(self, split: Split, folder: Path) -> Path:
        """Build the shards of a split; of several processes that want to, one does, and the others wait."""
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with file_lock(folder.with_suffix(".lock")):
                if _state(folder) != "intact":  # another process may have just built them
                    tokenizer = WordPieceTokenizer.from_pretrained(self.vocabulary)
                    build_shards(self.documents(split), folder, tokenizer, overwrite=True)
        except OSError as error:
            raise DataError(
                f"the shards of the course's texts cannot be built in {folder} ({error}); set "
                "BERTLEARN_CACHE to a folder of your own"
            ) from error
        return folder


def course_shards(split: Split) -> Path:
    """Return the folder with the shards of the course's own texts, which are built if they are missing.

    Their vocabulary is that of the snapshots, 4,096 tokens. They contain no text about a test film (see
    `course_documents`).

    Raises:
        DataError: see `Corpus.shards`.
    """
    return ENGLISH.shards(split)


def _state(folder: Path) -> State:
    if not (folder / META).is_file():
        return "missing"
    try:
        Shards.open(folder, verify_again=True)
    except (OSError, ValueError):
        return "damaged"
    return "intact"


def _writable_cache() -> Path:
    """Return the cache, or the user's own if the cache can only be read."""
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=cache):
            return cache
    except OSError:
        own = own_cache_folder()
        print(
            f"{cache} has no shards of the course's texts and cannot be written; they are built in {own}. "
            "For a class, its owner can build them there with `bertlearn data`"
        )
        return own


def _gather(rows: Iterable[tuple[object, str]]) -> list[str]:
    """Join the texts with the same key, one per line."""
    groups: dict[object, list[str]] = {}
    for key, text in rows:
        groups.setdefault(key, []).append(text)
    return ["\n".join(texts) for texts in groups.values()]


def _part(texts: list[str], step: int, split: str) -> list[str]:
    """Return every `step`-th text for validation, the others for training."""
    return [text for number, text in enumerate(texts) if (number % step == 0) == (split == "validation")]


ENGLISH = Corpus("shards", SNAPSHOTS, course_documents)
