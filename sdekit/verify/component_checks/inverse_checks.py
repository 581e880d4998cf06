"""Inverse problems: operators against their adjoint and singular values, methods against exact posteriors."""

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
from sdekit.verify.common.problems import PLANE, energy_distance
from sdekit.verify.common.report import Check, Finding, at_most, same, skip

SHAPES: tuple[tuple[int, ...], ...] = ((12,), (1, 8, 8), (3, 8, 8))
Build = Callable[..., Operator]
Restore = Callable[..., Guidance | Sampler]


def operator_checks(build: Build, *, quick: bool = False) -> list[Check]:
    """All checks of one operator, `build(shape, **options) -> Operator`, on each shape of data that it accepts.

    A shape that it does not serve, or a file that it needs, is one for which it raises InputError: it is skipped.
    """
    found = []
    for shape in SHAPES:
        name = "x".join(map(str, shape))
        laws: dict[str, tuple[str, Callable[[Operator], Finding]]] = {
            "shape": ("A: (B, *shape) to (B, *measured), in the dtype of x, each row by itself", measured),
            "adjoint": ("<A x, y> = <x, A* y>", adjoint),
            "singular values": ("A x = U diag(s) V^T x, V^T V = I", singular),
            "gradient": ("A can be differentiated, and is finite", differentiable),
        }
        found += [
            Check(f"{key}[{name}]", law, partial(_built, build, shape, check)) for key, (law, check) in laws.items()
        ]
    return found


def _built(build: Build, shape: tuple[int, ...], check: Callable[[Operator], Finding]) -> Finding:
    try:
        operator = build(shape)
    except InputError as error:
        return skip(str(error))
    return check(operator)


def _draw(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def measured(operator: Operator) -> Finding:
    """One sample, three samples, both dtypes."""
    for dtype in (torch.float32, torch.float64):
        x = _draw(3, *operator.shape, dtype=dtype)
        out = operator.apply(x)
        told, expected = f"{tuple(out.shape)} {out.dtype}", f"{(3, *operator.measured)} {dtype}"
        if told != expected:
            return Finding(False, told, expected, "it makes another shape or dtype than `measured` and x say")
        alone = torch.cat([operator.apply(row[None]) for row in x])
        off = float((alone - out).abs().max() / (1 + out.abs().max()))
        if not off < 1e-5:
            return at_most(off, 1e-5, "a row depends on the others", "relative difference ")
    return Finding(True, str(operator.measured), "(B, *measured)")


def adjoint(operator: Operator) -> Finding:
    """With random x and y, in float64."""
    if not isinstance(operator, LinearOperator):
        return skip("not linear, as it says")
    x, z = _draw(2, *operator.shape), _draw(2, *operator.measured)
    left = (operator.apply(x) * z).flatten(1).sum(1)
    right = (x * operator.adjoint(z)).flatten(1).sum(1)
    off = float(((left - right).abs() / (operator.apply(x).flatten(1).norm(dim=1) * z.flatten(1).norm(dim=1))).max())
    if off < 1e-9:
        check_linear(operator)
    return at_most(off, 1e-9, "`adjoint` is not the adjoint of `apply`, or A is not linear", "in parts of |A x| |y|, ")


def singular(operator: Operator) -> Finding:
    """A x, and the vectors' own lengths."""
    if not isinstance(operator, LinearOperator):
        return skip("not linear, as it says")
    svd, x = operator.svd(), _draw(2, *operator.shape)
    coefficients = svd.vt(x)
    off = float((svd.ut(operator.apply(x)) - svd.s.to(x) * coefficients).abs().max() / x.abs().max())
    again = float((svd.vt(svd.v(coefficients)) - coefficients).abs().max())
    return at_most(max(off, again), 1e-8, "`svd` is not the singular value decomposition of A", "difference ")


def differentiable(operator: Operator) -> Finding:
    """Guidances differentiate through it."""
    x = _draw(2, *operator.shape).requires_grad_()
    out = operator.apply(x)
    if not out.requires_grad:
        return Finding(False, "no gradient", "a gradient", "A is cut off from x: compute it with torch")
    (slope,) = torch.autograd.grad(out.square().sum(), x)
    fine = bool(slope.isfinite().all() and out.isfinite().all())
    return Finding(fine, "finite" if fine else "not finite", "finite", "a derivative of A is not finite")


NOISE, COUNT, STEPS = 0.2, 128, 30


def restorer_checks(method: Restore, *, quick: bool = False) -> list[Check]:
    """All checks of one method for inverse problems, `method(problem) -> Guidance | Sampler`.

    The problem: of `exact.PLANE`, one direction is measured, so that one component is left. Methods are approximate:
    all that is asked is that samples are much nearer to the exact posterior, and to the measurement, than the prior's.
    """
    found = [Check("builds", "method(problem) is a guidance or a sampler", partial(builds, method))]
    for name, sde in {"vp": VP(), "rectified-flow": RectifiedFlow()}.items():
        if quick and name != "vp":
            continue
        found += [
            Check(f"posterior[{name}]", "x_0 ~ p(x_0 | y), a mixture again", partial(nearer, method, sde)),
            Check(f"measurement[{name}]", "A x_0 = y, up to the noise", partial(fits, method, sde)),
            Check(f"batch[{name}]", "sample i is a function of seed i", partial(seeds, method, sde)),
        ]
    return found


def problem() -> Problem:
    """0.8 x_1 + 0.6 x_2 is measured."""
    operator = Matrix(torch.tensor([[0.8, 0.6]], dtype=torch.float64), (2,))
    return Problem(operator, torch.tensor([-1.2], dtype=torch.float64), NOISE)


def draw(method: Restore, sde: SDE, seeds: list[int]) -> Tensor:
    """Samples of x_0 given the measurement, (n, 2), float64."""
    given: dict[str, Any] = {"seeds": seeds, "steps": STEPS, "dtype": torch.float64}
    return restore(sde, PLANE.denoiser(sde), problem(), method(problem()), **given).x


def builds(method: Restore) -> Finding:
    """With its defaults."""
    made: Any = method(problem())
    kind = "a sampler" if isinstance(made, Sampler) else "a guidance" if callable(made) else type(made).__name__
    good = isinstance(made, Sampler) or callable(made)
    return Finding(good, kind, "a guidance or a sampler", "return `(sde, denoise) -> denoise`, or a Sampler")


def nearer(method: Restore, sde: SDE) -> Finding:
    """The energy distance to exact samples of the posterior, as a share of the prior's."""
    from sdekit.distributions import FullCovarianceMixture

    prior = FullCovarianceMixture(PLANE.means, torch.diag_embed(PLANE.variances), PLANE.log_weights.exp())
    given = problem()
    exact = prior.posterior(given.linear("verify"), given.measurement, NOISE).sample(2000, 3)
    far = energy_distance(PLANE.sample(2000, 4), exact)
    share = energy_distance(draw(method, sde, list(range(COUNT))), exact) / far
    return at_most(
        share, 0.8, "its samples are hardly nearer to the posterior than the prior's are", "of the prior's, "
    )


def fits(method: Restore, sde: SDE) -> Finding:
    """The root mean square of y - A x_0, as a share of the prior's."""
    given, x = problem(), draw(method, sde, list(range(COUNT)))
    off, prior = (float(given.residual(z).square().mean().sqrt()) for z in (x, PLANE.sample(2000, 4)))
    return at_most(off / prior, 0.65, "the measurement is hardly heeded", "of the prior's, ")


def seeds(method: Restore, sde: SDE) -> Finding:
    """Alone, and among others in another order."""
    whole = draw(method, sde, [0, 1, 2, 3])
    if whole.shape != (4, 2) or not whole.isfinite().all():
        return same(
            f"{tuple(whole.shape)}, finite: {bool(whole.isfinite().all())}", "(4, 2), finite: True", "bad samples"
        )
    off = max(
        float((draw(method, sde, [2])[0] - whole[2]).abs().max()),
        float((draw(method, sde, [3, 2, 1, 0]).flip(0) - whole).abs().max()),
    )
    return at_most(off, 1e-6, "a sample depends on its batch", "difference ")
