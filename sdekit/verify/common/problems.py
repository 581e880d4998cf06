"""Problems with closed-form solutions, and tools that record or analyse a sampler running on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.processes import SDE, VE, VP, Cosine, Denoiser, RectifiedFlow, as_time
from sdekit.sampling import Noise, Sampler, SeedNoise, karras, start_at_finite_rho

LEAST_RHO = 0.1
"""Noise level rho(t_min) of `trial_processes`. Even with the smallest steps, errors are larger than rounding errors."""

ERROR_FLOOR = 1e-10
"""Smallest error in float64 that is used to measure a convergence order. Smaller errors may be rounding errors."""

MIXTURE_1D = GaussianMixture(torch.tensor([[-1.0], [1.0]]), torch.tensor([0.8, 0.6]), torch.tensor([0.6, 0.4]))
"""Mixture of two components in one dimension. Its probability flow is known exactly, see `exact_quantiles`."""

MIXTURE_2D = GaussianMixture(
    torch.tensor([[-1.0, 0.0], [1.0, 1.0], [1.0, -1.0]]), 0.5, torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
)
"""Mixture of three components in two dimensions."""


def trial_processes(sampler: Sampler, *, quick: bool) -> dict[str, SDE]:
    """Return the processes on which a sampler is measured, by name. Each has rho(t_min) = `LEAST_RHO`.

    Arguments:
        sampler: Sampler.
        quick: Return two processes instead of four.
    """

    def shortened(process: type[VP] | type[VE] | type[Cosine] | type[RectifiedFlow]) -> SDE:
        return with_finite_start(sampler, process(t_min=float(process().time(as_time(LEAST_RHO)))))

    processes = {"vp": shortened(VP), "rectified-flow": shortened(RectifiedFlow)}
    return processes if quick else processes | {"ve": shortened(VE), "cosine": shortened(Cosine)}


def with_finite_start(sampler: Sampler, sde: Any) -> SDE:
    """Return a process whose t_max is the time at which `sample` starts the sampler on the given process."""
    times, _ = start_at_finite_rho(sampler, sde, torch.tensor([sde.t_max, sde.t_min], dtype=torch.float64))
    shortened: SDE = replace(sde, t_max=float(times[0])) if times[0] < sde.t_max else sde
    return shortened


def with_eta(sampler: Sampler, *values: float) -> dict[str, Sampler]:
    """Return the sampler with other values of its option eta, by "eta = VALUE"; values that it refuses are left out."""
    samplers = {}
    if "eta" in {f.name for f in fields(sampler)}:
        for value in values:
            with suppress(InputError):
                samplers[f"eta = {value:g}"] = replace(sampler, **{"eta": value})
    return samplers


def uneven_grid(sde: SDE, n: int) -> Tensor:
    """Return a grid of n steps (n even) in which short steps alternate with steps that are three times as long.

    A multistep method loses its order on this grid if its coefficients are correct for equal steps only.
    """
    fine = karras(sde, 2 * n)
    return fine[torch.arange(len(fine)) % 4 < 2]


@dataclass(frozen=True, kw_only=True)
class OtherClock(SDE):
    """The VP process with the clock t = 5 u^(2/3), whose class has no attributes but those that every process has."""

    t_min: float = 5 * 0.02 ** (2 / 3)
    t_max: float = 5.0

    def alpha(self, t: Tensor) -> Tensor:
        return VP().alpha((as_time(t) / 5) ** 1.5)

    def sigma(self, t: Tensor) -> Tensor:
        return VP().sigma((as_time(t) / 5) ** 1.5)

    def time(self, rho: Tensor) -> Tensor:
        return 5 * VP().time(rho) ** (2 / 3)


def inner_grid(sde: SDE, n: int) -> Tensor:
    """Return a grid of equal steps in log rho from rho = 5 to rho = 0.2, inside of the range of the process."""
    return sde.time(torch.logspace(math.log10(5), math.log10(0.2), n + 1, dtype=torch.float64))


def _cdf(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return the cumulative distribution function of alpha x_0 + sigma eps at x (..., 7, 1), for x_0 from MIXTURE_1D.

    alpha and sigma have the shape () or (n, 1, 1).
    """
    means, stds = alpha * MIXTURE_1D.means, (alpha**2 * MIXTURE_1D.variances + sigma**2).sqrt()  # (..., K, 1) each
    parts: Tensor = torch.special.ndtr((x.mT - means) / stds)
    return (MIXTURE_1D.log_weights.exp()[:, None] * parts).sum(-2)[..., None]


def _quantile(level: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return the inverse of `_cdf` by bisection."""
    level = level + 0 * alpha
    low, high = torch.full_like(level, -500), torch.full_like(level, 500)
    for _ in range(70):  # 1000 / 2^70 is smaller than rounding errors
        middle = (low + high) / 2
        below = _cdf(middle, alpha, sigma) < level
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def exact_quantiles(sde: SDE, t: Tensor | float) -> Tensor:
    """Return seven quantiles of p_t for data from MIXTURE_1D, from the 5% to the 95% quantile.

    In one dimension the probability flow keeps the order of points and the probability between them. It therefore
    maps each quantile of p_t to the same quantile of p_s.

    Arguments:
        sde: Process.
        t: Time, of shape () or (n,).
    Returns:
        Quantiles in float64, of shape (7, 1) or (n, 7, 1).
    """
    t = as_time(t)
    levels = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)[:, None]
    shape = (-1, 1, 1) if t.ndim else ()
    return _quantile(levels, sde.alpha(t).view(shape), sde.sigma(t).view(shape))


def exact_flow(sde: SDE, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Map x (n, B, 1) from the times t (n,) to the times s (n,) by the exact probability flow of MIXTURE_1D."""
    (a, b), (c, d) = ((sde.alpha(u)[:, None, None], sde.sigma(u)[:, None, None]) for u in (t, s))
    return _quantile(_cdf(x, a, b), c, d)


def run_sampler(
    sampler: Sampler, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise | None = None
) -> list[Tensor]:
    """Run a sampler without gradients and return x at times[1:].

    Arguments:
        sampler: Sampler.
        sde: Process.
        denoise: Denoiser.
        x: Value at times[0], of shape (B, *).
        times: Decreasing times, of shape (n + 1,).
        noise: Noise source. The default draws from the seeds 0, 1, ..., one seed for each row of x.
    Returns:
        List of n tensors of shape (B, *).
    """
    noise = noise or SeedNoise(range(len(x)), x.shape[1:], dtype=x.dtype, device=x.device)
    with torch.no_grad():
        return list(sampler.trajectory(sde, denoise, x, times, noise))


def initial_x(sde: SDE, rows: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw x at t_max, of shape (rows, 2). Row i does not depend on the number of rows."""
    noise = SeedNoise(range(100, 100 + rows), (2,), dtype=dtype)
    return sde.prior(noise()).to(dtype)


class RecordingDenoiser:
    """A denoiser that records the times, batch sizes and results of its calls.

    Arguments:
        denoise: Denoiser.
        like: Tensor with the dtype and the shape of the samples that the denoiser must be called with, if any.

    Attributes:
        malformed: Descriptions of calls in which t is not a float64 tensor () or (B,), or x is not like `like`.
        times: Times t of all calls.
        batch_sizes: Batch size of each call.
        results: Pairs of each returned tensor and a copy of it. They differ if the caller changed the tensor in place.
    """

    def __init__(self, denoise: Denoiser, like: Tensor | None = None) -> None:
        self.denoise, self.like = denoise, like
        self.malformed: list[str] = []
        self.times: list[float] = []
        self.batch_sizes: list[int] = []
        self.results: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x: Tensor, t: Any, y: Tensor | None = None) -> Tensor:
        """Call the denoiser and record the call."""
        form = (t.dtype, t.shape) if isinstance(t, Tensor) else (type(t).__name__, ())
        if form not in ((torch.float64, ()), (torch.float64, (len(x),))):
            self.malformed.append(f"t is a {form[0]} of shape {tuple(form[1])}")
        if self.like is not None and (x.dtype, x.shape[1:]) != (self.like.dtype, self.like.shape[1:]):
            self.malformed.append(f"x is {x.dtype} of shape {tuple(x.shape)}")
        self.times += as_time(t).flatten().tolist()
        self.batch_sizes.append(len(x))
        x0 = self.denoise(x, t) if y is None else self.denoise(x, t, y)
        self.results.append((x0, x0.clone()))
        return x0


class AffineMap:
    """Result of a sampler on Gaussian data, as an affine function of the initial x and of the draws z.

    x_end = offset + scale x_start + sum_j draw_scales_j z_j. The data are size * N(MEAN, STD^2), with three independent
    coordinates. The denoiser of a Gaussian is affine in x. A step that is linear in x, in the denoised x_0 and in its
    draws is therefore affine. The coefficients are computed from one batch of unit vectors, without Monte Carlo error.

    Arguments:
        sampler: Sampler.
        sde: Process.
        times: Decreasing times, of shape (n + 1,).
        size: Factor of the data.

    Attributes:
        error: Largest relative difference between the sampler and the affine map. It is above rounding error if the
            sampler is not affine.
    """

    MEAN = torch.tensor([0.7, -0.5, 1.0], dtype=torch.float64)
    STD = torch.tensor([0.3, 0.8, 1.5], dtype=torch.float64)

    def __init__(self, sampler: Sampler, sde: SDE, times: Tensor, size: float = 1.0) -> None:
        self.size, self.mean, self.std, count = size, size * self.MEAN, size * self.STD, 0
        denoise = GaussianMixture(self.mean[None], self.std[None]).denoiser(sde)

        def counting_zeros(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
            nonlocal count
            count += 1
            return torch.zeros(1, 3, dtype=torch.float64)

        run_sampler(sampler, sde, denoise, torch.zeros(1, 3, dtype=torch.float64), times, counting_zeros)
        # Row 0 has zero x and zero draws, rows 1 to count + 1 have one unit input, the last row has all inputs.
        units = torch.eye(count + 2, dtype=torch.float64)[..., None].expand(-1, -1, 3)
        mix = torch.linspace(-1.5, 2, count + 1, dtype=torch.float64)[:, None].expand(-1, 3)
        rows = torch.cat([units, torch.cat([torch.zeros(1, 3, dtype=torch.float64), mix])[None]])
        draws = iter(rows[:, 2:].unbind(1))
        out = run_sampler(sampler, sde, denoise, rows[:, 1], times, lambda t=None, s=None: next(draws))[-1]
        coefficients = out[1:-1] - out[0]
        self.offset, self.scale, self.draw_scales = out[0], coefficients[0], coefficients[1:]
        predicted = self.offset + (coefficients * mix).sum(0)
        self.error = float(((out[-1] - predicted).abs() / (1 + predicted.abs())).max())

    def moments_error(self, sde: SDE, times: Tensor) -> float:
        """Return the largest error of the mean and std at times[-1] if x has the exact distribution at times[0].

        The errors are divided by the size of the data.
        """
        (a, b), (c, d) = ((sde.alpha(t), sde.sigma(t)) for t in (times[0], times[-1]))
        start_std = (a**2 * self.std**2 + b**2).sqrt()
        mean = self.offset + self.scale * a * self.mean
        std = ((self.scale * start_std) ** 2 + (self.draw_scales**2).sum(0)).sqrt()
        exact = c * self.mean, (c**2 * self.std**2 + d**2).sqrt()
        return float(max((mean - exact[0]).abs().max(), (std - exact[1]).abs().max())) / self.size


def measured_orders(steps: Sequence[int], errors: Sequence[float]) -> list[float]:
    """Return the order -d log(error) / d log(n) between each pair of neighbouring step counts."""
    pairs = zip(pairwise(steps), pairwise(errors), strict=True)
    return [math.log(max(e, 1e-300) / max(f, 1e-300)) / math.log(m / n) for (n, m), (e, f) in pairs]


def refine(
    counts: Sequence[int], error: Callable[[int], float], required_order: float
) -> tuple[list[int], list[float]]:
    """Measure errors at increasing step counts until the measured order reaches the required order.

    Arguments:
        counts: Increasing step counts.
        error: Function from the number of steps to the error.
        required_order: Order at which to stop. At least three errors are measured.
    Returns:
        The step counts used and their errors.
    """
    steps: list[int] = []
    errors: list[float] = []
    for n in counts:
        steps.append(n)
        errors.append(error(n))
        if len(steps) > 2 and (measured_orders(steps, errors)[-1] >= required_order or errors[-1] < ERROR_FLOOR):
            break
    return steps, errors


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Return 2 E|x - y| - E|x - x'| - E|y - y'| for x (n, d) and y (m, d).

    The expected value is 0 only if both samples have the same distribution.

    Source:
        Szekely & Rizzo 2013.
    """
    return 2 * mean_distance(x, y) - mean_distance(x, x) - mean_distance(y, y)


def mean_distance(x: Tensor, y: Tensor) -> float:
    """Return E|x - y| over all pairs of rows of x (n, d) and y (m, d)."""
    # For small d, computing distances through matrix products is slower.
    return float(torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").mean())
