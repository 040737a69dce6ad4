"""Weights in one file or several: headers are compared first, and what does not fit is refused."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import CONFIG, largest, perturb, random_batch, twins
from safetensors.torch import load_file, save_file

from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForMaskedLM

INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(tmp_path: Path) -> tuple[transformers.BertForMaskedLM, Path]:
    """A model that transformers saved in several files."""
    torch.manual_seed(0)
    theirs = transformers.BertForMaskedLM(transformers.BertConfig(**CONFIG.to_dict())).eval()
    perturb(theirs)
    theirs.save_pretrained(tmp_path, max_shard_size="30KB")
    assert not (tmp_path / "model.safetensors").exists()
    return theirs, tmp_path


def test_shards_are_read_as_transformers_reads_them(sharded: tuple[Any, Path]) -> None:
    theirs, folder = sharded
    assert len(list(folder.glob("model-*-of-*.safetensors"))) > 2
    ours, encoder, batch = (
        BertForMaskedLM.from_pretrained(folder),
        BertModel.from_pretrained(folder),
        random_batch(CONFIG),
    )
    with torch.no_grad():
        assert largest(ours(**batch).prediction_logits, theirs(**batch).logits) < 1e-5
        expected = theirs.bert(**batch).last_hidden_state
        assert largest(encoder(**batch).last_hidden_state, expected) < 1e-5


def edit_index(folder: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    index = json.loads((folder / INDEX).read_text())
    edit(index)
    (folder / INDEX).write_text(json.dumps(index))


@pytest.mark.parametrize(
    "place",
    ["../model.safetensors", "/etc/a.safetensors", "a/b.safetensors", "..\\a.safetensors", "w.bin", 7],
)
def test_an_index_that_leads_elsewhere_is_refused(sharded: tuple[Any, Path], place: object) -> None:
    _, folder = sharded
    save_file({"a": torch.ones(1)}, folder.parent / "model.safetensors")
    edit_index(folder, lambda index: index["weight_map"].update({"bert.pooler.dense.bias": place}))
    with pytest.raises(ValueError, match=r"places bert\.pooler\.dense\.bias in .*, expected the name of a"):
        BertModel.from_pretrained(folder)


@pytest.mark.parametrize("weight_map", [None, {}, ["a"]])
def test_an_index_without_a_map_is_refused(sharded: tuple[Any, Path], weight_map: object) -> None:
    edit_index(sharded[1], lambda index: index.update(weight_map=weight_map))
    with pytest.raises(ValueError, match="has no weight_map"):
        BertModel.from_pretrained(sharded[1])


def test_a_missing_shard_is_named(sharded: tuple[Any, Path]) -> None:
    shard = sorted(sharded[1].glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=f"has no {shard.name}, which {INDEX} names"):
        BertModel.from_pretrained(sharded[1])


def test_a_tensor_that_its_shard_lacks_is_named(sharded: tuple[Any, Path]) -> None:
    _, folder = sharded
    name = "bert.embeddings.word_embeddings.weight"
    shard = folder / json.loads((folder / INDEX).read_text())["weight_map"][name]
    save_file({key: t for key, t in load_file(shard).items() if key != name} | {}, shard)
    with pytest.raises(ValueError, match=rf"{shard.name} lacks {name}, which {INDEX} places there"):
        BertModel.from_pretrained(folder)


def test_a_tensor_in_two_shards_and_one_outside_the_index_are_refused(sharded: tuple[Any, Path]) -> None:
    _, folder = sharded
    weight_map = json.loads((folder / INDEX).read_text())["weight_map"]
    name = "bert.embeddings.LayerNorm.bias"
    other = next(shard for shard in weight_map.values() if shard != weight_map[name])
    save_file({**load_file(folder / other), name: torch.ones(32)}, folder / other)
    with pytest.raises(
        ValueError, match=rf"{other} holds {name}, which {INDEX} places in {weight_map[name]}"
    ):
        BertModel.from_pretrained(folder)
    edit_index(folder, lambda index: index["weight_map"].pop(name))
    with pytest.raises(ValueError, match=rf"holds {name}, which {INDEX} does not name"):
        BertModel.from_pretrained(folder)


def test_shards_that_are_pickles_are_refused(tmp_path: Path) -> None:
    BertModel(CONFIG).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model-00001-of-00001.bin")
    (tmp_path / "pytorch_model.bin.index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"pytorch_model.bin.index.json but no model.safetensors: a pickle"):
        BertModel.from_pretrained(tmp_path)


# Sizes.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    twins(CONFIG)[0].save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail when more modules or numbers are made than a model of a few layers has."""
    init, made = torch.nn.Module.__init__, []

    def counted(self: torch.nn.Module, *args: Any, **named: Any) -> None:
        made.append(self)
        assert len(made) < 500, "a model is built before its size is compared"
        init(self, *args, **named)

    monkeypatch.setattr(torch.nn.Module, "__init__", counted)
    empty = torch.empty

    def bounded(*size: Any, **named: Any) -> torch.Tensor:
        tensor = empty(*size, **named)
        assert tensor.is_meta or tensor.numel() < 1e6, "memory is allocated before the size is compared"
        return tensor

    monkeypatch.setattr(torch, "empty", bounded)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("size", "value", "found"),
    [
        ("vocab_size", 2_000_000, 101),
        ("vocab_size", 10**30, 101),
        ("num_hidden_layers", 10_000_000, 2),
        ("hidden_size", 32_000, 32),
        ("intermediate_size", 200_000_000, 64),
        ("max_position_embeddings", 10**12, 32),
        ("type_vocab_size", 200_000_000, 2),
        ("num_hidden_layers", 1, 2),
    ],
)
def test_a_size_that_the_weights_do_not_have_is_refused_before_anything_is_built(
    folder: Path, size: str, value: int, found: int
) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, size: value}))
    with pytest.raises(ValueError, match=f"{size}: {value} in the config, {found} in the weights"):
        BertModel.from_pretrained(folder)


@pytest.mark.usefixtures("little_memory")
def test_a_matrix_that_shows_a_size_must_be_there(folder: Path) -> None:
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**values, "vocab_size": 10**9, "type_vocab_size": 10**9}))
    state = load_file(folder / "model.safetensors")
    del state["embeddings.word_embeddings.weight"]
    state["embeddings.token_type_embeddings.weight"] = torch.ones(7)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"(?s)missing: .*token_type.*, a matrix.*missing: .*word_emb.*, a matrix"
    ):
        BertModel.from_pretrained(folder)


def rewrite_header(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    edit(header)
    new = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(new)) + new + content[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [200_000_000, 32]},
        {"data_offsets": [0, 200_000_000 * 32 * 4], "shape": [200_000_000, 32]},
        {"shape": [2**62, 2**62]},
        {"dtype": "F64"},
        {"shape": [-1, 32]},
    ],
)
def test_a_header_that_lies_is_refused(folder: Path, change: dict[str, Any]) -> None:
    rewrite_header(
        folder / "model.safetensors",
        lambda header: header["embeddings.word_embeddings.weight"].update(change),
    )
    with pytest.raises(ValueError, match=r"model\.safetensors is not a complete safetensors file"):
        BertModel.from_pretrained(folder)


def test_a_header_longer_than_its_file_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a complete safetensors file"):
        BertModel.from_pretrained(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn])
def test_weights_that_are_no_floats_are_refused(folder: Path, dtype: torch.dtype) -> None:
    state = load_file(folder / "model.safetensors")
    state["pooler.dense.weight"] = state["pooler.dense.weight"].to(dtype)
    save_file(state, folder / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"pooler\.dense\.weight in .* has the type .*, expected F64, F32, F16, BF16"
    ):
        BertModel.from_pretrained(folder)


def test_half_precise_weights_are_read_as_they_are(folder: Path) -> None:
    state = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    save_file(state, folder / "model.safetensors")
    ours = BertModel.from_pretrained(folder)
    assert all(torch.equal(tensor, state[name].float()) for name, tensor in ours.state_dict().items())
    theirs, batch = transformers.BertModel.from_pretrained(folder).float().eval(), random_batch(CONFIG)
    with torch.no_grad():
        assert largest(ours(**batch).pooler_output, theirs(**batch).pooler_output) < 1e-5


def test_a_tensor_under_its_old_and_its_new_name_is_refused(folder: Path) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({**state, "embeddings.LayerNorm.gamma": torch.zeros(32)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"holds embeddings\.LayerNorm\.weight twice"):
        BertModel.from_pretrained(folder)


def test_comparing_draws_no_random_numbers(folder: Path) -> None:
    torch.manual_seed(0)
    BertModel(CONFIG)
    expected = torch.rand(1)
    torch.manual_seed(0)
    BertModel.from_pretrained(folder)
    assert torch.equal(torch.rand(1), expected)


# What is there in place of weights.


def test_a_shard_under_the_name_of_all_weights_is_named(sharded: tuple[Any, Path]) -> None:
    theirs, folder = sharded
    shards = sorted(folder.glob("model-*.safetensors"))
    for shard in shards:
        shutil.copy(shard, folder / "model.safetensors")
        with pytest.raises(
            ValueError,
            match=rf"only one of several files: {INDEX} calls it {shard.name}\. Give it that.*delete {INDEX}",
        ):
            BertModel.from_pretrained(folder)
    theirs.save_pretrained(folder / "whole")
    shutil.copy(folder / "whole" / "model.safetensors", folder)
    for text in (None, "{}"):  # a complete file is read, whatever the index is
        if text:
            (folder / INDEX).write_text(text)
        batch = random_batch(CONFIG)
        with torch.no_grad():
            ours = BertForMaskedLM.from_pretrained(folder)(**batch).prediction_logits
            assert largest(ours, theirs(**batch).logits) < 1e-5


@pytest.mark.parametrize("cls", [BertModel, BertForMaskedLM])
def test_a_model_saved_beside_the_shards_of_an_earlier_one_is_read(
    sharded: tuple[Any, Path], cls: type[BertModel | BertForMaskedLM]
) -> None:
    ours = cls(CONFIG)
    perturb(ours)
    ours.save_pretrained(sharded[1])
    again = cls.from_pretrained(sharded[1]).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in ours.state_dict().items())


def test_a_complete_file_with_an_index_is_read(tmp_path: Path) -> None:
    ours, _ = twins(CONFIG)
    ours.save_pretrained(tmp_path)
    index = {"weight_map": dict.fromkeys(ours.state_dict(), "model-00001-of-00001.safetensors")}
    (tmp_path / INDEX).write_text(json.dumps(index))
    again = BertModel.from_pretrained(tmp_path)
    assert torch.equal(again.pooler.dense.weight, ours.pooler.dense.weight)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_the_folder_of_an_adapter_is_named(folder: Path, name: str) -> None:
    """transformers would add the adapter to its model, even if whole weights are in the folder."""
    save_file({"a": torch.zeros(1)}, folder / name)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"has {name}: an adapter such as LoRA's, .*merge_and_unload"):
            BertModel.from_pretrained(folder)
        (folder / "model.safetensors").unlink(missing_ok=True)
        (folder / "config.json").unlink(missing_ok=True)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder.layer.0.attention.self.query.lora_A.default.weight": torch.zeros(4, 32)},
        {"encoder.layer.0.attention.self.query.base_layer.weight": torch.zeros(32, 32)},
        {"base_model.model.pooler.dense.weight": torch.zeros(32, 32)},
        {"classifier.modules_to_save.default.weight": torch.zeros(2, 32)},
    ],
)
def test_an_adapter_among_the_weights_is_named(folder: Path, change: dict[str, torch.Tensor]) -> None:
    path = folder / "model.safetensors"
    save_file({**load_file(path), **change}, path)
    (name,) = change
    with pytest.raises(ValueError, match=rf"the weights in .* have {name}: an adapter .*merge_and_unload"):
        BertModel.from_pretrained(folder)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 438\n"


def test_a_pointer_of_git_lfs_is_named(folder: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        before = (folder / name).read_bytes()
        (folder / name).write_text(POINTER, encoding="utf-8")
        with pytest.raises(ValueError, match=rf"{name} is a Git LFS pointer, .*`git lfs pull`"):
            BertModel.from_pretrained(folder)
        (folder / name).write_bytes(before)
    BertModel.from_pretrained(folder)


def test_shards_that_are_pointers_are_named(sharded: tuple[Any, Path]) -> None:
    shard = sorted(sharded[1].glob("model-*.safetensors"))[1]
    shard.write_text(POINTER, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"{shard.name} is a Git LFS pointer"):
        BertModel.from_pretrained(sharded[1])
