"""Faults that show at rare inputs only fail: inner times, low noise, other data, some steps, images, options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import verify
from sdekit.guidance import denoise_pair, require_condition
from sdekit.processes import SDE, VP, Denoiser, TruncatedSDE, as_time, broadcast, renoise
from sdekit.sampling import Noise, Sampler, karras

from .faulty_steps import Heun
from .findings import failure


@dataclass(frozen=True)
class Step:
    """One step of a trajectory: its number of n, and the arguments of `Sampler.step`."""

    i: int
    n: int
    sde: SDE
    denoise: Denoiser
    x: Tensor
    t: Tensor
    s: Tensor
    noise: Noise

    def move(self, x0: Tensor | None = None, z: Tensor | None = None, eta: float = 1.0, **other: Any) -> Tensor:
        """Return the exact ancestral step, or DDIM without z."""
        t, s = other.get("t", self.t), other.get("s", self.s)
        return renoise(self.sde, self.x, self.denoise(self.x, t) if x0 is None else x0, t, s, z, eta)

    def heun(self, x_s: Tensor | None = None) -> Tensor:
        """Return Heun's step."""
        return Heun().step(self.sde, self.denoise, self.x, self.t, self.s, self.noise)

    def euler(self) -> Tensor:
        """Return DDIM's step with two evaluations."""
        self.denoise(self.x, self.t)
        return self.move()


@dataclass(frozen=True, kw_only=True)
class Stepped(Sampler):
    """A deterministic method of the first order, given by a function of a `Step`."""

    one: Callable[[Step], Tensor] = field(default=Step.move, compare=False)

    order = 1

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        for i, (t, s) in enumerate(pairwise(times)):
            x = self.one(Step(i, len(times) - 1, sde, denoise, x, t, s, noise))
            yield x


@dataclass(frozen=True, kw_only=True)
class Two(Stepped):
    """A method of the second order with two calls."""

    order = 2
    calls_per_step = 2


@dataclass(frozen=True, kw_only=True)
class Noisy(Stepped):
    """A stochastic method; the function receives eta as well."""

    eta: float = 1.0

    stochastic = True

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        for i, (t, s) in enumerate(pairwise(times)):
            x = self.one(Step(i, len(times) - 1, sde, denoise, x, t, s, noise), self.eta)  # type: ignore[call-arg]
            yield x


@dataclass(frozen=True, kw_only=True)
class WrongBudget(Stepped):
    def evaluations(self, steps: int, cost: int = 1) -> int | None:
        return steps * cost + 1


@dataclass(frozen=True, kw_only=True)
class WrongGrid(Stepped):
    default_grid = "karas"


def hidden(step: Step) -> Tensor:
    """Take an exception of the network for a bad step."""
    try:
        return step.move()
    except RuntimeError:
        return step.x


SAMPLERS: dict[str, tuple[Sampler, str, str]] = {
    "t_max for times[0]": (
        Stepped(one=lambda p: p.move(t=as_time(p.sde.t_max) if p.i == 0 else p.t)),
        "one step[vp, inner times]",
        "a step that is the first or the last has order",
    ),
    "t_min for times[-1]": (
        Stepped(one=lambda p: p.move(s=as_time(p.sde.t_min) if p.i == p.n - 1 else p.s)),
        "order[vp, inner times]",
        "does not converge",
    ),
    "freezes at low noise": (
        Stepped(one=lambda p: p.move() if p.sde.rho(p.t) > 0.02 else (p.move(), p.x)[1]),
        "scale[vp, narrow data]",
        "does not converge",
    ),
    "a floor of sigma": (
        Stepped(one=lambda p: p.move() if p.sde.sigma(p.s) > 0.03 else p.move() * 0.9),
        "scale[vp, narrow data]",
        "does not converge",
    ),
    "clips at 5": (
        Stepped(one=lambda p: p.move(p.denoise(p.x, p.t).clamp(-5, 5))),
        "scale[rectified-flow, wide data]",
        "does not converge",
    ),
    "Euler in the second step but one": (
        Two(one=lambda p: p.euler() if p.i == p.n - 2 else p.heun()),
        "last step[vp]",
        "has the largest error",
    ),
    "squares are transposed": (
        Two(one=lambda p: p.heun().transpose(-1, -2) if p.x.shape[-1] == p.x.shape[-2] and p.x.ndim > 3 else p.heun()),
        "shape",
        "along the wrong axis",
    ),
    "chunks of 16": (
        Stepped(one=lambda p: torch.cat([p.move()[:16], p.x[16:]])),
        "batch",
        "depends on its batch",
    ),
    "float32 time": (
        Stepped(one=lambda p: p.move(p.denoise(p.x, p.t.float()))),
        "times[vp]",
        "t () or (B,) in float64",
    ),
    "default dtype": (
        Stepped(one=lambda p: p.move() * float(torch.tensor(0.1)) / 0.1),
        "same seed",
        "torch's default dtype",
    ),
    "hides exceptions": (Stepped(one=hidden), "errors", "hides an exception"),
    "hides NaN": (Stepped(one=lambda p: p.move(p.denoise(p.x, p.t).nan_to_num())), "errors", "hides NaN"),
    "wrong budget": (WrongBudget(), "budget", "evaluations() does not return"),
    "unknown grid": (WrongGrid(), "budget", "raised an exception"),
    "eta in the last step only": (
        Noisy(one=lambda p, eta=1.0: p.move(z=p.noise(p.t, p.s), eta=eta if p.i == p.n - 1 else 1.0)),
        "eta",
        "in step 1 of 2",
    ),
    "eta times the noise level": (
        Noisy(one=lambda p, eta=1.0: p.move(z=p.noise(p.t, p.s), eta=eta if p.sde.rho(p.t) > 0.5 else eta**2)),
        "eta",
        "the noise scales as eta^2",
    ),
    "another formula at eta = 0": (
        Noisy(one=lambda p, eta=1.0: p.move(z=p.noise(p.t, p.s), eta=eta) if eta else 0.9 * p.move()),
        "eta limits",
        "the result jumps between eta = 0 and 0.001",
    ),
    "draws of other steps": (
        Noisy(one=lambda p, eta=1.0: p.move(z=p.noise(p.s, p.s - 0.01), eta=eta)),
        "intervals",
        "not for a step from t down to s of the grid",
    ),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_faults_of_samplers(name: str) -> None:
    """Each fault fails the check of the law that it violates."""
    sampler, check, words = SAMPLERS[name]
    assert words in failure(sampler, check).cause


def test_a_method_without_an_order_is_told_its_order() -> None:
    """The message about a sampler that converges slowly and declares no order advises to declare it."""
    undeclared = dataclass(frozen=True, kw_only=True)(type("Undeclared", (Stepped,), {"order": None}))()
    assert "declare order = 1" in failure(undeclared, "flow[vp]").cause


def test_an_exact_method_of_single_samples_passes() -> None:
    """A deterministic method that draws its samples one by one passes the checks of its path."""
    alone = dataclass(frozen=True, kw_only=True)(type("Alone", (Two,), {"requires_single_sample": True}))(one=Step.heun)
    for check in verify.checks(alone):
        if str(check).startswith(("on the way", "scale", "order", "batch", "runs")):
            check().raise_on_failure()


def altered(**methods: Any) -> SDE:
    """Return the VP process with some methods replaced."""
    return type("VP", (VP,), methods)()  # type: ignore[no-any-return]


PROCESSES: dict[str, tuple[SDE, str, str]] = {
    "g near t_min": (altered(g=lambda p, t: VP.g(p, t) * torch.where(as_time(t) < 2e-4, 1.2, 1.0)), "g", "g^2 is"),
    "g at t_max": (altered(g=lambda p, t: VP.g(p, t) * torch.where(as_time(t) == 1, 0.5, 1.0)), "ends", "g at t = 1"),
    "time at low noise": (altered(time=lambda p, r: VP.time(p, as_time(r).clamp(min=2e-3))), "time", "not the inverse"),
    "time in float32": (altered(time=lambda p, r: VP.time(p, r).float().double()), "scales", "time is rounded"),
    "rho of its own": (altered(rho=lambda p, t: VP.rho(p, t) ** 2), "time", "rho is not sigma / alpha"),
    "maximum of t": (
        altered(sigma=lambda p, t: VP.sigma(p, t) * (1 + 0.01 * (as_time(t).max() - as_time(t)))),
        "scales",
        "sigma is not a function of one time",
    ),
    "a jump of both": (
        altered(
            alpha=lambda p, t: VP.alpha(p, t) * torch.where(as_time(t) > 0.3, 0.95, 1.0),
            sigma=lambda p, t: VP.sigma(p, t) * torch.where(as_time(t) > 0.3, 0.95, 1.0),
        ),
        "variance",
        "alpha jumps",
    ),
    "alpha is not 1": (altered(alpha=lambda p, t: 0.9 * VP.alpha(p, t)), "scales", "alpha is not 1 at the data"),
    "prior of images": (
        altered(prior=lambda p, z: VP.prior(p, z) * (1.1 if z.ndim > 2 else 1)),
        "prior",
        "the prior is not N(0, sigma(t_max)^2)",
    ),
    "an option without effect": (
        altered(
            alpha=lambda p, t: VP().alpha(t),
            sigma=lambda p, t: VP().sigma(t),
            published=lambda p, t: (VP().f(t), VP().g(t) ** 2),
        ),
        "options",
        "the option beta_min has no effect",
    ),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_faults_of_processes(name: str) -> None:
    """Each fault fails the check of the law that it violates."""
    sde, check, words = PROCESSES[name]
    assert words in failure(sde, check).cause


def swapped_at_7(sde: SDE, n: int) -> Tensor:
    """Exchange two times of a grid of seven steps."""
    times = karras(sde, n)
    return times if n != 7 else times[[0, 1, 2, 4, 3, 5, 6, 7]]


def long_step(sde: SDE, n: int) -> Tensor:
    """Step from t_max to rho = 0.5 at once."""
    middle = TruncatedSDE(sde, sde.time(as_time(0.5)))
    return torch.cat([karras(sde, n)[:1], karras(middle, n - 1)]) if n > 2 else karras(sde, n)


def power(sde: SDE, n: int, *, p: float = 7.0) -> Tensor:
    """Ignore the option."""
    return karras(sde, n)


GRIDS: dict[str, tuple[Callable[..., Tensor], str, str]] = {
    "unsorted at 7": (swapped_at_7, "decreasing[vp]", "a grid of 7 steps does not decrease"),
    "one long step": (long_step, "refines[vp]", "step 1 of 1000 is too long"),
    "an option without effect": (power, "options", "the option p has no effect"),
    "float32 inside": (
        lambda sde, n: torch.cat([karras(sde, n)[:1], karras(sde, n)[1:-1].float().double(), karras(sde, n)[-1:]]),
        "repeatable[vp]",
        "rounded to float32",
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_faults_of_grids(name: str) -> None:
    """Each fault fails the check of the law that it violates."""
    grid, check, words = GRIDS[name]
    assert words in failure(grid, check, kind="grid").cause


def guidance(formula: Callable[[Tensor, Tensor, float], Tensor]) -> Callable[..., Denoiser]:
    """Return a guidance with shortcuts at 0 and 1, given by a function of D(x, y), D(x) and the scale."""

    def guide(sde: SDE, denoise: Denoiser, *, scale: float = 2.0) -> Denoiser:
        def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            y = require_condition("guide", y)
            if scale in (0, 1):
                return denoise(x, t, y if scale else None)
            return formula(*denoise_pair(denoise, x, t, y), scale)

        return guided

    return guide


def required(sde: SDE, denoise: Denoiser) -> Denoiser:
    """Need a condition in every call."""
    return lambda x, t, y: denoise(x, t, y)  # type: ignore[misc,return-value,arg-type]


def counted(sde: SDE, denoise: Denoiser) -> Denoiser:
    """Depend on the number of calls."""
    calls = [0]

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        calls[0] += 1
        return denoise(x, t, y) * (1 + 1e-4 * calls[0])

    return guided


GUIDANCES: dict[str, tuple[Callable[..., Denoiser], str, str]] = {
    "exchanged": (guidance(lambda c, u, w: torch.lerp(c, u, w)), "scale limits[vp]", "the result jumps"),
    "from 1": (guidance(lambda c, u, w: c + w * (c - u)), "scale limits[vp]", "the result jumps"),
    "half": (guidance(lambda c, u, w: c + (w - 1) / 2 * (c - u)), "scale limits[vp]", "the result jumps from scale 0"),
    "float32": (guidance(lambda c, u, w: torch.lerp(u, c, w).float().to(c)), "shape[vp]", "rounded to float32"),
    "norm of channels": (
        guidance(lambda c, u, w: c + (w - 1) * (c - u) / (1 + abs(w - 1) * (c - u).norm(dim=1, keepdim=True))),
        "axes[vp]",
        "an axis of images is mistaken",
    ),
    "needs y": (required, "no condition[vp]", "raised an exception"),
    "remembers": (counted, "repeatable[vp]", "depends on earlier calls"),
}


@pytest.mark.parametrize("name", GUIDANCES)
def test_faults_of_guidances(name: str) -> None:
    """Each fault fails the check of the law that it violates."""
    guide, check, words = GUIDANCES[name]
    assert words in failure(guide, check, kind="guidance").cause


def test_a_correct_guidance_passes() -> None:
    """A guidance with a scale that depends on the noise level and shortcuts at 0 and 1 passes all checks."""

    def limited(sde: SDE, denoise: Denoiser, *, scale: float = 2.0) -> Denoiser:
        def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            y = require_condition("limited", y)
            if scale in (0, 1):
                return denoise(x, t, y if scale else None)
            c, u = denoise_pair(denoise, x, t, y)
            return u + broadcast(torch.where(sde.rho(t) < 5, scale, 1.0).double(), x) * (c - u)

        return guided

    verify.verify(limited, kind="guidance").raise_on_failure()
