"""Answers over a collection: find paragraphs, read them, and say nothing if nothing answers (chapter 9).

Our reader learns from chapter 5's cloze questions, turned into something like questions (Lewis et al. 2019).
Leaves out: questions that need two paragraphs, or a calculation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from bertlearn.course.tasks import GAP, Cloze, find_phrases, split_sentences
from bertlearn.data.wikipedia import load_articles
from bertlearn.finetuning.features import Features, answer_features
from bertlearn.finetuning.run import predict_logits
from bertlearn.finetuning.spans import best_answers, span_scores
from bertlearn.model.heads import BertForQuestionAnswering
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

WINDOW = 80  # words that the reader sees at a time, as in its training
TOKENS = 192  # of question and window
LONGEST = 12  # tokens of an answer


class Paragraph(NamedTuple):
    """A paragraph of the collection."""

    title: str
    number: int  # within its article
    text: str

    @property
    def place(self) -> tuple[str, int]:
        """The article's title and the paragraph's number, as in `labeled.Asked.places`."""
        return self.title, self.number


class Reading(NamedTuple):
    """What a reader says, and how sure it is."""

    text: str  # "" for no answer
    margin: float  # the best span's score minus that of "no answer"


@cache
def load_paragraphs() -> list[Paragraph]:
    """Return the paragraphs of all articles."""
    return [
        Paragraph(article.title, number, text)
        for article in load_articles()
        for number, text in enumerate(article.paragraphs)
    ]


# 1. Measures


def bare(text: str) -> str:
    """Return a text in lower case, without an article in front and punctuation at the edges."""
    return re.sub(r"^(?:an?|the)\s+", "", text.lower().strip(" .,;:!?'\"()“”‘’")).strip()


def is_exact(said: str, answers: Sequence[str]) -> bool:
    """Return whether what was said is one of the answers; without answers, whether nothing was said."""
    return bare(said) in map(bare, answers) if answers else not said


def overlap(said: str, answers: Sequence[str]) -> float:
    """Return the F1 of the words said and those of the nearest answer, 0 to 1."""
    return max((_word_f1(bare(said), bare(answer)) for answer in answers), default=float(not said))


def _word_f1(one: str, other: str) -> float:
    words, others = Counter(one.split()), Counter(other.split())
    return 2 * (words & others).total() / max(1, words.total() + others.total())


# 2. A reader


def like_a_question(cloze: Cloze) -> str:
    """Return a cloze question without its gap, begun with the question word of what it asks for."""
    words = {"date": "When", "number": "How many", "name": "Who or what"}
    kinds = [words.get(phrase.kind, "What") for phrase in find_phrases(f"x {cloze.answer}")]
    part = next((part for part in re.split(r"[,;:()–—]\s", cloze.question) if GAP in part), cloze.question)
    clause = part if len(part.split()) >= 5 else cloze.question
    plain = " ".join(clause.replace(GAP, " ").split()).rstrip(".!?")
    return f"{kinds[0] if kinds else 'What'}: {plain}?"


class Example(NamedTuple):
    """A question, a context, and the characters of the answer in it; None if it is not there."""

    question: str
    context: str
    ends: tuple[int, int] | None


def training_examples(clozes: Sequence[Cloze], as_questions: bool = True) -> list[Example]:
    """Return the answered ones, with their gaps or as questions; every third one twice.

    The second time it has a context that does not answer it: that of the nearest question before it of the
    same article whose context lacks the answer's words.
    """
    answered = [cloze for cloze in clozes if cloze.answer]
    found = []
    for number, cloze in enumerate(answered):
        question = like_a_question(cloze) if as_questions else cloze.question
        found.append(Example(question, cloze.context, (cloze.start, cloze.end)))
        others = (
            other.context
            for other in reversed(answered[:number])
            if other.article == cloze.article and cloze.answer.lower() not in other.context.lower()
        )
        if number % 3 == 0 and (other := next(others, None)):
            found.append(Example(question, other, None))
    return found


def reader_features(tokenizer: WordPieceTokenizer, examples: Sequence[Example]) -> Features:
    """Return features for `BertForQuestionAnswering`."""
    return answer_features(
        tokenizer,
        [example.question for example in examples],
        [example.context for example in examples],
        [example.ends for example in examples],
        TOKENS,
    )


def windows(text: str) -> list[str]:
    """Return a text in parts of whole sentences, of up to 80 words each unless a sentence is longer."""
    parts: list[list[str]] = [[]]
    for sentence in split_sentences(text):
        if parts[-1] and len(" ".join([*parts[-1], sentence]).split()) > WINDOW:
            parts.append([])
        parts[-1].append(sentence)
    return [" ".join(part) for part in parts]


def read(
    reader: BertForQuestionAnswering, tokenizer: WordPieceTokenizer, question: str, texts: Sequence[str]
) -> Reading:
    """Return the best span of several texts, whether or not it beats "no answer"."""
    contexts = [window for text in texts for window in windows(text)]
    features = answer_features(
        tokenizer, [question] * len(contexts), contexts, [None] * len(contexts), TOKENS
    )
    found = []
    for context, encoding, row in zip(
        contexts, features.encodings, predict_logits(reader, features), strict=True
    ):
        start, end = row.unbind(-1)
        scores = span_scores(encoding, start, end, LONGEST)
        best = best_answers(encoding, context, scores, n_best=1)[0]
        found.append(Reading(best.text, best.score - float(row[0].sum())))
    return max(found, key=lambda reading: reading.margin)


# 3. A reader without training: the phrase that is of the right kind

_KINDS = {"HUM": {"name"}, "LOC": {"name"}, "NUM": {"number", "date"}, "ABBR": {"name", "term"}}


def phrase_of_kind(question: str, sentences: Sequence[str], kind: str) -> str:
    """Return a phrase of the kind that a question asks for, from the first sentence that has one.

    Args:
        question: its words are no answer.
        sentences: the nearest to the question first.
        kind: of `small_tasks.Question`.
    """
    wanted, asked = _KINDS.get(kind, {"name", "term", "number", "date"}), question.lower()
    for sentence in sentences:
        for phrase in find_phrases(sentence):
            if phrase.kind in wanted and phrase.text.lower() not in asked:
                return phrase.text
    return ""


# 4. A table of facts


def look_up(facts: Sequence[Mapping[str, str]], subject: str, relation: str) -> str | None:
    """Return the object of a fact; None if the table does not have it."""
    for fact in facts:
        if fact["subject"] == subject and fact["relation"] == relation:
            return fact["object"]
    return None
