"""In training every epoch is a permutation and every step a function of the seed."""

from __future__ import annotations

import numpy as np
import pytest

from sdekit.data.order import batch_indices, epoch_order
from sdekit.errors import InputError


@pytest.mark.parametrize(("n", "size"), [(10, 5), (10, 4), (10, 1), (10, 25), (1, 3), (7, 7)])
def test_every_epoch_is_a_permutation(n: int, size: int) -> None:
    stream = np.concatenate([batch_indices(n, size, step, 0) for step in range(-(-4 * n // size))])
    for epoch in stream[: 4 * n].reshape(4, n):
        assert sorted(epoch) == list(range(n))


def test_pure() -> None:
    forward = [batch_indices(100, 7, step, 3) for step in range(60)]
    epoch_order.cache_clear()
    backward = [batch_indices(100, 7, step, 3) for step in reversed(range(60))]
    assert all(np.array_equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))


def test_batch_size_does_not_change_the_stream() -> None:
    small = np.concatenate([batch_indices(30, 4, step, 0) for step in range(30)])
    large = np.concatenate([batch_indices(30, 12, step, 0) for step in range(10)])
    assert np.array_equal(small, large)


def test_seed_and_epoch_matter() -> None:
    orders = [epoch_order(50, seed, epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_pinned() -> None:
    # A change here would change what a resumed run sees.
    assert batch_indices(10, 12, 0, 0).tolist() == ORDER
    assert batch_indices(10, 12, 0, 0).dtype == np.int64


def test_shared_order_is_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        epoch_order(5, 0, 0)[0] = 1
    batch_indices(5, 5, 0, 0)[0] = 1  # the caller's own


@pytest.mark.parametrize(
    ("bad", "name"),
    [((0, 1, 0, 0), "n"), ((1, 0, 0, 0), "batch size"), ((1, 1, -1, 0), "step"), ((1, 1, 0, -1), "seed")],
)
def test_bad(bad: tuple[int, int, int, int], name: str) -> None:
    with pytest.raises(InputError, match=f"^{name} = "):
        batch_indices(*bad)


ORDER = [0, 8, 9, 3, 7, 5, 1, 2, 6, 4, 3, 7]
