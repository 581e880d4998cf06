"""A Brownian path for each seed: the same noise at any number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdekit.processes import LARGEST_RHO, SDE

from .noise import SeedNoise

LENGTH = 32.0  # of the clock: down to rho = 1e-11
LEVELS = 16  # of halving: to cells of LENGTH / 2^LEVELS, 5e-4 in log rho
MOST = 2**17  # numbers that are made at a time: they stay in the processor's cache

Keys = NDArray[np.uint64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


def clock(sde: SDE, t: Tensor) -> Tensor:
    """log(1 + 1000 / rho), shape of t: -log rho up to a constant, and finite, 0, where alpha is 0."""
    return torch.log1p(LARGEST_RHO * sde.alpha(t) / sde.sigma(t))


def clock_time(sde: SDE, c: Tensor) -> Tensor:
    """The inverse of `clock`, within the process's times, shape of c."""
    return sde.time(LARGEST_RHO / torch.expm1(c)).clamp(sde.t_min, sde.t_max)


class Brownian:
    """`noise(t, s)` is (W(s) - W(t)) / sqrt(length of the step), for a path W that sample i's seed alone decides.

    Increments over disjoint steps are independent and standard normal; those of a step's parts, each times the root of
    its length, add up to that of the whole. Lengths are those of `clock`: a path belongs to no process and to no grid.
    W is a sum over halvings of the clock (Levy's construction: one hat function a level) and one number more for each
    of the smallest cells, with hashes of (seed, place) for coefficients: any point costs one pass over 18 of them,
    whatever was asked before, and there is no tree to keep. Two points in one smallest cell are closer to each other
    than a path's should be; all else is exact.
    Without times, or for a step of no length, a call draws from the same seeds' `SeedNoise`: the prior, corrections and
    noise that goes up again are no part of the path. Times are () or (B,). shape: one sample's, without the batch.
    """

    def __init__(
        self,
        sde: SDE,
        seeds: Sequence[int],
        shape: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.sde, self.shape, self.dtype, self.device = sde, tuple(shape), dtype, torch.device(device)
        self.fresh = SeedNoise(seeds, shape, dtype=dtype, device=device)
        self._seeds = _mix(np.array(seeds, dtype=np.uint64) + _GOLDEN)
        self._size = int(np.prod(self.shape, dtype=int))
        self._points: list[tuple[Tensor, tuple[Floats, Singles]]] = []
        self._places: Floats | None = None

    def __call__(self, t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        """(B, *shape), for the step from t to s."""
        if t is None or s is None:
            return self.fresh()
        (start, before), (end, after) = self._point(t), self._point(s)
        length = np.abs(end - start)
        if not length.any():
            return self.fresh()
        root = np.sqrt(length, where=length > 0, out=np.ones_like(length))  # 0 for a sample that stays, among others
        z = np.subtract(after, before, dtype=np.float64) / root[:, None]
        return torch.from_numpy(z).view(-1, *self.shape).to(self.device, self.dtype)

    def skip(self) -> None:
        """Leave out one draw of those that are no part of the path."""
        self.fresh.skip()

    def _point(self, t: Tensor) -> tuple[Floats, Singles]:
        """The clock (B,) and the path (B, size) at t. The last two are kept: a step begins where another ended."""
        for time, point in self._points:
            if time is t:
                return point
        u = (clock(self.sde, t.cpu()) / LENGTH).clamp(max=1).expand(len(self._seeds)).numpy()
        self._points = [(t, (u, self._path(u))), *self._points[:1]]
        return self._points[0][1]

    def _path(self, u: Floats) -> Singles:
        """W at u (B,), (B, size), with W(0) = 0 and variance u."""
        cell = np.minimum(np.floor(u * _PARTS), _PARTS - 1)  # which part of [0, 1] u is in, (levels + 1, B), and
        v = u * _PARTS - cell  # where in it
        hats = 0.5 * (1 - np.abs(2 * v - 1))
        hats[-1] = np.sqrt(v[-1] * (1 - v[-1]))  # a Brownian bridge at one point
        weights = np.vstack([u, hats / np.sqrt(_PARTS)]).astype(np.float32)
        places = np.vstack([0 * u, cell + _PARTS])
        # two columns at least, so that the sum runs over them and its rounding does not depend on the batch
        total: Singles = np.einsum("lb,lbd->bd", weights, self._normals(places, max(self._size, 2)))
        return total[:, : self._size]

    def _normals(self, places: Floats, size: int) -> Singles:
        """Standard normals (levels + 2, B, size), keyed by the seeds and places (levels + 2, B); rows are kept."""
        if self._places is None:
            self._coefficients = np.zeros((*places.shape, size), np.float32)
            changed = np.arange(len(places))
        else:
            (changed,) = (places != self._places).any(1).nonzero()
        self._places = places
        rows = max(1, MOST // self._coefficients[0].size)
        for part in np.split(changed, range(rows, len(changed), rows)):
            keys = _mix(self._seeds ^ _mix(self._seeds + _mix(places[part].astype(np.uint64))))
            self._coefficients[part] = _normals(keys, size)
        return self._coefficients


_PARTS = 2.0 ** np.arange(LEVELS + 1)[:, None]  # of [0, 1], (levels + 1, 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(key: Keys) -> Keys:
    """A hash of 64 bits that is one to one: the finaliser of SplitMix64 (Steele, Lea & Flood 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@cache
def _quantiles() -> Singles:
    """The middles of 2^16 equal parts of the standard normal law, scaled to variance 1: its 4th moment is 2.999."""
    from scipy.special import ndtri

    z = ndtri((np.arange(2**16) + 0.5) / 2**16)
    values: Singles = (z / np.sqrt(np.square(z).mean())).astype(np.float32)
    return values


def _normals(key: Keys, n: int) -> Singles:
    """n standard normals for each key (*), (*, n): a table looked up by 16 bits each of SplitMix64 from there.

    A path's value is the sum of many, which makes it smooth; a table is several times faster than any formula.
    """
    bits = _mix(key[..., None] + np.arange(1, (n + 3) // 4 + 1, dtype=np.uint64) * _GOLDEN)
    return _quantiles().take(bits.view(np.uint16)[..., :n])
