"""Several processes, one result: the same samples as one process draws, one voice, one end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sdekit import distributed
from sdekit.distributed import World

ENVIRONMENT = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_parts_are_all_of_it_in_order(n: int, size: int) -> None:
    """No item twice, none left out; the first process has one at least, and shares differ by one at most."""
    parts = [range(n)[World(rank, size).part(n)] for rank in range(size)]
    assert [item for part in parts for item in part] == list(range(n))
    assert len(parts[0]) == max(map(len, parts)) >= 1 and len(parts[0]) - min(map(len, parts)) <= 1


def test_alone_without_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stray WORLD_SIZE, as some clusters set it, is not torchrun's word."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert distributed.world() == World()
    for name, value in zip(ENVIRONMENT, ("3", "8", "1", "localhost", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    assert distributed.world() == World(3, 8, 1)


def torchrun(*arguments: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """`torchrun --nproc-per-node N -m sdekit_cli ARGUMENTS` on a free port."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*start, "-m", "sdekit_cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLP of a few steps on moons."""
    out = tmp_path_factory.mktemp("distributed") / "run"
    tiny = ("network.width=16", "network.depth=1", "data.n=200", "train.warm_up=0")
    options = [part for option in tiny for part in ("--option", option)]
    command = [sys.executable, "-m", "sdekit_cli", "train", "--data", "moons", "--network", "mlp", "--steps", "20"]
    subprocess.run([*command, "--out", str(out), *options], check=True, capture_output=True, timeout=240)
    return out


@pytest.mark.slow
def test_two_processes_draw_what_one_draws(run: Path, tmp_path: Path) -> None:
    """A stochastic sampler, an odd number of seeds: the same bits where the batches are the same."""
    how = ("--solver", "ddpm", "--steps", 6, "--seeds", "3,5-8", "--batch-size", 1)
    one = [sys.executable, "-m", "sdekit_cli", "sample", run, "--out", tmp_path / "one", *how]
    subprocess.run(list(map(str, one)), check=True, capture_output=True, timeout=240)
    ended = torchrun("sample", run, "--out", tmp_path / "two", *how, "--json")
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1 and json.loads(ended.stdout)["n"] == 5
    first, second = (np.load(tmp_path / name / "samples.npy") for name in ("one", "two"))
    assert np.array_equal(first, second)
    records = [json.loads((tmp_path / name / "sample.json").read_text()) for name in ("one", "two")]
    assert [record["processes"] for record in records] == [1, 2]
    assert all(records[0][key] == records[1][key] for key in ("seeds", "nfe", "times", "solver"))


@pytest.mark.slow
def test_an_error_is_told_once_and_ends_all(run: Path, tmp_path: Path) -> None:
    """A command that cannot be shared does nothing."""
    ended = torchrun("train", "--data", "moons", "--out", tmp_path / "new", "--steps", 5)
    assert ended.returncode != 0 and not (tmp_path / "new").exists()
    assert ended.stderr.count("sdekit train runs in one process, and torchrun started 2") == 1


FAILS = """
import os, sys
from sdekit.distributed import together, leave, world
from sdekit.errors import InputError, SdekitError
try:
    with together():
        if world().rank == 1:
            raise InputError("the disk of this machine is full")
        from sdekit.distributed import gather
        gather(None, range(4), (2,))
except SdekitError as error:
    print(world().rank, type(error).__name__, error.exit_code, error, flush=True)
finally:
    leave()
"""


@pytest.mark.slow
def test_what_fails_on_one_is_heard_by_all(tmp_path: Path) -> None:
    """While the others wait for its samples."""
    (tmp_path / "fails.py").write_text(FAILS)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*start, str(tmp_path / "fails.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert sorted(ended.stdout.splitlines()) == [
        "0 Elsewhere 2 process 1 of 2: the disk of this machine is full",
        "1 InputError 2 the disk of this machine is full",
    ], ended.stderr
