"""How long does each chapter run, and how much memory does it take?

    python -m benchmarks.course [--quick]

Every notebook is executed from its first cell to its last, outputs thrown away, stubs not filled in. The
memory is the kernel's highest.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.common import Table, keep, read_setting
from tools.notebooks import execute, read

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"


def main() -> None:
    setting = read_setting("course", __doc__, ["cpu"])
    paths = sorted(NOTEBOOKS.glob("0[1-6]_*.ipynb"))[: 1 if setting.quick else None]
    raw = []
    for path in paths:
        seconds, megabytes = execute(read(path), str(NOTEBOOKS))
        raw.append({"chapter": path.stem, "seconds": seconds, "memory_mb": megabytes})
        print(f"{path.stem}: {seconds:.0f} s, {megabytes:,.0f} MB", flush=True)
    rows = [[one["chapter"], f"{one['seconds']:.0f}", f"{one['memory_mb']:,.0f}"] for one in raw]
    total, most = sum(one["seconds"] for one in raw), max(one["memory_mb"] for one in raw)
    rows.append(["together", f"{total:.0f} ({total / 60:.1f} minutes)", f"{most:,.0f}"])
    keep(setting, [Table("The chapters", ["", "seconds", "memory, MB"], rows)], raw)


if __name__ == "__main__":
    main()
