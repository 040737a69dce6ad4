"""Packed weights give the same numbers, only where nothing is learned, and leave no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bertlearn import BertConfig, BertModel, WordPieceTokenizer, prepacked_weights, sentence_vectors
from bertlearn.model.inference import WORTH_PACKING

ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 0.05}
needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")


def new_model(dtype: torch.dtype = torch.float32) -> BertModel:
    """Return a small model whose weights and biases are all far from 0."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 36, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 50}
    model = BertModel(BertConfig(vocab_size=60, **sizes))
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return model.to(dtype).eval()


def is_packed(model: nn.Module) -> bool:
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return all("forward" in vars(linear) for linear in linears)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("seed", range(8))
@torch.no_grad()
def test_the_same_numbers(dtype: torch.dtype, seed: int) -> None:
    model, chance = new_model(dtype), torch.Generator().manual_seed(seed)
    rows, length = torch.randint(1, 20, (2,), generator=chance).tolist()
    ids = torch.randint(0, 60, (rows, length), generator=chance)
    lengths = torch.randint(1, length + 1, (rows, 1), generator=chance)
    mask = (torch.arange(length) < lengths).long()
    plain = model(ids, mask)
    with prepacked_weights(model):
        packed = model(ids, mask)
    for mine, right in zip(packed[:2], plain[:2], strict=True):
        torch.testing.assert_close(mine, right, rtol=0, atol=ROUNDING[dtype])


@needs_onednn
def test_nothing_is_left_of_it_even_after_an_error() -> None:
    model = new_model()
    with pytest.raises(ZeroDivisionError), prepacked_weights(model):
        assert is_packed(model)
        with prepacked_weights(model):
            assert is_packed(model)
        assert is_packed(model)  # the inner one had nothing to do
        _ = 1 / 0
    assert not any("forward" in vars(module) for module in model.modules())


def test_gradients_come_as_ever() -> None:
    model, ids = new_model(), torch.arange(12).view(2, 6)
    right = torch.autograd.grad(model(ids).pooler_output.sum(), list(model.parameters()))
    with prepacked_weights(model):
        found = torch.autograd.grad(model(ids).pooler_output.sum(), list(model.parameters()))
    assert max(gradient.abs().max() for gradient in right) > 0.1
    torch.testing.assert_close(found, right)


@torch.no_grad()
def test_autocast_and_other_dtypes_come_as_ever() -> None:
    model, ids = new_model(), torch.arange(12).view(2, 6)
    with torch.autocast("cpu", torch.bfloat16):
        right = model(ids).last_hidden_state
        with prepacked_weights(model):
            torch.testing.assert_close(model(ids).last_hidden_state, right, rtol=0, atol=0)
    with prepacked_weights(model):
        moved = model.double()(ids).last_hidden_state
    assert moved.dtype == torch.float64
    torch.testing.assert_close(moved, model(ids).last_hidden_state)


@needs_onednn
@torch.no_grad()
def test_hooks_still_run() -> None:
    model, seen = new_model(), []
    handle = model.encoder.layer[0].output.dense.register_forward_hook(lambda *what: seen.append(what))
    with prepacked_weights(model):
        model(torch.arange(6)[None])
    handle.remove()
    assert len(seen) == 1


@needs_onednn
def test_many_texts_are_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    words = [chr(ord("a") + number) for number in range(26)]
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    model, seen = new_model(), set()
    model.register_forward_pre_hook(lambda *_: seen.add(is_packed(model)))
    texts = [" ".join(words[: 1 + number % 26]) for number in range(WORTH_PACKING)]
    many = sentence_vectors(model, tokenizer, texts)
    assert seen == {True}
    seen.clear()
    few = sentence_vectors(model, tokenizer, texts[1:])
    assert seen == {False}
    torch.testing.assert_close(many[1:], few, rtol=0, atol=1e-5)
