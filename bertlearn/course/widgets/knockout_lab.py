"""Knock-out lab: from BERT to a modern recipe by twelve switches, with stored runs and new ones (chapter 8).

The page has all stored runs, so switching needs no kernel. It asks for a run of its own by setting `running`;
the run has a process of its own, see `live_run`.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import traitlets
from scipy.stats import t as student

from bertlearn.course.figures import PALETTE, QUIET, Picture, new_figure
from bertlearn.course.knockout import BERT, EXCLUSIVE, MODERN, STEPS, SWITCHES, check_switches, knock_outs
from bertlearn.course.live_run import LiveRun, Message
from bertlearn.course.results import Row, load_results, summarize
from bertlearn.course.widgets.base import Widget

AXES = {
    "accuracy": "accuracy on held-out text",
    "loss": "loss on held-out text (nats)",
    "time": "time of a step, BERT = 1",
}
COLUMN = {"accuracy": "accuracy", "loss": "loss", "time": "relative_time"}  # of the rows
ENDS = {"BERT": BERT, "Modern": MODERN}
CONFIDENCE = 0.95

Estimate = list[float | None]  # mean, and half the width of its interval; None for a single number


class KnockoutLab(Widget):
    """Turn BERT into a modern recipe, one switch at a time, and see what each switch does to a small model.

    `on` is the list of switches that are on, `quantity` what the plot shows ("accuracy", "loss" or "time").
    `running = True` starts a run of the chosen combination, `running = False` stops it; `live` has the runs
    that were made so, the last one in progress.
    """

    files = "knockout_lab"
    height = 1180

    switches: Any = traitlets.List().tag(sync=True)  # pairs of name and what it does
    exclusive = traitlets.List(traitlets.Unicode()).tag(sync=True)  # at most one of these is on
    ends = traitlets.Dict().tag(sync=True)  # name: switches that are on
    stored: Any = traitlets.List().tag(sync=True)  # see `_combination`
    minutes = traitlets.Float().tag(sync=True)  # of one core, for a stored run
    on = traitlets.List(traitlets.Unicode()).tag(sync=True)
    quantity = traitlets.Enum(list(AXES), "accuracy").tag(sync=True)
    running = traitlets.Bool(False).tag(sync=True)
    live: Any = traitlets.List().tag(sync=True)  # on, seed, state, and what a `LiveRun` reports
    problem = traitlets.Unicode().tag(sync=True)  # why the last run failed, or ""

    def __init__(
        self, rows: Sequence[Row] | None = None, on: Collection[str] = BERT, steps: int = STEPS
    ) -> None:
        """Show stored runs.

        Args:
            rows: with the columns of `COLUMNS["knockout"]`; the stored results by default.
            on: the switches that are on at first.
            steps: of a run that is made here; fewer are comparable with nothing.

        Raises:
            ValueError: an unknown switch, two that contradict each other, or rows without BERT or Modern.
        """
        rows = load_results("knockout").rows if rows is None else rows
        self.steps, self._shown = steps, False
        self._run: LiveRun | None = None
        last = max((row["step"] for row in rows), default=0)
        super().__init__(
            switches=list(SWITCHES.items()),
            exclusive=sorted(EXCLUSIVE),
            ends={name: _ordered(switches) for name, switches in ENDS.items()},
            stored=_stored(rows),
            minutes=round(
                statistics.mean(row["core_seconds"] for row in rows if row["step"] == last) / 60, 1
            ),
            on=list(on),
        )

    def wait(self) -> None:
        """Wait until the run in progress, if there is one, has ended and the notebook has its still."""
        if run := self._run:
            run.wait()

    def close(self) -> None:
        """Stop the run in progress, and close the widget."""
        self.running = False
        super().close()

    def picture(self) -> Picture:
        """Return the stored combinations as a static figure: their seeds, means and intervals."""
        figure, axes = new_figure(height=7.0)
        column = self.quantity
        for place, run in enumerate(self.stored):
            color = PALETTE[0] if run["end"] == "BERT" else PALETTE[2]
            mean, margin = run["estimates"][column]
            axes.plot(
                run["values"][column], [place] * len(run["values"][column]), "o", color=color, alpha=0.5
            )
            axes.errorbar(mean, place, xerr=margin, fmt="|", color=color, capsize=3)
            if run["on"] == self.on:
                axes.axhspan(place - 0.5, place + 0.5, color=PALETTE[5], alpha=0.35)
        axes.set_yticks(range(len(self.stored)), [run["name"] for run in self.stored])
        axes.axhline(sum(run["end"] == "BERT" for run in self.stored) - 0.5, color=QUIET, linewidth=0.8)
        axes.invert_yaxis()
        axes.set(title=self._title(), xlabel=AXES[column])
        return Picture(figure, self._alt())

    def _title(self) -> str:
        return f"One switch at a time, {len(self.stored)} combinations"

    def _alt(self) -> str:
        ends = [run for run in self.stored if run["on"] in self.ends.values()]
        means = [f"{run['name']} {run['estimates'][self.quantity][0]:.3f}" for run in ends]
        return f"{self._title()}, {AXES[self.quantity]}: {', '.join(means)}. Chosen: {name(self.on)}."

    @traitlets.validate("on")
    def _are_switches(self, proposal: Any) -> list[str]:
        check_switches(proposal["value"])
        return _ordered(proposal["value"])

    @traitlets.observe("on")
    def _describe(self, change: Any) -> None:
        self.description = f"Knock-out lab: {name(self.on)}"

    @traitlets.default("description")
    def _first_description(self) -> str:
        return f"Knock-out lab: {name(self.on)}"

    @traitlets.observe("running")
    def _start_or_stop(self, change: Any) -> None:
        if self.running:
            self._start()
        elif self._run and self.live and self.live[-1]["state"] == "running":
            self._run.stop()

    def _start(self) -> None:
        """Start a run of the chosen combination with a seed that it has not had here."""
        seed = sum(run["on"] == self.on for run in self.live)
        first = {"on": self.on, "seed": seed, "state": "running", "step": 0, "until": self.steps}
        self.problem, self.live = "", [*self.live, {**first, "seconds": 0.0, "curve": []}]
        self._run = LiveRun(self.on, seed, self.steps, self._receive)

    def _receive(self, message: Message) -> None:
        """Add to the last run what its process reports."""
        problem = message.pop("problem", None)
        run = {**self.live[-1], **message}
        done = [*self.live[:-1], run] if problem is None or run["curve"] else self.live[:-1]
        with self.hold_sync():
            self.live = done
            if problem is not None:
                self.problem, self.running = problem, False
        if problem is not None and self._shown:
            self._publish_still(update=True)  # what the notebook keeps of the run when it is closed

    def _ipython_display_(self) -> None:
        super()._ipython_display_()
        self._shown = True


def name(on: Collection[str]) -> str:
    """Return what a combination is called: BERT or Modern, without some switches, with others."""
    end, on = nearest_end(on), frozenset(on)
    changes = {"without": ENDS[end] - on, "with": on - ENDS[end]}
    words = [f"{word} {_listed(_ordered(names))}" for word, names in changes.items() if names]
    return f"{end} {', '.join(words)}".rstrip()


def nearest_end(on: Collection[str]) -> str:
    """Return which of the two fewer switches lead to."""
    return min(ENDS, key=lambda end: len(ENDS[end] ^ frozenset(on)))


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _ordered(on: Iterable[str]) -> list[str]:
    on = set(on)
    return [name for name in SWITCHES if name in on]


def _stored(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return what the page shows of each stored combination, those next to BERT first."""
    groups: dict[frozenset[str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row["seed"], row["step"])):
        groups.setdefault(frozenset(row["on"].split()), []).append(row)
    for end, switches in ENDS.items():
        if switches not in groups:
            raise ValueError(
                f"rows has no run of {end}, with which the others are compared; give all rows of the results"
            )
    order = knock_outs()
    stored = sorted(groups, key=lambda on: order.index(on) if on in order else len(order))
    return [_combination(on, groups) for on in stored]


def _combination(on: frozenset[str], groups: dict[frozenset[str], list[Row]]) -> dict[str, Any]:
    """Return the numbers of one combination.

    `values` has each seed's numbers at the last step by quantity, `estimates` the mean of the seeds with its
    interval, `off` the same for the differences to BERT and Modern, seed by seed, `curve` the means of
    the seeds at all steps.
    """
    check_switches(on)
    own = _values(groups[on])
    against = {end: _values(groups[switches]) for end, switches in ENDS.items()}
    return {
        "on": _ordered(on),
        "name": name(on),
        "end": nearest_end(on),
        "values": {quantity: list(values.values()) for quantity, values in own.items()},
        "estimates": {quantity: _estimate(values.values()) for quantity, values in own.items()},
        "off": {
            end: {quantity: _difference(own[quantity], theirs[quantity]) for quantity in own}
            for end, theirs in against.items()
        },
        "curve": _curve(groups[on]),
    }


def _values(rows: Sequence[Row]) -> dict[str, dict[int, float]]:
    """Return each quantity at the last step by seed; a combination has one relative time for all seeds."""
    end = max(row["step"] for row in rows)
    last = [row for row in rows if row["step"] == end]
    values = {quantity: {row["seed"]: row[column] for row in last} for quantity, column in COLUMN.items()}
    return {**values, "time": {0: last[0]["relative_time"]}}


def _estimate(values: Iterable[float]) -> Estimate:
    """Return the mean, and half the width of its t-interval."""
    values = list(values)
    mean, runs = statistics.mean(values), len(values)
    if runs == 1:
        return [round(mean, 5), None]
    margin = student.ppf((1 + CONFIDENCE) / 2, runs - 1) * statistics.stdev(values) / runs**0.5
    return [round(mean, 5), round(float(margin), 5)]


def _difference(own: dict[int, float], theirs: dict[int, float]) -> Estimate:
    return _estimate(own[seed] - theirs[seed] for seed in sorted(own.keys() & theirs.keys()))


def _curve(rows: list[Row]) -> list[list[float]]:
    """Return step, mean loss and mean accuracy of each evaluation."""
    return [
        [step, *(round(summarize(rows, column, "step")[step].mean, 5) for column in ("loss", "accuracy"))]
        for step in sorted({row["step"] for row in rows})
    ]
