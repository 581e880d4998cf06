"""Units of tables in which each number and each integer is a standard normal number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from sdekit.data.columns import Column, column_slices
from sdekit.data.dataset import Batch, Units
from sdekit.data.held_out import splitmix64
from sdekit.data.in_memory import InMemoryDataset
from sdekit.data.quantiles import Curve, fit_curve

TableScale = Literal["quantiles", "auto", "columns", "global", "none"]


class TableDataset(InMemoryDataset):
    """Rows of a table. Integers and rounded numbers are dequantized, if they are mapped by their quantiles.

    Item i is row i plus uniform noise in (-width / 2, width / 2), the same in every call. Rounding removes the noise.

    Attributes:
        widths: Distance of neighbouring values of each coordinate, such as 1 for integers, or 0 for no noise, (d,).
    """

    widths: np.ndarray

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Read the rows at these indices: x (B, d) float32, and y (see `Batch`)."""
        if not self.units.quantiles:
            return super().batch(indices)
        rows = np.asarray(indices, dtype=np.int64)
        uniform = uniform_numbers(rows, self.array.shape[1])
        values = np.asarray(self.array[rows], dtype=np.float64) + (uniform - 0.5) * self.widths
        x = self.units.model_values(values, uniform)
        return Batch(torch.from_numpy(x.astype(np.float32)), self.labels_of(rows))


def uniform_numbers(rows: np.ndarray, d: int) -> np.ndarray:
    """Return d numbers in (0, 1) for each row, which depend on the number of the row alone, (B, d)."""
    bits = splitmix64(rows[:, None] * d + np.arange(d)) >> np.uint64(11)
    return (bits.astype(np.float64) + 0.5) / 2.0**53


def quantile_units(codes: np.ndarray, columns: Sequence[Column], units: Units) -> tuple[Units, np.ndarray]:
    """Replace shift and scale of numbers and integers by curves.

    Arguments:
        codes: Encoded rows (N, d).
        columns: Columns of the table.
        units: Units with shift and scale of each coordinate. Those of categories and constant columns remain.
    Returns:
        The units, and the width of the noise of each coordinate (d,), see `TableDataset`.
    """
    d = codes.shape[1]
    shift, scale, widths = (
        np.broadcast_to(part, d).astype(float) for part in (units.shift, units.scale, 0.0)
    )  # copies
    uniform = uniform_numbers(np.arange(len(codes)), d)
    curves: list[Curve | tuple[()]] = []
    for column, place in column_slices(columns):
        i, values = place.start, codes[:, place.start]
        if column.type == "category" or values.min() == values.max():
            curves += [()] * column.width
            continue
        decimals = 0 if column.type == "integer" else column.decimals
        widths[i] = 0.0 if decimals is None else 10.0**-decimals
        shift[i], scale[i] = 0.0, 1.0
        curves.append(fit_curve(values + (uniform[:, i] - 0.5) * widths[i]))
    new = replace(units, shift=tuple(shift.tolist()), scale=tuple(scale.tolist()))
    return replace(new, quantiles=tuple(curves) if any(curves) else ()), widths
