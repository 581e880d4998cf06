"""Draw samples from an opened model with names of components and classes, as `sdekit sample` does."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sdekit.arguments import check_count, check_instance, describe_value
from sdekit.errors import InputError
from sdekit.guidance import Guidance, resolve_guidance
from sdekit.models import Condition, OpenedModel
from sdekit.registry import build, complete_options, component_options, parse_component, with_data_std
from sdekit.sampling import Callback, Grid, Progress, Sampler, Samples, sample
from sdekit.tuning import find_tuned_for

MOST_AT_ONCE = 256
"""Batch size if the user chooses none."""

Label = str | int
"""Name or position of a class."""


def draw_samples(
    opened: OpenedModel,
    n: int | None = None,
    solver: Sampler | str = "auto",
    *,
    seeds: Sequence[int] | None,
    steps: int | None,
    nfe: int | None,
    label: Label | Sequence[Label] | None,
    condition: Any,
    y: Tensor | Condition | None,
    guidance: Sequence[Guidance | str] | Guidance | str,
    grid: Grid | str | Tensor | None,
    noise: Literal["seed", "brownian"] | None,
    batch_size: int | None,
    trajectory: bool,
    progress: bool | Progress,
    callback: Callback | None,
) -> Samples:
    """Draw samples from a model, see `sdekit.OpenedModel.sample`, which has the same arguments.

    Arguments:
        opened: The model.
        n: Number of samples.
        solver: Sampler, or its name.
        seeds: Seeds, instead of n.
        steps: Number of steps.
        nfe: Largest number of network evaluations, instead of steps.
        label: Class, or several classes of which the seed chooses one.
        condition: Numbers or embeddings to condition on.
        y: Condition in the model's units, n rows, instead of label and condition.
        guidance: Guidances.
        grid: Time grid.
        noise: Source of noise.
        batch_size: Samples at a time.
        trajectory: Whether to return all states.
        progress: Whether to show the progress, or a function that shows it.
        callback: Function called after each step.
    Returns:
        The samples, with the units and names of the model.
    Raises:
        InputError: If an argument is not valid for this model.
    """
    if seeds is None:
        seeds = range(check_count("sample: n", 16 if n is None else n, least=1))
    device = next((p.device for p in opened.model.parameters()), torch.device("cpu"))
    guides = _guidances(opened, guidance)
    if y is None:
        y = _condition(opened, tuple(seeds), label, condition, guided=bool(guides))
    elif label is not None or condition is not None:
        raise InputError("sample: give y, or label or condition, not both")
    name = ""
    sampler: Any = solver
    if isinstance(solver, str):  # as the command line writes it: NAME or NAME:option=value
        name, written = parse_component(solver)
        options = component_options("sampler", name, written)
        sampler = build("sampler", name, **with_data_std("sampler", name, options, opened.data_std))
    check_instance("sample: solver", sampler, Sampler, "a sampler or a registered name such as 'ddim'")
    budget: dict[str, Any] = {"steps": steps, "nfe": nfe, "grid": _grid(opened, grid)}
    if name and budget["grid"] is None and not guides:
        tuned, reason = find_tuned_for(opened.path, name, sampler, steps=steps, nfe=nfe)
        if reason:
            warnings.warn(f"sample: the tuned times are not used: {reason}", stacklevel=3)
        if tuned is not None:
            guides, budget = list(tuned.guidance), {"grid": tuned.times(opened.model.sde)}
    samples = sample(
        opened.model.sde,
        opened.model,
        sampler,
        shape=opened.shape,
        n=n,
        seeds=seeds,
        y=y,
        guidance=guides,
        noise=noise,
        batch_size=(1 if opened.encoder is not None else MOST_AT_ONCE) if batch_size is None else batch_size,
        device=device,
        trajectory=trajectory,
        progress=progress,
        callback=callback,
        **budget,
    )
    return replace(samples, model=opened, solver=name or samples.solver)


def _grid(opened: OpenedModel, grid: Grid | str | Tensor | None) -> Any:
    """Return the grid of the user's choice, or the one that the makers of the model recommend, or None."""
    if isinstance(grid, str) and grid == "maker":
        if opened.makers_grid is None:
            raise InputError(f"sample: grid='maker': {opened.path} does not record a grid of its makers")
        return opened.makers_grid
    chosen = opened.grid if grid is None else grid
    if not isinstance(chosen, str):
        return chosen
    name, written = parse_component(chosen)
    return build("grid", name, **with_data_std("grid", name, component_options("grid", name, written), opened.data_std))


def _guidances(opened: OpenedModel, guidance: Sequence[Guidance | str] | Guidance | str) -> list[Guidance]:
    """Return guidances; those given by names get the range of the data and labels by the names of classes."""
    choices: list[Any] = (
        list(guidance) if isinstance(guidance, Sequence) and not isinstance(guidance, str) else [guidance]
    )
    return resolve_guidance([_guidance(opened, choice) if isinstance(choice, str) else choice for choice in choices])


def _guidance(opened: OpenedModel, text: str) -> Guidance:
    name, written = parse_component(text)
    options = complete_options("guidance", name, component_options("guidance", name, written))
    if opened.data_range is not None and {"low", "high"} <= options.keys():
        for bound, value in zip(("low", "high"), opened.data_range, strict=True):
            options[bound] = value if options[bound] is None else options[bound]
    negative = options.get("negative")
    if opened.classes and isinstance(negative, str | int) and (negative != -1 or "-1" in opened.class_names):
        options["negative"] = opened.find_label(negative).label
    guidance: Guidance = build("guidance", name, **options)
    return guidance


def _condition(
    opened: OpenedModel, seeds: tuple[int, ...], label: Label | Sequence[Label] | None, condition: Any, *, guided: bool
) -> Tensor | None:
    """Return the condition of each sample in the model's units, or None."""
    kind = opened.condition
    if condition is not None:
        if kind in ("none", "label"):
            raise InputError(f"sample: condition: {opened.path} was not trained on numbers or embeddings")
        return _numbers(opened, condition, len(seeds))
    if label is not None:
        if kind not in ("none", "label") or (kind == "none" and not guided):
            raise InputError(f"sample: label={label!r}: {opened.path} was trained without labels (condition='label')")
        names = [label] if isinstance(label, str | int | np.integer) else label
        check_instance("sample: label", names, Iterable, "the name or position of a class, or several")
        labels = [_label(opened, name) for name in names]
        if not labels:
            raise InputError("sample: label is empty: leave it out for samples of all classes")
    elif kind == "label":
        labels = list(opened.conditioning.labels)
    elif kind == "none" or opened.conditioning.null:
        return None
    else:
        names = ", ".join(opened.condition_names) or kind
        raise InputError(f"sample: {opened.path} needs a condition ({names}): give condition=... or y=...")
    return torch.tensor([labels[seed % len(labels)] for seed in seeds])


def _label(opened: OpenedModel, name: Any) -> int:
    """Return the label of a class, by its name or position."""
    if isinstance(name, np.integer):
        name = int(name)
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise InputError(f"sample: label must be the name or position of a class, got {describe_value(name)}")
    if not opened.classes:
        raise InputError(f"sample: label={name!r}: the data of {opened.path} have no labels")
    try:
        return opened.find_label(name).label
    except InputError as error:
        raise InputError(f"sample: {error}") from None


def _numbers(opened: OpenedModel, condition: Any, n: int) -> Tensor:
    """Return numbers by name, or rows of numbers or embeddings in their own units, as n rows in the model's units."""
    names = opened.condition_names
    if isinstance(condition, Mapping):
        if set(condition) != set(names):
            given = ", ".join(map(str, condition))
            raise InputError(f"sample: condition has the names {given}; expected {', '.join(names)}")
        condition = [condition[name] for name in names]
    try:
        rows = np.asarray(condition, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"sample: condition must be numbers, got {describe_value(condition)}") from error
    axes = {"numbers": 1, "embedding": 1, "sequence": 2}.get(opened.condition, 0)
    rows = rows[None] if rows.ndim == axes else rows.reshape(1, 1) if not rows.ndim else rows
    if rows.ndim != axes + 1 or len(rows) not in (1, n) or not np.isfinite(rows).all():
        expected = f"{len(names)} finite numbers ({', '.join(names)})" if names else "finite numbers"
        raise InputError(f"sample: condition has shape {rows.shape}; expected {expected} in one row or {n} rows")
    if names and rows.shape[1] != len(names):
        raise InputError(f"sample: condition has {rows.shape[1]} numbers, expected {len(names)}: {', '.join(names)}")
    y = torch.from_numpy(rows).float() if opened.condition_units is None else opened.condition_units.to_model(rows)
    opened.conditioning.check(y)
    return y.expand(n, *y.shape[1:])
