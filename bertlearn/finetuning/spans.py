"""Spans: from places in a text to pieces and labels, and back (chapter 5).

People mark names and answers by characters, BERT works on pieces; the tokenizer's offsets lead from one to
the other. For token labels: BIO tags on the first piece of each word. For answers: the best span, and
whether there is an answer at all.
Source: Devlin et al. 2019, §4.2 and §4.3 (answers), §5.3 (first pieces); Ramshaw & Marcus 1995 (BIO).
Leaves out: texts longer than the model, which would be cut into windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bertlearn.model.heads import IGNORE
from bertlearn.tokenizer.wordpiece import Encoding, Offsets, WordPieceTokenizer

OUTSIDE = "O"


class Span(NamedTuple):
    """A stretch of a text, in characters, and what it is."""

    start: int  # index of the first character
    end: int  # one after the last
    label: str


class TokenSpan(NamedTuple):
    """A stretch of an encoding, in pieces: places in `input_ids`."""

    first: int
    last: int  # the last piece itself, not one after it


class Answer(NamedTuple):
    """A stretch of the context that may answer the question; an empty text says that nothing there does."""

    text: str
    start: int  # characters of the context; 0 for no answer
    end: int
    score: float  # S · T_i + E · T_j: the start's logit and the end's
    probability: float  # among all answers that were allowed


NO_ANSWER = TokenSpan(0, 0)  # the answer "there is none" is [CLS]


# 1. Characters and pieces


def text_tokens(encoding: Encoding, segment: int = 0) -> list[int]:
    """Return the places of a text's pieces: without [CLS], [SEP] and padding.

    Args:
        encoding: of a text or a pair.
        segment: 0 for the first text, 1 for the second.
    """
    places = zip(encoding.offsets, encoding.token_type_ids, strict=True)
    return [place for place, ((_, end), kind) in enumerate(places) if end > 0 and kind == segment]


def chars_to_tokens(encoding: Encoding, start: int, end: int, segment: int = 0) -> TokenSpan | None:
    """Return the pieces that share a character with a stretch of the text.

    Args:
        encoding: of a text or a pair.
        start: index of the stretch's first character.
        end: one after its last.
        segment: which text is meant, 0 the first, 1 the second.

    Returns:
        First and last piece; None where no piece is: at white space, or behind the place the text was cut at.

    Raises:
        ValueError: a stretch without characters.
    """
    _check_stretch(start, end)
    touched = [
        place for place in text_tokens(encoding, segment) if _meet(encoding.offsets[place], start, end)
    ]
    return TokenSpan(touched[0], touched[-1]) if touched else None


def tokens_to_chars(encoding: Encoding, first: int, last: int) -> Offsets:
    """Return where a stretch of pieces stands in its text: its first character, and one after its last.

    Args:
        encoding: of a text or a pair.
        first, last: places of two pieces of the same text, both belong to the stretch.

    Raises:
        ValueError: places that are no such stretch.
    """
    for segment in (0, 1):
        places = text_tokens(encoding, segment)
        if first in places and last in places and first <= last:
            return _chars(encoding, TokenSpan(first, last))
    raise ValueError(
        f"the places {first} to {last} are no stretch of one text; its pieces are those without [CLS], [SEP] "
        f"and padding: {text_tokens(encoding)}"
    )


def split_words(encoding: Encoding) -> list[TokenSpan]:
    """Return the first text's words, each from its first to its last piece.

    Words are those of `BasicTokenizer`, so a punctuation mark is one of its own.
    """
    words: list[TokenSpan] = []
    for place in text_tokens(encoding):
        if encoding.tokens[place].startswith("##"):
            words[-1] = TokenSpan(words[-1].first, place)
        else:
            words.append(TokenSpan(place, place))
    return words


# 2. Labels for tokens


def bio_labels(kinds: Sequence[str]) -> list[str]:
    """Return the labels for kinds of spans: "O" for outside, then "B-" (begins) and "I-" (inside) of each.

    Raises:
        ValueError: one text instead of a list.
    """
    if isinstance(kinds, str):
        raise ValueError(f"kinds={kinds!r} is one text, expected a list; use [{kinds!r}]")
    return [OUTSIDE, *(f"{tag}-{kind}" for kind in kinds for tag in "BI")]


def token_labels(encoding: Encoding, spans: Iterable[Span], label2id: dict[str, int]) -> list[int]:
    """Turn the spans of a text into what `BertForTokenClassification` learns from.

    Args:
        encoding: of the text, S tokens.
        spans: at most one in each word. A word that a span meets only in part belongs to it; what lies behind
            the place the text was cut at is lost.
        label2id: the number of each label: `model.config.label2id`.

    Returns:
        S numbers: at each word's first piece that of its label; −100 at the other pieces, at [CLS], [SEP] and
        padding, and in a second text.

    Raises:
        ValueError: two spans in one word, a span without characters, or a label that has no number.
    """
    words = split_words(encoding)
    labels = [IGNORE] * len(encoding.tokens)
    for word in words:
        labels[word.first] = _number(OUTSIDE, label2id)
    owner: dict[TokenSpan, Span] = {}
    for span in spans:
        _check_stretch(span.start, span.end)
        met = [word for word in words if _meet(_chars(encoding, word), span.start, span.end)]
        for tag, word in zip("B" + "I" * len(met), met, strict=False):
            if owner.setdefault(word, span) is not span:
                raise ValueError(f"{owner[word]} and {span} share a word; join them, or drop one of them")
            labels[word.first] = _number(f"{tag}-{span.label}", label2id)
    return labels


def decode_bio(encoding: Encoding, labels: Sequence[int] | Tensor, id2label: dict[int, str]) -> list[Span]:
    """Turn the label of each token back into spans of the text: the inverse of `token_labels`.

    Args:
        encoding: of the text, S tokens.
        labels: S numbers, such as `logits.argmax(-1)`; only those at the words' first pieces are read.
        id2label: the label of each number: `model.config.id2label`.

    Returns:
        The spans in their order; each begins and ends with a word. An "I-" that follows nothing of its kind
        begins a span, as conlleval reads it.

    Raises:
        ValueError: not S labels, a number without label, or a label that is not BIO.
    """
    numbers = [int(number) for number in labels]
    _check_length("labels", len(numbers), encoding)
    spans: list[Span] = []
    before = OUTSIDE  # kind of the word before
    for word in split_words(encoding):
        tag, kind = _tag(numbers[word.first], id2label)
        start, end = _chars(encoding, word)
        if tag == "I" and kind == before:
            spans[-1] = spans[-1]._replace(end=end)
        elif tag != OUTSIDE:
            spans.append(Span(start, end, kind))
        before = kind
    return spans


# 3. Answers


def answer_positions(
    tokenizer: WordPieceTokenizer, encoding: Encoding, context: str, start: int, end: int
) -> TokenSpan:
    """Return the pieces of an answer: `start_positions` and `end_positions` of `BertForQuestionAnswering`.

    Args:
        tokenizer: the one that made the encoding.
        encoding: of question and context, maybe cut.
        context: the whole of it.
        start, end: the answer's first character in the context, and one after its last.

    Returns:
        First and last piece; `NO_ANSWER` where the answer was cut off, though only in part.

    Raises:
        ValueError: an encoding without a second text, or an answer that is no word of the context.
    """
    _check_pair(encoding)
    _check_stretch(start, end)
    if not tokenizer.tokenize(context[start:end]) or end > len(context):
        raise ValueError(
            f"the answer from {start} to {end}, {context[start:end]!r}, is no word of the context, which has "
            f"{len(context)} characters; count in characters of the context"
        )
    reach = max((encoding.offsets[place][1] for place in text_tokens(encoding, 1)), default=0)
    lost = tokenizer.tokenize(context[reach:end])
    return NO_ANSWER if lost else chars_to_tokens(encoding, start, end, segment=1) or NO_ANSWER


def span_scores(
    encoding: Encoding,
    start_logits: Tensor,
    end_logits: Tensor,
    max_answer_length: int = 30,
    null_threshold: float | None = None,
) -> Tensor:
    """Score every stretch of the context as the answer: the start's logit plus the end's.

    Args:
        encoding: of question and context, S tokens.
        start_logits, end_logits: floats (S,), one row of the model's.
        max_answer_length: pieces of the longest answer.
        null_threshold: None if there always is an answer. A number allows none: [CLS] from 0 to 0, with the
            threshold, the paper's τ, added to its score. A higher one says "no answer" more often.

    Returns:
        float32 (S, S): the score of the answer from piece i to piece j, −∞ where none may be. Only pieces
        of the context may answer, and no answer ends before it begins.

    Raises:
        ValueError: logits that are not (S,), no second text, or a length below 1.
    """
    _check_pair(encoding)
    if max_answer_length < 1:
        raise ValueError(f"max_answer_length={max_answer_length} leaves no answer; use 1 or more pieces")
    for name, logits in (("start_logits", start_logits), ("end_logits", end_logits)):
        if logits.dim() != 1:
            raise ValueError(
                f"{name} has shape {tuple(logits.shape)}, expected (S,); take one row of the batch"
            )
        _check_length(name, len(logits), encoding)
    scores = start_logits.float()[:, None] + end_logits.float()[None, :]  # (S, S)
    inside = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    inside[text_tokens(encoding, 1)] = True
    allowed = (inside[:, None] & inside).triu().tril(max_answer_length - 1)
    answers = scores.masked_fill(~allowed, -torch.inf)
    if null_threshold is not None:
        answers[NO_ANSWER] = scores[NO_ANSWER] + null_threshold
    return answers


def best_answers(encoding: Encoding, context: str, scores: Tensor, n_best: int = 5) -> list[Answer]:
    """Return the likeliest answers, the likeliest first; where scores are equal, no answer, then the earlier.

    The first is the prediction: "no answer" exactly if no other's score exceeds its own, threshold included.

    Args:
        encoding: of question and context, S tokens.
        context: the text that answers are cut out of.
        scores: floats (S, S) from `span_scores`.
        n_best: answers at most.

    Raises:
        ValueError: an n_best below 1, or no answer to choose from.
    """
    if n_best < 1:
        raise ValueError(f"n_best={n_best} asks for no answer; use 1 or more")
    flat = scores.flatten()
    allowed = int((flat > -torch.inf).sum())
    if not allowed:
        raise ValueError("no piece of the context is left; make max_length larger, or give a null_threshold")
    order = flat.sort(descending=True, stable=True).indices[: min(n_best, allowed)].tolist()
    probs = flat.softmax(0)
    answers = []
    for place in order:
        pieces = TokenSpan(*divmod(place, len(scores)))
        start, end = (0, 0) if pieces == NO_ANSWER else tokens_to_chars(encoding, *pieces)
        answers.append(Answer(context[start:end], start, end, flat[place].item(), probs[place].item()))
    return answers


def _chars(encoding: Encoding, pieces: TokenSpan) -> Offsets:
    return encoding.offsets[pieces.first][0], encoding.offsets[pieces.last][1]


def _meet(offsets: Offsets, start: int, end: int) -> bool:
    return offsets[0] < end and start < offsets[1]


# What callers may get wrong


def _check_stretch(start: int, end: int) -> None:
    if not 0 <= start < end:
        raise ValueError(
            f"start={start}, end={end} is no stretch of a text; start counts from 0, end is one after "
            "the last character"
        )


def _check_length(name: str, length: int, encoding: Encoding) -> None:
    if length != len(encoding.tokens):
        raise ValueError(
            f"{name} has length {length}, the encoding {len(encoding.tokens)} tokens; cut away what a batch "
            "padded"
        )


def _check_pair(encoding: Encoding) -> None:
    if 1 not in encoding.token_type_ids:
        raise ValueError("the encoding has no second text; use tokenizer.encode(question, context)")


def _number(label: str, label2id: dict[str, int]) -> int:
    if label not in label2id:
        raise ValueError(
            f"the label {label!r} has no number; label2id has {', '.join(label2id)} (see bio_labels)"
        )
    return label2id[label]


def _tag(number: int, id2label: dict[int, str]) -> tuple[str, str]:
    """Return B, I or O, and the kind of span."""
    tag, _, kind = id2label.get(number, "").partition("-")
    if tag not in ("B", "I", OUTSIDE) or (tag == OUTSIDE) == bool(kind):
        raise ValueError(
            f"the number {number} stands for {id2label.get(number)!r}, expected O, or B- or I- and a kind; "
            "give the model's own id2label"
        )
    return tag, kind
