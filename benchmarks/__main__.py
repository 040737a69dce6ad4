"""Run the benchmarks and update the tables in benchmarks/README.md.

    python -m benchmarks                    run all of them: about three hours on two cores
    python -m benchmarks inference course   run only these
    python -m benchmarks --tables           run nothing, only update the tables from benchmarks/results/

Each benchmark runs in its own process. `--quick` checks that all of them run (five minutes on two cores) and
keeps no results.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, Table

README = Path(__file__).resolve().parent / "README.md"
NAMES = (
    "pretraining_step",
    "finetuning_epoch",
    "inference",
    "speedups",
    "tokenizer",
    "shards",
    "scaling",
    "pretraining_cost",
    "widgets",
    "search",
    "course",
)


def provenance(result: dict[str, Any]) -> str:
    """Return one line with the command, the machine, the versions and the date of a result."""
    machine = result["machine"]
    parts = [machine["gpu"]] if "gpu" in machine else []
    parts += [
        f"{machine['processor']}, {machine['cores']} cores, {machine['threads']} threads",
        f"{machine['memory_gb']} GB",
        f"{machine['system']}, Python {machine['python']}",
        ", ".join(f"{name} {number}" for name, number in result["versions"].items()),
        result["date"],
    ]
    return f"`{result['command']}`; " + "; ".join(parts) + "."


def section(name: str) -> str:
    """Return a benchmark's tables for every device that it was run on."""
    blocks = []
    for path in sorted(RESULTS.glob(f"{name}.*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        blocks += [str(Table(**table)) for table in result["tables"]] + [provenance(result)]
    return "\n\n".join(blocks) or "Not measured yet."


def with_tables(text: str) -> str:
    """Return the README with every block between `<!-- NAME -->` and `<!-- end -->` replaced."""
    return re.sub(
        r"<!-- (\w+) -->\n.*?<!-- end -->",
        lambda match: f"<!-- {match[1]} -->\n\n{section(match[1])}\n\n<!-- end -->",
        text,
        flags=re.DOTALL,
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; default: all")
    parser.add_argument(
        "--quick", action="store_true", help="do a minimum of work, to check that all of them run"
    )
    parser.add_argument("--tables", action="store_true", help="run nothing, only update the tables")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose from {', '.join(NAMES)}")
    failed = []
    for name in () if arguments.tables else arguments.names or NAMES:
        print(f"\n=== {name}", flush=True)
        options = ["--quick"] if arguments.quick else []
        if subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options]).returncode:
            failed.append(name)
    if not arguments.quick:
        README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
    if failed:
        print(f"\nfailed: {', '.join(failed)}; their tables still show the previous results")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
