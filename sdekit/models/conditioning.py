"""Conditions of a model: labels, numbers, embeddings, sequences of embeddings, or several of these together.

A condition y has one row for each sample. It is a tensor,

- labels (B,) int64 in [0, classes),
- numbers or an embedding (B, d) float,
- a sequence of embeddings (B, L, d) float,

or a `Condition`, which is several named tensors. A row of -1 (labels) or of NaN (all others) is the null condition:
this sample is not conditioned. `y=None` means that no sample is conditioned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from sdekit.arguments import check_count, check_instance
from sdekit.data import trained_labels
from sdekit.errors import InputError

from .label_names import describe_untrained, find_label

Y = TypeVar("Y", Tensor, "Condition")

NEVER_NULL = ("mask", "augmentation")
"""Parts of a `Condition` without a null value, because they describe other parts or x, not the condition itself."""


@dataclass(frozen=True, eq=False)
class Condition:
    """Several named tensors that condition the same samples together.

    It supports the operations that a tensor of conditions supports: `len(y)`, `y[rows]` and `y.to(device)`. The
    built-in networks read the parts "label" (B,), "numbers" (B, d), "embedding" (B, d), "sequence" (B, L, d) with its
    "mask" (B, L) bool, which is True at the elements that count (all of them without a mask), and "augmentation"
    (B, a). The part "y" is the condition of a model that takes a single tensor.

    Arguments:
        parts: Tensors by name, each with B rows.
    Raises:
        InputError: If there is no part, or the parts differ in their number of rows.
    """

    parts: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        check_instance("Condition: parts", self.parts, Mapping, "a mapping of names to tensors")
        for name, part in self.parts.items():
            check_instance(f"Condition: part {name!r}", part, Tensor, "a tensor of B rows")
        rows = {name: part.shape[0] if part.ndim else None for name, part in self.parts.items()}
        if not rows or None in rows.values() or len(set(rows.values())) > 1:
            raise InputError(f"a condition needs parts with the same number of rows, got {_shapes(self.parts)}")

    def __len__(self) -> int:
        return len(next(iter(self.parts.values())))

    def __getitem__(self, rows: Any) -> Condition:
        """Select the same rows of every part. The index is a slice, a tensor of indices, or a boolean tensor (B,)."""
        return Condition({name: part[rows] for name, part in self.parts.items()})

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Condition:
        """Move every part to a device, see `torch.Tensor.to`."""
        return Condition({name: part.to(device, non_blocking=non_blocking) for name, part in self.parts.items()})

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch axis only, (B,), because the parts differ in their other axes."""
        return (len(self),)

    @property
    def device(self) -> torch.device:
        """Device of the first part."""
        return next(iter(self.parts.values())).device


def condition_parts(y: Tensor | Condition | None) -> dict[str, Tensor]:
    """Return the parts of a condition by name; a tensor is the part "y".

    Arguments:
        y: Condition of B samples, or None.
    Returns:
        Tensors by name; empty for None.
    """
    if y is None:
        return {}
    return {"y": y} if isinstance(y, Tensor) else dict(y.parts)


def null_condition(y: Y) -> Y:
    """Return the null condition for every row: -1 for labels, NaN for all others.

    Arguments:
        y: Condition of B samples.
    Returns:
        A condition of the shapes and types of y. A mask and an augmentation vector stay as they are.
    """
    if isinstance(y, Condition):
        return Condition({n: part if n in NEVER_NULL else null_condition(part) for n, part in y.parts.items()})
    return torch.full_like(y, torch.nan if y.is_floating_point() else -1)


def is_null(y: Tensor | Condition) -> Tensor:
    """Return which rows are the null condition. A row of a `Condition` is null if all of its parts are null.

    Arguments:
        y: Condition of B samples.
    Returns:
        Boolean tensor (B,).
    """
    if isinstance(y, Condition):
        null = torch.ones(len(y), dtype=torch.bool, device=y.device)
        for name, part in y.parts.items():
            null = null if name in NEVER_NULL else null & is_null(part)
        return null
    return y.flatten(1).isnan().any(1) if y.is_floating_point() else y < 0


def is_label(y: Tensor | Condition) -> bool:
    """Return whether a condition is labels (B,).

    Arguments:
        y: Condition of B samples.
    Returns:
        True for a tensor (B,) of integers.
    """
    return isinstance(y, Tensor) and not y.is_floating_point() and y.ndim == 1


def drop_conditions(y: Y, rows: Tensor) -> Y:
    """Replace rows by the null condition.

    Arguments:
        y: Condition of B samples.
        rows: Which rows to replace, (B,) bool.
    Returns:
        A condition of the shapes of y.
    """
    null = null_condition(y)
    if isinstance(y, Condition):
        return Condition({name: _where(rows, null.parts[name], part) for name, part in y.parts.items()})
    return _where(rows, null, y)


def concatenate_conditions(conditions: Sequence[Y]) -> Y:
    """Concatenate conditions of the same kind along the batch.

    Arguments:
        conditions: Conditions with the same parts, at least one.
    Returns:
        All rows in order.
    Raises:
        InputError: If some are tensors and others a `Condition`, or their parts have different names or shapes.
    """
    if len({_kind(y) for y in conditions}) > 1:
        got = " and ".join(describe_condition(y) for y in conditions)
        raise InputError(f"conditions of one batch must have the same parts and shapes, got {got}")
    if isinstance(conditions[0], Condition):
        return Condition(
            {name: torch.cat([condition_parts(y)[name] for y in conditions]) for name in conditions[0].parts}
        )
    return torch.cat(list(conditions))


def replace_null(
    y: Tensor | Condition | None, value: Tensor | Condition, n: int, device: torch.device
) -> Tensor | Condition:
    """Replace the null rows of a condition by a model's own null condition.

    Arguments:
        y: Condition of n samples, or None for null rows only.
        value: Null condition of the model, one row.
        n: Number of samples.
        device: Device of the result.
    Returns:
        A condition without null rows. In the rows that were null, its mask is the mask of `value`.
    Raises:
        InputError: If the shape of a part differs between y and `value`.
    """
    values = {name: part.to(device).expand(n, *part.shape[1:]) for name, part in condition_parts(value).items()}
    parts = condition_parts(y)
    null = torch.ones(n, dtype=torch.bool, device=device) if y is None else is_null(y)
    for name, own in values.items():
        if name in parts and parts[name].shape != own.shape:
            raise InputError(
                f"condition {name!r} has the shape {tuple(parts[name].shape)}, and the null condition of the model "
                f"{tuple(own.shape)}: pad the shorter one, with a mask"
            )
        if name in parts:
            parts[name] = _where(null, own, parts[name])
        else:  # without a mask every element counts; any other missing part is null in every row
            parts[name] = _where(null, own, torch.ones_like(own)) if name == "mask" else own
    if "mask" in parts and "mask" not in values:
        parts["mask"] = parts["mask"] | null[:, None]
    return parts["y"] if parts.keys() == {"y"} and not isinstance(y, Condition) else Condition(parts)


def describe_condition(y: Tensor | Condition) -> str:
    """Return a short description for messages: type and shape of a tensor, or names and shapes of all parts.

    Arguments:
        y: Condition of B samples.
    Returns:
        For example "torch.float32 of shape (4, 2)" or "sequence (4, 77, 768), mask (4, 77)".
    """
    return f"{y.dtype} of shape {tuple(y.shape)}" if isinstance(y, Tensor) else _shapes(y.parts)


@dataclass(frozen=True, kw_only=True)
class Conditioning:
    """The kind of condition that a model was trained with. At most one of the first five arguments is set.

    Arguments:
        classes: Number of labels.
        numbers: How many numbers d condition a sample, for y of shape (B, d).
        embedding: Width d of an embedding, for y of shape (B, d).
        sequence: Length L and width d of a sequence of embeddings, for y of shape (B, L, d); L is None for any length.
        parts: Shapes of the parts of a `Condition`, without the batch axis: () for labels, None for a size that may
            vary.
        null: Whether the model was also trained without its condition (with the null condition in some rows).
        class_names: Names of the labels, or empty.
        untrained: Labels of classes without training items. The model refuses them.
        null_value: Null condition of the model itself, one row: a tensor or `Condition` that the model's network
            receives in place of null rows. A negative prompt replaces it. None if null rows are -1 or NaN.
        null_refusal: Message for a null condition if the model does not support it.
    Raises:
        InputError: If more than one kind is declared, or `null_value` does not fit it or comes with `null=False`.
    """

    classes: int = 0
    numbers: int = 0
    embedding: int = 0
    sequence: tuple[int | None, int] | None = None
    parts: Mapping[str, tuple[int | None, ...]] = field(default_factory=dict)
    null: bool = True
    class_names: tuple[str, ...] = ()
    untrained: tuple[int, ...] = ()
    null_value: Tensor | Condition | None = field(default=None, compare=False)
    null_refusal: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        for name in ("classes", "numbers", "embedding"):
            check_count(f"Conditioning: {name}", getattr(self, name))
        if self.sequence is not None:
            check_instance("Conditioning: sequence", self.sequence, (tuple, list), "a length (or None) and a width")
        check_instance("Conditioning: parts", self.parts, Mapping, "a mapping of names to shapes")
        kinds = [k for k in ("classes", "numbers", "embedding", "sequence", "parts") if getattr(self, k)]
        if len(kinds) > 1:
            raise InputError(
                f"a model has one kind of condition, got {' and '.join(kinds)}: declare them as named parts of a "
                "`Condition`, Conditioning(parts=...)"
            )
        if self.null_value is not None:
            if not self.null or len(self.null_value) != 1:
                raise InputError("null_value: expected one row, and null=True, as the model can do without a condition")
            self.check(self.null_value)

    def check(self, y: Tensor | Condition | None, *, values: bool = True) -> None:
        """Check that the model can take a condition.

        Arguments:
            y: Condition of B samples, or None.
            values: Whether to check labels and null rows in addition to shapes, which makes a GPU synchronize.
        Raises:
            InputError: If y has another type or shape than the model was trained with, a label does not exist, or y is
                null in a row and the model was not trained for that.
        """
        all_parts = condition_parts(y)
        parts = {name: part for name, part in all_parts.items() if name not in NEVER_NULL}
        if y is None or not parts:
            if not self.null:
                raise InputError(self.null_refusal or UNCONDITIONAL)
            return
        shapes, expected = self._expected()
        fits = parts.keys() == shapes.keys() and all(_fits(parts[name], shape) for name, shape in shapes.items())
        if shapes and not fits:
            raise InputError(f"this model takes {expected} as its condition: got {describe_condition(y)}")
        if (mask := all_parts.get("mask")) is not None:
            sequence = parts.get("sequence", parts.get("y"))
            if sequence is None or mask.dtype != torch.bool or mask.shape != sequence.shape[:2]:
                raise InputError(
                    f"a mask is boolean and has the shape (B, L) of its sequence: got {_shapes(all_parts)}"
                )
        if not values:
            return
        if self.classes and len(parts["y"]):
            low, high = int(parts["y"].min()), int(parts["y"].max())
            if low < -1 or high >= self.classes:
                bad = high if high >= self.classes else low
                raise InputError(f"label {bad}: this model has the labels 0 to {self.classes - 1} (-1 is no label)")
            for label in self.untrained:
                if bool((parts["y"] == label).any()):
                    reason = describe_untrained(label, self.classes, self.class_names, self.untrained)
                    raise InputError(f"label {label}: {reason}")
        if not self.null and any(bool(is_null(part).any()) for part in parts.values()):
            raise InputError(self.null_refusal or UNCONDITIONAL)

    @property
    def kind(self) -> str:
        """Kind of the condition: "none", "label", "numbers", "embedding", "sequence" or "parts"."""
        if self.classes:
            return "label"
        return next((k for k in ("numbers", "embedding", "sequence", "parts") if getattr(self, k)), "none")

    @property
    def labels(self) -> tuple[int, ...]:
        """Labels that the model was trained on, in increasing order."""
        return trained_labels(self.classes, self.untrained)

    def label_of(self, name: str | int) -> int:
        """Return the label of a class, by its name or its position, see `find_label`.

        Arguments:
            name: Name of a class, or its position from 0. The name has precedence.
        Returns:
            Label in [0, classes).
        Raises:
            InputError: If there is no such class, or if it has no training items.
        """
        return find_label(name, self.classes, self.class_names, self.untrained).label

    def _expected(self) -> tuple[Mapping[str, tuple[int | None, ...]], str]:
        """Return the shapes of the parts without the batch axis, and a description of them in words."""
        if self.classes:
            return {"y": ()}, "labels, whole numbers of shape (B,),"
        if self.numbers:
            return {"y": (self.numbers,)}, f"{self.numbers} numbers a sample, (B, {self.numbers}),"
        if self.embedding:
            return {"y": (self.embedding,)}, f"an embedding (B, {self.embedding})"
        if self.sequence is not None:
            return {"y": self.sequence}, f"a sequence of embeddings {_written(self.sequence)}"
        parts = " and ".join(f"{name} {_written(shape)}" for name, shape in self.parts.items())
        return self.parts, f"a Condition of {parts}"


UNCONDITIONAL = (
    "this model was always trained with its condition, so it cannot run without one, which classifier-free guidance "
    "needs: train it with --drop 0.1, or give the condition and leave out the guidance"
)


def _kind(y: Tensor | Condition) -> tuple[object, ...]:
    """Return a value that is equal for conditions that can be concatenated."""
    return type(y), *((name, part.shape[1:]) for name, part in condition_parts(y).items())


def _where(rows: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Take `one` in the rows where `rows` (B,) is True, and `other` in all other rows; both are (B, ...)."""
    return torch.where(rows.view(-1, *[1] * (other.ndim - 1)), one, other)


def _fits(part: Tensor, shape: tuple[int | None, ...]) -> bool:
    sizes = part.shape[1:]
    same = len(sizes) == len(shape) and all(want in (None, size) for want, size in zip(shape, sizes, strict=True))
    return same and part.is_floating_point() == bool(shape)


def _written(shape: tuple[int | None, ...]) -> str:
    """Write a shape with its batch axis: (77, 768) becomes "(B, 77, 768)"."""
    return f"({', '.join(['B', *('L' if size is None else str(size) for size in shape)])}{'' if shape else ','})"


def _shapes(parts: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(part.shape)}" for name, part in parts.items()) or "none"
