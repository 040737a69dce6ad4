"""The objectives lab: every variant changes what its paper changed and nothing else; runs can be repeated."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import Any

import pytest
import torch

from bertlearn.course import knockout, objectives
from bertlearn.course.corpus import course_shards
from bertlearn.course.objectives import (
    CLAIMS,
    EPOCHS,
    SMALL_TEXT,
    VARIANTS,
    ModernElectra,
    ModernForPairs,
    Variant,
    differences,
    encoder_of,
    new_model,
    recipe,
    task_of,
    verdict,
)
from bertlearn.finetuning.features import text_features
from bertlearn.model.electra import WEIGHT
from bertlearn.model.heads import IGNORE
from bertlearn.model.modern import ModernForMaskedLM
from bertlearn.pretraining.corpus import Shards
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.task import Task

LATE = 1000 * 16  # the number of an example after the short chunks


@cache
def shards() -> Shards:
    return Shards.open(course_shards("train"))


def task(name: str) -> Task:
    variant = VARIANTS[name]
    return task_of(variant, shards(), recipe(variant, len(shards().vocab)).options)


def model(name: str) -> Any:
    variant = VARIANTS[name]
    return new_model(variant, recipe(variant, len(shards().vocab)).config, seed=0)


def parameters(name: str) -> int:
    return sum(parameter.numel() for parameter in encoder_of(model(name)).parameters())


def test_the_base_is_the_knock_out_labs_with_rotary_positions() -> None:
    made, theirs = recipe(VARIANTS["base"], 90), knockout.recipe({"rope"}, 90)
    assert made == theirs
    ours, other = new_model(VARIANTS["base"], made.config, 5), knockout.new_model(theirs.config, 5)
    for one, two in zip(ours.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_every_run_has_as_many_tokens() -> None:
    for variant in VARIANTS.values():
        options = recipe(variant, 90).options
        assert options.training.steps * options.training.batch_size * options.max_length == 1500 * 16 * 64


def test_variants_differ_in_what_their_names_say() -> None:
    usual = asdict(Variant())
    changed = {
        name: {field for field, value in asdict(variant).items() if value != usual[field]}
        for name, variant in VARIANTS.items()
    }
    assert changed.pop("base") == set()
    assert changed.pop("batches of 64") == {"batch_size", "learning_rate"}
    assert changed.pop("ELECTRA") == {"mask_probability", "electra"}
    assert changed.pop("ELECTRA, masked tokens") == {"mask_probability", "electra"}
    assert all(len(fields) == 1 for fields in changed.values())


@pytest.mark.parametrize(("name", "share"), [("15 % masked", 0.15), ("base", 0.4)])
def test_shares_of_masks(name: str, share: float) -> None:
    labels = task(name).batch(LATE, 64).labels
    assert (labels != IGNORE).float().mean() == pytest.approx(share, abs=0.03)


def test_repeated_masks_repeat_and_fresh_ones_do_not() -> None:
    def read(name: str, epoch: int) -> dict[tuple[int, ...], tuple[int, ...]]:
        """Return the labels of each sequence of the small text, the sequence as it was before masking."""
        seen: dict[tuple[int, ...], tuple[int, ...]] = {}
        for first in range(epoch * SMALL_TEXT, (epoch + 1) * SMALL_TEXT, 500):
            batch = batches[name](first + 10**6 * SMALL_TEXT * EPOCHS, 500)
            text = torch.where(batch.labels == IGNORE, batch.input_ids, batch.labels)
            seen |= dict(zip(map(tuple, text.tolist()), map(tuple, batch.labels.tolist()), strict=True))
        return seen

    names = {1: "small text, 1 mask", EPOCHS: f"small text, {EPOCHS} masks"}
    batches = {name: task(name).batch for name in names.values()}
    for count, name in names.items():
        first, second = (read(name, epoch) for epoch in range(2))
        assert first.keys() == second.keys() and len(first) > SMALL_TEXT * 0.99
        same = [first[text] == second[text] for text in first]
        assert all(same) if count == 1 else sum(same) < 5
        assert list(first) != list(second)  # another order


def test_pairs_have_the_label_of_their_task() -> None:
    plain, following, order = (task(name).batch(LATE, 16) for name in ("pairs", "pairs, NSP", "pairs, SOP"))
    assert plain.next_sentence_label is None
    assert torch.equal(plain.input_ids, following.input_ids)  # the same texts, the same masks
    assert torch.equal(following.next_sentence_label, order.next_sentence_label)
    assert not torch.equal(following.input_ids, order.input_ids)
    assert type(model("pairs")) is ModernForMaskedLM
    assert type(model("pairs, NSP")) is type(model("pairs, SOP")) is ModernForPairs


def test_the_head_for_pairs_changes_no_masked_word() -> None:
    batch = task("pairs, NSP").batch(LATE, 4)
    inputs = (batch.input_ids, batch.attention_mask, batch.token_type_ids)
    pairs = model("pairs, NSP").eval()
    plain = ModernForMaskedLM(pairs.config).eval()
    plain.load_state_dict(pairs.state_dict(), strict=False)
    ours = pairs(*inputs, labels=batch.labels)
    assert torch.equal(ours.prediction_logits, plain(*inputs, labels=batch.labels).prediction_logits)
    assert ours.seq_relationship_logits.shape == (4, 2)
    swapped_types = pairs(batch.input_ids, batch.attention_mask, 1 - batch.token_type_ids)
    assert not torch.allclose(ours.seq_relationship_logits, swapped_types.seq_relationship_logits)


def test_albert_saves_weights_and_keeps_the_words_tied() -> None:
    layers = parameters("base") - encoder_of(model("base")).embeddings.word.weight.numel()
    assert parameters("base") - parameters("shared layers") > 0.6 * layers
    narrow = model("narrow embeddings")
    assert parameters("base") - parameters("narrow embeddings") == 4096 * (128 - 32) - 32 * 128 - 128
    assert narrow.decoder.weight is narrow.model.embeddings.word[0].weight
    assert narrow(torch.tensor([[5, 6, 7]])).prediction_logits.shape == (1, 3, 4096)


def test_electra_judges_all_tokens_or_the_masked_ones() -> None:
    all_, masked = task("ELECTRA"), task("ELECTRA, masked tokens")
    batch = all_.batch(LATE, 8)
    hidden = int((batch.labels != IGNORE).sum())
    assert all_.count(batch) == {"mlm": hidden, "rtd": batch.input_ids.numel()}
    assert masked.count(batch) == {"mlm": hidden, "rtd": hidden}
    assert all_.weights == masked.weights == {"rtd": WEIGHT}
    both = model("ELECTRA").eval()
    assert isinstance(both, ModernElectra)
    assert both.generator.model.embeddings is both.discriminator.embeddings
    torch.manual_seed(0)
    wide = all_.score(both, batch)
    torch.manual_seed(0)
    narrow = masked.score(both, batch)
    assert torch.equal(wide["mlm"][0], narrow["mlm"][0])
    assert narrow["rtd"][1] <= hidden and narrow["rtd"][0] < wide["rtd"][0]


@pytest.mark.parametrize("name", ["base", "pairs, SOP", "small text, 1 mask", "narrow embeddings", "ELECTRA"])
def test_runs_are_repeatable_and_measured_by_what_makes_sense(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = WordPieceTokenizer.from_pretrained(course_shards("train"))
    few = text_features(tokenizer, ["a good film", "a bad film"] * 8, [1, 0] * 8, 16)
    monkeypatch.setattr(objectives, "review_features", lambda: (few, few))
    found = []
    for seed in (0, 0, 1):
        trained = objectives.run(VARIANTS[name], seed, steps=4, callback=lambda progress: False)
        found.append(objectives.scores(trained, seed))
    assert found[0] == found[1] != found[2]
    missing = {column for column, value in found[0].items() if value is None}
    assert missing == (
        {"next_accuracy", "order_accuracy"} | ({"loss", "accuracy"} if name == "ELECTRA" else set())
        if name != "pairs, SOP"
        else set()
    )


def test_a_stopped_run_gives_no_model() -> None:
    with pytest.raises(KeyboardInterrupt):
        objectives.run(VARIANTS["base"], steps=4, callback=lambda progress: progress.step == 2)


def test_without_pretraining_the_weights_are_the_initial_ones() -> None:
    ours, initial = objectives.run(VARIANTS["not pretrained"]), model("not pretrained")
    for one, two in zip(ours.parameters(), initial.parameters(), strict=True):
        assert torch.equal(one, two)


def test_claims_compare_variants_by_a_yardstick_that_both_have() -> None:
    for claim in CLAIMS:
        assert {claim.better, claim.worse} <= VARIANTS.keys()
        electra = any(VARIANTS[name].electra for name in (claim.better, claim.worse))
        assert (
            claim.column == "review_accuracy" if electra else claim.column in ("accuracy", "review_accuracy")
        )


def test_differences_are_of_the_same_seed() -> None:
    rows = [
        {"variant": name, "seed": seed, "accuracy": value}
        for name, values in (("base", (0.5, 0.7)), ("15 % masked", (0.4, 0.9)))
        for seed, value in enumerate(values)
    ]
    assert differences(rows[::-1], CLAIMS[0]) == pytest.approx([0.1, -0.2])


def test_verdicts_need_three_standard_errors() -> None:
    assert verdict([0.02, 0.021, 0.019]) == "reproduced"
    assert verdict([-0.02, -0.021, -0.019]) == "reversed"
    assert verdict([0.02, 0.001, 0.01]) == "not reproduced"  # all positive, but 2.1 standard errors
    with pytest.raises(ValueError, match="has 1 values, but a spread needs two or more; run more seeds"):
        verdict([0.02])
