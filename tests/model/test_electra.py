"""ELECTRA's objective equals that of transformers' two models, on perturbed weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import ElectraConfig
from transformers import ElectraForMaskedLM as ReferenceGenerator
from transformers import ElectraForPreTraining as ReferenceDiscriminator

from bertlearn import BertConfig
from bertlearn.model import electra
from bertlearn.model.electra import ElectraForPreTraining

V = 50
SIZES: dict[str, Any] = {
    "vocab_size": V,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def new_model() -> ElectraForPreTraining:
    torch.manual_seed(0)
    model = ElectraForPreTraining(BertConfig(**SIZES, num_hidden_layers=3))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    original = torch.randint(5, V, (4, 12), generator=generator)
    mask = (torch.arange(12) < torch.tensor([[12], [9], [12], [4]])).long()
    chosen = (torch.rand(4, 12, generator=generator) < 0.4) & mask.bool()
    segments = (torch.arange(12) > 5).long().expand(4, 12).contiguous()
    return {
        "input_ids": torch.where(chosen, 4, original),
        "attention_mask": mask,
        "token_type_ids": segments,
        "labels": torch.where(chosen, original, -100),
    }


def references(model: ElectraForPreTraining) -> tuple[Any, Any]:
    """Return transformers' generator and discriminator with the weights of ours."""
    sizes = {**SIZES, "embedding_size": SIZES["hidden_size"]}
    generator = ReferenceGenerator(ElectraConfig(**sizes, num_hidden_layers=1))
    discriminator = ReferenceDiscriminator(ElectraConfig(**sizes, num_hidden_layers=3))
    ours = model.generator.state_dict()
    renamed = {
        "bert.": "electra.",
        "cls.predictions.transform.dense.": "generator_predictions.dense.",
        "cls.predictions.transform.LayerNorm.": "generator_predictions.LayerNorm.",
        "cls.predictions.decoder.": "generator_lm_head.",
    }
    state = {
        new + name.removeprefix(old): tensor
        for name, tensor in ours.items()
        for old, new in renamed.items()
        if name.startswith(old)
    }
    generator.load_state_dict(state)
    theirs = {f"electra.{name}": tensor for name, tensor in model.discriminator.state_dict().items()}
    theirs |= {
        f"discriminator_predictions.{name}": tensor
        for name, tensor in model.state_dict().items()
        if name.startswith("dense")
    }
    discriminator.load_state_dict(theirs)
    return generator.eval(), discriminator.eval()


def test_the_losses_and_gradients_are_those_of_transformers() -> None:
    model, inputs = new_model(), batch()
    generator, discriminator = references(model)
    torch.manual_seed(1)
    found = model(**inputs)
    right = generator(**inputs)
    torch.testing.assert_close(
        found.prediction_logits, right.logits[inputs["labels"] != -100], rtol=0, atol=1e-5
    )
    rest = {name: inputs[name] for name in ("attention_mask", "token_type_ids")}
    judged = discriminator(found.corrupted_ids, **rest, labels=found.replaced.long())
    keep = inputs["attention_mask"].bool()
    torch.testing.assert_close(found.replaced_logits[keep], judged.logits[keep], rtol=0, atol=1e-5)
    expected = right.loss + electra.WEIGHT * judged.loss
    torch.testing.assert_close(found.loss, expected, rtol=1e-5, atol=0)

    found.loss.backward()
    expected.backward()
    theirs = generator.electra.encoder.layer[0].attention.self.query.weight.grad
    mine = model.generator.bert.encoder.layer[0].attention.self.query.weight.grad
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-5)  # none of the discriminator's loss is in it
    both = (generator.electra, discriminator.electra)
    shared = sum(part.embeddings.position_embeddings.weight.grad for part in both)
    found_shared = model.discriminator.embeddings.position_embeddings.weight.grad
    torch.testing.assert_close(found_shared, shared, rtol=0, atol=1e-4)


def test_a_token_that_the_generator_guessed_right_was_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = new_model(), batch()
    chosen = inputs["labels"] != -100
    guesses = inputs["labels"][chosen].clone()
    guesses[::2] = (guesses[::2] + 1 - 5) % (V - 5) + 5
    monkeypatch.setattr(electra, "sample", lambda logits: guesses)
    found = model(**inputs)
    assert found.replaced[chosen].tolist() == [number % 2 == 0 for number in range(len(guesses))]
    assert not found.replaced[~chosen].any()
    assert torch.equal(found.corrupted_ids[chosen], guesses)
    assert torch.equal(found.corrupted_ids[~chosen], inputs["input_ids"][~chosen])


def test_samples_have_the_frequencies_of_the_distribution() -> None:
    torch.manual_seed(0)
    logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(100_000, 3).clone().requires_grad_()
    drawn = electra.sample(logits)
    assert not drawn.requires_grad
    shares = torch.bincount(drawn, minlength=3) / 100_000
    torch.testing.assert_close(shares, torch.tensor([0.1, 0.2, 0.7]), rtol=0, atol=0.006)  # 4 standard errors


def test_embeddings_exist_once() -> None:
    names = [
        name
        for name, _ in new_model().named_parameters()
        if "word_embeddings" in name or "decoder.weight" in name
    ]
    assert len(names) == 1


def test_without_labels_it_says_what_is_missing() -> None:
    with pytest.raises(ValueError, match="labels is None"):
        new_model()(**{**batch(), "labels": None})
