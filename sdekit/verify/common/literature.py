"""f and g^2 as the papers print them, in the papers' own variables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sdekit.processes import SDE

Coefficients = tuple[Tensor, Tensor]


def _beta(sde: Any, t: Tensor) -> Tensor:
    slope: Tensor = sde.beta_min + t * (sde.beta_max - sde.beta_min)
    return slope


def _vp(sde: Any, t: Tensor) -> Coefficients:
    return -_beta(sde, t) / 2, _beta(sde, t)


def _sub_vp(sde: Any, t: Tensor) -> Coefficients:
    integral = sde.beta_min * t + (sde.beta_max - sde.beta_min) * t**2 / 2
    return -_beta(sde, t) / 2, _beta(sde, t) * -torch.expm1(-2 * integral)


def _ve(sde: Any, t: Tensor) -> Coefficients:
    rate = math.log(sde.sigma_max / sde.sigma_min)
    return torch.zeros_like(t), 2 * rate * sde.sigma_min**2 * (2 * rate * t).exp()


def _edm(sde: Any, t: Tensor) -> Coefficients:
    return torch.zeros_like(t), 2 * t


def _flow(sde: Any, t: Tensor) -> Coefficients:
    return -1 / (1 - t), 2 * t / (1 - t)


PUBLISHED: dict[str, Callable[[Any, Tensor], Coefficients]] = {
    "VP": _vp,
    "SubVP": _sub_vp,
    "VE": _ve,
    "EDM": _edm,
    "RectifiedFlow": _flow,
}
"""By class: Song et al. 2021, eq. 11, 12 and 9; Karras et al. 2022, Table 1; Liu et al. 2023."""


def published_coefficients(sde: SDE, t: Tensor) -> Coefficients | None:
    """(f, g^2) at t, of the process or the one it derives from; its own `published(t)` first; None where unknown."""
    own = getattr(sde, "published", None)
    if callable(own):
        coefficients: Coefficients = own(t)
        return coefficients
    for parent in type(sde).__mro__:
        if parent.__name__ in PUBLISHED:
            return PUBLISHED[parent.__name__](sde, t)
    return None
