"""Validation of a tokenizer's arguments: texts, ids and lengths. Every error says how to fix the call."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence


def check_text(text: str, name: str = "text") -> str:
    """Return `text` if it is a string that can be encoded as UTF-8.

    Raises:
        ValueError: it is not a string, or it contains a lone surrogate; the message calls it `name`.
    """
    if not isinstance(text, str):
        fix = '; use .decode("utf-8")' if isinstance(text, bytes) else ""
        raise ValueError(f"{name} is {type(text).__name__}, expected str{fix}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} has half a surrogate pair, {text[error.start]!r}, at index {error.start}, which is not "
            'a character; use text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")'
        ) from None
    return text


def check_filled(text: str, name: str) -> str:
    """Return `text` if it is valid (see `check_text`) and not empty.

    Raises:
        ValueError: it is not a valid text, or it is empty.
    """
    if text == "":
        raise ValueError(f"{name} is empty, expected at least one character; leave empty texts out")
    return check_text(text, name)


def check_texts(texts: Sequence[str], pairs: Sequence[str] | None) -> Sequence[str | None]:
    """Check a batch of texts and return the second text of each, None where there is none.

    Raises:
        ValueError: not lists of valid, non-empty texts, or not one second text for each text.
    """
    for name, values in (("texts", texts), ("pairs", pairs)):
        absent = values is None and name == "pairs"
        if isinstance(values, str | bytes) or not (absent or isinstance(values, Sequence)):
            raise ValueError(f"{name} is {type(values).__name__}, expected a list of texts")
    if not texts:
        raise ValueError(f"texts={texts!r} is empty; give at least one text")
    if pairs is not None and len(pairs) != len(texts):
        raise ValueError(f"{len(texts)} texts but {len(pairs)} pairs; give one second text for each text")
    for name, values in (("texts", texts), ("pairs", pairs or [])):
        for index, text in enumerate(values):
            check_filled(text, f"{name}[{index}]")
    return [None] * len(texts) if pairs is None else pairs


def check_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """Return the ids as a list.

    Raises:
        ValueError: they are not whole numbers from 0 to `vocab_size` - 1.
    """
    try:
        numbers = [operator.index(number) for number in ids]
    except TypeError:
        raise ValueError(f"ids is {str(ids)[:60]!r}, expected a list of whole numbers") from None
    wrong = [number for number in numbers if not 0 <= number < vocab_size]
    if wrong:
        raise ValueError(f"the id {wrong[0]} is not in the vocabulary; ids go from 0 to {vocab_size - 1}")
    return numbers
