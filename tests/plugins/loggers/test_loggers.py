"""TensorBoard shows what was logged; wandb and trackio receive it through their public functions (stand-ins here)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sdekit.errors import InputError
from sdekit.registry import build
from sdekit.runs import Component, read_metrics
from sdekit.training import LoggerWarning, Trainer, train

Moons = Callable[..., Any]


def events(run: Path) -> Any:
    """Read the event files of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run / "trackers" / "tensorboard")).Reload()


def test_tensorboard(tmp_path: Path, moons: Moons) -> None:
    """Stopped and resumed, TensorBoard shows the loss, the held-out loss, a preview and the recipe, each step once."""
    recipe, data = moons(steps=10, log_every=2, checkpoint_every=4)
    for now in Trainer(recipe, data, tmp_path / "run", loggers=["tensorboard"]).run():
        if now.step == 7:
            break
    train(recipe, data, tmp_path / "run", resume=True)
    shown = events(tmp_path / "run")
    rows = read_metrics(tmp_path / "run")
    for name in ("loss", "held_out_loss"):
        expected = [(row["step"], pytest.approx(row[name], rel=1e-6)) for row in rows if name in row]
        assert [(event.step, event.value) for event in shown.Scalars(name)] == expected
    assert any(tag.startswith("held_out_loss_by_noise/") for tag in shown.Tags()["scalars"])
    assert [event.step for event in shown.Images("preview")] == [10]
    (text,) = shown.Tensors("recipe/text_summary")
    assert b'"learning_rate"' in text.tensor_proto.string_val[0]


class Tracked:
    """Stand-in for the run of a tracker."""

    url = ""

    def __init__(self, **options: Any) -> None:
        self.options, self.logged, self.finished = options, [], False
        self.settings = SimpleNamespace(sync_dir="/wandb/offline-run-1")

    def log(self, values: dict[str, Any], step: int) -> None:
        """Store the values."""
        self.logged.append((step, values))

    def finish(self) -> None:
        """Store that the run is finished."""
        self.finished = True


@pytest.fixture(params=["wandb", "trackio"])
def tracker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, list[Tracked]]:
    """Return the name of a tracker that is replaced by a stand-in, and the runs that are started in it."""
    started = list[Tracked]()

    def init(**options: Any) -> Tracked:
        print("a line on stdout")
        started.append(Tracked(**options))
        return started[-1]

    finish = lambda: started[-1].finish()  # noqa: E731
    module = SimpleNamespace(init=init, finish=finish, Image=lambda image: image.size)
    monkeypatch.setitem(sys.modules, request.param, module)
    return request.param, started


def test_stand_ins(tmp_path: Path, moons: Moons, tracker: tuple[str, list[Tracked]]) -> None:
    """The recipe, the rows and the preview arrive; a resumed training continues the same run of the tracker."""
    name, started = tracker
    recipe, data = moons(steps=6, log_every=2, checkpoint_every=4)
    choice = Component(name=name, options={"project": "mine"})
    for now in Trainer(recipe, data, tmp_path / "run", loggers=[choice]).run():
        if now.step == 5:
            break
    train(recipe, data, tmp_path / "run", resume=True)
    first, second = started
    key = "id" if name == "wandb" else "name"
    assert first.options[key] == second.options[key] and first.finished and second.finished
    assert second.options["resume"] == "allow" and first.options["project"] == "mine"
    assert first.options["config"]["train"]["batch_size"] == recipe.train.batch_size
    assert [step for step, _ in first.logged] == [2, 4, 4] and [step for step, _ in second.logged][:2] == [6, 6]
    assert second.logged[-1][0] == 6 and second.logged[-1][1]["preview"][0] > 100


def test_stdout_stays_clean(
    tmp_path: Path, moons: Moons, tracker: tuple[str, list[Tracked]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that a tracker prints gets into the JSON object on stdout."""
    train(*moons(steps=1), tmp_path / "run", loggers=[tracker[0]])
    out, err = capsys.readouterr()
    assert out == "" and "a line on stdout" in err


def test_not_logged_in(tmp_path: Path, moons: Moons, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an account, wandb is refused before the training, and the message contains both remedies."""

    class UsageError(Exception):
        pass

    def init(**_: Any) -> None:
        raise UsageError("api_key not configured (no-tty)")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.raises(InputError, match="not configured.*run `wandb login`, or add mode=offline"):
        train(*moons(steps=1), tmp_path / "run", loggers=["wandb"])
    assert not (tmp_path / "run").exists()


def test_not_reachable(tmp_path: Path, moons: Moons, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a connection, the training goes on."""

    def init(**_: Any) -> None:
        raise TimeoutError("no answer")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    with pytest.warns(LoggerWarning, match="logger 'wandb' could not be started .TimeoutError: no answer"):
        assert train(*moons(steps=1), tmp_path / "run", loggers=["wandb"]).finished


def test_locations(tmp_path: Path, moons: Moons, tracker: tuple[str, list[Tracked]]) -> None:
    """Each logger says where to see its run."""
    recipe, _ = moons()
    (tmp_path / "trackers").mkdir()
    location = build("logger", tracker[0], tmp_path, recipe).location
    assert location in ("wandb sync /wandb/offline-run-1", "trackio show --project sdekit")
    assert build("logger", "tensorboard", tmp_path, recipe).location.startswith("tensorboard --logdir ")
