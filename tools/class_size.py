"""How many students a machine takes: a table from the memory that each notebook took when it was measured.

python tools/class_size.py           print the table
python tools/class_size.py --write   put it into teaching/running.md
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from pathlib import Path

import nbformat

from bertlearn.course.sources import chapter_files
from bertlearn.files import write_whole

PAGE = Path(__file__).resolve().parent.parent / "teaching" / "running.md"
BEGIN, END = "<!-- tools/class_size.py writes from here -->", "<!-- to here -->"
MACHINES = (8, 16, 32, 64, 128, 256)  # GB
CLASS = 60  # students in a large one
SYSTEM = (
    2000  # MB for the system, the hub and its proxy; teaching/hub/try_hub.py measured 167 for the last two
)
SERVER = 170  # MB for a student's Jupyter server; 161 to 169 measured there
BINDER = (1000, 2000)  # MB: what Binder promises, and what it allows


def peaks() -> dict[str, int]:
    """Return the peak memory in MB that is stored in each chapter's notebook."""
    notebooks = {path.stem: nbformat.read(path, as_version=4) for path in chapter_files().values()}
    return {name: notebook.metadata["bertlearn"]["memory_mb"] for name, notebook in notebooks.items()}


def students(machine: int, peak: int) -> int:
    """Return how many can be at their peak at the same time on a machine of so many GB."""
    return max(0, machine * 1000 - SYSTEM) // (peak + SERVER)


def machine_for(count: int, peak: int) -> int:
    """Return how many GB a machine needs for so many students at their peak, rounded up."""
    return math.ceil((SYSTEM + count * (peak + SERVER)) / 1000)


def table() -> str:
    """Return the table in Markdown, and which chapters fit into Binder's memory."""
    head = ["chapter", "peak", *(f"{machine} GB" for machine in MACHINES), f"{CLASS} students"]
    rows = [
        [
            name,
            f"{peak} MB",
            *(str(students(machine, peak)) for machine in MACHINES),
            f"{machine_for(CLASS, peak)} GB",
        ]
        for name, peak in peaks().items()
    ]
    lines = [head, ["---", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", *map(fits, BINDER)])


def fits(limit: int) -> str:
    """Return which chapters stay within a limit in MB, server included."""
    fitting = [str(int(name[:2])) for name, peak in peaks().items() if peak + SERVER <= limit]
    return f"- Chapters that fit into {limit / 1000:.0f} GB: {', '.join(fitting) or 'none'}."


def page_with_table(text: str) -> str:
    """Return the page with a fresh table between the two marks."""
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{PAGE} must have the lines {BEGIN} and {END} once each")
    fresh = f"{BEGIN}\n{table()}\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: fresh, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="put the table into teaching/running.md")
    if not parser.parse_args().write:
        print(table())
        return
    text = page_with_table(PAGE.read_text(encoding="utf-8"))
    write_whole(PAGE, lambda temporary: temporary.write_text(text, encoding="utf-8", newline="\n"))


if __name__ == "__main__":
    sys.exit(main())
