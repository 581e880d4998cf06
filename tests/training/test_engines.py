"""Several processes train the same run as one process, and end together if one of them fails."""

from __future__ import annotations

import faulthandler
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sdekit.data import Dataset
from sdekit.distributed import in_lockstep, leave, together, world
from sdekit.errors import SdekitError
from sdekit.runs import CHECKPOINT, METRICS, MODEL, Recipe, load_run, load_tensors, read_metrics
from sdekit.runs.layout import LOCK
from sdekit.training import Denoising, Trainer, classifier_recipe, plan, train

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="starts processes by fork")
OPTIONS = {"steps": 50, "batch_size": 9, "checkpoint_every": 20, "log_every": 5, "preview_every": 0.0, "warm_up": 5}
Work = Callable[[], object]


def train_together(
    recipe: Recipe, data: Dataset, out: Path, each: Callable[[Trainer, int], object] = lambda *_: None, **options: Any
) -> Trainer:
    """Train as the command line does; each(trainer, step) is called after each step."""
    trainer = Trainer(recipe, data, out, **options)
    with in_lockstep():
        for now in trainer.run():
            each(trainer, now.step)
    return trainer


def planned(**options: Any) -> tuple[Recipe, Dataset]:
    """A tiny conditional run on moons, with dropped conditions and exact targets."""
    given = {
        "data": {"n": 200},
        "network": {"width": 8, "depth": 1},
        "train": {"drop": 0.2, **OPTIONS, **options},
    }
    return plan("moons", network="mlp", condition="label", options=given)


class Processes:
    """Forked processes with the environment and the store of torchrun. Their stderr is collected in files."""

    def __init__(self, folder: Path, size: int, work: Work) -> None:
        self.store = torch.distributed.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        port = self.store.port
        context = multiprocessing.get_context("fork")
        self.files = [folder / f"stderr-{rank}-{port}" for rank in range(size)]
        self.all = [
            context.Process(target=self._run, args=(rank, size, port, self.files[rank], work)) for rank in range(size)
        ]
        for process in self.all:
            process.start()

    @staticmethod
    def _run(rank: int, size: int, port: int, stderr: Path, work: Work) -> None:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
        os.environ.update(zip(names, map(str, (rank, size, rank, "localhost", port)), strict=True))
        os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
        sys.stderr = sys.__stderr__ = open(stderr, "w", buffering=1)  # type: ignore[misc]  # noqa: SIM115
        faulthandler.dump_traceback_later(50, file=sys.stderr)  # before `wait` gives up
        code = 0
        try:
            with together():
                work()
        except SdekitError as error:
            code = error.exit_code
            print(f"error: {error}", file=sys.stderr)
        except SystemExit as end:
            code = int(end.code or 0)
        leave()
        sys.stderr.flush()
        os._exit(code)

    def wait(self) -> list[int | None]:
        """The exit codes of all processes."""
        for process in self.all:
            process.join(60)
            if process.is_alive():
                process.kill()
                raise AssertionError(f"a process hangs: {[file.read_text() for file in self.files]}")
        return [process.exitcode for process in self.all]

    def errors(self) -> list[str]:
        """The lines about errors that all processes printed."""
        return [line for file in self.files for line in file.read_text().splitlines() if line.startswith("error")]


Start = Callable[[int, Work], Processes]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """start(size, work) runs `work` in forked processes."""
    return lambda size, work: Processes(tmp_path, size, work)


def close(one: Path, other: Path, tolerance: float = 1e-5) -> None:
    """Assert that two runs agree: their weights, averages, moments and metrics."""
    for name in (MODEL, CHECKPOINT):
        (a, fields_a), (b, fields_b) = (load_tensors(path / name) for path in (one, other))
        assert a.keys() == b.keys() and fields_a["step"] == fields_b["step"]
        for key in a:
            torch.testing.assert_close(a[key], b[key], atol=tolerance, rtol=0)
    rows = [[row for row in read_metrics(path) if "loss" in row] for path in (one, other)]
    for a, b in zip(*rows, strict=True):
        assert a["step"] == b["step"] and a["loss"] == pytest.approx(b["loss"], abs=tolerance)


@pytest.mark.parametrize(("size", "batch_size"), [(2, 9), (3, 130)])
def test_processes_match_one_process(tmp_path: Path, start: Start, size: int, batch_size: int) -> None:
    """50 steps with an uneven batch and one of several blocks of noise; one process writes."""
    recipe, data = planned(batch_size=batch_size)
    train(recipe, data, tmp_path / "one")
    assert start(size, lambda: train_together(recipe, data, tmp_path / "many")).wait() == [0] * size
    close(tmp_path / "one", tmp_path / "many")
    assert not (tmp_path / "many" / LOCK).exists()
    assert load_run(tmp_path / "many").step == 50


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 1), (1, 2)])
def test_killed_and_resumed(tmp_path: Path, start: Start, before: int, after: int) -> None:
    """After a kill of all processes, any number of processes resumes the run, with the same result."""
    recipe, data = planned()
    train(recipe, data, tmp_path / "whole")
    out = tmp_path / "parts"

    killed = start(before, lambda: train_together(recipe, data, out, lambda *_: time.sleep(0.01)))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (out / MODEL).exists():
        time.sleep(0.01)
    for process in killed.all:
        process.kill()
    assert set(killed.wait()) == {-signal.SIGKILL}
    assert 20 <= load_tensors(out / CHECKPOINT)[1]["step"] < 50
    assert start(after, lambda: train_together(recipe, data, out, resume=True)).wait() == [0] * after
    close(tmp_path / "whole", out)


def test_classifier_in_two_processes(tmp_path: Path, start: Start) -> None:
    """The other objective: two processes match one as well."""
    run, data = planned()
    recipe = classifier_recipe(run, data, train=OPTIONS | {"warm_up": 0}, network={"width": 8, "dropout": 0.0})
    train(recipe, data, tmp_path / "one")
    assert start(2, lambda: train_together(recipe, data, tmp_path / "two")).wait() == [0, 0]
    close(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies(tmp_path: Path, start: Start, victim: int) -> None:
    """The other one ends with exit code 1 and one message that names the last checkpoint."""
    recipe, data = planned()

    def dies(trainer: Trainer, step: int) -> None:
        if step == 25 and world().rank == victim:
            os.kill(os.getpid(), signal.SIGKILL)

    processes = start(2, lambda: train_together(recipe, data, tmp_path / "run", dies))
    codes = processes.wait()
    assert codes[victim] == -signal.SIGKILL and codes[1 - victim] == 1
    (message,) = processes.errors()
    assert f"process {1 - victim} of 2: another of the 2 processes ended while this one waited for it" in message
    assert "the last good checkpoint, of step 20, is kept (--resume goes on from it)" in message


@pytest.mark.parametrize("culprit", [0, 1])
@pytest.mark.parametrize("where", ["reading", "loss"])
def test_a_process_that_fails(
    tmp_path: Path, start: Start, culprit: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is printed once, and all processes end."""
    recipe, data = planned()
    loss, batch = Denoising.loss, type(data).batch
    calls: list[int] = []

    def fails(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 7 and world().rank == culprit:
            raise SdekitError("the disk is full")
        return (batch if where == "reading" else loss)(*arguments)

    monkeypatch.setattr(*((type(data), "batch") if where == "reading" else (Denoising, "loss")), fails)
    processes = start(2, lambda: train_together(recipe, data, tmp_path / "run"))
    assert processes.wait() == [1, 1]
    (message,) = processes.errors()
    assert message.startswith(f"error: process {culprit} of 2: the disk is full")


def test_loss_that_is_not_finite(tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """All processes stop, and the message names the noise level of the sample, whoever computed it."""
    recipe, data = planned()
    loss, calls = Denoising.loss, []

    def fails(self: Denoising, *arguments: Any) -> torch.Tensor:
        losses = loss(self, *arguments)
        calls.append(1)
        return losses.index_fill(0, torch.tensor([1]), torch.nan) if len(calls) == 4 and world().rank else losses

    monkeypatch.setattr(Denoising, "loss", fails)
    processes = start(2, lambda: train_together(recipe, data, tmp_path / "run"))
    assert processes.wait() == [1, 1]
    (message,) = processes.errors()
    worst = Denoising(recipe).describe(3, 5 + 1)  # process 0 has 5 of the 9 rows
    assert f"the loss is nan at step 4, {worst}: training stopped and no checkpoint" in message


@pytest.mark.parametrize("who", [0, 1])
def test_a_stop_in_one_process_stops_all(tmp_path: Path, start: Start, who: int) -> None:
    """All end after the same step, and the run is saved there."""
    recipe, data = planned()

    def stop(trainer: Trainer, step: int) -> None:
        if step == 7 and world().rank == who:
            trainer.stop()

    def stops() -> None:
        trainer = train_together(recipe, data, tmp_path / "run", stop)
        assert trainer.interrupted and trainer.step == 7
        (tmp_path / f"stopped-{world().rank}").touch()

    processes = start(2, stops)
    assert processes.wait() == [0, 0] and load_run(tmp_path / "run").step == 7
    assert all((tmp_path / f"stopped-{rank}").exists() for rank in (0, 1))


def test_time_limit_ends_all_processes_at_one_step(tmp_path: Path, start: Start) -> None:
    """The clock of process 0 decides, also about the learning rate."""
    recipe, data = planned(steps=None, time_limit=0.5)

    def record() -> None:
        trainer = train_together(recipe, data, tmp_path / "run")
        fields = {"step": trainer.step, "weight": trainer.weights["last.weight"].tolist()}
        (tmp_path / f"end-{world().rank}").write_text(json.dumps(fields))
        assert trainer.finished

    assert start(2, record).wait() == [0, 0]
    ends = [json.loads((tmp_path / f"end-{rank}").read_text()) for rank in (0, 1)]
    assert ends[0] == ends[1] and ends[0]["step"] > 0


def test_errors_before_training_are_the_same_for_all(tmp_path: Path, start: Start) -> None:
    """Process 0 refuses a folder with a run, and all end with exit code 2; a batch that is too small is refused too."""
    recipe, data = planned(steps=2)
    train(recipe, data, tmp_path / "run")
    before = (tmp_path / "run" / METRICS).read_bytes()
    processes = start(2, lambda: train_together(recipe, data, tmp_path / "run"))
    assert processes.wait() == [2, 2] and (tmp_path / "run" / METRICS).read_bytes() == before
    small = replace(recipe, train=replace(recipe.train, batch_size=1))
    processes = start(2, lambda: train_together(small, data, tmp_path / "new"))
    assert processes.wait() == [2, 2] and not (tmp_path / "new").exists()
    assert "batch_size 1 is smaller than the number of processes, 2" in processes.errors()[0]


def test_other_processes_of_a_world_are_not_needed(tmp_path: Path) -> None:
    """Without `together` a trainer runs in one process, whatever the environment says."""
    trainer = Trainer(*planned(steps=1), tmp_path / "run")
    assert (trainer.engine.world_size, trainer.engine.rank) == (1, 0)
