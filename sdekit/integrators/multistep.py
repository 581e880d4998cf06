"""Linear multistep methods on the probability flow, for any spacing of the grid.

In the variables of an `IntegralForm` the probability flow is a pure integral, y_s = y_t + int q dc. A multistep method
replaces q by the polynomial through its last values q_i, q_{i-1}, ... at the times of the grid. The argument of the
polynomial is some function of the noise level, a `Variable`. Integrating this polynomial gives weights that depend only
on the grid:

    y_{i+1} = y_i + sum_j w_ij q_{i-j}.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.processes import LARGEST_RHO, SDE, Denoiser
from sdekit.sampling import Noise, Sampler

Variable = Callable[[Tensor], Tensor]
"""Elementwise, strictly monotone function of rho in (0, inf), which is the argument of the polynomial."""
LONGEST_LAST_STEP = 3.0
"""Largest ratio of the lengths of the last two steps, measured in the variable, at which the last step extrapolates. A
longer last step that is also longer than 1 in log rho, as on grids in t, uses q_i alone, because extrapolation would
multiply the differences of the q's by ten."""
Start = Literal["plain", "corrected"]
"""How a multistep method starts: see `adams_bashforth`."""


@dataclass(frozen=True)
class IntegralForm:
    """Probability flow at the times of a grid as dy/dc = q, with y = x / scale.

    Arguments:
        scale: Ratio x / y at the times, (n + 1,), float64.
        c: Variable of integration at the times, (n + 1,), monotone, and finite even where alpha is 0.
        rho: sigma / alpha at the times, (n + 1,), see `grid_rho`.
        rho_at: Function that returns rho for any values of c.
        q_weights: Weights of x and x_0 in q, (n + 1,) each; None if q = x_0.
    """

    scale: Tensor
    c: Tensor
    rho: Tensor
    rho_at: Callable[[Tensor], Tensor]
    q_weights: tuple[Tensor, Tensor] | None = None

    def coefficients(self, weights: Tensor, corrector: Tensor | None = None) -> MultistepCoefficients:
        """Return the coefficients in x of y_{i+1} = y_i + sum_j weights[i, j] q_{i-j}.

        Arguments:
            weights: Weights of the q's in each step, (n, k), the newest first.
            corrector: Weights of q_{i+1}, q_i, ... in the corrected step, (n, m); a step with a row of zeros is not
                corrected.
        Returns:
            Coefficients of the run.
        """
        scale = self.scale[1:, None]
        corrector = None if corrector is None else scale * corrector
        return MultistepCoefficients(
            self.scale[1:] / self.scale[:-1], scale * weights, corrector, q_weights=self.q_weights
        )


def data_prediction(sde: SDE, times: Tensor) -> IntegralForm:
    """Return the integral form of exponential integrators: y = x / sigma, c = alpha / sigma, dy/dc = x_0.

    This is the integral of e^lambda x_0 over lambda = -log rho, written without the logarithm, which is infinite if
    alpha is 0.

    Arguments:
        sde: Process.
        times: Grid, (n + 1,), decreasing, float64, on the CPU.
    Returns:
        The form at these times.
    Source:
        Lu et al. 2022b (DPM-Solver++), eq. 8.
    """
    alpha, sigma = sde.alpha(times), sde.sigma(times)
    return IntegralForm(sigma, alpha / sigma, grid_rho(sde, times), torch.reciprocal)


def noise_prediction(sde: SDE, times: Tensor) -> IntegralForm:
    """Return the integral form y = x / alpha, c = rho, dy/dc = eps.

    If alpha vanishes at t_max, the coordinates of `FlowCoordinates` with k = 1 replace x / alpha and rho, and
    q = eps - x_0.

    Arguments:
        sde: Process.
        times: Grid, (n + 1,), decreasing, float64, on the CPU.
    Returns:
        The form at these times.
    Source:
        Zhang & Chen 2023 (DEIS), eq. 11; Karras et al. 2022, eq. 4.
    """
    from sdekit.processes import FlowCoordinates

    flow = FlowCoordinates.edm(sde)
    scale, sigma = flow.scale(times), sde.sigma(times)
    # eps - k x_0 with eps = (x - alpha x_0) / sigma and scale = alpha + k sigma
    return IntegralForm(scale, sigma / scale, grid_rho(sde, times), flow.rho, (1 / sigma, -scale / sigma))


def grid_rho(sde: SDE, times: Tensor) -> Tensor:
    """Return rho = sigma / alpha at the times of a grid; the first value is inf if alpha is almost 0 there.

    "Almost" means that rho is above `LARGEST_RHO` and more than e times the next rho, so that the grid has no times
    between these two noise levels.

    Arguments:
        sde: Process.
        times: Grid, (n + 1,), decreasing, float64, on the CPU.
    Returns:
        rho, (n + 1,).
    """
    rho = sde.sigma(times) / sde.alpha(times)
    if len(rho) > 1 and rho[0] > (torch.e * rho[1]).clamp(min=LARGEST_RHO):
        rho[0] = torch.inf
    return rho


def nodes(rho: Tensor, variable: Variable) -> Tensor:
    """Return the variable at the times of a grid, with a finite value even at rho = inf.

    If the variable is infinite at the first time, the first rho is replaced by e times the second rho, but at least by
    `LARGEST_RHO`. At such noise levels x_0 is a + b / rho, and the slope of x_0 in log rho is the difference of x_0 and
    a, divided by log e.

    Arguments:
        rho: sigma / alpha at the times, (n + 1,), from `grid_rho`.
        variable: Function of rho.
    Returns:
        Values of the variable, (n + 1,).
    """
    values = variable(rho)
    if values[0].isfinite() or len(values) < 2:
        return values
    first = (torch.e * rho[1:2]).clamp(min=LARGEST_RHO)
    return torch.cat([variable(first), values[1:]])


def polynomial_weights(form: IntegralForm, variable: Variable, order: int, *, implicit: bool = False) -> Tensor:
    """Integrate the polynomial in `variable` through the newest q's over each step.

    With u = variable(rho), the weight of a q at node u_j is the integral over c of its Lagrange basis polynomial,
    the product of (u - u_m) / (u_j - u_m) over the other nodes u_m. The first steps use only the q's that are known;
    the other weights are 0. A last step that is too long (`LONGEST_LAST_STEP`) uses q_i alone.

    Arguments:
        form: Integral form of the flow on the grid.
        variable: Variable of the polynomial.
        order: Number of q's, at least 1.
        implicit: Whether the newest q is at the end of the step (Adams-Moulton) instead of its start (Adams-Bashforth).
    Returns:
        Weights (n, order); column j belongs to q_{i-j}, or to q_{i+1-j} if implicit.
    """
    u = nodes(form.rho, variable).numpy()  # numpy, since small operations take a third of torch's time
    n = len(u) - 1
    index = np.arange(n)[:, None] + int(implicit) - np.arange(order)  # (n, order): index of each q
    known = index >= 0
    step = np.abs(np.diff(u))
    if not implicit and n > 1 and step[-1] > LONGEST_LAST_STEP * step[-2] and form.rho[-2] > torch.e * form.rho[-1]:
        known[-1, 1:] = False
    u_j = u[index.clip(min=0)]
    point, measure = _quadrature(form.c)
    u_c = variable(form.rho_at(point)).numpy()  # (n, Q)
    weights = np.zeros((n, order))
    for j in range(order):
        basis = measure.numpy()
        for m in range(order):
            if m != j:
                both = known[:, j] & known[:, m]
                gap = np.where(both, u_j[:, j] - u_j[:, m], 1.0)
                basis = basis * np.where(both[:, None], (u_c - u_j[:, m, None]) / gap[:, None], 1.0)
        weights[:, j] = basis.sum(1) * known[:, j]
    return torch.from_numpy(weights)


def adams_bashforth(
    form: IntegralForm, variable: Variable, order: int, start: Start = "plain"
) -> MultistepCoefficients:
    """Return the coefficients of the Adams-Bashforth method in a variable; its first steps use 1, 2, ... q's.

    The first step is a DDIM step. Its local error is of second order, which limits the whole method to second order
    unless x starts at a high noise level, where q hardly changes. start="corrected" repeats the first steps with the
    values of q at their ends, which restores third order without further network calls. A first step from rho = inf is
    always corrected.

    Arguments:
        form: Integral form of the flow on the grid.
        variable: Variable in which q is a polynomial.
        order: Number of q's, at least 1.
        start: "plain" or "corrected".
    Returns:
        Coefficients of the run.
    """
    weights = polynomial_weights(form, variable, order)
    first = first_step_corrector(form) if order > 2 else None
    if order < 3 or start == "plain":
        return form.coefficients(weights, first)
    corrector = polynomial_weights(form, variable, order, implicit=True)
    corrector[order - 1 :] = 0
    if first is not None:
        corrector[0, :2] = first[0]
    return form.coefficients(weights, corrector)


def first_step_corrector(form: IntegralForm) -> Tensor | None:
    """Return the trapezoidal corrector of a first step from rho = inf, where q is linear in c; None for another grid.

    A grid that is spaced in rho cannot make this step small, and no publication starts at rho = inf.

    Arguments:
        form: Integral form of the flow on the grid.
    Returns:
        Weights (n, 2) of q_{i+1} and q_i, 0 except in the first row, or None.
    """
    if form.rho[0].isfinite():
        return None
    corrector = torch.zeros(len(form.c) - 1, 2, dtype=torch.float64)
    corrector[0] = form.c[:2].diff() / 2
    return corrector


def check_start(sampler: str, start: str) -> None:
    """Check the option `start` of a sampler.

    Arguments:
        sampler: Registered name, for the message.
        start: Value of the option.
    Raises:
        InputError: If `start` is neither "plain" nor "corrected".
    """
    if start not in get_args(Start):
        raise InputError(f"{sampler}: start must be 'plain' or 'corrected', got {start!r}")


@dataclass(frozen=True)
class MultistepCoefficients:
    """Coefficients of all n steps of a multistep method on a grid.

        x_{i+1} = x_weights[i] x_i + sum_j weights[i, j] q_{i-j} + noise_weights[i] z_i

    Arguments:
        x_weights: Weight of x at the start of the step, (n,), float64.
        weights: Weights of q_i, q_{i-1}, ..., (n, k).
        corrector: Weights of q_{i+1}, q_i, ..., (n, m), or None. As soon as q_{i+1} is known, step i is repeated with
            these weights and the same noise, without a further call (Zhao et al. 2023, UniC). A step with a row of
            zeros is not repeated. The last step is never repeated.
        noise_weights: Weight of new standard normal noise, (n,); None for a deterministic method.
        q_weights: Weights of x and x_0 in q, (n + 1,) each; None if q = x_0.
    """

    x_weights: Tensor
    weights: Tensor
    corrector: Tensor | None = None
    noise_weights: Tensor | None = None
    q_weights: tuple[Tensor, Tensor] | None = None

    def run(self, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        """Yield the predicted x at times[1:], where q is then evaluated.

        Arguments:
            denoise: Denoiser.
            x: State at times[0], (B, *).
            times: Grid, (n + 1,).
            noise: Source of noise, called only in steps with a noise weight that is not 0.
        Yields:
            State at the next time, (B, *).
        """
        x_weights, weights, n = self.x_weights.tolist(), self.weights.tolist(), len(times) - 1
        corrector = [] if self.corrector is None else self.corrector.tolist()
        noise_weights = [0.0] * n if self.noise_weights is None else self.noise_weights.tolist()
        of_x, of_x0 = ([], []) if self.q_weights is None else (w.tolist() for w in self.q_weights)
        most = max(map(len, weights + corrector))
        past, base = list[Tensor](), x
        for i, (t, s) in enumerate(pairwise(times.unbind())):
            x0 = denoise(x, t)
            q = (x * of_x[i]).add_(x0, alpha=of_x0[i]) if of_x else x0
            past = [q, *past[: most - 1]]
            if i and corrector and any(corrector[i - 1]):
                x = weighted_sum(base, corrector[i - 1], past)
            base = x * x_weights[i]
            if noise_weights[i]:
                base = base.add_(noise(t, s), alpha=noise_weights[i])
            x = weighted_sum(base, weights[i], past)
            yield x


def weighted_sum(x: Tensor, weights: list[float], terms: list[Tensor]) -> Tensor:
    """Return x + sum_j weights[j] terms[j]; the longer list is cut to the length of the shorter one.

    Arguments:
        x: First term, (B, *).
        weights: Weights; a term of weight 0 is left out.
        terms: Further terms, (B, *) each.
    Returns:
        The sum, (B, *).
    """
    total = x
    for weight, term in zip(weights, terms, strict=False):
        if weight:  # the first sum is a new tensor, so that x is not changed
            total = x.add(term, alpha=weight) if total is x else total.add_(term, alpha=weight)
    return total


class Multistep(Sampler):
    """Base class of multistep methods: one network call per step, and coefficients for the whole grid."""

    @abstractmethod
    def coefficients(self, sde: SDE, times: Tensor) -> MultistepCoefficients:
        """Return the coefficients of all steps.

        Arguments:
            sde: Process.
            times: Grid, (n + 1,) with n >= 1, decreasing, float64, on the CPU.
        Returns:
            Coefficients of n steps.
        """

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if len(times) > 1:
            yield from self.coefficients(sde, times).run(denoise, x, times, noise)


@cache
def _gauss_legendre(n: int) -> tuple[Tensor, Tensor]:
    """Return the nodes and weights of Gauss-Legendre quadrature on (0, 1), (n,) each."""
    from numpy.polynomial.legendre import leggauss

    node, weight = (torch.from_numpy(v) for v in leggauss(n))
    return (node + 1) / 2, weight / 2


def _quadrature(c: Tensor, n: int = 24) -> tuple[Tensor, Tensor]:
    """Return points in each interval of c and their weights, (n, Q) each, by Gauss-Legendre quadrature in c^(1/4).

    The fourth root makes the quadrature accurate if the ends of an interval differ by orders of magnitude, and for
    integrands such as log c down to c = 0.
    """
    node, weight = _gauss_legendre(n)
    z = c.sqrt().sqrt()
    start, length = z[:-1, None], z.diff()[:, None]
    point = start + length * node
    cube = point * point * point
    return cube * point, 4 * cube * length * weight
