"""Brownian paths: one per seed, so that a sample has the same noise at any number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdekit.processes import LARGEST_RHO, SDE, check_process

from .noise import SeedNoise

LENGTH = 32.0  # largest path time, at rho = 1e-11
LEVELS = 16  # number of halvings; the smallest cells have length LENGTH / 2^LEVELS, 5e-4 in log rho
BLOCK_SIZE = 2**17  # random numbers computed at a time, so that they stay in the processor's cache

Keys = NDArray[np.uint64]
Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


def path_time(sde: SDE, t: Tensor) -> Tensor:
    """Return log(1 + 1000 / rho), the time of a Brownian path: -log rho up to a constant, but 0 where alpha is 0.

    Arguments:
        sde: Process.
        t: Times of the process, any shape.
    Returns:
        Path times, shape of t, increasing as t decreases.
    """
    return torch.log1p(LARGEST_RHO * sde.alpha(t) / sde.sigma(t))


def time_at(sde: SDE, u: Tensor) -> Tensor:
    """Return the inverse of `path_time`.

    Arguments:
        sde: Process.
        u: Path times, any shape.
    Returns:
        Times of the process in [t_min, t_max], shape of u.
    """
    return sde.time(LARGEST_RHO / torch.expm1(u)).clamp(sde.t_min, sde.t_max)


class Brownian:
    """Noise `noise(t, s) = (W(s) - W(t)) / sqrt(length)` from Brownian paths W, one per seed.

    Increments over disjoint steps are independent and standard normal. If a step is divided, the noise of its parts,
    each multiplied by the square root of its length, adds up to the noise of the whole step multiplied by the square
    root of its length. Lengths are measured in `path_time`, so that a path does not depend on the process or on the
    grid.

    W is built by Levy's construction: a sum over repeated halvings of the path time, with one hat function per level,
    and a Brownian bridge in the smallest cells. Its coefficients are computed from hashes of (seed, cell), so that a
    point of the path is one sum over 18 coefficients, and no tree is stored. The values of W at two points in the same
    smallest cell are closer than on a true path; everything else is exact.

    A call without times, or for a step of length 0, draws from `SeedNoise` with the same seeds. Such draws are used for
    the prior, for corrections and for raising the noise level again, which are not part of the path.

    Arguments:
        sde: Process, for the lengths of steps.
        seeds: One seed per sample, in [0, 2^32).
        shape: Shape of one sample, without the batch.
        dtype: Dtype of the noise.
        device: Device of the noise.
    Source:
        Levy's construction of Brownian motion.
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
        check_process("Brownian", sde)
        self.sde, self.dtype = sde, dtype
        self.seed_noise = SeedNoise(seeds, shape, dtype=dtype, device=device)
        self.shape, self.device = self.seed_noise.shape, self.seed_noise.device
        self._seeds = _mix(np.array(self.seed_noise.seeds, dtype=np.uint64) + _GOLDEN)
        self._size = int(np.prod(self.shape, dtype=int))
        self._points: list[tuple[Tensor, tuple[Floats, Singles]]] = []
        self._cells: Floats | None = None

    def __call__(self, t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        """Return the noise of the step from t to s, (B, *shape).

        Arguments:
            t: Start of the step, () or (B,), or None.
            s: End of the step, () or (B,), or None.
        Returns:
            Standard normal noise.
        """
        if t is None or s is None:
            return self.seed_noise()
        (start, w_start), (end, w_end) = self._point(t), self._point(s)
        length = np.abs(end - start)
        if not length.any():
            return self.seed_noise()
        root = np.sqrt(length, where=length > 0, out=np.ones_like(length))  # some samples may not move
        z = np.subtract(w_end, w_start, dtype=np.float64) / root[:, None]
        return torch.from_numpy(z).view(-1, *self.shape).to(self.device, self.dtype)

    def skip(self) -> None:
        """Skip one draw of the noise that is not part of the path."""
        self.seed_noise.skip()

    def _point(self, t: Tensor) -> tuple[Floats, Singles]:
        """Return path time / LENGTH, (B,), and the path, (B, size), at t.

        The last two points are stored, because a step starts where the previous one ended.
        """
        for time, point in self._points:
            if time is t:
                return point
        u = (path_time(self.sde, t.cpu()) / LENGTH).clamp(max=1).expand(len(self._seeds)).numpy()
        self._points = [(t, (u, self._path(u))), *self._points[:1]]
        return self._points[0][1]

    def _path(self, u: Floats) -> Singles:
        """Return W, (B, size), at u (B,), with W(0) = 0 and variance u."""
        cell = np.minimum(np.floor(u * _CELLS), _CELLS - 1)  # index of the cell of u at each level, (levels + 1, B)
        v = u * _CELLS - cell  # position in the cell, in [0, 1]
        hats = 0.5 * (1 - np.abs(2 * v - 1))
        hats[-1] = np.sqrt(v[-1] * (1 - v[-1]))  # standard deviation of a Brownian bridge
        weights = np.vstack([u, hats / np.sqrt(_CELLS)]).astype(np.float32)
        cells = np.vstack([0 * u, cell + _CELLS])
        # at least two columns, so that the order of summation does not depend on the batch
        total: Singles = np.einsum("lb,lbd->bd", weights, self._normals(cells, max(self._size, 2)))
        return total[:, : self._size]

    def _normals(self, cells: Floats, size: int) -> Singles:
        """Return the standard normals (levels + 2, B, size) of each seed and each of its cells (intervals of the path).

        Only rows whose cells differ from those of the previous call are computed.
        """
        if self._cells is None:
            self._coefficients = np.zeros((*cells.shape, size), np.float32)
            changed = np.arange(len(cells))
        else:
            (changed,) = (cells != self._cells).any(1).nonzero()
        self._cells = cells
        rows = max(1, BLOCK_SIZE // self._coefficients[0].size)
        for part in np.split(changed, range(rows, len(changed), rows)):
            keys = _mix(self._seeds ^ _mix(self._seeds + _mix(cells[part].astype(np.uint64))))
            self._coefficients[part] = _normals(keys, size)
        return self._coefficients


_CELLS = 2.0 ** np.arange(LEVELS + 1)[:, None]  # number of cells of [0, 1] at each level, (levels + 1, 1)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(key: Keys) -> Keys:
    """One-to-one hash of 64 bits: the finalizer of SplitMix64 (Steele, Lea & Flood 2014)."""
    key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return key ^ (key >> np.uint64(31))


@cache
def _quantiles() -> Singles:
    """Midpoint quantiles of 2^16 equal parts of the standard normal distribution, scaled to variance 1.

    Their fourth moment is 2.999.
    """
    from scipy.special import ndtri

    z = ndtri((np.arange(2**16) + 0.5) / 2**16)
    values: Singles = (z / np.sqrt(np.square(z).mean())).astype(np.float32)
    return values


def _normals(key: Keys, n: int) -> Singles:
    """Return n standard normals for each key (*), (*, n), from a table indexed by 16 bits of SplitMix64 each.

    A path is a sum of many such numbers, so that its distribution is smooth although the table is finite. A table is
    several times faster than any formula.
    """
    bits = _mix(key[..., None] + np.arange(1, (n + 3) // 4 + 1, dtype=np.uint64) * _GOLDEN)
    return _quantiles().take(bits.view(np.uint16)[..., :n])
