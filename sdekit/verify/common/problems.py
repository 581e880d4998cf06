"""Problems with closed-form answers, and ways to watch a sampler at work on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.processes import SDE, VE, VP, Cosine, Denoiser, RectifiedFlow, as_time
from sdekit.sampling import Noise, Sampler, SeedNoise, karras

LEAST_RHO = 0.1  # where the range ends for measuring orders: with the smallest steps, all errors are above rounding

FLOOR = 1e-10  # of an error in float64: below it, nothing is left to measure

LINE = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.8, 0.6]), torch.tensor([0.6, 0.4]))
"""Two components in one dimension, where the probability flow is known in closed form."""

PLANE = GaussianMixture(
    torch.tensor([[-1.0, 0.0], [1.0, 1.0], [1.0, -1.0]]), 0.5, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
)
"""Three components in two dimensions."""


def processes(*, quick: bool) -> dict[str, SDE]:
    """Processes to measure on, each ending where rho is `LEAST_RHO`."""

    def narrowed(process: type[VP] | type[VE] | type[Cosine] | type[RectifiedFlow]) -> SDE:
        return process(t_min=float(process().time(as_time(LEAST_RHO))))

    chosen = {"vp": narrowed(VP), "rectified-flow": narrowed(RectifiedFlow)}
    return chosen if quick else chosen | {"ve": narrowed(VE), "cosine": narrowed(Cosine)}


def uneven(sde: SDE, n: int) -> Tensor:
    """n steps, n even, that alternate between short and three times as long: what fits equal steps only fails here."""
    fine = karras(sde, 2 * n)
    return fine[torch.arange(len(fine)) % 4 < 2]


def _cdf(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The distribution function of LINE at x (..., 7, 1), alpha and sigma () or (n, 1, 1)."""
    means, stds = alpha * LINE.means, (alpha**2 * LINE.variances + sigma**2).sqrt()  # (..., K, 1) each
    parts: Tensor = torch.special.ndtr((x.mT - means) / stds)
    return (LINE.log_weights.exp()[:, None] * parts).sum(-2)[..., None]


def _quantile(level: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    level = level + 0 * alpha
    low, high = torch.full_like(level, -500), torch.full_like(level, 500)
    for _ in range(70):  # bisection to the last bit: 1000 / 2^70
        middle = (low + high) / 2
        below = _cdf(middle, alpha, sigma) < level
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def quantiles(sde: SDE, t: Tensor | float) -> Tensor:
    """Seven quantiles of LINE at t () or (n,), (7, 1) or (n, 7, 1), float64.

    The probability flow leads those of one time to those of another: it keeps the order of the points on a line, and
    mass, so that it maps F_t to F_s.
    """
    t = as_time(t)
    levels = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)[:, None]
    shape = (-1, 1, 1) if t.ndim else ()
    return _quantile(levels, sde.alpha(t).view(shape), sde.sigma(t).view(shape))


def flow(sde: SDE, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """The exact probability flow of LINE from x (B, 1) at t to s: the same quantile there."""
    return _quantile(_cdf(x, sde.alpha(t), sde.sigma(t)), sde.alpha(s), sde.sigma(s))


def path(
    sampler: Sampler, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise | None = None
) -> list[Tensor]:
    """x at times[1:], without gradients; draws of seeds 0, 1, ... where no noise is given."""
    noise = noise or SeedNoise(range(len(x)), x.shape[1:], dtype=x.dtype, device=x.device)
    with torch.no_grad():
        return list(sampler.trajectory(sde, denoise, x, times, noise))


def start(sde: SDE, rows: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """x at t_max, (rows, 2), row i the same whatever the number of rows."""
    noise = SeedNoise(range(100, 100 + rows), (2,), dtype=dtype)
    return sde.prior(noise()).to(dtype)


class Watched:
    """A denoiser that remembers each time and batch it was called with, and whether its answers were altered."""

    def __init__(self, denoise: Denoiser) -> None:
        self.denoise = denoise
        self.times: list[float] = []
        self.batches: list[int] = []
        self.given: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        self.times += as_time(t).flatten().tolist()
        self.batches.append(len(x))
        x0 = self.denoise(x, t) if y is None else self.denoise(x, t, y)
        self.given.append((x0, x0.clone()))
        return x0


class Affine:
    """x at the last of the times for Gaussian data N(mean, std^2), (3,) each, as offset + start x + sum_j draws_j z_j.

    For a Gaussian the denoiser is affine, and so is a step that is linear in x, the denoised x_0 and the draws: its
    coefficients are read off a batch of unit inputs, with no Monte-Carlo error. error: how far it is from affine.
    """

    MEAN = torch.tensor([0.7, -0.5, 1.0], dtype=torch.float64)
    STD = torch.tensor([0.3, 0.8, 1.5], dtype=torch.float64)

    def __init__(self, sampler: Sampler, sde: SDE, times: Tensor) -> None:
        denoise, count = GaussianMixture(self.MEAN[None], self.STD[None]).denoiser(sde), 0

        def silence(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
            nonlocal count
            count += 1
            return torch.zeros(1, 3, dtype=torch.float64)

        path(sampler, sde, denoise, torch.zeros(1, 3, dtype=torch.float64), times, silence)
        units = torch.eye(count + 2, dtype=torch.float64)[..., None].expand(-1, -1, 3)  # row 0: no x and no draw
        mix = torch.linspace(-1.5, 2, count + 1, dtype=torch.float64)[:, None].expand(-1, 3)
        rows = torch.cat([units, torch.cat([torch.zeros(1, 3, dtype=torch.float64), mix])[None]])
        draws = iter(rows[:, 2:].unbind(1))
        out = path(sampler, sde, denoise, rows[:, 1], times, lambda t=None, s=None: next(draws))[-1]
        slopes = out[1:-1] - out[0]
        self.offset, self.start, self.draws = out[0], slopes[0], slopes[1:]
        predicted = self.offset + (slopes * mix).sum(0)
        self.error = float(((out[-1] - predicted).abs() / (1 + predicted.abs())).max())

    def moments_error(self, sde: SDE, times: Tensor) -> float:
        """Largest error of mean and standard deviation at the last time, from the exact law at the first."""
        (a, b), (c, d) = ((sde.alpha(t), sde.sigma(t)) for t in (times[0], times[-1]))
        first = (a**2 * self.STD**2 + b**2).sqrt()
        mean = self.offset + self.start * a * self.MEAN
        std = ((self.start * first) ** 2 + (self.draws**2).sum(0)).sqrt()
        exact = c * self.MEAN, (c**2 * self.STD**2 + d**2).sqrt()
        return float(max((mean - exact[0]).abs().max(), (std - exact[1]).abs().max()))


def slopes(steps: Sequence[int], errors: Sequence[float]) -> list[float]:
    """Measured orders -d log error / d log n between neighbours."""
    pairs = zip(pairwise(steps), pairwise(errors), strict=True)
    return [math.log(max(e, 1e-300) / max(f, 1e-300)) / math.log(m / n) for (n, m), (e, f) in pairs]


def refined(counts: Sequence[int], error: Callable[[int], float], needed: float) -> tuple[list[int], list[float]]:
    """Errors at more and more steps, until the measured order is what is needed, or there are no more."""
    steps: list[int] = []
    errors: list[float] = []
    for n in counts:
        steps.append(n)
        errors.append(error(n))
        if len(steps) > 2 and (slopes(steps, errors)[-1] >= needed or errors[-1] < FLOOR):
            break
    return steps, errors


def energy_distance(x: Tensor, y: Tensor) -> float:
    """2 E|x - y| - E|x - x'| - E|y - y'| for x (n, d), y (m, d): 0 only for equal laws (Szekely & Rizzo 2013)."""
    return 2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)


def mean_distance(x: Tensor, y: Tensor) -> float:
    """E|x - y| over all pairs of rows, x (n, d), y (m, d), d small: not by matrix products, which takes longer."""
    return float(torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").mean())
