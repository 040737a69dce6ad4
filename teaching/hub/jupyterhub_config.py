"""A JupyterHub for a class on one Linux or macOS machine; teaching/running.md explains it.

    .venv-teach/bin/python teaching/hub/start_hub.py

These variables of the environment are its settings:

BERTLEARN_HUB_STUDENTS  a file with a user name on each line; nobody else can log in
BERTLEARN_HUB_PASSWORD  one password for everybody, for a trial; without it, the machine's own accounts count
BERTLEARN_HUB_FOLDER    where the hub keeps its database and keys, and a trial its students' folders
BERTLEARN_HUB_ADDRESS   where it listens; this machine alone if not set
BERTLEARN_HUB_COURSE    the folder that students get, such as a copy of release/student; else the whole course
BERTLEARN_HUB_MEMORY    what each process of a student may take, such as 3G
BERTLEARN_HUB_TRIAL     1 to start even if students can read what is not for them
BERTLEARN_CACHE         the shared data, filled by `bertlearn data`

Started by root, each student's server belongs to the account of that name. Started by anyone else, all
servers belong to that one account, which protects no student from another: for a trial only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bertlearn.data import cache_folder

HERE = Path(__file__).resolve().parent
IS_ROOT = os.geteuid() == 0
WAIT = 300  # seconds for a student's server to start: when a class begins, all start at once
folder = Path(os.environ.get("BERTLEARN_HUB_FOLDER", "hub-state")).absolute()
password = os.environ.get("BERTLEARN_HUB_PASSWORD")
students_file = os.environ.get("BERTLEARN_HUB_STUDENTS")

if not students_file or not Path(students_file).is_file():
    found = f"={students_file} is no file" if students_file else " is not set"
    raise SystemExit(
        f"BERTLEARN_HUB_STUDENTS{found}; give it the path of a file with a user name on each line"
    )
if not IS_ROOT and not password:
    raise SystemExit(
        "The machine's accounts can only be used by a hub that root starts; for a trial, set "
        "BERTLEARN_HUB_PASSWORD to a password of 8 characters or more"
    )
if password and len(password) < 8:
    raise SystemExit(f"BERTLEARN_HUB_PASSWORD has {len(password)} characters; it needs 8 or more")
handed_out = os.environ.get("BERTLEARN_HUB_COURSE")
if handed_out and not Path(handed_out).is_dir():
    raise SystemExit(
        f"BERTLEARN_HUB_COURSE={handed_out} is no folder; give it what students get: release/student"
    )
folder.mkdir(mode=0o700, parents=True, exist_ok=True)
c = get_config()  # noqa: F821 - JupyterHub provides it

# Who may log in
c.JupyterHub.authenticator_class = "shared-password" if password else "pam"
c.SharedPasswordAuthenticator.user_password = password
c.Authenticator.allowed_users = set(Path(students_file).read_text(encoding="utf-8").split())

# What its pages say
c.JupyterHub.template_paths = [str(HERE / "templates")]
who = "the name and the password that you were given" if password else "your account of this machine"
c.JupyterHub.template_vars = {
    "announcement_login": f"The course on BERT. Sign in with {who}.",
    "announcement_home": "When your server stops, running notebooks end. Everything that you saved is kept.",
}

# Where the hub listens and keeps its state
c.JupyterHub.bind_url = os.environ.get("BERTLEARN_HUB_ADDRESS", "http://127.0.0.1:8000")
c.JupyterHub.db_url = f"sqlite:///{folder / 'jupyterhub.sqlite'}"
c.JupyterHub.cookie_secret_file = str(folder / "cookie_secret")
proxy = str(Path(sys.executable).parent / "configurable-http-proxy")
# It passes on what is complete, and gives up after 20 seconds, even while a page waits for its server.
c.ConfigurableHTTPProxy.command = [proxy, "--proxy-timeout", str(1000 * WAIT)]
c.ConfigurableHTTPProxy.pid_file = str(folder / "proxy.pid")

# A student's server
c.JupyterHub.spawner_class = "localprocess" if IS_ROOT else "simple"
c.SimpleLocalProcessSpawner.home_dir_template = str(folder / "students" / "{username}")
c.Spawner.cmd = [sys.executable, str(HERE / "student_server.py")]
c.Spawner.start_timeout = c.Spawner.http_timeout = WAIT
c.Spawner.notebook_dir = "~"
pages = [path.name for path in Path(handed_out).glob("*.ipynb")] if handed_out else ["00_welcome.ipynb"]
c.Spawner.default_url = "/lab/tree/bertlearn-course" + (f"/{pages[0]}" if len(pages) == 1 else "")
c.Spawner.mem_limit = os.environ.get("BERTLEARN_HUB_MEMORY", "3G")
c.Spawner.environment = {
    "BERTLEARN_CACHE": str(cache_folder()),
    "JUPYTER_CONFIG_PATH": str(HERE / "student"),
    "BERTLEARN_HUB_COURSE": str(Path(handed_out).absolute()) if handed_out else "",
    "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),  # else every kernel uses every core
}
