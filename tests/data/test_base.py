"""Units: there and back, in every layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from sdekit.data.base import Units


@pytest.mark.parametrize(
    ("layout", "item", "shape"),
    [("same", (3, 4, 5), (3, 4, 5)), ("hw", (4, 5), (1, 4, 5)), ("hwc", (4, 5, 3), (3, 4, 5))],
)
def test_round_trip(layout: str, item: tuple[int, ...], shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).integers(0, 256, (6, *item), dtype=np.uint8)
    units = Units(shift=127.5, scale=127.5, layout=layout)
    x = units.to_model(data)
    assert x.shape == (6, *shape) and x.dtype == torch.float32 and x.is_contiguous()
    back = units.to_data(x)
    assert back.dtype == np.float32 and np.abs(back - data).max() <= 127.5 * 2**-24 + 128 * 2**-23
    assert np.array_equal(np.rint(back).astype(np.uint8), data)


def test_round_trip_by_feature() -> None:
    data = np.random.default_rng(0).normal(size=(100, 2)) * [1e-3, 1e3]
    units = Units(shift=(0.0, 5.0), scale=(1e-3, 1e3))
    np.testing.assert_allclose(units.to_data(units.to_model(data)), data.astype(np.float32), rtol=1e-5, atol=1e-9)


def test_json() -> None:
    units = Units(shift=(1.0, 2.0), scale=3.0, low=0.0)
    assert Units.from_dict(json.loads(json.dumps(units.as_dict()))) == units
