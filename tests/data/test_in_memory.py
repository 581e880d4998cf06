"""Data sets in memory keep the requested order and the layout, and convert only the requested rows."""

from __future__ import annotations

import numpy as np
import pytest

from sdekit.data import InMemoryDataset, Units, check_conditions


def test_order_and_labels() -> None:
    data = InMemoryDataset(np.arange(10)[:, None], units=Units(), labels=np.arange(10) % 3, classes=3)
    x, y = data.batch([7, 2, 2])
    assert x.flatten().tolist() == [7, 2, 2] and y is not None and y.tolist() == [1, 2, 2]
    assert len(data) == 10 and data.kind == "vector" and data.shape == (1,)
    assert data.batch(np.array([], dtype=np.int64)).x.shape == (0, 1)


def test_unlabelled() -> None:
    data = InMemoryDataset(np.zeros((4, 2)), units=Units())
    assert data.batch([0]).y is None and data.classes == 0


def test_labels_without_items() -> None:
    """`labels_of` returns the labels or conditions of a batch in the requested order."""
    conditions = check_conditions(np.arange(10.0), 10, None, "numbers")
    for given in ({"labels": np.arange(10) % 3, "classes": 3}, {"conditions": conditions}, {}):
        data = InMemoryDataset(np.arange(10)[:, None], units=Units(), **given)
        expected, found = data.batch([7, 2, 2]).y, data.labels_of([7, 2, 2])
        assert found is expected is None or (found is not None and expected is not None and found.equal(expected))


@pytest.mark.parametrize(("layout", "item"), [("same", (3, 4, 5)), ("hwc", (4, 5, 3))])
def test_image_shape(layout: str, item: tuple[int, ...]) -> None:
    data = InMemoryDataset(np.zeros((2, *item)), units=Units(layout=layout))
    assert data.kind == "image" and data.shape == (3, 4, 5) == data.batch([1]).x.shape[1:]


def test_index_out_of_range() -> None:
    with pytest.raises(IndexError):
        InMemoryDataset(np.zeros((4, 2)), units=Units()).batch([4])
