"""Round trips with transformers, and every file that must be refused."""

from __future__ import annotations

import errno
import json
import pickle
from pathlib import Path

import pytest
import torch
import transformers
from conftest import largest, random_batch, twins
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bertlearn.model import pretrained
from bertlearn.model.bert import BertModel
from bertlearn.model.config import BertConfig


@pytest.fixture
def saved(tmp_path: Path, small_config: BertConfig) -> tuple[BertModel, Path]:
    ours, _ = twins(small_config)
    ours.save_pretrained(tmp_path / "model")
    return ours, tmp_path / "model"


def edit_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_tensors(folder: Path, **changes: torch.Tensor | None) -> None:
    state = {**load_file(folder / "model.safetensors"), **changes}
    save_file({name: t for name, t in state.items() if t is not None}, folder / "model.safetensors")


def test_what_we_save_transformers_loads(saved: tuple[BertModel, Path], small_config: BertConfig) -> None:
    ours, folder = saved
    theirs, report = transformers.AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    batch = random_batch(small_config)
    with torch.no_grad():
        found, expected = ours(**batch), theirs.eval()(**batch)
    assert largest(found.last_hidden_state, expected.last_hidden_state) < 1e-5
    assert largest(found.pooler_output, expected.pooler_output) < 1e-5


def test_what_transformers_saves_we_load(tmp_path: Path, small_config: BertConfig) -> None:
    _, theirs = twins(small_config)
    theirs.save_pretrained(tmp_path)
    ours, batch = BertModel.from_pretrained(tmp_path), random_batch(small_config)
    assert ours.config == small_config
    with torch.no_grad():
        assert largest(ours(**batch).pooler_output, theirs(**batch).pooler_output) < 1e-5


def test_a_round_trip_keeps_every_bit(saved: tuple[BertModel, Path]) -> None:
    ours, folder = saved
    again = BertModel.from_pretrained(folder)
    assert again.config == ours.config
    assert not again.training
    for (name, one), other in zip(ours.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_a_pretraining_checkpoint_gives_its_encoder(tmp_path: Path, small_config: BertConfig) -> None:
    config = transformers.BertConfig(**small_config.to_dict())
    theirs = transformers.BertForPreTraining(config).eval()
    theirs.save_pretrained(tmp_path)
    ours, batch = BertModel.from_pretrained(tmp_path), random_batch(small_config)
    with torch.no_grad():
        assert largest(ours(**batch).pooler_output, theirs.bert(**batch).pooler_output) < 1e-5


def test_a_model_without_pooler(tmp_path: Path, small_config: BertConfig) -> None:
    ours = BertModel(small_config, add_pooling_layer=False).eval()
    ours.save_pretrained(tmp_path)
    again = BertModel.from_pretrained(tmp_path)
    assert again.pooler is None
    assert again(**random_batch(small_config)).pooler_output is None


def test_the_oldest_names_are_read(saved: tuple[BertModel, Path], small_config: BertConfig) -> None:
    ours, folder = saved
    old = {f"bert.{name}": tensor for name, tensor in ours.state_dict().items()}
    for new_name, old_name in (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")):
        old = {name.replace(new_name, old_name): tensor for name, tensor in old.items()}
    old["bert.embeddings.position_ids"] = torch.arange(32)[None]
    old["cls.predictions.bias"] = torch.zeros(101)
    save_file({name: t.clone() for name, t in old.items()}, folder / "model.safetensors")
    again, batch = BertModel.from_pretrained(folder), random_batch(small_config)
    with torch.no_grad():
        assert largest(again(**batch).pooler_output, ours(**batch).pooler_output) == 0


def test_missing_unexpected_and_wrongly_shaped_tensors_are_all_named(saved: tuple[BertModel, Path]) -> None:
    _, folder = saved
    edit_tensors(
        folder,
        **{
            "encoder.layer.0.output.dense.bias": None,
            "encoder.layer.7.output.dense.bias": torch.zeros(3),
            "pooler.dense.bias": torch.zeros(5),
        },
    )
    with pytest.raises(ValueError) as error:
        BertModel.from_pretrained(folder)
    text = str(error.value)
    assert "missing: encoder.layer.0.output.dense.bias (128,)" in text
    assert "unexpected: encoder.layer.7.output.dense.bias (3,)" in text
    assert "wrong shape: pooler.dense.bias is (5,), the config asks for (128,)" in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("position_embedding_type", "relative_key"),
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("model_type", "roberta"),
        ("hidden_act", "relu"),
    ],
)
def test_unsupported_config_fields_are_named(
    saved: tuple[BertModel, Path], field: str, value: object
) -> None:
    edit_config(saved[1], **{field: value})
    with pytest.raises(ValueError, match=f"{field}={value!r} is not supported"):
        BertModel.from_pretrained(saved[1])


class Explosive:
    """Unpickling this creates a file; so a test sees whether it was unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.trace,))


def test_a_pickle_is_refused_and_not_opened(saved: tuple[BertModel, Path], tmp_path: Path) -> None:
    _, folder = saved
    (folder / "model.safetensors").unlink()
    trace = tmp_path / "was_unpickled"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Explosive(trace)))
    with pytest.raises(ValueError, match=r"has pytorch_model.bin but no model.safetensors: a pickle can run"):
        BertModel.from_pretrained(folder)
    assert not trace.exists()


def test_truncated_weights_are_refused(saved: tuple[BertModel, Path]) -> None:
    path = saved[1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        BertModel.from_pretrained(saved[1])


def test_a_pickle_named_safetensors_is_refused(saved: tuple[BertModel, Path], tmp_path: Path) -> None:
    trace = tmp_path / "was_unpickled"
    (saved[1] / "model.safetensors").write_bytes(pickle.dumps(Explosive(trace)))
    with pytest.raises(ValueError, match="is not a complete safetensors file"):
        BertModel.from_pretrained(saved[1])
    assert not trace.exists()


def test_a_broken_config_is_named(saved: tuple[BertModel, Path]) -> None:
    (saved[1] / "config.json").write_text('{"vocab_size": 10')
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        BertModel.from_pretrained(saved[1])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(saved: tuple[BertModel, Path], name: str) -> None:
    (saved[1] / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {name}"):
        BertModel.from_pretrained(saved[1])


@pytest.mark.parametrize("name", ["no/such/folder/here", "../elsewhere", "nobody/no-such-model"])
def test_an_unknown_folder_or_name_is_explained(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        BertModel.from_pretrained(name)


def test_a_hub_name_comes_from_the_hubs_local_cache(
    saved: tuple[BertModel, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, folder = saved
    repository = tmp_path / "hub" / "models--owner--small-bert"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    again = BertModel.from_pretrained("owner/small-bert")
    assert torch.equal(again.pooler.dense.weight, ours.pooler.dense.weight)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), SafetensorError("I/O error: No space left")]
)
def test_a_full_disk_leaves_the_old_model(
    saved: tuple[BertModel, Path],
    small_config: BertConfig,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    ours, folder = saved

    def full(tensors: dict, path: Path, metadata: dict) -> None:
        Path(path).write_bytes(b"half")
        raise error

    monkeypatch.setattr(pretrained, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        BertModel(small_config).save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert torch.equal(BertModel.from_pretrained(folder).pooler.dense.weight, ours.pooler.dense.weight)
