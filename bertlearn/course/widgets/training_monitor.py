"""Training monitor: a run's curves while it goes on, what is normal, and a stop button (chapters 4 to 6)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets

from bertlearn.course.figures import PALETTE, Picture, new_figure
from bertlearn.course.snapshots import Band
from bertlearn.course.widgets.base import Widget
from bertlearn.training.metrics import Progress, Record

QUANTITIES = {  # how the names of a record's numbers end, and what the axis is called
    "loss": (("_loss",), "loss (nats)"),
    "accuracy": (("_accuracy", "_score"), "accuracy"),
    "learning rate": (("learning_rate",), "learning rate"),
    "gradient": (("grad_norm",), "length of the gradient before clipping"),
}
Points = list[tuple[int, float]]  # step, value

PAUSE = 0.2  # seconds between two messages to the browser
REST = 20  # times as long as sending one took: a run with thousands of records is not held up
HELD_OUT = "held-out text"
WIDTH = 2.0  # standard deviations on either side of the band's mean


class TrainingMonitor(Widget):
    """Watch a run: `monitor = TrainingMonitor(); display(monitor); pretrain(…, callback=monitor)`.

    `quantity` is what the curves show, `step` the record that is read out (None for the newest);
    `stop = True` ends the run after the step in progress. `phase` tells how it stands, `looks` where each
    held-out loss lies beside the band.
    """

    files = "training_monitor"
    height = 500

    title = traitlets.Unicode().tag(sync=True)
    curves = traitlets.Dict().tag(sync=True)  # quantity → name → (step, value) pairs
    looks: Any = traitlets.List().tag(sync=True)  # step, where, off (in standard deviations)
    band = traitlets.Dict().tag(sync=True)  # steps, mean, std; empty for none
    lines = traitlets.Dict().tag(sync=True)  # losses to compare with, by name
    progress = traitlets.Dict().tag(sync=True)  # first, step, until, seconds, speed, left
    phase = traitlets.Enum(["waiting", "running", "stopped", "done"], "waiting").tag(sync=True)
    quantity = traitlets.Enum(list(QUANTITIES), "loss").tag(sync=True)
    step = traitlets.Int(None, allow_none=True).tag(sync=True)
    stop = traitlets.Bool(False).tag(sync=True)
    heard = traitlets.Bool(False).tag(sync=True)  # the kernel has got `stop`, while a cell is running

    def __init__(
        self, band: Band | None = None, lines: Mapping[str, float] | None = None, title: str = "Training run"
    ) -> None:
        """Be ready for a run.

        Args:
            band: what is normal for the held-out loss, such as `snapshots.band("scratch")`.
            lines: losses (nats) to compare with, by name.
            title: which run it is.

        Raises:
            ValueError: a band or a line that is no finite number.
        """
        lines = {name: float(height) for name, height in (lines or {}).items()}
        _check(band, lines)
        self._due, self._told, self._shown = 0.0, 0, False
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
        """Show a run that is over, from the records of `Run.history` or `read_history`.

        Raises:
            ValueError: no records, records without a step, or as above.
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
        """Take in how far the run is, show it from time to time, and return whether it shall stop."""
        if self.phase != "running":
            self._begin(progress)
        before = time.monotonic()
        if not progress.running or before >= self._due:
            self._tell(progress)
            after = time.monotonic()
            self._due = after + max(PAUSE, REST * (after - before))
        self._stay_reachable()
        return self.stop

    def picture(self, alt: str | None = None) -> Picture:
        """Return the curves that are shown as a static figure; `alt` replaces its own alt text."""
        figure, axes = new_figure()
        if self.quantity == "loss":
            if self.band:
                steps, mean, std = (np.asarray(part) for part in self.band.values())
                reach = (mean - WIDTH * std, mean + WIDTH * std)
                axes.fill_between(steps, *reach, color=PALETTE[5], alpha=0.5, label="other seeds, ± 2 std")
            for index, (name, height) in enumerate(self.lines.items()):
                axes.axhline(height, color="#777777", linestyle=(":", "-.")[index % 2], label=_plain(name))
        curves = self.curves.get(self.quantity, {})
        for index, (name, points) in enumerate(curves.items()):
            style = "o-" if name.startswith(HELD_OUT) else "--"
            axes.plot(*zip(*points, strict=True), style, markersize=4, color=PALETTE[index % 7], label=name)
        if self.step is not None:
            axes.axvline(self.step, color="#777777", linewidth=0.8)
        axes.set(title=_plain(self.title), xlabel="step", ylabel=QUANTITIES[self.quantity][1])
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False)
        return Picture(figure, alt or self._alt(curves))

    def _alt(self, curves: dict[str, Points]) -> str:
        ends = [f"{name} from {xy[0][1]:.3g} to {xy[-1][1]:.3g}" for name, xy in curves.items()]
        inside = sum(look["where"] == "inside" for look in self.looks)
        ends += [f"{inside} of {len(self.looks)} looks inside the band"] if self.looks else []
        return f"Curves. {self.title}, {self.quantity}: {'; '.join(ends) or 'no step yet'}."

    def _begin(self, progress: Progress) -> None:
        """Forget the wish of an earlier run, and note where this one begins."""
        self._first, self._told, self._due = progress, -1, 0.0
        self.stop, self.step, self.phase = False, None, "running"

    def _tell(self, progress: Progress) -> None:
        """Send what is new to the browser."""
        self.progress = _facts(self._first, progress)
        if len(progress.history) != self._told:
            self._told = len(progress.history)
            self.curves = _curves(progress.history)
            self.looks = _looks(self.curves["loss"], self.band)
        if not progress.running:
            self.phase = "stopped" if progress.step < progress.until else "done"
            if self._shown:
                self._publish_still(update=True)  # what is kept of the run when the notebook is closed

    def _stay_reachable(self) -> None:
        """Let the browser's messages come in another thread while this one trains, where there is one.

        JupyterLab sends them there, but ipykernel 7.4 passes them on to where the widget last spoke from: to
        the cell that is running, so they would wait for its end. It must forget that.
        """
        comm: Any = self.comm
        vars(comm).pop("_reply_subshell_id", None)

    def _ipython_display_(self) -> None:
        super()._ipython_display_()
        self._shown = True

    @traitlets.observe("stop")
    def _hear(self, change: Any) -> None:
        self.heard = change["new"]

    @traitlets.validate("step")
    def _recorded(self, proposal: Any) -> int | None:
        steps = sorted({x for curves in self.curves.values() for xy in curves.values() for x, _ in xy})
        if proposal["value"] is not None and proposal["value"] not in steps:
            known = f"{len(steps)} steps from {steps[0]} to {steps[-1]}" if steps else "no step yet"
            raise ValueError(f"step={proposal['value']} has no record; there are {known}; None is the newest")
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
    found = {}
    for quantity, (endings, _) in QUANTITIES.items():
        own = [key for key in keys if key.endswith(endings)]
        several = len({_objective(key) for key in own}) > 1
        names = {key: quantity if endings == (key,) else _name(key, several) for key in own}
        curves = {names[key]: _points(history, key) for key in own}
        found[quantity] = {name: points for name, points in curves.items() if points}
    return found


def _is_held_out(key: str) -> bool:
    return key.startswith("valid_")


def _objective(key: str) -> str:
    return key.removeprefix("valid_").rsplit("_", 1)[0]


def _name(key: str, several: bool) -> str:
    text = HELD_OUT if _is_held_out(key) else "training"
    return f"{text}, {_objective(key)}" if several else text


def _points(history: Sequence[Record], key: str) -> Points:
    found = [(int(record["step"]), record[key]) for record in history if key in record]
    return [(step, float(f"{value:.6g}")) for step, value in found if math.isfinite(value)]


def _looks(curves: dict[str, Points], band: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Say where the held-out loss lies at each step that the band covers."""
    points = next((xy for name, xy in curves.items() if name.startswith(HELD_OUT)), [])
    found = []
    for step, loss in points if band else []:
        if band["steps"][0] <= step <= band["steps"][-1]:
            mean, std = (np.interp(step, band["steps"], band[part]) for part in ("mean", "std"))
            off = float((loss - mean) / max(std, 1e-9))
            where = "inside" if abs(off) <= WIDTH else "above" if off > 0 else "below"
            found.append({"step": step, "where": where, "off": round(off, 1)})
    return found


def _facts(begin: Progress, now: Progress) -> dict[str, float | None]:
    """Return how far a run is since it began here."""
    steps, seconds = now.step - begin.step, now.seconds - begin.seconds
    return {
        "first": min([begin.step, *(int(record["step"]) for record in now.history[:1])]),
        "step": now.step,
        "until": now.until,
        "seconds": round(seconds, 1),
        "speed": round((now.tokens - begin.tokens) / seconds) if seconds > 0 else None,
        "left": round((now.until - now.step) * seconds / steps, 1) if steps else None,
    }
