"""Round trips with transformers, and every file that must be refused."""

from __future__ import annotations

import errno
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import CONFIG, largest, random_batch, twins
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from task_models import twins as task_twins
from torch.nn.utils.prune import l1_unstructured

from bertlearn.model import pretrained
from bertlearn.model.bert import BertModel
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForQuestionAnswering, BertForSequenceClassification


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


NOT_FINITE = {
    "NaN": torch.full((2,), torch.nan),
    "infinity": torch.full((2,), -torch.inf, dtype=torch.float16),
    "too large": torch.full((2,), 1e300, dtype=torch.float64),
}


@pytest.mark.parametrize("name", NOT_FINITE)
def test_weights_that_are_not_finite_in_fp32_are_refused(saved: tuple[BertModel, Path], name: str) -> None:
    ours, folder = saved
    bias = ours.encoder.layer[1].output.dense.bias.detach()
    large = bias.to(NOT_FINITE[name].dtype)
    edit_tensors(folder, **{"encoder.layer.1.output.dense.bias": large})
    BertModel.from_pretrained(folder)  # other types of numbers are no problem
    large[-2:] = NOT_FINITE[name]
    edit_tensors(folder, **{"encoder.layer.1.output.dense.bias": large})
    with pytest.raises(
        ValueError,
        match=r"encoder\.layer\.1\.output\.dense\.bias in .* holds NaN, infinity or a number too large",
    ):
        BertModel.from_pretrained(folder)


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


# Values that transformers takes in more than one form.


@pytest.mark.parametrize("changes", [{"hidden_act": "gelu_python"}, {"pad_token_id": None}])
def test_other_forms_of_a_value_give_transformers_numbers(
    saved: tuple[BertModel, Path], small_config: BertConfig, changes: dict[str, object]
) -> None:
    _, folder = saved
    edit_config(folder, **changes)
    ours, theirs = BertModel.from_pretrained(folder), transformers.BertModel.from_pretrained(folder).eval()
    batch = random_batch(small_config)
    with torch.no_grad():
        assert largest(ours(**batch).pooler_output, theirs(**batch).pooler_output) < 1e-5
    ours.save_pretrained(folder)
    assert BertModel.from_pretrained(folder).config == ours.config


UNUSABLE = {
    "repeated": {"id2label": {"0": "a", "1": "a", "2": "b"}},
    "nothing": {"id2label": {"0": None, "1": None, "2": None}},
    "contradictory": {"id2label": {"0": "a", "1": "b", "2": "c"}, "num_labels": 2},
    "gaps": {"id2label": {"0": "a", "2": "b", "7": "c"}},
    "no dictionary": {"id2label": ["a", "b", "c"]},
    "endless": {"num_labels": 10**15},
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_an_encoder_is_read_whatever_the_labels_of_its_head_are(kind: str, tmp_path: Path) -> None:
    model, _ = task_twins("sequence")
    model.save_pretrained(tmp_path)
    edit_config(tmp_path, **{"id2label": None, "label2id": None, **UNUSABLE[kind]})
    encoder, batch = BertModel.from_pretrained(tmp_path), random_batch(CONFIG)
    with torch.no_grad():
        assert largest(encoder(**batch).pooler_output, model.bert(**batch).pooler_output) == 0
    with pytest.raises(ValueError, match=r"(id2label|num_labels)(=| is| names| numbers)"):
        BertForSequenceClassification.from_pretrained(tmp_path)


def test_a_classifier_without_names_gets_transformers_names(tmp_path: Path) -> None:
    model, theirs = task_twins("sequence")
    model.save_pretrained(tmp_path)
    edit_config(tmp_path, id2label=None, label2id=None, num_labels=3)
    ours, batch = BertForSequenceClassification.from_pretrained(tmp_path), random_batch(CONFIG)
    read = transformers.BertForSequenceClassification.from_pretrained(tmp_path)
    assert ours.config.id2label == read.config.id2label == {i: f"LABEL_{i}" for i in range(3)}
    with torch.no_grad():
        assert largest(ours(**batch).logits, theirs(**batch).logits) < 1e-5
    edit_config(tmp_path, id2label={"0": -1, "1": 0, "2": 1})
    assert BertForSequenceClassification.from_pretrained(tmp_path).config.id2label == {
        0: "-1",
        1: "0",
        2: "1",
    }
    edit_config(tmp_path, id2label=None, num_labels=4)
    with pytest.raises(ValueError, match=r"wrong shape: classifier.weight is \(3, 32\), the config asks for"):
        BertForSequenceClassification.from_pretrained(tmp_path)


def test_answers_are_found_whatever_the_names_of_start_and_end(tmp_path: Path) -> None:
    model, theirs = task_twins("question")
    model.save_pretrained(tmp_path)
    edit_config(tmp_path, id2label={"0": "x", "1": "x"})
    ours, batch = BertForQuestionAnswering.from_pretrained(tmp_path), random_batch(CONFIG)
    with torch.no_grad():
        assert largest(ours(**batch).start_logits, theirs(**batch).start_logits) < 1e-5


@pytest.mark.parametrize("classes", ["BertForSequenceClassification", [5], {"a": 1}])
def test_class_names_that_are_no_list_are_refused(classes: object, tmp_path: Path) -> None:
    task_twins("sequence")[0].save_pretrained(tmp_path)
    edit_config(tmp_path, architectures=classes)
    with pytest.raises(ValueError, match=r"architectures=.* in .* is not a list of class names"):
        BertForSequenceClassification.from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", UNUSABLE)
def test_a_config_that_cannot_be_read_is_named(kind: str, tmp_path: Path) -> None:
    task_twins("sequence")[0].save_pretrained(tmp_path)
    edit_config(tmp_path, **{"id2label": None, "label2id": None, **UNUSABLE[kind]})
    with pytest.raises(ValueError, match=r"config\.json: (id2label|num_labels)"):
        BertForSequenceClassification.from_pretrained(tmp_path)
    edit_config(tmp_path, num_attention_heads=7)
    for cls in (BertModel, BertForSequenceClassification):
        with pytest.raises(ValueError, match=r"config\.json: "):
            cls.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json: hidden_size=32 is not divisible"):
        BertModel.from_pretrained(tmp_path)


# Names that wrappers leave in saved weights.


def rename_tensors(folder: Path, rename: Callable[[str], str]) -> None:
    path = folder / "model.safetensors"
    save_file({rename(name): tensor for name, tensor in load_file(path).items()}, path)


WRAPPED = {
    "DataParallel": lambda name: f"module.{name}",
    "torch.compile": lambda name: f"_orig_mod.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "encoder only": lambda name: name.replace("bert.", "bert._orig_mod."),
    "layers": lambda name: name.replace(".layer.1.", ".layer.1._checkpoint_wrapped_module."),
    "FSDP": lambda name: f"_fsdp_wrapped_module.{name}",
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_model_that_was_wrapped_gives_the_numbers_of_the_model(kind: str, tmp_path: Path) -> None:
    model, theirs = task_twins("sequence")
    model.save_pretrained(tmp_path)
    rename_tensors(tmp_path, WRAPPED[kind])
    ours, encoder = (cls.from_pretrained(tmp_path) for cls in (BertForSequenceClassification, BertModel))
    batch = random_batch(CONFIG)
    with torch.no_grad():
        assert largest(ours(**batch).logits, theirs(**batch).logits) < 1e-5
        expected = theirs.bert(**batch).last_hidden_state
        assert largest(encoder(**batch).last_hidden_state, expected) < 1e-5


def test_names_of_a_wrapper_are_torchs(tmp_path: Path) -> None:
    model, _ = task_twins("sequence")
    for wrapped in (torch.nn.DataParallel(model), torch.compile(model)):
        model.save_pretrained(tmp_path)
        save_file(
            {name: t.clone() for name, t in wrapped.state_dict().items()}, tmp_path / "model.safetensors"
        )
        again = BertForSequenceClassification.from_pretrained(tmp_path)
        assert all(torch.equal(t, model.state_dict()[name]) for name, t in again.state_dict().items())


def test_a_model_with_and_without_its_wrapper_is_refused(tmp_path: Path) -> None:
    model, _ = task_twins("sequence")
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    averages = {f"module.{name}": 2 * tensor for name, tensor in state.items()}
    save_file({**state, **averages}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"holds .* twice, under two names; remove one"):
        BertForSequenceClassification.from_pretrained(tmp_path)


def test_tensors_with_other_names_are_not_taken_for_an_encoder(tmp_path: Path) -> None:
    task_twins("sequence")[0].save_pretrained(tmp_path)
    rename_tensors(tmp_path, lambda name: f"model.{name}")
    with pytest.raises(
        ValueError, match=r"have names other than BERT's, such as model\.bert\..*, expected bert"
    ):
        BertForSequenceClassification.from_pretrained(tmp_path)


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_ids_that_were_stored_are_left_out_as_transformers_does(prefix: str, tmp_path: Path) -> None:
    model, theirs = task_twins("sequence")
    (model if prefix else model.bert).save_pretrained(tmp_path)
    for name in ("position_ids", "token_type_ids"):
        edit_tensors(tmp_path, **{f"{prefix}embeddings.{name}": torch.arange(32)[None]})
    batch = random_batch(CONFIG)
    _, report = transformers.BertModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    with torch.no_grad():
        ours = BertModel.from_pretrained(tmp_path)(**batch).pooler_output
        assert largest(ours, theirs.bert(**batch).pooler_output) < 1e-5


# Folders that hold something else.


def test_the_file_of_the_weights_is_no_folder(saved: tuple[BertModel, Path]) -> None:
    for name in ("model.safetensors", "config.json"):
        with pytest.raises(ValueError, match=rf"{name} is a file, expected the folder .* use '.*model'"):
            BertModel.from_pretrained(saved[1] / name)


# What could not be loaded is not saved.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("USERPROFILE", str(folder))
    monkeypatch.chdir(elsewhere)
    return folder


def test_a_tilde_is_the_home_folder(home: Path) -> None:
    ours, _ = task_twins("sequence")
    ours.save_pretrained("~/model")
    again = BertForSequenceClassification.from_pretrained("~/model")
    assert torch.equal(again.classifier.weight, ours.classifier.weight)
    assert [path.name for path in home.iterdir()] == ["model"] and not list(Path().iterdir())


def with_another_head(model: BertForSequenceClassification) -> None:
    model.classifier = torch.nn.Linear(CONFIG.hidden_size, 5)


def with_more_embeddings(model: BertForSequenceClassification) -> None:
    model.bert.embeddings.word_embeddings = torch.nn.Embedding(200, CONFIG.hidden_size)


def without_a_layer(model: BertForSequenceClassification) -> None:
    del model.bert.encoder.layer[1]


def pruned(model: BertForSequenceClassification) -> None:
    l1_unstructured(model.classifier, "weight", 0.5)


CHANGES = {
    with_another_head: r"wrong shape: classifier\.weight is \(5, 32\), the config asks for \(3, 32\)",
    with_more_embeddings: r"wrong shape: bert\.embeddings\.word_embeddings\.weight is \(200, 32\)",
    without_a_layer: r"missing: bert\.encoder\.layer\.1\.attention",
    pruned: r"unexpected: classifier\.weight_mask",
    lambda model: model.to("meta"): "is on the meta device, so there is nothing to save",
    lambda model: model.to(torch.float8_e4m3fn): "expected a tensor of torch.float64 or .*quantized",
    lambda model: model.register_buffer("scale", torch.ones(1, dtype=torch.int8)): r"scale is tensor\(\[1\]",
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_could_not_be_loaded_is_not_saved(change: Callable[[Any], None], tmp_path: Path) -> None:
    model, _ = task_twins("sequence")
    model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    change(model)
    with pytest.raises(ValueError, match=rf"(?s){CHANGES[change]}"):
        model.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.filterwarnings("ignore")  # torch.ao is deprecated
def test_a_quantized_model_is_named(tmp_path: Path) -> None:
    model, _ = task_twins("sequence")
    quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear})
    with pytest.raises(
        ValueError, match=r"query\..* is .*, expected a tensor of .*a quantized model cannot be"
    ):
        quantized.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_new_head_with_its_config_is_saved(tmp_path: Path) -> None:
    model, _ = task_twins("sequence")
    with_another_head(model)
    model.config = replace(model.config, id2label=dict(enumerate("abcde")))
    model.save_pretrained(tmp_path)
    again = BertForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(again.classifier.weight, model.classifier.weight)


def test_a_compiled_part_is_saved_under_the_names_of_the_model(tmp_path: Path) -> None:
    model, theirs = task_twins("sequence")
    model.bert = torch.compile(model.bert)
    model.save_pretrained(tmp_path)
    again = transformers.BertForSequenceClassification.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in theirs.state_dict().items())


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_is_never_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(ValueError, match=rf"has an adapter \({name}\), and a model beside it could not be"):
        task_twins("sequence")[0].save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_older_shards_of_the_folder_are_removed(tmp_path: Path) -> None:
    model, _ = task_twins("sequence")
    index = {"weight_map": dict.fromkeys([*model.state_dict(), "more"], "model-00001-of-00002.safetensors")}
    (tmp_path / "model-00001-of-00002.safetensors").write_text("{}")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "vocab.txt").write_text("a")
    model.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors", "vocab.txt"}
    BertForSequenceClassification.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", ["layer_norm_eps", "initializer_range"])
def test_a_whole_number_is_saved_as_transformers_reads_it(name: str, tmp_path: Path) -> None:
    model = BertModel(replace(CONFIG, **{name: 1}))
    assert repr(getattr(model.config, name)) == "1.0"
    model.save_pretrained(tmp_path)
    assert getattr(transformers.BertConfig.from_pretrained(tmp_path), name) == 1.0
    with pytest.raises(ValueError, match=f"{name}=1000000.* must be a number of at least 0"):
        replace(CONFIG, **{name: 10**400})
