"""Results of runs too long for a chapter's evening: many seeds, many sizes (chapters 5 and 6).

`tools/make_results.py` (`make results`) computes them; here they are read. Each file has what was measured, a
row a run, and its provenance: by what command, with which settings, from which data, on what machine.
Leaves out: the fine-tuned models themselves, which a chapter trains anew in minutes.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent

Row = dict[str, Any]

# What each file's rows hold. A column that may be missing is None there: a baseline has no seed.
COLUMNS: dict[str, dict[str, tuple[type, ...]]] = {
    "models": {
        "model": (str,),
        "seed": (int, type(None)),
        "accuracy": (float,),  # on the test part
        "macro_f1": (float,),
        "validation_accuracy": (float,),
        "core_minutes": (float,),  # to learn, of one core: what else the machine does changes it little
        "parameters": (int,),
        "sentences_per_core_second": (float, type(None)),
        "validation_log_odds": (list, type(None)),  # log of p(fresh) / p(rotten), a sentence each
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
        "sharpness": (float, type(None)),  # a token's greatest attention weight, the mean over tokens
        "loss": (float,),  # nats, on sentences of the validation part
        "accuracy": (float,),
    },
    "attribution": {
        "method": (str,),
        "removed": (int,),  # tokens replaced by [MASK]
        "sentences": (int,),
        "drop": (float,),  # mean fall of the guessed label's log-odds
        "flipped": (float,),  # share of sentences whose guess changed
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
}
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
    """What several seeds gave."""

    mean: float
    std: float  # with N − 1; 0 where there is one value
    runs: int


def load_results(name: str) -> Results:
    """Return one file of results.

    Args:
        name: one of `COLUMNS`.

    Raises:
        ValueError: another name, or a file that is not as `COLUMNS` says.
    """
    if name not in COLUMNS:
        raise ValueError(f"name={name!r} is no file of results; choose among {', '.join(COLUMNS)}")
    found = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    check_rows(name, found["rows"])
    return Results(name, found["provenance"], found["rows"])


def check_rows(name: str, rows: list[Row]) -> None:
    """Refuse rows that are not as `COLUMNS` says.

    Raises:
        ValueError: a row lacks a column, has one too many, or a value of another type.
    """
    columns = COLUMNS[name]
    for number, row in enumerate(rows):
        if row.keys() != columns.keys():
            odd = ", ".join(sorted(row.keys() ^ columns.keys()))
            raise ValueError(f"{name}.json, row {number}: {odd} is missing or too much; run `make results`")
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
        In the order of the rows; the keys are values of `by`, tuples of them where there are several.
    """
    groups: dict[Any, list[float]] = defaultdict(list)
    for row in rows:
        groups[row[by[0]] if len(by) == 1 else tuple(row[name] for name in by)].append(row[value])
    return {
        key: Summary(statistics.mean(found), statistics.stdev(found) if len(found) > 1 else 0.0, len(found))
        for key, found in groups.items()
    }
