"""The encoder walk: its numbers are the model's, texts and tokens can be changed, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from bertlearn import BertConfig, BertForSequenceClassification, BertModel, WordPieceTokenizer
from bertlearn.course.widgets import EncoderWalk
from bertlearn.course.widgets.stream import read_stream, step_names

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "cat", "sat", "on", "light", "</script>", "<", ">", "/", "script", "$", "x", "!", "-"]
SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 32}
TEXT, OTHER = "the cat sat on the light", "light cat sat"


@pytest.fixture
def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer([*SPECIAL, *WORDS])


def config() -> BertConfig:
    return BertConfig(vocab_size=len(SPECIAL + WORDS), hidden_dropout_prob=0.5, **SIZES)


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Move every parameter far from its start, so that biases and scales matter and words differ."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture
def model() -> BertModel:
    return shaken(BertModel(config()))  # type: ignore[return-value]


@pytest.fixture
def walk(model: BertModel, tokenizer: WordPieceTokenizer) -> EncoderWalk:
    return EncoderWalk(model, tokenizer, TEXT, OTHER, word="light", step=6)


def ids_of(tokenizer: WordPieceTokenizer, text: str) -> torch.Tensor:
    return torch.tensor([tokenizer.encode(text).input_ids])


def sent(walk: EncoderWalk, name: str, n: int = 0) -> np.ndarray:
    """Return an array of a text's panel, cosines as numbers of −1 to 1."""
    found, tokens = walk.walks[n], len(walk.walks[n]["tokens"])
    kinds = {"length": "<f4", "update": "<f4", "near": "<u2"}
    values = np.frombuffer(found[name], kinds.get(name, "<i2")).reshape(len(walk.steps), tokens, -1)
    return (values if name in kinds else values / 32767).squeeze(-1 if values.shape[-1] == 1 else ())


# 1. The stream


def test_the_stream_contains_the_models_hidden_states(
    model: BertModel, tokenizer: WordPieceTokenizer
) -> None:
    model.train()
    stream = read_stream(model, tokenizer, TEXT)
    assert model.training, "the model's mode is restored"
    assert stream.tokens == ["[CLS]", *TEXT.split(), "[SEP]"]
    model.eval()
    with torch.no_grad():
        hidden = model(ids_of(tokenizer, TEXT), output_hidden_states=True).hidden_states
    for layer, expected in enumerate(hidden):
        torch.testing.assert_close(stream.states[3 + 4 * layer], expected[0])
    assert len(stream.states) == len(stream.updates) == len(step_names(2)) == 12


@torch.no_grad()
def test_every_step_is_what_its_name_says(model: BertModel, tokenizer: WordPieceTokenizer) -> None:
    states, updates = read_stream(model, tokenizer, TEXT)[1:]
    model.eval()
    embeddings, ids = model.embeddings, ids_of(tokenizer, TEXT)[0]
    torch.testing.assert_close(states[0], embeddings.word_embeddings.weight[ids])
    torch.testing.assert_close(updates[1], embeddings.position_embeddings.weight[: len(ids)])
    segment = embeddings.token_type_embeddings.weight[0]
    torch.testing.assert_close(updates[2], segment.expand(len(ids), -1).clone())
    for number, layer in enumerate(model.encoder.layer):
        t = 4 + 4 * number
        attention = layer.attention.output.dense(layer.attention.self(states[t - 1][None]).context)[0]
        torch.testing.assert_close(updates[t], attention)
        torch.testing.assert_close(states[t + 1], layer.attention.output.LayerNorm(states[t]))
        torch.testing.assert_close(updates[t + 2], layer.output.dense(layer.intermediate(states[t + 1])))
        torch.testing.assert_close(states[t + 3], layer.output.LayerNorm(states[t + 2]))
    for t, name in enumerate(step_names(2)):
        if "+" in name:
            torch.testing.assert_close(states[t], states[t - 1] + updates[t])
        else:
            assert updates[t].abs().max() == 0


def test_a_head_changes_nothing(tokenizer: WordPieceTokenizer) -> None:
    classifier = shaken(BertForSequenceClassification(config()))
    with_head, alone = (read_stream(net, tokenizer, TEXT) for net in (classifier, classifier.bert))
    assert torch.equal(with_head.states, alone.states)


def test_steps_count_layers_from_0() -> None:
    names = step_names(2)
    assert names[:5] == [
        *("embeddings: word", "embeddings: + position", "embeddings: + segment", "embeddings: LayerNorm"),
        "layer 0: + attention",
    ]
    assert names[-2:] == ["layer 1: + feed-forward", "layer 1: LayerNorm"]


# 2. What the page gets


def test_lengths_and_cosines_are_those_of_the_stream(walk: EncoderWalk) -> None:
    for n, (_, states, updates) in enumerate(walk.streams):
        np.testing.assert_allclose(sent(walk, "length", n), states.norm(dim=-1), rtol=1e-6)
        np.testing.assert_allclose(sent(walk, "update", n), updates.norm(dim=-1), rtol=1e-6)
        start, before = torch.stack([states[0]] * len(states)), torch.cat([states[:1], states[:-1]])
        for name, pair in {
            "start": (states, start),
            "before": (states, before),
            "along": (updates, before),
        }.items():
            expected = cosine_similarity(*pair, dim=-1)
            np.testing.assert_allclose(sent(walk, name, n), expected, atol=2e-5)


def test_nearest_words_are_the_rows_of_the_table_with_the_largest_cosine(
    walk: EncoderWalk, model: BertModel, tokenizer: WordPieceTokenizer
) -> None:
    table = normalize(model.embeddings.word_embeddings.weight.detach(), dim=1)
    near, nearness, words = sent(walk, "near", 1), sent(walk, "nearness", 1), walk.walks[1]["words"]
    for t in range(12):
        cosines = normalize(walk.streams[1].states[t, 2], dim=0) @ table.T
        best = cosines.argsort(descending=True)[:6]
        assert [words[index] for index in near[t, 2]] == tokenizer.convert_ids_to_tokens(best)
        np.testing.assert_allclose(nearness[t, 2], cosines[best], atol=2e-5)
    assert words[near[0, 2, 0]] == "cat", "a word is nearest to itself before the first step"


def test_the_two_texts_are_compared_token_by_token(walk: EncoderWalk) -> None:
    one, other = walk.streams
    cosines = np.frombuffer(walk.between, "<i2").reshape(12, len(one.tokens), len(other.tokens)) / 32767
    expected = cosine_similarity(one.states[7, 6], other.states[7], dim=-1)
    np.testing.assert_allclose(cosines[7, 6], expected, atol=2e-5)
    assert (walk.token, walk.other_token) == (6, 1)
    assert cosines[0, 6, 1] > 0.9999, "the same word starts as the same vector"


def test_chance_is_the_mean_cosine_of_a_random_direction_to_its_nearest_word(
    model: BertModel, tokenizer: WordPieceTokenizer
) -> None:
    rng = np.random.default_rng(1)
    directions, table = rng.normal(size=(4000, 24)), model.embeddings.word_embeddings.weight.detach().numpy()
    cosines = (
        directions @ table.T / np.linalg.norm(directions, axis=1)[:, None] / np.linalg.norm(table, axis=1)
    )
    assert abs(EncoderWalk(model, tokenizer, TEXT).chance - cosines.max(axis=1).mean()) < 0.02


# 3. What can be set


def test_token_and_step_can_be_set_within_their_ranges(walk: EncoderWalk) -> None:
    walk.token, walk.other_token, walk.step = 0, 4, 11
    for name, value, last in (("token", 8, 7), ("other_token", 5, 4), ("step", 12, 11), ("step", -1, 11)):
        before = getattr(walk, name)
        with pytest.raises(ValueError, match=f"{name}={value} does not exist; expected 0 to {last}"):
            setattr(walk, name, value)
        assert getattr(walk, name) == before


def test_a_new_text_is_walked_with_the_same_word(walk: EncoderWalk) -> None:
    walk.text = "a cat on the light !"
    assert walk.walks[0]["tokens"][walk.token] == "light" and walk.other_token == 1
    assert walk.walks[0]["tokens"] == walk.streams[0].tokens
    assert len(walk.between) == 2 * 12 * 8 * 5
    assert repr(walk) == "[widget] Encoder walk: 2 layers; “a cat on the light !” and “light cat sat”"
    walk.text = "cat"
    assert walk.token == 1, "without the word, the first one"
    walk.text = "cat on light"
    assert walk.token == 3, "the word is remembered while a text is being typed"
    walk.token = 1
    walk.text = "the light on cat"
    assert walk.token == 4, "what was chosen last counts"


def test_the_other_text_comes_and_goes(walk: EncoderWalk) -> None:
    walk.other = ""
    assert (len(walk.walks), walk.between, walk.other_token) == (1, b"", 0)
    walk.other = "on the light"
    assert (len(walk.walks), walk.other_token) == (2, 3)


def test_typed_text_is_answered(walk: EncoderWalk) -> None:
    walk.asked = {"other": [1, {"other": "on the light"}]}
    assert walk.other == "on the light" and walk.answered == {"other": [1, ""]}
    walk.asked = {"other": [2, {"other": ""}], "text": [1, {"text": ""}]}
    problem = "the text is empty; give a sentence"
    assert (walk.text, walk.other) == (TEXT, "")
    assert walk.answered == {"other": [2, ""], "text": [1, problem]}
    walk.text = "the light"
    assert walk.answered["text"] == [1, ""], "the bad text is no longer in the field"


def test_a_question_is_answered_once(walk: EncoderWalk) -> None:
    walk.asked = {"text": [1, {"text": "the cat"}]}
    walk.text = "the light"
    walk.asked = {"text": [1, {"text": "the cat"}], "other": [1, {"other": "cat"}]}
    assert (walk.text, walk.other) == ("the light", "cat")


@pytest.mark.parametrize(
    "text", [" ", "\n", "😀 😀", "שלום עולם", "مرحبا", "<b>x</b>", "[PAD] [MASK]", "$x$"]
)
def test_every_text_gives_a_view(model: BertModel, tokenizer: WordPieceTokenizer, text: str) -> None:
    walk = EncoderWalk(model, tokenizer, text)
    assert walk.picture().png() and len(walk.walks[0]["tokens"]) >= 2


def test_what_cannot_be_walked_is_refused(model: BertModel, tokenizer: WordPieceTokenizer) -> None:
    with pytest.raises(ValueError, match="the text has 602 tokens; shorten it to at most 64"):
        EncoderWalk(model, tokenizer, "cat " * 600)
    with pytest.raises(ValueError, match="the text has 65 tokens"):
        EncoderWalk(model, tokenizer, TEXT, other="cat " * 63)
    with pytest.raises(
        ValueError, match=r"word='dog' is not a token of the text; expected one of \[CLS\] the cat"
    ):
        EncoderWalk(model, tokenizer, TEXT, word="dog")
    with pytest.raises(ValueError, match="step=12 does not exist; expected 0 to 11"):
        EncoderWalk(model, tokenizer, TEXT, step=12)
    larger = WordPieceTokenizer([*SPECIAL, *WORDS, "dog"])
    with pytest.raises(ValueError, match="the tokenizer has 20 tokens, but the model has embeddings for 19"):
        EncoderWalk(model, larger, TEXT)
    with pytest.raises(ValueError, match="model is Linear, expected bertlearn's BertModel"):
        EncoderWalk(torch.nn.Linear(2, 2), tokenizer, TEXT)
    model.encoder.layer[1].output.dense.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"not finite from “layer 1: \+ feed-forward” on"):
        EncoderWalk(model, tokenizer, TEXT)


# 4. How it is shown


def test_the_picture_has_the_walks_of_both_tokens_in_the_charts_that_are_open_at_first(
    walk: EncoderWalk,
) -> None:
    picture = walk.picture()
    titles = [axes.get_title(loc="left") for axes in picture.figure.axes]
    assert titles == ["cosine to start", "cosine of both"]  # the others answer what the course asks
    start, both = ([line.get_xdata() for line in axes.lines] for axes in picture.figure.axes)
    for n, position in enumerate((6, 1)):
        np.testing.assert_allclose(start[n], sent(walk, "start", n)[:, position], atol=2e-5)
    assert both[0][0] > 0.9999
    ends = " and ".join(f"{each[0]:.2f} to {each[-1]:.2f}" for each in start)
    first = f"Walk of “light” (6) and “light” (1) through 12 steps: cosine to start {ends};"
    assert picture.alt == f"{first} cosine of both 1.00 to {both[0][-1]:.2f}."


def test_the_page_is_the_same_at_each_run_and_has_no_markup_from_a_token(
    model: BertModel, tokenizer: WordPieceTokenizer
) -> None:
    hostile, plain = (EncoderWalk(model, tokenizer, text) for text in ("</script> <script>", "the cat"))
    assert hostile.to_html() == EncoderWalk(model, tokenizer, "</script> <script>").to_html()
    for tag in ("<script", "</script"):
        assert hostile.to_html().count(tag) == plain.to_html().count(tag)
