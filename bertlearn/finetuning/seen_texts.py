"""What a model sees of labeled texts: truncated texts, unknown words, and texts that become the same.

Used by `bertlearn finetune` (chapter 6). Examines only a sample of the texts, which says as much in less
time.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

from bertlearn.finetuning.labeled_texts import LabeledTexts, bare, short
from bertlearn.model.inference import encode_texts
from bertlearn.tokenizer.encoding import SubwordTokenizer

SAMPLE = 1000  # texts in the sample
MANY_UNKNOWN = 0.2  # share of tokens that are [UNK]; texts in the vocabulary's language have far less
MANY_CUT = 0.2  # share of texts of which the model does not see the end


class SeenTexts(NamedTuple):
    """A sample of labeled texts, spread evenly over the rows, and what the model sees of it."""

    rows: LabeledTexts
    max_length: int  # tokens; the rest of a text is cut off
    ids: list[tuple[int, ...]]  # the tokens of each text
    cut: int  # number of texts that are longer
    unknown: float  # share of [UNK] among the tokens, without added special tokens


def look(tokenizer: SubwordTokenizer, rows: LabeledTexts, max_length: int) -> SeenTexts:
    """Encode up to 1,000 of the texts.

    Args:
        tokenizer: the model's own.
        rows: the texts, or pairs of texts.
        max_length: maximum number of tokens that the model sees of each.
    """
    step = math.ceil(len(rows.texts) / SAMPLE)
    rows = LabeledTexts(rows.texts[::step], rows.labels[::step])
    ids = _ids(tokenizer, rows.texts, max_length)
    full = [text for text, row in zip(rows.texts, ids, strict=True) if len(row) == max_length]
    cut = sum(len(row) > max_length for row in _ids(tokenizer, full, max_length + 1)) if full else 0
    counts = Counter(number for row in ids for number in row)
    words = counts.total() - counts[tokenizer.cls_token_id] - counts[tokenizer.sep_token_id]
    return SeenTexts(rows, max_length, ids, cut, counts[tokenizer.unk_token_id] / max(1, words))


def _ids(tokenizer: SubwordTokenizer, texts: list[Any], max_length: int) -> list[tuple[int, ...]]:
    return [tuple(encoding.input_ids) for encoding in encode_texts(tokenizer, texts, max_length)]


def describe_cut(seen: SeenTexts) -> str:
    """Return to how many tokens texts are truncated, and how many of them are longer, if any."""
    size = len(seen.ids)
    longer = f"; {seen.cut:,} of {size:,} ({seen.cut / size:.0%}) are longer" if seen.cut else ""
    return f"truncated to {seen.max_length} tokens{longer}"


def unseen(seen: SeenTexts, name: str) -> list[str]:
    """Return what the model probably needs but will not see, in one sentence each.

    Args:
        seen: the texts.
        name: of these texts, "training" or "validation".
    """
    found = []
    if seen.unknown > MANY_UNKNOWN:
        found.append(
            f"{seen.unknown:.0%} of the tokens of the {name} texts are [UNK], words that the model's "
            "vocabulary lacks and that it cannot tell apart; use a model for the language of these texts"
        )
    if seen.cut > MANY_CUT * len(seen.ids):
        found.append(
            f"{seen.cut / len(seen.ids):.0%} of the {name} texts are longer than {seen.max_length} tokens; "
            "the model does not see the rest: use a larger --max-length, up to the model's number of "
            "positions, or shorter texts"
        )
    if same := _same_to_the_model(seen.rows, seen.ids):
        found.append(
            f"{len(same):,} of the {name} texts become the same tokens as one with another label, such as "
            f"{short(same[0])}; the model cannot tell them apart: they differ only beyond the "
            "truncation, in unknown words, or in case and accents"
        )
    return found


def _same_to_the_model(rows: LabeledTexts, ids: list[tuple[int, ...]]) -> list[Any]:
    """Return the texts that have the tokens of another text, which differs, as does its label."""
    texts_of: dict[tuple[int, ...], set[Any]] = {}
    labels_of: dict[tuple[int, ...], set[str]] = {}
    for row, text, label in zip(ids, *rows, strict=True):
        texts_of.setdefault(row, set()).add(bare(text))
        labels_of.setdefault(row, set()).add(label)
    same = {row for row in texts_of if len(texts_of[row]) > 1 and len(labels_of[row]) > 1}
    return [text for text, row in zip(rows.texts, ids, strict=True) if row in same]
