"""What several test files share: small perturbed models and their transformers twins."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("BERTLEARN_PATIENCE", "inf")  # bars that depend on the time would change outputs
# The notebooks run without any learner's exercises and guesses: nbval's kernels find an empty folder.
os.environ["BERTLEARN_PROGRESS"] = tempfile.mkdtemp(prefix="bertlearn-progress-")

import pytest
import torch
import transformers

from bertlearn.model.bert import BertModel
from bertlearn.model.config import BertConfig

atexit.register(shutil.rmtree, os.environ["BERTLEARN_PROGRESS"], ignore_errors=True)
torch.set_num_threads(1)  # pytest-xdist runs a process a core


# The first four train as chapters 4 and 5 do, and their exercises are tested in tests/test_notebooks.py; the
# last has no exercises.
SLOW_NOTEBOOKS = {
    "06_sentiment.ipynb",
    "07_family.ipynb",
    "08_modern.ipynb",
    "09_at_work.ipynb",
    "90_making_it_fast.ipynb",
}

CONFIG = BertConfig(
    vocab_size=101,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=32,
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give notebook cells more than nbval's five seconds to return their output; mark the slow notebooks."""
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = 60
        if item.path.name in SLOW_NOTEBOOKS:
            item.add_marker(pytest.mark.slow)


Model = TypeVar("Model", bound=torch.nn.Module)
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def own_progress(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep what a test solves and guesses away from other tests and from the notebooks; return the folder."""
    folder = tmp_path_factory.getbasetemp() / "progress" / str(next(_numbers))
    monkeypatch.setenv("BERTLEARN_PROGRESS", str(folder))
    return folder


def perturb(model: torch.nn.Module, seed: int = 0, scale: float = 0.05) -> None:
    """Move every parameter off its initial value: at 0 biases and 1 scales many mistakes cost nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def random_model(
    kind: Callable[[BertConfig], Model], config: BertConfig = CONFIG, seed: int = 0, scale: float = 0.3
) -> Model:
    """Return a small model in evaluation mode whose outputs differ clearly from token to token."""
    torch.manual_seed(seed)
    model = kind(config).eval()
    perturb(model, seed, scale)
    return model


def twins(config: BertConfig, seed: int = 0, attention: str = "eager") -> tuple[BertModel, torch.nn.Module]:
    """Return our model and transformers', with the same perturbed weights, both in evaluation mode."""
    torch.manual_seed(seed)
    ours = BertModel(config).eval()
    perturb(
        ours, seed, scale=0.05 * min(1.0, (256 / config.hidden_size) ** 0.5)
    )  # wide sums would only amplify
    return ours, twin_of(ours, transformers.BertModel, attention)


def twin_of(ours: torch.nn.Module, theirs: type, attention: str = "eager") -> torch.nn.Module:
    """Return transformers' model with the weights of ours, in evaluation mode."""
    config = transformers.BertConfig(**ours.config.to_dict(), attn_implementation=attention)
    twin = theirs(config).eval()
    twin.load_state_dict(ours.state_dict(), strict=True)
    return twin


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one - other).abs().max().item()


def random_batch(
    config: BertConfig, batch: int = 3, length: int = 11, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Return a batch with two segments and padding of different lengths, by the names of `forward`."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, length + 1, (batch,), generator=generator)
    lengths[0] = length
    positions = torch.arange(length)
    return {
        "input_ids": torch.randint(0, config.vocab_size, (batch, length), generator=generator),
        "attention_mask": (positions < lengths[:, None]).long(),
        "token_type_ids": (positions >= lengths[:, None] // 2).long(),
    }


@pytest.fixture
def small_config() -> BertConfig:
    return BertConfig.preset("tiny", vocab_size=101, max_position_embeddings=32)
