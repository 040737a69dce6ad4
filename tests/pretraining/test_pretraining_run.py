"""Pretraining runs: options reach model and data; runs are repeatable, stop and resume; `--help` works."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from conftest import largest, twins

from bertlearn.data.corpora import Document
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForMaskedLM, BertForPreTraining
from bertlearn.model.inference import fill_mask
from bertlearn.pretraining import run as run_module
from bertlearn.pretraining.corpus import Shards, build_shards
from bertlearn.pretraining.masking import chunk
from bertlearn.pretraining.models import POSITIONS, grown_model, new_model
from bertlearn.pretraining.options import PretrainOptions
from bertlearn.pretraining.run import (
    evaluate,
    held_out_batches,
    pretrain,
    pretraining_targets,
    pretraining_task,
)
from bertlearn.tokenizer.learn import train_wordpiece
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer
from bertlearn.training.checkpoint import CheckpointError
from bertlearn.training.loop import train
from bertlearn.training.options import TrainingOptions
from bertlearn.training.task import Run

TRAINING = TrainingOptions(steps=12, batch_size=4, precision="fp32", log_every=4, evaluate_every=6)
OPTIONS = PretrainOptions(max_length=32, training=TRAINING)
SENTENCES = (
    "The cat sat on the mat.",
    "A dog came in.",
    "Nobody saw the dog.",
    "The mat was red and the cat was grey.",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = ["\n".join(SENTENCES[i % 4 :] + SENTENCES[: i % 3]) for i in range(40)]
    tokenizer = WordPieceTokenizer(train_wordpiece(texts, 90).vocab)
    folder = tmp_path_factory.mktemp("shards")
    build_shards([Document("tales", text) for text in texts], folder, tokenizer, progress=False)
    return folder


@pytest.fixture(scope="module")
def held_out(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    other = tmp_path_factory.mktemp("held_out")
    documents = [Document("fables", "\n".join(SENTENCES[::-1][i % 3 :] * 2)) for i in range(40)]
    build_shards(documents, other, WordPieceTokenizer.from_pretrained(folder), progress=False)
    return other


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_options_reach_the_model() -> None:
    model = new_model(replace(OPTIONS, initializer_range=0.05, dropout=0.3, preset="mini"), 90)
    assert isinstance(model, BertForMaskedLM)
    assert model.bert.encoder.layer[0].attention.self.query.weight.std().item() == pytest.approx(
        0.05, rel=0.05
    )
    assert model.config.hidden_dropout_prob == model.config.attention_probs_dropout_prob == 0.3
    assert (model.config.hidden_size, model.config.max_position_embeddings) == (256, 32)
    assert isinstance(new_model(replace(OPTIONS, pairs=True), 90), BertForPreTraining)


def test_sinusoidal_positions_are_those_of_the_transformer() -> None:
    sines = new_model(replace(OPTIONS, positions="sinusoidal"), 90)
    table = sines.bert.embeddings.position_embeddings.weight.detach()
    expected = torch.tensor([3.0]).sin() * 0.05 * 2**0.5
    assert table[3, 0].item() == pytest.approx(expected.item(), rel=1e-5)
    angle = torch.tensor(7 / 10000 ** (6 / 128))
    assert table[7, 7].item() == pytest.approx(angle.cos().item() * 0.05 * 2**0.5, rel=1e-5)
    random = new_model(OPTIONS, 90).bert.embeddings.position_embeddings.weight
    rms = [x.square().mean().sqrt().item() for x in (random, table)]
    assert rms[0] == pytest.approx(rms[1], rel=0.05)  # as large as random weights


def test_a_new_model_leaves_the_callers_random_state_unchanged() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one = new_model(OPTIONS, 90)
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(weights(one), weights(new_model(OPTIONS, 90)))
    other = replace(OPTIONS, training=replace(TRAINING, seed=1))
    assert not torch.equal(weights(one), weights(new_model(other, 90)))


def test_the_first_steps_read_the_same_sequences_split_into_chunks(folder: Path) -> None:
    full = pretraining_task(Shards.open(folder), replace(OPTIONS, short_share=0.0))
    task = pretraining_task(Shards.open(folder), replace(OPTIONS, short_share=0.5))
    assert task.batch(5 * 4, 4).input_ids.shape == (16, 8)
    assert task.batch(6 * 4, 4).input_ids.shape == (4, 32)
    chunks, expected = task.batch(0, 4), full.batch(0, 4)
    assert torch.equal(chunks.input_ids.view(4, 32), expected.input_ids)
    assert torch.equal(chunks.labels.view(4, 32), expected.labels)
    assert chunks.position_ids[5].tolist() == [8, 9, 10, 11, 12, 13, 14, 15]


def test_a_chunk_gives_the_output_of_attention_within_the_chunk(folder: Path) -> None:
    batch = pretraining_task(Shards.open(folder), replace(OPTIONS, short_share=0.0)).batch(0, 3)
    ours, theirs = twins(new_model(OPTIONS, 90).config)
    blocks = torch.block_diag(*[torch.ones(8, 8)] * 4).expand(3, 1, 32, 32)
    expected = theirs(batch.input_ids, (1 - blocks) * torch.finfo(torch.float32).min).last_hidden_state
    chunks = chunk(batch, 8)
    found = ours(chunks.input_ids, position_ids=chunks.position_ids).last_hidden_state
    assert largest(found.view(3, 32, -1), expected) < 1e-5


def test_chunks_of_padding_are_dropped_and_a_pairs_label_stays_with_cls(folder: Path) -> None:
    options = replace(OPTIONS, short_share=0.0, pairs=True)
    batch = pretraining_task(Shards.open(folder), options).batch(0, 64)
    chunks = chunk(batch, 8)
    assert 64 < len(chunks.input_ids) < 64 * 4
    assert chunks.attention_mask.any(dim=1).all()
    assert chunks.attention_mask.sum() == batch.attention_mask.sum()
    assert (chunks.labels != -100).sum() == (batch.labels != -100).sum()
    starts = chunks.position_ids[:, 0] == 0
    assert torch.equal(chunks.next_sentence_label[starts], batch.next_sentence_label)
    assert (chunks.next_sentence_label[~starts] == -100).all()
    assert pretraining_targets(chunks) == pretraining_targets(batch)


def test_lengths_that_do_not_divide_are_rejected() -> None:
    with pytest.raises(ValueError, match="max_length=60 cannot be split into chunks of short_length=8"):
        PretrainOptions(max_length=60)
    with pytest.raises(ValueError, match="short_share=1"):
        PretrainOptions(short_share=1.0)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("precision", "fp16", "precision='fp16' is unknown; use auto, fp32, bf16"),
        ("steps", 2.5, "steps=2.5 must be a whole number"),
        ("seed", -1, "seed=-1"),
        ("learning_rate", 0.0, "learning_rate=0.0"),
        ("warmup", 1.0, "warmup=1.0"),
    ],
)
def test_invalid_options_are_rejected(name: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(TRAINING, **{name: value})


@pytest.mark.parametrize("pairs", [False, True])
def test_runs_learn_are_repeatable_and_load_in_transformers(
    folder: Path, held_out: Path, tmp_path: Path, pairs: bool
) -> None:
    options = replace(OPTIONS, pairs=pairs, training=replace(TRAINING, steps=60, learning_rate=5e-3))
    one = pretrain(folder, options, tmp_path / "run", held_out=held_out)
    again = pretrain(folder, options)
    assert torch.equal(weights(one.model), weights(again.model))
    losses = [record["mlm_loss"] for record in one.run.history]
    assert losses[-1] < math.log(90) - 1.5  # a dead optimizer would stay at ln 90
    assert one.run.finished and not one.model.training
    theirs = getattr(transformers, type(one.model).__name__).from_pretrained(tmp_path / "run").eval()
    batch = one.tokenizer.encode_batch(["the cat [MASK] on the mat."])
    found = theirs(**batch._asdict())
    logits = found.prediction_logits if pairs else found.logits
    assert largest(one.model(**batch._asdict()).prediction_logits, logits) < 1e-4
    assert fill_mask(one.model, one.tokenizer, "the cat [MASK] on the mat.")[0]


NEW: dict[str, dict[str, object]] = {
    "modern": {"architecture": "modern"},
    "electra": {"objective": "electra"},
    "muon": {"training": replace(TRAINING, optimizer="muon", stable=0.4)},
    "modern with muon": {"architecture": "modern", "training": replace(TRAINING, optimizer="muon")},
}


@pytest.mark.parametrize("name", NEW)
def test_the_newer_runs_learn_resume_with_the_same_bits_and_load(
    folder: Path, held_out: Path, tmp_path: Path, name: str
) -> None:
    options = replace(OPTIONS, **NEW[name])
    options = replace(options, training=replace(options.training, steps=40, learning_rate=5e-3))
    whole = pretrain(folder, options, tmp_path / "whole", held_out=held_out)
    losses = [record["mlm_loss"] for record in whole.run.history]
    assert losses[-1] < losses[0] - 0.5
    assert not pretrain(folder, options, tmp_path / "run", held_out=held_out, until=13).run.finished
    rest = pretrain(folder, options, tmp_path / "run", held_out=held_out, resume=True)
    assert torch.equal(weights(rest.model), weights(whole.model))
    assert rest.run.history[-1]["valid_mlm_loss"] == whole.run.history[-1]["valid_mlm_loss"]
    ids = torch.arange(5, 25)[None]
    for path in (tmp_path / "run", tmp_path / "whole"):
        if name == "electra":
            encoder, right = BertModel.from_pretrained(path), whole.model.discriminator
            assert torch.equal(encoder(ids)[0], right(ids)[0])
            generator = BertForMaskedLM.from_pretrained(path / "generator")
            assert torch.equal(generator(ids)[1], whole.model.generator(ids)[1])
        else:
            again = type(whole.model).from_pretrained(path)
            assert torch.equal(again(ids)[1], whole.model(ids)[1])


def test_electra_counts_its_answers_and_weighs_them(folder: Path) -> None:
    options = replace(OPTIONS, objective="electra", short_share=0.0)
    task, model = pretraining_task(Shards.open(folder), options), new_model(options, 90).eval()
    batch = task.batch(0, 4)
    tokens = 4 * 32 if batch.attention_mask is None else int(batch.attention_mask.sum())
    assert task.count(batch) == {"mlm": int((batch.labels != -100).sum()), "rtd": tokens}
    torch.manual_seed(0)
    scores = task.score(model, batch)
    torch.manual_seed(0)
    output = model(**{name: value for name, value in batch._asdict().items() if value is not None})
    parts = {name: loss / task.count(batch)[name] for name, (loss, _) in scores.items()}
    expected = parts["mlm"] + task.weights["rtd"] * parts["rtd"]
    torch.testing.assert_close(output.loss, expected, rtol=1e-5, atol=0)
    correct = (output.replaced_logits > 0) == output.replaced
    keep = torch.ones(4, 32).bool() if batch.attention_mask is None else batch.attention_mask.bool()
    assert scores["rtd"].correct == correct[keep].sum()


CONTRADICTIONS: dict[str, dict[str, object]] = {
    "architecture='gpt' is unknown": {"architecture": "gpt"},
    "objective='nsp' is unknown": {"objective": "nsp"},
    "architecture='modern' has no token types": {"architecture": "modern", "pairs": True},
    "objective='electra' is for single texts": {"objective": "electra", "pairs": True},
    "positions='sinusoidal' is for": {"architecture": "modern", "positions": "sinusoidal"},
}


@pytest.mark.parametrize("message", CONTRADICTIONS)
def test_options_that_contradict_each_other_are_rejected(message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(OPTIONS, **CONTRADICTIONS[message])


def test_a_modern_run_starts_from_a_modern_model_alone(folder: Path, tmp_path: Path) -> None:
    modern = replace(OPTIONS, architecture="modern")
    first = pretrain(folder, modern, tmp_path / "modern")
    longer = grown_model(tmp_path / "modern", replace(modern, max_length=48))
    assert longer.config.max_position_embeddings == 48
    assert torch.equal(weights(longer), weights(first.model))
    pretrain(folder, OPTIONS, tmp_path / "bert")
    with pytest.raises(ValueError, match=r"bert has intermediate_size=512, but the preset 'tiny' has 336"):
        grown_model(tmp_path / "bert", modern)
    with pytest.raises(ValueError, match="objective='electra' cannot start from"):
        grown_model(tmp_path / "bert", replace(OPTIONS, objective="electra"))


def test_a_run_resumes_where_until_stopped_it(folder: Path, tmp_path: Path) -> None:
    uninterrupted = pretrain(folder, OPTIONS, tmp_path / "uninterrupted")
    part = pretrain(folder, OPTIONS, tmp_path / "part", until=5)
    assert (part.run.step, part.run.finished) == (5, False)
    assert not (tmp_path / "part" / "model.safetensors").exists()
    rest = pretrain(folder, OPTIONS, tmp_path / "part", resume=True)
    assert torch.equal(weights(uninterrupted.model), weights(rest.model))


def test_a_run_is_not_continued_with_other_held_out_text(
    folder: Path, held_out: Path, tmp_path: Path
) -> None:
    """The two losses would share a column of the history."""
    documents = [Document("others", "\n".join(SENTENCES[1:] * 2)) for _ in range(40)]
    tokenizer = WordPieceTokenizer.from_pretrained(folder)
    build_shards(documents, tmp_path / "other", tokenizer, progress=False)
    pretrain(folder, OPTIONS, tmp_path / "run", held_out, until=7)
    for other in (None, tmp_path / "other"):
        with pytest.raises(CheckpointError, match=r"held_out is '\w{64}' there and (None|'\w{64}') here"):
            pretrain(folder, OPTIONS, tmp_path / "run", other, resume=True)
    shutil.copytree(held_out, tmp_path / "moved")
    assert pretrain(folder, OPTIONS, tmp_path / "run", tmp_path / "moved", resume=True).run.finished


WRONG_TYPES = {
    "data": (None, "data=None is NoneType, expected a path"),
    "options": (TRAINING, "options is TrainingOptions.*, expected PretrainOptions; use PretrainOptions"),
    "output": (5, "output=5 is int, expected a path"),
    "held_out": (0, "held_out=0 is int, expected a path"),
    "start_from": (["a"], r"start_from=\['a'\] is list, expected a path"),
    "until": ("5", "until='5' must be a whole number of at least 0"),
    "callback": (5, "callback=5 is int, expected a function of the progress"),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_arguments_of_another_type_are_refused_before_the_shards_are_opened(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, message = WRONG_TYPES[name]
    monkeypatch.setattr(Shards, "open", lambda *args: pytest.fail("shards were opened"))
    with pytest.raises(ValueError, match=message):
        pretrain(**{"data": folder, "options": OPTIONS, name: value})


def test_a_run_stops_at_its_callbacks_request(folder: Path) -> None:
    run = pretrain(folder, OPTIONS, callback=lambda progress: progress.step == 2).run
    assert (run.step, run.finished) == (3, False)


def test_held_out_batches_are_always_the_same_and_masked_at_15_percent(folder: Path) -> None:
    shards, tokenizer = Shards.open(folder), WordPieceTokenizer.from_pretrained(folder)
    one, two = (held_out_batches(shards, tokenizer, 32, False, count=100) for _ in range(2))
    assert [len(batch.input_ids) for batch in one] == [64, 36]
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(one, two, strict=True))
    chosen = sum((batch.labels != -100).sum().item() for batch in one)
    assert chosen / (100 * 30) == pytest.approx(0.15, abs=0.025)


def test_evaluation_equals_counting_by_hand(folder: Path) -> None:
    shards, tokenizer = Shards.open(folder), WordPieceTokenizer.from_pretrained(folder)
    model = new_model(replace(OPTIONS, pairs=True), tokenizer.vocab_size).eval()
    batches = held_out_batches(shards, tokenizer, 32, True, count=70)
    found = evaluate(model, batches)
    losses, correct, pairs_correct = [], [], []
    for batch in batches:
        logits = model(batch.input_ids, batch.attention_mask, batch.token_type_ids)
        for row, labels in zip(logits.prediction_logits, batch.labels, strict=True):
            for scores, label in zip(row, labels, strict=True):
                if label != -100:
                    losses.append(-scores.log_softmax(-1)[label].item())
                    correct.append(scores.argmax().item() == label.item())
        pairs_correct += (logits.seq_relationship_logits.argmax(-1) == batch.next_sentence_label).tolist()
    assert found["valid_mlm_loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-4)
    assert found["valid_mlm_accuracy"] == pytest.approx(sum(correct) / len(correct))
    assert found["valid_nsp_accuracy"] == pytest.approx(sum(pairs_correct) / 70)


def test_held_out_text_of_another_vocabulary_is_rejected(folder: Path, tmp_path: Path) -> None:
    tokenizer = WordPieceTokenizer(train_wordpiece(list(SENTENCES), 60).vocab)
    build_shards([Document("tales", text) for text in SENTENCES], tmp_path, tokenizer, progress=False)
    with pytest.raises(ValueError, match="vocabulary"):
        pretrain(folder, OPTIONS, held_out=tmp_path)


def test_held_out_text_that_is_trained_on_is_rejected(folder: Path, tmp_path: Path) -> None:
    """The folder itself, a copy of it, the same text built again, and one input of several."""
    tokenizer = WordPieceTokenizer.from_pretrained(folder)
    tales = [Document("tales", "\n".join(SENTENCES[i % 4 :])) for i in range(8)]
    more = [Document("more", "Nobody came. The cat was red.") for _ in range(8)]
    for name, documents in (("both", more + tales), ("one", tales), ("again", tales)):
        build_shards(documents, tmp_path / name, tokenizer, progress=False)
    shutil.copytree(folder, tmp_path / "copy")
    for data, held_out in (
        (folder, folder),
        (folder, tmp_path / "copy"),
        (tmp_path / "one", tmp_path / "again"),
        (tmp_path / "both", tmp_path / "one"),
    ):
        with pytest.raises(ValueError, match=r"held-out text in .* is also in .*; hold out other text"):
            pretrain(data, OPTIONS, held_out=held_out)


def test_an_output_folder_with_what_is_read_is_rejected(folder: Path, held_out: Path, tmp_path: Path) -> None:
    pretrain(folder, OPTIONS, tmp_path / "short")
    shutil.rmtree(tmp_path / "short" / "checkpoints")
    for path in (folder, held_out, tmp_path / "short"):
        (tmp_path / "copy").mkdir()
        shutil.copytree(path, tmp_path / "copy", dirs_exist_ok=True)
        before = {file: file.read_bytes() for file in (tmp_path / "copy").iterdir() if file.is_file()}
        start = tmp_path / "copy" if path.name == "short" else None
        with pytest.raises(
            ValueError, match=r"copy is (a folder of shards|the model to start from), .*choose"
        ):
            pretrain(folder, OPTIONS, tmp_path / "copy", start_from=start)
        assert {file: file.read_bytes() for file in (tmp_path / "copy").iterdir()} == before
        shutil.rmtree(tmp_path / "copy")


def test_the_output_is_checked_before_the_first_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_module, "train", pytest.fail)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"file is a file, expected a folder; choose another"):
        pretrain(folder, OPTIONS, tmp_path / "file")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9 - 10**5, 10**5))
    with pytest.raises(ValueError, match=r"has 0\.1 MB free, expected at least"):
        pretrain(folder, OPTIONS, tmp_path / "out")


def test_a_model_is_rescued_if_its_folder_is_lost_during_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    def lose_folder(*args: object) -> Run:
        run = train(*args)
        shutil.rmtree(tmp_path / "out")
        (tmp_path / "out").touch()
        return run

    monkeypatch.setattr(run_module, "train", lose_folder)
    with pytest.raises(OSError, match=r"out could not be written .*; the model is in .* instead"):
        pretrain(folder, OPTIONS, tmp_path / "out")
    (rescued,) = (tmp_path / "tmp").iterdir()
    assert (rescued / "model.safetensors").is_file() and (rescued / "vocab.txt").is_file()


LONGER = replace(OPTIONS, max_length=64, short_share=0.0)


def test_a_run_goes_on_from_a_model_with_longer_sequences(folder: Path, tmp_path: Path) -> None:
    short = pretrain(folder, replace(OPTIONS, pairs=True), tmp_path / "short").model.state_dict()
    options = replace(LONGER, pairs=True)
    start = grown_model(tmp_path / "short", options)
    assert start.config.max_position_embeddings == 64
    fresh = new_model(options, start.config.vocab_size).state_dict()
    for name, tensor in start.state_dict().items():
        if name == POSITIONS:
            assert torch.equal(tensor[:32], short[name]) and torch.equal(tensor[32:], fresh[name][32:])
        else:
            assert torch.equal(tensor, short[name]), name
    run = pretrain(folder, options, tmp_path / "long", start_from=tmp_path / "short")
    assert run.run.finished and run.model.config.max_position_embeddings == 64
    moved = run.model.state_dict()[POSITIONS] - start.state_dict()[POSITIONS]
    assert (moved.abs().amax(dim=1) > 0).all()  # the added positions are trained, too
    theirs = transformers.BertForPreTraining.from_pretrained(tmp_path / "long").eval()
    ids = torch.randint(5, start.config.vocab_size, (2, 64), generator=torch.Generator().manual_seed(0))
    assert largest(run.model(ids).prediction_logits, theirs(ids).prediction_logits) < 1e-4


def test_a_trained_model_starts_better_than_a_new_one(folder: Path, tmp_path: Path) -> None:
    training = replace(TRAINING, steps=60, learning_rate=5e-3)
    pretrain(folder, replace(OPTIONS, training=training), tmp_path / "short")
    one_step = replace(LONGER, training=replace(TRAINING, steps=1, log_every=1, learning_rate=1e-6))
    losses = [
        pretrain(folder, one_step, start_from=start).run.history[0]["mlm_loss"]
        for start in (None, tmp_path / "short")
    ]
    assert losses[1] < losses[0] - 1


def test_fewer_positions_are_never_taken_away_and_dropout_is_that_of_the_options(
    folder: Path, tmp_path: Path
) -> None:
    pretrain(folder, LONGER, tmp_path / "long")
    model = grown_model(tmp_path / "long", replace(OPTIONS, dropout=0.1, positions="sinusoidal"))
    assert (model.config.max_position_embeddings, model.config.hidden_dropout_prob) == (64, 0.1)
    assert torch.equal(weights(model), weights(BertForMaskedLM.from_pretrained(tmp_path / "long")))


def test_a_run_from_a_model_resumes_and_only_with_that_model(folder: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        seeded = replace(OPTIONS, training=replace(TRAINING, seed=seed))
        pretrain(folder, seeded, tmp_path / f"short{seed}")
    expected = pretrain(folder, LONGER, start_from=tmp_path / "short0")
    pretrain(folder, LONGER, tmp_path / "long", start_from=tmp_path / "short0", until=5)
    for other in (None, tmp_path / "short1"):
        with pytest.raises(CheckpointError, match=r"start_from is '.*' there and (None|'.*') here"):
            pretrain(folder, LONGER, tmp_path / "long", start_from=other, resume=True)
    (tmp_path / "short0").rename(tmp_path / "moved")
    rest = pretrain(folder, LONGER, tmp_path / "long", start_from=tmp_path / "moved", resume=True)
    assert torch.equal(weights(rest.model), weights(expected.model))


def test_a_model_that_does_not_fit_is_rejected(folder: Path, tmp_path: Path) -> None:
    pretrain(folder, OPTIONS, tmp_path / "short")
    with pytest.raises(ValueError, match=r"short has num_hidden_layers=2, but the preset 'mini' has 4"):
        pretrain(folder, replace(LONGER, preset="mini"), start_from=tmp_path / "short")
    with pytest.raises(
        ValueError, match=r"(?s)with pairs=True, start from a BertForPreTraining: .*seq_relationship"
    ):
        pretrain(folder, replace(LONGER, pairs=True), start_from=tmp_path / "short")
    tokenizer = WordPieceTokenizer(train_wordpiece(list(SENTENCES), 60).vocab)
    documents = [Document("tales", text) for text in SENTENCES]
    build_shards(documents, tmp_path / "other", tokenizer, progress=False)
    with pytest.raises(ValueError, match=r"the shards in .*other were built with the vocabulary"):
        pretrain(tmp_path / "other", LONGER, start_from=tmp_path / "short")
    with pytest.raises(FileNotFoundError):
        pretrain(folder, LONGER, start_from=tmp_path / "nowhere")


def test_shards_whose_tokenizer_was_changed_are_rejected(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "shards")
    path = tmp_path / "shards" / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("do_lower_case", "strip_accents"):
        path.write_text(json.dumps({**config, name: False}), encoding="utf-8")
        with pytest.raises(ValueError, match=f"built with {name}=.*, this tokenizer has False"):
            pretrain(tmp_path / "shards", OPTIONS)


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bertlearn", "pretrain", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120)


def test_the_command_trains_stops_resumes_and_says_what_is_wrong(
    folder: Path, held_out: Path, tmp_path: Path
) -> None:
    output = str(tmp_path / "out")
    usual = ["--data", str(folder), "--held-out", str(held_out), "--output", output, "--max-length", "32"]
    usual += ["--batch-size", "4", "--steps", "6", "--precision", "fp32"]
    done = run_command(*usual)
    assert done.returncode == 0, done.stderr
    assert "done at step 6 of 6" in done.stdout and "valid_mlm_accuracy" in done.stdout
    assert (tmp_path / "out" / "model.safetensors").is_file() and (tmp_path / "out" / "vocab.txt").is_file()
    again = run_command(*usual)
    assert again.returncode == 1 and "resume" in again.stderr and "Traceback" not in again.stderr
    other = run_command(*usual, "--resume", "--learning-rate", "0.01")
    assert other.returncode == 1 and "--learning-rate is 0.002 there and 0.01 here" in other.stderr
    longer = [*usual, "--max-length", "64", "--short-share", "0", "--start-from", output]
    longer[longer.index("--output") + 1] = output + "-64"
    grown = run_command(*longer)
    assert grown.returncode == 0, grown.stderr
    assert BertForMaskedLM.from_pretrained(output + "-64").config.max_position_embeddings == 64
    shutil.copytree(folder, tmp_path / "shards")
    tokens, record = tmp_path / "shards" / "00000.tokens.npy", tmp_path / "shards" / ".verified.json"
    tokens.write_bytes(tokens.read_bytes()[:-2] + b"\1\0")
    state = json.loads(record.read_text())
    for name, values in state.items():
        stat = (tmp_path / "shards" / name).stat()
        values[1:3] = stat.st_mtime_ns, stat.st_ino  # as if the damage had come after it was verified
    record.write_text(json.dumps(state))
    usual = ["--data", str(tmp_path / "shards"), "--output", output + "-d", "--max-length", "32"]
    usual += ["--batch-size", "4", "--steps", "2", "--precision", "fp32"]
    assert run_command(*usual).returncode == 0
    damaged = run_command(*usual, "--verify")
    assert damaged.returncode == 1 and "00000.tokens.npy was changed or damaged" in damaged.stderr
    missing = run_command("--data", str(tmp_path / "none"), "--output", output)
    assert missing.returncode == 1 and "Traceback" not in missing.stderr


def test_help_explains_each_option() -> None:
    text = run_command("--help").stdout
    for option in (
        "--preset",
        "--data",
        "--steps",
        "--resume",
        "--learning-rate",
        "--short-share",
        "--pairs",
        "--start-from",
        "--verify",
    ):
        assert option in text
