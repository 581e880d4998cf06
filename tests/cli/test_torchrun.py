"""`torchrun ... -m sdekit_cli`: two processes sample and train as one process does; other commands are refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdekit.distributed import World
from sdekit.runs import MODEL, load_run, load_tensors


@pytest.mark.slow
def test_two_processes_draw_what_one_draws(sdekit: Callable[..., Any], moons_run: Path, tmp_path: Path) -> None:
    """Two processes draw the same bits as one with equal batches, and only one of them prints."""
    how = ("--solver", "ddpm", "--steps", 6, "--seeds", "3,5-8", "--batch-size", 1, "--json")
    assert sdekit("sample", moons_run, "--out", tmp_path / "one", *how).code == 0
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "sdekit_cli"]
    command = list(map(str, [*start, "sample", moons_run, "--out", tmp_path / "two", *how]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1 and json.loads(ended.stdout)["n"] == 5
    first, second = (np.load(tmp_path / name / "samples.npy") for name in ("one", "two"))
    assert np.array_equal(first, second)
    records = [json.loads((tmp_path / name / "sample.json").read_text()) for name in ("one", "two")]
    assert [record["processes"] for record in records] == [1, 2]
    assert all(records[0][key] == records[1][key] for key in ("seeds", "nfe", "times", "solver", "labels"))


@pytest.mark.slow
def test_two_processes_encode_what_one_encodes(sdekit: Callable[..., Any], moons_run: Path, tmp_path: Path) -> None:
    """Latents of two processes are those of one, with one item left over, and only one of them prints."""
    how = ("-n", 5, "--solver", "heun", "--steps", 5, "--batch-size", 2, "--json")
    assert sdekit("encode", moons_run, *how, "--out", tmp_path / "one").code == 0
    command = list(map(str, [*TORCHRUN, "encode", moons_run, *how, "--out", tmp_path / "two"]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    first, second = (np.load(tmp_path / name / "latents.npy") for name in ("one", "two"))
    assert np.array_equal(first, second)


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "sdekit_cli")
TRAIN = ("--data", "moons", "--network", "mlp", "--option", "network.width=8", "--option", "network.depth=1",
         "--option", "train.preview_every=0", "--batch-size", "7", "--option", "train.log_every=1",
         "--checkpoint-every", "20")  # fmt: skip


def started(out: Path, steps: int) -> subprocess.Popen[str]:
    """A training of two processes that has written its first rows of metrics."""
    command = [*TORCHRUN, "train", *TRAIN, "--out", str(out), "--steps", str(steps)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None and not (out / MODEL).exists():
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_two_processes_train_what_one_trains(sdekit: Callable[..., Any], tmp_path: Path) -> None:
    """Ctrl-C ends both at one step, one process resumes, and the result is that of one process; one process prints."""
    out = tmp_path / "two"
    process = started(out, 150)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=200)
    step = load_run(out).step
    assert 20 <= step < 150 and process.returncode != 0
    assert messages.count(f"stopped at step {step} and saved: go on with") == 1, messages
    assert messages.count("training mlp") == 1 and "on cpu in 2 processes" in messages
    assert sdekit("train", "--out", out, "--resume").code == 0
    assert sdekit("train", *TRAIN, "--out", tmp_path / "one", "--steps", 150).code == 0
    one, two = (load_tensors(path / MODEL)[0] for path in (tmp_path / "one", out))
    assert all(torch.allclose(one[name], two[name], atol=1e-4) for name in one)


@pytest.mark.slow
def test_a_process_that_is_killed(tmp_path: Path) -> None:
    """The other one prints one message, which names the last checkpoint, and all end."""
    out = tmp_path / "run"
    process = started(out, 10**6)
    workers = [pid for pid in children(process.pid) if b"RANK=1" in Path(f"/proc/{pid}/environ").read_bytes()]
    os.kill(workers[0], signal.SIGKILL)
    _, messages = process.communicate(timeout=200)
    (line,) = [line for line in messages.splitlines() if line.startswith("error: ")]
    assert process.returncode == 1 and "process 0 of 2: another of the 2 processes ended" in line
    assert "is kept (--resume goes on from it)" in line and load_run(out).step >= 20


def children(pid: int) -> list[int]:
    """Process numbers of the children of a process."""
    return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_other_commands_are_refused(
    monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str], tmp_path: Path
) -> None:
    """A command that does not share its work is refused under torchrun."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("sdekit.distributed.world", lambda: World(0, 2))
    monkeypatch.setattr("sdekit.distributed.together", nullcontext)
    monkeypatch.setattr("sdekit.distributed.leave", lambda: None)
    message = refused("tune", tmp_path / "run", "--nfe", 8)
    assert message.startswith("sdekit tune runs in one process, and torchrun started 2: start it without torchrun")
