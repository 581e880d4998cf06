"""The probability-flow ODE by any method of torchdiffeq."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torchdiffeq import odeint

from sdekit.errors import InputError, SdekitError
from sdekit.integrators import METHODS, Field, ToleranceError, solve_adaptive
from sdekit.processes import SDE, Denoiser, FlowCoordinates
from sdekit.sampling import Noise, Sampler

FIXED = {"euler": (1, 1), "midpoint": (2, 2), "heun2": (2, 2), "heun3": (3, 3), "rk4": (4, 4)}
"""torchdiffeq's fixed-step methods that remember nothing: (order, calls a step); its rk4 is the 3/8 rule."""
ADAMS = ("explicit_adams", "implicit_adams")
ADAPTIVE = ("dopri5", "bosh3", "dopri8", "fehlberg2", "adaptive_heun", "scipy_solver")


@dataclass(frozen=True, kw_only=True)
class ODE(Sampler):
    """The probability-flow ODE, dy/dr = eps - x_0 in the coordinates of `FlowCoordinates`, by a method of torchdiffeq.

    method: fixed-step (euler, midpoint, heun2, heun3, rk4, explicit_adams, implicit_adams) on the grid, or adaptive
    (dopri5, bosh3, dopri8, fehlberg2, adaptive_heun, scipy_solver). rtol, atol: tolerances of the latter, > 0, in units
    of x / (alpha + sigma).
    error_norm: of an adaptive method. "sample" bounds the error of each sample by itself, so that a sample does not
    depend on its batch: dopri5 and bosh3 run with a step size for each (`solve_adaptive`), the others one sample at
    a time. "batch" is torchdiffeq's own: one step size, from the mean over the batch, and one call of `odeint`.
    max_calls: network calls of an adaptive method, at least 1, after which it gives up on a batch; at tolerances of
    1e-12 in float64, dopri5 makes 1,200 of them on mixtures of Gaussians.
    Source: Song et al. 2021, section 4.3; Karras et al. 2022, eq. 4.
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    error_norm: Literal["sample", "batch"] = "sample"
    max_calls: int = 5000

    def __post_init__(self) -> None:
        methods = (*FIXED, *ADAMS, *ADAPTIVE)
        if self.method not in methods:
            raise InputError(f"ode: no method {self.method!r}: choose one of {', '.join(methods)}")
        if not (self.rtol > 0 and self.atol > 0):
            raise InputError(f"ode: tolerances must be positive, got rtol={self.rtol}, atol={self.atol}")
        if self.max_calls < 1:
            raise InputError(f"ode: max_calls must be at least 1, got {self.max_calls}")
        if self.error_norm not in ("sample", "batch"):
            raise InputError(f"ode: error_norm must be 'sample' or 'batch', got {self.error_norm!r}")

    @property
    def order(self) -> int | None:
        """Of a fixed-step method; None for an adaptive one."""
        return FIXED.get(self.method, (None, None))[0]

    @property
    def calls_per_step(self) -> int | None:
        """A step of a fixed-step method; None where only the run tells."""
        return FIXED.get(self.method, (None, None))[1]

    @property
    def default_steps(self) -> int:
        """An adaptive method needs no grid: from t_max to t_min, and the denoising."""
        return 2 if self.method in ADAPTIVE else 50

    @property
    def requires_single_sample(self) -> bool:
        """torchdiffeq controls its error over the whole batch: with error_norm "sample", that is one sample."""
        controlled = (*ADAPTIVE, "implicit_adams")  # the latter iterates until its batch has converged
        return self.error_norm == "sample" and self.method in controlled and self.method not in METHODS

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if len(times) == 1:
            return
        line = FlowCoordinates(sde)
        field, y, r = _Field(line, denoise, self), x / line.scale(times[0]), line.r(times)
        own = self.error_norm == "sample" and self.method in METHODS
        try:
            path = self._own(field, y, r) if own else self._torchdiffeq(field, y, r)
            for y_s, s in zip(path, times[1:], strict=True):
                yield line.scale(s) * y_s
        except ToleranceError as error:
            raise SdekitError(field.trouble()) from error

    def _own(self, field: Field, y: Tensor, r: Tensor) -> Iterator[Tensor]:
        for start, end in pairwise(r):
            y = solve_adaptive(field, y, start, end, method=self.method, rtol=self.rtol, atol=self.atol)
            yield y

    def _torchdiffeq(self, field: Field, y: Tensor, r: Tensor) -> Iterator[Tensor]:
        """By one call over the whole grid."""
        tolerances = {"rtol": self.rtol, "atol": self.atol} if self.method not in FIXED else {}
        options: dict[str, object] | None = None
        if self.method in ADAMS:
            options = {"max_order": 4}  # torchdiffeq's default, 12, diverges at any usual number of steps
        elif self.method == "scipy_solver":
            options = {"solver": "RK45"}
        elif self.method in ADAPTIVE:
            options = {"step_t": r}  # or it would step past the end, where there is no noise level, and interpolate
        try:
            path = odeint(field, y, r, method=self.method, options=options, **tolerances)
        except AssertionError as error:
            if "underflow in dt" in str(error):
                raise ToleranceError from error
            raise
        yield from path[1:]


class _Field:
    """dy/dr, which bounds the calls of an adaptive method and knows where it is."""

    def __init__(self, line: FlowCoordinates, denoise: Denoiser, ode: ODE) -> None:
        self.line, self.denoise, self.ode, self.calls = line, denoise, ode, 0
        self.recent = deque[Tensor](maxlen=7)  # about as many as a step makes

    def __call__(self, r: Tensor, y: Tensor) -> Tensor:
        if self.calls == self.ode.max_calls and self.ode.method in ADAPTIVE:
            raise ToleranceError
        self.calls += 1
        self.recent.append(r)
        return self.line.field(self.denoise, r, y)

    def trouble(self) -> str:
        """What went wrong where, of the sample that is farthest behind, and what to do."""
        recent = torch.stack([r.max() for r in self.recent])
        t, step = self.line.time(recent[-1].double()), float(recent.max() - recent.min())
        ode, spent = self.ode, self.calls == self.ode.max_calls
        return (
            f"ode: {ode.method} cannot meet rtol={ode.rtol:g}, atol={ode.atol:g} "
            + (f"in max_calls={ode.max_calls}" if spent else f"in {self.calls} calls")
            + f": at t = {float(t):.6g} its step in sigma / (alpha + sigma) is down to {step:.2g}. Raise the tolerances"
            + (" or max_calls" if spent else "")
            + ", compute in float64, or choose a fixed-step method"
        )
