"""The exercises of chapter 5: pooling, prediction, learning rates, token labels, loss, names, answers.

`from bertlearn.course.checks import finetuning as check`, then `check.mean_pooling(mean_pooling)`. Each wrong
variant is a mistake that people really make, written as an edit of the solution; its question leads to it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bertlearn.course.attempt import run
from bertlearn.course.compare import difference
from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.solutions import finetuning as solution
from bertlearn.model.bert import mean_pooling as _mean_pooling
from bertlearn.tokenizer.encoding import Batch


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _like(exercise: Exercise, mistake: str, value: Any, *args: Any) -> bool:
    """Say whether a value is what a known mistake gives, and neither right nor empty."""
    wrong, right = (run(f, args).value for f in (exercise.variants[mistake], exercise.solution))
    return len(value) > 0 and not difference(value, wrong, 0.0) and bool(difference(wrong, right, 0.0))


# Exercise 1: one vector for a text.

_MEAN = "total / keep.sum(dim=1)"

mean_pooling = Exercise(
    solution.mean_pooling,
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
            "The same text alone and beside a longer one: does its vector stay the same in yours?",
            (_MEAN, "hidden_states.mean(dim=1)"),
        ),
        "divided by S instead of the tokens": Wrong(
            "A text of 3 tokens, padded to 6: how many vectors do you add, and by what do you divide?",
            ("/ keep.sum(dim=1)", "/ hidden_states.shape[1]"),
        ),
        "the first token": Wrong(
            "That is the vector of [CLS]. What do the other tokens contribute to yours?",
            (_MEAN, "hidden_states[:, 0]"),
        ),
        "the last place": Wrong(
            "What is at the last place of a short text in a batch? And one token is not a mean.",
            (_MEAN, "hidden_states[:, -1]"),
        ),
        "the last token": Wrong(
            "That is the vector of [SEP]. What do the other tokens contribute to yours?",
            (_MEAN, "hidden_states[torch.arange(len(keep)), attention_mask.sum(dim=1) - 1]"),
        ),
        "the maximum": Wrong(
            "Each number of yours comes from one token alone. Which tokens should have a say in it?",
            (_MEAN, "hidden_states.masked_fill(keep == 0, -torch.inf).amax(dim=1)"),
        ),
        "the maximum, with padding": Wrong(
            "Two things: is a greatest number a mean, and does padding count?",
            (_MEAN, "hidden_states.amax(dim=1)"),
        ),
        "the sum": Wrong(
            "A text twice as long: should its vector be twice as long?", (" / keep.sum(dim=1)", "")
        ),
        "divided by all tokens of the batch": Wrong(
            "attention_mask.sum() is one number for the batch. How many do you need, and which axis is left?",
            ("keep.sum(dim=1)", "keep.sum()"),
        ),
        "padding added, but not counted": Wrong(
            "You divide by the right number. Which vectors are in your sum? Those of [PAD] are not 0.",
            ("(hidden_states * keep).sum", "hidden_states.sum"),
        ),
        "the padding alone": Wrong(
            "Which number of the mask means “keep”? For a text without padding you have NaN.",
            ("attention_mask[..., None]", "1 - attention_mask[..., None]"),
        ),
        "[CLS] and [SEP] left out": Wrong(
            "A fair idea, but the mask has a 1 for them: MiniLM was trained with both in it.",
            ("keep = attention_mask", "hidden_states, keep = hidden_states[:, 1:-1], attention_mask[:, 2:]"),
        ),
        "[CLS] left out": Wrong(
            "The mask has a 1 for [CLS] as well. Over how many tokens is your mean?",
            ("keep = attention_mask", "hidden_states, keep = hidden_states[:, 1:], attention_mask[:, 1:]"),
        ),
        "divided twice": Wrong(
            "mean() already divides, by S. What is left to do if you take a sum instead?",
            ("keep).sum(dim=1)", "keep).mean(dim=1)"),
        ),
        "scaled to length 1": Wrong(
            "That is a step for later, for cosines. How long is the mean before it?",
            (_MEAN, "torch.nn.functional.normalize(total, dim=-1)"),
        ),
        "one vector for the batch": Wrong(
            "Your texts are all mixed into one vector. Which axis should be left beside H?",
            (_MEAN, "hidden_states[attention_mask == 1].mean(dim=0)"),
        ),
        "the mean over the features": Wrong(
            "One vector of H numbers for each text: which axis should be gone?",
            ("total / keep.sum(dim=1)", "hidden_states.mean(dim=-1)"),
        ),
        "an axis too many": Wrong(
            "Your numbers are right. What is the shape of your result, and what should it be?",
            ("total / keep.sum(dim=1)", "(total / keep.sum(dim=1))[:, None]"),
        ),
    },
    hints=(
        "Make the padding's vectors 0 before you add: the mask as (B, S, 1), times the hidden states.",
        "Sum over the S tokens; divide each row by its own number of tokens, as (B, 1).",
    ),
    why="A text's vector no longer depends on its padding; the classifier below reads this vector.",
)


# Exercise 2: predictions.


class _Output(NamedTuple):
    logits: Tensor


class _EverySecondDropped(nn.Dropout):
    """A dropout without randomness: in training every second number is dropped, the others are doubled."""

    def forward(self, input: Tensor) -> Tensor:
        dropped = torch.arange(input.shape[-1]) % 2 == 1
        return input.masked_fill(dropped, 0.0) * 2 if self.training else input


class _TinyClassifier(nn.Module):
    """Mean pooling of word vectors, dropout and a linear layer; it counts the calls that keep a graph."""

    graphs: Tensor

    def __init__(self, classes: int, training: bool, seed: int) -> None:
        super().__init__()
        self.embeddings = nn.Embedding.from_pretrained(_randn(20, 6, seed=seed), freeze=False)
        self.dropout = _EverySecondDropped()
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


def _tiny_batch(lengths: list[int], seed: int) -> Batch:
    size = (len(lengths), max(lengths))
    ids = torch.randint(1, 20, size, generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return Batch(ids * mask, mask, torch.zeros_like(ids))


_GRADIENTS_KEPT = ("with torch.no_grad():", "if True:")

predict_labels: Exercise = Exercise(
    solution.predict_labels,
    cases={
        "a model in training": (_TinyClassifier(3, True, seed=20), _tiny_batch([5, 4, 5, 3, 2, 4], seed=21)),
        "a model in evaluation": (_TinyClassifier(2, False, seed=30), _tiny_batch([6, 6, 2, 3, 2], seed=31)),
        "as many texts as classes": (_TinyClassifier(4, True, seed=40), _tiny_batch([4, 4, 2, 3], seed=41)),
    },
    wrong={
        "dropout left on": Wrong(
            "The same text twice, from a model that came in training mode: would yours answer the same? "
            "no_grad does not switch dropout off.",
            ("model.eval()", ""),
            symptom=lambda *case: _like(predict_labels, "dropout left on", *case),
        ),
        "dropout left on, gradients kept": Wrong(
            "Two switches: which one turns dropout off, and which one saves the memory for gradients?",
            ("model.eval()", ""),
            _GRADIENTS_KEPT,
        ),
        "left in evaluation mode": Wrong(
            "You are called in the middle of training. In which mode does the next step find the model?",
            ("model.train(training)", ""),
        ),
        "left in evaluation mode, gradients kept": Wrong(
            "In which mode does the next training step find the model? And what does torch keep for a "
            "backward pass that never comes?",
            ("model.train(training)", ""),
            _GRADIENTS_KEPT,
        ),
        "always put into training mode": Wrong(
            "A model that came in evaluation mode: in which does yours give it back?",
            ("model.train(training)", "model.train()"),
        ),
        "always put into training mode, gradients kept": Wrong(
            "A model that came in evaluation mode: in which does yours give it back? And what does torch "
            "keep for a backward pass that never comes?",
            ("model.train(training)", "model.train()"),
            _GRADIENTS_KEPT,
        ),
        "gradients kept": Wrong(
            "eval() turns dropout off, but torch still keeps what a backward pass would need. Which context "
            "tells it not to?",
            _GRADIENTS_KEPT,
        ),
        "gradients switched off for good": Wrong(
            "set_grad_enabled(False) holds for all that follows: can the model still learn? A `with` block "
            "would end.",
            ("model.eval()", "model.eval(); torch.set_grad_enabled(False)"),
        ),
        "train() instead of eval()": Wrong(
            "Which of the two modes has no dropout?",
            ("model.eval()", "model.train()"),
            ("model.train(training)", ""),
        ),
        "argmax over the texts": Wrong(
            "Of (B, C), which axis has the classes? How many labels come out of yours?", ("dim=-1", "dim=0")
        ),
        "argmax over everything": Wrong(
            "One number for B texts: what does argmax do without an axis?", ("dim=-1", "")
        ),
        "the logits themselves": Wrong(
            "Which of the C classes is it? You are asked for one number for each text.",
            (".argmax(dim=-1)", ""),
        ),
        "the greatest logit": Wrong("How large it is, or where it is?", ("argmax", "amax")),
        "the attention mask forgotten": Wrong(
            "Your model reads the [PAD]s of short texts. Give it all parts of the batch.",
            ("**batch._asdict()", "batch.input_ids"),
            symptom=lambda *case: _like(predict_labels, "the attention mask forgotten", *case),
        ),
        "probabilities instead of labels": Wrong(
            "Which of the C classes is it? You are asked for one number for each text.",
            ("argmax(dim=-1)", "softmax(dim=-1)"),
        ),
        "the least likely label": Wrong(
            "Which logit should win, the greatest or the smallest?", ("argmax", "argmin")
        ),
        "a list instead of a tensor": Wrong(
            "The labels are right. Which type does the docstring ask for?",
            ("argmax(dim=-1)", "argmax(dim=-1).tolist()"),
        ),
        "an axis too many": Wrong(
            "The labels are right. What is the shape of your result, and what should it be?",
            ("dim=-1)", "dim=-1, keepdim=True)"),
        ),
        "class 1 if its logit is above 0": Wrong(
            "With three classes, can yours ever say 2? Which logit is the greatest?",
            ("logits.argmax(dim=-1)", "(logits[:, 1] > 0).long()"),
        ),
    },
    hints=(
        "model.training says in which mode the model came; model.eval() and model.train(…) set it.",
        "The call itself goes into `with torch.no_grad():`.",
        "Note the mode, eval(), call, argmax over the last axis, train(the mode you noted), return.",
    ),
    why="The same text always gets the same answer, and a training run that calls you goes on as before.",
)


# Exercise 3: a learning rate for each layer.

layer_learning_rates = Exercise(
    solution.layer_learning_rates,
    cases={"two layers": (2, 1.0, 0.5), "six layers": (6, 1e-4, 0.9), "no decay": (3, 5e-5, 1.0)},
    wrong={
        "the top layer lowest": Wrong(
            "Which layers know what holds for any text, those near the words or those near the head? "
            "Which of them does yours change most?",
            ('"embeddings": num_layers', '"embeddings": 0'),
            ("num_layers - 1 - number", "number + 1"),
            symptom=lambda value, layers, rate, _: (
                isinstance(value, dict) and rate >= value["layer.0"] > value[f"layer.{layers - 1}"]
            ),
        ),
        "the power is the layer's number": Wrong(
            "Layer 0 has the full rate in yours. How many layers are above it, and how many above the last?",
            ("num_layers - 1 - number", "number"),
        ),
        "the head lowest": Wrong(
            "Which part is new and knows nothing yet? It should have the full rate.",
            ('"head": 0, "embeddings": num_layers', '"head": num_layers + 1, "embeddings": 0'),
            ("num_layers - 1 - number", "number + 1"),
        ),
        "the top layer decayed as well": Wrong(
            "How many layers are above the top layer? The head is not one of them.",
            ('"embeddings": num_layers', '"embeddings": num_layers + 1'),
            ("num_layers - 1 - number", "num_layers - number"),
            symptom=lambda value, layers, rate, decay: (
                isinstance(value, dict)
                and abs(value[f"layer.{layers - 1}"] - rate * decay) < 1e-9 * rate
                and decay < 1
            ),
        ),
        "the head decayed as well": Wrong(
            "The head starts from random numbers and has everything to learn. How many layers are above it?",
            ("decay**count", "decay ** (count + 1)"),
            symptom=lambda value, layers, rate, _: isinstance(value, dict) and value["head"] < rate,
        ),
        "embeddings like layer 0": Wrong(
            "Are the embeddings beside layer 0 or below it?",
            ('"embeddings": num_layers', '"embeddings": num_layers - 1'),
        ),
        "embeddings at the full rate": Wrong(
            "The embeddings are the lowest of all. Which rate do you give them?",
            ('"embeddings": num_layers', '"embeddings": 0'),
        ),
        "in equal steps": Wrong(
            "With 12 layers and a decay of 0.9, when does yours fall below 0? Each step is times `decay`.",
            ("decay**count", "(1 - count * (1 - decay))"),
        ),
        "times decay times the step": Wrong(
            "Two steps down is decay times decay. Is that 2 · decay?",
            ("decay**count", "(decay * count if count else 1)"),
        ),
        "decay divided by the step": Wrong(
            "With decay 1 all rates should be equal. Are they in yours?",
            ("decay**count", "(decay / count if count else 1)"),
        ),
        "decayed once for all": Wrong(
            "Each layer is one more step down. Does your rate change from layer to layer?",
            ("decay**count", "(decay if count else 1)"),
        ),
        "decayed once for all, the top layer as well": Wrong(
            "Each layer is one more step down, and none is above the top layer. Does your rate change?",
            ("decay**count", '(1 if part == "head" else decay)'),
        ),
        "the embeddings a step too low": Wrong(
            "How many layers are above the embeddings: L, or L + 1?",
            ('"embeddings": num_layers', '"embeddings": num_layers + 1'),
        ),
        "the same rate everywhere": Wrong("Where does `decay` come in?", (" * decay**count", "")),
        "factors instead of rates": Wrong("Your head has 1. Where does `rate` come in?", ("rate * ", "")),
        "growing downwards": Wrong(
            "Divided by a number below 1: do your rates fall or grow?", ("* decay", "/ decay")
        ),
        "times 1 − decay": Wrong(
            "With decay 0.9, is a layer's rate 0.9 or 0.1 of that of the layer above?",
            ("decay**", "(1 - decay) ** "),
        ),
        "layers counted from 1": Wrong(
            "What is the lowest layer called, in transformers as here?", ("{number}", "{number + 1}")
        ),
        "decay subtracted at each layer": Wrong(
            "With decay 1 all rates should be equal. What do you do with `decay` at each layer?",
            ("rate * decay**count", "rate - decay * count"),
        ),
    },
    hints=(
        "Count for each part the layers above it: none above head and top layer, all L above the embeddings.",
        "Above layer i there are L − 1 − i layers; its rate is rate · decay to that power.",
    ),
    tolerance=1e-9,
    why="The top learns fastest and the bottom, which knows what any text needs, changes least.",
)


# Exercise 4: from labels of words to labels of tokens.


def _other_number(value: list[int], word_ids: list[int | None], word_labels: list[int]) -> bool:
    pairs = list(zip(value, solution.align_labels(word_ids, word_labels), strict=True))
    others = {int(mine) for mine, right in pairs if right == -100}
    same = all(mine == right for mine, right in pairs if right != -100)
    return same and len(others) == 1 and not others & {0, -100}


_EVERY_PIECE = (" and word != before", "")

align_labels = Exercise(
    solution.align_labels,
    cases={
        "one token a word": ([None, 0, 1, 2, None], [0, 1, 2]),
        "a word of three tokens": ([None, 0, 1, 1, 1, 2, None], [2, 1, 0]),
        "a padded text": ([None, 0, 0, 1, 2, 2, None, None, None], [1, 2, 0]),
        "a text that was cut": ([None, 0, 0, 1, None], [1, 0, 2, 2, 1]),
        "a word that left no token": ([None, 0, 1, 3, 3, None], [0, 1, 0, 2]),
        "neighbors with one label": ([None, 0, 1, 1, 2, None], [1, 1, 0]),
    },
    wrong={
        "a label on every token": Wrong(
            "A name of four tokens: how often does it count in your loss, and how often does “John”?",
            _EVERY_PIECE,
        ),
        "an I- on the later tokens": Wrong(
            "A name of one word and four tokens: how often does it count in your loss, and how often “John”?",
            # The labels are 0 for O, then B- and I- in turn: an odd number is a B-, its I- is the next one.
            ("else -100", "else -100 if word is None else word_labels[word] + word_labels[word] % 2"),
        ),
        "the next label at each new word": Wrong(
            "Word 2 has no token: which label does word 3 get in yours? word_ids has its number.",
            ("labels = []", "labels, following = [], iter(word_labels)"),
            ("word_labels[word]", "next(following)"),
        ),
        "0 for [CLS], [SEP] and [PAD]": Wrong(
            "0 is a label like any other here. What does your model learn to say of [PAD], and how often?",
            ("else -100", "else 0 if word is None else -100"),
        ),
        "0 for all other tokens": Wrong(
            "0 is a label like any other. Which number says “do not ask”?", ("else -100", "else 0")
        ),
        "0 for the later tokens of a word": Wrong(
            "If 0 is “O”: what does your model learn about the second half of a name?",
            ("else -100", "else -100 if word is None else 0"),
        ),
        "a label on every token, 0 for the rest": Wrong(
            "Where is −100 in yours? Two kinds of tokens should have it.",
            _EVERY_PIECE,
            ("else -100", "else 0"),
        ),
        "the last token of a word": Wrong(
            "Which token of a word do you label? Devlin et al. read the answer off the first.",
            ("in word_ids", "in reversed(word_ids)"),
            ("return labels", "return labels[::-1]"),
        ),
        "a special token takes its neighbor's label": Wrong(
            "What is the label of [SEP] in yours, and where does it come from?",
            _EVERY_PIECE,
            ("else -100", "else labels[-1] if labels else -100"),
        ),
        "the place instead of the word's number": Wrong(
            "word_labels has an entry for each word, not for each token. Which one belongs to token 3?",
            _EVERY_PIECE,
            ("word_labels[word]", "(word_labels + [-100] * len(word_ids))[len(labels)]"),
        ),
        "all moved by one: [CLS] forgotten": Wrong(
            "What is the label of the very first token in yours, and what token is that?",
            ("return labels", "return [*labels[1:], -100]"),
        ),
        "the first word without a label": Wrong(
            "`if word_id` is false for None, and for which number? Ask `is not None`.",
            ("word is not None", "word"),
        ),
        "only the labels that count": Wrong(
            "How many tokens come in, how many labels come out? The loss pairs them off.",
            ("return labels", "return [label for label in labels if label != -100]"),
            symptom=lambda value, word_ids, word_labels: (
                0 < len(value) < len(word_ids) and all(label in word_labels for label in value)
            ),
        ),
        "another number than −100": Wrong(
            "Which number does cross_entropy leave out unless told otherwise? Its ignore_index.",
            ("else -100", "else -1"),
            symptom=_other_number,
        ),
        "the words' labels in a row": Wrong(
            "What does yours do with word_ids? The first of them is [CLS].",
            ("return labels", "return (word_labels + [-100] * len(word_ids))[: len(word_ids)]"),
        ),
        "the word's number instead of its label": Wrong(
            "Word 2 is a place in word_labels. What is at that place?", ("word_labels[word]", "word")
        ),
        "label 0 taken for none": Wrong(
            "`if label` is false for 0. Do words of class 0 count in your loss?",
            ("if begins", "if begins and word_labels[word]"),
        ),
        "the label of the word before": Wrong(
            "Words are counted from 0. Which label does word 0 get in yours?",
            ("word_labels[word]", "word_labels[word - 1]"),
        ),
        "a label only where it changes": Wrong(
            "Two neighbors with the same label are two words. Do you compare words, or labels?",
            ("word != before", "(before is None or word_labels[word] != word_labels[before])"),
        ),
        "only the first token": Wrong(
            "Is your `return` inside the loop?", ("return labels", "return labels[:1]")
        ),
    },
    hints=(
        "Walk along word_ids and remember the one before.",
        "A token begins a word if its word is not None and differs from that of the token before.",
        "Such a token gets word_labels[word]; every other gets −100.",
    ),
    why="Each word is asked about once, however many tokens it has, and special tokens not at all.",
)


# Exercise 5: the loss of a batch of labeled tokens.

_NLL_LOSS = "torch.nn.functional.nll_loss"

token_loss = Exercise(
    solution.token_loss,
    cases={
        "one text": (2 * _randn(1, 5, 3, seed=10), torch.tensor([[-100, 1, -100, 2, -100]])),
        "two texts, one with more labels": (
            2 * _randn(2, 6, 4, seed=11),
            torch.tensor([[-100, 1, 2, 3, 1, -100], [-100, 2, -100, -100, -100, -100]]),
        ),
        "with class 0": (2 * _randn(2, 4, 3, seed=12), torch.tensor([[-100, 0, 2, -100], [-100, 0, 0, 1]])),
    },
    wrong={
        "−100 taken for class 0": Wrong(
            "How many terms are in your mean, and how many labels are not −100? What is asked of [PAD]?",
            ("labels.flatten()", "labels.flatten().clamp(min=0)"),
        ),
        "divided by all tokens, B · S": Wrong(
            "Add padding to the batch and your loss gets smaller. Is the model better?",
            ("labels.flatten())", 'labels.flatten(), reduction="none").mean()'),
        ),
        "divided by the texts": Wrong(
            "A longer text: should its loss be larger? How many labels are in your sum?",
            ("labels.flatten())", 'labels.flatten(), reduction="sum") / len(labels)'),
        ),
        "the mean of the texts' means": Wrong(
            "One text has one label, another four. Should the one count as much as the four together?",
            (
                "cross_entropy(rows, labels.flatten())",
                "sum(cross_entropy(*text) for text in zip(logits, labels)) / len(labels)",
            ),
        ),
        "the sum, not divided": Wrong(
            "Should a batch twice as large have a loss twice as large?",
            ("labels.flatten())", 'labels.flatten(), reduction="sum")'),
        ),
        "softmax twice": Wrong(
            "cross_entropy takes logits and does the softmax itself. What does it do to numbers from 0 to 1?",
            ("logits.flatten", "logits.softmax(dim=-1).flatten"),
        ),
        "class 0 ignored as well": Wrong(
            "0 is a label like the others, “O” perhaps. Which number says “do not ask”?",
            ("labels.flatten()", "torch.where(labels > 0, labels, -100).flatten()"),
        ),
        "(B, S, C) read as (B, C, S)": Wrong(
            "reshape and view do not move any number: whose logits are now in one column? Swap the axes with "
            "transpose, or flatten B and S.",
            ("rows, labels.flatten()", "logits.reshape(len(labels), -1, labels.shape[1]), labels"),
        ),
        "the probability, without the logarithm": Wrong(
            "A model that is sure of the wrong answer: how large can your loss get? Where is the ln?",
            ("cross_entropy(rows", f"{_NLL_LOSS}(rows.softmax(dim=-1)"),
        ),
        "the logit instead of its log-probability": Wrong(
            "Add 100 to all logits: your loss falls by 100. Do the probabilities change?",
            ("cross_entropy(", f"{_NLL_LOSS}("),
        ),
        "the minus forgotten": Wrong(
            "Training makes this number small. Does the probability of the right label rise or fall with it?",
            ("return cross_entropy", "return -cross_entropy"),
        ),
        "divided by the classes as well": Wrong(
            "Of the C log-probabilities of a token one counts. Is your mean over N, or N · C?",
            ("labels.flatten())", "labels.flatten()) / logits.shape[-1]"),
        ),
        "the softmax over the tokens": Wrong(
            "For one token, what do your probabilities of the classes add up to? Which axis has the classes?",
            ("logits.flatten", "logits.log_softmax(dim=1).flatten"),
            ("cross_entropy(", f"{_NLL_LOSS}("),
        ),
        "the softmax over all tokens of the batch": Wrong(
            "For one token, what do your probabilities of the classes add up to? Which axis has the classes?",
            ("cross_entropy(rows", f"{_NLL_LOSS}(rows.log_softmax(dim=0)"),
        ),
        "logits made 0 where nothing is asked": Wrong(
            "Logits of 0 say that all classes are equally likely, a loss of ln C. Is that nothing? Leave the "
            "place out.",
            ("logits.flatten", "(logits * (labels != -100)[..., None]).flatten"),
            ("labels.flatten()", "labels.flatten().clamp(min=0)"),
        ),
        "the mean over all classes": Wrong(
            "Which of the C log-probabilities of a token should training raise? Not all.",
            ("cross_entropy(rows, labels.flatten())", "-logits.log_softmax(dim=-1)[labels != -100].mean()"),
        ),
        "labels of the token after": Wrong(
            "That is how a model that writes the next word is trained. Whose label is labels[:, 3] here?",
            ("logits.flatten", "logits[:, :-1].flatten"),
            ("labels.flatten", "labels[:, 1:].flatten"),
        ),
        "a loss for each token": Wrong(
            "Training needs one number. Which of yours should be in the mean?",
            ("labels.flatten())", 'labels.flatten(), reduction="none").view_as(labels)'),
        ),
        "the logarithm of the mean probability": Wrong(
            "First the logarithm of each probability, then the mean. In which order do you go?",
            (
                "return cross_entropy(rows, labels.flatten())",
                "every = cross_entropy(rows, labels.flatten(), reduction='none')\n    return "
                "-(-every[labels.flatten() != -100]).exp().mean().log()",
            ),
        ),
        "bits instead of nats": Wrong(
            "Which logarithm gives ln C for a model that knows nothing?",
            (
                "cross_entropy(rows, labels.flatten())",
                "cross_entropy(rows, labels.flatten()) / torch.tensor(2.0).log()",
            ),
        ),
        "the perplexity": Wrong(
            "You took one exponential more than asked. What is the unit of your number?",
            ("cross_entropy(rows, labels.flatten())", "cross_entropy(rows, labels.flatten()).exp()"),
        ),
    },
    hints=(
        "cross_entropy wants a row of logits for each label: (B, S, C) → (B · S, C), and (B, S) → (B · S).",
        "Its ignore_index is −100 already, and its mean is over the labels that count.",
    ),
    why=(
        "Every label counts the same, in a short text as in a long one; this is the loss that the "
        "training of this chapter uses."
    ),
)


# Exercise 6: entities from BIO labels.


def _returned(entity: str, condition: str = "True") -> tuple[str, str]:
    """Return the edit that returns something else for each entity (first, end, kind)."""
    return "return found", f"return [{entity} for first, end, kind in found if {condition}]"


_I_DROPPED = ('elif tag != "O"', 'elif tag == "I": kind = ""\n        elif tag == "B"')
_KIND_IGNORED = ("and kind == before:", "and before:\n            kind = before")

entities: Exercise = Exercise(
    solution.entities,
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
            "“Thelma, Louise” without the comma is B-PER B-PER. How many persons do you find?",
            ('tag == "I"', 'tag != "O"'),
        ),
        "the end inclusive": Wrong(
            "words[first:end] should be the entity. Which word is missing in yours?",
            ("[0], place + 1,", "[0], place,"),
            ("(place, place + 1,", "(place, place,"),
            symptom=lambda *case: _like(entities, "the end inclusive", *case),
        ),
        "I- without a beginning dropped": Wrong(
            "A model may say O I-PER. What is left of that name in yours? The task has a rule for it.",
            _I_DROPPED,
            symptom=lambda *case: _like(entities, "I- without a beginning dropped", *case),
        ),
        "I- after O dropped": Wrong(
            "A change of kind begins an entity in yours. Does I-PER after O?",
            ('elif tag != "O"', 'elif tag == "I" and not before: kind = ""\n        elif tag != "O"'),
        ),
        "a change of kind ignored": Wrong(
            "B-PER I-LOC: is that one entity? What is its kind? I- continues only its own kind.",
            _KIND_IGNORED,
            symptom=lambda *case: _like(entities, "a change of kind ignored", *case),
        ),
        "the kind of I- ignored, I- after O dropped": Wrong(
            "Two things: what does I-LOC after B-PER become in yours, and what does I-PER after O?",
            _KIND_IGNORED,
            _I_DROPPED,
        ),
        "the last entity lost": Wrong(
            "You note an entity when something else follows. What if nothing follows?",
            _returned("(first, end, kind)", "end < len(labels)"),
            symptom=lambda *case: _like(entities, "the last entity lost", *case),
        ),
        "an entity for each word": Wrong(
            "B-PER I-PER is one person of two words. What should I- do to the entity before it?",
            ("found[-1] = (found[-1][0], place + 1, kind)", "found.append((place, place + 1, kind))"),
        ),
        "only the word with B-": Wrong(
            "Where does B-PER I-PER I-PER end?",
            ("found[-1] = (found[-1][0], place + 1, kind)", "pass"),
            ('tag != "O"', 'tag == "B"'),
        ),
        "goes on across an O": Wrong(
            "B-PER O I-PER: does your entity hold a word that is O? What should O end?",
            ("kind == before", "found and kind == found[-1][2]"),
        ),
        "the whole label as the kind": Wrong(
            "B- and I- say where in the name a word is. What is left of “B-PER” as the kind?",
            _returned("(first, end, labels[first])"),
        ),
        "the kind first": Wrong(
            "The task names the order: first word, one after the last, kind.", _returned("(kind, first, end)")
        ),
        "first word and length": Wrong(
            "The second number asked for is a place: one after the last word.",
            _returned("(first, end - first, kind)"),
        ),
        "the end two after the last word": Wrong(
            "words[first:end] should be the entity. Which word of yours does not belong to it?",
            _returned("(first, end + 1, kind)"),
        ),
        "the kind forgotten": Wrong(
            "The task names three things for each entity. Which one is missing?",
            ("return found", "return [(first, end) for first, end, kind in found]"),
        ),
        "words counted from 1": Wrong(
            "Which number does the first word have?",
            ("return found", "return [(first + 1, end + 1, kind) for first, end, kind in found]"),
        ),
        "the first entity alone": Wrong(
            "Is your `return` inside the loop? How many persons are in “Thelma and Louise”?",
            ("return found", "return found[:1]"),
        ),
    },
    hints=(
        "Walk along the labels with the kind of the word before; label[:1] is the tag, label[2:] the kind.",
        "An I- of the kind before moves the end of the last entity by one. Any other B- or I- begins one.",
        "If you note entities only when they end: one may still be open after the last word.",
    ),
    why=(
        "You can read whole names off any sequence of labels, even one that breaks the rules, as "
        "conlleval does."
    ),
)


# Exercise 7: the best answer.


def _starts_at_zero(value: Any, start: Tensor, end: Tensor, allowed: Tensor, max_length: int) -> bool:
    return bool((start + end.max() < 0).all()) and (value is None or tuple(value) in ((0, 0), (-1, -1)))


def _not_the_best(value: Any, start: Tensor, end: Tensor, allowed: Tensor, max_length: int) -> bool:
    first, last = solution.best_span(start, end, allowed, max_length)
    return bool(start[value[0]] + end[value[1]] < start[first] + end[last])


def _span_case(start: list[float], end: list[float], context: range, max_length: int) -> tuple[object, ...]:
    allowed = torch.zeros(len(start), dtype=torch.bool)
    allowed[list(context)] = True
    return torch.tensor(start), torch.tensor(end), allowed, max_length


_SUMS = "start_logits[:, None] + end_logits[None, :]"
_DIVMOD = "divmod(scores.argmax().item(), len(scores))"
_ARGMAXES = "(x.masked_fill(~allowed, -torch.inf).argmax().item() for x in (start_logits, end_logits))"

best_span = Exercise(
    solution.best_span,
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
        "one token": _span_case(
            [0.0, 0.5, 0.3, 4.0, 0.2, 0.1], [0.1, 0.2, -2.0, -1.0, -3.0, -2.0], range(2, 5), 3
        ),
        "all logits negative": _span_case(
            [-2.0, -1.0, -5.0, -3.0, -6.0, -4.0], [-2.5, -1.5, -6.0, -5.0, -3.5, -7.0], range(2, 6), 3
        ),
    },
    wrong={
        "0 instead of minus infinity": Wrong(
            "All sums may be negative. Which number is below every sum?",
            ("-torch.inf", "0.0"),
            symptom=_starts_at_zero,
        ),
        "two argmaxes, each by itself": Wrong(
            "Can your answer end before it begins? What should be greatest, a pair or each alone?",
            (_DIVMOD, _ARGMAXES),
        ),
        "two argmaxes over all tokens": Wrong(
            "Can yours lie in the question, or end before it begins? What is `allowed` for?",
            (_DIVMOD, "start_logits.argmax().item(), end_logits.argmax().item()"),
        ),
        "two argmaxes, then put in order": Wrong(
            "A good start is not a good end. How large is the start logit of the token where yours begins?",
            (_DIVMOD, f"sorted{_ARGMAXES}"),
        ),
        "the question may answer itself": Wrong(
            "Is your answer in the question, or [SEP]? Which of its ends do you check against `allowed`?",
            ("both_allowed.triu", "torch.ones_like(both_allowed).triu"),
            symptom=lambda value, start, end, allowed, _: not allowed[torch.as_tensor(value)].all(),
        ),
        "only the start must be allowed": Wrong(
            "Where does your answer end? May it end there?",
            ("& allowed[None, :]", "& torch.ones_like(allowed)[None, :]"),
        ),
        "one token too long": Wrong(
            "From token 2 to token 4: how many tokens is that? It is not 4 − 2.",
            ("max_length - 1", "max_length"),
        ),
        "one token too short": Wrong(
            "range stops one before its end. How long is your longest answer?",
            ("max_length - 1", "max_length - 2"),
        ),
        "no limit to the length": Wrong(
            "How many tokens does your longest answer have? What is max_length for?",
            (".tril(max_length - 1)", ""),
            symptom=lambda value, start, end, allowed, max_length: value[1] - value[0] >= max_length,
        ),
        "the end may be before the start": Wrong(
            "What is the text of your answer if it ends at token 3 and begins at token 5?",
            (".triu()", ""),
            symptom=lambda value, *_: value[1] < value[0],
        ),
        "the best start, then the best end after it": Wrong(
            "You fix the start before you know how good an end it leaves. Can a worse start win?",
            (
                f"first, last = {_DIVMOD}",
                "first = start_logits.masked_fill(~valid.any(dim=1), -torch.inf).argmax().item()\n"
                "    last = scores[first].argmax().item()",
            ),
        ),
        "the best end, then the best start before it": Wrong(
            "You fix the end before you know how good a start it leaves. Can a worse end win?",
            (
                f"first, last = {_DIVMOD}",
                "last = end_logits.masked_fill(~valid.any(dim=0), -torch.inf).argmax().item()\n"
                "    first = scores[:, last].argmax().item()",
            ),
        ),
        "two tokens at least": Wrong(
            "May an answer begin and end at the same token? Try “When?” – “1999”.", (".triu()", ".triu(1)")
        ),
        "logits of 0 where no answer may stand": Wrong(
            "0 is a fine logit when all others are negative. Which number never wins?",
            (_SUMS, "(start_logits * allowed)[:, None] + (end_logits * allowed)[None, :]"),
            ("both_allowed.triu", "torch.ones_like(both_allowed).triu"),
        ),
        "the product of the logits": Wrong(
            "Minus times minus: what is the product of two very bad logits?",
            (_SUMS, "start_logits[:, None] * end_logits[None, :]"),
        ),
        "the end one after the last token": Wrong(
            "Python's slices end one after the last item; here the last token itself is asked for.",
            ("return first, last", "return first, last + 1"),
        ),
        "first token and length": Wrong(
            "The second number asked for is a place as well: that of the last token.",
            ("return first, last", "return first, last - first + 1"),
        ),
        "probabilities added": Wrong(
            "Logits add up where probabilities multiply: an answer needs a good start and a good end. "
            "Is 0.9 and 0.0 better than 0.4 and 0.4?",
            (_SUMS, "start_logits.softmax(0)[:, None] + end_logits.softmax(0)[None, :]"),
        ),
        "0 outside the band": Wrong(
            "triu and tril fill with 0. Which wins if all sums inside are negative?",
            ("valid = both_allowed.triu()", "valid, scores = both_allowed, scores.triu()"),
        ),
        "another pair is better": Wrong(
            "Your answer is allowed, but another has a greater sum. Do you compare all pairs, and by start "
            "logit + end logit?",
            (_DIVMOD, _ARGMAXES),
            ("return first, last", "return first, max(first, min(last, first + max_length - 1))"),
            symptom=_not_the_best,
        ),
        "counted from the first allowed token": Wrong(
            "Your numbers count the tokens of the context. Where is token 0 of the input?",
            (_SUMS, "start_logits[allowed][:, None] + end_logits[allowed][None, :]"),
            ("both_allowed.triu", "torch.ones_like(scores, dtype=torch.bool).triu"),
        ),
        "start and end logits swapped": Wrong(
            "Which logits say how good a token is as the first?",
            (_SUMS, "end_logits[:, None] + start_logits[None, :]"),
        ),
        "last token first": Wrong(
            "The first token comes first. Which axis of your table is the start?",
            ("return first, last", "return last, first"),
        ),
        "the place in the flattened table": Wrong(
            "argmax counts through the whole table. Which row and which column is that?",
            ("return first, last", "return scores.argmax().item()"),
        ),
        "only the end must be allowed": Wrong(
            "Where does your answer begin? May it begin there?",
            ("allowed[:, None] &", "torch.ones_like(allowed)[:, None] &"),
        ),
        "the table's rows taken for max_length entries": Wrong(
            "How many entries does a row of your table have: max_length, or S?",
            ("len(scores))", "max_length)"),
        ),
        "the worst pair": Wrong(
            "Which sum should win, the greatest or the smallest?",
            ("scores.masked_fill(~valid, -torch.inf)", "scores.masked_fill(~valid, torch.inf)"),
            ("scores.argmax", "scores.argmin"),
        ),
    },
    hints=(
        "Score every pair: (S, 1) plus (1, S) is a table, row = first token, column = last. Loops are fine.",
        "Put −∞ where the row or the column is not allowed, below the diagonal, and max_length or more "
        "columns right of it (triu and tril help).",
        "argmax numbers a table row by row: divmod(number, S) gives row and column.",
    ),
    returns=("first", "last"),
    why="You compare pairs, not single ends, so the answer is always a real piece of the text.",
)
