"""A class of students who do not exist: notebooks of every kind that a teacher gets, and their rows.

    python tests/course/grading/synthetic_class.py FOLDER --chapter 1 --students 60 --seed 0

Each submission is the chapter's own notebook with answers in its exercises: the published ones in differing
styles, known mistakes, stubs, cheats, endless loops and others. The same seed makes the same class.
"""

from __future__ import annotations

import argparse
import ast
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import nbformat

from bertlearn.course import cells
from bertlearn.course.checks import CHAPTERS
from bertlearn.course.exercise import Exercise
from bertlearn.course.grading.build import read_chapter
from bertlearn.course.grading.checks import checks_of
from bertlearn.course.grading.grades import Row
from bertlearn.course.grading.release import Release, ReleasedChapter
from bertlearn.course.grading.submission import REFERS
from bertlearn.course.grading.twins import outline
from bertlearn.course.grading.worker import NO_FUNCTION

STUB = "    raise NotImplementedError"
WORDS = ("step", "part", "tmp", "t", "mid", "cur", "val", "piece")


class Expected(NamedTuple):
    """What the row of an exercise must say."""

    score: int = 1
    attempted: bool = True
    mistake: str = ""
    flag: str = ""  # how the flag begins


class Member(NamedTuple):
    """One student: what is handed in, and what must become of it."""

    kind: str
    cells: list[str]  # of code; a single text that is no notebook if `rows` is a text
    rows: Mapping[str, Expected] | str  # by exercise; or how the flag of the whole submission begins
    twins: tuple[str, frozenset[str]] = ("", frozenset())  # exercise, and whose answers are alike


class Chapter:
    """A chapter's notebook, the published answers to its exercises, and the known mistakes."""

    def __init__(self, number: int) -> None:
        source, checks = read_chapter(number), checks_of(number)
        self.number, self.path, self.module = number, source.path, CHAPTERS[number]
        self.exercises = source.exercises
        self.cells = [cell.source for cell in cells.code_cells(source.notebook)]
        self.checks = {name: each for name in self.exercises if isinstance(each := checks[name], Exercise)}
        text = cells.solutions_of(source.path.stem).read_text(encoding="utf-8")
        tree = ast.parse(text)
        imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        self.imports = "\n".join(map(ast.unparse, imports))
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        self.answers = {name: ast.get_source_segment(text, functions[name]) or "" for name in self.exercises}
        self.longest = max(self.checks, key=lambda name: len(list(ast.walk(functions[name]))))

    @property
    def release(self) -> Release:
        """What the class is given."""
        return Release("0", {self.number: ReleasedChapter(self.path.stem, self.exercises)})

    @cached_property
    def alone(self) -> list[str]:
        """Return the exercises whose function no other answer calls."""
        trees = {name: ast.parse(text) for name, text in self.answers.items()}
        called = {
            node.id
            for name, tree in trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and node.id != name
        }
        return [name for name in self.checks if name not in called]

    @cached_property
    def mistakes(self) -> list[tuple[str, str, str]]:
        """Return exercise, known mistake and wrong answer, of all that change one answer and no other."""
        return [
            (name, mistake, text)
            for name in self.alone
            for mistake, wrong in self.checks[name].wrong.items()
            if wrong.edits and (text := _edited(self.answers[name], wrong.edits))
        ]

    def filled(self, answers: Mapping[str, str]) -> list[str]:
        """Return the notebook's cells with answers in place of stubs; exercises without one keep theirs."""
        return [self.imports, *(_with_answers(cell, answers) for cell in self.cells)]


def _edited(text: str, edits: Sequence[tuple[str, str, str, int]]) -> str | None:
    for before, after, function, occurrence in edits:
        if function or occurrence or text.count(before) != 1:
            return None
        text = text.replace(before, after)
    return text


def _with_answers(cell: str, answers: Mapping[str, str]) -> str:
    if "raise NotImplementedError" not in cell:
        return cell
    for node in ast.parse(cell).body:
        if isinstance(node, ast.FunctionDef) and node.name in answers:
            cell = cell.replace(ast.get_source_segment(cell, node) or "", answers[node.name])
    return cell


# --- styles ----------------------------------------------------------------------------------------------


def renamed(text: str, chance: random.Random) -> str:
    """Return an answer with other names for all its variables and arguments, and without its comments."""
    tree = ast.parse(text)
    own = {node.arg: "" for node in ast.walk(tree) if isinstance(node, ast.arg)} | {
        node.id: ""
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    own = {name: f"{chance.choice(WORDS)}_{name}" for name in own}
    for node in ast.walk(tree):
        for field in ("id", "arg"):
            if getattr(node, field, None) in own and not isinstance(node, ast.keyword):
                setattr(node, field, own[getattr(node, field)])
    return ast.unparse(tree)


class _Steps(ast.NodeTransformer):
    """Gives some of the expressions inside a statement a name in a line of its own."""

    def __init__(self, share: float, word: str, chance: random.Random) -> None:
        self.share, self.word, self.chance, self.count = share, word, chance, 0
        self.lines: list[ast.stmt] = []

    def _block(self, node: ast.stmt) -> ast.stmt:
        for field in ("body", "orelse"):
            lines = [self.visit(line) for line in getattr(node, field, [])]
            setattr(
                node, field, [each for line in lines for each in (line if isinstance(line, list) else [line])]
            )
        return node

    visit_FunctionDef = visit_For = visit_While = visit_If = visit_With = _block

    def _statement(self, node: ast.Assign | ast.Return) -> list[ast.stmt]:
        self.lines = []
        if isinstance(node, ast.Return) and not isinstance(node.value, ast.Name | None):
            node.value = self._expression(node.value)
        elif node.value is not None:
            self.generic_visit(node.value)
        return [*self.lines, node]

    visit_Assign = visit_Return = _statement

    def _expression(self, node: ast.expr) -> ast.expr:
        if isinstance(node, _KEPT):
            return node
        self.generic_visit(node)
        if self.chance.random() >= self.share:
            return node
        self.count += 1
        name = f"{self.word}{self.count}"
        self.lines.append(ast.Assign([ast.Name(name, ast.Store())], node, lineno=0))
        return ast.Name(name, ast.Load())

    visit_BinOp = visit_Call = visit_Subscript = _expression

    def generic_visit(self, node: ast.AST) -> ast.AST:
        return node if isinstance(node, _KEPT) else super().generic_visit(node)


_KEPT = (  # what is inside runs later, not at all or more than once
    ast.Lambda, ast.IfExp, ast.BoolOp, ast.Compare, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp,
    ast.AugAssign, ast.Expr, ast.stmt,
)  # fmt: skip


def in_steps(text: str, share: float, word: str, chance: random.Random) -> str:
    """Return an answer in which a share of the expressions have a line of their own."""
    return ast.unparse(_Steps(share, word, chance).visit(ast.parse(text)))


def restyled(answers: Mapping[str, str], chance: random.Random) -> dict[str, str]:
    """Return answers as another person would write them."""
    share = chance.uniform(0, 0.4)
    return {name: renamed(in_steps(text, share, "x", chance), chance) for name, text in answers.items()}


# --- what students hand in -------------------------------------------------------------------------------


class Maker:
    """Makes the members of a class; each method makes those of one kind, without an end."""

    def __init__(self, chapter: Chapter, chance: random.Random) -> None:
        self.chapter, self.chance = chapter, chance
        self.right = {name: Expected() for name in chapter.checks}

    def published(self) -> Iterator[Member]:
        """All answers as they are published."""
        while True:
            yield Member("published", self.chapter.filled(self.chapter.answers), self.right)

    def restyled(self) -> Iterator[Member]:
        """All answers right, in a style of their own."""
        while True:
            yield Member("restyled", self.chapter.filled(self._styled()), self.right)

    def untidy(self) -> Iterator[Member]:
        """All answers right, in a notebook whose cells were copied, moved and left broken."""
        while True:
            answers = self._styled()
            cells = self.chapter.filled(answers)
            self.chance.shuffle(cells)
            extra = ["%matplotlib inline", "!pip list", "1 +", "raise SystemExit", "while True:\n    pass"]
            stubs = [cell for cell in self.chapter.cells if STUB in cell]
            copied = [text for name, text in answers.items() if name in self.chapter.alone]
            yield Member("untidy", [*extra, self.chapter.imports, *cells, *copied, *stubs], self.right)

    def mistaken(self) -> Iterator[Member]:
        """One to three known mistakes, a few of them frequent, everything else right."""
        found = self.chapter.mistakes
        frequent = self.chance.sample(found, 4)
        while True:
            answers, rows = self._styled(), dict(self.right)
            for _ in range(self.chance.randint(1, 3)):
                name, mistake, text = self.chance.choice(self.chance.choice((found, frequent)))
                answers[name] = renamed(text, self.chance)
                rows[name] = Expected(0, True, mistake)
            yield Member("mistaken", self.chapter.filled(answers), rows)

    def partly(self) -> Iterator[Member]:
        """The first answers right, the others not attempted."""
        names = list(self.chapter.exercises)
        while True:
            count = self.chance.randint(1, len(names) - 1)
            answers = {name: text for name, text in self._styled().items() if name in names[:count]}
            rows = {name: Expected() if name in answers else Expected(0, False) for name in names}
            yield Member("partly", self.chapter.filled(answers), rows)

    def stubs(self) -> Iterator[Member]:
        """Nothing attempted."""
        while True:
            rows = {name: Expected(0, False) for name in self.chapter.exercises}
            yield Member("stubs", self.chapter.filled({}), rows)

    def broken(self) -> Iterator[Member]:
        """One answer is no Python; the others are right."""
        while True:
            name, answers = self.chance.choice(self.chapter.alone), self._styled()
            answers[name] = f"def {name}(*values):\n    return (values"
            rows = self.right | {name: Expected(0, False, "", NO_FUNCTION)}
            yield Member("broken", self.chapter.filled(answers), rows)

    def unreadable(self) -> Iterator[Member]:
        """A file that is no notebook."""
        while True:
            for text in (
                "",
                "{",
                "[1, 2]",
                '{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
            ):
                yield Member("unreadable", [text], "")

    def cheats(self) -> Iterator[Member]:
        """One answer calls the course's own code, in one way after another."""
        module = f"bertlearn.course.solutions.{self.chapter.module}"
        while True:
            for way, attempted in (
                ("def {name}(*values):\n    from {module} import {name} as f\n    return f(*values)", True),
                ("def {name}(*values):\n    return check.{name}.solution(*values)", True),
                (
                    "import sys\n\ndef {name}(*values):\n    return sys.modules['{module}'].{name}(*values)",
                    True,
                ),
                (
                    "def {name}(*values):\n    return __import__('{module}', fromlist='x').{name}(*values)",
                    True,
                ),
                ("def {name}(*values):\n    return eval('check.{name}.solution')(*values)", True),
                ("from {module} import {name}", False),
            ):
                name, answers = self.chance.choice(self.chapter.alone), self._styled()
                answers[name] = way.format(name=name, module=module)
                flagged = Expected(0, attempted, "", f"{REFERS}: " if attempted else NO_FUNCTION)
                yield Member("cheats", self.chapter.filled(answers), self.right | {name: flagged})

    def loops(self) -> Iterator[Member]:
        """One answer never ends, and does or does not catch what would stop it."""
        swallows = "try:\n            values = values[:]\n        except {}:\n            pass"
        while True:
            for body in (
                "while True:\n        pass",
                f"while True:\n        {swallows.format('Exception')}",
                f"while True:\n        {swallows.format('BaseException')}",
            ):
                yield self._one("loops", body, Expected(0, True))

    def hogs(self) -> Iterator[Member]:
        """One answer takes all the memory it gets, up to 80 GB that it never touches."""
        while True:
            loop = "while len(held) < 200:\n        held.append(torch.empty(10**8))"
            body = f"import torch\n    held = []\n    {loop}"
            yield self._one("hogs", body, Expected(0, True))

    def ends(self) -> Iterator[Member]:
        """One answer ends its process."""
        while True:
            yield self._one("ends", "import os\n    os._exit(0)", Expected(0, True))

    def sleeps(self) -> Iterator[Member]:
        """One answer waits for ever without computing."""
        while True:
            yield self._one("sleeps", "import time\n    time.sleep(10**6)", Expected(0, True))

    def alike(self) -> Iterator[Member]:
        """Pairs: a long answer, copied with other names and another docstring."""
        while True:
            text = in_steps(self.chapter.answers[self.chapter.longest], 1.0, "x", self.chance)
            yield from self._pair("alike", renamed(text, self.chance), renamed(text, self.chance), Expected())

    def identical(self) -> Iterator[Member]:
        """Pairs: an answer copied to the character, with comments of its author's."""
        while True:
            answer = in_steps(self.chapter.answers[self.chapter.longest], 0.5, "x", self.chance)
            text = f"{answer}\n    # the last line took me a whole evening, please do not ask why it works"
            lines = text.splitlines()
            text = "\n".join([*lines[:-2], lines[-1], lines[-2]])
            yield from self._pair("identical", text, text, Expected())

    def rare(self) -> Iterator[Member]:
        """Pairs: a wrong answer that nobody else gives; its result is forgotten."""
        while True:
            answer = in_steps(self.chapter.answers[self.chapter.longest], 0.9, "x", self.chance)
            before, _, after = answer.rpartition("return ")
            text = f"{before}result = {after}"
            yield from self._pair(
                "rare", renamed(text, self.chance), renamed(text, self.chance), Expected(0, True)
            )

    def _pair(self, kind: str, one: str, other: str, expected: Expected) -> Iterator[Member]:
        name = self.chapter.longest
        assert outline(ast.parse(one).body[0]) == outline(ast.parse(other).body[0])  # type: ignore[arg-type]
        for text in (one, other):
            cells = self.chapter.filled(self._styled() | {name: text})
            yield Member(kind, cells, self.right | {name: expected}, (name, frozenset()))

    def _one(self, kind: str, body: str, expected: Expected) -> Member:
        name, answers = self.chance.choice(self.chapter.alone), self._styled()
        answers[name] = f"def {name}(*values):\n    {body}"
        return Member(kind, self.chapter.filled(answers), self.right | {name: expected})

    def _styled(self) -> dict[str, str]:
        return restyled(self.chapter.answers, self.chance)


PAIRED = ("alike", "identical", "rare")
SIXTY = {  # how many of each kind a class of sixty has
    "alike": 2, "identical": 2, "rare": 2, "cheats": 6, "loops": 3, "hogs": 1, "ends": 1, "sleeps": 1,
    "broken": 2, "unreadable": 2, "untidy": 5, "partly": 6, "stubs": 3, "published": 3, "mistaken": 12,
    "restyled": 9,
}  # fmt: skip
NAMES = ("李明", "O'Neil, Zoë", "=1+1", "a & b", "Øystein", "-dash", "two  spaces", "Ann", "ann_", "名前")


def make_class(chapter: Chapter, students: int = 60, seed: int = 0) -> dict[str, Member]:
    """Return the members of a class by name; up to 60 it takes the kinds in the order of `SIXTY`."""
    kinds = [kind for kind, count in SIXTY.items() for _ in range(count)]
    kinds += ["restyled"] * (students - len(kinds))
    return make_members(chapter, kinds[:students], seed)


def make_members(chapter: Chapter, kinds: Sequence[str], seed: int = 0) -> dict[str, Member]:
    """Return a member of each kind, with names in a random order; members of a pair know each other."""
    chance = random.Random(seed)
    maker = Maker(chapter, chance)
    sources: dict[str, Iterator[Member]] = {kind: getattr(maker, kind)() for kind in dict.fromkeys(kinds)}
    names = [*NAMES, *(f"student{number:03}" for number in range(len(kinds)))][: len(kinds)]
    chance.shuffle(names)
    members = {name: next(sources[kind]) for name, kind in zip(names, kinds, strict=True)}
    for kind in PAIRED:
        pair = [name for name in members if members[name].kind == kind]
        for name in pair:
            exercise, others = members[name].twins[0], frozenset(pair) - {name}
            members[name] = members[name]._replace(twins=(exercise, others))
    return members


def write_class(folder: Path, members: Mapping[str, Member], chapter: Chapter) -> None:
    """Write the notebook of each member into a folder of that name."""
    for name, member in members.items():
        path = folder / name / chapter.path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_text(member), encoding="utf-8")


def _text(member: Member) -> str:
    if member.kind == "unreadable":
        return member.cells[0]
    cells = [nbformat.v4.new_code_cell(source) for source in member.cells]
    return str(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))


def expected_rows(members: Mapping[str, Member], chapter: Chapter) -> list[Row]:
    """Return the rows that grading must give, without twins, for tests of what comes after it."""
    found = []
    for student, member in members.items():
        place = (student, f"{student}/{chapter.path.name}", chapter.number)
        if isinstance(member.rows, str):
            found.append(
                Row(*place, "", sum(chapter.exercises.values()), 0, False, "", "", member.rows, "", "0")
            )
            continue
        for name, (score, attempted, mistake, flag) in member.rows.items():
            points = chapter.exercises[name]
            found.append(Row(*place, name, points, score * points, attempted, mistake, "", flag, "", "0"))
    return found


def differences(rows: Sequence[Row], members: Mapping[str, Member]) -> list[str]:
    """Return where the rows of a grading are not those that they must be."""
    found = []
    for name, member in members.items():
        mine = {row.exercise: row for row in rows if row.student == name}
        if isinstance(member.rows, str):
            if list(mine) != [""] or not mine[""].flag.startswith(member.rows):
                found.append(f"{name} ({member.kind}): {mine}")
            continue
        for exercise, expected in member.rows.items():
            row = mine.get(exercise)
            if row is None or not _agrees(row, expected, member):
                found.append(
                    f"{name} ({member.kind}), {exercise}: {row}, expected {expected}, {member.twins}"
                )
    return found


def _agrees(row: Row, expected: Expected, member: Member) -> bool:
    twins = member.twins[1] if row.exercise == member.twins[0] else frozenset()
    names = {each.rpartition(" (")[0] for each in row.twins.split("; ") if each}
    same = (bool(row.score), row.attempted, row.mistake) == (bool(expected.score), *expected[1:3])
    return (
        same
        and row.flag.startswith(expected.flag)
        and bool(row.flag) == bool(expected.flag)
        and names == twins
    )


def main(words: Sequence[str] | None = None, say: Callable[[str], object] = print) -> None:
    """Write a class into a folder."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chapter", type=int, default=1)
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(words)
    chapter = Chapter(options.chapter)
    members = make_class(chapter, options.students, options.seed)
    write_class(options.folder, members, chapter)
    for name, member in members.items():
        say(f"{name:16} {member.kind}")


if __name__ == "__main__":
    main()
