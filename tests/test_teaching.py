"""The material for teachers: every chapter has it, it agrees with the notebook, and the syllabus is fresh."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import make_teaching  # noqa: E402
import material  # noqa: E402
import syllabus  # noqa: E402

import notebooks as tool  # noqa: E402
from bertlearn.course.grading import build  # noqa: E402

STEM = "01_attention"
NOTEBOOK = tool.read(material.NOTEBOOKS / f"{STEM}.ipynb")


@pytest.mark.parametrize("stem", material.stems())
def test_a_chapter_has_its_material(stem: str) -> None:
    assert material.faults_of(stem) == []


@pytest.fixture
def chapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the material with chapter 1 alone, which the tools read in place of the real one."""
    copy = tmp_path / "teaching" / "chapters"
    shutil.copytree(material.CHAPTERS / STEM, copy / STEM)
    monkeypatch.setattr(material, "CHAPTERS", copy)
    return copy


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    changed = re.sub(old, new, text, count=1, flags=re.MULTILINE | re.DOTALL)
    assert changed != text, f"{old} is not in {path.name}"
    path.write_text(changed, encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "fault"),
    [
        ("plan.md", r"^chapter: 1$", "chapter: 2", "the chapter is 2, but the folder is 01_attention"),
        ("plan.md", r"^core_hours: 2.7$", "core_hours: 2.9", "core_hours is 2.9, but the README says 2.7"),
        ("plan.md", r"^requires: \[0\]$", "requires: [3]", r"requires \[3\], not only earlier chapters"),
        ("plan.md", r"^title: Attention$", "", "front matter that has"),
        ("plan.md", r"^course: core$", "course: maybe", "another form than expected"),
        ("plan.md", r"softmax, additive_mask", "additive_mask, softmax", "but the notebook's are"),
        ("plan.md", r'"7–12"', '"7–13"', r"sections \[13\], which the notebook does not have"),
        ("plan.md", r"^outcomes:.*?^sessions:", "outcomes: [one]\nsessions:", "1 outcomes, expected 3 to 5"),
        ("plan.md", r"^## Before class$", "## Preparations", "the sections are"),
        ("plan.md", r"^\| 11–17 ", "| 12–17 ", "times of 50 minutes have a gap"),
        ("plan.md", r"^\| 75–80 ", "| 75–79 ", "times of 80 minutes have a gap or do not fill"),
        ("plan.md", r"^\| 105–110 ", "| 105–105 ", "a row of 110 minutes takes no time"),
        ("plan.md", r"^\| 21–35 ", "| 22–35 ", r"times of 80 minutes have a gap.*\(10, 21\), \(22, 35\)"),
        ("plan.md", r"slides 6, 8 ", "slides 6–8 ", "17–29 are too short: the notes of its slides say 17"),
        ("plan.md", r"^### Second class: many", "### Second class: few", "the classes are"),
        ("plan.md", r"^## In two classes of 80 minutes.*?(?=^## Discussion)", "", "the sections are"),
        ("plan.md", r"^  - title: many heads.*?(?=^workshop:)", "", "the sections are"),
        ("plan.md", r"^### 4\. .*?(?=^## )", "", "3 prompts for discussion"),
        ("plan.md", r"\*What to expect:\*", "Expect:", "is not a question with"),
        ("plan.md", r"^- \*\*“softmax over", "- “softmax over", "does not begin in bold"),
        ("plan.md", r"^- \*\*“softmax over.*?(?=^- \*\*“The model)", "", "1 common stumbles"),
        ("plan.md", r"slides 1–3", "slides 1–30", r"names the slides \[30\], and there are 20"),
        ("exam.md", r"^- 1 point: the dot", "- 2 points: the dot", "add up to 7"),
        ("exam.md", r"^\*\*Marking:\*\*", "Marking:", r"with a question and “\*\*Marking:\*\*”"),
        ("exam.md", r"^minutes: 60$", "minutes: an hour", "minutes is a whole number"),
        ("exam.md", r"^allowed: [^\n]*$", "", "front matter that has"),
        ("exam.md", r"\(7 points\)$", "(seven points)", "“3. Two bugs \\(seven points\\)” is not"),
        ("exam.md", r"^## 6\. .*?(?=^## Variants)", "", "5 questions, expected 6"),
        ("exam.md", r"^6\. The values.*", "", "5 variants, expected 6"),
        ("handout.md", r"\Z", "more words " * 60, "words, expected 250 to 350"),
        ("handout.md", r"\Z", "`probs = scores.softmax(dim=-1)`", r"probs=scores\.softmax.* is of an"),
        ("handout.md", r"\Z", "`cut.transpose(1, 2)` ends it", r"_\.transpose\(1,2\) is of an answer"),
        ("slides.md", r"(?:^---$.*?){7}(?=^---$)", "", "13 slides, expected 14 to 20"),
        ("slides.md", r"^## Which", "Which", "slide 2: begins with 'Which"),
        ("slides.md", r"^## Which two", "## " + "word " * 41, "slide 2: .* words, expected 0 to 40"),
        ("slides.md", r"^Notes:\nFour minutes\. Let .*?(?=^---)", "Notes: Ask.\n\n", "slide 2: 1 words of"),
        ("slides.md", r"^Notes:\nFour minutes\. Let", "Notes:\nSeven minutes. Let", "3–11 are too short"),
        ("slides.md", r"\[\[code view\]\]", "```python\ny.transpose(1, 2)\n```", r"_\.transpose.* is of an"),
        ("slides.md", r"\[\[output light\]\]", "[[output dark]]", "no cell tagged slide-dark"),
        ("slides.md", r"\[\[output light\]\]", "", "no slide shows the cell tagged slide-light"),
        ("slides.md", r"\[\[output light\]\]", "[[output light]] here", "on a line of its own"),
    ],
)  # fmt: skip
def test_a_fault_is_named(chapters: Path, name: str, old: str, new: str, fault: str) -> None:
    edit(chapters / STEM / name, old, new)
    faults = material.find_faults(chapters / STEM, NOTEBOOK, 2.7)
    assert any(re.search(fault, found) for found in faults), faults
    assert all(found.startswith(f"{STEM}/") for found in faults)


def test_a_chapter_without_its_folder_is_told_what_to_write(chapters: Path) -> None:
    faults = material.find_faults(chapters / "08_later", NOTEBOOK, 2.7)
    assert [fault.partition(" ")[0] for fault in faults] == [
        f"08_later/{name}" for name in ("plan.md", "exam.md", "handout.md", "slides.md")
    ]
    assert all("is missing: write it as in teaching/chapters/01_attention" in fault for fault in faults)


def changed(cell: str, change: Callable[[nbformat.NotebookNode], None]) -> nbformat.NotebookNode:
    copy = nbformat.from_dict(NOTEBOOK)
    change(material.tagged(copy)[cell])
    return copy


def test_a_cell_that_cannot_be_shown_is_a_fault() -> None:
    empty = changed("light", lambda cell: cell.outputs.clear())
    long = changed("view", lambda cell: cell.update(source="x\n" * 13))
    for notebook, fault in ((empty, "the cell has no output"), (long, "13 lines, expected 1 to 12")):
        faults = material.find_faults(material.CHAPTERS / STEM, notebook, 2.7)
        assert len(faults) == 1 and fault in faults[0], faults


def test_the_command_lists_faults(chapters: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert material.main([STEM]) == 0
    (chapters / STEM / "exam.md").unlink()
    assert material.main([STEM]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("01_attention/exam.md is missing")


def test_exercises_and_sections_of_the_notebooks() -> None:
    """Each heading of an exercise states its stars and minutes, in whatever way the chapter writes them."""
    attention = {exercise.name: exercise for exercise in material.exercises(NOTEBOOK)}
    assert attention["attention_backward"] == ("attention_backward", 3, 30, False)
    assert attention["softmax"] == ("softmax", 1, 10, True)
    assert material.sections(NOTEBOOK)[7] == (7, 25, 0) and material.sections(NOTEBOOK)[12] == (12, 0, 60)
    pretraining = tool.read(material.NOTEBOOKS / "04_pretraining.ipynb")
    assert material.exercises(pretraining)[0] == ("hide_tokens", 2, 15, True)
    assert material.sections(pretraining)[7] == (7, 15, 10)  # a later part of it goes deeper
    for stem in material.stems():
        for exercise in material.exercises(tool.read(material.NOTEBOOKS / f"{stem}.ipynb")):
            assert exercise.minutes or exercise.name in ("dot", "bug_hunt"), exercise


def test_a_release_and_a_syllabus_count_the_same_stars() -> None:
    for stem in material.stems():
        stars = {
            each.name: each.stars
            for each in material.exercises(tool.read(material.NOTEBOOKS / f"{stem}.ipynb"))
        }
        assert build.read_chapter(int(stem[:2])).exercises == stars


def test_words_and_points_are_counted() -> None:
    assert material.words("## Two words\n\n$x + y$ and `code`\n\n[[output name]]\n\n![alt](x.svg)") == 4
    assert material.marked_points("\n- 2 points: a\n- 1 point: b\n- Usual wrong answer: 3 points\n") == 3
    assert material.marked_points("\n- **1.5 points**: a\n- (2 points) b") == 3.5


# --- the syllabus ----------------------------------------------------------------------------------------


def test_the_syllabus_is_fresh() -> None:
    assert make_teaching.write_syllabus(check=True) == 0


def test_a_stale_syllabus_is_reported_and_written(chapters: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_teaching.write_syllabus(check=True) == 1
    assert "syllabus.md is stale: run `python tools/make_teaching.py syllabus`" in capsys.readouterr().out
    assert not (chapters.parent / "syllabus.md").exists()
    assert make_teaching.write_syllabus(check=False) == make_teaching.write_syllabus(check=True) == 0
    edit(chapters / STEM / "plan.md", "minutes: 90", "minutes: 95")
    assert make_teaching.write_syllabus(check=True) == 1


def table(text: str, heading: str) -> list[list[str]]:
    """Return the rows of the table below a heading."""
    lines = [line for line in material.parts(text)[heading].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_three_courses() -> None:
    chapters = [f"{index:02}" for index in range(1, 7)]
    text = syllabus.page([chapter(int(number)) for number in ["00", *chapters]])
    assert "students work through [0 Chapter 0](chapters/stem/plan.md) at home" in text
    weeks = table(text, "Twelve weeks, a class of 80 minutes each")
    assert [row[0] for row in weeks] == [str(week) for week in range(1, 13)]
    assert weeks[0][2:] == [
        "read sections 1–3 and guess (core: 30 min)",
        "the plan for two classes: the first",
        "`a` ★★ (10 min)",
    ]
    assert weeks[1][2:4] == [
        "read section 4 and guess (core: 0 min)",
        "the plan for two classes: the second",
    ]
    assert weeks[1][4] == "to go deeper: `b` ★ (20 min)"
    assert "The remaining weeks" not in text
    six = table(text, "Six weeks, a class of 110 minutes each")
    assert len(six) == 6 and six[0][2] == "read sections 1–4 and guess (core: 30 min)"
    days = [row[0] for row in table(text, "Workshop of two days")]
    assert days[:2] == ["day 1, 0:00–1:30", "day 1, 1:30–3:00"] and days[-1] == "day 2, 3:00–4:30"


def chapter(number: int, elective: bool = False, minutes: int = 90, weeks: int = 2) -> syllabus.Chapter:
    sessions = [
        material.Session("first", range(1, 4), ["a"]),
        material.Session("second", range(4, 5), ["b"]),
    ]
    requires = [number - 1] if number else []
    hours = 0.3 if number == 0 else 3
    plan = material.Plan(
        "stem", number, f"Chapter {number}", requires, hours, ["x"], sessions[:weeks], minutes, "y", elective
    )
    exercises = {"a": material.Exercise("a", 2, 10, True), "b": material.Exercise("b", 1, 20, False)}
    sections = {1: material.Section(1, 10, 0), 2: material.Section(2, 30, 5), 4: material.Section(4, 0, 40)}
    return syllabus.Chapter(plan, exercises, sections, "1 min")


def test_an_elective_enters_by_itself() -> None:
    core = [chapter(1), chapter(2)]
    text = syllabus.page([*core, chapter(3, elective=True), chapter(9, elective=True)])
    assert [row[2] for row in table(text, "Electives")] == [
        "none: add a week",  # it requires chapter 2, and chapter 2 requires chapter 1
        "[2 Chapter 2](chapters/stem/plan.md)",
    ]
    assert len(table(text, "Six weeks, a class of 110 minutes each")) == 2
    assert "Electives" not in syllabus.page(core)


def test_a_single_class_follows_the_plan_and_empty_weeks_are_named() -> None:
    text = syllabus.page([chapter(1, weeks=1)])
    assert table(text, "Twelve weeks, a class of 80 minutes each")[0][3] == "the plan for 80 minutes"
    assert "The remaining weeks, 2 to 12, are for the [project](project.md) and the exam." in text
    almost = syllabus.page([chapter(number, weeks=1 + (number < 6)) for number in range(1, 7)])
    assert "The remaining week, 12, is for the [project](project.md)" in almost


def test_the_budget_of_a_class_comes_from_the_minutes_of_the_pages() -> None:
    text = syllabus.budget("3 × 4 minutes at the whiteboard", "you, 6 minutes each. ## Marking in 12 minutes")
    assert [row[1:] for row in table(text, "Your hours, besides the classes")] == [
        ["12 min", "12 h"],
        ["6 min", "6 h"],
        ["12 min", "12 h"],
        ["30 min", "30 h"],
    ]
    with pytest.raises(ValueError, match="the budget reads its minutes there"):
        syllabus.budget("twice at the whiteboard", "")


def test_points_of_exercises_that_go_deeper_are_told_apart() -> None:
    assert [row[3] for row in table(syllabus.page([chapter(1)]), "The chapters")] == ["2 (+ 1)"]


def test_a_course_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="14 classes do not fit in 12 weeks; join the sessions"):
        syllabus.page([chapter(number) for number in range(1, 8)])
    with pytest.raises(ValueError, match="the workshop takes 3 days of 360 minutes"):
        syllabus.page([chapter(number, minutes=250) for number in range(1, 4)])


# --- the pages -------------------------------------------------------------------------------------------


def test_pages_are_made_by_a_command(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "tools" / "make_teaching.py"), "pages", str(tmp_path / "new")]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [Path(path).name for path in made if STEM in path] == [
        f"{STEM}_slides.html", f"{STEM}_handout.html", f"{STEM}_exam.html"
    ]  # fmt: skip
    assert all(Path(path).stat().st_size > 10_000 for path in made)
    assert not re.search(
        r"^Usual|Marking|Variants", (tmp_path / "new" / f"{STEM}_exam.html").read_text("utf-8")
    )


def test_an_exam_paper_has_all_questions_and_no_answer() -> None:
    exam = material.read_exam(material.CHAPTERS / STEM / "exam.md")
    paper = make_teaching.paper(exam, "Attention")
    assert paper.startswith("# Attention: questions\n\nName: ___")
    assert "**36 points, 60 minutes.** You may use a pocket calculator, but no computer. " in paper
    assert sum(map(int, re.findall(r"\((\d+) points\)$", paper, re.MULTILINE))) == 36
    assert re.findall(r"^## (\d)\. ", paper, re.MULTILINE) == list("123456")
    assert "points:" not in paper and "point:" not in paper and paper.rstrip().endswith("?")


def test_a_deck_has_its_slides_pictures_and_stills() -> None:
    html = make_teaching.deck(material.CHAPTERS / STEM, NOTEBOOK)
    slides = html[html.index("<section>") : html.rindex("</section>")]
    assert slides.count("<section>") == 20 and slides.count('<aside class="notes">') == 20
    images = re.findall(r"<img[^>]*>", slides)
    assert len(images) == 8 and all(re.search(r'src="data:image/(png|svg)', image) for image in images)
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)
    assert "Attention of layer 0, head 2" in slides and "<iframe" not in slides  # the widget's still alone
    assert "Result:" not in slides and "<math" in slides and '<span class="n">toy</span>' in slides


def test_a_picture_is_shown_alone_and_a_long_line_is_folded_in_its_column() -> None:
    deck = make_teaching.deck(material.CHAPTERS / STEM, NOTEBOOK)
    assert "mixed mood:" in str(material.tagged(NOTEBOOK)["sharper"].outputs)
    assert "mixed mood:" not in deck and "set to 0 after softmax" in deck
    assert make_teaching._folded("short") == "short\n"
    line = "he said unto [MASK],    " + "him 0.50  " * 7
    first, second = make_teaching._folded(line).splitlines()
    assert first == line[:83].rstrip() and second == 24 * " " + "him 0.50"


def test_code_of_a_cell_does_not_become_markup() -> None:
    evil = "x = '</section><script>alert(1)</script>'"
    notebook = changed("view", lambda cell: cell.update(source=evil))
    material.tagged(notebook)["late"].outputs[0]["text"] = evil
    assert "<script>alert" not in make_teaching.deck(material.CHAPTERS / STEM, notebook)
