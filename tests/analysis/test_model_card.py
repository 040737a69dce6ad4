"""The card reads back with the measured values; whatever a text contains, the page shows it as text."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import mistune
import numpy as np
import pytest
from conftest import CONFIG
from huggingface_hub import ModelCard

from bertlearn.analysis.behavior import Failure, Outcome
from bertlearn.analysis.model_card import CardMetadata, write_model_card
from bertlearn.model.bert import BertModel
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForSequenceClassification, BertForTokenClassification

FAILURES = [
    Failure("a fine film", "a fnie film", 0.93, 0.41),
    Failure("He lost", "She lost", 0.2, 0.4),
    Failure("a third", "a thrid", 0.5, 0.3),
]
OUTCOMES = [
    Outcome("typo", "invariance", 50, 48, FAILURES),
    Outcome("praise negated", "minimum functionality", 40, 39, [Failure("Bad.", None, 0.6, None)]),
    Outcome("praise added", "direction", 9, 9, []),
]
METADATA = CardMetadata(
    name="Small BERT for film reviews",
    description="Calls a sentence of a review fresh or rotten.",
    intended_use="For teaching; not for judging persons.",
    limits=["English only.", "Films of one year."],
    data="Rotten Tomatoes, by film",
    split="test",
    metrics={"accuracy": np.float32(0.8125), "f1": 0.80123456, "parameters": 22_713_216},
    provenance={"torch": "2.13.0", "seed": "0"},
    outcomes=OUTCOMES,
    base_model="sentence-transformers/all-MiniLM-L6-v2",
    license="apache-2.0",
)
SHOW = mistune.create_markdown(escape=False, plugins=["table", "url", "strikethrough", "math"])


def a_model(folder: Path, **changes: Any) -> Path:
    config: BertConfig = replace(CONFIG, id2label={0: "rotten", 1: "fresh"}, **changes)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def page(folder: Path) -> str:
    """Return the page as HTML."""
    return str(SHOW(ModelCard.load(folder / "README.md").text))


def words(html: str) -> str:
    """Return the visible text of the page."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_the_card_reads_back(tmp_path: Path) -> None:
    card = write_model_card(a_model(tmp_path), METADATA)
    assert str(card) == str(ModelCard.load(tmp_path / "README.md"))
    data = card.data
    assert (data.model_name, data.language, data.license) == (METADATA.name, "en", "apache-2.0")
    assert (data.pipeline_tag, data.library_name) == ("text-classification", "transformers")
    assert (data.base_model, data.metrics) == (METADATA.base_model, ["accuracy", "f1", "parameters"])
    assert [(one.metric_type, one.metric_value) for one in data.eval_results] == [
        ("accuracy", 0.8125),
        ("f1", 0.80123456),
        ("parameters", 22_713_216),
    ]
    for one in data.eval_results:
        assert (one.dataset_name, one.dataset_split) == ("Rotten Tomatoes, by film", "test")
        assert (one.task_type, one.dataset_type) == ("text-classification", "rotten-tomatoes-by-film")
    assert BertForSequenceClassification.from_pretrained(tmp_path).config.id2label[1] == "fresh"


def test_the_page_has_all_the_content(tmp_path: Path) -> None:
    write_model_card(a_model(tmp_path), METADATA)
    html = page(tmp_path)
    assert re.findall(r"<h\d>(.*)</h\d>", html) == [
        *(
            METADATA.name,
            "Intended use",
            "How to use it",
            "Results",
            "Behavioral tests",
            "Limits",
            "Provenance",
        )
    ]
    text = words(html)
    for part in (
        METADATA.description,
        METADATA.intended_use,
        *METADATA.limits,
        "Labels: rotten, fresh.",
        "accuracy 0.8125 f1 0.8012 parameters 22,713,216",
        "typo invariance 48 of 50 87% to 99%",
        "praise added direction 9 of 9 70% to 100%",
        "typo: a fine film (0.93) – a fnie film (0.41)",
        "praise negated: Bad. (0.60)",
        "typo: He lost (0.20) – She lost (0.40)",
        "torch 2.13.0 seed 0",
    ):
        assert part in text, part
    assert "a third" not in text  # only the two worst are shown


def test_empty_sections_are_left_out(tmp_path: Path) -> None:
    write_model_card(a_model(tmp_path), replace(METADATA, outcomes=(), provenance={}, limits=()))
    html = page(tmp_path)
    assert "Behavioral" not in html and "Provenance" not in html and "Limits" not in html
    passing = [outcome for outcome in OUTCOMES if not outcome.failures]
    write_model_card(tmp_path, replace(METADATA, outcomes=passing))
    assert "9 of 9" in page(tmp_path) and "Where it fails" not in page(tmp_path)


def test_the_code_depends_on_the_pooling(tmp_path: Path) -> None:
    write_model_card(a_model(tmp_path / "cls"), METADATA)
    card = write_model_card(a_model(tmp_path / "mean", classifier_pooling="mean"), METADATA)
    assert "from transformers import pipeline" in page(tmp_path / "cls")
    assert "from bertlearn import" in page(tmp_path / "mean")
    assert "pipeline(" not in page(tmp_path / "mean") and card.data.library_name == "bertlearn"


HOSTILE = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "![picture](https://example.org/x.png) [link](javascript:alert(1))",
    "<https://example.org> https://example.org www.example.org me@example.org",
    "`code` **bold** _slanted_ ~~struck~~ $x^2$ | a | b |",
    "# title",
    "- item",
    "1. item",
    "12) item",
    "3.",
    "---",
    "=====",
    "> quoted",
    "\\<b\\> &lt;i&gt; &amp; \\",
    "```\n</code>\n```",
    "two\n\n    lines\n---\nthree",
    "[1]: https://example.org",
    "+ plus",
    "* star",
    "naïve 日本 “quotes”",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_shown_as_it_is(text: str, tmp_path: Path) -> None:
    """The text is shown wherever it is used, and adds no tags to the page."""
    outcome = Outcome(text, "invariance", 2, 1, [Failure(text, text, 0.5, 0.5)])
    harmless = replace(METADATA, limits=["x"], provenance={"x": "x"}, outcomes=[OUTCOMES[0]])
    folder = a_model(tmp_path)
    write_model_card(
        folder, replace(harmless, outcomes=[Outcome(*outcome[:4], [Failure("x", "x", 0.5, 0.5)])])
    )
    expected = re.sub(r">[^<]*", ">", page(folder))
    metadata = replace(
        harmless,
        name=text,
        description=text,
        intended_use=text,
        limits=[text],
        data=text,
        split=text,
        provenance={text: text},
        outcomes=[outcome],
    )
    card = write_model_card(folder, metadata)
    html = page(folder)
    assert re.sub(r">[^<]*", ">", html) == expected
    assert words(html).count(" ".join(text.split())) >= 10
    assert card.data.model_name == card.data.eval_results[0].dataset_name == " ".join(text.split())


def test_bare_addresses_are_escaped(tmp_path: Path) -> None:
    """GitHub's Markdown turns more addresses into links than mistune does."""
    write_model_card(a_model(tmp_path), replace(METADATA, limits=["see www.example.org, me@example.org"]))
    assert r"see www\.example.org, me\@example.org" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_labels_are_also_escaped(tmp_path: Path) -> None:
    config = replace(CONFIG, id2label={0: "<b>bad</b>", 1: "| good |"})
    BertForSequenceClassification(config).save_pretrained(tmp_path)
    write_model_card(tmp_path, METADATA)
    assert "Labels: <b>bad</b>, | good |." in words(page(tmp_path))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("nan"), "0.5", None])
def test_values_that_are_not_finite_are_refused_and_the_old_card_is_kept(value: Any, tmp_path: Path) -> None:
    write_model_card(a_model(tmp_path), METADATA)
    before = (tmp_path / "README.md").read_bytes()
    with pytest.raises(
        ValueError,
        match=r"metrics\['f1'\] is .*, expected a finite number; leave out metrics that were not measured",
    ):
        write_model_card(tmp_path, replace(METADATA, metrics={"f1": value}))
    with pytest.raises(ValueError, match="metrics is empty"):
        write_model_card(tmp_path, replace(METADATA, metrics={}))
    assert (tmp_path / "README.md").read_bytes() == before


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no config.json; a model folder needs"):
        write_model_card(tmp_path, METADATA)
    assert not list(tmp_path.iterdir())


def test_numbers_stay_numbers_in_the_source(tmp_path: Path) -> None:
    write_model_card(a_model(tmp_path), replace(METADATA, metrics={"accuracy": 0.8047}))
    assert "| accuracy | 0.8047 |" in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_model_card(f"~/{a_model(tmp_path / 'model').name}", METADATA)
    assert (tmp_path / "model" / "README.md").is_file()


@pytest.mark.parametrize("name", ["limits", "name", "description", "intended_use", "data", "split"])
def test_a_value_of_another_type_is_refused(name: str) -> None:
    message = "limits='one limit' is not a list of sentences" if name == "limits" else f"{name} is NoneType"
    with pytest.raises(ValueError, match=message):
        replace(METADATA, **{name: "one limit" if name == "limits" else None})


@pytest.mark.parametrize("cls", [BertModel, BertForTokenClassification])
def test_only_a_classifier_of_texts_gets_a_card(cls: Any, tmp_path: Path) -> None:
    cls(CONFIG).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=f"was saved by {cls.__name__}, not by BertForSequenceClassification"
    ):
        write_model_card(tmp_path, METADATA)
