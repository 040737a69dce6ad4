"""The exercises of chapter 4: masking, pairs, the loss, its yardstick, and the parts of a training step.

Each wrong variant is a mistake that people really make; its question leads the learner to see it. The right
answers are written out here once more, so that a check loads no training code; tests hold the two together.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bertlearn.checks.core import Exercise, Wrong

Pair = tuple[list[int], list[int], int]
Masked = tuple[Tensor, Tensor]
State = tuple[Tensor, Tensor, Tensor]

IGNORE = -100
BETAS, EPSILON = (0.9, 0.98), 1e-6


def _rand(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1: masking, with the dice already thrown.


def _mask(input_ids: Tensor, chosen: Tensor, fate: Tensor, random_ids: Tensor, mask_id: int) -> Tensor:
    masked = torch.where(chosen & (fate < 0.8), mask_id, input_ids)
    return torch.where(chosen & (fate >= 0.8) & (fate < 0.9), random_ids, masked)


def _labels(input_ids: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen, input_ids, IGNORE)


def _chosen(input_ids: Tensor, chance: Tensor, special_ids: Tensor) -> Tensor:
    return (chance < 0.15) & ~torch.isin(input_ids, special_ids)


def _hide_tokens(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    chosen = _chosen(ids, chance, special_ids)
    return _mask(ids, chosen, fate, random_ids, mask_id), _labels(ids, chosen)


def _special_chosen(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    return _hide_tokens(ids, chance, fate, random_ids, special_ids[:0], mask_id)


def _labels_everywhere(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    return _mask(ids, _chosen(ids, chance, special_ids), fate, random_ids, mask_id), ids.clone()


def _shares_of_all(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    ordinary = ~torch.isin(ids, special_ids)
    return (
        _mask(ids, ordinary, fate, random_ids, mask_id),
        _labels(ids, _chosen(ids, chance, special_ids)),
    )


def _one_number(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    return _hide_tokens(ids, chance, chance, random_ids, special_ids, mask_id)


def _label_after_masking(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    chosen = _chosen(ids, chance, special_ids)
    masked = _mask(ids, chosen, fate, random_ids, mask_id)
    return masked, _labels(masked, chosen)


def _unchanged_without_label(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    chosen = _chosen(ids, chance, special_ids)
    return _mask(ids, chosen, fate, random_ids, mask_id), _labels(ids, chosen & (fate < 0.9))


def _zero_for_ignored(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    masked, labels = _hide_tokens(ids, chance, fate, random_ids, special_ids, mask_id)
    return masked, labels.clamp(min=0)


def _random_and_unchanged_swapped(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    swapped = torch.where(fate < 0.8, fate, 1.7 - fate)
    return _hide_tokens(ids, chance, swapped, random_ids, special_ids, mask_id)


def _masked_in_place(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    chosen = _chosen(ids, chance, special_ids)
    ids.copy_(_mask(ids, chosen, fate, random_ids, mask_id))
    return ids, _labels(ids, chosen)


def _outputs_swapped(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    masked, labels = _hide_tokens(ids, chance, fate, random_ids, special_ids, mask_id)
    return labels, masked


def _random_over_mask(
    ids: Tensor, chance: Tensor, fate: Tensor, random_ids: Tensor, special_ids: Tensor, mask_id: int
) -> Masked:
    masked, labels = _hide_tokens(ids, chance, fate, random_ids, special_ids, mask_id)
    return torch.where((labels != IGNORE) & (fate < 0.9), random_ids, masked), labels


_SPECIAL = torch.tensor([0, 1, 2, 3, 4])  # [PAD] [UNK] [CLS] [SEP] [MASK]
_BATCH = 5 + (95 * _rand(4, 40, seed=0)).long()
_BATCH[:, 0], _BATCH[:, 30] = 2, 3
_BATCH[1:, 31:] = 0

hide_tokens = Exercise(
    name="hide_tokens",
    reference=_hide_tokens,
    cases={
        "one sentence": (
            torch.tensor([[2, 11, 12, 13, 14, 15, 3]]),
            torch.tensor([[0.01, 0.10, 0.90, 0.05, 0.14, 0.16, 0.03]]),
            torch.tensor([[0.50, 0.30, 0.20, 0.85, 0.95, 0.82, 0.10]]),
            torch.tensor([[31, 32, 33, 34, 35, 36, 37]]),
            _SPECIAL,
            4,
        ),
        "a padded batch": (
            _BATCH,
            _rand(4, 40, seed=1),
            _rand(4, 40, seed=2),
            5 + (95 * _rand(4, 40, seed=3)).long(),
            _SPECIAL,
            4,
        ),
    },
    wrong={
        "special tokens chosen": Wrong(
            _special_chosen, "Can [CLS], [SEP] or [PAD] be hidden in yours? What would there be to guess?"
        ),
        "labels at every token": Wrong(
            _labels_everywhere,
            "How many tokens does your model have to “guess” that it can simply read? What marks the others?",
        ),
        "80/10/10 of all tokens": Wrong(
            _shares_of_all,
            "How much of the sentence is left to read? Only the chosen 15 % may change at all.",
        ),
        "one random number for both decisions": Wrong(
            _one_number,
            "Every token you choose becomes [MASK]. A chance below 0.15 is below 0.8, too: which number "
            "decides what a chosen token becomes?",
        ),
        "the label is what stands there after masking": Wrong(
            _label_after_masking, "What does your model learn to answer when it sees [MASK]? Look at a label."
        ),
        "the labels taken from ids that were masked in place": Wrong(
            _masked_in_place,
            "`masked = input_ids` is no copy. What stands in input_ids by the time you take the labels?",
        ),
        "chosen but unchanged tokens without a label": Wrong(
            _unchanged_without_label,
            "A tenth of the chosen stay as they are. If nobody asks for them, what are they chosen for?",
        ),
        "0 where nothing is asked": Wrong(
            _zero_for_ignored, "0 is the id of [PAD]. Which label says “do not ask” in this course?"
        ),
        "the random piece put over [MASK]": Wrong(
            _random_over_mask,
            "Is there a [MASK] left in yours? 0.5 is below 0.9, too: what must the second step leave alone?",
        ),
        "random and unchanged swapped": Wrong(
            _random_and_unchanged_swapped,
            "A model would not notice, but the task says which fates are which: what is 0.85, what is 0.95?",
        ),
        "labels first, ids second": Wrong(
            _outputs_swapped, "Your first tensor is what the model reads. Is −100 the id of a piece?"
        ),
    },
    hints=(
        "First a boolean tensor `chosen`: chance below 0.15, and not special (torch.isin helps).",
        "The labels are the input ids where chosen, −100 elsewhere: one torch.where.",
        "Then two torch.where for the ids: [MASK] where chosen and fate < 0.8, the random id where chosen "
        "and 0.8 ≤ fate < 0.9.",
    ),
)


# Exercise 2: a pair of sentences and its label.


def _pair(a: list[int], b: list[int], follows: bool, cls_id: int, sep_id: int) -> Pair:
    ids = [cls_id, *a, sep_id, *b, sep_id]
    return ids, [0] * (len(a) + 2) + [1] * (len(b) + 1), 0 if follows else 1


def _make_pair(
    document: list[list[int]], index: int, stranger: list[int], follows: bool, cls_id: int, sep_id: int
) -> Pair:
    b = document[index + 1] if follows else stranger
    return _pair(document[index], b, follows, cls_id, sep_id)


def _label_reversed(
    document: list[list[int]], index: int, stranger: list[int], follows: bool, cls_id: int, sep_id: int
) -> Pair:
    ids, types, label = _make_pair(document, index, stranger, follows, cls_id, sep_id)
    return ids, types, 1 - label


def _always_next(
    document: list[list[int]], index: int, stranger: list[int], follows: bool, cls_id: int, sep_id: int
) -> Pair:
    return _pair(document[index], document[index + 1], follows, cls_id, sep_id)


def _same_document(
    document: list[list[int]], index: int, stranger: list[int], follows: bool, cls_id: int, sep_id: int
) -> Pair:
    b = document[index + 1] if follows else document[(index + 2) % len(document)]
    return _pair(document[index], b, follows, cls_id, sep_id)


def _order_swapped(
    document: list[list[int]], index: int, stranger: list[int], follows: bool, cls_id: int, sep_id: int
) -> Pair:
    a, b = document[index], document[index + 1]
    return _pair(a, b, True, cls_id, sep_id) if follows else _pair(b, a, False, cls_id, sep_id)


def _sep_of_a_in_b(
    document: list[list[int]], index: int, stranger: list[int], follows: bool, cls_id: int, sep_id: int
) -> Pair:
    ids, types, label = _make_pair(document, index, stranger, follows, cls_id, sep_id)
    types[len(document[index]) + 1] = 1
    return ids, types, label


def _all_sentence_a(
    document: list[list[int]], index: int, stranger: list[int], follows: bool, cls_id: int, sep_id: int
) -> Pair:
    ids, types, label = _make_pair(document, index, stranger, follows, cls_id, sep_id)
    return ids, [0] * len(types), label


def _no_last_sep(
    document: list[list[int]], index: int, stranger: list[int], follows: bool, cls_id: int, sep_id: int
) -> Pair:
    ids, types, label = _make_pair(document, index, stranger, follows, cls_id, sep_id)
    return ids[:-1], types[:-1], label


def _no_middle_sep(
    document: list[list[int]], index: int, stranger: list[int], follows: bool, cls_id: int, sep_id: int
) -> Pair:
    ids, types, label = _make_pair(document, index, stranger, follows, cls_id, sep_id)
    middle = len(document[index]) + 1
    return ids[:middle] + ids[middle + 1 :], types[:middle] + types[middle + 1 :], label


_DOCUMENT = [[10, 11, 12], [13, 14], [15, 16, 17, 18], [19]]

make_pair = Exercise(
    name="make_pair",
    reference=_make_pair,
    cases={
        "B follows A": (_DOCUMENT, 0, [30, 31], True, 2, 3),
        "B is a stranger": (_DOCUMENT, 0, [30, 31], False, 2, 3),
        "a pair from the middle": (_DOCUMENT, 1, [30, 31, 32], False, 2, 3),
    },
    wrong={
        "the label reversed": Wrong(
            _label_reversed,
            "1 feels like “yes”, and textbooks have printed it so. What does 0 mean in BERT's own files?",
        ),
        "always the next sentence": Wrong(
            _always_next, "Your label changes. Does your B? What is `stranger` for?"
        ),
        "B from the same document": Wrong(
            _same_document,
            "Your strangers come from the same text as A. Why would that be a harder question?",
        ),
        "the same two sentences, swapped": Wrong(
            _order_swapped,
            "That is sentence order prediction, what ALBERT asks instead. Where does BERT take B from?",
        ),
        "the [SEP] of A counted to B": Wrong(
            _sep_of_a_in_b, "The first [SEP] closes A. Which segment should it be in?"
        ),
        "one segment for all": Wrong(
            _all_sentence_a, "What tells the model where B begins, besides a [SEP]? Look at the token types."
        ),
        "the last [SEP] missing": Wrong(_no_last_sep, "What closes B?"),
        "no [SEP] between A and B": Wrong(_no_middle_sep, "Where does A end in your ids?"),
    },
    hints=(
        "[CLS] A [SEP] B [SEP]: a list made of three single ids and two lists.",
        "Token types: 0 for [CLS], A and its [SEP]; 1 for B and its [SEP]. Count them.",
        "B is document[index + 1] if it follows, else the stranger; then the label is 0, else 1.",
    ),
)


# Exercise 3: the loss.


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of each labeled position, floats (N,)."""
    asked = labels != IGNORE
    return cross_entropy(logits[asked], labels[asked], reduction="none")


def _masked_lm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return _losses(logits, labels).mean()


def _every_position(logits: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten())


def _over_all_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    return _losses(logits, labels).sum() / labels.numel()


def _zero_ignored(logits: Tensor, labels: Tensor) -> Tensor:
    return _masked_lm_loss(logits, torch.where(labels > 0, labels, IGNORE))


def _mean_of_row_means(logits: Tensor, labels: Tensor) -> Tensor:
    return torch.stack([_masked_lm_loss(*row) for row in zip(logits, labels, strict=True)]).mean()


def _sum_of_losses(logits: Tensor, labels: Tensor) -> Tensor:
    return _losses(logits, labels).sum()


def _softmax_twice(logits: Tensor, labels: Tensor) -> Tensor:
    return _masked_lm_loss(logits.softmax(dim=-1), labels)


def _no_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels != IGNORE
    return -logits[asked].gather(1, labels[asked][:, None]).mean()


def _minus_forgotten(logits: Tensor, labels: Tensor) -> Tensor:
    return -_masked_lm_loss(logits, labels)


def _log_of_softmax(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels != IGNORE
    return -logits[asked].softmax(dim=-1).log().gather(1, labels[asked][:, None]).mean()


def _each_label_at_each_place(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels != IGNORE
    return -logits[asked].log_softmax(dim=-1)[:, labels[asked]].mean()


def _softmax_over_the_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels != IGNORE
    return -logits[asked].log_softmax(dim=0).gather(1, labels[asked][:, None]).mean()


def _softmax_over_the_sequence(logits: Tensor, labels: Tensor) -> Tensor:
    asked = labels != IGNORE
    return -logits.log_softmax(dim=1)[asked].gather(1, labels[asked][:, None]).mean()


def _bits(logits: Tensor, labels: Tensor) -> Tensor:
    return _masked_lm_loss(logits, labels) / math.log(2)


masked_lm_loss = Exercise(
    name="masked_lm_loss",
    reference=_masked_lm_loss,
    cases={
        "one sequence": (_randn(1, 5, 7, seed=10), torch.tensor([[-100, 3, -100, 6, -100]])),
        "two sequences, three labels": (
            2 * _randn(2, 4, 6, seed=11),
            torch.tensor([[1, -100, 2, -100], [-100, -100, -100, 5]]),
        ),
        "a label of 0": (2 * _randn(2, 3, 6, seed=12), torch.tensor([[0, -100, 4], [-100, 0, -100]])),
        "a sequence with nothing to guess": (
            _randn(2, 3, 6, seed=13),
            torch.tensor([[2, 5, -100], [-100, -100, -100]]),
        ),
        # Each label is far below the largest logit, so that exp, softmax and log by hand all end in infinity.
        "large logits": (
            torch.tensor([[[200.0, -200.0, 0.0], [0.0, 0.0, 0.0], [-199.0, 3.0, 201.0]]]),
            torch.tensor([[1, -100, 1]]),
        ),
    },
    wrong={
        "every position counted": Wrong(
            _every_position,
            "How many terms are in your mean, and how many labels are not −100? Nobody asked for the others.",
        ),
        "divided by all tokens, B · S": Wrong(
            _over_all_tokens,
            "Mask fewer tokens and your loss gets smaller. Is the model better? By what should you divide?",
        ),
        "token 0 ignored as well": Wrong(
            _zero_ignored, "Is 0 a label or the absence of one? Which number says “do not ask”?"
        ),
        "the mean of each sequence's mean": Wrong(
            _mean_of_row_means,
            "One sequence has one label, another has ten. Should the one count as much as the ten together?",
        ),
        "the sum, not divided": Wrong(
            _sum_of_losses, "Should a batch twice as large have a loss twice as large?"
        ),
        "softmax twice": Wrong(
            _softmax_twice,
            "cross_entropy takes logits and does the softmax itself. What does it do to numbers from 0 to 1?",
        ),
        "the logit instead of its log-probability": Wrong(
            _no_softmax, "Add 100 to all logits: your loss falls by 100. Do the probabilities change?"
        ),
        "the minus forgotten": Wrong(
            _minus_forgotten,
            "Training makes this number small. Does the probability of the true piece rise or fall with it?",
        ),
        "the log apart from the softmax": Wrong(
            _log_of_softmax,
            "Logits of 200 and −200: what are e²⁰⁰ and e⁻⁴⁰⁰ in 32 bits, and what is the ln of that? "
            "log_softmax takes both steps at once.",
        ),
        "each label at each place": Wrong(
            _each_label_at_each_place,
            "scores[:, labels] with N rows and N labels is a table of N · N numbers. How many guesses were "
            "made? gather, or scores[torch.arange(N), labels], takes one from each row.",
        ),
        "the softmax over the chosen tokens": Wrong(
            _softmax_over_the_tokens,
            "For one token, what do your probabilities of all V pieces add up to? Which axis has the pieces?",
        ),
        "the softmax over the sequence": Wrong(
            _softmax_over_the_sequence,
            "For one token, what do your probabilities of all V pieces add up to? Of (B, S, V), which axis "
            "has the pieces?",
        ),
        "bits instead of nats": Wrong(_bits, "Which logarithm gives ln V for a model that knows nothing?"),
    },
    hints=(
        "Keep what is asked for: a boolean mask takes rows out of logits, (B, S, V) → (N, V), and labels.",
        "For each of the N: the log-softmax of its V logits, at the place of its label, times −1.",
        "Then the mean over the N.",
    ),
)


# Exercise 4: what a model that knows only how frequent pieces are would reach.


def _unigram_entropy(counts: Tensor) -> float:
    p = counts.double() / counts.sum()
    return torch.special.entr(p).sum().item()  # entr(p) = −p ln p, 0 at 0


def _over_pieces(counts: Tensor) -> float:
    p = counts[counts > 0].double() / counts.sum()
    return -p.log().mean().item()


def _zeros_are_nan(counts: Tensor) -> float:
    p = counts.double() / counts.sum()
    return -(p * p.log()).sum().item()


def _entropy_in_bits(counts: Tensor) -> float:
    return _unigram_entropy(counts) / math.log(2)


def _sign_forgotten(counts: Tensor) -> float:
    return -_unigram_entropy(counts)


def _log_of_pieces(counts: Tensor) -> float:
    return math.log(int((counts > 0).sum()))


def _not_normalized(counts: Tensor) -> float:
    return torch.special.entr(counts.double()).sum().item()


unigram_entropy = Exercise(
    name="unigram_entropy",
    reference=_unigram_entropy,
    cases={
        "a fair coin": (torch.tensor([50, 50]),),
        "one piece in four": (torch.tensor([10, 20, 30, 40]),),
        "a piece that never occurs": (torch.tensor([6, 0, 3, 1]),),
    },
    wrong={
        "every piece counted once": Wrong(
            _over_pieces,
            "A frequent piece is asked for more often than a rare one. Where is that in your mean?",
        ),
        "0 · ln 0 is NaN": Wrong(
            _zeros_are_nan, "What is ln 0, and 0 times that? What should a piece that never occurs add?"
        ),
        "bits instead of nats": Wrong(
            _entropy_in_bits, "For a fair coin yours gives 1. What is ln 2, the loss of PyTorch?"
        ),
        "the minus forgotten": Wrong(
            _sign_forgotten, "Logarithms of probabilities are negative. Can a loss be?"
        ),
        "ln of the number of pieces": Wrong(
            _log_of_pieces, "That is what someone reaches who does not know which pieces are frequent."
        ),
        "counts instead of shares": Wrong(_not_normalized, "What do your probabilities sum to?"),
    },
    hints=(
        "First shares that sum to 1: counts divided by their sum.",
        "A piece of share p is met with probability p and then costs −ln p: its part is −p ln p.",
        "Leave out the pieces with count 0 before the logarithm.",
    ),
)


# Exercise 5: the learning rate.


def _learning_rate(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    if step <= warmup_steps:
        return peak * step / warmup_steps
    return peak * (steps + 1 - step) / (steps + 1 - warmup_steps)


def _no_warmup(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    return peak * (steps + 1 - step) / steps


def _counted_from_zero(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    return _learning_rate(step - 1, steps, warmup_steps, peak)


def _decay_from_the_start(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    return peak * min(1.0, step / warmup_steps) * (steps + 1 - step) / steps


def _no_decay(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    return peak * step / warmup_steps if step <= warmup_steps else peak


def _never_at_zero(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    if step <= warmup_steps:
        return peak * step / warmup_steps
    return peak * (steps - (step - warmup_steps)) / steps


def _restarted(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    return _learning_rate((step - 1) % warmup_steps + 1, steps, warmup_steps, peak)


def _jump_after_warmup(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    if step <= warmup_steps:
        return peak * step / warmup_steps
    return peak * (steps + 1 - step) / steps


def _zero_at_the_last(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    if step <= warmup_steps:
        return peak * step / warmup_steps
    return peak * (steps - step) / (steps - warmup_steps)


def _peak_twice(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    if step <= warmup_steps:
        return peak * step / warmup_steps
    return peak * (steps + 1 - step) / (steps - warmup_steps)


def _rise_from_step_1(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    if step <= warmup_steps:
        return peak * (step - 1) / warmup_steps
    return _learning_rate(step, steps, warmup_steps, peak)


def _lines_that_cross(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    return peak * min(step / warmup_steps, (steps + 1 - step) / (steps + 1))


def _always_divided(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    return peak * min(step / warmup_steps, (steps + 1 - step) / (steps + 1 - warmup_steps))


def _at_least_one(step: int, steps: int, warmup_steps: int, peak: float) -> float:
    return _learning_rate(step, steps, max(1, warmup_steps), peak)


learning_rate = Exercise(
    name="learning_rate",
    reference=_learning_rate,
    cases={
        "the first step": (1, 100, 10, 1.0),
        "in the warm-up": (7, 100, 10, 1.0),
        "the peak": (10, 100, 10, 2e-3),
        "just after it": (11, 100, 10, 1.0),
        "halfway down": (55, 99, 10, 1.0),
        "the last step": (100, 100, 10, 1.0),
        "without warm-up": (40, 100, 0, 1.0),
    },
    wrong={
        "no warm-up": Wrong(_no_warmup, "What is your rate at step 1 of 100, and what should it be?"),
        "steps counted from 0": Wrong(
            _counted_from_zero, "Your first step has the rate 0: what does it learn? Steps count from 1 here."
        ),
        "the decay begins at the first step": Wrong(
            _decay_from_the_start,
            "Is the peak ever reached in yours? Two lines meet there, they do not multiply.",
        ),
        "no decay": Wrong(_no_decay, "Where does your line go after the peak?"),
        "a decay that does not end at 0": Wrong(
            _never_at_zero,
            "What is your rate one step after the last? From the peak on, how many steps are left to fall?",
        ),
        "the warm-up starts again and again": Wrong(
            _restarted, "What happens in yours after the warm-up? Draw it for steps 1 to 30."
        ),
        "a jump after the warm-up": Wrong(
            _jump_after_warmup,
            "Google's own code has this: at the end of the warm-up it drops to the decay's line, which began "
            "at step 0. The two lines of this exercise meet at the peak.",
        ),
        "0 at the last step": Wrong(
            _zero_at_the_last,
            "That is transformers' line: your last step has the rate 0. At which step should yours be 0?",
        ),
        "the peak at two steps": Wrong(
            _peak_twice,
            "What are your rates at warmup_steps and at the step after it? The falling line leaves from the "
            "first of the two; how many steps are there from it to steps + 1?",
        ),
        "a rise that begins at step 1": Wrong(
            _rise_from_step_1,
            "What are your rates at step 1 and at warmup_steps, and what should the second be?",
        ),
        "the smaller of two lines that cross below the peak": Wrong(
            _lines_that_cross,
            "What is your rate at warmup_steps? The falling line should leave from the peak there; where "
            "does yours leave from?",
        ),
        "a division by a warm-up of 0": Wrong(
            _always_divided,
            "With warmup_steps = 0 there is no rising line. Does yours divide by its length all the same?",
        ),
        "a warm-up of 0 taken for 1": Wrong(
            _at_least_one,
            "With warmup_steps = 0 the falling line leaves from the peak at step 0. Where does yours?",
        ),
    },
    hints=(
        "Two straight lines: one from (0, 0) to (warmup_steps, peak), one from there to (steps + 1, 0).",
        "Up: peak · step / warmup_steps. Down: peak times the share of the way that is left.",
        "From the peak the way down is steps + 1 − warmup_steps long; at `step` what is left is "
        "steps + 1 − step.",
    ),
    tolerance=1e-9,
)


# Exercise 6: a step of AdamW.


def _averages(
    g: Tensor, average: Tensor, square: Tensor, betas: tuple[float, float] = BETAS
) -> tuple[Tensor, Tensor]:
    beta1, beta2 = betas
    return beta1 * average + (1 - beta1) * g, beta2 * square + (1 - beta2) * g**2


def _corrected(
    average: Tensor, square: Tensor, step: int, betas: tuple[float, float] = BETAS
) -> tuple[Tensor, Tensor]:
    beta1, beta2 = betas
    return average / (1 - beta1**step), square / (1 - beta2**step)


def _adamw_step(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    average, square = _averages(g, average, square)
    m, v = _corrected(average, square, step)
    return p - learning_rate * (m / (v.sqrt() + EPSILON) + decay * p), average, square


def _torchs_beta2(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    average, square = _averages(g, average, square, (0.9, 0.999))
    m, v = _corrected(average, square, step, (0.9, 0.999))
    return p - learning_rate * (m / (v.sqrt() + EPSILON) + decay * p), average, square


def _betas_swapped(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    average, square = _averages(g, average, square, BETAS[::-1])
    m, v = _corrected(average, square, step, BETAS[::-1])
    return p - learning_rate * (m / (v.sqrt() + EPSILON) + decay * p), average, square


def _no_correction(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    average, square = _averages(g, average, square)
    return p - learning_rate * (average / (square.sqrt() + EPSILON) + decay * p), average, square


def _decay_in_gradient(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    return _adamw_step(p, g + decay * p, average, square, step, learning_rate, 0.0)[0], *_averages(
        g + decay * p, average, square
    )


def _epsilon_in_root(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    average, square = _averages(g, average, square)
    m, v = _corrected(average, square, step)
    return p - learning_rate * (m / (v + EPSILON).sqrt() + decay * p), average, square


def _decay_without_rate(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    moved, average, square = _adamw_step(p, g, average, square, step, learning_rate, 0.0)
    return moved - decay * p, average, square


def _correction_kept(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    moved, average, square = _adamw_step(p, g, average, square, step, learning_rate, decay)
    return moved, *_corrected(average, square, step)


def _old_averages(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    m, v = _corrected(average, square, step)
    return p - learning_rate * (m / (v.sqrt() + EPSILON) + decay * p), *_averages(g, average, square)


def _no_decay_at_all(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    return _adamw_step(p, g, average, square, step, learning_rate, 0.0)


def _no_root(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    average, square = _averages(g, average, square)
    m, v = _corrected(average, square, step)
    return p - learning_rate * (m / (v + EPSILON) + decay * p), average, square


def _uphill(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    average, square = _averages(g, average, square)
    m, v = _corrected(average, square, step)
    return p + learning_rate * (m / (v.sqrt() + EPSILON) - decay * p), average, square


def _averages_swapped(
    p: Tensor, g: Tensor, average: Tensor, square: Tensor, step: int, learning_rate: float, decay: float
) -> State:
    moved, average, square = _adamw_step(p, g, average, square, step, learning_rate, decay)
    return moved, square, average


adamw_step = Exercise(
    name="adamw_step",
    reference=_adamw_step,
    cases={
        "the first step": (
            _randn(4, seed=40),
            _randn(4, seed=41),
            torch.zeros(4),
            torch.zeros(4),
            1,
            0.1,
            0.0,
        ),
        "with weight decay": (
            _randn(4, seed=42),
            _randn(4, seed=43),
            torch.zeros(4),
            torch.zeros(4),
            1,
            0.1,
            0.5,
        ),
        "the tenth step": (
            _randn(4, seed=44),
            _randn(4, seed=45),
            0.3 * _randn(4, seed=46),
            _rand(4, seed=47),
            10,
            0.01,
            0.1,
        ),
        "a tiny gradient": (
            torch.zeros(3),
            torch.full((3,), 1e-6),
            torch.zeros(3),
            torch.zeros(3),
            1,
            0.1,
            0.0,
        ),
    },
    wrong={
        "no bias correction": Wrong(
            _no_correction,
            "Both averages start at 0. By how much is each too small after one step? The two shares differ.",
        ),
        "the decay added to the gradient": Wrong(
            _decay_in_gradient,
            "That is Adam with L2. What does the division by the root make of your decay? Loshchilov and "
            "Hutter keep it apart.",
        ),
        "epsilon inside the root": Wrong(
            _epsilon_in_root, "What is the root of 10⁻⁶? For a tiny gradient that is 1,000 times your ε."
        ),
        "decay not multiplied by the learning rate": Wrong(
            _decay_without_rate, "In the warm-up the rate is near 0. Do your weights stand still then?"
        ),
        "no weight decay": Wrong(_no_decay_at_all, "What is `decay` for in yours?"),
        "the corrected averages kept": Wrong(
            _correction_kept, "Your averages are corrected again in the next step. Which ones should be kept?"
        ),
        "the averages swapped": Wrong(
            _averages_swapped,
            "Which of the two averages does the task name first? And which do you return first?",
        ),
        "a step behind": Wrong(
            _old_averages, "At the first step the old averages are 0. Which averages should move the weights?"
        ),
        "the root forgotten": Wrong(
            _no_root, "Ten times the gradient: how much longer should the step get? And in yours?"
        ),
        "torch's β₂": Wrong(
            _torchs_beta2,
            "0.999 is the default of torch.optim.AdamW. What does the exercise ask for?",
        ),
        "β₁ and β₂ swapped": Wrong(
            _betas_swapped,
            "Which forgets faster in yours, the average of the gradient or that of its square? And which "
            "should?",
        ),
        "uphill": Wrong(
            _uphill, "A positive gradient: which way does the loss rise, and which way do you go?"
        ),
    },
    hints=(
        "First the two new averages, of the gradient (0.9 old + 0.1 new) and of its square (0.98 and 0.02).",
        "For this step only, divide the first by 1 − 0.9^step and the second by 1 − 0.98^step.",
        "Move by −learning_rate · (first / (√second + ε) + decay · parameter); return the averages as they "
        "were before the correction.",
    ),
    tolerance=1e-6,
)


# Exercise 7: clipping.


def _norm(gradients: list[Tensor]) -> Tensor:
    return torch.stack([g.norm() for g in gradients]).norm()


def _scaled(gradients: list[Tensor], factor: Tensor | float) -> list[Tensor]:
    return [g * factor for g in gradients]


def _clip_gradients(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    return _scaled(gradients, (max_norm / _norm(gradients)).clamp(max=1))


def _each_by_itself(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    return [g * (max_norm / g.norm()).clamp(max=1) for g in gradients]


def _always_scaled(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    return _scaled(gradients, max_norm / _norm(gradients))


def _by_value(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    return [g.clamp(-max_norm, max_norm) for g in gradients]


def _sum_of_norms(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    return _scaled(gradients, (max_norm / torch.stack([g.norm() for g in gradients]).sum()).clamp(max=1))


def _root_forgotten(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    return _scaled(gradients, (max_norm / _norm(gradients) ** 2).clamp(max=1))


def _thrown_away(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    return _scaled(gradients, 0.0) if _norm(gradients) > max_norm else list(gradients)


clip_gradients = Exercise(
    name="clip_gradients",
    reference=_clip_gradients,
    cases={
        "a long gradient in two tensors": (
            [torch.tensor([3.0, 0.0]), torch.tensor([[0.0, 4.0], [0.0, 0.0]])],
            1.0,
        ),
        "one long, one short": ([2 * _randn(3, 4, seed=30), 0.01 * _randn(4, seed=31)], 1.0),
        "short already": ([torch.tensor([0.3, 0.4]), torch.tensor([0.1])], 1.0),
    },
    wrong={
        "each tensor by itself": Wrong(
            _each_by_itself,
            "Two tensors of length 3 and 4: what is the ratio of the lengths before clipping, and after?",
        ),
        "scaled even when short": Wrong(
            _always_scaled, "What happens in yours to a gradient that is shorter than max_norm?"
        ),
        "each number by itself": Wrong(
            _by_value, "Clipping is not to change the direction. Does (3, 0.5) keep its direction in yours?"
        ),
        "the norms added up": Wrong(
            _sum_of_norms, "How long is the vector (3, 4)? Not 7. All tensors together are one long vector."
        ),
        "the root forgotten": Wrong(_root_forgotten, "How long is the vector (3, 4)? Not 25."),
        "long gradients thrown away": Wrong(
            _thrown_away, "The batch that is most surprising: does your model learn anything from it?"
        ),
    },
    hints=(
        "All tensors together are one long vector: its length is the root of the sum of all squares.",
        "One factor for all: max_norm divided by that length, but never more than 1.",
    ),
)


# Exercise 8: gradients of several small batches.


def _combine_gradients(gradients: list[Tensor], counts: list[int]) -> Tensor:
    parts = [count * gradient for gradient, count in zip(gradients, counts, strict=True)]
    return torch.stack(parts).sum(dim=0) / sum(counts)


def _mean_of_means(gradients: list[Tensor], counts: list[int]) -> Tensor:
    return torch.stack(gradients).mean(dim=0)


def _sum_of_means(gradients: list[Tensor], counts: list[int]) -> Tensor:
    return torch.stack(gradients).sum(dim=0)


def _not_divided(gradients: list[Tensor], counts: list[int]) -> Tensor:
    return _combine_gradients(gradients, counts) * sum(counts)


def _divided_by_batches(gradients: list[Tensor], counts: list[int]) -> Tensor:
    return _not_divided(gradients, counts) / len(counts)


def _divided_by_counts(gradients: list[Tensor], counts: list[int]) -> Tensor:
    return torch.stack([g / count for g, count in zip(gradients, counts, strict=True)]).sum(dim=0)


def _only_the_last(gradients: list[Tensor], counts: list[int]) -> Tensor:
    return gradients[-1].clone()


def _means_over_tokens(gradients: list[Tensor], counts: list[int]) -> Tensor:
    return torch.stack(gradients).sum(dim=0) / sum(counts)


combine_gradients = Exercise(
    name="combine_gradients",
    reference=_combine_gradients,
    cases={
        "two batches, 1 and 9 masked tokens": ([torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])], [1, 9]),
        "three batches": ([_randn(3, seed=50 + i) for i in range(3)], [20, 35, 11]),
        "one batch": ([_randn(3, seed=54)], [7]),
    },
    wrong={
        "the mean of the means": Wrong(
            _mean_of_means,
            "One batch has 1 masked token, another 9. In one batch of 10, how much would each token count?",
        ),
        "the sum of the means": Wrong(
            _sum_of_means, "Four small batches for one large one: is your gradient four times as long?"
        ),
        "means added, then divided by all tokens": Wrong(
            _means_over_tokens, "What you add up are means already. What makes a mean a sum over its tokens?"
        ),
        "summed, but not divided": Wrong(
            _not_divided, "You have the sum over all tokens. What does the loss of the large batch take?"
        ),
        "divided by the number of batches": Wrong(
            _divided_by_batches, "Your sum is over tokens. How many tokens are in it?"
        ),
        "each divided by its count": Wrong(
            _divided_by_counts,
            "Each gradient is that of a mean: divided by its count already. What undoes that?",
        ),
        "the last batch alone": Wrong(
            _only_the_last, "Is zero_grad inside the loop? Where do the earlier gradients go?"
        ),
    },
    hints=(
        "Mean times count is the sum over a batch's tokens. Sums may be added.",
        "Divide once, by all the tokens.",
    ),
)


# Exercise 9: does a head look at the neighbor?


def _weight_at_offset(probs: Tensor, offset: int) -> Tensor:
    return probs.diagonal(offset, dim1=-2, dim2=-1).mean(dim=(0, -1))


def _other_direction(probs: Tensor, offset: int) -> Tensor:
    return _weight_at_offset(probs, -offset)


def _edges_as_zero(probs: Tensor, offset: int) -> Tensor:
    return probs.diagonal(offset, dim1=-2, dim2=-1).sum(dim=-1).mean(dim=0) / probs.shape[-1]


def _around_the_edge(probs: Tensor, offset: int) -> Tensor:
    return probs.roll(-offset, dims=-1).diagonal(dim1=-2, dim2=-1).mean(dim=(0, -1))


def _heads_averaged(probs: Tensor, offset: int) -> Tensor:
    return probs.diagonal(offset, dim1=-2, dim2=-1).mean()


def _largest(probs: Tensor, offset: int) -> Tensor:
    return probs.diagonal(offset, dim1=-2, dim2=-1).amax(dim=(0, -1))


weight_at_offset = Exercise(
    name="weight_at_offset",
    reference=_weight_at_offset,
    cases={
        "the token before": (_randn(3, 2, 6, 6, seed=60).softmax(-1), -1),
        "the token after": (2 * _randn(2, 4, 5, 5, seed=61).softmax(-1), 1),
        "the token itself": (_randn(1, 2, 4, 4, seed=62).softmax(-1), 0),
    },
    wrong={
        "before and after mixed up": Wrong(
            _other_direction,
            "probs[b, a, i, j]: who looks, i or j? For the token before, is j below or above i?",
        ),
        "missing neighbors counted as 0": Wrong(
            _edges_as_zero,
            "The first token has none before it. Over how many tokens should you take the mean?",
        ),
        "around the edge": Wrong(
            _around_the_edge, "Who is before the first token in yours? Not the last one, surely."
        ),
        "all heads in one mean": Wrong(
            _heads_averaged, "One number for each head, (A,): which axes should be gone, and which not?"
        ),
        "the largest instead of the mean": Wrong(
            _largest, "One lucky token makes yours large. What does a head do on average?"
        ),
    },
    hints=(
        "The weights you want lie on a line parallel to the diagonal of the last two axes.",
        "tensor.diagonal(offset, dim1=…, dim2=…) takes it; it comes as the last axis. Then a mean over two.",
    ),
)
