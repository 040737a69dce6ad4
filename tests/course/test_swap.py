"""The learner's functions in the package's model: `use` swaps them in, `compare_layers` compares."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import random_batch, twins

import bertlearn
from bertlearn.course.built import built
from bertlearn.course.swap import Comparison, compare_layers, use
from bertlearn.model import bert
from bertlearn.model.bert import scaled_dot_product_attention
from bertlearn.model.config import BertConfig
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer


def stub(*args: object) -> object:
    raise NotImplementedError


def raises(*args: object) -> object:
    raise RuntimeError("boom <script>\nsecond line")


def test_use_replaces_a_function_everywhere_and_restores_it(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    batch, before = random_batch(small_config), bert.add_and_norm
    calls = []

    def mine(*args: object) -> torch.Tensor:
        calls.append(1)
        return before(*args)

    with use(add_and_norm=mine), torch.no_grad():
        ours(**batch)
    assert (
        len(calls) == 2 * small_config.num_hidden_layers
    )  # after attention and after the feed-forward network
    assert bert.add_and_norm is before


def test_use_restores_after_an_error_and_can_be_nested() -> None:
    before = bert.split_heads
    with pytest.raises(RuntimeError), use(split_heads=raises):
        with use(split_heads=stub):
            assert bert.split_heads is stub
        assert bert.split_heads is raises
        raise RuntimeError
    assert bert.split_heads is before


def test_use_replaces_the_fused_path_as_well(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    with use(scaled_dot_product_attention=stub), pytest.raises(NotImplementedError):
        ours(**random_batch(small_config))


def test_use_names_what_can_be_replaced() -> None:
    with (
        pytest.raises(ValueError, match=r"no function 'softmax' to replace; choose one of .*split_heads"),
        use(softmax=stub),
    ):
        pass
    with pytest.raises(ValueError, match="gelu is int, expected a function"), use(gelu=3):
        pass


def test_compare_layers_names_the_first_step_that_differs(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    batch = random_batch(small_config)
    correct = compare_layers(
        ours, batch, scaled_dot_product_attention=lambda *a: scaled_dot_product_attention(*a)
    )
    assert correct.ok
    assert "✓ the model runs on your own scaled_dot_product_attention; largest difference" in repr(correct)
    tanh = compare_layers(ours, batch, gelu=lambda x: torch.nn.functional.gelu(x, approximate="tanh"))
    assert tanh.first_difference == "encoder.layer.0.intermediate"
    assert "the first step that differs is encoder.layer.0.intermediate" in repr(tanh)
    shapeless = compare_layers(ours, batch, sum_embeddings=lambda word, position, token_type: word[:, :1])
    assert not shapeless.ok
    assert repr(shapeless).startswith("✗ sum_embeddings")


def test_compare_layers_survives_stubs_and_errors(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    batch = random_batch(small_config)
    assert repr(compare_layers(ours, batch, gelu=stub)) == "– gelu in the model: not attempted yet"
    assert "it stops with RuntimeError: boom" in repr(compare_layers(ours, batch, gelu=raises))
    lost = compare_layers(ours, batch, gelu=lambda x: x * float("nan"))
    assert lost.first_difference == "encoder.layer.0.intermediate"
    assert not lost.ok
    assert not ours.embeddings._forward_hooks
    with pytest.raises(ValueError, match="no function"):
        compare_layers(ours, batch, softmax=stub)
    with pytest.raises(ValueError, match="no function to compare with"):
        compare_layers(ours, batch)


def test_compare_layers_accepts_no_function_that_is_never_called(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)
    result = compare_layers(ours, random_batch(small_config), mean_pooling=lambda states, mask: states * 0)
    assert not result.ok
    assert repr(result) == "✗ mean_pooling in the model: it never calls mean_pooling"


def test_a_tokenizer_caches_no_results_of_replaced_steps() -> None:
    tokenizer = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "##s"])
    assert tokenizer.tokenize("films") == ["film", "##s"]
    with use(longest_match=lambda word, vocab: [word.upper()]):
        assert tokenizer.tokenize("films film") == ["FILMS", "FILM"]  # though "films" is cached
        assert not WordPieceTokenizer.caches_words
    assert tokenizer.tokenize("films film") == ["film", "##s", "film"]
    assert WordPieceTokenizer.caches_words


def test_the_main_names_are_in_the_package() -> None:
    assert bertlearn.use is use
    assert bertlearn.compare_layers is compare_layers


def test_a_function_that_differs_is_checked_by_itself_and_its_mistake_named(small_config: BertConfig) -> None:
    ours, _ = twins(small_config)

    def no_root(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: object = None) -> tuple:
        scores = query @ key.transpose(-1, -2)
        probs = (scores if mask is None else scores + mask).softmax(dim=-1)
        return probs @ value, probs

    text = repr(compare_layers(ours, random_batch(small_config), scaled_dot_product_attention=no_root))
    assert "the first step that differs is" in text
    assert "checked by itself:\n✗ scaled_dot_product_attention: this looks like “√d missing”" in text
    alone = lambda *args: scaled_dot_product_attention(*args).context  # noqa: E731
    text = repr(compare_layers(ours, random_batch(small_config), scaled_dot_product_attention=alone))
    assert "this looks like “the context alone”" in text


def test_a_model_that_runs_on_all_five_functions_is_noted(
    small_config: BertConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTLEARN_PROGRESS", str(tmp_path))
    ours, _ = twins(small_config)
    four = ["sum_embeddings", "layer_norm", "add_and_norm", "gelu"]
    mine = {name: getattr(bert, name) for name in four}
    assert compare_layers(ours, random_batch(small_config), **mine).ok
    assert "nothing yet" in repr(built(3))
    mine["scaled_dot_product_attention"] = scaled_dot_product_attention
    assert compare_layers(ours, random_batch(small_config), **mine).ok
    assert "✓ all of it" in repr(built(3))


def test_a_comparison_breaks_its_lines_between_words() -> None:
    ran = Comparison("<softmax>", {"layer 0": 0.0}, 1e-4)
    assert "&lt;softmax&gt;; largest difference" in (ran._repr_html_() or "")
    assert Comparison("softmax", {}, 1e-4, attempted=False)._repr_html_() is None
