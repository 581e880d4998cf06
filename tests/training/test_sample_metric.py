"""Metrics of samples during the training: they change nothing, and a resumed run has the same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sdekit import registry
from sdekit.errors import InputError, SdekitError
from sdekit.runs import read_metrics
from sdekit.training import Trainer, classifier_recipe, train

Moons = Callable[..., Any]
EXAMPLE = Path(__file__).parents[2] / "examples" / "single_files" / "acme_metric.py"


@pytest.fixture(autouse=True)
def acme() -> Iterator[str]:
    """Register the metric of the examples and return its name."""
    registry.load_plugin_file(EXAMPLE)
    (name,) = (e.name for e in registry.load_plugins().entries.values() if e.package == str(EXAMPLE))
    yield name
    registry.forget_plugin_files()


def numbers(run: Path) -> list[dict[str, Any]]:
    """Return the rows of metrics without durations."""
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(run)]


@pytest.mark.parametrize("kill", [False, True])
def test_resumed_metrics_are_the_same(tmp_path: Path, moons: Moons, acme: str, same_run: Any, kill: bool) -> None:
    """Stopped or killed and resumed, a run has the rows of an uninterrupted one, also of the steps after the kill."""
    recipe, data = moons(steps=14, log_every=4, checkpoint_every=6, evaluate_every=3, metric=acme, dropout=0.1)
    train(recipe, data, tmp_path / "whole")
    trainer = Trainer(recipe, data, tmp_path / "run")
    for now in trainer.run():
        if now.step == 8 and kill:
            break
        if now.step == 8:
            trainer.stop()
    train(recipe, data, tmp_path / "run", resume=True)
    same_run(tmp_path / "whole", tmp_path / "run")
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "run")
    measured = {row["step"]: row[acme] for row in numbers(tmp_path / "run") if acme in row}
    assert list(measured) == [3, 6, 9, 12, 14] and all(value > 0 for value in measured.values())


def test_measuring_changes_nothing(tmp_path: Path, moons: Moons, acme: str, same_run: Any) -> None:
    """The weights of a run do not depend on whether samples are compared with data."""
    train(*moons(steps=6, dropout=0.2), tmp_path / "plain")
    train(*moons(steps=6, dropout=0.2, evaluate_every=2, metric=acme, condition="label"), tmp_path / "label")
    train(*moons(steps=6, dropout=0.2, evaluate_every=4, metric=acme), tmp_path / "often")
    rows = [row for row in numbers(tmp_path / "often") if acme not in row]
    assert rows == numbers(tmp_path / "plain")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "enrgy"}, "no metric 'enrgy'; did you mean 'energy'"),
        ({"metric": "energy:colour=3"}, "no option of metric 'energy' named 'colour'"),
        ({"held_out": 0.0}, "no item is held out"),
        ({"metric": "acme-broken"}, "metric 'acme-broken' cannot compare items of shape"),
        ({"evaluate_every": -1}, "evaluate_every must not be negative"),
    ],
)
def test_refused_before_the_training(tmp_path: Path, moons: Moons, options: dict[str, Any], message: str) -> None:
    """Wrong metrics are refused before anything is written."""
    (tmp_path / "broken.py").write_text(
        "from sdekit import hookimpl\ndef broken(samples, reference):\n    'Broken.'\n    raise ValueError('images')\n"
        "@hookimpl\ndef sdekit_metrics():\n    return {'acme-broken': broken}\n"
    )
    registry.load_plugin_file(tmp_path / "broken.py")
    with pytest.raises(InputError, match=message):
        Trainer(*moons(**({"evaluate_every": 2} | options)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_samples_that_are_not_finite(tmp_path: Path, moons: Moons, acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-trained weights may give no samples: the value is null, and the training goes on."""

    def fail(*_: object, **__: object) -> Any:
        raise SdekitError("the samples are not finite")

    monkeypatch.setattr("sdekit.training.monitoring.previews.sample", fail)
    monkeypatch.setattr("sdekit.training.objectives.denoising.Denoising.preview", lambda self, model: None)
    assert train(*moons(steps=2, evaluate_every=1, metric=acme), tmp_path / "run").finished
    assert [row[acme] for row in numbers(tmp_path / "run") if acme in row] == [None, None]


def test_classifier_draws_no_samples(tmp_path: Path, moons: Moons, acme: str) -> None:
    """A classifier has no samples to compare."""
    recipe, data = moons(condition="label")
    classifier = classifier_recipe(recipe, data, train={"steps": 2, "evaluate_every": 1, "metric": acme})
    with pytest.raises(InputError, match="'classification' trains no model that draws samples"):
        Trainer(classifier, data, tmp_path / "run")
