"""Labels of any usual kind become classes under their own names; other arrays are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sdekit.data import check_labels
from sdekit.errors import InputError


@pytest.mark.parametrize(
    ("labels", "found", "names"),
    [
        (np.array([0, 2, 1], np.uint8), [0, 2, 1], ("0", "1", "2")),
        (np.array([[0], [2], [1]]), [0, 2, 1], ("0", "1", "2")),
        (np.array([[0, 2, 1]]), [0, 2, 1], ("0", "1", "2")),
        (np.array([1, 2, 3]), [0, 1, 2], ("1", "2", "3")),
        (np.array([5, 0, 5]), [1, 0, 1], ("0", "5")),
        (np.array([1, -1, 1]), [1, 0, 1], ("-1", "1")),
        (np.array([2**40, 7, 7]), [1, 0, 0], ("7", "1099511627776")),
        (np.array([2.0, 0.0, 10.0]), [1, 0, 2], ("0", "2", "10")),
        (np.array([True, False, True]), [1, 0, 1], ("False", "True")),
        (np.array(["dog", "cat", " dog "]), [1, 0, 1], ("cat", "dog")),
        (np.array([b"b", "é".encode(), b"b"]), [0, 1, 0], ("b", "é")),
        (np.array(["10", "9", "1"]), [2, 1, 0], ("1", "9", "10")),
        (np.array(["class10", "class2", "class2"]), [1, 0, 0], ("class2", "class10")),
        (np.array(["1", "1.0", "02"]), [0, 0, 1], ("1", "02")),
        (np.array([[0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]]), [0, 1, 0], ("1", "3")),
        (np.eye(3, dtype=np.float32)[[2, 0, 1]], [2, 0, 1], ("0", "1", "2")),
    ],
)
def test_classes_are_the_values_that_occur(labels: np.ndarray, found: list[int], names: tuple[str, ...]) -> None:
    """Gaps, negative numbers, text, bool, floats and one-hot rows; only values of items are classes."""
    assert (check_labels(labels, 3, "y")[0].tolist(), check_labels(labels, 3, "y")[1]) == (found, names)
    assert check_labels(labels, 3, "y")[0].dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.0, 1.5, 2.0], r"label 1.5 at index 1; expected integers or text"),
        ([0.0, np.nan, 2.0], r"label nan at index 1"),
        ([0.0, np.inf, 2.0], r"label inf at index 1"),
        (["1", "nan", "2"], r"label nan at index 1"),
        (["1", "2.5", "2"], r"label 2.5 at index 1"),
        (["a", " ", "b"], r"label at index 1 is empty"),
        ([b"a", b"\xff", b"b"], r"not UTF-8"),
        ([0, 1], r"2 labels for 3 items"),
        (np.zeros((4, 1)), r"4 labels for 3 items"),
        (np.ones((3, 3), dtype=int), r"shape \(3, 3\); expected one label for each item, \(3,\), or one-hot rows"),
        (np.array([[1, 0], [0, 1], [2, 0]]), r"shape \(3, 2\)"),
        (np.zeros((3, 2, 2)), r"shape \(3, 2, 2\)"),
        (np.array(3), r"shape \(\)"),
        (np.array([1j, 0, 0]), r"type complex128"),
        (np.array([None, "a", 3], dtype=object), r"labels of Python objects.*astype\(str\)"),
    ],
)
def test_bad(labels: Any, message: str) -> None:
    """The message names the first bad label, or the shape or type."""
    with pytest.raises(InputError, match=message):
        check_labels(np.asarray(labels), 3, "y")
