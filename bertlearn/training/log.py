"""A run's numbers in TensorBoard, beside history.csv, for those who compare many runs (chapter 4).

TensorBoard is optional. Leaves out: services that need an account.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from bertlearn.arguments import OptionError
from bertlearn.training.metrics import Record

FOLDER = "tensorboard"  # in the folder of the checkpoints


def check_log(log_to: str, folder: Path | None) -> None:
    """Refuse a log that could not be written, before the run begins.

    Raises:
        OptionError: TensorBoard is not installed, or there is no folder for its files.
    """
    if log_to == "csv":
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise OptionError(
            "log_to='tensorboard' needs the package tensorboard; install it with `pip install tensorboard`"
        )
    if folder is None:
        raise OptionError("log_to='tensorboard' has nowhere to write to; give the run a folder")


class Log:
    """Writes each record of the history as it comes; with "csv", nothing, since the loop writes history.csv.

    Args:
        log_to: "csv" or "tensorboard".
        folder: the run's.
        step: the step from which the run goes on; what was logged after it is hidden.
    """

    def __init__(self, log_to: str, folder: Path | None, step: int) -> None:
        self.writer: Any = None
        if log_to == "tensorboard" and folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(folder / FOLDER, purge_step=step + 1)

    def add(self, record: Record) -> None:
        """Write one line of the history: each number under the name of its column."""
        if self.writer is None:
            return
        for name, value in record.items():
            if name != "step":
                self.writer.add_scalar(name, value, int(record["step"]))
        self.writer.flush()

    def close(self) -> None:
        """Close the files."""
        if self.writer is not None:
            self.writer.close()
