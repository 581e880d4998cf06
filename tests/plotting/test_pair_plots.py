"""Pair plots: categories, missing values, wide tables and constant columns are drawn."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sdekit.plotting import named_columns, pairs
from sdekit.plotting.pair_plots import MOST_CATEGORIES, MOST_ROWS, OTHERS, _Column, _spread


def numbers(seed: int, n: int = 60) -> np.ndarray:
    """Return normal numbers (n,)."""
    return np.random.default_rng(seed).normal(size=n)


def texts(*values: str | None) -> np.ndarray:
    """Return an array of objects."""
    return np.array(values, dtype=object)


def size(content: bytes) -> tuple[int, int]:
    """Return the size of a PNG file."""
    image = Image.open(BytesIO(content))
    assert image.format == "PNG"
    return image.size


def test_every_type_of_column_is_drawn() -> None:
    """Numbers with missing values, whole numbers and categories with missing values give a picture, with its data."""
    samples = {"x $y": numbers(0), "count": np.arange(60) % 4, "kind": texts(*("a", "b", None) * 20)}
    samples["x $y"][3] = np.nan
    data = {"x $y": numbers(1), "count": np.arange(60) % 3, "kind": texts(*("a", "c", "c") * 20)}
    assert pairs(samples, data) != pairs(samples)
    assert size(pairs(samples)) == size(pairs(samples, data))


def test_wide_tables_show_the_first_columns() -> None:
    """A picture of more columns than the limit has the size of a picture of the limit."""
    wide = named_columns(np.zeros((5, 9)))
    first = dict(list(wide.items())[:8])
    assert size(pairs(wide)) == size(pairs(first)) and list(wide)[8] == "column 8"


def test_rare_categories_share_a_position() -> None:
    """The most frequent categories of the data have positions of their own, and others and new ones share the last."""
    values = [f"v{i}" for i in range(MOST_CATEGORIES + 3) for _ in range(20 - i)]
    column = _Column(texts("v0", "v9", "new", None), texts(*values), "v")
    assert column.categories == [*(f"v{i}" for i in range(MOST_CATEGORIES)), OTHERS]
    assert np.array_equal(column.samples, [0, MOST_CATEGORIES, MOST_CATEGORIES, np.nan], equal_nan=True)


def test_limits_are_those_of_the_data() -> None:
    """One sample far away does not change the limits, and a constant column has limits around its value."""
    far = _Column(np.array([1e9, 0.5]), np.linspace(0, 1, 101), "x")
    assert -0.11 < far.limits[0] < 0 and 1 < far.limits[1] < 1.11
    assert _Column(np.full(4, 7.0), None, "x").limits == (6.5, 7.5)


@pytest.mark.parametrize(("n", "first", "last"), [(3, 0, 2), (10 * MOST_ROWS, 0, 10 * MOST_ROWS - 1)])
def test_rows_of_a_sorted_table_are_spread(n: int, first: int, last: int) -> None:
    """The drawn rows reach from the first to the last one, because tables may be sorted."""
    rows = _spread(n)
    assert len(rows) == min(n, MOST_ROWS) and (rows[0], rows[-1]) == (first, last)


def test_bins_of_few_whole_numbers_have_width_one() -> None:
    """Each whole number has its own bar."""
    column = _Column(np.array([0, 1, 2, 5]), None, "count")
    edges = column.edges
    assert np.allclose(np.diff(edges), 1) and (edges % 1 == 0.5).all()
    assert np.histogram(column.samples, edges)[0].sum() == 4
