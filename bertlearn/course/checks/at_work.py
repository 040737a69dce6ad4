"""The checks of chapter 9: search and its measures, intents, slots, roles, summaries.

`from bertlearn.course.checks import at_work as check`, then `check.ndcg(ndcg)`. The answers are in
`bertlearn.course.solutions.at_work`; each known mistake is an edit of one of them.
Source of the formulas: Järvelin & Kekäläinen 2002 (nDCG); Karpukhin et al. 2020 (in-batch negatives);
Carbonell & Goldstein 1998 (maximal marginal relevance); Chen et al. 2019 (slots); Shi & Lin 2019 (roles).
Shape letters: B batch, H hidden, N documents, Q queries, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from bertlearn.course.exercise import Exercise, Wrong
from bertlearn.course.solutions import at_work as solution


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- search ----------------------------------------------------------------------------------------------

_QUERIES = "queries = queries / queries.norm(dim=1, keepdim=True)"
_DOCUMENTS = "documents = documents / documents.norm(dim=1, keepdim=True)"

cosine_scores = Exercise(
    solution.cosine_scores,
    cases={
        "one query, two documents": (torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0], [0.0, 2.0]])),
        "as many queries as documents": (_randn(3, 3, seed=0), 2 * _randn(3, 3, seed=1)),
        "more features": (_randn(2, 5, seed=2), _randn(4, 5, seed=3)),
        "vectors of length 1": (normalize(_randn(2, 3, seed=4)), normalize(_randn(3, 3, seed=5))),
    },
    wrong={
        "products in place of cosines": Wrong(
            "A long text may have a long vector. Does it win in yours because of that?",
            (_QUERIES, "pass"),
            (_DOCUMENTS, "pass"),
        ),
        "only the queries normalized": Wrong(
            "Which of the two lengths changes the order of the documents?", (_DOCUMENTS, "pass")
        ),
        "only the documents normalized": Wrong(
            "The order is right. Is the score a cosine, between −1 and 1?", (_QUERIES, "pass")
        ),
        "columns normalized, not rows": Wrong(
            "Which axis holds the features of one text?",
            (_QUERIES, "queries = queries / queries.norm(dim=0, keepdim=True)"),
            (_DOCUMENTS, "documents = documents / documents.norm(dim=0, keepdim=True)"),
        ),
        "divided by the norm of the whole matrix": Wrong(
            "Each vector has a length of its own. How many lengths did you compute?",
            (_QUERIES, "queries = queries / queries.norm()"),
            (_DOCUMENTS, "documents = documents / documents.norm()"),
        ),
        "divided by the squared length": Wrong(
            "A length is a root. What is the score of a vector and itself in yours?",
            (_QUERIES, "queries = queries / (queries**2).sum(dim=1, keepdim=True)"),
            (_DOCUMENTS, "documents = documents / (documents**2).sum(dim=1, keepdim=True)"),
        ),
        "divided by the sum of absolute values": Wrong(
            "That is another norm. What is the score of a vector and itself in yours?",
            (_QUERIES, "queries = queries / queries.abs().sum(dim=1, keepdim=True)"),
            (_DOCUMENTS, "documents = documents / documents.abs().sum(dim=1, keepdim=True)"),
        ),
        "transposed": Wrong(
            "Rows are queries. Which ones are yours?",
            ("return queries @ documents.T", "return documents @ queries.T"),
        ),
        "a softmax over the documents": Wrong(
            "Scores need not sum to 1: a collection may have no good answer, or several.",
            ("return queries @ documents.T", "return (queries @ documents.T).softmax(dim=1)"),
        ),
        "1 minus the cosine": Wrong(
            "That is a distance: the best document has the smallest. What is asked for?",
            ("return queries @ documents.T", "return 1 - queries @ documents.T"),
        ),
    },
    hints=(
        "First give every vector the length 1, then multiply.",
        "x.norm(dim=1, keepdim=True) has the shape (rows, 1): one length for each row.",
        "queries @ documents.T has the shape (Q, N).",
    ),
    why="With vectors of length 1 search is one matrix product, which is what every index computes.",
)

reciprocal_rank = Exercise(
    solution.reciprocal_rank,
    cases={
        "in first place": ({"b"}, ["b", "a", "c"]),
        "in third place": ({"c"}, ["a", "b", "c", "d"]),
        "two relevant documents": ({"b", "d"}, ["a", "b", "c", "d"]),
        "relevant in first and last place": ({"a", "d"}, ["a", "b", "c", "d"]),
        "not found": ({"z"}, ["a", "b"]),
        "nothing found at all": ({"z"}, []),
    },
    wrong={
        "the sum over all hits": Wrong(
            "How many of the relevant documents does the measure look at?",
            (
                """    for rank, document in enumerate(ranking, start=1):
        if document in relevant:
            return 1 / rank
    return 0.0""",
                """    return float(sum(1 / r for r, d in enumerate(ranking, start=1) if d in relevant))""",
            ),
        ),
        "the mean over all hits": Wrong(
            "How many of the relevant documents does the measure look at?",
            (
                """    for rank, document in enumerate(ranking, start=1):
        if document in relevant:
            return 1 / rank
    return 0.0""",
                """    ranks = [1 / r for r, d in enumerate(ranking, start=1) if d in relevant]
    return sum(ranks) / len(ranks) if ranks else 0.0""",
            ),
        ),
        "the last hit": Wrong(
            "Which of several relevant documents counts?",
            (
                """    for rank, document in enumerate(ranking, start=1):
        if document in relevant:
            return 1 / rank
    return 0.0""",
                """    ranks = [1 / r for r, d in enumerate(ranking, start=1) if d in relevant]
    return ranks[-1] if ranks else 0.0""",
            ),
        ),
        "ranks from 0": Wrong(
            "What does a hit in first place give? In second place?",
            ("start=1", "start=0"),
            ("return 1 / rank", "return 1 / rank if rank else 1.0"),
        ),
        "one rank too far": Wrong("What does a hit in first place give?", ("start=1", "start=2")),
        "the rank itself": Wrong(
            "A measure of quality is larger when the result is better.", ("return 1 / rank", "return rank")
        ),
        "discounted by a logarithm": Wrong(
            "That discount belongs to nDCG. What is the reciprocal of a rank?",
            ("return 1 / rank", "return 1 / math.log2(rank + 1)"),
        ),
        "1 for any hit": Wrong(
            "Does the place of the hit matter in yours?", ("return 1 / rank", "return 1.0")
        ),
        "only the first place counts": Wrong(
            "What does a hit in third place give?",
            ("return 1 / rank", "return 1.0 if rank == 1 else 0.0"),
        ),
        "only the first two places looked at": Wrong(
            "Where does your loop stop?", ("enumerate(ranking, start=1)", "enumerate(ranking[:2], start=1)")
        ),
        "None if nothing is found": Wrong(
            "A query without a hit counts as well, or the mean is too good. With which value?",
            ("return 0.0", "return None"),
        ),
        "1 over one more than the length if nothing is found": Wrong(
            "What does a query give whose answer is not in the list?",
            ("return 0.0", "return 1 / (len(ranking) + 1)"),
        ),
    },
    hints=(
        "Go through the ranking and stop at the first relevant document.",
        "enumerate(ranking, start=1) counts ranks from 1.",
        "After the loop nothing was found: 0.",
    ),
    why="The mean over all queries is the MRR: how far people scroll until the first good result.",
)

_GRADES = {"a": 2, "b": 1}
_DISCOUNT = "gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1)"
_BEST = "gain / math.log2(rank + 1) for rank, gain in enumerate(best, start=1)"

ndcg = Exercise(
    solution.ndcg,
    cases={
        "perfect": (_GRADES, ["a", "b", "x"], 3),
        "the two in the wrong order": (_GRADES, ["b", "a", "x"], 3),
        "one in third place": ({"a": 1}, ["x", "y", "a"], 3),
        "one missing": (_GRADES, ["x", "b", "y"], 3),
        "beyond k": (_GRADES, ["x", "a", "b"], 2),
        "more relevant documents than k": ({"a": 2, "b": 2, "c": 1}, ["a", "c", "b"], 2),
        "none found": (_GRADES, ["x", "y"], 2),
        "a short ranking": (_GRADES, ["b"], 10),
        "grades in another order": ({"a": 1, "b": 2, "c": 1}, ["c", "x", "b"], 2),
    },
    wrong={
        "the discount off by one: the second place counts fully": Wrong(
            "What is divided out at rank 1, and what at rank 2?",
            (_DISCOUNT, "gain / max(1, math.log2(rank)) for rank, gain in enumerate(gains, start=1)"),
            (_BEST, "gain / max(1, math.log2(rank)) for rank, gain in enumerate(best, start=1)"),
        ),
        "the discount off by one: the first place is discounted": Wrong(
            "How much is a document at rank 1 discounted?",
            (_DISCOUNT, _DISCOUNT.replace("start=1", "start=2")),
            (_BEST, _BEST.replace("start=1", "start=2")),
        ),
        "discounted by the rank": Wrong(
            "Divided by the rank or by its logarithm?",
            (_DISCOUNT, "gain / rank for rank, gain in enumerate(gains, start=1)"),
            (_BEST, "gain / rank for rank, gain in enumerate(best, start=1)"),
        ),
        "the natural logarithm in one place": Wrong(
            "Base 2 above and below, or the best ranking does not have 1.",
            (_DISCOUNT, _DISCOUNT.replace("log2", "log")),
        ),
        "no discount": Wrong(
            "Does it matter in yours whether the best document is first or last?",
            (_DISCOUNT, "gain for gain in gains"),
            (_BEST, "gain for gain in best"),
        ),
        "the best order of what was found": Wrong(
            "The ideal ranking has all relevant documents, also those that the search missed.",
            ("sorted(grades.values(), reverse=True)[:k]", "sorted(gains, reverse=True)"),
            ("return dcg / ideal", "return dcg / ideal if ideal else 0.0"),
        ),
        "the best order of what was found, and 0 / 0 where nothing was": Wrong(
            "The ideal ranking has all relevant documents, also those that the search missed.",
            ("sorted(grades.values(), reverse=True)[:k]", "sorted(gains, reverse=True)"),
        ),
        "the ideal not sorted": Wrong(
            "A dict has its own order. Which document does the best possible ranking show first?",
            ("sorted(grades.values(), reverse=True)[:k]", "list(grades.values())[:k]"),
        ),
        "the ideal beyond k": Wrong(
            "With k = 2, how many documents can the best ranking show?",
            ("sorted(grades.values(), reverse=True)[:k]", "sorted(grades.values(), reverse=True)"),
        ),
        "the ranking beyond k": Wrong(
            "How many documents does the searcher see?", ("ranking[:k]", "ranking")
        ),
        "the ideal in the worst order": Wrong(
            "In which order does the best ranking have the grades?", ("reverse=True", "reverse=False")
        ),
        "not normalized": Wrong(
            "What does the best possible ranking have in yours?", ("return dcg / ideal", "return dcg")
        ),
        "divided by k": Wrong(
            "What does the best possible ranking have in yours?", ("return dcg / ideal", "return dcg / k")
        ),
        "grades as yes or no": Wrong(
            "Is a document of grade 2 worth more than one of grade 1 in yours?",
            ("grades.get(document, 0) for", "int(document in grades) for"),
            ("sorted(grades.values(), reverse=True)", "[1 for _ in grades]"),
        ),
        "2 to the grade minus 1": Wrong(
            "That is another common gain. Which one does the docstring ask for?",
            ("grades.get(document, 0) for", "2 ** grades.get(document, 0) - 1 for"),
            (
                "sorted(grades.values(), reverse=True)",
                "sorted((2**g - 1 for g in grades.values()), reverse=True)",
            ),
        ),
    },
    hints=(
        "Two sums with the same discount: of the ranking, and of the best possible ranking.",
        "The best possible ranking sorts the grades of *all* relevant documents, and is cut at k as well.",
        "At rank r, from 1, divide by log₂(r + 1): by 1 at rank 1, by 1.58 at rank 2.",
    ),
    why="It rewards the right documents, and the best of them first; it is what search engines are tuned by.",
)


def _pairs(count: int, size: int, seed: int, names: list[int], temperature: float | None = None) -> tuple:
    queries, documents = normalize(_randn(count, size, seed=seed)), _randn(count, size, seed=seed + 1)
    numbers = torch.tensor(names)
    first = (numbers[:, None] == numbers).float().argmax(dim=1)  # the same document has the same vector
    case = (queries, normalize(documents)[first], numbers)
    return case if temperature is None else (*case, temperature)


_MASKED = "scores = scores.masked_fill(same & ~right, -math.inf)"

contrastive_loss = Exercise(
    solution.contrastive_loss,
    cases={
        "two different documents": _pairs(2, 3, 0, [4, 7], 1.0),
        "four different documents": _pairs(4, 5, 10, [0, 1, 2, 3], 0.5),
        "a document twice": _pairs(3, 4, 20, [5, 2, 5], 0.5),
        "two documents twice": _pairs(5, 4, 30, [1, 0, 1, 0, 3], 1.0),
        "the usual temperature": _pairs(3, 6, 40, [0, 1, 2]),
    },
    wrong={
        "the second copy of a document counted": Wrong(
            "If two queries have the same document, what does your loss say about the second copy? It is no "
            "wrong answer, and no second right one.",
            (_MASKED, "pass"),
        ),
        "the right document masked too": Wrong(
            "A document is equal to itself. Which entry of `same` must stay?",
            ("same & ~right", "same"),
        ),
        "the right document given a very low score": Wrong(
            "A document is equal to itself. Which entry of `same` must stay?",
            ("same & ~right", "same"),
            ("return -scores", "scores = scores.nan_to_num(neginf=-30.0)\n    return -scores"),
        ),
        "no temperature": Wrong(
            "Cosines lie between −1 and 1. How peaked can a softmax of them be?", (" / temperature", "")
        ),
        "multiplied by the temperature": Wrong(
            "A small temperature makes the softmax sharper. Does yours?", ("/ temperature", "* temperature")
        ),
        "documents look for queries": Wrong(
            "For each query a softmax over the documents. Over which axis is yours?",
            ("log_softmax(dim=1)", "log_softmax(dim=0)"),
        ),
        "the sum over the batch": Wrong(
            "Does your loss grow with the batch?", ("diagonal().mean()", "diagonal().sum()")
        ),
        "the sign": Wrong("A loss falls when things get better.", ("return -scores", "return scores")),
        "all entries, not the diagonal": Wrong(
            "Which document belongs to query i?", ("diagonal().mean()", "masked_fill(same, 0).mean()")
        ),
        "probabilities without a logarithm": Wrong(
            "In nats: what is the loss of a right answer with probability 1?",
            ("scores.log_softmax(dim=1)", "scores.softmax(dim=1)"),
        ),
        "copies counted as right": Wrong(
            "A copy is no wrong answer. Must it be the answer that counts?",
            (_MASKED, "pass"),
            (
                "return -scores.log_softmax(dim=1).diagonal().mean()",
                "return -scores.log_softmax(dim=1)[same].mean()",
            ),
        ),
    },
    hints=(
        "scores[i, j] is query i against document j: a batch is a classification with B classes.",
        "names[:, None] == names[None, :] says where two rows have the same document.",
        "Set the score to −∞ where the document is the same but the row is another; then a cross-entropy.",
    ),
    why="This is how MiniLM learned its vectors. In-batch negatives are free, but not always negative.",
)


# --- intents, slots, roles -------------------------------------------------------------------------------

_OTHERS = "others = sums - member[..., None] * vectors[:, None, :]  # (N, C, H)"
_MEANS = "means = others / (member.sum(dim=0) - member)[..., None]"
_COSINE = "return torch.nn.functional.cosine_similarity(vectors[:, None, :], means, dim=-1)"

leave_one_out = Exercise(
    solution.leave_one_out,
    cases={
        "two classes of two": (_randn(4, 3, seed=0), torch.tensor([0, 0, 1, 1]), 2),
        "mixed order": (_randn(6, 4, seed=1), torch.tensor([1, 0, 2, 1, 0, 2]), 3),
        "classes of different size": (_randn(7, 3, seed=2), torch.tensor([0, 1, 0, 0, 1, 0, 0]), 2),
    },
    wrong={
        "the query in its own class mean": Wrong(
            "Whose vectors is the mean of an example's own class made of? A new text is in none of them.",
            (_OTHERS, "others = sums.expand(len(vectors), -1, -1)"),
            (_MEANS, "means = others / member.sum(dim=0)[None, :, None]"),
        ),
        "the query taken out of every mean": Wrong(
            "In how many class means is an example to begin with?",
            (_OTHERS, "others = sums - vectors[:, None, :]"),
        ),
        "products in place of cosines": Wrong(
            "Does a class with long vectors win in yours?",
            (_COSINE, "return (vectors[:, None, :] * means).sum(dim=-1)"),
        ),
        "the example subtracted from the mean": Wrong(
            "Subtract it from the sum of its class first; the mean comes after that.",
            (
                _MEANS,
                "means = sums / member.sum(dim=0)[:, None] - member[..., None] * vectors[:, None, :]",
            ),
        ),
        "distances in place of cosines": Wrong(
            "The nearest class has the largest cosine. Is the best one the largest in yours?",
            (_COSINE, "return (vectors[:, None, :] - means).norm(dim=-1)"),
        ),
        "the mean of the cosines": Wrong(
            "First the mean, then the cosine: in yours each member is asked by itself.",
            (
                _COSINE,
                """unit = torch.nn.functional.normalize(vectors, dim=1)
    cosines = unit @ unit.T
    cosines = cosines - torch.diag(cosines.diagonal())
    return cosines @ member / (member.sum(dim=0) - member)""",
            ),
        ),
        "the mean over all examples": Wrong(
            "Which examples belong to class c?",
            ("sums = member.T @ vectors", "sums = vectors.sum(dim=0).expand(classes, -1)"),
        ),
        "transposed": Wrong(
            "Rows are examples, columns are classes. Which ones are yours?", (_COSINE, f"{_COSINE}.T")
        ),
    },
    hints=(
        "Sums of the classes first: one_hot(labels, classes).float().T @ vectors is (C, H).",
        "Take each example out of its own class: subtract its vector there, and 1 from the count.",
        "cosine_similarity(vectors[:, None, :], means, dim=-1) with means (N, C, H) gives (N, C).",
    ),
    why="The example itself lifts its own class: of two examples, it is half of the mean.",
)

_SCORES = torch.tensor([0.9, 0.2, 0.7, 0.4, 0.6])
_KNOWN = torch.tensor([True, False, True, False, True])

out_of_scope = Exercise(
    solution.out_of_scope,
    cases={
        "clearly apart": (_SCORES, _KNOWN, torch.tensor([0.405, 0.45, 0.5, 0.55, 0.65, 0.1, 0.95])),
        "overlapping": (
            torch.tensor([0.9, 0.8, 0.3, 0.5, 0.4, 0.2]),
            torch.tensor([True, True, True, False, False, False]),
            torch.tensor([0.85, 0.45, 0.6, 0.25, 0.79]),
        ),
        "few unknown texts": (
            torch.tensor([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.65]),
            torch.tensor([True, True, True, True, True, True, False]),
            torch.tensor([0.66, 0.55, 0.45, 0.75, 0.35]),
        ),
        "a score equal to the threshold": (_SCORES, _KNOWN, torch.tensor([0.6, 0.4])),
        "an unknown text with a high score": (
            torch.tensor([0.9, 0.8, 0.7, 0.3, 0.2, 0.1, 0.85]),
            torch.tensor([True, True, True, True, False, False, False]),
            torch.tensor([0.25, 0.86, 0.5]),
        ),
        "two thresholds equally good": (
            torch.tensor([0.9, 0.5, 0.7, 0.2]),
            torch.tensor([True, True, False, False]),
            torch.tensor([0.6, 0.4, 0.95]),
        ),
        "other test scores than validation scores": (_SCORES, _KNOWN, torch.tensor([0.1, 0.2, 0.3])),
    },
    wrong={
        "the threshold chosen among the test scores": Wrong(
            "Where does your threshold come from? In use, the texts come one by one and without answers.",
            ("validation_scores.sort().values:", "scores.sort().values:"),
        ),
        "thresholds from 0 to 1 in steps": Wrong(
            "Which numbers does the docstring let you try?",
            ("validation_scores.sort().values:", "torch.linspace(0, 1, 101):"),
        ),
        "thresholds between two validation scores": Wrong(
            "Which numbers does the docstring let you try?",
            (
                "for candidate in validation_scores.sort().values:",
                "tried = validation_scores.sort().values\n    for candidate in (tried[1:] + tried[:-1]) / 2:",
            ),
        ),
        "a score equal to the threshold rejected, when choosing it as well": Wrong(
            "Rejected is what lies below the threshold.",
            (">= candidate", "> candidate"),
            ("< candidate)", "<= candidate)"),
            ("return scores < threshold", "return scores <= threshold"),
        ),
        "the median of the test scores": Wrong(
            "If all texts of a day are known, does yours reject half of them?",
            ("return scores < threshold", "return scores < scores.median()"),
        ),
        "the middle between the means": Wrong(
            "That is a rule of thumb. Which threshold is best on the validation texts?",
            (
                "return scores < threshold",
                "return scores < (validation_scores[validation_known].mean()"
                " + validation_scores[~validation_known].mean()) / 2",
            ),
        ),
        "kept and rejected exchanged": Wrong(
            "Is a known text true in your answer, or one that is out of scope?",
            ("return scores < threshold", "return scores >= threshold"),
        ),
        "a score equal to the threshold is rejected": Wrong(
            "Rejected is what lies below the threshold.",
            ("return scores < threshold", "return scores <= threshold"),
        ),
        "plain accuracy": Wrong(
            "With six known texts and one unknown, who never rejects is right in six of seven.",
            (
                "if kept + rejected > best:\n            best, threshold = kept + rejected, candidate",
                "right = ((validation_scores >= candidate) == validation_known).float().mean()\n"
                "        if right > best:\n            best, threshold = right, candidate",
            ),
        ),
        "only the known texts count": Wrong(
            "Which threshold keeps all known texts, whatever it lets in?",
            ("if kept + rejected > best", "if kept > best"),
            ("best, threshold = kept + rejected, candidate", "best, threshold = kept, candidate"),
        ),
        "only the unknown texts count": Wrong(
            "Which threshold rejects all unknown texts, whatever it costs?",
            ("if kept + rejected > best", "if rejected > best"),
            ("best, threshold = kept + rejected, candidate", "best, threshold = rejected, candidate"),
        ),
        "one half": Wrong(
            "Is a cosine of 0.5 much or little? The validation texts know.",
            ("return scores < threshold", "return scores < 0.5"),
        ),
        "the largest of equally good thresholds": Wrong(
            "If several thresholds are equally good, which one is asked for?",
            ("if kept + rejected > best", "if kept + rejected >= best"),
        ),
    },
    hints=(
        "Try each validation score as the threshold, from the smallest.",
        "Two shares: known texts with a score of at least the threshold, unknown texts below it.",
        "Keep the first candidate with the largest sum of both; then compare the test scores with it.",
    ),
    why="A threshold is a parameter like any other: learned on validation texts, judged on test texts.",
)

_WORDS = [None, 0, 1, 1, 2, None]

slot_labels = Exercise(
    solution.slot_labels,
    cases={
        "each word one token": ([0, 3, 4], [None, 0, 1, 2, None]),
        "a word of two tokens": ([0, 3, 4], _WORDS),
        "a word of three tokens, first": ([5, 0], [None, 0, 0, 0, 1, None]),
        "padding": ([1, 2], [None, 0, 1, 1, None, None, None]),
        "one word": ([7], [None, 0, None]),
    },
    wrong={
        "special tokens labeled 0": Wrong(
            "Label 0 means outside. Should [CLS] and [SEP] count in the loss?",
            (
                "labels.append(word_labels[word] if first else -100)",
                "labels.append(word_labels[word] if first else 0 if word is None else -100)",
            ),
        ),
        "word 0 taken for None": Wrong(
            "0 is false in Python, and so is None. Which word has the number 0?",
            ("word is not None and", "bool(word) and"),
        ),
        "the word's number in place of its label": Wrong(
            "word_labels[word] is the label. What do you return?",
            ("word_labels[word] if first", "word if first"),
        ),
        "every token of a word labeled": Wrong(
            "How often does a long word count in the loss in yours?",
            ("first = word is not None and words[token - 1] != word", "first = word is not None"),
        ),
        "the last token of a word labeled": Wrong(
            "Which token of a word stands for it?",
            ("words[token - 1] != word", "words[token + 1] != word"),
        ),
        "later tokens of a word labeled 0": Wrong(
            "A label 0 says outside, even within a slot. Which label says: does not count?",
            (
                "labels.append(word_labels[word] if first else -100)",
                "labels.append(word_labels[word] if first else -100 if word is None else 0)",
            ),
        ),
        "nothing ignored: 0 in place of −100": Wrong(
            "Which label does the loss ignore?", ("else -100", "else 0")
        ),
        "−1 in place of −100": Wrong("Which label does the loss ignore?", ("else -100", "else -1")),
        "a label for each word, not for each token": Wrong(
            "How many tokens has the text, and how many labels do you return?",
            ("return labels", "return [label for label in labels if label != -100]"),
        ),
        "labels shifted by one": Wrong(
            "Which token is the first word's? [CLS] stands before it.",
            ("return labels", "return [*labels[1:], -100]"),
        ),
    },
    hints=(
        "Go through the tokens; words[token] says which word each belongs to.",
        "A token is the first of its word if the token before it belongs to another word, or to none.",
        "Everything else gets −100.",
    ),
    why="The loss then counts words, however many pieces the tokenizer makes of them.",
)

mark_predicate = Exercise(
    solution.mark_predicate,
    cases={
        "one token": (_WORDS, 0),
        "a verb of two tokens": (_WORDS, 1),
        "the last word": (_WORDS, 2),
    },
    wrong={
        "no marker": Wrong(
            "A sentence with two verbs gives the same input twice. How does the model know which is meant?",
            ("int(word == predicate)", "0"),
        ),
        "only the first token of the verb": Wrong(
            "The verb may have several tokens. Which ones do you mark?",
            (
                "[int(word == predicate) for word in words]",
                "[int(word == predicate and words[i - 1] != word) for i, word in enumerate(words)]",
            ),
        ),
        "everything from the verb on": Wrong(
            "The marker is one word, not the rest of the sentence.",
            ("int(word == predicate)", "int(word is not None and word >= predicate)"),
        ),
        "everything but the verb": Wrong(
            "Is the verb 1 or 0 in yours?", ("word == predicate", "word != predicate")
        ),
        "a token's position in place of a word's number": Wrong(
            "predicate counts words. What do you compare it with?",
            (
                "[int(word == predicate) for word in words]",
                "[int(i == predicate) for i, word in enumerate(words)]",
            ),
        ),
        "words counted from 1": Wrong(
            "The first word has the number 0.", ("word == predicate", "word == predicate - 1")
        ),
        "booleans": Wrong(
            "Token types are whole numbers: they are looked up in a table.",
            ("int(word == predicate)", "word == predicate"),
        ),
        "a list of the marked positions": Wrong(
            "One number for each token. How many do you return?",
            (
                "[int(word == predicate) for word in words]",
                "[i for i, word in enumerate(words) if word == predicate]",
            ),
        ),
    },
    hints=("One number for each token: 1 if its word is the predicate.", "int(True) is 1."),
    why="The second row of the segment table, unused in single texts, becomes the marker.",
)


# --- summaries -------------------------------------------------------------------------------------------

_RELEVANCE = torch.tensor([0.9, 0.85, 0.6, 0.3])
_LIKENESS = torch.tensor(
    [[1.0, 0.95, 0.2, 0.1], [0.95, 1.0, 0.3, 0.1], [0.2, 0.3, 1.0, 0.8], [0.1, 0.1, 0.8, 1.0]]
)


def _sentences(seed: int) -> tuple[Tensor, Tensor]:
    """Return the relevance of five sentences and their likeness, all with one decimal."""
    generator = torch.Generator().manual_seed(seed)
    relevance = (torch.rand(5, generator=generator) * 10).round() / 10
    likeness = (torch.rand(5, 5, generator=generator) * 10).round() / 10
    likeness = ((likeness + likeness.T) / 2 * 10).round() / 10
    return relevance, likeness.fill_diagonal_(1.0)


_GAIN = "gain = gain - (1 - weight) * likeness[chosen].amax(dim=0)"

next_sentence = Exercise(
    solution.next_sentence,
    cases={
        "the first sentence": (_RELEVANCE, _LIKENESS, []),
        "a repetition in second place": (_RELEVANCE, _LIKENESS, [0]),
        "relevance alone": (_RELEVANCE, _LIKENESS, [0], 1.0),
        "five sentences, one chosen": (*_sentences(8), [0], 0.6),
        "two chosen": (*_sentences(82), [2, 3], 0.5),
        "mostly variety": (*_sentences(50), [4, 2], 0.3),
        "three chosen": (*_sentences(6), [2, 1, 4], 0.6),
        "one is left": (_RELEVANCE, _LIKENESS, [0, 3, 1]),
    },
    wrong={
        "the most relevant one": Wrong(
            "What does your function do with a sentence that repeats the first one? Is your penalty the same "
            "for all, since every sentence is like itself?",
            (_GAIN, "pass"),
        ),
        "the chosen ones given 0": Wrong(
            "A gain may be negative. Which one is the largest then?",
            ("gain[chosen] = -math.inf", "gain[chosen] = 0.0"),
        ),
        "the place among those left": Wrong(
            "In which list do you count: all sentences, or those not chosen yet?",
            (
                "return int(gain.argmax())",
                "left = [i for i in range(len(gain)) if i not in chosen]\n"
                "    return int(gain[left].argmax())",
            ),
        ),
        "a chosen one again": Wrong(
            "Can a sentence stand in a summary twice?", ("gain[chosen] = -math.inf", "pass")
        ),
        "the mean likeness": Wrong(
            "A sentence that repeats one of three chosen ones repeats. Does its mean likeness show that?",
            ("likeness[chosen].amax(dim=0)", "likeness[chosen].mean(dim=0)"),
        ),
        "the smallest likeness": Wrong(
            "Which of the chosen sentences matters: the nearest or the farthest?",
            ("likeness[chosen].amax(dim=0)", "likeness[chosen].amin(dim=0)"),
        ),
        "only the last chosen one": Wrong(
            "With how many of the chosen sentences do you compare?",
            ("likeness[chosen].amax(dim=0)", "likeness[chosen[-1]]"),
        ),
        "only the first chosen one": Wrong(
            "With how many of the chosen sentences do you compare?",
            ("likeness[chosen].amax(dim=0)", "likeness[chosen[0]]"),
        ),
        "likeness rewarded": Wrong(
            "Does a sentence gain or lose by being like a chosen one?", ("gain - (1", "gain + (1")
        ),
        "the weights exchanged": Wrong(
            "With weight 1 only relevance counts. In yours?",
            ("gain = weight * relevance", "gain = (1 - weight) * relevance"),
            ("gain - (1 - weight) *", "gain - weight *"),
        ),
        "the penalty without its weight": Wrong(
            "What is the penalty multiplied by?", ("gain - (1 - weight) *", "gain -")
        ),
        "½ whatever the argument": Wrong(
            "Which argument does your function ignore?",
            ("gain = weight * relevance", "weight = 0.5\n    gain = weight * relevance"),
        ),
        "the worst one": Wrong(
            "Is it the largest or the smallest gain in yours?",
            ("gain[chosen] = -math.inf", "gain[chosen] = math.inf"),
            ("gain.argmax()", "gain.argmin()"),
        ),
    },
    hints=(
        "With nothing chosen, the most relevant sentence comes first.",
        "likeness[chosen] has a row for each chosen sentence; the largest in each column is what counts.",
        "Set the gain of those chosen to −∞ before the argmax.",
    ),
    why="The same idea keeps the first page of a search from showing ten copies of one answer.",
)
