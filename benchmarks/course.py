"""How long does each notebook run, and how much memory does it take?

    python -m benchmarks.course [--quick]

Every notebook is executed from its first cell to its last, outputs thrown away, stubs not filled in. The
memory is the kernel's highest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.common import Table, keep, read_setting
from tools.notebooks import execute, read

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def rows(found: list[dict[str, Any]]) -> list[list[str]]:
    """Return a line for each notebook, and one for the six chapters together."""
    chapters = [one for one in found if "01" <= one["notebook"][:2] <= "06"]
    total, most = sum(one["seconds"] for one in chapters), max(one["memory_mb"] for one in chapters)
    lines = [[one["notebook"], f"{one['seconds']:.0f}", f"{one['memory_mb']:,.0f}"] for one in found]
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
