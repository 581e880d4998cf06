"""`torchrun ... -m sdekit_cli sample`: two processes draw the samples of one; other commands are refused."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdekit.distributed import World


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
