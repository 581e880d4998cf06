"""Statistics in chunks equal those of NumPy for the whole array."""

from __future__ import annotations

import numpy as np
import pytest

from sdekit.data import standardization
from sdekit.data.standardization import column_statistics, range_units, value_range, vector_units
from sdekit.errors import InputError


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standardization, "CHUNK", 40)


@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_statistics(offset: float) -> None:
    data = np.random.default_rng(0).normal(size=(103, 4)) * [1, 2, 3, 0] + offset
    found = column_statistics(data, "x")
    np.testing.assert_allclose(found.mean, data.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.std[:3], data.std(0)[:3], rtol=1e-7)
    assert np.array_equal(found.low, data.min(0)) and np.array_equal(found.high, data.max(0))
    assert value_range(data, "x") == (data.min(), data.max())


def test_first_bad_index() -> None:
    data = np.zeros((100, 3))
    data[57, 2] = np.nan
    data[90, 0] = np.inf
    with pytest.raises(InputError, match=r"nan at index \[57, 2\]"):
        column_statistics(data, "x")
    with pytest.raises(InputError, match=r"nan at index \[57, 2\]"):
        value_range(data, "x")


def test_columns_with_a_constant_one() -> None:
    data = np.stack([np.full(50, 0.1), np.arange(50.0)], axis=1)
    x = vector_units(data, "columns", "x").to_model(data)
    assert x[:, 0].abs().max() < 1e-6 and abs(x[:, 1].std(correction=0).item() - 1) < 1e-6


@pytest.mark.parametrize(
    ("data", "choice"),
    [
        (np.random.default_rng(0).uniform(-1, 3, (100, 5)), "global"),
        (np.random.default_rng(0).uniform(0, 1, (100, 4)) * [1, 1, 100, 0.1], "columns"),
        (np.random.default_rng(0).uniform(0, 1, (100, 2)) + [0, 50], "columns"),
        (np.random.default_rng(0).uniform(0, 1, (100, 3)) * [1, 1, 0], "global"),
        (np.random.default_rng(0).integers(0, 9, (100, 3)).astype(np.uint8) * np.array([1, 1, 20], np.uint8), "global"),
        (np.ones((10, 2)), "columns"),
    ],
)
def test_auto(data: np.ndarray, choice: standardization.ScaleChoice) -> None:
    assert vector_units(data, "auto", "x") == vector_units(data, choice, "x")


def test_global_reaches_the_bounds() -> None:
    data = np.random.default_rng(0).uniform(-1, 3, (100, 5))
    x = vector_units(data, "global", "x").to_model(data)
    assert x.min() == pytest.approx(-1) and x.max() == pytest.approx(1)
    assert range_units(-1.0, 1.0).shift == 0 and range_units(-1.0, 1.0).scale == 1


def test_too_large() -> None:
    for choice in ("auto", "columns", "global", "none"):
        with pytest.raises(InputError, match="up to 1e.39 are too large for float32"):
            vector_units(np.array([[0.0], [1e39]]), choice, "x")
    with pytest.raises(InputError, match="column 1 are too large"):
        vector_units(np.array([[0.0, 0.0], [1.0, 1e200]]), "columns", "x")
