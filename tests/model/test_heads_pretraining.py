"""The heads of pretraining and their losses, against transformers and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from conftest import CONFIG, largest, perturb, random_batch, twin_of
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy

from bertlearn.model import heads
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import IGNORE, BertForMaskedLM, BertForPreTraining
from bertlearn.pretraining.masking import PretrainingBatch
from bertlearn.pretraining.run import pretraining_scores, pretraining_targets

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
