"""Two processes under torchrun compute what one would have computed, and survive a death."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import largest
from safetensors.torch import load_file
from tiny_training import KINDS, options, tensors, tiny_batch, tiny_model, tiny_task, without_times

from bertlearn.files import untied_state
from bertlearn.training.checkpoint import find_checkpoints
from bertlearn.training.loop import train

TOLERANCE = {"modern": 1e-3, "electra": 1e-5}  # Muon rounds to bf16
SCRIPT = Path(__file__).parents[1] / "tiny_training.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two processes, with dropout: one dies at step 6 and both start again; then an undisturbed run."""
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    address = ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    ended = subprocess.run(
        [*launcher, *address, str(SCRIPT), "processes", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, float]]]:
    """One process, undisturbed, with the same global batch in the same parts."""
    folder, model = tmp_path_factory.mktemp("alone"), tiny_model()
    run = train(model, tiny_task(), options(micro_batch_size=2))
    model.save_pretrained(folder)
    return folder, run.history


@pytest.mark.parametrize("name", ["dying", "living"])
def test_two_processes_equal_one(folder: Path, alone: tuple[Path, list[dict[str, float]]], name: str) -> None:
    expected = tensors(alone[0])
    for rank in (0, 1):
        found = tensors(folder / f"{name}-model-{rank}")
        assert found.keys() == expected.keys()
        assert max(largest(found[tensor], expected[tensor]) for tensor in expected) < 1e-5
        history = without_times(json.loads((folder / f"{name}-{rank}.json").read_text()))
        for one, other in zip(history, without_times(alone[1]), strict=True):
            assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("kind", ["modern", "electra"])
def test_two_processes_equal_one_for_the_newer_runs(folder: Path, kind: str) -> None:
    made = KINDS[kind]
    model = made.model()
    train(model, made.task(tiny_batch), options(micro_batch_size=2, **made.options))
    expected, start = untied_state(model), untied_state(made.model())
    for rank in (0, 1):
        found = load_file(folder / f"{kind}-{rank}.safetensors")
        assert found.keys() == expected.keys()
        assert max(largest(found[name], expected[name]) for name in expected) < TOLERANCE[kind]
        assert max(largest(found[name], start[name]) for name in start) > 0.01


def test_processes_read_disjoint_data_and_together_all_of_it(folder: Path) -> None:
    read = [
        [tuple(map(int, line.split())) for line in (folder / f"living-1-{rank}.txt").read_text().splitlines()]
        for rank in (0, 1)
    ]
    numbers = [{first + i for first, count in batches for i in range(count)} for batches in read]
    assert not numbers[0] & numbers[1]
    assert numbers[0] | numbers[1] == set(range(8 * 8))
    assert sum(count for batches in read for _, count in batches) == 8 * 8  # none twice


def test_a_death_costs_the_steps_since_the_checkpoint(folder: Path) -> None:
    """Process 1 died in its first life; the second life begins where the checkpoint of step 5 was."""
    lives = [(folder / f"dying-{life}-0.txt").read_text().split() for life in (0, 1)]
    assert lives[0][0] == "0"
    assert lives[1][0] == str(5 * 8)


@pytest.mark.parametrize("name", ["dying", "living"])
def test_one_process_writes(folder: Path, name: str) -> None:
    names = sorted(path.name for path in (folder / name).iterdir())
    assert names == [".lock", "history.csv", "step-00000005.safetensors", "step-00000008.safetensors"]
    assert len(find_checkpoints(folder / name)) == 2


def test_the_first_process_has_the_callback_and_all_stop_at_its_request(folder: Path) -> None:
    first, second = (json.loads((folder / f"watched-{rank}.json").read_text()) for rank in (0, 1))
    assert first == [3, [0, 1, 2, 3]]
    assert second == [3, []]


def test_a_folder_in_use_is_refused_to_every_process(folder: Path) -> None:
    """While another process held the lock, both were told; process 1 did not wait for process 0 in vain."""
    for rank in (0, 1):
        message = (folder / f"refused-{rank}.txt").read_text(encoding="utf-8")
        assert message.startswith("another run is training in ")
