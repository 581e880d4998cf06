"""Checks of operators (adjoint, singular values, gradient) and of methods for inverse problems (exact posteriors)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import Problem, restore
from sdekit.inverse.operators import LinearOperator, Matrix, Operator, check_linear
from sdekit.processes import SDE, VP, RectifiedFlow
from sdekit.sampling import Sampler
from sdekit.verify.common.check_results import Check, Finding, at_most, same, skip
from sdekit.verify.common.problems import MIXTURE_2D, energy_distance

SHAPES: tuple[tuple[int, ...], ...] = ((12,), (1, 8, 8), (3, 8, 8))
Build = Callable[..., Operator]
Restore = Callable[..., Guidance | Sampler]


def operator_checks(build: Build, *, quick: bool = False) -> list[Check]:
    """Return all checks of one operator, for three shapes of data.

    The checks of a shape are skipped if the operator raises InputError, because it does not support the shape or
    needs a file.

    Arguments:
        build: Function `build(shape, **options)` that returns an operator.
        quick: Has no effect, because all checks are fast.
    """
    result = []
    for shape in SHAPES:
        name = "x".join(map(str, shape))
        laws: dict[str, tuple[str, Callable[[Operator], Finding]]] = {
            "shape": ("A x is (B, *measured) in the dtype of x; (A x)^i = A x^i", measured_shape),
            "adjoint": ("<A x, y> = <x, A* y>", adjoint),
            "singular values": ("A x = U diag(s) V^T x, V^T V = I", singular_values),
            "gradient": ("A is differentiable, and its gradient is finite", gradient),
        }
        result += [
            Check(f"{key}[{name}]", law, partial(_build_and_check, build, shape, check))
            for key, (law, check) in laws.items()
        ]
    return result


def _build_and_check(build: Build, shape: tuple[int, ...], check: Callable[[Operator], Finding]) -> Finding:
    """Build an operator and check it. Skip the check if building the operator raises InputError."""
    try:
        operator = build(shape)
    except InputError as error:
        return skip(str(error))
    return check(operator)


def _normal(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw standard normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def measured_shape(operator: Operator) -> Finding:
    """Check that A x has the declared shape and the dtype of x, and that each row depends only on the same row of x."""
    for dtype in (torch.float32, torch.float64):
        x = _normal(3, *operator.shape, dtype=dtype)
        out = operator.apply(x)
        measured, expected = f"{tuple(out.shape)} {out.dtype}", f"{(3, *operator.measured)} {dtype}"
        if measured != expected:
            cause = "the measurement has another shape or dtype than declared: correct `measured`, or keep x's dtype"
            return Finding(False, measured, expected, cause)
        rows = torch.cat([operator.apply(row[None]) for row in x])
        difference = float((rows - out).abs().max() / (1 + out.abs().max()))
        if not difference < 1e-5:
            cause = "a row depends on the other rows: do not combine rows of a batch"
            return at_most(difference, 1e-5, cause, "relative difference ")
    return Finding(True, str(operator.measured), "(B, *measured)")


def adjoint(operator: Operator) -> Finding:
    """Check that `adjoint` is the adjoint of `apply`, with random x and y in float64."""
    if not isinstance(operator, LinearOperator):
        return skip("the operator declares that it is not linear")
    x, z = _normal(2, *operator.shape), _normal(2, *operator.measured)
    left = (operator.apply(x) * z).flatten(1).sum(1)
    right = (x * operator.adjoint(z)).flatten(1).sum(1)
    scale = operator.apply(x).flatten(1).norm(dim=1) * z.flatten(1).norm(dim=1)
    error = float(((left - right).abs() / scale).max())
    if error < 1e-9:
        check_linear(operator)
    cause = "`adjoint` is not the adjoint of `apply`, or `apply` is not linear: correct one of them"
    return at_most(error, 1e-9, cause, "in units of |A x| |y|, ")


def singular_values(operator: Operator) -> Finding:
    """Check that `svd` reproduces A x, and that its right singular vectors are orthonormal."""
    if not isinstance(operator, LinearOperator):
        return skip("the operator declares that it is not linear")
    svd, x = operator.svd(), _normal(2, *operator.shape)
    coefficients = svd.vt(x)
    error = float((svd.ut(operator.apply(x)) - svd.s.to(x) * coefficients).abs().max() / x.abs().max())
    length_error = float((svd.vt(svd.v(coefficients)) - coefficients).abs().max())
    cause = "`svd` is not the singular value decomposition of A: check s, and the lengths of the singular vectors"
    return at_most(max(error, length_error), 1e-8, cause, "difference ")


def gradient(operator: Operator) -> Finding:
    """Check that A is differentiable with a finite gradient, which guidances need."""
    x = _normal(2, *operator.shape).requires_grad_()
    out = operator.apply(x)
    if not out.requires_grad:
        cause = "the measurement has no gradient: compute it with differentiable functions of torch"
        return Finding(False, "no gradient", "a gradient", cause)
    (slope,) = torch.autograd.grad(out.square().sum(), x)
    finite = bool(slope.isfinite().all() and out.isfinite().all())
    cause = "the gradient of A is not finite: avoid square roots and quotients of 0"
    return Finding(finite, "finite" if finite else "not finite", "finite", cause)


NOISE, COUNT, STEPS = 0.2, 128, 30


def restorer_checks(method: Restore, *, quick: bool = False) -> list[Check]:
    """Return all checks of one method for inverse problems.

    The test problem measures one direction of `MIXTURE_2D`, so that only one component remains likely. The methods are
    approximate. Their samples must be much closer to the exact posterior and to the measurement than prior samples are.

    Arguments:
        method: Function `method(problem)` that returns a guidance or a sampler.
        quick: Measure on one process instead of two.
    """
    result = [Check("builds", "method(problem) is a guidance or a sampler", partial(builds, method))]
    for name, sde in {"vp": VP(), "rectified-flow": RectifiedFlow()}.items():
        if quick and name != "vp":
            continue
        result += [
            Check(f"posterior[{name}]", "x_0 ~ p(x_0 | y), which is a mixture too", partial(posterior, method, sde)),
            Check(f"measurement[{name}]", "A x_0 = y, up to the noise", partial(measurement, method, sde)),
            Check(f"batch[{name}]", "sample i is a function of seed i", partial(batch, method, sde)),
        ]
    return result


def trial_problem() -> Problem:
    """Return the problem of measuring 0.8 x_1 + 0.6 x_2."""
    operator = Matrix(torch.tensor([[0.8, 0.6]], dtype=torch.float64), (2,))
    return Problem(operator, torch.tensor([-1.2], dtype=torch.float64), NOISE)


def draw(method: Restore, sde: SDE, seeds: list[int]) -> Tensor:
    """Draw samples of x_0 given the measurement, (n, 2), in float64."""
    options: dict[str, Any] = {"seeds": seeds, "steps": STEPS, "dtype": torch.float64}
    return restore(sde, MIXTURE_2D.denoiser(sde), trial_problem(), method(trial_problem()), **options).x


def builds(method: Restore) -> Finding:
    """Check that the method, with its default options, returns a guidance or a sampler."""
    result: Any = method(trial_problem())
    passed = isinstance(result, Sampler) or callable(result)
    kind = "a sampler" if isinstance(result, Sampler) else "a guidance" if passed else type(result).__name__
    cause = "the method returns neither: return a guidance `(sde, denoise) -> denoise`, or a Sampler"
    return Finding(passed, kind, "a guidance or a sampler", cause)


def posterior(method: Restore, sde: SDE) -> Finding:
    """Check that the energy distance of samples from the exact posterior is at most 0.8 times the prior's distance."""
    from sdekit.distributions import FullCovarianceMixture

    prior = FullCovarianceMixture(
        MIXTURE_2D.means, torch.diag_embed(MIXTURE_2D.variances), MIXTURE_2D.log_weights.exp()
    )
    problem = trial_problem()
    exact = prior.posterior(problem.linear("verify"), problem.measurement, NOISE).sample(2000, 3)
    prior_distance = energy_distance(MIXTURE_2D.sample(2000, 4), exact)
    share = energy_distance(draw(method, sde, list(range(COUNT))), exact) / prior_distance
    cause = "the samples are hardly closer to the posterior than the prior is: check the sign and size of the guidance"
    return at_most(share, 0.8, cause, "relative to the prior, ")


def measurement(method: Restore, sde: SDE) -> Finding:
    """Check that the root mean square of y - A x_0 is at most 0.65 times the value for samples of the prior."""
    problem, x = trial_problem(), draw(method, sde, list(range(COUNT)))
    residual, prior = (float(problem.residual(z).square().mean().sqrt()) for z in (x, MIXTURE_2D.sample(2000, 4)))
    cause = "the samples hardly agree with the measurement: check the sign and size of the guidance"
    return at_most(residual / prior, 0.65, cause, "relative to the prior, ")


def batch(method: Restore, sde: SDE) -> Finding:
    """Check that a sample does not depend on the other samples of its batch or on their order."""
    whole = draw(method, sde, [0, 1, 2, 3])
    if whole.shape != (4, 2) or not whole.isfinite().all():
        measured = f"{tuple(whole.shape)}, finite: {bool(whole.isfinite().all())}"
        return same(measured, "(4, 2), finite: True", "the samples have a wrong shape or are not finite")
    difference = max(
        float((draw(method, sde, [2])[0] - whole[2]).abs().max()),
        float((draw(method, sde, [3, 2, 1, 0]).flip(0) - whole).abs().max()),
    )
    cause = "a sample depends on its batch: do not combine rows of a batch"
    return at_most(difference, 1e-6, cause, "difference ")
