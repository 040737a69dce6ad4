"""Chapter 9's short training: every example in turn, equal weights from equal seeds, what stays frozen."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace

import pytest
import torch
from conftest import CONFIG, random_model
from torch import Tensor, nn

from bertlearn import BertModel, WordPieceTokenizer, minilm_path
from bertlearn.course import small_training
from bertlearn.course.small_training import learn, learn_features, train_pairs
from bertlearn.finetuning.features import text_features
from bertlearn.model.heads import BertForSequenceClassification

TOKENIZER = WordPieceTokenizer.from_pretrained(minilm_path())
RECIPE = {"epochs": 3, "batch_size": 4, "learning_rate": 0.1, "warmup_steps": 2}


def small_encoder(dropout: float = 0.1) -> BertModel:
    config = replace(
        CONFIG,
        vocab_size=len(TOKENIZER.vocab),
        max_position_embeddings=small_training.PAIR_LENGTH,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    return random_model(BertModel, config, scale=0.2)


class Line(nn.Module):
    """Two numbers to learn, one of them behind dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.height = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
        self.dropout = nn.Dropout(0.5)

    def loss(self, rows: list[int]) -> Tensor:
        return (self.dropout(self.slope) * torch.tensor(float(sum(rows))) + self.height).square().sum()


def drawn(count: int, recipe: dict[str, float], seed: int = 0) -> list[list[int]]:
    """Return the rows of each step."""
    model, seen = Line().eval(), []

    def loss_of(rows: list[int]) -> Tensor:
        assert model.training
        seen.append(rows)
        return model.loss(rows)

    learn(model, loss_of, count, recipe, seed)
    assert not model.training
    return seen


def test_every_example_comes_once_in_an_epoch() -> None:
    batches = drawn(12, RECIPE)
    assert [len(batch) for batch in batches] == [4] * 9
    epochs = [[row for batch in batches[first : first + 3] for row in batch] for first in (0, 3, 6)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] and epochs[0] != list(range(12))


def test_an_epoch_that_is_not_whole_batches_leaves_its_rest_out() -> None:
    batches = drawn(10, RECIPE)
    assert len(batches) == 7 and {len(batch) for batch in batches} == {4}
    for first in (0, 2, 4):
        assert max(Counter(batches[first] + batches[first + 1]).values()) == 1
    assert [len(batch) for batch in drawn(3, RECIPE)] == [3, 3, 3]  # fewer examples than a batch


def test_the_same_seed_gives_the_same_weights() -> None:
    def weights(seed: int) -> Tensor:
        model = Line()
        learn(model, model.loss, 12, RECIPE, seed)
        return torch.cat([model.slope, model.height]).detach()

    assert torch.equal(weights(0), weights(0)) and not torch.equal(weights(0), weights(1))
    assert drawn(12, RECIPE, 0) == drawn(12, RECIPE, 0) != drawn(12, RECIPE, 1)


def test_frozen_parameters_stay() -> None:
    model = Line()
    model.slope.requires_grad_(False)
    learn(model, model.loss, 12, RECIPE, 0)
    assert torch.equal(model.slope, torch.ones(2)) and not torch.equal(model.height, torch.ones(2))


def test_the_rate_rises_then_falls_and_gradients_are_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    rates, sizes = [], []
    step = torch.optim.AdamW.step

    def noted(self: torch.optim.AdamW, *rest: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        sizes.append(float(torch.cat([p.grad for p in self.param_groups[0]["params"]]).norm()))
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", noted)
    drawn(12, RECIPE)
    assert rates == pytest.approx([0.1 * share for share in (0.5, 8 / 9, *(n / 9 for n in range(7, 0, -1)))])
    assert max(sizes) <= 1.001


def test_a_step_has_the_gradient_of_its_own_batch_alone() -> None:
    model, gradients = Line(), []
    model.height.register_post_accumulate_grad_hook(lambda weight: gradients.append(weight.grad.tolist()))
    learn(model, lambda rows: model.height.sum() / 2, 12, RECIPE, 0)
    assert gradients == [[0.5, 0.5]] * 9


def test_labeled_texts_are_learned() -> None:
    texts = ["good film", "bad film", "good song", "bad song"] * 4
    features = text_features(TOKENIZER, texts, [1, 0, 1, 0] * 4, 16)
    generator = torch.Generator().manual_seed(0)
    model = BertForSequenceClassification.from_encoder(small_encoder(), ["no", "yes"], generator, "mean")
    learn_features(model, features, {**RECIPE, "epochs": 20, "learning_rate": 0.01}, seed=0)
    with torch.no_grad():
        batch = features.batch(range(4))
        logits = model(*batch[:3]).logits
    assert logits.argmax(dim=1).tolist() == [1, 0, 1, 0]


PAIRS = [(f"who has the {thing}?", f"it is the {thing}") for thing in ("key", "dog", "bread", "hat")]


def test_pairs_change_a_copy_but_not_its_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_training, "PAIRS", {**small_training.PAIRS, "epochs": 5, "learning_rate": 0.01})
    encoder = small_encoder()
    before = copy.deepcopy(encoder.state_dict())
    trained = train_pairs(encoder, TOKENIZER, PAIRS, seed=0)
    assert all(torch.equal(encoder.state_dict()[name], before[name]) for name in before)
    same = {name for name, tensor in trained.state_dict().items() if torch.equal(tensor, before[name])}
    assert {name for name in before if name.startswith("embeddings")} <= same
    assert len(same) < len(before) / 2 and not trained.training


def test_pairs_find_each_other_afterward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        small_training, "PAIRS", {**small_training.PAIRS, "epochs": 100, "learning_rate": 0.01}
    )
    encoder = small_encoder()
    trained = train_pairs(encoder, TOKENIZER, PAIRS, seed=0)

    def found(model: BertModel) -> float:
        """Return the mean cosine within pairs minus that between them."""
        first, second = (
            small_training._unit(model.eval(), TOKENIZER, texts) for texts in zip(*PAIRS, strict=True)
        )
        cosines = first @ second.T
        return float(cosines.diagonal().mean() - cosines.mean())

    with torch.no_grad():
        assert found(trained) > found(encoder) + 0.1


def test_first_texts_ask_and_equal_second_texts_are_no_negatives(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, seen = small_encoder(dropout=0.0), []

    def loss(queries: Tensor, documents: Tensor, names: Tensor) -> Tensor:
        seen.append((queries.detach().clone(), documents.detach().clone(), names.tolist()))
        return (queries * documents).sum()

    monkeypatch.setattr(small_training, "contrastive_loss", loss)
    train_pairs(encoder, TOKENIZER, [("a", "same"), ("b", "same"), ("c", "other")], seed=0)
    [(queries, documents, names)] = seen
    assert sorted(names) == [0, 0, 1]
    with torch.no_grad():
        wanted = small_training._unit(encoder, TOKENIZER, ["c", "other"])
    at = names.index(1)
    torch.testing.assert_close(torch.stack([queries[at], documents[at]]), wanted)
    torch.testing.assert_close(wanted.norm(dim=1), torch.ones(2))
