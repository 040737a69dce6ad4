"""Start a student's server, as the student: limit memory, copy what is new in the course, run Jupyter.

The hub calls it in place of `jupyterhub-singleuser`. What is in the student's folder already stays as it is.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from pathlib import Path

COURSE = Path(__file__).resolve().parents[2]
SHOWN = ("notebooks/*.ipynb", "notebooks/images/*", "docs/*", "benchmarks/*.md", "README.md")


def copy_course(target: Path) -> list[Path]:
    """Copy the files of the course that `target` lacks; return them."""
    files = [path.relative_to(COURSE) for pattern in SHOWN for path in sorted(COURSE.glob(pattern))]
    new = [file for file in files if (COURSE / file).is_file() and not (target / file).exists()]
    for file in new:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(COURSE / file, target / file)
    return new


def limit_memory(limit: int) -> None:
    """Limit the memory that this process, and each one that it starts, can ask for."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main() -> None:
    if "MEM_LIMIT" in os.environ:  # the hub's Spawner.mem_limit, in bytes
        limit_memory(int(os.environ["MEM_LIMIT"]))
    copy_course(Path.home() / "bertlearn")
    os.execv(sys.executable, [sys.executable, "-m", "jupyterhub.singleuser", *sys.argv[1:]])


if __name__ == "__main__":
    main()
