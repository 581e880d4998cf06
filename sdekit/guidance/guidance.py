"""Guidance: a function that changes a denoiser, and the helpers that guidances share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from sdekit.arguments import check_number
from sdekit.errors import InputError, SdekitError
from sdekit.models import Condition, concatenate_conditions, null_condition
from sdekit.processes import SDE, Denoiser, as_time, broadcast, evaluate_denoiser

Y = TypeVar("Y", Tensor, Condition)

Guidance = Callable[[SDE, Denoiser], Denoiser]
"""`guidance(sde, denoise) -> guided`: a denoiser computed from another one."""

LARGEST_TILT_RHO = 1e6
"""Largest noise level at which `tilt` evaluates the weight, because alpha may be 0 above it."""


@dataclass(frozen=True)
class GuidedDenoiser:
    """A guided denoiser that also stores the denoiser without any guidance.

    Calling it raises SdekitError if the guidance has changed the shape or the dtype of x.

    Arguments:
        denoise: The denoiser with guidance.
        unguided: The denoiser without guidance.
    """

    denoise: Denoiser
    unguided: Denoiser

    def __call__(self, x: Tensor, t: Tensor, y: Any = None) -> Tensor:
        """Evaluate the denoiser with guidance: x (B, *), t () or (B,), y (B, ...) or None; returns (B, *)."""
        x0 = evaluate_denoiser(self.denoise, x, t, y)
        if x0.shape != x.shape or x0.dtype != x.dtype:
            raise SdekitError(
                f"a guidance returned {tuple(x0.shape)} {x0.dtype}, expected {tuple(x.shape)} {x.dtype}, as its input"
            )
        return x0


def unguided(denoise: Denoiser) -> Denoiser:
    """Return the denoiser without any guidance.

    Arguments:
        denoise: A denoiser with or without guidance.
    Returns:
        The denoiser before the first guidance; `denoise` itself if it is not guided.
    """
    return denoise.unguided if isinstance(denoise, GuidedDenoiser) else denoise


def denoise_pair(denoise: Denoiser, x: Tensor, t: Tensor, y: Y, other: Y | None = None) -> tuple[Tensor, Tensor]:
    """Evaluate D(x, t, y) and D(x, t, other) by one call on the doubled batch.

    Arguments:
        denoise: The denoiser.
        x: Noisy samples, (B, *).
        t: Times, () or (B,).
        y: Conditions, (B, ...).
        other: Other conditions, (B, ...); the null condition if None.
    Returns:
        The two results, (B, *) each.
    """
    both = concatenate_conditions([y, null_condition(y) if other is None else other])
    x0 = denoise(torch.cat([x, x]), t if t.ndim == 0 else torch.cat([t, t]), both)
    first, second = x0.chunk(2)
    return first, second


def tilt(
    sde: SDE,
    x: Tensor,
    t: Tensor,
    log_weight: Callable[[Tensor, Tensor], Tensor],
    *,
    largest_rho: float = LARGEST_TILT_RHO,
) -> Tensor:
    """Compute the change of the denoiser that results from multiplying the density of x_t by a weight.

    The change is sigma^2 / alpha grad_x log_weight(x, t), by Tweedie's formula D = (x + sigma^2 score) / alpha.

    Arguments:
        sde: Process of the denoiser.
        x: Noisy samples, (B, *).
        t: Times, () or (B,).
        log_weight: Logarithm of the weight, from x (B, *) and t to (B,), differentiable in x.
        largest_rho: Noise level above which x is scaled to this noise level and the change is computed there.
    Returns:
        The change of D(x, t), (B, *).
    """
    t = as_time(t)
    u = torch.where(sde.rho(t) <= largest_rho, t, sde.time(as_time(largest_rho)).to(t.device))
    alpha, sigma = sde.alpha(u), sde.sigma(u)
    with torch.enable_grad():
        z = (x.detach() * broadcast(sigma / sde.sigma(t), x)).requires_grad_()
        (gradient,) = torch.autograd.grad(log_weight(z, u).sum(), z)
    return gradient * broadcast(sigma**2 / alpha, x)


def format_component(name: str, options: Mapping[str, object]) -> str:
    """Write a component and its options as on the command line, "cfg:scale=1000".

    Arguments:
        name: Name of the component.
        options: Its options; those that are None, False or empty are left out.
    Returns:
        The name, and after a colon the options.
    """
    values = {k.removesuffix("_"): v for k, v in options.items() if not (v is None or v is False or v == "")}
    words = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in values.items()]
    return ":".join(filter(None, (name, ",".join(words))))


@dataclass(frozen=True)
class NamedGuidance:
    """A guidance with a name for messages.

    Arguments:
        guidance: The guidance.
        name: Its name and options, as `format_component` writes them.
    """

    guidance: Guidance
    name: str

    def __call__(self, sde: SDE, denoise: Denoiser) -> Denoiser:
        """Apply the guidance."""
        return self.guidance(sde, denoise)


def require_condition(guidance: str, y: Tensor | None) -> Tensor:
    """Return the condition, or raise an error if there is none.

    Arguments:
        guidance: Name of the guidance, for the message.
        y: Conditions, (B, ...), or None.
    Returns:
        The conditions.
    Raises:
        InputError: If y is None.
    """
    if y is None:
        raise InputError(f"{guidance}: this guidance needs a condition: give y (--label or --prompt)")
    return y


def require_finite(guidance: str, **options: float) -> None:
    """Raise an error if an option is not a finite number.

    Arguments:
        guidance: Name of the guidance, for the message.
        options: Options by name.
    Raises:
        InputError: If one of them is infinite or not a number.
    """
    for name, value in options.items():
        check_number(f"{guidance}: {name}", value)


def require_data_range(guidance: str, low: float | None, high: float | None) -> tuple[float, float]:
    """Return the range of the data, or raise an error if it is missing or empty.

    Arguments:
        guidance: Name of the guidance, for the message.
        low: Smallest value of x_0 in the model's units, or None.
        high: Largest value of x_0 in the model's units, or None.
    Returns:
        low and high.
    Raises:
        InputError: If one of them is None or not finite, or low is not below high.
    """
    if low is None or high is None:
        raise InputError(
            f"{guidance}: needs the range of the data in the model's units: give low=VALUE,high=VALUE. Only the "
            "command line takes it from the model, if the model records it"
        )
    if not -math.inf < low < high < math.inf:
        raise InputError(f"{guidance}: needs finite low < high, got {low} and {high}")
    return low, high
