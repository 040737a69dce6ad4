"""The checks of chapter 7: static vectors, masks of the family, ELECTRA's labels, and writing by unmasking.

`from bertlearn.course.checks import family as check`, then `check.ppmi(ppmi)`. The answers are in
`bertlearn.course.solutions.family`; each known mistake is an edit of one of them.
Source of the formulas: Levy et al. 2015; Mikolov et al. 2013b; Dong et al. 2019 (UniLM); Yang et al. 2019
(XLNet); Clark et al. 2020 (ELECTRA); Ghazvininejad et al. 2019 (mask-predict).
Shape letters: B batch, S sequence, V vocabulary, D size of a vector, K negative samples, N masked tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.solutions import family as solution


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _counts(size: int, seed: int) -> Tensor:
    """Return symmetric counts, some of them 0."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.randint(0, 4, (size, size), generator=generator).float()
    return half + half.T + torch.diag(torch.arange(1.0, size + 1))


# --- before BERT: static vectors -------------------------------------------------------------------------

ppmi = Exercise(
    solution.ppmi,
    cases={
        "two words": (torch.tensor([[0.0, 3.0], [3.0, 2.0]]),),
        "four words": (_counts(4, seed=1),),
        "six words": (_counts(6, seed=2),),
        "no smoothing": (_counts(4, seed=3), 1.0),
        "a pair that never occurs": (torch.tensor([[4.0, 0.0, 1.0], [0.0, 5.0, 2.0], [1.0, 2.0, 0.0]]),),
        "words and neighbors that differ": (
            torch.tensor([[1.0, 5.0, 0.0], [2.0, 1.0, 4.0], [1.0, 1.0, 9.0]]),
        ),
    },
    wrong={
        "the logarithm of zero: −∞ is left": Wrong(
            "What is log 0? A pair that never occurred has the weight 0.",
            ("ratio.clamp(min=1).log()", "ratio.log()"),
            (".nan_to_num()", ""),
        ),
        "negative weights kept (PMI)": Wrong(
            "The first P stands for positive. What becomes of a pair that is rarer than chance?",
            ("ratio.clamp(min=1).log().nan_to_num()", "ratio.log().nan_to_num(neginf=0.0)"),
        ),
        "1 added to every ratio": Wrong(
            "log(1 + ratio) avoids log 0, but what weight does a pair get that occurs as often as by chance?",
            ("ratio.clamp(min=1).log()", "(1 + ratio).log()"),
        ),
        "1 added to every count": Wrong(
            "Adding 1 to each count avoids log 0, but changes every probability. Is there another way?",
            ("pair = counts / counts.sum()", "counts = counts + 1\n    pair = counts / counts.sum()"),
        ),
        "no smoothing whatever the argument": Wrong(
            "Which argument does your function ignore?", (" ** smoothing", "")
        ),
        "the words smoothed, not the neighbors": Wrong(
            "Which of the two probabilities is smoothed, p(w) or p(c)?",
            ("word = pair.sum(dim=1, keepdim=True)", "word = pair.sum(dim=1, keepdim=True) ** smoothing"),
            ("** smoothing\n    context", "\n    context"),
            (
                "return ratio",
                "word = word / word.sum()\n    ratio = pair / (word * context)\n    return ratio",
            ),
        ),
        "both smoothed": Wrong(
            "Only one of the two probabilities is smoothed. Which one?",
            (
                "word = pair.sum(dim=1, keepdim=True)",
                "word = counts.sum(dim=1, keepdim=True) ** smoothing\n    word = word / word.sum()",
            ),
        ),
        "smoothed, but not divided by the sum again": Wrong(
            "What do your probabilities p(c) sum to?", ("context = powers / powers.sum()", "context = powers")
        ),
        "probabilities smoothed, not divided by the sum again": Wrong(
            "What do your probabilities p(c) sum to after the power?",
            ("counts.sum(dim=0, keepdim=True)", "pair.sum(dim=0, keepdim=True)"),
            ("context = powers / powers.sum()", "context = powers"),
        ),
        "no logarithm": Wrong("What is the I of PPMI, in nats?", ("clamp(min=1).log()", "clamp(min=1)")),
        "base 2": Wrong(
            "Nats or bits? The docstring's log is the natural one.", (".log().nan", ".log2().nan")
        ),
    },
    hints=(
        "Three probabilities: pair, word, neighbor. Sums along one axis of `counts` give the last two.",
        "keepdim=True gives (V, 1) and (1, V); their product is what chance would give, (V, V).",
        "A logarithm that is negative becomes 0, so nothing is lost if the ratio is first raised to 1.",
    ),
    why="Frequent words no longer win everywhere: what counts is how much more often than by chance.",
)

negative_distribution = Exercise(
    solution.negative_distribution,
    cases={
        "two words": (torch.tensor([16, 1]),),
        "five words": (torch.tensor([1000, 200, 50, 10, 1]),),
        "another power": (torch.tensor([9, 4, 1]), 0.5),
        "a word that does not occur": (torch.tensor([8, 0, 1]),),
    },
    wrong={
        "without the power ¾": Wrong(
            "How often is the most frequent word drawn, compared with a rare one? The paper softens that.",
            (" ** power", ""),
        ),
        "¾ whatever the argument": Wrong(
            "Which argument does your function ignore?", ("** power", "** 0.75")
        ),
        "every word alike": Wrong(
            "Is a frequent word drawn more often than a rare one?",
            ("counts.float() ** power", "counts.float() * 0 + 1"),
        ),
        "the power taken after dividing": Wrong(
            "What do your probabilities sum to? Divide by the sum last.",
            ("weights = counts.float() ** power", "weights = counts.float()"),
            ("return weights / weights.sum()", "return (weights / weights.sum()) ** power"),
        ),
        "not divided by the sum": Wrong(
            "What do your probabilities sum to?", ("return weights / weights.sum()", "return weights")
        ),
        "divided by the largest": Wrong(
            "What do your probabilities sum to?", ("weights.sum()", "weights.max()")
        ),
        "rare words the most likely": Wrong(
            "Which of two words is drawn more often in yours, the frequent or the rare one?",
            ("** power", "** -power"),
        ),
        "a softmax of the counts": Wrong(
            "exp(1000) leaves nothing to the other words. Which function of the counts is asked for?",
            ("return weights / weights.sum()", "return weights.softmax(dim=0)"),
        ),
        "the logarithm of the counts": Wrong(
            "What probability does a word that occurs once get in yours?",
            ("counts.float() ** power", "counts.float().log1p()"),
        ),
    },
    hints=("Counts to a power, then divided by their sum.", "counts.float() ** power."),
    why="¾ was found by trying. Rare words are drawn more often than they occur, and so get learned.",
)


def _pair_case(size: int, negatives: int, seed: int, scale: float = 1.0) -> tuple[Tensor, ...]:
    return (
        scale * _randn(size, seed=seed),
        scale * _randn(size, seed=seed + 1),
        scale * _randn(negatives, size, seed=seed + 2),
    )


_RIGHT, _WRONG = "torch.sigmoid(word @ neighbor) - 1", "torch.sigmoid(negatives @ word)"

skipgram_gradients = Exercise(
    solution.skipgram_gradients,
    cases={
        "two features, one negative": _pair_case(2, 1, seed=10),
        "three features, two negatives": _pair_case(3, 2, seed=20),
        "as many negatives as features": _pair_case(4, 4, seed=30),
        "small vectors, as at the beginning": _pair_case(4, 5, seed=40, scale=0.1),
    },
    wrong={
        "σ(z) in place of σ(z) − 1 for the true pair": Wrong(
            "If the model is already certain of the true pair, what should its gradient be?",
            (_RIGHT, "torch.sigmoid(word @ neighbor)"),
        ),
        "σ(z) − 1 for the negatives as well": Wrong(
            "If the model is certain that a pair is false, what should its gradient be?",
            (_WRONG, f"{_WRONG} - 1"),
        ),
        "the sign of everything": Wrong(
            "A step goes against the gradient. Does it bring the true pair together in yours?",
            (_RIGHT, "1 - torch.sigmoid(word @ neighbor)"),
            (_WRONG, "-torch.sigmoid(negatives @ word)"),
        ),
        "the sign of the negatives": Wrong(
            "A step goes against the gradient. Does it push the negatives away in yours?",
            (_WRONG, "-torch.sigmoid(negatives @ word)"),
        ),
        "the sign of the true pair": Wrong(
            "A step goes against the gradient. Does it bring the true pair together in yours?",
            (_RIGHT, "1 - torch.sigmoid(word @ neighbor)"),
        ),
        "the negatives left out of the word's gradient": Wrong(
            "In how many terms of the loss does w occur?", (" + wrong @ negatives", "")
        ),
        "the true neighbor left out of the word's gradient": Wrong(
            "In how many terms of the loss does w occur?", ("right * neighbor + wrong", "wrong")
        ),
        "the mean over the negatives": Wrong(
            "The loss has a sum over the negatives. Is it divided by K?",
            ("wrong @ negatives", "wrong @ negatives / len(negatives)"),
            ("wrong[:, None] * word", "wrong[:, None] * word / len(negatives)"),
        ),
        "gradients of word and neighbor swapped": Wrong(
            "For a product w·c, the gradient of one is built from the other.",
            ("return grad_word, grad_neighbor", "return grad_neighbor, grad_word"),
        ),
        "the neighbor's gradient from the neighbor": Wrong(
            "For a product w·c, which vector is the gradient of c made of?",
            ("grad_neighbor = right * word", "grad_neighbor = right * neighbor"),
        ),
        "the negatives' gradient from the negatives": Wrong(
            "For a product w·n, which vector is the gradient of n made of?",
            ("wrong[:, None] * word", "wrong[:, None] * negatives"),
        ),
        "one gradient for all negatives": Wrong(
            "Each negative has a gradient of its own. What shape does your third one have?",
            ("wrong[:, None] * word", "wrong.sum() * word"),
        ),
        "a softmax in place of the sigmoids": Wrong(
            "Negative sampling asks K + 1 questions with yes or no. Does one answer depend on another?",
            (_WRONG, "(negatives @ word).softmax(dim=0)"),
        ),
        "the derivative of the sigmoid": Wrong(
            "σ(1 − σ) is the derivative of σ. What is that of log σ?",
            (_RIGHT, "-torch.sigmoid(word @ neighbor) * (1 - torch.sigmoid(word @ neighbor))"),
            (_WRONG, "torch.sigmoid(negatives @ word) * (1 - torch.sigmoid(negatives @ word))"),
        ),
    },
    hints=(
        "By the chain rule: the derivative by the product z = w·c, times the other vector.",
        "d/dz of −log σ(z) is σ(z) − 1; of −log σ(−z) it is σ(z).",
        "w occurs in all K + 1 terms, so its gradient is a sum of K + 1 vectors.",
    ),
    returns=("grad_word", "grad_neighbor", "grad_negatives"),
    why="This is all of word2vec: pull a word to its neighbors, push it from random words.",
)


# --- the mask decides ------------------------------------------------------------------------------------

_CAUSAL = "positions[None, :] <= positions[:, None]"

prefix_mask = Exercise(
    solution.prefix_mask,
    cases={
        "GPT: no prefix": (4, 0),
        "a prefix of one token": (4, 1),
        "a prefix of two": (5, 2),
        "a longer text": (7, 4),
        "BERT: all of it": (4, 4),
    },
    wrong={
        "the future seen, not the past": Wrong(
            "Rows are queries. Which tokens does the first one see in yours?",
            (_CAUSAL, "positions[None, :] >= positions[:, None]"),
        ),
        "a token does not see itself": Wrong(
            "In a decoder, token i predicts token i + 1. May it see itself?",
            (_CAUSAL, "positions[None, :] < positions[:, None]"),
        ),
        "no prefix": Wrong(
            "Which argument does your function ignore?", ("causal | (positions < prefix)", "causal")
        ),
        "off by one: a token too many in the prefix": Wrong(
            "How many tokens does a prefix of 1 have in yours?", ("positions < prefix", "positions <= prefix")
        ),
        "off by one: a token too few in the prefix": Wrong(
            "How many tokens does a prefix of 1 have in yours?",
            ("positions < prefix", "positions < prefix - 1"),
        ),
        "the prefix's queries see everything": Wrong(
            "May a token of the prefix look at what is still to be written?",
            ("(positions < prefix)", "(positions < prefix)[:, None]"),
        ),
        "the prefix sees only itself, the rest nothing of it": Wrong(
            "What does the text that follows see of the prefix?",
            (
                "causal | (positions < prefix)",
                "(causal & ~(positions < prefix)) | ((positions < prefix)[:, None] & (positions < prefix))",
            ),
        ),
        "only the prefix": Wrong(
            "What does a token after the prefix see of those just before it?",
            ("causal | (positions < prefix)", "(positions < prefix).expand(length, length)"),
        ),
        "everything": Wrong(
            "Which token of yours cannot see the last one?",
            ("causal | (positions < prefix)", "causal | ~causal"),
        ),
        "transposed": Wrong(
            "Rows are queries, columns are keys. Which ones are yours?",
            ("return causal | (positions < prefix)", "return (causal | (positions < prefix)).T"),
        ),
        "True where hidden": Wrong(
            "True means visible here. What does the first token see in yours?",
            ("return causal | (positions < prefix)", "return ~(causal | (positions < prefix))"),
        ),
        "and in place of or": Wrong(
            "Which tokens of the prefix does its first token see in yours?", ("causal |", "causal &")
        ),
    },
    hints=(
        "positions[None, :] numbers the keys, positions[:, None] the queries.",
        "Two reasons to be visible: it comes before, or it is in the prefix.",
        "positions < prefix has the shape (S,): it broadcasts over the queries.",
    ),
    why="One line of the model is the whole difference between BERT, GPT and what lies between.",
)

permutation_mask = Exercise(
    solution.permutation_mask,
    cases={
        "from left to right": (torch.tensor([0, 1, 2]),),
        "from right to left": (torch.tensor([2, 1, 0]),),
        "another order": (torch.tensor([2, 0, 3, 1]),),
        "six tokens": (torch.tensor([3, 5, 0, 1, 4, 2]),),
    },
    wrong={
        "the order taken for the turns": Wrong(
            "order[0] is a position, not the turn of position 0. Which position sees nothing in yours?",
            ("turn[order] = torch.arange(len(order))", "turn = order"),
        ),
        "left to right whatever the order": Wrong(
            "Which argument does your function ignore?",
            ("turn[order] = torch.arange(len(order))", "turn = torch.arange(len(order))"),
        ),
        "a token sees itself": Wrong(
            "A token that sees itself has only to copy. What does it predict?",
            ("turn[None, :] < turn[:, None]", "turn[None, :] <= turn[:, None]"),
        ),
        "later turns seen, not earlier ones": Wrong(
            "Which position is predicted first, and what does it see in yours?",
            ("turn[None, :] < turn[:, None]", "turn[None, :] > turn[:, None]"),
        ),
        "everything but itself": Wrong(
            "What does the position that is predicted first see in yours?",
            ("turn[None, :] < turn[:, None]", "turn[None, :] != turn[:, None]"),
        ),
        "the rows in the order of prediction": Wrong(
            "Row i belongs to position i of the text. To which does yours belong?",
            (
                "return turn[None, :] < turn[:, None]",
                "return (turn[None, :] < turn[:, None])[order]",
            ),
        ),
        "numbers in place of booleans": Wrong(
            "The docstring asks for booleans. What does a comparison of tensors return by itself?",
            ("return turn[None, :] < turn[:, None]", "return (turn[None, :] < turn[:, None]).float()"),
        ),
    },
    hints=(
        "First find out at which turn each position is predicted: the inverse of the order.",
        "turn[order] = torch.arange(len(order)).",
        "Position i sees position j if j's turn comes before i's.",
    ),
    why="XLNet trains on many orders, so each token learns from both sides without a [MASK] in the text.",
)


# --- the objectives --------------------------------------------------------------------------------------


def _text(*rows: list[int]) -> Tensor:
    return torch.tensor(rows)


_PLAIN = "(corrupted_ids != original_ids).long()"

replaced_labels = Exercise(
    solution.replaced_labels,
    cases={
        "one token replaced": (_text([7, 8, 9]), _text([7, 5, 9]), _text([1, 1, 1])),
        "the generator guessed one right": (_text([7, 8, 9, 6]), _text([7, 8, 5, 6]), _text([1, 1, 1, 1])),
        "nothing replaced": (_text([7, 8]), _text([7, 8]), _text([1, 1])),
        "with padding": (
            _text([7, 8, 9, 6], [5, 7, 0, 0]),
            _text([5, 8, 9, 9], [5, 9, 0, 0]),
            _text([1, 1, 1, 1], [1, 1, 0, 0]),
        ),
        "padding that the generator changed": (
            _text([7, 8, 0], [9, 9, 9]),
            _text([7, 6, 4], [9, 9, 1]),
            _text([1, 1, 0], [1, 1, 1]),
        ),
    },
    wrong={
        "1 for original, 0 for replaced": Wrong(
            "Which of the two is 1 in ELECTRA: a token that was replaced, or one that was not?",
            ("!= original_ids", "== original_ids"),
        ),
        "padding counted as original": Wrong(
            "Padding is easy to call original. Should it count in the loss?",
            ("labels.masked_fill(attention_mask == 0, -100)", "labels"),
        ),
        "padding labeled 0": Wrong(
            "Which label means: does not count?",
            ("labels.masked_fill(attention_mask == 0, -100)", "labels * attention_mask"),
        ),
        "the original token as the label": Wrong(
            "That is the masked-word objective. How many classes does the discriminator have?",
            (_PLAIN, "original_ids.where(corrupted_ids != original_ids, torch.tensor(-100))"),
        ),
        "−100 where nothing was replaced": Wrong(
            "The gain of ELECTRA is that every token counts. Which ones count in yours?",
            (_PLAIN, "torch.where(corrupted_ids != original_ids, 1, -100)"),
        ),
        "every token replaced": Wrong(
            "What is the label of a token that is still the original?",
            (_PLAIN, "torch.ones_like(original_ids)"),
        ),
        "the mask inverted": Wrong(
            "Does 1 stand for a token or for padding?", ("attention_mask == 0", "attention_mask == 1")
        ),
        "the larger id counts as replaced": Wrong(
            "Are ids numbers that one compares by size?", ("!= original_ids", "> original_ids")
        ),
    },
    hints=(
        "Compare the two texts, token by token.",
        "A comparison gives booleans; .long() turns them into 1 and 0.",
        "masked_fill(attention_mask == 0, -100) takes padding out.",
    ),
    why="Where the generator guessed right, nothing was replaced: such tokens would teach the opposite.",
)


def _sampling_case(rows: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    numbers = torch.rand(rows, generator=torch.Generator().manual_seed(seed + 1))
    return _randn(rows, size, seed=seed) * 1.5, numbers


sample_tokens = Exercise(
    solution.sample_tokens,
    cases={
        "two tokens": (torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0.2, 0.7])),
        "three tokens": (torch.tensor([[0.1, 0.2, 0.7]] * 4).log(), torch.tensor([0.05, 0.15, 0.4, 0.95])),
        "a larger vocabulary": _sampling_case(8, 6, seed=50),
        "many rows": _sampling_case(20, 5, seed=60),
        "logits that are not near 0": (
            torch.tensor([[100.0, 101.0, 99.0]] * 3),
            torch.tensor([0.1, 0.5, 0.99]),
        ),
        "the number 0": (torch.tensor([[0.0, 1.0]]), torch.tensor([0.0])),
    },
    wrong={
        "the most probable token": Wrong(
            "A generator that always says the same would be easy to see through. What are the numbers for?",
            (
                "below.clamp(max=logits.shape[-1] - 1)",
                "probabilities.argmax(dim=-1)",
            ),
        ),
        "without a softmax": Wrong(
            "What do logits sum to? The sums must rise from 0 to 1.",
            ("logits.detach().softmax(dim=-1)", "logits.detach()"),
        ),
        "the softmax over the rows": Wrong(
            "Each row is a distribution over the vocabulary. Along which axis does it sum to 1?",
            ("softmax(dim=-1)", "softmax(dim=0)"),
        ),
        "sums along the wrong axis": Wrong(
            "The sums run along the vocabulary. Along which axis do yours?",
            ("cumsum(dim=-1)", "cumsum(dim=0)"),
        ),
        "off by one: the token before": Wrong(
            "With two equal tokens and the number 0.2, which one is drawn? And with 0.7?",
            ("return below.clamp(max=logits.shape[-1] - 1)", "return (below - 1).clamp(min=0)"),
        ),
        "off by one: the token after": Wrong(
            "With two equal tokens and the number 0.2, which one is drawn?",
            ("return below.clamp(", "return (below + 1).clamp("),
        ),
        "counted from the other end": Wrong(
            "How many sums are at most the number, and how many are above it?",
            ("(sums <= numbers[:, None])", "(sums > numbers[:, None])"),
        ),
        "one number for all rows": Wrong(
            "Each row has a number of its own. Which one does yours use?",
            ("numbers[:, None]", "numbers[0]"),
        ),
        "probabilities compared, not their sums": Wrong(
            "A probability is the length of a piece between 0 and 1. Where does the piece begin?",
            ("sums = probabilities.cumsum(dim=-1)", "sums = probabilities"),
        ),
        "the logits divided by their sum": Wrong(
            "Which function turns logits into probabilities?",
            (
                "logits.detach().softmax(dim=-1)",
                "logits.detach() / logits.detach().sum(dim=-1, keepdim=True)",
            ),
        ),
        "the tokens sorted first": Wrong(
            "After sorting, position 0 is not token 0 any more.",
            (
                "logits.detach().softmax(dim=-1)",
                "logits.detach().softmax(dim=-1).sort(descending=True).values",
            ),
        ),
    },
    hints=(
        "Lay the probabilities of a row side by side, from 0 to 1. In which piece does the number lie?",
        "cumsum gives the right end of each piece.",
        "The token is the number of pieces that end at or before the row's number.",
    ),
    forbidden=("multinomial",),
    why="The draw has no gradient, so the generator learns from its own objective alone.",
)


# --- BERT that writes ------------------------------------------------------------------------------------


def _writing_case(ids: list[int], size: int, count: int, seed: int) -> tuple[Tensor, Tensor, int, int]:
    return torch.tensor(ids), _randn(len(ids), size, seed=seed) * 2, 4, count


unmask = Exercise(
    solution.unmask,
    cases={
        "one of two": _writing_case([7, 4, 4], 9, 1, seed=70),
        "two of four": _writing_case([4, 5, 4, 4, 6, 4], 9, 2, seed=80),
        "all of them": _writing_case([4, 4, 4], 9, 3, seed=90),
        "more than are missing": _writing_case([5, 4, 6, 4], 9, 5, seed=100),
        "nothing missing": _writing_case([5, 7, 6], 9, 2, seed=110),
        "a position that is known and surer than all": (
            torch.tensor([5, 4, 4]),
            torch.tensor([[9.0, 0, 0, 0, 0, 0], [0, 2.0, 0, 0, 0, 0], [0, 0, 1.0, 0, 0, 0]]),
            4,
            1,
        ),
        "large logits, but little certainty": (
            torch.tensor([4, 4]),
            torch.tensor([[50.0, 50.0, 50.0, 0, 0], [3.0, 0.0, 0.0, 0, 0]]),
            4,
            1,
        ),
    },
    wrong={
        "from left to right": Wrong(
            "Which positions does your function fill: the first, or those of which the model is surest?",
            (
                "sure.topk(min(count, missing)).indices",
                "(ids == mask_id).nonzero()[: min(count, missing), 0]",
            ),
        ),
        "the least sure positions": Wrong(
            "Which positions does your function fill: those with the largest or the smallest probability?",
            (
                "probabilities.masked_fill(ids != mask_id, -1.0)",
                "(-probabilities).masked_fill(ids != mask_id, -2.0)",
            ),
        ),
        "known positions filled again": Wrong(
            "Does your function change a token that was there already?",
            ("probabilities.masked_fill(ids != mask_id, -1.0)", "probabilities"),
        ),
        "all positions at once": Wrong(
            "How many positions does `count` allow?", ("min(count, missing)", "missing")
        ),
        "the largest logit in place of the largest probability": Wrong(
            "Three tokens with the same large logit: is the model sure of one of them?",
            ("logits.softmax(dim=-1).max(dim=-1)", "logits.max(dim=-1)"),
            ("ids != mask_id, -1.0", "ids != mask_id, -1e9"),
        ),
        "the softmax over the positions": Wrong(
            "Each position has a distribution over the vocabulary. Along which axis does it sum to 1?",
            ("logits.softmax(dim=-1)", "logits.softmax(dim=0)"),
        ),
        "fails when fewer are missing than asked for": Wrong(
            "What if `count` is 5 and two tokens are missing?", ("min(count, missing)", "count")
        ),
        "what is known is lost": Wrong(
            "What became of the tokens that were there already?",
            ("filled = ids.clone()", "filled = torch.full_like(ids, mask_id)"),
        ),
        "the input changed": Wrong(
            "The caller still needs its own ids. What does `=` do, and what does .clone() do?",
            ("ids.clone()", "ids"),
        ),
        "positions in place of tokens": Wrong(
            "What do you write into the text: the token, or where it belongs?",
            ("filled[chosen] = tokens[chosen]", "filled[chosen] = chosen"),
        ),
        "one token for all": Wrong(
            "Each position has its own most probable token. Which one do you write?",
            ("tokens[chosen]", "tokens[chosen][:1]"),
        ),
    },
    hints=(
        "softmax, then max along the vocabulary: it gives the probability and the token of each position.",
        "Make the probability of known positions so low that they are never chosen; then topk.",
        "topk cannot choose more than there are: min(count, how many are missing).",
    ),
    why="Repeat this and an encoder writes. Filled all at once, its words would not fit each other.",
)
