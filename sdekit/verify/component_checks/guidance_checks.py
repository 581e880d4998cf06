"""Checks of guidances: shapes and times of the guided denoiser, and its difference from exact conditional scores."""

from __future__ import annotations

import math
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
        law = "the guided denoiser maps x (B, *) to (B, *)"
        form = Check(f"shape[{name}]", law, partial(case.measure, shape))
        laws: dict[str, tuple[str, Callable[[_Case], Finding]]] = {
            "batch": ("D(x, t, y)^i = D(x^i, t, y^i)", batch),
            "broadcast": ("D(x, (t_1, ..., t_B), y)^i = D(x^i, t_i, y^i)", broadcast),
            "repeatable": ("D is a function of x, t and y", repeatable),
            "no condition": ("D(x, t) is defined, or raises InputError", without_condition),
            "finite": ("D is finite from t_min to t_max", finite),
            "times": ("t_min <= t <= t_max in every network call, in float64", times),
            "inputs": ("x, t, y and network results are not changed; the result requires no gradient", unchanged),
        }
        if case.trial is not None and case.trial.exact is not None:
            laws["exact"] = "D is the exact guided denoiser", exact
        if case.trial is None:
            laws["axes"] = "x of shape (B, 2, 3, 6) gives the result of shape (B, 36)", axes
        options = parameters(guidance)
        if "scale" in options and case.trial is None:
            laws |= {
                "scale 1": ("score at scale 1 = grad log p_t(x | y)", scale_one),
                "scale 0": ("score at scale 0 = grad log p_t(x)", scale_zero),
                "scale 2": ("score at scale 2 differs from score at scale 1", scale_two),
                "scale limits": ("D is continuous in the scale at 0 and at 1", scale_limits),
            }
        if {"low", "high"} <= set(options):
            laws["range"] = "D is unchanged if x_0 is inside of the range from low to high", inside_range
        result.append(form)
        result += [Check(f"{key}[{name}]", law, partial(case.measure, f), (form,)) for key, (law, f) in laws.items()]
    return result


class _Case:
    """A guidance on one process, with the options of its trial."""

    def __init__(self, guidance: Guidance, sde: SDE) -> None:
        self.guidance, self.sde = guidance, sde
        self.trial = self.make_trial(MIXTURE_2D) if hasattr(guidance, "trial") else None

    def make_trial(self, mixture: GaussianMixture) -> Trial:
        """Return the options with which the guidance of this mixture is verified."""
        make: Callable[[SDE, GaussianMixture], Trial] = getattr(self.guidance, "trial")  # noqa: B009
        return make(self.sde, mixture)

    def guided(
        self, denoise: Denoiser | None = None, mixture: GaussianMixture | None = None, **options: Any
    ) -> Denoiser:
        """Apply the guidance to a denoiser, by default to the denoiser of the mixture, by default `MIXTURE_2D`."""
        trial = self.trial if self.trial is None or mixture is None else self.guidance.trial(self.sde, mixture)  # type: ignore[attr-defined]
        if trial is not None:
            options = {**trial.options, **options}
        return self.guidance(self.sde, denoise or (mixture or MIXTURE_2D).denoiser(self.sde), **options)

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
        if dtype == torch.float64 and torch.equal(out.float().double(), out):
            cause = "the result is rounded to float32: compute in the dtype of x"
            return Finding(False, "rounded to float32", expected, cause)
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


def axes(case: _Case) -> Finding:
    """Check that images, square or not, give the same result as vectors with the same elements."""
    means = torch.linspace(-1, 1, 108, dtype=torch.float64).view(3, 36)
    t, results = case.sde.time(as_time(1.0)), []
    x = GaussianMixture(means, 0.5).sample(6, 5, case.sde, t)
    for shape in ((36,), (2, 3, 6), (1, 6, 6), (4, 3, 3)):
        guided = case.guided(mixture=GaussianMixture(means.view(3, *shape), 0.5))
        results.append(guided(x.view(-1, *shape), t, torch.arange(6) % 3).reshape(6, 36))
    difference = max(float((result - results[0]).abs().max()) for result in results[1:])
    cause = "an axis of images is mistaken for another one: use all numbers of a sample, flatten(1), or broadcast(t, x)"
    return at_most(difference, 1e-9, cause, "difference ")


def repeatable(case: _Case) -> Finding:
    """Check that the same call gives the same result after another call, and that no random numbers are drawn."""
    x, y, t = inputs_at(case.sde, 1.0)
    guided, before = case.guided(), torch.get_default_dtype()
    first = guided(x, t, y)
    copy = first.clone()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(123)
        state = torch.get_rng_state()
        guided(x + 1, t, y.flip(0))
        try:
            torch.set_default_dtype(torch.float64 if before == torch.float32 else torch.float32)
            again = guided(x, t, y)
        finally:
            torch.set_default_dtype(before)
        drawn = not torch.equal(torch.get_rng_state(), state)
    if not torch.equal(first, copy):
        cause = "the next call overwrites the last result, which multistep samplers keep: return a new tensor"
        return Finding(False, "overwritten", "kept", cause)
    if drawn:
        return Finding(False, "draws", "no draws", "the guidance uses torch's global generator: draw no random numbers")
    cause = "the result depends on earlier calls or on torch's default dtype: store nothing between calls by default"
    return at_most(float((again - first).abs().max()), 0.0, cause, "difference ")


def without_condition(case: _Case) -> Finding:
    """Check that a call without a condition works or raises InputError, and that label -1 means no condition."""
    x, y, t = inputs_at(case.sde, 1.0)
    nothing = torch.full_like(y, -1)
    unconditional, mixed = case.guided()(x, t, nothing), torch.where(y == 0, -1, y)
    expected = torch.where((mixed == -1)[:, None], unconditional, case.guided()(x, t, y))
    error = float((case.guided()(x, t, mixed) - expected).abs().max())
    if not error < 1e-9:
        cause = "rows without a label, y = -1, are treated like others: pass y on to the denoiser row by row"
        return at_most(error, 1e-9, cause, "difference ")
    if "scale" in parameters(case.guidance) and case.trial is None:
        error = float((unconditional - MIXTURE_2D.denoiser(case.sde)(x, t)).abs().max())
        cause = "with y = -1, no label, the result is not the unconditional model: use the null condition as it is"
        if not error < 1e-6:
            return at_most(error, 1e-6, cause, "difference ")
    try:
        case.guided()(x, t)
    except InputError:
        return Finding(True, "InputError", "a result or InputError")
    return Finding(True, "a result", "a result or InputError")


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
    """Check that every network call has x like the samples and a float64 time within the range of the process."""
    low, high = case.sde.t_min, case.sde.t_max
    slack = 1e-9 * (high - low)
    for t in (as_time(low), case.sde.time(as_time(1.0)), as_time(high)):
        x, y = MIXTURE_2D.sample(6, 5, case.sde, t), torch.arange(6) % 3
        denoiser = RecordingDenoiser(MIXTURE_2D.denoiser(case.sde), x)
        case.guided(denoiser)(x, t, y)
        outside = [u for u in denoiser.times if not low - slack <= u <= high + slack]
        if denoiser.malformed:
            cause = "a network call has wrong arguments: pass x and t in their dtypes"
            return Finding(False, denoiser.malformed[0], "x like the samples, t float64 () or (B,)", cause)
        if outside:
            cause = f"a network call has t = {outside[0]:.6g}, outside the range of the process: call it at t"
            return Finding(False, outside[0], f"within [{low:.6g}, {high:.6g}]", cause)
    return Finding(True, "within", f"within [{low:.6g}, {high:.6g}]")


def unchanged(case: _Case) -> Finding:
    """Check that no input or network result is changed in place, and that the result requires no gradient."""
    x, y, _ = inputs_at(case.sde, 1.0)
    t = torch.linspace(case.sde.t_max, case.sde.t_min, len(x), dtype=torch.float64)
    copies, denoiser = (x.clone(), y.clone(), t.clone()), RecordingDenoiser(MIXTURE_2D.denoiser(case.sde))
    out = case.guided(denoiser)(x, t, y)
    changed = [name for name, now, before in zip("xyt", (x, y, t), copies, strict=True) if not torch.equal(now, before)]
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


def scale_limits(case: _Case) -> Finding:
    """Check that D changes little if the scale changes from 1 to 0.999 or 1.001, and from 0 to 0.001.

    Some guidances are not D(x) + c (D(x, y) - D(x)) with one number c at all noise levels. They may jump at 0 itself,
    if they give the exact unconditional model there, but must be continuous from -0.001 to 0.001.
    """
    results, shares = [], []
    for rho in (0.1, 0.3, 1.0, 3.0, 10.0):
        x, y, t = inputs_at(case.sde, rho)
        at = {scale: case.guided(scale=scale)(x, t, y) for scale in (-0.001, 0.0, 0.001, 0.999, 1.0, 1.001)}
        d, change = at[1.0] - at[0.0], at[0.001] - at[0.0]
        share = float((change * d).sum() / (d * d).sum().clamp(min=1e-30))
        shares.append(share if float((change - share * d).abs().max()) < 1e-9 else math.nan)
        results.append((rho, at, 0.02 * float(1e-3 + d.abs().max())))
    is_linear = max(shares) - min(shares) < 0.01
    pairs = ((0.999, 1.0), (1.001, 1.0), (0.001, 0.0 if is_linear else -0.001))
    for rho, at, bound in results:
        for scale, limit in pairs:
            rows = (at[scale] - at[limit]).abs().amax(1)  # of a nonlinear guidance, some rows may be sensitive
            difference = float(rows.median() if limit < 0 else rows.max())
            if not difference <= bound:
                cause = f"the result jumps from scale {limit:g} to {scale:g}, at rho = {rho:g}: the formula"
                return at_most(difference, bound, f"{cause} disagrees with a shortcut", "change ")
    return Finding(True, "continuous", "continuous")


def inside_range(case: _Case) -> Finding:
    """Check that values inside of the range from low to high are unchanged."""
    x, y, t = inputs_at(case.sde, 0.3)
    x0 = MIXTURE_2D.denoiser(case.sde)(x, t, y)
    largest = 1.001 * float(x0.abs().max())
    error = float((case.guided(low=-largest, high=largest)(x, t, y) - x0).abs().max())
    return at_most(error, 1e-9, "values inside of the range are changed: only limit values outside of it", "change ")


def _compare_scores(case: _Case, guided: Denoiser, expected: Denoiser, tolerance: float, cause: str) -> Finding:
    """Compare the scores of two denoisers. Their difference is multiplied by sigma."""
    worst, worst_rho = 0.0, 0.0
    for rho in (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0):
        x, y, t = inputs_at(case.sde, rho)
        scores = (case.sde.score(x, d(x, t, y), t) for d in (guided, expected))
        error = float((next(scores) - next(scores)).abs().max() * case.sde.sigma(t))
        worst, worst_rho = max((worst, worst_rho), (error if error == error else float("inf"), rho))
    return at_most(worst, tolerance, f"{cause} (largest error at rho = {worst_rho:g})", "sigma x score difference ")
