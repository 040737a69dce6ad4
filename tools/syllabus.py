"""Three courses from the plans of the chapters: twelve weeks, six weeks, and a workshop of two days.

A chapter with less than an hour of core is done at home before the first class. A chapter whose plan says
`course: elective` is in no week; it is listed as what may replace another.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import material
from material import Plan, Session
from nbformat import NotebookNode

import notebooks as tool

DAY = 360  # minutes of teaching on a day of the workshop
WEEKS, CHAPTERS = 12, 6  # classes of the long course, and of the short one
BEGIN = """\
# Syllabus

`python tools/make_teaching.py syllabus` writes this page from the chapters' plans and notebooks; a test fails
when it is stale. Minutes at home are those that the notebook states; ★ is easy, ★★★ is hard.
"""
STUDENTS = 60  # in the class that the budget is for
LONG_END = "Set the project in the week of the last class; it takes three weeks."
SHORT_END = """
**With 80 minutes.** Two classes of 80 minutes a week are the table of twelve weeks, two rows at a time. With
a single class of 80 minutes a week, follow each plan's table for 80 minutes; what is read and solved stays.

**The project and the exam** need a seventh week; [marks](marks.md) give both much weight. Set the project in
week 6, write the exam in week 7, and let students hand in the project three weeks after it was set. Without
these weeks, leave both out, and share their weight between the exercises and the whiteboard.
"""
WHEN = [
    (
        "two weeks before",
        "Write to whoever is responsible for data protection ([ethics](ethics.md)).",
        "Write today. Collect nothing until the answer is there: the checks tell students what is wrong.",
    ),
    (
        "a week before",
        "Students work through chapter 0 at home, and all machines are checked.",
        "Check them in the first ten minutes of the first class; pairs share one. Chapter 0 is homework.",
    ),
    (
        "a week before",
        "A server for the class is tried ([running](running.md)).",
        "Students use their own laptops, or work in pairs with those that have one.",
    ),
    (
        "days before",
        "Students read the sections of the first class and guess.",
        "They guess in class; the sections are homework. Take the plan's shortest table.",
    ),
    (
        "the day before",
        "You run the notebook, make the deck, and print the handouts.",
        "Do not drop the notebook and the deck. Send the handout as a file.",
    ),
    (
        "first class",
        "You announce marks, the policy on assistants, and the dates of the exam and the project.",
        "Announce them in the second class, in writing.",
    ),
]


class Chapter(NamedTuple):
    """A plan and what its notebook says about the chapter."""

    plan: Plan
    exercises: dict[str, material.Exercise]
    sections: dict[int, material.Section]
    run: str  # how long its cells run, and in how much memory

    @property
    def link(self) -> str:
        return f"[{self.plan.chapter} {self.plan.title}](chapters/{self.plan.stem}/plan.md)"


def syllabus() -> str:
    """Return `teaching/syllabus.md`."""
    plans = [material.read_plan(path) for path in sorted(material.CHAPTERS.glob("*/plan.md"))]
    return page([_chapter(plan, tool.read(material.NOTEBOOKS / f"{plan.stem}.ipynb")) for plan in plans])


def page(chapters: list[Chapter]) -> str:
    """Return the three courses that these chapters make.

    Raises:
        ValueError: they do not fit in the weeks of a course or the days of the workshop.
    """
    core = [chapter for chapter in chapters if not chapter.plan.elective]
    taught = [chapter for chapter in core if chapter.plan.core_hours >= 1]
    home = ", ".join(chapter.link for chapter in core if chapter not in taught)
    first = f"Before the first class of each course, students work through {home} at home.\n" if home else ""
    courses = [_twelve_weeks(taught), _six_weeks(taught), _workshop(core), _electives(chapters), _when()]
    return "\n".join(part for part in (BEGIN, _overview(chapters), first, *courses, _budget()) if part)


def _chapter(plan: Plan, notebook: NotebookNode) -> Chapter:
    measured = notebook.metadata["bertlearn"]
    run = f"{measured['seconds'] / 60:.1f} min, {measured['memory_mb'] / 1000:.1f} GB"
    exercises = {exercise.name: exercise for exercise in material.exercises(notebook)}
    return Chapter(plan, exercises, material.sections(notebook), run)


def _table(heading: str, columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return f"## {heading}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _overview(chapters: list[Chapter]) -> str:
    columns = ["chapter", "needs", "core", "points", "cells alone, on 2 cores"]
    rows = [[c.link, _needs(c.plan), f"{c.plan.core_hours:g} h", _points(c), c.run] for c in chapters]
    outcomes = [
        f"\n**{c.plan.chapter} {c.plan.title}.** Afterward, students can\n\n"
        + "".join(f"- {outcome}\n" for outcome in c.plan.outcomes)
        for c in chapters
    ]
    rule = "\nPoints in brackets are of exercises that go deeper; [marks](marks.md) say whether they count.\n"
    return _table("The chapters", columns, rows) + rule + "".join(outcomes)


def _points(chapter: Chapter) -> str:
    """Return the points of the core, and in brackets those of exercises that go deeper."""
    core, deeper = (
        sum(max(1, each.stars) for each in chapter.exercises.values() if each.core is kind)
        for kind in (True, False)
    )
    return f"{core} (+ {deeper})" if deeper else str(core)


def _needs(plan: Plan) -> str:
    return "chapter " + ", ".join(map(str, plan.requires)) if plan.requires else "–"


def _twelve_weeks(chapters: list[Chapter]) -> str:
    """A session a week."""
    rows = [
        [
            f"{chapter.link}: {session.title}",
            _before(chapter, [session]),
            _class(chapter, index),
            _after(chapter, [session]),
        ]
        for chapter in chapters
        for index, session in enumerate(chapter.plan.sessions)
    ]
    return _weeks("Twelve weeks, a class of 80 minutes each", rows, WEEKS)


def _class(chapter: Chapter, index: int) -> str:
    """Say which table of the plan a class follows."""
    if len(chapter.plan.sessions) == 1:
        return "the plan for 80 minutes"
    return f"the plan for two classes: the {('first', 'second')[index]}"


def _six_weeks(chapters: list[Chapter]) -> str:
    """A chapter a week."""
    rows = [
        [
            chapter.link,
            _before(chapter, chapter.plan.sessions),
            "the plan for 110 minutes",
            _after(chapter, chapter.plan.sessions),
        ]
        for chapter in chapters
    ]
    return _weeks("Six weeks, a class of 110 minutes each", rows, CHAPTERS) + SHORT_END


def _weeks(heading: str, rows: list[list[str]], weeks: int) -> str:
    if len(rows) > weeks:
        raise ValueError(f"{len(rows)} classes do not fit in {weeks} weeks; join the sessions of a chapter")
    columns = ["week", "chapter", "before class", "in class", "after class"]
    numbered = [[str(week), *row] for week, row in enumerate(rows, 1)]
    rest, first = weeks - len(rows), len(rows) + 1
    weeks_left = f"weeks, {first} to {weeks}, are" if rest > 1 else f"week, {weeks}, is"
    left = (
        f"\nThe remaining {weeks_left} for the [project](project.md) and the exam. {LONG_END}\n"
        if rest
        else ""
    )
    return _table(heading, columns, numbered) + left


def _before(chapter: Chapter, sessions: list[Session]) -> str:
    """Say what is read: the core sections, without the time for their exercises."""
    read = sum(chapter.sections[n].core for s in sessions for n in s.sections if n in chapter.sections)
    solved = sum(
        chapter.exercises[name].minutes
        for s in sessions
        for name in s.exercises
        if chapter.exercises[name].core
    )
    span = _span(range(sessions[0].sections.start, sessions[-1].sections.stop))
    return f"read {span} and guess (core: {read - solved} min)"


def _span(numbers: range) -> str:
    if len(numbers) == 1:
        return f"section {numbers[0]}"
    return f"sections {numbers[0]}–{numbers[-1]}"


def _after(chapter: Chapter, sessions: list[Session]) -> str:
    """Name the exercises, those of the core first."""
    solved = [chapter.exercises[name] for session in sessions for name in session.exercises]
    core, deeper = (_named([e for e in solved if e.core is kind]) for kind in (True, False))
    return "; ".join([*([core] if core else []), *([f"to go deeper: {deeper}"] if deeper else [])])


def _named(exercises: list[material.Exercise]) -> str:
    names = ", ".join(f"`{exercise.name}` {'★' * exercise.stars}" for exercise in exercises)
    return f"{names} ({sum(exercise.minutes for exercise in exercises)} min)" if exercises else ""


def _workshop(chapters: list[Chapter]) -> str:
    """Fill two days, chapter after chapter."""
    rows, day, minutes = list[list[str]](), 1, 0
    for chapter in chapters:
        if minutes + chapter.plan.workshop_minutes > DAY:
            day, minutes = day + 1, 0
        start, minutes = minutes, minutes + chapter.plan.workshop_minutes
        when = f"day {day}, {_clock(start)}–{_clock(minutes)}" if minutes > start else "before or after"
        rows.append([when, chapter.link, chapter.plan.workshop_does])
    if day > 2:
        raise ValueError(f"the workshop takes {day} days of {DAY} minutes; shorten it in the plans")
    breaks = "\nThe clock runs without breaks; add a quarter of an hour after every 90 minutes, and lunch.\n"
    return _table("Workshop of two days", ["when", "chapter", "what"], rows) + breaks


def _clock(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02}"


def _electives(chapters: list[Chapter]) -> str:
    """List the electives, and the core chapters that one may replace because no core chapter needs them."""
    electives = [chapter for chapter in chapters if chapter.plan.elective]
    if not electives:
        return ""
    core = [chapter for chapter in chapters if not chapter.plan.elective and chapter.plan.core_hours >= 1]
    needed = {number for chapter in core for number in chapter.plan.requires}
    rows = [
        [
            chapter.link,
            _needs(chapter.plan),
            _replaces(chapter.plan, [c for c in core if c.plan.chapter not in needed]),
            _after(chapter, chapter.plan.sessions),
        ]
        for chapter in electives
    ]
    return _table("Electives", ["chapter", "needs", "may replace", "exercises"], rows)


def _replaces(plan: Plan, ends: list[Chapter]) -> str:
    return ", ".join(c.link for c in ends if c.plan.chapter not in plan.requires) or "none: add a week"


def _when() -> str:
    """List what is prepared when, and what is done instead if the course begins in three days."""
    columns = ["when", "what", "if it is Friday and the first class is on Monday"]
    return _table("What to prepare, and what to drop", columns, [list(row) for row in WHEN])


def _budget() -> str:
    return budget(
        *((material.ROOT / "teaching" / name).read_text("utf-8") for name in ("marks.md", "project.md"))
    )


def budget(marks: str, project: str) -> str:
    """Return a table of a teacher's hours, from the minutes that the two pages state for each student."""
    times, board = map(int, _stated(r"(\d+) × (\d+) minutes at the whiteboard", marks))
    talk, marking = (
        int(*_stated(p, project)) for p in (r"you, (\d+) minutes each", r"Marking in (\d+) minutes")
    )
    minutes = {
        f"[whiteboard](marks.md), {times} × {board} minutes": times * board,
        "[project](project.md): the talk on day 1": talk,
        "project: marking": marking,
    }
    minutes["together"] = sum(minutes.values())
    rows = [[what, f"{each} min", f"{each * STUDENTS / 60:g} h"] for what, each in minutes.items()]
    columns = ["what", "for a student", f"for a class of {STUDENTS}"]
    return _table("Your hours, besides the classes", columns, rows) + (
        "\nMarking the exam is not in the table: mark three papers, and multiply. The machine grades the "
        "exercises; flagged answers and questions are yours.\n"
    )


def _stated(pattern: str, text: str) -> tuple[str, ...]:
    found = re.search(pattern, text)
    if not found:
        raise ValueError(f"no {pattern!r} in the page: the budget reads its minutes there")
    return found.groups()
