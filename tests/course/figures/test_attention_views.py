"""Attention maps from our models, transformers' models and raw tensors, and bertviz's views of them."""

from __future__ import annotations

import gzip
import html
import json
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from bertlearn import BertConfig, BertForSequenceClassification, BertModel, WordPieceTokenizer
from bertlearn.course.figures import (
    AttentionMaps,
    View,
    attention_maps,
    bertviz_views,
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


def theirs(model: BertModel, implementation: str) -> transformers.BertModel:
    """Return transformers' model of the same weights."""
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL + WORDS), **SIZES, attn_implementation=implementation
    )
    other = transformers.BertModel(config)
    other.load_state_dict(model.state_dict(), strict=False)
    return other


def random_maps(
    layers: int = 2, heads: int = 3, tokens: int = 5, second: int | None = None, size: int = 8
) -> AttentionMaps:
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(tokens, 0.2), size=(layers, heads, tokens)).astype(np.float32)
    vectors = rng.normal(size=(3, layers, heads, tokens, size)).astype(np.float32)
    names = ["[CLS]", *(f"t{number}" for number in range(1, tokens - 1)), "[SEP]"]
    return AttentionMaps(names, probs, second, *vectors)


def packed(view: View) -> bytes:
    """Return the compressed page inside a view's iframe."""
    frame = html.unescape(re.search(r'srcdoc="([^"]*)"', view._repr_html_())[1])  # type: ignore[index]
    return b64decode(re.search(r'atob\("([^"]*)"\)', frame)[1])  # type: ignore[index]


def page(view: View) -> str:
    """Return the page inside a view's iframe."""
    return gzip.decompress(packed(view)).decode()


def payload(view: View) -> dict[str, Any]:
    """Return the data that the page passes to the script that draws."""
    return json.JSONDecoder().raw_decode(page(view).split("const payload = ")[1])[0]


def drawn(view: View) -> list[np.ndarray]:
    """Return the numbers that are drawn: attention (L, A, S, S) and, in the neuron view, queries and keys."""
    sent = payload(view)
    numbers, arrays = np.frombuffer(b64decode(sent["numbers"]), dtype=np.int8), []
    for array in sent["arrays"]:
        shape = (*np.shape(array["scales"]), len(sent["tokens"]), array["width"])
        count = int(np.prod(shape))
        arrays.append(numbers[:count].reshape(shape) * np.array(array["scales"])[..., None, None])
        numbers = numbers[count:]
    assert len(numbers) == 0
    return arrays


# 1. What the views show


def test_maps_of_our_model_are_its_attention_and_the_vectors_behind_it(
    model: BertModel, tokenizer: WordPieceTokenizer
) -> None:
    model.train()
    maps = read_attention(model, tokenizer, "the cat sat", "the cat")
    assert model.training, "the model's mode is restored"
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
    attention = model.encoder.layer[0].attention
    contexts: list[torch.Tensor] = []
    attention.output.register_forward_pre_hook(lambda _, inputs: contexts.append(inputs[0][0]))
    with torch.no_grad():
        model(ids, token_type_ids=segments)
    np.testing.assert_allclose(
        (maps.probs @ maps.values)[0].swapaxes(0, 1).reshape(8, 24), contexts[0], atol=1e-5
    )


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_maps_of_a_model_of_transformers_are_the_same(
    model: BertModel, tokenizer: WordPieceTokenizer, implementation: str
) -> None:
    other = theirs(model, implementation)
    ours, found = (read_attention(m, tokenizer, "the cat sat", "the") for m in (model, other))
    for name in ("probs", "queries", "keys", "values"):
        np.testing.assert_allclose(getattr(found, name), getattr(ours, name), atol=1e-5)
    assert other.config._attn_implementation == implementation, "the setting is restored"


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
        (
            [torch.full((1, 3, 4, 4), torch.nan)],
            "abcd",
            "NaN or infinity; look for a row that is fully masked",
        ),
        ([torch.full((1, 3, 4, 4), -1.0)], "abcd", "negative: these are scores; take their softmax"),
        ([torch.ones(1, 3, 0, 0)], "", r"shape \(1, 3, 0, 0\) are empty; expected at least one token"),
        (
            [torch.ones(1, 1, 600, 600)],
            ["a"] * 600,
            "600 tokens are too many to show; shorten the text to at most 256",
        ),
    ],
)
def test_what_no_view_can_show_is_refused(attentions: object, tokens: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention_maps(attentions, list(tokens))  # type: ignore[arg-type, call-overload]


def test_texts_and_models_that_give_nothing_are_refused(
    model: BertModel, tokenizer: WordPieceTokenizer
) -> None:
    with pytest.raises(ValueError, match="the text is empty; give some words"):
        read_attention(model, tokenizer, " ")
    with pytest.raises(ValueError, match="Linear has no layers with query, key and value; expected a BERT"):
        read_attention(torch.nn.Linear(2, 2), tokenizer, "the cat")
    with pytest.raises(ValueError, match="second=5 does not start a second text; expected 1 to 4"):
        attention_maps(random_maps().probs, list("abcde"), second=5)
    with pytest.raises(ValueError, match=r"keys have shape \(1, 3, 5, 8\), expected \(2, 3, 5, 'size'\)"):
        replace(random_maps(), keys=random_maps(1).keys)


@pytest.mark.parametrize("text", ["cat", "unknown", "[MASK] [SEP] [PAD]"])
def test_short_and_special_texts_are_shown(
    model: BertModel, tokenizer: WordPieceTokenizer, text: str
) -> None:
    maps = read_attention(model, tokenizer, text)
    assert maps.tokens[0] == "[CLS]" and maps.tokens[-1] == "[SEP]"
    for view in VIEWS:
        assert payload(view(maps))["tokens"] == maps.tokens


# 2. bertviz's views


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_is_self_contained(view: Callable[..., View]) -> None:
    shown = view(random_maps(second=3))
    text = page(shown)
    assert "content=\"default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'\"" in text
    assert not re.search(r"<[^>]*\s(src|href)=", text)
    assert 'sandbox="allow-scripts"' in shown._repr_html_()


@pytest.mark.parametrize("view", VIEWS)
def test_tokens_stay_inside_their_strings(view: Callable[..., View]) -> None:
    maps = random_maps(tokens=8)
    tokens = ["</script>", "<script>", "<!--", "<img src=x>", '"', "\\", "\n", "\u2028"]
    hostile = view(replace(maps, tokens=tokens))
    assert payload(hostile)["tokens"] == [*tokens[:6], "⏎", "⏎"], "shown as text"
    for mark in ("<script", "</script", "<!--", "<img", "\n", "\u2028"):
        assert page(hostile).count(mark) == page(view(maps)).count(mark), "only text"
    shown = re.sub(r'srcdoc="[^"]*"', "", hostile._repr_html_())
    assert shown.count("<") == re.sub(r'srcdoc="[^"]*"', "", view(maps)._repr_html_()).count("<")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("second", [None, 9])
def test_a_large_view_stays_small(view: Callable[..., View], second: int | None) -> None:
    size = len(view(random_maps(12, 12, 20, second, size=64))._repr_html_())
    assert size < 1e6, f"{size:,} bytes"


@pytest.mark.parametrize("view", VIEWS)
def test_outputs_repeat(view: Callable[..., View]) -> None:
    first, again = view(random_maps(second=3)), view(random_maps(second=3))
    assert first._repr_html_() == again._repr_html_()
    assert packed(first)[4:8] == bytes(4), "no time stamp of gzip"
    name = view.__name__.replace("_", " ").capitalize()
    assert repr(first) == f"[view] {name}: 2 layers, 3 heads, [CLS] t1 t2 t3 [SEP]"


@pytest.mark.parametrize("view", VIEWS)
def test_without_the_iframe_a_picture_remains(view: Callable[..., View]) -> None:
    shown = view(random_maps())
    bare = re.sub(r"<iframe.*</iframe>", "", shown._repr_html_())
    alt, picture = re.fullmatch(
        r'<div class="bl-view" style="[^"]*"><style>[^<]*</style><div class="bl-flat"><img alt="([^"]*)" '
        r'src="data:image/png;base64,([^"]*)" style="[^"]*">'
        r'<p style="[^"]*">A picture. Run the cell to make it interactive.</p></div></div>',
        bare,
    ).groups()  # type: ignore[union-attr]
    assert alt == shown.alt and alt.startswith(("Heat map. Layer 0", "Grid of 2 layers by 3 heads"))
    assert b64decode(picture).startswith(b"\x89PNG")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("source", ["ours", "sdpa", "eager"])
def test_every_layer_of_every_model_is_drawn(
    model: BertModel, tokenizer: WordPieceTokenizer, view: Callable[..., View], source: str
) -> None:
    read = model if source == "ours" else theirs(model, source)
    maps = read_attention(read, tokenizer, "the cat sat", "the cat")
    expected = [maps.probs, maps.queries, maps.keys][: 3 if view is neuron_view else 1]
    for found, array in zip(drawn(view(maps)), expected, strict=True):
        assert found.shape == (2, 3, 8, 8)
        assert np.abs(found - array).max() <= np.abs(array).max() / 127


def test_attentions_that_sdpa_leaves_out_are_reported(model: BertModel) -> None:
    output = theirs(model, "sdpa")(torch.tensor([[2, 5, 3]]), output_attentions=True)
    with pytest.raises(ValueError, match=r'attentions are empty: .*attn_implementation="eager"'):
        attention_maps(output.attentions, ["[CLS]", "the", "[SEP]"])


def test_raw_attentions_have_no_neuron_view() -> None:
    maps = attention_maps(random_maps().probs, list("abcde"))
    for view in (head_view, model_view):
        assert drawn(view(maps))[0].shape == (2, 3, 5, 5)
    with pytest.raises(ValueError, match=r"no queries and keys, only probabilities; make them with read_att"):
        neuron_view(maps)


def test_what_is_chosen_is_shown_first() -> None:
    maps = random_maps()
    assert payload(head_view(maps, 1, [2]))["options"]["layer"] == 1
    assert payload(head_view(maps, 1, [2]))["options"]["heads"] == [2]
    neuron = payload(neuron_view(maps, 1, 2, dark=True))["options"]
    assert (neuron["layer"], neuron["head"], neuron["display_mode"]) == (1, 2, "dark")


def test_two_texts_can_be_distinguished() -> None:
    assert payload(head_view(random_maps()))["parts"] == {"all": [[0, 5], [0, 5]]}
    parts = payload(head_view(random_maps(second=3)))["parts"]
    assert parts["ab"] == [[0, 3], [3, 5]] and parts["bb"] == [[3, 5], [3, 5]]
    for view in VIEWS:
        assert 'id="filter"' in page(view(random_maps(second=3)))
        assert 'id="filter"' not in page(view(random_maps()))


def test_a_view_is_as_high_as_its_tokens_and_layers_need() -> None:
    low, high = random_maps(2, 12, 5), random_maps(12, 12, 20)
    assert model_view(high).height >= 38 + 12 * (20 * 7 + 10) + 8  # bertviz: 7 pixels a token at 12 heads
    assert head_view(high).height >= 36 + 30 + 20 * 22.5
    assert neuron_view(high).height >= 36 + 100 + 20 * 26
    assert model_view(low).height < 250
    assert model_view(random_maps(24, 2, 30)).height == 2400, "and scrolls"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: head_view(random_maps(), 2), "layer=2 does not exist; expected 0 to 1"),
        (lambda: head_view(random_maps(), 0, []), "heads is empty; give at least one head"),
        (lambda: head_view(random_maps(), 0, [0, -1]), "head -1 does not exist; expected 0 to 2"),
        (lambda: neuron_view(random_maps(), 0, 3), "head 3 does not exist; expected 0 to 2"),
        (
            lambda: model_view(random_maps(12, 12, 60)),
            r"12 layers × 12 heads × 60 × 60 tokens are 518,400 lines; .* plot_heads\(maps.probs\)",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: Callable[[], View], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_another_bertviz_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bertviz_views, "_text", lambda package, path: "draw()")
    with pytest.raises(RuntimeError, match=r"bertviz \S+ is not supported; install bertviz 1.4.1"):
        head_view(random_maps())


def test_reading_leaves_every_mode_as_it_was(tokenizer: WordPieceTokenizer) -> None:
    config = BertConfig(vocab_size=len(SPECIAL + WORDS), **SIZES)
    model = BertForSequenceClassification(config).train()
    model.bert.eval()
    before = {name: module.training for name, module in model.named_modules()}
    read_attention(model, tokenizer, "the cat")
    assert {name: module.training for name, module in model.named_modules()} == before


def test_what_is_no_text_or_tokenizer_is_named(model: BertModel, tokenizer: WordPieceTokenizer) -> None:
    for wrong in (None, ["the cat"], 5):
        with pytest.raises(ValueError, match=r"text is .*, expected str"):
            read_attention(model, tokenizer, wrong)
    with pytest.raises(ValueError, match="pair is list, expected str"):
        read_attention(model, tokenizer, "the", ["cat"])
    for other in (None, tokenizer.fast()):
        with pytest.raises(
            ValueError, match=r"tokenizer is .*, expected one of bertlearn or of transformers"
        ):
            read_attention(model, other, "the cat")
