"""The 8x8 handwritten digits of scikit-learn, an image data set that needs no download."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from .dataset import Units
from .in_memory import InMemoryDataset


def digits() -> InMemoryDataset:
    """1,797 grey images of handwritten digits with 8x8 pixels and labels 0 to 9.

    An item has shape (1, 8, 8). Pixels are whole numbers from 0 (paper) to 16 (ink), which are mapped to [-1, 1].

    Source:
        E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (the test part).
    """
    data = load_digits()
    return InMemoryDataset(
        data.images.astype(np.float32)[:, None],
        units=Units(shift=8.0, scale=8.0, low=0.0, high=16.0),
        labels=data.target.astype(np.int64),
        classes=10,
        class_names=tuple(str(digit) for digit in range(10)),
    )
