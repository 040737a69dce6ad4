"""Start a student's server, as the student: limit memory, bring the course up to date, run Jupyter.

The hub calls it in place of `jupyterhub-singleuser`. What the student changed stays as it is; see
`bertlearn.course.folder`.
"""

from __future__ import annotations

import os
import resource
import runpy
import sys
import tempfile
from pathlib import Path

from bertlearn import __version__
from bertlearn.course.folder import update_folder
from bertlearn.course.lab import FOLDER
from bertlearn.course.links import pack

COURSE = Path(__file__).resolve().parents[2]


def limit_memory(limit: int) -> None:
    """Limit the memory in bytes that this process, and each one that it starts, can ask for."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def update_course(folder: Path, handed_out: Path | None) -> None:
    """Bring a student's folder up to date; report an error in the hub's log, and let the student work.

    Args:
        folder: the student's, which may not exist yet.
        handed_out: what students get; None for the whole course.
    """
    try:
        with tempfile.TemporaryDirectory() as packed:
            if handed_out is None:
                pack(COURSE, Path(packed))
            for step in update_folder(handed_out or Path(packed), folder, __version__):
                print(step, flush=True)
    except (OSError, ValueError) as error:
        print(f"{folder} could not be brought up to date: {error}", file=sys.stderr, flush=True)


def main() -> None:
    """Prepare, run the server until it is stopped, and remove its files in /tmp."""
    if "MEM_LIMIT" in os.environ:  # the hub's Spawner.mem_limit
        limit_memory(int(os.environ["MEM_LIMIT"]))
    handed_out = os.environ.get("BERTLEARN_HUB_COURSE")
    update_course(FOLDER.expanduser(), Path(handed_out) if handed_out else None)
    # The kernels' sockets are files there, and the path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="jupyter-", dir="/tmp", ignore_cleanup_errors=True) as runtime:
        os.environ["JUPYTER_RUNTIME_DIR"] = runtime
        runpy.run_module("jupyterhub.singleuser", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
