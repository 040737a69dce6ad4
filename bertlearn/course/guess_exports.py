"""Guesses of a class: each learner's file, which holds no name, and the sum of many files.

The files come from anyone, so nothing in them is trusted: one that is damaged is left out, with a message.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

from bertlearn.course.guess_cards import Shown, table
from bertlearn.course.guess_kinds import POINTS, ended, number_text, with_unit
from bertlearn.files import write_whole

FORMAT = "bertlearn guesses 1"
_MAX_BYTES, _MAX_GUESSES, _MAX_TEXT = 1_000_000, 500, 500  # far more than a chapter's


class Guess(NamedTuple):
    """One learner's guess, and the result if the learner has seen it."""

    chapter: int
    name: str
    kind: str
    question: str
    unit: str
    guess: Any
    result: Any
    hit: bool | None


def write_export(path: Path, chapter: int, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a chapter's guesses, by name, as JSON; raises OSError if the file cannot be written."""
    keys = ("kind", "question", "unit", "guess", "result", "hit")
    guesses = [{"name": name, **{key: entry.get(key) for key in keys}} for name, entry in entries.items()]
    content = {"format": FORMAT, "chapter": chapter, "guesses": guesses}
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def summarize(paths: Iterable[str | Path]) -> Shown:
    """Sum up the guesses of a class: what most expected, and how many were right.

    Args:
        paths: files that learners wrote with `Guesses.export`.

    Returns: a text and a table, one row for each question; files that cannot be read are named below it.
    """
    read = read_class(paths)
    rows = [summed_up(group) for group in read.questions]
    title = f"Guesses from {read.files} {'file' if read.files == 1 else 'files'}"
    lines = [f"Chapter {row[0]}. {row[1]} {row[2]}{f' {row[3]}' if row[3] else ''}" for row in rows]
    html = table(title, ("Chapter", "Question", "What you expected", "Hits"), rows)
    notes = "".join(f"<p>{_escaped(note)}</p>" for note in read.refused)
    return Shown("\n  ".join([title, *lines, *read.refused]), html + notes)


class ClassGuesses(NamedTuple):
    """The guesses in the files of a class."""

    files: int  # that were read
    questions: list[list[Guess]]  # the guesses that answer each question, chapter by chapter
    refused: list[str]  # which files were left out, and why


def read_class(paths: Iterable[str | Path]) -> ClassGuesses:
    """Return the guesses in files of `Guesses.export`, by question; unreadable files are left out."""
    groups: dict[tuple[int, str, str], list[Guess]] = {}
    refused, files = list[str](), 0
    for path in paths:
        try:
            for guess in read_export(Path(path)):
                groups.setdefault((guess.chapter, guess.name, guess.kind), []).append(guess)
            files += 1
        except (OSError, ValueError, RecursionError) as error:
            refused.append(f"Left out {_line(os.path.basename(path))}: {_line(str(error))}")
    return ClassGuesses(files, sorted(groups.values(), key=lambda group: group[0].chapter), refused)


def read_export(path: Path) -> list[Guess]:
    """Return the guesses of one learner's file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no file of guesses; the message says why.
    """
    if not path.is_file():
        raise ValueError("no such file")
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise ValueError(f"{size:,} bytes are too many for a file of guesses")
    try:
        content = json.loads(path.read_bytes().decode("utf-8"), parse_constant=_refuse)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError("not a JSON file") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("not a file of guesses")
    chapter, entries = content.get("chapter"), content.get("guesses")
    if type(chapter) is not int or not isinstance(entries, list) or len(entries) > _MAX_GUESSES:
        raise ValueError("not a chapter's guesses")
    guesses = [_read_guess(chapter, entry) for entry in entries]
    if len({guess.name for guess in guesses}) != len(guesses):
        raise ValueError("a guess is there twice")
    return guesses


def _read_guess(chapter: int, entry: Any) -> Guess:
    if not isinstance(entry, dict):
        raise ValueError("a guess has no fields")
    name, kind, question, unit = (_text(entry, key) for key in ("name", "kind", "question", "unit"))
    if kind not in _KINDS:
        raise ValueError(f"a guess of the kind {kind!r}")
    guess, result, hit = entry.get("guess"), entry.get("result"), entry.get("hit")
    is_value = _KINDS[kind].is_value
    if not is_value(guess) or not (result is None or is_value(result)) or hit not in (None, True, False):
        raise ValueError(f"the values of {name!r} are no {kind}")
    return Guess(chapter, name, kind, question, unit, guess, result, hit)


def _text(entry: dict[str, Any], key: str) -> str:
    text = entry.get(key)
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        raise ValueError(f"a guess without a proper {key}")
    return _line(text)


def summed_up(group: list[Guess]) -> tuple[str, str, str, str]:
    """Return what the guesses for one question sum up to: chapter, question, what was expected, hits."""
    judged = [guess for guess in group if guess.hit is not None]
    hits = f"{sum(bool(guess.hit) for guess in judged)} of {len(judged)} hit" if judged else ""
    question = Counter(guess.question for guess in group).most_common(1)[0][0]
    return str(group[0].chapter), ended(question, ":"), _KINDS[group[0].kind].expected(group), hits


def _expected_number(group: list[Guess]) -> str:
    unit = group[0].unit
    said = _middle([guess.guess for guess in group], unit)
    results = [guess.result for guess in group if guess.result is not None]
    if not results:
        return f"{said}."
    truth = median(results)
    below, above = (sum(sign * (guess.guess - truth) > 0 for guess in group) for sign in (-1, 1))
    side, many = ("too little", below) if below >= above else ("too much", above)
    most = f" Most of you ({many} of {len(group)}) said {side}." if many > len(group) / 2 else ""
    return f"{said}; it is {with_unit(number_text(truth), unit)}.{most}"


def _expected_choice(group: list[Guess]) -> str:
    counts = Counter(guess.guess for guess in group)
    (first, many), *_ = counts.most_common()
    if many > len(group) / 2:
        text = f"Most of you expected “{first}” ({many} of {len(group)})"
    else:
        text = "You were split: " + ", ".join(f"“{option}” ({n})" for option, n in counts.most_common())
    results = Counter(guess.result for guess in group if guess.result is not None)
    if not results:
        return f"{text}."
    truth = results.most_common(1)[0][0]
    right = "" if many <= len(group) / 2 or truth == first else f", as {counts[truth]} of you expected"
    return f"{text}; it is “{truth}”{right}."


def _expected_curve(group: list[Guess]) -> str:
    start, end = (_middle([guess.guess[i] for guess in group], "") for i in (0, -1))
    text = f"At the left end: {start[0].lower()}{start[1:]}. At the right end: {end[0].lower()}{end[1:]}"
    results = [guess.result for guess in group if guess.result is not None]
    if not results:
        return f"{text}."
    first, last = (number_text(median(result[i] for result in results)) for i in (0, -1))
    return f"{text}. It goes from {first} to {last}."


def _middle(values: list[float], unit: str) -> str:
    """Say where the middle half of the values is."""
    if len(values) < 4:
        return "You said " + ", ".join(with_unit(number_text(value), unit) for value in sorted(values))
    low, _, high = (number_text(value) for value in quantiles(values, n=4, method="inclusive"))
    if low == high:
        return f"At least half of you said {with_unit(low, unit)}"
    return f"Half of you said {low} to {with_unit(high, unit)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT and value == _line(value)


def _is_curve(value: Any) -> bool:
    return isinstance(value, list) and len(value) == POINTS and all(map(_is_number, value))


class _Kind(NamedTuple):
    is_value: Any
    expected: Any


_KINDS = {
    "number": _Kind(_is_number, _expected_number),
    "choice": _Kind(_is_text, _expected_choice),
    "curve": _Kind(_is_curve, _expected_curve),
}


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _line(text: str) -> str:
    """Return a text as one line without control characters, which could change what a terminal shows."""
    return "".join(char if char.isprintable() else " " for char in text)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
