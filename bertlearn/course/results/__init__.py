"""Results of runs that take too long for an evening: many seeds, many sizes (chapters 5 to 9).

`tools/make_results.py` (`make results`) computes them, `tools/make_lab.py` those of chapters 7 and 8,
`tools/make_search.py` and `make_work.py` those of chapter 9; this module reads them. Each file contains the
measurements, one row per run (or evaluation), and their provenance: the command, its settings, the data and
the machine.
Leaves out: the fine-tuned models themselves, which a chapter trains again in minutes.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent

Row = dict[str, Any]

# The columns of each file's rows. A value that a row lacks is None: a baseline has no seed.
COLUMNS: dict[str, dict[str, tuple[type, ...]]] = {
    "models": {
        "model": (str,),
        "seed": (int, type(None)),
        "accuracy": (float,),  # on the test split
        "macro_f1": (float,),
        "validation_accuracy": (float,),
        "core_minutes": (float,),  # training time on one core, which other load on the machine changes little
        "parameters": (int,),
        "sentences_per_core_second": (float, type(None)),
        "validation_log_odds": (list, type(None)),  # log of p(fresh) / p(rotten), one per sentence
        "test_log_odds": (list, type(None)),
    },
    "learning_curve": {
        "model": (str,),
        "sentences": (int,),
        "seed": (int,),
        "accuracy": (float,),
    },
    "split": {
        "model": (str,),
        "split": (str,),  # "random" or "film"
        "seed": (int,),
        "accuracy": (float,),
    },
    "heads": {
        "kind": (str,),  # "none", "one", or "cumulative": `off` heads, the least or most important first
        "layer": (int, type(None)),
        "head": (int, type(None)),
        "order": (str, type(None)),
        "off": (int,),
        "sharpness": (float, type(None)),  # a token's largest attention weight, mean over the tokens
        "loss": (float,),  # nats, on sentences of the validation split
        "accuracy": (float,),
    },
    "attribution": {
        "method": (str,),
        "removed": (int,),  # tokens replaced by [MASK]
        "sentences": (int,),
        "drop": (float,),  # mean decrease of the predicted label's log-odds
        "flipped": (float,),  # share of sentences whose prediction changed
    },
    "behavior": {
        "model": (str,),
        "seed": (int, type(None)),
        "test": (str,),
        "kind": (str,),
        "cases": (int,),
        "passed": (int,),
    },
    "finetuning": {
        "task": (str,),
        "model": (str,),
        "setting": (str,),  # what is varied: "learning_rate", "trainable_layers", "recipe"; or "task"
        "value": (float, int, str, type(None)),
        "seed": (int,),
        "measure": (str,),  # "accuracy" (of reviews: validation), "test_accuracy", "exact_match", "answer_f1"
        "score": (float,),
        "core_minutes": (float,),
    },
    "knockout": {
        "on": (str,),  # names of `knockout.SWITCHES`, with spaces between them; "" is BERT
        "seed": (int,),
        "step": (int,),
        "loss": (float,),  # nats, of masked words of held-out text
        "accuracy": (float,),
        "core_seconds": (float,),  # of the whole run
        "relative_time": (float,),  # of a step, divided by BERT's
    },
    "objectives": {
        "variant": (str,),  # of `objectives.VARIANTS`
        "seed": (int,),
        "loss": (float, type(None)),  # nats, of masked words of held-out text; None for ELECTRA
        "accuracy": (float, type(None)),
        "next_accuracy": (float, type(None)),  # does B follow? None without the head for pairs
        "order_accuracy": (float, type(None)),  # are A and B in order?
        "review_loss": (float,),  # after one epoch of fine-tuning
        "review_accuracy": (float,),
        "parameters": (int,),  # of the encoder
        "core_seconds": (float,),  # of pretraining
    },
    "search": {
        "queries": (str,),  # "searches", or "last sentences" of plots
        "system": (str,),
        "seed": (int, type(None)),
        "ndcg": (list,),  # nDCG@10 of each query
        "reciprocal_rank": (list,),  # of the first document of the highest grade
        "megabytes": (float,),  # of the index
    },
    "answers": {
        "question": (int,),  # its number in `labeled.load_asked`
        "method": (str,),
        "seed": (int, type(None)),
        "paragraphs": (str,),  # that were read: "the right one", or "3 found"
        "said": (str,),
        "margin": (float,),  # how sure the method is
        "exact": (bool,),
        "f1": (float,),  # of words
    },
    "work": {
        "task": (str,),  # "questions", "spam", "unknown questions", "commands", "replies", "fields"
        "method": (str,),
        "setting": (str,),  # what is varied: labels, examples, the test set
        "seed": (int,),
        "measure": (str,),  # "accuracy", "f1", "whole", "recall", "balanced_accuracy"
        "score": (float,),
        "cases": (int,),  # that the score is the mean of
    },
}
COLUMNS["reranked"] = COLUMNS["search"]
COLUMNS |= {name: COLUMNS["work"] for name in ("roles", "summaries", "questions", "replies", "fields")}
PROVENANCE = ("command", "settings", "data", "hardware", "python", "torch", "date")


class Results(NamedTuple):
    """One file of results."""

    name: str
    provenance: dict[str, Any]
    rows: list[Row]

    def where(self, **conditions: Any) -> list[Row]:
        """Return the rows that have these values: `where(model="TF-IDF", sentences=100)`."""
        return [row for row in self.rows if all(row[name] == value for name, value in conditions.items())]


class Summary(NamedTuple):
    """Statistics of several runs."""

    mean: float
    std: float  # sample standard deviation, with N − 1; 0 for a single run
    runs: int


def load_results(name: str) -> Results:
    """Return one file of results.

    Args:
        name: one of `COLUMNS`.

    Raises:
        ValueError: there is no such file, or its rows do not match `COLUMNS`.
    """
    if name not in COLUMNS:
        raise ValueError(f"name={name!r} is not a results file; choose among {', '.join(COLUMNS)}")
    content = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    check_rows(name, content["rows"])
    return Results(name, content["provenance"], content["rows"])


def check_rows(name: str, rows: list[Row]) -> None:
    """Check that rows match `COLUMNS`.

    Raises:
        ValueError: a row lacks a column, has an unknown one, or has a value of another type.
    """
    columns = COLUMNS[name]
    for number, row in enumerate(rows):
        if row.keys() != columns.keys():
            odd = ", ".join(sorted(row.keys() ^ columns.keys()))
            raise ValueError(f"{name}.json, row {number}: {odd} is missing or unknown; run `make results`")
        for column, types in columns.items():
            if type(row[column]) not in types:
                raise ValueError(
                    f"{name}.json, row {number}: {column} is {row[column]!r}, expected "
                    f"{' or '.join(kind.__name__ for kind in types)}; run `make results`"
                )


def summarize(rows: list[Row], value: str, *by: str) -> dict[Any, Summary]:
    """Return mean and standard deviation of a column, for each value of one or more others.

    Args:
        rows: such as `Results.rows`.
        value: the column of numbers.
        by: the columns whose values make the groups, one or more.

    Returns:
        A summary per group, in the order of the rows. A key is the value of `by`, or a tuple if there are
        several columns.
    """
    groups: dict[Any, list[float]] = defaultdict(list)
    for row in rows:
        groups[row[by[0]] if len(by) == 1 else tuple(row[name] for name in by)].append(row[value])
    return {
        key: Summary(
            statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values)
        )
        for key, values in groups.items()
    }
