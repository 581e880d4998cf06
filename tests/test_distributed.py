"""Several processes: who does what, and how an error of one ends all. The result: tests/cli/test_torchrun.py."""

import subprocess
import sys
from pathlib import Path

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


FAILS = """
import os, sys
from sdekit.distributed import together, leave, world
from sdekit.errors import InputError, SdekitError
try:
    with together():
        import torch.distributed.nn  # its functions have the process group as a default
        if world().rank == 1:
            raise InputError("the disk of this machine is full")
        from sdekit.distributed import gather
        gather(None, range(4), (2,))
except SdekitError as error:
    told = f"{world().rank} {type(error).__name__} {error.exit_code} {error}\\n"
    os.write(1, told.encode())  # in one piece: two processes write here
finally:
    leave()
    threads = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
    os.write(1, f"{world().rank} {sum('gloo' in name for name in threads)} threads of gloo\\n".encode())
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts threads by /proc")
def test_what_fails_on_one_is_heard_by_all(tmp_path: Path) -> None:
    """While the others wait for its samples. No thread of the process group outlives `leave`."""
    (tmp_path / "fails.py").write_text(FAILS)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*start, str(tmp_path / "fails.py")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert sorted(ended.stdout.splitlines()) == [
        "0 0 threads of gloo",
        "0 Elsewhere 2 process 1 of 2: the disk of this machine is full",
        "1 0 threads of gloo",
        "1 InputError 2 the disk of this machine is full",
    ], ended.stderr
