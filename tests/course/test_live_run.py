"""A run of the knock-out lab in its own process: its numbers, a stop at once, failures explained."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from bertlearn.course.knockout import run
from bertlearn.course.live_run import LiveRun, Message

Messages = list[Message]


def until(condition: Callable[[], object], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def test_it_reports_what_a_run_here_would_give_and_leaves_the_random_numbers_alone() -> None:
    messages: Messages = []
    torch.manual_seed(5)
    live = LiveRun(["rope"], 1, 3, messages.append)
    drawn = torch.rand(3)
    live.wait()
    torch.manual_seed(5)
    assert drawn.equal(torch.rand(3))
    history = run({"rope"}, seed=1, steps=3, callback=lambda progress: False).history
    expected = [
        [record["step"], round(record["valid_mlm_loss"], 4), round(record["valid_mlm_accuracy"], 4)]
        for record in history
    ]
    assert messages[-2]["curve"] == expected and [step for step, *_ in expected] == [1, 2, 3]
    assert messages[-2]["step"] == messages[-2]["until"] == 3
    assert messages[-1] == {"state": "done", "problem": ""}


def test_it_is_stopped_at_once() -> None:
    messages: Messages = []
    live = LiveRun([], 0, 100_000, messages.append)
    until(lambda: messages)
    live.stop()
    live.wait()
    assert messages[-1] == {"state": "stopped", "problem": ""}
    assert all(message["step"] < 100_000 for message in messages[:-1])


def test_a_failure_is_explained() -> None:
    messages: Messages = []
    LiveRun(["rotary"], 0, 3, messages.append).wait()
    [message] = messages
    assert message["state"] == "failed"
    assert "the run ended with status 1: ValueError: there is no switch 'rotary'" in message["problem"]
