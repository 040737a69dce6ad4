"""The material for teachers in `teaching/chapters/`: read, and checked against its notebook.

python tools/material.py [01_attention …]     list what is missing or wrong; without names, for every chapter

A chapter's folder has the name of its notebook and four files: `plan.md` (front matter, times, discussion),
`exam.md`, `handout.md` and `slides.md`. What they must have is what `find_faults` looks for.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

import notebooks as tool
from bertlearn.course.cells import MINUTES, is_core, points

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
CHAPTERS = ROOT / "teaching" / "chapters"
SOLUTIONS = ROOT / "bertlearn" / "course" / "solutions"
TAG = "slide-"  # with a name behind it, the tag of a cell that a deck shows
REFERENCE = re.compile(r"^\[\[(output|code) ([\w-]+)\]\]$", re.MULTILINE)
CLASSES = (50, 80, 110)  # minutes

TWO_CLASSES = 80  # minutes each, if a chapter has two sessions
WHICH = ["First class", "Second class"]
PLAN = [*(f"In {minutes} minutes" for minutes in CLASSES), "Discussion", "Common stumbles", "Before class"]
KEYS = ["chapter", "title", "requires", "core_hours", "outcomes", "sessions", "workshop", "course"]
EXAM = ["minutes", "allowed"]
SLIDES, WORDS, NOTES = (14, 20), (0, 40), (40, 120)  # slides of a deck; words of a slide and of its notes
OUTPUTS, CODE_LINES = (5, 8), 12
HANDOUT = (250, 350)  # words
QUESTIONS, PROMPTS, STUMBLES, OUTCOMES = 6, 4, (5, 8), (3, 5)
SHORTEST = 15  # characters, without spaces, of code that is somebody's answer and not anybody's
COUNT = [
    "One", "Two", "Three", "Four", "Five", "Six", "Seven",
    "Eight", "Nine", "Ten", "Eleven", "Twelve", "Thirteen",
]  # fmt: skip
PACE = re.compile(rf"({'|'.join(COUNT)}) minutes?\b")  # how the notes of a slide begin
SPAN = r"\d+(?:[–-]\d+)?"
CODE = re.compile(r"(?<=```python\n).*?(?=```)|`[^`\n]+`", re.DOTALL)


class Exercise(NamedTuple):
    """An exercise of a notebook."""

    name: str
    stars: int
    minutes: int
    core: bool  # not in a part that goes deeper


class Section(NamedTuple):
    """A numbered section of a notebook."""

    number: int
    core: int  # minutes, exercises included
    deeper: int  # minutes


class Session(NamedTuple):
    """A week of the twelve-week course."""

    title: str
    sections: range
    exercises: list[str]


class Plan(NamedTuple):
    """The front matter of a plan."""

    stem: str
    chapter: int
    title: str
    requires: list[int]
    core_hours: float
    outcomes: list[str]
    sessions: list[Session]
    workshop_minutes: int
    workshop_does: str
    elective: bool


class Exam(NamedTuple):
    """An exam: its front matter and the questions with their points."""

    minutes: int
    allowed: str  # a sentence
    questions: dict[str, str]  # by heading

    @property
    def points(self) -> int:
        return sum(heading_points(heading) for heading in self.questions)


class Slide(NamedTuple):
    """A slide: its Markdown, which may refer to cells, and what the teacher says."""

    body: str
    notes: str

    @property
    def minutes(self) -> int:
        """How long the notes say that it takes; 0 if they do not."""
        stated = PACE.match(self.notes)
        return COUNT.index(stated[1]) + 1 if stated else 0


# --- reading ---------------------------------------------------------------------------------------------


def stems() -> list[str]:
    """Return the names of the chapters that have exercises, in their order."""
    return [path.stem for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb")) if exercises(tool.read(path))]


def exercises(notebook: NotebookNode) -> list[Exercise]:
    """Return a notebook's exercises with the stars and minutes of the headings above them."""
    found, heading, core = list[Exercise](), "", True
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^###? .+$", cell.source, re.MULTILINE)][-1]
            core = is_core(cell.source, core)
        elif "exercise" in tool.tags(cell):
            stated = re.search(r"(\d+) minutes", heading)
            stars, minutes = points(heading), int(stated[1]) if stated else 0
            found += [Exercise(name, stars, minutes, core) for name in tool.functions(cell)]
    return found


def sections(notebook: NotebookNode) -> dict[int, Section]:
    """Return the numbered sections of a notebook; a section that states no minutes takes 0."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.findall(r"^## (\d+)[. ](.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return {int(number): _section(int(number), part) for number, part in found}


def _section(number: int, text: str) -> Section:
    """Read a section, of which a later part may go deeper and have minutes of its own."""
    minutes = {"Core": 0, "Going deeper": 0}
    for kind, stated in MINUTES.findall(text):
        minutes[kind] += int(stated)
    return Section(number, *minutes.values())


def read_plan(path: Path) -> Plan:
    """Read the front matter of a `plan.md`.

    Raises:
        ValueError: a key is missing or not known, or a value has another form.
    """
    data = _front_matter(path, KEYS)
    try:
        return _plan(path.parent.name, data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path.name}: the front matter has another form than expected: {error!r}"
        ) from error


def _front_matter(path: Path, keys: list[str]) -> dict[str, Any]:
    """Return the front matter of a file, which has these keys and no others."""
    found = re.match(r"---\n(.*?\n)---\n", path.read_text(encoding="utf-8"), re.DOTALL)
    data = yaml.safe_load(found[1]) if found else None
    if not isinstance(data, dict) or set(data) != set(keys):
        came = sorted(data) if isinstance(data, dict) else "none"
        raise ValueError(f"{path.name} begins with front matter that has {came}; expected {sorted(keys)}")
    return data


def _plan(stem: str, data: dict[str, Any]) -> Plan:
    sessions = [Session(s["title"], _numbers(str(s["sections"])), s["exercises"]) for s in data["sessions"]]
    kind = ["core", "elective"].index(data["course"])
    return Plan(
        stem,
        *(data[key] for key in KEYS[:5]),
        sessions,
        int(data["workshop"]["minutes"]),
        data["workshop"]["does"],
        bool(kind),
    )


def _numbers(text: str) -> range:
    """Read "3" or "1–4"."""
    first, *last = map(int, re.split("[–-]", text))
    return range(first, (last or [first])[0] + 1)


def read_exam(path: Path) -> Exam:
    """Read an `exam.md`.

    Raises:
        ValueError: a key of the front matter is missing or not known, or a value has another form.
    """
    data = _front_matter(path, EXAM)
    if not isinstance(data["minutes"], int) or not isinstance(data["allowed"], str):
        raise ValueError(f"{path.name}: minutes is a whole number and allowed a sentence, not {data}")
    found = parts(path.read_text(encoding="utf-8"))
    return Exam(**data, questions={heading: part for heading, part in found.items() if heading != "Variants"})


def heading_points(heading: str) -> int:
    """Return what a question's heading says that it gives, as in “1. Two bugs (7 points)”, or 0."""
    stated = re.search(r"\((\d+) points\)$", heading)
    return int(stated[1]) if stated else 0


def read_slides(text: str) -> list[Slide]:
    """Take a `slides.md` apart at its lines `---`."""
    slides = [
        re.split(r"^Notes:[ ]*", part, maxsplit=1, flags=re.MULTILINE)
        for part in re.split(r"^---$", text, flags=re.MULTILINE)
    ]
    return [Slide(body.strip(), notes[0].strip() if notes else "") for body, *notes in slides]


def parts(text: str, level: int = 2) -> dict[str, str]:
    """Return the text below each heading of a level, by heading."""
    pieces = re.split(rf"^{'#' * level} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(map(str.strip, pieces[1::2]), pieces[2::2], strict=True))


def bullets(text: str) -> list[str]:
    """Return the items of the lists in a text, without what is nested in them being an item."""
    return [item.strip() for item in re.split(r"^(?:[-*]|\d+\.) ", text, flags=re.MULTILINE)[1:]]


def words(text: str) -> int:
    """Return the number of words that are read: without formulas, references and addresses of pictures."""
    text = re.sub(r"\$\$.*?\$\$|\$[^$\n]+\$", "", REFERENCE.sub("", text), flags=re.DOTALL)
    return tool.words(new_notebook(cells=[new_markdown_cell(text)]))


def answer_lines(code: str) -> set[str]:
    """Return the lines of answers that give something away, without spaces and `return`."""
    lines = (line.strip().removeprefix("return ") for line in ast.unparse(ast.parse(code)).splitlines())
    inside = (line for line in lines if not line.startswith(("def ", "import ", "from ", '"')))
    return {line for line in map(_squeezed, inside) if len(line) >= SHORTEST}


def expressions(code: str) -> set[str]:
    """Return what a code calls and computes, without spaces, and with `_` for each variable."""
    nodes = list(ast.walk(ast.parse(code)))
    for node in nodes:
        if isinstance(node, ast.Name):
            node.id = "_"
    found = {_squeezed(ast.unparse(node)) for node in nodes if isinstance(node, ast.expr)}
    return {expression for expression in found if len(expression) >= SHORTEST}


def _squeezed(code: str) -> str:
    return re.sub(r"\s", "", code)


def tagged(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """Return the cells that slides may show, by name."""
    return {
        tag.removeprefix(TAG): cell
        for cell in notebook.cells
        for tag in tool.tags(cell)
        if tag.startswith(TAG)
    }


# --- checking --------------------------------------------------------------------------------------------


def find_faults(folder: Path, notebook: NotebookNode, core_hours: float) -> list[str]:
    """List what is missing or wrong in a chapter's folder, each in a sentence that says what to write.

    Args:
        folder: the chapter's, with its four files.
        notebook: the chapter's.
        core_hours: what the README says that the chapter's core takes.
    """
    checks: dict[str, Callable[[str], Iterator[str]]] = {
        "plan.md": lambda text: _plan_faults(text, folder, notebook, core_hours),
        "exam.md": lambda text: _exam_faults(text, folder),
        "handout.md": lambda text: chain(
            _bounded("words", words(text), HANDOUT), _answer_faults(text, folder.name)
        ),
        "slides.md": lambda text: chain(
            _slides_faults(read_slides(text), notebook), _answer_faults(text, folder.name)
        ),
    }
    faults = list[str]()
    for name, check in checks.items():
        path = folder / name
        if path.is_file():
            faults += [f"{folder.name}/{name}: {fault}" for fault in check(path.read_text(encoding="utf-8"))]
        else:
            faults.append(f"{folder.name}/{name} is missing: write it as in teaching/chapters/01_attention")
    return faults


def _bounded(what: str, count: int, bounds: tuple[int, int]) -> Iterator[str]:
    if not bounds[0] <= count <= bounds[1]:
        yield f"{count} {what}, expected {bounds[0]} to {bounds[1]}"


def _answer_faults(text: str, stem: str) -> Iterator[str]:
    """Handouts and slides are seen before the exercises are solved."""
    path, shown = SOLUTIONS / f"{stem[3:]}.py", _squeezed(text)
    answers = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = {line for line in answer_lines(answers) if line in shown}
    for code in CODE.findall(text):
        with suppress(SyntaxError):
            found |= expressions(code.strip("`")) & expressions(answers)
    yield from (f"{code} is of an answer: give a formula, shapes or numbers" for code in sorted(found))


def _plan_faults(text: str, folder: Path, notebook: NotebookNode, core_hours: float) -> Iterator[str]:
    try:
        plan = read_plan(folder / "plan.md")
    except ValueError as error:
        yield str(error)
        return
    yield from _front_matter_faults(plan, notebook, core_hours)
    slides = _slides_of(folder)
    found, titles = parts(text), [session.title for session in plan.sessions]
    both = f"In two classes of {TWO_CLASSES} minutes"
    expected = PLAN if len(titles) == 1 else [*PLAN[: len(CLASSES)], both, *PLAN[len(CLASSES) :]]
    if list(found) != expected:
        yield f"the sections are {list(found)}, expected {expected}"
        return
    for minutes in CLASSES:
        yield from _time_faults(found[f"In {minutes} minutes"], minutes, slides)
    if both in found:
        tables = parts(found[both], level=3)
        if list(tables) != [f"{which}: {title}" for which, title in zip(WHICH, titles, strict=False)]:
            yield f"the classes are {list(tables)}, but the sessions are {titles}"
        for table in tables.values():
            yield from _time_faults(table, TWO_CLASSES, slides)
    prompts = parts(found["Discussion"], level=3)
    yield from _bounded("prompts for discussion", len(prompts), (PROMPTS, PROMPTS))
    for heading, answer in prompts.items():
        if "*What to expect:*" not in answer or not heading.endswith("?"):
            yield f"“{heading}” is not a question with “*What to expect:*” below it"
    stumbles = bullets(found["Common stumbles"])
    yield from _bounded("common stumbles", len(stumbles), STUMBLES)
    yield from (f"a stumble does not begin in bold: {s[:40]}" for s in stumbles if not s.startswith("**"))
    yield from _reference_faults(text, slides)


def _front_matter_faults(plan: Plan, notebook: NotebookNode, core_hours: float) -> Iterator[str]:
    if plan.chapter != int(plan.stem[:2]):
        yield f"the chapter is {plan.chapter}, but the folder is {plan.stem}"
    if abs(plan.core_hours - core_hours) > 0.05:
        yield f"core_hours is {plan.core_hours}, but the README says {core_hours:.1f}"
    if any(chapter >= plan.chapter for chapter in plan.requires):
        yield f"it requires {plan.requires}, not only earlier chapters"
    planned = [name for session in plan.sessions for name in session.exercises]
    if planned != (there := [exercise.name for exercise in exercises(notebook)]):
        yield f"the sessions' exercises are {planned}, but the notebook's are {there}"
    known = sections(notebook)
    missing = [
        number for session in plan.sessions for number in session.sections if known and number not in known
    ]
    if missing:
        yield f"the sessions name the sections {missing}, which the notebook does not have"
    yield from _bounded("sessions", len(plan.sessions), (1, 2))
    yield from _bounded("outcomes", len(plan.outcomes), OUTCOMES)


def _time_faults(table: str, minutes: int, slides: list[Slide]) -> Iterator[str]:
    """The rows follow one another without a gap, fill the class, and give slides the time of their notes."""
    cells = re.findall(r"^\| *(\d+)[–-](\d+) *\|(.*)", table, re.MULTILINE)
    rows = [(int(a), int(b)) for a, b, _ in cells]
    edges = [0, *(edge for row in rows for edge in row), minutes]
    if not rows or any(a != b for a, b in zip(edges[::2], edges[1::2], strict=True)):
        yield f"the times of {minutes} minutes have a gap or do not fill the class: {rows}"
    if any(a >= b for a, b in rows):
        yield f"a row of {minutes} minutes takes no time: {rows}"
    for (a, b), (*_, text) in zip(rows, cells, strict=True):
        shown = [number for span in _spans(text) for number in span if number <= len(slides)]
        if b - a < (needed := sum(slides[number - 1].minutes for number in shown)):
            yield f"of {minutes} minutes, {a}–{b} are too short: the notes of its slides say {needed}"


def _spans(text: str) -> list[range]:
    """Return the slides that a text names by their numbers: “slide 3”, “slides 4–5, 8”."""
    named = re.findall(rf"\bslides? ({SPAN}(?:, {SPAN})*)", text)
    return [_numbers(span) for spans in named for span in spans.split(", ")]


def _slides_of(folder: Path) -> list[Slide]:
    path = folder / "slides.md"
    return read_slides(path.read_text(encoding="utf-8")) if path.is_file() else []


def _reference_faults(text: str, slides: list[Slide]) -> Iterator[str]:
    """Slides that a plan names by number exist."""
    count = len(slides)
    beyond = sorted({end for span in _spans(text) for end in (span[0], span[-1]) if not 1 <= end <= count})
    if beyond:
        yield f"the plan names the slides {beyond}, and there are {count}"


def _exam_faults(text: str, folder: Path) -> Iterator[str]:
    try:
        questions = read_exam(folder / "exam.md").questions
    except ValueError as error:
        yield str(error)
        return
    yield from _bounded("questions", len(questions), (QUESTIONS, QUESTIONS))
    for number, (heading, part) in enumerate(questions.items(), 1):
        stated = heading_points(heading) if heading.startswith(f"{number}. ") else 0
        question, _, marking = part.partition("**Marking:**")
        if not stated or not marking or not question.strip():
            yield f"“{heading}” is not “{number}. … (6 points)” with a question and “**Marking:**” below it"
        elif (given := marked_points(marking)) != stated:
            yield f"the points that “{heading}” gives add up to {given:g}"
    variants = bullets(parts(text).get("Variants", ""))
    yield from _bounded("variants", len(variants), (QUESTIONS, QUESTIONS))


def marked_points(marking: str) -> float:
    """Add up what the items of a marking list give: those that begin with their points, as in “2 points: …”.

    Other items, such as what a usual wrong answer still gets, do not count.
    """
    starts = (re.match(r"[*(]*(\d+(?:\.5)?) points?\b", item) for item in bullets(marking))
    return sum(float(start[1]) for start in starts if start)


def _slides_faults(slides: list[Slide], notebook: NotebookNode) -> Iterator[str]:
    yield from _bounded("slides", len(slides), SLIDES)
    for number, slide in enumerate(slides, 1):
        yield from (f"slide {number}: {fault}" for fault in _slide_faults(slide, first=number == 1))
    used = [reference for slide in slides for reference in REFERENCE.findall(slide.body)]
    yield from _bounded("outputs of the notebook", sum(kind == "output" for kind, _ in used), OUTPUTS)
    cells = tagged(notebook)
    for kind, name in used:
        yield from _cell_faults(kind, name, cells.get(name))
    yield from (
        f"no slide shows the cell tagged {TAG}{name}"
        for name in cells
        if name not in dict(map(reversed, used))
    )


def _slide_faults(slide: Slide, first: bool) -> Iterator[str]:
    if not slide.body.startswith("# " if first else "## "):
        yield f"begins with {slide.body[:20]!r}, not with {'# ' if first else '## '}and its heading"
    yield from _bounded("words", words(slide.body), WORDS)
    if not first:
        yield from _bounded("words of notes", words(slide.notes), NOTES)
    if odd := [
        line
        for line in slide.body.splitlines()
        if line.startswith(("[[output", "[[code")) and not REFERENCE.match(line)
    ]:
        yield f"{odd} is not [[output name]] or [[code name]] on a line of its own"


def _cell_faults(kind: str, name: str, cell: NotebookNode | None) -> Iterator[str]:
    if cell is None:
        yield f"[[{kind} {name}]]: the notebook has no cell tagged {TAG}{name}"
    elif kind == "code":
        yield from (
            f"[[code {name}]]: {f}" for f in _bounded("lines", len(cell.source.splitlines()), (1, CODE_LINES))
        )
    elif not any(output.get("data") or output.get("text") for output in cell.get("outputs", [])):
        yield f"[[output {name}]]: the cell has no output"


def readme_hours() -> dict[str, float]:
    """Return the core hours of the README's table, by the name of the notebook."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"\(notebooks/(\w+)\.ipynb\) \|[^|]+\| ([\d.]+) (h|min) \|", text)
    return {stem: float(number) / (60 if unit == "min" else 1) for stem, number, unit in rows}


def faults_of(stem: str) -> list[str]:
    return find_faults(CHAPTERS / stem, tool.read(NOTEBOOKS / f"{stem}.ipynb"), readme_hours()[stem])


def main(names: list[str]) -> int:
    faults = [fault for stem in names or stems() for fault in faults_of(stem)]
    print("\n".join(faults) or "the teaching material is complete")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
