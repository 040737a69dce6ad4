"""The drawings of chapter 9: search, questions, commands, roles and recommendations."""

from __future__ import annotations

from drawing import BLUE, GREEN, INK, LINE, MUTED, ORANGE, Drawing, tint

PLOT, SEARCH = "Three blind men rob a bank.", "heist by guys who can't see"
POSTINGS = (("blind", "0, 145, 355 …"), ("rob", "0, 307, 631 …"), ("bank", "0, 9, 49 …"))
HEIST = "830, 883, 890 …"  # plots with the word, as above; the first plot is number 0
FIRST_NUMBERS, SHADES = "0.04, −0.06, −0.08 …", "621534705454525"  # of MiniLM's vector of PLOT
WEIGHTS = (("blind", 2.4), ("rob", 2.1), ("bank", 2.0))  # of the sparse model, for words that PLOT has
ADDED = (("brothers", 0.9), ("man", 0.5), ("who", 0.4))  # and for words that it has not


def three_indexes() -> Drawing:
    """Chapter 9: one plot as words, as a vector, as learned weights."""
    d = Drawing(
        "Three kinds of index",
        "The plot of three blind men who rob a bank, stored in three ways: as lists of words, as one vector "
        "of 384 numbers, and as weighted words, some of them added by a model. A query shares no word with "
        "it, is near its vector, and meets three added words with a small score.",
        490,
    )
    d.heading("Three ways to store one plot, and what a query finds in each")
    d.text(150, 84, "a plot, in one line", size=14, anchor="start", color=BLUE, bold=True)
    d.box(150, 94, 330, 34, PLOT, color=BLUE)
    d.text(512, 84, "the query", size=14, anchor="start", color=ORANGE, bold=True)
    d.box(512, 94, 220, 34, SEARCH, color=ORANGE, size=14)
    rows = (
        (146, "words", ("for each word,", "its plots"), _postings),
        (250, "vectors", ("for each plot,", "384 numbers"), _near),
        (354, "weights", ("for each word,", "plots + weights"), _weights),
    )
    for top, name, meaning, draw in rows:
        d.line((28, top), (732, top), color=LINE, width=1)
        d.text(28, top + 34, name, size=16, anchor="start", bold=True)
        for i, line in enumerate(meaning):
            d.text(28, top + 56 + 20 * i, line, size=13, anchor="start", color=MUTED)
        draw(d, top)
    return d


def _postings(d: Drawing, top: float) -> None:
    """Draw the inverted list of three words, and of one of the query's."""
    for i, (word, plots) in enumerate(POSTINGS):
        d.text(206, top + 32 + 26 * i, word, anchor="end", size=15)
        d.arrow((214, top + 27 + 26 * i), (240, top + 27 + 26 * i), color=BLUE)
        d.text(248, top + 32 + 26 * i, plots, anchor="start", size=14, mono=True, color=BLUE)
    d.text(512, top + 34, "no word in common", size=15, anchor="start", bold=True, color=MUTED)
    d.text(512, top + 58, f"heist → {HEIST}", size=14, anchor="start", color=MUTED)
    d.text(512, top + 80, "The plot gets no score.", size=14, anchor="start")


def _near(d: Drawing, top: float) -> None:
    """Draw a dense vector, and its point beside the query's."""
    d.vector(150, top + 28, SHADES, color=BLUE, width=20, height=26)
    d.text(464, top + 46, "…", size=18)
    d.text(150, top + 78, FIRST_NUMBERS, size=14, anchor="start", mono=True, color=BLUE)
    d.text(512, top + 34, "points close by", size=15, anchor="start", bold=True, color=GREEN)
    d.text(512, top + 58, "The plot is near.", size=14, anchor="start")
    for x, y in ((650, 84), (722, 26), (708, 88), (664, 18), (724, 66)):
        d.circle(x, top + y, 4, color=LINE)
    d.line((676, top + 44), (696, top + 58), color=GREEN, width=2.4)
    for x, y, color in ((673, 42, BLUE), (698, 60, ORANGE)):
        d.box(x - 6, top + y - 6, 12, 12, color=color, fill=color, radius=6)


def _weights(d: Drawing, top: float) -> None:
    """Draw the weights of words in the text and of words that the model has added."""
    for left, name, words, color in ((206, "in the text", WEIGHTS, BLUE), (400, "added", ADDED, GREEN)):
        d.text(left + 16, top + 32, name, size=14, color=color, bold=True)
        for i, (word, weight) in enumerate(words):
            y = top + 58 + 24 * i
            d.text(left, y, word, anchor="end", size=15, italic=color == GREEN)
            d.box(left + 8, y - 12, 22 * weight, 14, color=color, fill=tint(color, 0.6), radius=3)
            d.text(left + 16 + 22 * weight, y, f"{weight:.1f}", size=14, anchor="start", color=color)
    d.text(512, top + 34, "added words meet", size=15, anchor="start", bold=True, color=GREEN)
    d.text(512, top + 58, "who: the query's own word", size=14, anchor="start", color=MUTED)
    d.text(512, top + 80, "brothers, man: added to both", size=14, anchor="start", color=MUTED)
    d.text(512, top + 106, "The plot gets a small score.", size=14, anchor="start")


def two_encoders() -> Drawing:
    """Chapter 9: two texts read apart, or together."""
    d = Drawing(
        "Bi-encoder and cross-encoder",
        "On the left, a query and a document go through the encoder separately and become two vectors with "
        "one cosine; the document's half is computed in advance. On the right, both are one input, every "
        "token attends to every other, and a head gives one score.",
        436,
    )
    d.heading("Two texts: read apart and compared, or read together")
    d.text(28, 80, "bi-encoder", size=16, anchor="start", bold=True)
    d.text(412, 80, "cross-encoder", size=16, anchor="start", bold=True)
    d.line((388, 64), (388, 412), color=LINE, width=1)
    _apart(d)
    _together(d)
    return d


def _apart(d: Drawing) -> None:
    d.box(202, 146, 168, 216, color=MUTED, fill="#ffffff", dashed=True, radius=10)
    for left, name, color, shades in ((28, "query", ORANGE, "382615"), (214, "document", BLUE, "471635")):
        middle = left + 72
        d.box(left, 312, 144, 36, name, color=color)
        d.arrow((middle, 312), (middle, 276), color=color, width=2.2)
        encoder = "encoder" if name == "query" else "the same encoder"
        d.box(left, 232, 144, 44, encoder, color=INK, fill="#eef1f4", size=14)
        d.arrow((middle, 232), (middle, 196), color=color, width=2.2)
        d.vector(middle - 48, 164, shades, color=color, height=26)
    d.arrow((100, 160), (100, 112), (132, 112), color=ORANGE, width=2.2)
    d.arrow((286, 160), (286, 112), (254, 112), color=BLUE, width=2.2)
    d.box(136, 94, 114, 36, "cosine", color=GREEN, bold=True)
    d.text(286, 384, "once, in advance", size=14, bold=True, color=BLUE)
    d.text(100, 384, "for each query", size=14, bold=True, color=ORANGE)
    d.text(28, 412, "A new query: one run of the encoder.", size=14, anchor="start")


def _together(d: Drawing) -> None:
    tokens = (("[CLS]", 50, INK), ("query", 70, ORANGE), ("[SEP]", 50, INK), ("document", 84, BLUE),
              ("[SEP]", 50, INK))  # fmt: skip
    left, middles = 412.0, []
    for name, width, color in tokens:
        d.box(left, 312, width, 36, name, color=color, fill="#ffffff" if color == INK else None, size=14)
        middles.append(left + width / 2)
        d.arrow((middles[-1], 312), (middles[-1], 294), color=color)
        left += width + 4
    d.box(412, 180, 320, 112, color=INK, fill="#eef1f4")
    for i, one in enumerate(middles):
        for j, other in enumerate(middles):
            both = {tokens[i][0], tokens[j][0]} == {"query", "document"}
            d.line((one, 280), (other, 224), color=GREEN if both else LINE, width=2.4 if both else 1.2)
    d.text(572, 206, "encoder: all tokens see all", size=15)
    d.arrow((middles[0], 180), (middles[0], 112), (512, 112), color=INK, width=2.2)
    d.box(516, 94, 114, 36, "score", color=GREEN, bold=True)
    d.text(446, 160, "a head reads [CLS]", size=14, anchor="start", color=MUTED)
    d.text(572, 384, "for each pair, nothing in advance", size=14, bold=True, color=INK)
    d.text(412, 412, "A new query: one run for each document.", size=14, anchor="start")


ASKED = "Which famous author turned Animal Farm down for Faber?"
PIECES = ("poet", "t", ".", "s", ".", "eliot", "(")  # of the paragraph that answers it


def retrieve_read_abstain() -> Drawing:
    """Chapter 9: three steps from a question to an answer or to none, and three ways to fail."""
    d = Drawing(
        "Retrieve, read, answer or abstain",
        "A question goes through three steps: the best of 4,406 paragraphs are retrieved, a span head marks "
        "a first and a last token in them, and the span is the answer if its score is high enough, otherwise "
        "there is none. Below each step stands what can go wrong.",
        448,
    )
    d.heading("From a question to an answer, or to none")
    d.box(28, 62, 704, 38, ASKED, color=BLUE, size=16)
    steps = (
        (28, "retrieve", "best of 4,406 paragraphs", _paragraphs),
        (275, "read", "a first and a last token", _span),
        (522, "answer or abstain", "is the score high enough?", _decide),
    )
    for left, name, meaning, draw in steps:
        d.box(left, 132, 210, 164, color=LINE, fill="#ffffff")
        d.text(left + 105, 158, name, size=16, bold=True)
        d.text(left + 105, 180, meaning, size=14, color=MUTED)
        draw(d, left)
    d.arrow((133, 100), (133, 130), color=BLUE, width=2.4)
    d.arrow((380, 100), (380, 130), color=BLUE, width=2.4)
    d.arrow((238, 214), (273, 214), color=BLUE, width=2.4)
    d.arrow((485, 214), (520, 214), color=BLUE, width=2.4)
    failures = (
        ("not retrieved", "the right paragraph is", "not among the best"),
        ("a wrong span", "André Deutsch, from", "the right paragraph"),
        ("an answer anyway", "How tall is Andre Agassi?", "No paragraph says it."),
    )
    for i, (name, first, second) in enumerate(failures):
        middle = 133 + 247 * i
        d.arrow((middle, 296), (middle, 344), color=ORANGE, dashed=True)
        d.box(middle - 105, 346, 210, 84, color=ORANGE, dashed=True)
        d.text(middle, 370, name, size=15, bold=True, color=ORANGE)
        d.text(middle, 393, first, size=14)
        d.text(middle, 414, second, size=14)
    d.text(147, 325, "what can go wrong", size=14, anchor="start", color=ORANGE)
    return d


def _paragraphs(d: Drawing, left: float) -> None:
    """Draw many paragraphs, the best ones dark."""
    for i in range(40):
        found = i in (7, 18, 33)
        fill = tint(BLUE if found else MUTED, 0.85 if found else 0.18)
        x, y = left + 20 + (i % 10) * 17.3, 196 + (i // 10) * 22
        d.box(x, y, 14, 18, color=BLUE if found else LINE, fill=fill, radius=2)


def _span(d: Drawing, left: float) -> None:
    """Draw the pieces of a sentence, those of the answer marked."""
    x, widths = left + 8, (42, 18, 14, 18, 14, 46, 18)
    for i, (piece, width) in enumerate(zip(PIECES, widths, strict=True)):
        inside = 1 <= i <= 5
        d.box(x, 204, width, 32, piece, color=GREEN if inside else LINE, fill=None if inside else "#ffffff",
              size=14, radius=4)  # fmt: skip
        if i in (1, 5):
            d.arrow((x + width / 2, 264), (x + width / 2, 238), color=GREEN, width=2.2)
            d.text(x + width / 2, 281, "first" if i == 1 else "last", size=14, color=GREEN, bold=True)
        x += width + 4


def _decide(d: Drawing, left: float) -> None:
    """Draw both ends: the span, or no answer."""
    for y, name, label, color in ((196, "yes", "T. S. Eliot", GREEN), (244, "no", "no answer", MUTED)):
        d.text(left + 44, y + 23, name, size=14, anchor="end", color=color)
        d.arrow((left + 50, y + 18), (left + 76, y + 18), color=color, width=2.2)
        d.box(left + 80, y, 114, 36, label, color=color, bold=color == GREEN, dashed=color == MUTED)


COMMAND = ("wake", "me", "at", "seven", "tomorrow")
SLOTS = ("O", "O", "O", "B-time", "B-date")


def intent_and_slots() -> Drawing:
    """Chapter 9: one encoder, a head for the command and one for its words."""
    d = Drawing(
        "Intent and slots of a command",
        "The command wake me at seven tomorrow goes through one encoder. A head on the vector of [CLS] gives "
        "the intent set_alarm. A second head, on every other vector, labels seven B-time and tomorrow "
        "B-date; the remaining words are O.",
        436,
    )
    d.heading("One command, one encoder, two heads: what to do, and with what")
    d.box(28, 66, 128, 36, "set_alarm", color=ORANGE, fill=tint(ORANGE, 0.4), bold=True, mono=True)
    d.box(28, 136, 128, 48, "intent head", color=ORANGE, size=16)
    d.arrow((92, 136), (92, 106), color=ORANGE, width=2.4)
    d.box(178, 136, 554, 48, "slot head: the same matrix for every token", color=GREEN, size=16)
    tokens = ("[CLS]", *COMMAND)
    for j, token in enumerate(tokens):
        middle = 92 + j * 116 + (12 if j else 0)
        label = SLOTS[j - 1] if j else ""
        color = ORANGE if j == 0 else GREEN if label != "O" else MUTED
        if j:
            d.arrow((middle, 136), (middle, 106), color=color, width=2.4 if label != "O" else 1.8)
            filled = tint(GREEN, 0.4) if label != "O" else "#ffffff"
            d.box(middle - 42, 66, 84, 36, label, color=color, fill=filled, mono=True, bold=label != "O")
        d.arrow((middle, 220), (middle, 188), color=color)
        d.vector(middle - 40, 224, "38164"[j % 3 :] + "27"[: j % 3], color=color, height=22)
        d.arrow((middle, 274), (middle, 250), color=MUTED)
        d.arrow((middle, 364), (middle, 338), color=MUTED)
        d.text(middle, 384, token, size=15, mono=True)
    d.box(28, 276, 704, 60, color=BLUE, fill=tint(BLUE, 0.22))
    d.text(380, 312, "one encoder, trained by both losses at once", size=17, bold=True)
    d.text(380, 418, "B begins a slot · I is inside one · O is outside", size=14, color=MUTED)
    return d


SENTENCE = ("ann", "sold", "the", "car", "that", "bob", "repaired", ".")
PREDICATES = (  # the predicate, and its roles with their first and last tokens
    ("sold", (("agent", 0, 0), ("theme", 2, 6))),
    ("repaired", (("theme", 4, 4), ("agent", 5, 5))),
)
ROLE_COLORS = {"agent": GREEN, "theme": BLUE}
WIDTHS = {"sold": 70, "repaired": 78, ".": 30}  # pixels; of other tokens 58


def marked_predicate() -> Drawing:
    """Chapter 9: the same sentence, asked about each of its verbs."""
    d = Drawing(
        "A predicate marked by token types",
        "The sentence Ann sold the car that Bob repaired, twice. With token type 1 at sold, Ann is the agent "
        "and the car that Bob repaired is the theme. With 1 at repaired, Bob is the agent and the word that "
        "is the theme.",
        420,
    )
    d.heading("One sentence, two verbs: a token type marks the one asked about")
    for top, (verb, roles) in zip((62, 236), PREDICATES, strict=True):
        _marked(d, top, verb, roles)
    d.line((28, 224), (732, 224), color=LINE, width=1)
    d.text(96, 398, "“that” stands for the car: the pronoun gets the role, “the car” does not.", size=14,
           anchor="start", color=MUTED)  # fmt: skip
    return d


def _marked(d: Drawing, top: float, verb: str, roles: tuple[tuple[str, int, int], ...]) -> None:
    """Draw the sentence with one verb marked, from `top` on."""
    for name, y in (("token", 38), ("type", 76), ("role", 128)):
        d.text(28, top + y, name, size=14, anchor="start", color=MUTED)
    place = SENTENCE.index(verb)
    colors = {i: ROLE_COLORS[role] for role, first, last in roles for i in range(first, last + 1)}
    edges = _tokens(d, top, {**colors, place: ORANGE}, place)
    for role, first, last in roles:
        left, right, color = edges[first][0], edges[last][1], ROLE_COLORS[role]
        low, high = top + 104, top + 92
        d.line((left, high), (left, low), (right, low), (right, high), color=color, width=2)
        d.text((left + right) / 2, top + 128, role, size=15, bold=True, color=color)
    d.text(sum(edges[place]) / 2, top + 128, "predicate", size=13, color=ORANGE)


def _tokens(d: Drawing, top: float, colors: dict[int, str], verb: int) -> dict[int, tuple[float, float]]:
    """Draw the tokens and their types; return the left and right edge of each token of the sentence."""
    x, edges = 96.0, {}
    for i, token in enumerate(("[CLS]", *SENTENCE, "[SEP]"), start=-1):
        width, marked = WIDTHS.get(token, 58), i == verb
        color = colors.get(i, MUTED if token.startswith("[") else LINE)
        fill = tint(color, 0.5 if marked else 0.16) if i in colors else "#ffffff"
        d.box(x, top + 16, width, 34, token, color=color, fill=fill, size=14, bold=marked)
        kind, shade = ("1", ORANGE) if marked else ("0", MUTED)
        d.text(x + width / 2, top + 76, kind, size=16, mono=True, bold=marked, color=shade)
        edges[i] = (x, x + width)
        x += width + 4
    return edges


WATCHED = ("Signs", "Insomnia", "[MASK]", "Solaris", "Abandon")
CANDIDATES = (("Minority Report", 300), ("The Pianist", 140), ("Chicago", 90), ("Ice Age", 36))


def masked_items() -> Drawing:
    """Chapter 9: a film is a token."""
    d = Drawing(
        "Recommending as filling a mask",
        "The films that one person watched stand in a row, in order; one is replaced by [MASK]. BERT reads "
        "the row and gives each film of the catalog a bar, as it does with words. The longest bar belongs to "
        "the film it recommends.",
        424,
    )
    d.heading("A film is a token, a person's history is a sentence")
    d.text(28, 78, "what one person watched, in order", size=14, anchor="start", color=MUTED)
    for i, film in enumerate(WATCHED):
        left, masked = 28 + i * 142, film == "[MASK]"
        d.box(left, 90, 136, 44, film, color=ORANGE if masked else BLUE, dashed=masked, bold=masked, size=16)
        d.arrow((left + 68, 134), (left + 68, 164), color=ORANGE if masked else MUTED)
    d.box(28, 166, 704, 52, color=INK, fill="#eef1f4")
    d.text(380, 198, "BERT, with a vocabulary of films", size=17, bold=True)
    d.arrow((380, 218), (380, 250), color=ORANGE, width=2.4)
    for i, (film, width) in enumerate(CANDIDATES):
        y = 262 + i * 28
        d.text(364, y + 16, film, anchor="end", bold=i == 0)
        d.box(374, y, width, 20, color=ORANGE, fill=tint(ORANGE, 0.75 if i == 0 else 0.3), radius=3)
    d.text(396, 244, "which film stands here?", size=14, anchor="start", color=ORANGE)
    d.text(
        380, 402, "To recommend the next film, put [MASK] at the end (BERT4Rec, Sun et al. 2019).", size=14
    )
    return d
