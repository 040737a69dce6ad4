"""The inside of a head shows the model's own attention, and all of it reaches the browser."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from bertlearn import BertConfig, BertModel, WordPieceTokenizer
from bertlearn.course.figures import AttentionMaps, attention_maps, read_attention
from bertlearn.course.widgets import InsideHead
from bertlearn.course.widgets.inside_head import MOST_BYTES
from bertlearn.model.bert import scaled_dot_product_attention

TOKENS = ["[CLS]", "the", "cat", "[SEP]"]


def maps(
    tokens: list[str] = TOKENS, layers: int = 2, heads: int = 3, size: int = 8, scale: float = 1.0
) -> AttentionMaps:
    """Return random vectors of size `scale`, and their attention."""
    length = len(tokens)
    vectors = scale * np.random.default_rng(0).normal(size=(3, layers, heads, length, size)).astype(
        np.float32
    )
    query, key, value = (torch.tensor(x) for x in vectors)
    probs = scaled_dot_product_attention(query, key, value).probs
    assert probs is not None
    return AttentionMaps(list(tokens), probs.numpy(), None, *vectors)


def decoded(widget: InsideHead, layer: int) -> np.ndarray:
    """Return the vectors that the browser decodes from a page: (3, A, S, D)."""
    page, (_, heads, size) = widget.pages[str(layer)], widget.shape
    whole = np.frombuffer(page["vectors"], dtype="<i2").reshape(3, heads, -1, size)
    return whole * np.array(page["steps"])[:, :, None, None]


def test_scores_weights_and_context_are_the_models_own() -> None:
    config = BertConfig(
        vocab_size=9, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=32
    )
    torch.manual_seed(0)
    model = BertModel(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.4 * torch.randn_like(parameter)  # far from uniform attention
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "."])
    widget = InsideHead(read_attention(model, tokenizer, "the cat sat ."), layer=1)
    ids = torch.tensor([tokenizer.encode("the cat sat .").input_ids])
    with torch.no_grad():
        hidden = model(ids, output_hidden_states=True).hidden_states[1]
        attention = model.encoder.layer[1].attention.self
        context, probs = attention(hidden, output_attentions=True)
    assert probs.max() > 0.5, "uniform attention would prove little"
    for widget.head in range(3):
        for widget.query in range(6):
            own = probs[0, widget.head, widget.query]
            np.testing.assert_allclose(widget.weights, own, atol=1e-6)
            np.testing.assert_allclose(torch.tensor(widget.scores).softmax(0), own, atol=1e-6)
            features = slice(8 * widget.head, 8 * widget.head + 8)
            np.testing.assert_allclose(widget.context, context[0, widget.query, features], atol=1e-5)


def test_two_bytes_per_number_keep_the_third_decimal_of_scores_and_weights() -> None:
    found = maps([str(i) for i in range(18)], layers=1, heads=12, size=32, scale=2.5)  # scores up to 30
    query, key, value = (torch.tensor(x) for x in decoded(InsideHead(found), 0))
    context, probs = scaled_dot_product_attention(query, key, value)
    assert probs is not None
    np.testing.assert_allclose(probs, found.probs[0], atol=5e-4)
    expected = torch.tensor(found.probs[0]) @ torch.tensor(found.values[0])  # type: ignore[index]
    np.testing.assert_allclose(context, expected, atol=2e-3)


def test_layers_of_a_small_model_are_sent_at_once_and_those_of_a_large_one_on_request() -> None:
    assert list(InsideHead(maps()).pages) == ["0", "1"]
    found = maps([str(i) for i in range(64)], layers=3, heads=12, size=64)
    widget = InsideHead(found, layer=1)
    assert list(widget.pages) == ["1"] and 2 * 3 * found.probs.size > MOST_BYTES
    widget.layer = 2
    assert list(widget.pages) == ["2"]
    np.testing.assert_allclose(decoded(widget, 2)[1], found.keys[2], atol=1e-4)  # type: ignore[index]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layer", 2, "layer=2 does not exist; expected 0 to 1"),
        ("head", -1, "head=-1 does not exist; expected 0 to 2"),
        ("query", 4, "query=4 does not exist; expected 0 to 3"),
        ("key", 4, "key=4 does not exist; expected 0 to 3"),
        ("feature", 8, "feature=8 does not exist; expected 0 to 7"),
    ],
)
def test_a_choice_that_does_not_exist_is_refused_and_changes_nothing(
    name: str, value: int, message: str
) -> None:
    widget = InsideHead(maps())
    with pytest.raises(ValueError, match=message):
        setattr(widget, name, value)
    assert getattr(widget, name) == 0
    if name != "feature":
        with pytest.raises(ValueError, match=message):
            InsideHead(maps(), **{name: value})


def test_maps_without_vectors_or_with_bad_ones_are_refused() -> None:
    found = maps()
    with pytest.raises(ValueError, match="no queries, keys and values; make them with read_attention"):
        InsideHead(attention_maps(found.probs, TOKENS))
    found.keys[1, 2, 3, 4] = np.nan  # type: ignore[index]
    with pytest.raises(ValueError, match="NaN or infinity"):
        InsideHead(found)


def test_vectors_of_zeros_are_shown() -> None:
    found = maps()
    widget = InsideHead(dataclasses.replace(found, values=np.zeros_like(found.values)))
    assert not widget.context.any() and not decoded(widget, 0)[2].any()
    assert "weight" in widget.picture().alt


@pytest.mark.parametrize("token", ["<img src=x onerror=alert(1)>", "שלום", "🙂", "\n", "$x$", ""])
def test_hostile_tokens_are_shown_and_never_html(token: str) -> None:
    widget = InsideHead(maps(["[CLS]", token, "[SEP]"]), query=1, key=1)
    assert "<img" not in widget.to_html()
    assert widget.picture().png().startswith(b"\x89PNG")


def test_repr_and_picture_say_what_is_shown() -> None:
    widget = InsideHead(maps(), layer=1, head=2, query=2, key=1)
    assert repr(widget) == "[widget] Inside an attention head: 2 layers, 3 heads, 4 tokens"
    picture = widget.picture()
    numbers = f"score {widget.scores[1]:.2f} and weight {widget.weights[1]:.3f}"
    assert f"“cat” looks at “the” with {numbers}" in picture.alt
    strips = np.asarray(picture.figure.axes[0].images[0].get_array())
    assert strips.shape == (5, 8) and np.abs(strips).max(axis=1) == pytest.approx(np.ones(5))
    np.testing.assert_allclose(strips[4], widget.context / np.abs(widget.context).max(), rtol=1e-6)
