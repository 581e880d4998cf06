"""Conditions: what a model is told about each sample, and how it is told nothing.

A condition y is one row a sample: labels (B,) int64 in [0, classes), or numbers (B, d). A row of -1, or of NaN, is the
null condition, "nothing is said about this sample"; `y=None` says so of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError


def null_condition(y: Tensor) -> Tensor:
    """The null condition for every row of y (B, ...): -1 for labels, NaN for numbers."""
    return torch.full_like(y, torch.nan if y.is_floating_point() else -1)


def is_null(y: Tensor) -> Tensor:
    """Which rows of y (B, ...) are the null condition, (B,) bool."""
    return y.flatten(1).isnan().any(1) if y.is_floating_point() else y < 0


def drop_conditions(y: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """y with each row made null with probability `rate`, in [0, 1); on the CPU."""
    drop = torch.rand(len(y), generator=generator) < rate
    return torch.where(drop.view(-1, *[1] * (y.ndim - 1)), null_condition(y), y)


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """What a model was trained to be told: one of `classes` labels, or so many `numbers`, or neither.

    null: whether it was trained to be told nothing as well (drop-out of the condition).
    """

    classes: int = 0
    numbers: int = 0
    null: bool = True

    def check(self, y: Tensor | None, *, values: bool = True) -> None:
        """InputError where y is not what the model was trained to be told; values: look at them too, not at the kind
        alone, for which a GPU would have to be waited for."""
        if y is None:
            if not self.null:
                raise InputError(UNCONDITIONAL)
            return
        if self.classes and (y.is_floating_point() or y.ndim != 1):
            raise InputError(
                f"this model takes labels, whole numbers of shape (B,), as its condition: got {y.dtype} of shape "
                f"{tuple(y.shape)}"
            )
        if self.numbers and (not y.is_floating_point() or tuple(y.shape[1:]) != (self.numbers,)):
            raise InputError(
                f"this model takes {self.numbers} numbers a sample, (B, {self.numbers}), as its condition: got "
                f"{y.dtype} of shape {tuple(y.shape)}"
            )
        if not values:
            return
        if self.classes and len(y) and not -1 <= int(y.min()) <= int(y.max()) < self.classes:
            bad = int(y.max()) if int(y.max()) >= self.classes else int(y.min())
            raise InputError(f"label {bad}: this model has the labels 0 to {self.classes - 1} (-1 is no label)")
        if not self.null and is_null(y).any():
            raise InputError(UNCONDITIONAL)


UNCONDITIONAL = (
    "this model was trained with its condition given always, and has learned nothing for when there is none, which "
    "classifier-free guidance needs: train it with --drop 0.1, or give the condition and leave out the guidance"
)
