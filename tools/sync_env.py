"""Keep what follows from pyproject.toml in step with it.

    python tools/sync_env.py           write environment.yml
    python tools/sync_env.py --lock    also lock what is new in constraints.txt (needs uv); with --upgrade all
    python tools/sync_env.py --check   change nothing; exit 1 when a file is stale

conda gives Python and pip only; pip gives the rest under constraints.txt, so both ways install the same.
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
    return f"""# Written by tools/sync_env.py from pyproject.toml; edit that one.
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
    """Resolve every dependency, extras included, for every platform, with torch at exactly one version."""
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
    """List what is stale: the environment file, a dependency without a lock, a torch not pinned."""
    data = project()
    extras = data["project"]["optional-dependencies"].values()
    wanted = {name_of(line) for group in [data["project"]["dependencies"], *extras] for line in group}
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    found = [
        f"constraints.txt does not lock {name}" for name in sorted(wanted - {name_of(line) for line in lines})
    ]
    found += [f"constraints.txt does not pin exactly: {line}" for line in lines if "==" not in line]
    settings = data["tool"]["bertlearn"]
    if f"torch=={settings['torch-pin']}" not in lines:
        found.append(f"constraints.txt does not have torch=={settings['torch-pin']}")
    if not ENVIRONMENT.is_file() or ENVIRONMENT.read_text(encoding="utf-8") != environment(settings):
        found.append("environment.yml is stale: run `python tools/sync_env.py`")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--lock", action="store_true")
    parser.add_argument("--upgrade", action="store_true", help="lock the newest version of everything")
    args = parser.parse_args()
    settings = project()["tool"]["bertlearn"]
    if not args.check:
        if args.lock:
            lock(settings["torch-pin"], args.upgrade)
        ENVIRONMENT.write_text(environment(settings), encoding="utf-8", newline="\n")
    found = faults()
    print("\n".join(found) or "constraints.txt and environment.yml are in step with pyproject.toml")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
