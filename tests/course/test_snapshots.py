"""The snapshots agree with provenance.json, improve step by step, are small, and training can resume."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bertlearn.course import snapshots
from bertlearn.course.corpus import course_documents, course_shards
from bertlearn.data import load_plots, load_reviews, split_of
from bertlearn.files import untied_state
from bertlearn.model.inference import fill_mask
from bertlearn.pretraining.corpus import Shards
from bertlearn.pretraining.models import new_model
from bertlearn.pretraining.run import Pretrained, evaluate, held_out_batches, pretrain
from bertlearn.tokenizer.learn import train_wordpiece
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.options import TrainingOptions

ROOT = Path(__file__).parents[2]


def losses() -> dict[int, float]:
    return {snapshot["step"]: snapshot["all_loss"] for snapshot in snapshots.provenance()["snapshots"]}


def test_all_snapshots_exist_and_are_small() -> None:
    files = sorted(snapshots.SNAPSHOTS.glob("*.safetensors"))
    assert files == [snapshots.snapshot_path(step) for step in snapshots.STEPS[1:]]
    assert sum(file.stat().st_size for file in files) < 15e6
    with pytest.raises(ValueError, match="step=7 has no snapshot; choose among 0, 250"):
        snapshots.load_snapshot(7)


@pytest.mark.parametrize("step", snapshots.STEPS[1:])
def test_a_snapshot_has_the_loss_that_its_provenance_states(step: int) -> None:
    snapshot = snapshots.load_snapshot(step)
    shards = Shards.open(course_shards("validation"))
    scores = evaluate(snapshot.model, held_out_batches(shards, snapshot.tokenizer, 64, False))
    assert scores["valid_mlm_loss"] == pytest.approx(losses()[step], abs=0.002)
    assert not snapshot.model.training and snapshot.step == step
    assert all(tensor.dtype == torch.float32 for tensor in snapshot.model.state_dict().values())


def test_step_0_is_the_model_as_initialized() -> None:
    snapshot = snapshots.load_snapshot(0)
    initialized = untied_state(new_model(snapshots.OPTIONS, snapshot.tokenizer.vocab_size))
    assert all(
        torch.equal(initialized[name], tensor) for name, tensor in untied_state(snapshot.model).items()
    )


def test_the_loss_stays_on_the_plateau_and_then_leaves_it() -> None:
    loss = losses()
    assert loss[500] == pytest.approx(loss[250], abs=0.4) and loss[500] > 5.9  # on the plateau
    assert loss[1000] < loss[750] < loss[500] and loss[1000] < 5.5  # and then off it
    assert loss[40000] < loss[10000] < loss[3000] < 4.5


def test_heads_that_attend_to_the_neighbors_appear() -> None:
    shards = Shards.open(course_shards("validation"))
    ids = held_out_batches(shards, snapshots.load_snapshot(0).tokenizer, 64, False, count=32)[0].input_ids
    shares = {}
    for step in (snapshots.BEFORE, 3000):
        with torch.no_grad():
            probs = (
                snapshots.load_snapshot(step).model(ids, output_attentions=True).attentions[0]
            )  # (B, A, S, S)
        shares[step] = {
            offset: probs.diagonal(offset, 2, 3).mean(dim=(0, 2)).max().item() for offset in (-1, 1)
        }
    for offset in (-1, 1):
        assert shares[snapshots.BEFORE][offset] < 0.15 and shares[3000][offset] > 0.8


def test_the_last_snapshot_predicts_plausible_tokens() -> None:
    last = snapshots.load_snapshot(snapshots.STEPS[-1])
    for text, expected in (("in [MASK] beginning", "the"), ("the city [MASK] london", "of")):
        assert expected in [guess.token for guess in fill_mask(last.model, last.tokenizer, text)[0]]


@pytest.mark.slow
def test_the_vocabulary_is_the_one_trained_on_the_training_text() -> None:
    texts = [document.text for document in course_documents("train")]
    vocab = WordPieceTokenizer.from_pretrained(snapshots.SNAPSHOTS).ids_to_tokens
    assert train_wordpiece(texts, len(vocab)).vocab == vocab


def test_the_shards_are_those_the_snapshots_were_trained_on() -> None:
    shards = Shards.open(course_shards("train"))
    assert shards.fingerprint == snapshots.provenance()["data"]["fingerprint"]


def fingerprints(ids: np.ndarray, length: int = 12) -> np.ndarray:
    """Return a hash of each run of `length` tokens; different runs almost surely have different hashes."""
    factors = np.random.default_rng(0).integers(1, 2**63, length, dtype=np.uint64)
    ids = ids.astype(np.uint64)
    return sum(factor * ids[i : len(ids) - length + 1 + i] for i, factor in enumerate(factors))


def test_no_text_about_a_test_film_is_in_the_training_shards() -> None:
    shards = Shards.open(course_shards("train"))
    tokenizer = WordPieceTokenizer.from_pretrained(shards.folder).fast()
    trained = set(
        np.concatenate([fingerprints(np.asarray(shard.tokens)) for shard in shards.shards]).tolist()
    )

    def share_known(texts: list[str]) -> float:
        """Return the share of texts most of whose runs of 12 tokens are in the training shards."""
        encoded = [np.array(x.ids) for x in tokenizer.encode_batch(texts, add_special_tokens=False)]
        long_enough = [ids for ids in encoded if len(ids) >= 12]
        known = [[run in trained for run in fingerprints(ids).tolist()] for ids in long_enough]
        return float(np.mean([np.mean(of_text) > 0.5 for of_text in known]))

    reviews = load_reviews()
    plots = {name: [p.text for p in load_plots() if split_of(p.film) == name] for name in ("train", "test")}
    assert share_known(reviews.test.sentences) == share_known(plots["test"]) == 0
    # it does find text that was trained on
    assert share_known(reviews.train.sentences[:500]) > 0.99 and share_known(plots["train"][:50]) > 0.99


def test_a_class_can_resume_from_a_snapshot(tmp_path: Path) -> None:
    snapshot = snapshots.load_snapshot(snapshots.BEFORE)
    snapshot.write_checkpoint(tmp_path)
    shards, held_out = course_shards("train"), course_shards("validation")
    last = snapshots.BEFORE + 20
    resumed = pretrain(shards, snapshots.OPTIONS, tmp_path, held_out, resume=True, until=last)
    assert resumed.run.step == snapshots.BEFORE + 20
    normal = next(row["mlm_loss"] for row in snapshots.history() if row["step"] == snapshots.BEFORE + 50)
    assert resumed.run.history[-1]["mlm_loss"] == pytest.approx(normal, abs=0.4)


def test_bands_and_history_can_be_plotted() -> None:
    for name, last in (("scratch", snapshots.SCRATCH_UNTIL), ("breakthrough", snapshots.THROUGH)):
        band = snapshots.band(name)
        assert band.steps == sorted(band.steps) and band.steps[-1] == last
        assert all(0 < deviation < 0.5 for deviation in band.std)
    assert snapshots.band("scratch").mean[-1] > 5.85  # still on the plateau
    assert snapshots.band("breakthrough").mean[-1] < 5.2
    with pytest.raises(ValueError, match="choose among"):
        snapshots.band("nonsense")
    assert snapshots.history()[-1]["step"] == snapshots.STEPS[-1]


def test_making_the_snapshots_continues_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("make_snapshots", ROOT / "tools" / "make_snapshots.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    package, work = tmp_path / "package", tmp_path / "work"
    package.mkdir()
    for module in (maker, snapshots):
        monkeypatch.setattr(module, "SNAPSHOTS", package)
    monkeypatch.setattr(snapshots, "STEPS", (0, 1, 2))
    training = TrainingOptions(steps=2, batch_size=2, evaluate_every=2, log_every=1)
    monkeypatch.setattr(snapshots, "OPTIONS", replace(snapshots.OPTIONS, training=training))
    monkeypatch.setattr(maker, "measure", lambda long_run, step, held_out: {"all_loss": float(step)})
    keep = maker.keep_snapshot

    def keep_or_interrupt(reached: Pretrained, file: Path) -> None:
        if reached.run.step == 2:
            raise KeyboardInterrupt
        keep(reached, file)

    monkeypatch.setattr(maker, "keep_snapshot", keep_or_interrupt)
    with pytest.raises(KeyboardInterrupt):
        maker.train_snapshots(maker.course_run(), work)
    assert not list(package.iterdir())  # the old snapshots stay until all new ones are there
    monkeypatch.setattr(maker, "keep_snapshot", keep)
    maker.train_snapshots(maker.course_run(), work)
    assert [snapshot["step"] for snapshot in snapshots.provenance()["snapshots"]] == [1, 2]
    assert [row["step"] for row in snapshots.history()] == [1, 2]
    assert snapshots.snapshot_path(1).read_bytes() != snapshots.snapshot_path(2).read_bytes()


def test_provenance_has_the_required_fields() -> None:
    provenance = json.loads((snapshots.SNAPSHOTS / "provenance.json").read_text(encoding="utf-8"))
    required = {"command", "commit", "data", "seed", "hardware", "seconds", "snapshots", "torch"}
    assert required <= provenance.keys()
