"""Description of what data were taken for."""

from __future__ import annotations

import numpy as np
import pytest

from sdekit.data import Dataset, InMemoryDataset, Units, describe_data, digits, mixture
from sdekit.data.in_memory import Conditions
from sdekit.data.tables import table_from_columns


def in_memory(*shape: int, **fields: object) -> Dataset:
    return InMemoryDataset(np.arange(np.prod(shape), dtype=np.float32).reshape(shape), units=Units(), **fields)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (digits(), "1797 grey images of 8x8 pixels, values from 0 to 16, 10 classes (0, 1, 2, 3, 4, 5, 6, 7, ... (10"),
        (mixture(n=16), "16 vectors of 2 numbers, values from -1.07"),
        (in_memory(2, 3, 4, 6), "2 colour images of 6x4 pixels, values from 0 to 143, no labels"),
        (in_memory(2, 5, 4, 6), "2 images of 5 channels and 6x4 pixels, values from 0 to 239"),
        (table_from_columns({"legs": np.array([2, 4]), "kind": np.array(["bird", "cat"])}), "2 rows of 2 columns, no "),
        (in_memory(3, 1), "3 vectors of 1 number, values from 0 to 2"),
        (
            in_memory(3, 1, conditions=Conditions(np.zeros((3, 1)), ("age",), Units())),
            "3 vectors of 1 number, values from 0 to 2, conditioned on age",
        ),
    ],
)
def test_kind_shape_range_and_classes(data: Dataset, expected: str) -> None:
    """The first line states the kind, number, shape, range and classes of the items, and the notes follow."""
    data.notes = ("the separator is a comma",)
    first, *others = describe_data(data)
    assert first.startswith(expected) and others == ["the separator is a comma"]
