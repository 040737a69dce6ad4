"""A trained model in use: predict, sentence_vectors, fill_mask."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from conftest import CONFIG, largest, perturb
from task_models import WORDS, twins, varied
from torch import nn

from bertlearn.model import inference
from bertlearn.model.bert import BertModel, mean_pooling
from bertlearn.model.heads import (
    BertForMaskedLM,
    BertForSequenceClassification,
)
from bertlearn.model.inference import evaluation_mode, fill_mask, outputs, predict, sentence_vectors
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


@pytest.fixture(scope="module")
def tokenizer() -> WordPieceTokenizer:
    pieces = [*WORDS, *(f"##{word}" for word in WORDS[:46])]
    return WordPieceTokenizer([*SPECIAL_TOKENS, *pieces])


@pytest.fixture(params=["cls", "mean"])
def classifier(request: pytest.FixtureRequest) -> BertForSequenceClassification:
    return varied(request.param)


def some_texts(count: int, seed: int = 0, longest: int = 40) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=chance.randint(1, longest))) for _ in range(count)]


def one_by_one(model: nn.Module, tokenizer: WordPieceTokenizer, texts: list, limit: int = 32) -> torch.Tensor:
    """What `predict` must give: each text alone, no padding."""
    rows = []
    for text in texts:
        first, second = (text, None) if isinstance(text, str) else text
        encoding = tokenizer.encode(first, second, max_length=limit)
        with torch.no_grad():
            logits = model(
                torch.tensor([encoding.input_ids]), token_type_ids=torch.tensor([encoding.token_type_ids])
            ).logits
        rows.append(logits.softmax(-1)[0])
    return torch.stack(rows)


@pytest.mark.parametrize("pairs", [False, True])
def test_predict_does_not_depend_on_order_batches_and_padding(
    classifier: BertForSequenceClassification, tokenizer: WordPieceTokenizer, pairs: bool
) -> None:
    texts: list = some_texts(150)
    if pairs:
        texts = list(zip(texts, some_texts(150, seed=1, longest=20), strict=True))
    expected = one_by_one(classifier, tokenizer, texts)
    assert expected.std(0).min() > 0.01  # the texts differ, so that a wrong order would show
    shuffled = random.Random(3).sample(range(150), 150)
    for size in (1, 7, 64, 1000):
        found = predict(classifier, tokenizer, texts, batch_size=size)
        assert (found.dtype, found.device.type) == (torch.float32, "cpu")
        assert largest(found, expected) < 1e-5
        other = predict(classifier, tokenizer, [texts[i] for i in shuffled], batch_size=size)
        assert largest(other, expected[shuffled]) < 1e-5
    assert largest(expected.sum(1), torch.ones(150)) < 1e-5


def test_predict_cuts_at_max_length(
    classifier: BertForSequenceClassification, tokenizer: WordPieceTokenizer
) -> None:
    texts = some_texts(20)
    found = predict(classifier, tokenizer, texts, max_length=9)
    assert largest(found, one_by_one(classifier, tokenizer, texts, limit=9)) < 1e-5
    assert largest(found, predict(classifier, tokenizer, texts)) > 1e-3


def test_predict_puts_texts_of_a_length_together(
    classifier: BertForSequenceClassification, tokenizer: WordPieceTokenizer
) -> None:
    seen: list[torch.Tensor] = []
    handle = classifier.register_forward_pre_hook(
        lambda module, given, named: seen.append(named["attention_mask"]), with_kwargs=True
    )
    predict(classifier, tokenizer, some_texts(150), batch_size=10)
    handle.remove()
    assert [len(mask) for mask in seen] == [10] * 15
    assert [mask.shape[1] for mask in seen] == sorted((mask.shape[1] for mask in seen), reverse=True)
    padded = 1 - sum(mask.sum() for mask in seen) / sum(mask.numel() for mask in seen)
    assert padded < 0.07  # about 0.4 in the order given


def test_predict_on_nothing(classifier: BertForSequenceClassification, tokenizer: WordPieceTokenizer) -> None:
    assert predict(classifier, tokenizer, []).shape == (0, 3)


def test_predict_leaves_every_mode_as_it_was(
    classifier: BertForSequenceClassification, tokenizer: WordPieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier.train()
    classifier.bert.embeddings.eval()  # as one does who keeps a part from learning
    before = [module.training for module in classifier.modules()]
    one, other = (predict(classifier, tokenizer, some_texts(9)) for _ in range(2))
    assert torch.equal(one, other)
    assert [module.training for module in classifier.modules()] == before
    monkeypatch.setattr(classifier, "forward", lambda **given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        predict(classifier, tokenizer, some_texts(9))
    assert [module.training for module in classifier.modules()] == before


def test_predict_keeps_no_graph_and_gives_float32_of_a_half_precise_model(
    tokenizer: WordPieceTokenizer,
) -> None:
    model, _ = twins("sequence")
    exact = predict(model, tokenizer, some_texts(9))
    rough = predict(model.to(torch.bfloat16), tokenizer, some_texts(9))
    assert rough.dtype == torch.float32
    assert largest(rough.sum(1), torch.ones(9)) < 1e-5
    assert largest(rough, exact) < 0.1
    assert not exact.requires_grad


def test_vectors_of_sentences_are_means_in_the_order_of_the_texts(tokenizer: WordPieceTokenizer) -> None:
    encoder, texts = varied("mean").bert, some_texts(40)
    found = sentence_vectors(encoder, tokenizer, texts, batch_size=7, max_length=32)
    for text, vector in zip(texts, found, strict=True):
        batch = tokenizer.encode_batch([text], max_length=32)
        with torch.no_grad():
            alone = mean_pooling(encoder(**batch._asdict()).last_hidden_state, batch.attention_mask)
        torch.testing.assert_close(vector, alone[0], atol=1e-5, rtol=1e-4)
    assert found.dtype == torch.float32 and not found.requires_grad
    assert sentence_vectors(encoder, tokenizer, []).shape == (0, encoder.config.hidden_size)


def test_a_bar_shows_only_for_long_work(
    classifier: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    predict(classifier, tokenizer, some_texts(9), batch_size=1)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(inference, "PATIENCE", 0)
    predict(classifier, tokenizer, some_texts(9), batch_size=1)
    assert "predict" in capsys.readouterr().err


BAD_TEXTS = {
    "one text": ("ba be", "texts is str, expected a list"),
    "one pair": (("ba", 7), r"texts\[1\] is int, expected str"),
    "an empty one": (["ba"] * 100 + [""], r"texts\[100\] is empty"),
    "an empty second one": ([("ba", "be"), ("ba", "")], r"pairs\[1\] is empty"),
    "a pair among texts": (["ba", ("ba", "be")], r"texts\[1\] is tuple, expected str"),
    "a text among pairs": ([("ba", "be"), "bi"], r"texts\[1\] is 'bi', expected a pair \(A, B\)"),
    "a triple": ([("ba", "be", "bi")], r"texts\[0\] is .*, expected a pair \(A, B\)"),
    "bytes": ([b"ba"], r'texts\[0\] is bytes, expected str; use .decode\("utf-8"\)'),
    "None first": ([None, "ba"], r"texts\[0\] is NoneType, expected str$"),
    "NaN first": ([float("nan"), "ba"], r"texts\[0\] is float, expected str$"),
    "a number": (7, "texts is int, expected a list; put a single text into a list"),
    "an array": (np.array(["ba", "be"]), r"texts is ndarray, expected a list; use list\(texts\)"),
    "a generator": ((text for text in ["ba"]), r"texts is generator, expected a list; use list\(texts\)"),
    "an array of pairs": (np.array([["ba", "be"]]), r"texts is ndarray, expected a list"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_bad_texts_are_named(
    classifier: BertForSequenceClassification, tokenizer: WordPieceTokenizer, name: str
) -> None:
    texts, message = BAD_TEXTS[name]
    with pytest.raises(ValueError, match=message):
        predict(classifier, tokenizer, texts, batch_size=3)


def test_the_message_names_the_first_text_that_differs_from_the_first_pair(
    classifier: BertForSequenceClassification, tokenizer: WordPieceTokenizer
) -> None:
    with pytest.raises(ValueError, match=r"texts\[0\] is \('ba',\), expected a pair \(A, B\)$"):
        predict(classifier, tokenizer, [("ba",)])
    with pytest.raises(ValueError, match=r"texts\[1\] is .*, expected a pair \(A, B\) like texts\[0\]"):
        predict(classifier, tokenizer, [("ba", "be"), ("ba",)])


READERS = {
    "predict": lambda tokenizer, size: predict(varied("cls"), tokenizer, ["ba be", "bi"], size),
    "sentence_vectors": lambda tokenizer, size: sentence_vectors(
        varied("cls").bert, tokenizer, ["ba be", "bi"], size
    ),
    "outputs": lambda tokenizer, size: list(
        outputs(varied("cls"), tokenizer, [tokenizer.encode("ba")], size, lambda output: output.logits)
    ),
}


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "batch_size=0 must be a whole number of at least 1"),
        (-1, "batch_size=-1 must be a whole number"),
        (2.0, "batch_size=2.0 must be a whole number"),
        ("2", "batch_size='2' must be a whole"),
        (None, "batch_size=None must be a whole"),
        (True, "batch_size=True must be a whole"),
    ],
)
@pytest.mark.parametrize("name", READERS)
def test_a_bad_batch_size_is_named(
    tokenizer: WordPieceTokenizer, name: str, size: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        READERS[name](tokenizer, size)


@pytest.mark.parametrize("name", ["predict", "sentence_vectors"])
def test_a_bad_batch_size_is_named_before_a_text_is_read(
    tokenizer: WordPieceTokenizer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WordPieceTokenizer, "encode", lambda *given: pytest.fail("a text was read"))
    with pytest.raises(ValueError, match="batch_size=-1"):
        READERS[name](tokenizer, -1)


def test_whole_numbers_of_other_libraries_are_counts(
    classifier: BertForSequenceClassification, tokenizer: WordPieceTokenizer
) -> None:
    texts = some_texts(9)
    expected = predict(classifier, tokenizer, texts, 4, max_length=9)
    for whole in (np.int64, np.uint8, torch.tensor):
        assert torch.equal(predict(classifier, tokenizer, texts, whole(4), max_length=whole(9)), expected)


@pytest.mark.parametrize("length", [2.0, "8", True])
def test_a_length_of_another_type_is_named(
    classifier: BertForSequenceClassification, tokenizer: WordPieceTokenizer, length: object
) -> None:
    with pytest.raises(ValueError, match=f"max_length={length!r} must be a whole number of at least 2"):
        predict(classifier, tokenizer, ["ba be"], max_length=length)


# Models that are refused

THEIRS = transformers.BertConfig(**CONFIG.to_dict())
OTHER_MODELS: dict[str, Callable[[], object]] = {  # whose names are in the message
    "bertlearn.BertModel": lambda: BertModel(CONFIG),
    "bertlearn.BertForMaskedLM": lambda: BertForMaskedLM(CONFIG),
    "bertlearn.BertForSequenceClassification": lambda: varied("cls"),
    "bertlearn.BertForTokenClassification": lambda: twins("token")[0],
    "bertlearn.BertForQuestionAnswering": lambda: twins("question")[0],
    "transformers.BertForMaskedLM": lambda: transformers.BertForMaskedLM(THEIRS),
    "transformers.BertForSequenceClassification": lambda: twins("sequence")[1],
    "bertlearn.WordPieceTokenizer": lambda: WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS]),
    "str": lambda: "a folder",
    "type": lambda: BertModel,
}
FITTING = {
    "predict": {"bertlearn.BertForSequenceClassification"},
    "sentence_vectors": {"bertlearn.BertModel"},
    "fill_mask": {"bertlearn.BertForMaskedLM"},
}
ON_MODELS: dict[str, Callable[..., object]] = {
    "predict": lambda model, tokenizer: predict(model, tokenizer, ["ba be"]),
    "sentence_vectors": lambda model, tokenizer: sentence_vectors(model, tokenizer, ["ba be"]),
    "fill_mask": lambda model, tokenizer: fill_mask(model, tokenizer, "ba [MASK]", 2),
}


@pytest.mark.parametrize("kind", OTHER_MODELS)
@pytest.mark.parametrize("name", ON_MODELS)
def test_a_model_of_another_kind_is_named_before_a_text_is_read(
    name: str, kind: str, tokenizer: WordPieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = OTHER_MODELS[kind]()
    if kind in FITTING[name]:
        assert len(ON_MODELS[name](model, tokenizer)) == 1
        return
    monkeypatch.setattr(WordPieceTokenizer, "encode", lambda *given: pytest.fail("a text was read"))
    with pytest.raises(ValueError, match=f"model is {kind}, expected {min(FITTING[name])}"):
        ON_MODELS[name](model, tokenizer)


def test_the_remedy_depends_on_the_model(tokenizer: WordPieceTokenizer) -> None:
    model = varied("cls")
    with pytest.raises(ValueError, match=r"expected bertlearn\.BertModel; use its \.bert"):
        sentence_vectors(model, tokenizer, ["ba"])
    with pytest.raises(
        ValueError, match=r"put a head on it with BertForSequenceClassification\.from_encoder"
    ):
        predict(model.bert, tokenizer, ["ba"])
    with pytest.raises(ValueError, match=r"BertForPreTraining; load one with BertForMaskedLM\.from_pret"):
        fill_mask(model, tokenizer, "[MASK]")


def test_subclasses_and_compiled_models_are_of_the_kind_too(tokenizer: WordPieceTokenizer) -> None:
    class Mine(BertForSequenceClassification):
        pass

    model = varied("cls")
    mine = Mine(model.config).eval()
    mine.load_state_dict(model.state_dict())
    compiled = torch.compile(model, backend="eager")
    for other in (mine, compiled):
        assert largest(predict(other, tokenizer, ["ba be"]), predict(model, tokenizer, ["ba be"])) < 1e-6


def fitting_model(name: str) -> nn.Module:
    (kind,) = FITTING[name]
    return OTHER_MODELS[kind]()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ON_MODELS)
def test_weights_that_are_not_numbers_are_refused(
    name: str, value: float, tokenizer: WordPieceTokenizer
) -> None:
    model = fitting_model(name)
    dict(model.named_parameters())[
        "encoder.layer.1.output.dense.weight"
        if name == "sentence_vectors"
        else "bert.encoder.layer.1.output.dense.weight"
    ].data[3, 4] = value
    with pytest.raises(ValueError, match=r"the model returns \d+ NaN or infinite .* training diverged"):
        ON_MODELS[name](model, tokenizer)


def test_a_token_excluded_by_its_bias_has_the_probability_0(
    guesser: tuple[BertForMaskedLM, WordPieceTokenizer],
) -> None:
    model, tokenizer = guesser
    best = fill_mask(model, tokenizer, "w1 [MASK]", 2)[0]
    model.cls.predictions.bias.data[tokenizer.vocab[best[0].token]] = -torch.inf
    (found,) = fill_mask(model, tokenizer, "w1 [MASK]", 101)
    assert found[0].token == best[1].token
    assert (found[-1].token, found[-1].probability) == (best[0].token, 0.0)


def test_numbers_too_large_for_float32_are_refused(tokenizer: WordPieceTokenizer) -> None:
    model = varied("cls").double()
    model.classifier.bias.data[0] = 1e300
    with pytest.raises(ValueError, match="the model returns 3 NaN or infinite numbers among 3"):
        predict(model, tokenizer, ["ba"])


@pytest.mark.parametrize("name", ON_MODELS)
def test_a_model_without_weights_or_with_mixed_ones_is_refused(
    name: str, tokenizer: WordPieceTokenizer
) -> None:
    with pytest.raises(ValueError, match="on the meta device, so it has no weights; load it with from_pret"):
        ON_MODELS[name](fitting_model(name).to("meta"), tokenizer)
    mixed = fitting_model(name)
    next(module for module in mixed.modules() if isinstance(module, nn.Linear)).half()
    with pytest.raises(
        ValueError,
        match=r"weights are torch.float16 on cpu and torch.float32 on cpu, expected one type .*model\.float",
    ):
        ON_MODELS[name](mixed, tokenizer)
    assert len(ON_MODELS[name](mixed.float(), tokenizer)) == 1


def test_a_foreign_tokenizer_is_named() -> None:
    foreign = WordPieceTokenizer([*SPECIAL_TOKENS, *(f"w{i}" for i in range(200)), *WORDS])
    with pytest.raises(ValueError, match="use the tokenizer that belongs to this model"):
        predict(twins("sequence")[0], foreign, ["ba be"])


LARGE = WordPieceTokenizer([*SPECIAL_TOKENS, *WORDS, *(f"w{i}" for i in range(47))])  # one token too many
CALLS: dict[str, Callable[..., object]] = {
    "predict": lambda tokenizer: predict(varied("cls"), tokenizer, ["ba be"]),
    "sentence_vectors": lambda tokenizer: sentence_vectors(varied("cls").bert, tokenizer, ["ba be"]),
    "fill_mask": lambda tokenizer: fill_mask(BertForMaskedLM(CONFIG), tokenizer, "ba [MASK]"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_tokenizer_with_a_token_too_many_is_refused_before_a_text_is_read(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WordPieceTokenizer, "encode", lambda *given: pytest.fail("a text was read"))
    with pytest.raises(
        ValueError,
        match="the tokenizer has 102 tokens, but the model has embeddings for 101; use the tokenizer that "
        "belongs to this model",
    ):
        CALLS[name](LARGE)


@pytest.mark.parametrize("name", CALLS)
def test_a_tokenizer_of_another_library_is_named(name: str, tokenizer: WordPieceTokenizer) -> None:
    with pytest.raises(ValueError, match="tokenizer is Tokenizer, expected bertlearn's WordPieceTokenizer"):
        CALLS[name](tokenizer.fast())


def test_texts_that_the_model_has_no_positions_for_are_refused_before_it_runs(
    classifier: BertForSequenceClassification,
    tokenizer: WordPieceTokenizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert predict(classifier, tokenizer, ["ba be"], max_length=99).shape == (1, 3)  # short enough
    monkeypatch.setattr(classifier, "forward", lambda **given: pytest.fail("the model was run"))
    with pytest.raises(
        ValueError, match=r"a text has 42 tokens, but .* positions for 32; truncate with max_len"
    ):
        predict(classifier, tokenizer, ["ba " * 40], max_length=99)


def test_pairs_for_a_model_without_a_second_segment_are_refused_before_it_runs(
    tokenizer: WordPieceTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = twins("sequence", type_vocab_size=1)
    assert predict(model, tokenizer, ["ba be"]).shape == (1, 3)
    monkeypatch.setattr(model, "forward", lambda **given: pytest.fail("the model was run"))
    with pytest.raises(ValueError, match="a text is a pair, but the model has type_vocab_size=1"):
        predict(model, tokenizer, [("ba", "be")])


def test_transformers_pipeline_gives_our_scores(tokenizer: WordPieceTokenizer, tmp_path: Path) -> None:
    model = varied("cls")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    classify = transformers.pipeline("text-classification", model=str(tmp_path))
    texts = some_texts(40, longest=25)
    pairs = list(zip(some_texts(40, 1, 12), some_texts(40, 2, 12), strict=True))
    theirs = [
        *classify(texts, top_k=None),
        *classify([{"text": first, "text_pair": second} for first, second in pairs], top_k=None),
    ]
    again = BertForSequenceClassification.from_pretrained(tmp_path)
    for ours in (model, again):
        probs = torch.cat([predict(ours, tokenizer, texts), predict(ours, tokenizer, pairs)])
        for row, answer in zip(probs, theirs, strict=True):
            found = {ours.config.id2label[i]: p for i, p in enumerate(row.tolist())}
            assert found == pytest.approx({a["label"]: a["score"] for a in answer}, abs=1e-5)
    assert len({answer[0]["label"] for answer in theirs}) > 1  # the best label is not always the same


# fill_mask.


@pytest.fixture
def guesser() -> tuple[BertForMaskedLM, WordPieceTokenizer]:
    torch.manual_seed(0)
    model = BertForMaskedLM(CONFIG)
    perturb(model, scale=0.3)
    return model, WordPieceTokenizer([*SPECIAL_TOKENS, *(f"w{i}" for i in range(96))])


def test_fill_mask_gives_the_likeliest_first(guesser: tuple[BertForMaskedLM, WordPieceTokenizer]) -> None:
    model, tokenizer = guesser
    first, second = fill_mask(model, tokenizer, "w1 [MASK] w3 [MASK] w5", k=4)
    every, _ = fill_mask(model, tokenizer, "w1 [MASK] w3 [MASK] w5", k=101)
    assert every[:4] == first != second
    assert len(second) == 4
    probabilities = [guess.probability for guess in every]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, rel=1e-5)
    encoded = torch.tensor([tokenizer.encode("w1 [MASK] w3 [MASK] w5").input_ids])
    with torch.no_grad():
        logits = model.eval()(encoded).prediction_logits[0]
    assert [guess.token for guess in first] == [
        tokenizer.ids_to_tokens[i] for i in logits[2].topk(4).indices.tolist()
    ]
    assert [guess.token for guess in second] == [
        tokenizer.ids_to_tokens[i] for i in logits[4].topk(4).indices.tolist()
    ]


@pytest.mark.parametrize("training", [True, False])
def test_fill_mask_leaves_the_mode_and_has_no_dropout(
    guesser: tuple[BertForMaskedLM, WordPieceTokenizer], training: bool
) -> None:
    model, tokenizer = guesser
    model.train(training)
    one, other = (fill_mask(model, tokenizer, "w1 [MASK]") for _ in range(2))
    assert one == other
    assert model.training == training


def test_fill_mask_leaves_every_mode_even_if_the_model_fails(
    guesser: tuple[BertForMaskedLM, WordPieceTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = guesser
    model.train()
    model.bert.embeddings.eval()
    before = [module.training for module in model.modules()]
    fill_mask(model, tokenizer, "w1 [MASK]")
    assert [module.training for module in model.modules()] == before
    monkeypatch.setattr(model, "forward", lambda **given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fill_mask(model, tokenizer, "w1 [MASK]")
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize("text", ["w1 w2", "w1 [mask]", "w1 <mask>"])
def test_fill_mask_without_mask_is_refused(
    guesser: tuple[BertForMaskedLM, WordPieceTokenizer], text: str
) -> None:
    with pytest.raises(ValueError, match=rf"no \[MASK\] to fill in '{re.escape(text)}'; write"):
        fill_mask(*guesser, text)


@pytest.mark.parametrize(("early", "late"), [(0, 1), (1, 1), (2, 3)])
def test_fill_mask_refuses_a_text_that_loses_a_mask_by_truncation(
    guesser: tuple[BertForMaskedLM, WordPieceTokenizer], early: int, late: int
) -> None:
    text = "[MASK] " * early + "w1 " * (30 - early)  # with [CLS] and [SEP], as many as there are positions
    assert len(fill_mask(*guesser, text + "w1 " * 9)) == early if early else True
    message = rf"the text has {early + late} \[MASK\], but only {early} within the 32 tokens .*; shorten it"
    with pytest.raises(ValueError, match=message):
        fill_mask(*guesser, text + "[MASK]" * late)


@pytest.mark.parametrize("text", [["w1 [MASK]"], b"w1 [MASK]", None])
def test_fill_mask_refuses_what_is_no_text(
    guesser: tuple[BertForMaskedLM, WordPieceTokenizer], text: object
) -> None:
    with pytest.raises(ValueError, match=f"text is {type(text).__name__}, expected str"):
        fill_mask(*guesser, text)


@pytest.mark.parametrize("k", [0, 102, -1, "3", None, 2.5, True])
def test_fill_mask_with_an_impossible_k_is_refused(
    guesser: tuple[BertForMaskedLM, WordPieceTokenizer], k: object
) -> None:
    with pytest.raises(ValueError, match=f"k={k!r} must be a whole number from 1 to 101"):
        fill_mask(*guesser, "w1 [MASK]", k)
    assert len(fill_mask(*guesser, "w1 [MASK]", np.int64(3))[0]) == 3


def test_fill_mask_never_offers_an_id_without_a_token(tmp_path: Path) -> None:
    """The vocabularies of some models are padded; transformers' probabilities are over all ids."""
    torch.manual_seed(0)
    model, small = (
        BertForMaskedLM(CONFIG),
        WordPieceTokenizer([*SPECIAL_TOKENS, *(f"w{i}" for i in range(15))]),
    )
    perturb(model, scale=0.3)
    model.save_pretrained(tmp_path)
    small.save_pretrained(tmp_path)
    theirs = transformers.pipeline("fill-mask", model=str(tmp_path))("w1 [MASK] w2", top_k=101)
    expected = {
        small.ids_to_tokens[guess["token"]]: guess["score"] for guess in theirs if guess["token"] < 20
    }
    assert {guess["token"] for guess in theirs[:20]} != set(range(20))  # ids without a token rank higher
    (found,) = fill_mask(model, small, "w1 [MASK] w2", k=20)
    assert dict(found) == pytest.approx(expected, rel=1e-4)
    assert [guess.token for guess in found] == list(expected)
    with pytest.raises(ValueError, match="k=21 must be a whole number from 1 to 20"):
        fill_mask(model, small, "w1 [MASK] w2", k=21)


# The mode of a model that several threads use.


def modes(model: nn.Module) -> set[bool]:
    return {module.training for module in model.modules()}


def test_the_last_thread_to_leave_restores_the_mode() -> None:
    model = varied("cls").train()
    one, other = evaluation_mode(model), evaluation_mode(model)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert modes(model) == {False}  # or the other would have dropout
    other.__exit__(None, None, None)
    assert modes(model) == {True}


def test_threads_that_share_parts_of_a_model_agree() -> None:
    model = varied("cls").train()
    one, other = evaluation_mode(model), evaluation_mode(model.bert)
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert modes(model.bert) == {False} and model.training
    other.__exit__(None, None, None)
    assert modes(model) == {True}


def test_blocks_nest_and_one_that_was_left_hanging_changes_nothing() -> None:
    model = varied("cls").train()
    with evaluation_mode(model):
        with evaluation_mode(model):
            pass
        assert modes(model) == {False}
    assert modes(model) == {True}
    hanging = evaluation_mode(model)
    hanging.__enter__()
    model.train()
    with evaluation_mode(model):
        assert modes(model) == {False}
    assert modes(model) == {True}
    model.eval()
    hanging.__exit__(None, None, None)
    assert modes(model) == {False}
