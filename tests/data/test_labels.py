"""Invalid labels are refused with their index."""

from __future__ import annotations

import numpy as np
import pytest

from sdekit.data import check_labels
from sdekit.errors import InputError


@pytest.mark.parametrize("labels", [np.array([0, 2, 1], np.uint8), np.array([[0], [2], [1]])])
def test_good(labels: np.ndarray) -> None:
    found, classes = check_labels(labels, 3, "y")
    assert found.tolist() == [0, 2, 1] and found.dtype == np.int64 and classes == 3


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, -1, 1], r"outside the range: label -1 at index 1"),
        ([0, 1, 2**20], r"outside the range: label 1048576 at index 2"),
        ([0.0, 1.0, 2.0], r"type float64; expected integers"),
        ([0, 1], r"2 labels for 3 items"),
        (np.eye(3, dtype=int), r"shape \(3, 3\).*argmax"),
    ],
)
def test_bad(labels: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_labels(np.asarray(labels), 3, "y")
