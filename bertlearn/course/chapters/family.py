"""What chapter 7's cells call: letters for the four masks, two senses of a word, writing, a new domain.

Leaves out: everything that the chapter teaches, which stays in its cells or is in `bertlearn.analysis`.

Shape letters: B batch, S sequence, V vocabulary.
"""

from __future__ import annotations

import ast
import math
import re
import sysconfig
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bertlearn.course.chapters.pretraining import ready
from bertlearn.course.corpus import course_documents
from bertlearn.data import Document
from bertlearn.model.config import BertConfig
from bertlearn.model.heads import BertForMaskedLM
from bertlearn.pretraining.models import sinusoidal_positions
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

__all__ = ["ready"]  # also for this chapter

# The four masks: a model that reads letters

ALPHABET = "\0 abcdefghijklmnopqrstuvwxyz_"  # [PAD], the space, 26 letters, [MASK]
MASK = len(ALPHABET) - 1
LENGTH = 16  # of a sequence, in letters
GAP = 8  # the position of the letter that is to be filled in


def letters_of(split: str) -> Tensor:
    """Return the course's texts of a split as small letters and single spaces, int64 (letters,)."""
    joined = " ".join(plain(document.text) for document in course_documents(split))
    table = torch.zeros(128, dtype=torch.int64)
    table[[ord(letter) for letter in ALPHABET]] = torch.arange(len(ALPHABET))
    return table[torch.frombuffer(bytearray(joined.encode("ascii")), dtype=torch.uint8).long()]


def plain(text: str) -> str:
    """Return a text as small letters and single spaces."""
    return " ".join(re.findall("[a-z]+", text.lower()))


def spell(ids: Tensor) -> str:
    """Return the text of letters (S,)."""
    return "".join(ALPHABET[i] for i in ids.tolist())


def sequences(letters: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return pieces of a text from random places, int64 (count, LENGTH)."""
    starts = torch.randint(len(letters) - LENGTH, (count,), generator=generator)
    return letters[starts[:, None] + torch.arange(LENGTH)]


class Trained(NamedTuple):
    """A model and the loss of each step."""

    model: BertForMaskedLM
    losses: list[float]


Loss = Callable[[BertForMaskedLM, Tensor, torch.Generator], Tensor]


def letter_model(seed: int) -> BertForMaskedLM:
    """Return an untrained BERT of 2 layers with 64 features that reads letters."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(ALPHABET),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=LENGTH,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,
    )
    model = BertForMaskedLM(config)
    positions = sinusoidal_positions(LENGTH, config.hidden_size)
    model.bert.embeddings.position_embeddings.weight.data.copy_(0.15 * positions)  # leaves the plateau sooner
    return model


def train(loss_of: Loss, letters: Tensor, steps: int = 3000, batch_size: int = 32, seed: int = 0) -> Trained:
    """Train a letter model with one objective; a tenth of the steps warm up, then the rate falls to 0.

    Args:
        loss_of: takes the model, letters (B, S) and a generator, and returns the loss, in nats.
        letters: the text, int64 (letters,).
        steps: updates.
        batch_size: sequences of a step.
        seed: of the weights and of all draws.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with matrices this small, a second thread would only wait
    model, generator = letter_model(seed), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), fused=True)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(10 * (step + 1) / steps, 1) * (1 - step / steps)
    )
    losses = []
    for _ in range(steps):
        loss = loss_of(model, sequences(letters, batch_size, generator), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
        losses.append(loss.item())
    torch.set_num_threads(threads)
    return Trained(model.eval(), losses)


def scores(model: BertForMaskedLM, ids: Tensor, visible: Tensor, positions: Tensor | None = None) -> Tensor:
    """Return the logits of every position, floats (B, S, V), if each token sees only what is visible.

    Args:
        model: any BERT with a masked-word head.
        ids: int64 (B, S).
        visible: booleans (S, S) or (B, 1, S, S), rows are queries, columns are keys.
        positions: int64 (1, S), the position of each token; 0, 1, 2, … if None.
    """
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)
    embeddings = model.bert.embeddings(ids, position_ids=positions)
    states, _ = model.bert.encoder(embeddings, mask)
    return model.cls.predictions(states[-1])


@torch.no_grad()
def try_all_letters(model: BertForMaskedLM, ids: Tensor, visible: Tensor, place: int) -> Tensor:
    """Return how likely the text is from a place on with each letter there: floats (B, V), log-probabilities.

    One pass of the model for each letter. [PAD] and [MASK] are no letters and have −∞.

    Args:
        model: a model that predicts the next letter.
        ids: int64 (B, S); what stands at the place does not matter.
        visible: booleans (S, S), as in training.
        place: the position that is to be filled, at least 1.
    """
    likely = torch.full((len(ids), len(ALPHABET)), -torch.inf)
    for letter in range(1, MASK):
        tried = ids.clone()
        tried[:, place] = letter
        log_probs = scores(model, tried, visible).log_softmax(dim=-1)[:, place - 1 : -1]  # (B, rest, V)
        likely[:, letter] = log_probs.gather(2, tried[:, place:, None]).sum(dim=(1, 2))
    return likely


# Writing with a masked-word model


def with_gaps(tokenizer: WordPieceTokenizer, start: str, count: int, end: str = ".") -> Tensor:
    """Return the ids of `[CLS] start [MASK] … [MASK] end [SEP]`, int64 (S,)."""
    first, last = tokenizer.encode(start).input_ids, tokenizer.encode(end).input_ids
    return torch.tensor([*first[:-1], *[tokenizer.mask_token_id] * count, *last[1:]])


def read(tokenizer: WordPieceTokenizer, ids: Tensor) -> str:
    """Return the text of ids (S,), gaps as _, without [CLS] and [SEP]."""
    return tokenizer.decode(ids[1:-1].tolist()).replace("[MASK]", "_")


def schedule(count: int, steps: int, shape: Literal["linear", "cosine"] = "linear") -> list[int]:
    """Return how many of `count` gaps masked diffusion opens at each step; the sum is `count`.

    After a share t of the steps, a share 1 − t of the gaps is still closed ("linear"), or cos(π t / 2)
    ("cosine": few at first, when little is known, and many at the end).

    Raises:
        ValueError: no gap, no step, more steps than gaps, or another shape.

    Source: Austin et al. 2021, §3 (absorbing states); the cosine: Chang et al. 2022, §3.3.
    """
    if not 1 <= steps <= count:
        raise ValueError(f"steps={steps} must lie between 1 and count={count}: each step opens a gap or more")
    if shape not in ("linear", "cosine"):
        raise ValueError(f"shape={shape!r} is unknown; use linear or cosine")
    shares = (step / steps for step in range(1, steps + 1))
    curve = (lambda t: math.cos(math.pi * t / 2)) if shape == "cosine" else (lambda t: 1 - t)
    left = [count]
    for step, t in enumerate(shares, 1):
        closed = round(count * curve(t))
        left.append(max(steps - step, min(left[-1] - 1, closed)))  # each step opens one, none is left over
    return [before - after for before, after in pairwise(left)]


def unmask_at_random(
    ids: Tensor, logits: Tensor, mask_id: int, count: int, generator: torch.Generator
) -> Tensor:
    """Return ids (S,) in which `count` random gaps have drawn tokens: a step of masked diffusion.

    Args:
        ids: int64 (S,), `mask_id` where a token is missing.
        logits: floats (S, V).
        mask_id: the id of a gap.
        count: gaps to fill; all of them if there are fewer.
        generator: chooses the gaps and draws the tokens.
    """
    gaps = (ids == mask_id).nonzero().flatten()
    chosen = gaps[torch.randperm(len(gaps), generator=generator)[:count]]
    opened = ids.clone()
    opened[chosen] = torch.multinomial(logits[chosen].softmax(-1), 1, generator=generator).flatten()
    return opened


@torch.no_grad()
def continue_letters(
    model: BertForMaskedLM, start: str, count: int, visible: Tensor, generator: torch.Generator
) -> str:
    """Let a decoder of letters write: `start` and `count` drawn letters. It sees the last 15 letters.

    Args:
        model: a model that predicts the next letter, trained with `visible`.
        start: at least 15 small letters and spaces.
        count: letters to draw.
        visible: booleans (LENGTH, LENGTH), a decoder's mask.
        generator: draws the letters.
    """
    text = [ALPHABET.index(letter) for letter in start]
    for _ in range(count):
        seen = torch.tensor([[*text[-(LENGTH - 1) :], 0]])  # what stands at the last position is not seen
        logits = scores(model, seen, visible)[0, -2, 1:MASK]  # of the letters and the space
        text.append(1 + int(torch.multinomial(logits.softmax(-1), 1, generator=generator)))
    return "".join(ALPHABET[i] for i in text)


class LetterCounts:
    """An independent judge of text: a letter's probability after the four before it, from counts alone.

    Longer contexts count as far as they were seen: each probability is mixed with that of the next shorter
    context, which has the weight of `STRENGTH` sightings.

    Args:
        text: small letters and single spaces, which no judged model was trained on.
    """

    LONGEST, STRENGTH = 5, 4.0

    def __init__(self, text: str) -> None:
        ends = range(1, len(text) + 1)
        self.seen = Counter(text[max(0, end - n) : end] for n in range(1, self.LONGEST + 1) for end in ends)
        self.contexts: Counter[str] = Counter()
        for gram, count in self.seen.items():
            self.contexts[gram[:-1]] += count

    def probability(self, letter: str, before: str) -> float:
        """Return the probability of a letter after the text `before`."""
        p = 1 / (MASK - 1)  # the space and 26 letters
        for n in range(min(self.LONGEST - 1, len(before)) + 1):
            context = before[len(before) - n :]
            p = (self.seen[context + letter] + self.STRENGTH * p) / (self.contexts[context] + self.STRENGTH)
        return p

    def loss(self, text: str, known: int = 0) -> float:
        """Return the mean loss of a text's letters after the first `known`, in nats per letter."""
        places = range(known, len(text))
        return -sum(math.log(self.probability(text[i], text[:i])) for i in places) / len(places)


# A domain that no course text has: the documentation of Python itself


def python_documents() -> tuple[list[Document], list[Document]]:
    """Return the descriptions of functions and classes in Python's own modules, to train on and held out.

    A document is all of a module's; every tenth module is held out. Every reader has these texts; other
    versions of Python have slightly different ones.
    """
    found = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        tree = ast.parse(path.read_bytes())
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        texts = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
        lines = [" ".join(text.split()) for text in texts if text]
        if lines:
            found.append(Document("python", "\n".join(lines)))
    return [one for i, one in enumerate(found) if i % 10], found[::10]


# One word, two senses

SENSES: dict[str, dict[str, tuple[str, ...]]] = {
    "bank": {
        "money": (
            "She opened an account at the bank on Monday.",
            "The bank lent him money for a new house.",
            "He works as a cashier in a small bank.",
            "The bank raised its interest rates again.",
            "They paid the check into their bank.",
        ),
        "river": (
            "We sat on the bank and watched the boats.",
            "The river rose over its bank after the storm.",
            "A heron stood on the muddy bank of the stream.",
            "He tied the canoe to a tree on the bank.",
            "Wild flowers grew along the bank of the canal.",
        ),
    },
    "bat": {
        "animal": (
            "A bat flew out of the cave at dusk.",
            "The bat hung upside down from the roof.",
            "At night the bat hunts moths and other insects.",
            "A small brown bat was asleep in the attic.",
            "The bat finds its way in the dark by sound.",
        ),
        "sport": (
            "He swung the bat and missed the ball.",
            "The player broke his bat in the last game.",
            "She bought a wooden bat and a leather glove.",
            "The coach showed him how to hold the bat.",
            "The ball hit the edge of the bat and flew into the crowd.",
        ),
    },
    "spring": {
        "season": (
            "The birds come back in spring.",
            "They were married in the spring of 1999.",
            "After a long winter we were glad that spring had come.",
            "Farmers sow wheat in early spring.",
            "The cherry trees flower every spring.",
        ),
        "coil": (
            "The spring in the old mattress was broken.",
            "Press the lid down against the spring and let go.",
            "A steel spring drives the hands of the watch.",
            "The spring stretches when a weight hangs from it.",
            "He replaced the rusty spring of the garage door.",
        ),
    },
    "light": {
        "lamp": (
            "Please turn off the light when you leave the room.",
            "The light of the moon fell on the water.",
            "A bright light shone through the window.",
            "Plants need water and light to grow.",
            "The light in the kitchen is broken.",
        ),
        "weight": (
            "The new bicycle is light enough to carry upstairs.",
            "This suitcase is light because it is empty.",
            "She packed a light tent for the long walk.",
            "Feathers are light and stones are heavy.",
            "The box was so light that a child could lift it.",
        ),
    },
    "plant": {
        "factory": (
            "The plant makes two thousand cars a week.",
            "Workers at the plant went on strike for higher pay.",
            "The company closed its chemical plant last year.",
            "He is an engineer at a power plant near the city.",
            "The steel plant employs half of the town.",
        ),
        "green": (
            "Water the plant once a week.",
            "The plant has red flowers and large leaves.",
            "She put the plant in a bigger pot with fresh soil.",
            "This plant grows well in the shade.",
            "The goat ate every plant in the garden.",
        ),
    },
    "match": {
        "game": (
            "The match ended without a goal.",
            "Thousands of fans came to watch the match.",
            "She won the tennis match in three sets.",
            "The referee stopped the match because of the rain.",
            "Our team lost the final match of the season.",
        ),
        "fire": (
            "He struck a match and lit the candle.",
            "The match burned his fingers before it went out.",
            "She lit the stove with a match.",
            "A single match can start a forest fire.",
            "The last match in the box was wet.",
        ),
    },
}
"""Sixty sentences written for this chapter: six words, two senses each, five sentences for each sense."""


class Use(NamedTuple):
    """A sentence in which a word has one of its senses."""

    word: str
    sense: str
    sentence: str


def uses() -> list[Use]:
    """Return the sixty sentences with their words and senses."""
    return [
        Use(word, sense, sentence)
        for word, senses in SENSES.items()
        for sense, sentences in senses.items()
        for sentence in sentences
    ]


def nearest_senses(vectors: Tensor, examples: Sequence[Use]) -> list[bool]:
    """Return for each use whether the nearest other use of its word has its sense.

    Args:
        vectors: floats (U, D), a vector for each use.
        examples: U uses.
    """
    unit = F.normalize(vectors.double(), dim=1)
    found = []
    for i, use in enumerate(examples):
        others = [j for j, other in enumerate(examples) if other.word == use.word and j != i]
        best = max(others, key=lambda j: float(unit[i] @ unit[j]))
        found.append(examples[best].sense == use.sense)
    return found
