"""Linear multistep methods on the probability flow: all coefficients of a grid in one go, then a loop of two lines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from sdekit.errors import InputError
from sdekit.processes import LARGEST_RHO, SDE, Denoiser, FlowCoordinates
from sdekit.sampling import Noise, Sampler, kept

Variable = Callable[[Tensor], Tensor]
"""A strictly monotone function of rho, in (0, inf), elementwise: the variable in which a polynomial is drawn."""
LEAP = 3.0
"""A last step so many times as long as the one before it, in warp(rho), and over 1 in log rho, as on grids in t, is
DDIM's: a polynomial drawn on that far multiplies what the q's are apart, by ten and more."""
Start = Literal["plain", "corrected"]
"""How a method of several steps begins: see `adams`."""


@dataclass(frozen=True)
class IntegralForm:
    """The probability flow at the times of a grid as dy/dc = q, a pure integral: y = x / scale, q = of_x x + of_x0 x_0.

    All tensors are (n + 1,), float64, on the CPU; the clock c runs monotonously and stays finite where alpha is 0.
    rho: sigma / alpha, or infinite where alpha is as good as 0. rho_at: rho for any c between. Two frames cover the
    literature: `data_frame` integrates x_0 (Lu et al. 2022b, section 4), `noise_frame` the noise (Zhang & Chen 2023).
    """

    scale: Tensor
    clock: Tensor
    of_x: Tensor | None
    of_x0: Tensor | None
    rho: Tensor
    rho_at: Callable[[Tensor], Tensor]

    @cached_property
    def quadrature(self) -> tuple[Tensor, Tensor]:
        """rho at the points of each interval of the clock, and their measure, (n, Q) each."""
        point, measure = _quadrature(self.clock)
        return self.rho_at(point), measure


def data_prediction(sde: SDE, times: Tensor) -> IntegralForm:
    """y = x / sigma and c = 1 / rho, in which dy/dc = x_0: exponential integrators of the denoiser, exactly.

    Equal to DPM-Solver++'s integral of x_0 against e^lambda (Lu et al. 2022b, eq. 8), with no logarithm to blow up.
    """
    alpha = sde.alpha(times)
    sigma = sde.sigma(times)
    clock = alpha / sigma
    return IntegralForm(sigma, clock, None, None, _rho(sigma, alpha), torch.reciprocal)


def noise_prediction(sde: SDE, times: Tensor) -> IntegralForm:
    """y = x / alpha and c = rho, in which dy/dc = eps; where alpha vanishes, the coordinates of `Line` with k = 1.

    Source: Zhang & Chen 2023 (DEIS), eq. 11; Karras et al. 2022, eq. 4.
    """
    line = FlowCoordinates.edm(sde)
    scale, sigma = line.scale(times), sde.sigma(times)
    # eps - k x_0 with eps = (x - alpha x_0) / sigma
    return IntegralForm(scale, sigma / scale, 1 / sigma, -scale / sigma, _rho(sigma, sde.alpha(times)), line.rho)


def polynomial_weights(frame: IntegralForm, warp: Variable, order: int, *, ahead: bool = False) -> Tensor:
    """Weight of each q in y_{i+1} - y_i, (n, order): column j belongs to q_{i-j}, or to q_{i+1-j} if `ahead`.

    They integrate the polynomial in warp(rho) through the newest q's: Adams-Bashforth, or Adams-Moulton if `ahead`,
    for any spacing. The first steps, where fewer q's are known, use those: columns of unknown ones are 0. So too a last
    step that is a leap (`LEAP`).
    """
    at = nodes(frame, warp).numpy()  # numpy: hundreds of tiny operations, at a third of torch's cost
    known = np.arange(len(at) - 1)[:, None] + int(ahead) - np.arange(order)  # (n, order): index of each q
    u, valid = at[known.clip(min=0)], known >= 0
    gap = np.abs(np.diff(at))
    if not ahead and len(gap) > 2 and gap[-1] > LEAP * gap[-2] and frame.rho[-2] > torch.e * frame.rho[-1]:
        valid[-1, 1:] = False
    rho, measure = frame.quadrature
    point = warp(rho).numpy()  # (n, Q)
    # Lagrange: over the other nodes m that there are, the product of (p - u_m) / (u_j - u_m)
    pair = valid[:, :, None] & valid[:, None, :] & ~np.eye(order, dtype=bool)
    gaps = np.where(pair, u[:, :, None] - u[:, None, :], 1.0).prod(2)
    away = list(np.where(valid.T[..., None], point - u.T[..., None], 1.0))  # order times (n, Q)
    before = accumulate([measure.numpy(), *away[:-1]], np.multiply)
    after = [*accumulate([np.ones_like(point), *away[:0:-1]], np.multiply)][::-1]
    integrals = [(b * a).sum(1) for b, a in zip(before, after, strict=True)]
    return torch.from_numpy(np.stack(integrals, 1) / gaps * valid)


def nodes(frame: IntegralForm, warp: Variable) -> Tensor:
    """warp(rho) at the frame's times, (n + 1,), where the q's stand as nodes; the first is finite at rho = inf too.

    Where warp has no limit, rho is taken as at least e times the second one: x_0 is a + b / rho up there, and its
    slope in log rho at the second is its difference from a, over log e.
    """
    values = warp(frame.rho)
    if values[0].isfinite() or len(values) < 2:
        return values
    first = (torch.e * frame.rho[1:2]).clamp(min=LARGEST_RHO)
    return torch.cat([warp(first), values[1:]])


@dataclass(frozen=True)
class MultistepCoefficients:
    """A whole run: y_{i+1} = y_i + sum_j weights[i, j] q_{i-j}, weights (n, k), on the frame's n + 1 times.

    corrector: (n, m), column j for q_{i+1-j}: once q at the new time is known, the step that led there is repeated
    with it, at no further call (Zhao et al. 2023, UniC). A row of zeros repeats nothing, nor has the last step a later
    call to learn from.
    """

    frame: IntegralForm
    weights: Tensor
    corrector: Tensor | None = None

    def merged(self) -> Tensor:
        """The weights with which each step also mends the one before it, (n, k + 1 or more): no step is made twice.

        What the corrector adds to y_i in place of the predictor is a sum over the same q's as the next step's.
        """
        if self.corrector is None or not self.corrector.any():
            return self.weights
        k, m = self.weights.shape[1], self.corrector.shape[1]
        width = max(k + 1, m)
        repeated = self.corrector[:-1].any(1, keepdim=True)
        mended = pad(self.corrector, (0, width - m)) - pad(self.weights, (1, width - k - 1))
        result = pad(self.weights, (0, width - k))
        result[1:] += mended[:-1] * repeated
        return result

    @cached_property
    def table(self) -> tuple[list[float], list[list[float]], list[float] | None]:
        """As numbers, a row a step: of x_t in x_s, of the q's in x_s; of x_0 in q, where q holds x as well.

        There, q is divided by its part of x, so that it takes one operation; the weights make up for that.
        """
        frame, rows = self.frame, self.frame.scale[1:, None] * self.merged()
        keep = (frame.scale[1:] / frame.scale[:-1]).tolist()
        if frame.of_x is None or frame.of_x0 is None:
            return keep, rows.tolist(), None
        n, width = rows.shape
        behind = (torch.arange(n)[:, None] - torch.arange(width)).clamp(min=0)
        return keep, (rows * frame.of_x[behind]).tolist(), (frame.of_x0 / frame.of_x).tolist()

    def run(self, denoise: Denoiser, x: Tensor, times: Tensor) -> Iterator[Tensor]:
        """x (B, *) at times[0] to x at times[1:], one after the other, each as predicted: where q is taken."""
        keep, rows, of_x0 = self.table
        past = list[Tensor]()
        for i, t in enumerate(times[:-1].unbind()):
            q = denoise(x, t)
            if of_x0 is not None:
                q = x.add(q, alpha=of_x0[i])
            past = [q, *past[: len(rows[0]) - 1]]
            yield (x := add_weighted(x * keep[i], rows[i], past))


def add_weighted(x: Tensor, weights: list[float], past: list[Tensor]) -> Tensor:
    """x + sum_j weights[j] past[j], (B, *), in x's memory; what is longer of the two lists is cut."""
    for weight, q in zip(weights, past, strict=False):
        if weight:
            x.add_(q, alpha=weight)
    return x


def adams_bashforth(frame: IntegralForm, warp: Variable, order: int, start: Start = "plain") -> MultistepCoefficients:
    """Adams-Bashforth in warp(rho), whose first steps use the 1, 2, ... q's that there are.

    The very first is DDIM, with a local error of second order, which is what remains of any order in the end unless x
    starts at high noise, where q hardly changes. start="corrected" repeats the steps of the start with the q that
    they led to: then third order remains, at no further call. From rho = inf there is `landing` in any case.
    """
    known = polynomial_weights(frame, warp, order)
    first = first_step_corrector(frame) if order > 2 else None
    if order < 3 or start == "plain":
        return MultistepCoefficients(frame, known, first)
    corrector = polynomial_weights(frame, warp, order, ahead=True)
    corrector[order - 1 :] = 0
    if first is not None:
        corrector[0, :2] = first[0]
    return MultistepCoefficients(frame, known, corrector)


def first_step_corrector(frame: IntegralForm) -> Tensor | None:
    """A corrector (n, 2) of the first step alone where that comes down from rho = inf, else None.

    Grids in rho never make that step small, and no publication starts there. q is linear in the clock up there.
    """
    if frame.rho[0].isfinite():
        return None
    corrector = torch.zeros(len(frame.clock) - 1, 2, dtype=torch.float64)
    corrector[0] = frame.clock[:2].diff() / 2
    return corrector


def check_start(sampler: str, start: str) -> None:
    """InputError, naming the sampler, for a start that `adams` does not know."""
    if start not in get_args(Start):
        raise InputError(f"{sampler}: start must be 'plain' or 'corrected', got {start!r}")


class Multistep(Sampler):
    """A sampler that is a plan: one call a step, made from the coefficients of the whole grid."""

    calls_per_step = 1

    @abstractmethod
    def plan(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        """All coefficients for the times (n + 1,), decreasing, float64, on the CPU; n >= 1."""

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if len(times) > 1:
            yield from kept(self.plan, sde, times).run(denoise, x, times)


def _rho(sigma: Tensor, alpha: Tensor) -> Tensor:
    """sigma / alpha, the first one infinite where grids in rho leap down from it (alpha is 0, or as good as)."""
    rho = sigma / alpha
    if len(rho) > 1 and rho[0] > (torch.e * rho[1]).clamp(min=LARGEST_RHO):
        rho[0] = torch.inf
    return rho


@cache
def _gauss_legendre(n: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on (0, 1), (n,) each."""
    from numpy.polynomial.legendre import leggauss

    node, weight = (torch.from_numpy(v) for v in leggauss(n))
    return (node + 1) / 2, weight / 2


def _quadrature(clock: Tensor, n: int = 24) -> tuple[Tensor, Tensor]:
    """Points of c in each interval of the clock and their measure, (n, Q) each, by Gauss-Legendre in c^(1/4).

    The root resolves intervals whose ends differ by orders of magnitude, and integrands like log c down to c = 0.
    """
    node, weight = _gauss_legendre(n)
    z = clock.sqrt().sqrt()
    start, length = z[:-1, None], z.diff()[:, None]
    point = start + length * node
    cube = point * point * point
    return cube * point, 4 * cube * length * weight
