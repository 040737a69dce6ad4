"""Fine-tuning runs: order of the examples, multipliers, freezing, the best evaluation, all three tasks."""

from __future__ import annotations

import itertools
import math
import random
import re
import shutil
import signal
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from conftest import CONFIG, largest, perturb
from torch.nn.functional import cross_entropy

from bertlearn.finetuning import run as run_module
from bertlearn.finetuning.features import (
    Features,
    answer_features,
    endless_rows,
    epoch_order,
    text_features,
    token_features,
)
from bertlearn.finetuning.options import FinetuneOptions
from bertlearn.finetuning.run import (
    Finetuned,
    finetune,
    finetune_seeds,
    finetuning_scores,
    finetuning_task,
    frozen,
    layer_multipliers,
    predict_logits,
)
from bertlearn.finetuning.spans import Span, bio_labels
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import (
    IGNORE,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)
from bertlearn.model.inference import buckets, predict
from bertlearn.tokenizer.vocab_files import SPECIAL_TOKENS
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.checkpoint import Checkpoint
from bertlearn.training.loop import train
from bertlearn.training.metrics import Progress
from bertlearn.training.optim import make_optimizer

TASKS = ("sequence", "pair", "token", "question")
WORDS = [a + b for a in "bcdfghjklm" for b in "aeiou"] + ["zora", "##b", "##c"]
VOCAB = [*SPECIAL_TOKENS, *WORDS, *(f"[unused{i}]" for i in range(101 - 5 - len(WORDS)))]
TOKENIZER = WordPieceTokenizer(VOCAB)
TAGS = bio_labels(["NAME"])
OPTIONS = FinetuneOptions(epochs=2, batch_size=8, learning_rate=1e-3, precision="fp32")


def a_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new_model(task: str, seed: int = 0, dropout: float | None = 0.0) -> torch.nn.Module:
    torch.manual_seed(0)
    encoder = BertModel(CONFIG)
    perturb(encoder)
    if task == "question":
        return BertForQuestionAnswering.from_encoder(encoder, a_generator(seed), dropout)
    if task == "token":
        return BertForTokenClassification.from_encoder(encoder, TAGS, a_generator(seed), dropout)
    return BertForSequenceClassification.from_encoder(
        encoder, ["no", "yes"], a_generator(seed), dropout=dropout
    )


def sentences(count: int, seed: int = 0) -> list[list[str]]:
    """Return texts whose words are single tokens; one word, at a random index, is "zora"."""
    rng = random.Random(seed)
    texts = [rng.choices(WORDS[:50], k=rng.randrange(2, 12)) for _ in range(count)]
    for words in texts:
        words[rng.randrange(len(words))] = "zora"
    return texts


def features(task: str, count: int = 24, seed: int = 0) -> Features:
    """Return features whose labels depend on the last vowel, the second consonant, or the name's position."""
    texts = sentences(count, seed)
    joined = [" ".join(words) for words in texts]
    if task == "sequence":
        labels = [int(words[-1][-1] in "ae") for words in texts]
        return text_features(TOKENIZER, joined, labels, 16)
    if task == "pair":
        pairs = [(text, WORDS[number % 10]) for number, text in enumerate(joined)]
        return text_features(TOKENIZER, pairs, [number % 10 // 5 for number in range(count)], 20)
    starts = [text.index("zora") for text in joined]
    if task == "token":
        spans = [[Span(start, start + 4, "NAME")] for start in starts]
        return token_features(TOKENIZER, joined, spans, {tag: i for i, tag in enumerate(TAGS)}, 16)
    answers = [(start, start + 4) for start in starts]
    return answer_features(TOKENIZER, ["ba be"] * count, joined, answers, 24)


def copies(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


# 1. Features.


def test_a_batch_of_texts_by_hand() -> None:
    examples = text_features(TOKENIZER, ["ba", "ba be bi", "bo"], [1, 0, 1], max_length=4)
    batch = examples.batch([1, 0])
    ids = TOKENIZER.convert_tokens_to_ids(["[CLS]", "ba", "be", "[SEP]", "[CLS]", "ba", "[SEP]", "[PAD]"])
    assert batch.input_ids.flatten().tolist() == ids
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert batch.labels.tolist() == [0, 1]
    assert batch.start_positions is batch.end_positions is None


def test_a_batch_of_pairs_has_segments() -> None:
    batch = text_features(TOKENIZER, [("ba", "be bi")], [1], max_length=16).batch([0])
    assert batch.token_type_ids.tolist() == [[0, 0, 0, 1, 1, 1]]


def test_labels_of_tokens_by_hand() -> None:
    """A name of two tokens has its label at the first token, and padding has none."""
    label2id = {tag: i for i, tag in enumerate(TAGS)}
    texts = ["ba zorab be", "zora"]
    made = token_features(TOKENIZER, texts, [[Span(3, 8, "NAME")], [Span(0, 4, "NAME")]], label2id, 16)
    assert made.batch([0, 1]).labels.tolist() == [
        [IGNORE, 0, 1, IGNORE, 0, IGNORE],
        [IGNORE, 1, *[IGNORE] * 4],
    ]


@pytest.mark.parametrize(
    ("text", "span", "message"),
    [
        ("", Span(0, 1, "NAME"), "text is empty"),
        ("ba", Span(1, 1, "NAME"), "start=1, end=1 is not a span"),
        ("ba", Span(0, 1, "CITY"), "the label 'B-CITY' has no number"),
        ("ba", Span(0, 3, "NAME"), r"label='NAME'\) ends after the text, which has 2 characters"),
    ],
)
def test_the_text_with_a_bad_span_is_named(text: str, span: Span, message: str) -> None:
    label2id = {tag: i for i, tag in enumerate(TAGS)}
    with pytest.raises(ValueError, match=rf"texts\[1\]: .*{message}"):
        token_features(TOKENIZER, ["ba", text], [[], [span]], label2id, 16)


def test_positions_of_answers_by_hand() -> None:
    """[CLS] ba [SEP] be zora ##b bi [SEP]: an answer, no answer, and a truncated answer."""
    context = "be zorab bi"
    made = answer_features(TOKENIZER, ["ba"] * 2, [context] * 2, [(3, 8), None], 16)
    batch = made.batch([0, 1])
    assert (batch.start_positions.tolist(), batch.end_positions.tolist()) == ([4, 0], [5, 0])
    assert batch.labels is None
    short = answer_features(TOKENIZER, ["ba"], [context], [(3, 8)], 6).batch([0])
    assert (short.start_positions.tolist(), short.end_positions.tolist()) == ([0], [0])


WHOLE = [
    [0, 1, IGNORE],
    [False, True, 1],
    [np.int64(0), np.uint8(1), np.bool_(True)],
    np.array([0, 1, 1]),
    np.array([0.0, 1.0, -100.0]),
    torch.tensor([0, 1, 1]),
    torch.tensor([0.0, 1.0, 1.0]),
]


@pytest.mark.parametrize("labels", WHOLE, ids=repr)
def test_whole_numbers_of_any_type_are_labels(labels: object) -> None:
    found = text_features(TOKENIZER, ["ba"] * 3, labels, 8).targets["labels"]
    assert found == [int(label) for label in labels] and {type(label) for label in found} == {int}


@pytest.mark.parametrize(
    "label",
    [
        0.9,
        math.nan,
        math.inf,
        np.float32(0.5),
        torch.tensor(0.2),
        -1,
        "1",
        "pos",
        None,
        [0, 1],
        torch.ones(2),
    ],
    ids=repr,
)
def test_what_is_no_number_of_a_class_is_refused_with_its_index(label: object) -> None:
    with pytest.raises(ValueError, match=r"labels\[1\] is .*, expected the id of a class: 0, 1, 2, "):
        text_features(TOKENIZER, ["ba", "be"], [0, label], 8)


LABEL2ID = {tag: i for i, tag in enumerate(TAGS)}


def test_generators_are_read_to_their_end_and_but_once() -> None:
    text, span = "zora ba", Span(0, 4, "NAME")
    expected = token_features(TOKENIZER, [text] * 2, [[span], []], LABEL2ID, 8).targets
    assert expected["labels"][0].count(LABEL2ID["B-NAME"]) == 1
    spans = (iter(each) for each in ([span], []))
    assert token_features(TOKENIZER, iter([text] * 2), spans, LABEL2ID, 8).targets == expected
    plain = [[(0, 4, "NAME")], ()]
    assert token_features(TOKENIZER, np.array([text] * 2), plain, LABEL2ID, 8).targets == expected
    made = text_features(TOKENIZER, iter(["ba", "be"]), iter([1, 0]), 8)
    assert made.targets == {"labels": [1, 0]} and len(made) == 2
    rows = answer_features(TOKENIZER, ["ba"] * 2, [text] * 2, [(0, 4), None], 8).targets
    answers = (answer and iter(answer) for answer in ((0, 4), None))
    assert answer_features(TOKENIZER, iter(["ba"] * 2), iter([text] * 2), answers, 8).targets == rows
    assert answer_features(TOKENIZER, ["ba"], [text], np.array([[0, 4]]), 8).targets["end_positions"] == [3]


@pytest.mark.parametrize("column", ["ba", b"ba", {"ba": "be"}, {"ba"}, None, 3], ids=repr)
def test_a_column_that_is_no_list_is_named(column: object) -> None:
    kind = type(column).__name__
    with pytest.raises(ValueError, match=f"texts is {kind}, expected a list with one entry per text"):
        text_features(TOKENIZER, column, [0, 1], 8)
    with pytest.raises(ValueError, match=f"spans is {kind}, expected a list with one entry per text"):
        token_features(TOKENIZER, ["ba", "be"], column, LABEL2ID, 8)


def test_a_table_in_place_of_a_column_is_named() -> None:
    """Its own iterator goes through the names of its columns."""

    class DataFrame:
        columns = ("ba", "bo")

        def __iter__(self) -> Iterator[str]:
            return iter(self.columns)

    with pytest.raises(ValueError, match="texts is DataFrame, expected a list"):
        text_features(TOKENIZER, DataFrame(), [0, 1], 8)


@pytest.mark.parametrize(
    "answer", ["zora", (0,), (0, 4, 1), (0.0, 4.0), ("0", "4"), {"text": ["zora"], "answer_start": [0]}, 4]
)
def test_an_answer_that_is_not_two_numbers_is_named(answer: object) -> None:
    with pytest.raises(
        ValueError, match=r"answers\[1\] is .*, expected \(start, end\), counted in characters"
    ):
        answer_features(TOKENIZER, ["ba"] * 2, ["zora"] * 2, [None, answer], 8)


def test_spans_that_are_none_are_named_with_their_text() -> None:
    with pytest.raises(ValueError, match=r"texts\[1\]: spans is None, expected a list of Span, empty if"):
        token_features(TOKENIZER, ["ba", "be"], [[], None], LABEL2ID, 8)
    with pytest.raises(ValueError, match=r"texts\[0\]: a span is None, expected Span\(start, end, label\)"):
        token_features(TOKENIZER, ["ba", "be"], [[None], []], LABEL2ID, 8)


def test_a_question_that_cannot_be_used_is_named() -> None:
    with pytest.raises(ValueError, match=r"questions\[1\]: pair is empty"):
        answer_features(TOKENIZER, ["ba"] * 2, ["zora", ""], [None, None], 8)
    with pytest.raises(ValueError, match=r"questions\[1\]: the answer"):
        answer_features(TOKENIZER, ["ba"] * 2, ["zora"] * 2, [None, (0, 9)], 8)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 texts, 1 labels; give the same number of each"):
        text_features(TOKENIZER, ["ba", "be"], [1], 8)
    with pytest.raises(ValueError, match="1 questions, 1 contexts, 2 answers"):
        answer_features(TOKENIZER, ["ba"], ["be"], [None, None], 8)
    with pytest.raises(ValueError, match="0 texts, 0 spans"):
        token_features(TOKENIZER, [], [], {}, 8)


@pytest.mark.parametrize("task", TASKS)
def test_logits_of_a_text_do_not_depend_on_its_batch(task: str) -> None:
    model, made = new_model(task, dropout=0.5).train(), features(task, 9)
    batched = predict_logits(model, made, batch_size=4)
    assert model.training
    model.eval()
    for row, logits in enumerate(batched):
        with torch.no_grad():
            output = model(*made.batch([row])[:3])
        is_answering = task == "question"
        alone = torch.stack([output.start_logits, output.end_logits], -1) if is_answering else output.logits
        assert logits.shape == alone[0].shape
        assert largest(logits, alone[0]) < 1e-5
    if task == "sequence":
        texts = [" ".join(words) for words in sentences(9)]
        probs = predict(model, TOKENIZER, texts, max_length=16)
        assert largest(torch.stack(batched).softmax(-1), probs) < 1e-6


@pytest.mark.parametrize("size", [0, -1, 2.0, None])
@pytest.mark.parametrize("task", TASKS)
def test_a_bad_batch_size_is_named(task: str, size: object) -> None:
    with pytest.raises(ValueError, match=f"batch_size={size}"):
        predict_logits(new_model(task), features(task, 9), batch_size=size)


@pytest.mark.parametrize("task", TASKS)
def test_weights_that_are_not_numbers_give_no_logits(task: str) -> None:
    model = new_model(task)
    model.bert.encoder.layer[0].output.dense.bias.data[3] = torch.nan
    with pytest.raises(ValueError, match=r"the model returns \d+ NaN or infinite numbers"):
        predict_logits(model, features(task, 9))


# 2. The order of the examples.


@pytest.mark.parametrize("batch_size", [1, 8, 32])
@pytest.mark.parametrize("size", [1, 7, 31, 33, 100, 2000])
def test_each_epoch_has_each_example_once_however_it_is_read(size: int, batch_size: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 60, size)
    rows = endless_rows(lengths.tolist(), batch_size, seed=5)
    at_once = rows(0, 4 * size)
    for epoch in range(4):
        assert sorted(at_once[epoch * size : (epoch + 1) * size]) == list(range(size))
    again = endless_rows(lengths.tolist(), batch_size, seed=5)
    assert [row for first in range(0, 4 * size, 3) for row in again(first, 3)][: 4 * size] == at_once
    assert again(3 * size, 2) == rows(3 * size, 2)


def padding(lengths: np.ndarray, rows: list[int], batch_size: int) -> float:
    """Return the share of padding among the tokens of the batches that the rows make up."""
    batches = lengths[np.array(rows)].reshape(-1, batch_size)
    return 1 - batches.sum() / (batches.max(axis=1) * batch_size).sum()


@pytest.mark.parametrize("size", [3200, 3217])
def test_examples_of_similar_length_share_a_batch_in_every_epoch(size: int) -> None:
    lengths = np.random.default_rng(0).integers(3, 60, size)
    rows = endless_rows(lengths.tolist(), 32, seed=0)
    steps = size // 32
    assert padding(lengths, np.random.default_rng(1).permutation(size)[: steps * 32].tolist(), 32) > 0.4
    for begin in (0, steps, 2 * steps + 5):  # with 3217 examples, epochs end inside a batch
        assert padding(lengths, rows(begin * 32, steps * 32), 32) < 0.04


def test_the_order_depends_on_seed_and_epoch_but_not_on_length() -> None:
    lengths = np.random.default_rng(0).integers(3, 60, 3200)
    orders = [epoch_order(lengths, 32, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({order.tobytes() for order in orders}) == 4
    assert np.array_equal(orders[0], epoch_order(lengths, 32, 0, 0))
    means = lengths[orders[0]].reshape(-1, 32).mean(axis=1)
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3


def test_batches_differ_between_epochs() -> None:
    lengths = np.full(320, 10)
    first, second = (epoch_order(lengths, 32, 0, epoch).reshape(-1, 32) for epoch in (0, 1))
    assert max(len(set(a) & set(b)) for a in first.tolist() for b in second.tolist()) < 16


# 3. Learning-rate multipliers and frozen layers.


def multiplier_of(name: str) -> float:
    """Return 0.5 to the power of the number of layers above; CONFIG has two layers."""
    if "embeddings" in name:
        return 0.25
    return 0.5 if "layer.0." in name else 1.0


def test_layer_multipliers_by_hand() -> None:
    model = new_model("sequence")
    names = [name for name, _ in model.named_parameters()]
    assert layer_multipliers(model, 0.5) == {name: multiplier_of(name) for name in names}
    assert {"bert.pooler.dense.weight", "classifier.bias", "bert.encoder.layer.1.output.dense.bias"} < set(
        names
    )
    optimizer = make_optimizer(model, OPTIONS.training(24), layer_multipliers(model, 0.5))
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {
        by_id[id(p)]: (g["multiplier"], g["weight_decay"])
        for g in optimizer.param_groups
        for p in g["params"]
    }
    decays = {name: 0.01 if parameter.dim() > 1 else 0.0 for name, parameter in model.named_parameters()}
    assert found == {name: (multiplier_of(name), decays[name]) for name in names}


def test_the_first_step_moves_each_layer_by_its_own_learning_rate() -> None:
    """Adam's first step equals the learning rate wherever the gradient is far above epsilon."""
    model = new_model("sequence")
    before = copies(model)
    options = replace(OPTIONS, layer_decay=0.5, warmup=0.0, weight_decay=0.0, learning_rate=1e-2)
    training = replace(options.training(24), steps=1)  # the only step of a run is at half the peak
    train(model, finetuning_task(model, features("sequence"), options), training)
    for name, parameter in model.named_parameters():
        if not name.endswith("key.bias"):  # its gradient is only rounding error
            assert largest(parameter.detach(), before[name]) == pytest.approx(
                0.005 * multiplier_of(name), rel=0.1
            )


def test_multipliers_of_one_change_no_bit() -> None:
    trained = []
    for multipliers in ({}, dict.fromkeys(copies(new_model("token")), 1.0)):
        model = new_model("token", dropout=0.1)
        task = replace(finetuning_task(model, features("token"), OPTIONS), multipliers=multipliers)
        train(model, task, OPTIONS.training(24))
        trained.append(copies(model))
    assert same_bits(*trained)


def test_multipliers_of_unknown_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match=r"multipliers name 'classifier\.wieght', which is not a parameter"):
        make_optimizer(new_model("sequence"), OPTIONS.training(24), {"classifier.wieght": 0.5})


@pytest.mark.parametrize("trainable", [None, 0, 1, 2])
@pytest.mark.parametrize("task", ["sequence", "question"])
def test_frozen_layers_keep_every_bit_and_the_others_move(task: str, trainable: int | None) -> None:
    model = new_model(task)
    before = copies(model)
    options = replace(OPTIONS, trainable_layers=trainable, layer_decay=0.9)
    result = finetune(model, features(task), features(task, 8, seed=1), options)
    unchanged = {
        name for name, parameter in result.model.named_parameters() if torch.equal(parameter, before[name])
    }
    below = {
        None: (),
        0: ("embeddings", "layer.0.", "layer.1."),
        1: ("embeddings", "layer.0."),
        2: ("embeddings",),
    }
    expected = {name for name in before if any(part in name for part in below[trainable])}
    assert {name for name in unchanged ^ expected if not name.endswith("key.bias")} == set()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_parameters_that_the_caller_froze_stay_frozen() -> None:
    model = new_model("sequence")
    model.bert.encoder.layer[1].requires_grad_(False)
    before = copies(model)
    finetune(model, features("sequence"), features("sequence", 8), replace(OPTIONS, trainable_layers=0))
    assert torch.equal(
        model.bert.encoder.layer[1].output.dense.weight, before["bert.encoder.layer.1.output.dense.weight"]
    )
    assert not model.bert.encoder.layer[1].output.dense.weight.requires_grad
    assert model.bert.encoder.layer[0].output.dense.weight.requires_grad


def test_too_many_trainable_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="trainable_layers=3, but the model has 2; use 0 to 2, or None"):
        finetune(new_model("pair"), features("pair"), features("pair"), replace(OPTIONS, trainable_layers=3))


# 4. The run.


@pytest.mark.parametrize("task", TASKS)
def test_a_few_examples_are_learned_by_heart(task: str) -> None:
    made = features(task, 16)
    options = replace(OPTIONS, epochs=60, learning_rate=3e-3, batch_size=16)
    result = finetune(new_model(task), made, made, options)
    name = "answer" if task == "question" else "label"
    assert result.scores[f"valid_{name}_accuracy"] == 1.0
    assert result.run.history[0][f"{name}_loss"] > 0.3
    assert result.run.history[-1][f"{name}_loss"] < 0.05


def scripted(values: list[float], seen: list[dict[str, torch.Tensor]]) -> Callable[[torch.nn.Module], float]:
    """Return a score function that returns these values in turn and keeps the weights of each evaluation."""

    def score(model: torch.nn.Module) -> float:
        assert not model.training and not torch.is_grad_enabled()
        seen.append(copies(model))
        return values[len(seen) - 1]

    return score


@pytest.mark.parametrize(("values", "best"), [([1, 3, 2, 3], 1), ([4, 3, 2, 1], 0), ([0, 0, 0, 1], 3)])
def test_the_weights_of_the_best_evaluation_are_returned(values: list[float], best: int) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    options = replace(OPTIONS, evaluations=2)
    made = features("token", 32)
    result = finetune(new_model("token"), made, made, options, score=scripted(values, seen))
    assert len(seen) == 4 and not same_bits(seen[best], seen[(best + 1) % 4])
    assert same_bits(copies(result.model), seen[best])
    steps = [record["step"] for record in result.run.history if "valid_score" in record]
    assert result.step == steps[best] and result.scores["valid_score"] == values[best]
    assert not result.model.training


def test_without_a_score_the_accuracy_decides() -> None:
    """A model that predicts the labels correctly is trained on the opposite labels."""
    made = features("sequence", 32)
    options = replace(OPTIONS, epochs=30, learning_rate=3e-3)
    model = finetune(new_model("sequence"), made, made, options).model
    opposite = replace(made, targets={"labels": [1 - label for label in made.targets["labels"]]})
    result = finetune(model, opposite, made, options)
    accuracies = [r["valid_label_accuracy"] for r in result.run.history if "valid_label_accuracy" in r]
    assert accuracies[-1] < 0.2 < 0.8 < max(accuracies) == result.scores["valid_label_accuracy"]
    predicted = torch.stack(predict_logits(result.model, made)).argmax(-1)
    labels = torch.tensor(made.targets["labels"])
    assert (predicted == labels).float().mean().item() == pytest.approx(max(accuracies))


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_computed_without_dropout_over_all_targets(task: str) -> None:
    """70 examples make two batches: the mean is over targets, not over batches."""
    valid = features(task, 70, seed=1)
    result = finetune(new_model(task, dropout=0.4), features(task), valid, replace(OPTIONS, epochs=1))
    losses, correct = [], []
    for rows in buckets(valid.encodings, 64):
        batch = valid.batch(rows)
        with torch.no_grad():
            output = result.model(*batch[:3])
        if task == "question":
            pairs = [(output.start_logits, batch.start_positions), (output.end_logits, batch.end_positions)]
            each = [cross_entropy(logits, positions, reduction="none") for logits, positions in pairs]
            losses += ((each[0] + each[1]) / 2).tolist()
            ends = [logits.argmax(-1) == positions for logits, positions in pairs]
            correct += (ends[0] & ends[1]).tolist()
        else:
            logits, labels = output.logits.flatten(0, -2), batch.labels.flatten()
            kept = labels != IGNORE
            losses += cross_entropy(logits[kept], labels[kept], reduction="none").tolist()
            correct += (logits[kept].argmax(-1) == labels[kept]).tolist()
    name = "answer" if task == "question" else "label"
    assert result.scores == pytest.approx(
        {f"valid_{name}_loss": statistics.mean(losses), f"valid_{name}_accuracy": statistics.mean(correct)},
        abs=1e-4,
    )


@pytest.mark.parametrize("task", TASKS)
def test_summed_loss_of_a_batch_agrees_with_the_models_loss(task: str) -> None:
    model, batch = new_model(task).eval(), features(task).batch(range(8))
    inputs = {name: value for name, value in batch._asdict().items() if value is not None}
    with torch.no_grad():
        (score,) = finetuning_scores(model, batch).values()
        count = 8 if batch.labels is None else int((batch.labels != IGNORE).sum())
        assert score.loss.item() / count == pytest.approx(model(**inputs).loss.item(), rel=1e-5)


def test_micro_batches_add_up_to_the_same_step() -> None:
    ends = []
    for size in (0, 2):
        result = finetune(
            new_model("token"), features("token"), features("token"), replace(OPTIONS, micro_batch_size=size)
        )
        ends.append(copies(result.model))
    assert all(
        largest(ends[0][name], ends[1][name]) < 2e-4 for name in ends[0] if not name.endswith("key.bias")
    )


def interrupted(task: object, at: int) -> object:
    """Return the task, in which Ctrl-C is pressed while batch number `at` is drawn."""

    def batch(first: int, count: int) -> object:
        if first == at * OPTIONS.batch_size:
            signal.raise_signal(signal.SIGINT)
        return task.batch(first, count)

    return replace(task, batch=batch)


@pytest.mark.parametrize("changes", [{"layer_decay": 0.5}, {"trainable_layers": 1, "layer_decay": 0.5}])
def test_a_stopped_and_resumed_run_ends_with_the_same_bits(changes: dict, tmp_path: Path) -> None:
    options = replace(OPTIONS, **changes)
    ends = []
    for stops in (False, True):
        model = new_model("sequence", dropout=0.1)
        task = finetuning_task(model, features("sequence"), options)
        with frozen(model, options.trainable_layers):
            if stops:
                run = train(model, interrupted(task, 3), options.training(24), tmp_path)
                assert not run.finished
                model = new_model("sequence", dropout=0.1)
                with frozen(model, options.trainable_layers):
                    assert train(model, task, options.training(24), tmp_path, resume=True).finished
            else:
                train(model, task, options.training(24))
        ends.append(copies(model))
    assert same_bits(*ends)
    with pytest.raises(ValueError, match=r"layer_decay is 0\.5 there and 1\.0 here"):
        other = finetuning_task(model, features("sequence"), OPTIONS)
        train(model, other, OPTIONS.training(24), tmp_path, resume=True)


def test_a_stopped_run_keeps_its_best_weights_and_continues(tmp_path: Path) -> None:
    """The first evaluation is the best, and the run is stopped after the second."""
    options = replace(OPTIONS, epochs=3, evaluations=2)  # evaluated after steps 2, 4, 6, 8 and 9
    values = [5.0, 4.0, 3.0, 2.0, 1.0]

    def part(values: list[float], **where: object) -> Finetuned:
        model = new_model("sequence", dropout=0.1)
        made, validation = features("sequence"), features("sequence", seed=1)
        return finetune(model, made, validation, options, scripted(values, []), **where)

    whole = part(values)
    stopped = part(values, folder=tmp_path, callback=lambda progress: progress.step == 4)
    resumed = part(values[2:], folder=tmp_path, resume=True)
    assert (whole.run.finished, stopped.run.finished, resumed.run.finished) == (True, False, True)
    assert stopped.run.step == 5 and whole.step == stopped.step == resumed.step == 2
    assert whole.scores == stopped.scores == resumed.scores
    assert same_bits(copies(whole.model), copies(stopped.model))
    assert same_bits(copies(whole.model), copies(resumed.model))


def test_a_run_is_not_continued_with_other_texts_or_labels(tmp_path: Path) -> None:
    train, validation = features("sequence"), features("sequence", seed=1)
    finetune(new_model("sequence"), train, validation, OPTIONS, folder=tmp_path)
    turned = replace(train, targets={"labels": [1 - label for label in train.targets["labels"]]})
    for name, texts in (
        ("data", (turned, validation)),
        ("validation", (train, features("sequence", seed=2))),
    ):
        with pytest.raises(ValueError, match=f"belongs to another run: {name} is '"):
            finetune(new_model("sequence"), *texts, OPTIONS, folder=tmp_path, resume=True)


def with_score(tmp_path: Path, score: object, **given: object) -> Finetuned:
    """Continue or begin a run that is evaluated after steps 2, 4, 6, 8 and 9."""
    made, options = features("sequence"), replace(OPTIONS, epochs=3, evaluations=2)
    return finetune(new_model("sequence"), made, made, options, score, folder=tmp_path, **given)


def after(step: int) -> Callable[[Progress], bool]:
    return lambda progress: progress.step == step - 1


def truncated(best: Path) -> None:
    (path,) = best.iterdir()
    path.write_bytes(path.read_bytes()[:-50])


def mistaken(best: Path) -> None:
    shutil.rmtree(best)
    shutil.copytree(best.parent, best, ignore=shutil.ignore_patterns("best"))


LOST = {
    shutil.rmtree: "there are none",
    truncated: "step-00000002.safetensors is truncated or damaged",
    mistaken: "step-00000005.safetensors is a checkpoint to resume from",
}


@pytest.mark.parametrize("lose", LOST, ids=lambda lose: lose.__name__)
def test_best_weights_that_are_lost_are_neither_returned_nor_named(lose: Callable, tmp_path: Path) -> None:
    """The result is the best of what is left; the scores and the step are those of its weights."""
    seen: list[dict[str, torch.Tensor]] = []
    with_score(tmp_path, scripted([5.0, 1.0], seen), callback=after(5))
    lose(tmp_path / "best")
    message = rf"lacks .* at step 2 with valid_score 5\.000 \(.*{LOST[lose]}.*\); the run goes on"
    with pytest.warns(UserWarning, match=message):
        result = with_score(tmp_path, scripted([0.1, 0.3, 0.2], again := []), resume=True)
    assert (result.step, result.scores["valid_score"]) == (8, 0.3)
    assert same_bits(copies(result.model), again[1])


def test_best_weights_that_a_full_disk_cost_are_neither_returned_nor_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    write = run_module.write_checkpoint

    def full_at_step_4(folder: Path, checkpoint: Checkpoint, keep: int) -> None:
        if checkpoint.step == 4:
            raise OSError(28, "No space left on device")
        write(folder, checkpoint, keep)

    monkeypatch.setattr(run_module, "write_checkpoint", full_at_step_4)
    with pytest.warns(UserWarning, match="best weights are not kept on disk"):
        stopped = with_score(tmp_path, scripted([2.0, 5.0], seen), callback=after(5))
    assert stopped.step == 4 and same_bits(copies(stopped.model), seen[1])
    with pytest.warns(UserWarning, match=r"at step 4 with valid_score 5\.000 \(there are those of step 2\)"):
        result = with_score(tmp_path, scripted([1.0, 1.0, 1.0], []), resume=True)
    assert (result.step, result.scores["valid_score"]) == (2, 2.0)
    assert same_bits(copies(result.model), seen[0])


def test_a_finished_run_without_its_best_weights_is_evaluated_as_it_is(tmp_path: Path) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    with_score(tmp_path, scripted([5.0, 4.0, 3.0, 2.0, 1.0], seen))
    shutil.rmtree(tmp_path / "best")
    with pytest.warns(UserWarning, match="lacks the weights of the best evaluation so far, at step 2"):
        result = with_score(tmp_path, scripted([1.0], []), resume=True)
    assert (result.step, result.scores["valid_score"]) == (9, 1.0)
    assert same_bits(copies(result.model), seen[4])


def test_best_weights_of_another_run_do_not_count(tmp_path: Path) -> None:
    """They are left if only the checkpoints were deleted."""
    with_score(tmp_path, scripted([1.0, 1.0, 1.0, 1.0, 9.0], []))
    for path in tmp_path.glob("step-*"):
        path.unlink()
    assert with_score(tmp_path, scripted([], []), callback=after(1)).scores == {}
    seen: list[dict[str, torch.Tensor]] = []
    result = with_score(tmp_path, scripted([1.0, 4.0, 3.0, 2.0, 1.0], seen), resume=True)
    assert (result.step, result.scores["valid_score"]) == (4, 4.0)
    assert same_bits(copies(result.model), seen[1])
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["step-00000004.safetensors"]


class Best:
    def __call__(self, model: torch.nn.Module) -> float:
        return 1.0


def f1(model: torch.nn.Module) -> float:
    return 1.0


def test_a_run_is_not_continued_with_another_score(tmp_path: Path) -> None:
    for number, (before, now, message) in enumerate(
        (
            (None, f1, "score is None there and 'f1' here"),
            (f1, None, "score is 'f1' there and None here"),
            (f1, Best(), "score is 'f1' there and 'Best' here"),
        )
    ):
        folder = tmp_path / str(number)
        with_score(folder, before, callback=after(3))
        with pytest.raises(ValueError, match=f"belongs to another run: {message}"):
            with_score(folder, now, resume=True)
        assert with_score(folder, before, resume=True).run.finished


def test_a_full_disk_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_module, "write_checkpoint", full)
    with pytest.warns(UserWarning, match="best weights are not kept on disk .*No space left"):
        result = finetune(
            new_model("sequence"),
            features("sequence"),
            features("sequence", seed=1),
            OPTIONS,
            folder=tmp_path,
        )
    assert result.run.finished


def test_a_run_stopped_before_the_first_evaluation_returns_the_model_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bertlearn.finetuning import run as module

    real = finetuning_task
    monkeypatch.setattr(module, "finetuning_task", lambda *args: interrupted(real(*args), 1))
    model = new_model("sequence")
    result = finetune(model, features("sequence"), features("sequence"), OPTIONS)
    assert (result.run.finished, result.scores, result.model) == (False, {}, model)
    assert result.step == result.run.step == 1 and not model.training


def test_a_run_stops_at_its_callbacks_request() -> None:
    made = features("sequence")
    run = finetune(
        new_model("sequence"), made, made, OPTIONS, callback=lambda progress: progress.step == 1
    ).run
    assert (run.step, run.finished) == (2, False)


def test_wrong_features_are_refused() -> None:
    texts = features("sequence")
    with pytest.raises(ValueError, match="train is list, expected Features; use text_features"):
        finetune(new_model("sequence"), ["ba"], texts)
    with pytest.raises(
        ValueError, match="train has the label 2, but the model has 2, 0 to 1; give all labels"
    ):
        wrong = text_features(TOKENIZER, ["ba"] * 8, [2] * 8, 8)
        finetune(new_model("sequence"), wrong, texts, OPTIONS)


LEARNS = {
    "sequence": ("BertForSequenceClassification", "one label per text", "text_features"),
    "token": ("BertForTokenClassification", "one label per token", "token_features"),
    "question": ("BertForQuestionAnswering", "answers", "answer_features"),
}


@pytest.mark.parametrize("name", ["train", "validation"])
@pytest.mark.parametrize(("task", "other"), itertools.permutations(LEARNS, 2))
def test_features_of_another_task_are_refused_before_training(
    task: str, other: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new_model(task)
    monkeypatch.setattr(model, "forward", lambda **given: pytest.fail("the model was run"))
    sets = {"train": features(task), "validation": features(task), name: features(other)}
    kind, expected, maker = LEARNS[task]
    message = f"{name} has {LEARNS[other][1]}, but {kind} learns from {expected}; use {maker}"
    with pytest.raises(ValueError, match=message):
        finetune(model, **sets, options=OPTIONS)


def relabeled(task: str, change: Callable[[list], object]) -> Features:
    """Return features of which the last row's targets are changed."""
    made = features(task)
    return replace(made, targets={n: [*rows[:-1], change(rows[-1])] for n, rows in made.targets.items()})


WRONG_TARGETS = {
    "negative": (
        "sequence",
        lambda label: -1,
        "has the label -1, but the model has 2, 0 to 1; give all .*-100",
    ),
    "text": ("sequence", lambda label: "no", "has the label 'no', but the model has 2"),
    "negative token": ("token", lambda row: [-1, *row[1:]], "has the label -1, but the model has 3, 0 to 2"),
    "fraction": ("token", lambda row: [0.5, *row[1:]], "has the label 0.5, but the model has 3"),
    "too few": ("token", lambda row: row[:-1], r"has a text with \d+ labels for \d+ tokens; use token_feat"),
    "beyond": ("question", lambda position: 99, r"has the answer from token 99 to token 99 in row 23, which"),
}


@pytest.mark.parametrize("name", ["train", "validation"])
@pytest.mark.parametrize("wrong", WRONG_TARGETS)
def test_wrong_targets_in_either_set_are_refused_before_training(
    wrong: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, change, message = WRONG_TARGETS[wrong]
    model = new_model(task)
    monkeypatch.setattr(model, "forward", lambda **given: pytest.fail("the model was run"))
    sets = {"train": features(task), "validation": features(task), name: relabeled(task, change)}
    with pytest.raises(ValueError, match=f"{name} {message}"):
        finetune(model, **sets, options=OPTIONS)


@pytest.mark.parametrize(
    ("name", "tokenizer"),
    [
        ("vocab", WordPieceTokenizer([*SPECIAL_TOKENS, *VOCAB[:4:-1]])),
        ("do_lower_case", WordPieceTokenizer(VOCAB, do_lower_case=False)),
    ],
)
def test_texts_of_two_tokenizers_are_refused(name: str, tokenizer: WordPieceTokenizer) -> None:
    other = text_features(tokenizer, ["ba", "be"], [0, 1], 16)
    with pytest.raises(ValueError, match=f"were made by tokenizers with different {name}; make both"):
        finetune(new_model("sequence"), features("sequence"), other, OPTIONS)


@pytest.mark.parametrize("tokenizer", [None, "bert-base-uncased", transformers.BertTokenizer], ids=repr)
def test_features_need_a_tokenizer_of_this_package(tokenizer: object) -> None:
    for make, columns in (
        (text_features, (["ba"], [0])),
        (token_features, (["ba"], [[]], LABEL2ID)),
        (answer_features, (["ba"], ["be"], [None])),
    ):
        with pytest.raises(
            ValueError, match=r"tokenizer is \w+, expected bertlearn's WordPieceTokenizer; use"
        ):
            make(tokenizer, *columns, 16)


@pytest.mark.parametrize(
    "label2id", [None, TAGS, dict(enumerate(TAGS)), {"O": "0"}, {"O": 0.0}, {"O": 0, "B-NAME": -1}], ids=repr
)
def test_what_does_not_number_labels_is_refused(label2id: object) -> None:
    message = r"^label2id is .*, expected a dict from names to numbers, .*; use model\.config\.label2id"
    with pytest.raises(ValueError, match=message):
        token_features(TOKENIZER, ["ba"], [[]], label2id, 16)


@pytest.mark.parametrize("characters", [" ", "  ", "\u200d", "\0 "], ids=repr)
def test_a_span_without_a_word_is_refused(characters: str) -> None:
    text = f"ba {characters} be"
    span = Span(3, 3 + len(characters), "NAME")
    with pytest.raises(ValueError, match=r"texts\[0\]: Span\(start=3, .* covers only .*, no part of a word"):
        token_features(TOKENIZER, [text], [[span]], LABEL2ID, 16)
    cut = token_features(TOKENIZER, ["ba be zora"], [[Span(6, 10, "NAME")]], LABEL2ID, 4)
    assert cut.targets == {"labels": [[IGNORE, 0, 0, IGNORE]]}  # a truncated word is no mistake


UNTRAINABLE = {
    "half": (lambda model: model.half(), r"the weights are torch\.float16, .*use model\.float\(\), and prec"),
    "bf16": (lambda model: model.bfloat16(), r"the weights are torch\.bfloat16, .*use model\.float\(\)"),
    "frozen": (lambda model: model.requires_grad_(False), r"all \d+ parameters are frozen, .*requires_grad_"),
}


@pytest.mark.parametrize("how", UNTRAINABLE)
def test_a_model_that_cannot_be_trained_is_refused(how: str) -> None:
    change, message = UNTRAINABLE[how]
    made = features("sequence")
    with pytest.raises(ValueError, match=message):
        finetune(change(new_model("sequence")), made, made, OPTIONS)


def test_a_frozen_head_leaves_no_layer_to_train() -> None:
    model, made = new_model("token"), features("token")
    model.classifier.requires_grad_(False)
    with pytest.raises(ValueError, match=r"all \d+ parameters are frozen, .*, or freeze fewer"):
        finetune(model, made, made, replace(OPTIONS, trainable_layers=0))
    assert all(parameter.requires_grad for parameter in model.bert.parameters())


@pytest.mark.parametrize("layers", [None, 0])
def test_a_model_or_a_call_without_gradients_is_refused(layers: int | None) -> None:
    made, options = features("sequence"), replace(OPTIONS, trainable_layers=layers)
    with torch.inference_mode():
        made_inside = new_model("sequence")
    with pytest.raises(ValueError, match=r"made inside torch\.inference_mode, .*; make or load it outside"):
        finetune(made_inside, made, made, options)
    for block in (torch.no_grad(), torch.inference_mode()):
        with block, pytest.raises(ValueError, match=r"torch\.no_grad or .* is on, but training needs grad"):
            finetune(new_model("sequence"), made, made, options)


def test_a_compiled_model_is_trained_like_the_model_in_it() -> None:
    options = replace(OPTIONS, trainable_layers=1, layer_decay=0.5)
    made, plain, inner = features("sequence"), new_model("sequence"), new_model("sequence")
    finetune(plain, made, made, options)
    finetune(torch.compile(inner), made, made, options)
    assert same_bits(copies(plain), copies(inner))


@pytest.mark.parametrize("options", [None, 3, {"epochs": 1}, FinetuneOptions, OPTIONS.training(24)], ids=repr)
def test_options_of_another_type_are_refused(options: object) -> None:
    made = features("sequence")
    for run, model in ((finetune, new_model("sequence")), (finetune_seeds, lambda seed: pytest.fail())):
        with pytest.raises(
            ValueError, match=r"options is .*, expected FinetuneOptions; use FinetuneOptions\("
        ):
            run(model, made, made, options)


def test_a_callback_and_a_folder_of_another_type_are_refused() -> None:
    made = features("sequence")
    with pytest.raises(ValueError, match="callback=5 is int, expected a function of the progress"):
        finetune(new_model("sequence"), made, made, OPTIONS, callback=5)
    with pytest.raises(ValueError, match="folder=5 is int, expected a path"):
        finetune(new_model("sequence"), made, made, OPTIONS, folder=5)


OTHER_MODELS: dict[str, Callable[[], object]] = {
    r"bertlearn\.BertModel": lambda: BertModel(CONFIG),
    r"bertlearn\.BertForMaskedLM": lambda: BertForMaskedLM(CONFIG),
    r"transformers\.BertForSequenceClassification": lambda: transformers.BertForSequenceClassification(
        transformers.BertConfig(**CONFIG.to_dict())
    ),
    "str": lambda: "folder",
}


@pytest.mark.parametrize("kind", OTHER_MODELS)
def test_a_model_without_a_head_for_the_task_is_named(kind: str) -> None:
    made = features("sequence")
    message = rf"model is {kind}, expected bertlearn\.BertForSequenceClassification or .*QuestionAnswering;"
    with pytest.raises(ValueError, match=message):
        finetune(OTHER_MODELS[kind](), made, made, OPTIONS)
    with pytest.raises(ValueError, match=message):
        predict_logits(OTHER_MODELS[kind](), made)


def test_a_model_without_weights_or_with_mixed_ones_is_refused_before_training() -> None:
    made = features("sequence")
    with pytest.raises(ValueError, match="on the meta device"):
        finetune(new_model("sequence").to("meta"), made, made, OPTIONS)
    mixed = new_model("sequence")
    mixed.bert.half()
    with pytest.raises(ValueError, match=r"weights are torch\.float16 on cpu and torch\.float32 on cpu"):
        finetune(mixed, made, made, OPTIONS)


def test_logits_need_features() -> None:
    with pytest.raises(ValueError, match="features is list, expected Features; use text_features"):
        predict_logits(new_model("sequence"), ["ba"])


def unlabeled(task: str) -> Features:
    """Return features of which no label counts."""
    made = features(task)
    none = [[IGNORE] * len(encoding.tokens) if task == "token" else IGNORE for encoding in made.encodings]
    return replace(made, targets={"labels": none})


@pytest.mark.parametrize("name", ["train", "validation"])
@pytest.mark.parametrize("task", ["sequence", "token"])
def test_texts_without_a_label_are_refused_before_training(
    task: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = new_model(task)
    monkeypatch.setattr(model, "forward", lambda **given: pytest.fail("the model was run"))
    sets = {"train": features(task), "validation": features(task), name: unlabeled(task)}
    message = (
        f"{name} has no label but -100, which does not count; give a label to at least one of the 24 texts"
    )
    with pytest.raises(ValueError, match=message):
        finetune(model, **sets, options=OPTIONS)


def test_a_folder_that_is_a_file_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    model, made = new_model("sequence"), features("sequence")
    monkeypatch.setattr(model, "forward", lambda **given: pytest.fail("the model was run"))
    for folder in (tmp_path / "file", str(tmp_path / "file" / "inside")):
        with pytest.raises(ValueError, match="file is a file, expected a folder; choose another folder"):
            finetune(model, made, made, OPTIONS, folder=folder)


def test_a_score_that_is_no_function_is_refused_before_training() -> None:
    made = features("sequence")
    with pytest.raises(ValueError, match="score='f1' is str, expected a function of the model"):
        finetune(new_model("sequence"), made, made, OPTIONS, score="f1")


@pytest.mark.parametrize("value", [None, math.nan, "high", torch.zeros(2)], ids=repr)
@pytest.mark.parametrize("at", [0, 1])
def test_a_score_that_is_no_number_costs_no_training(value: object, at: int, tmp_path: Path) -> None:
    """Corrected and resumed, the run ends with the same weights; its last evaluation is made up for."""
    train, validation = features("sequence"), features("sequence", seed=1)
    one = replace(OPTIONS, epochs=at + 1)  # evaluated once or twice
    scores = [1.0, 2.0]
    whole = finetune(new_model("sequence", dropout=0.1), train, validation, one, scripted(scores, []))
    wrong = scripted([*scores[:at], value], [])
    with pytest.raises(ValueError, match=r"the score function returned .*, expected a number.*resume=True"):
        finetune(new_model("sequence", dropout=0.1), train, validation, one, wrong, folder=tmp_path)
    again = new_model("sequence", dropout=0.1)
    right = scripted(scores[at:], [])
    resumed = finetune(again, train, validation, one, right, folder=tmp_path, resume=True)
    assert resumed.run.finished and resumed.step == whole.step and resumed.scores == whole.scores
    assert same_bits(copies(resumed.model), copies(whole.model))


# 5. Several seeds.


def test_several_seeds_have_mean_and_standard_deviation() -> None:
    requested = []

    def model_of(seed: int) -> torch.nn.Module:
        requested.append(seed)
        return new_model("sequence", seed, dropout=0.1)

    made, valid = features("sequence"), features("sequence", 30, seed=1)
    found = finetune_seeds(model_of, made, valid, OPTIONS, seeds=(3, 4, 5))
    assert requested == [3, 4, 5]
    for name in ("valid_label_loss", "valid_label_accuracy"):
        a, b, c = (result.scores[name] for result in found.results)
        mean = (a + b + c) / 3
        assert found.mean[name] == pytest.approx(mean)
        deviation = math.sqrt(((a - mean) ** 2 + (b - mean) ** 2 + (c - mean) ** 2) / 2)
        assert found.std[name] == pytest.approx(deviation)
    assert found.std["valid_label_loss"] > 0
    alone: Finetuned = finetune(model_of(4), made, valid, replace(OPTIONS, seed=4))
    assert same_bits(copies(alone.model), copies(found.results[1].model))


def test_the_seed_changes_order_and_dropout() -> None:
    made = features("sequence")
    ends = [
        copies(finetune(new_model("sequence"), made, made, replace(OPTIONS, seed=seed)).model)
        for seed in (0, 0, 1)
    ]
    assert same_bits(ends[0], ends[1]) and not same_bits(ends[0], ends[2])


def test_each_seed_needs_a_model_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One model for all seeds, and a new head on an encoder that all share."""
    monkeypatch.setattr(run_module, "run_training", lambda *args, **given: pytest.fail("training began"))
    made, one = features("sequence"), new_model("sequence")

    def on_one_encoder(seed: int) -> torch.nn.Module:
        model = new_model("sequence", seed)
        model.bert = one.bert
        return model

    for shared in (lambda seed: one, on_one_encoder):
        with pytest.raises(
            ValueError, match=r"share bert\..* for the seeds 3 and 4, but each run needs a mod"
        ):
            finetune_seeds(shared, made, made, OPTIONS, seeds=(3, 4))


def test_a_model_is_no_function_that_makes_models() -> None:
    made = features("sequence")
    message = "new_model is BertForSequenceClassification, expected a function that returns a model for a"
    with pytest.raises(ValueError, match=message):
        finetune_seeds(new_model("sequence"), made, made, OPTIONS)
    with pytest.raises(ValueError, match="new_model=5 is int, expected a function of a seed"):
        finetune_seeds(5, made, made, OPTIONS)


@pytest.mark.parametrize("seeds", [[0], [], [1, 1], [0, 1, 0]])
def test_fewer_than_two_different_seeds_have_no_standard_deviation(seeds: list[int]) -> None:
    message = rf"seeds={re.escape(str(seeds))} give no standard deviation; use two or more, all different"
    for given in (seeds, iter(seeds)):
        with pytest.raises(ValueError, match=message):
            finetune_seeds(lambda seed: new_model("pair"), features("pair"), features("pair"), seeds=given)


def test_a_number_of_seeds_is_not_a_list_of_seeds() -> None:
    with pytest.raises(ValueError, match=r"seeds=3 is int, expected a list, such as \[0, 1, 2\]"):
        finetune_seeds(lambda seed: new_model("pair"), features("pair"), features("pair"), seeds=3)


# 6. Options.


def test_options_of_the_loop_by_hand() -> None:
    options = FinetuneOptions(
        epochs=3, batch_size=32, evaluations=2, seed=7, micro_batch_size=8, precision="fp32"
    )
    training = options.training(1000)
    assert training.steps == 94  # 3000 / 32 = 93.75
    assert training.evaluate_every == 16  # 94 / 6
    assert (training.batch_size, training.micro_batch_size, training.seed) == (32, 8, 7)
    assert (training.learning_rate, training.warmup, training.beta2) == (1e-4, 0.1, 0.999)


def test_a_step_has_at_most_all_examples() -> None:
    options = FinetuneOptions(epochs=3, batch_size=10**9, micro_batch_size=10**9 // 4)
    training = options.training(36)
    assert (training.steps, training.batch_size, training.micro_batch_size) == (3, 36, 4)
    assert replace(options, micro_batch_size=0).training(18).micro_batch_size == 18
    assert replace(options, batch_size=32, micro_batch_size=8).training(32).micro_batch_size == 8


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, "epochs=0 must be a whole number of at least 1"),
        ("epochs", 1.5, "epochs=1.5"),
        ("batch_size", 0, "batch_size=0"),
        ("evaluations", 0, "evaluations=0"),
        ("trainable_layers", -1, "trainable_layers=-1 must be a whole number of at least 0"),
        ("layer_decay", 0.0, r"layer_decay=0.0 must lie in \(0, 1\]; 1 means no decay"),
        ("layer_decay", 1.1, "layer_decay=1.1"),
        ("learning_rate", -1.0, "learning_rate=-1.0"),
        ("warmup", 1.0, "warmup=1.0"),
        ("weight_decay", -0.1, "weight_decay=-0.1 must be a number of at least 0"),
        ("weight_decay", math.nan, "weight_decay=nan"),
        ("seed", -1, "seed=-1"),
        ("seed", 10**30, f"seed={10**30} must be a whole number from 0 to {2**64 - 1}"),
        ("micro_batch_size", 10**9, "batch_size=8 is not a multiple of micro_batch_size=1000000000; use"),
        ("micro_batch_size", 3, "batch_size=8 is not a multiple of micro_batch_size=3; use"),
        ("precision", "fp16", "precision='fp16' is unknown"),
    ],
)
def test_invalid_options_are_refused(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(OPTIONS, **{name: value})


def test_the_largest_seed_can_be_used() -> None:
    made = features("sequence", 16)
    options = replace(OPTIONS, seed=2**64 - 1, epochs=1)
    result = finetune(new_model("sequence"), made, made, options)
    assert result.run.finished and result.run.step == options.training(16).steps


# 7. Dropout of a new head.


@pytest.mark.parametrize("task", ["sequence", "token", "question"])
def test_dropout_is_set_with_the_head(task: str) -> None:
    default, none, other = (new_model(task, dropout=value).config for value in (None, 0.0, 0.3))
    for config, expected in ((default, 0.1), (none, 0.0), (other, 0.3)):
        assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == expected
        assert config.classifier_dropout is None


@pytest.mark.parametrize(
    ("vocabulary", "length", "message"),
    [
        ([*VOCAB, "new"], 16, "the tokenizer has 102 tokens, but the model has embeddings for 101"),
        (VOCAB, 99, "a text has 62 tokens, but the model has positions for 32"),
    ],
)
@pytest.mark.parametrize("validates", [False, True])
def test_features_that_do_not_fit_the_model_are_refused_before_training(
    vocabulary: list[str], length: int, message: str, validates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["ba " * 60, "ba be"]
    fitting = text_features(TOKENIZER, texts, [0, 1], 16)
    other = text_features(WordPieceTokenizer(vocabulary), texts, [0, 1], length)
    model = new_model("sequence")
    monkeypatch.setattr(model, "forward", lambda **given: pytest.fail("the model was run"))
    with pytest.raises(ValueError, match=message):
        finetune(model, *((fitting, other) if validates else (other, fitting)), OPTIONS)
    with pytest.raises(ValueError, match=message):
        predict_logits(model, other)


def test_pairs_for_a_model_without_a_second_segment_are_refused_before_training() -> None:
    torch.manual_seed(0)
    encoder = BertModel(replace(CONFIG, type_vocab_size=1))
    model = BertForSequenceClassification.from_encoder(encoder, ["no", "yes"], a_generator())
    pairs = text_features(TOKENIZER, [("ba", "be"), ("bi", "bo")], [0, 1], 16)
    with pytest.raises(ValueError, match="a text is a pair, but the model has type_vocab_size=1"):
        finetune(model, pairs, pairs, OPTIONS)
