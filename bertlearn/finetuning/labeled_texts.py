"""Labeled texts before training: checks of their labels, warnings, and a validation set (chapter 6).

Used by `bertlearn finetune`. Leaves out: reading them, which `csv_data` does.
"""

from __future__ import annotations

import random
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from bertlearn.tokenizer.words import clean_text, lower_case, strip_accents

MIN_ROWS = 20  # fewer are not worth training on
IMBALANCE = 50  # a label with this many times the texts of another makes accuracy blind to the other
SHOWN = 10  # maximum number of names in a message
_MAYBE_MISSING = {"none", "null", "na", "n/a"}  # labels, or what programs write in place of one


class LabeledTexts(NamedTuple):
    """Texts or pairs of texts, each with the name of its label at the same index."""

    texts: list[Any]  # of str, or of (str, str)
    labels: list[str]


# 1. Checks


def check_classes(rows: LabeledTexts, path: str | Path, label_column: str) -> None:
    """Check that a classifier can be trained on the rows.

    Raises:
        ValueError: fewer than 20 rows, more than half as many labels as rows, only one label, or a label that
            fewer than two texts have. Texts with several labels do not count, and texts that differ only in
            case, accents or spaces count once.
    """
    size, counts = len(rows.labels), Counter(rows.labels)
    if size < MIN_ROWS:
        raise ValueError(f"{path} has {size} usable rows, expected at least {MIN_ROWS}; label more")
    if 2 * len(counts) > size:
        raise ValueError(
            f"{path} has {len(counts):,} different labels in {size:,} rows, such as {listed(counts)}; "
            f"{label_column!r} is probably not the label column"
        )
    if len(counts) == 1:
        raise ValueError(
            f"{path} has only one label, {listed(counts)}, expected two or more; add texts with others"
        )
    texts_of = _texts_of(rows)
    rare = sorted(label for label, texts in texts_of.items() if len(texts) < 2)
    if rare:
        several = _describe_contradictions(rows)
        raise ValueError(
            f"{path} has fewer than two texts labeled {listed(rare)}, expected two or more for each label"
            f"{several and f' ({several})'}; add texts, or correct the label"
        )


def check_known(rows: LabeledTexts, known: Sequence[str], path: str | Path) -> None:
    """Check that validation texts have only labels that the training texts have.

    Raises:
        ValueError: there is another label.
    """
    unknown = sorted(set(rows.labels) - set(known))
    if unknown:
        alike = _describe_lookalikes([*unknown, *known])
        raise ValueError(
            f"{path} has the label {listed(unknown)}, which no training text has; the training labels are "
            f"{listed(known)}{alike and f' ({alike})'}; correct it, or add training texts with it"
        )


def check_validation(train: LabeledTexts, validation: LabeledTexts, path: str | Path) -> None:
    """Check that the validation texts are not simply training texts.

    Raises:
        ValueError: each of them is a training text.
    """
    if set(map(bare, validation.texts)) <= set(map(bare, train.texts)):
        raise ValueError(
            f"all texts of {path} are training texts, on which a model scores too well; use other texts, or "
            "leave out the validation file to hold out a share of the training texts"
        )


def doubts(train: LabeledTexts, validation: LabeledTexts) -> list[str]:
    """Describe likely mistakes in texts that can be trained on, in one sentence each."""
    found = [
        _describe_contradictions(train),
        _describe_lookalikes(train.labels),
        _describe_maybe_missing(train.labels),
        _describe_imbalance(train),
        _describe_missing(train, validation),
        _describe_shared(train, validation),
    ]
    return [sentence for sentence in found if sentence]


def _describe_contradictions(rows: LabeledTexts) -> str:
    several = _texts_with_several_labels(rows)
    if not several:
        return ""
    text, labels = next(iter(several.items()))
    noun = "text has" if len(several) == 1 else "texts have"
    return f"{len(several):,} {noun} several labels, such as {short(text)} with {listed(sorted(labels))}"


def _describe_lookalikes(labels: Iterable[str]) -> str:
    """Name labels that a reader would take for the same one."""
    groups: dict[str | Decimal, list[str]] = {}
    for label in sorted(set(labels)):
        groups.setdefault(_essence(label), []).append(label)
    alike = [label for group in groups.values() if len(group) > 1 for label in group]
    if not alike:
        return ""
    shown = listed(alike, ascii if len(set(map(_look, alike))) < len(alike) else repr)
    return f"the labels {shown} differ only in case, spaces, invisible characters or the way they are written"


def _essence(label: str) -> str | Decimal:
    """Return a key that is the same for labels that look alike: a number, or else simplified text."""
    text = " ".join(_look(_look(label).casefold()).split())
    try:
        number = Decimal(text)
    except ArithmeticError:
        return text
    return number if number.is_finite() else text


def _look(text: str) -> str:
    """Return a text without what cannot be seen: how characters are composed, and invisible ones."""
    return "".join(filter(_is_visible, unicodedata.normalize("NFKC", text)))


def _is_visible(character: str) -> bool:
    """Return False for format characters, such as zero-width spaces, and for variation selectors."""
    return unicodedata.category(character) != "Cf" and not "\ufe00" <= character <= "\ufe0f"


def _describe_maybe_missing(labels: Iterable[str]) -> str:
    found = sorted({label for label in labels if label.casefold() in _MAYBE_MISSING})
    if not found:
        return ""
    return f"texts are labeled {listed(found)}, which may stand for a missing label; if so, remove these rows"


def _describe_imbalance(rows: LabeledTexts) -> str:
    counts = Counter(rows.labels).most_common()
    (common, many), (rare, few) = counts[0], counts[-1]
    if many < IMBALANCE * few:
        return ""
    return (
        f"{many:,} texts are labeled {short(common)} and only {few:,} {short(rare)}; a model that never "
        f"answers {short(rare)} has a high accuracy: compare macro-F1, and label more texts"
    )


def _describe_missing(train: LabeledTexts, validation: LabeledTexts) -> str:
    missing = sorted(set(train.labels) - set(validation.labels))
    if not missing:
        return ""
    return f"no validation text is labeled {listed(missing)}; the scores do not say how well these are found"


def _describe_shared(train: LabeledTexts, validation: LabeledTexts) -> str:
    trained = set(map(_folded, train.texts))
    shared = {text: None for text in validation.texts if _folded(text) in trained}
    if not shared:
        return ""
    share = sum(text in shared for text in validation.texts) / len(validation.texts)
    return (
        f"{len(shared):,} validation texts ({share:.0%}) are also training texts, perhaps with other case, "
        f"accents or spaces, such as {short(min(shared))}; the scores will be too good"
    )


# 2. Splitting off a validation set


def split_off(rows: LabeledTexts, share: float, seed: int) -> tuple[LabeledTexts, LabeledTexts]:
    """Split the rows into training and held-out rows: about this share of each label's texts, at least one.

    Texts that differ only in case, accents or spaces go to the same part; those with several labels are for
    training. The same seed gives the same split.
    """
    held_out = set()
    for label, texts in sorted(_texts_of(rows).items()):
        count = min(len(texts), max(1, round(share * len(texts))))
        held_out |= set(random.Random(f"{seed} {label}").sample(texts, count))
    return _select(rows, held_out, False), _select(rows, held_out, True)


def _texts_of(rows: LabeledTexts) -> dict[str, list[Any]]:
    """Return the different texts of each label, folded, without those of several labels.

    They are in the order of the rows.
    """
    several = _texts_with_several_labels(rows)
    texts_of: dict[str, dict[Any, None]] = {label: {} for label in rows.labels}
    for text, label in zip(*rows, strict=True):
        if bare(text) not in several:
            texts_of[label][_folded(text)] = None
    return {label: list(texts) for label, texts in texts_of.items()}


def _texts_with_several_labels(rows: LabeledTexts) -> dict[Any, set[str]]:
    labels_of: dict[Any, set[str]] = {}
    for text, label in zip(*rows, strict=True):
        labels_of.setdefault(bare(text), set()).add(label)
    return {text: labels for text, labels in labels_of.items() if len(labels) > 1}


def _select(rows: LabeledTexts, texts: set[Any], inside: bool) -> LabeledTexts:
    selected = [row for row in zip(*rows, strict=True) if (_folded(row[0]) in texts) == inside]
    return LabeledTexts([text for text, _ in selected], [label for _, label in selected])


def bare(text: Any) -> Any:
    """Return a text, or each of a pair, without what no model sees: kinds of space, hidden characters."""
    return " ".join(clean_text(text).split()) if isinstance(text, str) else tuple(map(bare, text))


def _folded(text: Any) -> Any:
    """Return a key that is the same for texts that a model without case and accents cannot tell apart."""
    return lower_case(strip_accents(bare(text))) if isinstance(text, str) else tuple(map(_folded, text))


# 3. Names in messages


def describe_labels(labels: Sequence[str]) -> str:
    """Return the labels and their counts in one line, the most frequent first."""
    counts = Counter(labels)
    shown = [f"{short(label)} {count:,}" for label, count in counts.most_common(SHOWN)]
    return f"{len(counts):,} labels: {_joined(shown, len(counts))}"


def listed(names: Iterable[str], quoted: Callable[[str], str] = repr) -> str:
    """Return names in one line, each quoted, so that none can be mistaken for part of the message."""
    names = list(names)
    return _joined([quoted(name[:40]) for name in names[:SHOWN]], len(names))


def short(text: Any) -> str:
    """Return a text, or each of a pair, quoted and cut after 40 characters."""
    return repr(text[:40]) if isinstance(text, str) else " and ".join(map(short, text))


def _joined(shown: list[str], count: int) -> str:
    more = [f"and {count - len(shown):,} more"] if count > len(shown) else []
    return ", ".join([*shown, *more])
