"""What the benchmarks share: peers timed in turns, floors, the machine, and how a result is kept.

Every benchmark is `python -m benchmarks.NAME [--quick] [--device cuda]`. It prints its tables and writes
results/NAME.DEVICE.json when it has come to its end; `python -m benchmarks` runs them all and puts the tables
into README.md.
Peers do the same work in one process, in turns, so that a busy machine slows all alike: ratios count.
Before they are timed their outputs are compared; a benchmark of two things that differ ends with an error.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from torch import Tensor
from tqdm.auto import tqdm

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("torch", "transformers", "tokenizers", "numpy")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
INSTALL = (
    'install it in the course\'s environment: python -m pip install -c constraints.txt -e ".[dev,bench]"'
)
REST = 0.05  # seconds before each turn: threads of the one before may wait busily for more work
Work = Callable[[], object]


class Setting(NamedTuple):
    """What every benchmark can be told, and what it is."""

    name: str
    device: torch.device
    quick: bool  # less of everything: to see that it runs
    output: Path | None  # the JSON file, if the result is kept
    packages: tuple[str, ...] = ()  # what it needs beside the course's, and names with its result


class Times(NamedTuple):
    """Seconds of one peer: half of all rounds lie between `low` and `high`."""

    median: float
    low: float
    high: float


class Table(NamedTuple):
    """A table as it is read; `rows` are texts."""

    caption: str
    columns: list[str]
    rows: list[list[str]]

    def __str__(self) -> str:
        """Return it as Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join([self.caption, "", *("| " + " | ".join(line) + " |" for line in lines)])


def read_setting(
    name: str, doc: str | None, devices: Sequence[str] = ("cpu", "cuda"), packages: Sequence[str] = ()
) -> Setting:
    """Read the command line of the benchmark with this name; what cannot work ends here."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="less of everything: to see that it runs")
    parser.add_argument(
        "--device", choices=devices, help="default: the GPU if there is one and it may be used"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="the JSON file; default: benchmarks/results/NAME.DEVICE.json, and none with --quick",
    )
    arguments = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    device = arguments.device or ("cuda" if has_gpu and "cuda" in devices else "cpu")
    if device == "cuda" and not has_gpu:
        parser.error("--device cuda: torch finds no GPU here; leave the option out, or say --device cpu")
    output = arguments.output or (None if arguments.quick else RESULTS / f"{name}.{device}.json")
    if output and not output.parent.is_dir():
        parser.error(f"--output {output}: there is no folder {output.parent}; make it first")
    if missing := [package for package in packages if not _installed(package)]:
        parser.error(f"needs {', '.join(missing)}; {INSTALL}")
    return Setting(name, torch.device(device), arguments.quick, output, tuple(packages))


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def keep(setting: Setting, tables: Sequence[Table], raw: Any) -> None:
    """Print the tables, put the result in the place of the one before, and say where it is."""
    print("\n\n".join(map(str, tables)), flush=True)
    if setting.output:
        os.replace(save(setting, setting.output, tables, raw), setting.output)
        print(f"\nWritten to {setting.output}; python -m benchmarks --tables renews the tables of README.md.")
    else:
        print("\nNothing is kept of a quick run: it shows that all works, and its numbers say little.")


def save(setting: Setting, output: Path, tables: Sequence[Table], raw: Any) -> Path:
    """Write the tables, every number and where they come from into OUTPUT.partial; return its path.

    So a run that is cut off leaves what it has, and the result before it as it was.
    """
    result = {
        "command": f"python -m benchmarks.{setting.name}" + (" --quick" if setting.quick else ""),
        "date": date.today().isoformat(),
        "machine": machine(setting.device),
        "versions": {package: version(package) for package in (*PACKAGES, *setting.packages)},
        "tables": [table._asdict() for table in tables],
        "raw": raw,
    }
    partial = output.with_name(f"{output.name}.partial")
    partial.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return partial


# Time


def wait_for(device: torch.device) -> None:
    """Wait until the device has done all that it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Work, device: torch.device) -> float:
    """Return how long one call takes."""
    started = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - started


def in_turns(
    works: Mapping[str, Work], device: torch.device, rounds: int, warmup: int = 2
) -> dict[str, Times]:
    """Time every peer once a round; the first rounds do not count."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for number in tqdm(range(warmup + rounds), "rounds", delay=1, leave=False, disable=None):
        for name, work in works.items():
            time.sleep(REST)
            taken = seconds(work, device)
            if number >= warmup:
                found[name].append(taken)
    return {name: spread(values) for name, values in found.items()}


def spread(values: Sequence[float]) -> Times:
    """Return the median and the middle half."""
    if len(values) < 2:
        return Times(*[values[0]] * 3)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Times(median, low, high)


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations a second of a large matrix product, the best of some: the machine's own limit."""
    size = 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(size, size, device=device).to(dtype)
    with torch.inference_mode():
        return 2 * size**3 / min(seconds(lambda: matrix @ matrix, device) for _ in range(10))


@contextmanager
def peaks(device: torch.device, *precisions: str) -> Iterator[dict[str, float]]:
    """Measure the peaks of these precisions before and after the block, and keep the better ones."""
    found = {name: peak(device, DTYPES[name]) for name in precisions}
    yield found
    for name, before in found.items():
        found[name] = max(before, peak(device, DTYPES[name]))


# Memory


def memory_of(device: torch.device, work: Callable[..., object], *arguments: Any) -> float:
    """Return by how many MB a call raises the memory of a process of its own; on a GPU the GPU's memory.

    Args:
        device: whose memory.
        work: a function at the top of a module, called once.
        arguments: what can be sent to another process.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        return pool.submit(_memory_here, device, work, *arguments).result()


def _memory_here(device: torch.device, work: Callable[..., object], *arguments: Any) -> float:
    if device.type == "cuda":
        work(*arguments)
        return torch.cuda.max_memory_allocated(device) / 1e6
    gc.collect()
    before, done = memory_in(psutil.Process()), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        highest = pool.submit(_highest_memory, done)
        try:
            work(*arguments)
        finally:
            done.set()
    return (highest.result() - before) / 1e6


def _highest_memory(done: threading.Event) -> float:
    """Look again and again, every few milliseconds, until it is done."""
    process, highest, ended = psutil.Process(), 0.0, False
    while not ended:
        ended = done.wait(0.005)
        highest = max(highest, memory_in(process))
    return highest


def memory_in(process: psutil.Process) -> float:
    """Return the bytes that a process and those it started have in memory."""
    total = 0.0
    with suppress(psutil.Error):  # it has ended
        for one in (process, *process.children(recursive=True)):
            total += one.memory_info().rss
    return total


# What was measured, on what


def machine(device: torch.device) -> dict[str, Any]:
    """Return what ran: processor, threads, memory, system, Python, and the GPU if it was used."""
    found = {
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {capability}"


def check_same(what: str, ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """End the benchmark if two outputs differ by more than a share of the larger one's greatest number."""
    ours, theirs = ours.detach().float().cpu(), theirs.detach().float().cpu()
    difference = (ours - theirs).abs().max().item() / max(1e-12, theirs.abs().max().item())
    if not difference <= tolerance:
        raise SystemExit(
            f"{what}: outputs differ by {difference:.2g} of the greatest, more than {tolerance:.2g} allows; "
            "a comparison of speed would mean nothing"
        )


def milliseconds(times: Times) -> str:
    """Return a time with its middle half, for a table."""
    digits = 0 if times.median >= 0.1 else 1
    return f"{1e3 * times.median:,.{digits}f} ({1e3 * times.low:,.{digits}f}–{1e3 * times.high:,.{digits}f})"


def times_as_long(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """Return how many times as long theirs took, turn by turn, with the middle half, for a table."""
    ratio = spread([one / other for one, other in zip(theirs, ours, strict=True)])
    return f"{ratio.median:.2f}× ({ratio.low:.2f}–{ratio.high:.2f})"
