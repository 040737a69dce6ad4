"""Chapter 9's helpers: scores of stored runs, tables, doubts, facts, brackets and topics, all by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from conftest import CONFIG
from torch import Tensor
from torch.nn.functional import normalize

from bertlearn import BertModel
from bertlearn.course import labeled, roles
from bertlearn.course.chapters import at_work as chapter
from bertlearn.course.labeled import Asked, Command, Search
from bertlearn.course.results import Results, Row
from bertlearn.data.small_tasks import Question
from bertlearn.finetuning.spans import Span


def ranked(system: str, ndcg: list[float], seed: int | None = None, queries: str = "searches") -> Row:
    """Return a row of the file "search"; the reciprocal ranks are half of the nDCGs."""
    ranks = [score / 2 for score in ndcg]
    numbers = {"ndcg": ndcg, "reciprocal_rank": ranks, "megabytes": float(len(system))}
    return {"queries": queries, "system": system, "seed": seed, **numbers}


SEARCHED = [
    ranked("words", [0.5, 0.0, 1.0, 0.5]),
    ranked("tuned", [1.0, 0.5, 1.0, 0.5], 0),
    ranked("tuned", [0.5, 0.0, 0.5, 0.0], 1),
    ranked("vectors", [0.6, 0.1, 1.1, 0.6]),
    ranked("words", [1.0, 1.0, 1.0, 1.0], queries="last sentences"),
]


def score_row(method: str, setting: str, score: float, measure: str = "F1") -> Row:
    return {"method": method, "setting": setting, "measure": measure, "score": score}


SCORED = [
    score_row("words", "films", 0.5),
    score_row("fine-tuned", "films", 0.7),
    score_row("fine-tuned", "films", 0.9),
    score_row("fine-tuned", "tweets", 0.25),
]


# 1. Stored results


def test_search_scores_are_means_over_queries_and_seeds() -> None:
    scores = chapter.search_scores(SEARCHED, "searches")
    assert list(scores) == ["words", "tuned", "vectors"]
    words, tuned, vectors = scores.values()
    assert (words.ndcg, words.reciprocal_rank, words.gain, words.low, words.high) == (0.5, 0.25, 0, 0, 0)
    assert tuned.ndcg == 0.5 and tuned.reciprocal_rank == 0.25 and tuned.megabytes == 5
    assert tuned.low < tuned.gain == 0 < tuned.high  # gains of 0.25, 0.25, −0.25 and −0.25
    assert vectors.gain == pytest.approx(0.1) and vectors.low == pytest.approx(vectors.high)


def test_search_scores_of_some_queries_or_of_the_other_set() -> None:
    some = chapter.search_scores(SEARCHED, "searches", [0, 1])
    assert some["words"].ndcg == 0.25 and some["tuned"].gain == 0.25 == some["tuned"].low
    assert set(chapter.search_scores(SEARCHED, "last sentences")) == {"words"}


def test_an_interval_is_that_of_the_mean_and_the_same_each_time() -> None:
    gains = np.random.default_rng(0).normal(0.3, 1.0, 400)
    low, high = chapter.interval(gains)
    half = 1.96 * gains.std() / 20
    assert (low, high) == pytest.approx((gains.mean() - half, gains.mean() + half), abs=0.01)
    assert chapter.interval(gains) == (low, high)
    assert chapter.interval(np.array([0.25])) == chapter.interval(np.full(3, 0.25)) == (0.25, 0.25)


def test_a_table_has_means_and_spreads(capsys: pytest.CaptureFixture[str]) -> None:
    chapter.print_table(SCORED)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["films", "tweets"],
        ["words", "0.500", "–"],
        ["fine-tuned", "0.800", "±", "0.141", "0.250"],
    ]
    assert len(set(map(len, lines))) == 1
    chapter.print_table(SCORED, names=["tweets"])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["tweets"],
        ["words", "–"],
        ["fine-tuned", "0.250"],
    ]


def test_the_mean_is_that_of_the_rows_asked_for() -> None:
    assert chapter.mean_of(SCORED, method="fine-tuned", setting="films") == pytest.approx(0.8)
    assert chapter.mean_of(SCORED, setting="films") == pytest.approx(0.7)
    with pytest.raises(ValueError, match=r"no row has .*letters"):
        chapter.mean_of(SCORED, setting="letters")


def test_scores_are_printed_beside_those_of_words(capsys: pytest.CaptureFixture[str]) -> None:
    chapter.print_scores("Four", chapter.search_scores(SEARCHED, "searches"), ["words", "vectors"])
    head, words, vectors, *_ = capsys.readouterr().out.splitlines()
    assert head.startswith("Four") and words.split() == ["words", "0.500", "0.250", "5.0"]
    assert vectors.split() == ["vectors", "0.600", "+0.100", "(+0.100", "to", "+0.100)", "0.300", "7.0"]


def test_kinds_of_queries_are_drawn_with_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = ["name", "topic", "name", "topic"]
    monkeypatch.setattr(labeled, "load_searches", lambda: [Search("q", kind, {}) for kind in kinds])
    picture = chapter.plot_kinds(Results("search", {}, SEARCHED), ["words", "vectors"])
    (axes, *_) = picture.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["name (2)", "topic (2)"]
    assert {text.get_text() for text in axes.texts} == {"0.75", "0.85", "0.25", "0.35"}
    assert "nDCG@10 by kind of query" in picture.alt


def test_shots_are_drawn_for_methods_that_have_all_of_them() -> None:
    settings = [score_row("words", f"{n} examples a kind", n / 100) for n in (2, 8) for _ in range(2)]
    rows = [*settings, score_row("zero-shot", "0 examples a kind", 0.5)]
    picture = chapter.plot_shots(rows, (2, 8))
    assert "words from 0.02 to 0.08" in picture.alt and "zero-shot" not in picture.alt


def test_spans_are_drawn_at_each_methods_largest_training_set() -> None:
    rows = [
        score_row(method, setting, at / 10 if setting == "160" else 0.5, kind)
        for method, settings in {"rules": ["none"], "tagger": ["40", "160"]}.items()
        for setting in settings
        for at, kind in enumerate(roles.KINDS)
    ]
    picture = chapter.plot_roles(rows)
    (axes, *_) = picture.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["rules", "tagger"]
    assert [text.get_text() for text in axes.texts] == ["0.50"] * 6 + [f"0.{at}0" for at in range(6)]
    assert "Spans wanted or said" in picture.alt


# 2. Searches


def test_the_best_place_is_the_first_with_the_highest_grade() -> None:
    search = Search("q", "name", {("plot", 3): 1, ("plot", 5): 2, ("article", "A", 0): 2})
    assert chapter.best_place(search) == ("plot", 5)


def test_a_model_of_pairs_has_two_classes_and_the_encoders_weights() -> None:
    torch.manual_seed(0)
    encoder = BertModel(CONFIG).eval()
    model = chapter.pair_model(encoder)
    assert model.config.id2label == {0: "no", 1: "yes"} and not model.training
    assert torch.equal(
        model.bert.embeddings.word_embeddings.weight, encoder.embeddings.word_embeddings.weight
    )
    assert model(torch.ones(1, 4, dtype=torch.long)).logits.shape == (1, 2)


def test_ways_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now, calls = [0.0], []
    monkeypatch.setattr(chapter.time, "perf_counter", lambda: now[0])

    def way(name: str, seconds: list[float]) -> Any:
        def run() -> None:
            calls.append(name)
            now[0] += seconds.pop()

        return run

    chapter.print_times({"one": way("one", [0.1, 0.3, 9.0]), "other": way("other", [0.02] * 3)}, rounds=3)
    assert calls == ["one", "other"] * 3
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["one", "300", "ms"],
        ["other", "20", "ms"],
    ]


# 3. Answers


def test_answers_are_scored_on_answerable_questions_alone() -> None:
    asked = [Asked("", "", [("a", 0)], ["Ulm"]), Asked("", "", [("a", 1)], ["the Rome of old"])]
    asked += [Asked("", "", [], [])]
    exact, shared = chapter.answer_scores(["ulm", "Rome", "nothing that counts"], asked)
    assert (exact, shared) == pytest.approx((0.5, (1 + 0.5) / 2))


def test_an_answer_is_of_the_kind_that_the_question_asks_for() -> None:
    known = normalize(Words().vectors(["who is it", "when was it", "who says it", "when is it"]), dim=1)
    kinds = ["HUM", "NUM", "HUM", "NUM"]
    texts = ["In 1809 Ada Lee was born here.", "The weather was fine in 1912."]
    asked = [Asked(q, "", [("a", 0)], ["x"]) for q in ("who", "when", "who")]
    said = chapter.answer_by_kind(Words(), known, kinds, asked, [texts, texts, []])
    assert said == ["Ada Lee", "1912", ""]  # the second sentence is nearer, and names nobody


def test_doubts_are_tested_on_the_half_that_did_not_set_the_threshold() -> None:
    # In the first half (even numbers) 8 or more is best, in the other one 3 or more.
    scores = torch.tensor([10.0, 3.0, 1.0, 0.0, 8.0, 9.0, 2.0, -1.0])
    known = torch.tensor([True, True, False, False, True, True, False, False])
    assert chapter.abstaining(scores, known) == (0.75, 1.0)  # 3 is below 8
    assert chapter.abstaining(torch.where(known, 0.9, 0.1), known) == (1.0, 1.0)


class Words:
    """An index whose vectors count letters."""

    def vectors(self, texts: list[str]) -> Tensor:
        letters = "abcdefghijklmnopqrstuvwxyz"
        return normalize(
            torch.tensor([[float(t.lower().count(one)) for one in letters] for t in texts]), dim=1
        )


def test_facts_are_asked_in_ways_that_made_no_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = [
        {"subject": "Zzz", "relation": "born_in", "object": "Ulm"},
        {"subject": "Qqq", "relation": "wrote", "object": "Emma"},
        {"subject": "Zaz", "relation": "plays", "object": "chess"},
    ]
    ways = {  # two to make means from, one to ask; two of the latter sound like the other relation
        "born_in": ["{subject} " + "b" * 30, "b" * 30 + " {subject}", "www {subject}"],
        "wrote": ["{subject} " + "w" * 30, "w" * 30 + " {subject}", "bbb {subject}"],
        "plays": ["{subject} " + "c" * 30, "{subject} " + "d" * 30, "{subject} " + 6 * "cccccdddddbbbbbb"],
    }
    monkeypatch.setattr(labeled, "load_facts", lambda: facts)
    monkeypatch.setattr(labeled, "load_relations", lambda: ways)
    scores, failures = chapter.ask_facts(Words(), known=2)
    assert scores == pytest.approx((1.0, 2 / 3, 1 / 3, 1 / 3))  # "Zz" is taken for Zzz
    assert failures == ["www Zzz  → Zzz, wrote: None", "bbb Qqq  → Qqq, born_in: None"]
    assert chapter._without_a_letter("where is Ada Lee?", "Ada Lee") == "where is AdaLee?"


# 4. Spans


def test_brackets_are_those_of_the_labeled_files() -> None:
    line = "[time at noon] wake [person Ada] up"
    text, spans = labeled.marked(line)
    assert chapter.bracketed(text, spans) == chapter.bracketed(text, spans[::-1]) == line
    assert chapter.bracketed(text, []) == text


def test_misunderstood_commands_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = "wake me at noon"
    truth = [Command("alarm", text, [Span(8, 15, "time")])] * 3
    heard = [truth[0], Command("music", text, truth[0].slots), Command("alarm", text, [])]
    chapter.show_mistakes(heard, truth, 1)
    assert capsys.readouterr().out.splitlines() == [
        "2 of 3 misunderstood in part",
        "wanted alarm: wake me [time at noon]",
        "  said music: wake me [time at noon]",
    ]


def test_wrong_roles_are_shown_beside_the_right_ones(capsys: pytest.CaptureFixture[str]) -> None:
    verb, agent, theme = Span(4, 8, "predicate"), Span(0, 3, "agent"), Span(9, 14, "theme")
    one = labeled.Roles("Ann sold a car.", verb, [agent, theme])
    chapter.show_wrong_roles([[theme, agent], [agent]], [one, one], count=3)
    assert capsys.readouterr().out.splitlines() == [
        "1 of 2 wrong in part",
        "wanted [agent Ann] [predicate sold] [theme a car].",
        "  said [agent Ann] [predicate sold] a car.",
    ]


def test_stored_answers_are_averaged_over_answerable_questions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [Asked("", "", [("a", 0)], ["Ulm"]), Asked("", "", [("a", 1)], ["Rome"]), Asked("", "", [], [])]
    monkeypatch.setattr(labeled, "load_asked", lambda: asked)
    rows = [
        {
            "question": at,
            "method": "reader",
            "seed": seed,
            "paragraphs": "right",
            "exact": at == seed,
            "f1": 0.5,
        }
        for at in range(3)
        for seed in (0, 2)
    ]
    chapter.print_readings(rows)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == [["exact", "match"], ["right"], ["reader", "0.250", "±", "0.354"]]
    assert lines[5] == ["reader", "0.500", "±", "0.000"]


# 5. Topics


def test_topics_are_found_and_named_by_their_own_words() -> None:
    about = {"wedding bride": 10, "robot planet": 20, "police murder": 12}
    texts = [f"The film has a {words} film" for words, size in about.items() for _ in range(size)]
    kinds = np.repeat(np.arange(3), list(about.values()))
    noise = np.random.default_rng(0).normal(0, 0.01, (len(kinds), 3))
    topics = chapter.find_topics(np.eye(3)[kinds] + noise, texts, count=3, words=2)
    assert [len(topic.rows) for topic in topics] == [20, 12, 10]
    assert [set(topic.words) for topic in topics] == [
        {"robot", "planet"},
        {"police", "murder"},
        {"wedding", "bride"},
    ]
    assert topics[0].rows == list(range(10, 30))


def test_frequent_questions_share_kind_and_detail() -> None:
    questions = [Question("a", "LOC", "other"), Question("b", "NUM", "other"), Question("c", "LOC", "other")]
    assert chapter.frequent(questions) == [questions[0], questions[2]]
    assert chapter.frequent(questions, least=1) == questions and chapter.frequent(questions, least=3) == []


def test_clusters_are_judged_by_labels() -> None:
    vectors = np.eye(2)[[0, 0, 0, 0, 1, 1, 1, 1]]
    assert chapter.cluster_score(vectors, list("aaaabbbb")) == pytest.approx(1.0)
    assert chapter.cluster_score(vectors, list("aabbaabb")) < 0.05
