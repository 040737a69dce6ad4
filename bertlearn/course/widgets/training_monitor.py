"""Training monitor: a run's live curves, their normal range, and a stop button (chapters 4 to 6)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets

from bertlearn.course.figures import PALETTE, QUIET, Picture, new_figure
from bertlearn.course.snapshots import Band
from bertlearn.course.widgets.base import Widget
from bertlearn.training.metrics import Progress, Record

QUANTITIES = {  # by name: the endings of the keys in a record, and the label of the axis
    "loss": (("_loss",), "loss (nats)"),
    "accuracy": (("_accuracy", "_score"), "accuracy"),
    "learning rate": (("learning_rate",), "learning rate"),
    "gradient": (("grad_norm",), "gradient norm before clipping"),
}
Points = list[tuple[int, float]]  # step, value

PAUSE = 0.2  # seconds between two messages to the browser
REST = 20  # or this many times as long as sending took, so that thousands of records do not slow down a run
HELD_OUT, TRAINING = "held-out text", "training"
WIDTH = 2.0  # standard deviations on either side of the band's mean


class TrainingMonitor(Widget):
    """Follow a run: `monitor = TrainingMonitor(); display(monitor); pretrain(…, callback=monitor)`.

    `quantity` is what the curves show, `step` the record whose numbers are shown (None for the newest);
    `stop = True` ends the run after the step in progress. `phase` is the state of the run, `evaluations` says
    where each held-out loss lies relative to the band.
    """

    files = "training_monitor"
    height = 640

    title = traitlets.Unicode().tag(sync=True)
    curves = traitlets.Dict().tag(sync=True)  # quantity → name → (step, value) pairs
    evaluations: Any = traitlets.List().tag(sync=True)  # step, where, off (in standard deviations)
    band = traitlets.Dict().tag(sync=True)  # steps, mean, std; empty for none
    lines = traitlets.Dict().tag(sync=True)  # losses to compare with, by name
    progress = traitlets.Dict().tag(sync=True)  # first, step, until, seconds, speed, left
    phase = traitlets.Enum(["waiting", "running", "stopped", "done"], "waiting").tag(sync=True)
    quantity = traitlets.Enum(list(QUANTITIES), "loss").tag(sync=True)
    step = traitlets.Int(None, allow_none=True).tag(sync=True)
    stop = traitlets.Bool(False).tag(sync=True)
    heard = traitlets.Bool(False).tag(sync=True)  # the kernel has received `stop`, even during a cell

    def __init__(
        self, band: Band | None = None, lines: Mapping[str, float] | None = None, title: str = "Training run"
    ) -> None:
        """Prepare for a run.

        Args:
            band: the normal range of the held-out loss, such as `snapshots.band("scratch")`.
            lines: losses (nats) to compare with, by name.
            title: the name of the run.

        Raises:
            ValueError: a number of the band or of a line is not finite.
        """
        lines = {name: float(height) for name, height in (lines or {}).items()}
        _check(band, lines)
        self._next_message, self._sent_records, self._shown = 0.0, 0, False
        super().__init__(
            title=title,
            band=band._asdict() if band else {},
            lines=lines,
            description=f"Training monitor: {title}",
        )

    @classmethod
    def of_history(
        cls,
        history: Sequence[Record],
        band: Band | None = None,
        lines: Mapping[str, float] | None = None,
        title: str = "Training run",
    ) -> TrainingMonitor:
        """Return a monitor of a finished run, from the records of `Run.history` or `read_history`.

        Raises:
            ValueError: there are no records, one has no step, or a number is not finite as in `__init__`.
        """
        history = list(history)
        if not history or not all("step" in record for record in history):
            raise ValueError(f"{len(history)} records, not all with a step; give the history of a run")
        monitor, last = cls(band, lines, title), history[-1]
        step, tokens = int(last["step"]), int(last.get("tokens", 0))
        monitor._begin(Progress(0, step, 0.0, 0, history, True))
        monitor(Progress(step, step, last.get("seconds", 0.0), tokens, history, False))
        return monitor

    def __call__(self, progress: Progress) -> bool:
        """Receive the progress of the run, show it from time to time, and return whether to stop."""
        if self.phase != "running":
            self._begin(progress)
        before = time.monotonic()
        if not progress.running or before >= self._next_message:
            self._send_progress(progress)
            after = time.monotonic()
            self._next_message = after + max(PAUSE, REST * (after - before))
        self._stay_reachable()
        return self.stop

    def picture(self, alt: str | None = None) -> Picture:
        """Return the current curves as a static figure; `alt` replaces its own alt text."""
        figure, axes = new_figure()
        if self.quantity == "loss":
            if self.band:
                steps, mean, std = (np.asarray(part) for part in self.band.values())
                reach = (mean - WIDTH * std, mean + WIDTH * std)
                axes.fill_between(
                    steps, *reach, color=PALETTE[5], alpha=0.45, label="other seeds, mean ± 2 std"
                )
            for index, (name, height) in enumerate(self.lines.items()):
                axes.axhline(height, color=QUIET, linestyle=(":", "-.")[index % 2], label=_plain(name))
        curves = self.curves.get(self.quantity, {})
        before = len(curves) if all(name.startswith(TRAINING) for name in curves) else 0
        for index, (name, points) in enumerate(curves.items(), before):  # colors as on the page
            style = "o-" if name.startswith(HELD_OUT) else "--"
            axes.plot(
                *zip(*points, strict=True),
                style,
                markersize=4,
                color=PALETTE[index % 7],
                linewidth=2,
                label=name,
            )
        if self.step is not None:
            axes.axvline(self.step, color=QUIET, linewidth=0.8)
        axes.set(title=_plain(self.title), xlabel="step", ylabel=QUANTITIES[self.quantity][1])
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
        return Picture(figure, alt or self._alt(curves))

    def _alt(self, curves: dict[str, Points]) -> str:
        ends = [f"{name} from {xy[0][1]:.3g} to {xy[-1][1]:.3g}" for name, xy in curves.items()]
        inside = sum(evaluation["where"] == "inside" for evaluation in self.evaluations)
        if self.evaluations:
            ends.append(f"{inside} of {len(self.evaluations)} evaluations inside the band")
        return f"Curves. {self.title}, {self.quantity}: {'; '.join(ends) or 'no step yet'}."

    def _begin(self, progress: Progress) -> None:
        """Clear the stop request of an earlier run, and note where this one begins."""
        self._first, self._sent_records, self._next_message = progress, -1, 0.0
        self.stop, self.step, self.phase = False, None, "running"

    def _send_progress(self, progress: Progress) -> None:
        """Send what is new to the browser."""
        self.progress = _progress_values(self._first, progress)
        if len(progress.history) != self._sent_records:
            self._sent_records = len(progress.history)
            self.curves = _curves(progress.history)
            self.evaluations = _evaluations(self.curves["loss"], self.band)
        if not progress.running:
            self.phase = "stopped" if progress.step < progress.until else "done"
            if self._shown:
                self._publish_still(update=True)  # what the notebook keeps of the run when it is closed

    def _stay_reachable(self) -> None:
        """Let another thread, if there is one, receive the browser's messages while this one trains.

        JupyterLab sends them to that thread, but ipykernel 7.4 forwards them to the one from which the widget
        last sent a message. That is the thread of the running cell, so they would wait until the cell ends.
        Here the widget forgets which thread that was.
        """
        comm: Any = self.comm
        vars(comm).pop("_reply_subshell_id", None)

    def _ipython_display_(self) -> None:
        super()._ipython_display_()
        self._shown = True

    @traitlets.observe("stop")
    def _confirm_stop(self, change: Any) -> None:
        self.heard = change["new"]

    @traitlets.validate("step")
    def _is_recorded(self, proposal: Any) -> int | None:
        steps = sorted({x for curves in self.curves.values() for xy in curves.values() for x, _ in xy})
        if proposal["value"] is not None and proposal["value"] not in steps:
            known = f"are {len(steps)} steps from {steps[0]} to {steps[-1]}" if steps else "is no step yet"
            raise ValueError(f"step={proposal['value']} has no record; there {known}; None is the newest")
        return proposal["value"]


def _check(band: Band | None, lines: dict[str, float]) -> None:
    if band is not None and not isinstance(band, Band):
        raise ValueError(f"band is {type(band).__name__}, expected a Band, such as snapshots.band('scratch')")
    for name, values in [*lines.items(), *(band._asdict().items() if band else ())]:
        if not np.isfinite(values).all():
            raise ValueError(f"{name} is {values}; expected finite numbers")


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib would read $x$ as mathematics


def _curves(history: Sequence[Record]) -> dict[str, dict[str, Points]]:
    """Return the points of each curve, by quantity and name; those of held-out text come first."""
    keys = sorted({key for record in history for key in record}, key=lambda key: (not _is_held_out(key), key))
    result = {}
    for quantity, (endings, _) in QUANTITIES.items():
        matching = [key for key in keys if key.endswith(endings)]
        several = len({_objective(key) for key in matching}) > 1
        names = {key: quantity if endings == (key,) else _name(key, several) for key in matching}
        curves = {names[key]: _points(history, key) for key in matching}
        result[quantity] = {name: points for name, points in curves.items() if points}
    return result


def _is_held_out(key: str) -> bool:
    return key.startswith("valid_")


def _objective(key: str) -> str:
    return key.removeprefix("valid_").rsplit("_", 1)[0]


def _name(key: str, several: bool) -> str:
    text = HELD_OUT if _is_held_out(key) else TRAINING
    return f"{text}, {_objective(key)}" if several else text


def _points(history: Sequence[Record], key: str) -> Points:
    points = [(int(record["step"]), record[key]) for record in history if key in record]
    return [(step, float(f"{value:.6g}")) for step, value in points if math.isfinite(value)]


def _evaluations(curves: dict[str, Points], band: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Return where the held-out loss lies relative to the band, at each step that the band covers."""
    points = next((xy for name, xy in curves.items() if name.startswith(HELD_OUT)), [])
    evaluations = []
    for step, loss in points if band else []:
        if band["steps"][0] <= step <= band["steps"][-1]:
            mean, std = (np.interp(step, band["steps"], band[part]) for part in ("mean", "std"))
            off = float((loss - mean) / max(std, 1e-9))
            where = "inside" if abs(off) <= WIDTH else "above" if off > 0 else "below"
            evaluations.append({"step": step, "where": where, "off": round(off, 1)})
    return evaluations


def _progress_values(begin: Progress, now: Progress) -> dict[str, float | None]:
    """Return the progress of a run since `begin`."""
    steps, seconds = now.step - begin.step, now.seconds - begin.seconds
    return {
        "first": min([begin.step, *(int(record["step"]) for record in now.history[:1])]),
        "step": now.step,
        "until": now.until,
        "seconds": round(seconds, 1),
        "speed": round((now.tokens - begin.tokens) / seconds) if seconds > 0 else None,
        "left": round((now.until - now.step) * seconds / steps, 1) if steps else None,
    }
