"""Out-of-distribution scores: how far the denoising statistics of an item are from those of typical data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, as_time, broadcast, evaluate_denoiser
from sdekit.sampling import SeedNoise, check_seeds

from .generative_classifier import compare_by_bound, square_norm

if TYPE_CHECKING:
    from sdekit.models import Condition

LEVELS = 10
DRAWS = 4
LOWEST, HIGHEST = 0.05, 10.0
"""Lowest and highest noise level of the statistics, relative to the standard deviation of the data."""
LEAST_REFERENCE = 8
"""Smallest number of reference items."""


@dataclass(frozen=True)
class DenoisingStatistics:
    """Result of `denoising_statistics`.

    Arguments:
        values: For each of L noise levels, log of the denoising error and log of the norm of the score, (n, 2 L).
        bound: The part of the variational bound of -log p that is due to these noise levels, in nats, (n,).
    """

    values: Tensor
    bound: Tensor


def denoising_statistics(
    sde: SDE,
    denoise: Denoiser,
    x0: Tensor,
    *,
    y: Tensor | Condition | None = None,
    data_std: float = 1.0,
    levels: int = LEVELS,
    draws: int = DRAWS,
    seeds: Sequence[int] | None = None,
) -> DenoisingStatistics:
    """Compute how a model denoises data at several noise levels.

    At each noise level rho, with D = D(x_t, t) and the mean over draws of the noise,

        error = E|x_0 - D|^2 / (d v),    v = rho^2 std^2 / (rho^2 + std^2),
        norm = E|x_t - alpha D|^2 / (d sigma^2).

    v is the error for normal data. The error is that of the variational bound at this level, and the second statistic
    is the squared norm of the score times sigma^2. Data can have the likelihood of typical data, or a higher one, and
    still differ at single levels: a blurred image has too small an error at low noise.

    Arguments:
        sde: Process of the model.
        denoise: Denoiser.
        x0: Data in the model's units, (n, *shape).
        y: Conditions with n rows, or None.
        data_std: Standard deviation of the data in the model's units.
        levels: Number of noise levels L, from data_std / 20 to 10 data_std, at least 1.
        draws: Number of draws of the noise at each level, at least 1.
        seeds: One seed for each row; None for 0 to n - 1. Row i depends on seed i alone.
    Returns:
        Statistics of each item.
    Raises:
        InputError: If a count is not positive, or the data contain a number that is not finite.
    Source:
        Graham et al. 2023 ("Denoising diffusion models for out-of-distribution detection"), errors at several noise
        levels; Heng et al. 2024 ("Out-of-distribution detection with a single unconditional diffusion model"), norms
        of the score.
    """
    if levels < 1 or draws < 1:
        raise InputError(f"denoising_statistics: needs levels >= 1 and draws >= 1, got {levels}, {draws}")
    bad = (~x0.flatten(1).isfinite().all(1)).nonzero()
    if len(bad):
        raise InputError(f"row {int(bad[0])} of the data contains a number that is not finite")
    noise = SeedNoise(
        check_seeds(range(len(x0)) if seeds is None else seeds), x0.shape[1:], dtype=x0.dtype, device=x0.device
    )
    times = _times(sde, data_std, levels)
    d, errors, norms = math.prod(x0.shape[1:]), [], []
    with torch.no_grad():
        for t in times:
            error = score = torch.zeros(len(x0), dtype=torch.float64)
            for _ in range(draws):
                xt = sde.perturb(x0, t, noise())
                denoised = evaluate_denoiser(denoise, xt, t, y)
                eps = (xt - broadcast(sde.alpha(t), xt) * denoised) / broadcast(sde.sigma(t), xt)
                error = error + square_norm(x0 - denoised) / (draws * d)
                score = score + square_norm(eps) / (draws * d)
            errors.append(error)
            norms.append(score)
    rho = sde.rho(times)
    normal = rho**2 * data_std**2 / (rho**2 + data_std**2)
    error, score = torch.stack(errors, 1), torch.stack(norms, 1)
    width = (rho.log().max() - rho.log().min()) * 2 / max(levels - 1, 1)  # of a level, in log-SNR
    values = torch.cat([(error / normal).clamp(min=1e-12).log(), score.clamp(min=1e-12).log()], 1)
    return DenoisingStatistics(values, 0.5 * d * width * (error / rho**2).sum(1))


def nearest_class(
    sde: SDE,
    denoise: Denoiser,
    x0: Tensor,
    conditions: Tensor | Condition,
    *,
    data_std: float = 1.0,
    seeds: Sequence[int] | None = None,
    batch_size: int | None = None,
) -> Tensor:
    """Choose the condition under which each item is most likely, by a short comparison of the bounds.

    Arguments:
        sde: Process of the model.
        denoise: Conditional denoiser.
        x0: Data in the model's units, (n, *shape).
        conditions: Condition of each class, C rows.
        data_std: Standard deviation of the data in the model's units.
        seeds: One seed for each row; None for 0 to n - 1.
        batch_size: Largest number of rows of a network evaluation.
    Returns:
        Rows of `conditions`, (n,) int64.
    """
    if len(conditions) == 1:
        return torch.zeros(len(x0), dtype=torch.int64)
    comparison = compare_by_bound(
        sde, denoise, x0, conditions, rounds=2, times=2, significance=0, data_std=data_std, seeds=seeds,
        batch_size=batch_size,
    )  # fmt: skip
    return comparison.log_ratio.argmax(1)


@dataclass(frozen=True)
class TypicalStatistics:
    """Mean and standard deviation of each statistic of reference data.

    Arguments:
        mean: Means, (k,).
        std: Standard deviations, (k,).
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def fit(cls, values: Tensor) -> TypicalStatistics:
        """Compute them from reference data that the model was not trained on.

        Arguments:
            values: Statistics of the reference items, (m, k), m at least 8.
        Returns:
            The means and standard deviations.
        Raises:
            InputError: If there are too few items.
        """
        if len(values) < LEAST_REFERENCE:
            raise InputError(f"typical statistics need at least {LEAST_REFERENCE} reference items, got {len(values)}")
        return cls(values.mean(0), values.std(0).clamp(min=1e-9))

    def score(self, values: Tensor) -> Tensor:
        """Return the mean squared z-score of statistics (n, k), (n,).

        It is about 1 for typical data. Errors and norms that are too small count as much as those that are too large.
        """
        return ((values - self.mean) / self.std).square().mean(1)


def _times(sde: SDE, data_std: float, levels: int) -> Tensor:
    """Return times of noise levels that are even in log rho, (L,)."""
    low = max(LOWEST * data_std, float(sde.rho(as_time(sde.t_min))))
    high = min(HIGHEST * data_std, float(sde.rho(as_time(sde.t_max))))
    rho = torch.linspace(math.log(low), math.log(high), levels, dtype=torch.float64).exp()
    return sde.time(rho).clamp(sde.t_min, sde.t_max)
