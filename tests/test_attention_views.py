"""Attention as the views take it, from our models, transformers' and raw tensors; bertviz's views, made safe."""

from __future__ import annotations

import gzip
import html
import re
from base64 import b64decode

import numpy as np
import pytest
import torch
import transformers

from bertlearn import BertConfig, BertForSequenceClassification, BertModel, WordPieceTokenizer
from bertlearn.visualization import (
    AttentionMaps,
    attention_maps,
    head_view,
    model_view,
    neuron_view,
    read_attention,
)

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "cat", "sat", "</script>", "<", ">", "/", "script", "$", "{"]
VIEWS = (head_view, model_view, neuron_view)


@pytest.fixture
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer([*SPECIAL, *WORDS])


@pytest.fixture
def model() -> BertModel:
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=len(SPECIAL + WORDS), hidden_dropout_prob=0.5, **SIZES))
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


def random_maps(
    layers: int = 2, heads: int = 3, tokens: int = 5, second: int | None = None, size: int = 8
) -> AttentionMaps:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(tokens, 0.2), size=(layers, heads, tokens)).astype(np.float32)
    vectors = rng.normal(size=(3, layers, heads, tokens, size)).astype(np.float32)
    names = ["[CLS]", *(f"t{number}" for number in range(1, tokens - 1)), "[SEP]"]
    return AttentionMaps(names, probs, second, *vectors)


def page(view: object) -> str:
    """Return the page inside a view's iframe, unpacked."""
    frame = html.unescape(re.search(r'srcdoc="([^"]*)"', view._repr_html_())[1])  # type: ignore[attr-defined]
    return gzip.decompress(b64decode(re.search(r'atob\("([^"]*)"\)', frame)[1])).decode()


# 1. What the views show


def test_maps_of_our_model_are_its_attention_and_what_it_was_made_from(
    model: BertModel, tokenizer: WordPieceTokenizer
) -> None:
    model.train()
    maps = read_attention(model, tokenizer, "the cat sat", "the cat")
    assert model.training, "the model is left in the mode it came in"
    assert maps.tokens == ["[CLS]", "the", "cat", "sat", "[SEP]", "the", "cat", "[SEP]"]
    assert maps.second == 5
    model.eval()
    encoding = tokenizer.encode("the cat sat", "the cat")
    ids, segments = torch.tensor([encoding.input_ids]), torch.tensor([encoding.token_type_ids])
    with torch.no_grad():
        expected = torch.stack(model(ids, token_type_ids=segments, output_attentions=True).attentions)[:, 0]
    np.testing.assert_allclose(maps.probs, expected, atol=1e-6)
    scores = torch.from_numpy(maps.queries @ maps.keys.swapaxes(-1, -2)) / 8**0.5
    np.testing.assert_allclose(scores.softmax(-1), expected, atol=1e-5)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_maps_of_a_model_of_transformers_are_the_same(
    model: BertModel, tokenizer: WordPieceTokenizer, implementation: str
) -> None:
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL + WORDS), **SIZES, attn_implementation=implementation
    )
    theirs = transformers.BertModel(config)
    theirs.load_state_dict(model.state_dict(), strict=False)
    ours, found = (read_attention(m, tokenizer, "the cat sat", "the") for m in (model, theirs))
    for name in ("probs", "queries", "keys", "values"):
        np.testing.assert_allclose(getattr(found, name), getattr(ours, name), atol=1e-5)
    assert theirs.config._attn_implementation == implementation, "left as it was"


def test_a_model_with_a_head_is_read_through_its_encoder(
    model: BertModel, tokenizer: WordPieceTokenizer
) -> None:
    classifier = BertForSequenceClassification.from_encoder(
        model, ["a", "b"], torch.Generator().manual_seed(0)
    )
    np.testing.assert_allclose(
        read_attention(classifier, tokenizer, "the cat").probs,
        read_attention(model, tokenizer, "the cat").probs,
    )


@pytest.mark.parametrize("given", ["tuple", "tensor", "array", "without the batch"])
def test_raw_attentions_come_in_any_of_their_shapes(given: str) -> None:
    probs = random_maps().probs
    layers = tuple(torch.from_numpy(layer)[None] for layer in probs)
    attentions = {
        "tuple": layers,
        "tensor": torch.stack(layers),
        "array": probs,
        "without the batch": [layer[0] for layer in layers],
    }[given]
    np.testing.assert_array_equal(attention_maps(attentions, list("abcde")).probs, probs)


@pytest.mark.parametrize(
    ("attentions", "tokens", "message"),
    [
        ((), "abc", 'attentions are empty: call the model with output_attentions=True, and load .*="eager"'),
        (None, "abc", "attentions are empty"),
        ((None, None), "abc", "attentions are empty"),
        (
            [torch.ones(2, 3, 4, 4)],
            "abcd",
            r"a batch of 2 texts; take one: \[layer\[:1\] for layer in attentions\]",
        ),
        (
            [torch.ones(1, 3, 4, 4)],
            "abc",
            "attentions are of 4 tokens, but 3 tokens were given; give those of",
        ),
        (
            [torch.ones(1, 3, 4, 5)],
            "abcd",
            r"shape \(1, 3, 4, 5\), expected \(layers, heads, tokens, tokens\)",
        ),
        ([torch.ones(4, 4)], "abcd", r"shape \(1, 4, 4\), expected"),
        ([torch.ones(1, 3, 4, 4), torch.ones(1, 3, 5, 5)], "abcd", "layers have different shapes"),
        ([torch.full((1, 3, 4, 4), torch.nan)], "abcd", "NaN or infinity; look for a row that is masked"),
        (
            [torch.ones(1, 1, 600, 600)],
            ["a"] * 600,
            "600 tokens are too many to see; shorten the text to 256",
        ),
    ],
)
def test_what_no_view_could_show_is_refused(attentions: object, tokens: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention_maps(attentions, list(tokens))  # type: ignore[arg-type, call-overload]


def test_texts_and_models_that_give_nothing_are_refused(
    model: BertModel, tokenizer: WordPieceTokenizer
) -> None:
    with pytest.raises(ValueError, match="the text is empty; give some words"):
        read_attention(model, tokenizer, " ")
    with pytest.raises(ValueError, match="Linear has no layers with query, key and value; expected a BERT"):
        read_attention(torch.nn.Linear(2, 2), tokenizer, "the cat")
    with pytest.raises(ValueError, match="second=5 begins no second text; expected 1 to 4"):
        attention_maps(random_maps().probs, list("abcde"), second=5)


# 2. bertviz's views


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_asks_nothing_of_the_network(view: object) -> None:
    text = page(view(random_maps(second=3)))  # type: ignore[operator]
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|link|img|iframe)[^>]*\s(src|href)=", text)
    assert 'sandbox="allow-scripts"' in view(random_maps())._repr_html_()  # type: ignore[operator]


@pytest.mark.parametrize("view", VIEWS)
def test_no_token_leaves_its_string(view: object) -> None:
    maps = random_maps(tokens=6)
    tokens = ["</script><script>alert(1)</script>", "<!--", "<img src=x onerror=alert(1)>", '"', "\\", "\n"]
    own = view(maps)  # type: ignore[operator]
    hostile = view(AttentionMaps(tokens, maps.probs, None, maps.queries, maps.keys))  # type: ignore[operator]
    for tag in ("<script", "</script", "<!--"):
        assert page(hostile).count(tag) == page(own).count(tag)
    shown = re.sub(r'srcdoc="[^"]*"', "", hostile._repr_html_())
    assert "<script" not in shown and "<img src=x" not in shown


def test_a_large_view_stays_small() -> None:
    maps = random_maps(12, 12, 20, size=64)
    for view in VIEWS:
        size = len(view(maps)._repr_html_())
        assert size < 1e6, f"{view.__name__}: {size:,} bytes"


def test_where_no_script_runs_there_is_a_picture_and_outputs_compare() -> None:
    view = head_view(random_maps())
    bare = re.sub(r"<iframe.*</iframe>", "", view._repr_html_())
    assert re.search(
        r'<img alt="Head view: 2 layers, 3 heads, .CLS. t1 t2 t3 .SEP." src="data:image/png;base64,', bare
    )
    assert (
        repr(view)
        == repr(head_view(random_maps()))
        == "[view] Head view: 2 layers, 3 heads, [CLS] t1 t2 t3 [SEP]"
    )


def test_the_neuron_view_shows_our_queries_and_keys() -> None:
    maps = random_maps(second=3)
    text = page(neuron_view(maps, layer=1, head=2))
    for vectors in (maps.queries, maps.keys):
        row = ", ".join(str(round(float(x), 2)) for x in vectors[1, 2, 4])
        assert f"[{row}]" in text
    assert '"left_text": ["[CLS]", "t1", "t2"]' in text and '"layer": 1, "head": 2' in text
    with pytest.raises(ValueError, match="these maps have no queries and keys"):
        neuron_view(attention_maps(maps.probs, maps.tokens))


def test_layers_and_heads_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="layer=2 is none of the model's; expected 0 to 1"):
        head_view(random_maps(), layer=2)
    with pytest.raises(ValueError, match="head 3 is none of the model's; expected 0 to 2"):
        neuron_view(random_maps(), head=3)
