"""Checks of operators (adjoint, singular values, gradient) and of methods for inverse problems (exact posteriors)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import Problem, restore
from sdekit.inverse.operators import LinearOperator, Matrix, Operator, check_linear
from sdekit.processes import SDE, VP, Denoiser, RectifiedFlow
from sdekit.sampling import Sampler
from sdekit.verify.common.check_results import Check, Finding, at_most, same, skip
from sdekit.verify.common.problems import MIXTURE_2D, energy_distance
from sdekit.verify.common.side_effects import changed_globals

from .network_checks import strided

SHAPES: tuple[tuple[int, ...], ...] = ((12,), (1, 8, 12), (3, 8, 8))
ROWS = 7
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
            "adjoint": ("<A x, y> = <x, A* y>; A(c x) = c A x", adjoint),
            "singular values": ("U^T A = S V^T, V^T A* = S U^T, V^T V = I, A (I - V V^T) = 0, s >= 0", singular_values),
            "gradient": ("<w, A(x + h v) - A(x - h v)> / 2h = <dA* w, v>; finite at x = 0", gradient),
            "measurement": ("check(A x) = A x; count is the number of measured numbers", measurement_form),
        }
        repeated = partial(repeatable, build, shape)
        result.append(Check(f"repeatable[{name}]", "build(shape)(x) = build(shape)(x)", repeated))
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
        x = _normal(ROWS, *operator.shape, dtype=dtype)
        copy, out = x.clone(), operator.apply(x)
        measured, expected = f"{tuple(out.shape)} {out.dtype}", f"{(ROWS, *operator.measured)} {dtype}"
        if measured != expected:
            cause = "the measurement has another shape or dtype than declared: correct `measured`, or keep x's dtype"
            return Finding(False, measured, expected, cause)
        if not torch.equal(x, copy):
            return Finding(False, "changed", "unchanged", "apply() changes x in place: compute a new tensor")
        if dtype == torch.float64 and out.any() and torch.equal(out, out.float().double()):
            cause = "the measurement is rounded to float32: compute in the dtype of x"
            return Finding(False, "rounded", "float64", cause)
        others = {
            "a row depends on the other rows: do not combine rows of a batch": [operator.apply(row[None]) for row in x],
            "the result depends on the strides of x: use reshape() in place of view()": [operator.apply(strided(x))],
        }
        for cause, rows in others.items():
            difference = float((torch.cat(rows) - out).abs().max() / (1 + out.abs().max()))
            if not difference < 1e-5:
                return at_most(difference, 1e-5, cause, "relative difference ")
    return Finding(True, str(operator.measured), "(B, *measured)")


def repeatable(build: Build, shape: tuple[int, ...]) -> Finding:
    """Check that an operator built twice measures the same, for other global seeds too, and changes no global state."""
    x, results, names = _normal(2, *shape), [], []
    for seed in (1, 2):
        try:
            with changed_globals(seed=seed) as changed:
                operator = build(shape)
                results += [operator.apply(x), operator.apply(x)]
        except InputError as error:
            return skip(str(error))
        names += changed
        if tuple(operator.shape) != tuple(shape):
            cause = "`shape` is not the shape of the samples: store the argument"
            return Finding(False, str(tuple(operator.shape)), str(tuple(shape)), cause)
    if not all(torch.equal(result, results[0]) for result in results):
        cause = "the same x gives another measurement: draw random choices from a generator with a fixed seed, once"
        return Finding(False, "another measurement", "the same", cause)
    cause = f"the operator changes {' and '.join(names[:2])}: use a generator of its own"
    return same(", ".join(names[:2]) or "unchanged", "unchanged", cause)


def adjoint(operator: Operator) -> Finding:
    """Check that `apply` is linear and `adjoint` its adjoint, for single rows, batches, and small and large numbers."""
    if not isinstance(operator, LinearOperator):
        return skip("the operator declares that it is not linear")
    x, y = _normal(ROWS, *operator.shape), _normal(ROWS, *operator.measured)
    ax, back = operator.apply(x), operator.adjoint(y.clone())
    if back.shape != x.shape or back.dtype != y.dtype:
        cause = "A* y does not have the shape of x or the dtype of y: correct adjoint()"
        return Finding(False, f"{tuple(back.shape)} {back.dtype}", f"{tuple(x.shape)} {y.dtype}", cause)
    left, right = (ax * y).flatten(1).sum(1), (x * back).flatten(1).sum(1)
    scale = ax.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1)
    error = float(((left - right).abs() / scale.clamp(min=1e-300)).max())
    cause = "`adjoint` is not the adjoint of `apply`, or `apply` is not linear: correct one of them"
    if error < 1e-9:
        check_linear(operator)
        norms = ax.norm().clamp(min=1e-300)
        errors = [(operator.apply(c * x) / c - ax).norm() / norms for c in (1e-6, -1e6)]
        error, cause = float(max(errors)), "`apply` is not linear for very small or large x: remove limits and offsets"
    if error < 1e-9:
        copy = y.clone()
        rows = torch.cat([operator.adjoint(copy[i : i + 1]) for i in range(ROWS)])
        error = float((rows - back).abs().max() / (1e-300 + back.abs().max()))
        cause = "a row of A* y depends on the other rows: do not combine rows of a batch"
        if not torch.equal(copy, y):
            return Finding(False, "changed", "unchanged", "adjoint() changes y in place: compute a new tensor")
    return at_most(error, 1e-9, cause, "relative error ")


def singular_values(operator: Operator) -> Finding:
    """Check that `svd` is the singular value decomposition: U^T and V^T on any y and x, the rest of x, and s >= 0."""
    if not isinstance(operator, LinearOperator):
        return skip("the operator declares that it is not linear")
    svd, x, y = operator.svd(), _normal(3, *operator.shape), _normal(3, *operator.measured)
    s, c = svd.s.to(x), svd.vt(x)
    scale = 1e-300 + float(s.abs().max())
    unit, rest = svd.v(c), x - svd.v(c)
    errors = {
        "s contains negative numbers: move the sign to U": float((-s).clamp(min=0).max()) / scale,
        "U^T A x is not s V^T x": float((svd.ut(operator.apply(x)) - s * c).abs().max()) / scale,
        "V^T A* y is not s U^T y, for y outside the range of A": (
            float((svd.vt(operator.adjoint(y)) - s * svd.ut(y)).abs().max()) / scale
        ),
        "the columns of V are not orthonormal": float((svd.vt(unit) - c).abs().max()),
        "V^T is not the transpose of V": abs(float((rest * unit).sum())) / x.numel(),
        "A does not vanish outside the span of V: add the missing singular vectors": (
            float(operator.apply(rest).abs().max()) / scale
        ),
        "a row depends on the other rows": float((svd.vt(x[1:2]) - c[1:2]).abs().max()),
    }
    if svd.v(c).dtype != x.dtype or c.dtype != x.dtype:
        return Finding(False, str(c.dtype), str(x.dtype), "V or V^T changes the dtype: keep that of the argument")
    worst = max(errors, key=lambda law: errors[law] if errors[law] == errors[law] else float("inf"))
    cause = f"`svd` is not the singular value decomposition of A: {worst}"
    return at_most(errors[worst], 1e-8, cause, "relative error ")


def gradient(operator: Operator) -> Finding:
    """Check that A has the gradient that finite differences give, and a finite one at x = 0, which guidances need."""
    x, v = (z[None] for z in _normal(2, *operator.shape))
    w = _normal(1, *operator.measured) + 2
    slopes: list[Tensor] = []
    for z in (x, torch.zeros_like(x)):
        z = z.clone().requires_grad_()
        out = operator.apply(z)
        if not out.requires_grad:
            cause = "the measurement has no gradient: compute it with differentiable functions of torch"
            return Finding(False, "no gradient", "a gradient", cause)
        slopes += torch.autograd.grad((out * w).sum(), z)
        if not out.isfinite().all() or not slopes[-1].isfinite().all():
            cause = "the gradient of A is not finite: avoid square roots and quotients of 0"
            return Finding(False, "not finite", "finite", cause)
    h = 1e-6
    expected = float(((operator.apply(x + h * v) - operator.apply(x - h * v)) * w).sum() / (2 * h))
    error = abs(float((slopes[0] * v).sum()) - expected) / (1 + float(slopes[0].norm() * v.norm()))
    cause = "the gradient of A is not its derivative: remove detach() and custom gradients"
    return at_most(error, 1e-4, cause, "relative difference ")


def measurement_form(operator: Operator) -> Finding:
    """Check that `check` accepts and keeps A x, and refuses other shapes, and that `count` counts measured numbers."""
    y = operator.apply(_normal(3, *operator.shape))
    kept = operator.check(y[0].clone())
    if kept.shape != y[0].shape or not torch.equal(kept, y[0]):
        return Finding(False, "another measurement", "A x", "check() changes a measurement A x: return it unchanged")
    try:
        operator.check(torch.zeros(*operator.measured, 2))
    except InputError:
        least, most = int((y != y[:1]).any(0).sum()), y[0].numel()
        cause = "`count` is not the number of measured numbers: correct it, or leave it out"
        return Finding(least <= operator.count <= most, operator.count, f"{least} to {most}", cause)
    cause = "check() accepts a measurement of another shape: call super().check(y)"
    return Finding(False, "accepted", "InputError", cause)


NOISE, COUNT, STEPS = 0.2, 128, 30
ROW, TWO_ROWS = [[0.8, 0.6]], [[0.8, 0.6], [-0.3, 0.9]]


class RestorerTrial:
    """A method for inverse problems on one process. Several checks share its samples.

    Arguments:
        method: Function `method(problem)`.
        sde: Process.
    """

    def __init__(self, method: Restore, sde: SDE) -> None:
        self.method, self.sde = method, sde
        self.denoise: Denoiser = MIXTURE_2D.denoiser(sde)

    @cached_property
    def samples(self) -> Tensor:
        """Samples of x_0 given the measurement of `trial_problem`, (128, 2)."""
        return self.draw(trial_problem(), range(COUNT), steps=STEPS)

    def draw(self, problem: Problem, seeds: Sequence[int] = range(3), *, steps: int = 6, **options: Any) -> Tensor:
        """Draw one sample of x_0 given the measurement of a problem for each seed, (n, 2), in float64."""
        arguments: dict[str, Any] = {"dtype": torch.float64, "seeds": list(seeds), "steps": steps} | options
        denoise = arguments.pop("denoise", self.denoise)
        return restore(self.sde, denoise, problem, self.method(problem), **arguments).x


def restorer_checks(method: Restore, *, quick: bool = False) -> list[Check]:
    """Return all checks of one method for inverse problems.

    The test problem measures one direction of `MIXTURE_2D`, so that only one component remains likely. The methods are
    approximate. Their samples must be much closer to the exact posterior and to the measurement than prior samples are.
    Equations that hold for every method, such as the independence of the units of y, are checked exactly.

    Arguments:
        method: Function `method(problem)` that returns a guidance or a sampler.
        quick: Measure on one process instead of two.
    """
    first = (Check("builds", "method(problem) is a guidance or a sampler", partial(builds, method)),)
    result = list(first)
    for name, sde in {"vp": VP(), "rectified-flow": RectifiedFlow()}.items():
        trial = RestorerTrial(method, sde)
        laws: dict[str, tuple[str, Callable[[RestorerTrial], Finding]]] = {
            "posterior": ("x_0 ~ p(x_0 | y), which is a mixture too", posterior),
            "measurement": ("A x_0 = y, up to the noise", measurement),
            "batch": ("sample i is a function of seed i", batch),
        }
        if name == "vp":
            laws |= {
                "scale": ("x_0(c A, c y, c noise_std) = x_0(A, y, noise_std)", scale),
                "noise": ("x_0 does not depend on y if noise_std is large; A x_0 = y for noise_std = 0", noise),
                "all rows": ("A x_0 = y in each of two rows, in any order", all_rows),
                "condition": ("x_0(D, y) = x_0(D(., y))", condition),
                "shape": ("x_0 for images = x_0 for vectors; float32 = float64", shape),
                "state": ("a second run gives the same x_0; the problem is not changed", state),
            }
        if not quick or name == "vp":
            result += [Check(f"{key}[{name}]", law, partial(check, trial), first) for key, (law, check) in laws.items()]
    return result


def trial_problem(
    rows: Sequence[Sequence[float]] = ROW,
    y: tuple[float, ...] = (-1.2,),
    noise_std: float = NOISE,
    *,
    unit: float = 1.0,
    shape: tuple[int, ...] = (2,),
) -> Problem:
    """Return the problem of measuring 0.8 x_1 + 0.6 x_2, or other rows, in other units of y."""
    matrix = torch.tensor(rows, dtype=torch.float64)
    return Problem(Matrix(unit * matrix, shape), unit * torch.tensor(y, dtype=torch.float64), unit * noise_std)


def builds(method: Restore) -> Finding:
    """Check that the method, with its default options, returns a guidance or a sampler."""
    result: Any = method(trial_problem())
    passed = isinstance(result, Sampler) or callable(result)
    kind = "a sampler" if isinstance(result, Sampler) else "a guidance" if passed else type(result).__name__
    cause = "the method returns neither: return a guidance `(sde, denoise) -> denoise`, or a Sampler"
    return Finding(passed, kind, "a guidance or a sampler", cause)


def posterior(trial: RestorerTrial) -> Finding:
    """Check that the energy distance of samples from the exact posterior is at most 0.8 times the prior's distance.

    In the direction that is not measured, the standard deviation must be 0.4 to 1.6 times the exact one.
    """
    from sdekit.distributions import FullCovarianceMixture

    prior = FullCovarianceMixture(
        MIXTURE_2D.means, torch.diag_embed(MIXTURE_2D.variances), MIXTURE_2D.log_weights.exp()
    )
    problem = trial_problem()
    exact = prior.posterior(problem.linear("verify"), problem.measurement, NOISE).sample(2000, 3)
    prior_distance = energy_distance(MIXTURE_2D.sample(2000, 4), exact)
    share = energy_distance(trial.samples, exact) / prior_distance
    cause = "the samples are hardly closer to the posterior than the prior is: check the sign and size of the guidance"
    finding = at_most(share, 0.8, cause, "relative to the prior, ")
    if not finding.passed:
        return finding
    across = torch.tensor([-0.6, 0.8], dtype=torch.float64)
    spread = float((trial.samples @ across).std() / (exact @ across).std())
    cause = "the samples have the wrong spread in the direction that is not measured: check the noise of the steps"
    return finding if 0.4 < spread < 1.6 else Finding(False, spread, "0.4 to 1.6 of the exact spread", cause)


def measurement(trial: RestorerTrial) -> Finding:
    """Check that the root mean square of y - A x_0 is at most 0.65 times the value for samples of the prior."""
    cause = "the samples hardly agree with the measurement: check the sign and size of the guidance"
    return at_most(_residual(trial_problem(), trial.samples), 0.65, cause, "relative to the prior, ")


def _residual(problem: Problem, x: Tensor) -> float:
    """Return the root mean square of y - A x relative to samples of the prior, for the number of y with the largest."""
    ours, prior = (problem.residual(z).square().mean(0).sqrt() for z in (x, MIXTURE_2D.sample(2000, 4)))
    residual = float((ours / prior).max())
    return residual if residual == residual else float("inf")


def batch(trial: RestorerTrial) -> Finding:
    """Check that a sample does not depend on the other samples of its batch or on their order."""
    whole, seeds = trial.draw(trial_problem(), range(6), steps=STEPS), range(6)
    if whole.shape != (6, 2) or not whole.isfinite().all():
        measured = f"{tuple(whole.shape)}, finite: {bool(whole.isfinite().all())}"
        return same(measured, "(6, 2), finite: True", "the samples have a wrong shape or are not finite")
    alone, flipped = (trial.draw(trial_problem(), some, steps=STEPS) for some in ([2], seeds[::-1]))
    difference = max(float((alone[0] - whole[2]).abs().max()), float((flipped.flip(0) - whole).abs().max()))
    cause = "a sample depends on its batch: do not combine rows of a batch"
    return at_most(difference, 1e-6, cause, "difference ")


def scale(trial: RestorerTrial) -> Finding:
    """Check that the samples do not depend on the units of the measurement."""
    one = trial.draw(trial_problem())
    others = [trial.draw(trial_problem(unit=unit)) for unit in (3.0, 0.1)]
    cause = "the samples depend on the units of y: use A* (A A*)^-1 or A* / noise_std^2, never A* alone"
    return at_most(
        float(torch.stack([(other - one).abs().max() for other in others]).max()), 1e-6, cause, "difference "
    )


def noise(trial: RestorerTrial) -> Finding:
    """Check that y has no effect if its noise is large, and that A x_0 is close to y if y has no noise."""
    one, two = (trial.draw(trial_problem(y=(y,), noise_std=100.0)) for y in (-1.2, 1.5))
    cause = "y has the same effect whether it is noisy or not: weight it by noise_std"
    finding = at_most(float((one - two).abs().max()), 0.2, cause, "difference ")
    if not finding.passed:
        return finding
    exact = trial_problem(noise_std=0.0)
    residual = _residual(exact, trial.draw(exact, range(24), steps=STEPS))
    cause = "for noise_std = 0 the samples are not finite or do not agree with y: do not divide by noise_std"
    return at_most(residual, 0.15, cause, "relative to the prior, ")


def all_rows(trial: RestorerTrial) -> Finding:
    """Check that each of two measured numbers is reproduced, and that their order has no effect."""
    problem = trial_problem(TWO_ROWS, (-1.0, 0.7), 0.05)
    cause = "the samples do not agree with every number of the measurement: use all of y, and the problem given"
    residual = _residual(problem, trial.draw(problem, range(24), steps=STEPS))
    finding = at_most(residual, 0.15, cause, "relative to the prior, ")
    if not finding.passed:
        return finding
    swapped = trial.draw(trial_problem(TWO_ROWS[::-1], (0.7, -1.0), 0.05))
    cause = "the samples depend on the order of the measured numbers: treat them alike"
    return at_most(float((swapped - trial.draw(problem)).abs().max()), 1e-6, cause, "difference ")


def condition(trial: RestorerTrial) -> Finding:
    """Check that the condition of the samples reaches the denoiser."""
    labels = torch.tensor([0, 1, 2])
    one = trial.draw(trial_problem(), y=labels)
    two = trial.draw(trial_problem(), denoise=lambda x, t, y=None: trial.denoise(x, t, labels))
    cause = "the condition y of the samples does not reach the denoiser: call denoise(x, t, y)"
    return at_most(float((one - two).abs().max()), 1e-6, cause, "difference ")


def shape(trial: RestorerTrial) -> Finding:
    """Check that images and vectors with the same numbers give the same samples, and float32 the same as float64."""
    one = trial.draw(trial_problem())
    images = trial.draw(
        trial_problem(shape=(2, 1, 1)), denoise=lambda x, t, y=None: trial.denoise(x.flatten(1), t).view(x.shape)
    )
    single = trial.draw(trial_problem(), dtype=torch.float32)
    if images.shape != (3, 2, 1, 1) or single.dtype != torch.float32:
        cause = "the samples do not have the shape or dtype of x: convert the measurement to the dtype of x"
        return Finding(False, f"{tuple(images.shape)}, {single.dtype}", "(3, 2, 1, 1), torch.float32", cause)
    difference = max(float((images.flatten(1) - one).abs().max()), float((single - one).abs().max()))
    cause = "images give other samples than vectors, or float32 gives others than float64: use broadcast(t, x)"
    return at_most(difference, 1e-3, cause, "difference ")


def state(trial: RestorerTrial) -> Finding:
    """Check that a method built once gives the same samples twice, and does not change the measurement."""
    problem = trial_problem()
    before, built = problem.measurement.clone(), trial.method(problem)
    once = RestorerTrial(lambda _: built, trial.sde)
    one, two = (once.draw(problem) for _ in range(2))
    if not torch.equal(problem.measurement, before):
        cause = "the method changes the measurement in place: compute a new tensor"
        return Finding(False, "changed", "unchanged", cause)
    cause = "two runs with the same seeds differ: keep no state, and draw noise from the sampler's generator only"
    return same(float((one - two).abs().max()), 0.0, cause)
