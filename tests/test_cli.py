"""The command line and the doctor: what they say, also when something is broken."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import namedtuple
from importlib import metadata
from pathlib import Path
from typing import get_args

import pytest

from bertlearn import cli, data, doctor

FAKE_SOURCE = data.Status("reviews", "damaged", Path("folder"), 3_000_000)


def bertlearn(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bertlearn", *words]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the doctor see no notebooks and intact data, so that a test sees only what it breaks."""
    monkeypatch.setattr(doctor, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(data, "status", lambda: [FAKE_SOURCE._replace(state="intact")])


def finding(topic: str) -> doctor.Finding:
    return next(f for f in doctor.examine().findings if f.topic == topic)


def test_help_names_every_command() -> None:
    text = bertlearn("--help").stdout
    assert "doctor" in text and "data" in text
    assert "--json" in bertlearn("doctor", "--help").stdout


def test_an_unknown_command_or_source_is_refused() -> None:
    assert bertlearn("doktor").returncode == 2
    result = bertlearn("data", "nonsense", "--check")
    assert result.returncode == 2
    assert "nonsense" in result.stdout + result.stderr


def test_source_names_are_those_of_the_table() -> None:
    assert set(get_args(cli.SourceName)) == set(data.SOURCES)


def test_data_check_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BERTLEARN_CACHE", str(tmp_path))
    result = bertlearn("data", "reviews", "bible", "--check")
    assert result.returncode == 1
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["reviews", "missing"],
        ["bible", "missing"],
    ]
    assert list(tmp_path.iterdir()) == []


def test_data_reports_a_failure_in_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(names: object) -> None:
        raise data.DataError("no network; do this")

    monkeypatch.setattr(data, "fetch", fail)
    assert cli.data() == 1
    assert capsys.readouterr().err == "bertlearn data: no network; do this\n"


@pytest.mark.usefixtures("quick")
def test_a_healthy_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.doctor() == 0
    out = capsys.readouterr().out
    assert "✗" not in out
    assert out.endswith("All is well.\n")
    assert cli.doctor(json=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is True
    topics = [f["topic"] for f in report["findings"]]
    assert topics == ["Python", "packages", "device", "bfloat16", "memory", "disk", "data: reviews"]


@pytest.mark.usefixtures("quick")
def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHON", (99, 0))
    assert finding("Python").problem == "the course needs 99.0 or newer"
    assert "install Python 99.0" in finding("Python").remedy


@pytest.mark.usefixtures("quick")
def test_a_missing_and_a_different_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = metadata.version
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "0.1" if name == "numpy" else real(name))
    assert "differ from the lock: " in finding("packages").value
    assert "numpy 0.1 (locked: " in finding("packages").value
    monkeypatch.setattr(doctor, "_installed", lambda name: None if name == "anywidget" else "1")
    assert finding("packages").problem == "not installed: anywidget"
    assert "make setup" in finding("packages").remedy


@pytest.mark.usefixtures("quick")
def test_a_missing_torch_stops_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    report = doctor.examine()
    broken = next(f for f in report.findings if f.topic == "device")
    assert not report.ok
    assert broken.problem.startswith("ModuleNotFoundError")
    assert "make setup" in broken.remedy
    assert "data: reviews" in str(report)


@pytest.mark.usefixtures("quick")
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**12, 10**12, 10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert finding("disk").problem == "less than 1 GB"
    assert "BERTLEARN_CACHE" in finding("disk").remedy


@pytest.mark.usefixtures("quick")
def test_damaged_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "status", lambda: [FAKE_SOURCE])
    assert finding("data: reviews").value == "damaged"
    assert finding("data: reviews").remedy == "run `bertlearn data`"


@pytest.mark.usefixtures("quick")
def test_little_memory_for_a_chapter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figures = {"seconds": 60, "memory_mb": 10**9, "probe_seconds": 0.5}
    (tmp_path / "07_huge.ipynb").write_text(json.dumps({"metadata": {"bertlearn": figures}}))
    assert finding("memory").problem == "07_huge takes 1000000000 MB"


@pytest.mark.usefixtures("quick")
def test_chapters_are_scaled_by_the_speed_of_this_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    figures = {"seconds": 120, "memory_mb": 500, "probe_seconds": 0.5}
    (tmp_path / "01_one.ipynb").write_text(json.dumps({"metadata": {"bertlearn": figures}}))
    (tmp_path / "02_unmeasured.ipynb").write_text(json.dumps({"metadata": {}}))
    monkeypatch.setattr(doctor, "probe_seconds", lambda: 1.5)
    assert list(doctor.chapters()) == [doctor.Chapter("01_one", 6.0, 500)]
    assert "01_one" in str(doctor.examine())


def test_the_lock_is_read_with_its_markers() -> None:
    text = "# note\nnumpy==2.1\nwin-only==1 ; sys_platform == 'nowhere'\nScikit_Learn==1.5\n"
    assert dict(doctor._locked_versions(text)) == {"numpy": "2.1", "scikit-learn": "1.5"}
