"""Start the hub: check first that students can use it, and stop quietly from the first second on.

    .venv-teach/bin/python teaching/hub/start_hub.py

Until JupyterHub has started, Ctrl-C would leave a stack trace, and perhaps a proxy that keeps the hub's port.
Further words are JupyterHub's own flags. `jupyterhub_config.py`, beside this file, has the settings.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import psutil

from bertlearn.data import cache_folder

HERE = Path(__file__).resolve().parent
ASK = """
import os, sys
need = {path: os.R_OK | (os.X_OK if os.path.isdir(path) else 0) for path in sys.argv[1:]}
sys.stdout.write("\\n".join(path for path in need if not os.access(path, need[path])))
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


def unreadable(name: str, paths: Sequence[str]) -> list[str]:
    """Return which of the paths the account of that name cannot read; Python alone, if it cannot run that."""
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
        return [os.path.realpath(sys.executable)]
    return run.stdout.splitlines()


def check_accounts(names: Sequence[str]) -> None:
    """Refuse a hub whose students have no accounts, or cannot read what their servers need."""
    missing = without_account(names)
    if missing:
        print(
            f"These names have no account on this machine: {', '.join(missing)}. A hub that root starts "
            f"needs one for each student: `useradd --create-home {missing[0]}`.",
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


def main() -> None:
    """Check, then run JupyterHub until it is stopped."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    listed = Path(os.environ.get("BERTLEARN_HUB_STUDENTS", ""))
    if os.geteuid() == 0 and listed.is_file():  # the settings say what is missing otherwise
        check_accounts(listed.read_text(encoding="utf-8").split())
    from jupyterhub.app import JupyterHub  # takes seconds, and Ctrl-C must be quiet before

    JupyterHub.launch_instance(["--config", str(HERE / "jupyterhub_config.py"), *sys.argv[1:]])


if __name__ == "__main__":
    main()
