"""The hub's settings, what a student's server does before it starts, and updates by nbgitpuller."""

from __future__ import annotations

import importlib.util
import os
import random
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import psutil
import pytest
from nbformat import NotebookNode
from traitlets.config import Config

from bertlearn.data import cache_folder

ROOT = Path(__file__).resolve().parents[2]
HUB = ROOT / "teaching" / "hub"
TEACH = Path(os.environ.get("BERTLEARN_TEACH", ROOT / ".venv-teach" / "bin" / "python"))
STUB = "raise NotImplementedError"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="JupyterHub does not run on Windows")
needs_teach = pytest.mark.skipif(not TEACH.exists(), reason="needs `make .venv-teach/.ready`")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Config]:
    """Return a function that reads the hub's settings, as this user or another."""
    listed = tmp_path / "students.txt"
    listed.write_text("ada\ngrace\n", encoding="utf-8")
    for name in [name for name in os.environ if name.startswith("BERTLEARN_HUB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BERTLEARN_HUB_STUDENTS", str(listed))
    monkeypatch.setenv("BERTLEARN_HUB_FOLDER", str(tmp_path / "state"))

    def read(user: int, **variables: str) -> Config:
        monkeypatch.setattr(os, "geteuid", lambda: user)
        for name, value in variables.items():
            monkeypatch.setenv(f"BERTLEARN_HUB_{name}", value)
        found: dict[str, Any] = {}
        provided = {"get_config": lambda: found.setdefault("c", Config())}
        runpy.run_path(str(HUB / "jupyterhub_config.py"), init_globals=provided)
        return found["c"]

    return read


def test_by_default_the_hub_listens_on_this_machine_and_admits_only_listed_accounts(
    settings: Callable[..., Config], tmp_path: Path
) -> None:
    c = settings(user=0)
    assert c.JupyterHub.bind_url.startswith("http://127.0.0.1:")
    assert c.Authenticator.allowed_users == {"ada", "grace"}
    assert (c.JupyterHub.authenticator_class, c.JupyterHub.spawner_class) == ("pam", "localprocess")
    assert c.Spawner.environment["BERTLEARN_CACHE"] == str(cache_folder())
    timeout = c.ConfigurableHTTPProxy.command[c.ConfigurableHTTPProxy.command.index("--proxy-timeout") + 1]
    assert int(timeout) >= 1000 * c.Spawner.start_timeout  # the page that waits for a server stays open
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0  # no student reads its keys


def test_a_trial_needs_a_password_unless_the_accounts_can_be_used(settings: Callable[..., Config]) -> None:
    with pytest.raises(SystemExit, match="set BERTLEARN_HUB_PASSWORD"):
        settings(user=1000)
    with pytest.raises(SystemExit, match="has 5 characters; it needs 8"):
        settings(user=1000, PASSWORD="short")
    c = settings(user=1000, PASSWORD="long enough")
    assert (c.JupyterHub.authenticator_class, c.JupyterHub.spawner_class) == ("shared-password", "simple")
    assert c.SharedPasswordAuthenticator.user_password == "long enough"


def test_without_a_list_of_students_nobody_gets_in(settings: Callable[..., Config], monkeypatch: Any) -> None:
    monkeypatch.delenv("BERTLEARN_HUB_STUDENTS")
    with pytest.raises(SystemExit, match="BERTLEARN_HUB_STUDENTS is not set"):
        settings(user=0)
    with pytest.raises(SystemExit, match="STUDENTS=/nowhere is no file"):
        settings(user=0, STUDENTS="/nowhere")


def test_students_get_what_the_teacher_hands_out(settings: Callable[..., Config], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is no folder"):
        settings(user=0, COURSE=str(tmp_path / "missing"))
    c = settings(user=0, COURSE=str(tmp_path))
    assert c.Spawner.environment["BERTLEARN_HUB_COURSE"] == str(tmp_path)
    assert c.Spawner.default_url == "/lab/tree/bertlearn-course"  # it may have no welcome page
    (tmp_path / "01_attention.ipynb").touch()
    c = settings(user=0, COURSE=str(tmp_path))
    assert c.Spawner.default_url == "/lab/tree/bertlearn-course/01_attention.ipynb"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HUB / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start() -> ModuleType:
    return load("start_hub")


def test_a_hub_that_root_starts_needs_accounts(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="None of the listed students could work"):
        start.check_accounts(["no-such-account"])
    assert "useradd --create-home no-such-account" in capsys.readouterr().err
    asked = []
    monkeypatch.setattr(start, "unreadable", lambda name, paths: asked.append(name) or [])
    start.check_accounts(["no-such-account", "nobody"])  # one student's missing account keeps nobody else out
    assert asked == ["nobody"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can ask for others")
def test_the_hub_does_not_start_where_students_cannot_read_the_course(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    (tmp_path / "hidden").mkdir(mode=0o700)
    assert start.unreadable("nobody", ["/usr", str(tmp_path / "hidden")]) == [str(tmp_path / "hidden")]
    assert start.unreadable("root", [str(tmp_path / "hidden")]) == []
    monkeypatch.setattr(sys, "executable", str(tmp_path / "hidden" / "python3"))
    (tmp_path / "hidden" / "python3").symlink_to("/usr/bin/python3")
    assert start.unreadable("nobody", ["/usr"]) == [os.path.realpath("/usr/bin/python3")]
    monkeypatch.setattr(start, "unreadable", lambda *_: ["/root/data"])
    with pytest.raises(SystemExit, match=r"nobody cannot use /root/data.*BERTLEARN_CACHE"):
        start.check_accounts(["nobody"])


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_hub_that_is_stopped_while_it_starts_leaves_no_proxy_and_no_stack_trace(
    sent: signal.Signals,
) -> None:
    code = (
        f"import os, signal, subprocess, sys; sys.path.insert(0, {str(HUB)!r}); import start_hub\n"
        "class Slow:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'jupyterhub':\n"
        "            print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid, flush=True)\n"
        f"            os.kill(os.getpid(), {int(sent)})\n"
        "os.environ.pop('BERTLEARN_HUB_STUDENTS', None); sys.meta_path.insert(0, Slow()); start_hub.main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stderr.strip()) == (128 + sent, "The hub was stopped before it had started.")
    proxy = int(run.stdout)
    assert not psutil.pid_exists(proxy) or psutil.Process(proxy).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def server() -> ModuleType:
    return load("student_server")


def test_a_students_work_outlives_the_next_start(server: ModuleType, tmp_path: Path) -> None:
    server.update_course(tmp_path, None)
    path = tmp_path / "01_attention.ipynb"
    edit(path, answer)
    kept = path.read_bytes()
    (tmp_path / "02_tokenization.ipynb").unlink()
    server.update_course(tmp_path, None)
    assert path.read_bytes() == kept and (tmp_path / "02_tokenization.ipynb").is_file()


def test_only_what_was_handed_out_arrives(server: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "notes.md").write_text("week 1", encoding="utf-8")
    server.update_course(tmp_path / "student", tmp_path / "release")
    assert {path.name for path in (tmp_path / "student").glob("[!.]*")} == {"notes.md"}


def test_a_folder_that_cannot_be_updated_does_not_keep_the_student_out(
    server: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "course").write_text("a file where the folder should be", encoding="utf-8")
    server.update_course(tmp_path / "course", None)
    assert "could not be brought up to date" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not count mapped memory")
def test_a_process_cannot_take_more_memory_than_the_limit() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(HUB)!r}); import student_server\n"
        "student_server.limit_memory(2**30)\n"
        "bytearray(2**28); print('small')\n"
        "try:\n    bytearray(2**31); print('large')\nexcept MemoryError:\n    print('refused')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["small", "refused"]


def edit(path: Path, change: Callable[[NotebookNode], None]) -> None:
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def answer(notebook: NotebookNode) -> None:
    """Do what a student does: answer the first exercise, add a cell, run the others."""
    first = next(cell for cell in notebook.cells if STUB in cell.source)
    first.source = "def softmax(scores):\n    return 'my answer'"
    notebook.cells.append(nbformat.v4.new_code_cell("'my own cell'"))
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.execution_count = 100 + number
            cell.outputs = [nbformat.v4.new_output("stream", text=f"mine {number}\n")]


def revise(notebook: NotebookNode) -> None:
    """Do what a new version of the course does, also to the cell that the student answered."""
    next(cell for cell in notebook.cells if STUB in cell.source).source += "\n# a new stub"
    notebook.cells[0].source += "\n\nA new sentence."
    notebook.cells.insert(9, nbformat.v4.new_markdown_cell("A new cell of the course."))
    del notebook.cells[20]


@pytest.mark.slow
@needs_teach
def test_nbgitpuller_keeps_a_students_work_and_brings_the_courses(tmp_path: Path) -> None:
    course, own = tmp_path / "course", tmp_path / "student"

    def git(*words: str) -> None:
        who = ["-c", "user.name=teacher", "-c", "user.email=teacher@example.org"]
        subprocess.run(["git", *who, *words], cwd=course, check=True, capture_output=True)

    def pull() -> None:
        command = [str(TEACH), "-m", "nbgitpuller.pull", course.as_uri(), "main", str(own)]
        subprocess.run(command, check=True, capture_output=True)

    course.mkdir()
    for name in ("01_attention.ipynb", "02_tokenization.ipynb"):
        (course / name).write_bytes((ROOT / "notebooks" / name).read_bytes())
    git("init", "-b", "main")
    git("add", "--all")
    git("commit", "-m", "the course")
    pull()
    edit(own / "01_attention.ipynb", answer)
    for name in ("01_attention.ipynb", "02_tokenization.ipynb"):
        edit(course / name, revise)
    git("commit", "-a", "-m", "a new version")
    pull()
    sources = [cell.source for cell in nbformat.read(own / "01_attention.ipynb", as_version=4).cells]
    assert "def softmax(scores):\n    return 'my answer'" in sources and "'my own cell'" in sources
    assert "A new cell of the course." in sources and sources[0].endswith("A new sentence.")
    assert not any("a new stub" in source for source in sources)  # where both changed, the student's stays
    assert (own / "02_tokenization.ipynb").read_bytes() == (course / "02_tokenization.ipynb").read_bytes()


def edit_at_random(notebook: NotebookNode, chance: random.Random, mark: str) -> list[str]:
    """Change, add, remove and move cells, and change outputs; return the sources that must survive."""
    written = []
    for number in range(chance.randint(1, 8)):
        place, source = chance.randrange(len(notebook.cells)), f"{mark}_{number} = 1\nprint({mark}_{number})"
        kind = chance.choice(["change", "change", "add", *(["remove", "move"] if mark == "course" else [])])
        if kind == "change" and not notebook.cells[place].source.startswith(mark):
            notebook.cells[place].source = source
            written.append(source)
        elif kind == "add":
            notebook.cells.insert(place, nbformat.v4.new_code_cell(source))
            written.append(source)
        elif kind in ("remove", "move"):
            cell = notebook.cells.pop(place)
            notebook.cells[place:place] = [] if kind == "remove" else [notebook.cells.pop(), cell]
    for cell in notebook.cells:
        if cell.cell_type == "code" and chance.random() < 0.7:
            cell.execution_count = chance.randint(1, 300)
            cell.outputs = [nbformat.v4.new_output("stream", text=f"{chance.random()}\n")]
    return written


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Non-unique cell id")  # a cell that the course moved; reading mends it
def test_no_random_edits_lose_an_answer_or_break_the_notebook(tmp_path: Path) -> None:
    """As nbgitpuller merges: line by line, and where both changed a line, the student's stays."""
    file = tmp_path / "chapter.ipynb"

    def git(*words: str) -> None:
        who = ["-c", "user.name=teacher", "-c", "user.email=teacher@example.org"]
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    def commit(branch: str, chance: random.Random) -> list[str]:
        git("checkout", "-q", "-B", branch, "base")
        written: list[str] = []
        edit(file, lambda notebook: written.extend(edit_at_random(notebook, chance, branch)))
        git("commit", "-q", "-a", "-m", branch)
        return written

    git("init", "-q", "-b", "base")
    file.write_bytes((ROOT / "notebooks" / "01_attention.ipynb").read_bytes())
    git("add", "--all")
    git("commit", "-q", "-m", "base")
    for seed in range(30):
        commit("course", random.Random(seed))
        answers = commit("student", random.Random(1000 + seed))
        git("merge", "-q", "-Xours", "course")
        merged = nbformat.read(file, as_version=4)
        nbformat.validate(merged)
        assert set(answers) <= {cell.source for cell in merged.cells}, seed


@pytest.mark.slow
@needs_teach
def test_two_students_work_on_the_hub() -> None:
    """As root, each has an account; otherwise both servers belong to this user."""
    command = [str(TEACH), str(HUB / "try_hub.py"), "--chapter", "2"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert run.returncode == 0 and "All is well." in run.stdout, run.stdout + run.stderr[-3000:]
