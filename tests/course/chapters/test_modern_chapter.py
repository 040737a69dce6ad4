"""Chapter 8's helpers: held-out text, longer texts, gradients, operations, scores of the stored runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from bertlearn import BertConfig, BertModel
from bertlearn.course import knockout
from bertlearn.course.chapters import modern as chapter
from bertlearn.course.results import Row
from bertlearn.model.config import ModernConfig
from bertlearn.model.modern import ModernForMaskedLM
from bertlearn.tokenizer.encoding import Batch

TINY = ModernConfig(
    vocab_size=4096,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=64,
    rope=True,
)


def row(on: str, seed: int, accuracy: float, step: int = 1500) -> Row:
    """Return a row as in the results file."""
    numbers = {"loss": 8 - 10 * accuracy, "accuracy": accuracy, "core_seconds": 1.0, "relative_time": 1.1}
    return {"on": on, "seed": seed, "step": step, **numbers}


def test_held_out_text_is_the_same_each_time_and_masked() -> None:
    one, other = (chapter.held_out_batch(4, 32) for _ in range(2))
    assert torch.equal(one.input_ids, other.input_ids) and one.input_ids.shape == (4, 32)
    asked = one.labels != -100
    ids = chapter.held_out_ids(4, 32)
    assert torch.equal(ids[asked], one.labels[asked]) and torch.equal(ids[~asked], one.input_ids[~asked])
    assert 0.05 < asked.float().mean() < 0.25


def test_rotary_models_take_longer_texts_with_the_same_weights() -> None:
    model = ModernForMaskedLM(TINY).eval()
    longer = chapter.allow_length(model, 128)
    ids = chapter.held_out_ids(1, 64)
    with torch.no_grad():
        torch.testing.assert_close(longer(ids).prediction_logits, model(ids).prediction_logits)
    assert 7 < chapter.loss_at_length(longer, 128, tokens=512) < 10
    with pytest.raises(ValueError, match="learned positions end with their table"):
        chapter.allow_length(ModernForMaskedLM(replace(TINY, rope=False)), 128)


def test_pre_norm_shrinks_the_last_gradient_and_learns_without_warm_up() -> None:
    last = {case: chapter.gradient_norms(case[0], 0.05, case[1])[-1] for case in ((False, 4), (True, 4))}
    assert last[True, 4] < 0.9 * last[False, 4]
    assert len(chapter.gradient_norms(True, 0.05, 3)) == 3
    losses = chapter.learn_by_heart(pre_norm=True, seed=0, layers=2, steps=20)
    assert len(losses) == 20 and losses[-1] < 0.5 * losses[0]
    assert chapter.learn_by_heart(pre_norm=False, seed=0, layers=2, steps=1) != losses[:1]


def test_the_share_of_the_mean_is_that_of_what_the_norm_reads() -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=8,
    )
    model = BertModel(config).eval()
    ids, mask = torch.randint(5, 50, (2, 6)), torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    before = chapter.mean_shares(model, ids, mask)
    model.encoder.layer[1].output.dense.bias.data += 100.0  # every feature: nearly all of it is the mean
    after = chapter.mean_shares(model, ids, mask)
    assert before[0] == after[0] < 0.5 and after[1] > 0.99
    model.encoder.layer[1].output.dense.bias.data[:4] -= 200.0  # now half of them are opposite
    assert chapter.mean_shares(model, ids, mask)[1] < 0.01
    changed = ids.clone()
    changed[1, 4:] = 7  # padding does not count
    assert chapter.mean_shares(model, changed, mask) == chapter.mean_shares(model, ids, mask)


def test_operations_are_those_of_the_formulas() -> None:
    config = ModernConfig.modernbert()
    everywhere = replace(config, local_attention=0)
    assert chapter.attention_operations(everywhere, 512) == 22 * 4 * 512 * 512 * 768
    assert chapter.attention_operations(config, 512) == (8 * 512 + 14 * 129) * 4 * 512 * 768
    assert chapter.attention_operations(config, 100) == chapter.attention_operations(everywhere, 100)
    weights = sum(
        p.numel() for name, p in _meta(config).named_parameters() if "layers" in name and p.dim() == 2
    )
    assert chapter.matrix_operations(config, 10) == 2 * 10 * weights
    plain = replace(config, gated=False)
    assert chapter.matrix_operations(plain, 10) < chapter.matrix_operations(config, 10)


def _meta(config: ModernConfig) -> ModernForMaskedLM:
    with torch.device("meta"):
        return ModernForMaskedLM(config)


def test_models_take_turns() -> None:
    calls: list[str] = []

    class Named(torch.nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def forward(self, *inputs: torch.Tensor) -> None:
            assert len(inputs) == 2 and not torch.is_grad_enabled()
            calls.append(self.name)

    ids = torch.ones(1, 2, dtype=torch.int64)
    found = chapter.seconds_in_turns({"a": Named("a"), "b": Named("b")}, Batch(ids, ids, ids), rounds=2)
    assert calls == ["a", "b"] * 3 and all(0 <= seconds < 1 for seconds in found.values())


def test_a_score_is_of_the_last_step_with_students_interval() -> None:
    accuracies = [0.20, 0.22, 0.27]
    rows = [row("rope muon", seed, accuracy) for seed, accuracy in enumerate(accuracies)]
    rows += [row("rope muon", 0, 0.9, step=500), row("rope", 0, 0.8)]
    found = chapter.score(rows, {"muon", "rope"})
    assert found.accuracies == accuracies and found.time == 1.1
    assert found.loss == pytest.approx(8 - 10 * np.mean(accuracies))
    error = np.std(accuracies, ddof=1) / np.sqrt(3)
    low, high = student.interval(0.95, 2, loc=np.mean(accuracies), scale=error)
    assert found.mean - found.half == pytest.approx(low, abs=1e-4)
    assert found.mean + found.half == pytest.approx(high, abs=1e-4)
    assert chapter.score(rows, {"rope"}).half == 0.0
    with pytest.raises(ValueError, match=r"no stored run has the switches \['geglu'\]"):
        chapter.score(rows, {"geglu"})


@pytest.mark.parametrize("base", [knockout.BERT, knockout.MODERN])
def test_each_switch_is_found_from_both_ends_best_first(base: frozenset[str]) -> None:
    rows = [row(" ".join(on), 0, 0.1 + len(on) / 1000) for on in knockout.knock_outs()]
    rows += [row(" ".join(base ^ {"rope"}), 1, 0.9)]
    found = chapter.changed(rows, base)
    assert next(iter(found)) == "rope" and set(found) == set(knockout.SWITCHES)
    assert len(found["rope"].accuracies) == 2
    means = [one.mean for one in found.values()]
    assert means == sorted(means, reverse=True)
    assert found["rope"].label == ("− rope" if "rope" in base else "+ rope")


def test_figures_name_what_they_show() -> None:
    one = chapter.Score([0.1, 0.2], 5.0, 1.0)
    scores = {"rope": one._replace(label="+ rope"), "muon": one._replace(label="− muon")}
    picture = chapter.plot_knockouts({"here": (one, scores)})
    assert "here: rope on top" in picture.alt
    [axes] = picture.figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["+ rope", "− muon"]
    assert "post-norm from 1 to 2" in chapter.plot_gradients({"post-norm": [1.0, 2.0]}).alt
    assert "over the distance" in chapter.plot_distances({"a": torch.ones(3)}).alt
