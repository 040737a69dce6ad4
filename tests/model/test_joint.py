"""The joint model equals transformers' encoder with two linear layers, on perturbed weights."""

from __future__ import annotations

import pytest
import torch
import transformers
from conftest import CONFIG, perturb
from torch.nn.functional import cross_entropy

from bertlearn.model.bert import BertModel
from bertlearn.model.joint import BertForIntentAndSlots

INTENTS, SLOTS = ["play", "call", "other"], ["O", "B-time", "I-time", "B-song", "I-song"]


@pytest.fixture
def model() -> BertForIntentAndSlots:
    torch.manual_seed(0)
    model = BertForIntentAndSlots(CONFIG, INTENTS, SLOTS).eval()
    perturb(model, scale=0.1)
    return model


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(5, CONFIG.vocab_size, (4, 9), generator=generator)
    mask = (torch.arange(9) < torch.tensor([9, 4, 7, 2])[:, None]).long()
    return ids, mask


def test_both_heads_equal_linear_layers_on_transformers_encoder(model: BertForIntentAndSlots) -> None:
    ids, mask = batch()
    config = transformers.BertConfig(**CONFIG.to_dict(), attn_implementation="eager")
    twin = transformers.BertModel(config, add_pooling_layer=False).eval()
    twin.load_state_dict(model.bert.state_dict(), strict=True)
    with torch.no_grad():
        hidden = twin(ids, mask).last_hidden_state
        found = model(ids, mask)
        intents, slots = model.intent_classifier(hidden[:, 0]), model.slot_classifier(hidden)
    torch.testing.assert_close(found.intent_logits, intents, atol=1e-5, rtol=0)
    keep = mask.bool()
    torch.testing.assert_close(found.slot_logits[keep], slots[keep], atol=1e-5, rtol=0)
    assert found.loss is None


def test_the_loss_is_the_sum_of_both_means(model: BertForIntentAndSlots) -> None:
    ids, mask = batch()
    intents = torch.tensor([0, 2, -100, 1])
    slots = torch.where(mask.bool(), torch.arange(9) % len(SLOTS), -100)
    found = model(ids, mask, intent_labels=intents, slot_labels=slots)
    expected = cross_entropy(found.intent_logits, intents)
    expected = expected + cross_entropy(found.slot_logits.flatten(0, 1), slots.flatten())
    torch.testing.assert_close(found.loss, expected)
    found.loss.backward()
    assert model.intent_classifier.weight.grad.abs().sum() > 0
    assert model.slot_classifier.weight.grad.abs().sum() > 0


def test_the_encoder_is_copied_and_the_heads_are_drawn() -> None:
    torch.manual_seed(2)
    encoder = BertModel(CONFIG)
    made = [
        BertForIntentAndSlots.from_encoder(encoder, INTENTS, SLOTS, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    ]
    for name, tensor in encoder.state_dict().items():
        if not name.startswith("pooler"):
            assert made[0].bert.state_dict()[name].equal(tensor)
    one, same, other = (model.slot_classifier.weight for model in made)
    assert one.equal(same) and not one.equal(other) and not made[0].training
    assert made[0].id2intent == {0: "play", 1: "call", 2: "other"}


def test_wrong_labels_are_refused(model: BertForIntentAndSlots) -> None:
    ids, mask = batch()
    with pytest.raises(ValueError, match="one of intent_labels and slot_labels is None"):
        model(ids, mask, intent_labels=torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match="labels"):
        model(ids, mask, intent_labels=torch.full((4,), 3), slot_labels=torch.zeros(4, 9, dtype=torch.long))
