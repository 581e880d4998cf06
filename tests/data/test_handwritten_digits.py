"""The digits of scikit-learn in both units."""

from __future__ import annotations

import numpy as np

from sdekit.data import digits


def test_digits() -> None:
    data = digits()
    assert (len(data), data.shape, data.kind, data.classes) == (1797, (1, 8, 8), "image", 10)
    x, y = data.batch(np.arange(len(data)))
    assert (x.min().item(), x.max().item()) == (-1.0, 1.0)
    assert y is not None and y[:5].tolist() == [0, 1, 2, 3, 4]
    back = data.units.to_data(x)
    assert back.shape == (1797, 1, 8, 8) and np.array_equal(back, np.rint(back)) and back.max() == 16
