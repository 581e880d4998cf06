"""The split is a fixed hash of the index. Changed values would mix training and held-out items."""

from __future__ import annotations

import numpy as np
import pytest

from sdekit.data.held_out import held_out, split, splitmix64
from sdekit.errors import InputError


def test_reference_values() -> None:
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC, 0x1B39896A51A8749B]
    assert splitmix64(np.arange(5)).tolist() == expected


def test_pinned() -> None:
    assert np.flatnonzero(held_out(60, 0.1)).tolist() == PINNED


def test_never_depends_on_n() -> None:
    assert np.array_equal(held_out(1000, 0.2)[:300], held_out(300, 0.2))


def test_grows_with_fraction() -> None:
    small, large = held_out(2000, 0.1), held_out(2000, 0.3)
    assert not (small & ~large).any() and abs(large.mean() - 0.3) < 0.03


def test_partition() -> None:
    train, out = split(500, 0.25)
    assert np.array_equal(np.sort(np.concatenate([train, out])), np.arange(500))
    assert split(500, 0.0)[0].size == 500


@pytest.mark.parametrize(("n", "fraction"), [(1, 0.99), (0, 0.0)])
def test_train_is_never_empty(n: int, fraction: float) -> None:
    with pytest.raises(InputError, match="leaves no item to train on"):
        split(n, fraction)


@pytest.mark.parametrize("fraction", [1.0, -0.1, float("nan")])
def test_bad_fraction(fraction: float) -> None:
    with pytest.raises(InputError, match="fraction"):
        split(10, fraction)


PINNED = [2, 32, 33, 41, 42, 43, 53]
