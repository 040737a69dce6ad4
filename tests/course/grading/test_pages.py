"""Feedback and report: what they say, what they never say, and that no text becomes HTML."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bertlearn import cli
from bertlearn.course.exercise import NOTHING, RAISED, TOO_LONG, WRONG
from bertlearn.course.grading import known, stops
from bertlearn.course.grading.checks import checks_of
from bertlearn.course.grading.feedback import page_name, write_feedback
from bertlearn.course.grading.grades import NOT_COMPARED, Row, write_rows
from bertlearn.course.grading.report import write_report
from bertlearn.course.grading.submission import REFERS, SYNTAX
from bertlearn.course.grading.totals import write_totals
from bertlearn.course.grading.worker import NO_FUNCTION
from bertlearn.course.guess_exports import write_export

MASK = "mask added after the softmax"
ATTENTION = "scaled_dot_product_attention"
HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


def row(student: str = "Ann", exercise: str = "softmax", score: int = 0, **other: object) -> Row:
    values = dict(
        student=student, file=f"{student}/01.ipynb", chapter=1, exercise=exercise, points=2, score=score,
        attempted=True, mistake="", reason="", flag="", twins="", checksum="0",
    )  # fmt: skip
    return Row(**{**values, **other})  # type: ignore[arg-type]


class _Reader(HTMLParser):
    """Collects the tags, attributes and texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.links, self.texts = list[str](), list[str](), list[str]()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            f"{name}={value}" for name, value in attributes if name in ("src", "href") or name[:2] == "on"
        ]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def read(path: Path) -> _Reader:
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return reader


def text_of(path: Path) -> str:
    return " ".join(" ".join(read(path).texts).split())


def feedback(folder: Path, *rows: Row) -> str:
    [path] = write_feedback(rows, folder)
    return text_of(path)


def test_a_known_mistake_comes_with_its_question(tmp_path: Path) -> None:
    text = feedback(tmp_path, row(exercise=ATTENTION, mistake=MASK))
    question = known.question_of(1, ATTENTION, MASK)
    assert f"This looks like “{MASK}”." in text and question and question in text and "0 of 2" in text


def test_two_mistakes_come_with_both_questions(tmp_path: Path) -> None:
    names = ["mask added after the softmax", "divided by d instead of √d"]
    assert known.mistakes_in(1, ATTENTION, " and ".join(names)) == names
    text = feedback(tmp_path, row(exercise=ATTENTION, mistake=" and ".join(names)))
    assert all(known.question_of(1, ATTENTION, name) in text for name in names)


def test_every_known_mistake_is_looked_up_though_some_names_contain_and() -> None:
    for chapter in range(1, 10):
        for exercise in known.checks_of(chapter):
            for name in known._wrong(chapter, exercise):
                assert known.mistakes_in(chapter, exercise, name) == [name]
                assert known.question_of(chapter, exercise, name)


def test_every_other_answer_gets_something_useful(tmp_path: Path) -> None:
    assert "Right." in feedback(tmp_path / "1", row(score=2))
    assert known.why_of(1, "softmax") in feedback(tmp_path / "1", row(score=2))
    wrong = feedback(tmp_path / "2", row())
    assert "smallest input" in wrong and known.hint_of(1, "softmax") in wrong
    open_ = feedback(tmp_path / "3", row(attempted=False))
    assert "not attempted" in open_ and known.hint_of(1, "softmax") in open_
    assert "no function of your own named softmax" in feedback(
        tmp_path / "4", row(attempted=False, flag=NO_FUNCTION)
    )
    flagged = feedback(tmp_path / "5", row(flag=f"{REFERS}: return check.f(x)"))
    assert "return check.f(x)" in flagged and "tell your teacher what it is for" in flagged
    taken = row(attempted=False, flag=f"{NO_FUNCTION}: {REFERS}: from bertlearn.x import softmax")
    assert "from the course instead of defining it. from bertlearn.x import softmax" in feedback(
        tmp_path / "4", taken
    )
    failed = feedback(tmp_path / "6", row(exercise="", flag="stopped after 300 s"))
    assert "could not be graded: stopped after 300 s." in failed and "wait for something" in failed
    assert "Not a chapter" in feedback(tmp_path / "7", row(exercise="", chapter=None, flag="unclear"))


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (f"{TOO_LONG}: it was stopped after 10 s of computing on “a”, at the line `while 1:`",
         "a loop in it ever end?"),
        (f"{RAISED}: on “a” it stops with ValueError: {HOSTILE}", "Call your function on that input"),
        (f"{NOTHING}: on “a” it returns None: is a `return` missing?", "A hint: "),
        (f"{WRONG}: on “a” your numbers are off.", "smallest input"),
    ],
)  # fmt: skip
def test_an_answer_without_a_known_mistake_comes_with_its_reason(
    tmp_path: Path, reason: str, remedy: str
) -> None:
    text = feedback(tmp_path, row(reason=reason))
    said = " ".join(f"Not right yet. Your answer {reason}".replace("`", " ").split()).rstrip(".")
    assert said in text and remedy in text.partition(said)[2]


def test_what_stands_between_backticks_is_code_and_still_text(tmp_path: Path) -> None:
    [path] = write_feedback([row(reason=f"{RAISED}: a `<b>x` and `y`"), row("Ann", "split_heads")], tmp_path)
    raw = path.read_text(encoding="utf-8")
    assert "a <code>&lt;b&gt;x</code> and <code>y</code>." in raw
    [path] = write_feedback([row(reason=f"{RAISED}: a `<b>x` and `y")], tmp_path)
    assert "a `&lt;b&gt;x` and `y." in path.read_text(encoding="utf-8")


def test_scores_are_summed_up_by_notebook(tmp_path: Path) -> None:
    other = row(score=1, points=1, chapter=2, exercise="strip_accents", file="Ann/02.ipynb")
    text = feedback(tmp_path, row(score=2), row(exercise="split_heads"), other)
    assert "2 of 4 points" in text and "1 of 1 point " in text
    assert text.index("Chapter 1") < text.index("Chapter 2")


def test_feedback_shows_no_twins_and_no_other_student(tmp_path: Path) -> None:
    rows = [row(twins="Zebedee (alike)"), row("Zebedee", twins="Ann (alike)")]
    for path in write_feedback(rows, tmp_path):
        names = {name for name in ("Ann", "Zebedee") if name in path.read_text(encoding="utf-8")}
        assert len(names) == 1


NAMES = [
    "a/b", "a_b", "a b", "A/B", "../x", "..", ".", "", "CON", "nul.txt", "x" * 400, "名" * 400, "-rf", "a\nb",
    "Zoë",
    "Zoe\u0308", HOSTILE, "C:\\x", "a\0b",
]  # fmt: skip


def test_file_names_are_safe_and_differ(tmp_path: Path) -> None:
    names = [page_name(name) for name in NAMES]
    assert len({name.casefold() for name in names}) == len(names)
    for name in names:
        assert re.fullmatch(r"(?!-)[\w-]+-[0-9a-f]{8}\.html", name) and len(name.encode()) < 200, name
    paths = write_feedback([row(name) for name in NAMES], tmp_path / "in")
    assert {p.name for p in (tmp_path / "in").iterdir()} == {path.name for path in paths} | {"index.csv"}
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_the_index_says_which_page_is_whose(tmp_path: Path) -> None:
    paths = write_feedback([row("Ann"), row("=1+1"), row("Ann", file="Ann/2.ipynb")], tmp_path)
    with (tmp_path / "index.csv").open(encoding="utf-8", newline="") as file:
        index = list(csv.reader(file))
    assert index == [["student", "page"], ["Ann", paths[0].name], ["'=1+1", paths[1].name]]


def pages(folder: Path, rows: Sequence[Row], guesses: Path | None = None) -> list[Path]:
    return [*write_feedback(rows, folder / "feedback"), *write_report(rows, folder / "report.html", guesses)]


def hostile_rows() -> list[Row]:
    bad = row(HOSTILE, file=HOSTILE, mistake=HOSTILE, reason=HOSTILE, flag=HOSTILE, twins=HOSTILE)
    others = [bad._replace(exercise=HOSTILE, flag="", mistake=mistake) for mistake in ("", HOSTILE)]
    return [bad, *others, bad._replace(exercise=""), row(score=2)]


def hostile_guesses(folder: Path) -> Path:
    folder.mkdir()
    for number in range(5):
        entries = {
            HOSTILE: dict(kind="choice", question=HOSTILE, unit="", guess=HOSTILE, result=HOSTILE, hit=True),
            "n": dict(kind="number", question="N", unit=HOSTILE, guess=number * 1.5, result=3.0, hit=False),
            "c": dict(kind="curve", question="C", unit="", guess=[number] * 9, result=[1] * 9, hit=False),
        }
        write_export(folder / f"{number}.json", 1, entries)
    (folder / "<b>Mia<b>.json").write_text("{", encoding="utf-8")
    return folder


def test_no_text_becomes_html(tmp_path: Path) -> None:
    made = pages(tmp_path, hostile_rows(), hostile_guesses(tmp_path / "guesses"))
    for path in made:
        page, raw = read(path), path.read_text(encoding="utf-8")
        assert not {"script", "b", "img", "iframe", "link", "object"} & set(page.tags), path
        assert page.links == [] and "://" not in raw and "@import" not in raw and "url(" not in raw
        assert "default-src 'none'" in raw and len(raw) < 60_000
    assert sum("alert(1)" in unescape(path.read_text(encoding="utf-8")) for path in made) == 3  # not Ann's


def class_rows() -> list[Row]:
    mistaken = [row(f"Student{i}", ATTENTION, mistake=MASK) for i in range(31)]
    right = [row(f"Student{i}", ATTENTION, 2) for i in range(31, 50)]
    open_ = [row(f"Student{i}", ATTENTION, attempted=False) for i in range(50, 57)]
    other = [row(f"Student{i}", ATTENTION, flag=f"{REFERS}: secret_line") for i in range(57, 60)]
    easy = [row(f"Student{i}", score=2, twins="Student1 (alike)") for i in range(60)]
    failed = [row("Student99", "", flag="stopped after 300 s", attempted=False)]
    return [*mistaken, *right, *open_, *other, *easy, *failed]


def test_the_report_counts_and_opens_the_next_lecture(tmp_path: Path) -> None:
    shown, _ = write_report(class_rows(), tmp_path / "report.html")
    text = text_of(shown)
    assert f"31 of 60 matched {MASK} ." in text and known.question_of(1, ATTENTION, MASK) in text
    assert f"The hardest exercise was {ATTENTION} : 19 of 60 had it right, and 7 did not attempt it." in text
    raw = " ".join(shown.read_text(encoding="utf-8").split())
    assert "19 right, 31 a known mistake, 3 another answer, 7 not attempted" in raw
    assert f"{REFERS} 3" in text and "another wrong answer" not in text
    assert text.rindex(f" {ATTENTION} right 19 {MASK} 31") < text.rindex(" softmax right 60")
    assert "0 points, 0; 1 points, 0; 2 points, 41; 3 points, 0; 4 points, 19;" in raw
    assert "Half of them got 2 or more" in text


def test_what_most_students_did_wrong_comes_first(tmp_path: Path) -> None:
    kinds = [*[f"{WRONG}: secret"] * 9, *[f"{TOO_LONG}: secret"] * 4, f"{RAISED}: secret", f"{HOSTILE}: x"]
    others = [row(f"Student{i}", reason=reason) for i, reason in enumerate(kinds)]
    mistaken = [row(f"Student{i}", ATTENTION, mistake=MASK) for i in range(3)]
    sigmoid = [row(f"Student{i}", mistake="a sigmoid of each score") for i in range(20, 22)]
    shown, _ = write_report([*mistaken, *sigmoid, *others], tmp_path / "report.html")
    text = text_of(shown)
    others_text = "gave a wrong result: 10; took too long: 4; raised an error: 1"
    card = f"softmax : 15 of 17 gave another wrong answer ({others_text}). {known.hint_of(1, 'softmax')}"
    assert card in text and text.index(card) < text.index(f"3 of 3 matched {MASK}")
    assert (
        f"another answer 15 {others_text} a sigmoid of each score 2" in text
        and "secret" not in text
        and "alert" not in text
    )


def test_the_teacher_sees_each_pair_once_and_in_what_way(tmp_path: Path) -> None:
    rows = [
        row("Ann", twins="Bob (x; y) (alike); Cho (the same rare mistake)"),
        row("Bob (x; y)", twins="Ann (alike)"),
        row("Cho", twins="Ann (the same rare mistake)"),
    ]
    text = text_of(write_report(rows, tmp_path / "report.html")[1])
    assert text.count(" and Bob (x; y) , softmax : alike (Ann/01.ipynb, Bob (x; y)/01.ipynb)") == 1
    assert text.count("Ann and Cho , softmax : the same rare mistake (Ann/01.ipynb, Cho/01.ipynb)") == 1
    assert text.count(", softmax") == 2 and "Grading has not ended" not in text


def test_a_report_of_a_grading_that_was_stopped_says_so(tmp_path: Path) -> None:
    text = text_of(write_report([row(twins=NOT_COMPARED), row("Bob")], tmp_path / "report.html")[1])
    assert "Grading has not ended." in text and "Not compared yet." in text and NOT_COMPARED not in text


def test_the_teacher_sees_what_to_do_and_the_line_that_takes_a_name(tmp_path: Path) -> None:
    taken = row(attempted=False, flag=f"{NO_FUNCTION}: {REFERS}: from bertlearn.x import softmax")
    deleted = row("Cho", attempted=False, flag=NO_FUNCTION)
    killed = row("Bob", "", flag=stops.ended(-9))
    text = text_of(write_report([taken, deleted, killed], tmp_path / "report.html")[1])
    assert f"Ann , softmax : {REFERS}: from bertlearn.x import softmax (Ann/01.ipynb)" in text
    assert "Cho , softmax (Cho/01.ipynb)" in text
    assert f"{stops.ended(-9)}. {stops.remedy(stops.ended(-9)).teacher} (Bob/01.ipynb)" in text


def test_a_syntax_error_is_quoted_and_is_no_missing_attempt(tmp_path: Path) -> None:
    broken = row(attempted=False, flag=f"{NO_FUNCTION}: {SYNTAX}: return (values")
    said = feedback(tmp_path / "in", broken)
    assert "there is a syntax error in or before the line below. return (values" in said
    rows = [
        broken,
        row("Bob", attempted=False),
        row("Cho", score=2),
        row("Dov", "", flag="x", attempted=False),
    ]
    shown, private = map(text_of, write_report(rows, tmp_path / "report.html"))
    assert "1 did not attempt it" in shown and "no function of this name 1" in shown
    assert "1 notebook could not be graded and is not counted here." in shown
    assert f"{SYNTAX}: return (values" in private and "return (values" not in shown


def test_the_teacher_finds_answers_to_open_in_class(tmp_path: Path) -> None:
    rows = [row(name, exercise=ATTENTION, mistake=MASK) for name in ("Ann", "Bob", "Cho", "Dov")]
    other = next(name for name in checks_of(1)[ATTENTION].wrong if name != MASK)  # type: ignore[attr-defined]
    rows[0] = rows[0]._replace(mistake=f"{MASK} and {other}")
    rows += [row("Eva", exercise=ATTENTION, reason=f"{WRONG}: x"), row("Fay", exercise=ATTENTION, score=2)]
    shown, private = map(text_of, write_report(rows, tmp_path / "report.html"))
    assert f"{ATTENTION} , {MASK} (4): Bob/01.ipynb, Cho/01.ipynb, Dov/01.ipynb" in private
    assert "Eva" not in private and "Bob" not in shown


def totals(folder: Path, *rows: Row) -> list[list[str]]:
    write_totals(rows, folder / "totals.csv")
    with (folder / "totals.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_totals_have_one_row_for_each_student(tmp_path: Path) -> None:
    two = row("Ann", "strip_accents", score=3, points=3, chapter=2, file="Ann/02.ipynb")
    rows = [
        row(score=2), row("Ann", ATTENTION), two,
        row("Bob", twins="Cho (alike)", file="Bob/a.ipynb"), row("Bob", ATTENTION, flag=f"{REFERS}: x"),
        row("Bob", score=2, file="Bob/b.ipynb", twins="Cho (alike)"), row("Bob", score=2, file="Bob/c.ipynb"),
        row("=Cho", "", flag="stopped after 300 s", points=4), row("Dov", attempted=False, flag=NO_FUNCTION),
    ]  # fmt: skip
    assert totals(tmp_path, *rows) == [
        ["student", "chapter 1", "chapter 2", "total", "of", "look at"],
        ["Ann", "2", "3", "5", "7", ""],
        ["Bob", "2", "", "2", "7", f"softmax: alike; {ATTENTION}: flagged"],
        ["'=Cho", "0", "", "0", "7", "not graded: =Cho/01.ipynb"],
        ["Dov", "0", "", "0", "7", "softmax: no own function"],
    ]
    with pytest.raises(ValueError, match="has no row; grade the submissions first"):
        totals(tmp_path)


def test_a_mistake_that_one_student_made_is_not_named(tmp_path: Path) -> None:
    names = list(known._wrong(1, "softmax"))
    rows = [row(f"Student{i}", mistake=name) for i, name in enumerate([names[0], *names[:3]])]
    text = text_of(write_report(rows, tmp_path / "report.html")[0])
    assert f"{names[0]} 2 " in text and "other known mistakes 2" in text and names[1] not in text
    text = text_of(write_report(rows[1:], tmp_path / "report.html")[0])
    assert "known mistakes, each made once 3" in text and names[0] not in text


def test_a_student_with_two_notebooks_counts_once(tmp_path: Path) -> None:
    rows = [row(mistake="float32"), row(score=2, file="Ann/copy.ipynb"), row(file="Ann/old.ipynb")]
    shown, _ = write_report(rows, tmp_path / "report.html")
    assert "1 student" in text_of(shown) and "1 of 1 had it right" in text_of(shown)


def test_only_the_teachers_page_names_students(tmp_path: Path) -> None:
    guesses = hostile_guesses(tmp_path / "guesses")
    shown, private = write_report(class_rows(), tmp_path / "report.html", guesses)
    assert private.name == "report.teacher.html"
    said, hidden = (path.read_text(encoding="utf-8") for path in (shown, private))
    for secret in ("Student1", "secret_line", "alike", "Mia", "01.ipynb"):
        assert secret not in said and secret in hidden, secret
    assert "Do not project it" in hidden and "stopped after 300 s" in hidden


def test_guesses_are_shown_with_their_results(tmp_path: Path) -> None:
    shown, _ = write_report([row()], tmp_path / "report.html", hostile_guesses(tmp_path / "guesses"))
    raw, text = shown.read_text(encoding="utf-8"), text_of(shown)
    assert raw.count('<circle class="dot"') == 5 and raw.count('<polyline class="guess"') == 5
    assert (
        raw.count('class="result"') == 2 and "What you expected" in text and "A dot for each of you" in text
    )
    assert 'class="result" x1="20.0"' in raw  # 3 lies in the middle of 0 to 6
    alone, _ = write_report([row()], tmp_path / "alone.html")
    assert "What you expected" not in text_of(alone)


def test_bad_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no graded exercise; grade the submissions first"):
        write_report([row(exercise="")], tmp_path / "r.html")
    with pytest.raises(ValueError, match="is no folder; expected one with the files"):
        write_report([row()], tmp_path / "r.html", tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["bertlearn", "course", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "grades.csv"
    write_rows(table, [row(), row("Bob", score=2)])
    assert run(monkeypatch, "feedback", str(table), "--to", str(tmp_path / "feedback")) == 0
    assert "2 pages" in capsys.readouterr().out
    assert len(list((tmp_path / "feedback").glob("*.html"))) == 2
    assert run(monkeypatch, "report", str(table), "--to", str(tmp_path / "report.html")) == 0
    assert "report.teacher.html: for the teacher only" in capsys.readouterr().out
    for rows, told in (([row()], False), ([row(twins=NOT_COMPARED)], True)):
        write_rows(table, rows)
        assert run(monkeypatch, "totals", str(table), "--to", str(tmp_path / "totals.csv")) == 0
        out = capsys.readouterr().out
        assert "totals.csv: 1 student" in out and ("Grading has not ended" in out) == told
    table.write_text("a,b\n", encoding="utf-8")
    for command in ("feedback", "report", "totals"):
        assert run(monkeypatch, command, str(table), "--to", str(tmp_path / "x")) == 1
        assert "is not a table of grades" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
