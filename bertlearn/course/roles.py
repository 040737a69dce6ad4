"""Who did what to whom, where and when: roles around a marked verb (chapter 9).

Three ways: labels for tokens, with the verb marked by the token types (Shi & Lin 2019); a question for each
role, answered by a span (He et al. 2015); and the order of the words, without any learning.
Leaves out: finding the verbs, and frames, which give each verb roles of its own.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from bertlearn.course.labeled import Roles
from bertlearn.course.small_training import learn_features
from bertlearn.finetuning.features import Features, answer_features, token_features
from bertlearn.finetuning.run import predict_logits
from bertlearn.finetuning.spans import (
    Answer,
    Span,
    best_answers,
    bio_labels,
    chars_to_tokens,
    decode_bio,
    span_scores,
)
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForQuestionAnswering, BertForTokenClassification
from bertlearn.tokenizer.encoding import Encoding
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

NAMES = ("agent", "theme", "beneficiary", "place", "time")
LENGTH = 96  # tokens of a sentence, with a question
RECIPE = {"steps": 150, "batch_size": 16, "learning_rate": 2e-4, "warmup_steps": 15}
FOLDS = 5


def fold(sentences: Sequence[Roles], number: int) -> tuple[list[Roles], list[Roles]]:
    """Return what to train on and what to test on; a sentence with two marked verbs is on one side.

    Args:
        sentences: all of them.
        number: of the fifth to test on, 0 to 4.
    """
    texts = sorted({sentence.text for sentence in sentences})
    mixed = random.Random(0).sample(texts, len(texts))
    held_out = set(mixed[number::FOLDS])
    train = [sentence for sentence in sentences if sentence.text not in held_out]
    return random.Random(number).sample(train, len(train)), [s for s in sentences if s.text in held_out]


# 1. Labels for tokens


class Tagger(NamedTuple):
    """A model that labels the tokens of a sentence, and what it needs."""

    model: BertForTokenClassification
    tokenizer: WordPieceTokenizer
    marked: bool  # whether token types show it the verb


def role_features(tokenizer: WordPieceTokenizer, sentences: Sequence[Roles], marked: bool = True) -> Features:
    """Return features of sentences with their roles; token type 1 marks the tokens of the verb."""
    texts, roles = [one.text for one in sentences], [one.roles for one in sentences]
    label2id = {name: number for number, name in enumerate(bio_labels(NAMES))}
    features = token_features(tokenizer, texts, roles, label2id, LENGTH)
    if not marked:
        return features
    pairs = zip(features.encodings, sentences, strict=True)
    return replace(features, encodings=[_mark(encoding, one.predicate) for encoding, one in pairs])


def _mark(encoding: Encoding, verb: Span) -> Encoding:
    tokens = chars_to_tokens(encoding, verb.start, verb.end)
    if tokens is None:
        raise ValueError(f"the verb at {verb.start} to {verb.end} is beyond the first {LENGTH} tokens")
    types = [int(tokens.first <= at <= tokens.last) for at in range(len(encoding.input_ids))]
    return encoding._replace(token_type_ids=types)


def train_tagger(
    encoder: BertModel,
    tokenizer: WordPieceTokenizer,
    sentences: Sequence[Roles],
    seed: int,
    marked: bool = True,
    longer: int = 1,
) -> Tagger:
    """Fine-tune a copy of an encoder to label the tokens, as `RECIPE` says, with `longer` times the steps."""
    generator = torch.Generator().manual_seed(seed)
    model = BertForTokenClassification.from_encoder(encoder, bio_labels(NAMES), generator)
    model.bert.embeddings.requires_grad_(False)
    features = role_features(tokenizer, sentences, marked)
    learn_features(model, features, _recipe(len(features), longer), seed)
    return Tagger(model, tokenizer, marked)


def tag(tagger: Tagger, sentences: Sequence[Roles]) -> list[list[Span]]:
    """Return the roles that the model finds around the verb of each sentence."""
    plain, features = (
        role_features(tagger.tokenizer, sentences, marked) for marked in (False, tagger.marked)
    )
    id2label = tagger.model.config.id2label
    return [
        decode_bio(encoding, row.argmax(-1), id2label)
        for encoding, row in zip(plain.encodings, predict_logits(tagger.model, features), strict=True)
    ]


def _recipe(count: int, longer: int) -> dict[str, float]:
    """Return the recipe with the same number of steps for any number of examples."""
    size = min(int(RECIPE["batch_size"]), count)
    return RECIPE | {"epochs": longer * RECIPE["steps"] * size / count}


# 2. A question for each role

QUESTIONS = {
    "agent": "Who or what does it: {verb}?",
    "theme": "What happens to whom or what: {verb}?",
    "beneficiary": "To whom or for whom: {verb}?",
    "place": "Where: {verb}?",
    "time": "When, how long or how often: {verb}?",
}


def questions(sentence: Roles) -> list[str]:
    """Return the question for each role, in the order of `NAMES`."""
    verb = sentence.text[sentence.predicate.start : sentence.predicate.end]
    return [QUESTIONS[name].format(verb=verb) for name in NAMES]


def train_reader(
    encoder: BertModel, tokenizer: WordPieceTokenizer, sentences: Sequence[Roles], seed: int, longer: int = 2
) -> BertForQuestionAnswering:
    """Fine-tune a copy of an encoder to answer the questions, with `longer` times the steps of `RECIPE`.

    A role that occurs twice has its first span.
    """
    model = BertForQuestionAnswering.from_encoder(encoder, torch.Generator().manual_seed(seed))
    model.bert.embeddings.requires_grad_(False)
    features = _question_features(tokenizer, sentences)
    learn_features(model, features, _recipe(len(features), longer), seed)
    return model


def _question_features(tokenizer: WordPieceTokenizer, sentences: Sequence[Roles]) -> Features:
    asked = [question for sentence in sentences for question in questions(sentence)]
    texts = [sentence.text for sentence in sentences for _ in NAMES]
    ends = [
        next(((start, end) for start, end, label in sentence.roles if label == name), None)
        for sentence in sentences
        for name in NAMES
    ]
    return answer_features(tokenizer, asked, texts, ends, LENGTH)


def ask(
    model: BertForQuestionAnswering, tokenizer: WordPieceTokenizer, sentences: Sequence[Roles]
) -> list[list[Span]]:
    """Return the roles that the answers name, at most one span for each role."""
    features = _question_features(tokenizer, sentences)
    rows = zip(features.encodings, predict_logits(model, features), strict=True)
    found = []
    for sentence in sentences:
        answers = {name: _answer(*next(rows), sentence.text) for name in NAMES}
        found.append([Span(one.start, one.end, name) for name, one in answers.items() if one.text])
    return found


def _answer(encoding: Encoding, logits: Tensor, text: str) -> Answer:
    start, end = logits.unbind(-1)
    scores = span_scores(encoding, start, end, null_threshold=0.0)
    return best_answers(encoding, text, scores, n_best=1)[0]


# 3. The order of the words

_TIMES = re.compile(
    r"\b(?:yesterday|today|tomorrow|tonight|now|never|always|often|before|after|since|until|during|while|when"
    r"|ago|morning|evening|night|week|month|year|day|hour|minute|summer|winter|spring|autumn|\d{4}"
    r"|monday|tuesday|wednesday|thursday|friday|saturday|sunday)",
    re.IGNORECASE,
)
_PREPOSITION = re.compile(
    r"\b(?:in|on|at|from|under|over|behind|near|into|across|through|to|for|by|with|before|after|since|during"
    r"|until|within|between|above|below|beside|along|while|when|yesterday|today|tomorrow)\b",
    re.IGNORECASE,
)
_PASSIVE = re.compile(r"\b(?:is|are|was|were|be|been|being)\s+(?:\w+\s+)?$", re.IGNORECASE)


def by_word_order(sentence: Roles) -> list[Span]:
    """Return roles by rules: what precedes the verb acts, what follows is acted on, prepositions tell more.

    After a form of "be" it is the other way round.
    """
    text, verb = sentence.text, sentence.predicate
    before, after = text[: verb.start], text[verb.end :]
    start = max((match.end() for match in re.finditer(r"[,;:]\s+|\b(?:and|but|that)\s+", before)), default=0)
    passive = bool(_PASSIVE.search(before))
    subject = re.sub(
        r"\s*\b(?:is|are|was|were|be|been|has|have|had|will|would|can|could|should|did|does|do|not|to)\b.*$",
        "",
        text[start : verb.start],
    )
    spans = [_trimmed(text, start, start + len(subject), "theme" if passive else "agent")]
    stop = re.search(r"[,;:.!?]|\b(?:and|but|because|although)\b", after)
    end = verb.end + (stop.start() if stop else len(after))
    cuts = [verb.end, *(m.start() for m in _PREPOSITION.finditer(text, verb.end, end)), end]
    for first, last in pairwise(cuts):
        spans.append(_trimmed(text, first, last, _by_preposition(text[first:last], passive)))
    return [span for span in spans if span.label and span.end > span.start]


def _by_preposition(part: str, passive: bool) -> str:
    """Return the role of a part of the sentence after the verb; "" for none."""
    first = (part.split() or [""])[0].lower()
    if _TIMES.search(part):
        return "time"
    if first == "with" or not first:
        return ""
    if first == "by":
        return "agent" if passive else ""
    if first in ("to", "for"):
        return "beneficiary"
    return "place" if _PREPOSITION.match(part.strip()) else "theme"


def _trimmed(text: str, start: int, end: int, label: str) -> Span:
    """Return a span without white space and punctuation at its edges."""
    part = text[start:end]
    start += len(part) - len(part.lstrip(" ,;:.!?"))
    return Span(start, max(start, start + len(part.strip(" ,;:.!?"))), label)


# 4. Kinds of mistakes

KINDS = ("right", "wrong borders", "wrong role", "wrong in both", "extra", "missing")


def mistakes(found: Sequence[Sequence[Span]], truth: Sequence[Sequence[Span]]) -> Counter[str]:
    """Count the spans that are right, and those that are wrong by what is wrong with them."""
    counts: Counter[str] = Counter()
    for spans, wanted in zip(found, truth, strict=True):
        for span in spans:
            counts[_kind(span, wanted)] += 1
        counts["missing"] += sum(all(not _share(span, other) for other in spans) for span in wanted)
    return counts


def _kind(span: Span, wanted: Sequence[Span]) -> str:
    if span in wanted:
        return "right"
    if any(other[:2] == span[:2] for other in wanted):
        return "wrong role"
    if any(_share(span, other) and other.label == span.label for other in wanted):
        return "wrong borders"
    return "wrong in both" if any(_share(span, other) for other in wanted) else "extra"


def _share(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end
