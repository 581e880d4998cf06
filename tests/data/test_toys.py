"""Toy data sets are functions of their options, standardized with one scale, with the documented labels."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sdekit.data import InMemoryDataset, toys
from sdekit.errors import InputError

TOYS = {toys.moons: 2, toys.checkerboard: 0, toys.swiss_roll: 0, toys.rings: 4, toys.mixture: 8}
Toy = Callable[..., InMemoryDataset]


@pytest.mark.parametrize("toy", TOYS)
def test_standardised(toy: Toy) -> None:
    data = toy(n=2000)
    x, y = data.batch(np.arange(2000))
    assert data.shape == (2,) and data.kind == "vector" and data.classes == TOYS[toy]
    assert x.mean(0).abs().max() < 1e-6 and abs(x.square().mean().sqrt().item() - 1) < 1e-6
    assert isinstance(data.units.scale, float)
    assert (y is None) == (data.classes == 0)
    if y is not None:
        assert set(torch.bincount(y).tolist()) == {2000 // data.classes}


@pytest.mark.parametrize("toy", TOYS)
def test_deterministic(toy: Toy) -> None:
    first, again, other = toy(n=50), toy(n=50), toy(n=50, seed=1)
    assert np.array_equal(first.array, again.array) and not np.array_equal(first.array, other.array)


@pytest.mark.parametrize("toy", TOYS)
def test_options(toy: Toy) -> None:
    parameters = inspect.signature(toy).parameters.values()
    assert [p.name for p in parameters] == ["n", "noise", "seed"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters)


@pytest.mark.parametrize(
    "bad", [{"n": 1}, {"noise": -0.1}, {"noise": float("nan")}, {"seed": -1}], ids=lambda bad: next(iter(bad))
)
@pytest.mark.parametrize("toy", TOYS)
def test_bad_options(toy: Toy, bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        toy(**bad)


def test_shapes() -> None:
    radius = np.linalg.norm(toys.rings(n=400, noise=0).array, axis=1)
    np.testing.assert_allclose(radius, (np.arange(400) % 4 + 1) / 4, rtol=1e-6)
    ring = toys.mixture(n=80, noise=0)
    np.testing.assert_allclose(ring.array[2], [0, 1], atol=1e-6)
    board = np.floor(toys.checkerboard(n=4000).array).astype(int)
    assert set(board.sum(1) % 2) == {0} and len(np.unique(board, axis=0)) == 8 and {*board.flat} == {-2, -1, 0, 1}
    radius = np.linalg.norm(toys.swiss_roll(n=400, noise=0).array, axis=1)
    assert radius.min() >= 1 / 3 and radius.max() <= 1 + 1e-6
    moon = toys.moons(n=400, noise=0).array
    np.testing.assert_allclose(np.linalg.norm(moon[::2], axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(moon[1::2] - [1, 0.5], axis=1), 1, rtol=1e-6)
