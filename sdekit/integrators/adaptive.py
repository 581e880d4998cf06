"""Adaptive Runge-Kutta methods with a step size for each sample, so that a sample does not depend on its batch."""

from __future__ import annotations

from collections.abc import Callable

import scipy.integrate
import torch
from torch import Tensor

from sdekit.errors import SdekitError
from sdekit.processes import best_float, broadcast

METHODS = {"dopri5": scipy.integrate.RK45, "bosh3": scipy.integrate.RK23}
"""Name of each method and the scipy class that provides its Butcher tableau (A, B, C, E). In both methods, the last
stage of a step is the first stage of the next one."""

SAFETY, LEAST_FACTOR, LARGEST_FACTOR = 0.9, 0.2, 10.0  # change of step size (Hairer et al. 1993, section II.4)
MAX_STEPS = 10_000

Field = Callable[[Tensor, Tensor], Tensor]
"""`field(r, y) -> dy/dr`, (B, *), for r () or (B,) and y (B, *)."""


class ToleranceError(SdekitError):
    """An adaptive method cannot meet its tolerance."""


FEWER = 0.75
"""Share of running rows below which the finished rows are removed from the batch."""


def solve_adaptive(
    field: Field,
    y: Tensor,
    r: Tensor,
    r_end: Tensor,
    *,
    method: str,
    rtol: float | Tensor,
    atol: float | Tensor,
    field_of: Callable[[Tensor], Field] | None = None,
) -> Tensor:
    """Solve dy/dr = field(r, y) from r to r_end.

    The error of a step is a root mean square over one sample, relative to atol + rtol max(|y|, |y_new|). A step is
    accepted for each sample on its own if this error is at most 1.

    Arguments:
        field: Function of r (B,) and y (B, *). Without `field_of` it always receives the whole batch, because its
            conditions may belong to the rows of the batch; a sample that has reached r_end takes steps of length 0.
        y: State at r, (B, *).
        r: Start, 0-dim float64.
        r_end: End, 0-dim float64, above or below r.
        method: Key of `METHODS`.
        rtol: Relative tolerance, at least 0; a tensor of the shape of one sample has a tolerance for each entry.
        atol: Absolute tolerance, > 0; a number or a tensor, like rtol.
        field_of: Function `field_of(rows)` that returns the field of some rows of the batch, given their indices. It is
            used when enough samples have reached r_end: the network then evaluates the others alone.
    Returns:
        State at r_end, (B, *).
    Raises:
        ToleranceError: If a tolerance cannot be met.
    Source:
        Dormand & Prince 1980; step control of Hairer, Norsett & Wanner 1993, section II.4.
    """
    tableau = METHODS[method]
    a, b, c, e = (torch.as_tensor(getattr(tableau, name), dtype=torch.float64).tolist() for name in "ABCE")
    power = -1 / (tableau.error_estimator_order + 1)
    sign = 1.0 if r_end > r else -1.0
    result, remaining = y.clone(), torch.arange(len(y), device=y.device)
    end = r_end.cpu()  # r and the step sizes are float64 on the CPU, because some devices have no float64
    r = r.cpu().expand(len(y)).clone()
    slope = field(r, y)
    h = _first_step(field, r, y, slope, end - r, rtol, atol, -power)
    for _ in range(MAX_STEPS):
        step = sign * torch.minimum(h, (end - r).abs())
        slopes = [slope]
        for row, node in zip(a[1:], c[1:], strict=True):
            slopes.append(field(r + node * step, y + broadcast(step, y) * _combine(row, slopes)))
        y_new = y + broadcast(step, y) * _combine(b, slopes)
        reached = torch.where(step.abs() >= (end - r).abs(), end, r + step)
        slopes.append(field(reached, y_new))
        error = _rms(broadcast(step, y) * _combine(e, slopes) / (atol + rtol * torch.maximum(y.abs(), y_new.abs())))
        accepted = error <= 1  # False if the error is NaN
        factor = (SAFETY * error**power).clamp(LEAST_FACTOR, LARGEST_FACTOR).nan_to_num(LEAST_FACTOR)
        h = step.abs() * torch.where(accepted, factor, factor.clamp(max=1.0))
        rows = broadcast(accepted.to(y.dtype), y).bool()
        y, slope = torch.where(rows, y_new, y), torch.where(rows, slopes[-1], slope)
        r = torch.where(accepted, reached, r)
        running = r != end
        if not running.any():
            result[remaining] = y
            return result
        if (running & (h < 1e-14 * r.abs().clamp(min=1e-10))).any():
            break
        if field_of is not None and running.sum() < FEWER * len(running):
            result[remaining] = y
            unfinished = running.nonzero()[:, 0]
            r, h, running = r[unfinished], h[unfinished], running[unfinished]
            unfinished = unfinished.to(y.device)
            y, slope, remaining = y[unfinished], slope[unfinished], remaining[unfinished]
            field = field_of(remaining)
    stuck = int(h.where(running, torch.inf).argmin())
    raise ToleranceError(
        f"{method} cannot meet rtol={_largest(rtol):g}, atol={_largest(atol):g} at r = {float(r[stuck]):.6g}: its step "
        f"fell to {float(h[stuck]):.2g}. Raise the tolerances, compute in float64, or choose a fixed-step method"
    )


def _combine(weights: list[float], slopes: list[Tensor]) -> Tensor:
    """Return sum_k weights[k] slopes[k]."""
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=False):
        if weight:
            total = total.add(slope, alpha=weight)
    return total


def _largest(tolerance: float | Tensor) -> float:
    """Return the largest entry of a tolerance."""
    return float(tolerance.max()) if isinstance(tolerance, Tensor) else tolerance


def _rms(z: Tensor) -> Tensor:
    """Return the root mean square of each sample, (B,), float64 on the CPU."""
    return z.flatten(1).to(best_float(z.device)).square().mean(1).sqrt().cpu().double()


def _first_step(
    field: Field,
    r: Tensor,
    y: Tensor,
    slope: Tensor,
    distance: Tensor,
    rtol: float | Tensor,
    atol: float | Tensor,
    power: float,
) -> Tensor:
    """Return the first step size, (B,), from the sizes of y, y' and y'' (Hairer, Norsett & Wanner 1993, section II.4).

    `distance` is the distance from r to the end, (B,). The field is not evaluated beyond the end.
    """
    scale, sign, most = atol + rtol * y.abs(), distance.sign(), distance.abs().clamp(min=1e-300)
    d0, d1 = _rms(y / scale), _rms(slope / scale)
    h0 = torch.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1).minimum(most)
    probe = field(r + sign * h0, y + broadcast(sign * h0, y) * slope)
    d2 = _rms((probe - slope) / scale) / h0
    largest = torch.maximum(d1, d2)
    h1 = torch.where(largest <= 1e-15, (h0 * 1e-3).clamp(min=1e-6), (0.01 / largest) ** power)
    return torch.minimum(100 * h0, h1).minimum(most)
