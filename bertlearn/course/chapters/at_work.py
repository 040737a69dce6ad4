"""What chapter 9's cells call: tables, figures and examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap

from bertlearn.course import labeled
from bertlearn.course.chapters.pretraining import ready
from bertlearn.course.figures import Picture, plot_curves, plot_matrix
from bertlearn.course.results import Results, Row, Summary, summarize

__all__ = ["ready"]  # also for this chapter

# 1. Tables and figures of stored results


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
