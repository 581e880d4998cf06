"""Guidance: a decorator of the denoiser, and the functions that guidances share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.models import concatenate_conditions, null_condition
from sdekit.processes import SDE, Denoiser, as_time, broadcast, evaluate_denoiser

Guidance = Callable[[SDE, Denoiser], Denoiser]

LARGEST_TILT_RHO = 1e6  # where alpha is 0, `tilt` is taken at this noise level


@dataclass(frozen=True)
class GuidedDenoiser:
    """A guided denoiser that remembers the one before any guidance, `plain`."""

    denoise: Denoiser
    plain: Denoiser

    def __call__(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """As any denoiser."""
        return evaluate_denoiser(self.denoise, x, t, y)


def unguided(denoise: Denoiser) -> Denoiser:
    """What a guided denoiser was before any guidance; itself where it has none."""
    return denoise.plain if isinstance(denoise, GuidedDenoiser) else denoise


def denoise_pair(
    denoise: Denoiser, x: Tensor, t: Tensor, y: Tensor, other: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """D(x, t, y) and D(x, t, other), (B, *) each, by one call on the doubled batch.

    other: (B, ...), the null condition where it is None.
    """
    both = concatenate_conditions([y, null_condition(y) if other is None else other])
    whole = denoise(torch.cat([x, x]), t if t.ndim == 0 else torch.cat([t, t]), both)
    conditional, second = whole.chunk(2)
    return conditional, second


def tilt(
    sde: SDE, x: Tensor, t: Tensor, log_weight: Callable[[Tensor, Tensor], Tensor], *, most: float = LARGEST_TILT_RHO
) -> Tensor:
    """sigma^2 / alpha grad_x log_weight(x, t): what D gains where the density of x_t is multiplied by a weight, (B, *).

    log_weight: x (B, *) and t to (B,), differentiable in x. Above the noise level `most` it is taken at `most`, x
    along the same noise, since alpha may be 0 there. Tweedie's formula, D = (x + sigma^2 score) / alpha.
    """
    t = as_time(t)
    u = torch.where(sde.rho(t) <= most, t, sde.time(as_time(most)).to(t.device))
    alpha, sigma = sde.alpha(u), sde.sigma(u)
    with torch.enable_grad():
        z = (x.detach() * broadcast(sigma / sde.sigma(t), x)).requires_grad_()
        (slope,) = torch.autograd.grad(log_weight(z, u).sum(), z)
    return slope * broadcast(sigma**2 / alpha, x)


def format_component(name: str, options: Mapping[str, object]) -> str:
    """A component as people write it: "cfg:scale=1000"; what is off or not said is left out."""
    said = {k.removesuffix("_"): v for k, v in options.items() if not (v is None or v is False or v == "")}
    given = [f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in said.items()]
    return ":".join(filter(None, (name, ",".join(given))))


@dataclass(frozen=True)
class NamedGuidance:
    """A guidance with a name for messages."""

    guidance: Guidance
    name: str

    def __call__(self, sde: SDE, denoise: Denoiser) -> Denoiser:
        """As the guidance does."""
        return self.guidance(sde, denoise)


def require_condition(guidance: str, y: Tensor | None) -> Tensor:
    """The condition; InputError, naming the guidance, where there is none."""
    if y is None:
        raise InputError(f"{guidance}: there is no condition to guide to: give y (--label)")
    return y


def check_finite(guidance: str, **options: float) -> None:
    """InputError, naming the guidance and the option, for a number that is not finite."""
    for name, value in options.items():
        if not math.isfinite(value):
            raise InputError(f"{guidance}: {name} must be a finite number, got {value}")
