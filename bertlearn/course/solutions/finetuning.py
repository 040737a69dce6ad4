"""The answers to the exercises of chapter 5, as a teacher would write them on the board."""

import torch
from torch.nn.functional import cross_entropy


def mean_pooling(hidden_states, attention_mask):
    """Average each text's token vectors, padding left out, floats (B, H)."""
    # (B, S) → (B, S, 1), so that each number of the mask multiplies a whole vector.
    keep = attention_mask[..., None]
    # The vectors of [PAD] become 0 and add nothing to the sum. They must not be counted either.
    total = (hidden_states * keep).sum(dim=1)  # (B, H)
    return total / keep.sum(dim=1)  # each text by its own number of tokens, (B, 1)


def predict_labels(model, batch):
    """Return the number of the likeliest label of each text, int64 (B,)."""
    training = model.training  # remember the mode, to restore it afterwards
    model.eval()  # no dropout: the same text always gets the same answer
    with torch.no_grad():  # nothing is kept for a backward pass that never comes
        logits = model(**batch._asdict()).logits  # (B, C)
    model.train(training)
    return logits.argmax(dim=-1)


def layer_learning_rates(num_layers, rate, decay):
    """Return a learning rate for each part: the full one, times decay for each layer above the part."""
    # Count the layers above each part: none above the head, all of them above the embeddings.
    above = {"head": 0, "embeddings": num_layers}
    for number in range(num_layers):
        # With 6 layers there are 5 above layer 0, and none above layer 5, the top layer.
        above[f"layer.{number}"] = num_layers - 1 - number
    # The head is new and has everything to learn; what words mean holds for any task and should change least.
    return {part: rate * decay**count for part, count in above.items()}


def align_labels(word_ids, word_labels):
    """Give the first token of each word the word's label, and every other token -100."""
    labels = []
    before = None
    for word in word_ids:
        # A plain `if word` would leave out the word with the number 0.
        begins = word is not None and word != before
        labels.append(word_labels[word] if begins else -100)
        before = word
    return labels


def token_loss(logits, labels):
    """Return the mean cross-entropy of the labels that are not -100, in nats, floats ()."""
    # For the loss, a batch is one long list of tokens: it does not matter which text a token is in.
    rows = logits.flatten(0, 1)  # (B, S, C) → (B · S, C)
    # By default, cross_entropy ignores labels of -100 and takes the mean over the others.
    return cross_entropy(rows, labels.flatten())


def entities(labels):
    """Read the first word, one after the last, and the kind of each entity off the BIO labels."""
    found = []
    before = ""  # the kind of the word before, "" for O
    for place, label in enumerate(labels):
        tag, kind = label[:1], label[2:]
        if tag == "I" and kind == before:
            found[-1] = (found[-1][0], place + 1, kind)
        elif tag != "O":
            # A B-; or an I- that continues nothing, which counts as a beginning.
            found.append((place, place + 1, kind))
        before = kind
    # Each entity is in the list from its first word on, so the last one cannot be lost.
    return found


def best_span(start_logits, end_logits, allowed, max_length):
    """Return the first and the last token of the best answer."""
    # One row for each first token, one column for each last token.
    scores = start_logits[:, None] + end_logits[None, :]  # (S, S)
    both_allowed = allowed[:, None] & allowed[None, :]
    # An answer has 1 token on the diagonal, 2 tokens one column to the right, and so on:
    # triu drops those that end before they begin, tril those that are too long.
    valid = both_allowed.triu().tril(max_length - 1)
    # Not 0 but -inf: all logits may be negative.
    scores = scores.masked_fill(~valid, -torch.inf)
    # argmax counts row by row, and a row has S entries.
    first, last = divmod(scores.argmax().item(), len(scores))
    return first, last
