"""Loggers receive every row once, whatever happens to them or to the training, and never stop the training."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sdekit import registry
from sdekit.errors import InputError
from sdekit.runs import Component, read_metrics
from sdekit.training import Logger, LoggerWarning, Trainer, check_loggers, tracker_run_id, train
from sdekit.training.monitoring.trackers import flat_values

Moons = Callable[..., Any]
Go = Callable[..., Trainer]

PLUGIN = '''
import builtins, json
from sdekit import hookimpl
from sdekit.training import Logger

class Lines(Logger):
    """Lines of JSON.

    Arguments:
        fail_at: Step of a failure.
        fail_at_start: Name of an exception that the constructor raises.
    """
    def __init__(self, run_folder, recipe, *, fail_at: int = 0, fail_at_start: str = ""):
        if fail_at_start:
            raise getattr(builtins, fail_at_start)("no server")
        self.path, self.fail_at = run_folder / "trackers" / "lines.jsonl", fail_at
        self.path.parent.mkdir(exist_ok=True)
        self.write({"seed": recipe.train.seed})
    def write(self, fields):
        with open(self.path, "a") as file:
            file.write(json.dumps(fields) + "\\n")
    def log(self, step, values):
        if self.fail_at and step >= self.fail_at:
            raise ConnectionError("server is down")
        self.write({"step": step, **values})
    def log_image(self, step, name, png):
        self.write({"image": name, "at": step})
    def close(self):
        self.write({"closed": True})

@hookimpl
def sdekit_loggers():
    return {"lines": Lines}
'''


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """lines(run) returns what the logger `lines` has stored for a run."""
    (tmp_path / "lines_plugin.py").write_text(PLUGIN)
    registry.load_plugin_file(tmp_path / "lines_plugin.py")
    yield lambda run: [json.loads(line) for line in (run / "trackers" / "lines.jsonl").read_text().splitlines()]
    registry.forget_plugin_files()


def rows(lines: list[dict[str, Any]]) -> list[tuple[int, frozenset[str]]]:
    """Return step and names of each row, without the durations."""
    return [(line["step"], frozenset(line) - {"step", "seconds"}) for line in lines if "step" in line]


def expected(run: Path) -> list[tuple[int, frozenset[str]]]:
    """Return the rows that a tracker must have received for the metrics of a run."""
    return [(row["step"], frozenset(flat_values(row)) - {"step", "seconds"}) for row in read_metrics(run)]


def test_rows_and_pictures(tmp_path: Path, moons: Moons, lines: Any) -> None:
    """A logger receives the recipe, all rows of metrics.jsonl, the last preview, and is closed."""
    train(*moons(steps=6, log_every=2, checkpoint_every=4), tmp_path / "run", loggers=["lines"])
    received = lines(tmp_path / "run")
    assert received[0] == {"seed": 0} and received[-1] == {"closed": True} and {"image": "preview", "at": 6} in received
    assert rows(received) == expected(tmp_path / "run") and len(rows(received)) == 5
    assert any(name.startswith("held_out_loss_by_noise/") for name in received[3])


@pytest.mark.parametrize("kill", [False, True])
def test_resumed_training_continues_without_repetition(tmp_path: Path, moons: Moons, lines: Any, kill: bool) -> None:
    """Stopped or killed after its checkpoint and resumed, a training sends each row of an undisturbed one once."""
    recipe, data = moons(steps=12, log_every=2, checkpoint_every=4)
    train(recipe, data, tmp_path / "whole")
    trainer = Trainer(recipe, data, tmp_path / "run", loggers=[Component(name="lines", options={})])
    for now in trainer.run():
        if now.step == 7 and not kill:
            trainer.stop()
        if now.step == 7 and kill:
            break
    train(recipe, data, tmp_path / "run", resume=True)
    received = rows(lines(tmp_path / "run"))
    assert [row for row in received if row[0] != 7] == expected(tmp_path / "whole")
    assert len([row for row in received if row[0] == 7]) == (0 if kill else 1)  # the last row of a stopped session


def test_failing_logger(tmp_path: Path, moons: Moons, lines: Any) -> None:
    """One warning, the training ends as usual, and the next session sends the rows that were missed."""
    recipe, data = moons(steps=8, log_every=2, checkpoint_every=4)
    with pytest.warns(
        LoggerWarning, match=r"logger 'lines' failed at step 4 \(ConnectionError: server is down\)"
    ) as warned:
        trainer = train(recipe, data, tmp_path / "run", loggers=[Component(name="lines", options={"fail_at": 4})])
    assert (
        sum(isinstance(w.message, LoggerWarning) for w in warned) == 1
        and trainer.finished
        and rows(lines(tmp_path / "run")) == expected(tmp_path / "run")[:1]
    )
    train(recipe, data, tmp_path / "run", resume=True, loggers=["lines"])
    assert rows(lines(tmp_path / "run")) == expected(tmp_path / "run")


@pytest.mark.parametrize("error", ["OSError", "RuntimeError", "TimeoutError", "KeyError"])
def test_logger_that_cannot_start(tmp_path: Path, moons: Moons, lines: Any, error: str) -> None:
    """A tracker that cannot be reached is reported, and the training goes on."""
    choice = Component(name="lines", options={"fail_at_start": error})
    with pytest.warns(LoggerWarning, match=f"could not be started .{error}: .?no server"):
        assert train(*moons(steps=2), tmp_path / "run", loggers=[choice]).finished


def test_logger_without_its_package(tmp_path: Path, moons: Moons, lines: Any) -> None:
    """A missing package ends the command before the training, with the pip command, and nothing is written."""
    choice = Component(name="lines", options={"fail_at_start": "ModuleNotFoundError"})
    with pytest.raises(InputError, match="logger 'lines' needs a package that cannot be imported"):
        train(*moons(steps=2), tmp_path / "run", loggers=[choice])
    assert not (tmp_path / "run").exists()


def test_new_logger_receives_earlier_rows(tmp_path: Path, moons: Moons, go: Go, lines: Any) -> None:
    """A logger that is added on resuming shows the whole run, and `none` only delays the rows."""
    recipe, data = moons(steps=9, log_every=2, checkpoint_every=100)
    go(Trainer(recipe, data, tmp_path / "run"), 4)
    go(Trainer(recipe, data, tmp_path / "run", resume=True, loggers=["lines"]), 6)
    go(Trainer(recipe, data, tmp_path / "run", resume=True, loggers=[]), 8)
    train(recipe, data, tmp_path / "run", resume=True)
    received = rows(lines(tmp_path / "run"))
    assert [row for row in received if len(row[1]) == 2] == expected(tmp_path / "run")[:-1]
    assert len(received) == len(set(received))


class Memory(Logger):
    """Logger that keeps everything in memory."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        self.steps.append(step)


def test_instance_of_a_logger(tmp_path: Path, moons: Moons) -> None:
    """An instance receives the rows of its session."""
    memory = Memory()
    train(*moons(steps=4, log_every=2), tmp_path / "run", loggers=[memory])
    assert memory.steps == [2, 4, 4] and not (tmp_path / "run" / "trackers").exists()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (["tensorbord"], "no logger 'tensorbord'; did you mean 'tensorboard'"),
        ([Component(name="wandb", options={"projct": "x"})], "named 'projct'; did you mean 'project'"),
        (["lines", "lines"], "logger 'lines' is given twice"),
        ([3], "must be registered names, components or Logger objects, got 3"),
    ],
)
def test_wrong_choices(lines: Any, choices: list[Any], message: str) -> None:
    """Unknown names and options, repetitions and other objects are refused."""
    with pytest.raises(InputError, match=message):
        check_loggers(choices)


@pytest.mark.parametrize("name", ["wandb", "trackio", "tensorboard"])
def test_package_that_is_not_installed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message contains the pip command."""
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"pip install 'sdekit\[{name}\]'"):
        check_loggers([name])


def test_identifier_of_a_tracker(tmp_path: Path) -> None:
    """It is random, and stays the same for a run folder."""
    first = tracker_run_id(tmp_path, "a")
    assert len(first) == 8 and first == tracker_run_id(tmp_path, "a") != tracker_run_id(tmp_path, "b")


def test_flat_values() -> None:
    """Tables become names with a slash; missing numbers and the step are left out."""
    row = {"step": 3, "seconds": 1.5, "loss": None, "accuracy": {"0.1": 0.5, "step": 2}}
    assert flat_values(row) == {"seconds": 1.5, "accuracy/0.1": 0.5, "accuracy/step": 2}
