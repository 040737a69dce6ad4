"""What chapter 9's cells call: tables, figures and examples."""

from __future__ import annotations

import statistics
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.stats import bootstrap
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor
from torch.nn.functional import normalize

from bertlearn.course import answers, labeled, roles
from bertlearn.course.chapters.pretraining import ready
from bertlearn.course.figures import INK, Picture, plot_curves, plot_matrix
from bertlearn.course.results import Results, Row, Summary, summarize
from bertlearn.course.solutions import at_work as solution
from bertlearn.course.tasks import split_sentences
from bertlearn.data.small_tasks import Question
from bertlearn.finetuning.spans import Span
from bertlearn.model.bert import BertModel
from bertlearn.model.heads import BertForSequenceClassification
from bertlearn.search.index import SearchIndex

__all__ = ["ready"]  # also for this chapter

# 1. Tables and figures of stored results


class SearchScore(NamedTuple):
    """How well a system does on all queries, and how much better than another."""

    ndcg: float  # nDCG@10, the mean over queries and seeds
    reciprocal_rank: float  # MRR
    gain: float  # nDCG@10 minus that of the reference
    low: float  # the gain's 95 % interval with other queries
    high: float
    megabytes: float  # of the index


def search_scores(
    rows: Sequence[Row], queries: str, chosen: Sequence[int] | None = None, reference: str = "words"
) -> dict[str, SearchScore]:
    """Return the score of each system, from the rows of the results file "search".

    Args:
        rows: of the file.
        queries: "searches" or "last sentences".
        chosen: numbers of the queries that count; None for all.
        reference: the system that the others are compared with.
    """
    systems: dict[str, list[Row]] = {}
    for row in rows:
        if row["queries"] == queries:
            systems.setdefault(row["system"], []).append(row)
    base = _by_query(systems[reference], "ndcg", chosen)
    scores = {}
    for system, runs in systems.items():
        ndcg, rank = (_by_query(runs, measure, chosen) for measure in ("ndcg", "reciprocal_rank"))
        gain = float((ndcg - base).mean())
        scores[system] = SearchScore(
            float(ndcg.mean()), float(rank.mean()), gain, *interval(ndcg - base), runs[0]["megabytes"]
        )
    return scores


def _by_query(runs: Sequence[Row], measure: str, chosen: Sequence[int] | None) -> np.ndarray:
    """Return each query's score, the mean over seeds, floats (Q,)."""
    scores = np.mean([run[measure] for run in runs], axis=0)
    return scores if chosen is None else scores[list(chosen)]


def interval(gains: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of a mean of paired differences if other cases were drawn (bootstrap)."""
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
    table = [["", *columns]]
    table += [[line, *(_cell(found.get((line, column))) for column in columns)] for line in lines]
    first, *widths = (max(map(len, cells)) for cells in zip(*table, strict=True))
    for line, *cells in table:
        right = (f"  {cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        print(f"{line:{first}}{''.join(right)}")


def _cell(summary: Summary | None) -> str:
    if summary is None:
        return "–"
    return f"{summary.mean:.3f} ± {summary.std:.3f}" if summary.runs > 1 else f"{summary.mean:.3f}"


def mean_of(rows: Sequence[Row], **conditions: str) -> float:
    """Return the mean score of the rows that have these values.

    Raises:
        ValueError: no row has them.
    """
    scores = [row["score"] for row in rows if all(row[name] == value for name, value in conditions.items())]
    if not scores:
        raise ValueError(f"no row has {conditions}; the names are in the file's rows")
    return float(np.mean(scores))


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
    """Draw accuracy over the number of examples of each kind of question, by method.

    A method that was not run with every number is drawn as points with a dotted line.
    """
    scores = {method: _by_shots(rows, method) for method in dict.fromkeys(row["method"] for row in rows)}
    full = {
        method: np.array([found[n] for n in shots]).T.tolist()
        for method, found in scores.items()
        if set(shots) <= found.keys()
    }
    labels = ("Six kinds of question, 1,000 to test on", "examples of each kind", "accuracy (band: all runs)")
    picture = plot_curves(shots, full, *labels, log="x")
    axes, alt = picture.figure.axes[0], picture.alt
    for method, found in scores.items():
        if method not in full:
            means = {n: float(np.mean(found[n])) for n in shots if n in found}
            axes.plot(list(means), list(means.values()), "s:", color=INK, label=method)
            alt += " Points. " + ", ".join(f"{method} {mean:.3g} at {n}" for n, mean in means.items()) + "."
    axes.legend(frameon=False)
    return Picture(picture.figure, alt)


def _by_shots(rows: Sequence[Row], method: str) -> dict[int, list[float]]:
    """Return the scores of all runs by the number of examples of each kind."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row["method"] == method and row["setting"].endswith(" examples a kind"):
            found.setdefault(int(row["setting"].split()[0]), []).append(row["score"])
    return found


def print_scores(
    title: str, scores: Mapping[str, SearchScore], systems: Sequence[str], reference: str = "words"
) -> None:
    """Print the scores of some systems on a set of queries; `reference` as for `search_scores`."""
    width = max(map(len, systems))
    print(f"{title:{width + 2}}  nDCG@10   {f'more than {reference}':24}   MRR    index, MB")
    for system in systems:
        one = scores[system]
        gain = "" if system == reference else f"{one.gain:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
        rank, size = f"{one.reciprocal_rank:.3f}", f"{one.megabytes:9.1f}"
        print(f"  {system:{width}}    {one.ndcg:.3f}   {gain:24}  {rank}  {size}")
    print()


def plot_roles(rows: Sequence[Row]) -> Picture:
    """Draw what becomes of the spans that each method finds, and how many it misses."""
    largest = {row["method"]: row["setting"] for row in rows}  # the last one of each
    methods = list(largest)
    values = [
        [mean_of(rows, method=name, setting=largest[name], measure=kind) for kind in roles.KINDS]
        for name in methods
    ]
    title = "Spans wanted or said, as shares of all"
    return plot_matrix(
        values, methods, list(roles.KINDS), title, ylabel="method", numbers=True, limits=(0, 1)
    )


# 2. Searches


def best_place(search: labeled.Search) -> tuple[Any, ...]:
    """Return the first document with the highest grade."""
    return max(search.grades, key=lambda place: search.grades[place])


def pair_model(encoder: BertModel) -> BertForSequenceClassification:
    """Return a cross-encoder with a new head, which takes as long as a trained one."""
    generator = torch.Generator().manual_seed(0)
    return BertForSequenceClassification.from_encoder(encoder, ["no", "yes"], generator, pooling="mean")


def print_times(ways: Mapping[str, Callable[[], Any]], rounds: int = 5) -> None:
    """Print the median time of each way in milliseconds; all take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    for name, found in seconds.items():
        print(f"{name:24} {1000 * statistics.median(found):7.0f} ms")


# 3. Answers


def answer_by_kind(
    index: SearchIndex,
    known: Tensor,
    kinds: Sequence[str],
    asked: Sequence[labeled.Asked],
    texts: Sequence[Sequence[str]],
) -> list[str]:
    """Answer with a phrase of the kind that a question asks for, from its nearest sentence that has one.

    Args:
        index: its model makes the vectors.
        known: vectors of questions, floats (N, H), whose `kinds` are known; the nearest class mean decides.
        kinds: of `small_tasks.Question`.
        asked: the questions.
        texts: for each of them the texts to read; without texts there is no answer.
    """
    names = sorted(set(kinds))
    members = torch.tensor([[kind == name for kind in kinds] for name in names]).float()  # (C, N)
    means = normalize(members @ known, dim=1)
    said = []
    for vector, one, sources in zip(index.vectors([a.question for a in asked]), asked, texts, strict=True):
        sentences = [sentence for text in sources for sentence in split_sentences(text)]
        cosines = index.vectors(sentences) @ vector if sentences else torch.empty(0)
        nearest = [sentences[at] for at in cosines.argsort(descending=True)]
        said.append(answers.phrase_of_kind(one.question, nearest, names[int((means @ vector).argmax())]))
    return said


def answer_scores(said: Sequence[str], asked: Sequence[labeled.Asked]) -> tuple[float, float]:
    """Return exact match and the F1 of words, the means over the answerable questions."""
    pairs = [(text, one.answers) for text, one in zip(said, asked, strict=True) if one.places]
    exact = float(np.mean([answers.is_exact(*pair) for pair in pairs]))
    return exact, float(np.mean([answers.overlap(*pair) for pair in pairs]))


def print_readings(rows: Sequence[Row]) -> None:
    """Print the scores of stored answers to the answerable questions, by method and by what was read.

    Args:
        rows: of the file "answers".
    """
    answerable = [bool(one.places) for one in labeled.load_asked()]
    for measure, name in (("exact", "exact match"), ("f1", "F1")):
        runs: dict[tuple[Any, ...], list[float]] = {}
        for row in rows:
            if answerable[row["question"]]:
                run = row["method"], row["paragraphs"], row["seed"]
                runs.setdefault(run, []).append(float(row[measure]))
        print(name)
        print_table(
            [
                {"method": method, "setting": paragraphs, "score": float(np.mean(scores))}
                for (method, paragraphs, _), scores in runs.items()
            ]
        )


def abstaining(scores: Tensor, known: Tensor) -> tuple[float, float]:
    """Return the shares of answerable questions that are kept, and of others that are rejected.

    The threshold is chosen on every second question and used for the others, then the other way round.

    Args:
        scores: the higher, the surer, floats (N,).
        known: whether there is an answer, booleans (N,).
    """
    rejected = torch.zeros(len(known), dtype=torch.bool)
    for half in (0, 1):
        own, other = slice(half, None, 2), slice(1 - half, None, 2)
        rejected[own] = solution.out_of_scope(scores[other], known[other], scores[own])
    return float((~rejected[known]).float().mean()), float(rejected[~known].float().mean())


class FactScores(NamedTuple):
    """Shares of the test questions to a table of facts, 0 to 1."""

    linked: float  # to the right name
    misspelled: float  # to the right name, when a letter is missing in it
    related: float  # to the right relation
    answered: float


def ask_facts(index: SearchIndex, known: int = 10) -> tuple[FactScores, list[str]]:
    """Ask the table of facts in ways that no relation's mean was made from; return some failures as well.

    Args:
        index: its model makes the vectors.
        known: ways to ask for each relation that its mean is made from.
    """
    facts, ways = labeled.load_facts(), labeled.load_relations()
    names = sorted({fact["subject"] for fact in facts})
    of_names, relations = index.vectors(names), sorted(ways)
    means = torch.stack(
        [
            index.vectors([way.format(subject="it") for way in ways[name][:known]]).mean(dim=0)
            for name in relations
        ]
    )
    asked = [
        (fact, way.format(subject=fact["subject"]))
        for fact in facts
        for way in ways[fact["relation"]][known:]
    ]
    vectors = index.vectors([question for _, question in asked])
    misspelled = index.vectors([_without_a_letter(question, fact["subject"]) for fact, question in asked])
    others = (misspelled @ of_names.T).argmax(dim=1)
    links = (vectors @ of_names.T).argmax(dim=1)
    kinds = (vectors @ normalize(means, dim=1).T).argmax(dim=1)
    right, failures = [], []
    for (fact, question), link, other, kind in zip(asked, links, others, kinds, strict=True):
        subject, relation = names[link], relations[kind]
        said = answers.look_up(facts, subject, relation)
        linked = (subject == fact["subject"], names[other] == fact["subject"])
        right.append((*linked, relation == fact["relation"], said == fact["object"]))
        if said != fact["object"]:
            failures.append(f"{question}  → {subject}, {relation}: {said}")
    return FactScores(*np.mean(right, axis=0).tolist()), failures


def _without_a_letter(question: str, subject: str) -> str:
    """Return the question with a name that lacks the letter in its middle."""
    middle = len(subject) // 2
    return question.replace(subject, subject[:middle] + subject[middle + 1 :])


# 4. Spans


def bracketed(text: str, spans: Sequence[Span]) -> str:
    """Return a text with its spans in brackets, as the labeled files have them."""
    for start, end, label in sorted(spans, reverse=True):
        text = f"{text[:start]}[{label} {text[start:end]}]{text[end:]}"
    return text


def show_mistakes(said: Sequence[labeled.Command], truth: Sequence[labeled.Command], count: int) -> None:
    """Print the first commands that were misunderstood."""
    wrong = [
        (one, other)
        for one, other in zip(said, truth, strict=True)
        if one.intent != other.intent or set(one.slots) != set(other.slots)
    ]
    print(f"{len(wrong)} of {len(truth)} misunderstood in part")
    for one, other in wrong[:count]:
        _print_wrapped(f"wanted {other.intent}: {bracketed(other.text, other.slots)}")
        _print_wrapped(f"  said {one.intent}: {bracketed(one.text, one.slots)}")


def show_wrong_roles(said: Sequence[Sequence[Span]], truth: Sequence[labeled.Roles], count: int) -> None:
    """Print the first sentences whose roles were not all found."""
    wrong = [(spans, one) for spans, one in zip(said, truth, strict=True) if set(spans) != set(one.roles)]
    print(f"{len(wrong)} of {len(truth)} wrong in part")
    for spans, one in wrong[:count]:
        _print_wrapped(f"wanted {bracketed(one.text, [one.predicate, *one.roles])}")
        _print_wrapped(f"  said {bracketed(one.text, [one.predicate, *spans])}")


def _print_wrapped(line: str) -> None:
    """Print a line that may be too wide for a screen, broken between words."""
    print(textwrap.fill(line, 96, subsequent_indent=7 * " "))


# 5. Topics


class Topic(NamedTuple):
    """Texts whose vectors are near to each other."""

    rows: list[int]  # numbers of the texts
    words: list[str]  # frequent here and rare in the other topics


def find_topics(vectors: np.ndarray, texts: Sequence[str], count: int, words: int = 6) -> list[Topic]:
    """Cluster vectors of length 1 and name each cluster by its words (class-based TF-IDF, Grootendorst 2022).

    Returns:
        The topics, the largest first.
    """
    clusters = KMeans(count, n_init=5, random_state=0).fit_predict(vectors)
    counter = CountVectorizer(stop_words="english", token_pattern=r"(?u)\b[a-z]{3,}\b", min_df=8)
    by_text = counter.fit_transform(texts)
    counts = np.stack([by_text[clusters == at].sum(axis=0).A1 for at in range(count)])  # (topics, words)
    frequency = counts / counts.sum(axis=1, keepdims=True)
    weights = frequency * np.log(1 + counts.sum() / count / counts.sum(axis=0))
    names = counter.get_feature_names_out()
    topics = [
        Topic(np.flatnonzero(clusters == at).tolist(), names[weights[at].argsort()[::-1][:words]].tolist())
        for at in range(count)
    ]
    return sorted(topics, key=lambda topic: -len(topic.rows))


def frequent(questions: Sequence[Question], least: int = 2) -> list[Question]:
    """Return the questions whose detail occurs at least so often."""
    counts = Counter((one.kind, one.detail) for one in questions)
    return [one for one in questions if counts[one.kind, one.detail] >= least]


def cluster_score(vectors: np.ndarray, labels: Sequence[Any]) -> float:
    """Return the adjusted mutual information of labels and as many clusters: 1 if equal, 0 by chance."""
    clusters = KMeans(len(set(labels)), n_init=3, random_state=0).fit_predict(vectors)
    return float(adjusted_mutual_info_score(labels, clusters))
