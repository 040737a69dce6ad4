"""The hub's settings, what a student's server does before it starts, and updates by nbgitpuller."""

from __future__ import annotations

import importlib.util
import os
import random
import re
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nbformat
import psutil
import pytest
from nbformat import NotebookNode
from traitlets.config import Config

from bertlearn.course.grading.feedback import page_name
from bertlearn.data import cache_folder

ROOT = Path(__file__).resolve().parents[2]
HUB = ROOT / "teaching" / "hub"
TEACH = Path(os.environ.get("BERTLEARN_TEACH", ROOT / ".venv-teach" / "bin" / "python"))
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
STUB = "raise NotImplementedError"

pwd = pytest.importorskip("pwd", reason="JupyterHub does not run on Windows")
needs_teach = pytest.mark.skipif(not TEACH.exists(), reason="needs `make .venv-teach/.ready`")
needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can ask for others, and give files away")


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
    assert "useradd --create-home --key HOME_MODE=0700 no-such-account" in capsys.readouterr().err
    asked = []
    monkeypatch.setattr(start, "unreadable", lambda name, paths: asked.append(name) or [])
    monkeypatch.setattr(start, "check_privacy", lambda names: asked.append(f"private for {names}"))
    start.check_accounts(["no-such-account", "nobody"])  # one student's missing account keeps nobody else out
    assert asked == ["nobody", "private for ['nobody']"]


@needs_root
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


@pytest.fixture
def course(start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a course that everybody can read; pytest's own folders are closed to other accounts."""
    for name in (*start.TRIAL, "BERTLEARN_HUB_COURSE", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o755)
        monkeypatch.setattr(start, "REPOSITORY", Path(place))
        yield Path(place)


@needs_root
@pytest.mark.parametrize(
    "name",
    [
        "release/instructor/01_attention.ipynb",
        "submitted/ada/01_attention.ipynb",
        "grades.csv",
        "totals.csv",
        "feedback/ada.html",
        "report.teacher.html",
        "teaching/chapters/01_attention/exam.md",
        ".git/HEAD",
    ],
)
def test_the_hub_does_not_start_while_students_can_read_marks_or_the_exam(
    start: ModuleType, course: Path, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    secret = course / name
    secret.parent.mkdir(parents=True, exist_ok=True)
    secret.write_text("secret", encoding="utf-8")
    with pytest.raises(SystemExit, match="Students can read what is not for them") as refusal:
        start.check_privacy(["nobody"])
    monkeypatch.setenv("BERTLEARN_HUB_TRIAL", "1")
    start.check_privacy(["nobody"])
    assert "the hub would not start" in capsys.readouterr().err
    monkeypatch.delenv("BERTLEARN_HUB_TRIAL")
    advice = re.search("`(chmod go-rwx .+?)`", str(refusal.value))
    assert advice is not None
    subprocess.run(advice[1], shell=True, check=True)
    start.check_privacy(["nobody"])
    asked = subprocess.run(["cat", secret], user="nobody", capture_output=True, check=False)
    assert asked.returncode == 1  # what was asked is so: the file itself is closed


@needs_root
def test_a_folder_whose_files_can_be_opened_by_name_is_not_closed(start: ModuleType, course: Path) -> None:
    (course / "submitted").mkdir(mode=0o711)
    with pytest.raises(SystemExit, match="submitted"):
        start.check_privacy(["nobody"])


@needs_root
def test_what_surrounds_the_handed_out_folder_is_private_too(
    start: ModuleType, course: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("week/release/student", "week/release/instructor", "week/submitted"):
        (course / name).mkdir(parents=True)
    start.check_privacy(["nobody"])
    monkeypatch.setenv("BERTLEARN_HUB_COURSE", str(course / "week" / "release" / "student"))
    with pytest.raises(SystemExit, match=r"week/release/instructor .*week/submitted"):
        start.check_privacy(["nobody"])


@needs_root
def test_no_student_can_enter_anothers_home(start: ModuleType, course: Path, monkeypatch: Any) -> None:
    homes = {name: course / name for name in ("nobody", "daemon", "bin")}
    accounts = {name: pwd.getpwnam(name) for name in homes}
    with_home = {name: SimpleNamespace(**named(accounts[name]), pw_dir=str(homes[name])) for name in homes}
    monkeypatch.setattr(pwd, "getpwnam", with_home.__getitem__)
    for name, home in homes.items():
        home.mkdir(mode=0o700)
        os.chown(home, accounts[name].pw_uid, accounts[name].pw_gid)
    start.check_privacy(list(homes))
    for home in homes.values():  # the first one's is asked for by the second
        home.chmod(0o755)
        with pytest.raises(SystemExit, match=f"chmod go-rwx {home}`"):
            start.check_privacy(list(homes))
        home.chmod(0o700)


def named(account: pwd.struct_passwd) -> dict[str, Any]:
    return {"pw_name": account.pw_name, "pw_uid": account.pw_uid, "pw_gid": account.pw_gid}


def test_a_hub_of_an_ordinary_user_warns_that_everything_is_open(
    start: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "grades.csv").touch()
    monkeypatch.setattr(start, "REPOSITORY", tmp_path)
    start.warn_of_one_account()
    shown = capsys.readouterr().err
    assert "all servers belong to your account" in shown and str(tmp_path / "grades.csv") in shown


@pytest.fixture
def exchange() -> ModuleType:
    return load("exchange")


def notebook_in(home: Path, content: str = "answers") -> Path:
    path = home / "bertlearn-course" / "01_attention.ipynb"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def read_notebook(exchange: ModuleType, home: Path, owner: int | None = None) -> bytes:
    return exchange.read_own(home, "01_attention.ipynb", os.getuid() if owner is None else owner)


def test_a_students_own_notebook_is_collected(exchange: ModuleType, tmp_path: Path) -> None:
    notebook_in(tmp_path)
    assert read_notebook(exchange, tmp_path) == b"answers"
    with pytest.raises(ValueError, match="belongs to somebody else"):  # as through a hard link
        read_notebook(exchange, tmp_path, os.getuid() + 1)


def test_nothing_is_collected_through_a_link_a_pipe_or_without_end(
    exchange: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = notebook_in(tmp_path, "the teacher's")
    home = tmp_path / "home"
    home.mkdir()
    (home / "bertlearn-course").symlink_to(secret.parent)
    with pytest.raises(OSError):
        read_notebook(exchange, home)
    (home / "bertlearn-course").unlink()
    path = notebook_in(home)
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(OSError):
        read_notebook(exchange, home)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="not a regular file"):
        read_notebook(exchange, home)
    path.unlink()
    monkeypatch.setattr(exchange, "LARGEST", 1000)
    notebook_in(home, "x" * 1001)
    with pytest.raises(ValueError, match="more than"):
        read_notebook(exchange, home)


def test_feedback_replaces_a_link_and_leaves_its_target(exchange: ModuleType, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("somebody's", encoding="utf-8")
    (tmp_path / "page.html").symlink_to(target)
    for content in (b"first", b"second"):
        exchange.write_own(tmp_path, "page.html", content, os.getuid(), os.getgid())
        assert (tmp_path / "page.html").read_bytes() == content
    assert not (tmp_path / "page.html").is_symlink() and target.read_text(encoding="utf-8") == "somebody's"
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"page.html", "target"}
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        exchange.write_own(tmp_path, "folder", b"", os.getuid(), os.getgid())
    assert {path.name for path in tmp_path.iterdir()} == {"page.html", "target", "folder"}


def test_a_class_is_collected_and_gets_its_feedback(
    exchange: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    accounts = {}
    for name in ("ada", "grace"):
        (tmp_path / name).mkdir()
        fields = {"pw_name": name, "pw_uid": os.getuid(), "pw_gid": os.getgid(), "pw_dir": tmp_path / name}
        accounts[name] = SimpleNamespace(**fields)
    monkeypatch.setattr(pwd, "getpwnam", accounts.__getitem__)
    listed, submitted, feedback = tmp_path / "listed", tmp_path / "submitted", tmp_path / "feedback"
    listed.write_text("ada grace", encoding="utf-8")
    notebook_in(tmp_path / "ada")
    command = ["--students", str(listed)]
    assert exchange.main([*command, "collect", str(submitted), "01_attention.ipynb"]) == 1
    assert "grace: 01_attention.ipynb was left out" in capsys.readouterr().err
    assert [path.name for path in submitted.iterdir()] == ["ada"] and submitted.stat().st_mode & 0o077 == 0
    assert (submitted / "ada" / "01_attention.ipynb").read_text(encoding="utf-8") == "answers"
    feedback.mkdir()
    for name in accounts:
        (feedback / page_name(name)).write_text(f"for {name}", encoding="utf-8")
    assert exchange.main([*command, "return", str(feedback)]) == 0
    for name in accounts:
        assert (tmp_path / name / exchange.PAGE).read_text(encoding="utf-8") == f"for {name}"
    with pytest.raises(SystemExit):
        exchange.main([*command, "collect", str(submitted), "../../grace/.bashrc"])


@needs_root
def test_what_is_returned_belongs_to_the_student(exchange: ModuleType, tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    exchange.write_own(tmp_path, "page.html", b"for you", nobody.pw_uid, nobody.pw_gid)
    assert (tmp_path / "page.html").stat().st_uid == nobody.pw_uid


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
        "os.geteuid = lambda: 1000; sys.meta_path.insert(0, Slow()); start_hub.main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    warning, *rest = run.stderr.strip().splitlines()
    assert warning.startswith("Warning: all servers belong to your account.")
    assert [run.returncode, *filter(None, rest)] == [128 + sent, "The hub was stopped before it had started."]
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
    trial = os.environ | {"BERTLEARN_HUB_TRIAL": "1"}  # this checkout may be open to everybody
    run = subprocess.run(command, env=trial, capture_output=True, text=True, timeout=1800, check=False)
    if "cannot use" in run.stdout + run.stderr:
        pytest.skip("this Python is in a home folder that other accounts cannot enter")
    assert run.returncode == 0 and "All is well." in run.stdout, run.stdout + run.stderr[-3000:]
