"""Collect notebooks from the students' homes on a hub that root starts, and return their feedback.

    sudo .venv-teach/bin/python teaching/hub/exchange.py collect ~/bert-class/submitted 01_attention.ipynb
    sudo .venv-teach/bin/python teaching/hub/exchange.py return ~/bert-class/feedback

Root reads and writes in folders that students control. So no symbolic link is followed below a home, only
regular files of the student's own are taken, up to 20 MB, and a file is never written through a link.
"""

from __future__ import annotations

import argparse
import os
import pwd
import secrets
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from bertlearn.course.grading.feedback import page_name
from bertlearn.course.lab import FOLDER

LISTED = os.environ.get("BERTLEARN_HUB_STUDENTS", "/etc/bertlearn-students.txt")
LARGEST = 20_000_000  # bytes of a notebook; the course's largest has 2 million
PAGE = "bertlearn-feedback.html"


@contextmanager
def opened(name: str | Path, flags: int, folder: int | None = None) -> Iterator[int]:
    """Open a file or folder, and close it again."""
    descriptor = os.open(name, flags, mode=0o600, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read_own(home: Path, name: str, owner: int) -> bytes:
    """Return a file of the student's course folder.

    Raises:
        OSError: there is none, or a link is in the way.
        ValueError: it is no regular file, belongs to somebody else, or is too large.
    """
    course_folder = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    notebook = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # else a pipe would wait for its other end
    with (
        opened(home, os.O_RDONLY | os.O_DIRECTORY) as top,
        opened(FOLDER.name, course_folder, top) as folder,
        opened(name, notebook, folder) as file,
    ):
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is not a regular file")
        if found.st_uid != owner:
            raise ValueError("it belongs to somebody else")
        with open(file, "rb", closefd=False) as stream:
            content = stream.read(LARGEST + 1)  # it may grow meanwhile
    if len(content) > LARGEST:
        raise ValueError(f"it has more than {LARGEST // 10**6} MB")
    return content


def write_own(folder: Path, name: str, content: bytes, owner: int, group: int) -> None:
    """Put a file into a folder, owned by and readable to one account; what had that name is replaced."""
    temporary = f".{name}.{secrets.token_hex(8)}"
    new = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with opened(folder, os.O_RDONLY | os.O_DIRECTORY) as place:
        try:
            with opened(temporary, new, place) as file, open(file, "wb", closefd=False) as stream:
                stream.write(content)
                stream.flush()
                os.fchown(file, owner, group)
            os.replace(temporary, name, src_dir_fd=place, dst_dir_fd=place)  # a link itself is replaced
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=place)
            raise


def own_folder(path: Path) -> None:
    """Make a folder for the teacher alone: it belongs to whoever owns the folder around it."""
    if not path.is_dir():
        path.mkdir(mode=0o700)
        around = path.parent.stat()
        os.chown(path, around.st_uid, around.st_gid)


def collect(account: pwd.struct_passwd, name: str, submitted: Path) -> str:
    """Copy a notebook from a student's course folder; return what was done."""
    content = read_own(Path(account.pw_dir), name, account.pw_uid)
    own_folder(submitted)
    own_folder(submitted / account.pw_name)
    teacher = submitted.stat()
    write_own(submitted / account.pw_name, name, content, teacher.st_uid, teacher.st_gid)
    return f"{name}, {len(content) / 1000:.0f} kB"


def give_back(account: pwd.struct_passwd, feedback: Path) -> str:
    """Put a student's feedback into the student's home; return what was done."""
    content = (feedback / page_name(account.pw_name)).read_bytes()
    write_own(Path(account.pw_dir), PAGE, content, account.pw_uid, account.pw_gid)
    return f"{account.pw_dir}/{PAGE}"


def options_from(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--students", type=Path, default=Path(LISTED), help=f"a name on each line; default: {LISTED}"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    collecting = commands.add_parser("collect", help="copy notebooks from the students' course folders")
    collecting.add_argument("folder", type=Path, help="the folder that gets a folder for each student")
    collecting.add_argument("files", nargs="+", help="the notebooks' names, such as 01_attention.ipynb")
    returning = commands.add_parser("return", help=f"put each student's page into the home, as {PAGE}")
    returning.add_argument("folder", type=Path, help="what `bertlearn course feedback` wrote")
    returning.set_defaults(files=[PAGE])
    options = parser.parse_args(arguments)
    if any(Path(name).name != name for name in options.files):
        parser.error(f"give a notebook's name alone; it must be in the student's ~/{FOLDER.name}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Collect or return for each student; return 1 if something was left out."""
    options, left_out = options_from(arguments), 0
    for student in options.students.read_text(encoding="utf-8").split():
        for name in options.files:
            try:
                account = pwd.getpwnam(student)
                if options.command == "collect":
                    print(f"{student}: {collect(account, name, options.folder)}")
                else:
                    print(f"{student}: {give_back(account, options.folder)}")
            except (KeyError, OSError, ValueError) as error:
                print(f"{student}: {name} was left out: {error}", file=sys.stderr)
                left_out += 1
    return int(left_out > 0)


if __name__ == "__main__":
    sys.exit(main())
