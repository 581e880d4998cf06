"""Items of a data set in the units of an opened model, for commands that evaluate a model on data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdekit.errors import InputError
from sdekit.registry import component_names, component_options, parse_assignments

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from sdekit.data import Dataset
    from sdekit.models import OpenedModel

MOST_TYPICAL = 30.0
"""Size in the model's units above which most items cannot have the units of its data, whose numbers are about 1."""
DEFAULT_ITEMS = 256
"""Number of items that a command evaluates if the user does not choose it."""


@dataclass(frozen=True)
class DataItems:
    """Chosen items of a data set, read in the units of a model.

    Arguments:
        opened: The model.
        data: The data set.
        spec: The data set as the user wrote it.
        indices: Indices of the chosen items, (n,).
        part: "held-out items" or "items", for messages.
    """

    opened: OpenedModel
    data: Dataset
    spec: str
    indices: np.ndarray
    part: str = "items"

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, rows: slice) -> tuple[Tensor, np.ndarray, Tensor | None]:
        """Read the items of some rows.

        Arguments:
            rows: Rows among the chosen items.
        Returns:
            Items in the model's units (B, *shape), the same in the units of the data, and the condition: labels (B,)
            that are positions among the classes of the model, numbers or embeddings (B, ...) in its units, or None.
        Raises:
            InputError: If an item contains a number that is not finite, or lies outside of the range of the model's
                data, or its class is not one of the model's.
        """
        raw, y = self._raw(rows)
        return self.opened.to_model(raw), raw, y

    def _raw(self, rows: slice) -> tuple[np.ndarray, Tensor | None]:
        """Read and check items in the units of the data, and their conditions; see `read`."""
        import numpy as np

        from sdekit.data import Units

        batch = self.data.batch(self.indices[rows])
        raw = self.data.units.to_data(batch.x)
        if self.data.units.layout != self.opened.units.layout:
            channels_first = Units(layout=self.data.units.layout).to_model(raw)
            raw = Units(layout=self.opened.units.layout).to_data(channels_first)
        bad = np.flatnonzero(~np.isfinite(raw.reshape(len(raw), -1)).all(1))
        if bad.size:
            raise InputError(f"{self.spec}: item {self.indices[rows][bad[0]]} contains a number that is not finite")
        self._check_range(raw)
        return raw, self._condition(batch.y)

    def _condition(self, y: Tensor | None) -> Tensor | None:
        """Return labels as positions among the classes of the model, or numbers and embeddings in its units."""
        import torch

        if y is not None and self.data.classes:
            return torch.tensor(list(self._positions))[y]
        if y is None or self.data.condition_units is None or self.opened.condition_units is None:
            return None
        return self.opened.condition_units.to_model(self.data.condition_units.to_data(y))

    def conditions(self) -> Tensor | None:
        """Read the conditions of all chosen items, as `read` returns them."""
        return self._condition(self.data.labels_of(self.indices))

    def labels(self) -> Tensor | None:
        """Read the labels of all chosen items.

        Returns:
            Positions among the classes of the model, (n,), or None if the data have no labels.
        Raises:
            InputError: If an item has a class that the model was not trained on.
        """
        import torch

        found = self.data.labels_of(self.indices) if self.data.classes else None
        if found is None:
            return None
        positions = torch.tensor(list(self._positions))
        labels = positions[found]
        trained = torch.tensor(self.opened.conditioning.labels)
        unknown = (~torch.isin(labels, trained)).nonzero()
        if len(unknown):
            row = int(unknown[0])
            names = self.opened.class_names or tuple(map(str, range(self.opened.classes)))
            theirs = self.data.class_names
            own = theirs[int(found[row])] if theirs else str(int(found[row]))
            raise InputError(
                f"{self.spec}: item {self.indices[row]} has the label {own}, which {self.opened.path} was not trained "
                f"on: its classes are {', '.join(names[int(label)] for label in trained[:20])}"
                f"{', ...' if len(trained) > 20 else ''}"
            )
        return labels

    def check(self, batch_size: int) -> None:
        """Read all chosen items once, so that a bad one is reported before a long computation.

        Arguments:
            batch_size: Number of items to read at once.
        Raises:
            InputError: As `read` does.
        """
        import numpy as np

        sizes, low, high = [], np.inf, -np.inf
        for first in range(0, len(self), batch_size):
            raw, _ = self._raw(slice(first, first + batch_size))
            sizes.append(self.opened.units.to_model(raw).flatten(1).square().mean(1).sqrt().numpy())
            low, high = min(low, float(raw.min())), max(high, float(raw.max()))
        units = self.opened.units
        if units.low is None and np.median(np.concatenate(sizes)) > MOST_TYPICAL:
            x = 2 * np.ones((1, *self.opened.data_shape))
            ends = [units.data_values(sign * x) for sign in (-1, 1)]
            raise InputError(
                f"{self.spec} contains numbers from {low:g} to {high:g}, but the data of {self.opened.path} are about "
                f"{ends[0].min():.3g} to {ends[1].max():.3g}: rescale the data"
            )

    @property
    def _positions(self) -> Sequence[int]:
        """Position of each class of the data among the classes of the model; -1 if the model has no such class."""
        from sdekit.data import whole_number

        ours, theirs = list(self.opened.class_names), list(self.data.class_names)
        if not theirs:
            return range(max(self.data.classes, 1))
        ours = ours or [str(label) for label in range(self.opened.classes)]
        values = [whole_number(name) for name in ours]
        ours = ours if None in values else [str(value) for value in values]  # "07" and "7" are one class
        theirs = theirs if None in values else [str(whole_number(name)) for name in theirs]
        return [ours.index(name) if name in ours else -1 for name in theirs]

    def _check_range(self, raw: np.ndarray) -> None:
        """Raise InputError if the numbers do not fit the range of the model's data."""
        low, high = self.opened.units.low, self.opened.units.high
        if low is None or high is None:
            return
        least, most = float(raw.min()), float(raw.max())
        tolerance = 0.1 * (high - low)  # a range may be that of the training items alone
        if least < low - tolerance or most > high + tolerance:
            raise InputError(
                f"{self.spec} contains numbers from {least:g} to {most:g}, but the data of {self.opened.path} are from "
                f"{low:g} to {high:g}: rescale the data"
            )


def open_items(
    opened: OpenedModel,
    spec: str | None,
    *,
    options: Sequence[str] = (),
    n: int | None = None,
    every: bool = False,
) -> DataItems:
    """Open the data of --data, or the held-out items of the run's own data.

    Arguments:
        opened: The model.
        spec: Value of --data, or None for the run's own data.
        options: Options of the data set, NAME=VALUE.
        n: Number of items, which are evenly spaced; None for 256 or all items if there are fewer.
        every: Whether to take all items.
    Returns:
        The chosen items.
    Raises:
        InputError: If the data cannot be opened or have another shape than the model.
    """
    import numpy as np

    from sdekit.data import parse_spec, split
    from sdekit.runs import Run
    from sdekit.training import load_data, load_run_data

    part = "items"
    if spec is None:
        if not isinstance(opened, Run):
            raise InputError(f"{opened.path} is no run, so its data are unknown: add --data SPEC")
        component, held_out = opened.recipe.data, opened.recipe.train.held_out
        data = load_run_data(opened.recipe)
        train, held = split(len(data), held_out)
        chosen, part, spec = (held, "held-out items", component.name) if len(held) else (train, part, component.name)
    else:
        kind, _ = parse_spec(spec, component_names("dataset"))
        data, _ = load_data(spec, **component_options("dataset", kind, parse_assignments(options)))
        chosen = np.arange(len(data))
    if tuple(data.shape) != tuple(opened.data_shape):
        raise InputError(
            f"{spec} has items of shape {tuple(data.shape)}, but {opened.path} was trained on "
            f"{tuple(opened.data_shape)}"
        )
    if data.condition_names and opened.condition_names and data.condition_names != opened.condition_names:
        raise InputError(
            f"{spec} has the numbers {', '.join(data.condition_names)} as its condition, but {opened.path} was trained "
            f"on {', '.join(opened.condition_names)}"
        )
    low, high, theirs = opened.units.low, opened.units.high, data.units
    known = None not in (low, high, theirs.low, theirs.high)
    if known and (theirs.high - theirs.low) < (high - low) / 4:  # type: ignore[operator]
        raise InputError(
            f"{spec} has values from {theirs.low:g} to {theirs.high:g}, but the data of {opened.path} are from {low:g} "
            f"to {high:g}: rescale the data"
        )
    if n is not None and n < 1:
        raise InputError(f"-n must be at least 1, got {n}")
    count = len(chosen) if every else min(len(chosen), DEFAULT_ITEMS if n is None else n)
    rows = np.linspace(0, len(chosen) - 1, count).round().astype(int)
    return DataItems(opened, data, spec, chosen[rows], part)


def with_dtype(opened: OpenedModel, dtype: str) -> OpenedModel:
    """Convert a model to float32 or float64.

    Arguments:
        opened: The model.
        dtype: "float32" or "float64".
    Returns:
        The model with weights of this type.
    Raises:
        InputError: If there is no such type.
    """
    if dtype not in ("float32", "float64"):
        raise InputError(f"--dtype {dtype}: choose float32 or float64")
    if dtype == "float64":
        opened.model.double()
    return opened
