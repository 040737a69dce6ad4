"""How long does each notebook run, and how much memory does it take?

    python -m benchmarks.course [--quick]

Every notebook is executed from the first cell to the last. Its exercises are unsolved, and its outputs are
discarded. The memory is the kernel's peak.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Table, keep, read_setting
from tools.notebooks import execute, read

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def rows(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Return a row for each notebook, and one for the six chapters together."""
    chapters = [run for run in runs if "01" <= run["notebook"][:2] <= "06"]
    total, most = sum(run["seconds"] for run in chapters), max(run["memory_mb"] for run in chapters)
    lines = [[run["notebook"], f"{run['seconds']:.0f}", f"{run['memory_mb']:,.0f}"] for run in runs]
    return [*lines, ["chapters 1 to 6", f"{total:.0f} ({total / 60:.1f} minutes)", f"{most:,.0f}"]]


def main() -> None:
    setting = read_setting("course", __doc__, ["cpu"])
    raw = []
    for path in [NOTEBOOKS / "01_attention.ipynb"] if setting.quick else sorted(NOTEBOOKS.glob("*.ipynb")):
        seconds, megabytes = execute(read(path), str(NOTEBOOKS))
        raw.append({"notebook": path.stem, "seconds": seconds, "memory_mb": megabytes})
        print(f"{path.stem}: {seconds:.0f} s, {megabytes:,.0f} MB", flush=True)
    keep(setting, [Table("The notebooks", ["", "seconds", "memory, MB"], rows(raw))], raw)


if __name__ == "__main__":
    main()
