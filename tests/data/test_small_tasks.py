"""The small tasks are as their papers describe them; a kept text is as in the file."""

from __future__ import annotations

from collections import Counter

import pytest

from bertlearn import WordPieceTokenizer, minilm_path
from bertlearn.data import load_exchanges, load_messages, load_questions, load_rated, splade_path
from bertlearn.data.sources import SOURCES


def test_questions_have_six_kinds_and_fifty_details() -> None:
    questions = load_questions()
    assert len({question.text for question in questions}) == len(questions) == 5381
    kinds = Counter(question.kind for question in questions)
    assert set(kinds) == {"ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"} and min(kinds.values()) == 86
    assert len({(question.kind, question.detail) for question in questions}) == 50
    assert questions[0] == ("How did serfdom develop in and then leave Russia ?", "DESC", "manner")


def test_about_one_message_in_eight_is_spam() -> None:
    messages = load_messages()
    assert len({message.text for message in messages}) == len(messages) == 4512
    assert sum(message.spam for message in messages) == 557
    assert messages[1].text == "Ok lar... Joking wif u oni..." and not messages[1].spam


@pytest.mark.parametrize(
    ("field", "count", "positive"),
    [("tweets", 4200, 2897), ("products", 3697, 2120), ("editorials", 5118, 2180)],
)
def test_rated_sentences_have_ratings_from_minus_4_to_4(field: str, count: int, positive: int) -> None:
    rated = load_rated(field)
    assert len(rated) == count and sum(one.rating > 0 for one in rated) == positive
    assert all(-4 <= one.rating <= 4 and one.text.strip() == one.text != "" for one in rated)
    assert not any("&amp;" in one.text for one in rated)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValueError, match=r"field='films'.*tweets, products, editorials"):
        load_rated("films")


def test_exchanges_are_single_lines_of_every_file() -> None:
    exchanges = load_exchanges()
    assert len(exchanges) == len(set(exchanges)) == 1230
    files = {member.name.removesuffix(".yml") for member in SOURCES["dialogues"].members}
    assert {exchange.subject for exchange in exchanges} == files and len(files) == 21
    assert not any("\n" in exchange.says + exchange.reply for exchange in exchanges)


def test_the_sparse_model_reads_what_minilm_reads() -> None:
    sparse = WordPieceTokenizer.from_pretrained(splade_path())
    assert list(sparse.vocab) == list(WordPieceTokenizer.from_pretrained(minilm_path()).vocab)
