"""Guidances: a denoiser in, a denoiser out; the limits of the scale, against the exact conditionals of a mixture."""

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
from sdekit.verify.common.problems import PLANE, Watched
from sdekit.verify.common.report import Check, Finding, at_most, skip

Guidance = Callable[..., Denoiser]


class Trial(NamedTuple):
    """How a guidance that needs more than its defaults is verified: what `guidance.trial(sde, mixture)` returns.

    options: to build it with. exact: the denoiser that it should give, (x, t, y) to (B, *), where that is known in
    closed form. tolerance: how near to it, in units of 1 / sigma of the score.
    """

    options: Mapping[str, Any]
    exact: Denoiser | None = None
    tolerance: float = 1e-6


def checks(guidance: Guidance, *, quick: bool = False) -> list[Check]:
    """All checks of one guidance, `guidance(sde, denoise, **options)`; the base denoiser is that of `exact.PLANE`.

    The limits are checked where it has an option `scale`, in which 0 is the plain and 1 the conditional model. One that
    needs options, such as a mask or a classifier, says how it is tried: it has an attribute `trial`, a function
    `(sde, mixture) -> Trial`. Without it, and where its defaults are refused with InputError, its checks are skipped.
    """
    found = []
    for name, sde in {"vp": VP(), "rectified-flow": RectifiedFlow()}.items():
        at = _At(guidance, sde)
        laws: dict[str, tuple[str, Callable[[_At], Finding]]] = {
            "shape": ("a denoiser again: x (B, *) to (B, *)", shape),
            "batch": ("E[x_0 | x, y] of a row is that of the row alone", batch),
            "broadcast": ("t (B,) does to each row what t () does", broadcast),
            "finite": ("finite from t_min to t_max", finite),
            "times": ("the network is asked at t_min <= t <= t_max", times),
            "inputs": ("x, y and what the network returned stay as they were; no graph is kept", unchanged),
        }
        found += [Check(f"{key}[{name}]", law, partial(at.measure, check)) for key, (law, check) in laws.items()]
        if at.trial is not None and at.trial.exact is not None:
            found.append(Check(f"exact[{name}]", "D is the exact guided denoiser", partial(at.measure, exact)))
        if "scale" in parameters(guidance) and at.trial is None:
            law = "score at scale 1 = grad log p_t(x | y)"
            found.append(Check(f"scale 1[{name}]", law, partial(at.measure, partial(limit, scale=1.0))))
            law = "score at scale 0 = grad log p_t(x)"
            found.append(Check(f"scale 0[{name}]", law, partial(at.measure, partial(limit, scale=0.0))))
            law = "score at scale 2 is another than at scale 1"
            found.append(Check(f"scale 2[{name}]", law, partial(at.measure, beyond)))
    return found


class _At:
    """A guidance on one process, with the options that it is tried with."""

    def __init__(self, guidance: Guidance, sde: SDE) -> None:
        self.guidance, self.sde = guidance, sde
        trial: Callable[[SDE, GaussianMixture], Trial] | None = getattr(guidance, "trial", None)
        self.trial = None if trial is None else trial(sde, PLANE)

    def guided(self, denoise: Denoiser | None = None, **options: Any) -> Denoiser:
        """The guided denoiser of `PLANE`, or of another base."""
        given = options if self.trial is None else {**self.trial.options, **options}
        return self.guidance(self.sde, denoise or PLANE.denoiser(self.sde), **given)

    def measure(self, check: Callable[[_At], Finding]) -> Finding:
        """What a check finds; skipped where the guidance says that it needs something."""
        try:
            with torch.no_grad():
                return check(self)
        except InputError as error:
            if self.trial is not None:
                raise
            return skip(f"needs options: {error}")


def trial(sde: SDE, rho: float) -> tuple[Tensor, Tensor, Tensor]:
    """x (6, 2), y (6,), t where rho is so large."""
    t = sde.time(as_time(rho))
    return PLANE.sample(6, 5, sde, t), torch.arange(6) % 3, t


def shape(at: _At) -> Finding:
    """Shape and dtype of x are kept, and the result is finite."""
    x, y, t = trial(at.sde, 1.0)
    for dtype in (torch.float32, torch.float64):
        out = at.guided()(x.to(dtype), t, y)
        kind = f"{tuple(out.shape)} {out.dtype}, {'finite' if out.isfinite().all() else 'not finite'}"
        if kind != (expected := f"(6, 2) {dtype}, finite"):
            return Finding(False, kind, expected, "a guided denoiser keeps shape and dtype of x")
    return Finding(True, "kept", "shape and dtype of x")


def batch(at: _At) -> Finding:
    """Rows do not meet."""
    x, y, t = trial(at.sde, 1.0)
    guided = at.guided()
    alone = torch.cat([guided(x[i : i + 1], t, y[i : i + 1]) for i in range(len(x))])
    return at_most(float((guided(x, t, y) - alone).abs().max()), 1e-9, "a row depends on the others", "difference ")


def broadcast(at: _At) -> Finding:
    """Three noise levels in one batch, and each by itself."""
    x, y, _ = trial(at.sde, 1.0)
    t = at.sde.time(torch.tensor([0.3, 1.0, 3.0], dtype=torch.float64)).repeat(2)
    guided = at.guided()
    alone = torch.cat([guided(x[i : i + 1], t[i], y[i : i + 1]) for i in range(len(x))])
    off = float((guided(x, t, y) - alone).abs().max())
    return at_most(off, 1e-9, "t (B,) is broadcast along the wrong axis, or one t is used for all", "difference ")


def finite(at: _At) -> Finding:
    """At both ends, where alpha or sigma may be 0, in float32."""
    for t in (as_time(at.sde.t_min), as_time(at.sde.t_max)):
        x, y = PLANE.sample(6, 5, at.sde, t).float(), torch.arange(6) % 3
        out = at.guided()(x, t, y)
        if not out.isfinite().all():
            return Finding(False, f"not finite at t = {float(t):.4g}", "finite", "it divides by alpha or sigma")
    return Finding(True, "finite", "finite")


def times(at: _At) -> Finding:
    """At both ends and between; a network knows nothing of other times."""
    low, high = at.sde.t_min, at.sde.t_max
    for t in (as_time(low), at.sde.time(as_time(1.0)), as_time(high)):
        watched = Watched(PLANE.denoiser(at.sde))
        x, y = PLANE.sample(6, 5, at.sde, t), torch.arange(6) % 3
        at.guided(watched)(x, t, y)
        bad = [u for u in watched.times if not low - 1e-9 * (high - low) <= u <= high + 1e-9 * (high - low)]
        if bad:
            cause = f"a network call at t = {bad[0]:.6g}, outside of the process's range"
            return Finding(False, bad[0], f"within [{low:.6g}, {high:.6g}]", cause)
    return Finding(True, "within", f"within [{low:.6g}, {high:.6g}]")


def unchanged(at: _At) -> Finding:
    """Nothing is altered in place; what is differentiated inside stays inside."""
    x, y, t = trial(at.sde, 1.0)
    kept, watched = (x.clone(), y.clone()), Watched(PLANE.denoiser(at.sde))
    out = at.guided(watched)(x, t, y)
    changed = [name for name, now, before in zip("xy", (x, y), kept, strict=True) if not torch.equal(now, before)]
    changed += ["a denoised x_0"] * any(not torch.equal(a, b) for a, b in watched.given)
    changed += ["a graph"] * out.requires_grad
    cause = "it keeps a graph: detach the result" if changed == ["a graph"] else "an in-place change of an input"
    return Finding(not changed, ", ".join(changed) or "unchanged", "unchanged", cause)


def exact(at: _At) -> Finding:
    """Against the closed form of its own trial."""
    assert at.trial is not None and at.trial.exact is not None
    return _nearest(at, at.guided(), at.trial.exact, at.trial.tolerance, "it is not the denoiser that it stands for")


def limit(at: _At, *, scale: float) -> Finding:
    """At several noise levels."""
    base = PLANE.denoiser(at.sde)
    plain: Denoiser = base if scale else lambda x, t, y=None: base(x, t)
    law = "conditional" if scale else "unconditional"
    cause = f"it is not the {law} model: eps = -sigma score, scale the score"
    return _nearest(at, at.guided(scale=scale), plain, 1e-6, cause)


def beyond(at: _At) -> Finding:
    """At several noise levels: a scale above 1 is what guidance is for. How much it does is a method's own."""
    changed = 0.0
    for rho in (0.3, 1.0, 3.0):
        x, y, t = trial(at.sde, rho)
        one, two = (at.guided(scale=scale)(x, t, y) for scale in (1.0, 2.0))
        changed = max(changed, float((one - two).abs().max()))
    return Finding(changed > 1e-6, changed, "above 1e-06", "the scale is held at 1, or ignored")


def _nearest(at: _At, guided: Denoiser, expected: Denoiser, tolerance: float, cause: str) -> Finding:
    """The largest difference of the scores, in units of the score's own scale 1 / sigma."""
    worst, where = 0.0, 0.0
    for rho in (0.3, 1.0, 3.0):
        x, y, t = trial(at.sde, rho)
        scores = (at.sde.score(x, d(x, t, y), t) for d in (guided, expected))
        off = float((next(scores) - next(scores)).abs().max() * at.sde.sigma(t))
        worst, where = max((worst, where), (off if off == off else float("inf"), rho))
    return at_most(worst, tolerance, f"{cause} (most so at rho = {where:g})", "sigma x score difference ")
