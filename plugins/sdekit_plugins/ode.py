"""The probability-flow ODE by any method of torchdiffeq."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

from torch import Tensor
from torchdiffeq import odeint

from sdekit import adaptive
from sdekit.errors import InputError, SdekitError
from sdekit.line import Line
from sdekit.noise import Noise
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise

FIXED = {"euler": (1, 1), "midpoint": (2, 2), "heun2": (2, 2), "heun3": (3, 3), "rk4": (4, 4)}
"""torchdiffeq's fixed-step methods that remember nothing: (order, calls a step); its rk4 is the 3/8 rule."""
ADAMS = ("explicit_adams", "implicit_adams")
ADAPTIVE = ("dopri5", "bosh3", "dopri8", "fehlberg2", "adaptive_heun", "scipy_solver")


@dataclass(frozen=True, kw_only=True)
class ODE(Sampler):
    """The probability-flow ODE, dy/dr = eps - x_0 in the coordinates of `sdekit.line`, by any method of torchdiffeq.

    method: fixed-step (euler, midpoint, heun2, heun3, rk4, explicit_adams, implicit_adams) on the grid, or adaptive
    (dopri5, bosh3, dopri8, fehlberg2, adaptive_heun, scipy_solver). rtol, atol: tolerances of the latter, > 0, in units
    of x / (alpha + sigma).
    error_norm: of an adaptive method. "sample" bounds the error of each sample by itself, so that a sample does not
    depend on its batch: dopri5 and bosh3 run with a step size for each (`sdekit.adaptive`), the others one sample at
    a time. "batch" is torchdiffeq's own: one step size, from the mean over the batch, and one call of `odeint`.
    Source: Song et al. 2021, section 4.3; Karras et al. 2022, eq. 4.
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    error_norm: Literal["sample", "batch"] = "sample"

    def __post_init__(self) -> None:
        methods = (*FIXED, *ADAMS, *ADAPTIVE)
        if self.method not in methods:
            raise InputError(f"ode: no method {self.method!r}: choose one of {', '.join(methods)}")
        if not (self.rtol > 0 and self.atol > 0):
            raise InputError(f"ode: tolerances must be positive, got rtol={self.rtol}, atol={self.atol}")
        if self.error_norm not in ("sample", "batch"):
            raise InputError(f"ode: error_norm must be 'sample' or 'batch', got {self.error_norm!r}")

    @property
    def order(self) -> int | None:  # type: ignore[override]
        """Of a fixed-step method; None for an adaptive one."""
        return FIXED.get(self.method, (None, None))[0]

    @property
    def calls(self) -> int | None:  # type: ignore[override]
        """A step of a fixed-step method; None where only the run tells."""
        return FIXED.get(self.method, (None, None))[1]

    @property
    def default_steps(self) -> int:  # type: ignore[override]
        """An adaptive method needs no grid: from t_max to t_min, and the denoising."""
        return 2 if self.method in ADAPTIVE else 50

    @property
    def alone(self) -> bool:  # type: ignore[override]
        """torchdiffeq controls its error over the whole batch: with error_norm "sample", that is one sample."""
        controlled = (*ADAPTIVE, "implicit_adams")  # the latter iterates until its batch has converged
        return self.error_norm == "sample" and self.method in controlled and self.method not in adaptive.METHODS

    def trajectory(self, sde: SDE, denoise: Denoise, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if len(times) == 1:
            return
        line = Line(sde)
        field, y, r = partial(line.field, denoise), x / line.scale(times[0]), line.r(times)
        if self.error_norm == "sample" and self.method in adaptive.METHODS:
            path = self._own(field, y, r)
        else:
            path = iter(self._torchdiffeq(field, y, r)[1:])
        for y, t in zip(path, times[1:], strict=True):
            yield line.scale(t) * y

    def _own(self, field: adaptive.Field, y: Tensor, r: Tensor) -> Iterator[Tensor]:
        for start, end in pairwise(r):
            y = adaptive.solve(field, y, start, end, method=self.method, rtol=self.rtol, atol=self.atol)
            yield y

    def _torchdiffeq(self, field: adaptive.Field, y: Tensor, r: Tensor) -> Tensor:
        """(times, B, *): one call over the whole grid."""
        tolerances = {"rtol": self.rtol, "atol": self.atol} if self.method not in FIXED else {}
        options: dict[str, object] | None = {"solver": "RK45"} if self.method == "scipy_solver" else None
        if self.method in ADAMS:
            options = {"max_order": 4}  # torchdiffeq's default, 12, diverges at any usual number of steps
        try:
            path: Tensor = odeint(field, y, r, method=self.method, options=options, **tolerances)
        except AssertionError as error:  # "underflow in dt"
            raise SdekitError(
                f"ode: {self.method} cannot meet rtol={self.rtol:g}, atol={self.atol:g} ({error}): raise the "
                "tolerances, compute in float64, or choose a fixed-step method"
            ) from error
        return path
