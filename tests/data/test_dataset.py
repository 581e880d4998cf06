"""Units convert to the model and back, in every layout; labels are read in parts."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from sdekit.data import Batch, Dataset, Units


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


class Doubled(Dataset):
    """Data set whose item i is i with label i % 3. It records the size of each batch."""

    shape, kind, units, classes = (1,), "vector", Units(), 3

    def __init__(self, labelled: bool = True) -> None:
        self.labelled, self.read = labelled, list[int]()

    def __len__(self) -> int:
        return 5000

    def batch(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Read items."""
        self.read.append(len(indices))
        x = torch.as_tensor(np.asarray(indices))[:, None]
        return Batch(x.float(), x[:, 0] % 3 if self.labelled else None)


def test_labels_of() -> None:
    """The default `labels_of` reads the items in parts."""
    data, order = Doubled(), np.arange(4999, -1, -1)
    labels = data.labels_of(order)
    assert labels is not None and labels.tolist() == (order % 3).tolist() and max(data.read) <= 1024
    assert Doubled(labelled=False).labels_of([1, 2]) is None and data.labels_of([]) is None


def test_json() -> None:
    units = Units(shift=(1.0, 2.0), scale=3.0, low=0.0)
    assert Units.from_dict(json.loads(json.dumps(units.as_dict()))) == units
