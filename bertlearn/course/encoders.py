"""The pretrained encoders that the chapters use, by their short names (chapters 5, 6, 9 and 10)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor

from bertlearn.course import snapshots
from bertlearn.course.published import Name, is_here, published_folder
from bertlearn.data import load_packed_multilingual, minilm_path
from bertlearn.model.bert import BertModel
from bertlearn.model.config import BertConfig
from bertlearn.model.four_bits import unpack_blocks
from bertlearn.tokenizer.auto import load_tokenizer
from bertlearn.tokenizer.encoding import SubwordTokenizer
from bertlearn.tokenizer.unigram import UnigramTokenizer, nmt_nfkc

_EMBEDDINGS = {"word": "word_embeddings", "pos": "position_embeddings", "type": "token_type_embeddings"}
_MATRICES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


def load_encoder(name: str) -> tuple[BertModel, SubwordTokenizer]:
    """Return a pretrained encoder and its tokenizer.

    Args:
        name: "minilm", "multilingual", "snapshot" (the last one of chapter 4), the name of a model that was
            brought (see `published`), or a model's folder or hub name.

    Raises:
        DataError, FileNotFoundError, ValueError: the model cannot be fetched, found or read.
    """
    if name == "snapshot":
        last = snapshots.load_snapshot(snapshots.STEPS[-1])
        return last.model.bert, last.tokenizer
    if name == "multilingual":
        return load_multilingual()
    folder: str | Path = minilm_path() if name == "minilm" else name
    for brought in get_args(Name):
        if name == brought and is_here(brought):
            folder = published_folder(brought)
    return BertModel.from_pretrained(folder), load_tokenizer(folder)


def load_multilingual() -> tuple[BertModel, UnigramTokenizer]:
    """Return multilingual-e5-small, unpacked from four bits, and its tokenizer.

    It was trained on texts that begin with "query: " or "passage: ", and gives a text the mean of its hidden
    states, of length 1.

    Raises:
        DataError: the download failed, or the cached file was changed.
    """
    packed = load_packed_multilingual()
    config = BertConfig(**packed.sizes)  # type: ignore[arg-type]
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False)
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    state = {name: _numbers(values).reshape(shapes[name]) for name, values in _renamed(packed.tensors)}
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval(), UnigramTokenizer(packed.pieces, nmt_nfkc())


def _numbers(values: NDArray[Any]) -> Tensor:
    """Return the weights of a tensor, unpacked if they are in blocks."""
    tensor = torch.from_numpy(values.copy())  # the file's bytes cannot be written
    return unpack_blocks(tensor) if tensor.dtype == torch.uint8 else tensor


def _renamed(tensors: dict[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the tensors with BERT's names: l0.q.w is encoder.layer.0.attention.self.query.weight."""
    for name, values in tensors.items():
        where, *parts = name.split(".")
        end = "bias" if parts[-1] == "b" else "weight"
        if where != "emb":
            yield f"encoder.layer.{where[1:]}.{_MATRICES[parts[0]]}.{end}", values
        elif parts[0] == "ln":
            yield f"embeddings.LayerNorm.{end}", values
        else:
            yield f"embeddings.{_EMBEDDINGS[parts[0]]}.{end}", values
