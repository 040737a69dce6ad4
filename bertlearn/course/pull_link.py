"""Links that copy a course's repository into a student's folder on a JupyterHub, and open a chapter there.

nbgitpuller, an extension of each student's server, does the copying; it also brings later versions. Its own
page documents the link's parameters: https://nbgitpuller.readthedocs.io.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode, urlsplit

from bertlearn.arguments import OptionError
from bertlearn.course.sources import chapter_files

SCHEMES = {"hub": ("https", "http"), "repository": ("https", "http", "file")}


def pull_link(
    hub: str, repository: str, branch: str = "main", chapter: int = 0, folder: str = "notebooks"
) -> str:
    """Return the link for students.

    Args:
        hub: address of the JupyterHub, with its path if it has one.
        repository: address that git can clone without a password.
        branch: of the repository.
        chapter: which notebook opens.
        folder: of the repository, in which the notebooks are; "." if they are at its top.

    Raises:
        OptionError: an address, the branch, the folder or the chapter cannot be meant.
    """
    _check_address("hub", hub)
    _check_address("repository", repository)
    if not re.fullmatch(r"[^\s\-~^:?*\[\\][^\s~^:?*\[\\]*", branch):
        raise OptionError(f"branch={branch!r} is not the name of a branch; give a name such as main")
    target = _last_part(repository)
    parts = [target, *(part for part in folder.split("/") if part not in ("", ".")), _notebook(chapter)]
    if ".." in parts:
        raise OptionError(f"folder={folder!r} leads out of the repository; give a folder inside it")
    page = "lab/tree/" + quote("/".join(parts))  # nbgitpuller makes it the browser's address as it is
    query = {"repo": repository, "branch": branch, "targetpath": target, "urlpath": page}
    return f"{hub.rstrip('/')}/hub/user-redirect/git-pull?{urlencode(query, quote_via=quote, safe='')}"


def _check_address(name: str, address: str) -> None:
    """Refuse what is no plain address; a password in it would reach every student."""
    kinds = " or ".join(f"{scheme}://" for scheme in SCHEMES[name])
    parts = urlsplit(address)
    if parts.scheme not in SCHEMES[name] or not (parts.netloc or parts.scheme == "file"):
        raise OptionError(f"{name}={address!r} is not an address that begins with {kinds}")
    if "@" in parts.netloc:
        raise OptionError(
            f"{name} has a user name or password in it, which every student would see; remove it"
        )
    if parts.query or parts.fragment or re.search(r"\s", address):
        raise OptionError(
            f"{name}={address!r} has more than an address; leave out spaces and what follows ? or #"
        )


def _last_part(repository: str) -> str:
    """Return the name of the folder that git would clone into."""
    name = urlsplit(repository).path.rstrip("/").rpartition("/")[2].removesuffix(".git")
    if name in ("", ".", ".."):
        raise OptionError(f"repository={repository!r} does not name a repository; add its path")
    return name


def _notebook(chapter: int) -> str:
    chapters = chapter_files()
    if chapter not in chapters:
        raise OptionError(f"chapter={chapter} is not one of {', '.join(map(str, chapters))}")
    return chapters[chapter].name
