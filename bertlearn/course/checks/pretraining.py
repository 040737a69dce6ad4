"""The exercises of chapter 4, from masking to the weight on a neighbor, with the mistakes that people make.

`from bertlearn.course.checks import pretraining as check`, then `check.hide_tokens(hide_tokens)`. The bug
hunt, an exercise of another kind, is in `bertlearn.course.bug_hunt`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bertlearn.course.edits import Edit
from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.solutions import pretraining as solution


def _rand(*shape: int, seed: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


_SPECIAL = torch.tensor([0, 1, 2, 3, 4])  # [PAD] [UNK] [CLS] [SEP] [MASK]
_BATCH = 5 + (95 * _rand(4, 40, seed=0)).long()
_BATCH[:, 0], _BATCH[:, 30] = 2, 3
_BATCH[1:, 31:] = 0
_RANDOM_IDS = 5 + (95 * _rand(4, 40, seed=3)).long()

hide_tokens = Exercise(
    solution.hide_tokens,
    cases={
        "one sentence": (
            torch.tensor([[2, 11, 12, 13, 14, 15, 3]]),
            torch.tensor([[0.01, 0.10, 0.90, 0.05, 0.14, 0.16, 0.03]]),
            torch.tensor([[0.50, 0.30, 0.20, 0.85, 0.95, 0.82, 0.10]]),
            torch.tensor([[31, 32, 33, 34, 35, 36, 37]]),
            _SPECIAL,
            4,
        ),
        "a padded batch": (_BATCH, _rand(4, 40, seed=1), _rand(4, 40, seed=2), _RANDOM_IDS, _SPECIAL, 4),
    },
    wrong={
        "special tokens chosen": Wrong(
            "Can [CLS], [SEP] or [PAD] be hidden in yours? What would there be to guess?",
            (" & ~torch.isin(input_ids, special_ids)", ""),
        ),
        "labels at every token": Wrong(
            "How many tokens does your model have to “guess” that it can simply read? What marks the others?",
            ("torch.where(chosen, input_ids, -100)", "input_ids"),
        ),
        "80/10/10 of all tokens": Wrong(
            "How much of the sentence is left to read? Only the chosen 15 % may change at all.",
            ("hidden = ", "chosen = ~torch.isin(input_ids, special_ids)\n    hidden = "),
        ),
        "one random number for both decisions": Wrong(
            "Every token you choose becomes [MASK]. A chance below 0.15 is also below 0.8: which number "
            "decides what a chosen token becomes?",
            ("hidden = ", "fate = chance\n    hidden = "),
        ),
        "the label is what stands there after masking": Wrong(
            "What does your model learn to answer when it sees [MASK]? Look at a label.",
            ("return masked, labels", "return masked, torch.where(chosen, masked, -100)"),
        ),
        "the labels taken from ids that were masked in place": Wrong(
            "`masked = input_ids` is no copy. What stands in input_ids by the time you take the labels?",
            (
                "return masked, labels",
                "input_ids.copy_(masked)\n    return input_ids, torch.where(chosen, input_ids, -100)",
            ),
        ),
        "chosen but unchanged tokens without a label": Wrong(
            "A tenth of the chosen stay as they are. If the model need not guess them, why choose them?",
            ("where(chosen, input_ids", "where(chosen & (fate < 0.9), input_ids"),
        ),
        "0 where nothing is asked": Wrong(
            "0 is the id of [PAD]. Which label says “do not ask” in this course?", ("-100", "0")
        ),
        "the random token put over [MASK]": Wrong(
            "Is there a [MASK] left in yours? 0.5 is also below 0.9: what must the second step leave alone?",
            (" & (fate >= 0.8)", ""),
        ),
        "random and unchanged swapped": Wrong(
            "A model would not notice, but the task says which fates are which: what is 0.85, what is 0.95?",
            ("(fate >= 0.8) & (fate < 0.9)", "(fate >= 0.9)"),
        ),
        "labels first, ids second": Wrong(
            "Your first tensor is what the model reads. Is −100 the id of a token?",
            ("return masked, labels", "return labels, masked"),
        ),
        "all but 15 % chosen": Wrong(
            "How many tokens do you choose: 15 in 100, or 85?", ("chance < 0.15", "chance >= 0.15")
        ),
        "no chosen token left as it is": Wrong(
            "What becomes of a chosen token whose fate is 0.95?",
            ("(fate >= 0.8) & (fate < 0.9)", "(fate >= 0.8)"),
        ),
        "only padding kept from being chosen": Wrong(
            "Can [CLS] or [SEP] be hidden in yours? special_ids has five entries.",
            ("~torch.isin(input_ids, special_ids)", "(input_ids != 0)"),
        ),
        "random ids where nothing was chosen": Wrong(
            "Should a token that is not asked for ever change? Which of your two conditions forgets "
            "`chosen`?",
            ("replaced = chosen & ", "replaced = "),
        ),
        "[MASK] where nothing was chosen": Wrong(
            "How much of the sentence is left to read? Which of your two conditions forgets `chosen`?",
            ("hidden = chosen & (fate < 0.8)", "hidden = fate < 0.8"),
        ),
        "labels only where [MASK] stands": Wrong(
            "A chosen token that was replaced or left alone is asked for as well. Does it have a label in "
            "yours?",
            ("torch.where(chosen, input_ids", "torch.where(chosen & (fate < 0.8), input_ids"),
        ),
        "another number than −100": Wrong(
            "Which label does cross_entropy leave out unless told otherwise?", ("-100", "-1")
        ),
        "labels where nothing is asked": Wrong(
            "Your labels are the wrong way round: which tokens does the model have to guess?",
            ("torch.where(chosen, input_ids, -100)", "torch.where(chosen, -100, input_ids)"),
        ),
        "the input changed in place": Wrong(
            "Look at input_ids after your call. The data set needs them again in the next epoch.",
            ("torch.where(hidden, mask_id, input_ids)", "input_ids.masked_fill_(hidden, mask_id)"),
        ),
    },
    hints=(
        "First a boolean tensor `chosen`: chance below 0.15, and not special (torch.isin helps).",
        "The labels are the input ids where chosen, −100 elsewhere: one torch.where.",
        "Then two torch.where for the ids: [MASK] where chosen and fate < 0.8, the random id where chosen "
        "and 0.8 ≤ fate < 0.9.",
    ),
    returns=("masked", "labels"),
    why=(
        "The labels are taken before anything is hidden, so the model can be asked for what was really there."
    ),
)

_DOCUMENT = [[10, 11, 12], [13, 14], [15, 16, 17, 18], [19]]

make_pair = Exercise(
    solution.make_pair,
    cases={
        "B follows A": (_DOCUMENT, 0, [30, 31], True, 2, 3),
        "B is a stranger": (_DOCUMENT, 0, [30, 31], False, 2, 3),
        "a pair from the middle": (_DOCUMENT, 1, [30, 31, 32], False, 2, 3),
        "A is the last sentence": (_DOCUMENT, len(_DOCUMENT) - 1, [30, 31], False, 2, 3),
    },
    wrong={
        "the label reversed": Wrong(
            "1 feels like “yes”, and textbooks have printed it so. What does 0 mean in BERT's own files?",
            ("0 if follows else 1", "1 if follows else 0"),
        ),
        "always the next sentence": Wrong(
            "Your label changes. Does your B? What is `stranger` for?", (" if follows else stranger", "")
        ),
        "a next sentence looked up in any case": Wrong(
            "A may be the last sentence. Do you look up document[index + 1] even where B is the stranger?",
            ("b = document[index + 1] if", "following = document[index + 1]\n    b = following if"),
        ),
        "B from the same document": Wrong(
            "Your strangers come from the same text as A. Why would that be a harder question?",
            ("else stranger", "else document[(index + 2) % len(document)]"),
        ),
        "the same two sentences, swapped": Wrong(
            "That is sentence order prediction, which ALBERT uses instead. Where does BERT take B from?",
            ("a = document[index]", "a = document[index if follows else index + 1]"),
            ("else stranger", "else document[index]"),
        ),
        "the [SEP] of A counted to B": Wrong(
            "The first [SEP] closes A. Which segment should it be in?",
            ("(len(a) + 2) + [1] * (len(b) + 1)", "(len(a) + 1) + [1] * (len(b) + 2)"),
        ),
        "one segment for all": Wrong(
            "What tells the model where B begins, besides a [SEP]? Look at the token types.",
            ("[1] *", "[0] *"),
        ),
        "the last [SEP] missing": Wrong("What closes B?", ("*b, sep_id]", "*b]"), ("(len(b) + 1)", "len(b)")),
        "no [SEP] between A and B": Wrong(
            "Where does A end in your ids?", ("*a, sep_id,", "*a,"), ("len(a) + 2", "len(a) + 1")
        ),
        "A and B swapped": Wrong(
            "Which of the two sentences comes first?", ("*a, sep_id, *b,", "*b, sep_id, *a,")
        ),
        "a second [CLS] before B": Wrong(
            "How many [CLS] does an input of two sentences have?",
            ("sep_id, *b,", "sep_id, cls_id, *b,"),
            ("len(b) + 1", "len(b) + 2"),
        ),
        "[CLS] missing": Wrong(
            "Which token is to carry the answer? It should come first.",
            ("[cls_id, *a", "[*a"),
            ("len(a) + 2", "len(a) + 1"),
        ),
        "a token type too few": Wrong(
            "Count: are there as many token types as ids? [CLS] and both [SEP] have one each.",
            ("len(a) + 2", "len(a) + 1"),
        ),
        "the last [SEP] without a token type": Wrong(
            "Count: are there as many token types as ids? Which segment is the last [SEP] in?",
            ("(len(b) + 1)", "len(b)"),
        ),
        "True and False as the label": Wrong(
            "The label should be the number 0 or 1. What type is yours?",
            ("0 if follows else 1", "not follows"),
        ),
        "the sentence before A": Wrong(
            "B is to follow A. Is your B in front of it?", ("index + 1", "index - 1")
        ),
        "A twice": Wrong(
            "Is your B the next sentence, or A once more?", ("document[index + 1]", "document[index]")
        ),
        "segments 1 and 2": Wrong(
            "How many rows has the table of segment embeddings? Which is the first index?",
            ("[0] * (len(a) + 2) + [1]", "[1] * (len(a) + 2) + [2]"),
        ),
    },
    hints=(
        "[CLS] A [SEP] B [SEP]: a list made of three single ids and two lists.",
        "Token types: 0 for [CLS], A and its [SEP]; 1 for B and its [SEP]. Count them.",
        "B is document[index + 1] if it follows, else the stranger; then the label is 0, else 1.",
    ),
    returns=("input_ids", "token_type_ids", "label"),
    why="The segments tell A from B, and the label 0 for “follows” is the one in BERT's own files.",
)

masked_lm_loss = Exercise(
    solution.masked_lm_loss,
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
            "How many terms are in your mean, and how many labels are not −100? Nobody asked for the others.",
            ("asked = labels != -100", "labels = labels.clamp(min=0)\n    asked = labels >= 0"),
        ),
        "divided by all tokens, B · S": Wrong(
            "Mask fewer tokens and your loss gets smaller. Is the model better? By what should you divide?",
            ("of_the_label.mean()", "of_the_label.sum() / labels.numel()"),
        ),
        "token 0 ignored as well": Wrong(
            "Is 0 a label or the absence of one? Which number says “do not ask”?",
            ("labels != -100", "labels > 0"),
        ),
        "the mean of each sequence's mean": Wrong(
            "One sequence has one label, another has ten. Should the one count as much as the ten together?",
            (
                "of_the_label.mean()",
                "torch.stack([own.mean() for own in of_the_label.split(asked.sum(dim=1).tolist())]).mean()",
            ),
        ),
        "the sum, not divided": Wrong(
            "Should a batch twice as large have a loss twice as large?", ("mean()", "sum()")
        ),
        "softmax twice": Wrong(
            "cross_entropy takes logits and does the softmax itself. What does it do to numbers from 0 to 1?",
            ("logits[asked]", "logits[asked].softmax(dim=-1)"),
        ),
        "the logit instead of its log-probability": Wrong(
            "Add 100 to all logits: your loss falls by 100. Do the probabilities change?",
            (".log_softmax(dim=-1)", ""),
        ),
        "the minus forgotten": Wrong(
            "Training makes this number small. Does the probability of the true token rise or fall with it?",
            ("return -", "return "),
        ),
        "the log apart from the softmax": Wrong(
            "Logits of 200 and −200: what are e²⁰⁰ and e⁻⁴⁰⁰ in 32 bits, and what is the ln of that? "
            "log_softmax takes both steps at once.",
            ("log_softmax(dim=-1)", "softmax(dim=-1).log()"),
        ),
        "each label at each place": Wrong(
            "scores[:, labels] with N rows and N labels is a table of N · N numbers. How many guesses were "
            "made? gather, or scores[torch.arange(N), labels], takes one from each row.",
            (".gather(1, labels[asked][:, None])", "[:, labels[asked]]"),
        ),
        "the softmax over the chosen tokens": Wrong(
            "For one token, what do your probabilities of all V tokens add up to? Which axis has the tokens?",
            ("dim=-1", "dim=0"),
        ),
        "the softmax over the sequence": Wrong(
            "For one token, what do your probabilities of all V tokens add up to? Of (B, S, V), which axis "
            "has the tokens?",
            ("logits[asked].log_softmax(dim=-1)", "logits.log_softmax(dim=1)[asked]"),
        ),
        "bits instead of nats": Wrong(
            "Which logarithm gives ln V for a model that knows nothing?",
            ("mean()", "mean() / torch.tensor(2.0).log()"),
        ),
        "the probability, without the logarithm": Wrong(
            "A model that is sure of a wrong token: how large can your loss get? Where is the ln?",
            (".log_softmax", ".softmax"),
        ),
        "the logarithm of the mean probability": Wrong(
            "First the logarithm of each probability, then the mean. In which order do you go?",
            ("-of_the_label.mean()", "-of_the_label.exp().mean().log()"),
        ),
        "the mean of each sequence's mean, empty ones left out": Wrong(
            "One sequence has one label, another has ten. Should the one count as much as the ten together?",
            (
                "of_the_label.mean()",
                "torch.stack([own.mean() for own in of_the_label.split(asked.sum(dim=1).tolist()) if "
                "len(own)]).mean()",
            ),
        ),
        "the mean of each sequence's mean, empty ones as 0": Wrong(
            "A sequence without labels lowers your loss. Over what should the mean be taken: sequences, or "
            "labels?",
            (
                "of_the_label.mean()",
                "torch.stack([own.sum() / max(len(own), 1) for own in "
                "of_the_label.split(asked.sum(dim=1).tolist())]).mean()",
            ),
        ),
        "divided by the sequences": Wrong(
            "Twice as many labels in each sequence: should the loss double? By what do you divide?",
            ("of_the_label.mean()", "of_the_label.sum() / len(labels)"),
        ),
        "the mean over the whole vocabulary": Wrong(
            "Of the V log-probabilities of a token only one counts. Which?",
            ("of_the_label.mean()", "log_probs.mean()"),
        ),
        "the perplexity": Wrong(
            "You took one exponential more than asked. What is the unit of your number?",
            ("return -of_the_label.mean()", "return (-of_the_label.mean()).exp()"),
        ),
        "a loss for each label": Wrong(
            "Training needs one number. What is left to do?", ("-of_the_label.mean()", "-of_the_label")
        ),
        "a small number added before the logarithm": Wrong(
            "It keeps ln 0 away, but a surprise can never cost more than ln of that number. log_softmax "
            "needs no such help.",
            ("log_softmax(dim=-1)", "softmax(dim=-1).add(1e-9).log()"),
        ),
    },
    hints=(
        "Keep what is asked for: a boolean mask takes rows out of logits, (B, S, V) → (N, V), and labels.",
        "For each of the N: the log-softmax of its V logits, at the place of its label, times −1.",
        "Then the mean over the N.",
    ),
    forbidden=("cross_entropy", "nll_loss"),
    why=("Only what was asked counts, so the loss does not depend on how many tokens are masked."),
)

unigram_entropy = Exercise(
    solution.unigram_entropy,
    cases={
        "a fair coin": (torch.tensor([50, 50]),),
        "one token in four": (torch.tensor([10, 20, 30, 40]),),
        "a token that never occurs": (torch.tensor([6, 0, 3, 1]),),
    },
    wrong={
        "every token counted once": Wrong(
            "A frequent token has to be guessed more often than a rare one. Where is that in your mean?",
            ("(p * p.log()).sum()", "p.log().mean()"),
        ),
        "0 · ln 0 is NaN": Wrong(
            "What is ln 0, and 0 times that? What should a token that never occurs add?",
            ("counts[counts > 0]", "counts"),
        ),
        "bits instead of nats": Wrong(
            "For a fair coin yours gives 1. What is ln 2, the loss of PyTorch?", ("p.log()", "p.log2()")
        ),
        "the minus forgotten": Wrong(
            "Logarithms of probabilities are negative. Can a loss be?", ("return -", "return ")
        ),
        "ln of the number of tokens": Wrong(
            "That is the loss of a model that does not know which tokens are frequent.",
            ("-(p * p.log()).sum()", "(counts > 0).sum().log()"),
        ),
        "counts instead of shares": Wrong("What do your probabilities sum to?", (" / counts.sum()", "")),
        "a logarithm of base 10": Wrong("Which logarithm measures in nats?", ("p.log()", "p.log10()")),
        "the perplexity": Wrong(
            "You took one exponential more than asked. What is the unit of your number?",
            ("return -(p * p.log()).sum().item()", "return (-(p * p.log()).sum()).exp().item()"),
        ),
        "1 added to every count": Wrong(
            "Smoothing gives tokens that never occur a share. Does the task ask for it?",
            ("counts[counts > 0].double() / counts.sum()", "(counts + 1).double() / (counts + 1).sum()"),
        ),
        "the mean instead of the sum": Wrong(
            "Each token is weighted by its share already. Should the sum still be divided?",
            ("p.log()).sum()", "p.log()).mean()"),
        ),
        "the logarithm of the mean share": Wrong(
            "First the logarithm of each share, then the weighted mean. In which order do you go?",
            ("(p * p.log()).sum()", "(p * p).sum().log()"),
        ),
        "divided by ln V": Wrong(
            "That is the entropy relative to its largest value, a share from 0 to 1. What is asked for?",
            ("(p * p.log()).sum()", "(p * p.log()).sum() / torch.tensor(float(len(counts))).log()"),
        ),
    },
    hints=(
        "First shares that sum to 1: counts divided by their sum.",
        "A token of share p is met with probability p and then costs −ln p: its part is −p ln p.",
        "Leave out the tokens with count 0 before the logarithm.",
    ),
    why=(
        "This is the loss of a model that knows only frequencies: a BERT has to get below it to have "
        "learned any language."
    ),
)

learning_rate = Exercise(
    solution.learning_rate,
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
        "no warm-up": Wrong(
            "What is your rate at step 1 of 100, and what should it be?",
            ("step <= warmup_steps", "False"),
            ("(steps + 1 - warmup_steps)", "steps"),
        ),
        "steps counted from 0": Wrong(
            "Your first step has the rate 0: what does it learn? Steps count from 1 here.",
            ("if step", "step = step - 1\n    if step"),
        ),
        "the decay begins at the first step": Wrong(
            "Is the peak ever reached in yours? Two lines meet there, they do not multiply.",
            ("step <= warmup_steps", "False"),
            ("/ (steps + 1 - warmup_steps)", "/ steps * min(1, step / warmup_steps)"),
        ),
        "no decay": Wrong(
            "Where does your line go after the peak?",
            (" * (steps + 1 - step) / (steps + 1 - warmup_steps)", ""),
        ),
        "a decay that does not end at 0": Wrong(
            "What is your rate one step after the last? From the peak on, how many steps are left to fall?",
            ("(steps + 1 - step) / (steps + 1 - warmup_steps)", "(steps - (step - warmup_steps)) / steps"),
        ),
        "the warm-up starts again and again": Wrong(
            "What happens in yours after the warm-up? Draw it for steps 1 to 30.",
            ("if step", "step = (step - 1) % warmup_steps + 1\n    if step"),
        ),
        "a jump after the warm-up": Wrong(
            "Google's own code has this: at the end of the warm-up it drops to the decay's line, which began "
            "at step 0. The two lines of this exercise meet at the peak.",
            ("(steps + 1 - warmup_steps)", "steps"),
        ),
        "0 at the last step": Wrong(
            "That is transformers' line: your last step has the rate 0. At which step should yours be 0?",
            ("(steps + 1 - step) / (steps + 1 - warmup_steps)", "(steps - step) / (steps - warmup_steps)"),
        ),
        "the peak at two steps": Wrong(
            "What are your rates at warmup_steps and at the step after it? The falling line leaves from the "
            "first of the two; how many steps are there from it to steps + 1?",
            ("(steps + 1 - warmup_steps)", "(steps - warmup_steps)"),
        ),
        "a rise that begins at step 1": Wrong(
            "What are your rates at step 1 and at warmup_steps, and what should the second be?",
            ("peak * step", "peak * (step - 1)"),
        ),
        "the smaller of two lines that cross below the peak": Wrong(
            "What is your rate at warmup_steps? The falling line should leave from the peak there; where "
            "does yours leave from?",
            ("step <= warmup_steps", "step / warmup_steps <= (steps + 1 - step) / (steps + 1)"),
            ("(steps + 1 - warmup_steps)", "(steps + 1)"),
        ),
        "a division by a warm-up of 0": Wrong(
            "With warmup_steps = 0 there is no rising line. Does yours divide by its length all the same?",
            ("step <= warmup_steps", "step / warmup_steps <= 1"),
        ),
        "a warm-up of 0 taken for 1": Wrong(
            "With warmup_steps = 0 the falling line leaves from the peak at step 0. Where does yours?",
            ("if step", "warmup_steps = max(1, warmup_steps)\n    if step"),
        ),
        "shares instead of rates": Wrong(
            "Your largest value is 1. Where does `peak` come in?",
            ("peak * step", "step"),
            ("peak * (steps", "(steps"),
        ),
        "the falling line begins at step 0 and reaches 0 at the last step": Wrong(
            "At which step does the falling line leave from the peak, and at which step does it reach 0?",
            ("(steps + 1 - step) / (steps + 1 - warmup_steps)", "(steps - step) / steps"),
        ),
    },
    hints=(
        "Two straight lines: one from (0, 0) to (warmup_steps, peak), one from there to (steps + 1, 0).",
        "Up: peak · step / warmup_steps. Down: peak times the share of the way that is left.",
        "From the peak the way down is steps + 1 − warmup_steps long; at `step` what is left is "
        "steps + 1 − step.",
    ),
    tolerance=1e-9,
    why=(
        "The two lines meet at the peak, and even the last step still changes the weights; the runs "
        "below use this schedule."
    ),
)

_ZEROS = torch.zeros(4)

adamw_step = Exercise(
    solution.adamw_step,
    cases={
        "the first step": (_randn(4, seed=40), _randn(4, seed=41), _ZEROS, _ZEROS, 1, 0.1, 0.0),
        "with weight decay": (_randn(4, seed=42), _randn(4, seed=43), _ZEROS, _ZEROS, 1, 0.1, 0.5),
        "the tenth step": (
            _randn(4, seed=44),
            _randn(4, seed=45),
            0.3 * _randn(4, seed=46),
            _rand(4, seed=47),
            10,
            0.01,
            0.1,
        ),
        "a tiny gradient": (_ZEROS[:3], torch.full((3,), 1e-6), _ZEROS[:3], _ZEROS[:3], 1, 0.1, 0.0),
    },
    wrong={
        "no bias correction": Wrong(
            "Both averages start at 0. By how much is each too small after one step? The two shares differ.",
            (" / (1 - beta1**step)", ""),
            (" / (1 - beta2**step)", ""),
        ),
        "the decay added to the gradient": Wrong(
            "That is Adam with L2. What does the division by the root make of your decay? Loshchilov and "
            "Hutter keep it apart.",
            (" + decay * parameter", ""),
            ("new_average = beta1", "gradient = gradient + decay * parameter\n    new_average = beta1"),
        ),
        "epsilon inside the root": Wrong(
            "What is the root of 10⁻⁶? For a tiny gradient that is 1,000 times your ε.",
            ("v.sqrt() + epsilon", "(v + epsilon).sqrt()"),
        ),
        "decay not multiplied by the learning rate": Wrong(
            "In the warm-up the rate is near 0. Do your weights stand still then?",
            (" + decay * parameter", ""),
            ("learning_rate * change", "learning_rate * change - decay * parameter"),
        ),
        "no weight decay": Wrong("What is `decay` for in yours?", (" + decay * parameter", "")),
        "the corrected averages kept": Wrong(
            "Your averages are corrected again in the next step. Which ones should be kept?",
            ("new_average, new_square", "m, v"),
        ),
        "the averages swapped": Wrong(
            "Which of the two averages does the task name first? And which do you return first?",
            ("new_average, new_square", "new_square, new_average"),
        ),
        "a step behind": Wrong(
            "At the first step the old averages are 0. Which averages should move the weights?",
            ("m = new_average", "m = average"),
            ("v = new_square", "v = square"),
        ),
        "the root forgotten": Wrong(
            "Ten times the gradient: how much longer should the step get? And in yours?", ("v.sqrt()", "v")
        ),
        "torch's β₂": Wrong(
            "0.999 is the default of torch.optim.AdamW. What does the exercise ask for?", ("0.98", "0.999")
        ),
        "β₁ and β₂ swapped": Wrong(
            "Which forgets faster in yours, the average of the gradient or that of its square? And which "
            "should?",
            ("0.9, 0.98", "0.98, 0.9"),
        ),
        "uphill": Wrong(
            "A positive gradient: which way does the loss rise, and which way do you go?",
            ("change = m", "change = -m"),
        ),
        "v from the square of m": Wrong(
            "v is the running average of g². Whose square do you take?", ("gradient**2", "new_average**2")
        ),
        "g instead of g²": Wrong(
            "v averages the squares. What happens to your root where the gradient is negative?",
            ("gradient**2", "gradient"),
        ),
        "|g| instead of g²": Wrong(
            "The root at the end undoes a square. What do you average?", ("gradient**2", "gradient.abs()")
        ),
        "no bias correction of v": Wrong(
            "v also starts at 0. By how much is it too small after one step?", (" / (1 - beta2**step)", "")
        ),
        "no bias correction of m": Wrong(
            "m also starts at 0. By how much is it too small after one step?", (" / (1 - beta1**step)", "")
        ),
        "β₁ and β₂ swapped in the correction": Wrong(
            "Which β belongs to m, and which to v?",
            ("(1 - beta1**step)", "(1 - beta2**step)"),
            Edit("(1 - beta2**step)", "(1 - beta1**step)", occurrence=2),
        ),
        "the correction counts steps from 0": Wrong(
            "At the first step t is 1. What do you divide by if t were 0?",
            ("beta1**step", "beta1 ** (step - 1)"),
            ("beta2**step", "beta2 ** (step - 1)"),
        ),
        "β times t instead of β to the power of t": Wrong(
            "How much of the first gradient is left in m after t steps: β · t, or βᵗ?",
            ("beta1**step", "beta1 * step"),
            ("beta2**step", "beta2 * step"),
        ),
        "ε = 10⁻⁸": Wrong("10⁻⁸ is torch's default. What does the exercise ask for?", ("1e-6", "1e-8")),
        "the decay with the wrong sign": Wrong(
            "Decay pulls weights toward 0. Which way does yours move them?", ("+ decay", "- decay")
        ),
        "the decay taken from the new parameter": Wrong(
            "The formula decays θ as it was before the step. Which θ do you multiply?",
            (" + decay * parameter", ""),
            (
                "return parameter - learning_rate * change",
                "return (parameter - learning_rate * change) * (1 - learning_rate * decay)",
            ),
        ),
        "the shares of old and new swapped": Wrong(
            "How much of the old average is kept: 0.9, or 0.1?",
            ("beta1 * average + (1 - beta1) * gradient", "(1 - beta1) * average + beta1 * gradient"),
            ("beta2 * square + (1 - beta2) * gradient**2", "(1 - beta2) * square + beta2 * gradient**2"),
        ),
        "the parameter changed in place": Wrong(
            "The function is to return a new parameter. Look at the old one after your call.",
            (
                "return parameter - learning_rate * change,",
                "parameter -= learning_rate * change\n    return parameter,",
            ),
        ),
        "the learning rate forgotten": Wrong(
            "What does `learning_rate` change in yours?", ("learning_rate * change", "change")
        ),
        "the new parameter alone": Wrong(
            "The next step needs both averages. How many tensors do you return?",
            ("change, new_average, new_square", "change"),
        ),
        "the gradient itself over the root": Wrong(
            "That is RMSProp. What does Adam put above the root, the gradient or its average?",
            ("change = m /", "change = gradient /"),
        ),
        "no division by the root": Wrong(
            "Ten times the gradient: how much longer should the step get? What is v for?",
            ("m / (v.sqrt() + epsilon)", "m"),
        ),
    },
    hints=(
        "First the two new averages, of the gradient (0.9 old + 0.1 new) and of its square (0.98 and 0.02).",
        "For this step only, divide the first by 1 − 0.9^step and the second by 1 − 0.98^step.",
        "Move by −learning_rate · (first / (√second + ε) + decay · parameter); return the averages as they "
        "were before the correction.",
    ),
    tolerance=1e-6,
    returns=("parameter", "average", "square"),
    why=(
        "The correction makes the first steps as long as later ones, and the decay stays outside the "
        "root; the models of this course are trained by this rule."
    ),
)

clip_gradients = Exercise(
    solution.clip_gradients,
    cases={
        "a long gradient in two tensors": (
            [torch.tensor([3.0, 0.0]), torch.tensor([[0.0, 4.0], [0.0, 0.0]])],
            1.0,
        ),
        "one long, one short": ([2 * _randn(3, 4, seed=30), 0.01 * _randn(4, seed=31)], 1.0),
        "short already": ([torch.tensor([0.3, 0.4]), torch.tensor([0.1])], 1.0),
        "another limit": ([torch.tensor([6.0, 8.0])], 2.0),
    },
    wrong={
        "each tensor by itself": Wrong(
            "Two tensors of length 3 and 4: what is the ratio of the lengths before clipping, and after?",
            ("g * factor", "g * (max_norm / g.norm()).clamp(max=1)"),
        ),
        "scaled even when short": Wrong(
            "What happens in yours to a gradient that is shorter than max_norm?", (".clamp(max=1)", "")
        ),
        "each number by itself": Wrong(
            "Clipping should not change the direction. Does (3, 0.5) keep its direction in yours?",
            ("g * factor", "g.clamp(-max_norm, max_norm)"),
        ),
        "the norms added up": Wrong(
            "How long is the vector (3, 4)? Not 7. All tensors together are one long vector.",
            ("(g**2).sum() for g in gradients).sqrt()", "g.norm() for g in gradients)"),
        ),
        "the root forgotten": Wrong("How long is the vector (3, 4)? Not 25.", (".sqrt()", "")),
        "long gradients thrown away": Wrong(
            "The batch that is most surprising: does your model learn anything from it?",
            ("(max_norm / total).clamp(max=1)", "total <= max_norm"),
        ),
        "multiplied by length / max_norm": Wrong(
            "A gradient that is too long: does it get shorter in yours?",
            ("(max_norm / total).clamp(max=1)", "(total / max_norm)"),
        ),
        "never below 1": Wrong(
            "Which factors should be possible: those up to 1, or those from 1 on?",
            (".clamp(max=1)", ".clamp(min=1)"),
        ),
        "always scaled to length 1": Wrong(
            "Where does max_norm come in?", ("(max_norm / total).clamp(max=1)", "1 / total")
        ),
        "scaled by the largest number": Wrong(
            "How long is the vector (3, 4)? Its largest number is 4.",
            ("sum((g**2).sum() for g in gradients).sqrt()", "max(g.abs().max() for g in gradients)"),
        ),
        "the mean of the squares": Wrong(
            "How long is the vector (3, 4)? Is a length divided by the number of entries?",
            ("(g**2).sum()", "(g**2).mean()"),
        ),
        "the longest tensor decides": Wrong(
            "All tensors together are one long vector. How long is it if two tensors have the lengths 3 "
            "and 4?",
            ("sum((g**2).sum() for g in gradients).sqrt()", "max(g.norm() for g in gradients)"),
        ),
        "the sum of the absolute values": Wrong(
            "How long is the vector (3, 4)? Not 7.",
            ("(g**2).sum() for g in gradients).sqrt()", "g.abs().sum() for g in gradients)"),
        ),
        "the gradients changed in place": Wrong(
            "The function is to return scaled copies. Look at the gradients after your call.",
            ("g * factor", "g.mul_(factor)"),
        ),
    },
    hints=(
        "All tensors together are one long vector: its length is the root of the sum of all squares.",
        "One factor for all: max_norm divided by that length, but never more than 1.",
    ),
    why="One factor for all tensors shortens the gradient and keeps its direction.",
)

combine_gradients = Exercise(
    solution.combine_gradients,
    cases={
        "two batches, 1 and 9 masked tokens": ([torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])], [1, 9]),
        "three batches": ([_randn(3, seed=50 + i) for i in range(3)], [20, 35, 11]),
        "one batch": ([_randn(3, seed=54)], [7]),
    },
    wrong={
        "the mean of the means": Wrong(
            "One batch has 1 masked token, another 9. In one batch of 10, how much would each token count?",
            ("total / sum(counts)", "sum(gradients) / len(gradients)"),
        ),
        "the sum of the means": Wrong(
            "Four small batches for one large one: is your gradient four times as long?",
            ("total / sum(counts)", "sum(gradients)"),
        ),
        "means added, then divided by all tokens": Wrong(
            "What you add up are means already. What makes a mean a sum over its tokens?",
            ("count * gradient", "gradient"),
        ),
        "summed, but not divided": Wrong(
            "You have the sum over all tokens. What does the loss of the large batch take?",
            (" / sum(counts)", ""),
        ),
        "divided by the number of batches": Wrong(
            "Your sum is over tokens. How many tokens are in it?", ("sum(counts)", "len(counts)")
        ),
        "each divided by its count": Wrong(
            "Each gradient is that of a mean: divided by its count already. What undoes that?",
            ("count * gradient", "gradient / count"),
            (" / sum(counts)", ""),
        ),
        "the last batch alone": Wrong(
            "Is zero_grad inside the loop? Where do the earlier gradients go?",
            ("total / sum(counts)", "gradients[-1]"),
        ),
        "the first batch alone": Wrong(
            "Is your `return` inside the loop? Where do the other gradients go?",
            ("total / sum(counts)", "gradients[0]"),
        ),
        "divided by the largest count": Wrong(
            "Your sum is over the tokens of all batches. How many tokens is that?",
            ("sum(counts)", "max(counts)"),
        ),
        "the largest batch alone": Wrong(
            "The small batches have tokens as well. Do they count in yours?",
            ("total / sum(counts)", "gradients[counts.index(max(counts))]"),
        ),
        "the first gradient changed in place": Wrong(
            "`total = gradients[0]` is no copy. Look at the list after your call.",
            (
                "total = sum(count * gradient for gradient, count in zip(gradients, counts, strict=True))",
                "total = gradients[0].mul_(counts[0])\n    for gradient, count in zip(gradients[1:], "
                "counts[1:], strict=True):\n        total += count * gradient",
            ),
        ),
    },
    hints=(
        "Mean times count is the sum over a batch's tokens. Sums may be added.",
        "Divide once, by all the tokens.",
    ),
    why=(
        "Every token counts the same, whichever micro-batch it came in, so small batches can stand for a "
        "large one."
    ),
)

weight_at_offset = Exercise(
    solution.weight_at_offset,
    cases={
        "the token before": (_randn(3, 2, 6, 6, seed=60).softmax(-1), -1),
        "the token after": (2 * _randn(2, 4, 5, 5, seed=61).softmax(-1), 1),
        "the token itself": (_randn(1, 2, 4, 4, seed=62).softmax(-1), 0),
    },
    wrong={
        "before and after mixed up": Wrong(
            "probs[b, a, i, j]: who looks, i or j? For the token before, is j below or above i?",
            ("diagonal(offset", "diagonal(-offset"),
        ),
        "missing neighbors counted as 0": Wrong(
            "The first token has none before it. Over how many tokens should you take the mean?",
            ("line.mean(dim=(0, 2))", "line.sum(dim=2).mean(dim=0) / probs.shape[-1]"),
        ),
        "around the edge": Wrong(
            "Which token comes before the first in yours? Not the last one, surely.",
            ("diagonal(offset", "roll(-offset, dims=-1).diagonal(0"),
        ),
        "all heads in one mean": Wrong(
            "One number for each head, (A,): which axes should be gone, and which not?",
            ("mean(dim=(0, 2))", "mean()"),
        ),
        "the largest instead of the mean": Wrong(
            "One lucky token makes yours large. What does a head do on average?", ("line.mean", "line.amax")
        ),
        "one number for each text": Wrong(
            "The result should be (A,), a number for each head. Which axes do you average over?",
            ("mean(dim=(0, 2))", "mean(dim=(1, 2))"),
        ),
        "a number for each text and head": Wrong(
            "The result should be (A,). Over which axis is the mean still missing?",
            ("mean(dim=(0, 2))", "mean(dim=2)"),
        ),
        "the sum instead of the mean": Wrong(
            "Twice as many texts: should a head's number double?", ("line.mean", "line.sum")
        ),
        "the token at place `offset` for all": Wrong(
            "probs[..., offset] is one column. Is the token before you always in the same column?",
            ("probs.diagonal(offset, dim1=-2, dim2=-1)", "probs[..., offset]"),
        ),
        "the diagonal of the first two axes": Wrong(
            "diagonal() takes the first two axes by default. Which two do you need?",
            (", dim1=-2, dim2=-1", ""),
        ),
    },
    hints=(
        "The weights you want lie on a line parallel to the diagonal of the last two axes.",
        "tensor.diagonal(offset, dim1=…, dim2=…) takes it; it comes as the last axis. Then a mean over two.",
    ),
    why=("This number tells when a head begins to look at its neighbors."),
)
