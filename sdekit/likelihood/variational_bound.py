"""The variational bound of the negative log-likelihood, in discrete and in continuous time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, as_time, evaluate_denoiser
from sdekit.sampling import SeedNoise, check_seeds

if TYPE_CHECKING:
    from sdekit.models import Condition

LARGEST_DISCRETE = 100_000
LARGEST_NOISE = 1e6
"""Largest noise level rho of a time; beyond it the terms are 0 in float64."""


@dataclass(frozen=True)
class VariationalBound:
    """Result of `variational_bound`: an upper bound of -log p(x_0) for each sample, in nats.

    Arguments:
        bound: L_T + sum of the terms + L_0 of each sample, (n,), float64.
        standard_error: Standard error of the bound of each sample that is due to random times and noise, (n,).
        prior_term: L_T, the divergence of x_T from the prior, (n,).
        reconstruction_term: L_0, the negative log-likelihood of x_0 given x at the first time, (n,).
        times: Times of the terms, (n, m), float64.
        terms: Estimates of the sum over all times from each time, (n, m); their mean over m is the sum.
        evaluations: Network evaluations of a sample.
    """

    bound: Tensor
    standard_error: Tensor
    prior_term: Tensor
    reconstruction_term: Tensor
    times: Tensor = field(repr=False)
    terms: Tensor = field(repr=False)
    evaluations: int

    def contributions(self, edges: Tensor) -> Tensor:
        """Return how much of the bound of each sample each range of times contributes.

        Arguments:
            edges: Increasing times between the ranges, (k + 1,). Earlier and later times belong to the outer ranges.
        Returns:
            Contributions in nats, (n, k), float64; their sum over the ranges is the bound without L_T and L_0.
        """
        ranges = torch.bucketize(self.times, edges[1:-1].contiguous(), right=True)
        sums = torch.zeros(len(self.terms), len(edges) - 1, dtype=torch.float64)
        return sums.scatter_add_(1, ranges, self.terms.cpu()) / self.terms.shape[1]


def variational_bound(
    sde: SDE,
    denoise: Denoiser,
    x0: Tensor,
    *,
    y: Tensor | Condition | None = None,
    steps: int | None = None,
    samples: int = 32,
    importance: Literal["snr", "uniform"] = "snr",
    data_std: float = 1.0,
    width: Tensor | None = None,
    seeds: Sequence[int] | None = None,
    repeats: int = 4,
) -> VariationalBound:
    """Bound the negative log-likelihood of data.

    With SNR = alpha^2 / sigma^2 and E over the noise in x_t, the bound is L_T + L + L_0, where

        continuous time:  L = 1/2 int |x_0 - D(x_t, t)|^2 d(-SNR)                      (Kingma et al. 2021, eq. 12)
        N steps:          L = 1/2 sum_i (SNR(t_{i-1}) - SNR(t_i)) |x_0 - D(x_{t_i}, t_i)|^2        (eq. 14)

    The N steps are the divergences L_{t-1} of DDPM with the variance of the posterior (Ho et al. 2020, eq. 5), at
    t_i = t_min + i (t_max - t_min) / N. L_0 is the decoder N(D, rho^2), its density or its mass in a bin, at the first
    time: t_1, or t_min in continuous time.
    The times of a sample are stratified: each of m equal parts of the distribution of times contains one of them.

    Arguments:
        sde: Process of the model.
        denoise: Denoiser.
        x0: Data in the model's units, (n, *shape).
        y: Conditions with n rows, or None.
        steps: Number of steps N, or None for continuous time.
        samples: Number of times m of each repetition. It may not be larger than the number of steps; if they are equal,
            every term is evaluated.
        importance: Distribution of the times. "snr" is the distribution that is optimal for normal data with standard
            deviation data_std; "uniform" is even in log-SNR (or over the steps).
        data_std: Standard deviation of the data in the model's units.
        width: Widths of bins in the model's units, broadcastable to x0, for the probability of a bin; None for the
            density.
        seeds: One seed for each row; None for 0 to n - 1.
        repeats: Number of independent repetitions, at least 2, from which the standard error follows.
    Returns:
        The bound of each sample, with its terms and standard error.
    Raises:
        InputError: If an argument is out of range.
    """
    if samples < 1 or repeats < 2:
        raise InputError(f"variational_bound: needs samples >= 1 and repeats >= 2, got {samples}, {repeats}")
    check_steps(steps)
    samples = samples if steps is None else min(samples, steps - 1)
    seeds = check_seeds(range(len(x0)) if seeds is None else seeds)
    noise = SeedNoise(seeds, x0.shape[1:], dtype=x0.dtype, device=x0.device)
    levels = SeedNoise([(seed * 0x9E3779B1 + 0x7F4A7C15) % 2**32 for seed in seeds], (repeats,))
    offsets = torch.special.ndtr(levels().double())  # uniform in [0, 1]
    if steps is None:
        sampler: _Continuous | _Discrete = _Continuous(sde, importance, data_std)
    else:  # even chances evaluate each term once if there are as many times as terms
        sampler = _Discrete(sde, steps, "uniform" if samples == steps - 1 else importance, data_std)
    terms, times = [], []
    with torch.no_grad():
        for repeat in range(repeats):
            for k in range(samples):
                t, weight = sampler((k + offsets[:, repeat]) / samples)
                x = sde.perturb(x0, t.to(x0.device), noise())
                error = (x0 - evaluate_denoiser(denoise, x, t.to(x0.device), y)).double().square().flatten(1).sum(1)
                terms.append(weight.to(error.device) * error)
                times.append(t)
        prior = _prior_term(sde, x0)
        draws = (noise(), noise())
        reconstruction = _reconstruction_term(sde, denoise, x0, y, width, sampler.first, draws)
    each, at = torch.stack(terms, 1), torch.stack(times, 1)
    means = each.view(len(x0), repeats, samples).mean(2)
    first, second = reconstruction
    spread = (means.var(1) / repeats + (first - second).square() / 4).sqrt()
    bound = prior + means.mean(1) + (first + second) / 2
    return VariationalBound(bound, spread, prior, (first + second) / 2, at, each, repeats * samples + 2)


class _Continuous:
    """Times for the integral over log-SNR, and the weight of the squared error at each."""

    def __init__(self, sde: SDE, importance: str, data_std: float) -> None:
        self.sde, self.importance, self.offset = sde, importance, 2 * math.log(data_std)
        self.first = as_time(sde.t_min)
        highest = -2 * sde.rho(self.first).log()
        lowest = -2 * sde.rho(as_time(sde.t_max)).clamp(max=LARGEST_NOISE).log()
        self.low, self.high = lowest + self.offset, highest + self.offset  # log-SNR of data with variance data_std^2

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return times (n,), and the weights SNR / (2 p(log-SNR)), (n,), for u (n,) in [0, 1]."""
        low, high = self.low, self.high
        if self.importance == "uniform":
            level, density = low + u * (high - low), 1 / (high - low)
        else:
            # For normal data the integrand SNR E|x_0 - D|^2 is a sigmoid of the log-SNR; its integral is a softplus.
            begin, end = torch.nn.functional.softplus(low), torch.nn.functional.softplus(high)
            area = begin + u * (end - begin)
            level = area + torch.log(-torch.expm1(-area))
            density = torch.sigmoid(level) / (end - begin)
        log_snr = level - self.offset
        t = self.sde.time((-0.5 * log_snr).exp()).clamp(self.sde.t_min, self.sde.t_max)
        return t, 0.5 * log_snr.exp() / density


class _Discrete:
    """Times for the sum over N steps, and the weight of the squared error at each."""

    def __init__(self, sde: SDE, steps: int, importance: str, data_std: float) -> None:
        self.t = torch.linspace(sde.t_min, sde.t_max, steps + 1, dtype=torch.float64)[1:]
        self.first = self.t[0]
        snr = sde.rho(self.t) ** -2
        self.difference = snr[:-1] - snr[1:]
        error = data_std**2 / (1 + snr[1:] * data_std**2)  # E|x_0 - D|^2 of normal data, one dimension
        chance = self.difference * error if importance == "snr" else torch.ones_like(error)
        self.edges = (chance / chance.sum()).cumsum(0)
        self.chance = chance / chance.sum()

    def __call__(self, u: Tensor) -> tuple[Tensor, Tensor]:
        i = torch.searchsorted(self.edges, u).clamp(max=len(self.edges) - 1)
        return self.t[1 + i], 0.5 * self.difference[i] / self.chance[i]


def _prior_term(sde: SDE, x0: Tensor) -> Tensor:
    """Return L_T, the divergence of N(alpha x_0, sigma^2) at t_max from the prior N(0, sigma^2), (n,)."""
    return 0.5 * (x0.double().flatten(1).square().sum(1) / sde.rho(as_time(sde.t_max)) ** 2)


def _reconstruction_term(
    sde: SDE,
    denoise: Denoiser,
    x0: Tensor,
    y: Tensor | Condition | None,
    width: Tensor | None,
    t: Tensor,
    draws: Sequence[Tensor],
) -> list[Tensor]:
    """Return L_0 for each draw of the noise at the first time t, (n,) each."""
    rho, terms = sde.rho(t), []
    for eps in draws:
        mean = evaluate_denoiser(denoise, sde.perturb(x0, t, eps), t, y)
        z = ((x0 - mean) / rho).double().flatten(1)
        if width is None:
            terms.append((0.5 * z.square() + 0.5 * math.log(2 * math.pi) + rho.log()).sum(1))
        else:
            half = (width.double() / (2 * rho)).expand(x0.shape).flatten(1).to(z.device)
            terms.append(-_log_mass(z.abs(), half).sum(1))
    return terms


def _log_mass(z: Tensor, half: Tensor) -> Tensor:
    """Return the log of the mass of a normal distribution in [z - half, z + half], for z >= 0."""
    upper, lower = torch.special.log_ndtr(half - z), torch.special.log_ndtr(-half - z)
    mass: Tensor = upper + torch.log(-torch.expm1((lower - upper).clamp(max=-1e-300)))
    return mass


def check_steps(steps: int | None) -> None:
    """Check the number of steps of a variational bound.

    Arguments:
        steps: Number of steps N, or None for continuous time.
    Raises:
        InputError: If there are fewer than 2 steps, or more than `LARGEST_DISCRETE`.
    """
    if steps is not None and not 2 <= steps <= LARGEST_DISCRETE:
        raise InputError(f"variational bound: steps must be from 2 to {LARGEST_DISCRETE}, got {steps}")


def by_log_snr(sde: SDE, bound: VariationalBound, bins: int = 20) -> tuple[Tensor, Tensor]:
    """Return how much of the bound each range of noise levels contributes.

    Arguments:
        sde: Process of the model.
        bound: The bound.
        bins: Number of ranges of equal width in log-SNR.
    Returns:
        Edges of the ranges of log-SNR (bins + 1,), and the contributions in nats (bins,), a mean over the samples.
    """
    times = log_snr_ranges(sde, bins)
    log_snr = -2 * sde.rho(times).clamp(max=LARGEST_NOISE).log()
    return log_snr.flip(0), bound.contributions(times).mean(0).flip(0)


def log_snr_ranges(sde: SDE, bins: int) -> Tensor:
    """Return the times between ranges of equal width in log-SNR.

    Arguments:
        sde: Process of the model.
        bins: Number of ranges.
    Returns:
        Increasing times (bins + 1,), from t_min to the last time at which the noise level is at most 10^6.
    """
    first, last = sde.rho(torch.tensor([sde.t_min, sde.t_max], dtype=torch.float64)).clamp(max=LARGEST_NOISE).log()
    levels = first + (last - first) * torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    return sde.time(levels.exp())


def step_ranges(sde: SDE, steps: int, most: int) -> Tensor:
    """Return the times between the terms of a bound of N steps, or between groups of as many terms each.

    Arguments:
        sde: Process of the model.
        steps: Number of steps N, at least 2.
        most: Largest number of groups.
    Returns:
        Increasing times (k + 1,), half-way between two steps. There are N - 1 terms, because the first step is L_0.
    """
    groups = min(steps - 1, most)
    last = (torch.arange(groups + 1, dtype=torch.float64) * (steps - 1) / groups).round() + 1.5
    return sde.t_min + last * (sde.t_max - sde.t_min) / steps
