"""The heads of pretraining and their losses, against transformers and by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from conftest import CONFIG, largest, perturb, random_batch, twin_of
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy

from bertlearn.model import heads
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import IGNORE, BertForMaskedLM, BertForPreTraining, BertForSequenceClassification
from bertlearn.pretraining.masking import PretrainingBatch
from bertlearn.pretraining.run import pretraining_scores, pretraining_targets
from bertlearn.training.loop import train
from bertlearn.training.options import TrainingOptions
from bertlearn.training.task import Task

CLASSES = [
    (BertForPreTraining, transformers.BertForPreTraining),
    (BertForMaskedLM, transformers.BertForMaskedLM),
]


def twins(ours: type[nn.Module], theirs: type[nn.Module], seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """Return both models with the same perturbed weights, in evaluation mode."""
    torch.manual_seed(seed)
    one = ours(CONFIG).eval()
    perturb(one, seed)
    return one, twin_of(one, theirs)


def labeled_batch(pairs: bool, seed: int = 0) -> dict[str, torch.Tensor]:
    """Two segments, padding, and labels on some of the tokens that are not padding."""
    generator = torch.Generator().manual_seed(seed)
    batch = random_batch(CONFIG, batch=5, length=13, seed=seed)
    shape = batch["input_ids"].shape
    chosen = (torch.rand(shape, generator=generator) < 0.4) & (batch["attention_mask"] == 1)
    chosen[0, 0] = True
    batch["labels"] = torch.where(chosen, torch.randint(101, shape, generator=generator), IGNORE)
    if pairs:
        batch["next_sentence_label"] = torch.randint(2, (5,), generator=generator)
    return batch


def logits_of(output: object) -> torch.Tensor:
    return output.prediction_logits if hasattr(output, "prediction_logits") else output.logits


def parity(ours: nn.Module, theirs: nn.Module, seed: int = 0) -> float:
    """Return the largest difference over losses, masked logits, full logits and, where there are, pairs."""
    pairs = hasattr(theirs.cls, "seq_relationship")
    batch = labeled_batch(pairs, seed)
    bare = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    with torch.no_grad():
        found, expected, full = ours(**batch), theirs(**batch), ours(**bare)
    where = batch["labels"] != IGNORE
    differences = [
        largest(found.loss, expected.loss),
        largest(found.prediction_logits, logits_of(expected)[where]),
        largest(full.prediction_logits, logits_of(expected)),
    ]
    assert full.loss is None
    if pairs:
        differences.append(largest(found.seq_relationship_logits, expected.seq_relationship_logits))
    return max(differences)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_losses_and_logits_equal_transformers(
    ours: type[nn.Module], theirs: type[nn.Module], seed: int
) -> None:
    one, other = twins(ours, theirs, seed)
    assert parity(one, other, seed) < 1e-5
    assert list(one.state_dict()) == list(other.state_dict())
    one.load_state_dict(other.state_dict(), strict=True)


def drop_decoder_bias(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    nn.init.zeros_(model.cls.predictions.bias)


def untie(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = model.cls.predictions.decoder
    decoder.weight = nn.Parameter(torch.randn_like(decoder.weight) * 0.05)


def drop_layer_norm(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    model.cls.predictions.transform.LayerNorm = nn.Identity()


def drop_gelu(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "gelu", lambda x: x)


def ignore_zero(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "cross_entropy", lambda x, y: cross_entropy(x, y, ignore_index=0))


def take_mean_of_all(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "cross_entropy", lambda x, y: cross_entropy(x, y, reduction="sum") / (5 * 13))


def guess_every_token(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "labeled", lambda states, labels: states.flatten(0, 1))
    monkeypatch.setattr(heads, "targets", lambda labels: labels.flatten().clamp(min=0))


MUTANTS = [
    drop_decoder_bias,
    untie,
    drop_layer_norm,
    drop_gelu,
    ignore_zero,
    take_mean_of_all,
]


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_parity_sees_a_mistake(mutate: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = twins(*CLASSES[0])
    mutate(one, monkeypatch)
    assert parity(one, other) > 1e-4


def test_parity_sees_a_loss_over_all_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = twins(*CLASSES[0])
    guess_every_token(one, monkeypatch)
    batch = labeled_batch(pairs=True)
    with torch.no_grad():
        assert largest(one(**batch).loss, other(**batch).loss) > 1e-4


class Fixed(nn.Module):
    """In place of a head: answers that can be reckoned with."""

    def __init__(self, answers: torch.Tensor) -> None:
        super().__init__()
        self.answers = answers

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.answers[: len(hidden_states)]


def test_the_loss_by_hand_with_padding() -> None:
    """Probabilities 1/2, 1/4 and 1/101 of three tokens that are to be guessed; 3/4 and 1/2 of two pairs."""
    model = BertForPreTraining(CONFIG).eval()
    answers = torch.zeros(3, 101)
    answers[0, 7] = math.log(100)  # the 100 others weigh 1 each: probability 1/2
    answers[1, 8] = math.log(100 / 3)
    model.cls.predictions = Fixed(answers)
    model.cls.seq_relationship = Fixed(torch.tensor([[math.log(3), 0.0], [0.0, 0.0]]))
    batch = PretrainingBatch(
        input_ids=torch.tensor([[2, 4, 4], [2, 4, 0]]),
        attention_mask=torch.tensor([[1, 1, 1], [1, 1, 0]]),
        token_type_ids=torch.tensor([[0, 0, 1], [0, 1, 0]]),
        labels=torch.tensor([[IGNORE, 7, 8], [IGNORE, 9, IGNORE]]),
        next_sentence_label=torch.tensor([0, 1]),
    )
    masked, pairs = math.log(2) + math.log(4) + math.log(101), math.log(4 / 3) + math.log(2)
    with torch.no_grad():
        loss = model(**batch._asdict()).loss
        scores = pretraining_scores(model, batch)
    assert loss.item() == pytest.approx(masked / 3 + pairs / 2, rel=1e-5)
    assert scores["mlm"].loss.item() == pytest.approx(masked, rel=1e-5)
    assert scores["nsp"].loss.item() == pytest.approx(pairs, rel=1e-5)
    assert scores["mlm"].correct.item() == 2
    assert scores["nsp"].correct.item() == 1  # a tie is answered with 0
    assert pretraining_targets(batch) == {"mlm": 3, "nsp": 2}


def test_without_pairs_only_tokens_are_scored() -> None:
    batch = PretrainingBatch(**labeled_batch(pairs=False))
    one, _ = twins(*CLASSES[1])
    with torch.no_grad():
        assert set(pretraining_scores(one, batch)) == set(pretraining_targets(batch)) == {"mlm"}


def test_hidden_states_and_attentions_come_when_asked_for() -> None:
    one, _ = twins(*CLASSES[0])
    batch = labeled_batch(pairs=True)
    output = one(**batch, output_attentions=True, output_hidden_states=True)
    assert (len(output.hidden_states), len(output.attentions)) == (3, 2)
    assert one(**batch).hidden_states is one(**batch).attentions is None


# Files.


@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_what_we_save_transformers_reads_and_back(
    ours: type[nn.Module], theirs: type[nn.Module], tmp_path: Path
) -> None:
    one, other = twins(ours, theirs)
    one.save_pretrained(tmp_path / "ours")
    other.save_pretrained(tmp_path / "theirs")
    read, report = theirs.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert parity(one, read.eval()) < 1e-5
    again = ours.from_pretrained(tmp_path / "theirs")
    assert not again.training
    assert parity(again, other) < 1e-5
    assert again.cls.predictions.decoder.weight is again.bert.embeddings.word_embeddings.weight
    assert again.cls.predictions.decoder.bias is again.cls.predictions.bias
    names = load_file(tmp_path / "ours" / "model.safetensors").keys()
    assert names == load_file(tmp_path / "theirs" / "model.safetensors").keys()
    assert "cls.predictions.decoder.weight" not in names  # tied: there once, as the word embeddings
    assert type(transformers.AutoModelForPreTraining.from_pretrained(tmp_path / "ours")).__name__ in (
        "BertForPreTraining",
        "BertForMaskedLM",
    )


@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
def test_the_encoder_is_read_out_of_a_model_with_heads(
    ours: type[nn.Module], theirs: type[nn.Module], tmp_path: Path
) -> None:
    one, _ = twins(ours, theirs)
    one.save_pretrained(tmp_path)
    encoder = BertModel.from_pretrained(tmp_path)
    batch = random_batch(CONFIG)
    with torch.no_grad():
        found, expected = encoder(**batch), one.bert(**batch)
    assert torch.equal(found.last_hidden_state, expected.last_hidden_state)
    assert (encoder.pooler is None) == (ours is BertForMaskedLM)


def test_the_masked_model_is_read_out_of_the_one_with_pairs(tmp_path: Path) -> None:
    one, _ = twins(*CLASSES[0])
    one.save_pretrained(tmp_path)
    read, batch = BertForMaskedLM.from_pretrained(tmp_path), random_batch(CONFIG)
    with torch.no_grad():
        assert torch.equal(read(**batch).prediction_logits, one(**batch).prediction_logits)


def test_the_model_with_pairs_is_not_read_out_of_the_masked_one(tmp_path: Path) -> None:
    one, _ = twins(*CLASSES[1])
    one.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"missing: cls\.seq_relationship\.weight \(2, 32\)"):
        BertForPreTraining.from_pretrained(tmp_path)


@pytest.mark.parametrize("ours", [BertForPreTraining, BertForMaskedLM])
def test_an_encoder_alone_is_refused_with_the_name_of_what_is_missing(
    ours: type[nn.Module], tmp_path: Path
) -> None:
    BertModel(CONFIG).save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=rf"holds a BertModel, without the head that {ours.__name__} needs \(cls\.…\)"
    ):
        ours.from_pretrained(tmp_path)


# A decoder with a matrix of its own.

WORDS, DECODER = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
BIAS, DECODER_BIAS = "cls.predictions.bias", "cls.predictions.decoder.bias"


def untied_folder(theirs: type[nn.Module], folder: Path) -> nn.Module:
    """Save an untied, perturbed model with transformers, and return it."""
    torch.manual_seed(0)
    model = theirs(transformers.BertConfig(**CONFIG.to_dict(), tie_word_embeddings=False)).eval()
    perturb(model)
    model.save_pretrained(folder)
    return model


def edit(folder: Path, tied: bool | None = None, **changes: torch.Tensor | None) -> None:
    """Replace tensors, or remove those that are None, and set the flag in config.json."""
    state = {**load_file(folder / "model.safetensors"), **changes}
    kept = {name: tensor for name, tensor in state.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    if tied is not None:
        config["tie_word_embeddings"] = tied
    (folder / "config.json").write_text(json.dumps(config))


def is_tied(model: nn.Module) -> bool:
    return model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


@pytest.mark.parametrize(("ours", "theirs"), CLASSES)
@pytest.mark.parametrize("flag", [False, True])
def test_an_untied_decoder_stays_untied_in_both_directions(
    ours: type[nn.Module], theirs: type[nn.Module], flag: bool, tmp_path: Path
) -> None:
    """Both matrices are in the file and differ, so they are two, whatever the config says."""
    other = untied_folder(theirs, tmp_path / "theirs")
    edit(tmp_path / "theirs", tied=flag)
    one = ours.from_pretrained(tmp_path / "theirs")
    assert not is_tied(one)
    assert torch.equal(one.bert.embeddings.word_embeddings.weight, other.state_dict()[WORDS])
    assert parity(one, other) < 1e-5
    one.save_pretrained(tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["tie_word_embeddings"] is False
    read, report = theirs.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    assert parity(one, read.eval()) < 1e-5
    again = ours.from_pretrained(tmp_path / "ours")
    assert not is_tied(again) and again.config == one.config
    assert parity(again, other) < 1e-5
    encoder, batch = BertModel.from_pretrained(tmp_path / "ours"), random_batch(CONFIG)
    with torch.no_grad():
        assert torch.equal(encoder(**batch).last_hidden_state, one.bert(**batch).last_hidden_state)


@pytest.mark.parametrize("tied", [True, False])
def test_equal_matrices_are_one_unless_the_config_says_two(tied: bool, tmp_path: Path) -> None:
    other = untied_folder(transformers.BertForMaskedLM, tmp_path)
    edit(tmp_path, tied, **{DECODER: other.state_dict()[WORDS].clone(), DECODER_BIAS: torch.ones(101)})
    one = BertForMaskedLM.from_pretrained(tmp_path)
    read = transformers.BertForMaskedLM.from_pretrained(tmp_path)
    assert is_tied(one) == is_tied(read) == tied
    assert parity(one, read.eval()) < 1e-5
    one.save_pretrained(tmp_path / "again")
    assert is_tied(BertForMaskedLM.from_pretrained(tmp_path / "again")) == tied


def test_one_matrix_of_a_tied_model_is_both_under_either_name(tmp_path: Path) -> None:
    one, other = twins(*CLASSES[1])
    one.save_pretrained(tmp_path)
    edit(tmp_path, **{DECODER: one.state_dict()[WORDS].clone(), WORDS: None})
    read = BertForMaskedLM.from_pretrained(tmp_path)
    assert is_tied(read)
    assert parity(read, other) < 1e-5
    assert parity(read, transformers.BertForMaskedLM.from_pretrained(tmp_path).eval()) < 1e-5


def test_an_untied_model_without_its_decoder_is_refused(tmp_path: Path) -> None:
    """transformers draws one at random."""
    untied_folder(transformers.BertForMaskedLM, tmp_path)
    edit(tmp_path, **{DECODER: None})
    with pytest.raises(
        ValueError, match=r"tie_word_embeddings=false, but the weights have no cls\.predictions"
    ):
        BertForMaskedLM.from_pretrained(tmp_path)
    assert BertModel.from_pretrained(tmp_path).config.hidden_size == 32


@pytest.mark.parametrize("flag", [False, True])
def test_of_two_biases_the_decoders_is_added(flag: bool, tmp_path: Path) -> None:
    untied_folder(transformers.BertForMaskedLM, tmp_path)
    edit(tmp_path, flag, **{BIAS: torch.full((101,), 3.0), DECODER_BIAS: torch.arange(101) / 50})
    one = BertForMaskedLM.from_pretrained(tmp_path)
    assert parity(one, transformers.BertForMaskedLM.from_pretrained(tmp_path).eval()) < 1e-5


def test_a_single_bias_is_the_decoders_under_either_name(tmp_path: Path) -> None:
    """Older versions of transformers saved untied models with the shorter name alone."""
    other = untied_folder(transformers.BertForMaskedLM, tmp_path)
    for name, gone in ((BIAS, DECODER_BIAS), (DECODER_BIAS, BIAS)):
        edit(tmp_path, **{name: other.state_dict()[DECODER_BIAS].clone(), gone: None})
        assert parity(BertForMaskedLM.from_pretrained(tmp_path), other) < 1e-5


def test_a_decoder_that_was_untied_by_hand_is_saved_as_untied(tmp_path: Path) -> None:
    one, _ = twins(*CLASSES[1])
    decoder = one.cls.predictions.decoder
    decoder.weight = nn.Parameter(torch.randn_like(decoder.weight) * 0.05)
    one.save_pretrained(tmp_path)
    assert parity(one, transformers.BertForMaskedLM.from_pretrained(tmp_path).eval()) < 1e-5
    assert not is_tied(BertForMaskedLM.from_pretrained(tmp_path))


def test_a_new_untied_decoder_is_drawn_like_the_other_matrices() -> None:
    torch.manual_seed(0)
    model = BertForMaskedLM(replace(CONFIG, tie_word_embeddings=False, initializer_range=0.1))
    assert model.cls.predictions.decoder.weight.std().item() == pytest.approx(0.1, rel=0.05)
    assert not is_tied(model)


def test_an_untied_model_trains_saves_and_resumes_both_matrices(tmp_path: Path) -> None:
    untied_folder(transformers.BertForMaskedLM, tmp_path / "model")
    batch = PretrainingBatch(**labeled_batch(pairs=False))
    task = Task(lambda first, count: batch, pretraining_targets, pretraining_scores, None, {})
    options = TrainingOptions(steps=4, batch_size=5, learning_rate=1e-2, precision="fp32", checkpoint_every=2)
    whole, resumed = (BertForMaskedLM.from_pretrained(tmp_path / "model") for _ in range(2))
    before = [whole.state_dict()[name].clone() for name in (WORDS, DECODER)]
    train(whole, task, options, device="cpu")
    train(resumed, task, options, tmp_path / "run", until=2, device="cpu")
    resumed = BertForMaskedLM.from_pretrained(tmp_path / "model")
    train(resumed, task, options, tmp_path / "run", resume=True, device="cpu")
    for name, start in zip((WORDS, DECODER), before, strict=True):
        assert largest(whole.state_dict()[name], start) > 1e-3
        assert torch.equal(whole.state_dict()[name], resumed.state_dict()[name])
    assert not is_tied(whole)


def test_a_classifier_on_an_untied_models_encoder_is_an_ordinary_one(tmp_path: Path) -> None:
    untied_folder(transformers.BertForMaskedLM, tmp_path)
    encoder = BertModel.from_pretrained(tmp_path)
    model = BertForSequenceClassification.from_encoder(encoder, ["bad", "good"], torch.Generator())
    assert model.config.tie_word_embeddings


# Labels that are refused.


BAD_LABELS = {
    "too large": ({"labels": torch.full((2, 4), 101)}, "labels holds 101, expected 0 to 100, or -100"),
    "negative": ({"labels": torch.full((2, 4), -1)}, "labels holds -1"),
    "int32": ({"labels": torch.ones(2, 4).int()}, r"labels has dtype torch.int32, .*\.long\(\)"),
    "a mask": ({"labels": torch.ones(2, 4).bool()}, "labels has dtype torch.bool"),
    "too short": ({"labels": torch.ones(2, 3).long()}, r"labels has shape \(2, 3\), expected \(2, 4\)"),
    "one a text": ({"labels": torch.ones(2).long()}, r"labels has shape \(2,\), expected \(2, 4\)"),
    "a list": ({"labels": [[1] * 4] * 2}, r"labels is list, expected a tensor \(2, 4\)"),
}
BAD_PAIRS = {
    "too large": (torch.tensor([0, 2]), "next_sentence_label holds 2, expected 0 to 1, or -100"),
    "negative": (torch.tensor([-1, 0]), "next_sentence_label holds -1"),
    "floats": (torch.ones(2), "next_sentence_label has dtype torch.float32"),
    "a column": (torch.ones(2, 1).long(), r"next_sentence_label has shape \(2, 1\), expected \(2,\)"),
}


@pytest.mark.parametrize("cls", [BertForPreTraining, BertForMaskedLM])
@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_of_tokens_are_named(name: str, cls: type[nn.Module]) -> None:
    labels, message = BAD_LABELS[name]
    with pytest.raises(ValueError, match=message):
        cls(CONFIG)(torch.ones(2, 4).long(), **labels)


@pytest.mark.parametrize("name", BAD_PAIRS)
@pytest.mark.parametrize("labels", [None, torch.ones(2, 4).long()])
def test_bad_labels_of_pairs_are_named(name: str, labels: torch.Tensor | None) -> None:
    pairs, message = BAD_PAIRS[name]
    with pytest.raises(ValueError, match=message):
        BertForPreTraining(CONFIG)(torch.ones(2, 4).long(), labels=labels, next_sentence_label=pairs)
