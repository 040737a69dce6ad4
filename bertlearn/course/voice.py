"""Commands for a voice assistant: made from templates, misheard, and understood (chapter 9)."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bertlearn.course import labeled
from bertlearn.course.encoders import load_encoder
from bertlearn.course.labeled import Command
from bertlearn.course.small_training import learn
from bertlearn.finetuning.spans import Span, bio_labels, decode_bio, token_labels
from bertlearn.model.joint import BertForIntentAndSlots
from bertlearn.tokenizer.encoding import SubwordTokenizer

TEMPLATES, VALUES = 0.7, 0.67  # the shares of each intent's templates and of each slot's values for training
RECIPE = {"commands": 1800, "epochs": 3, "batch_size": 16, "learning_rate": 1e-4, "warmup_steps": 20}
MISHEARD = 0.5  # the chance that a phrase is misheard, if it is one that can be; half of them in training


class Understanding(NamedTuple):
    """A trained joint model and what it needs."""

    model: BertForIntentAndSlots
    tokenizer: SubwordTokenizer
    slot2id: dict[str, int]


def command_sets(seed: int, count: int = 300) -> dict[str, list[Command]]:
    """Return commands to train on and to test on; the last two sets are people's words, not templates.

    No test set has a command of the training set; the two training sets differ in misheard words, and the
    phrases misheard there are not those of the tests.
    """
    draw = random.Random(seed)
    old, new = _split(labeled.load_templates(), TEMPLATES, draw)
    known, unknown = _split(labeled.load_values(), VALUES, draw)
    phrases, others = _split({"": list(labeled.load_misheard())}, 0.5, draw)
    people = [command for command in labeled.load_commands() if command.intent != "other"]
    train = _filled(old, known, int(RECIPE["commands"]), draw)
    seen = {command.text for command in train}
    again = [command for command in _filled(old, known, 9 * count, draw) if command.text not in seen]
    return {
        "train": train,
        "train, misheard": [mishear(command, draw, phrases[""]) for command in train],
        "the same templates": again[:count],
        "new values": _filled(old, unknown, count, draw),
        "new templates": _filled(new, known, count, draw),
        "people's words": people,
        "people's words, misheard": [mishear(command, draw, others[""]) for command in people],
    }


def _split(
    lists: Mapping[str, Sequence[str]], share: float, draw: random.Random
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Shuffle each list and split it into its first part, this share of it, and the rest."""
    first, rest = {}, {}
    for name, items in lists.items():
        mixed, cut = draw.sample(items, len(items)), round(share * len(items))
        first[name], rest[name] = mixed[:cut], mixed[cut:]
    return first, rest


def _filled(
    templates: Mapping[str, list[str]], values: dict[str, list[str]], count: int, draw: random.Random
) -> list[Command]:
    """Return commands of all intents in turn, from random templates and values."""
    intents = list(templates)
    chosen = [intents[number % len(intents)] for number in range(count)]
    return [Command(intent, *labeled.fill(draw.choice(templates[intent]), values, draw)) for intent in chosen]


def mishear(
    command: Command, draw: random.Random, phrases: Sequence[str], chance: float = MISHEARD
) -> Command:
    """Return the command as speech recognition may write it; a slot keeps what became of its words.

    Args:
        command: what was said.
        draw: decides what is misheard.
        phrases: those of `labeled.load_misheard` that can be.
        chance: for each of them.
    """
    wrong = {right: heard for right, heard in labeled.load_misheard().items() if right in phrases}
    heard = [(_misheard(words.split(), draw, chance, wrong), label) for words, label in _parts(command)]
    line = " ".join(f"[{label} {words}]" if label else words for words, label in heard)
    return Command(command.intent, *labeled.marked(line))


def _parts(command: Command) -> list[tuple[str, str]]:
    """Return the slots and the words between them in order, each with its label; "" between slots."""
    parts, done = [], 0
    for start, end, label in sorted(command.slots):
        parts += [(command.text[done:start], ""), (command.text[start:end], label)]
        done = end
    return [(words.strip(), label) for words, label in [*parts, (command.text[done:], "")] if words.strip()]


def _misheard(words: list[str], draw: random.Random, chance: float, phrases: Mapping[str, str]) -> str:
    heard, at = [], 0
    while at < len(words):
        for right, wrong in phrases.items():
            length = len(right.split())
            if words[at : at + length] == right.split() and draw.random() < chance:
                heard.append(wrong)
                at += length
                break
        else:
            heard.append(words[at])
            at += 1
    return " ".join(heard)


def train_commands(commands: Sequence[Command], seed: int) -> Understanding:
    """Fine-tune MiniLM with both heads, as `RECIPE` says."""
    encoder, tokenizer = load_encoder("minilm")
    slots = bio_labels(sorted(labeled.load_values()))
    intents = sorted(labeled.load_templates())
    model = BertForIntentAndSlots.from_encoder(encoder, intents, slots, torch.Generator().manual_seed(seed))
    made = Understanding(model, tokenizer, {name: number for number, name in enumerate(slots)})
    learn(
        model, lambda rows: command_loss(made, [commands[row] for row in rows]), len(commands), RECIPE, seed
    )
    return made


def command_loss(made: Understanding, commands: Sequence[Command]) -> Tensor:
    """Return the loss of both heads for a batch, in nats."""
    encodings = [made.tokenizer.encode(command.text) for command in commands]
    batch = made.tokenizer.pad(encodings)
    slots = torch.full_like(batch.input_ids, -100)
    for row, (encoding, command) in enumerate(zip(encodings, commands, strict=True)):
        labels = token_labels(encoding, command.slots, made.slot2id)
        slots[row, : len(labels)] = torch.tensor(labels)
    number = {name: number for number, name in made.model.id2intent.items()}
    intents = torch.tensor([number[command.intent] for command in commands])
    return made.model(**batch._asdict(), intent_labels=intents, slot_labels=slots).loss


@torch.no_grad()
def understand(made: Understanding, commands: Sequence[Command]) -> list[Command]:
    """Return what the model makes of the texts of commands."""
    encodings = [made.tokenizer.encode(command.text) for command in commands]
    found = made.model(**made.tokenizer.pad(encodings)._asdict())
    answers = []
    for row, (encoding, command) in enumerate(zip(encodings, commands, strict=True)):
        intent = made.model.id2intent[int(found.intent_logits[row].argmax())]
        labels = found.slot_logits[row, : len(encoding.input_ids)].argmax(-1)
        answers.append(Command(intent, command.text, decode_bio(encoding, labels, made.model.id2slot)))
    return answers


def known_values(commands: Sequence[Command]) -> dict[str, str]:
    """Return the slot of each value in commands, the longest value first."""
    pairs = {command.text[start:end]: label for command in commands for start, end, label in command.slots}
    return dict(sorted(pairs.items(), key=lambda pair: -len(pair[0])))


def listed_values(text: str, known: Mapping[str, str]) -> list[Span]:
    """Return the known values that a text has, longer ones first: slots without a model."""
    found: list[Span] = []
    for value, label in known.items():
        for match in re.finditer(rf"\b{re.escape(value)}\b", text):
            start, end = match.span()
            if all(end <= span.start or span.end <= start for span in found):
                found.append(Span(start, end, label))
    return sorted(found)
