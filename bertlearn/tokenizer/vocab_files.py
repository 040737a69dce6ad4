"""A tokenizer's files in transformers' layout: vocab.txt or tokenizer.json, and tokenizer_config.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertlearn.files import VOCAB, write_whole

MAX_WORD = 100  # characters; a longer word becomes [UNK] without a search
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TOKENIZER_CONFIG, TOKENIZER_JSON = "tokenizer_config.json", "tokenizer.json"

SPECIAL_NAMES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")

# Options of an added token that change how it is matched in a text; none of them is supported here.
_MATCHING_OPTIONS = ("single_word", "lstrip", "rstrip", "normalized")


def read_vocab(folder: Path, tokenizer_json: dict[str, Any]) -> Sequence[str] | dict[str, int]:
    """Return the vocabulary from vocab.txt or, if that file is missing, from the content of tokenizer.json.

    Raises:
        FileNotFoundError: neither has a vocabulary.
        ValueError: vocab.txt is not UTF-8.
    """
    path = folder / VOCAB
    if path.is_file():
        try:
            with path.open(encoding="utf-8") as lines:
                return [line.rstrip("\n") for line in lines]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 ({error}); download it again") from error
    vocab = tokenizer_json.get("model", {}).get("vocab")
    if vocab is None:
        raise FileNotFoundError(
            f"{folder} has neither a {VOCAB} nor a {TOKENIZER_JSON} with a vocabulary; a tokenizer needs one"
        )
    return vocab


def check_settings(config: dict[str, Any], tokenizer_json: dict[str, Any], folder: Path) -> None:
    """Check that `WordPieceTokenizer` would tokenize as these files of `folder` require.

    Args:
        config: the content of tokenizer_config.json, {} if there is none.
        tokenizer_json: the content of tokenizer.json, {} if there is none.
        folder: where the files are, for the error messages.

    Raises:
        ValueError: another algorithm than WordPiece, other special tokens than BERT's, or added tokens.
    """
    algorithm = tokenizer_json.get("model", {}).get("type", "WordPiece")
    if algorithm != "WordPiece":
        raise ValueError(f"{folder / TOKENIZER_JSON} is a {algorithm} tokenizer; BERT's is WordPiece")
    for name, token in zip(SPECIAL_NAMES, SPECIAL_TOKENS, strict=True):
        value = config.get(name) or token
        if (value["content"] if isinstance(value, dict) else value) != token:
            raise ValueError(
                f"{name}={value!r} in {folder / TOKENIZER_CONFIG} is not supported, only {token!r}"
            )
    added = [*tokenizer_json.get("added_tokens", ()), *config.get("added_tokens_decoder", {}).values()]
    for token in added:
        if token["content"] not in SPECIAL_TOKENS or any(token.get(name) for name in _MATCHING_OPTIONS):
            raise ValueError(
                f"{folder} adds the token {token['content']!r} to BERT's five; added tokens are not supported"
            )


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8 and with the same line endings on every system."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


def check_vocab(vocab: Sequence[str] | dict[str, int]) -> dict[str, int]:
    """Return the vocabulary as a dict from token to id.

    Args:
        vocab: the tokens in the order of their ids, or a dict from token to id.

    Raises:
        ValueError: not a list or dict of strings, or a vocabulary with a repeated token, a gap in its ids, or
            a missing special token.
    """
    if isinstance(vocab, str | bytes) or not isinstance(vocab, Sequence | dict):
        raise ValueError(
            f"vocab is {type(vocab).__name__}, expected a list of tokens or a dict of ids; for a file use "
            "WordPieceTokenizer.from_pretrained(folder)"
        )
    ids = dict(vocab) if isinstance(vocab, dict) else {token: number for number, token in enumerate(vocab)}
    if not all(isinstance(token, str) for token in vocab):
        raise ValueError("vocab contains something that is not a str; every token is a string")
    if len(ids) < len(vocab):
        repeated = next(token for number, token in enumerate(vocab) if ids[token] != number)
        raise ValueError(f"vocab contains {repeated!r} more than once; each token has one id")
    if sorted(ids.values()) != list(range(len(ids))):
        raise ValueError(
            f"the ids of vocab are not 0 to {len(ids) - 1} without gaps or repeats; renumber them"
        )
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing:
        raise ValueError(f"vocab has no {' '.join(missing)}; BERT needs {' '.join(SPECIAL_TOKENS)}")
    return ids
