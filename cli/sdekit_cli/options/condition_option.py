"""The condition of the samples, from the options --label and --condition."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sdekit.errors import InputError

from .label_option import Classes, find_classes

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.models import OpenedModel

MOST_BYTES = 2**31
"""Largest size of a file of embeddings."""
LARGEST = 1e15
"""Largest number that is accepted, in the model's units. Its square is finite in float32; the data are about 1."""


def conditions(
    model: OpenedModel,
    label: str | None,
    seeds: tuple[int, ...],
    *,
    numbers: str | None = None,
    guided: bool = False,
    classes: Classes | None = None,
) -> Tensor | None:
    """Return the condition of each sample.

    Arguments:
        model: Model to sample from.
        label: Name or position of a class, or several separated by commas, of which the seed of a sample chooses one;
            None to choose among all trained classes.
        seeds: Seeds of the n samples.
        numbers: Numbers separated by commas, or a .npy file of embeddings for a model trained on embeddings.
        guided: Whether a guidance may use the label, so that the model itself need not take it.
        classes: Classes of the label; by default those of the model.
    Returns:
        Labels (n,), numbers or embeddings (n, d) or sequences of embeddings (n, L, d) in the model's units, or None for
        samples without a condition.
    Raises:
        InputError: If the model takes no such condition.
    """
    import torch

    kind = model.condition
    if numbers is not None and kind in ("none", "label"):
        raise InputError(
            f"--condition {numbers}: {model.path} was not trained on numbers (train --condition COLUMN,COLUMN)"
        )
    if label is not None and (kind not in ("none", "label") or (kind == "none" and not guided)):
        raise InputError(f"--label {label}: {model.path} was trained without labels: {_remedy(model)}")
    if kind == "numbers":
        row = _numbers(model, numbers)
        return None if row is None else row.repeat(len(seeds), 1)
    if kind not in ("none", "label"):
        return _embeddings(model, numbers, len(seeds))
    if kind == "none" and label is None:
        return None
    classes = find_classes(model, ()) if classes is None else classes
    if label is None:
        labels = list(model.conditioning.labels)
    elif not classes.count:
        raise InputError(f"--label {label}: the data of {model.path} have no labels")
    else:
        labels = classes.find_all(label, "--label")
    return torch.tensor([labels[seed % len(labels)] for seed in seeds])


def _remedy(model: OpenedModel) -> str:
    """Return how to choose the class of a sample that a model without labels draws."""
    train = "train with --condition label"
    if model.columns:
        train += " --option data.label=COLUMN"
        names = [column.name for column in model.columns if column.type == "category"]
        return f"{train}, or choose the value of a column: sdekit restore RUN --known {(names or ['COLUMN'])[0]}=VALUE"
    return train if model.classes else f"{train} on data with labels"


def _numbers(model: OpenedModel, text: str | None) -> Tensor | None:
    """Return numbers (1, d) in the model's units; None for no numbers, if the model was also trained without them."""
    import numpy as np

    names = ", ".join(model.condition_names)
    if text is None:
        if model.conditioning.null:
            return None
        raise InputError(f"{model.path} was trained on numbers: add --condition {names.replace(' ', '')} with numbers")
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != len(model.condition_names) or not all(map(math.isfinite, numbers)):
        raise InputError(f"--condition {text}: {model.path} takes {len(model.condition_names)} finite numbers: {names}")
    assert (units := model.condition_units) is not None
    with np.errstate(over="ignore"):
        row = units.to_model(np.array([numbers]))
    if not bool((row.abs() <= LARGEST).all()):
        reach = LARGEST * np.asarray(units.scale) * np.ones(len(numbers))
        low, high = (np.asarray(units.shift) + sign * reach for sign in (-1, 1))
        ranges = zip(model.condition_names, low, high, strict=True)
        allowed = ", ".join(f"{name} {a:.3g} to {b:.3g}" for name, a, b in ranges)
        raise InputError(f"--condition {text}: too large to compute with in float32: give {allowed}")
    return row


def _embeddings(model: OpenedModel, file: str | None, n: int) -> Tensor | None:
    """Read embeddings (n, ...) in the model's units from a .npy file of one row or n rows; None without a file."""
    import numpy as np
    import torch

    from sdekit.data.formats import read_npy

    if file is None:
        if model.conditioning.null:
            return None
        raise InputError(f"{model.path} was trained on embeddings: add --condition FILE.npy, with one row or {n} rows")
    try:
        rows = np.asarray(read_npy(file, file, most_bytes=MOST_BYTES), dtype=np.float64)
    except (InputError, ValueError) as error:
        raise InputError(f"--condition {file}: expected a .npy file of embeddings ({error})") from error
    rows = rows[None] if rows.ndim == {"embedding": 1, "sequence": 2}.get(model.condition) else rows
    if not rows.ndim or len(rows) not in (1, n) or not np.isfinite(rows).all():
        raise InputError(f"--condition {file}: expected finite numbers in one row or {n} rows, got shape {rows.shape}")
    units = model.condition_units
    y = torch.from_numpy(rows).float() if units is None else units.to_model(rows)
    try:
        model.conditioning.check(y)
    except InputError as error:
        raise InputError(f"--condition {file}: {error}") from None
    return y.expand(n, *y.shape[1:])
