"""From names and options to a recipe and its data: what `sdekit train` does before it trains."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from sdekit.data import Dataset, parse_spec, split
from sdekit.errors import InputError, SdekitError
from sdekit.models import PREDICTIONS
from sdekit.registry import complete_options, component_names, find_component, parameters, unknown_name
from sdekit.runs import Component, Recipe, TrainOptions, check_batch

SMALL_ITEM = 256  # items of at most so many numbers come in larger batches, at little further cost
SMALL_DEFAULTS = {"batch_size": 64, "learning_rate": 4e-3}
LARGE_DEFAULTS = {"noise_mean": 0.0}  # of images beyond `TINY`: more pixels tell the same shape, through more noise
FEW_DEFAULTS = {"turn_below": 0.25}  # of tiny images of which there are few: without, they are learned by heart
EXACT_NUMBERS = 2**15  # in a training set whose posterior mean still costs less than the network: 16,384 points in 2-D
TINY = 12  # pixels a side, up to which all of an image is seen at once
DATA_STD_ITEMS = 2048  # items that the standard deviation is estimated from
GROUPS = ("data", "sde", "network", "train")


def load_data(spec: str, **given: Any) -> tuple[Dataset, Component]:
    """Open what a SPEC names (`digits`, `images:PATH`, ...) with the data set's own options."""
    name, path = parse_spec(spec, component_names("dataset"))
    target = find_component("dataset", name).load()
    complete = complete_options("dataset", name, given)
    before = [] if path is None else [path]
    try:
        inspect.signature(target).bind(*before, **complete)
    except TypeError as error:
        needs = "needs a path: write" if path is None else "takes no path: write"
        raise InputError(f"data {name!r} {needs} {name}{':PATH' if path is None else ''} ({error})") from error
    data: Dataset = target(*before, **complete)
    return data, Component(name=spec, options=complete)


def plan(
    spec: str = "digits",
    *,
    sde: str = "vp",
    network: str | None = None,
    prediction: str = "edm",
    condition: str = "none",
    given: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Recipe, Dataset]:
    """A recipe and its data set.

    spec: the data. sde, network: registered names; network None is a mixer for images of 8 to 12 pixels a side, a
    U-Net for larger ones and an MLP for the rest. prediction: what the network is trained to be. condition: "none",
    "label" to tell it the labels, or else the data set's own option `condition`: columns of a table, an array of
    numbers.
    given: options by group: data, sde, network, train (`TrainOptions`; where items have at most 256 numbers, its
    defaults are a batch of 64 at a rate of 4e-3; where images have more than 12 pixels a side, a noise_mean of 0;
    where they have not, and are at most 2,048, a turn_below of .25; where an item has fewer than 16 numbers, an
    exact_target of 32,768 numbers in all).
    Raises InputError for what does not fit.
    """
    given = given or {}
    for group in given:
        if group not in GROUPS:
            raise InputError(f"no group of options {group!r}: the groups are {', '.join(GROUPS)}")
    of_data = dict(given.get("data", {}))
    if condition not in ("none", "label"):
        of_data["condition"] = _check_condition(spec, condition)
    data, component = load_data(spec, **of_data)
    if prediction not in PREDICTIONS:
        raise InputError(unknown_name("prediction", prediction, list(PREDICTIONS), "There are"))
    if condition == "label" and not data.classes:
        raise InputError(f"data {spec!r} has no labels to condition on: leave out --condition label")
    condition = "numbers" if data.condition_units is not None else condition
    if network is None:
        network = _suits(data)
    suited: dict[str, Any] = SMALL_DEFAULTS if prod(data.shape) <= SMALL_ITEM else {}
    suited = suited | {"exact_target": max(TrainOptions.exact_target, EXACT_NUMBERS // prod(data.shape))}
    if data.kind == "image" and max(data.shape[1:]) > TINY:
        suited = suited | LARGE_DEFAULTS
    elif data.kind == "image" and len(data) <= TrainOptions.exact_target:
        suited = suited | FEW_DEFAULTS
    train = TrainOptions(**suited | dict(given.get("train", {})))
    check_batch(train.batch_size, tuple(data.shape), "train")
    if train.turn_below and data.kind != "image":
        raise InputError(f"turn_below={train.turn_below:g}: data {spec!r} has no images to turn: leave it out")
    if train.drop and condition == "none":
        raise InputError(f"drop={train.drop:g}: there is no condition to drop: add --condition label")
    of_network = dict(given.get("network", {}))
    if of_network.get("conditions"):
        raise InputError("network.conditions follows from the data: say which numbers with --condition COLUMN,COLUMN")
    if condition == "numbers":
        of_network["conditions"] = len(data.condition_names)
    recipe = Recipe(
        data=component,
        sde=Component(name=sde, options=complete_options("sde", sde, given.get("sde", {}))),
        network=Component(name=network, options=complete_options("network", network, of_network)),
        prediction=prediction,
        condition=condition,
        train=train,
        shape=tuple(data.shape),
        kind=data.kind,
        items=len(data),
        classes=data.classes,
        class_names=tuple(data.class_names),
        units=data.units,
        condition_names=data.condition_names if condition == "numbers" else (),
        condition_units=data.condition_units if condition == "numbers" else None,
        data_std=_std(data, split(len(data), train.held_out)[0]),
    )
    return _resolved(recipe), data


def _suits(data: Dataset) -> str:
    if data.kind != "image" or min(data.shape[1:]) < 8:
        return "mlp"
    return "mixer" if max(data.shape[1:]) <= TINY else "unet"


def _check_condition(spec: str, condition: str) -> str:
    """What the data set itself is asked to condition on; InputError where it has nothing of the kind."""
    name, _ = parse_spec(spec, component_names("dataset"))
    if "condition" not in parameters(find_component("dataset", name).load()):
        raise InputError(
            f"condition must be 'none' or 'label', got {condition!r}: only table:, array: and the like have numbers to "
            "condition on"
        )
    return condition


def _resolved(recipe: Recipe) -> Recipe:
    """Sizes that the network chose for itself are recorded, so that a later version's choice changes no old run."""
    from dataclasses import replace

    built = recipe.build().network
    chosen = vars(built).get("options", recipe.network.options)
    return replace(recipe, network=Component(name=recipe.network.name, options=dict(chosen)))


def _std(data: Dataset, indices: np.ndarray) -> float:
    """Standard deviation over all entries of evenly chosen items, to four digits."""
    chosen = indices[np.linspace(0, len(indices) - 1, min(len(indices), DATA_STD_ITEMS)).astype(int)]
    total = square = count = 0.0
    for start in range(0, len(chosen), 64):
        try:
            x = data.batch(chosen[start : start + 64]).x.double()
        except SdekitError as error:  # a damaged file, found before anything was written
            raise InputError(str(error)) from error
        total, square, count = total + float(x.sum()), square + float(x.square().sum()), count + x.numel()
    std = (square / count - (total / count) ** 2) ** 0.5
    if not std > 0:
        raise InputError("the data are constant: there is nothing to learn")
    return float(f"{std:.4g}")
