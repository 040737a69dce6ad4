"""Three courses from the plans of the chapters: twelve weeks, six weeks, and a workshop of two days.

A chapter with less than an hour of core is done at home before the first class. A chapter whose plan says
`course: elective` is in no week; it is listed as what may replace another.
"""

from __future__ import annotations

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
    courses = [_twelve_weeks(taught), _six_weeks(taught), _workshop(core), _electives(chapters)]
    return "\n".join(part for part in (BEGIN, _overview(chapters), first, *courses) if part)


def _chapter(plan: Plan, notebook: NotebookNode) -> Chapter:
    measured = notebook.metadata["bertlearn"]
    run = f"{measured['seconds'] / 60:.1f} min, {measured['memory_mb'] / 1000:.1f} GB"
    exercises = {exercise.name: exercise for exercise in material.exercises(notebook)}
    return Chapter(plan, exercises, material.sections(notebook), run)


def _table(heading: str, columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return f"## {heading}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _overview(chapters: list[Chapter]) -> str:
    columns = ["chapter", "needs", "core", "cells alone, on 2 cores"]
    rows = [[c.link, _needs(c.plan), f"{c.plan.core_hours:g} h", c.run] for c in chapters]
    outcomes = [
        f"\n**{c.plan.chapter} {c.plan.title}.** Afterward, students can\n\n"
        + "".join(f"- {outcome}\n" for outcome in c.plan.outcomes)
        for c in chapters
    ]
    return _table("The chapters", columns, rows) + "".join(outcomes)


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
    return _weeks("Six weeks, a class of 110 minutes each", rows, CHAPTERS)


def _weeks(heading: str, rows: list[list[str]], weeks: int) -> str:
    if len(rows) > weeks:
        raise ValueError(f"{len(rows)} classes do not fit in {weeks} weeks; join the sessions of a chapter")
    columns = ["week", "chapter", "before class", "in class", "after class"]
    numbered = [[str(week), *row] for week, row in enumerate(rows, 1)]
    rest, first = weeks - len(rows), len(rows) + 1
    weeks_left = f"weeks, {first} to {weeks}, are" if rest > 1 else f"week, {weeks}, is"
    left = f"\nThe remaining {weeks_left} for the [project](project.md) and the exam.\n" if rest else ""
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
