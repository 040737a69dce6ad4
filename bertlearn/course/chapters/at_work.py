"""What chapter 9's cells call: commands and their model, pairs of texts, tables of stored results."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import bootstrap
from torch import Tensor, nn
from torch.nn.functional import normalize

from bertlearn.course import labeled
from bertlearn.course.encoders import load_encoder
from bertlearn.course.figures import Picture, plot_curves, plot_matrix
from bertlearn.course.labeled import Command
from bertlearn.course.results import Results, Row, Summary, summarize
from bertlearn.course.solutions.at_work import contrastive_loss
from bertlearn.finetuning.spans import Span, bio_labels, decode_bio, token_labels
from bertlearn.model.bert import BertModel, mean_pooling
from bertlearn.model.joint import BertForIntentAndSlots
from bertlearn.tokenizer.wordpiece import WordPieceTokenizer

# 1. Commands

TEMPLATES, VALUES = 0.7, 0.67  # the shares of each intent's templates and of each slot's values for training
RECIPE = {"commands": 1800, "epochs": 3, "batch_size": 16, "learning_rate": 1e-4, "warmup_steps": 20}
MISHEARD = 0.5  # the chance that a phrase is misheard, if it is one that can be; half of them in training


class Understanding(NamedTuple):
    """A trained joint model and what it needs."""

    model: BertForIntentAndSlots
    tokenizer: WordPieceTokenizer
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


def learn(
    model: nn.Module,
    loss_of: Callable[[list[int]], Tensor],
    count: int,
    recipe: Mapping[str, float],
    seed: int,
) -> None:
    """Train a model in place with AdamW: a short warm-up, then a straight fall of the rate.

    Args:
        model: returned in evaluation mode.
        loss_of: returns the loss of the examples with these numbers.
        count: of examples.
        recipe: "epochs", "batch_size", "learning_rate" and "warmup_steps".
        seed: of the order and of dropout.
    """
    size = min(int(recipe["batch_size"]), count)
    steps = int(recipe["epochs"] * count) // size
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe["learning_rate"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / recipe["warmup_steps"], (steps - step) / steps)
    )
    torch.manual_seed(seed)
    draw = random.Random(seed)
    order: list[int] = []
    model.train()
    for _ in range(steps):
        if len(order) < size:
            order = draw.sample(range(count), count)
        loss = loss_of([order.pop() for _ in range(size)])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
    model.eval()


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


# 2. Two texts that belong together

PAIRS = {"epochs": 1, "batch_size": 32, "learning_rate": 3e-5, "warmup_steps": 5}
PAIR_LENGTH = 128  # tokens of a text


def train_pairs(
    encoder: BertModel, tokenizer: WordPieceTokenizer, pairs: Sequence[tuple[str, str]], seed: int
) -> BertModel:
    """Return a copy of an encoder that learned to find each pair's second text with its first (`PAIRS`).

    The wrong answers to a first text are the other second texts of its batch. Equal ones are none. The
    embeddings stay as they are.
    """
    trained = copy.deepcopy(encoder)
    trained.embeddings.requires_grad_(False)  # half of the parameters; few texts change them little
    numbers = {text: number for number, text in enumerate(dict.fromkeys(second for _, second in pairs))}

    def loss_of(rows: list[int]) -> Tensor:
        firsts, seconds = zip(*(pairs[row] for row in rows), strict=True)
        names = torch.tensor([numbers[text] for text in seconds])
        queries, documents = (_unit(trained, tokenizer, texts) for texts in (firsts, seconds))
        return contrastive_loss(queries, documents, names)

    learn(trained, loss_of, len(pairs), PAIRS, seed)
    return trained


def _unit(encoder: BertModel, tokenizer: WordPieceTokenizer, texts: Sequence[str]) -> Tensor:
    """Return the mean vectors of texts, of length 1, through which gradients flow."""
    encodings = [tokenizer.encode(text, max_length=PAIR_LENGTH) for text in texts]
    batch = tokenizer.pad(encodings)
    hidden = encoder(**batch._asdict()).last_hidden_state
    return normalize(mean_pooling(hidden, batch.attention_mask), dim=1)


# 3. Tables and figures of stored results


class SearchScore(NamedTuple):
    """How well a system does on all queries, and how much better than words."""

    ndcg: float  # nDCG@10, the mean over queries and seeds
    reciprocal_rank: float  # MRR
    gain: float  # nDCG@10 minus that of words
    low: float  # the gain's 95 % interval with other queries
    high: float
    megabytes: float  # of the index


def search_scores(
    rows: Sequence[Row], queries: str, chosen: Sequence[int] | None = None
) -> dict[str, SearchScore]:
    """Return the score of each system, from the rows of the results file "search".

    Args:
        rows: of the file.
        queries: "searches" or "last sentences".
        chosen: numbers of the queries that count; None for all.
    """
    systems: dict[str, list[Row]] = {}
    for row in rows:
        if row["queries"] == queries:
            systems.setdefault(row["system"], []).append(row)
    words = _by_query(systems["words"], "ndcg", chosen)
    scores = {}
    for system, runs in systems.items():
        ndcg, rank = (_by_query(runs, measure, chosen) for measure in ("ndcg", "reciprocal_rank"))
        interval = _interval(ndcg - words)
        gain = float((ndcg - words).mean())
        scores[system] = SearchScore(
            float(ndcg.mean()), float(rank.mean()), gain, *interval, runs[0]["megabytes"]
        )
    return scores


def _by_query(runs: Sequence[Row], measure: str, chosen: Sequence[int] | None) -> np.ndarray:
    """Return each query's score, the mean over seeds, floats (Q,)."""
    scores = np.mean([run[measure] for run in runs], axis=0)
    return scores if chosen is None else scores[list(chosen)]


def _interval(gains: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the mean gain if other queries were drawn (paired bootstrap)."""
    if len(gains) < 2 or np.ptp(gains) == 0:
        return float(gains.mean()), float(gains.mean())
    found = bootstrap((gains,), np.mean, n_resamples=5000, method="percentile", rng=0).confidence_interval
    return float(found.low), float(found.high)


def print_table(
    rows: Sequence[Row], down: str = "method", across: str = "setting", names: Sequence[str] = ()
) -> None:
    """Print the mean score of the runs, with the standard deviation if there are several.

    Args:
        rows: of "work" or "tuned", of one measure.
        down: the column that gives the lines of the table.
        across: the column that gives its columns.
        names: the columns shown, in this order; all of them if empty.
    """
    found = summarize(list(rows), "score", down, across)
    lines = list(dict.fromkeys(row[down] for row in rows))
    columns = list(names) or list(dict.fromkeys(row[across] for row in rows))
    width = max(len(line) for line in lines)
    widths = [max(len(column), 11) for column in columns]
    print(" " * width, *(f"  {column:>{wide}}" for column, wide in zip(columns, widths, strict=True)), sep="")
    for line in lines:
        cells = (_cell(found.get((line, column))) for column in columns)
        print(
            f"{line:{width}}",
            *(f"  {cell:>{wide}}" for cell, wide in zip(cells, widths, strict=True)),
            sep="",
        )


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return "–"
    return f"{summary.mean:.3f} ± {summary.std:.3f}" if summary.runs > 1 else f"{summary.mean:.3f}"


def mean_of(rows: Sequence[Row], **conditions: str) -> float:
    """Return the mean score of the rows that have these values."""
    return float(np.mean([row["score"] for row in rows if all(row[k] == v for k, v in conditions.items())]))


def plot_kinds(results: Results, systems: Sequence[str]) -> Picture:
    """Draw nDCG@10 of the searches by kind of query."""
    searches = labeled.load_searches()
    kinds = list(dict.fromkeys(search.kind for search in searches))
    numbers = {kind: [at for at, one in enumerate(searches) if one.kind == kind] for kind in kinds}
    scores = [search_scores(results.rows, "searches", numbers[kind]) for kind in kinds]
    values = [[score[system].ndcg for system in systems] for score in scores]
    rows = [f"{kind} ({len(numbers[kind])})" for kind in kinds]
    title = "nDCG@10 by kind of query (number of queries)"
    return plot_matrix(
        values, rows, list(systems), title, "system", "kind of query", numbers=True, limits=(0, 1)
    )


def plot_shots(rows: Sequence[Row], shots: Sequence[int]) -> Picture:
    """Draw accuracy over the number of examples of each kind of question, by method."""
    curves: dict[str, list[list[float]]] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        points = [
            [
                row["score"]
                for row in rows
                if row["method"] == method and row["setting"] == f"{n} examples a kind"
            ]
            for n in shots
        ]
        if all(points):
            curves[method] = np.array(points).T.tolist()
    labels = ("Six kinds of question, 1,000 to test on", "examples of each kind", "accuracy (band: all runs)")
    return plot_curves(shots, curves, *labels, log="x")
