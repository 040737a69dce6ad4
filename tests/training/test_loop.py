"""The training loop: its arithmetic, exact resume, and what it does when something goes wrong."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import largest
from jupyter_client.manager import start_new_kernel
from tiny_training import (
    KILLS,
    KINDS,
    LONG,
    measure,
    options,
    run_to_the_end,
    tensors,
    tiny_batch,
    tiny_model,
    tiny_task,
    without_times,
)
from torch import nn

from bertlearn import files
from bertlearn.files import file_lock
from bertlearn.pretraining.masking import PretrainingBatch
from bertlearn.pretraining.run import pretraining_scores, pretraining_targets
from bertlearn.training import checkpoint, stopping
from bertlearn.training.checkpoint import CheckpointError, find_checkpoints, read_checkpoint
from bertlearn.training.loop import LOCK, train, write_start
from bertlearn.training.metrics import Progress, describe, read_history
from bertlearn.training.optim import learning_rate_at, make_optimizer
from bertlearn.training.step import derive_seed, micro_batch_size
from bertlearn.training.task import Task, TrainingError

SCRIPT = Path(__file__).parents[1] / "tiny_training.py"


def differences(one: nn.Module, other: nn.Module) -> float:
    return max(largest(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def same_bits(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def raising_at(first: int, act: Callable[[], object]) -> Callable[[int, int], PretrainingBatch]:
    """Return batches that do something when example `first` is asked for."""

    def batch(begin: int, count: int) -> PretrainingBatch:
        if begin == first:
            act()
        return tiny_batch(begin, count)

    return batch


# The arithmetic of a step.


def test_learning_rate_by_hand() -> None:
    chosen = options(steps=10, warmup=0.4, learning_rate=0.8)
    found = [learning_rate_at(step, chosen) for step in range(1, 11)]
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8] + [0.8 * left / 7 for left in (6, 5, 4, 3, 2, 1)])


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.0), (7, 0.99), (100, 0.0)])
def test_learning_rate_is_never_zero_nor_above_the_highest(steps: int, warmup: float) -> None:
    chosen = options(steps=steps, warmup=warmup, learning_rate=0.5)
    rates = [learning_rate_at(step, chosen) for step in range(1, steps + 1)]
    assert 0 < min(rates) <= max(rates) <= 0.5


def test_the_learning_rate_can_stay_at_its_peak() -> None:
    made = options(steps=10, warmup=0.2, stable=0.4, learning_rate=1.0)
    found = [learning_rate_at(step, made) for step in range(1, 11)]
    assert found == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    with pytest.raises(ValueError, match=r"warmup=0\.5 and stable=0\.5 leave no step"):
        options(warmup=0.5, stable=0.5)


def test_muon_has_the_matrices_of_the_layers_and_adamw_the_rest() -> None:
    model = tiny_model()
    muon, adamw = make_optimizer(model, options(optimizer="muon", weight_decay=0.3)).parts
    names = {id(parameter): name for name, parameter in model.named_parameters()}

    def own(part: torch.optim.Optimizer) -> set[str]:
        return {names[id(parameter)] for group in part.param_groups for parameter in group["params"]}

    matrices = {name for name, parameter in model.named_parameters() if parameter.dim() == 2}
    assert own(muon) == {name for name in matrices if ".layer." in name}
    assert len(own(muon)) == 12
    assert own(adamw) == set(names.values()) - own(muon)
    assert {group["multiplier"] for group in muon.param_groups} == {0.02 / options().learning_rate}


def test_a_step_of_muon_moves_along_an_orthogonal_matrix() -> None:
    model = torch.nn.ModuleDict({"layers": torch.nn.ModuleList([torch.nn.Linear(6, 6)])})
    weight = model["layers"][0].weight
    optimizer = make_optimizer(model, options(optimizer="muon", weight_decay=0.0))
    before = weight.detach().clone()
    weight.grad = torch.randn(6, 6, generator=torch.Generator().manual_seed(0))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.step()
    singular = torch.linalg.svdvals((before - weight.detach()) / 0.1)
    assert 0.6 < singular.min() < singular.max() < 1.3


def test_no_decay_for_biases_and_layer_norm_and_the_tied_matrix_once() -> None:
    model = tiny_model()
    decayed, free = make_optimizer(model, options(weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all(names[id(p)].endswith("bias") or "LayerNorm" in names[id(p)] for p in free["params"])
    assert not any(names[id(p)].endswith("bias") or "LayerNorm" in names[id(p)] for p in decayed["params"])
    every = [id(p) for p in decayed["params"] + free["params"]]
    assert sorted(every) == sorted(names)
    assert every.count(id(model.cls.predictions.decoder.weight)) == 1


class Line(nn.Module):
    """One matrix and one bias, whose loss and gradient can be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))
        self.bias = nn.Parameter(torch.tensor([0.5]))
        self.frozen = nn.Parameter(torch.tensor([[7.0]]), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T + self.bias


class Numbers(tuple):
    """A batch of one tensor."""

    def __new__(cls, x: torch.Tensor) -> Numbers:
        return super().__new__(cls, (x,))


def line_task(x: torch.Tensor) -> Task:
    """Two inputs and, in the third column, how much the row counts."""
    return tiny_task(
        lambda first, count: Numbers(x[first : first + count]),
        count=lambda batch: {"line": len(batch[0])},
        score=lambda model, batch: {
            "line": ((batch[0][:, 2:] * model(batch[0][:, :2])).sum(), torch.tensor(0))
        },
        evaluate=None,
    )


def test_two_steps_by_hand() -> None:
    """The first gradient is short enough, the second is cut to length 1; then AdamW as published."""
    model = Line()
    x = torch.tensor([[3.0, 0.0, 0.2], [1.0, -4.0, 0.2], [3.0, 0.0, 2.0], [1.0, -4.0, 2.0]])
    chosen = options(steps=2, batch_size=2, learning_rate=0.1, warmup=0.5, weight_decay=0.2, log_every=1)
    run = train(model, line_task(x), chosen)
    assert [record["grad_norm"] for record in run.history] == pytest.approx([0.6, 6.0])
    values, decay = [1.0, -2.0, 0.5], [0.2, 0.2, 0.0]
    first, second = [0.0] * 3, [0.0] * 3
    gradients = [[0.4, -0.4, 0.2], [4 / 6, -4 / 6, 2 / 6]]  # means of 0.2 and 2 times (x, 1); 6 is the length
    for step, rate in ((1, 0.1), (2, 0.05)):
        for i, g in enumerate(gradients[step - 1]):
            first[i] = 0.9 * first[i] + 0.1 * g
            second[i] = 0.98 * second[i] + 0.02 * g * g
            values[i] -= rate * decay[i] * values[i]
            root = math.sqrt(second[i] / (1 - 0.98**step)) + 1e-6
            values[i] -= rate * (first[i] / (1 - 0.9**step)) / root
    assert [*model.weight[0].tolist(), model.bias.item()] == pytest.approx(values, rel=1e-5)
    assert model.frozen.item() == 7.0


def test_dropout_is_another_in_each_part_and_step_and_follows_from_the_seed() -> None:
    def draws(seed: int) -> list[float]:
        found = []

        def score(model: nn.Module, batch: PretrainingBatch) -> dict:
            found.append(torch.rand(()).item())
            return pretraining_scores(model, batch)

        train(tiny_model(), tiny_task(score=score, evaluate=None), options(micro_batch_size=4, seed=seed))
        return found

    one, same, other = draws(0), draws(0), draws(1)
    assert one == same
    assert len(set(one + other)) == 2 * 2 * 8


@pytest.mark.parametrize("size", [1, 2, 4])
def test_parts_add_up_to_the_whole(size: int) -> None:
    """Parts have unequal numbers of targets: a mean of means would be another gradient."""
    whole, parts = tiny_model(dropout=0.0).double(), tiny_model(dropout=0.0).double()
    one = train(whole, tiny_task(), options(steps=3))
    other = train(parts, tiny_task(), options(steps=3, micro_batch_size=size))
    assert differences(whole, parts) < 1e-6
    assert other.history[-1]["mlm_loss"] == pytest.approx(one.history[-1]["mlm_loss"], rel=1e-6)
    counts = {pretraining_targets(tiny_batch(first, 4))["mlm"] for first in (0, 4)}
    assert len(counts) == 2


def test_the_history_is_the_mean_over_targets() -> None:
    model = tiny_model(dropout=0.0)
    batch = tiny_batch(0, 8)
    scores, counts = pretraining_scores(model, batch), pretraining_targets(batch)
    run = train(model, tiny_task(), options(steps=1, micro_batch_size=2))
    (record,) = run.history
    for name, (loss, correct) in scores.items():
        assert record[f"{name}_loss"] == pytest.approx(loss.item() / counts[name], rel=1e-5)
        assert record[f"{name}_accuracy"] == pytest.approx(correct.item() / counts[name])
    assert record["tokens"] == 8 * 12


def test_one_batch_is_learned_by_heart() -> None:
    model = tiny_model(dropout=0.0)
    task = tiny_task(lambda first, count: tiny_batch(0, count), evaluate=None)
    chosen = options(steps=250, batch_size=8, learning_rate=1e-2, log_every=25, weight_decay=0.0)
    last = train(model, task, chosen).history[-1]
    assert last["mlm_loss"] < 0.02
    assert last["nsp_loss"] < 0.02
    assert last["mlm_accuracy"] == last["nsp_accuracy"] == 1


def test_the_model_comes_back_in_evaluation_mode_and_chance_outside_is_untouched() -> None:
    model = tiny_model()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run = train(model, tiny_task(), options())
    assert torch.equal(torch.rand(3), expected)
    assert not model.training
    assert run.finished
    assert run.summary.startswith("done at step 8 of 8, ")
    assert [record["step"] for record in run.history] == [3, 4, 6, 8]
    assert [("valid_mlm_loss" in record) for record in run.history] == [False, True, False, True]


def test_bf16_and_fp32_differ_but_little() -> None:
    one, other = tiny_model(dropout=0.0), tiny_model(dropout=0.0)
    train(one, tiny_task(), options(steps=3))
    train(other, tiny_task(), options(steps=3, precision="bf16"))
    assert 0 < differences(one, other) < 0.02


def test_seeds_of_neighbors_are_far_apart() -> None:
    seeds = {derive_seed(a, b, c) for a in range(6) for b in range(6) for c in range(6)}
    assert len(seeds) == 216
    assert min(seeds) >= 0
    assert max(seeds) < 2**63


@pytest.mark.parametrize(
    ("batch_size", "micro", "processes", "size"), [(32, 0, 1, 32), (32, 0, 4, 8), (32, 4, 2, 4), (6, 1, 3, 1)]
)
def test_a_step_is_divided_evenly(batch_size: int, micro: int, processes: int, size: int) -> None:
    assert micro_batch_size(options(batch_size=batch_size, micro_batch_size=micro), processes) == size


@pytest.mark.parametrize(
    ("batch_size", "micro", "processes", "unit"),
    [(32, 0, 3, 3), (32, 5, 1, 5), (2, 0, 4, 4), (32, 32, 2, 64)],
)
def test_a_step_that_cannot_be_divided_is_refused(
    batch_size: int, micro: int, processes: int, unit: int
) -> None:
    with pytest.raises(ValueError, match=f"make batch_size a multiple of {unit}$"):
        micro_batch_size(options(batch_size=batch_size, micro_batch_size=micro), processes)


# Exact resume.


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, list[dict[str, float]]]:
    model = tiny_model()
    run = train(model, tiny_task(), options(), tmp_path_factory.mktemp("undisturbed") / "run")
    return model, run.history


@pytest.mark.parametrize("step", [1, 3, 4, 5, 7, 8])
def test_a_stopped_run_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: tuple[nn.Module, list[dict[str, float]]], step: int
) -> None:
    """Stopped between two records (1, 7), at a record (3), at an evaluation, a checkpoint, the end."""
    model, handler = tiny_model(), signal.getsignal(signal.SIGINT)
    task = tiny_task(count=stopped_in(step, signal.SIGINT if step % 2 else signal.SIGTERM))
    run = train(model, task, options(), tmp_path)
    assert run.step == step
    assert run.finished == (step == 8)
    assert run.history[-1]["step"] == step  # the steps since the last record as well
    assert not model.training
    assert find_checkpoints(tmp_path)[0].name == f"step-{step:08d}.safetensors"
    assert signal.getsignal(signal.SIGINT) is handler
    again = tiny_model(seed=9)
    finished = train(again, tiny_task(), options(), tmp_path, resume=True)
    expected, history = undisturbed
    assert finished.finished
    assert same_bits(again, expected)
    assert without_times(finished.history) == without_times(history)
    assert without_times(read_history(tmp_path / "history.csv")) == without_times(history)
    assert f"(resumed at {step})" in finished.summary


@pytest.mark.parametrize("until", [4, 7])
def test_a_run_in_two_pieces_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: tuple[nn.Module, list[dict[str, float]]], until: int
) -> None:
    model = tiny_model()
    first = train(model, tiny_task(), options(), tmp_path, until=until)
    assert (first.step, first.finished) == (until, False)
    second = train(model, tiny_task(), options(), tmp_path, resume=True, until=100)
    assert (second.step, second.finished) == (8, True)
    assert same_bits(model, undisturbed[0])
    assert without_times(second.history) == without_times(undisturbed[1])


def test_a_run_can_begin_in_the_middle_with_weights_alone(tmp_path: Path) -> None:
    """The course's snapshots: the schedule is that of the step, AdamW begins anew."""
    start, model = tiny_model(seed=4).eval(), tiny_model()
    write_start(start, tiny_task(), options(), 5, tmp_path)
    assert not start.training
    read = []

    def batch(first: int, count: int) -> PretrainingBatch:
        read.append(first)
        return tiny_batch(first, count)

    run = train(model, tiny_task(batch), options(log_every=1), tmp_path, resume=True, until=6)
    assert read[0] == 5 * 8
    assert [record["step"] for record in run.history] == [6]
    assert run.history[0]["learning_rate"] == learning_rate_at(6, options())
    assert 0 < differences(model, start) < 3 * learning_rate_at(6, options())  # a first step of AdamW


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_start(tiny_model(), tiny_task(), options(), 5, "~/run")
    train(tiny_model(), tiny_task(), options(log_every=1), "~/run", resume=True, until=6)
    assert [record["step"] for record in read_history("~/run/history.csv")] == [6]


def test_a_callback_sees_the_run_and_changes_nothing(
    undisturbed: tuple[nn.Module, list[dict[str, float]]], capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, int, int, int, bool]] = []

    def callback(progress: Progress) -> bool:
        torch.rand(5)  # even a draw there changes nothing
        told.append((progress.step, progress.until, progress.tokens, len(progress.history), progress.running))
        return False

    model = tiny_model()
    run = train(model, tiny_task(), options(), callback=callback)
    records = [0, 0, 0, 1, 2, 2, 3, 3, 4]  # after steps 3, 4, 6 and 8
    assert told == [(step, 8, 96 * step, records[step], step < 8) for step in range(9)]
    assert run.finished
    assert same_bits(model, undisturbed[0])
    assert without_times(run.history) == without_times(undisturbed[1])
    assert "step" not in capsys.readouterr().err  # no bar beside it
    train(tiny_model(), tiny_task(), options())
    assert "8/8" in capsys.readouterr().err


@pytest.mark.parametrize("step", [1, 5, 8])
def test_a_callbacks_stop_request_is_as_a_ctrl_c(
    tmp_path: Path, undisturbed: tuple[nn.Module, list[dict[str, float]]], step: int
) -> None:
    model = tiny_model()
    run = train(model, tiny_task(), options(), tmp_path, callback=lambda progress: progress.step == step - 1)
    assert (run.step, run.finished) == (step, step == 8)  # the step in progress was the last
    assert find_checkpoints(tmp_path)[0].name == f"step-{step:08d}.safetensors"
    finished = train(model, tiny_task(), options(), tmp_path, resume=True)
    assert same_bits(model, undisturbed[0])
    assert without_times(finished.history) == without_times(undisturbed[1])


def test_a_callback_is_told_of_the_end_of_a_run_that_fails() -> None:
    told: list[Progress] = []
    with pytest.raises(OSError, match="gone"):
        train(tiny_model(), tiny_task(raising_at(16, gone)), options(), callback=told.append)
    assert [(progress.step, progress.running) for progress in told] == [(0, True), (1, False)]


def gone() -> None:
    raise OSError("gone")


def stopped_in(step: int, request: signal.Signals) -> Callable[[PretrainingBatch], dict[str, int]]:
    """Return a `count` that sends this process a signal in the given step."""
    calls = []

    def count(batch: PretrainingBatch) -> dict[str, int]:
        calls.append(batch)
        if len(calls) == step:
            signal.raise_signal(request)
        return pretraining_targets(batch)

    return count


def test_the_stop_button_of_a_notebook_ends_the_run_with_a_checkpoint(tmp_path: Path) -> None:
    """A kernel gets the interrupt that JupyterLab's button sends; the cell ends without an error."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(Path(__file__).parents[1]))
    pressed, said = [], []

    def listen(message: dict[str, Any]) -> None:
        said.append(message["content"].get("text", ""))  # what is printed; not the cell's own text
        if "TRAINING" in said[-1] and not pressed:
            pressed.append(manager.interrupt_kernel())

    cell = f"""
from tiny_training import *
told = lambda batch: print("TRAINING") or pretraining_targets(batch)
run = train(tiny_model(), tiny_task(count=told), options(steps=100_000), {str(tmp_path)!r})
print("ENDED", run.step, run.finished)
"""
    try:
        reply = client.execute_interactive(cell, output_hook=listen, timeout=120)
        assert reply["content"]["status"] == "ok", reply["content"].get("traceback")
        step = int(find_checkpoints(tmp_path)[0].name[5:13])
        assert f"ENDED {step} False" in "".join(said) and 0 < step < 100_000
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_second_stop_interrupts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "REPEATED", 0.0)

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    model, handler = tiny_model(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(model, tiny_task(raising_at(16, twice)), options(), tmp_path)
    assert not model.training
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_same_stop_told_twice_counts_once(tmp_path: Path) -> None:
    """A terminal and torchrun both pass a Ctrl-C on."""

    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    run = train(tiny_model(), tiny_task(raising_at(16, twice)), options(), tmp_path)
    assert not run.finished
    assert len(find_checkpoints(tmp_path)) == 1


def test_a_finished_run_is_resumed_without_a_step(tmp_path: Path) -> None:
    model, again = tiny_model(), tiny_model(seed=3)
    first = train(model, tiny_task(), options(), tmp_path)
    (tmp_path / "history.csv").unlink()

    def never(first: int, count: int) -> PretrainingBatch:
        raise AssertionError("no batch is needed any more")

    run = train(again, tiny_task(never), options(), tmp_path, resume=True)
    assert (run.step, run.finished, run.history) == (8, True, first.history)
    assert same_bits(model, again)
    assert without_times(read_history(tmp_path / "history.csv")) == without_times(run.history)


def test_frozen_and_unused_parameters_are_resumed(tmp_path: Path) -> None:
    def frozen() -> nn.Module:
        model = tiny_model()
        model.bert.embeddings.requires_grad_(False)
        return model

    def without_pairs(first: int, count: int) -> PretrainingBatch:
        return tiny_batch(first, count)._replace(next_sentence_label=None)  # the pooler is not needed

    model, expected = frozen(), frozen()
    train(expected, tiny_task(without_pairs), options())
    train(model, tiny_task(without_pairs, count=stopped_in(4, signal.SIGINT)), options(), tmp_path)
    train(model, tiny_task(without_pairs), options(), tmp_path, resume=True)
    assert same_bits(model, expected)
    start = tiny_model()
    assert torch.equal(
        model.bert.embeddings.position_embeddings.weight, start.bert.embeddings.position_embeddings.weight
    )
    assert torch.equal(model.cls.seq_relationship.weight, start.cls.seq_relationship.weight)


def test_a_run_is_not_overwritten(tmp_path: Path) -> None:
    train(tiny_model(), tiny_task(), options(steps=1), tmp_path)
    with pytest.raises(FileExistsError, match="has checkpoints of an earlier run: resume it"):
        train(tiny_model(), tiny_task(), options(steps=1), tmp_path)


def test_a_second_run_in_the_same_folder_is_refused_before_its_first_batch(tmp_path: Path) -> None:
    def second() -> None:
        for resume in (False, True):
            with pytest.raises(TrainingError, match=r"another run is training in .*choose another folder"):
                train(tiny_model(), tiny_task(raising_at(0, pytest.fail)), options(), tmp_path, resume)

    expected = tiny_model()
    train(expected, tiny_task(), options())
    model = tiny_model()
    train(model, tiny_task(raising_at(16, second)), options(), tmp_path)
    assert same_bits(model, expected)
    assert train(tiny_model(), tiny_task(), options(), tmp_path, resume=True).finished  # the lock is gone


def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from bertlearn.files import file_lock\n"
        "with file_lock(Path(sys.argv[1]), wait=False) as held:\n"
        "    print(held, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    path = tmp_path / LOCK
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "True\n"
        with file_lock(path, wait=False) as held:
            assert not held
        other.kill()
        other.wait()
    with file_lock(path, wait=False) as held:
        assert held
    assert path.is_file()


def test_a_run_on_a_file_system_without_locks_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if sys.platform == "win32":
        monkeypatch.setattr(files.msvcrt, "locking", fail)
    else:
        monkeypatch.setattr(files.fcntl, "flock", fail)
    with pytest.warns(UserWarning, match=r"\.lock cannot be locked \(.*No locks .*not kept out"):
        assert train(tiny_model(), tiny_task(), options(steps=1), tmp_path).finished


@pytest.mark.parametrize("steps", [1, 9])
def test_another_number_of_steps_is_another_schedule_and_refused(tmp_path: Path, steps: int) -> None:
    train(tiny_model(), tiny_task(), options(), tmp_path, until=5)
    with pytest.raises(CheckpointError, match=rf"steps is 8 there and {steps} here\nresume with the options"):
        train(tiny_model(), tiny_task(), options(steps=steps), tmp_path, resume=True)


def test_another_run_is_not_resumed_and_each_difference_is_named(tmp_path: Path) -> None:
    train(tiny_model(), tiny_task(), options(steps=2), tmp_path)
    with pytest.raises(CheckpointError) as error:
        train(
            tiny_model(), tiny_task(name="other"), options(steps=2, learning_rate=0.5), tmp_path, resume=True
        )
    assert "data is 'counting' there and 'other' here" in str(error.value)
    assert "learning_rate is 0.003 there and 0.5 here" in str(error.value)
    assert "seed" not in str(error.value)


@pytest.mark.parametrize("until", [2.5, -1, "5", True])
def test_a_last_step_that_is_no_whole_number_is_refused(until: object) -> None:
    with pytest.raises(ValueError, match=f"until={until!r} must be a whole number of at least 0"):
        train(tiny_model(), tiny_task(), options(), until=until)


def test_arguments_of_another_type_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"options is \{'steps': 3\}, expected TrainingOptions; use Training"
    ):
        train(tiny_model(), tiny_task(), {"steps": 3})
    with pytest.raises(ValueError, match="callback=5 is int, expected a function of the progress"):
        train(tiny_model(), tiny_task(), options(), callback=5)


def test_a_run_without_a_folder_cannot_be_resumed() -> None:
    with pytest.raises(ValueError, match="resume=True without a folder has nothing to continue; give the f"):
        train(tiny_model(), tiny_task(raising_at(0, pytest.fail)), options(), resume=True)


def test_weights_in_half_precision_are_refused() -> None:
    """Updates of this size are lost: 1 + 2e-3 is 1 in bf16."""
    assert (torch.tensor(1.0, dtype=torch.bfloat16) + 2e-3).item() == 1.0
    with pytest.raises(
        ValueError, match=r"the weights are torch\.bfloat16, .*; use model\.float\(\), and prec"
    ):
        train(tiny_model().bfloat16(), tiny_task(), options())


def test_a_task_is_told_of_the_start_and_of_each_evaluation(tmp_path: Path) -> None:
    told: list[object] = []
    task = tiny_task(
        started=lambda history: told.append([record["step"] for record in history]),
        evaluated=lambda model, record: told.append((record["step"], record["valid_mlm_loss"])),
    )
    train(tiny_model(), task, options(), tmp_path, until=5)
    run = train(tiny_model(), task, options(), tmp_path, resume=True)
    losses = {record["step"]: record.get("valid_mlm_loss") for record in run.history}
    assert told == [[], (4, losses[4]), [3, 4], (8, losses[8])]


def test_another_model_is_not_filled(tmp_path: Path) -> None:
    train(Line(), line_task(torch.ones(2, 3)), options(steps=1, batch_size=2), tmp_path)
    wide = Line()
    wide.weight = nn.Parameter(torch.zeros(2, 2))
    with pytest.raises(CheckpointError, match=r"of another model; tensors that differ: model\.weight$"):
        train(wide, line_task(torch.ones(2, 3)), options(steps=1, batch_size=2), tmp_path, resume=True)


def test_what_does_not_change_the_result_may_change(tmp_path: Path) -> None:
    train(tiny_model(), tiny_task(), options(steps=2), tmp_path)
    changed = options(steps=2, keep=7, log_every=1, checkpoint_every=1, evaluate_every=1)
    assert train(tiny_model(), tiny_task(), changed, tmp_path, resume=True).finished


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_killed_twenty_times_ends_with_the_same_bits(tmp_path: Path, kind: str) -> None:
    """Killed at random moments, before fsync and before the rename; also stopped by SIGTERM and SIGINT."""
    quiet = tmp_path / "quiet"
    undisturbed = run_to_the_end(quiet, kind=kind)
    ended = subprocess.run(
        [sys.executable, str(SCRIPT), "kills", str(tmp_path / "killed"), kind],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    report = json.loads(ended.stdout)
    assert report["deaths"] == KILLS
    assert report["leftovers"] >= 3
    assert report["polite"] == [[0, 2, False]] * 2  # ended by itself, with checkpoints, not at the last step
    assert without_times(report["history"]) == without_times(undisturbed.history)
    one, other = tensors(quiet), tensors(tmp_path / "killed")
    assert all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())
    assert [path.name for path in (tmp_path / "killed").glob(".*")] == [LOCK]
    steps = [path.name for path in find_checkpoints(tmp_path / "killed")]
    assert steps == [f"step-{LONG['steps'] - back:08d}.safetensors" for back in (0, 1)]


# What goes wrong.


def spoiled(loss: torch.Tensor, model: nn.Module, how: str) -> torch.Tensor:
    """Spoil a loss: together with its gradient, alone, or its gradient alone."""
    zero = 0 * model.cls.predictions.bias.sum()
    return loss + {"nan": zero * math.nan, "inf": math.inf, "gradient": zero.sqrt()}[how]


@pytest.mark.parametrize("how", ["nan", "inf", "gradient"])
def test_a_loss_that_is_not_finite_stops_before_the_step(tmp_path: Path, how: str) -> None:
    calls = []

    def score(model: nn.Module, batch: PretrainingBatch) -> dict:
        calls.append(batch)
        scores = pretraining_scores(model, batch)
        loss, correct = scores["mlm"]
        return {**scores, "mlm": (spoiled(loss, model, how) if len(calls) == 6 else loss, correct)}

    model, expected = tiny_model(), tiny_model()
    with pytest.raises(TrainingError) as error:
        train(model, tiny_task(score=score, evaluate=None), options(), tmp_path)
    text = str(error.value)
    assert f"not finite at step 6: mlm loss {'4.' if how == 'gradient' else how}" in text
    assert "nsp loss 0." in text
    assert "learning rate 0.00129, gradient norm " in text  # 3e-3 · 3 / 7
    assert f"the state after step 5 is kept in {tmp_path}" in text
    train(expected, tiny_task(count=stopped_in(5, signal.SIGINT)), options())
    assert same_bits(model, expected)
    newest = read_checkpoint(find_checkpoints(tmp_path)[0])
    assert newest.step == 5
    assert torch.equal(newest.tensors["model.cls.predictions.bias"], expected.cls.predictions.bias)
    assert all(math.isfinite(loss) for loss in newest.metadata["metrics"]["losses"].values())


def test_a_loss_that_is_never_finite_leaves_a_state_that_can_be_read(tmp_path: Path) -> None:
    model = tiny_model()
    nn.init.constant_(model.cls.predictions.bias, math.inf)
    with pytest.raises(TrainingError, match=r"at step 1: mlm loss nan.*the state after step 0 is kept"):
        train(model, tiny_task(), options(), tmp_path)
    with pytest.raises(TrainingError, match="at step 1"):
        train(model, tiny_task(), options(), tmp_path, resume=True)


def memory_for(sequences: int) -> Callable[[nn.Module, PretrainingBatch], dict]:
    """Return a `score` that runs out of memory above a number of sequences."""

    def score(model: nn.Module, batch: PretrainingBatch) -> dict:
        if len(batch.input_ids) > sequences:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines")
        return pretraining_scores(model, batch)

    return score


@pytest.mark.parametrize(("size", "smaller"), [(12, 6), (15, 5), (2, 1)])
def test_out_of_memory_names_a_smaller_size(size: int, smaller: int) -> None:
    task = tiny_task(score=memory_for(size - 1))
    with pytest.raises(TrainingError) as error:
        train(tiny_model(), task, options(batch_size=size, steps=2))
    text = str(error.value)
    assert f"out of memory at step 1 with micro_batch_size={size} (CUDA out of memory. Tried to all" in text
    assert f"; use a smaller micro_batch_size, such as {smaller}: " in text
    assert f"the result is still that of batch_size={size}" in text
    assert train(tiny_model(), task, options(batch_size=size, steps=2, micro_batch_size=smaller)).finished


def test_out_of_memory_for_a_single_sequence_says_what_to_do() -> None:
    with pytest.raises(TrainingError, match="not even one sequence fits: use shorter sequences"):
        train(tiny_model(), tiny_task(score=memory_for(0)), options(micro_batch_size=1))


def test_a_full_disk_costs_the_new_checkpoint_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, expected = tiny_model(), tiny_model()
    train(expected, tiny_task(), options())
    save, saves = checkpoint.save_file, []

    def full_from_the_second_on(tensors: dict, path: Path, metadata: dict) -> None:
        saves.append(path)
        if len(saves) > 1:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(tensors, path, metadata=metadata)

    monkeypatch.setattr(checkpoint, "save_file", full_from_the_second_on)
    with pytest.warns(UserWarning, match="no checkpoint at step 8 .*No space left"):
        run = train(model, tiny_task(), options(), tmp_path)
    assert run.finished
    assert same_bits(model, expected)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".lock", "history.csv", "step-00000005.safetensors"]
    assert read_checkpoint(find_checkpoints(tmp_path)[0]).step == 5


def failing_at(last: int) -> Callable[[nn.Module], dict[str, float]]:
    """Return an evaluation that works until its call number `last`."""
    calls = iter(range(1, last + 1))
    return lambda model: measure(model) if next(calls) < last else 1 / 0


def test_an_evaluation_that_fails_costs_no_step(tmp_path: Path) -> None:
    """A resumed run makes up for the evaluation, and ends as if it had not failed."""
    plan = options(steps=6, evaluate_every=2, checkpoint_every=6, log_every=6)
    whole = tiny_model()
    expected = train(whole, tiny_task(), plan)
    for step in (2, 4, 6):  # the evaluation after each fails once
        task = tiny_task(evaluate=failing_at(1 if step == 2 else 2))
        with pytest.raises(ZeroDivisionError):
            train(tiny_model(), task, plan, tmp_path, resume=True)
        assert read_checkpoint(find_checkpoints(tmp_path)[0]).step == step
    resumed = tiny_model()
    run = train(resumed, tiny_task(), plan, tmp_path, resume=True)
    assert run.finished and same_bits(resumed, whole)
    assert without_times(run.history) == without_times(expected.history)


def test_evaluation_sees_the_model_without_dropout_and_gradient() -> None:
    seen = []

    def evaluate(model: nn.Module) -> dict[str, float]:
        seen.append((model.training, torch.is_grad_enabled()))
        torch.rand(5)  # even a draw there changes nothing
        return measure(model)

    one, other = tiny_model(), tiny_model()
    train(one, tiny_task(evaluate=evaluate), options())
    train(other, tiny_task(evaluate=None), options())
    assert seen == [(False, False)] * 2
    assert same_bits(one, other)


def test_a_line_tells_what_was_asked() -> None:
    record = {"step": 3, "mlm_loss": 2.0, "mlm_accuracy": 0.25, "tokens_per_second": 1234.5}
    assert describe(record) == "mlm_loss 2.000, mlm_accuracy 0.250, 1,234 tokens/s"
    assert describe(record, ("loss",)) == "mlm_loss 2.000, 1,234 tokens/s"
