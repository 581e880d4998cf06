"""The probability-flow ODE by any method of torchdiffeq."""

import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor
from torchdiffeq import odeint

from sdekit.errors import InputError, SdekitError
from sdekit.guidance import current_context
from sdekit.integrators import METHODS, Field, ToleranceError, solve_adaptive
from sdekit.processes import SDE, Denoiser, FlowCoordinates, best_float
from sdekit.sampling import Noise, Sampler

FIXED = {"euler": (1, 1), "midpoint": (2, 2), "heun2": (2, 2), "heun3": (3, 3), "rk4": (4, 4)}
"""torchdiffeq's fixed-step one-step methods: (order, calls per step); its rk4 is the 3/8 rule."""
ADAMS = ("explicit_adams", "implicit_adams")
ADAPTIVE = ("dopri5", "bosh3", "dopri8", "fehlberg2", "adaptive_heun", "scipy_solver")


@dataclass(frozen=True, kw_only=True)
class ODE(Sampler):
    """Probability-flow ODE: any fixed-step or adaptive method of torchdiffeq, deterministic.

        dy/dr = eps - x_0,    y = x / (alpha + sigma),    r = sigma / (alpha + sigma)

    y and r are the coordinates of `sdekit.processes.FlowCoordinates`. A fixed-step method steps along the grid. An
    adaptive one chooses its own steps between the times of the grid, which is by default t_max and t_min alone.

    Arguments:
        method: Fixed-step: euler, midpoint, heun2, heun3, rk4, explicit_adams, implicit_adams. Adaptive: dopri5, bosh3,
            dopri8, fehlberg2, adaptive_heun, scipy_solver.
        rtol: Relative tolerance of an adaptive method, > 0.
        atol: Absolute tolerance of an adaptive method, > 0, in units of y.
        error_norm: Error that an adaptive method controls. "sample" is the error of each sample on its own, so that a
            sample does not depend on its batch: dopri5 and bosh3 have one step size per sample, the others solve one
            sample at a time. "batch" is the error norm of torchdiffeq, the mean over the batch, which gives one step
            size for all samples.
        max_calls: Number of network calls for a batch after which an adaptive method raises an error, at least 1. At
            tolerances of 1e-12 in float64, dopri5 makes 1,200 calls on mixtures of Gaussians.
    Source:
        Song et al. 2021, section 4.3; Karras et al. 2022, eq. 4.
    """

    method: str = "dopri5"
    rtol: float = 1e-5
    atol: float = 1e-5
    error_norm: Literal["sample", "batch"] = "sample"
    max_calls: int = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
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
        """Order of a fixed-step one-step method, else None."""
        return FIXED.get(self.method, (None, None))[0]

    @property
    def calls_per_step(self) -> int | None:
        """Calls per step of a fixed-step one-step method, else None."""
        return FIXED.get(self.method, (None, None))[1]

    @property
    def default_steps(self) -> int:
        """2 for an adaptive method, which needs no times between t_max and t_min, and 50 otherwise."""
        return 2 if self.method in ADAPTIVE else 50

    @property
    def requires_single_sample(self) -> bool:
        """Whether the method of torchdiffeq controls the error of a batch, not the error of each sample."""
        controlled = (*ADAPTIVE, "implicit_adams")  # implicit_adams iterates until the batch has converged
        return self.error_norm == "sample" and self.method in controlled and self.method not in METHODS

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if len(times) == 1:
            return
        flow = FlowCoordinates(sde)
        field, y, r = _Field(flow, denoise, self), x / flow.scale(times[0]), flow.r(times)
        solve = self._per_sample if self.error_norm == "sample" and self.method in METHODS else self._torchdiffeq
        try:
            for y_s, s in zip(solve(field, y, r), times[1:], strict=True):
                yield flow.scale(s) * y_s
        except ToleranceError as error:
            raise SdekitError(field.describe_failure()) from error

    def _per_sample(self, field: Field, y: Tensor, r: Tensor) -> Iterator[Tensor]:
        """Yield y at r[1:], with a step size for each sample."""
        for start, end in pairwise(r):
            y = solve_adaptive(field, y, start, end, method=self.method, rtol=self.rtol, atol=self.atol)
            yield y

    def _torchdiffeq(self, field: Field, y: Tensor, r: Tensor) -> Iterator[Tensor]:
        """Yield y at r[1:], from one call of `odeint` for the whole grid, or one call for each step if `stepwise`."""
        r = r.to(y.device, best_float(y.device))
        if r.dtype != torch.float64 and self.method not in FIXED:
            raise InputError(
                f"ode: method {self.method} needs float64, which the device {y.device} does not have; use "
                "method=dopri5, bosh3 or rk4, or sample on the CPU"
            )
        tolerances = {"rtol": self.rtol, "atol": self.atol} if self.method not in FIXED else {}
        options: dict[str, object] | None = None
        if self.method in ADAMS:
            options = {"max_order": 4}  # the default of torchdiffeq, 12, diverges at any usual number of steps
        elif self.method == "scipy_solver":
            options = {"solver": "RK45"}
        elif self.method in ADAPTIVE:
            options = {"step_t": r}  # otherwise a step would go past the end, where no noise level is defined
        context = current_context()
        stepwise = self.method in FIXED and context is not None and context.stepwise
        parts = [torch.stack(step) for step in pairwise(r)] if stepwise else [r]
        for part in parts:
            try:
                with warnings.catch_warnings():
                    # torchdiffeq passes min_step to every solver of scipy, also to those that have no such option
                    warnings.filterwarnings("ignore", "(?s).*no effect for a chosen solver: `min_step`", UserWarning)
                    path = odeint(field, y, part, method=self.method, options=options, **tolerances)
            except AssertionError as error:
                if "underflow in dt" in str(error):
                    raise ToleranceError from error
                raise
            yield from path[1:]
            y = path[-1]


class _Field:
    """The field dy/dr, which limits the calls of an adaptive method and stores the times of its last calls."""

    def __init__(self, flow: FlowCoordinates, denoise: Denoiser, ode: ODE) -> None:
        self.flow, self.denoise, self.ode, self.calls = flow, denoise, ode, 0
        self.recent = deque[Tensor](maxlen=7)  # about the calls of one step

    def __call__(self, r: Tensor, y: Tensor) -> Tensor:
        if self.calls == self.ode.max_calls and self.ode.method in ADAPTIVE:
            raise ToleranceError
        self.calls += 1
        r = r if r.dtype == torch.float64 else r.cpu().double()
        self.recent.append(r)
        return self.flow.field(self.denoise, r, y)

    def describe_failure(self) -> str:
        """Return the message of a failed run: tolerances, calls, time of the slowest sample, and advice."""
        recent = torch.stack([r.max() for r in self.recent])
        t, step = self.flow.time(recent[-1].cpu().double()), float(recent.max() - recent.min())
        ode, exhausted = self.ode, self.calls == self.ode.max_calls
        return (
            f"ode: {ode.method} cannot meet rtol={ode.rtol:g}, atol={ode.atol:g} "
            + (f"in max_calls={ode.max_calls}" if exhausted else f"in {self.calls} calls")
            + f": at t = {float(t):.6g} its step in sigma / (alpha + sigma) is down to {step:.2g}. Raise the tolerances"
            + (" or max_calls" if exhausted else "")
            + ", compute in float64, or choose a fixed-step method"
        )
