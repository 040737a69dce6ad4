"""The exercises of chapter 5: pooling, prediction, learning rates, labels for pieces, loss, names, answers.

Each wrong variant is a mistake that people really make; its question leads the learner to see it. The right
answers are written out here once more, so that a check loads no training code; tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from bertlearn.checks.core import Exercise, Wrong
from bertlearn.encoder import mean_pooling as _mean_pooling
from bertlearn.tokenization import Batch

WordIds = list[int | None]
Entity = tuple[int, int, str]
Span = tuple[int, int]
Predict = Callable[[nn.Module, Batch], Tensor]

IGNORE = -100


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1: one vector for a text.


def _padding_counted(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states.mean(dim=1)


def _divided_by_length(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return (hidden_states * attention_mask[..., None]).mean(dim=1)


def _first_token(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states[:, 0].clone()


def _last_place(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states[:, -1].clone()


def _last_token(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    rows = torch.arange(len(hidden_states))
    return hidden_states[rows, attention_mask.sum(dim=1) - 1]


def _maximum(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states.masked_fill(attention_mask[..., None] == 0, -torch.inf).amax(dim=1)


def _maximum_with_padding(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states.amax(dim=1)


def _sum_of_vectors(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return (hidden_states * attention_mask[..., None]).sum(dim=1)


def _divided_by_the_batch(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return _sum_of_vectors(hidden_states, attention_mask) / attention_mask.sum()


def _padding_summed(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states.sum(dim=1) / attention_mask.sum(dim=1, keepdim=True)


def _mask_reversed(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    keep = 1.0 - attention_mask[..., None]
    return (hidden_states * keep).sum(dim=1) / keep.sum(dim=1)


def _without_special(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    inner = attention_mask[:, 2:]  # one shorter at the end than the text without its [CLS]
    return _mean_pooling(hidden_states[:, 1:-1], inner)


def _without_cls(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return _mean_pooling(hidden_states[:, 1:], attention_mask[:, 1:])


def _divided_twice(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return _divided_by_length(hidden_states, attention_mask) / attention_mask.sum(dim=1, keepdim=True)


def _length_one(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return normalize(_mean_pooling(hidden_states, attention_mask), dim=-1)


def _one_for_all(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    return hidden_states[attention_mask == 1].mean(dim=0)


mean_pooling = Exercise(
    name="mean_pooling",
    reference=_mean_pooling,
    cases={
        "a single text": (_randn(1, 4, 5, seed=1), torch.ones(1, 4, dtype=torch.int64)),
        "two texts of one length": (_randn(2, 5, 4, seed=2), torch.ones(2, 5, dtype=torch.int64)),
        "a padded batch": (
            _randn(3, 6, 4, seed=3),
            torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]]),
        ),
    },
    wrong={
        "padding counted": Wrong(
            _padding_counted,
            "The same text alone and beside a longer one: does its vector stay the same in yours?",
        ),
        "divided by S instead of the tokens": Wrong(
            _divided_by_length,
            "A text of 3 tokens, padded to 6: how many vectors do you add, and by what do you divide?",
        ),
        "the first token": Wrong(
            _first_token, "That is the vector of [CLS]. What do the other tokens contribute to yours?"
        ),
        "the last place": Wrong(
            _last_place, "What stands at the last place of a short text in a batch? One token is no mean."
        ),
        "the last token": Wrong(
            _last_token, "That is the vector of [SEP]. What do the other tokens contribute to yours?"
        ),
        "the maximum": Wrong(
            _maximum, "Each number of yours comes from one token alone. Which tokens should have a say in it?"
        ),
        "the maximum, with padding": Wrong(
            _maximum_with_padding, "Two things: is a greatest number a mean, and does padding count?"
        ),
        "the sum": Wrong(_sum_of_vectors, "A text twice as long: should its vector be twice as long?"),
        "divided by all tokens of the batch": Wrong(
            _divided_by_the_batch,
            "attention_mask.sum() is one number for the batch. How many do you need, and which axis is left?",
        ),
        "padding added, but not counted": Wrong(
            _padding_summed,
            "You divide by the right number. Which vectors are in your sum? Those of [PAD] are not 0.",
        ),
        "the padding alone": Wrong(
            _mask_reversed, "Which number of the mask means “keep”? For a text without padding you have NaN."
        ),
        "[CLS] and [SEP] left out": Wrong(
            _without_special,
            "A fair idea, but the mask has a 1 for them: MiniLM was trained with both in it.",
        ),
        "[CLS] left out": Wrong(
            _without_cls, "The mask has a 1 for [CLS], too. Over how many tokens is your mean?"
        ),
        "divided twice": Wrong(
            _divided_twice, "mean() divides already, by S. What is left to do if you take a sum instead?"
        ),
        "scaled to length 1": Wrong(
            _length_one, "That is a step for later, for cosines. How long is the mean before it?"
        ),
        "one vector for the batch": Wrong(
            _one_for_all, "Your texts are all mixed into one vector. Which axis should be left beside H?"
        ),
    },
    hints=(
        "Make the padding's vectors 0 before you add: the mask as (B, S, 1), times the hidden states.",
        "Sum over the S tokens; divide each row by its own number of tokens, as (B, 1).",
    ),
)


# Exercise 2: predictions.


class _Output(NamedTuple):
    logits: Tensor


class _EverySecondLost(nn.Dropout):
    """A dropout without chance: in training every second number is lost, the others are doubled."""

    def forward(self, input: Tensor) -> Tensor:
        lost = torch.arange(input.shape[-1]) % 2 == 1
        return input.masked_fill(lost, 0.0) * 2 if self.training else input


class _TinyClassifier(nn.Module):
    """Mean pooling of word vectors, dropout and a linear layer; it counts the calls that keep a graph."""

    graphs: Tensor

    def __init__(self, classes: int, training: bool, seed: int) -> None:
        super().__init__()
        self.embeddings = nn.Embedding.from_pretrained(_randn(20, 6, seed=seed), freeze=False)
        self.dropout = _EverySecondLost()
        self.classifier = nn.Linear(6, classes)
        self.classifier.weight.data = _randn(classes, 6, seed=seed + 1)
        self.classifier.bias.data.zero_()
        self.register_buffer("graphs", torch.zeros((), dtype=torch.int64))
        self.train(training)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> _Output:
        """Return logits (B, C)."""
        self.graphs += torch.is_grad_enabled()
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return _Output(self.classifier(self.dropout(_mean_pooling(self.embeddings(input_ids), mask))))


def _labels(model: nn.Module, batch: Batch) -> Tensor:
    labels: Tensor = model(**batch._asdict()).logits.argmax(dim=-1)
    return labels


def _without_dropout(model: nn.Module, batch: Batch, predict: Predict) -> Tensor:
    training = model.training
    model.eval()
    labels = predict(model, batch)
    model.train(training)
    return labels


def _predict_labels(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return _without_dropout(model, batch, _labels)


def _dropout_on(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return _labels(model, batch)


def _left_in_evaluation(model: nn.Module, batch: Batch) -> Tensor:
    model.eval()
    return _dropout_on(model, batch)


def _left_in_evaluation_with_graph(model: nn.Module, batch: Batch) -> Tensor:
    model.eval()
    return _labels(model, batch)


def _always_to_training(model: nn.Module, batch: Batch) -> Tensor:
    labels = _left_in_evaluation(model, batch)
    model.train()
    return labels


def _always_to_training_with_graph(model: nn.Module, batch: Batch) -> Tensor:
    labels = _left_in_evaluation_with_graph(model, batch)
    model.train()
    return labels


def _with_graph(model: nn.Module, batch: Batch) -> Tensor:
    return _without_dropout(model, batch, _labels)


def _in_training_mode(model: nn.Module, batch: Batch) -> Tensor:
    model.train()
    return _dropout_on(model, batch)


def _over_the_texts(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return _without_dropout(model, batch, lambda m, b: m(**b._asdict()).logits.argmax(dim=0))


def _one_label(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return _without_dropout(model, batch, lambda m, b: m(**b._asdict()).logits.argmax())


def _logits(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return _without_dropout(model, batch, lambda m, b: m(**b._asdict()).logits)


def _greatest_logit(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return _without_dropout(model, batch, lambda m, b: m(**b._asdict()).logits.amax(dim=-1))


def _mask_forgotten(model: nn.Module, batch: Batch) -> Tensor:
    with torch.no_grad():
        return _without_dropout(model, batch, lambda m, b: m(b.input_ids).logits.argmax(dim=-1))


def _switched_off_for_good(model: nn.Module, batch: Batch) -> Tensor:
    torch.set_grad_enabled(False)
    return _without_dropout(model, batch, _labels)


def _answers_like(mistake: Predict) -> Callable[[Tensor, nn.Module, Batch], bool]:
    """Return a symptom: the labels are those of the mistake, not the right ones."""

    def symptom(value: Tensor, model: nn.Module, batch: Batch) -> bool:
        found = mistake(model, batch)
        return value.tolist() == found.tolist() != _predict_labels(model, batch).tolist()

    return symptom


def _tiny_batch(lengths: list[int], seed: int) -> Batch:
    size = (len(lengths), max(lengths))
    ids = torch.randint(1, 20, size, generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return Batch(ids * mask, mask, torch.zeros_like(ids))


predict_labels = Exercise(
    name="predict_labels",
    reference=_predict_labels,
    cases={
        "a model in training": (_TinyClassifier(3, True, seed=20), _tiny_batch([5, 4, 5, 3, 2, 4], seed=21)),
        "a model in evaluation": (_TinyClassifier(2, False, seed=30), _tiny_batch([6, 6, 2, 3, 2], seed=31)),
        "as many texts as classes": (_TinyClassifier(4, True, seed=40), _tiny_batch([4, 4, 2, 3], seed=41)),
    },
    wrong={
        "dropout left on": Wrong(
            _dropout_on,
            "The same text twice, from a model that came in training mode: would yours answer the same? "
            "no_grad does not switch dropout off.",
            _answers_like(_dropout_on),
        ),
        "dropout left on, gradients kept": Wrong(
            _labels,
            "Two switches: which one turns dropout off, and which one spares the memory of the gradients?",
        ),
        "left in evaluation mode": Wrong(
            _left_in_evaluation,
            "You look at the model in the middle of training. In which mode does the next step find it?",
        ),
        "left in evaluation mode, gradients kept": Wrong(
            _left_in_evaluation_with_graph,
            "In which mode does the next training step find the model? And what does torch keep for a "
            "backward pass that never comes?",
        ),
        "always put into training mode": Wrong(
            _always_to_training, "A model that came in evaluation mode: in which does yours give it back?"
        ),
        "always put into training mode, gradients kept": Wrong(
            _always_to_training_with_graph,
            "A model that came in evaluation mode: in which does yours give it back? And what does torch "
            "keep for a backward pass that never comes?",
        ),
        "gradients kept": Wrong(
            _with_graph,
            "eval() turns dropout off, but torch still keeps what a backward pass would need. Which context "
            "tells it not to?",
        ),
        "gradients switched off for good": Wrong(
            _switched_off_for_good,
            "set_grad_enabled(False) holds for all that follows: can the model still learn? A `with` block "
            "would end.",
        ),
        "train() instead of eval()": Wrong(_in_training_mode, "Which of the two modes has no dropout?"),
        "argmax over the texts": Wrong(
            _over_the_texts, "Of (B, C), which axis has the classes? How many labels come out of yours?"
        ),
        "argmax over everything": Wrong(
            _one_label, "One number for B texts: what does argmax do without an axis?"
        ),
        "the logits themselves": Wrong(
            _logits, "Which of the C classes is it? A number for each text is asked."
        ),
        "the greatest logit": Wrong(_greatest_logit, "How large it is, or where it stands?"),
        "the attention mask forgotten": Wrong(
            _mask_forgotten,
            "Your model reads the [PAD]s of short texts. Give it all parts of the batch.",
            _answers_like(_mask_forgotten),
        ),
    },
    hints=(
        "model.training says in which mode the model came; model.eval() and model.train(…) set it.",
        "The call itself goes into `with torch.no_grad():`.",
        "Note the mode, eval(), call, argmax over the last axis, train(the mode you noted), return.",
    ),
)


# Exercise 3: a learning rate for each layer.


def _named(head: float, below: list[float]) -> dict[str, float]:
    """Name the rates; those below the head, L + 1 of them, come from the top down."""
    layers = len(below) - 1
    names = [*(f"layer.{i}" for i in reversed(range(layers))), "embeddings"]
    return {"head": head, **dict(zip(names, below, strict=True))}


def _powers(num_layers: int, rate: float, decay: float) -> list[float]:
    return [rate * decay**step for step in range(num_layers + 1)]


def _layer_learning_rates(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _named(rate, _powers(num_layers, rate, decay))


def _upside_down(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _named(rate, _powers(num_layers, rate, decay)[::-1])


def _power_of_the_number(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    *layers, embeddings = _powers(num_layers, rate, decay)
    return _named(rate, [*layers[::-1], embeddings])


def _head_lowest(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _named(rate * decay ** (num_layers + 1), _powers(num_layers, rate, decay)[::-1])


def _top_layer_decayed(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _named(rate, _powers(num_layers, rate * decay, decay))


def _head_decayed(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _named(rate * decay, _powers(num_layers, rate * decay, decay))


def _embeddings_as_layer_0(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    rates = _layer_learning_rates(num_layers, rate, decay)
    return {**rates, "embeddings": rates["layer.0"]}


def _embeddings_full(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return {**_layer_learning_rates(num_layers, rate, decay), "embeddings": rate}


def _in_equal_steps(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _named(rate, [rate * (1 - step * (1 - decay)) for step in range(num_layers + 1)])


def _times_the_step(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _named(rate, [rate, *(rate * decay * step for step in range(1, num_layers + 1))])


def _divided_by_the_step(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _named(rate, [rate, *(rate * decay / step for step in range(1, num_layers + 1))])


def _decayed_once(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _named(rate, [rate, *[rate * decay] * num_layers])


def _all_but_the_head_once(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _named(rate, [rate * decay] * (num_layers + 1))


def _factors_alone(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _layer_learning_rates(num_layers, 1.0, decay)


def _growing(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _layer_learning_rates(num_layers, rate, 1 / decay)


def _one_minus_decay(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _layer_learning_rates(num_layers, rate, 1 - decay)


def _counted_from_one(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    rates = _layer_learning_rates(num_layers, rate, decay)
    layers = {f"layer.{i + 1}": rates[f"layer.{i}"] for i in range(num_layers)}
    return {"head": rates["head"], **layers, "embeddings": rates["embeddings"]}


def _no_decay(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return _layer_learning_rates(num_layers, rate, 1.0)


def _embeddings_too_low(num_layers: int, rate: float, decay: float) -> dict[str, float]:
    return {
        **_layer_learning_rates(num_layers, rate, decay),
        "embeddings": rate * decay ** (num_layers + 1),
    }


def _head_below_rate(value: dict[str, float], num_layers: int, rate: float, decay: float) -> bool:
    return isinstance(value, dict) and value["head"] < rate


def _top_below_rate(value: dict[str, float], num_layers: int, rate: float, decay: float) -> bool:
    top = value[f"layer.{num_layers - 1}"] if isinstance(value, dict) else rate
    return abs(top - rate * decay) < 1e-9 * rate and decay < 1


def _lower_layers_faster(value: dict[str, float], num_layers: int, rate: float, decay: float) -> bool:
    return isinstance(value, dict) and rate >= value["layer.0"] > value[f"layer.{num_layers - 1}"]


layer_learning_rates = Exercise(
    name="layer_learning_rates",
    reference=_layer_learning_rates,
    cases={
        "two layers": (2, 1.0, 0.5),
        "six layers": (6, 1e-4, 0.9),
        "no decay": (3, 5e-5, 1.0),
    },
    wrong={
        "the top layer lowest": Wrong(
            _upside_down,
            "Which layers know what holds for any text, those near the words or those near the head? "
            "Which of them does yours change most?",
            _lower_layers_faster,
        ),
        "the power is the layer's number": Wrong(
            _power_of_the_number,
            "Layer 0 has the full rate in yours. How many layers are above it, and how many above the last?",
        ),
        "the head lowest": Wrong(
            _head_lowest, "Which part is new and knows nothing yet? It should have the full rate."
        ),
        "the top layer decayed, too": Wrong(
            _top_layer_decayed,
            "How many layers are above the top layer? The head is not one of them.",
            _top_below_rate,
        ),
        "the head decayed, too": Wrong(
            _head_decayed,
            "The head is drawn by chance and has all to learn. How many layers are above it?",
            _head_below_rate,
        ),
        "embeddings like layer 0": Wrong(
            _embeddings_as_layer_0, "Are the embeddings beside layer 0 or below it?"
        ),
        "embeddings at the full rate": Wrong(
            _embeddings_full, "The embeddings are the lowest of all. Which rate do you give them?"
        ),
        "in equal steps": Wrong(
            _in_equal_steps,
            "With 12 layers and a decay of 0.9, when does yours fall below 0? Each step is times `decay`.",
        ),
        "times decay times the step": Wrong(
            _times_the_step, "Two steps down is decay times decay. Is that 2 · decay?"
        ),
        "decay divided by the step": Wrong(
            _divided_by_the_step, "With decay 1 all rates should be equal. Are they in yours?"
        ),
        "decayed once for all": Wrong(
            _decayed_once, "Each layer is one more step down. Does your rate change from layer to layer?"
        ),
        "decayed once for all, the top layer, too": Wrong(
            _all_but_the_head_once,
            "Each layer is one more step down, and none is above the top layer. Does your rate change?",
        ),
        "the embeddings a step too low": Wrong(
            _embeddings_too_low, "How many layers are above the embeddings: L, or L + 1?"
        ),
        "the same rate everywhere": Wrong(_no_decay, "Where does `decay` come in?"),
        "factors instead of rates": Wrong(_factors_alone, "Your head has 1. Where does `rate` come in?"),
        "growing downwards": Wrong(_growing, "Divided by a number below 1: do your rates fall or grow?"),
        "times 1 − decay": Wrong(
            _one_minus_decay, "With decay 0.9, is a layer's rate 0.9 or 0.1 of that of the layer above?"
        ),
        "layers counted from 1": Wrong(
            _counted_from_one, "What is the lowest layer called, in transformers as here?"
        ),
    },
    hints=(
        "Count for each part the layers above it: none above head and top layer, all L above the embeddings.",
        "Above layer i there are L − 1 − i layers; its rate is rate · decay to that power.",
    ),
    tolerance=1e-9,
)


# Exercise 4: from labels of words to labels of pieces.


def _align_labels(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    before = [None, *word_ids[:-1]]
    return [
        word_labels[word] if word is not None and word != previous else IGNORE
        for word, previous in zip(word_ids, before, strict=True)
    ]


def _every_piece(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    return [IGNORE if word is None else word_labels[word] for word in word_ids]


def _inside_on_later_pieces(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    labels = _align_labels(word_ids, word_labels)
    return [
        label if label != IGNORE or word is None else word_labels[word] + word_labels[word] % 2
        for word, label in zip(word_ids, labels, strict=True)
    ]


def _next_label(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    following = iter(word_labels)
    return [IGNORE if label == IGNORE else next(following) for label in _align_labels(word_ids, word_labels)]


def _zero_for_special(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    labels = _align_labels(word_ids, word_labels)
    return [0 if word is None else label for word, label in zip(word_ids, labels, strict=True)]


def _zero_for_all_else(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    return [max(label, 0) for label in _align_labels(word_ids, word_labels)]


def _zero_for_later_pieces(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    labels = _zero_for_all_else(word_ids, word_labels)
    return [IGNORE if word is None else label for word, label in zip(word_ids, labels, strict=True)]


def _every_piece_and_zero(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    return [0 if word is None else word_labels[word] for word in word_ids]


def _last_piece(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    return _align_labels(word_ids[::-1], word_labels)[::-1]


def _label_carried_on(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    labels: list[int] = []
    for label in _every_piece(word_ids, word_labels):
        labels.append(labels[-1] if label == IGNORE and labels else label)
    return labels


def _counted_by_place(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    padded = word_labels + [IGNORE] * len(word_ids)
    return [IGNORE if word is None else padded[place] for place, word in enumerate(word_ids)]


def _cls_forgotten(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    return [*_align_labels(word_ids, word_labels)[1:], IGNORE]


def _word_0_is_false(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    labels = _align_labels(word_ids, word_labels)
    return [label if word else IGNORE for word, label in zip(word_ids, labels, strict=True)]


def _first_pieces_only(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    return [label for label in _align_labels(word_ids, word_labels) if label != IGNORE]


def _words_in_a_row(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    labels = [*word_labels, *[IGNORE] * len(word_ids)]
    return labels[: len(word_ids)]


def _numbers_of_words(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    labels = _align_labels(word_ids, word_labels)
    return [IGNORE if label == IGNORE else word or 0 for word, label in zip(word_ids, labels, strict=True)]


def _minus_1(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    return [-1 if label == IGNORE else label for label in _align_labels(word_ids, word_labels)]


def _other_number(value: list[int], word_ids: WordIds, word_labels: list[int]) -> bool:
    right = _align_labels(word_ids, word_labels)
    others = {int(mine) for mine, label in zip(value, right, strict=True) if label == IGNORE}
    same = all(mine == label for mine, label in zip(value, right, strict=True) if label != IGNORE)
    return same and len(others) == 1 and not others & {0, IGNORE}


def _too_few(value: list[int], word_ids: WordIds, word_labels: list[int]) -> bool:
    return 0 < len(value) < len(word_ids)


def _label_0_ignored(word_ids: WordIds, word_labels: list[int]) -> list[int]:
    return [label or IGNORE for label in _align_labels(word_ids, word_labels)]


align_labels = Exercise(
    name="align_labels",
    reference=_align_labels,
    cases={
        "one piece a word": ([None, 0, 1, 2, None], [0, 1, 2]),
        "a word of three pieces": ([None, 0, 1, 1, 1, 2, None], [2, 1, 0]),
        "a padded text": ([None, 0, 0, 1, 2, 2, None, None, None], [1, 2, 0]),
        "a text that was cut": ([None, 0, 0, 1, None], [1, 0, 2, 2, 1]),
        "a word that left no piece": ([None, 0, 1, 3, 3, None], [0, 1, 0, 2]),
    },
    wrong={
        "a label on every piece": Wrong(
            _every_piece,
            "A name of four pieces: how often does it count in your loss, and how often does “John”?",
        ),
        "an I- on the later pieces": Wrong(
            _inside_on_later_pieces,
            "A name of one word and four pieces: how often does it count in your loss, and how often “John”?",
        ),
        "the next label at each new word": Wrong(
            _next_label, "Word 2 has no piece: which label does word 3 get in yours? word_ids has its number."
        ),
        "0 for [CLS], [SEP] and [PAD]": Wrong(
            _zero_for_special,
            "0 is a label like any other here. What does your model learn to say of [PAD], and how often?",
        ),
        "0 for all other pieces": Wrong(
            _zero_for_all_else, "0 is a label like any other. Which number says “do not ask”?"
        ),
        "0 for the later pieces of a word": Wrong(
            _zero_for_later_pieces,
            "If 0 is “O”: what does your model learn about the second half of a name?",
        ),
        "a label on every piece, 0 for the rest": Wrong(
            _every_piece_and_zero, "Where is −100 in yours? Two kinds of pieces should have it."
        ),
        "the last piece of a word": Wrong(
            _last_piece,
            "Which piece of a word do you label? Devlin et al. read the answer off the first.",
        ),
        "a special token takes its neighbor's label": Wrong(
            _label_carried_on, "What is the label of [SEP] in yours, and where does it come from?"
        ),
        "the place instead of the word's number": Wrong(
            _counted_by_place,
            "word_labels has an entry for each word, not for each piece. Which one belongs to piece 3?",
        ),
        "all moved by one: [CLS] forgotten": Wrong(
            _cls_forgotten, "What is the label of the very first piece in yours, and what piece is that?"
        ),
        "the first word without a label": Wrong(
            _word_0_is_false, "`if word_id` is false for None, and for which number? Ask `is not None`."
        ),
        "only the labels that count": Wrong(
            _first_pieces_only,
            "How many pieces come in, how many labels come out? The loss pairs them off.",
            _too_few,
        ),
        "another number than −100": Wrong(
            _minus_1,
            "Which number does cross_entropy leave out unless told otherwise? Its ignore_index.",
            _other_number,
        ),
        "the words' labels in a row": Wrong(
            _words_in_a_row, "What does yours do with word_ids? The first of them is [CLS]."
        ),
        "the word's number instead of its label": Wrong(
            _numbers_of_words, "Word 2 is a place in word_labels. What stands there?"
        ),
        "label 0 taken for none": Wrong(
            _label_0_ignored, "`if label` is false for 0. Do words of class 0 count in your loss?"
        ),
    },
    hints=(
        "Walk along word_ids and remember the one before.",
        "A piece begins a word if its word is not None and differs from that of the piece before.",
        "Such a piece gets word_labels[word]; every other gets −100.",
    ),
)


# Exercise 5: the loss of a batch of labeled tokens.


def _token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)


def _loss_on_padding(logits: Tensor, labels: Tensor) -> Tensor:
    return _token_loss(logits, labels.clamp(min=0))


def _sum_of_losses(logits: Tensor, labels: Tensor) -> Tensor:
    return _token_loss(logits, labels) * (labels != IGNORE).sum()


def _over_all_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    return _sum_of_losses(logits, labels) / labels.numel()


def _over_texts(logits: Tensor, labels: Tensor) -> Tensor:
    return _sum_of_losses(logits, labels) / len(labels)


def _mean_of_means(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([_token_loss(*text) for text in zip(logits[:, None], labels, strict=True)]).mean()


def _softmax_twice(logits: Tensor, labels: Tensor) -> Tensor:
    return _token_loss(logits.softmax(dim=-1), labels)


def _class_0_ignored(logits: Tensor, labels: Tensor) -> Tensor:
    return _token_loss(logits, torch.where(labels > 0, labels, IGNORE))


def _reshaped(logits: Tensor, labels: Tensor) -> Tensor:
    texts, length, classes = logits.shape
    return cross_entropy(logits.reshape(texts, classes, length), labels)


def _probability_of_label(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels != IGNORE
    return -logits[asked].softmax(dim=-1).gather(1, labels[asked][:, None]).mean()


def _minus_forgotten(logits: Tensor, labels: Tensor) -> Tensor:
    return -_token_loss(logits, labels)


def _over_classes(logits: Tensor, labels: Tensor) -> Tensor:
    return _token_loss(logits, labels) / logits.shape[-1]


def _softmax_over_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels != IGNORE
    return -logits.log_softmax(dim=1)[asked].gather(1, labels[asked][:, None]).mean()


def _logit_of_label(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels != IGNORE
    return -logits[asked].gather(1, labels[asked][:, None]).mean()


def _labels_of_the_next(logits: Tensor, labels: Tensor) -> Tensor:
    return _token_loss(logits[:, :-1], labels[:, 1:])


def _logits_made_zero(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels != IGNORE
    return _loss_on_padding(logits * asked[..., None], labels)


def _softmax_over_the_batch(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels.flatten() != IGNORE
    log_probs = logits.flatten(0, 1).log_softmax(dim=0)[asked]
    return -log_probs.gather(1, labels.flatten()[asked][:, None]).mean()


def _all_classes(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.log_softmax(dim=-1)[labels != IGNORE].mean()


def _each_token(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)


token_loss = Exercise(
    name="token_loss",
    reference=_token_loss,
    cases={
        "one text": (2 * _randn(1, 5, 3, seed=10), torch.tensor([[-100, 1, -100, 2, -100]])),
        "two texts, one with more labels": (
            2 * _randn(2, 6, 4, seed=11),
            torch.tensor([[-100, 1, 2, 3, 1, -100], [-100, 2, -100, -100, -100, -100]]),
        ),
        "with class 0": (
            2 * _randn(2, 4, 3, seed=12),
            torch.tensor([[-100, 0, 2, -100], [-100, 0, 0, 1]]),
        ),
    },
    wrong={
        "−100 taken for class 0": Wrong(
            _loss_on_padding,
            "How many terms are in your mean, and how many labels are not −100? What is asked of [PAD]?",
        ),
        "divided by all tokens, B · S": Wrong(
            _over_all_tokens,
            "Add padding to the batch and your loss gets smaller. Is the model better?",
        ),
        "divided by the texts": Wrong(
            _over_texts, "A longer text: should its loss be larger? How many labels are in your sum?"
        ),
        "the mean of the texts' means": Wrong(
            _mean_of_means,
            "One text has one label, another four. Should the one count as much as the four together?",
        ),
        "the sum, not divided": Wrong(
            _sum_of_losses, "Should a batch twice as large have a loss twice as large?"
        ),
        "softmax twice": Wrong(
            _softmax_twice,
            "cross_entropy takes logits and does the softmax itself. What does it do to numbers from 0 to 1?",
        ),
        "class 0 ignored, too": Wrong(
            _class_0_ignored, "0 is a label like the others, “O” perhaps. Which number says “do not ask”?"
        ),
        "(B, S, C) read as (B, C, S)": Wrong(
            _reshaped,
            "reshape and view move no number: whose logits are now in one column? Swap the axes with "
            "transpose, or flatten B and S.",
        ),
        "the probability, without the logarithm": Wrong(
            _probability_of_label,
            "A model that is sure of the wrong answer: how large can your loss get? Where is the ln?",
        ),
        "the logit instead of its log-probability": Wrong(
            _logit_of_label, "Add 100 to all logits: your loss falls by 100. Do the probabilities change?"
        ),
        "the minus forgotten": Wrong(
            _minus_forgotten,
            "Training makes this number small. Does the probability of the right label rise or fall with it?",
        ),
        "divided by the classes as well": Wrong(
            _over_classes, "Of the C log-probabilities of a token one counts. Is your mean over N, or N · C?"
        ),
        "the softmax over the tokens": Wrong(
            _softmax_over_tokens,
            "For one token, what do your probabilities of the classes add up to? Which axis has the classes?",
        ),
        "the softmax over all tokens of the batch": Wrong(
            _softmax_over_the_batch,
            "For one token, what do your probabilities of the classes add up to? Which axis has the classes?",
        ),
        "logits made 0 where nothing is asked": Wrong(
            _logits_made_zero,
            "Logits of 0 say: all classes are alike, a loss of ln C. Is that nothing? Leave the place out.",
        ),
        "the mean over all classes": Wrong(
            _all_classes, "Which of the C log-probabilities of a token should training raise? Not all."
        ),
        "labels of the token after": Wrong(
            _labels_of_the_next,
            "That is how a model that writes the next word is trained. Whose label is labels[:, 3] here?",
        ),
        "a loss for each token": Wrong(
            _each_token, "Training needs one number. Which of yours should be in the mean?"
        ),
    },
    hints=(
        "cross_entropy wants a row of logits for each label: (B, S, C) → (B · S, C), and (B, S) → (B · S).",
        "Its ignore_index is −100 already, and its mean is over the labels that count.",
    ),
)


# Exercise 6: entities from BIO labels.


def _entities(labels: list[str]) -> list[Entity]:
    found: list[Entity] = []
    before = ""  # kind of the word before
    for place, label in enumerate(labels):
        tag, _, kind = label.partition("-")
        if tag == "I" and kind == before:
            found[-1] = (found[-1][0], place + 1, kind)
        elif tag != "O":
            found.append((place, place + 1, kind))
        before = kind
    return found


def _neighbors_merged(labels: list[str]) -> list[Entity]:
    return _entities([label.replace("B-", "I-") for label in labels])


def _inclusive(labels: list[str]) -> list[Entity]:
    return [(first, end - 1, kind) for first, end, kind in _entities(labels)]


def _orphans(labels: list[str]) -> list[int]:
    """Return the words with an "I-" that follows nothing of its kind."""
    before = ["O", *labels[:-1]]
    return [i for i, label in enumerate(labels) if label[0] == "I" and label[1:] != before[i][1:]]


def _orphan_dropped(labels: list[str]) -> list[Entity]:
    clean, dropped = [], False
    for place, label in enumerate(labels):
        dropped = place in _orphans(labels) or (dropped and label[0] == "I")
        clean.append("O" if dropped else label)
    return _entities(clean)


def _orphan_after_o_dropped(labels: list[str]) -> list[Entity]:
    clean, before = [], "O"
    for label in labels:
        before = "O" if label[0] == "I" and before == "O" else label
        clean.append(before)
    return _entities(clean)


def _kind_ignored(labels: list[str]) -> list[Entity]:
    clean: list[str] = []
    for label in labels:
        goes_on = label[0] == "I" and clean and clean[-1] != "O"
        clean.append("I" + clean[-1][1:] if goes_on else label)
    return _entities(clean)


def _kind_ignored_orphans_dropped(labels: list[str]) -> list[Entity]:
    return _orphan_after_o_dropped(_as_written(_kind_ignored(labels), labels))


def _as_written(found: list[Entity], labels: list[str]) -> list[str]:
    """Return labels with the kinds of the entities found, but each B and I as it was."""
    kinds = {place: kind for first, end, kind in found for place in range(first, end)}
    return [f"{label[0]}-{kinds[i]}" if i in kinds else "O" for i, label in enumerate(labels)]


def _last_lost(labels: list[str]) -> list[Entity]:
    return [entity for entity in _entities(labels) if entity[1] < len(labels)]


def _each_word(labels: list[str]) -> list[Entity]:
    return [(i, i + 1, label[2:]) for i, label in enumerate(labels) if label != "O"]


def _beginnings_only(labels: list[str]) -> list[Entity]:
    return [(i, i + 1, label[2:]) for i, label in enumerate(labels) if label[0] == "B"]


def _across_the_gap(labels: list[str]) -> list[Entity]:
    found: list[Entity] = []
    for first, end, kind in _entities(labels):
        if found and found[-1][2] == kind and labels[first][0] == "I":
            found[-1] = (found[-1][0], end, kind)
        else:
            found.append((first, end, kind))
    return found


def _whole_label(labels: list[str]) -> list[Entity]:
    return [(first, end, labels[first]) for first, end, _ in _entities(labels)]


def _kind_first(labels: list[str]) -> list[tuple[str, int, int]]:
    return [(kind, first, end) for first, end, kind in _entities(labels)]


def _with_length(labels: list[str]) -> list[Entity]:
    return [(first, end - first, kind) for first, end, kind in _entities(labels)]


def _like(mistake: Callable[[list[str]], list[Entity]]) -> Callable[[list[Entity], list[str]], bool]:
    """Return a symptom: some entities are found, and they are those of the mistake, not the right ones."""

    def symptom(value: list[Entity], labels: list[str]) -> bool:
        found = [tuple(entity) for entity in value]
        return bool(found) and found == mistake(labels) != _entities(labels)

    return symptom


def _one_too_far(labels: list[str]) -> list[Entity]:
    return [(first, end + 1, kind) for first, end, kind in _entities(labels)]


entities = Exercise(
    name="entities",
    reference=_entities,
    cases={
        "one name": (["O", "B-PER", "I-PER", "O"],),
        "a name at the end": (["O", "O", "B-PER", "I-PER"],),
        "two names side by side": (["B-PER", "I-PER", "B-PER", "O", "B-LOC"],),
        "no B at the beginning": (["O", "I-PER", "I-PER", "O", "B-PER", "O", "I-PER", "O"],),
        "another kind inside": (["B-PER", "I-LOC", "I-LOC", "O", "O"],),
        "no entity": (["O", "O", "O"],),
    },
    wrong={
        "neighbors merged": Wrong(
            _neighbors_merged,
            "“Thelma, Louise” without the comma is B-PER B-PER. How many persons do you find?",
        ),
        "the end inclusive": Wrong(
            _inclusive,
            "words[first:end] should be the entity. Which word is missing in yours?",
            _like(_inclusive),
        ),
        "I- without a beginning dropped": Wrong(
            _orphan_dropped,
            "A model may say O I-PER. What is left of that name in yours? The task has a rule for it.",
            _like(_orphan_dropped),
        ),
        "I- after O dropped": Wrong(
            _orphan_after_o_dropped, "A change of kind begins an entity in yours. Does I-PER after O?"
        ),
        "a change of kind ignored": Wrong(
            _kind_ignored,
            "B-PER I-LOC: is that one entity? What is its kind? I- goes on with its own kind only.",
            _like(_kind_ignored),
        ),
        "the kind of I- ignored, I- after O dropped": Wrong(
            _kind_ignored_orphans_dropped,
            "Two things: what does I-LOC after B-PER become in yours, and what does I-PER after O?",
        ),
        "the last entity lost": Wrong(
            _last_lost,
            "You note an entity when something else follows. What if nothing follows?",
            _like(_last_lost),
        ),
        "an entity for each word": Wrong(
            _each_word, "B-PER I-PER is one person of two words. What should I- do to the entity before it?"
        ),
        "only the word with B-": Wrong(_beginnings_only, "Where does B-PER I-PER I-PER end?"),
        "goes on across an O": Wrong(
            _across_the_gap, "B-PER O I-PER: does your entity hold a word that is O? What should O end?"
        ),
        "the whole label as the kind": Wrong(
            _whole_label, "B- and I- say where a word stands. What is left of “B-PER” as the kind?"
        ),
        "the kind first": Wrong(
            _kind_first, "The task names the order: first word, one after the last, kind."
        ),
        "first word and length": Wrong(
            _with_length, "The second number asked for is a place: one after the last word."
        ),
        "the end two after the last word": Wrong(
            _one_too_far, "words[first:end] should be the entity. Which word is too much in yours?"
        ),
    },
    hints=(
        "Walk along the labels with the kind of the word before; label[:1] is the tag, label[2:] the kind.",
        "An I- of the kind before moves the end of the last entity by one. Any other B- or I- begins one.",
        "If you note entities only when they end: one may still be open after the last word.",
    ),
)


# Exercise 7: the best answer.


def _sums(start: Tensor, end: Tensor) -> Tensor:
    return start[:, None] + end[None, :]


def _valid(allowed: Tensor, max_length: int) -> Tensor:
    return (allowed[:, None] & allowed).triu().tril(max_length - 1)


def _greatest(scores: Tensor, valid: Tensor) -> Span:
    first, last = divmod(int(scores.masked_fill(~valid, -torch.inf).argmax()), scores.shape[1])
    return first, last


def _best_span(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    return _greatest(_sums(start_logits, end_logits), _valid(allowed, max_length))


def _two_argmaxes(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    start, end = start_logits.clone(), end_logits.clone()
    start[~allowed] = end[~allowed] = -torch.inf
    return int(start.argmax()), int(end.argmax())


def _argmaxes_anywhere(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    return int(start_logits.argmax()), int(end_logits.argmax())


def _argmaxes_sorted(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    first, last = sorted(_two_argmaxes(start_logits, end_logits, allowed, max_length))
    return first, last


def _question_allowed(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    return _best_span(start_logits, end_logits, torch.ones_like(allowed), max_length)


def _only_start_checked(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    valid = _valid(torch.ones_like(allowed), max_length) & allowed[:, None]
    return _greatest(_sums(start_logits, end_logits), valid)


def _one_too_long(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    return _best_span(start_logits, end_logits, allowed, max_length + 1)


def _one_too_short(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    return _best_span(start_logits, end_logits, allowed, max(1, max_length - 1))


def _any_length(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    return _best_span(start_logits, end_logits, allowed, len(allowed))


def _any_order(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    valid = (allowed[:, None] & allowed).tril(max_length - 1)
    return _greatest(_sums(start_logits, end_logits), valid)


def _greedy(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    valid = _valid(allowed, max_length)
    first = int(start_logits.masked_fill(~valid.any(dim=1), -torch.inf).argmax())
    return first, int(end_logits.masked_fill(~valid[first], -torch.inf).argmax())


def _greedy_from_the_end(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    valid = _valid(allowed, max_length)
    last = int(end_logits.masked_fill(~valid.any(dim=0), -torch.inf).argmax())
    return int(start_logits.masked_fill(~valid[:, last], -torch.inf).argmax()), last


def _two_pieces_at_least(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    return _greatest(_sums(start_logits, end_logits), _valid(allowed, max_length).triu(1))


def _best_so_far_is_zero(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    first, last = _best_span(start_logits, end_logits, allowed, max_length)
    return (first, last) if start_logits[first] + end_logits[last] > 0 else (0, 0)


def _zero_where_not_allowed(
    start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int
) -> Span:
    return _question_allowed(start_logits * allowed, end_logits * allowed, allowed, max_length)


def _product(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    return _greatest(start_logits[:, None] * end_logits, _valid(allowed, max_length))


def _end_behind(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    first, last = _best_span(start_logits, end_logits, allowed, max_length)
    return first, last + 1


def _counted_in_context(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    first, last = _best_span(start_logits[allowed], end_logits[allowed], allowed[allowed], max_length)
    return first, last


def _probabilities_added(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    return _best_span(start_logits.softmax(0), end_logits.softmax(0), allowed, max_length)


def _zero_outside_the_band(
    start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int
) -> Span:
    scores = _sums(start_logits, end_logits).triu().tril(max_length - 1)
    return _greatest(scores, allowed[:, None] & allowed)


def _argmaxes_cut(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    first, last = _two_argmaxes(start_logits, end_logits, allowed, max_length)
    return first, max(first, min(last, first + max_length - 1))


def _first_and_length(start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int) -> Span:
    first, last = _best_span(start_logits, end_logits, allowed, max_length)
    return first, last - first + 1


def _starts_at_zero(value: Span | None, start: Tensor, end: Tensor, allowed: Tensor, max_length: int) -> bool:
    return bool((start + end.max() < 0).all()) and (value is None or tuple(value) in ((0, 0), (-1, -1)))


def _ends_before(value: Span, start: Tensor, end: Tensor, allowed: Tensor, max_length: int) -> bool:
    return value[1] < value[0]


def _outside(value: Span, start: Tensor, end: Tensor, allowed: Tensor, max_length: int) -> bool:
    first, last = value
    return not (allowed[first] and allowed[last])


def _too_long(value: Span, start: Tensor, end: Tensor, allowed: Tensor, max_length: int) -> bool:
    return value[1] - value[0] >= max_length


def _not_the_best(value: Span, start: Tensor, end: Tensor, allowed: Tensor, max_length: int) -> bool:
    first, last = value
    return bool(_valid(allowed, max_length)[first, last]) and (first, last) != _best_span(
        start, end, allowed, max_length
    )


def _start_and_end_swapped(
    start_logits: Tensor, end_logits: Tensor, allowed: Tensor, max_length: int
) -> Span:
    return _best_span(end_logits, start_logits, allowed, max_length)


def _span_case(start: list[float], end: list[float], context: range, max_length: int) -> tuple[object, ...]:
    allowed = torch.zeros(len(start), dtype=torch.bool)
    allowed[list(context)] = True
    return torch.tensor(start), torch.tensor(end), allowed, max_length


best_span = Exercise(
    name="best_span",
    reference=_best_span,
    cases={
        "best start and best end fit": _span_case(
            [0.1, 0.0, 1.0, 5.0, 1.5, 0.5, 0.2, 0.3], [0.0, 0.2, 0.7, 1.0, 2.0, 4.0, 0.1, 0.4], range(2, 7), 4
        ),
        "the best end is before the best start": _span_case(
            [0.1, 0.2, 2.0, 1.0, 0.3, 3.0, 0.4, 0.0], [0.0, 0.1, 0.5, 3.5, 1.5, 0.2, 1.0, 0.3], range(2, 7), 3
        ),
        "the question looks better": _span_case(
            [0.3, 6.0, 0.2, 0.4, 2.0, 1.0, 0.1, 0.0], [0.1, 5.0, 0.0, 0.5, 0.2, 1.7, 1.2, 4.0], range(3, 7), 3
        ),
        "the best pair is too long": _span_case(
            [0.2, 0.1, 4.0, 0.5, 0.3, 1.0, 0.6, 0.0], [0.0, 0.3, 0.1, 0.2, 1.5, 2.0, 3.0, 0.4], range(1, 7), 3
        ),
        "a sure start with a hopeless end": _span_case(
            [0.1, 0.2, 5.0, 0.3, 0.1, 2.0, 0.3], [6.0, 0.0, -3.0, -4.0, -8.0, 1.0, -5.0], range(2, 6), 2
        ),
        "one piece": _span_case(
            [0.0, 0.5, 0.3, 4.0, 0.2, 0.1], [0.1, 0.2, -2.0, -1.0, -3.0, -2.0], range(2, 5), 3
        ),
        "all logits negative": _span_case(
            [-2.0, -1.0, -5.0, -3.0, -6.0, -4.0], [-2.5, -1.5, -6.0, -5.0, -3.5, -7.0], range(2, 6), 3
        ),
    },
    wrong={
        "0 instead of minus infinity": Wrong(
            _best_so_far_is_zero,
            "All sums may be negative. Which number is below every sum?",
            _starts_at_zero,
        ),
        "two argmaxes, each by itself": Wrong(
            _two_argmaxes,
            "Can your answer end before it begins? What should be greatest, a pair or each alone?",
        ),
        "two argmaxes over all pieces": Wrong(
            _argmaxes_anywhere,
            "Can yours lie in the question, or end before it begins? What is `allowed` for?",
        ),
        "two argmaxes, then put in order": Wrong(
            _argmaxes_sorted,
            "A good start is no good end. How large is the start logit of the piece where yours begins?",
        ),
        "the question may answer itself": Wrong(
            _question_allowed,
            "Is your answer in the question, or [SEP]? Which of its ends do you check against `allowed`?",
            _outside,
        ),
        "only the start must be allowed": Wrong(
            _only_start_checked, "Where does your answer end? May it stand there?"
        ),
        "one piece too long": Wrong(
            _one_too_long, "From piece 2 to piece 4: how many pieces are that? It is not 4 − 2."
        ),
        "one piece too short": Wrong(
            _one_too_short, "range stops one before its end. How long is your longest answer?"
        ),
        "no limit to the length": Wrong(
            _any_length,
            "How many pieces has your longest answer? What is max_length for?",
            _too_long,
        ),
        "the end may be before the start": Wrong(
            _any_order,
            "What is the text of your answer if it ends at piece 3 and begins at piece 5?",
            _ends_before,
        ),
        "the best start, then the best end after it": Wrong(
            _greedy,
            "You fix the start before you know how good an end it leaves. Can a worse start win?",
        ),
        "the best end, then the best start before it": Wrong(
            _greedy_from_the_end,
            "You fix the end before you know how good a start it leaves. Can a worse end win?",
        ),
        "two pieces at least": Wrong(
            _two_pieces_at_least, "May an answer begin and end at the same piece? Try “When?” – “1999”."
        ),
        "logits of 0 where no answer may stand": Wrong(
            _zero_where_not_allowed,
            "0 is a fine logit when all others are negative. Which number never wins?",
        ),
        "the product of the logits": Wrong(
            _product, "Minus times minus: what is the product of two very bad logits?"
        ),
        "the end one after the last piece": Wrong(
            _end_behind, "Python's slices end one behind; here the last piece itself is asked for."
        ),
        "first piece and length": Wrong(
            _first_and_length, "The second number asked for is a place, too: that of the last piece."
        ),
        "probabilities added": Wrong(
            _probabilities_added,
            "Logits add up where probabilities multiply: an answer needs a good start and a good end. "
            "Is 0.9 and 0.0 better than 0.4 and 0.4?",
        ),
        "0 outside the band": Wrong(
            _zero_outside_the_band,
            "triu and tril fill with 0. Which wins if all sums inside are negative?",
        ),
        "another pair is better": Wrong(
            _argmaxes_cut,
            "Your answer is allowed, but another has a greater sum. Do you compare all pairs, and by start "
            "logit + end logit?",
            _not_the_best,
        ),
        "counted from the first allowed piece": Wrong(
            _counted_in_context,
            "Your numbers count the pieces of the context. Where is piece 0 of the input?",
        ),
        "start and end logits swapped": Wrong(
            _start_and_end_swapped, "Which logits say how good a piece is as the first?"
        ),
    },
    hints=(
        "Score every pair: (S, 1) plus (1, S) is a table, row = first piece, column = last. Loops do, too.",
        "Put −∞ where the row or the column is not allowed, below the diagonal, and max_length or more "
        "columns right of it (triu and tril help).",
        "argmax numbers a table row by row: divmod(number, S) gives row and column.",
    ),
)
