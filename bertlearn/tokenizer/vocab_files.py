"""A vocabulary and its file, vocab.txt: one token per line, and the number of the line is the id."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path

from bertlearn.files import VOCAB, check_fetched

MAX_WORD = 100  # characters; a longer word becomes [UNK] without a search
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

# Unicode's White_Space, which transformers removes at line ends; str.rstrip would remove \x1c to \x1f as well
_WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
_WHITE_SPACE += "\u2028\u2029\u202f\u205f\u3000"

_BYTE_ORDER_MARK = "\ufeff"


def read_vocab(path: Path) -> list[str]:
    r"""Return the tokens of a vocabulary file in the order of their ids, as transformers reads it.

    Only \n ends a line: other separators, such as U+2028, belong to a token. White space at the end of a line
    is removed. Blank lines at the end of the file are ignored, since no text gives their ids.

    Raises:
        ValueError: the file is a Git LFS pointer or not UTF-8, begins with a byte order mark, or has a
            token twice.
    """
    check_fetched(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}); download it again") from error
    if text.startswith(_BYTE_ORDER_MARK):
        raise ValueError(
            f"{path} begins with a byte order mark, which would belong to its first token; save the file as "
            "UTF-8 without it"
        )
    vocab = _tokens(text)
    if repeat := _first_repeat(vocab):
        first, second = repeat
        raise ValueError(
            f"{path} contains {vocab[first]!r} more than once, on the lines {first + 1} and {second + 1}; "
            "each token has one id"
        )
    return vocab


def vocab_text(vocab: Sequence[str]) -> str:
    """Return the content of the vocabulary file.

    Raises:
        ValueError: the file cannot hold a token, because it contains a line break, or because it differs from
            another one only in the white space at its end.
    """
    broken = [token for token in vocab if "\n" in token or "\r" in token]
    if broken:
        raise ValueError(f"the token {broken[0]!r} contains a line break; {VOCAB} has one token per line")
    text = "".join(f"{token}\n" for token in vocab)
    if repeat := _first_repeat(_tokens(text)):
        one, other = (vocab[number] for number in repeat)
        raise ValueError(
            f"the tokens {one!r} and {other!r} differ only in white space at the end, which {VOCAB} cannot "
            "hold; rename one of them"
        )
    return text


def check_vocab(vocab: Sequence[str] | dict[str, int], source: object = "vocab") -> dict[str, int]:
    """Return the vocabulary as a dict from token to id.

    Args:
        vocab: the tokens in the order of their ids, or a dict from token to id.
        source: where it comes from, for error messages.

    Raises:
        ValueError: not a list or dict of strings, or a vocabulary with a repeated token, a gap in its ids, or
            a missing special token.
    """
    if isinstance(vocab, str | bytes) or not isinstance(vocab, Sequence | dict):
        raise ValueError(
            f"{source} is {type(vocab).__name__}, expected a list of tokens or a dict of ids; for a file use "
            "WordPieceTokenizer.from_pretrained(folder)"
        )
    ids = dict(vocab) if isinstance(vocab, dict) else {token: number for number, token in enumerate(vocab)}
    if not all(isinstance(token, str) for token in vocab):
        raise ValueError(f"{source} contains something that is not a str; every token is a string")
    if len(ids) < len(vocab):
        repeated = next(token for number, token in enumerate(vocab) if ids[token] != number)
        raise ValueError(f"{source} contains {repeated!r} more than once; each token has one id")
    try:
        ids = {token: int(operator.index(number)) for token, number in ids.items()}
    except TypeError as error:
        raise ValueError(f"the ids of {source} are not all whole numbers ({error}); use int(id)") from None
    if set(ids.values()) != set(range(len(ids))):
        raise ValueError(
            f"the ids of {source} are not 0 to {len(ids) - 1} without gaps or repeats; renumber them"
        )
    missing = [token for token in SPECIAL_TOKENS if token not in ids]
    if missing:
        raise ValueError(f"{source} has no {' '.join(missing)}; BERT needs {' '.join(SPECIAL_TOKENS)}")
    return ids


def without_white_space(token: str) -> str:
    """Return the token as a vocabulary file holds it: without white space at its end."""
    return token.rstrip(_WHITE_SPACE)


def _tokens(text: str) -> list[str]:
    tokens = [without_white_space(line) for line in text.split("\n")]
    while tokens and not tokens[-1]:
        tokens.pop()
    return tokens


def _first_repeat(vocab: Sequence[str]) -> tuple[int, int] | None:
    """Return the numbers of the first token that has occurred before, the earlier one first."""
    seen: dict[str, int] = {}
    for number, token in enumerate(vocab):
        if (first := seen.setdefault(token, number)) != number:
            return first, number
    return None
