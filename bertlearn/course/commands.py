"""The commands that need the course: a reader's `doctor`, `lab` and `speedrun`, a teacher's `course …`.

Each function is a command, its docstring the help, its result the exit status; `bertlearn.cli` reads the
options and reports what a command raises. This module does not import torch, so that `--help` is fast.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from bertlearn.arguments import check_count

if TYPE_CHECKING:
    from bertlearn.course.grading import Row

GraderName = Literal["plain", "nbgrader", "otter"]
Outputs = Literal["keep", "clear"]


def doctor(json: bool = False) -> int:
    """Check this machine: Python, packages, device, memory, disk, data, and the time each chapter takes.

    Args:
        json: Print the report as JSON, for programs.

    Returns:
        Exit status: 0 if all is well, 1 if something has to be fixed.
    """
    from bertlearn.course.doctor import examine

    report = examine()
    print(report.to_json() if json else report)
    return 0 if report.ok else 1


def lab(
    jupyter: tyro.conf.Positional[tuple[str, ...]] = (), folder: Path | None = None, no_open: bool = False
) -> int:
    """Open the course in JupyterLab, in a folder of your own.

    The notebooks are copied there at first. Later, those that changed in a newer version are updated. What
    you changed is always kept: then the new version is put beside it, with your answers where they fit.
    Texts and weights that are missing are downloaded first. In a clone of the repository, its own notebooks
    are opened.

    Args:
        jupyter: Flags for JupyterLab, after two dashes: bertlearn lab -- --port 9000 --no-browser
        folder: Your folder; by default bertlearn-course in your home folder.
        no_open: Only copy or update the notebooks and download what is missing; do not start JupyterLab.

    Returns:
        Exit status: 0 if all went well, 1 if not.
    """
    from bertlearn import data as sources
    from bertlearn.course.lab import open_jupyterlab, prepare

    root, page = prepare(folder)
    sources.fetch()
    if not no_open:
        open_jupyterlab(root, page, jupyter)
    return 0


def speedrun(recipe: tyro.conf.Positional[Path], seeds: int = 5) -> int:
    """Race: train with a recipe of your own, and see how long a quarter of the masked words takes.

    A recipe is a Python file with STEPS, a number, and train(shards, seed), which returns a model. It runs
    with your rights: run only recipes that you have read. For the rules see benchmarks/README.md.

    Args:
        recipe: The file.
        seeds: How many times to run it, with the seeds 0, 1, 2, …; a record needs 5.

    Returns:
        Exit status: 0 if the recipe reached the goal, 3 if it did not, 1 on an error.
    """
    from bertlearn.course.speedrun import attempt, counts, mean_of, read_recipe

    check_count("seeds", seeds, 1)
    print(f"{recipe.name}: {read_recipe(recipe.expanduser()).STEPS:,} steps, {seeds} seeds")
    done = []
    for seed in range(seeds):
        done.append(attempt(recipe.expanduser(), seed))
        print(f"seed {seed}: {done[-1]}", flush=True)
    print(f"mean: {mean_of(done)}")
    if counts(done):
        print("It counts. Is it a record? Compare its ratio with the table in benchmarks/README.md.")
    else:
        print("It does not count: that takes 5 seeds, .25 on average, and none below .24.")
    return 0 if counts(done) else 3


def release(
    chapters: tuple[int, ...],
    to: Path,
    format: GraderName = "plain",
    outputs: Outputs = "keep",
    core: bool = False,
) -> int:
    """Make the notebooks for a class: student versions, versions with the answers, and release.json.

    The stars of an exercise are its points. A release that is in the folder already is replaced: its
    student and instructor folders, and nothing else.

    Args:
        chapters: The chapters to give out, such as 1 3.
        to: Folder for the release: new, empty, or with an earlier release.
        format: For which grader: plain (`bertlearn course grade` alone), nbgrader or otter. Whatever you
            choose, `bertlearn course grade` can grade what comes back.
        outputs: Whether the notebooks keep the outputs that the course stores.
        core: Give points only for the exercises of core sections. Those that go deeper stay in the
            notebooks, without points.

    Returns:
        Exit status: 0 if the release is written, 1 on an error.
    """
    from bertlearn.course.grading.build import STUDENT, build

    to = to.expanduser()
    made = build(chapters, to, format, outputs, core)
    for number, chapter in made.chapters.items():
        exercises, points = len(chapter.exercises), sum(chapter.exercises.values())
        print(f"chapter {number} · {chapter.notebook} · exercises: {exercises} · points: {points}")
    if format == "nbgrader":
        print(f"To make the student versions, run in {to}:")
        print(
            *(f"  nbgrader generate_assignment {each.notebook}" for each in made.chapters.values()), sep="\n"
        )
    else:
        print(f"For your students: {to / STUDENT}")
    return 0


def grade(
    folder: tyro.conf.Positional[Path],
    submitted: tyro.conf.Positional[Path],
    to: Path,
    jobs: int = 1,
    seconds: float = 180.0,
) -> int:
    """Grade the notebooks of a class: which exercises are right, attempted, and which known mistake was made.

    Answers are found by the names of the functions, wherever they stand. Each submission runs in a process of
    its own, with limits on time and memory; nothing else of it is run. That is no protection from an attack:
    submissions are foreign code, so grade in a container without network, or as a user who owns nothing.
    Ctrl-C stops; the same command goes on where it stopped, and grades again what was handed in again.

    The exit status is 0 if every notebook was graded, and 1 if one could not be. The table is then complete
    all the same, and says why that notebook was not graded.

    Args:
        folder: The release that the class was given, made by `bertlearn course build`. A notebook is graded
            as the chapter most of whose exercises it has.
        submitted: Folder with a folder, or a notebook, for each student.
        to: The table to write, as CSV: a row for each exercise of each student.
        jobs: How many submissions are graded at the same time; each takes a core and up to 6 GB of memory.
        seconds: The time that one submission may take.

    Returns:
        Exit status: 0 if every submission was graded, 1 if one could not be, or on an error.
    """
    from tqdm.auto import tqdm

    from bertlearn.course.grading import grade as grade_all
    from bertlearn.course.grading import read_release, summary

    submitted, to = submitted.expanduser(), to.expanduser()
    try:
        check_count("jobs", jobs, 1)
        release = read_release(folder.expanduser())
        with tqdm(desc="grading", unit="notebook") as bar:

            def begin(done: int, total: int) -> None:
                bar.total, bar.initial, bar.n = total, done, done
                if done:
                    bar.write(f"{done} of {total} already graded")

            def report(student: str, rows: Sequence[Row]) -> None:
                bar.write(f"{student:24} {summary(rows)}")
                bar.update()

            rows = grade_all(release, submitted, to, jobs, seconds, report=report, begin=begin)
    except KeyboardInterrupt:
        print("bertlearn course grade: stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130
    print(f"{to}: {len({row.file for row in rows})} notebooks")
    return 0 if all(row.exercise for row in rows) else 1


def feedback(grades: tyro.conf.Positional[Path], to: Path) -> int:
    """Write a page for each student: what became of each exercise, and the question that leads further.

    The pages are single files without scripts. They name no other student. The table index.csv, beside them,
    says which page is whose, for a learning platform or a mail merge.

    Args:
        grades: The table that `bertlearn course grade` wrote.
        to: The folder to write to: a page for each student, named after them.

    Returns:
        Exit status: 0 if every page was written, 1 on an error.
    """
    from bertlearn.course.grading.feedback import write_feedback
    from bertlearn.course.grading.grades import read_rows

    pages = write_feedback(read_rows(grades.expanduser()), to.expanduser())
    print(f"{to}: {len(pages)} {'page' if len(pages) == 1 else 'pages'}")
    return 0


def report(grades: tyro.conf.Positional[Path], to: Path, guesses: Path | None = None) -> int:
    """Write a page of what the class did, to show in the next lecture, and one for the teacher alone.

    The page to show has the mistakes with their questions, the scores, and what the class expected; it names
    no student. The other page, beside it, has the flagged lines and the answers that are alike.

    Args:
        grades: The table that `bertlearn course grade` wrote.
        to: The page to write, such as report.html; the teacher's is then report.teacher.html.
        guesses: A folder with files that students exported with `guess.export`.

    Returns:
        Exit status: 0 if both pages were written, 1 on an error.
    """
    from bertlearn.course.grading.grades import read_rows
    from bertlearn.course.grading.report import write_report

    folder = guesses.expanduser() if guesses else None
    shown, private = write_report(read_rows(grades.expanduser()), to.expanduser(), folder)
    print(f"{shown}: to show\n{private}: for the teacher only, names students")
    return 0


def totals(grades: tyro.conf.Positional[Path], to: Path) -> int:
    """Write a table with one row for each student: points by chapter, their sum, and what is to be looked at.

    Of several notebooks of a chapter, the best answer to each exercise counts.

    Args:
        grades: The table that `bertlearn course grade` wrote.
        to: The table to write, as CSV.

    Returns:
        Exit status: 0 if the table was written, 1 on an error.
    """
    from bertlearn.course.grading.grades import has_ended, read_rows
    from bertlearn.course.grading.totals import write_totals

    rows = read_rows(grades.expanduser())
    count = write_totals(rows, to.expanduser())
    print(f"{to}: {count} {'student' if count == 1 else 'students'}")
    if not has_ended(rows):
        print("Grading has not ended, so students may be missing: run bertlearn course grade once more.")
    return 0


def link(hub: str, repository: str, branch: str = "main", chapter: int = 0, folder: str = "notebooks") -> int:
    """Print a link that brings the course to each student of a JupyterHub, and later its new versions.

    The link copies a repository into the student's own folder and opens a chapter. It needs nbgitpuller in
    the students' servers. Nothing is sent anywhere.

    Args:
        hub: The address of the JupyterHub.
        repository: The address of the repository, which git must be able to clone without a password.
        branch: Its branch.
        chapter: The chapter to open.
        folder: The folder of the repository with the notebooks; a dot if they are at its top.

    Returns:
        Exit status: 0 if the link was printed, 1 if something in it is wrong.
    """
    from bertlearn.course.pull_link import pull_link

    print(pull_link(hub, repository, branch, chapter, folder))
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "doctor": doctor,
    "lab": lab,
    "speedrun": speedrun,
    "course build": release,
    "course grade": grade,
    "course feedback": feedback,
    "course report": report,
    "course totals": totals,
    "course link": link,
}
