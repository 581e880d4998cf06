"""Checks of guidances: shapes and times of the guided denoiser, and its difference from exact conditional scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.processes import SDE, VP, Denoiser, RectifiedFlow, as_time
from sdekit.registry import parameters
from sdekit.verify.common.check_results import Check, Finding, at_most, skip
from sdekit.verify.common.problems import MIXTURE_2D, RecordingDenoiser

Guidance = Callable[..., Denoiser]


class Trial(NamedTuple):
    """Options and exact result with which a guidance is verified, returned by its attribute `trial(sde, mixture)`.

    Attributes:
        options: Options of the guidance.
        exact: Exact guided denoiser, a function (x, t, y) -> (B, *), or None if there is no closed form.
        tolerance: Largest accepted difference of the scores, multiplied by sigma.
    """

    options: Mapping[str, Any]
    exact: Denoiser | None = None
    tolerance: float = 1e-6


def checks(guidance: Guidance, *, quick: bool = False) -> list[Check]:
    """Return all checks of one guidance, applied to the exact denoiser of a mixture.

    If the guidance has an option `scale`, 0 must give the unconditional model and 1 the conditional model. A guidance
    that needs options, such as a mask or a classifier, declares them with an attribute `trial`, a function
    `(sde, mixture) -> Trial`. The checks are skipped if the guidance has no such attribute and raises InputError with
    its default options.

    Arguments:
        guidance: Function `guidance(sde, denoise, **options)` that returns a denoiser.
        quick: Has no effect, because all checks are fast.
    """
    result = []
    for name, sde in {"vp": VP(), "rectified-flow": RectifiedFlow()}.items():
        case = _Case(guidance, sde)
        laws: dict[str, tuple[str, Callable[[_Case], Finding]]] = {
            "shape": ("the guided denoiser maps x (B, *) to (B, *)", shape),
            "batch": ("D(x, t, y)^i = D(x^i, t, y^i)", batch),
            "broadcast": ("D(x, (t_1, ..., t_B), y)^i = D(x^i, t_i, y^i)", broadcast),
            "finite": ("D is finite from t_min to t_max", finite),
            "times": ("t_min <= t <= t_max in every network call", times),
            "inputs": ("x, y and network results are not changed; the result requires no gradient", unchanged),
        }
        result += [Check(f"{key}[{name}]", law, partial(case.measure, check)) for key, (law, check) in laws.items()]
        if case.trial is not None and case.trial.exact is not None:
            result.append(Check(f"exact[{name}]", "D is the exact guided denoiser", partial(case.measure, exact)))
        if "scale" in parameters(guidance) and case.trial is None:
            law = "score at scale 1 = grad log p_t(x | y)"
            result.append(Check(f"scale 1[{name}]", law, partial(case.measure, scale_one)))
            law = "score at scale 0 = grad log p_t(x)"
            result.append(Check(f"scale 0[{name}]", law, partial(case.measure, scale_zero)))
            law = "score at scale 2 differs from score at scale 1"
            result.append(Check(f"scale 2[{name}]", law, partial(case.measure, scale_two)))
    return result


class _Case:
    """A guidance on one process, with the options of its trial."""

    def __init__(self, guidance: Guidance, sde: SDE) -> None:
        self.guidance, self.sde = guidance, sde
        trial: Callable[[SDE, GaussianMixture], Trial] | None = getattr(guidance, "trial", None)
        self.trial = None if trial is None else trial(sde, MIXTURE_2D)

    def guided(self, denoise: Denoiser | None = None, **options: Any) -> Denoiser:
        """Apply the guidance to a denoiser, by default to the denoiser of `MIXTURE_2D`."""
        if self.trial is not None:
            options = {**self.trial.options, **options}
        return self.guidance(self.sde, denoise or MIXTURE_2D.denoiser(self.sde), **options)

    def measure(self, check: Callable[[_Case], Finding]) -> Finding:
        """Run a check, and skip it if the guidance has no trial and raises InputError."""
        try:
            with torch.no_grad():
                return check(self)
        except InputError as error:
            if self.trial is not None:
                raise
            return skip(f"needs options: {error}")


def inputs_at(sde: SDE, rho: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return x (6, 2), y (6,) and t at the noise level rho."""
    t = sde.time(as_time(rho))
    return MIXTURE_2D.sample(6, 5, sde, t), torch.arange(6) % 3, t


def shape(case: _Case) -> Finding:
    """Check that the guided denoiser keeps the shape and dtype of x and is finite."""
    x, y, t = inputs_at(case.sde, 1.0)
    for dtype in (torch.float32, torch.float64):
        out = case.guided()(x.to(dtype), t, y)
        measured = f"{tuple(out.shape)} {out.dtype}, {'finite' if out.isfinite().all() else 'not finite'}"
        if measured != (expected := f"(6, 2) {dtype}, finite"):
            cause = "the guided denoiser changes the shape or dtype of x, or is not finite: return a tensor like x"
            return Finding(False, measured, expected, cause)
    return Finding(True, "shape and dtype of x", "shape and dtype of x")


def batch(case: _Case) -> Finding:
    """Check that each row of the guided result depends only on the same row of x and y."""
    x, y, t = inputs_at(case.sde, 1.0)
    guided = case.guided()
    rows = torch.cat([guided(x[i : i + 1], t, y[i : i + 1]) for i in range(len(x))])
    cause = "a row depends on the other rows: do not combine rows of a batch"
    return at_most(float((guided(x, t, y) - rows).abs().max()), 1e-9, cause, "difference ")


def broadcast(case: _Case) -> Finding:
    """Check that the result for t of shape (B,) equals the results for each row with its own t of shape ()."""
    x, y, _ = inputs_at(case.sde, 1.0)
    t = case.sde.time(torch.tensor([0.3, 1.0, 3.0], dtype=torch.float64)).repeat(2)
    guided = case.guided()
    rows = torch.cat([guided(x[i : i + 1], t[i], y[i : i + 1]) for i in range(len(x))])
    cause = "t (B,) is broadcast along the wrong axis, or one t is used for all rows: use broadcast(t, x)"
    return at_most(float((guided(x, t, y) - rows).abs().max()), 1e-9, cause, "difference ")


def finite(case: _Case) -> Finding:
    """Check that the result is finite in float32 at t_min and t_max, where sigma or alpha may be 0."""
    for t in (as_time(case.sde.t_min), as_time(case.sde.t_max)):
        x, y = MIXTURE_2D.sample(6, 5, case.sde, t).float(), torch.arange(6) % 3
        out = case.guided()(x, t, y)
        if not out.isfinite().all():
            cause = "the guidance divides by alpha or sigma, which may be 0: combine denoised x_0 instead of scores"
            return Finding(False, f"not finite at t = {float(t):.4g}", "finite", cause)
    return Finding(True, "finite", "finite")


def times(case: _Case) -> Finding:
    """Check that every network call has a time within the range of the process."""
    low, high = case.sde.t_min, case.sde.t_max
    slack = 1e-9 * (high - low)
    for t in (as_time(low), case.sde.time(as_time(1.0)), as_time(high)):
        denoiser = RecordingDenoiser(MIXTURE_2D.denoiser(case.sde))
        x, y = MIXTURE_2D.sample(6, 5, case.sde, t), torch.arange(6) % 3
        case.guided(denoiser)(x, t, y)
        outside = [u for u in denoiser.times if not low - slack <= u <= high + slack]
        if outside:
            cause = f"a network call has t = {outside[0]:.6g}, outside the range of the process: call it at t"
            return Finding(False, outside[0], f"within [{low:.6g}, {high:.6g}]", cause)
    return Finding(True, "within", f"within [{low:.6g}, {high:.6g}]")


def unchanged(case: _Case) -> Finding:
    """Check that no input or network result is changed in place, and that the result requires no gradient."""
    x, y, t = inputs_at(case.sde, 1.0)
    copies, denoiser = (x.clone(), y.clone()), RecordingDenoiser(MIXTURE_2D.denoiser(case.sde))
    out = case.guided(denoiser)(x, t, y)
    changed = [name for name, now, before in zip("xy", (x, y), copies, strict=True) if not torch.equal(now, before)]
    changed += ["a denoised x_0"] * any(not torch.equal(a, b) for a, b in denoiser.results)
    cause = f"the guidance changes {' and '.join(changed)} in place: compute a new tensor"
    if not changed and out.requires_grad:
        changed, cause = ["a graph"], "the result has a graph: detach it"
    return Finding(not changed, ", ".join(changed) or "unchanged", "unchanged", cause)


def exact(case: _Case) -> Finding:
    """Check that the guided denoiser equals the exact denoiser that the guidance declares in its trial."""
    assert case.trial is not None and case.trial.exact is not None
    cause = "the guided denoiser is not the exact one that the trial declares: correct the guidance or its trial"
    return _compare_scores(case, case.guided(), case.trial.exact, case.trial.tolerance, cause)


def scale_one(case: _Case) -> Finding:
    """Check that scale 1 gives the exact conditional model, at several noise levels."""
    cause = "scale 1 does not give the conditional model: scale the score, and use eps = -sigma score"
    return _compare_scores(case, case.guided(scale=1.0), MIXTURE_2D.denoiser(case.sde), 1e-6, cause)


def scale_zero(case: _Case) -> Finding:
    """Check that scale 0 gives the exact unconditional model, at several noise levels."""
    denoise = MIXTURE_2D.denoiser(case.sde)
    cause = "scale 0 does not give the unconditional model: scale the score, and use eps = -sigma score"
    return _compare_scores(case, case.guided(scale=0.0), lambda x, t, y=None: denoise(x, t), 1e-6, cause)


def scale_two(case: _Case) -> Finding:
    """Check that scale 2 gives another result than scale 1."""
    changed = 0.0
    for rho in (0.3, 1.0, 3.0):
        x, y, t = inputs_at(case.sde, rho)
        one, two = (case.guided(scale=scale)(x, t, y) for scale in (1.0, 2.0))
        changed = max(changed, float((one - two).abs().max()))
    cause = "scales above 1 have no effect: the scale is limited to 1 or ignored"
    return Finding(changed > 1e-6, changed, "above 1e-06", cause)


def _compare_scores(case: _Case, guided: Denoiser, expected: Denoiser, tolerance: float, cause: str) -> Finding:
    """Compare the scores of two denoisers. Their difference is multiplied by sigma."""
    worst, worst_rho = 0.0, 0.0
    for rho in (0.3, 1.0, 3.0):
        x, y, t = inputs_at(case.sde, rho)
        scores = (case.sde.score(x, d(x, t, y), t) for d in (guided, expected))
        error = float((next(scores) - next(scores)).abs().max() * case.sde.sigma(t))
        worst, worst_rho = max((worst, worst_rho), (error if error == error else float("inf"), rho))
    return at_most(worst, tolerance, f"{cause} (largest error at rho = {worst_rho:g})", "sigma x score difference ")
