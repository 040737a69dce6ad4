"""Checks of what a caller hands to a tokenizer: texts, ids and lengths, each with its remedy."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import TypeGuard


def check_text(text: str, name: str = "text") -> str:
    """Return the text if it is one that can be stored as UTF-8."""
    if not isinstance(text, str):
        fix = '; use .decode("utf-8")' if isinstance(text, bytes) else ""
        raise ValueError(f"{name} is {type(text).__name__}, expected str{fix}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} has half a surrogate pair, {text[error.start]!r}, at index {error.start}, which is no "
            'character; use text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")'
        ) from None
    return text


def check_filled(text: str, name: str) -> str:
    """Return the text if it is one that can be tokenized and not empty."""
    if text == "":
        raise ValueError(f"{name} is empty, expected at least one character; leave empty texts out")
    return check_text(text, name)


def check_texts(texts: Sequence[str], pairs: Sequence[str] | None) -> Sequence[str | None]:
    """Return as many second texts as there are texts, None where there are none; refuse what is no text."""
    for name, given in (("texts", texts), ("pairs", pairs)):
        absent = given is None and name == "pairs"
        if isinstance(given, str | bytes) or not (absent or isinstance(given, Sequence)):
            raise ValueError(f"{name} is {type(given).__name__}, expected a list of texts")
    if not texts:
        raise ValueError(f"texts={texts!r} holds no text; give at least one")
    if pairs is not None and len(pairs) != len(texts):
        raise ValueError(f"{len(texts)} texts but {len(pairs)} pairs; give one second text for each text")
    for name, given in (("texts", texts), ("pairs", pairs or [])):
        for index, text in enumerate(given):
            check_filled(text, f"{name}[{index}]")
    return [None] * len(texts) if pairs is None else pairs


def check_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """Return the ids as a list if each is one of the vocabulary."""
    try:
        numbers = [operator.index(number) for number in ids]
    except TypeError:
        raise ValueError(f"ids is {str(ids)[:60]!r}, expected a list of whole numbers") from None
    wrong = [number for number in numbers if not 0 <= number < vocab_size]
    if wrong:
        raise ValueError(f"the id {wrong[0]} is not in the vocabulary; ids go from 0 to {vocab_size - 1}")
    return numbers


def is_count(value: object) -> TypeGuard[int]:
    """Say whether a value is a whole number of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
