"""The checks of `bertlearn doctor`: the machine, the packages, the data, and what each chapter needs.

They also work when torch or another package is missing or broken, which is when they are needed. They send
nothing over the network.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import Version

from bertlearn.course import sources

FROM_WHEEL = sources.PACKED.is_dir()
NOTEBOOKS = sources.PACKED if FROM_WHEEL else sources.CHECKOUT
LOCK = NOTEBOOKS.parent / "constraints.txt"  # beside them in a wheel as well as in the repository
PYTHON = (3, 11)
DISK_GB = 1.0  # data and weights, a few saved models, Jupyter's own files
SETUP = (
    "install the wheel again, with -c constraints.txt"
    if FROM_WHEEL
    else "run `make setup` (or, without make: pip install -c constraints.txt -e .)"
)


@dataclass(frozen=True)
class Finding:
    """One line of the report; a problem comes with its remedy."""

    topic: str
    value: str
    problem: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class Chapter:
    """What a chapter needs: measured on the author's machine, scaled to this one by a short benchmark."""

    name: str
    minutes_here: float
    memory_mb: int


@dataclass(frozen=True)
class Report:
    """All findings, and what each chapter needs."""

    findings: list[Finding]
    chapters: list[Chapter]

    @property
    def ok(self) -> bool:
        """Whether no problem was found."""
        return all(finding.problem is None for finding in self.findings)

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps({"ok": self.ok, **asdict(self)}, indent=2)

    def __str__(self) -> str:
        """Return the report as text: one line per finding, with its remedy below each problem."""
        width = max(len(finding.topic) for finding in self.findings)
        lines = []
        for finding in self.findings:
            lines.append(f"{'✗' if finding.problem else '✓'} {finding.topic:<{width}}  {finding.value}")
            if finding.problem:
                lines += [f"    problem: {finding.problem}", f"    remedy:  {finding.remedy}"]
        if self.chapters:
            lines += ["", "At this moment's speed, running a chapter's cells takes about"]
            lines += [
                f"  {c.name:<18} {c.minutes_here:4.1f} min   {c.memory_mb:5d} MB" for c in self.chapters
            ]
        return "\n".join(
            [*lines, "", "All is well." if self.ok else "Fix what is marked ✗, then run the doctor again."]
        )


def examine() -> Report:
    """Run all checks; this takes a few seconds and changes nothing."""
    checks: list[Callable[[], Iterator[Finding]]] = [_python, _packages, _device, _memory, _disk, _data]
    findings = [finding for check in checks for finding in _safely(check)]
    return Report(findings, list(chapters()))


def chapters() -> Iterator[Chapter]:
    """Yield what each notebook needed when it was measured, scaled to the speed of this machine."""
    measured = [(path, _measurement(path)) for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))]
    if not any(measurement for _, measurement in measured):
        return
    here = probe_seconds()
    for path, measurement in measured:
        if measurement:
            minutes = measurement["seconds"] / 60 * here / measurement["probe_seconds"]
            yield Chapter(path.stem, round(minutes, 1), int(measurement["memory_mb"]))


def probe_seconds() -> float:
    """Return how many seconds a small fixed BERT takes to encode a small fixed batch, the median of 5."""
    import torch

    from bertlearn.model.bert import BertModel
    from bertlearn.model.config import BertConfig

    torch.manual_seed(0)
    model = BertModel(BertConfig.preset("mini", vocab_size=100)).eval()
    batch = torch.randint(0, 100, (16, 128))
    times = []
    with torch.no_grad():
        for _ in range(6):
            started = time.perf_counter()
            model(batch)
            times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def _safely(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except Exception as error:  # the doctor must report, whatever is broken
        topic = check.__name__.strip("_")
        return [Finding(topic, "could not be checked", f"{type(error).__name__}: {error}", SETUP)]


def _measurement(notebook: Path) -> dict[str, Any] | None:
    return json.loads(notebook.read_text(encoding="utf-8"))["metadata"].get("bertlearn")


def _python() -> Iterator[Finding]:
    value = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info >= PYTHON:
        yield Finding("Python", value)
    else:
        needed = ".".join(map(str, PYTHON))
        yield Finding(
            "Python", value, f"the course needs {needed} or newer", f"install Python {needed}, then {SETUP}"
        )


def _packages() -> Iterator[Finding]:
    """Compare the installed versions of the direct dependencies with the lock file."""
    if not LOCK.is_file():
        yield Finding("packages", "no constraints.txt next to the package, so versions are not compared")
        return
    locked = dict(_locked_versions(LOCK.read_text(encoding="utf-8")))
    direct = sorted(_direct_dependencies())
    missing, different = [], []
    for name in direct:
        installed = _installed(name)
        if installed is None:
            missing.append(name)
        elif name in locked and Version(installed).public != locked[name]:
            different.append(f"{name} {installed} (locked: {locked[name]})")
    if missing:
        yield Finding("packages", f"{len(missing)} missing", f"not installed: {', '.join(missing)}", SETUP)
    elif different:
        yield Finding("packages", f"{len(different)} differ from the lock: {'; '.join(different)}")
    else:
        yield Finding("packages", f"all {len(direct)} direct dependencies match the lock")


def _locked_versions(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:  # a comment, or an empty line
            continue
        if requirement.marker is None or requirement.marker.evaluate():
            yield _canonical(requirement.name), str(requirement.specifier).removeprefix("==")


def _direct_dependencies() -> Iterator[str]:
    for line in metadata.requires("bertlearn") or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _canonical(requirement.name)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        free, total = (n / 1e9 for n in torch.cuda.mem_get_info())
        yield Finding("device", f"{torch.cuda.get_device_name()}, {free:.0f} of {total:.0f} GB free")
        yield Finding(
            "bfloat16", "supported" if torch.cuda.is_bf16_supported() else "not supported; fp32 is used"
        )
        return
    if torch.backends.mps.is_available():
        yield Finding(
            "device", f"Apple GPU (MPS), shares {psutil.virtual_memory().total / 1e9:.0f} GB with the CPU"
        )
    else:
        yield Finding(
            "device",
            f"CPU, {psutil.cpu_count(logical=False)} cores, torch uses {torch.get_num_threads()} threads",
        )
    yield Finding("bfloat16", f"on the CPU, matrix products run {_bf16_speed():.1f} times as fast as in fp32")


def _bf16_speed() -> float:
    import torch

    def seconds(dtype: torch.dtype) -> float:
        matrix = torch.ones(1024, 1024, dtype=dtype)
        times = []
        for _ in range(6):
            started = time.perf_counter()
            matrix @ matrix
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    return seconds(torch.float32) / seconds(torch.bfloat16)


def _memory() -> Iterator[Finding]:
    memory = psutil.virtual_memory()
    value = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB available"
    needs = [
        (measurement["memory_mb"], path.stem)
        for path in NOTEBOOKS.glob("[0-9]*.ipynb")
        if (measurement := _measurement(path))
    ]
    most, chapter = max(needs, default=(1000, "a chapter"))
    if memory.available / 1e6 < most:
        problem = f"{chapter} needs {most} MB"
        yield Finding(
            "memory",
            value,
            problem,
            "close other programs and notebooks (menu Kernel, Shut Down All Kernels)",
        )
    else:
        yield Finding("memory", value)


def _disk() -> Iterator[Finding]:
    from bertlearn import data

    folder = data.cache_folder()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(existing).free / 1e9
    value = f"{free:.1f} GB free at {_tilde(folder)}"
    if free < DISK_GB:
        remedy = "free some space, or set BERTLEARN_CACHE to a folder on a larger disk"
        yield Finding("disk", value, f"less than {DISK_GB:.0f} GB", remedy)
    else:
        yield Finding("disk", value)


def _fetch_remedy() -> str:
    from bertlearn import data

    folder = data.cache_folder()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if os.access(existing, os.W_OK):
        return "run `bertlearn data`"
    return (
        f"{_tilde(existing)} is not writable: ask its owner, or set BERTLEARN_CACHE to a folder of your own"
    )


def _tilde(path: Path) -> str:
    """Replace the home directory by ~, so that a report shows no user name."""
    return f"~{str(path).removeprefix(str(Path.home()))}" if path.is_relative_to(Path.home()) else str(path)


def _data() -> Iterator[Finding]:
    """Report for each source whether it is cached and intact."""
    from bertlearn import data

    for status in data.status():
        topic, value = f"data: {status.name}", f"{status.state}, {status.size / 1e6:.0f} MB"
        if status.state == "intact":
            yield Finding(topic, value)
        else:
            yield Finding(topic, status.state, f"not usable in {_tilde(status.folder)}", _fetch_remedy())
    yield _shards()
    yield from _chapter_data(status.name for status in data.status())


def _chapter_data(here: Iterable[str]) -> Iterator[Finding]:
    """Report the data that only one chapter needs, and that are not here; without them it is no problem."""
    from bertlearn.data import SOURCES

    present = set(here)
    sizes: dict[int, int] = {}
    for source in SOURCES.values():
        if source.chapter and source.name not in present:
            sizes[source.chapter] = sizes.get(source.chapter, 0) + source.size
    for chapter, size in sorted(sizes.items()):
        value = f"not here; `bertlearn data --chapter {chapter}` brings them ({size / 1e6:.0f} MB)"
        yield Finding(f"data: chapter {chapter}", value)


def _shards() -> Finding:
    """Report whether the shards of the course's texts are intact; chapter 4 builds missing ones."""
    from bertlearn.course.corpus import ENGLISH

    status = ENGLISH.status()
    if status.state == "damaged":
        problem = f"not usable in {_tilde(status.folder)}"
        return Finding("data: shards", status.state, problem, _fetch_remedy())
    size = f", {status.size / 1e6:.0f} MB" if status.state == "intact" else "; chapter 4 builds them"
    return Finding("data: shards", status.state + size)
