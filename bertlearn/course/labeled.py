"""The sets that were written and labeled for the course: searches, questions, commands, roles, translations.

The files are in `labels/`, their guidelines in docs/labeled_sets.md. Each file has its checksum here, so that
a result always belongs to one version of it.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bertlearn.finetuning.spans import Span

FOLDER = Path(__file__).parent / "labels"
SHA256 = {
    "answers.jsonl": "b5a1564bc50187c09a4a9461e35f91fe467ae01b0a7b86873c84bab15badd228",
    "commands.txt": "08063d9bafeb099aaf93755006bd09ee9a0773cb023622732b652938c6eebd1b",
    "facts.csv": "ea475b09ba4af2308360bb4190b0eff5ca7ffe9095bf4c7f85f62fe1b72c11e4",
    "followups.jsonl": "6ad90326c55ece1ba705284358c9b93fb073c667965bbb7d249371ce010e53ca",
    "misheard.txt": "597730988bc8c12cf075974420993f06ed310ba9c50d983b4b43b3c23c2288ae",
    "novel_names.txt": "53159eca0c641357c71ff76ad94063df61796302ea0acd8a30d7c7dbe790952f",
    "relations.csv": "dc871a90f1eda1494bb58d73767d3c5b2c9f632d8520049aa08ddb0b7a74a610",
    "roles.txt": "effa05311a34d33c93be13c6e4b17a00458de9f063a18a3f983d40d4235cb573",
    "roles_second.txt": "f5c6e2efd547a67a100c103725d29baa81a2e3dfd9ded1e1acd5f4f72b0ddd7b",
    "searches.jsonl": "6e189185316abe76ed383a8d6c9afa60ddd22cc2bfd8917bee2fd50888a214a5",
    "templates.txt": "79e57aac5f5a0a6ab0eb641519e15aec607100402c428d292d8ba9fd33fae5b4",
    "translations.csv": "a022a1c11eb2b844b85b7963807ddf3ad2f8b07049dfa0cba509c78c1201370e",
    "values.txt": "045b29dae264d474363a40be0675c773b3298131cf992b4f4658968736f55bbf",
}
_BRACKETS = re.compile(r"\[(\w+) ([^\[\]]+)\]|([^\[\]]+)")
PREDICATE = "predicate"


class Search(NamedTuple):
    """A query and the grades of documents: 2 what is asked for, 1 in part; all others 0."""

    query: str
    kind: str  # such as "paraphrase", "name", "negation"
    grades: dict[tuple[Any, ...], int]  # of ("plot", number) or ("article", title, paragraph)


class Asked(NamedTuple):
    """A question on the articles; an unanswerable one has no place and no answers."""

    question: str
    kind: str
    places: list[tuple[str, int]]  # title and paragraph: first where the answer was marked, then others
    answers: list[str]  # equally right pieces of the first place, the shortest first


class FollowUp(NamedTuple):
    """A question that needs the one before it."""

    first: str
    answer: str
    follow_up: str
    rewritten: str  # the same, complete
    place: tuple[str, int]  # title and paragraph with the answer to the follow-up


class Command(NamedTuple):
    """What someone says to a voice assistant, what they want, and the details."""

    intent: str
    text: str
    slots: list[Span]


class Roles(NamedTuple):
    """A sentence, its marked verb, and who did what to whom, where and when."""

    text: str
    predicate: Span
    roles: list[Span]


def load_searches() -> list[Search]:
    """Return 60 queries over plots and article paragraphs, with the graded documents."""
    return [
        Search(row["query"], row["kind"], {tuple(document): grade for *document, grade in row["relevant"]})
        for row in _json_lines("searches.jsonl")
    ]


def load_asked() -> list[Asked]:
    """Return 60 questions over the articles, 20 of which they do not answer."""
    found = []
    for row in _json_lines("answers.jsonl"):
        known = row["article"] is not None
        places = [(row["article"], row["paragraph"])] if known else []
        places += [(title, paragraph) for title, paragraph in row.get("other_paragraphs", [])]
        answers = [row["answer"], *row.get("also", [])] if known else []
        found.append(Asked(row["question"], row["kind"], places, answers))
    return found


def load_follow_ups() -> list[FollowUp]:
    """Return 24 exchanges whose second question cannot be understood alone."""
    return [
        FollowUp(
            row["first"],
            row["answer"],
            row["follow_up"],
            row["rewritten"],
            (row["article"], row["paragraph"]),
        )
        for row in _json_lines("followups.jsonl")
    ]


def load_facts() -> list[dict[str, str]]:
    """Return 86 facts of the articles: subject, relation, object, article."""
    return list(csv.DictReader(io.StringIO(_read("facts.csv"), newline="")))


def load_relations() -> dict[str, list[str]]:
    """Return for each relation 15 questions, with {subject} as a hole; the last five are for tests."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(_read("relations.csv"), newline="")):
        found[row["relation"]].append(row["question"])
    return dict(found)


def load_commands() -> list[Command]:
    """Return 120 commands as people might say them, 20 of which are out of scope ("other")."""
    return [Command(intent, *marked(text)) for intent, text in _columns("commands.txt")]


def load_templates() -> dict[str, list[str]]:
    """Return ten templates for each intent, with slots as holes such as {time}."""
    found: dict[str, list[str]] = defaultdict(list)
    for intent, template in _columns("templates.txt"):
        found[intent].append(template)
    return dict(found)


def load_values() -> dict[str, list[str]]:
    """Return the values that fill each slot."""
    found: dict[str, list[str]] = defaultdict(list)
    for slot, value in _columns("values.txt"):
        found[slot].append(value)
    return dict(found)


def load_misheard() -> dict[str, str]:
    """Return phrases, and what speech recognition makes of them; the longest first."""
    pairs = sorted(_columns("misheard.txt"), key=lambda pair: -len(pair[0].split()))
    return dict(pairs)


def load_roles(part: Literal["first", "second"] = "first") -> list[Roles]:
    """Return 200 sentences with the roles around a marked verb.

    Args:
        part: the pass: the first by the full guideline, the second by its table of roles alone.
    """
    name = "roles.txt" if part == "first" else f"roles_{part}.txt"
    found = []
    for line in _read(name).splitlines():
        text, spans = marked(line)
        (predicate,) = (span for span in spans if span.label == PREDICATE)
        found.append(Roles(text, predicate, [span for span in spans if span.label != PREDICATE]))
    return found


def load_novel_names() -> list[tuple[str, list[Span]]]:
    """Return 130 sentences of the novel's chapter 21, each with the spans that name a person."""
    return [marked(line) for line in _read("novel_names.txt").splitlines()]


def load_translations() -> dict[str, list[str]]:
    """Return 40 sentences in each of seven languages, by en, zh, de, fr, es, ja, ru, in the same order."""
    rows = list(csv.DictReader(io.StringIO(_read("translations.csv"), newline="")))
    return {language: [row[language] for row in rows] for language in rows[0]}


def marked(line: str) -> tuple[str, list[Span]]:
    """Return a text without its brackets, and the spans that they mark: "[time soon] here" has one.

    Raises:
        ValueError: brackets that do not fit.
    """
    text, spans = "", []
    for label, inside, plain in _BRACKETS.findall(line):
        if label:
            spans.append(Span(len(text), len(text) + len(inside), label))
        text += inside or plain
    if len(text) + sum(len(span.label) + 3 for span in spans) != len(line):
        raise ValueError(f"{line!r} has brackets that do not fit; write for example [time at noon]")
    return text, spans


def fill(template: str, values: dict[str, list[str]], draw: random.Random) -> tuple[str, list[Span]]:
    """Return a text made from a template, each hole filled with a value, and the spans of the values."""
    parts = re.split(r"\{(\w+)\}", template)
    bracketed = (f"[{part} {draw.choice(values[part])}]" if at % 2 else part for at, part in enumerate(parts))
    return marked("".join(bracketed))


def agreement(one: Sequence[Iterable[Span]], other: Sequence[Iterable[Span]]) -> float:
    """Return the F1 of the spans of one pass, judged by those of another: borders and label must be equal."""
    pairs = [(set(a), set(b)) for a, b in zip(one, other, strict=True)]
    count = sum(len(a) + len(b) for a, b in pairs)
    return 2 * sum(len(a & b) for a, b in pairs) / count if count else 1.0


def _columns(name: str) -> list[tuple[str, str]]:
    rows = (line.split("\t") for line in _read(name).splitlines())
    return [(first, second) for first, second in rows]


def _json_lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _read(name).splitlines()]


@cache
def _read(name: str) -> str:
    """Return the content of a file, in the version that the checksum names."""
    content = (FOLDER / name).read_bytes().replace(b"\r\n", b"\n")  # as some systems check files out
    if sha256(content).hexdigest() != SHA256[name]:
        raise ValueError(f"{FOLDER / name} is not the file that this version belongs to; install it again")
    return content.decode("utf-8")
