"""Grades the notebooks of a class, each in a process of its own, and keeps the results in a CSV table."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from bertlearn.course.compare import short
from bertlearn.course.grading import stops
from bertlearn.course.grading.release import Release
from bertlearn.course.grading.submission import defined_names
from bertlearn.course.grading.twins import find_twins
from bertlearn.course.grading.workers import WorkerError, Workers
from bertlearn.files import write_whole

SECONDS = 180.0  # for one submission; each answer has a limit of its own as well
MEGABYTES = 6000
LONGEST = 300  # characters of a text that comes from the answers' process
NOT_COMPARED = "?"  # in place of twins, until grading has ended


class Row(NamedTuple):
    """One exercise of one submission: a row of the table."""

    student: str
    file: str
    chapter: int | None  # None if the file belongs to no chapter of the release
    exercise: str  # "" if the submission as a whole could not be graded
    points: int  # of the exercise, or of the whole chapter
    score: int  # 0 or the points
    attempted: bool
    mistake: str  # known mistakes that the answer makes
    reason: str  # if it makes none: why it is wrong, as `exercise.Result` says it
    flag: str  # why the answer does not count, or the submission could not be graded
    twins: str  # students whose answer is alike beyond chance: a question for the teacher, never a mark
    checksum: str  # of the file and of what is graded: if one changes, the file is graded again


def grade(
    release: Release,
    submitted: Path,
    to: Path,
    jobs: int = 1,
    seconds: float = SECONDS,
    megabytes: int = MEGABYTES,
    report: Callable[[str, Sequence[Row]], None] = lambda student, rows: None,
    begin: Callable[[int, int], None] = lambda done, total: None,
) -> list[Row]:
    """Grade every notebook in a folder; what the table has already is kept: a stopped grading goes on.

    Args:
        release: what the class was given: chapters, their exercises and points.
        submitted: a folder with a notebook, or a folder with notebooks, for each student.
        to: the CSV table to write; it is whole after each submission.
        jobs: how many submissions are graded at the same time.
        seconds: the time that one submission may take.
        megabytes: the memory that one submission may use, where the system can limit it.
        report: called with a student and that student's rows as soon as they are there.
        begin: called once with how many notebooks are graded already, and how many there are.

    Raises:
        ValueError: the folder has no notebook, or the table is none of ours.
    """
    files = find_notebooks(submitted)
    rows = read_rows(to) if to.exists() else []
    done = {row.checksum for row in rows}
    found = [_find(path, submitted, release) for path in files]
    waiting = [submission for submission in found if submission.checksum not in done]
    begin(len(found) - len(waiting), len(found))
    pool, workers = ThreadPoolExecutor(jobs), Workers()
    try:
        tasks = [pool.submit(_grade_file, submission, workers, seconds, megabytes) for submission in waiting]
        for task in as_completed(tasks):
            mine = task.result()
            rows = [row for row in rows if row.file != mine[0].file] + mine
            rows.sort(key=lambda row: (row.student, row.file))
            write_rows(to, rows)
            report(mine[0].student, mine)
    finally:
        workers.stop()  # after Ctrl-C: what is running is ended, and checked from the start next time
        pool.shutdown(cancel_futures=True)
    rows = with_twins(rows, submitted)
    write_rows(to, rows)
    return rows


def with_twins(rows: Sequence[Row], submitted: Path) -> list[Row]:
    """Return the rows of a grading that has ended with the twins of each answer; no score changes."""
    found = find_twins(rows, submitted)
    return [row._replace(twins=found.get((row.file, row.chapter, row.exercise), "")) for row in rows]


def has_ended(rows: Iterable[Row]) -> bool:
    """Return whether a grading has come to its end; then answers are compared, and no student is missing."""
    return all(row.twins != NOT_COMPARED for row in rows)


def best_rows(rows: Iterable[Row]) -> list[Row]:
    """Return one row for each student and exercise: the best, if a student handed in several notebooks."""
    best: dict[tuple[str, int | None, str], Row] = {}
    for row in rows:
        place = row.student, row.chapter, row.exercise
        if place not in best or (row.score, row.attempted) > (best[place].score, best[place].attempted):
            best[place] = row
    return list(best.values())


def summary(rows: Sequence[Row]) -> str:
    """Return what became of a submission, in a few words."""
    chapter = "" if rows[0].chapter is None else f"chapter {rows[0].chapter}: "
    if not rows[0].exercise:
        return f"{chapter}not graded: {rows[0].flag}"
    flagged = [row for row in rows if row.flag and row.attempted]
    words = f"{chapter}{sum(row.score for row in rows)} of {sum(row.points for row in rows)} points"
    return f"{words}, {len(flagged)} flagged" if flagged else words


def find_notebooks(folder: Path) -> list[Path]:
    """Return the notebooks in a folder and its subfolders, in order; JupyterLab's checkpoints are none."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; expected one with the students' notebooks")
    found = sorted(path for path in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
    if not found:
        raise ValueError(f"{folder} has no notebook (.ipynb) in it or its subfolders")
    return found


def student_of(path: Path, folder: Path) -> str:
    """Return whose submission a notebook is: its first folder, or its own name if it lies in no subfolder."""
    parts = path.relative_to(folder).parts
    return parts[0] if len(parts) > 1 else path.stem


class _Found(NamedTuple):
    """A file that was handed in, and what is graded in it."""

    path: Path
    student: str
    file: str
    chapter: int | None
    exercises: Mapping[str, int]
    checksum: str


def _find(path: Path, folder: Path, release: Release) -> _Found:
    chapter = chapter_of(path, release)
    exercises = {} if chapter is None else release.chapters[chapter].exercises
    file, content = _printable(path.relative_to(folder).as_posix()), b""
    with contextlib.suppress(OSError):
        content = path.read_bytes()
    graded = json.dumps([file, chapter, exercises]).encode()
    checksum = hashlib.sha256(graded + b"\0" + content).hexdigest()[:16]
    return _Found(path, _printable(student_of(path, folder)), file, chapter, exercises, checksum)


def _printable(name: str) -> str:
    """Return a name as UTF-8 can write it: unpacked archives can have names in another encoding."""
    return name.encode("utf-8", "backslashreplace").decode()


def chapter_of(path: Path, release: Release) -> int | None:
    """Return the chapter that a notebook belongs to, None if that is unclear.

    It is the one most of whose exercises the notebook defines; if that is none or several, it is the one
    with the number at the beginning of the file's name.
    """
    names = defined_names(path)
    counts = {number: len(names & chapter.exercises.keys()) for number, chapter in release.chapters.items()}
    most = max(counts.values(), default=0)
    likely = [number for number, count in counts.items() if count == most]
    if most and len(likely) == 1:
        return likely[0]
    number = re.match(r"\d+", path.name)
    return int(number[0]) if number and int(number[0]) in likely else None


def _grade_file(found: _Found, workers: Workers, seconds: float, megabytes: int) -> list[Row]:
    place, total = (found.student, found.file, found.chapter), sum(found.exercises.values())

    def refused(why: str) -> list[Row]:
        return [Row(*place, "", total, 0, False, "", "", _plain(why), "", found.checksum)]

    if found.chapter is None:
        return refused(stops.NO_CHAPTER)
    try:
        grades = workers.grade(found.path.resolve(), found.chapter, seconds, megabytes)
        return [
            _graded(place, name, points, grades[name], found.checksum)
            for name, points in found.exercises.items()
        ]
    except WorkerError as error:
        return refused(str(error))
    except (KeyError, TypeError):
        return refused(stops.OVERWRITTEN)


def _graded(
    place: tuple[str, str, int | None], name: str, points: int, grade: Mapping[str, Any], checksum: str
) -> Row:
    score, attempted = points * (grade["right"] is True), grade["attempted"] is True
    mistake, reason, flag = (_plain(str(grade[field])) for field in ("mistake", "reason", "flag"))
    return Row(*place, name, points, score, attempted, mistake, reason, flag, NOT_COMPARED, checksum)


def _plain(text: str) -> str:
    """Return a text on one line of limited length, without what controls how text is shown."""
    return short("".join(letter if letter.isprintable() else " " for letter in text), LONGEST)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write the table; a file of that name is replaced whole."""
    write_table(path, Row._fields, rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | int | None]]) -> None:
    """Write a CSV table in which no spreadsheet finds a formula; a file of that name is replaced whole."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8", newline=""))


def _cell(value: str | int | None) -> str:
    """Return a value as a cell that no spreadsheet takes for a formula."""
    text = str(int(value)) if isinstance(value, int) else value or ""
    return f"'{text}" if _is_formula(text) else text


def _is_formula(text: str) -> bool:
    return text.lstrip("'")[:1] in ("=", "+", "-", "@", "\t", "\r")


def _text_of(cell: str) -> str:
    """Return what a cell was made of."""
    return cell[1:] if cell[:1] == "'" and _is_formula(cell) else cell


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table that `write_rows` has written.

    Raises:
        ValueError: the file is no such table.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        with contextlib.suppress(ValueError, KeyError):  # a number that is none
            if tuple(reader.fieldnames or ()) == Row._fields:
                return [_row(record) for record in reader]
    raise ValueError(f"{path} is not a table of grades that this version wrote; give --to another name")


def _row(record: Mapping[str, str]) -> Row:
    values = {name: _text_of(record[name] or "") for name in Row._fields}
    numbers = {"points": int(values["points"]), "score": int(values["score"])}
    chapter = int(values["chapter"]) if values["chapter"] else None
    attempted = values["attempted"] == "1"
    return Row(**{**values, **numbers, "chapter": chapter, "attempted": attempted})  # type: ignore[arg-type]
