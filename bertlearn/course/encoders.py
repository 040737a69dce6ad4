"""The pretrained encoders that the chapters fine-tune, by their short names (chapters 5 and 6)."""

from __future__ import annotations

from bertlearn.course import snapshots
from bertlearn.data import minilm_path
from bertlearn.model.bert import BertModel
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


def load_encoder(name: str) -> tuple[BertModel, WordPieceTokenizer]:
    """Return a pretrained encoder and its tokenizer.

    Args:
        name: "minilm", "snapshot" (the last one of chapter 4), or a model's folder or hub name.

    Raises:
        DataError, FileNotFoundError, ValueError: the model cannot be fetched, found or read.
    """
    if name == "snapshot":
        last = snapshots.load_snapshot(snapshots.STEPS[-1])
        return last.model.bert, last.tokenizer
    folder = minilm_path() if name == "minilm" else name
    return BertModel.from_pretrained(folder), WordPieceTokenizer.from_pretrained(folder)
