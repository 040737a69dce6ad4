"""Spans: from characters of a text to tokens and labels, and back (chapter 5).

People mark names and answers by characters, while BERT works on tokens; the tokenizer's offsets translate
between the two. For token labels, this module puts a BIO tag on the first token of each word. For answers,
it finds the best span and decides whether there is an answer at all.

A token's characters go from the start of its offsets to its `Encoding.end`: an accent, a joiner or
a variation selector that normalization drops belongs to the token before it. So "José" ends after its accent,
however the é is written.
Source: Devlin et al. 2019, §4.2 and §4.3 (answers), §5.3 (first tokens); Ramshaw & Marcus 1995 (BIO).
Leaves out: texts longer than the model's input, which would have to be split into overlapping windows.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bertlearn.arguments import check_count
from bertlearn.model.heads import IGNORE
from bertlearn.model.inference import check_tokenizer
from bertlearn.tokenizer.encoding import Encoding, Offsets
from bertlearn.tokenizer.inputs import check_text
from bertlearn.tokenizer.wordpiece import UNK, WordPieceTokenizer

OUTSIDE = "O"


class Span(NamedTuple):
    """A span of a text, in characters, and its label."""

    start: int  # index of the first character
    end: int  # one after the last
    label: str


class TokenSpan(NamedTuple):
    """A span of an encoding, in tokens: indices into `input_ids`."""

    first: int
    last: int  # the last token itself, not one after it


class Answer(NamedTuple):
    """A span of the context that may answer the question; an empty text means that there is no answer."""

    text: str
    start: int  # characters of the context; 0 for no answer
    end: int
    score: float  # S · T_i + E · T_j: the start's logit plus the end's
    probability: float  # among all allowed answers


NO_ANSWER = TokenSpan(0, 0)  # [CLS] stands for "no answer"


# 1. Characters and tokens


def text_tokens(encoding: Encoding, segment: int = 0) -> list[int]:
    """Return the positions of a text's tokens, without [CLS], [SEP] and padding.

    Args:
        encoding: of a text or a pair.
        segment: 0 for the first text, 1 for the second.

    Raises:
        ValueError: another segment, or an encoding without tokens and offsets, as in `Features` of texts.
    """
    _check_whole(encoding)
    segment = check_count("segment", segment, 0, 1)
    tokens = zip(encoding.offsets, encoding.token_type_ids, strict=True)
    return [position for position, ((_, end), type_id) in enumerate(tokens) if end > 0 and type_id == segment]


def chars_to_tokens(encoding: Encoding, start: int, end: int, segment: int = 0) -> TokenSpan | None:
    """Return the tokens that overlap a span of characters.

    Args:
        encoding: of a text or a pair.
        start: index of the span's first character.
        end: one after its last.
        segment: the text that the characters belong to: 0 for the first, 1 for the second.

    Returns:
        First and last token; None if no token overlaps the span, because it is white space or lies beyond
        the point where the text was truncated.

    Raises:
        ValueError: the span is empty or negative, or something that `text_tokens` rejects.
    """
    _check_span(start, end)
    overlapping = [
        position
        for position in text_tokens(encoding, segment)
        if _overlap(_char_span(encoding, TokenSpan(position, position)), start, end)
    ]
    return TokenSpan(overlapping[0], overlapping[-1]) if overlapping else None


def tokens_to_chars(encoding: Encoding, first: int, last: int) -> Offsets:
    """Return the characters that a span of tokens covers: index of the first, and one after the last.

    The last token's dropped accents are included.

    Args:
        encoding: of a text or a pair.
        first, last: positions of two tokens of the same text; the span includes both.

    Raises:
        ValueError: the positions are in the wrong order or do not belong to one text.
    """
    for segment in (0, 1):
        positions = text_tokens(encoding, segment)
        if first in positions and last in positions and first <= last:
            return _char_span(encoding, TokenSpan(first, last))
    raise ValueError(
        f"first={first}, last={last} is not a span of one text; the tokens of the first text, without [CLS], "
        f"[SEP] and padding, are at the positions {text_tokens(encoding)}"
    )


def split_words(encoding: Encoding) -> list[TokenSpan]:
    """Return the words of the first text, each from its first to its last token.

    Words are those of `BasicTokenizer`, so each punctuation mark is a word of its own.
    """
    words: list[TokenSpan] = []
    for position in text_tokens(encoding):
        if encoding.tokens[position].startswith("##"):
            words[-1] = TokenSpan(words[-1].first, position)
        else:
            words.append(TokenSpan(position, position))
    return words


# 2. Labels for tokens


def bio_labels(kinds: Sequence[str]) -> list[str]:
    """Return the labels for kinds of spans: "O" (outside), then "B-" (begins) and "I-" (inside) of each kind.

    Raises:
        ValueError: `kinds` is a string instead of a list.
    """
    if isinstance(kinds, str):
        raise ValueError(f"kinds={kinds!r} is a string, expected a list; use [{kinds!r}]")
    return [OUTSIDE, *(f"{tag}-{kind}" for kind in kinds for tag in "BI")]


def token_labels(encoding: Encoding, spans: Iterable[Span], label2id: dict[str, int]) -> list[int]:
    """Return the labels that `BertForTokenClassification` learns from, given the spans of a text.

    Args:
        encoding: of the text, S tokens.
        spans: at most one in each word. A word that a span covers only in part belongs to the span, which
            comes back from `decode_bio` with the whole word: a span that begins or ends inside a word, or
            between a letter and its dropped accent, grows to the word's boundaries. White space and dropped
            characters before the first word do not come back, and neither does what lies beyond the point
            where the text was truncated.
        label2id: the number of each label: `model.config.label2id`.

    Returns:
        S numbers: at the first token of each word, the number of its label; −100 at the other tokens, at
        [CLS], [SEP] and padding, and in a second text.

    Raises:
        ValueError: something other than spans, two that share a word, an empty one, or a label without a
            number; something other than a `label2id`, or an encoding without tokens.
    """
    check_label2id(label2id)
    words = split_words(encoding)
    labels = [IGNORE] * len(encoding.tokens)
    for word in words:
        labels[word.first] = _label_id(OUTSIDE, label2id)
    owner: dict[TokenSpan, Span] = {}
    for span in as_spans(spans):
        covered = [word for word in words if _overlap(_char_span(encoding, word), span.start, span.end)]
        for tag, word in zip("B" + "I" * len(covered), covered, strict=False):
            if owner.setdefault(word, span) is not span:
                raise ValueError(f"{owner[word]} and {span} share a word; merge them, or drop one of them")
            labels[word.first] = _label_id(f"{tag}-{span.label}", label2id)
    return labels


def decode_bio(encoding: Encoding, labels: Sequence[int] | Tensor, id2label: dict[int, str]) -> list[Span]:
    """Return the spans of the text that token labels stand for: the inverse of `token_labels`.

    Args:
        encoding: of the text, S tokens.
        labels: S numbers, such as `logits.argmax(-1)`; only those at the first token of each word are read.
        id2label: the label of each number: `model.config.id2label`.

    Returns:
        The spans in order; each begins and ends at a word boundary, and spans that did so before
        `token_labels` are the same again. An "I-" that does not continue a span of its kind begins a new one,
        as in conlleval.

    Raises:
        ValueError: the labels are not S whole numbers, a number has no label, or a label is not BIO.
    """
    numbers = _as_numbers(labels)
    _check_length("labels", len(numbers), encoding)
    spans: list[Span] = []
    previous = OUTSIDE  # kind of the previous word
    for word in split_words(encoding):
        tag, kind = _tag_and_kind(numbers[word.first], id2label)
        start, end = _char_span(encoding, word)
        if tag == "I" and kind == previous:
            spans[-1] = spans[-1]._replace(end=end)
        elif tag != OUTSIDE:
            spans.append(Span(start, end, kind))
        previous = kind
    return spans


# 3. Answers


def answer_positions(
    tokenizer: WordPieceTokenizer, encoding: Encoding, context: str, start: int, end: int
) -> TokenSpan:
    """Return the tokens of an answer: `start_positions` and `end_positions` of `BertForQuestionAnswering`.

    Args:
        tokenizer: the one that made the encoding.
        encoding: of question and context, possibly truncated.
        context: the full text, not truncated.
        start, end: the answer's first character in the context, and one after its last.

    Returns:
        First and last token; `NO_ANSWER` if any token of the answer was truncated.

    Raises:
        ValueError: the encoding has no second text, or one that is not the context, or the answer contains no
            word of the context.
    """
    check_tokenizer(tokenizer)
    _check_context(encoding, context)
    _check_span(start, end)
    if not tokenizer.tokenize(context[start:end]) or end > len(context):
        raise ValueError(
            f"the answer from {start} to {end}, {context[start:end]!r}, is not in the context or has no "
            f"words; start and end count characters of the context, which has {len(context)}"
        )
    context_end = max((encoding.offsets[position][1] for position in text_tokens(encoding, 1)), default=0)
    truncated = tokenizer.tokenize(context[context_end:end])
    return NO_ANSWER if truncated else chars_to_tokens(encoding, start, end, segment=1) or NO_ANSWER


def span_scores(
    encoding: Encoding,
    start_logits: Tensor,
    end_logits: Tensor,
    max_answer_length: int = 30,
    null_threshold: float | None = None,
) -> Tensor:
    """Score every span of the context as the answer: the start's logit plus the end's.

    Args:
        encoding: of question and context, S tokens.
        start_logits, end_logits: floats (S,), one row of the model's output; −∞ excludes a token.
        max_answer_length: the longest answer allowed, in tokens.
        null_threshold: None if every question has an answer. A number allows "no answer": the span from 0 to
            0, which is [CLS], competes with its score plus this threshold, the paper's τ. A higher
            threshold predicts "no answer" more often.

    Returns:
        float32 (S, S): the score of the answer from token i to token j, −∞ for spans that are not allowed.
        Only tokens of the context are allowed, and no answer ends before it begins.

    Raises:
        ValueError: logits that are not (S,), NaN or too large; no second text; a maximum length below 1; an
            infinite threshold.
    """
    _check_pair(encoding)
    max_answer_length = check_count("max_answer_length", max_answer_length)
    _check_threshold(null_threshold)
    start_logits = _check_row("start_logits", start_logits, encoding)
    end_logits = _check_row("end_logits", end_logits, encoding)
    scores = start_logits.float()[:, None] + end_logits.float()[None, :]  # (S, S)
    inside = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    inside[text_tokens(encoding, 1)] = True
    allowed = (inside[:, None] & inside).triu().tril(max_answer_length - 1)
    answers = scores.masked_fill(~allowed, -torch.inf)
    if null_threshold is not None:
        answers[NO_ANSWER] = scores[NO_ANSWER] + null_threshold
    return answers


def best_answers(encoding: Encoding, context: str, scores: Tensor, n_best: int = 5) -> list[Answer]:
    """Return the most likely answers, most likely first; among equal scores "no answer", then the earliest.

    The first one is the prediction. It is "no answer" exactly if no other answer scores higher than "no
    answer" does with its threshold.

    Args:
        encoding: of question and context, S tokens.
        context: the encoding's second text, not truncated.
        scores: floats (S, S) from `span_scores`.
        n_best: maximum number of answers.

    Raises:
        ValueError: a context that is not the encoding's, n_best is below 1, scores that are not (S, S), NaN
            or too large, or no answer is allowed.
    """
    _check_context(encoding, context)
    n_best = check_count("n_best", n_best)
    scores, size = _as_floats("scores", scores), len(encoding.tokens)
    if scores.shape != (size, size):
        raise ValueError(
            f"scores has shape {tuple(scores.shape)}, expected {(size, size)} for an encoding of {size} "
            "tokens; use span_scores with the same encoding"
        )
    flat = scores.flatten()
    allowed = int((flat > -torch.inf).sum())
    if not allowed:
        raise ValueError("no token of the context is left; make max_length larger, or give a null_threshold")
    order = flat.sort(descending=True, stable=True).indices[: min(n_best, allowed)].tolist()
    probs = flat.softmax(0)
    answers = []
    for index in order:
        span = TokenSpan(*divmod(index, len(scores)))
        start, end = (0, 0) if span == NO_ANSWER else tokens_to_chars(encoding, *span)
        answers.append(Answer(context[start:end], start, end, flat[index].item(), probs[index].item()))
    return answers


def _char_span(encoding: Encoding, span: TokenSpan) -> Offsets:
    return encoding.offsets[span.first][0], encoding.end(span.last)


def _overlap(offsets: Offsets, start: int, end: int) -> bool:
    return offsets[0] < end and start < offsets[1]


# What callers may get wrong


def as_spans(spans: Iterable[Span]) -> list[Span]:
    """Return the spans of a text as a list; plain (start, end, label) become a `Span`.

    Raises:
        ValueError: something other than spans, or a span that is empty or negative.
    """
    if not isinstance(spans, Iterable) or isinstance(spans, str | bytes | dict | Span):
        raise ValueError(f"spans is {repr(spans)[:60]}, expected a list of Span, empty if a text has none")
    found = [_as_span(span) for span in spans]
    for span in found:
        _check_span(span.start, span.end)
    return found


def check_label2id(label2id: Any) -> None:
    """Check that `label2id` maps names of labels to their numbers.

    Raises:
        ValueError: it is something else, such as a list, or maps numbers to names.
    """
    if not isinstance(label2id, Mapping) or not all(map(_is_numbered, label2id.items())):
        raise ValueError(
            f"label2id is {repr(label2id)[:60]}, expected a dict from names to numbers, such as "
            "{'O': 0, 'B-NAME': 1, 'I-NAME': 2}; use model.config.label2id"
        )


def _is_numbered(item: tuple[Any, Any]) -> bool:
    label, number = item
    return isinstance(label, str) and isinstance(number, Integral) and (int(number) >= 0 or number == IGNORE)


def _as_span(span: Any) -> Span:
    if isinstance(span, Span):
        return span
    if not isinstance(span, tuple | list) or len(span) != 3:
        raise ValueError(f"a span is {repr(span)[:60]}, expected Span(start, end, label)")
    return Span(*span)


def _check_span(start: int, end: int) -> None:
    try:
        is_span = 0 <= operator.index(start) < operator.index(end)
    except TypeError:
        is_span = False
    if not is_span:
        raise ValueError(
            f"start={start!r}, end={end!r} is not a span of a text; use whole numbers: start counts from 0, "
            "and end is one after the last character"
        )


def _as_numbers(labels: Iterable[Any]) -> list[int]:
    try:
        return [operator.index(label) for label in labels]
    except TypeError:
        raise ValueError(
            f"labels is {repr(labels)[:60]}, expected whole numbers; of logits (S, C), use logits.argmax(-1)"
        ) from None


def _check_whole(encoding: Any) -> None:
    """Refuse anything but an encoding, and an encoding of which only the ids are left."""
    if not isinstance(encoding, Encoding):
        raise ValueError(f"encoding is {type(encoding).__name__}, expected Encoding; use tokenizer.encode")
    if not len(encoding.tokens) == len(encoding.offsets) == len(encoding.input_ids):
        raise ValueError(
            f"the encoding has {len(encoding.input_ids)} ids but {len(encoding.tokens)} tokens and "
            f"{len(encoding.offsets)} offsets, which text_features drops; use tokenizer.encode"
        )


def _check_length(name: str, length: int, encoding: Encoding) -> None:
    _check_whole(encoding)
    if length != len(encoding.tokens):
        raise ValueError(
            f"{name} has length {length}, but the encoding has {len(encoding.tokens)} tokens; remove the "
            "padding that the batch added"
        )


def _as_floats(name: str, values: Any) -> Tensor:
    """Return numbers as float32; −∞ is allowed, NaN and ∞ have no probability."""
    try:
        numbers = torch.as_tensor(values).float()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{name} is {type(values).__name__}, expected a tensor of floats") from None
    if count := int((~(numbers < torch.inf)).sum()):
        raise ValueError(
            f"{name} has {count} NaN or infinite among {numbers.numel()} numbers; check the model's weights, "
            "perhaps its training diverged"
        )
    return numbers


def _check_row(name: str, logits: Any, encoding: Encoding) -> Tensor:
    """Return the logits of the encoding's tokens, float32 (S,)."""
    row = _as_floats(name, logits)
    if row.dim() != 1:
        raise ValueError(f"{name} has shape {tuple(row.shape)}, expected (S,); take one row of the batch")
    _check_length(name, len(row), encoding)
    return row


def _check_threshold(null_threshold: float | None) -> None:
    try:
        is_number = null_threshold is None or math.isfinite(null_threshold)
    except (TypeError, ValueError):
        is_number = False
    if not is_number:
        raise ValueError(
            f"null_threshold={null_threshold!r}, expected a number, or None if every question has an answer"
        )


def _check_pair(encoding: Encoding) -> None:
    _check_whole(encoding)
    if 1 not in encoding.token_type_ids:
        raise ValueError("the encoding has no second text; use tokenizer.encode(question, context)")


def _check_context(encoding: Encoding, context: str) -> None:
    """Refuse a context that is not the encoding's second text, as far as its tokens show."""
    _check_pair(encoding)
    check_text(context, "context")
    for position in text_tokens(encoding, 1):
        token, (start, end) = encoding.tokens[position], encoding.offsets[position]
        found = context[start:end]
        comparable = found.isascii() and found.isprintable() and token != UNK  # only its case may differ
        differs = comparable and found.lower() != token.removeprefix("##").lower()
        if differs or encoding.end(position) > len(context):
            raise ValueError(
                f"the encoding's second text has the token {token!r} at {start} to {end}, but the context "
                f"has {found!r} there; give the text that was encoded"
            )


def _label_id(label: str, label2id: dict[str, int]) -> int:
    if label not in label2id:
        raise ValueError(
            f"the label {label!r} has no number; label2id has {', '.join(label2id)} (see bio_labels)"
        )
    return label2id[label]


def _tag_and_kind(number: int, id2label: dict[int, str]) -> tuple[str, str]:
    """Return B, I or O, and the kind of span."""
    label = id2label.get(number) if isinstance(id2label, Mapping) else None
    tag, _, kind = label.partition("-") if isinstance(label, str) else ("", "", "")
    if tag not in ("B", "I", OUTSIDE) or (tag == OUTSIDE) == bool(kind):
        raise ValueError(
            f"the number {number} stands for {label!r}, expected O, or B- or I- and a kind; "
            "use the model's own id2label"
        )
    return tag, kind
