"""Checks of extractors of features: shapes, batches, repeatability."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sdekit.data import Units
from sdekit.evaluation import Extractor, as_extractor, extract_features
from sdekit.verify.common.check_results import Check, Finding, at_most, same

COUNT = 6
"""Number of items in a batch."""


def checks(target: Callable[..., Any], *, quick: bool = False) -> list[Check]:
    """Return all checks of an extractor.

    Arguments:
        target: Function without arguments that returns an extractor.
        quick: Has no effect, because all checks are fast.
    Raises:
        InputError: If the extractor needs options, such as a file.
    """
    extractor = as_extractor(target(), "extractor")
    return [
        Check("shape", "features (B, d) are finite", partial(shape, extractor)),
        Check("batches", "the features of an item do not depend on the other items", partial(batches, extractor)),
        Check("repeatable", "f(x) = f(x)", partial(repeatable_features, extractor)),
        Check("inputs", "items are not changed", partial(inputs_unchanged, extractor)),
    ]


def _items(extractor: Extractor) -> Tensor:
    """Draw items of the shape that an extractor expects, from -1 to 1."""
    shape = extractor.shape or (extractor.channels or 3, *(extractor.size or (16, 16)))
    return torch.rand(COUNT, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _features(extractor: Extractor, x: Tensor) -> Tensor:
    return extract_features(extractor, x, units=extractor.units or Units(low=-1.0, high=1.0))


def shape(extractor: Extractor) -> Finding:
    """Check that features are finite numbers (B, d)."""
    features = _features(extractor, _items(extractor))  # raises InputError for other results
    return Finding(True, f"{tuple(features.shape)}", f"({COUNT}, d)")


def batches(extractor: Extractor) -> Finding:
    """Check that the features of an item are the same alone and within a batch."""
    x = _items(extractor)
    together, alone = _features(extractor, x), torch.cat([_features(extractor, row[None]) for row in x])
    difference = float((together - alone).abs().max() / together.abs().max().clamp(min=1e-12))
    cause = "the features depend on the batch: put the network into evaluation mode"
    return at_most(difference, 1e-4, cause, "relative difference ")


def repeatable_features(extractor: Extractor) -> Finding:
    """Check that the features of the same items are the same in a second call."""
    x = _items(extractor)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        first = _features(extractor, x)
        torch.manual_seed(2)
        difference = float((_features(extractor, x) - first).abs().max())
    return at_most(difference, 0.0, "the features are random: switch off dropout", "difference ")


def inputs_unchanged(extractor: Extractor) -> Finding:
    """Check that the items are not changed in place."""
    x = _items(extractor)
    _features(extractor, x)
    changed = "unchanged" if torch.equal(x, _items(extractor)) else "changed"
    return same(changed, "unchanged", "the extractor changes its inputs in place: compute a new tensor")
