"""Pictures of an evaluation: real data beside samples, and samples beside their nearest training items."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from sdekit.plotting import comparison, item_grid

from .evaluation_result import Memorization
from .real_data import RealData

if TYPE_CHECKING:
    from sdekit.models import OpenedModel

MOST_IMAGES = 64
"""Largest number of images on each side."""
MOST_POINTS = 2000
"""Largest number of points of each kind in a plot."""


def comparison_picture(opened: OpenedModel, samples: Tensor, real: RealData, *, seed: int = 0) -> bytes:
    """Draw real data beside samples: two pictures, or points, histograms and pairs of columns.

    Arguments:
        opened: The model.
        samples: Samples (n, *data_shape) in the model's units.
        real: Real items.
        seed: Seed of the choice of real items.
    Returns:
        Contents of a PNG file.
    """
    most = MOST_POINTS if opened.kind == "vector" else MOST_IMAGES
    reference = real.read(opened, real.choose(min(most, len(samples)), seed)[0])
    units = replace(opened.units, layout="same")
    data, drawn = units.to_data(reference), units.to_data(samples[:most])
    columns = opened.channel_names or real.columns
    return comparison(drawn, data, kind=opened.kind, units=units, columns=columns, sample_rate=opened.sample_rate)


def nearest_picture(opened: OpenedModel, samples: Tensor, real: RealData, found: Memorization | None) -> bytes | None:
    """Draw the samples that are most similar to a training item, in the first row, above these items.

    Arguments:
        opened: The model.
        samples: Samples (n, *data_shape) in the model's units.
        real: Real items, with the training items.
        found: Result of the check for memorization.
    Returns:
        Contents of a PNG file, or None for vectors, or without training items.
    """
    if found is None or not found.pairs or opened.kind == "vector" or real.training_data is None:
        return None
    items = np.array([pair.item for pair in found.pairs])
    training = real.read(opened, items, training=True)
    units = replace(opened.units, layout="same")
    chosen = samples[[pair.sample for pair in found.pairs]]
    images = np.concatenate([units.to_data(chosen), units.to_data(training)])
    captions = ["sample"] * len(items) + ["training"] * len(items)
    return item_grid(
        images,
        kind=opened.kind,
        units=units,
        columns=len(items),
        channels=opened.channel_names,
        captions=captions,
        sample_rate=opened.sample_rate,
    )
