"""Base class of the diffusion processes: alpha(t) and sigma(t), and everything that follows from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from sdekit.arguments import check_fields, check_instance, describe_value
from sdekit.errors import InputError

LARGEST_RHO = 1e3
"""Largest noise level at which x / alpha is computed: above it, x / alpha loses the digits of float32."""


def as_time(t: Tensor | float) -> Tensor:
    """Convert a time or a noise level to a float64 tensor.

    A number becomes a 0-dim tensor on the CPU, so that computing a coefficient from it starts no GPU kernel.

    Arguments:
        t: Number or tensor of any shape.
    Returns:
        Float64 tensor of the shape of t.
    Raises:
        InputError: If t is not a real number or a tensor of real numbers.
    """
    if isinstance(t, Tensor) and t.dtype == torch.float64:
        return t
    try:
        if isinstance(t, Tensor) and best_float(t.device) != torch.float64:
            t = t.cpu()
        return torch.as_tensor(t, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise InputError(f"a time must be a number or a tensor of numbers, got {describe_value(t)}") from None


def broadcast(coefficient: Tensor, x: Tensor) -> Tensor:
    """Reshape a coefficient so that it multiplies x sample by sample.

    Arguments:
        coefficient: One value for all samples, (), or one for each, (B,).
        x: Samples, (B, *).
    Returns:
        A coefficient () as it is; a coefficient (B,) as (B, 1, ...) in the dtype and on the device of x.
    """
    if coefficient.ndim == 0:
        return coefficient
    return coefficient.to(x).view(-1, *[1] * (x.ndim - 1))


def best_float(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on devices without float64, such as MPS.

    Arguments:
        device: Device of a tensor.
    Returns:
        The dtype.
    """
    try:
        torch.empty((), dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return torch.float32
    return torch.float64


class SDE(ABC):
    """Diffusion process dx = f(t) x dt + g(t) dw, so that x_t = alpha(t) x_0 + sigma(t) eps with eps ~ N(0, I).

    A process defines `alpha`, `sigma` and `time`, and the times in use, [t_min, t_max]; everything else is derived.
    sigma(t_min) must be positive, because the score is divided by it. A time is a number, a 0-dim tensor, or a tensor
    (B,) with one time for each sample; times and coefficients are float64. A process may also define
    `published(t) -> (f, g^2)` with the coefficients printed in its paper, which `sdekit verify` compares.

    Source:
        Song et al. 2021, eq. 5, in the notation of Kingma et al. 2021.
    """

    t_min: float
    t_max: float

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Return the signal scale alpha, in [0, 1] and 1 at the data. Shape of t."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Return the noise scale sigma, at least 0; sigma / alpha increases with t. Shape of t."""

    @abstractmethod
    def time(self, rho: Tensor) -> Tensor:
        """Return the t with sigma(t) / alpha(t) = rho, the inverse of `rho`, for rho in [0, inf]. Shape of rho."""

    def rho(self, t: Tensor) -> Tensor:
        """Return the noise level rho = sigma / alpha (EDM's sigma); log-SNR is -2 log rho. Shape of t.

        rho increases with t and is infinite at a time where alpha is 0.
        """
        return self.sigma(t) / self.alpha(t)

    def f(self, t: Tensor) -> Tensor:
        """Return the drift coefficient f = d/dt log alpha (Kingma et al. 2021, eq. 2). Shape of t."""
        return _derivative(lambda u: self.alpha(u).log(), t)

    def g(self, t: Tensor) -> Tensor:
        """Return the diffusion coefficient g = sqrt(2 sigma^2 d/dt log rho) (Kingma et al. 2021). Shape of t."""
        return self.sigma(t) * (2 * _derivative(lambda u: self.sigma(u).log() - self.alpha(u).log(), t)).sqrt()

    def perturb(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Return x_t = alpha x_0 + sigma eps, (B, *), for x0 and eps (B, *) and t () or (B,)."""
        return broadcast(self.alpha(t), x0) * x0 + broadcast(self.sigma(t), x0) * eps

    def eps(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """Return the noise in x given x_0, eps = (x - alpha x_0) / sigma, (B, *)."""
        return (x - broadcast(self.alpha(t), x) * x0) / broadcast(self.sigma(t), x)

    def score(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """Return grad log p_t(x) = (alpha x_0 - x) / sigma^2, (B, *), for x0 = E[x_0 | x] (Tweedie's formula)."""
        return (broadcast(self.alpha(t), x) * x0 - x) / broadcast(self.sigma(t), x) ** 2

    def prior(self, noise: Tensor) -> Tensor:
        """Return x at t_max from standard normal noise (B, *): a draw of N(0, sigma(t_max)^2 I)."""
        return self.sigma(as_time(self.t_max)) * noise

    def prior_log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density of the prior at x (B, *), in nats, (B,)."""
        sigma = self.sigma(as_time(self.t_max)).to(x)
        z = x.flatten(1) / sigma
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1) - z.shape[1] * sigma.log()


def same_process(one: SDE, other: SDE) -> bool:
    """Check whether `one` has the alpha and sigma of `other` at all times of `other`.

    If so, a model trained for `one` can be used with `other`. alpha and sigma are compared at five times.

    Arguments:
        one: Process of the model to use.
        other: Process to use the model with.
    Returns:
        Whether [t_min, t_max] of `one` contains [t_min, t_max] of `other`, and alpha and sigma agree there.
    """
    if one.t_min > other.t_min or one.t_max < other.t_max:
        return False
    t = torch.linspace(other.t_min, other.t_max, 5, dtype=torch.float64)
    return torch.allclose(one.alpha(t), other.alpha(t)) and torch.allclose(one.sigma(t), other.sigma(t))


def check_process(where: str, sde: object) -> None:
    """Check that an argument is a process.

    Arguments:
        where: Function that received the argument, for the message.
        sde: The argument.
    Raises:
        InputError: If the argument is not an object of a class derived from `SDE`.
    """
    check_instance(f"{where}: sde", sde, SDE, "a process such as sdekit.VP()")


def check_time_shape(where: str, t: Tensor, n: int) -> None:
    """Check that t has one time for all samples or one for each.

    Arguments:
        where: Function that received the times, for the message.
        t: Times.
        n: Number of samples.
    Raises:
        InputError: If t has another shape than () or (n,).
    """
    if t.ndim and t.shape != (n,):
        raise InputError(f"{where}: t has shape {tuple(t.shape)}, expected () or ({n},), one time for each sample")


def check_times(sde: SDE, least: float = 1e-9) -> None:
    """Raise InputError unless all fields of a process have their types and least <= t_min < t_max < inf.

    By default t = 0 is excluded, because sigma is 0 there.
    """
    check_fields(sde)
    if not least <= sde.t_min < sde.t_max < math.inf:
        raise InputError(
            f"{type(sde).__name__}: needs {least:g} <= t_min < t_max, got t_min={sde.t_min}, t_max={sde.t_max}"
        )


def _derivative(function: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    """Return d function / dt at each t, by automatic differentiation. Shape of t."""
    with torch.inference_mode(False), torch.enable_grad():
        u = as_time(t).detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(u).sum(), u)
    return slope
