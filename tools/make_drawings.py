"""Draw the course's twenty-one drawings into notebooks/images/.

python tools/make_drawings.py              write every drawing
python tools/make_drawings.py bio_labels   write one
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path

from drawing import BLUE, GREEN, INK, LINE, MUTED, ORANGE, PINK, Drawing, tint
from drawings_at_work import (
    intent_and_slots,
    marked_predicate,
    masked_items,
    retrieve_read_abstain,
    three_indexes,
    two_encoders,
)

FOLDER = Path(__file__).resolve().parent.parent / "notebooks" / "images"


def query_key_value() -> Drawing:
    """Chapter 1: one token asks, the others answer."""
    d = Drawing(
        "Query, key and value of one token",
        "The vector of the word light is multiplied by three matrices and becomes a query, a key and a "
        "value. The query is compared with the keys of all words; the best match, comedy, gets the thickest"
        " arrow; the weighted values add up to the new vector of light.",
        396,
    )
    d.heading("A token asks, can be found, and has something to give")
    d.text(88, 92, "light", size=17, bold=True)
    d.vector(79, 104, "3715264", color=MUTED, width=20, height=24, upright=True)
    d.text(88, 296, "its vector", size=14, color=MUTED)
    rows = (
        ("query", "what I am looking for", ORANGE, "2815"),
        ("key", "what I can be found by", BLUE, "7163"),
        ("value", "what I hand over", GREEN, "4372"),
    )
    for i, (name, meaning, color, shades) in enumerate(rows):
        y = 94 + i * 78
        d.arrow((108, 188), (186, y + 17), color=color, width=2.2)
        d.vector(194, y + 5, shades, color=color, height=24)
        d.text(270, y + 14, name, size=16, anchor="start", bold=True, color=color)
        d.text(270, y + 34, meaning, size=14, anchor="start", color=MUTED)
    d.line((446, 70), (446, 370), color=LINE, width=1)
    words = (("a", "6214", "1632", 1.2), ("light", "7163", "4372", 2.8), ("comedy", "2914", "2845", 6.5))
    d.text(560, 84, "keys", size=14, color=BLUE, bold=True)
    d.text(694, 84, "values", size=14, color=GREEN, bold=True)
    for i, (word, key, value, width) in enumerate(words):
        y = 100 + i * 62
        d.text(560, y + 44, word, size=14, color=MUTED)
        d.vector(528, y, key, color=BLUE, height=24)
        d.vector(662, y, value, color=GREEN, height=24)
        d.line((598, y + 12), (656, y + 12), color=ORANGE, width=width)
    d.text(627, 100, "weights", size=13, color=ORANGE)
    d.text(486, 108, "query", size=14, color=ORANGE, bold=True)
    d.vector(478, 118, "2815", color=ORANGE, width=18, height=16, upright=True)
    for i in range(3):
        d.line((498, 150), (526, 112 + i * 62), color=ORANGE, width=1.2)
    d.arrow((694, 290), (694, 322), color=GREEN, width=2.4)
    d.vector(662, 328, "2754", color=GREEN, height=26)
    d.text(650, 338, "values × weights, added:", size=14, anchor="end", color=MUTED)
    d.text(650, 358, "the new vector of light", size=14, anchor="end", bold=True)
    return d


def heads_as_slices() -> Drawing:
    """Chapter 1: heads are slices of the hidden vector."""
    d = Drawing(
        "Heads as slices of the hidden vector",
        "A row of 384 features is cut into twelve slices of 32. Each slice goes to a head of its own with "
        "its own attention pattern, and the twelve results are put side by side again and mixed by one "
        "matrix.",
        420,
    )
    d.heading("Twelve heads work on twelve slices of one vector")
    colors = (BLUE, ORANGE, GREEN, PINK)
    left, step = 64, 53
    d.text(28, 82, "the query of one word: 384 numbers", size=15, anchor="start", color=MUTED)
    for h in range(12):
        d.vector(left + h * step, 94, f"{(h * 3) % 8}{(h * 5 + 2) % 9}{(h * 7 + 4) % 9}", color=colors[h % 4])
    patterns = ("diagonal", "first", "next", "broad")
    for h in range(12):
        x = left + h * step
        d.arrow((x + 24, 120), (x + 24, 158), color=colors[h % 4], width=1.6)
        _pattern(d, x + 2, 164, patterns[(h * 5 + h // 4) % 4], colors[h % 4])
        d.text(x + 24, 230, str(h), size=14, color=MUTED)
        d.arrow((x + 24, 240), (x + 24, 272), color=colors[h % 4], width=1.6)
        d.vector(
            left + h * step, 278, f"{(h * 5) % 9}{(h * 3 + 1) % 9}{(h * 2 + 5) % 9}", color=colors[h % 4]
        )
    d.text(36, 194, "head", size=14, color=MUTED)
    d.text(36, 230, "no.", size=14, color=MUTED)
    d.line((left, 314), (left + 11 * step + 48, 314), color=MUTED, width=1.4)
    d.arrow((380, 314), (380, 338))
    d.box(270, 340, 220, 34, "one matrix mixes them", color=INK, fill="#eef1f4")
    d.text(380, 400, "384 = 12 heads × 32 features", size=15, bold=True)
    return d


def _pattern(d: Drawing, x: float, y: float, kind: str, color: str) -> None:
    """Draw a small attention map, 4 × 4."""
    for row in range(4):
        for column in range(4):
            strong = {
                "diagonal": row == column,
                "first": column == 0,
                "next": column == min(row + 1, 3),
                "broad": False,
            }[kind]
            d.vector(
                x + column * 11, y + row * 11, "9" if strong else "3" if kind == "broad" else "0",
                color=color, width=11, height=11,
            )  # fmt: skip


def attention_mask() -> Drawing:
    """Chapter 1: padding may be read by nobody."""
    d = Drawing(
        "The attention mask",
        "Two sentences of different length share one batch; the shorter one is filled up with padding. In "
        "the table of scores, the columns of the padding hold −3e38: no word may read them. After the "
        "softmax their weights are 0 and each row still sums to 1.",
        424,
    )
    d.heading("The mask: padding fills the batch, and no word may read it")
    d.text(28, 84, "a batch", size=15, anchor="start", color=MUTED)
    rows = (("a", "fine", "light", "comedy"), ("so", "slow", "[PAD]", "[PAD]"))
    for i, row in enumerate(rows):
        for j, word in enumerate(row):
            pad = word == "[PAD]"
            d.box(28 + j * 76, 96 + i * 44, 70, 34, word, color=MUTED if pad else BLUE, dashed=pad, size=14)
    d.text(28, 220, "its mask", size=15, anchor="start", color=MUTED)
    for i, mask in enumerate(("1111", "1100")):
        for j, bit in enumerate(mask):
            d.text(63 + j * 76, 250 + i * 32, bit, size=17, mono=True, bold=bit == "1",
                   color=BLUE if bit == "1" else ORANGE)  # fmt: skip
    d.text(28, 330, "1: may be read", size=14, anchor="start", color=BLUE)
    d.text(28, 352, "0: padding, may not", size=14, anchor="start", color=ORANGE)
    d.line((362, 70), (362, 396), color=LINE, width=1)
    d.text(570, 84, "scores of the second sentence", size=15, color=MUTED)
    keys = ("so", "slow", "[PAD]", "[PAD]")
    for j, word in enumerate(keys):
        d.text(488 + j * 68, 116, word, size=14, color=MUTED if word == "[PAD]" else INK)
    for i, word in enumerate(("so", "slow")):
        d.text(442, 148 + i * 44, word, size=14, anchor="end")
        for j in range(4):
            x, y = 456 + j * 68, 126 + i * 44
            if j < 2:
                d.box(x, y, 62, 36, "score", color=BLUE, size=14)
            else:
                d.box(x, y, 62, 36, "−3e38", color=ORANGE, size=14)
    d.arrow((590, 222), (590, 258))
    d.text(606, 246, "softmax", size=15, anchor="start")
    for i, word in enumerate(("so", "slow")):
        d.text(442, 292 + i * 44, word, size=14, anchor="end")
        for j in range(4):
            x, y = 456 + j * 68, 270 + i * 44
            if j < 2:
                d.box(x, y, 62, 36, "weight", color=BLUE, fill=tint(BLUE, 0.34), size=14)
            else:
                d.box(x, y, 62, 36, "0", color=LINE, fill="#ffffff", size=15)
    d.text(590, 386, "each row still sums to 1", size=15, bold=True)
    return d


def residual_stream() -> Drawing:
    """Chapter 3: a layer adds twice to the stream."""
    d = Drawing(
        "The residual stream through a layer",
        "A thick line, the residual stream of one token, runs through a BERT layer from left to right. "
        "Attention reads from it and adds its result; LayerNorm rescales the sum; the feed-forward network "
        "reads, adds, and a second LayerNorm rescales. The line itself is never cut.",
        342,
    )
    d.heading("A layer never replaces a token's vector: it adds to it, twice")
    y = 232
    d.line((40, y), (700, y), color=BLUE, width=9)
    d.arrow((690, y), (732, y), color=BLUE, width=9)
    d.text(40, y + 34, "the token's 384 numbers", size=14, anchor="start", color=MUTED)
    d.text(732, y + 50, "to the next layer", size=14, anchor="end", color=MUTED)
    parts = (
        (86, "attention", "reads all tokens", ORANGE),
        (412, "feed-forward network", "works on this token alone", GREEN),
    )
    for x, name, meaning, color in parts:
        d.box(x - 6, 80, 216, 64, color=color)
        d.text(x + 102, 108, name, size=16, bold=True)
        d.text(x + 102, 130, meaning, size=14, color=MUTED)
        d.arrow((x + 28, y - 6), (x + 28, 147), color=color, width=2.4)
        d.arrow((x + 176, 144), (x + 176, y - 17), color=color, width=2.4)
        d.circle(x + 176, y, 15, "+", color=color)
        d.text(x + 40, 188, "read", size=14, anchor="start", color=color)
        d.text(x + 164, 188, "add", size=14, anchor="end", color=color)
        d.box(x + 206, y - 24, 86, 48, "LayerNorm", color=INK, fill="#ffffff", size=14)
    d.text(
        40, 320, "Blue: the residual stream, from the embeddings to the last layer.", size=15, anchor="start"
    )
    return d


def three_embeddings() -> Drawing:
    """Chapter 3: the input is a sum of three rows."""
    d = Drawing(
        "Three embeddings are added",
        "Four tokens, [CLS], a, fine and film. For each one, three colored vectors stand above each other "
        "and are added: a row of the word table chosen by the token, a row of the position table chosen by "
        "the place, and a row of the segment table chosen by the sentence.",
        420,
    )
    d.heading("What enters BERT: rows of three tables, added up")
    tokens = ("[CLS]", "a", "fine", "film")
    for j, token in enumerate(tokens):
        d.box(208 + j * 136, 66, 108, 34, token, color=MUTED, fill="#ffffff", bold=True)
    tables = (
        ("word", "which token?", BLUE, ("30528", "72416", "15074", "64283"), tokens),
        ("position", "which place?", ORANGE, ("12640", "45170", "73528", "26314"), ("0", "1", "2", "3")),
        ("segment", "which sentence?", GREEN, ("42715", "42715", "42715", "42715"), ("A", "A", "A", "A")),
    )
    for i, (name, question, color, shades, picked) in enumerate(tables):
        y = 124 + i * 76
        d.text(28, y + 14, name, size=16, anchor="start", bold=True, color=color)
        d.text(28, y + 34, question, size=14, anchor="start", color=MUTED)
        for j, (shade, row) in enumerate(zip(shades, picked, strict=True)):
            x = 208 + j * 136
            d.vector(x, y, shade, color=color, width=22, height=26)
            d.text(x + 54, y + 44, f"row {row}", size=13, color=MUTED)
            if i < 2:
                d.text(x + 54, y + 66, "+", size=20, bold=True)
    for j in range(4):
        x = 208 + j * 136
        d.text(x + 54, 346, "=", size=20, bold=True)
        d.vector(x, 356, "38164527"[j : j + 5], color=INK, width=22, height=28)
    d.text(28, 376, "input vector", size=16, anchor="start", bold=True)
    d.text(208, 408, "then LayerNorm, then the first layer", size=14, anchor="start", color=MUTED)
    return d


MASKED = (4, 18, 22, 29, 37, 41, 46, 54, 63, 68, 79, 85)  # twelve of a hundred tokens


def masked_token_fates() -> Drawing:
    """Chapter 4: what happens to a chosen token."""
    d = Drawing(
        "The fates of a masked token",
        "Of 100 tokens, 85 are left alone and get the label −100, ignore. Fifteen are chosen and must be "
        "predicted: 12 of them become [MASK], 1.5 become a random token and 1.5 stay as they are. The loss "
        "counts only the fifteen.",
        424,
    )
    d.heading("Fifteen tokens in a hundred meet one of three fates")
    for i in range(100):
        fate = BLUE if i in MASKED else {13: ORANGE, 71: GREEN, 90: GREEN}.get(i, MUTED)
        x, y = 30 + (i % 20) * 17, 76 + (i // 20) * 17
        d.box(x, y, 13, 13, color=fate, fill=tint(fate, 0.18 if fate == MUTED else 0.85), radius=3)
    d.text(30, 184, "100 tokens of text", size=14, anchor="start", color=MUTED)
    d.arrow((380, 118), (432, 92), color=MUTED)
    d.arrow((380, 118), (432, 146), color=BLUE)
    d.text(442, 90, "85 are left alone", size=16, anchor="start", bold=True, color=MUTED)
    d.text(442, 110, "label −100: no loss here", size=14, anchor="start", color=MUTED)
    d.text(442, 150, "15 are chosen", size=16, anchor="start", bold=True, color=BLUE)
    d.text(442, 170, "label: the token that stood there", size=14, anchor="start", color=MUTED)
    d.text(28, 230, "the ending is worth the", size=15, anchor="start", mono=True)
    d.box(248, 210, 56, 28, "wait", color=BLUE, mono=True, bold=True)
    d.text(318, 230, "is chosen. What does the model see?", size=15, anchor="start")
    fates = (
        (80, "[MASK]", "the task itself", BLUE),
        (10, "comedy", "a random token: do not trust what you read", ORANGE),
        (10, "wait", "unchanged: every token's vector must be good", GREEN),
    )
    for i, (share, seen, why, color) in enumerate(fates):
        y = 258 + i * 52
        d.box(28, y, 1.6 * share, 38, color=color, fill=tint(color, 0.6), radius=4)
        d.text(172, y + 25, f"{share} %", size=16, bold=True, anchor="start", color=color)
        d.box(234, y, 92, 38, seen, color=color, mono=True)
        d.text(342, y + 25, why, size=15, anchor="start")
    return d


QUESTION, ANSWER = ("who", "directed", "fr", "##ida", "?"), ("julie", "tay", "##mo", "##r")


def two_sentence_input() -> Drawing:
    """Chapter 2: one input of two sentences."""
    d = Drawing(
        "The input for two sentences",
        "A row of token boxes: [CLS], who, directed, fr, ##ida, question mark, [SEP], julie, tay, ##mo, "
        "##r, [SEP] and [PAD]. Below each one stand its segment, 0 for the first sentence and 1 for the "
        "second, and its mask, 1 for tokens and 0 for padding.",
        330,
    )
    d.heading("Two sentences, one input")
    tokens = ("[CLS]", *QUESTION, "[SEP]", *ANSWER, "[SEP]", "[PAD]")
    widths = (54, 42, 72, 30, 54, 26, 54, 48, 40, 56, 40, 54, 54)
    x = 92.0
    bounds = []
    for i, (token, width) in enumerate(zip(tokens, widths, strict=True)):
        special, pad = token in ("[CLS]", "[SEP]"), token == "[PAD]"
        color = MUTED if pad else INK if special else BLUE if i < 6 else ORANGE
        fill = "#ffffff" if special or pad else None
        d.box(x, 112, width - 4, 36, token, color=color, fill=fill, size=14, dashed=pad)
        second, mask = 6 < i < 12, not pad
        d.text(x + width / 2 - 2, 186, "1" if second else "0", size=16, mono=True,
               color=ORANGE if second else BLUE if not pad else MUTED)  # fmt: skip
        d.text(x + width / 2 - 2, 222, "1" if mask else "0", size=16, mono=True, color=INK if mask else MUTED)
        bounds.append((x, x + width - 4))
        x += width
    for name, y in (("token", 135), ("segment", 186), ("mask", 222)):
        d.text(28, y, name, size=14, anchor="start", color=MUTED)
    for first, last, color, name in ((0, 6, BLUE, "first sentence"), (7, 11, ORANGE, "second sentence")):
        left, right = bounds[first][0], bounds[last][1]
        d.line((left, 100), (left, 92), (right, 92), (right, 100), color=color)
        d.text((left + right) / 2, 82, name, size=15, color=color, bold=True)
    notes = (
        (0, "opens the input; classifiers read its vector"),
        (6, "closes a sentence"),
        (12, "fills up the row"),
    )
    for (index, note), y in zip(notes, (262, 286, 310), strict=True):
        d.text(92, y, f"{tokens[index]}  {note}", size=14, anchor="start", color=MUTED)
    return d


def four_heads_one_encoder() -> Drawing:
    """Chapter 5: one encoder, a small head for each kind of task."""
    d = Drawing(
        "Four heads on one encoder",
        "One large box, the pretrained encoder, reads the tokens of a review. From its output vectors, four"
        " small heads read: a class for a text and for a pair of texts from one vector, a label for each "
        "token, and a start and an end for an answer from every vector.",
        436,
    )
    d.heading("One pretrained encoder, four small heads")
    heads = (
        ("one text", "fresh or rotten?", "reads one vector", BLUE),
        ("two texts", "the same film?", "reads one vector", ORANGE),
        ("each token", "B-PER, I-PER, O", "reads every vector", GREEN),
        ("a span", "start … end", "reads every vector", PINK),
    )
    for i, (name, example, reads, color) in enumerate(heads):
        x = 28 + i * 178
        d.box(x, 66, 168, 92, color=color)
        d.text(x + 84, 92, name, size=17, bold=True)
        d.text(x + 84, 118, example, size=15)
        d.text(x + 84, 142, reads, size=14, color=MUTED)
        d.arrow((x + 84, 196 if i < 2 else 218), (x + 84, 162), color=color, width=2.4)
    d.line((98, 234), (98, 196), (290, 196), color=BLUE)
    d.line((60, 228), (60, 218), (704, 218), (704, 228), color=MUTED)
    tokens = ("[CLS]", "julie", "hay", "##ek", "sings", "[SEP]")
    for j, token in enumerate(tokens):
        x = 56 + j * 112
        d.vector(x, 238, "38164"[j % 3 :] + "27"[: j % 3], color=BLUE if j == 0 else INK, width=17, height=22)
        d.arrow((x + 42, 286), (x + 42, 264), color=MUTED)
        d.arrow((x + 42, 376), (x + 42, 350), color=MUTED)
        d.text(x + 42, 396, token, size=15, mono=True)
    d.box(28, 288, 704, 60, color=BLUE, fill=tint(BLUE, 0.22))
    d.text(380, 324, "the encoder: pretrained once, the same for all four", size=17, bold=True)
    d.text(
        380,
        420,
        "A head is one matrix. Fine-tuning trains the head and the encoder together.",
        size=14,
        color=MUTED,
    )
    return d


def bio_labels() -> Drawing:
    """Chapter 5: labels belong to words, tokens are wordpieces."""
    d = Drawing(
        "BIO labels on wordpieces",
        "The sentence Julie Taymor films Hayek. Julie is labeled B-PER, Taymor I-PER, films O and Hayek "
        "B-PER. Below stand the wordpieces: only the first one of each word carries the label; ##mo, ##r "
        "and ##ek get −100 and do not count.",
        350,
    )
    d.heading("A label belongs to a word; its first token carries it")
    words = (
        ("Julie", "B-PER", GREEN, (("julie", "B-PER"),)),
        ("Taymor", "I-PER", GREEN, (("tay", "I-PER"), ("##mo", "−100"), ("##r", "−100"))),
        ("films", "O", MUTED, (("films", "O"),)),
        ("Hayek", "B-PER", GREEN, (("hay", "B-PER"), ("##ek", "−100"))),
    )
    for name, y in (("words", 96), ("labels", 136), ("tokens", 226), ("labels", 266)):
        d.text(28, y, name, size=14, anchor="start", color=MUTED)
    x = 96.0
    for word, label, color, pieces in words:
        width = 92 * len(pieces)
        d.box(x, 72, width - 8, 38, word, color=color, size=17, bold=True)
        d.text(x + width / 2 - 4, 136, label, size=16, mono=True, color=color)
        for k, (piece, own) in enumerate(pieces):
            left, counts = x + 92 * k, own != "−100"
            d.arrow((left + 42, 152), (left + 42, 196), color=color if counts else LINE, dashed=not counts)
            d.box(left, 202, 84, 36, piece, color=color if counts else LINE, mono=True, dashed=not counts,
                  fill=None if counts else "#ffffff")  # fmt: skip
            d.text(left + 42, 266, own, size=16, mono=True, color=color if counts else ORANGE)
        x += width
    d.text(96, 306, "B begins a name · I is inside one · O is outside", size=15, anchor="start")
    d.text(96, 330, "−100: the loss skips this token", size=15, anchor="start", color=ORANGE)
    return d


def split_by_film() -> Drawing:
    """Chapter 6: whole films go to one side."""
    d = Drawing(
        "A split by film against a split by row",
        "Sentences of four films, one color each. In the split by row, sentences of the same film land in "
        "the training set and in the test set, so the test can be answered by knowing the film. In the "
        "split by film, whole films go to one side.",
        372,
    )
    d.heading("A fair test asks about films that the model never saw")
    films = (BLUE, ORANGE, GREEN, PINK)
    by_row = ("0120321023120313", "0213")
    by_film = ("0000001111112222", "3333")
    for (train, test), top, name, note, color in (
        (by_row, 72, "split by row", "every film is on both sides: a leak", ORANGE),
        (by_film, 232, "split by film", "the test's film is new: an honest test", GREEN),
    ):
        d.text(28, top + 20, name, size=17, anchor="start", bold=True)
        d.text(732, top + 20, note, size=15, anchor="end", color=color)
        for rows, left, label, width in ((train, 28, "training", 538), (test, 586, "test", 146)):
            d.box(left, top + 34, width, 84, color=LINE, fill="#ffffff")
            d.text(left + 12, top + 56, label, size=14, anchor="start", color=MUTED)
            for i, film in enumerate(rows):
                c = films[int(film)]
                d.box(left + 12 + i * 32.4, top + 70, 26, 34, color=c, fill=tint(c, 0.62), radius=4)
    return d


MASKS = (  # for each kind, whether row i sees column j
    ("encoder", "everyone sees all", BLUE, lambda i, j: True),
    ("decoder", "only what is before", ORANGE, lambda i, j: j <= i),
    ("prefix", "first two for everyone", GREEN, lambda i, j: j <= i or j < 2),
    ("permutation", "what is earlier in an order", PINK, lambda i, j: TURNS[j] < TURNS[i]),
)
TURNS = (1, 3, 4, 0, 2)  # at which turn each of the five positions is predicted


def four_masks() -> Drawing:
    """Chapter 7: who sees whom in four kinds of models."""
    d = Drawing(
        "The four masks of the family",
        "Four squares of five by five cells; rows are queries, columns are keys. In the encoder all cells "
        "are filled. The decoder has a triangle. In the prefix model the first two columns are full as well. "
        "In the permutation model the filled cells depend on a random order.",
        316,
    )
    d.heading("One network, four masks: who may look at whom?")
    for k, (name, meaning, color, sees) in enumerate(MASKS):
        left = 36 + k * 180
        d.text(left + 70, 84, name, size=16, bold=True, color=color)
        for i in range(5):
            for j in range(5):
                fill = tint(color, 0.7) if sees(i, j) else "#ffffff"
                d.box(left + j * 28, 98 + i * 28, 24, 24, color=color, fill=fill, radius=4)
        d.text(left + 68, 262, meaning, size=13, color=MUTED)
    d.text(
        28,
        296,
        "Each row is a token that looks; each column is a token that is seen.",
        anchor="start",
        size=14,
    )
    return d


def static_and_contextual() -> Drawing:
    """Chapter 7: one row for a word, or a vector for each of its occurrences."""
    d = Drawing(
        "Static and contextual vectors of one word",
        "On the left, the word bank of two sentences, about a loan and about a river, leads to one row of a "
        "table. On the right, the two sentences pass through an encoder, and the word comes out as two "
        "different vectors.",
        330,
    )
    d.heading("One word: one row of a table, or a vector for each sentence")
    texts = (("the bank lent him money", BLUE, "7261"), ("on the bank of the river", GREEN, "2617"))
    d.text(28, 80, "static", size=16, anchor="start", bold=True)
    d.text(396, 80, "contextual", size=16, anchor="start", bold=True)
    d.line((378, 64), (378, 304), color=LINE, width=1)
    for i, (text, color, shades) in enumerate(texts):
        y = 100 + i * 150
        d.box(28, y, 200, 34, text, color=color, size=14)
        d.arrow((228, y + 17), (268, 196 - 12 + 24 * i), color=color, width=2.2)
        d.box(396, y, 200, 34, text, color=color, size=14)
        d.arrow((496, y + 34) if i == 0 else (496, y), (496, 172 if i == 0 else 216), color=color, width=2.2)
        d.arrow((596, 184 + 20 * i), (640, y + 20 if i == 0 else y + 14), color=color, width=2.2)
        d.vector(648, y + 6, shades, color=color, height=24)
        d.text(680, y + 48 if i == 0 else y - 2, "bank", size=14, color=color)
    d.vector(276, 184, "5274", color=MUTED, height=24)
    d.text(308, 228, "bank", size=14, color=MUTED)
    d.box(396, 174, 200, 40, "layers of an encoder", color=ORANGE, size=14)
    return d


def rotary_plane() -> Drawing:
    """Chapter 8: two turned vectors, moved on together."""
    d = Drawing(
        "Rotary positions in one plane",
        "Two planes. On the left a query at position 3 is turned by three steps and a key at position 1 by "
        "one step. On the right the same query and key are at positions 5 and 3, turned by two steps more. "
        "The angle between them, two steps, is the same in both, and so is the score.",
        352,
    )
    d.heading("Turned by the position: only the angle between them counts")
    for k, (of_query, of_key) in enumerate(((3, 1), (5, 3))):
        x, y, radius = 200 + k * 360, 196, 104
        d.circle(x, y, radius, color=LINE)
        d.line((x - radius - 12, y), (x + radius + 12, y), color=LINE, width=1)
        d.line((x, y - radius - 12), (x, y + radius + 12), color=LINE, width=1)
        d.line(*(_on_circle(x, y, 44, of_key + 2 * i / 20) for i in range(21)), color=PINK, width=3)
        d.text(*_on_circle(x, y + 5, 66, (of_query + of_key) / 2), "2 steps", size=13, color=PINK)
        for name, place, color in (("query", of_query, ORANGE), ("key", of_key, BLUE)):
            d.arrow((x, y), _on_circle(x, y, radius, place), color=color, width=2.6)
            label_x, label_y = _on_circle(x, y + 5, radius + 20, place)
            side = "start" if label_x > x + 8 else "end" if label_x < x - 8 else "middle"
            d.text(label_x, label_y, f"{name} at {place}", size=14, color=color, anchor=side, bold=True)
    d.text(380, 338, "The angle between them is the same, so the score is the same.", size=14)
    return d


def _on_circle(x: float, y: float, radius: float, position: float) -> tuple[float, float]:
    """Return the point to which a position is turned, 28 degrees a step, counterclockwise from the right."""
    angle = math.radians(28 * position)
    return x + radius * math.cos(angle), y - radius * math.sin(angle)


def post_and_pre_norm() -> Drawing:
    """Chapter 8: one layer with each place of the norm."""
    d = Drawing(
        "Post-norm and pre-norm",
        "One layer drawn twice, from bottom to top. With post-norm the stream passes through a norm after "
        "each of the two sums. With pre-norm the norms are on the side branches, before attention and before "
        "the feed-forward network, and the stream itself passes only the two sums.",
        452,
    )
    d.heading("One layer: where does the norm stand?")
    for left, name, pre in ((70, "post-norm (BERT)", False), (430, "pre-norm", True)):
        d.text(left + 130, 78, name, size=16, bold=True)
        stream = left + 60
        d.arrow((stream, 430), (stream, 92), color=INK, width=2.6)
        for bottom, sublayer in ((400, "attention"), (240, "feed-forward")):
            plus = bottom - 84
            d.line((stream, bottom), (left + 200, bottom), color=MUTED)
            if pre:
                d.arrow((left + 200, bottom), (left + 200, bottom - 12), color=MUTED)
                d.box(left + 140, bottom - 36, 120, 24, "norm", color=ORANGE, size=14)
                d.arrow((left + 200, bottom - 36), (left + 200, bottom - 44), color=MUTED)
            else:
                d.arrow((left + 200, bottom), (left + 200, bottom - 44), color=MUTED)
            d.box(left + 140, bottom - 70, 120, 26, sublayer, color=BLUE, size=14)
            d.arrow((left + 200, bottom - 70), (left + 200, plus), (stream + 16, plus), color=MUTED)
            d.circle(stream, plus, 13, "+")
            if not pre:
                d.box(stream - 50, plus - 48, 100, 24, "norm", color=ORANGE, size=14)
        d.text(stream + 14, 428, "vectors", size=13, anchor="start", color=MUTED)
    d.line((380, 66), (380, 432), color=LINE, width=1)
    return d


def local_and_global() -> Drawing:
    """Chapter 8: two of three layers see only a window."""
    d = Drawing(
        "Local and global layers",
        "Six layers from bottom to top, each with a row of tokens. In layers 0 and 3 the middle token sees "
        "all tokens. In the other layers it sees two neighbors on each side.",
        372,
    )
    d.heading("Two of three layers see only a window")
    columns, middle = 15, 7
    for layer in range(6):
        y, whole = 310 - layer * 46, layer % 3 == 0
        color = ORANGE if whole else BLUE
        d.text(124, y + 17, f"layer {layer}", size=14, anchor="end", color=MUTED)
        for column in range(columns):
            seen = whole or abs(column - middle) <= 2
            fill = color if column == middle else tint(color, 0.45) if seen else "#ffffff"
            d.box(140 + column * 30, y, 26, 26, color=color if seen else LINE, fill=fill, radius=4)
        kind = "global: all" if whole else "local: a window"
        d.text(604, y + 17, kind, size=14, anchor="start", color=color)
    d.text(380, 356, "Dark: the token that looks. Tinted: what it sees.", size=14)
    return d


DRAWINGS: tuple[Callable[[], Drawing], ...] = (
    query_key_value,
    heads_as_slices,
    attention_mask,
    residual_stream,
    three_embeddings,
    masked_token_fates,
    two_sentence_input,
    four_heads_one_encoder,
    bio_labels,
    split_by_film,
    four_masks,
    static_and_contextual,
    rotary_plane,
    post_and_pre_norm,
    local_and_global,
    three_indexes,
    two_encoders,
    retrieve_read_abstain,
    intent_and_slots,
    marked_predicate,
    masked_items,
)


def main(names: list[str]) -> None:
    """Write the drawings of these names, or all."""
    unknown = set(names) - {draw.__name__ for draw in DRAWINGS}
    if unknown:
        known = ", ".join(draw.__name__ for draw in DRAWINGS)
        raise SystemExit(f"no drawing is called {', '.join(sorted(unknown))}; there are: {known}")
    FOLDER.mkdir(exist_ok=True)
    for draw in DRAWINGS:
        if not names or draw.__name__ in names:
            path = FOLDER / f"{draw.__name__}.svg"
            path.write_text(draw().svg(), encoding="utf-8", newline="\n")
            print(path.relative_to(FOLDER.parent.parent))


if __name__ == "__main__":
    main(sys.argv[1:])
