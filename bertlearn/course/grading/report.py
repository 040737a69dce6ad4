"""A page of the class's mistakes, scores and guesses to show, and another one for the teacher alone.

The first page names no student, so it can be projected, printed and handed out. The second one quotes the
flagged lines and names the twins.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from bertlearn.course.exercise import REASONS, WRONG
from bertlearn.course.grading import known, stops
from bertlearn.course.grading.grades import NOT_COMPARED, Row, best_rows, has_ended
from bertlearn.course.grading.guess_pictures import predictions
from bertlearn.course.grading.pages import write_page
from bertlearn.course.grading.submission import REFERS
from bertlearn.course.grading.twins import ALIKE, IDENTICAL, RARE
from bertlearn.course.grading.worker import why_missing
from bertlearn.course.guess_exports import read_class

LESSONS, SHOWN = 3, 6  # what to begin a lecture with; mistakes with a bar of their own
EXAMPLES = 3  # answers to open for each of the lessons
TWIN = re.compile(rf"(.+?) \(({IDENTICAL}|{RARE}|{ALIKE})\)(?:; |$)", re.DOTALL)
LABELS = {
    "right": "right",
    "known": "a known mistake",
    "other": "another answer",
    "none": "not attempted",
    "gone": "no function of this name",
}


class Bar(NamedTuple):
    """How many students did one thing."""

    kind: str  # one of `LABELS`
    label: str
    many: int
    begin: int = 0  # how many come before it, in a bar of several
    below: str = ""  # the question that a mistake asks, or what is known of other answers


class ExercisePart(NamedTuple):
    """One exercise: one bar for the whole class, and one for each thing that students did."""

    name: str
    students: int
    whole: Sequence[Bar]
    bars: Sequence[Bar]


class Lesson(NamedTuple):
    """What many did wrong in an exercise, as the beginning of a lecture."""

    exercise: str
    bar: Bar
    question: str
    students: int


class ChapterPart(NamedTuple):
    """One chapter: its exercises, what was hard, and how many students got how many points."""

    title: str
    students: int
    exercises: Sequence[ExercisePart]
    lessons: Sequence[Lesson]
    points: Sequence[int]  # how many students got 0, 1, 2, … points
    middle: float
    hardest: ExercisePart

    @property
    def hardest_first(self) -> list[ExercisePart]:
        """The exercises, those first that most students did not get right."""
        return sorted(self.exercises, key=lambda part: part.whole[0].many - part.students)


class Question(NamedTuple):
    """Something for the teacher to look at."""

    student: str
    file: str
    exercise: str
    text: str


class Example(NamedTuple):
    """Whose answers show what a lesson is about."""

    lesson: Lesson
    files: Sequence[str]


class Pair(NamedTuple):
    """Two students whose answers to an exercise are alike, and in what way."""

    students: Sequence[str]
    files: Sequence[str]
    exercise: str
    way: str


def write_report(rows: Sequence[Row], to: Path, guesses: Path | None = None) -> tuple[Path, Path]:
    """Write the page to show and, beside it, the page for the teacher; return both paths.

    Args:
        rows: the table of grades.
        to: the page to show; the teacher's has the same name with ".teacher" before its end.
        guesses: a folder with the files that students exported with `Guesses.export`.

    Raises:
        ValueError: no exercise was graded, or `guesses` is no folder.
    """
    graded = [row for row in rows if row.exercise]
    if not graded:
        raise ValueError("the table has no graded exercise; grade the submissions first")
    if guesses is not None and not guesses.is_dir():
        raise ValueError(f"{guesses} is no folder; expected one with the files of the students' guesses")
    read = read_class(sorted(guesses.rglob("*.json")) if guesses else [])
    chapters = [_chapter(graded, number) for number in sorted({row.chapter or 0 for row in graded})]
    private = to.with_name(f"{to.stem}.teacher{to.suffix or '.html'}")
    shown = predictions(read.questions)
    failed = _questions([row for row in rows if not row.exercise], lambda row: row.flag)
    write_page(
        to,
        "report.html",
        title="How the class did",
        chapters=chapters,
        labels=LABELS,
        guesses=shown,
        failed=len(failed),
    )
    write_page(
        private,
        "teacher.html",
        title="For the teacher only",
        flags=_questions(graded, lambda row: row.flag.removeprefix(f"{REFERS}: ") if row.attempted else ""),
        ended=has_ended(rows),
        pairs=_pairs(graded),
        missing=_questions(graded, lambda row: "" if row.attempted else row.flag),
        line_of=lambda text: ": ".join(filter(None, why_missing(text))),
        remedy_of=lambda text: stops.remedy(text).teacher,
        failed=failed,
        examples=[_example(lesson, graded) for chapter in chapters for lesson in chapter.lessons],
        refused=read.refused,
    )
    return to, private


def _questions(rows: Iterable[Row], text_of: Callable[[Row], str]) -> list[Question]:
    """Return what there is to look at, exercise by exercise."""
    ordered = sorted(rows, key=lambda row: (row.chapter or 0, row.exercise))
    return [Question(row.student, row.file, row.exercise, text) for row in ordered if (text := text_of(row))]


def _example(lesson: Lesson, rows: Iterable[Row]) -> Example:
    """Return files with an answer that a lesson is about, those first that make this mistake alone."""
    mine = [row for row in rows if row.exercise == lesson.exercise and _kind(row) == lesson.bar.kind]
    if lesson.bar.kind == "known":
        mine = [
            row
            for row in mine
            if lesson.bar.label in known.mistakes_in(row.chapter, row.exercise, row.mistake)
        ]
    files = [row.file for row in sorted(mine, key=lambda row: len(row.mistake)) if not row.flag]
    return Example(lesson, list(dict.fromkeys(files))[:EXAMPLES])


def _pairs(rows: Iterable[Row]) -> list[Pair]:
    """Return the twins of a class, each pair once; a text that names none is shown as it is."""
    pairs: dict[tuple[int | None, str, frozenset[str]], Pair] = {}
    for row in rows:
        if row.twins in ("", NOT_COMPARED):
            continue
        for other, way in TWIN.findall(row.twins) or [(row.twins, ALIKE)]:
            place = row.chapter, row.exercise, frozenset((row.student, other))
            before = pairs.get(place, Pair((row.student, other), (), row.exercise, way))
            pairs[place] = before._replace(files=(*before.files, row.file))
    return list(pairs.values())


def _chapter(rows: Iterable[Row], number: int) -> ChapterPart:
    best = best_rows(row for row in rows if row.chapter == number)
    exercises = dict.fromkeys(row.exercise for row in best)
    parts = [_exercise([row for row in best if row.exercise == name]) for name in exercises]
    totals, most = Counter[str](), Counter[str]()
    for row in best:
        totals[row.student] += row.score
        most[row.student] += row.points
    counts = Counter(totals.values())
    return ChapterPart(
        known.title_of(number),
        len(totals),
        parts,
        _lessons(number, parts),
        [counts[points] for points in range(max(most.values()) + 1)],
        median(totals.values()),
        min(parts, key=lambda part: part.whole[0].many / part.students),
    )


def _kind(row: Row) -> str:
    if not row.attempted:
        return "gone" if row.flag else "none"
    return "right" if row.score else "known" if row.mistake else "other"


def _exercise(rows: Sequence[Row]) -> ExercisePart:
    counts = Counter(map(_kind, rows))
    whole, begin = list[Bar](), 0
    for kind, label in LABELS.items():
        whole.append(Bar(kind, label, counts[kind], begin))
        begin += counts[kind]
    right, _, _, *without = whole
    bars = [*_mistake_bars(rows), *_other_bars(rows), *without]
    shown = [right, *sorted(bars, key=lambda bar: -bar.many)]
    return ExercisePart(rows[0].exercise, len(rows), whole, [bar for bar in shown if bar.many])


def _other_bars(rows: Iterable[Row]) -> list[Bar]:
    """Return a bar for the wrong answers that make no known mistake, and one for those with a flag."""
    others = [row for row in rows if _kind(row) == "other"]
    kinds = Counter(_reason(row) for row in others if not row.flag)
    below = "; ".join(f"{kind}: {count}" for kind, count in kinds.most_common())
    flagged = len(others) - kinds.total()
    return [Bar("other", LABELS["other"], kinds.total(), 0, below), Bar("other", REFERS, flagged)]


def _reason(row: Row) -> str:
    """Return why an answer is wrong, in words that no submission has written."""
    kind = row.reason.partition(": ")[0]
    return kind if kind in (*REASONS, stops.ENDED) else WRONG


def _mistake_bars(rows: Sequence[Row]) -> list[Bar]:
    """Return a bar for each mistake that several students made, and one for all others."""
    about, counts = (rows[0].chapter, rows[0].exercise), _mistakes(rows)
    often = [(name, count) for name, count in counts.most_common(SHOWN) if count > 1]
    bars = [Bar("known", name, count, 0, known.question_of(*about, name)) for name, count in often]
    label = "other known mistakes" if bars else "known mistakes, each made once"
    return [*bars, Bar("known", label, counts.total() - sum(count for _, count in often))]


def _mistakes(rows: Iterable[Row]) -> Counter[str]:
    """Return how often each known mistake of an exercise was made, alone or together with another."""
    return Counter(name for row in rows for name in known.mistakes_in(row.chapter, row.exercise, row.mistake))


def _lessons(chapter: int, parts: Iterable[ExercisePart]) -> list[Lesson]:
    """Return what at least two students of a chapter did wrong, the most frequent first."""
    found = []
    for part in parts:
        questions = {"known": "", "other": known.hint_of(chapter, part.name)}
        found += [
            Lesson(part.name, bar, questions[bar.kind] or bar.below, part.students)
            for bar in part.bars
            if bar.kind in questions and bar.many > 1 and bar.below
        ]
    return sorted(found, key=lambda lesson: -lesson.bar.many)[:LESSONS]
