"""Chapter 5: the solutions are what the library does; other ways to be right, and known ways to be wrong."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from nervaluate import collect_named_entities
from torch import Tensor, nn

from bertlearn.course.checks import finetuning as check
from bertlearn.course.exercise import Exercise
from bertlearn.finetuning import spans
from bertlearn.finetuning.run import layer_multipliers
from bertlearn.model.bert import mean_pooling
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForSequenceClassification, classification_loss
from bertlearn.tokenizer.encoding import Batch, Encoding
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

WORDS = WordPieceTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdef", "##x", "##y"])
KINDS = spans.bio_labels(["PER", "LOC"])
EXERCISES = {name: value for name, value in vars(check).items() if isinstance(value, Exercise)}


# The library's own functions, where needed with the arguments of the exercise.


def multiplied_rates(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    sizes = {"hidden_size": 4, "num_attention_heads": 1, "intermediate_size": 4, "vocab_size": 8}
    model = BertForSequenceClassification(BertConfig(num_hidden_layers=num_layers, **sizes))
    multipliers = layer_multipliers(model, decay) or {name: 1.0 for name, _ in model.named_parameters()}
    parts = ["embeddings", *(f"layer.{number}" for number in range(num_layers))]
    rates: dict[str, float] = {}
    for name, multiplier in multipliers.items():
        part = next((part for part in parts if f".{part}." in name), "head")
        assert rates.setdefault(part, rate * multiplier) == rate * multiplier, name
    return rates


def decoded(labels: list[str]) -> list[tuple[int, int, str]]:
    encoding = WORDS.encode(" ".join("a" * len(labels)))  # one token a word, two characters apart
    numbers = [KINDS.index(label) for label in ["O", *labels, "O"]]
    found = spans.decode_bio(encoding, numbers, dict(enumerate(KINDS)))
    return [(span.start // 2, (span.end + 1) // 2, span.label) for span in found]


def highest_scored(start: Tensor, end: Tensor, allowed: Tensor, max_length: int) -> tuple[int, int]:
    places = range(len(start))
    offsets = [(place, place + 1) for place in places]
    encoding = Encoding(
        [0] * len(start),
        allowed.long().tolist(),
        [1] * len(start),
        ["a"] * len(start),
        offsets,
        {},
    )
    scores = spans.span_scores(encoding, start, end, max_length)
    return divmod(int(scores.argmax()), len(scores))


LIBRARY = {
    "mean_pooling": mean_pooling,
    "layer_learning_rates": multiplied_rates,
    "token_loss": classification_loss,
    "entities": decoded,
    "best_span": highest_scored,
}


@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_passes_the_exercise(name: str) -> None:
    result = EXERCISES[name](LIBRARY[name])
    assert result.ok, result


def test_entities_are_those_of_the_library_and_of_nervaluate() -> None:
    generator = random.Random(0)
    for _ in range(300):
        labels = [generator.choice(KINDS) for _ in range(generator.randint(1, 9))]
        found = check.entities.solution(labels)
        theirs = [(e["start"], e["end"] + 1, e["label"]) for e in collect_named_entities(labels)]
        assert found == theirs
        assert found == decoded(labels)


def word_numbers(encoding: Encoding) -> list[int | None]:
    """Return for each token the number of its word, None for special tokens."""
    numbers: dict[int, int] = {}
    for number, word in enumerate(spans.split_words(encoding)):
        numbers |= dict.fromkeys(range(word.first, word.last + 1), number)
    return [numbers.get(place) for place in range(len(encoding.tokens))]


def test_tokens_get_the_labels_that_the_library_gives_them() -> None:
    generator = random.Random(1)
    label2id = {label: number for number, label in enumerate(KINDS)}
    for _ in range(100):
        words = [
            generator.choice("abcdef") + "xy" * generator.randint(0, 2)
            for _ in range(generator.randint(1, 7))
        ]
        encoding = WORDS.encode(" ".join(words))
        ours = spans.token_labels(encoding, [spans.Span(0, len(words[0]), "PER")], label2id)
        word_labels = [label2id["B-PER"]] + [0] * (len(words) - 1)
        assert check.align_labels.solution(word_numbers(encoding), word_labels) == ours


def test_the_best_span_is_that_of_the_library() -> None:
    encoding = WORDS.encode("a b", "c dx e f a")
    allowed = torch.zeros(len(encoding.tokens), dtype=torch.bool)
    allowed[spans.text_tokens(encoding, 1)] = True
    for seed in range(50):
        start, end = torch.randn(2, len(allowed), generator=torch.Generator().manual_seed(seed))
        scores = spans.span_scores(encoding, start, end, max_answer_length=3)
        expected = divmod(int(scores.argmax()), len(scores))
        assert check.best_span.solution(start, end, allowed, 3) == expected


# Other ways to be right.


def from_mode_to_mode(model: nn.Module, batch: Batch) -> Tensor:
    before = model.training
    model.eval()
    try:
        with torch.inference_mode():
            return model(*batch).logits.softmax(-1).max(-1).indices.int()
    finally:
        model.train(before)


def by_loops(start: Tensor, end: Tensor, allowed: Tensor, length: int) -> list[int]:
    places = range(len(start))
    pairs = [(i, j) for i in places for j in places[i : i + length] if allowed[i : j + 1].all()]
    return list(max(pairs, key=lambda pair: float(start[pair[0]] + end[pair[1]])))


ALSO_RIGHT: dict[str, Callable] = {
    "mean_pooling": lambda h, m: torch.stack(
        [own[keep == 1].mean(0) for own, keep in zip(h, m, strict=True)]
    ),
    "predict_labels": from_mode_to_mode,
    "layer_learning_rates": lambda layers, rate, decay: {
        "embeddings": np.float64(rate * decay**layers),
        **{f"layer.{i}": torch.tensor(rate * decay ** (layers - i - 1)) for i in range(layers)},
        "head": rate,
    },
    "align_labels": lambda words, labels: tuple(
        np.int64(labels[word]) if word is not None and words.index(word) == place else -100
        for place, word in enumerate(words)
    ),
    "token_loss": lambda logits, labels: torch.nn.functional.nll_loss(
        logits.log_softmax(-1).transpose(1, 2), labels
    ).double(),
    "entities": lambda labels: [
        [found["start"], found["end"] + 1, found["label"]] for found in collect_named_entities(labels)
    ],
    "best_span": by_loops,
}


def test_other_ways_to_be_right() -> None:
    assert EXERCISES.keys() == ALSO_RIGHT.keys()
    for name, attempt in ALSO_RIGHT.items():
        assert repr(EXERCISES[name](attempt)).startswith("✓")


# Wrong in a known way.


def keeps_no_mode(model: nn.Module, batch: Batch) -> Tensor:
    for part in model.modules():
        part.training = False
    with torch.inference_mode():
        return model(*batch).logits.argmax(1)


def asks_before_it_switches(model: nn.Module, batch: Batch) -> Tensor:
    labels = model(*batch).logits.argmax(1)
    model.eval()
    return labels


def test_a_model_left_in_another_mode_is_seen_however_it_got_there() -> None:
    assert check.predict_labels(keeps_no_mode).mistake == "left in evaluation mode"
    assert check.predict_labels(asks_before_it_switches).mistake == "dropout left on"


def test_layers_upside_down_are_seen_by_whatever_formula() -> None:
    def attempt(layers: int, rate: float, decay: float) -> dict[str, float]:
        rates = {f"layer.{i}": rate * decay ** (2 * i) for i in range(layers)}
        return {"head": rate, **rates, "embeddings": rate}

    assert check.layer_learning_rates(attempt).mistake == "the top layer lowest"


def test_one_mistake_of_several_is_named() -> None:
    exercise = check.entities
    dropped = exercise.variants["I- without a beginning dropped"]
    inclusive = exercise(lambda labels: [(first, end - 1, kind) for first, end, kind in dropped(labels)])
    assert inclusive.mistake == "the end inclusive"
    lost = exercise(lambda labels: [entity for entity in dropped(labels) if entity[1] < len(labels)])
    assert lost.mistake == "I- without a beginning dropped"
    assert exercise(lambda labels: []).mistake is None


def test_a_span_is_judged_by_what_is_wrong_with_it() -> None:
    exercise = check.best_span

    def longest(start: Tensor, end: Tensor, allowed: Tensor, length: int) -> tuple[int, int]:
        places = allowed.nonzero().flatten().tolist()
        return places[0], places[-1]

    assert exercise(longest).mistake == "no limit to the length"
    assert exercise(lambda *case: longest(*case)[::-1]).mistake == "the end may be before the start"
    assert exercise(lambda *case: (0, 1)).mistake == "the question may answer itself"
    assert exercise(lambda *case: longest(*case)[:1] * 2).mistake == "another pair is better"
