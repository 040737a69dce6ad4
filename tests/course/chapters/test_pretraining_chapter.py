"""What chapter 4's cells call computes what it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bertlearn import BertConfig, BertForMaskedLM, scaled_dot_product_attention
from bertlearn.course import snapshots
from bertlearn.course.chapters import pretraining as chapter
from bertlearn.course.checks import pretraining as check
from bertlearn.course.exercise import Exercise
from bertlearn.pretraining.masking import PretrainingBatch

TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}


@pytest.fixture
def model() -> BertForMaskedLM:
    torch.manual_seed(0)
    return BertForMaskedLM(BertConfig.preset("tiny", vocab_size=50, initializer_range=0.3)).eval()


@pytest.fixture
def batch() -> PretrainingBatch:
    ids = torch.randint(5, 50, (4, 16), generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.arange(16) % 3 == 0, ids, -100)
    return PretrainingBatch(ids.masked_fill(labels != -100, 4), None, torch.zeros_like(ids), labels)


def test_an_attempt_that_fails_its_check_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    def clip_gradients(gradients: object, max_norm: object) -> object:
        raise NotImplementedError

    mine = check.learning_rate.solution
    functions = chapter.ready(check, clip_gradients, mine)
    assert functions.clip_gradients is check.clip_gradients.solution
    assert functions.learning_rate is mine
    assert capsys.readouterr().out.split() == ["clip_gradients", "the", "course’s", "learning_rate", "yours"]
    assert isinstance(check.clip_gradients, Exercise)


def test_only_records_with_an_evaluation_are_on_the_curve() -> None:
    history = [{"step": 50.0}, {"step": 100.0, "valid_mlm_loss": 6.5}, {"step": 200.0, "valid_mlm_loss": 6.0}]
    assert chapter.held_out_curve(history) == ([100, 200], [6.5, 6.0])


def test_an_ablation_has_a_curve_for_each_seed() -> None:
    name = "15 % masked, as BERT"
    steps, curves = chapter.ablation_curves("loss", "the recipe", name)
    assert [len(run) for runs in curves.values() for run in runs] == 6 * [len(steps)]
    last = [
        float(row["loss"]) for row in snapshots.ablation() if row["variant"] == name and row["step"] == "1500"
    ]
    assert steps[-1] == 1500 and chapter.ablation_end("loss", name) == pytest.approx(sum(last) / 3)


def test_a_run_that_stays_on_the_plateau_counts_with_its_last_step() -> None:
    assert (
        chapter.steps_to_leave("the recipe") < chapter.steps_to_leave("positions that start as sines") < 1500
    )
    assert chapter.steps_to_leave("whole sequences from the start") == 1500


def test_the_scores_of_a_snapshot_stand_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    chapter.print_scores({250: (6.5, 0.02), 40000: (3.8, 0.29)})
    header, names, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].split() == ["250", "6.31", "0.076", "6.50", "0.020"]
    assert names.split() == ["step", *2 * ["loss", "accuracy"]]
    assert header.index("all chosen") == names.index("loss") and len(names) == len(lines[0])


def test_the_guesses_of_each_model_are_under_its_step() -> None:
    early, late = (snapshots.load_snapshot(step) for step in (250, 10000))
    models = {early.step: early.model, late.step: late.model}
    found = chapter.guesses_by_step(models, early.tokenizer, "the king sent his men into the [MASK].", 3)
    assert list(found) == [250, 10000] and [len(tokens) for tokens in found.values()] == [3, 3]
    assert found[250][0] in (",", "the", "and", "of", ".") and found[250] != found[10000]


def test_the_run_through_the_breakthrough_starts_at_step_750(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written: list[Any] = []
    monkeypatch.setattr(snapshots.Snapshot, "write_checkpoint", lambda *args: written.append(args))
    options = chapter.start_at_750(str(tmp_path))
    [(snapshot, folder, used)] = written
    assert snapshot.step == 750 and folder == str(tmp_path) and used is options
    assert options.training.evaluate_every == 100
    assert replace(options, training=snapshots.OPTIONS.training) == snapshots.OPTIONS


def test_the_fates_share_the_loss(model: BertForMaskedLM, batch: PretrainingBatch) -> None:
    first = torch.arange(4)[:, None].expand_as(batch.labels) < 2
    found = chapter.loss_by_fate(model, batch.input_ids, batch.labels, {"first": first, "last": ~first})
    whole = model(batch.input_ids, labels=batch.labels).loss.item()
    assert (found["first"][0] + found["last"][0]) / 2 == pytest.approx(whole, rel=1e-4)
    assert found["first"][0] != pytest.approx(found["last"][0], rel=1e-4)


@pytest.mark.parametrize("length", [16, 8])
def test_a_head_that_knows_nothing_spreads_its_weight(
    model: BertForMaskedLM, batch: PretrainingBatch, length: int
) -> None:
    for layer in model.bert.encoder.layer:
        layer.attention.self.query.weight.data.zero_()
        layer.attention.self.query.bias.data.zero_()
    weights = chapter.neighbor_weights(model, batch.input_ids, length)
    torch.testing.assert_close(weights, torch.full_like(weights, 1 / length))


def test_the_dial_at_0_changes_nothing_and_turned_up_it_looks_at_the_neighbor() -> None:
    query, key, value = torch.randn(3, 2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        chapter.dial(0.0, -1)(query, key, value), scaled_dot_product_attention(query, key, value)
    )
    before = chapter.dial(50.0, -1)(query, key, value)[1].diagonal(-1, dim1=-2, dim2=-1)
    after = chapter.dial(50.0, 1)(query, key, value)[1].diagonal(1, dim1=-2, dim2=-1)
    torch.testing.assert_close(torch.stack([before, after]), torch.ones(2, 2, 4, 5))


def test_the_slope_of_the_dial_is_that_of_the_losses(model: BertForMaskedLM, batch: PretrainingBatch) -> None:
    beta = torch.zeros((), requires_grad=True)
    slope = torch.autograd.grad(chapter.loss_at(model, batch, beta, -1), beta)[0]
    low, high = chapter.losses_at(model.double(), batch, [-1e-4, 1e-4], -1)
    assert slope.item() == pytest.approx((high - low) / 2e-4, rel=1e-2)


def test_the_operations_are_those_that_torch_counts() -> None:
    config = BertConfig.preset("tiny", vocab_size=500)
    ids = torch.randint(5, 500, (1, 40), generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.arange(40) < 6, ids, -100)  # 15 %
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        BertForMaskedLM(config)(ids, labels=labels)
    assert 3 * counter.get_total_flops() / 40 == pytest.approx(
        chapter.operations_per_token(config, 40), rel=1e-3
    )


def test_the_figure_of_the_warm_up_has_a_line_for_each_deep_run_without() -> None:
    runs = {(layers, warmup): torch.rand(3, 5) for layers in (2, 8) for warmup in (0.0, 0.3)}
    [axes] = chapter.plot_warmup(runs).figure.axes
    assert len(axes.get_lines()) == 3 + 3 and len(axes.collections) == 3


def test_a_figure_of_the_bug_hunt_shows_one_loss_of_every_run() -> None:
    history = [
        {"step": 10.0, "mlm_loss": 4.0, "nsp_loss": 0.7},
        {"step": 20.0, "mlm_loss": 3.0, "nsp_loss": 0.6},
    ]
    [axes] = chapter.plot_suspects({"healthy": history, "A": history}, "nsp_loss").figure.axes
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[0.7, 0.6], [0.7, 0.6]]


def test_pairs_that_share_a_rare_word_score_higher(monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    ids = np.array([[2, 7, 9, 3, 7, 8, 3], [2, 6, 9, 3, 9, 8, 3]])
    rows = SimpleNamespace(
        input_ids=ids,
        token_type_ids=np.array(2 * [[0, 0, 0, 0, 1, 1, 1]]),
        attention_mask=np.ones_like(ids),
        next_sentence_label=np.array([0, 1]),
    )
    monkeypatch.setattr(
        chapter, "Examples", lambda *args, **kwargs: SimpleNamespace(rows=lambda first, count: rows)
    )
    shares = torch.tensor([0.0] * 6 + [1e-4, 1e-4, 0.1, 0.8998])
    scores, labels = chapter.shared_rare_tokens(None, shares, 2)  # type: ignore[arg-type]
    assert scores[0] == pytest.approx(9.21, abs=0.01) and scores[1] == 0 and labels.tolist() == [0, 1]
