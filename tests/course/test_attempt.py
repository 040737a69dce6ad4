"""An attempt that never ends is stopped, whatever it swallows; nothing of the watching is left behind."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from bertlearn.course import attempt
from bertlearn.course.attempt import TimeUp, run_attempt, within
from bertlearn.course.checks import attention, encoder, pretraining, tokenization


@pytest.fixture
def short_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "SECONDS", 0.2)


def never_advances(word: str, vocab: dict[str, int]) -> list[str]:
    start = 0
    while start < len(word):
        end = len(word)
        while end > start and word[start:end] not in vocab:
            end -= 1
        start = max(start, end)
    return []


def swallows_exceptions(word: str, vocab: dict[str, int]) -> list[str]:
    while True:
        try:
            word.index("")
        except Exception:
            continue


def catches_exceptions_around_the_loop(word: str, vocab: dict[str, int]) -> list[str]:
    try:
        while True:
            word.index("")
    except Exception:
        return [word]


def swallows_everything(word: str, vocab: dict[str, int]) -> list[str]:
    count = 0
    while True:
        try:
            count = sum([count, 1])
        except:  # noqa: E722
            count = 0


def for_ever_in_torch(word: str, vocab: dict[str, int]) -> list[str]:
    total = torch.zeros(100)
    while True:
        total = total + 1


def calls_itself_in_a_generator(word: str, vocab: dict[str, int]) -> list[str]:
    return [x for x in iter(lambda: word, None) if x is None]


@pytest.mark.parametrize(
    "endless",
    [
        never_advances,
        swallows_exceptions,
        catches_exceptions_around_the_loop,
        swallows_everything,
        for_ever_in_torch,
        calls_itself_in_a_generator,
    ],
)
def test_an_attempt_that_never_ends_is_stopped(endless: Callable, short_limit: None) -> None:
    result = tokenization.longest_match(endless)
    text = repr(result)
    assert not result.ok
    assert text.startswith("✗ longest_match: stopped after 0.2 s of computing on “")
    assert "Does your loop advance?" in text
    assert "use Interrupt the kernel" in text


def test_the_line_of_the_loop_is_shown(short_limit: None) -> None:
    def endless(x: torch.Tensor) -> torch.Tensor:
        while True:
            x.numel()

    text = repr(attention.softmax(endless))
    assert "It was at the line `while True:`" in text or "It was at the line `x.numel()`" in text


def test_the_limit_is_ten_seconds_or_twenty_times_the_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attempt.SECONDS == 10
    assert run_attempt(lambda: 1, ()).limit == 10
    assert run_attempt(lambda: 1, (), reference=2.0).limit == 40
    monkeypatch.setattr(attempt, "SECONDS", 0.1)
    outcome = run_attempt(lambda: time.sleep(0.5), ())  # waiting is not computing
    assert outcome.error is None


def test_where_a_thread_has_no_clock_that_of_the_process_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "pthread_getcpuclockid", raising=False)
    with pytest.raises(TimeUp):
        within(0.1, lambda: never_advances("電", {}))


def traced_calls(function: Callable[[], object]) -> int:
    seen = []
    sys.setprofile(lambda frame, event, arg: seen.append(event))
    try:
        function()
    finally:
        sys.setprofile(None)
    return len(seen)


def busy() -> int:
    return sum(len(str(number)) for number in range(1000))


def test_a_tracer_works_after_a_check_and_after_one_that_ran_out_of_time(short_limit: None) -> None:
    before = traced_calls(busy)
    tokenization.longest_match(tokenization.longest_match.solution)
    assert traced_calls(busy) == before
    tokenization.longest_match(never_advances)
    assert traced_calls(busy) == before
    # Where a flag for pending work is left set, each call under a tracer takes a detour without end.
    begin = time.thread_time()
    busy()
    assert time.thread_time() - begin < 5


def test_nothing_arrives_after_an_attempt_that_ends_just_at_its_limit() -> None:
    """The limit passes at every possible moment of an attempt's end; then nothing may be on its way."""

    def compute(seconds: float) -> str:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass
        return "done"

    ends = set()
    for turn in range(120):
        try:
            ends.add(within(0.02, lambda turn=turn: compute(0.015 + turn * 0.0001)))
        except TimeUp:
            ends.add("stopped")
        for _ in range(200):  # an exception on its way would come here, outside the `try`
            pass
    assert ends == {"done", "stopped"}
    deadline = time.monotonic() + 10
    while any(thread.name == attempt.WATCHER for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "a watching thread is left"


def test_a_time_up_that_comes_while_the_watch_ends_ends_it_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original, calls = attempt._Watch.end, []

    def end(watch: attempt._Watch) -> None:
        calls.append(watch)
        if len(calls) == 1:
            raise TimeUp  # before anything is done
        original(watch)

    monkeypatch.setattr(attempt._Watch, "end", end)
    with pytest.raises(TimeUp):
        within(100.0, lambda: "done")
    assert calls[0]._over
    assert calls[0]._ended.is_set()


def test_an_attempt_that_is_interrupted_is_no_longer_watched(short_limit: None) -> None:
    def interrupted(x: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    assert "stopped by you" in repr(attention.softmax(interrupted))
    end = time.thread_time() + 0.5  # beyond the limit: a watcher that went on would raise here
    while time.thread_time() < end:
        pass


FORBIDDEN = {
    "torch.softmax": (attention.softmax, lambda x: torch.softmax(x, -1), "softmax"),
    "Tensor.softmax": (attention.softmax, lambda x: x.softmax(-1), "softmax"),
    "F.softmax": (attention.softmax, lambda x: nn.functional.softmax(x, dim=-1), "softmax"),
    "nn.Softmax": (attention.softmax, lambda x: nn.Softmax(dim=-1)(x), "softmax"),
    "torch.special.softmax": (attention.softmax, lambda x: torch.special.softmax(x, -1), "softmax"),
    "log_softmax": (attention.softmax, lambda x: x.log_softmax(-1).exp(), "log_softmax"),
    "layer_norm": (
        encoder.layer_norm,
        lambda x, w, b, e: nn.functional.layer_norm(x, w.shape, w, b, e),
        "layer_norm",
    ),
    "gelu": (encoder.gelu, lambda x: nn.GELU()(x), "gelu"),
    "cross_entropy": (
        pretraining.masked_lm_loss,
        lambda logits, labels: nn.CrossEntropyLoss()(logits.flatten(0, 1), labels.flatten()),
        "cross_entropy",
    ),
    "nll_loss": (
        pretraining.masked_lm_loss,
        lambda logits, labels: nn.functional.nll_loss(logits.log_softmax(-1).transpose(1, 2), labels),
        "nll_loss",
    ),
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_function_that_the_exercise_forbids_is_no_answer(name: str) -> None:
    exercise, answer, function = FORBIDDEN[name]
    result = exercise(answer)
    assert not result.ok
    assert f"the numbers are right, but your function calls torch's {function}" in repr(result)
    assert "write it yourself" in repr(result)
    assert replace(exercise, forbidden=())(answer).ok


def test_a_wrong_answer_by_a_forbidden_function_is_named_and_the_function_as_well() -> None:
    text = repr(attention.softmax(lambda x: x.softmax(0)))
    assert "this looks like “softmax over the wrong axis”" in text
    assert "and one more thing: your function calls torch's softmax" in text


def test_the_line_that_raises_is_shown() -> None:
    def attempt(x: torch.Tensor) -> torch.Tensor:
        powers = x.exp()
        return powers / powers.sum(dim=7)

    text = repr(attention.softmax(attempt))
    assert "it stops with IndexError" in text
    assert "in the line `return powers / powers.sum(dim=7)`" in text
