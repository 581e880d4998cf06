"""Coefficients f and g^2 of published processes, as functions of the papers' own parameters."""

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


PUBLISHED_COEFFICIENTS: dict[str, Callable[[Any, Tensor], Coefficients]] = {
    "VP": _vp,
    "SubVP": _sub_vp,
    "VE": _ve,
    "EDM": _edm,
    "RectifiedFlow": _flow,
}
"""Map from the name of a process class to its function (sde, t) -> (f, g^2).

Source:
    Song et al. 2021, eq. 11, 12 and 9; Karras et al. 2022, Table 1; Liu et al. 2023.
"""


def published_coefficients(sde: SDE, t: Tensor) -> Coefficients | None:
    """Return the published coefficients (f, g^2) of a process at time t.

    If the process has a method `published(t)`, its result is returned. Otherwise `PUBLISHED_COEFFICIENTS` is searched
    for the name of the process class and then for the names of its base classes.

    Arguments:
        sde: Process.
        t: Time, of any shape.
    Returns:
        Pair (f, g^2), each with the shape of t, or None if the coefficients are unknown.
    """
    own_coefficients = getattr(sde, "published", None)
    if callable(own_coefficients):
        coefficients: Coefficients = own_coefficients(t)
        return coefficients
    for parent in type(sde).__mro__:
        if parent.__name__ in PUBLISHED_COEFFICIENTS:
            return PUBLISHED_COEFFICIENTS[parent.__name__](sde, t)
    return None
