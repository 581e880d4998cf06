"""Likelihoods of data under each class of a conditional model, compared class by class with common random numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, as_time, best_float, evaluate_denoiser
from sdekit.sampling import SeedNoise, check_seeds

from .flow_solver import ADAPTIVE, FlowSolver
from .probability_flow import log_likelihood
from .trace import Trace, choose_trace

if TYPE_CHECKING:
    from sdekit.models import Condition

DEFAULT_ROUNDS = 8
DEFAULT_TIMES = 6
DEFAULT_SIGNIFICANCE = 1e-3
LEAST_NOISE = 0.02
LEAST_ROUNDS = 3
"""Rounds before a class can be eliminated. After fewer of them, an error that is small by chance would decide."""


@dataclass(frozen=True)
class ClassComparison:
    """Result of `compare_by_bound` and `compare_by_likelihood`: how much less likely each class makes an item.

    Arguments:
        log_ratio: log p(x | y) - log p(x | best class) of each item and class, (n, C), float64; 0 for the best class.
        standard_error: Standard error of each log-ratio that is due to random numbers, (n, C).
        evaluations: Network evaluations of each item, for all classes together, (n,) int64.
    """

    log_ratio: Tensor
    standard_error: Tensor
    evaluations: Tensor


def compare_by_bound(
    sde: SDE,
    denoise: Denoiser,
    x0: Tensor,
    conditions: Tensor | Condition,
    *,
    rounds: int = DEFAULT_ROUNDS,
    times: int = DEFAULT_TIMES,
    significance: float = DEFAULT_SIGNIFICANCE,
    data_std: float = 1.0,
    least_noise: float = LEAST_NOISE,
    seeds: Sequence[int] | None = None,
    batch_size: int | None = None,
) -> ClassComparison:
    """Compare classes by the variational bound of log p(x_0 | y) in continuous time.

    With e(t) = E[|x_0 - D(x_t, t, y)|^2 - |x_0 - D(x_t, t, y')|^2], the difference of the bounds of y and y' is

        1/2 int_{t_0}^{t_max} e(t) d(-SNR) + 1/2 SNR(t_0) e(t_0).

    The last term is L_0 with a normal decoder. It is also the leading order of the integral from 0 to t_0, so that for
    the exact denoiser the difference is log p(x_0 | y') - log p(x_0 | y) up to terms of order rho^4 at t_0. By default
    t_0 has a fiftieth of the standard deviation of the data as its noise level: smaller noise does not mix classes,
    and networks are rarely trained on it. L_T is the same for all classes.
    All classes of an item have the same times and the same noise, whose effect on the difference is much smaller than
    on each bound. In each round the times are stratified: each of m parts of the distribution of times contains one.
    After each round, a class whose difference to the best class is significant in a one-sided t-test is eliminated. Its
    difference is then known to be positive, with the standard error of the rounds in which it took part.

    Arguments:
        sde: Process of the model.
        denoise: Conditional denoiser.
        x0: Data in the model's units, (n, *shape).
        conditions: Condition of each class, C rows: labels (C,), embeddings or a `Condition`. At least 2.
        rounds: Largest number of rounds, at least 2. A round takes times + 1 network evaluations of each class.
        times: Number of times m of a round.
        significance: Probability that an item loses the better one of two classes in a round of eliminations, divided
            by C - 1 for each class; 0 to evaluate every class in every round.
        data_std: Standard deviation of the data in the model's units.
        least_noise: Noise level rho at t_0, relative to data_std, above 0; t_0 is at least t_min.
        seeds: One seed for each row; None for 0 to n - 1. Row i depends on seed i alone.
        batch_size: Largest number of rows of a network evaluation; it does not affect the result. None for n.
    Returns:
        Log-ratios of the classes, with standard errors.
    Raises:
        InputError: If an argument is out of range.
    Source:
        Li et al. 2023 ("Your diffusion model is secretly a zero-shot classifier", section 3.3, common noise); Clark &
        Jaini 2023 ("Text-to-image diffusion models are zero-shot classifiers", section 3.2, elimination by paired
        t-tests).
    """
    _check(x0, conditions, seeds, batch_size)
    if rounds < 2 or times < 1 or not 0 <= significance < 1 or not least_noise > 0:
        raise InputError(
            "compare_by_bound: needs rounds >= 2, times >= 1, 0 <= significance < 1 and least_noise > 0, got "
            f"{rounds}, {times}, {significance}, {least_noise}"
        )
    n, classes = len(x0), len(conditions)
    levels = _Levels(sde, data_std, least_noise)
    seeds = check_seeds(range(n) if seeds is None else seeds)
    noise = SeedNoise(seeds, x0.shape[1:], dtype=x0.dtype, device=x0.device)
    uniform = SeedNoise([(seed * 0x9E3779B1 + 0x7F4A7C15) % 2**32 for seed in seeds], (rounds, times))
    jitter = torch.special.ndtr(uniform().double())
    terms = torch.full((n, classes, rounds, times + 1), math.nan, dtype=torch.float64)
    active = torch.ones(n, classes, dtype=torch.bool)
    evaluations = torch.zeros(n, dtype=torch.int64)
    with torch.no_grad():
        for r in range(rounds):
            for k in range(times + 1):
                if k < times:
                    t, weight = levels((k + jitter[:, r, k]) / times)
                    weight = weight / times
                else:
                    t, weight = levels.first.expand(n), levels.snr_at_first.expand(n) / 2
                xt = sde.perturb(x0, t, noise())
                for i, c in _pairs(active, batch_size):
                    row = i.to(x0.device)
                    denoised = evaluate_denoiser(denoise, xt[row], t[i], _rows(conditions, c, x0))
                    terms[i, c, r, k] = weight[i] * square_norm(x0[row] - denoised)
            evaluations += (times + 1) * active.sum(1)
            if significance and LEAST_ROUNDS - 1 <= r < rounds - 1:
                difference, error, dof = _differences(terms[:, :, : r + 1], active)
                chance = _upper_tail(difference / error.clamp(min=1e-300), dof)
                active &= (chance > significance / (classes - 1)) | (difference <= 0)
                active &= active.sum(1, keepdim=True) > 1  # an item with one class is decided
                if not active.any():
                    break
    return _paired(terms, evaluations)


def compare_by_likelihood(
    sde: SDE,
    denoise: Denoiser,
    x0: Tensor,
    conditions: Tensor | Condition,
    *,
    trace: Trace | None = None,
    solver: FlowSolver | str = ADAPTIVE,
    seeds: Sequence[int] | None = None,
    batch_size: int | None = None,
) -> ClassComparison:
    """Compare classes by the exact log p(x_0 | y) of the probability flow, see `log_likelihood`.

    All classes of an item have the same probes, and the standard error is that of the paired difference.

    Arguments:
        sde: Process of the model.
        denoise: Conditional denoiser, differentiable with respect to x.
        x0: Data in the model's units, (n, *shape).
        conditions: Condition of each class, C rows. At least 2.
        trace: Method of the trace; None for `choose_trace`.
        solver: Solver of the ODE.
        seeds: One seed for each row; None for 0 to n - 1.
        batch_size: Largest number of rows of a network evaluation; it does not affect the result. None for n.
    Returns:
        Log-ratios of the classes, with standard errors.
    Raises:
        InputError: If an argument is invalid.
    """
    _check(x0, conditions, seeds, batch_size)
    n, classes, d = len(x0), len(conditions), math.prod(x0.shape[1:])
    trace = choose_trace(d) if trace is None else trace
    seeds = check_seeds(range(n) if seeds is None else seeds)
    estimates = torch.zeros(n, classes, trace.columns, dtype=torch.float64)
    evaluations = torch.zeros(n, dtype=torch.int64)
    for i, c in _pairs(torch.ones(n, classes, dtype=torch.bool), batch_size):
        result = log_likelihood(
            sde, denoise, x0[i.to(x0.device)], y=_rows(conditions, c, x0), trace=trace, solver=solver,
            seeds=[seeds[row] for row in i.tolist()],
        )  # fmt: skip
        estimates[i, c] = result.estimates.double().cpu()
        evaluations.index_add_(0, i, torch.full_like(i, result.evaluations + result.backward_passes))
    best = estimates.mean(2).argmax(1)
    paired = estimates - estimates[torch.arange(n), best][:, None]
    error = trace.standard_error(paired.flatten(0, 1), d).view(n, classes)
    error[torch.arange(n), best] = 0.0
    return ClassComparison(paired.mean(2), error, evaluations)


class _Levels:
    """Times for the difference of two bounds, and the weight of the squared error at each.

    Classes differ most at noise levels near the standard deviation of the data, so the log-SNR has a logistic
    distribution around that level. A quarter of the times are even in log-SNR, so that no level is neglected.
    """

    WIDTH = 1.0
    EVEN = 0.25

    def __init__(self, sde: SDE, data_std: float, least_noise: float) -> None:
        self.sde = sde
        lowest = torch.tensor(least_noise * data_std, dtype=torch.float64)
        self.first = sde.time(lowest).clamp(sde.t_min, sde.t_max)
        self.snr_at_first = sde.rho(self.first) ** -2
        high, low = self.snr_at_first.log(), -2 * sde.rho(as_time(sde.t_max)).clamp(max=1e3 * data_std).log()
        self.edges = torch.linspace(float(low), float(high), 1001, dtype=torch.float64)
        logistic = torch.sigmoid((self.edges + 2 * math.log(data_std)) / self.WIDTH).diff()
        even = torch.full_like(logistic, 1 / len(logistic))
        self.chance = (1 - self.EVEN) * logistic / logistic.sum() + self.EVEN * even
        self.cumulative = torch.cat([self.chance.new_zeros(1), self.chance.cumsum(0)])

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return times (n,), and the weights SNR / (2 p(log-SNR)), (n,), for u (n,) in [0, 1]."""
        cell = (torch.searchsorted(self.cumulative, u, right=True) - 1).clamp(0, len(self.chance) - 1)
        width = self.edges[1] - self.edges[0]
        log_snr = self.edges[cell] + width * (u - self.cumulative[cell]) / self.chance[cell]
        t = self.sde.time((-0.5 * log_snr).exp()).clamp(float(self.first), self.sde.t_max)
        return t, 0.5 * log_snr.exp() * width / self.chance[cell]


def square_norm(x: Tensor) -> Tensor:
    """Return the sum of the squares of each row of x (n, *), (n,) float64 on the CPU."""
    return x.to(best_float(x.device)).square().flatten(1).sum(1).cpu().double()


def _differences(terms: Tensor, active: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the difference of each active class to the best one, its standard error and its degrees of freedom.

    The sum over strata of means over r rounds has the variance sum_k s_k^2 / r, where s_k^2 is the variance in stratum
    k. The degrees of freedom are those of Welch and Satterthwaite. All are (n, C).
    """
    r = terms.shape[2]
    bound = terms.sum(3).mean(2).masked_fill(~active, math.inf)
    paired = terms - terms[torch.arange(len(terms)), bound.argmin(1)][:, None]
    variance = paired.var(2) / r
    total = variance.sum(2)
    dof = (r - 1) * total.square() / variance.square().sum(2).clamp(min=1e-300)
    return paired.sum(3).mean(2), total.sqrt(), dof.clamp(min=1)


def _upper_tail(t: Tensor, dof: Tensor) -> Tensor:
    """Return the probability of a larger value in Student's distribution; NaN of eliminated classes gives 0."""
    from scipy.stats import t as student

    return torch.from_numpy(student.sf(t.nan_to_num(math.inf).numpy(), dof.nan_to_num(1.0).numpy()))


def _paired(terms: Tensor, evaluations: Tensor) -> ClassComparison:
    """Return the comparison with the best class, over the rounds in which each class took part."""
    n, classes = terms.shape[:2]
    rounds = (~terms[..., 0].isnan()).sum(2)
    # The best class is one that took part in every round of the item.
    bound = terms.nansum(3).sum(2) / rounds
    best = bound.masked_fill(rounds < rounds.amax(1, keepdim=True), math.inf).argmin(1)
    paired = terms - terms[torch.arange(n), best][:, None]  # (n, C, rounds, m + 1), NaN after an elimination
    count = rounds[..., None]
    mean = paired.nansum(2) / count
    square = (paired - mean[:, :, None]).square().nansum(2) / (count - 1)
    error = (square / count).sum(2).sqrt()
    return ClassComparison(-mean.sum(2), error, evaluations)


def _pairs(active: Tensor, batch_size: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the items and classes of active pairs, in parts of at most batch_size pairs."""
    i, c = active.nonzero(as_tuple=True)
    size = len(active) if batch_size is None else batch_size
    yield from zip(i.split(size), c.split(size), strict=True)


def _rows(conditions: Tensor | Condition, c: Tensor, x0: Tensor) -> Tensor | Condition:
    """Return the conditions of classes c on the device of the data."""
    return conditions[c.to(conditions.device)].to(x0.device)


def _check(x0: Tensor, conditions: Tensor | Condition, seeds: Sequence[int] | None, batch_size: int | None) -> None:
    """Raise InputError if there is nothing to compare, or the counts do not fit."""
    if not len(x0):
        raise InputError("there are no items to classify")
    if len(conditions) < 2:
        raise InputError(f"a comparison of classes needs at least 2 classes, got {len(conditions)}")
    if seeds is not None and len(seeds) != len(x0):
        raise InputError(f"{len(seeds)} seeds for {len(x0)} items: give one for each item")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    bad = (~x0.flatten(1).isfinite().all(1)).nonzero()
    if len(bad):
        raise InputError(f"row {int(bad[0])} of the data contains a number that is not finite")
