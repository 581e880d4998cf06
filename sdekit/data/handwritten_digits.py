"""The 8x8 handwritten digits that come with scikit-learn: a real image data set without a download."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from .dataset import Units
from .in_memory import InMemoryDataset


def digits() -> InMemoryDataset:
    """1,797 grey digits of 8x8 pixels with labels 0 to 9.

    An item is (1, 8, 8), whole numbers from 0 (paper) to 16 (ink); the model sees [-1, 1].
    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its test part).
    """
    found = load_digits()
    return InMemoryDataset(
        found.images.astype(np.float32)[:, None],
        units=Units(shift=8.0, scale=8.0, low=0.0, high=16.0),
        labels=found.target.astype(np.int64),
        classes=10,
        class_names=tuple(str(digit) for digit in range(10)),
    )
