"""Labeled texts before training: refused tables, warnings, splits."""

from __future__ import annotations

from collections import Counter

import pytest

from bertlearn.finetuning.labeled_texts import (
    LabeledTexts,
    check_classes,
    check_known,
    check_validation,
    describe_labels,
    doubts,
    split_off,
)


def table(**counts: int) -> LabeledTexts:
    labels = [label for label, count in counts.items() for _ in range(count)]
    return LabeledTexts([f"text {number}" for number in range(len(labels))], labels)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (table(a=10, b=9), "mine.csv has 19 usable rows, expected at least 20; label more"),
        (table(a=30), "only one label, 'a', expected two or more"),
        (
            table(**{f"l{i}": 1 for i in range(30)}),
            "30 different labels in 30 rows, .*'l9', and 20 more; 'y' is",
        ),
        (table(a=20, b=1, c=1), "fewer than two texts labeled 'b', 'c', expected two or more"),
        (
            LabeledTexts([*["x"] * 5, *map(str, range(20))], [*["a"] * 5, *["b"] * 20]),
            "fewer than two texts labeled 'a', expected two or more for each label; add",
        ),
        (
            LabeledTexts(["x", "y"] * 10, [*["a"] * 10, *["b"] * 10]),
            r"texts labeled 'a', 'b', expected .* \(2 texts have several labels, such as 'x' with 'a', 'b'\)",
        ),
    ],
)
def test_tables_without_enough_to_learn_are_refused(rows: LabeledTexts, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_classes(rows, "mine.csv", "y")


def test_a_learnable_table_passes() -> None:
    check_classes(table(a=18, b=2), "mine.csv", "y")
    check_known(table(a=1), ["a", "b"], "mine.csv")


def test_labels_that_no_training_text_has_are_refused() -> None:
    with pytest.raises(
        ValueError, match="the label 'c', 'd', which no training text has; the training labels are 'a', 'b'"
    ):
        check_known(table(a=1, d=1, c=1), ["a", "b"], "mine.csv")


def test_validation_texts_that_are_all_training_texts_are_refused() -> None:
    rows = table(a=10, b=10)
    for other in (rows, LabeledTexts(rows.texts[5:7], ["b", "a"])):
        with pytest.raises(ValueError, match=r"all texts of valid\.csv are training texts.*leave out"):
            check_validation(rows, other, "valid.csv")
    spaced = LabeledTexts([" text\t1", "text  2\u200b"], ["a", "a"])
    with pytest.raises(ValueError, match="are training texts"):
        check_validation(rows, spaced, "valid.csv")
    check_validation(rows, LabeledTexts(["text 0", "another"], ["a", "a"]), "valid.csv")
    check_validation(rows, LabeledTexts(["TEXT 0", "Text 1"], ["a", "a"]), "valid.csv")


def test_what_is_probably_wrong_is_said() -> None:
    other = LabeledTexts(["new", "newer"], ["a", "b"])
    assert doubts(table(a=100, b=3), other) == []
    rows = table(a=1800, b=2)
    assert doubts(rows, other) == [
        "1,800 texts are labeled 'a' and only 2 'b'; a model that never answers 'b' has a high accuracy: "
        "compare macro-F1, and label more texts"
    ]
    other = LabeledTexts(["new", "newer"], ["pos", "neg"])
    assert doubts(LabeledTexts(list("uuvx"), ["pos", "neg", "neg", "pos"]), other) == [
        "1 text has several labels, such as 'u' with 'neg', 'pos'"
    ]
    assert doubts(table(a=5, b=5), LabeledTexts(["text 3", "text 3", "new", "x"], ["a", "b", "a", "b"])) == [
        "1 validation texts (50%) are also training texts, perhaps with other case, accents or spaces, such "
        "as 'text 3'; the scores will be too good"
    ]
    pairs = LabeledTexts([("a b", "É"), ("c", "d")], ["a", "b"])
    for like in (("A  b", "e\u0301"), ("a b\u200b", " e")):
        found = doubts(pairs, LabeledTexts([like, ("new", "pair")], ["a", "b"]))
        assert len(found) == 1 and found[0].startswith("1 validation texts (50%) are also training texts")
    rows = LabeledTexts(list("abcd"), ["yes", "None", "N/A", "none at all"])
    assert doubts(rows, LabeledTexts(["new"] * 4, rows.labels)) == [
        "texts are labeled 'N/A', 'None', which may stand for a missing label; if so, remove these rows"
    ]
    assert doubts(table(a=5, b=5, c=5), LabeledTexts(["new", "newer"], ["b", "b"])) == [
        "no validation text is labeled 'a', 'c'; the scores do not say how well these are found"
    ]


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (["pos", "Pos"], "'Pos', 'pos'"),
        (["a b", "A  B"], "'A  B', 'a b'"),
        (["1", "1.0", "01", "1e0"], "'01', '1', '1.0', '1e0'"),
        (["-0", "0.00"], "'-0', '0.00'"),
        (["\u00e9", "e\u0301"], r"'e\u0301', '\xe9'"),
        (["\ufb01n", "fin"], r"'fin', '\ufb01n'"),
        (["stra\u00dfe", "STRASSE"], "'STRASSE', 'straße'"),
        (["pos", "pos\u200b", "\u2060pos"], r"'pos', 'pos\u200b', '\u2060pos'"),
        (["\u2764", "\u2764\ufe0f"], r"'\u2764', '\u2764\ufe0f'"),
    ],
)
def test_labels_that_look_alike_are_named(labels: list[str], shown: str) -> None:
    rows = LabeledTexts(list(map(str, range(9))), [*labels, *["other"] * (9 - len(labels))])
    sentence = "differ only in case, spaces, invisible characters or the way they are written"
    assert doubts(rows, LabeledTexts(["new"] * 9, rows.labels)) == [f"the labels {shown} {sentence}"]
    with pytest.raises(ValueError, match=r"which no training text has; .*differ only in case"):
        check_known(LabeledTexts(["new"], labels[:1]), [*labels[1:], "other"], "valid.csv")


def test_labels_that_do_not_look_alike_are_not_named() -> None:
    large = ["10000000000000000001", "10000000000000000002"]
    labels = ["1", "2", "1.5", "true", "nan", "infinity", "a", "b", "é", "e", "👍", "👎", *large]
    rows = LabeledTexts(list(map(str, range(len(labels)))), labels)
    assert doubts(rows, LabeledTexts(["new"] * len(labels), labels)) == []


# Splitting.


def test_a_share_of_each_label_is_split_off() -> None:
    rows = table(common=900, rare=100, two=2)
    train, validation = split_off(rows, 0.1, seed=0)
    assert Counter(validation.labels) == {"common": 90, "rare": 10, "two": 1}
    assert sorted(train.texts + validation.texts) == sorted(rows.texts)
    labels = dict(zip(*rows, strict=True))
    assert all(
        labels[text] == label for part in (train, validation) for text, label in zip(*part, strict=True)
    )
    assert split_off(rows, 0.1, seed=0) == (train, validation)
    assert split_off(rows, 0.1, seed=1)[1].texts != validation.texts


def test_a_text_that_repeats_is_in_one_part_only() -> None:
    texts = [f"text {number % 40}" for number in range(200)]
    labels = ["ab"[number % 40 % 2] for number in range(100)] + [
        "ab"[number % 3 % 2] for number in range(100)
    ]
    train, validation = split_off(LabeledTexts(texts, labels), 0.2, seed=0)
    assert not set(train.texts) & set(validation.texts)
    assert len(train.texts) + len(validation.texts) == 200


def test_texts_that_differ_in_case_accents_or_spaces_are_in_one_part() -> None:
    forms = ["{} café", "{}  café ", "{} CAFÉ", "\u200b{}\tcafe\u0301"]
    texts = [form.format(f"text {number}") for number in range(40) for form in forms]
    rows = LabeledTexts(texts, ["ab"[index // 4 % 2] for index in range(160)])
    train, validation = split_off(rows, 0.2, seed=0)
    numbers = [{text.split()[1] for text in part.texts} for part in (train, validation)]
    assert not numbers[0] & numbers[1] and len(validation.texts) == 32
    assert not [sentence for sentence in doubts(train, validation) if "also training texts" in sentence]


def test_texts_that_differ_in_case_alone_count_once() -> None:
    rows = LabeledTexts([*map(str, range(20)), "Good", "good"], [*["a"] * 20, "b", "b"])
    with pytest.raises(ValueError, match="fewer than two texts labeled 'b'"):
        check_classes(rows, "mine.csv", "y")


def test_a_label_may_depend_on_case_alone() -> None:
    texts = [f"text {number}" for number in range(20)]
    rows = LabeledTexts([*texts, *map(str.upper, texts)], [*["quiet"] * 20, *["loud"] * 20])
    check_classes(rows, "mine.csv", "y")
    train, validation = split_off(rows, 0.1, seed=0)
    assert set(train.labels) == set(validation.labels) == {"quiet", "loud"}


def test_a_text_with_several_labels_is_for_training() -> None:
    texts, labels = ["x", " x\u200b", "a", "b", "c", "d"], ["1", "2", "1", "1", "2", "2"]
    for seed in range(20):
        train, validation = split_off(LabeledTexts(texts, labels), 0.5, seed)
        assert not set(texts[:2]) & set(validation.texts) and set(train.labels) == {"1", "2"} == set(
            validation.labels
        )


def test_labels_are_shown_quoted_and_shortened() -> None:
    line = describe_labels(["a"] * 1500 + ["\x1b[31mred"] * 2 + ["<b>" + "x" * 99])
    assert line == f"3 labels: 'a' 1,500, '\\x1b[31mred' 2, '<b>{'x' * 37}' 1"
    assert describe_labels([str(i) for i in range(50)]).endswith("'9' 1, and 40 more")
