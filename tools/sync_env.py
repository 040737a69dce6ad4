"""Keep environment.yml and constraints.txt in sync with pyproject.toml.

    python tools/sync_env.py                    write environment.yml
    python tools/sync_env.py --lock             also lock new dependencies in constraints.txt (needs uv)
    python tools/sync_env.py --lock --upgrade   lock the newest version of every dependency
    python tools/sync_env.py --check            change nothing; exit with status 1 if a file is stale

conda installs only Python and pip. pip installs the rest under constraints.txt, so an environment made with
conda has the same versions as one made with pip alone.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "constraints.txt"
ENVIRONMENT = ROOT / "environment.yml"


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def environment(settings: dict[str, Any]) -> str:
    """Return the text of environment.yml."""
    extras = ",".join(settings["conda-extras"])
    return f"""# Written by tools/sync_env.py from pyproject.toml; edit that file instead.
name: bertlearn
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python={settings["conda-python"]}
  - pip
  - pip:
      - --constraint constraints.txt
      - --editable .[{extras}]
"""


def lock(torch_pin: str, upgrade: bool) -> None:
    """Resolve all dependencies, including extras, for every platform, with torch pinned to one version."""
    with tempfile.TemporaryDirectory() as folder:
        pin = Path(folder) / "pin.txt"
        pin.write_text(f"torch=={torch_pin}\n", encoding="utf-8")
        options = ["--universal", "--all-extras", "--no-header", "--no-annotate", "--quiet"]
        options += ["--upgrade"] if upgrade else []
        command = ["uv", "pip", "compile", "pyproject.toml", *options, "-c", str(pin), "-o", str(LOCK)]
        subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True)


def name_of(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def faults() -> list[str]:
    """List what is stale: environment.yml, dependencies that are not locked, a torch that is not pinned."""
    data = project()
    extras = data["project"]["optional-dependencies"].values()
    required = {name_of(line) for group in [data["project"]["dependencies"], *extras] for line in group} - {
        "bertlearn"
    }
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    missing = sorted(required - {name_of(line) for line in lines})
    stale = [f"constraints.txt does not lock {name}" for name in missing]
    stale += [f"constraints.txt does not pin an exact version: {line}" for line in lines if "==" not in line]
    settings = data["tool"]["bertlearn"]
    if f"torch=={settings['torch-pin']}" not in lines:
        stale.append(f"constraints.txt does not have torch=={settings['torch-pin']}")
    if not ENVIRONMENT.is_file() or ENVIRONMENT.read_text(encoding="utf-8") != environment(settings):
        stale.append("environment.yml is stale: run `python tools/sync_env.py`")
    return stale


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit with status 1 if a file is stale"
    )
    parser.add_argument("--lock", action="store_true", help="also lock new dependencies (needs uv)")
    parser.add_argument(
        "--upgrade", action="store_true", help="with --lock: lock the newest version of everything"
    )
    args = parser.parse_args()
    settings = project()["tool"]["bertlearn"]
    if not args.check:
        if args.lock:
            lock(settings["torch-pin"], args.upgrade)
        ENVIRONMENT.write_text(environment(settings), encoding="utf-8", newline="\n")
    stale = faults()
    print("\n".join(stale) or "constraints.txt and environment.yml are in sync with pyproject.toml")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
