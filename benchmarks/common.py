"""Shared by all benchmarks: command line, interleaved timing, peak speed, memory, and writing of results.

Every benchmark is run with `python -m benchmarks.NAME [--quick] [--device cuda]`. It prints its tables and
finally writes results/NAME.DEVICE.json. `python -m benchmarks` runs all of them and updates README.md.
The implementations that are compared, called peers, do the same work in one process and take turns, so a busy
machine slows all of them alike and the ratios stay meaningful. Their outputs are compared before they are
timed; a benchmark ends with an error if they differ.
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
INSTALL = 'install with: python -m pip install -c constraints.txt -e ".[dev,bench]"'
REST = 0.05  # seconds before each turn: threads of the previous peer may still busy-wait for work
Work = Callable[[], object]


class Setting(NamedTuple):
    """A benchmark's name and its command-line options."""

    name: str
    device: torch.device
    quick: bool  # do a minimum of work, to check that it runs
    output: Path | None  # the JSON file; None keeps no result
    packages: tuple[str, ...] = ()  # needed beyond the course's; their versions are stored with the result


class Times(NamedTuple):
    """Seconds of one peer: the median over all rounds, and the first and third quartile."""

    median: float
    low: float
    high: float


class Table(NamedTuple):
    """A table for a reader; all cells are text."""

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
    """Parse the command line of a benchmark; exit with a message if it cannot run."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="do a minimum of work, to check that it runs")
    parser.add_argument(
        "--device", choices=devices, help="default: the GPU, if there is one and the benchmark supports it"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="JSON file to write; default: benchmarks/results/NAME.DEVICE.json, none with --quick",
    )
    arguments = parser.parse_args()
    has_gpu = torch.cuda.is_available()
    device = arguments.device or ("cuda" if has_gpu and "cuda" in devices else "cpu")
    if device == "cuda" and not has_gpu:
        parser.error("--device cuda: torch finds no GPU; omit the option or use --device cpu")
    output = arguments.output or (None if arguments.quick else RESULTS / f"{name}.{device}.json")
    if output and not output.parent.is_dir():
        parser.error(f"--output {output}: there is no folder {output.parent}; create it first")
    if missing := [package for package in packages if not _installed(package)]:
        parser.error(f"this benchmark needs {', '.join(missing)}; {INSTALL}")
    return Setting(name, torch.device(device), arguments.quick, output, tuple(packages))


def _installed(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def keep(setting: Setting, tables: Sequence[Table], raw: Any) -> None:
    """Print the tables and replace the stored result, unless this is a quick run."""
    print("\n\n".join(map(str, tables)), flush=True)
    if setting.output:
        os.replace(save(setting, setting.output, tables, raw), setting.output)
        print(f"\nWritten to {setting.output}; python -m benchmarks --tables updates README.md.")
    else:
        print("\nA quick run keeps no result: it only checks that the benchmark runs.")


def save(setting: Setting, output: Path, tables: Sequence[Table], raw: Any) -> Path:
    """Write the tables, the raw numbers and their provenance to OUTPUT.partial; return that path.

    An interrupted run thus keeps what it has measured, and the previous result stays unchanged.
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
    """Wait until the device has finished all queued work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Work, device: torch.device) -> float:
    """Return the seconds that one call takes."""
    started = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - started


def in_turns(
    works: Mapping[str, Work], device: torch.device, rounds: int, warmup: int = 2
) -> dict[str, Times]:
    """Time every peer once per round; the warm-up rounds are not counted."""
    durations: dict[str, list[float]] = {name: [] for name in works}
    for number in tqdm(range(warmup + rounds), "rounds", delay=1, leave=False, disable=None):
        for name, work in works.items():
            time.sleep(REST)
            duration = seconds(work, device)
            if number >= warmup:
                durations[name].append(duration)
    return {name: spread(values) for name, values in durations.items()}


def spread(values: Sequence[float]) -> Times:
    """Return the median and the first and third quartile."""
    if len(values) < 2:
        return Times(*[values[0]] * 3)
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Times(median, low, high)


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Return the operations per second of a large matrix product, best of ten: the limit of the machine."""
    size = 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(size, size, device=device).to(dtype)
    with torch.inference_mode():
        return 2 * size**3 / min(seconds(lambda: matrix @ matrix, device) for _ in range(10))


@contextmanager
def peaks(device: torch.device, *precisions: str) -> Iterator[dict[str, float]]:
    """Measure the peak of each precision before and after the block, and keep the higher one."""
    fastest = {name: peak(device, DTYPES[name]) for name in precisions}
    yield fastest
    for name, before in fastest.items():
        fastest[name] = max(before, peak(device, DTYPES[name]))


# Memory


def memory_of(device: torch.device, work: Callable[..., object], *arguments: Any) -> float:
    """Return the peak memory of a call in MB, measured in a separate process.

    Args:
        device: on a GPU, its allocated memory is measured, on a CPU the growth of the process.
        work: a module-level function; it is called once.
        arguments: picklable arguments of `work`.
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
    """Return the highest memory use in bytes, checked every few milliseconds until `done` is set."""
    process, highest, ended = psutil.Process(), 0.0, False
    while not ended:
        ended = done.wait(0.005)
        highest = max(highest, memory_in(process))
    return highest


def memory_in(process: psutil.Process) -> float:
    """Return the resident memory of a process and its children, in bytes."""
    total = 0.0
    with suppress(psutil.Error):  # a process may have ended
        for member in (process, *process.children(recursive=True)):
            total += member.memory_info().rss
    return total


# The machine, comparisons, and cells of tables


def machine(device: torch.device) -> dict[str, Any]:
    """Describe the machine: processor, threads, memory, system, Python, and the GPU if it was used."""
    description = {
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if device.type == "cuda":
        description["gpu"] = torch.cuda.get_device_name(device)
    return description


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{name}, {capability}"


def check_same(what: str, ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    """End the benchmark if two outputs differ by more than `tolerance`, relative to the largest of theirs."""
    ours, theirs = ours.detach().float().cpu(), theirs.detach().float().cpu()
    difference = (ours - theirs).abs().max().item() / max(1e-12, theirs.abs().max().item())
    if not difference <= tolerance:
        raise SystemExit(
            f"{what}: outputs differ by {difference:.2g} of the largest value, more than the allowed "
            f"{tolerance:.2g}; a comparison of speed would be meaningless"
        )


def milliseconds(times: Times) -> str:
    """Format a time and its interquartile range for a table, in ms."""
    digits = 0 if times.median >= 0.1 else 1
    return f"{1e3 * times.median:,.{digits}f} ({1e3 * times.low:,.{digits}f}–{1e3 * times.high:,.{digits}f})"


def times_as_long(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """Format how many times as long theirs took, compared turn by turn, with the interquartile range."""
    ratio = spread([their / our for their, our in zip(theirs, ours, strict=True)])
    return f"{ratio.median:.2f}× ({ratio.low:.2f}–{ratio.high:.2f})"
