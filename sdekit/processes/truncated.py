"""A process that ends at an earlier time."""

from __future__ import annotations

from torch import Tensor

from sdekit.arguments import check_number
from sdekit.errors import InputError

from .sde import SDE, check_process


class TruncatedSDE(SDE):
    """Another process with an earlier t_max, so that any grid and any sampler start there.

    Arguments:
        sde: Process to truncate.
        t_max: New end of the times, above t_min and at most t_max of the process.
    Raises:
        InputError: If t_max is outside of that range.
    """

    def __init__(self, sde: SDE, t_max: Tensor | float) -> None:
        check_process("edit", sde)
        t_max = check_number("edit: t", t_max)
        if not sde.t_min < t_max <= sde.t_max:
            raise InputError(f"edit: t must be above {sde.t_min:g} and at most {sde.t_max:g}, got {t_max:g}")
        self.whole, self.t_min, self.t_max = sde, sde.t_min, t_max

    def alpha(self, t: Tensor) -> Tensor:
        return self.whole.alpha(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.whole.sigma(t)

    def time(self, rho: Tensor) -> Tensor:
        return self.whole.time(rho)

    def f(self, t: Tensor) -> Tensor:
        return self.whole.f(t)

    def g(self, t: Tensor) -> Tensor:
        return self.whole.g(t)
