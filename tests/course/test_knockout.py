"""The knock-out lab: every switch changes the run, BERT is chapter 4's recipe, and runs can be repeated."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from bertlearn.course.knockout import BERT, MODERN, SWITCHES, knock_outs, new_model, pretrain, recipe, run
from bertlearn.model.config import BertConfig
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.training.options import TrainingOptions


def test_without_switches_it_is_berts_architecture_and_chapter_4s_recipe() -> None:
    made = recipe(BERT, 90)
    assert made.options == replace(PretrainOptions(), training=made.options.training)
    usual, own = asdict(TrainingOptions()), asdict(made.options.training)
    differing = {name for name in usual if usual[name] != own[name]}
    assert differing == {"steps", "precision", "compile", "log_every"}
    config = asdict(made.config)
    bert = asdict(BertConfig.preset("tiny", vocab_size=90, num_hidden_layers=3, max_position_embeddings=64))
    given = {"initializer_range": 0.05, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    assert {name: config[name] for name in bert} == {**bert, **given}


@pytest.mark.parametrize("name", SWITCHES)
def test_every_switch_changes_the_run_from_both_ends(name: str) -> None:
    assert recipe({name}, 90) != recipe(BERT, 90)
    [changed] = [on for on in knock_outs()[len(SWITCHES) + 2 :] if (name in on) != (name in MODERN)][:1]
    assert recipe(changed, 90) != recipe(MODERN, 90)


def test_a_gate_costs_no_weights() -> None:
    def count(on: set[str]) -> int:
        return sum(parameter.numel() for parameter in new_model(recipe(on, 90).config, 0).parameters())

    assert abs(count({"geglu"}) / count(set()) - 1) < 0.02


def test_each_combination_is_there_once() -> None:
    combinations = knock_outs()
    assert len(set(combinations)) == len(combinations) == 2 * len(SWITCHES) + 2
    assert {BERT, MODERN} < set(combinations)


def test_wrong_switches_are_named() -> None:
    with pytest.raises(ValueError, match="there is no switch 'rotary'; there are pre_norm"):
        recipe({"rotary"}, 90)
    with pytest.raises(ValueError, match="mask_15 and mask_30 are both on"):
        recipe({"mask_15", "mask_30"}, 90)


def test_a_run_is_repeatable_and_evaluated_three_times() -> None:
    histories = [run(MODERN, seed, steps=6, callback=lambda progress: False).history for seed in (0, 0, 1)]
    losses = [[record.get("valid_mlm_loss") for record in history] for history in histories]
    assert losses[0] == losses[1] != losses[2]
    assert sum(loss is not None for loss in losses[0]) == 3


def test_the_model_comes_with_its_run() -> None:
    trained = pretrain({"rope"}, steps=3, callback=lambda progress: False)
    assert trained.model.config.rope and not trained.model.training
    assert trained.run.finished and trained.run.step == 3
    untouched = new_model(trained.model.config, 0)
    assert not trained.model.decoder.bias.equal(untouched.decoder.bias)
