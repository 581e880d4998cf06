"""Sections of the settings, the environment, and the commands that produced the run and the report."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import sdekit
from sdekit.errors import SdekitError
from sdekit.registry import complete_options, option_name
from sdekit.runs import Recipe, TrainOptions

from .blocks import Commands, Details, Facts, Section, Table
from .subject import Subject

DERIVED = ("conditions", "embedding_size", "sequence", "augmentation")
"""Options of networks that follow from the data and the training."""
PACKAGES = ("torch", "torchdiffeq", "numpy", "scipy", "safetensors", "matplotlib", "pillow")


def settings_section(subject: Subject) -> Section | None:
    """List all options of the run.

    Arguments:
        subject: The model.
    Returns:
        The section, or None without a recipe.
    """
    recipe = subject.recipe
    if recipe is None:
        return None
    groups = [
        (f"data {recipe.data.name}", recipe.data.options),
        (f"process {recipe.sde.name}", recipe.sde.options),
        (f"network {recipe.network.name}", recipe.network.options),
        ("training", vars(recipe.train)),
    ]
    blocks = tuple(
        Details(title=f"Options of the {title}", blocks=(_options(options),)) for title, options in groups if options
    )
    return Section(name="settings", title="Settings", blocks=blocks)


def _options(options: Mapping[str, Any]) -> Table:
    rows = tuple((option_name(name), _text(value)) for name, value in options.items())
    return Table(header=("option", "value"), rows=rows, numeric=False)


def _text(value: Any) -> str:
    return "none" if value is None else ("true" if value else "false") if isinstance(value, bool) else str(value)


def environment_section(subject: Subject) -> Section:
    """List the versions of programs and the device, of the training and of the report.

    Arguments:
        subject: The model.
    Returns:
        The section.
    """
    now = {"sdekit": sdekit.__version__, "python": platform.python_version()}
    now |= {name: found for name in PACKAGES if (found := _version(name))}
    then = {k: str(v) for k, v in (subject.config.get("versions") or {}).items()}
    header = ("program", *(["training"] if then else []), "report")
    rows = []
    for name in dict.fromkeys([*then, *now]):
        rows.append((name, *([then.get(name, "–")] if then else []), now.get(name) or _version(name) or "–"))
    machine = (
        ("device", _device(subject.device)),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("threads of torch", str(torch.get_num_threads())),
    )
    blocks = (Facts(rows=machine), Table(header=header, rows=tuple(rows), numeric=False, caption="Versions"))
    return Section(name="environment", title="Environment", blocks=blocks)


def _device(device: torch.device) -> str:
    return f"{device}, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def commands_section(subject: Subject, command: str, others: tuple[tuple[str, str], ...]) -> Section:
    """List the commands that produced the run and the report.

    Arguments:
        subject: The model.
        command: Command of this report.
        others: Pairs of a description and a command, to show before the report.
    Returns:
        The section.
    """
    rows = []
    if subject.recipe is not None:
        rows.append(("Train the model (written from the options of the run)", train_command(subject)))
    rows += [*others, ("Make this report", command)]
    return Section(name="commands", title="Commands", blocks=(Commands(rows=tuple(rows)),))


def train_command(subject: Subject) -> str:
    """Write the command that trains a run with the same recipe.

    Arguments:
        subject: A run.
    Returns:
        A command for the shell. Options that have their default values are left out.
    """
    recipe = subject.recipe
    assert recipe is not None
    words = ["sdekit", "train", "--data", recipe.data.name, "--out", str(subject.opened.path)]
    words += ["--process", recipe.sde.name, "--network", recipe.network.name, "--prediction", recipe.prediction]
    if recipe.condition == "label":
        words += ["--condition", "label"]
    elif recipe.condition != "none" and recipe.data.options.get("condition"):
        words += ["--condition", str(recipe.data.options["condition"])]
    for flag, value in (("--steps", recipe.train.steps), ("--time-limit", recipe.train.time_limit)):
        if value is not None:
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    words += ["--seed", str(recipe.train.seed)]
    for name, value in changed_options(recipe).items():
        words += ["--option", f"{name}={_assigned(value)}"]
    for file in subject.config.get("plugins") or ():
        words += ["--plugin", str(file)]
    return shlex.join(words)


def changed_options(recipe: Recipe) -> dict[str, Any]:
    """Return the options of a recipe that differ from the defaults of its components.

    Arguments:
        recipe: Recipe of a run.
    Returns:
        Values by name: data.NAME, sde.NAME, network.NAME and train.NAME. Flags of their own are left out.
    """
    changed: dict[str, Any] = {}
    for group, kind, component in (
        ("data", "dataset", recipe.data),
        ("process", "sde", recipe.sde),
        ("network", "network", recipe.network),
    ):
        try:
            defaults = complete_options(kind, component.name.partition(":")[0], {})
        except SdekitError:  # an option without a default, or a component that is not installed
            defaults = {}
        for name, value in component.options.items():
            derived = name == "condition" or (group == "network" and name in DERIVED)
            if (name not in defaults or defaults[name] != value) and value is not None and not derived:
                changed[f"{group}.{option_name(name)}"] = value
    flags = ("steps", "time_limit", "seed")
    for field in fields(TrainOptions):
        value = getattr(recipe.train, field.name)
        if field.name not in flags and value != field.default and value is not None:
            changed[f"train.{option_name(field.name)}"] = value
    return changed


def _assigned(value: Any) -> str:
    """Write a value as `name=value` of the command line expects it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_assigned, value))}]"
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
