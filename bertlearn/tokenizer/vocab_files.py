"""A tokenizer's files in transformers' layout: vocab.txt or tokenizer.json, and tokenizer_config.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertlearn.files import VOCAB, write_whole

MAX_WORD = 100  # characters in the longest word that is split at all
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SETTINGS, WHOLE = "tokenizer_config.json", "tokenizer.json"

SPECIAL_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")

_PECULIAR = ("single_word", "lstrip", "rstrip", "normalized")  # ways to match an added token


def read_vocab(folder: Path, whole: dict[str, Any]) -> Sequence[str] | dict[str, int]:
    """Read vocab.txt or, where there is none, what tokenizer.json holds of it."""
    path = folder / VOCAB
    if path.is_file():
        try:
            with path.open(encoding="utf-8") as lines:
                return [line.rstrip("\n") for line in lines]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 ({error}); fetch it again") from error
    vocab = whole.get("model", {}).get("vocab")
    if vocab is None:
        raise FileNotFoundError(
            f"{folder} has no {VOCAB}, nor a {WHOLE} with a vocabulary; a tokenizer needs one"
        )
    return vocab


def check_settings(settings: dict[str, Any], whole: dict[str, Any], folder: Path) -> None:
    """Refuse what would be cut otherwise than this module does it."""
    kind = whole.get("model", {}).get("type", "WordPiece")
    if kind != "WordPiece":
        raise ValueError(f"{folder / WHOLE} is a {kind} tokenizer; BERT's is WordPiece")
    for name, token in zip(SPECIAL_NAMES, SPECIAL_TOKENS, strict=True):
        given = settings.get(name) or token
        if (given["content"] if isinstance(given, dict) else given) != token:
            raise ValueError(f"{name}={given!r} in {folder / SETTINGS} is not supported, only {token!r}")
    added = [*whole.get("added_tokens", ()), *settings.get("added_tokens_decoder", {}).values()]
    for token in added:
        if token["content"] not in SPECIAL_TOKENS or any(token.get(name) for name in _PECULIAR):
            raise ValueError(
                f"{folder} adds the token {token['content']!r} to BERT's five; added tokens are not supported"
            )


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, with the same line ends on every system."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def check_vocab(vocab: Sequence[str] | dict[str, int]) -> dict[str, int]:
    """Return each piece with its id."""
    if isinstance(vocab, str | bytes) or not isinstance(vocab, Sequence | dict):
        raise ValueError(
            f"vocab is {type(vocab).__name__}, expected a list of pieces or a dict of ids; for a file use "
            "WordPieceTokenizer.from_pretrained(folder)"
        )
    ids = dict(vocab) if isinstance(vocab, dict) else {token: number for number, token in enumerate(vocab)}
    if not all(isinstance(token, str) for token in vocab):
        raise ValueError("vocab holds something that is no str; every piece is text")
    if len(ids) < len(vocab):
        repeated = next(token for number, token in enumerate(vocab) if ids[token] != number)
        raise ValueError(f"vocab holds {repeated!r} more than once; an id stands for one piece")
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(
            f"the ids of vocab are not 0 to {len(ids) - 1} without gaps and repeats; renumber them"
        )
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing:
        raise ValueError(f"vocab has no {' '.join(missing)}; BERT needs {' '.join(SPECIAL_TOKENS)}")
    return ids
