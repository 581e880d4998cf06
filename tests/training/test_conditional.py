"""Conditional training: dropped conditions, exact resumption, numbers, embeddings, and the target of dropped rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdekit.errors import InputError
from sdekit.models import is_null, null_condition
from sdekit.processes import VP, as_time
from sdekit.runs import (
    CHECKPOINT,
    CONFIG,
    MODEL,
    TrainOptions,
    load_json,
    load_run,
    load_tensors,
    read_recipe,
    save_json,
    save_tensors,
)
from sdekit.sampling import sample
from sdekit.training import PosteriorMean, Trainer, plan
from sdekit.training.objectives.denoising import dropped_conditions

ROWS = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))


def test_dropped_rows_are_a_function_of_seed_and_step() -> None:
    y, options = torch.arange(1000) % 5, TrainOptions(steps=1, drop=0.25)
    one, again, next_step = (
        dropped_conditions(y, options, 3),
        dropped_conditions(y, options, 3),
        dropped_conditions(y, options, 4),
    )
    assert torch.equal(one, again) and not torch.equal(one, next_step)
    assert 200 < int(is_null(one).sum()) < 300
    assert dropped_conditions(y, TrainOptions(steps=1), 3) is y


@pytest.mark.parametrize(
    "labels", [torch.arange(40) % 3, torch.arange(80.0).view(40, 2) // 8], ids=["labels", "numbers"]
)
def test_dropped_rows_have_the_unconditional_target(labels: torch.Tensor) -> None:
    """The target of a null row is the mean over all data, that of another row the mean over its own condition."""
    sde, t = VP(), as_time(0.4).expand(6)
    x0, eps, y = ROWS[:6], torch.randn(6, 3), labels[:6]
    mixed = torch.cat([y[:3], null_condition(y[3:])])
    mean = PosteriorMean(sde, ROWS, labels)(x0, t, eps, mixed)
    torch.testing.assert_close(mean[:3], PosteriorMean(sde, ROWS, labels)(x0, t, eps, y)[:3])
    torch.testing.assert_close(mean[3:], PosteriorMean(sde, ROWS)(x0, t, eps)[3:])
    own = (labels == labels[0]).reshape(40, -1).all(1)
    torch.testing.assert_close(mean[:1], PosteriorMean(sde, ROWS[own])(x0[:1], t[:1], eps[:1]))


def test_a_resumed_run_drops_the_same_rows(
    tmp_path: Path, moons: Callable[..., Any], go: Callable[..., Trainer], same_run: Callable[..., None]
) -> None:
    recipe, data = moons(condition="label", drop=0.3, checkpoint_every=10)
    go(Trainer(recipe, data, tmp_path / "whole"))
    go(Trainer(recipe, data, tmp_path / "parts"), 13)
    go(Trainer(recipe, data, tmp_path / "parts", resume=True))
    same_run(tmp_path / "whole", tmp_path / "parts")
    without = moons(condition="label", checkpoint_every=10)[0]
    go(Trainer(without, data, tmp_path / "without"))
    with pytest.raises(AssertionError):
        same_run(tmp_path / "whole", tmp_path / "without")


def test_a_run_records_whether_it_was_trained_without_its_condition(tmp_path: Path, moons: Callable[..., Any]) -> None:
    """A run with `drop` accepts the null condition; a run without it raises an error that says what to do."""
    x, t = torch.zeros(2, 2), as_time(0.5)
    for drop in (0.2, 0.0):
        recipe, data = moons(condition="label", drop=drop, steps=1)
        Trainer(recipe, data, tmp_path / f"{drop}")
        model = recipe.build()
        assert model(x, t, torch.tensor([0, 1])).shape == (2, 2)
        for y in (None, torch.tensor([-1, 0])):
            if drop:
                assert model(x, t, y).shape == (2, 2)
            else:
                with pytest.raises(InputError, match="train it with --drop 0.1"):
                    model(x, t, y)
        assert read_recipe(tmp_path / f"{drop}").train.drop == drop


def test_older_runs_still_load(tmp_path: Path, moons: Callable[..., Any], go: Callable[..., Trainer]) -> None:
    """A record may lack the fields that were added for conditions."""
    recipe, data = moons(condition="label", steps=2)
    go(Trainer(recipe, data, tmp_path))
    fields = load_json(tmp_path / CONFIG)
    for group, name in (("train", "drop"), ("train", "keep_every")):
        del fields[group][name]
    del fields["network"]["options"]["conditions"], fields["condition_names"], fields["condition_units"]
    save_json(tmp_path / CONFIG, fields)
    for name in (MODEL, CHECKPOINT):
        tensors, fields_of_file = load_tensors(tmp_path / name)
        assert fields_of_file.pop("recipe")
        save_tensors(tmp_path / name, tensors, fields_of_file)
    assert load_run(tmp_path).model(torch.zeros(2, 2), as_time(0.5), torch.tensor([0, 1])).shape == (2, 2)
    assert Trainer(read_recipe(tmp_path), data, tmp_path, resume=True).step == 2


@pytest.mark.parametrize("kind", ["embedding", "sequence"])
def test_samples_follow_the_embedding_that_they_are_conditioned_on(
    tmp_path: Path, go: Callable[..., Trainer], kind: str
) -> None:
    """Embeddings from two clusters decide x; after 80 steps 9 samples in 10 are those of the right cluster."""
    random = np.random.default_rng(0)
    y = random.normal(size=(512, 70) if kind == "embedding" else (512, 4, 6)) * 3  # the units of the data are not 1
    signs = np.sign(random.normal(size=(512, 1)))
    y = y + 9 * signs.reshape(-1, *[1] * (y.ndim - 1))  # two clusters, which decide x
    np.savez(tmp_path / "data.npz", x=signs * [1.0, -2.0] + 0.1 * random.normal(size=(512, 2)), words=y)
    options = {
        "train": {"steps": 80, "drop": 0.1, "learning_rate": 0.02, "warm_up": 5},
        "network": {"width": 64, "depth": 2},
    }
    recipe, data = plan(f"array:{tmp_path / 'data.npz'}", condition="words", options=options)
    assert (recipe.condition, recipe.condition_shape, recipe.condition_names) == (kind, y.shape[1:], ())
    go(Trainer(recipe, data, tmp_path / "run"))
    assert read_recipe(tmp_path / "run") == recipe
    run = load_run(tmp_path / "run")
    assert run.condition_units is not None
    conditions = run.condition_units.to_model(y[:64])
    x = run.to_data(sample(run.model.sde, run.model, "heun", shape=run.shape, n=64, steps=8, y=conditions).x)
    assert ((x[:, 0] > 0) == (signs[:64, 0] > 0)).mean() > 0.9 and ((x[:, 1] < 0) == (x[:, 0] > 0)).mean() > 0.9
    assert sample(run.model.sde, run.model, "heun", shape=run.shape, n=4, steps=4).x.isfinite().all()
    with pytest.raises(InputError, match="as its condition: got"):
        run.model(torch.zeros(1, 2), as_time(0.5), torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("kind", "shape", "condition"),
    [("auto", (8, 64), "numbers"), ("auto", (8, 65), "embedding"), ("embedding", (8, 3), "embedding")]
    + [("numbers", (8, 70), "numbers"), ("auto", (8, 2, 3), "sequence"), ("auto", (8,), "numbers")],
)
def test_kind_of_a_condition(tmp_path: Path, kind: str, shape: tuple[int, ...], condition: str) -> None:
    """Above 64 numbers, or with three axes, an array is embeddings, unless the option says otherwise."""
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(8, 2)), y=np.ones(shape))
    options = {"train": {"steps": 1}, "data": {"condition_kind": kind}, "network": {"width": 8, "depth": 1}}
    recipe, _ = plan(f"array:{tmp_path / 'data.npz'}", condition="y", options=options)
    assert recipe.condition == condition and recipe.conditioning.kind == condition
    assert recipe.examples(2) is not None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"condition_shape": []}, "condition_shape is .*, and condition is 'embedding'"),
        ({"condition_shape": [4, 70]}, r"condition_shape is \[4, 70\], and condition is 'embedding'"),
        ({"condition_shape": [0]}, r"condition_shape is \[0\]; expected a list of sizes"),
        ({"condition_units": None}, "condition_units is missing"),
        ({"condition": "text"}, "condition is 'text'; expected one of none, label, numbers, embedding, sequence"),
    ],
)
def test_a_record_that_contradicts_its_condition_is_refused(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    """The message names the field."""
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(8, 2)), y=np.ones((8, 70)))
    options = {"train": {"steps": 1}, "network": {"width": 8, "depth": 1}}
    recipe, _ = plan(f"array:{tmp_path / 'data.npz'}", condition="y", options=options)
    save_json(tmp_path / CONFIG, recipe.as_dict())
    assert read_recipe(tmp_path) == recipe
    save_json(tmp_path / CONFIG, recipe.as_dict() | fields)
    with pytest.raises(InputError, match=message):
        read_recipe(tmp_path)
