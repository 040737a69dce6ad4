"""Prepacked weights give the same numbers, only where nothing is learned, and leave no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bertlearn import BertConfig, BertModel, WordPieceTokenizer, prepacked_weights, sentence_vectors
from bertlearn.model import prepacking
from bertlearn.model.inference import WORTH_PREPACKING

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


def is_prepacked(model: nn.Module) -> bool:
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    return all("forward" in vars(linear) for linear in linears)


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("seed", range(8))
@torch.no_grad()
def test_the_same_numbers(dtype: torch.dtype, seed: int) -> None:
    model, generator = new_model(dtype), torch.Generator().manual_seed(seed)
    rows, length = torch.randint(1, 20, (2,), generator=generator).tolist()
    ids = torch.randint(0, 60, (rows, length), generator=generator)
    lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    plain = model(ids, mask)
    with prepacked_weights(model):
        prepacked = model(ids, mask)
    for mine, right in zip(prepacked[:2], plain[:2], strict=True):
        torch.testing.assert_close(mine, right, rtol=0, atol=ROUNDING[dtype])


@needs_onednn
def test_nothing_is_left_of_it_even_after_an_error() -> None:
    model = new_model()
    with pytest.raises(ZeroDivisionError), prepacked_weights(model):
        assert is_prepacked(model)
        with prepacked_weights(model):
            assert is_prepacked(model)
        assert is_prepacked(model)  # the inner one had nothing to do
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
def test_a_processor_without_bf16_products_runs_as_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for a processor without AVX-512: there oneDNN refuses to prepack bf16."""
    monkeypatch.setattr(prepacking, "BF16_IS_SUPPORTED", "an operator that says no")
    model, ids = new_model(torch.bfloat16), torch.arange(12).view(2, 6)
    right = model(ids).last_hidden_state
    with prepacked_weights(model):
        assert not is_prepacked(model)
        assert torch.equal(model(ids).last_hidden_state, right)


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
    model.register_forward_pre_hook(lambda *_: seen.add(is_prepacked(model)))
    texts = [" ".join(words[: 1 + number % 26]) for number in range(WORTH_PREPACKING)]
    many = sentence_vectors(model, tokenizer, texts)
    assert seen == {True}
    seen.clear()
    few = sentence_vectors(model, tokenizer, texts[1:])
    assert seen == {False}
    torch.testing.assert_close(many[1:], few, rtol=0, atol=1e-5)


@needs_onednn
def test_torch_still_has_the_private_operators_that_prepacking_calls() -> None:
    """They are not part of torch's public interface, and a new version may drop them."""
    for name in (prepacking.PREPACK, prepacking.PRODUCT, prepacking.BF16_IS_SUPPORTED):
        assert hasattr(torch.ops.mkldnn, name), (
            f"torch {torch.__version__} has no torch.ops.mkldnn.{name}: prepacked_weights no longer speeds "
            "anything up; find the operator's successor, or remove bertlearn/model/prepacking.py"
        )


@pytest.mark.parametrize("operator", ["PREPACK", "PRODUCT"])
def test_without_a_private_operator_inference_works_as_usual(
    operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepacking, operator, "an operator that a new torch dropped")
    model, ids = new_model(), torch.arange(12).view(2, 6)
    with torch.no_grad():
        expected = model(ids).last_hidden_state
        with prepacked_weights(model):
            assert not is_prepacked(model)
            assert torch.equal(model(ids).last_hidden_state, expected)
