"""Start the hub: check what students can and cannot read, and stop quietly from the first second on.

    .venv-teach/bin/python teaching/hub/start_hub.py

Until JupyterHub has started, Ctrl-C would leave a stack trace, and perhaps a proxy that keeps the hub's port.
Further words are JupyterHub's own flags. `jupyterhub_config.py`, beside this file, has the settings.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import psutil

from bertlearn.data import cache_folder

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
# What a class may leave beside the course, and the course's own pages for teachers, which .git holds as well.
PRIVATE = (
    "release/instructor",
    "submitted",
    "grades*",
    "totals*.csv",
    "feedback",
    "report*.teacher.html",
    "teaching/chapters",
    "build/teaching",
    ".git",
)
TRIAL = ("BERTLEARN_HUB_PASSWORD", "BERTLEARN_HUB_TRIAL")  # with one of them, a warning is enough
ASK = """
import json, os, sys
def rights(path):
    return [os.access(path, right) for right in ((os.R_OK, os.X_OK) if os.path.isdir(path) else (os.R_OK,))]
print(json.dumps({path: rights(path) for path in sys.argv[1:]}))
"""


def stop(number: int, _frame: FrameType | None = None) -> None:
    """End the proxy and this process; JupyterHub replaces this handler once it has started."""
    for child in psutil.Process().children(recursive=True):
        child.terminate()
    print("\nThe hub was stopped before it had started.", file=sys.stderr, flush=True)
    os._exit(128 + number)


def without_account(names: Sequence[str]) -> list[str]:
    """Return the names that no account of this machine has."""
    missing = []
    for name in names:
        try:
            pwd.getpwnam(name)
        except KeyError:
            missing.append(name)
    return missing


def rights(name: str, paths: Sequence[str]) -> dict[str, list[bool]] | None:
    """Return whether an account can read each path, and enter it if it is a folder; None without Python."""
    account = pwd.getpwnam(name)
    groups = os.getgrouplist(name, account.pw_gid)
    command = [sys.executable, "-c", ASK, *paths]
    try:
        run = subprocess.run(
            command,
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=groups,
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
    except (PermissionError, subprocess.CalledProcessError):
        return None
    return dict(json.loads(run.stdout))


def unreadable(name: str, paths: Sequence[str]) -> list[str]:
    """Return which of the paths the account of that name cannot read; Python alone, if it cannot run that."""
    found = rights(name, paths)
    if found is None:
        return [os.path.realpath(sys.executable)]
    return [path for path, can in found.items() if not all(can)]


def private_paths(repository: Path, handed_out: str | None) -> list[str]:
    """Return what exists and is for the teacher alone: around the course, what is handed out, and at home."""
    places = {repository, *(Path(handed_out).absolute().parents[:2] if handed_out else ())}
    found = {str(path) for place in places for pattern in PRIVATE for path in place.glob(pattern)}
    teacher = Path(f"~{os.environ.get('SUDO_USER', '')}").expanduser()
    return sorted(found) + [str(path) for path in [teacher / "bert-class"] if path.exists()]


def exposed(names: Sequence[str], private: Sequence[str]) -> list[str]:
    """Return which private paths the first student can read, and which homes another student can.

    A folder that can be entered counts: files in it can be opened by anyone who guesses their names.
    """
    homes = {name: pwd.getpwnam(name).pw_dir for name in names}
    first, *others = names
    asked = {first: [*private, *(homes[name] for name in others)]}
    asked |= {others[0]: [homes[first]]} if others else {}
    answers = [rights(name, paths) or {} for name, paths in asked.items()]
    return [path for answer in answers for path, can in answer.items() if any(can)]


def check_privacy(names: Sequence[str]) -> None:
    """Refuse a hub whose students can read marks, submissions, the exam or each other's homes."""
    read = exposed(names, private_paths(REPOSITORY, os.environ.get("BERTLEARN_HUB_COURSE")))
    if not read:
        return
    said = (
        f"Students can read what is not for them. Close it with `chmod go-rwx {shlex.join(read)}`. Work of a "
        "class belongs in a folder outside the course, such as ~/bert-class with mode 700."
    )
    if not any(os.environ.get(name) for name in TRIAL):
        raise SystemExit(said)
    print(f"Warning: {said} For a class, the hub would not start.", file=sys.stderr)


def warn_of_one_account() -> None:
    """Say what everybody can read on a hub that an ordinary user starts."""
    private = private_paths(REPOSITORY, os.environ.get("BERTLEARN_HUB_COURSE"))
    print(
        "Warning: all servers belong to your account. Anyone who logs in can read and change what you can"
        f"{', such as ' + ', '.join(private) if private else ''}. Use this hub for a trial, not for a class.",
        file=sys.stderr,
    )


def check_accounts(names: Sequence[str]) -> None:
    """Refuse a hub whose students have no accounts, or cannot read what their servers need."""
    missing = without_account(names)
    if missing:
        print(
            f"These names have no account on this machine: {', '.join(missing)}. A hub that root starts "
            f"needs one for each student: `useradd --create-home --key HOME_MODE=0700 {missing[0]}`.",
            file=sys.stderr,
        )
    with_account = [name for name in names if name not in missing]
    if not with_account:
        raise SystemExit(
            "None of the listed students could work, so the hub does not start. For a trial without "
            "accounts, start it as another user than root."
        )
    handed_out = Path(os.environ.get("BERTLEARN_HUB_COURSE") or HERE)
    needed = [HERE / "student_server.py", cache_folder(), *([handed_out] if handed_out.is_dir() else [])]
    refused = unreadable(with_account[0], [os.path.abspath(path) for path in needed])
    if refused:
        raise SystemExit(
            f"{with_account[0]} cannot use {', '.join(refused)}, which every student's server needs. The "
            "Python must be one in /usr and the course in a folder such as /opt/bertlearn, not in somebody's "
            "home folder; for the data, set BERTLEARN_CACHE=/srv/bertlearn."
        )
    check_privacy(with_account)


def main() -> None:
    """Check, then run JupyterHub until it is stopped."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    listed = Path(os.environ.get("BERTLEARN_HUB_STUDENTS", ""))
    if os.geteuid() != 0:
        warn_of_one_account()
    elif listed.is_file():  # the settings say what is missing otherwise
        check_accounts(listed.read_text(encoding="utf-8").split())
    from jupyterhub.app import JupyterHub  # takes seconds, and Ctrl-C must be quiet before

    JupyterHub.launch_instance(["--config", str(HERE / "jupyterhub_config.py"), *sys.argv[1:]])


if __name__ == "__main__":
    main()
