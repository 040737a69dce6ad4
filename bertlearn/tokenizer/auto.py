"""The tokenizer of a folder, whichever of the two kinds it is."""

from __future__ import annotations

from pathlib import Path

from bertlearn.files import find_folder, read_json
from bertlearn.tokenizer.encoding import SubwordTokenizer
from bertlearn.tokenizer.pretrained import TOKENIZER_JSON
from bertlearn.tokenizer.unigram import UnigramTokenizer
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


def load_tokenizer(folder_or_name: str | Path) -> SubwordTokenizer:
    """Load the tokenizer of a model: unigram if its tokenizer.json says so, else WordPiece.

    Args:
        folder_or_name: a folder, or a hub name such as "google-bert/bert-base-uncased".

    Raises:
        FileNotFoundError, ValueError: see the two classes' `from_pretrained`.
    """
    folder = find_folder(folder_or_name)
    path = folder / TOKENIZER_JSON
    model = read_json(path).get("model") if path.is_file() else None
    kind = model.get("type") if isinstance(model, dict) else None
    return (UnigramTokenizer if kind == "Unigram" else WordPieceTokenizer).from_pretrained(folder)
