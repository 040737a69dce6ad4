"""Chapter 9's answers: measures by hand, what a reader learns from, and the best span of several windows."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from conftest import CONFIG, random_model

from bertlearn import WordPieceTokenizer, minilm_path
from bertlearn.course import answers
from bertlearn.course.answers import Example
from bertlearn.course.tasks import GAP, Cloze, load_cloze
from bertlearn.finetuning.features import answer_features
from bertlearn.finetuning.run import predict_logits
from bertlearn.model.heads import BertForQuestionAnswering

TOKENIZER = WordPieceTokenizer.from_pretrained(minilm_path())


def small_reader(seed: int = 0) -> BertForQuestionAnswering:
    config = replace(CONFIG, vocab_size=len(TOKENIZER.vocab), max_position_embeddings=answers.TOKENS)
    return random_model(BertForQuestionAnswering, config, seed)


def cloze(article: str, answer: str, context: str, question: str = f"It was {GAP} that they saw.") -> Cloze:
    start = context.find(answer) if answer else 0
    return Cloze(article, question, context, answer, start, start + len(answer))


def test_answers_are_compared_without_article_case_and_punctuation() -> None:
    assert answers.bare(" “The Old Bridge”. ") == "old bridge"
    assert answers.bare("An ant") == "ant" and answers.bare("another") == "another"
    assert answers.bare("the") == "the"
    assert answers.is_exact("a metal shortage", ["money", "Metal shortage"])
    assert not answers.is_exact("a shortage", ["metal shortage"])


def test_without_answers_it_is_right_to_say_nothing() -> None:
    assert answers.is_exact("", []) and not answers.is_exact("42", [])
    assert answers.overlap("", []) == 1.0 and answers.overlap("42", []) == 0.0
    assert not answers.is_exact("", ["42"]) and answers.overlap("", ["42"]) == 0.0


def test_overlap_is_the_f1_of_the_words_of_the_nearest_answer() -> None:
    assert answers.overlap("the old bridge", ["bridge", "no"]) == pytest.approx(2 / 3)
    assert answers.overlap("old bridge", ["a b c", "the old stone bridge"]) == pytest.approx(4 / 5)
    assert answers.overlap("b b b", ["b b"]) == pytest.approx(4 / 5)  # a word counts as often as both have it


@pytest.mark.parametrize(
    ("answer", "question", "asked"),
    [
        ("May 5, 1920", f"On {GAP} the king left the town.", "When: On the king left the town?"),
        ("1,500", f"It weighs {GAP} tons when empty.", "How many: It weighs tons when empty?"),
        ("Ada Lee", f"{GAP} wrote it in one night.", "Who or what: wrote it in one night?"),
        ("photosynthesis", f"Plants live by {GAP} alone!", "What: Plants live by alone?"),
        ("it", f"They say {GAP} is so.", "What: They say is so?"),
        (
            "1,500",
            f"In the old town, it weighs {GAP} tons when empty, they say.",
            "How many: it weighs tons when empty?",
        ),
        ("1,500", f"In the old town, {GAP} tons, they say.", "How many: In the old town, tons, they say?"),
    ],
)
def test_a_cloze_becomes_something_like_a_question(answer: str, question: str, asked: str) -> None:
    assert answers.like_a_question(cloze("x", answer, answer, question)) == asked


def test_every_third_question_comes_again_with_a_context_that_does_not_answer_it() -> None:
    given = [
        cloze("x", "Ada", "Ada lived here."),  # the first third: nothing comes before it
        cloze("x", "Bob", "Bob lived here."),
        cloze("x", "", "Nobody lived here."),  # not answered: left out
        cloze("x", "Eve", "Eve and ada lived here."),
        cloze("x", "Ada", "Later Ada moved."),  # the nearest context without "ada" is Bob's
        cloze("y", "Kim", "Kim moved, too."),
        cloze("y", "Lou", "Lou and Kim moved."),
        cloze("x", "Sam", "Sam slept."),  # the nearest one of its article is "Later Ada moved."
        cloze("x", "Tom", "Tom ran."),
        cloze("x", "Ben", "Ben ran."),
        cloze("y", "Kim", "Once more Kim moved."),  # all contexts before it have Kim
    ]
    found = answers.training_examples(given, as_questions=False)
    again = {"Later Ada moved.": "Bob lived here.", "Sam slept.": "Later Ada moved."}
    wanted = []
    for one in given:
        if one.answer:
            wanted.append(Example(one.question, one.context, (one.start, one.end)))
            if one.context in again:
                wanted.append(Example(one.question, again[one.context], None))
    assert found == wanted
    asked = answers.training_examples(given)
    assert [example.question for example in asked[:2]] == [answers.like_a_question(given[0])] * 2


def test_the_features_of_a_reader_point_at_the_answer_or_at_nothing() -> None:
    examples = [Example("Who moved?", "Then old Ada moved.", (5, 12)), Example("Who?", "Nobody did.", None)]
    features = answers.reader_features(TOKENIZER, examples)
    starts, ends = features.targets["start_positions"], features.targets["end_positions"]
    tokens = features.encodings[0].tokens
    assert tokens[starts[0] : ends[0] + 1] == ["old", "ada"] and (starts[1], ends[1]) == (0, 0)


def sentence(words: int) -> str:
    return f"A{' b' * (words - 1)}."


def test_windows_are_whole_sentences_of_up_to_80_words() -> None:
    assert [len(window.split()) for window in answers.windows(" ".join([sentence(30)] * 5))] == [60, 60, 30]
    assert answers.windows(f"{sentence(40)} {sentence(40)}") == [f"{sentence(40)} {sentence(40)}"]
    long = f"{sentence(2)} {sentence(90)} {sentence(3)}"
    assert answers.windows(long) == [sentence(2), sentence(90), sentence(3)]
    assert answers.windows(f"{sentence(90)} {sentence(3)}") == [sentence(90), sentence(3)]


def best_by_loops(reader: BertForQuestionAnswering, question: str, context: str) -> tuple[float, str]:
    """Return the largest margin of a span of up to 12 tokens, and the span."""
    features = answer_features(TOKENIZER, [question], [context], [None], answers.TOKENS)
    (encoding,), (logits,) = features.encodings, predict_logits(reader, features)
    best = (-math.inf, "")
    inside = [
        at
        for at, (offsets, kind) in enumerate(zip(encoding.offsets, encoding.token_type_ids, strict=True))
        if kind == 1 and offsets[1] > offsets[0]
    ]
    for first in inside:
        for last in inside:
            if first <= last < first + 12:
                score = float(logits[first, 0] + logits[last, 1] - logits[0].sum())
                best = max(best, (score, context[encoding.offsets[first][0] : encoding.offsets[last][1]]))
    return best


@pytest.mark.parametrize("seed", range(3))
def test_a_reading_is_the_best_span_of_all_windows(seed: int) -> None:
    reader = small_reader(seed)
    words = ["river", "stone", "tower", "seven", "bread", "green", "window", "paper", "night", "glass"]
    sentences = [" ".join([*words[n:], *words[:n]] * 4).capitalize() + "." for n in range(5)]
    texts = [" ".join(sentences[:3]), " ".join(sentences[3:])]
    windows = [window for text in texts for window in answers.windows(text)]
    assert len(windows) == 3
    margin, text = max(best_by_loops(reader, "which one is it?", window) for window in windows)
    found = answers.read(reader, TOKENIZER, "which one is it?", texts)
    assert found.margin == pytest.approx(margin, abs=1e-4) and found.text == text
    alone = [answers.read(reader, TOKENIZER, "which one is it?", [one]).margin for one in texts]
    assert found.margin == pytest.approx(max(alone), abs=1e-4) and alone[0] != pytest.approx(alone[1])


def test_the_phrase_of_the_right_kind_comes_from_the_nearest_sentence_that_has_one() -> None:
    sentences = [
        "Then old Ada Lee left.",
        "In May 1920 she wrote to Tom Day, 1,500 words.",
        "Then Max Ott left.",
    ]
    assert answers.phrase_of_kind("Who left?", sentences, "HUM") == "Ada Lee"
    assert answers.phrase_of_kind("Whom did Ada Lee leave?", sentences, "HUM") == "Tom Day"
    assert answers.phrase_of_kind("When?", sentences, "NUM") == "May 1920"
    assert answers.phrase_of_kind("What?", sentences, "ENTY") == "Ada Lee"  # any kind
    assert answers.phrase_of_kind("When?", sentences[:1], "NUM") == ""


def test_a_table_knows_its_facts_and_no_others() -> None:
    facts = [
        {"subject": "Ada", "relation": "born_in", "object": "Ulm"},
        {"subject": "Ada", "relation": "died_in", "object": "Bern"},
    ]
    assert answers.look_up(facts, "Ada", "died_in") == "Bern"
    assert answers.look_up(facts, "Ada", "wrote") is None and answers.look_up(facts, "Bob", "born_in") is None


def test_paragraphs_know_their_place() -> None:
    found = answers.load_paragraphs()
    assert len({one.place for one in found}) == len(found) > 4000
    assert found[0].place == (found[0].title, 0) and found[1].number == 1


def test_the_reader_learned_from_as_many_gaps_as_the_chapter_says() -> None:
    assert round(len(answers.training_examples(load_cloze().train, True)), -2) == 3100
