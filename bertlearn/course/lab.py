"""The course in JupyterLab: where it is opened, and how JupyterLab is started (`bertlearn lab`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from bertlearn.course import sources
from bertlearn.course.folder import STATE, update_folder

FOLDER = Path("~/bertlearn-course")  # where a file manager shows it, whatever the working directory is
ADVICE = "Go on in whichever version you like; to make a new one yours, give it the name of the old one."
WELCOME = "00_welcome.ipynb"


def prepare(folder: Path | None) -> tuple[Path, str]:
    """Copy the course to the learner's folder or bring it up to date there, and say what was done.

    A clone of the repository is used as it is.

    Args:
        folder: the learner's folder; `FOLDER` if None.

    Returns:
        The folder that JupyterLab shall serve, and the welcome page in it.

    Raises:
        ValueError: the folder cannot be written, or was named although this is a clone.
        OSError: a file could not be read or written.
    """
    notebooks = sources.notebooks_folder()
    if notebooks == sources.CHECKOUT:
        if folder is not None:
            raise ValueError(
                f"folder={folder} is for a course installed from a wheel; this one is a clone of the "
                f"repository, and its notebooks are opened in {notebooks}"
            )
        return notebooks.parent, f"{notebooks.name}/{WELCOME}"
    folder = (folder or FOLDER).expanduser().absolute()
    version = metadata.version("bertlearn")
    print(f"bertlearn lab: version {version} of the course in {folder}", flush=True)
    first = not (folder / STATE).exists()
    try:
        steps = update_folder(notebooks, folder, version)
    except OSError as error:
        raise OSError(
            f"the notebooks could not all be copied to {folder} ({error}); those that were are whole. "
            "Free some space or correct what is named here, then run it again, or choose another --folder"
        ) from error
    if first:
        print(f"  {sum(step.state == 'new' for step in steps)} files copied")
        steps = [step for step in steps if step.state != "new"]
    for line in [*steps, *[ADVICE] * any(step.state == "kept" for step in steps)]:
        print(line, flush=True)
    return folder, WELCOME


def open_jupyterlab(root: Path, page: str, flags: Sequence[str] = ()) -> None:
    """Run JupyterLab until it is stopped.

    Args:
        root: the folder that it serves; links to files outside of it would lead nowhere.
        page: the notebook that it shows first, from there.
        flags: JupyterLab's own, which come last and so override ours.
    """
    from jupyterlab.labapp import LabApp

    shown = [f"--ServerApp.root_dir={root}", f"--LabApp.default_url=/lab/tree/{page}"]
    LabApp.launch_instance([*shown, *_machine_flags(), *flags])


def _machine_flags() -> list[str]:
    """Return what this machine needs: no browser where there is no display, leave to run as root."""
    headless = sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    root = sys.platform != "win32" and os.geteuid() == 0
    return ["--no-browser"] * headless + ["--allow-root"] * root
