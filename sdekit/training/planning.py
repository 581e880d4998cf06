"""Make a recipe and open its data from names and options, as the first part of `sdekit train`."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from sdekit.arguments import check_instance, check_options
from sdekit.data import Dataset, is_python_object, listing, parse_spec, path_spec, split
from sdekit.data.objects import dataset_from_object, object_spec
from sdekit.errors import InputError, SdekitError
from sdekit.models import PREDICTIONS
from sdekit.networks import OwnNetwork
from sdekit.registry import (
    OptionText,
    complete_options,
    component_names,
    component_options,
    find_component,
    parameters,
    unknown_name,
)
from sdekit.runs import (
    Component,
    Recipe,
    TrainOptions,
    check_batch,
    check_saved_data,
    fingerprint,
    read_recipe,
    train_options,
)

GROUPS = ("data", "sde", "network", "train")
MOST_READ = 2**16  # largest number of items that are read in order to find the labels that occur
OWN_LEARNING_RATE = 1e-3
"""Default learning rate of a network of the user's own, for which no other one was measured."""
STD_ITEMS = 2048  # number of items from which the standard deviation of the data is estimated


def default_network(data: Dataset) -> str:
    """Choose the network for a data set.

    Arguments:
        data: Data set.
    Returns:
        "unet" for sequences, images and volumes with sides of at least 8, and "mlp" for all other data.
    """
    return "unet" if data.kind in ("sequence", "image", "volume") and min(data.shape[1:]) >= 8 else "mlp"


def default_network_options(data: Dataset, network: str) -> dict[str, Any]:
    """Choose the options of a registered network that depend on the data.

    The choice gives a smaller loss in equal time, see benchmarks/results/defaults.md.

    | network | data | options | reason |
    |---|---|---|---|
    | unet | volumes with sides of at least 16 | patch=2 | a step takes a sixth of the time |

    Arguments:
        data: Data set.
        network: Registered name of the network.
    Returns:
        Options that differ from the defaults of the network, by name.
    """
    if network == "unet" and data.kind == "volume" and min(data.shape[1:]) >= 16:
        return {"patch": 2}
    return {}


def default_training(data: Dataset) -> dict[str, Any]:
    """Choose the training options that depend on the data.

    Both choices give better samples in equal time, see benchmarks/results/defaults.md.

    | data | options | reason |
    |---|---|---|
    | at most 256 numbers per item | batch_size=64, learning_rate=4e-3 | a larger batch costs little more time |
    | fewer than 16 numbers per item | exact_target=2^15 / numbers per item | the posterior mean costs little |

    Arguments:
        data: Data set.
    Returns:
        Options that differ from the defaults of `TrainOptions`, by name.
    """
    numbers = prod(data.shape)
    options: dict[str, Any] = {"exact_target": max(TrainOptions.exact_target, 2**15 // numbers)}
    if numbers <= 256:
        options |= {"batch_size": 64, "learning_rate": 4e-3}
    return options


def load_data(spec: Any, **options: Any) -> tuple[Dataset, Component]:
    """Open a data set.

    Arguments:
        spec: Name of a data set, with a path if it takes one: `digits`, `images:PATH`, ...; a path, whose kind is
            inferred; or a Python object, see `sdekit.data.objects.dataset_from_object`.
        options: Options of the data set, or of `dataset_from_object`.
    Returns:
        The data set, and the component that a recipe records: the spec with all options. A Python object has a name
        such as "python:TensorDataset".
    Raises:
        InputError: If the name or an option is unknown, if a path is missing or not allowed, or if the object cannot be
            used as data.
    """
    spec = path_spec(spec) if isinstance(spec, os.PathLike) else spec
    if not isinstance(spec, str):
        return _load_object(spec, options)
    if is_python_object(spec):
        raise InputError(f"data {spec!r} is the record of a Python object, which no file contains: pass the object")
    name, path = parse_spec(spec, component_names("dataset"))
    target = find_component("dataset", name).load()
    complete = complete_options("dataset", name, options)
    positional = [] if path is None else [path]
    try:
        inspect.signature(target).bind(*positional, **complete)
    except TypeError as error:
        remedy = "needs a path: write" if path is None else "takes no path: write"
        raise InputError(f"data {name!r} {remedy} {name}{':PATH' if path is None else ''} ({error})") from error
    data: Dataset = target(*positional, **complete)
    return data, Component(name=spec, options=complete)


def _load_object(value: Any, options: Mapping[str, Any]) -> tuple[Dataset, Component]:
    """Open a Python object as data, and return the component that a recipe records."""
    known = parameters(dataset_from_object)
    for name in options:
        if name not in known:
            raise InputError(unknown_name("option of Python data named", name, sorted(known), "It has"))
    check_options("data", options, {name: parameter.annotation for name, parameter in known.items()})
    complete = {name: options.get(name, parameter.default) for name, parameter in known.items()}
    return dataset_from_object(value, **options), Component(name=object_spec(value), options=complete)


def load_run_data(recipe: Recipe, spec: Any = None) -> Dataset:
    """Open the data of a run in order to continue its training.

    Versions before 0.3 had no option `labels`, and did not find all labels. The data of their runs are opened without
    labels if the run has no classes, and with folders as classes if it has classes of images.

    Arguments:
        recipe: Recipe of the run.
        spec: Data of the run, if they have moved, see `load_data`. None for the data that the recipe records.
    Returns:
        The data set.
    Raises:
        InputError: If the data cannot be opened.
    """
    if spec is not None:
        return load_data(spec, **_options_of_run(recipe, spec))[0]
    check_saved_data(None, recipe)
    options = dict(recipe.data.options)
    name, _ = parse_spec(recipe.data.name, component_names("dataset"))
    known = parameters(find_component("dataset", name).load())
    if "labels" in known and "labels" not in options and (name == "images" or not recipe.classes):
        options["labels"] = "folders" if recipe.classes else "none"
    return load_data(recipe.data.name, **options)[0]


def plan(
    spec: Any = "digits",
    *,
    sde: str = "vp",
    network: Any = None,
    prediction: str = "edm",
    condition: str = "none",
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Recipe, Dataset]:
    """Plan a training: open the data and complete all options.

    Arguments:
        spec: Data set, such as `digits` or `images:PATH`, or a Python object: an array, a tensor, a pair (x, y) of
            them, a list of items, a map-style data set of torch, a DataFrame, or a Dataset of Hugging Face or sdekit.
            See `load_data`.
        sde: Registered name of the process.
        network: Registered name of the network, or a network of your own: a module, or a class or function that
            returns one, see `sdekit.networks.OwnNetwork`. None for the choice of `default_network`.
        prediction: Key of `PREDICTIONS`: the quantity that the network predicts.
        condition: "none"; "label" to condition on the labels of the data; "numbers" or "embedding" to condition on the
            y of Python objects (x, y); or a value of the data set's own option `condition`, such as columns of a table.
        options: Options by group: "data", "process" (or "sde"), "network" and "train" (see `TrainOptions`).
            `default_network_options` and `default_training` change the defaults for some data.
    Returns:
        The recipe of the run, and its data set.
    Raises:
        InputError: If a name or an option is unknown or out of its range, or two of them contradict each other.
    """
    spec = path_spec(spec) if isinstance(spec, os.PathLike) else spec
    for name, value in (("sde", sde), ("prediction", prediction), ("condition", condition)):
        check_instance(f"plan: {name}", value, str, "a string")
    groups = _by_group(options)
    if condition not in ("none", "label"):
        _check_takes_condition(spec, condition)
        groups["data"]["condition"] = condition
    data, component = load_data(spec, **groups["data"])
    spec = component.name
    condition = _check_condition(spec, data, condition, prediction)
    own = None if network is None or isinstance(network, str) else OwnNetwork(network)
    learning_rate = {} if own is None else {"learning_rate": OWN_LEARNING_RATE}
    train = train_options(default_training(data) | learning_rate | groups["train"])
    untrained = untrained_labels(data, train) if condition == "label" else ()
    if untrained:
        names = listing([data.class_names[label] if data.class_names else str(label) for label in untrained])
        data.notes += (f"no item of {names} is in the training part, so that these classes are never requested",)
    _check_training(spec, data, condition, train)
    network = default_network(data) if network is None and own is None else network
    if own is None and any(isinstance(value, OptionText) for value in groups["network"].values()):
        groups["network"] = component_options("network", str(network), groups["network"])
    network_options = _with_derived_options(groups["network"], data, condition, train, own)
    if own is None:
        name = str(network)
        network_options = default_network_options(data, name) | network_options
        chosen_network = Component(name=name, options=complete_options("network", name, network_options))
    else:
        own.check_options(network_options)
        chosen_network = Component(name=own.spec, options=network_options)
    recipe = Recipe(
        data=component,
        sde=Component(name=sde, options=complete_options("sde", sde, groups["sde"])),
        network=chosen_network,
        own_network=own,
        prediction=prediction,
        condition=condition,
        train=train,
        shape=tuple(data.shape),
        kind=data.kind,
        items=len(data),
        classes=data.classes,
        class_names=tuple(data.class_names),
        units=data.units,
        columns=tuple(data.columns),
        channel_names=tuple(data.channel_names),
        sample_rate=data.sample_rate,
        condition_names=data.condition_names,
        condition_units=data.condition_units,
        condition_shape=data.condition_shape,
        notes=tuple(data.notes),
        untrained=untrained,
        data_std=_estimate_std(data, split(len(data), train.held_out)[0]),
        fingerprint=fingerprint(data),
    )
    return _with_chosen_sizes(recipe), data


def resumed_plan(
    out: str | Path, spec: Any = None, *, network: Any = None, steps: int | None = None, time_limit: float | None = None
) -> tuple[Recipe, Dataset]:
    """Plan the continuation of a training.

    Arguments:
        out: Run folder.
        spec: Data of the run, which may have moved, see `load_data`; None to open the data that the run records.
            `Trainer` compares them with the data of the run.
        network: Network of the user's own with which the run was trained.
        steps: Number of steps of the whole run; None for the number in the recipe.
        time_limit: Time limit; None for the limit in the recipe.
    Returns:
        The recipe of the run with the new length, and its data set.
    Raises:
        InputError: If the folder is no run, or the data cannot be opened.
    """
    recipe = read_recipe(Path(out), with_data=spec is None, objective=None)
    train = recipe.train
    train = train if steps is None else replace(train, steps=steps)
    train = train if time_limit is None else replace(train, time_limit=time_limit)
    recipe = replace(recipe, train=train)
    if network is not None:
        own = OwnNetwork(network)
        if not is_python_object(recipe.network.name):
            raise InputError(
                f"{out} was trained with the registered network {recipe.network.name!r}: leave out network="
            )
        recipe = replace(recipe, own_network=own)
        own.check(recipe.build().network, recipe.shape, recipe.examples(2), drop=recipe.train.drop > 0)
    return recipe, load_run_data(recipe, spec)


def _options_of_run(recipe: Recipe, spec: Any) -> dict[str, Any]:
    """Return the options of a run's data that apply to other data, which are probably the same items elsewhere."""
    if isinstance(spec, (str, os.PathLike)):
        name, _ = parse_spec(path_spec(spec) if isinstance(spec, os.PathLike) else spec, component_names("dataset"))
        known = parameters(find_component("dataset", name).load())
    else:
        known = parameters(dataset_from_object)
    return {name: value for name, value in recipe.data.options.items() if name in known}


def untrained_labels(data: Dataset, train: TrainOptions) -> tuple[int, ...]:
    """Find the classes without training items, because no item has them or all their items are held out.

    Arguments:
        data: Data set with classes.
        train: Options of the training.
    Returns:
        Their labels. The result is empty if finding them would mean reading more than 2^16 items.
    """
    indices = split(len(data), train.held_out)[0]
    if type(data).labels_of is Dataset.labels_of and len(indices) > MOST_READ:
        return ()
    labels = data.labels_of(indices)
    assert labels is not None
    found = set(labels.unique().tolist())
    return tuple(label for label in range(data.classes) if label not in found)


def _by_group(options: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """Return the options of every group. Raises InputError for an unknown group."""
    options = {} if options is None else options
    check_instance("plan: options", options, Mapping, "a mapping of groups to options")
    if "process" in options:
        if "sde" in options:
            raise InputError("plan: options has the groups 'process' and 'sde', which mean the same: write one of them")
        options = {"sde" if group == "process" else group: values for group, values in options.items()}
    for group in options:
        if group not in GROUPS:
            raise InputError(f"no group of options {group!r}: the groups are {', '.join(GROUPS)}")
    for group, values in options.items():
        check_instance(f"plan: options[{group!r}]", values, Mapping, "a mapping of option names to values")
    return {group: dict(options.get(group, {})) for group in GROUPS}


def _check_takes_condition(spec: Any, condition: str) -> None:
    """Raise InputError if the data set has no option `condition`. Python objects are checked when they are opened."""
    if not isinstance(spec, str):
        return
    name, _ = parse_spec(spec, component_names("dataset"))
    if "condition" not in parameters(find_component("dataset", name).load()):
        raise InputError(
            f"condition must be 'none' or 'label', got {condition!r}: only table:, array: and the like have numbers to "
            "condition on"
        )


def _check_condition(spec: str, data: Dataset, condition: str, prediction: str) -> str:
    """Return the kind of condition, see `Recipe`. Raises InputError for an unknown prediction or missing labels."""
    if prediction not in PREDICTIONS:
        raise InputError(unknown_name("prediction", prediction, list(PREDICTIONS), "There are"))
    if condition == "label" and not data.classes:
        reason = describe_missing_labels(data)
        raise InputError(f"data {spec!r} has no labels to condition on{reason}: leave out --condition label")
    if data.condition_units is None:
        return condition
    return ("numbers", "embedding", "sequence")[len(data.condition_shape)]


def describe_missing_labels(data: Dataset) -> str:
    """Return the notes of a data set about labels, in parentheses, for the message that it has none."""
    notes = [note for note in data.notes if "label" in note]
    return f" ({'; '.join(notes)})" if notes else ""


def _check_training(spec: str, data: Dataset, condition: str, train: TrainOptions) -> None:
    """Raise InputError for training options that do not suit the data."""
    check_batch(train.batch_size, tuple(data.shape), "train")
    if train.augment and data.kind != "image":
        raise InputError(f"augment={train.augment:g}: data {spec!r} are not images: leave it out")
    if train.drop and condition == "none":
        raise InputError(f"drop={train.drop:g}: there is no condition to drop: add --condition label")


def _with_derived_options(
    options: dict[str, Any], data: Dataset, condition: str, train: TrainOptions, own: OwnNetwork | None = None
) -> dict[str, Any]:
    """Return the options of the network, including those that follow from the data and the training.

    A network of the user's own gets them only if it has arguments of these names.
    """
    if own is not None and train.augment:
        raise InputError(
            "train.augment: the network must take the transform of an image as a condition, which only built-in "
            "networks do: leave it out, or use network='unet'"
        )
    for name in ("conditions", "embedding_size", "sequence"):
        if options.get(name):
            raise InputError(f"network.{name} follows from the data: choose the condition with --condition instead")
    if options.get("augmentation"):
        raise InputError("network.augmentation follows from the training: set train.augment instead")
    if condition == "numbers":
        options["conditions"] = len(data.condition_names)
    elif condition in ("embedding", "sequence"):
        options["embedding_size" if condition == "embedding" else "sequence"] = data.condition_shape[-1]
    if train.augment:
        from .augmentation import WIDTH

        options["augmentation"] = WIDTH
    derived = ("conditions", "embedding_size", "sequence")
    return {name: value for name, value in options.items() if own is None or name not in derived or own.accepts(name)}


def _with_chosen_sizes(recipe: Recipe) -> Recipe:
    """Return the recipe with the sizes that the network chose, so that later versions build the same network.

    A network of the user's own is checked by a trial call.
    """
    network = recipe.build().network
    if recipe.own_network is not None:
        recipe.own_network.check(network, recipe.shape, recipe.examples(2), drop=recipe.train.drop > 0)
        return recipe
    options = vars(network).get("options", recipe.network.options)
    return replace(recipe, network=Component(name=recipe.network.name, options=dict(options)))


def _estimate_std(data: Dataset, indices: np.ndarray) -> float:
    """Estimate the standard deviation over all entries of evenly spaced items, to four digits."""
    chosen = indices[np.linspace(0, len(indices) - 1, min(len(indices), STD_ITEMS)).astype(int)]
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
