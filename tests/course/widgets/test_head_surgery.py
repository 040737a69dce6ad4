"""Head surgery's numbers against the package's own, its questions and answers, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CONFIG, perturb
from traitlets import TraitError

from bertlearn.analysis.ablation import without_edges, without_heads
from bertlearn.analysis.attribution import attention_scores, integrated_gradients
from bertlearn.course.widgets import HeadSurgery
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

WORDS = [f"{first}{second}" for first in "bcdfghjklm" for second in "aeiou"]
MARKS = [*"<>/&;()=!", "script", "alert", "img"]
TOKENIZER = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS, *MARKS])
TEXT = "ba be du fe"


def classifier(pooling: str = "mean", labels: int = 2, positions: int = 512) -> BertForSequenceClassification:
    torch.manual_seed(0)
    names = {number: f"label {number}" for number in range(labels)}
    config = replace(CONFIG, num_attention_heads=4, max_position_embeddings=positions)
    config = replace(config, id2label=names, classifier_pooling=pooling)
    model = BertForSequenceClassification(config).eval()
    perturb(model, scale=0.2)
    return model


def surgery(text: str = TEXT, **options: Any) -> HeadSurgery:
    return HeadSurgery(classifier(**options), TOKENIZER, text)


def odds(logits: Any, label: int) -> float:
    p = torch.as_tensor(np.asarray(logits)).softmax(-1)[label].item()
    return float(np.log(p / (1 - p)))


@pytest.mark.parametrize(("pooling", "labels", "label"), [("mean", 2, 1), ("cls", 2, 0), ("cls", 3, 2)])
def test_the_reading_is_what_the_package_computes(pooling: str, labels: int, label: int) -> None:
    model = classifier(pooling, labels)
    widget = HeadSurgery(model, TOKENIZER, TEXT, label=label)
    encoding = TOKENIZER.encode(TEXT)
    ids = torch.tensor([encoding.input_ids])
    assert widget.tokens == encoding.tokens
    with torch.no_grad():
        whole = model(ids).logits[0]
        np.testing.assert_allclose(widget.base_logits, whole, atol=2e-5)
        np.testing.assert_allclose(widget.logits, whole, atol=2e-5)
        for layer, head in np.ndindex(2, 4):
            with without_heads(model, [(layer, head)]):
                change = odds(model(ids).logits[0], label) - odds(whole, label)
            assert widget.effects[layer, head] == pytest.approx(change, abs=1e-4)
    assert abs(widget.effects).min() > 1e-3
    added = integrated_gradients(model, TOKENIZER, TEXT, label).scores
    np.testing.assert_allclose(widget.reading["added"], added, atol=2e-5)
    looks = [attention_scores(model, TOKENIZER, TEXT, layer).scores for layer in range(2)]
    np.testing.assert_allclose(widget.reading["received"], looks, atol=2e-5)


def test_what_is_off_and_cut_changes_the_answer() -> None:
    widget = surgery()
    widget.off, widget.cut = [(1, 0)], [(0, 1, 2, 3), (1, 1, 0, 4)]
    model, ids = widget.model, torch.tensor([TOKENIZER.encode(TEXT).input_ids])
    with torch.no_grad(), without_heads(model, [(1, 0)]), without_edges(model, [(0, 1, 2, 3), (1, 1, 0, 4)]):
        expected = model(ids, output_attentions=True)
    np.testing.assert_allclose(widget.logits, expected.logits[0], atol=2e-5)
    assert abs(widget.logits - widget.base_logits).max() > 1e-3
    sent = np.frombuffer(widget.outcome["weights"], "<u2").reshape(2, 4, 6, 6) / 65535
    np.testing.assert_allclose(sent, torch.cat(expected.attentions), atol=1e-5)
    assert sent[0, 1, 2, 3] == sent[1, 1, 0, 4] == 0
    assert (widget.outcome["off"], widget.outcome["cut"]) == ([[1, 0]], [[0, 1, 2, 3], [1, 1, 0, 4]])
    widget.off = widget.cut = []
    np.testing.assert_array_equal(widget.logits, widget.base_logits)


def test_the_model_is_left_as_it_was() -> None:
    widget = surgery()
    widget.model.train()
    widget.off, widget.cut = [[0, 0]], [[1, 1, 1, 1]]
    assert widget.model.training
    assert not [module for module in widget.model.modules() if module._forward_pre_hooks]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer", 2, "layer=2 does not exist; expected 0 to 1"),
        ("head", 4, "head=4 does not exist; expected 0 to 3"),
        ("off", [[0, 4]], "head=4 does not exist; expected 0 to 3"),
        ("off", [[0]], r"off holds \[0\]; expected \[layer, head\]"),
        ("cut", [[0, 1]], r"cut holds \[0, 1\]; expected \[layer, head, query, key\]"),
        ("cut", [[0, 1, 0, 6]], "key=6 does not exist; expected 0 to 5"),
        ("cut", [[0, 1, -1, 0]], "query=-1 does not exist; expected 0 to 5"),
        (
            "cut",
            [[1, 0, 3, key] for key in range(6)],
            "token 3 in layer 1, head 0 has no edge left; leave one",
        ),
        ("text", "", r"text='' has no tokens except \[CLS\] and \[SEP\]; give a text with words"),
        ("text", " \n ", "text='' has no tokens except"),
        ("text", "ba " * 600, "the text has 602 tokens; shorten it to at most 64"),
    ],
)
def test_a_refused_value_changes_nothing(name: str, value: Any, message: str) -> None:
    widget = surgery()
    before = widget.outcome
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, value)
    assert getattr(widget, name) == {"text": TEXT, "off": [], "cut": []}.get(name, 0)
    assert widget.outcome is before
    with pytest.raises(TraitError):
        widget.off = [[0.5, 0]]


def test_a_model_with_fewer_positions_sets_the_limit() -> None:
    widget = surgery(positions=32)
    with pytest.raises(ValueError, match="the text has 33 tokens; shorten it to at most 32"):
        widget.text = "ba " * 31
    widget.text = "ba " * 30
    assert len(widget.tokens) == 32


def test_a_repeated_head_counts_once() -> None:
    widget = surgery()
    widget.off = [[0, 1], [0, 1]]
    assert widget.off == [[0, 1]]


def test_a_new_text_restores_edges_and_keeps_heads_off() -> None:
    widget = surgery()
    widget.off, widget.cut = [[0, 1]], [[0, 0, 5, 5]]
    widget.text = "go"
    assert (widget.off, widget.cut, widget.tokens) == ([[0, 1]], [], ["[CLS]", "go", "[SEP]"])
    other = surgery("go")
    np.testing.assert_array_equal(widget.base_logits, other.base_logits)
    other.off = [[0, 1]]
    np.testing.assert_array_equal(widget.logits, other.logits)
    assert widget.outcome["weights"] == other.outcome["weights"]
    assert repr(widget) == repr(other) == "[widget] Head surgery: 2 layers, 4 heads; go"


def test_typed_text_is_read_or_refused_with_a_reason() -> None:
    widget = surgery()
    widget.asked = {"text": [1, {"text": "ba " * 600}]}
    assert widget.answered == {"text": [1, "the text has 602 tokens; shorten it to at most 64"]}
    assert (widget.text, widget.reading["text"]) == (TEXT, TEXT)
    widget.asked = {"text": [2, {"text": "fe"}]}
    assert (widget.answered, widget.text, widget.reading["text"]) == ({"text": [2, ""]}, "fe", "fe")
    widget.asked = {"text": [3, {"text": ""}]}
    widget.text = "du"
    assert widget.answered == {"text": [3, ""]}


def test_other_models_and_wrong_choices_are_named() -> None:
    with pytest.raises(ValueError, match="model is BertModel, expected BertForSequenceClassification"):
        HeadSurgery(BertModel(CONFIG), TOKENIZER, TEXT)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="label=2 does not exist; expected 0 to 1"):
        HeadSurgery(classifier(), TOKENIZER, TEXT, label=2)
    with pytest.raises(ValueError, match="head=4 does not exist"):
        HeadSurgery(classifier(), TOKENIZER, TEXT, head=4)
    broken = classifier()
    torch.nn.init.constant_(broken.classifier.weight, torch.nan)
    with pytest.raises(ValueError, match="the model's logits contain NaN or infinity"):
        HeadSurgery(broken, TOKENIZER, TEXT)


def test_the_picture_shows_the_answer_and_every_effect() -> None:
    widget = surgery()
    widget.off = [[0, 1]]
    image = widget.picture().figure.axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), widget.effects)
    assert -image.norm.vmin == image.norm.vmax == pytest.approx(abs(widget.effects).max())
    layer, head = np.unravel_index(abs(widget.effects).argmax(), (2, 4))
    alt = widget.picture().alt
    assert f"the largest change is {widget.effects[layer, head]:+.2f}, layer {layer}, head {head}." in alt
    assert f"“{TEXT}” are {odds(widget.base_logits, 1):.2f}; heads off: 1, edges cut: 0" in alt
    assert f"now {odds(widget.logits, 1):.2f}." in alt


def test_a_stand_alone_page_has_no_markup_from_the_text_and_is_the_same_at_each_run() -> None:
    hostile = "</script><script>alert(1)</script><!-- שלום 🎬 \n <img src=x>"
    page, plain = surgery(hostile).to_html(), surgery("ba").to_html()
    for tag in ("<script", "</script", "<!--", "<img"):
        assert page.count(tag) == plain.count(tag)
    assert page == surgery(hostile).to_html()
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused() -> None:
    larger = WordPieceTokenizer([*TOKENIZER.ids_to_tokens, *(f"w{i}" for i in range(60))])
    with pytest.raises(
        ValueError, match=r"the tokenizer has \d+ tokens, but the model has embeddings for 101"
    ):
        HeadSurgery(classifier(), larger, TEXT)
