"""Probabilities of data with bins, such as pixels 0 to 255, from the densities of a continuous model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.processes import SDE
from sdekit.sampling import SeedNoise

LogDensity = Callable[[Tensor, Tensor | None], Tensor]
"""`log_density(x, at)` is log p (B,) in the model's units of data x (B, *), or of states x_t if `at` is a time."""


@dataclass(frozen=True, kw_only=True)
class Dequantization:
    """How the probability of a bin is bounded by densities inside the bin.

        log P(x) >= E log[1/K sum_k p(v_k) / q(v_k)],    v_k ~ q

    Arguments:
        method: "uniform" spreads each value evenly over its bin. "truncated-normal" is a normal distribution around the
            value, cut to the bin, with the standard deviation sigma of the process at the time at which it is a sixth
            of the bin (or at t_min); p is then the density of x_t at this time. It suits models that were trained on
            the values themselves, whose density at small times has a peak at each of them.
            "none" takes the density at the value itself times the width of the bin, which is no bound.
        samples: Number K of draws for each item, at least 1; the bound grows with K.
    Source:
        Theis et al. 2016 (uniform); Zheng et al. 2023, section 4.2 (truncated normal); Burda et al. 2016 (K > 1).
    """

    method: Literal["uniform", "truncated-normal", "none"] = "uniform"
    samples: int = 1

    def __post_init__(self) -> None:
        if self.method not in ("uniform", "truncated-normal", "none"):
            raise InputError(f"dequantization must be uniform, truncated-normal or none, got {self.method!r}")
        if self.samples < 1 or (self.method == "none" and self.samples > 1):
            raise InputError(f"dequantization {self.method!r}: samples={self.samples} is out of range")

    def log_prob(self, sde: SDE, log_density: LogDensity, x0: Tensor, width: Tensor, seeds: Sequence[int]) -> Tensor:
        """Return a lower bound of the log-probability of each bin, or its estimate for "none".

        Arguments:
            sde: Process of the model.
            log_density: Log-density of data or of states, in the model's units.
            x0: Centres of the bins in the model's units, (B, *).
            width: Widths of the bins in the model's units, broadcastable to x0.
            seeds: One seed for each row.
        Returns:
            Log-probabilities in nats, (B,), float64.
        """
        log_width = width.double().log().expand_as(x0).flatten(1).sum(1)
        if self.method == "none":
            return log_density(x0, None).double() + log_width
        noise = SeedNoise(seeds, x0.shape[1:])
        terms = []
        for _ in range(self.samples):
            # The distribution function of a normal number is uniform, and uses one number of the same stream.
            uniform = torch.special.ndtr(noise().double().to(x0.device)).clamp(1e-7, 1 - 1e-7)
            if self.method == "uniform":
                v = x0 + (uniform - 0.5).to(x0) * width
                terms.append(log_density(v, None).double() + log_width)
            else:
                terms.append(self._truncated_normal(sde, log_density, x0, width, uniform))
        bound: Tensor = torch.stack(terms).logsumexp(0) - math.log(self.samples)
        return bound

    def _truncated_normal(
        self, sde: SDE, log_density: LogDensity, x0: Tensor, width: Tensor, uniform: Tensor
    ) -> Tensor:
        """Return log p(v) - log q(v) with v = alpha x_0 + sigma eps and eps a normal number cut to [-tau, tau]."""
        t = sde.time(width.double().min() / 6).clamp(sde.t_min, sde.t_max)
        alpha, sigma = sde.alpha(t), sde.sigma(t)
        tau = (alpha / sigma * width.double() / 2).expand(x0.shape).to(x0.device)
        mass = torch.erf(tau / math.sqrt(2))  # of the normal distribution in [-tau, tau]
        eps = torch.special.ndtri((1 - mass) / 2 + mass * uniform)
        log_q = -0.5 * (eps.square() + math.log(2 * math.pi)) - mass.log() - sigma.log()
        ratio: Tensor = log_density(alpha * x0 + sigma * eps.to(x0), t).double() - log_q.flatten(1).sum(1)
        return ratio


def bin_width(units: Units, shape: Sequence[int], width: float = 1.0) -> Tensor:
    """Return the width of the bins in the model's units.

    Arguments:
        units: Units of the data.
        shape: Shape of one sample in the model.
        width: Width of the bins in the units of the data; 1 for whole numbers.
    Returns:
        width / scale, () or the shape of a sample, float64.
    """
    scale = torch.from_numpy(units.shift_and_scale(len(shape))[1]).double()
    return (width / scale.abs()).expand(tuple(shape)) if scale.ndim else width / scale.abs()


def check_bins(data: np.ndarray, width: float = 1.0) -> None:
    """Check that data have bins: that each value is a multiple of the width.

    Arguments:
        data: Data in their own units.
        width: Width of the bins.
    Raises:
        InputError: If the data are continuous.
    """
    multiples = np.asarray(data, dtype=np.float64) / width
    off = np.abs(multiples - np.round(multiples))
    if off.size and off.max() > 1e-3:
        value = np.asarray(data).ravel()[int(off.argmax())]
        raise InputError(
            f"the data are continuous (for example {value:g} is no multiple of {width:g}), so they have no bins: "
            "bits per dimension would depend on their unit. Use the density in nats, or give the width of the bins"
        )


def log_density_in_data_units(log_prob: Tensor, units: Units, data: np.ndarray) -> Tensor:
    """Convert a log-density from the model's units to the units of the data.

    Arguments:
        log_prob: Log-densities in nats, in the model's units, (B,).
        units: Units of the data.
        data: The data (B, *item) in their own units.
    Returns:
        log_prob + log |d model / d data|, by the change of variables; see `Units.log_volume`.
    """
    return log_prob + torch.from_numpy(units.log_volume(units.channels_first(data))).to(log_prob)


def bits_per_dimension(log_prob: Tensor, d: int) -> Tensor:
    """Convert log-probabilities in nats to bits per dimension.

    Arguments:
        log_prob: Log-probabilities in nats.
        d: Number of dimensions.
    Returns:
        -log_prob / (d log 2).
    """
    return -log_prob / (d * math.log(2))
