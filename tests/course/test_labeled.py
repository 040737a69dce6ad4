"""The labeled sets: every place exists, every border is a word's, and the guidelines' own rules hold."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from bertlearn.course import labeled
from bertlearn.data import load_articles, load_entities, load_novel, load_plots
from bertlearn.finetuning.spans import Span

ARTICLES = {article.title: article.paragraphs for article in load_articles()}


def test_searches_grade_documents_that_exist() -> None:
    searches, plots = labeled.load_searches(), len(load_plots())
    assert len({search.query for search in searches}) == len(searches) == 60
    assert set(Counter(search.kind for search in searches).values()) <= {9, 10, 11}
    for search in searches:
        assert 2 in search.grades.values() and set(search.grades.values()) <= {1, 2}
        for kind, *place in search.grades:
            assert place[0] < plots if kind == "plot" else place[1] < len(ARTICLES[place[0]])


def test_a_third_of_the_questions_has_no_answer_and_all_others_stand_in_their_paragraph() -> None:
    questions = labeled.load_asked()
    assert len(questions) == 60 and sum(not question.answers for question in questions) == 20
    for question in questions:
        assert bool(question.places) == bool(question.answers)
        if question.places:
            title, number = question.places[0]
            assert all(answer in ARTICLES[title][number] for answer in question.answers)
            assert len(question.answers[0].split()) <= 8
        assert all(number < len(ARTICLES[title]) for title, number in question.places)


def test_follow_ups_and_facts_belong_to_articles() -> None:
    assert len(labeled.load_follow_ups()) == 24
    for follow_up in labeled.load_follow_ups():
        assert follow_up.place[1] < len(ARTICLES[follow_up.place[0]])
        assert follow_up.follow_up != follow_up.rewritten
    facts = labeled.load_facts()
    assert len(facts) == 86 and {fact["article"] for fact in facts} <= set(ARTICLES)
    assert {fact["relation"] for fact in facts} == set(labeled.load_relations())
    for questions in labeled.load_relations().values():
        assert len(questions) == len(set(questions)) == 15
        assert all(question.count("{subject}") == 1 for question in questions)


def test_commands_have_lower_case_words_and_known_slots() -> None:
    commands, values = labeled.load_commands(), labeled.load_values()
    intents = set(labeled.load_templates())
    assert len(commands) == 120 and {command.intent for command in commands} == intents | {"other"}
    for command in commands:
        assert re.fullmatch(r"[a-z]+( [a-z]+)*", command.text), command.text
        assert all(slot.label in values for slot in command.slots)
        assert not (command.intent == "other" and command.slots)
        for start, end, _ in command.slots:
            assert f" {command.text} "[start] == " " == f"{command.text} "[end]


def test_templates_are_filled_with_values_of_their_slots() -> None:
    values, draw = labeled.load_values(), random.Random(0)
    for templates in labeled.load_templates().values():
        assert len(set(templates)) == 10
        for template in templates:
            text, slots = labeled.fill(template, values, draw)
            assert [slot.label for slot in slots] == re.findall(r"\{(\w+)\}", template)
            assert all(text[start:end] in values[label] for start, end, label in slots)
    assert labeled.fill("at {time}", {"time": ["noon"]}, draw) == ("at noon", [Span(3, 7, "time")])


def test_misheard_phrases_are_sorted_the_longest_first() -> None:
    misheard = labeled.load_misheard()
    assert len(misheard) == 60 and all(right != wrong for right, wrong in misheard.items())
    lengths = [len(right.split()) for right in misheard]
    assert lengths == sorted(lengths, reverse=True)


def test_names_are_marked_in_sentences_of_the_novel() -> None:
    chapter = load_novel()[20]
    whole = "".join(chapter.paragraphs)
    labeled_sentences = labeled.load_novel_names()
    assert len(labeled_sentences) == 130 and all(text in whole for text, _ in labeled_sentences)
    names = [text[span.start : span.end] for text, spans in labeled_sentences for span in spans]
    assert {span.label for _, spans in labeled_sentences for span in spans} == {"person"}
    assert {"曹操", "操", "玄德", "关", "张", "刘景升"} <= set(names) and "使君" not in names
    known = {mention for entity in load_entities() for mention in entity.mentions}
    assert 0.5 < sum(name in known for name in names) / len(names) < 0.6, (
        "the dictionary has no single letters"
    )


def test_translations_are_forty_different_sentences_in_seven_languages() -> None:
    translations = labeled.load_translations()
    assert list(translations) == ["en", "zh", "de", "fr", "es", "ja", "ru"]
    assert all(len(set(sentences)) == 40 for sentences in translations.values())
    assert all(
        sentence and sentence == sentence.strip() for many in translations.values() for sentence in many
    )


def test_both_passes_label_the_same_sentences() -> None:
    first, second = (labeled.load_roles(part) for part in ("first", "second"))
    assert len(first) == 200
    for one, two in zip(first, second, strict=True):
        assert one[:2] == two[:2]
        assert " " not in one.text[one.predicate.start : one.predicate.end]
    labels = Counter(role.label for one in first for role in one.roles)
    assert set(labels) == {"agent", "theme", "beneficiary", "place", "time"} and min(labels.values()) > 40
    passes = [[sentence.roles for sentence in part] for part in (first, second)]
    assert 0.96 < labeled.agreement(*passes) < 0.98


def test_agreement_counts_spans_with_equal_borders_and_label() -> None:
    a, b, c = Span(0, 3, "agent"), Span(4, 9, "theme"), Span(4, 8, "theme")
    assert labeled.agreement([[a, b]], [[a, b]]) == 1
    assert labeled.agreement([[a, b], []], [[a, c], [b]]) == pytest.approx(2 * 1 / 5)
    assert labeled.agreement([[]], [[]]) == 1


def test_marked_spans_are_read_and_wrong_brackets_refused() -> None:
    text, spans = labeled.marked("[agent Ann] [predicate ran] home.")
    assert text == "Ann ran home." and [text[s.start : s.end] for s in spans] == ["Ann", "ran"]
    for wrong in ("[agent Ann ran", "Ann] ran", "[agent [theme Ann] ran]", "[agent] Ann"):
        with pytest.raises(ValueError, match="brackets that do not fit"):
            labeled.marked(wrong)


def test_a_file_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(labeled.SHA256, "roles.txt", "0" * 64)
    labeled._read.cache_clear()
    with pytest.raises(ValueError, match=r"roles\.txt is not the file"):
        labeled.load_roles()


def test_each_file_has_its_checksum() -> None:
    assert {path.name for path in labeled.FOLDER.iterdir()} == set(labeled.SHA256)
