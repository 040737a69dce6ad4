"""The answers to the exercises of chapter 5, as a teacher would write them on the board."""

import torch
from torch.nn.functional import cross_entropy


def mean_pooling(hidden_states, attention_mask):
    """Average each text's token vectors, padding left out, floats (B, H)."""
    # (B, S) → (B, S, 1), so that one number of the mask meets a whole vector.
    keep = attention_mask[..., None]
    # The vectors of [PAD] become 0 and add nothing to the sum; neither may they be counted.
    total = (hidden_states * keep).sum(dim=1)  # (B, H)
    return total / keep.sum(dim=1)  # each text by its own number of tokens, (B, 1)


def predict_labels(model, batch):
    """Return the number of the likeliest label of each text, int64 (B,)."""
    training = model.training  # to be found again as it was
    model.eval()  # no dropout: the same text always gets the same answer
    with torch.no_grad():  # nothing is kept for a backward pass that never comes
        logits = model(**batch._asdict()).logits  # (B, C)
    model.train(training)
    return logits.argmax(dim=-1)


def layer_learning_rates(num_layers, rate, decay):
    """Return a learning rate for each part: the full one, times decay for each layer above the part."""
    # The head is new and has all to learn.
    rates = {"head": rate}
    for number in range(num_layers):
        # Layers 0 and 1 of 6: 5 and 4 are above them; the top layer, number 5, has none.
        rates[f"layer.{number}"] = rate * decay ** (num_layers - 1 - number)
    # Below all layers: what words mean holds for any task and should move least.
    rates["embeddings"] = rate * decay**num_layers
    return rates


def align_labels(word_ids, word_labels):
    """Give a word's first piece the word's label, and every other piece -100."""
    labels = []
    before = None
    for word in word_ids:
        # `is not None` and not just `if word`: word 0 is a word, too.
        begins = word is not None and word != before
        labels.append(word_labels[word] if begins else -100)
        before = word
    return labels


def token_loss(logits, labels):
    """Return the mean cross-entropy of the labels that are not -100, in nats, floats ()."""
    # To the loss a batch is one long list of tokens: which text they stand in does not matter.
    rows = logits.flatten(0, 1)  # (B, S, C) → (B · S, C)
    # -100 is what cross_entropy leaves out unless told otherwise; the mean is over the others.
    return cross_entropy(rows, labels.flatten())


def entities(labels):
    """Read first word, one after the last, and kind of each entity off its BIO labels."""
    found = []
    before = ""  # kind of the word before, "" for O
    for place, label in enumerate(labels):
        tag, kind = label[:1], label[2:]
        if tag == "I" and kind == before:
            first, _, _ = found[-1]
            found[-1] = (first, place + 1, kind)
        elif tag != "O":
            # A B-; or an I- that goes on with nothing, which counts as a beginning.
            found.append((place, place + 1, kind))
        before = kind
    # Each entity is in the list from its first word on: none can be lost at the end.
    return found


def best_span(start_logits, end_logits, allowed, max_length):
    """Return first and last piece of the best answer."""
    # One row for each first piece, one column for each last piece.
    scores = start_logits[:, None] + end_logits[None, :]  # (S, S)
    both_allowed = allowed[:, None] & allowed[None, :]
    # On the diagonal an answer has 1 piece, beside it 2, …: triu keeps what does not end before it begins,
    # tril what is not too long.
    valid = both_allowed.triu().tril(max_length - 1)
    # Not 0 but -inf: logits may all be negative.
    scores = scores.masked_fill(~valid, -torch.inf)
    # argmax counts row by row, so S entries make a row.
    first, last = divmod(scores.argmax().item(), len(scores))
    return first, last
