"""The heads of fine-tuning against transformers and by hand; new heads on old encoders; folders both ways."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from conftest import CONFIG, largest, perturb, random_batch
from task_models import INPUTS, LABELS, OURS, SHAPE, TASKS, THEIRS, config_of, twins, varied
from torch import nn
from torch.nn.functional import cross_entropy

from bertlearn.model import heads
from bertlearn.model.bert import BertModel, mean_pooling
from bertlearn.model.heads import (
    IGNORE,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    new_parameters,
)


def labeled_batch(task: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Two segments, padding, and labels of which some do not count."""
    generator = torch.Generator().manual_seed(seed)
    batch = random_batch(CONFIG, *SHAPE, seed=seed)
    if task == "sequence":
        batch["labels"] = torch.tensor([0, 2, IGNORE, 1, 2, 0])
    if task == "token":
        labels = torch.randint(3, SHAPE, generator=generator)
        hidden = (torch.rand(SHAPE, generator=generator) < 0.3) | (batch["attention_mask"] == 0)
        batch["labels"] = labels.masked_fill(hidden, IGNORE)
    if task == "question":  # [CLS]; negative, which counts as [CLS]; one and more beyond the end; the last
        batch["start_positions"] = torch.tensor([0, -3, 13, 4, 400, 12])
        batch["end_positions"] = torch.tensor([3, -1, 13, 99, 5, 12])
    return batch


def logits_of(output: object) -> list[torch.Tensor]:
    names = ("logits", "start_logits", "end_logits")
    return [getattr(output, name) for name in names if hasattr(output, name)]


def parity(ours: nn.Module, theirs: nn.Module, batch: dict[str, torch.Tensor]) -> float:
    """Return the largest difference over loss and logits."""
    with torch.no_grad():
        found, expected = ours(**batch), theirs(**batch)
    pairs = zip([found.loss, *logits_of(found)], [expected.loss, *logits_of(expected)], strict=True)
    return max(largest(one, other) for one, other in pairs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("task", TASKS)
def test_losses_and_logits_equal_transformers(task: str, seed: int) -> None:
    one, other = twins(task, seed)
    batch = labeled_batch(task, seed)
    assert parity(one, other, batch) < 1e-5
    batch["position_ids"] = batch["input_ids"] % 32
    assert parity(one, other, batch) < 1e-5
    bare = {name: batch[name] for name in INPUTS}
    with torch.no_grad():
        assert one(**bare).loss is None
        for found, expected in zip(logits_of(one(**bare)), logits_of(other(**bare)), strict=True):
            assert largest(found, expected) < 1e-5
        ids = bare["input_ids"]
        assert largest(logits_of(one(ids))[0], logits_of(other(ids))[0]) < 1e-5
    assert list(one.state_dict()) == list(other.state_dict())


@pytest.mark.parametrize("task", TASKS)
def test_gradients_equal_transformers_and_reach_every_parameter(task: str) -> None:
    one, other = twins(task)
    batch = labeled_batch(task)
    one(**batch).loss.backward()
    other(**batch).loss.backward()
    for (name, found), expected in zip(one.named_parameters(), other.parameters(), strict=True):
        assert largest(found.grad, expected.grad) < 1e-5, name
        # Softmax does not see a shift common to all keys, so the key bias never has a gradient but rounding.
        assert found.grad.any() or name.endswith("key.bias"), name


@pytest.mark.parametrize("task", TASKS)
def test_without_anything_that_counts_the_loss_is_nan_as_in_transformers(task: str) -> None:
    one, other = twins(task)
    batch = labeled_batch(task)
    for name in batch.keys() - set(INPUTS):
        batch[name] = torch.full_like(batch[name], SHAPE[1] if task == "question" else IGNORE)
    with torch.no_grad():
        assert one(**batch).loss.isnan() and other(**batch).loss.isnan()


@pytest.mark.parametrize("own", [None, 0.5, 0.0])
@pytest.mark.parametrize("task", TASKS)
def test_dropout_is_where_transformers_has_it(task: str, own: float | None) -> None:
    """In training mode, from the same state of chance, both drop the same features."""
    one, other = twins(
        task, classifier_dropout=own, hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.0
    )
    one.bert.eval(), other.bert.eval()  # only the head drops
    for head in ("dropout", "classifier", "qa_outputs"):
        if hasattr(one, head):
            getattr(one, head).train(), getattr(other, head).train()
    losses = []
    for model in (one, other):
        torch.manual_seed(5)
        losses.append(model(**labeled_batch(task)).loss.item())
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    if task != "question":
        assert one.dropout.p == other.dropout.p == (0.3 if own is None else own)
        assert (losses[0] == pytest.approx(one.eval()(**labeled_batch(task)).loss.item())) == (own == 0.0)


def drop_bias(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    nn.init.zeros_(getattr(model, "classifier", getattr(model, "qa_outputs", None)).bias)


def ignore_nothing(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(logits: torch.Tensor, labels: torch.Tensor, ignore_index: int = 0) -> torch.Tensor:
        return cross_entropy(logits, labels.clamp(0, logits.shape[1] - 1))

    monkeypatch.setattr(heads, "cross_entropy", wrong)


def take_sums(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        heads, "cross_entropy", lambda *given, **more: cross_entropy(*given, **more, reduction="sum")
    )


def skip_the_mask(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = model.bert.forward
    monkeypatch.setattr(model.bert, "forward", lambda ids, mask, *others: encode(ids, None, *others))


def skip_the_segments(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = model.bert.forward
    monkeypatch.setattr(
        model.bert, "forward", lambda ids, mask, kinds, *others: encode(ids, mask, None, *others)
    )


MUTANTS = [drop_bias, ignore_nothing, take_sums, skip_the_mask, skip_the_segments]


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
@pytest.mark.parametrize("task", TASKS)
def test_parity_sees_a_mistake(task: str, mutate: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = twins(task)
    mutate(one, monkeypatch)
    assert parity(one, other, labeled_batch(task)) > 1e-4


class Fixed(nn.Module):
    """In place of a head: answers that can be reckoned with."""

    def __init__(self, answers: torch.Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.answers.expand(*hidden_states.shape[:-1], self.answers.shape[-1])


def test_the_losses_by_hand_with_padding() -> None:
    """Every token's (or text's) label 0 has probability 1/2, label 1 1/3, label 2 1/6."""
    head = Fixed(torch.tensor([3.0, 2.0, 1.0]).log())
    ids, mask = torch.tensor([[2, 7, 3], [2, 3, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    text, token = (OURS[task](config_of(task)).eval() for task in ("sequence", "token"))
    text.classifier = token.classifier = head
    loss = text(ids, mask, labels=torch.tensor([1, 2])).loss
    assert loss.item() == pytest.approx((math.log(3) + math.log(6)) / 2, rel=1e-5)
    labels = torch.tensor([[IGNORE, 0, IGNORE], [2, 1, IGNORE]])
    loss = token(ids, mask, labels=labels).loss
    assert loss.item() == pytest.approx((math.log(2) + math.log(6) + math.log(3)) / 3, rel=1e-5)


def test_the_loss_of_answers_by_hand() -> None:
    """The start at the last of three tokens has probability 1/2, each end 1/3; one start is out of reach."""
    model = BertForQuestionAnswering(CONFIG).eval()
    model.qa_outputs = Fixed(torch.tensor([[0.0, 0.0], [0.0, 0.0], [math.log(2), 0.0]]))
    starts, ends = torch.tensor([2, 3]), torch.tensor([2, 0])
    loss = model(torch.ones(2, 3).long(), start_positions=starts, end_positions=ends).loss
    assert loss.item() == pytest.approx((math.log(2) + math.log(3)) / 2, rel=1e-5)


def test_hidden_states_and_attentions_come_when_asked_for() -> None:
    for task in TASKS:
        one, other = twins(task)
        batch = labeled_batch(task)
        output = one(**batch, output_attentions=True, output_hidden_states=True)
        expected = other(**batch, output_attentions=True, output_hidden_states=True)
        assert (len(output.hidden_states), len(output.attentions)) == (3, 2)
        assert largest(output.attentions[1], expected.attentions[1]) < 1e-5
        assert largest(output.hidden_states[1], expected.hidden_states[1]) < 1e-5
        assert one(**batch).hidden_states is one(**batch).attentions is None


BAD_TARGETS = {
    "too large": ("sequence", {"labels": torch.tensor([0, 3])}, "labels holds 3, expected 0 to 2, or -100"),
    "negative": ("sequence", {"labels": torch.tensor([-1, 0])}, "labels holds -1"),
    "floats": ("sequence", {"labels": torch.ones(2)}, r"labels has dtype torch.float32, .*\.long\(\)"),
    "two axes": ("sequence", {"labels": torch.tensor([[0], [1]])}, r"shape \(2, 1\), expected \(2,\)"),
    "a list": ("sequence", {"labels": [0, 1]}, r"labels is list, expected a tensor \(2,\) of torch.int64"),
    "one a text": ("token", {"labels": torch.tensor([0, 1])}, r"shape \(2,\), expected \(2, 4\)"),
    "token too large": ("token", {"labels": torch.full((2, 4), 7)}, "labels holds 7, expected 0 to 2"),
    "only starts": ("question", {"start_positions": torch.tensor([0, 1])}, "end_positions is NoneType"),
    "only ends": ("question", {"end_positions": torch.tensor([0, 1])}, "start_positions is NoneType"),
    "many starts": (
        "question",
        {"start_positions": torch.zeros(2, 4).long(), "end_positions": torch.tensor([0, 1])},
        r"start_positions has shape \(2, 4\), expected \(2,\)",
    ),
}


@pytest.mark.parametrize("name", BAD_TARGETS)
def test_bad_labels_are_named(name: str) -> None:
    task, targets, message = BAD_TARGETS[name]
    with pytest.raises(ValueError, match=message):
        OURS[task](config_of(task))(torch.ones(2, 4).long(), **targets)


# The mean instead of [CLS].


def test_the_mean_leaves_padding_out() -> None:
    one = varied("mean")
    assert one.bert.pooler is None
    batch = labeled_batch("sequence")
    with torch.no_grad():
        states = one.bert(*(batch[name] for name in INPUTS)).last_hidden_state
        by_hand = torch.stack(
            [row[mask == 1].mean(0) for row, mask in zip(states, batch["attention_mask"], strict=True)]
        )
        assert largest(one(**batch).logits, one.classifier(by_hand)) < 1e-5
        alone = one(batch["input_ids"]).logits
        assert largest(alone, one.classifier(one.bert(batch["input_ids"]).last_hidden_state.mean(1))) < 1e-5
        assert largest(alone, one(**batch).logits) > 1e-3
        assert largest(mean_pooling(states, batch["attention_mask"]), by_hand) < 1e-5


def test_the_mean_is_kept_in_the_folder_and_transformers_misses_the_pooler(tmp_path: Path) -> None:
    one = varied("mean")
    one.save_pretrained(tmp_path)
    again = BertForSequenceClassification.from_pretrained(tmp_path)
    assert again.config == one.config
    batch = labeled_batch("sequence")
    with torch.no_grad():
        assert torch.equal(again(**batch).logits, one(**batch).logits)
    _, report = THEIRS["sequence"].from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) == {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}


# A new head on an old encoder.


def a_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new_model(task: str, encoder: BertModel, seed: int = 0) -> nn.Module:
    labels = () if task == "question" else (LABELS,)
    return OURS[task].from_encoder(encoder, *labels, a_generator(seed))


NEW = {
    "sequence": ["classifier.weight", "classifier.bias"],
    "token": ["classifier.weight", "classifier.bias"],
    "question": ["qa_outputs.weight", "qa_outputs.bias"],
}


@pytest.mark.parametrize("pooler", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_a_new_head_on_a_copy_of_the_encoder(task: str, pooler: bool) -> None:
    encoder = BertModel(CONFIG, add_pooling_layer=pooler)
    perturb(encoder)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    model = new_model(task, encoder)
    assert not model.training
    new = new_parameters(model, encoder)
    drawn = (
        ["bert.pooler.dense.weight", "bert.pooler.dense.bias"] if task == "sequence" and not pooler else []
    )
    assert new == drawn + NEW[task]
    for name, tensor in model.state_dict().items():
        if name not in new:
            assert torch.equal(tensor, before[name.removeprefix("bert.")]), name
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), f"training the model moves the encoder's {name}"


@pytest.mark.parametrize("task", TASKS)
def test_the_head_depends_on_the_generator_alone(task: str) -> None:
    encoder = BertModel(CONFIG, add_pooling_layer=False)
    torch.manual_seed(1)
    one = new_model(task, encoder)
    torch.manual_seed(2)
    same, other = new_model(task, encoder), new_model(task, encoder, seed=1)
    for name in new_parameters(one, encoder):
        assert torch.equal(one.state_dict()[name], same.state_dict()[name]), name
        if name.endswith("weight"):
            assert largest(one.state_dict()[name], other.state_dict()[name]) > 1e-3, name


def test_the_head_is_drawn_as_the_config_says() -> None:
    encoder = BertModel(replace(CONFIG, hidden_size=512, intermediate_size=32, initializer_range=0.3), False)
    model = BertForSequenceClassification.from_encoder(
        encoder, list("abcdefghijklmnopqrstuvwxyz"), a_generator()
    )
    assert model.classifier.weight.std().item() == pytest.approx(0.3, rel=0.03)  # 13,312 numbers
    assert model.bert.pooler.dense.weight.std().item() == pytest.approx(0.3, rel=0.03)
    assert not model.classifier.bias.any() and not model.bert.pooler.dense.bias.any()


def test_a_new_head_forgets_the_labels_and_the_pooling_of_the_old_one() -> None:
    old = BertForSequenceClassification.from_encoder(BertModel(CONFIG), LABELS, a_generator(), pooling="mean")
    assert (old.config.classifier_pooling, old.config.label2id["bad"]) == ("mean", 2)
    answers = BertForQuestionAnswering.from_encoder(old.bert, a_generator())
    assert answers.config == CONFIG
    tags = BertForTokenClassification.from_encoder(old.bert, ["O", "B-x", "I-x", "B-y"], a_generator())
    assert (tags.config.num_labels, tags.config.classifier_pooling) == (4, "cls")


def test_an_encoders_folder_asks_for_a_new_head(tmp_path: Path) -> None:
    BertModel(CONFIG).save_pretrained(tmp_path / "encoder")
    BertForMaskedLM(CONFIG).save_pretrained(tmp_path / "masked")
    for task, ours in OURS.items():
        head = NEW[task][0].split(".")[0]
        for folder, found in (("encoder", "a BertModel"), ("masked", "a model for another task")):
            with pytest.raises(
                ValueError,
                match=rf"{folder} holds {found}, without the head that {ours.__name__} needs \({head}\.…\).*"
                rf"draw a new head: {ours.__name__}\.from_encoder\(BertModel\.from_pretrained\(folder\)",
            ):
                ours.from_pretrained(tmp_path / folder)
            encoder = BertModel.from_pretrained(tmp_path / folder)
            assert set(NEW[task]) <= set(new_parameters(new_model(task, encoder), encoder))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (BertForMaskedLM(CONFIG), LABELS),
            r"encoder is BertForMaskedLM, expected BertModel; .* pass \.bert",
        ),
        ((BertModel(CONFIG), "good"), "labels='good' are not names of classes"),
        ((BertModel(CONFIG), 2), "labels=2 are not names of classes"),
        ((BertModel(CONFIG), ["good"]), "has fewer than two labels"),
        ((BertModel(CONFIG), ["good", "good"]), "expected distinct texts"),
        ((BertModel(CONFIG), [0, 1]), "expected distinct texts"),
        ((BertModel(CONFIG), []), "id2label numbers the labels"),
    ],
)
def test_a_bad_encoder_or_bad_labels_are_named(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BertForSequenceClassification.from_encoder(*arguments, a_generator())


def test_a_bad_pooling_is_named() -> None:
    with pytest.raises(ValueError, match="classifier_pooling='max' is neither 'cls' nor 'mean'"):
        BertForSequenceClassification.from_encoder(BertModel(CONFIG), LABELS, a_generator(), pooling="max")


def test_three_labels_are_none_for_answers() -> None:
    with pytest.raises(ValueError, match="id2label has 3 labels, expected 2, start and end"):
        BertForQuestionAnswering(config_of("sequence"))


# Folders.


@pytest.mark.parametrize("task", TASKS)
def test_what_we_save_transformers_reads_and_back(task: str, tmp_path: Path) -> None:
    one, other = twins(task, classifier_dropout=0.25)
    one.save_pretrained(tmp_path / "ours")
    other.save_pretrained(tmp_path / "theirs")
    read, report = THEIRS[task].from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert parity(one, read.eval(), labeled_batch(task)) < 1e-5
    again = OURS[task].from_pretrained(tmp_path / "theirs")
    assert parity(again, other, labeled_batch(task)) < 1e-5
    assert not again.training
    assert again.config == OURS[task].from_pretrained(tmp_path / "ours").config == one.config
    assert (read.config.id2label, read.config.label2id) == (one.config.id2label, one.config.label2id)
    assert read.config.classifier_dropout == 0.25


def test_transformers_default_labels_are_read_though_its_file_has_none(tmp_path: Path) -> None:
    theirs = THEIRS["sequence"](transformers.BertConfig(**CONFIG.to_dict())).eval()
    theirs.save_pretrained(tmp_path)
    assert "id2label" not in json.loads((tmp_path / "config.json").read_text())
    ours = BertForSequenceClassification.from_pretrained(tmp_path)
    assert ours.config.id2label == theirs.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert parity(ours, theirs, labeled_batch("sequence") | {"labels": torch.zeros(6).long()}) < 1e-5


def test_another_tasks_folder_is_refused_though_its_head_has_the_same_name(tmp_path: Path) -> None:
    twins("token")[0].save_pretrained(tmp_path / "token")
    twins("sequence")[0].save_pretrained(tmp_path / "sequence")
    with pytest.raises(
        ValueError, match="was saved by BertForTokenClassification, not by BertForSequenceClassification"
    ):
        BertForSequenceClassification.from_pretrained(tmp_path / "token")
    with pytest.raises(
        ValueError, match="was saved by BertForSequenceClassification, not by BertForTokenClassification"
    ):
        BertForTokenClassification.from_pretrained(tmp_path / "sequence")
    with pytest.raises(ValueError, match=r"without the head that BertForMaskedLM needs \(cls\.…\)"):
        BertForMaskedLM.from_pretrained(tmp_path / "sequence")
    assert BertModel.from_pretrained(tmp_path / "sequence").config.num_labels == 3


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_several_labels_at_once_and_regression_are_refused(problem: str, tmp_path: Path) -> None:
    _, theirs = twins("sequence")
    theirs.config.problem_type = problem
    theirs.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=f"problem_type='{problem}' in .*config.json is not supported"):
        BertForSequenceClassification.from_pretrained(tmp_path)
    theirs.config.problem_type = "single_label_classification"
    theirs.save_pretrained(tmp_path)
    assert BertForSequenceClassification.from_pretrained(tmp_path).config.num_labels == 3


# predict.
