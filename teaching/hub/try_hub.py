"""Try the hub on this machine: students log in and work through a chapter at the same time.

    .venv-teach/bin/python teaching/hub/try_hub.py                  two students, chapter 4
    .venv-teach/bin/python teaching/hub/try_hub.py --students 4 --chapter 1
    sudo .venv-teach/bin/python teaching/hub/try_hub.py             each with an account of the machine

Every step goes the way of a student's browser: the login form, the server that the hub starts, the notebook
in the student's folder, and its cells one by one through the proxy. Then comes what the course promises: the
data cannot be written, an answer outlives a restart, a process that takes too much memory gets an error, and
a link for nbgitpuller brings a repository.
It prints the memory and the seconds. It listens on this machine alone, and removes what it made: run by root,
that includes an account for each student, `bl-trial-1` and so on.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import nbformat
import psutil
import requests
import websocket
from jupyter_server.services.kernels.connection.base import deserialize_binary_message

from bertlearn.course.lab import FOLDER
from bertlearn.course.pull_link import pull_link
from bertlearn.course.sources import chapter_files
from bertlearn.data import cache_folder

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
IS_ROOT = os.geteuid() == 0
WAIT = 300.0  # seconds for the hub, a server or a kernel to start
CELL = 900.0  # seconds for one cell
PREFIX = "bl-trial-"  # of the students' names
MEASURE = """
import json, os, pathlib, resource, time
usage = resource.getrusage(resource.RUSAGE_SELF)
cache = pathlib.Path(os.environ["BERTLEARN_CACHE"])
def refused(path):
    try:
        path.open("ab").close()
    except OSError:
        return True
    return False
files = [path for path in cache.rglob("*") if path.is_file()]
print(json.dumps({
    "user": os.getuid(), "memory_mb": usage.ru_maxrss * (1024 if os.uname().sysname == "Linux" else 1) / 1e6,
    "cpu_seconds": usage.ru_utime + usage.ru_stime,
    "read_only": bool(files) and all(refused(path) for path in [cache / "new", *files])}))
"""
COMMITTER = ["-c", "user.name=teacher", "-c", "user.email=teacher@example.org"]
TOO_MUCH = "import torch; torch.ones(10**9); print('allowed')"  # 4 GB


class Ran(NamedTuple):
    """What a cell did: its printed text, and its error, if there was one."""

    text: str
    error: str


class Work(NamedTuple):
    """What a student's kernel took for a chapter, and what went wrong."""

    student: str
    seconds: float
    measured: dict[str, Any]
    errors: list[str]


class Student:
    """A student's way through the hub."""

    def __init__(self, hub: str, name: str, password: str) -> None:
        self.hub, self.name = hub, name
        self.session = requests.Session()
        page = self.session.get(f"{hub}/hub/login", timeout=WAIT)
        page.raise_for_status()
        form = {
            "username": name,
            "password": password,
            "_xsrf": self.session.cookies.get("_xsrf", path="/hub/"),
        }
        answer = self.session.post(f"{hub}/hub/login", data=form, allow_redirects=False, timeout=WAIT)
        if answer.status_code != 302:
            raise PermissionError(f"{name} cannot log in: {answer.status_code} {answer.reason}")
        token = self._hub("POST", "tokens", {"note": "trial"})["token"]
        self.browser, self.session = self.session, requests.Session()
        self.session.headers["Authorization"] = f"token {token}"

    def _hub(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the hub's own interface for this user."""
        url = f"{self.hub}/hub/api/users/{self.name}/{path}"
        headers = {"X-XSRFToken": self.session.cookies.get("_xsrf", path="/hub/") or ""}
        answer = self.session.request(method, url, json=body, headers=headers, timeout=WAIT)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def start(self) -> None:
        """Start the student's server and wait for it."""
        self._hub("POST", "server")
        wait_for(f"{self.hub}/user/{self.name}/api/status", self.session)

    def stop(self) -> None:
        """Stop the student's server and wait until it is gone."""
        self._hub("DELETE", "server")
        until = time.monotonic() + WAIT
        while self.session.get(f"{self.hub}/hub/api/users/{self.name}", timeout=WAIT).json().get("servers"):
            if time.monotonic() > until:
                raise TimeoutError(f"the server of {self.name} did not stop in {WAIT:.0f} s")
            time.sleep(0.2)

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Call the student's own Jupyter server."""
        url = f"{self.hub}/user/{self.name}/api/{path}"
        answer = self.session.request(method, url, json=body, timeout=WAIT)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def open(self, path: str) -> nbformat.NotebookNode:
        """Return a notebook in the student's folder."""
        return nbformat.from_dict(self.call("GET", f"contents/{path}")["content"])

    def save(self, path: str, notebook: nbformat.NotebookNode) -> None:
        """Save a notebook in the student's folder."""
        self.call("PUT", f"contents/{path}", {"type": "notebook", "format": "json", "content": notebook})

    def follow(self, link: str) -> str:
        """Open a link for nbgitpuller as a browser does; return the path of the notebook that it leads to."""
        self.browser.get(link, timeout=WAIT).raise_for_status()
        query = dict(parse_qsl(urlsplit(link).query))
        page = query.pop("urlpath")
        pull = f"{self.hub}/user/{self.name}/git-pull/api"
        answer = self.session.get(pull, params=query, timeout=WAIT)
        if '"phase": "finished"' not in answer.text:
            raise RuntimeError(f"nbgitpuller did not finish:\n{answer.text[-2000:]}")
        return page.removeprefix("lab/tree/")

    @contextmanager
    def kernel(self, path: str) -> Iterator[Kernel]:
        """Start a kernel in the folder of the notebook, as JupyterLab does."""
        session = self.call(
            "POST",
            "sessions",
            {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}},
        )
        url = f"{self.hub}/user/{self.name}/api/kernels/{session['kernel']['id']}/channels"
        header = [f"Authorization: {self.session.headers['Authorization']}"]
        line = websocket.create_connection(url.replace("http", "ws", 1), header=header, timeout=CELL)
        try:
            yield Kernel(line)
        finally:
            line.close()
            self.call("DELETE", f"sessions/{session['id']}")


class Kernel:
    """A kernel at the other end of the proxy."""

    def __init__(self, line: websocket.WebSocket) -> None:
        self.line = line

    def run(self, code: str) -> Ran:
        """Run a cell; return when the kernel has answered and is idle."""
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "username": "", "session": ""}
        content = {"code": code, "silent": False, "store_history": True, "stop_on_error": False}
        message = {"header": header | {"version": "5.3"}, "parent_header": {}, "metadata": {}}
        self.line.send(json.dumps(message | {"content": content, "channel": "shell"}))
        text, error, open_ends = "", "", {"execute_reply", "idle"}
        while open_ends:
            answer = message_of(self.line.recv())
            if answer["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            kind, content = answer["msg_type"], answer["content"]
            open_ends -= {kind, content.get("execution_state", "")}
            text += content["text"] if kind == "stream" else ""
            error = f"{content['ename']}: {content['evalue']}" if kind == "error" else error
        return Ran(text, error)


def message_of(received: str | bytes) -> dict[str, Any]:
    """Return a message of the kernel; those of widgets may bring buffers."""
    if isinstance(received, bytes):
        return dict(deserialize_binary_message(received))
    return dict(json.loads(received))


def wait_for(url: str, session: requests.Session, server: subprocess.Popen[bytes] | None = None) -> None:
    """Wait until a page answers, or the server that has it ends."""
    until = time.monotonic() + WAIT
    while True:
        if server and server.poll() is not None:
            raise RuntimeError(f"the server of {url} ended with status {server.returncode}")
        try:
            if session.get(url, timeout=WAIT).status_code == 200:
                return
        except requests.ConnectionError:
            pass
        if time.monotonic() > until:
            raise TimeoutError(f"{url} did not answer in {WAIT:.0f} s")
        time.sleep(0.2)


def free_port() -> int:
    """Return a port of this machine that is free."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def shared_cache(target: Path) -> Path:
    """Copy the data to a folder that everybody can read and nobody can write; root still could."""
    shutil.copytree(cache_folder(), target)
    for path in [target, *target.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return target


@contextmanager
def accounts(names: Sequence[str], password: str) -> Iterator[None]:
    """Make accounts on this machine, and remove them with their folders."""
    made = []
    try:
        for name in names:
            home = ["--create-home", "--key", "HOME_MODE=0700"]  # closed to the others
            subprocess.run(["useradd", *home, "--shell", "/bin/bash", name], check=True)
            made.append(name)
            subprocess.run(["chpasswd"], input=f"{name}:{password}", text=True, check=True)
        yield
    finally:
        for name in made:
            removal = ["userdel", "--remove", "--force", name]  # also while a process of theirs is ending
            subprocess.run(removal, check=False, stderr=subprocess.DEVNULL)


@contextmanager
def hub(folder: Path, names: Sequence[str], password: str) -> Iterator[tuple[str, int]]:
    """Run the hub; yield its address and the id of its process."""
    listed = folder / "students.txt"
    listed.write_text("\n".join(names), encoding="utf-8")
    address = f"http://127.0.0.1:{free_port()}"
    settings = {
        "BERTLEARN_HUB_STUDENTS": str(listed),
        "BERTLEARN_HUB_FOLDER": str(folder / "hub"),
        "BERTLEARN_HUB_ADDRESS": address,
        "BERTLEARN_CACHE": str(shared_cache(folder / "cache")),
    } | ({} if IS_ROOT else {"BERTLEARN_HUB_PASSWORD": password})
    ports = [
        f"--JupyterHub.hub_port={free_port()}",
        f"--ConfigurableHTTPProxy.api_url=http://127.0.0.1:{free_port()}",
    ]
    command = [sys.executable, str(HERE / "start_hub.py"), *ports]
    with (folder / "hub.log").open("wb") as log:
        running = subprocess.Popen(
            command,
            env=os.environ | settings,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,  # Ctrl-C shall reach only this script
        )

    def stop(*_: Any) -> None:
        running.terminate()  # threads that wait for an answer get an error, and end
        sys.exit("stopped")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        wait_for(f"{address}/hub/health", requests.Session(), running)
        yield address, running.pid
    except Exception:
        print((folder / "hub.log").read_text(encoding="utf-8")[-6000:], file=sys.stderr)
        raise
    finally:
        running.send_signal(signal.SIGTERM)  # it stops the proxy and the students' servers
        running.wait(WAIT)


def work_through(student: Student, path: str) -> Work:
    """Run every cell of the notebook in the student's folder."""
    cells = [cell for cell in student.open(path).cells if cell.cell_type == "code"]
    errors, started = [], time.monotonic()
    with student.kernel(path) as kernel:
        for number, cell in enumerate(cells, start=1):
            error = kernel.run(cell.source).error
            if error and "raises-exception" not in cell.metadata.get("tags", []):
                errors.append(f"code cell {number}: {error}")
        seconds = time.monotonic() - started
        measured = json.loads(kernel.run(MEASURE).text)
    return Work(student.name, seconds, measured, errors)


def check_limit(student: Student, path: str) -> str:
    """Return the error of a process that takes more memory than a student may have."""
    with student.kernel(path) as kernel:
        return kernel.run(TOO_MUCH).error


def answer_outlives_restart(student: Student, path: str) -> bool:
    """Write an answer, stop and start the server, and see whether the answer is there."""
    notebook, answer = student.open(path), f"answer = {uuid.uuid4().hex!r}"
    notebook.cells[-1].source = answer
    student.save(path, notebook)
    student.stop()
    student.start()
    return student.open(path).cells[-1].source == answer


def link_opens_chapter(student: Student, folder: Path, chapter: int) -> bool:
    """Put the notebooks into a repository, follow a link to it, and see whether it opens the chapter."""
    repository = folder / "our course.git"
    shutil.copytree(ROOT / "notebooks", repository / "notebooks")
    for words in (
        ["init", "-q", "-b", "main"],
        ["add", "--all"],
        [*COMMITTER, "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", *words], cwd=repository, check=True)
    if IS_ROOT:  # git reads only what belongs to whoever runs it
        subprocess.run(["chown", "-R", student.name, str(repository)], check=True)
    opened = student.open(student.follow(pull_link(student.hub, repository.as_uri(), chapter=chapter)))
    return len(opened.cells) == len(nbformat.read(chapter_files()[chapter], as_version=4).cells)


def processes(pid: int) -> str:
    """Describe the memory and the seconds of CPU of the hub's processes: hub, proxy, servers."""
    kinds = {"ipykernel": "kernels", "student_server": "servers", "configurable-http-proxy": "proxy"}
    found: dict[str, tuple[float, float]] = {}
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        command, used = " ".join(process.cmdline()), process.cpu_times()
        kind = next((kind for word, kind in kinds.items() if word in command), "hub")
        memory, seconds = found.get(kind, (0.0, 0.0))
        found[kind] = (memory + process.memory_info().rss / 1e6, seconds + used.user + used.system)
    return "; ".join(f"{kind} {memory:.0f} MB, {cpu:.1f} s of CPU" for kind, (memory, cpu) in found.items())


def main() -> int:
    """Run the trial; return 1 if something is not as promised."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--chapter", type=int, default=4, help="the chapter to work through")
    parser.add_argument("--students", type=int, default=2, help="how many work at the same time")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("stopped"))  # so that what was made is removed
    names = [f"{PREFIX}{number}" for number in range(1, options.students + 1)]
    password = secrets.token_urlsafe(12)
    with tempfile.TemporaryDirectory(prefix="hub-") as place:
        folder = Path(place)
        folder.chmod(0o755)  # the students read the data in it
        with accounts(names if IS_ROOT else [], password), hub(folder, names, password) as (address, pid):
            faults = try_login(address, names[0], password)
            students = [Student(address, name, password) for name in names]
            faults += work_together(students, options.chapter, pid)
            faults += try_promises(students[0], folder, options.chapter)
    print("\n".join(faults) or "All is well.")
    return bool(faults)


def notebook_path(chapter: int) -> str:
    """Return where a chapter is in a student's home folder."""
    return f"{FOLDER.name}/{chapter_files()[chapter].name}"


def try_login(address: str, name: str, password: str) -> list[str]:
    """Return a fault for everybody who can log in and should not."""
    faults = []
    for user, tried in ((name, "wrong-password"), ("root", password), ("not-on-the-list", password)):
        try:
            Student(address, user, tried)
            faults.append(f"{user} could log in")
        except PermissionError:
            continue
    return faults


def work_together(students: Sequence[Student], chapter: int, hub_process: int) -> list[str]:
    """Let the students work through a chapter at the same time; return what went wrong."""
    for student in students:
        student.start()
    print("before the chapter:", processes(hub_process))
    with ThreadPoolExecutor(len(students)) as at_once:
        works = list(at_once.map(lambda student: work_through(student, notebook_path(chapter)), students))
    print("after it:", processes(hub_process))
    faults = [fault for work in works for fault in report(work)]
    users = {work.measured["user"] for work in works}
    if IS_ROOT and (len(users) < len(works) or 0 in users):
        faults.append(f"the kernels belong to the users {sorted(users)}, expected one for each student")
    return faults


def try_promises(student: Student, folder: Path, chapter: int) -> list[str]:
    """Return which of the promises about memory, work and links are not kept."""
    path = notebook_path(chapter)
    error = check_limit(student, path)
    print(f"4 GB more: {error or 'allowed'}")
    kept = {
        "a process got more memory than a student may have": bool(error),
        "an answer was overwritten": answer_outlives_restart(student, path),
        "the link does not open the chapter": link_opens_chapter(student, folder, chapter),
    }
    return [fault for fault, well in kept.items() if not well]


def report(work: Work) -> list[str]:
    """Print what a student's kernel took; return its faults."""
    measured = work.measured
    print(
        f"{work.student}: {work.seconds:.0f} s, {measured['cpu_seconds']:.0f} s of CPU, "
        f"peak {measured['memory_mb']:.0f} MB, user {measured['user']}"
    )
    faults = [f"{work.student}, {error}" for error in work.errors]
    return faults if measured["read_only"] else [*faults, f"{work.student} can write the shared data"]


if __name__ == "__main__":
    sys.exit(main())
