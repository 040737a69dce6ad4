"""What pyproject.toml cannot say: the wheel also brings the course's notebooks and the lock."""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))  # a build does not look for modules here
from bertlearn.course.links import pack  # noqa: E402


class BuildWithCourse(build_py):
    """Builds the package with the course in it; an editable installation reads the course from its clone."""

    def run(self) -> None:
        """Copy the modules, then the notebooks with what they link to, and the lock for the doctor."""
        super().run()
        if not self.editable_mode:
            course = Path(self.build_lib) / "bertlearn" / "course"
            pack(ROOT, course / "notebooks")
            shutil.copy(ROOT / "constraints.txt", course)


setup(cmdclass={"build_py": BuildWithCourse})
