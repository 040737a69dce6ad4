"""The answers to the exercises of chapter 9, as a teacher would write them on the board.

Shape letters: B batch, H hidden, N documents, Q queries, C classes.
"""

import math

import torch


def cosine_scores(queries, documents):
    """Return the cosine of each query to each document: floats (Q, N) from (Q, H) and (N, H)."""
    queries = queries / queries.norm(dim=1, keepdim=True)
    documents = documents / documents.norm(dim=1, keepdim=True)
    return queries @ documents.T


def reciprocal_rank(relevant, ranking):
    """Return 1 / rank of the first relevant document, with ranks from 1; 0 if there is none.

    relevant: a set of documents; ranking: a list of documents, the best first.
    """
    for rank, document in enumerate(ranking, start=1):
        if document in relevant:
            return 1 / rank
    return 0.0


def ndcg(grades, ranking, k):
    """Return the normalized discounted cumulative gain of the first k documents, 0 to 1.

    grades: a dict with the grade of each relevant document, all others have 0; ranking: a list of documents,
    the best first. A document at rank r, from 1, adds grade / log₂(r + 1). The best possible ranking has 1.
    """
    gains = [grades.get(document, 0) for document in ranking[:k]]
    best = sorted(grades.values(), reverse=True)[:k]  # also of documents that were not found
    dcg = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
    ideal = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(best, start=1))
    return dcg / ideal


def contrastive_loss(queries, documents, names, temperature=0.05):
    """Return the mean loss of finding each query's document in the batch, a float in nats.

    queries, documents: floats (B, H) of length 1; row i of both belongs together. names: B whole numbers that
    name the documents. Two rows may have the same document: it is no wrong answer to either query.
    """
    scores = queries @ documents.T / temperature  # (B, B)
    right = torch.eye(len(names), dtype=torch.bool)
    same = names[:, None] == names[None, :]
    scores = scores.masked_fill(same & ~right, -math.inf)
    return -scores.log_softmax(dim=1).diagonal().mean()


def leave_one_out(vectors, labels, classes):
    """Return each example's cosine to the mean of each class, without the example itself: floats (N, C).

    vectors: floats (N, H); labels: whole numbers (N,), 0 to classes − 1, at least two examples of each.
    """
    member = torch.nn.functional.one_hot(labels, classes).float()  # (N, C)
    sums = member.T @ vectors  # (C, H)
    others = sums - member[..., None] * vectors[:, None, :]  # (N, C, H)
    means = others / (member.sum(dim=0) - member)[..., None]
    return torch.nn.functional.cosine_similarity(vectors[:, None, :], means, dim=-1)


def out_of_scope(validation_scores, validation_known, scores):
    """Return which texts to reject: booleans (N,).

    A text is rejected if its score is below a threshold. Of all validation scores, the threshold is the one
    with the best balanced accuracy on the validation texts, the smallest if several are equally good: the
    mean of the share of known texts that are kept and the share of unknown ones that are rejected.
    validation_scores: floats (M,); validation_known: booleans (M,), False out of scope; scores: floats (N,).
    """
    best, threshold = -1.0, None
    for candidate in validation_scores.sort().values:
        kept = (validation_scores[validation_known] >= candidate).float().mean()
        rejected = (validation_scores[~validation_known] < candidate).float().mean()
        if kept + rejected > best:
            best, threshold = kept + rejected, candidate
    return scores < threshold


def slot_labels(word_labels, words):
    """Return a list with the label of each token, −100 where it does not count.

    word_labels: the label of each word. words: for each token the number of its word, None for [CLS], [SEP]
    and padding. Only the first token of a word counts.
    """
    labels = []
    for token, word in enumerate(words):
        first = word is not None and words[token - 1] != word
        labels.append(word_labels[word] if first else -100)
    return labels


def mark_predicate(words, predicate):
    """Return a list of token types that mark the verb: 1 at each token of word `predicate`, else 0.

    words: for each token the number of its word, None for [CLS] and [SEP]; predicate: the verb's number.
    """
    return [int(word == predicate) for word in words]


def next_sentence(relevance, likeness, chosen, weight=0.5):
    """Return the sentence that a summary takes next (maximal marginal relevance), a whole number.

    relevance: floats (N,), how well each sentence stands for the text; likeness: floats (N, N), cosines of
    sentences; chosen: a list of those taken already. The next one has the largest
    weight · relevance − (1 − weight) · (the largest likeness to a chosen one). With none chosen, the most
    relevant one comes first.
    """
    gain = weight * relevance
    if chosen:
        gain = gain - (1 - weight) * likeness[chosen].amax(dim=0)
        gain[chosen] = -math.inf
    return int(gain.argmax())
