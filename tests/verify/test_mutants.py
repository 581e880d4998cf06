"""The kit catches planted faults, each by a check that names the cause; what they were made from passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit import verify
from sdekit.processes import SDE, VP, SubVP, TabulatedVP, as_time
from sdekit.sampling import Sampler, karras

from . import faulty_noise, faulty_paths, faulty_steps
from .findings import failure

# fault: the check that fails, and words of its cause
SAMPLERS: dict[str, tuple[str, str]] = {
    "SigmaOfT": ("order[vp]", "does not converge to the exact solution"),
    "SqrtEta": ("eta", "the noise scales as sqrt(eta)"),
    "EtaLeavesNoise": ("eta", "at eta = 0 noise is left"),
    "DropsLastCorrection": ("last step[vp]", "the step that ends at t_min is of order 1"),
    "NeverCorrects": ("order[vp]", "a lower order than the 2 it declares"),
    "HiddenCall": ("calls[vp]", "a hidden network call"),
    "SkipsLastCall": ("calls[vp]", "it declares more calls than it makes"),
    "HiddenBatch": ("calls[vp]", "another batch than it was given"),
    "SharedNoise": ("own noise", "noise is shared across the batch"),
    "MixedNoise": ("own noise", "the draws of one sample reach the others"),
    "BatchSizeNoise": ("batch", "it depends on its batch"),
    "TorchsNoise": ("global generators", "global generator of torch"),
    "NumpysNoise": ("global generators", "global generator of numpy"),
    "PythonsJitter": ("global generators", "global generator of random"),
    "LoudNoise": ("weak order[vp]", "does not converge to the exact solution"),
    "UpwardNoise": ("intervals", "from t down to s"),
    "DrawsTwice": ("intervals", "two draws overlap"),
    "SilentDeclaration": ("noise", "it draws noise and declares none"),
    "Unused": ("noise", "it declares noise and uses none"),
    "CallsAtZero": ("times[vp]", "a network call at t = 0,"),
    "Float32Schedule": ("float64 schedule[vp]", "through float32"),
    "Float32Result": ("dtype[float64]", "as it was given"),
    "InPlace": ("inputs", "an in-place change of x"),
    "InPlaceDenoised": ("inputs", "an in-place change of a denoised x_0"),
    "KeepsGraph": ("gradient", "gradients are enabled in a step and kept"),
    "DividesByAlpha": ("finite[rectified-flow]", "a coefficient is infinite"),
    "WrongAxis": ("shape", "along the wrong axis"),
    "Undecorated": ("declaration", "decorate it with @dataclass(frozen=True, kw_only=True)"),
    "Positional": ("declaration", "add kw_only=True"),
    "EqualStepsOnly": ("order[vp, uneven steps]", "at a lower order than the 2 it declares"),
    "RatioUpsideDown": ("last step[vp, uneven steps]", "the step that ends at t_min is of order 1"),
    "RemembersOutside": ("state", "remembers a trajectory outside of it"),
    "YieldsTheStart": ("dtype[float64]", "a trajectory yields x at each of times[1:]"),
    "Drifts": ("flow[vp]", "does not follow the probability flow"),
    "TurnsNoise": ("order[vp]", "does not converge to the exact solution"),
    "IndexAsTime": ("times[vp]", "outside of the process's range"),
    "RhoAsTime": ("times[vp]", "outside of the process's range"),
    "CorrectsTooEarly": ("order[vp]", "at the wrong time"),
    "SkipsLastStep": ("dtype[float64]", "a trajectory yields x at each of times[1:]"),
    "StopsOneEarly": ("last step[vp]", "the step that ends at t_min is of order"),
    "FirstStepEuler": ("one step[vp]", "is of order 1 where it is the first or the last"),
    "StaleHistory": ("same seed", "two runs with one seed differ"),
    "SwapsAtTheEnd": ("last step[vp]", "the step that ends at t_min is of order"),
    "ForgetsLastNoise": ("one step[vp]", "drops a correction or its noise"),
    "VarianceForStd": ("weak order[vp]", "does not converge to the exact solution"),
    "Clips": ("order[vp]", "does not converge to the exact solution"),
    "Cancels": ("float32[vp]", "digits cancel"),
    "Float32Adaptive": ("float64 schedule[vp]", "through float32"),
    "OwnGrid": ("on the way[rectified-flow]", "is not x of that time"),
}
MODULES: tuple[ModuleType, ...] = (faulty_noise, faulty_steps, faulty_paths)
FAULTY: dict[str, type[Sampler]] = {
    name: value
    for module in MODULES
    for name, value in vars(module).items()
    if isinstance(value, type) and value.__module__ == module.__name__
}
SOUND = ("Ancestral", "Heun", "Multistep")


@pytest.mark.parametrize("name", SOUND)
def test_sound_samplers_pass(name: str) -> None:
    """So that a fault is all that its check can have found."""
    verify.verify(FAULTY[name](), quick=True).raise_on_failure()


@pytest.mark.parametrize("name", SAMPLERS)
def test_faulty_samplers(name: str) -> None:
    """Each fault fails the check that is about it, and is told in words."""
    check, words = SAMPLERS[name]
    failed = failure(FAULTY[name](), check)
    assert words in failed.cause and failed.equation and failed.expected
    with pytest.raises(verify.NotConforming, match="FAILED: measured"):
        failed.raise_on_failure()


@pytest.mark.parametrize("process", ["vp", "rectified-flow"])
def test_a_sound_adaptive_sampler(process: str) -> None:
    """Its x is not continuous in the times, and that is no rounding."""
    (check,) = (c for c in verify.checks(FAULTY["Adaptive"]()) if str(c) == f"float64 schedule[{process}]")
    check().raise_on_failure()


def test_every_fault_is_tried() -> None:
    """No class of the three files is left out."""
    assert set(FAULTY) == {*SAMPLERS, *SOUND, "Adaptive", "NoDefault"}


def test_an_option_without_a_default() -> None:
    """It cannot be built by name, and is told so."""
    failed = failure(faulty_steps.NoDefault(scale=1.0), "declaration")
    assert "missing 1 required keyword-only argument: 'scale'" in str(failed.measured)


def altered(base: type, **methods: Any) -> SDE:
    """A process with some methods replaced."""
    made: SDE = type(base.__name__, (base,), methods)() if base is not TabulatedVP else None
    return made


class WrongInverse(TabulatedVP):
    def time(self, rho: Tensor) -> Tensor:
        return super().time(rho) - 1 / len(self.betas)


PROCESSES: dict[str, tuple[Callable[[], SDE], str, str]] = {
    "g is off by sqrt(2)": (lambda: altered(VP, g=lambda self, t: 2**0.5 * VP.g(self, t)), "g", "g^2 is 2 times"),
    "the same, as variance": (lambda: altered(VP, g=lambda self, t: 2**0.5 * VP.g(self, t)), "variance", "times the"),
    "SubVP with VP's sigma": (
        lambda: altered(SubVP, sigma=lambda self, t: VP().sigma(t), time=lambda self, rho: VP().time(rho)),
        "published",
        "sigma or g is another process's",
    ),
    "time is off by one knot": (
        lambda: WrongInverse(TabulatedVP.linear(n=100).betas),
        "time",
        "not the inverse of rho",
    ),
    "f has the wrong sign": (lambda: altered(VP, f=lambda self, t: -VP.f(self, t)), "f", "f is -1 times"),
    "alpha is squared": (
        lambda: altered(VP, alpha=lambda self, t: VP.alpha(self, t) ** 2),
        "published",
        "alpha is another",
    ),
    "sigma in float32": (lambda: altered(VP, sigma=lambda self, t: VP.sigma(self, t).float()), "scales", "sigma casts"),
    "g in float32": (lambda: altered(VP, g=lambda self, t: VP.g(self, t).float()), "scales", "g casts"),
    "eps is turned": (
        lambda: altered(VP, eps=lambda self, x, x0, t: -VP.eps(self, x, x0, t)),
        "conversions",
        "eps is not what alpha and sigma imply",
    ),
    "twice the score": (
        lambda: altered(VP, score=lambda self, x, x0, t: 2 * VP.score(self, x, x0, t)),
        "conversions",
        "score is not what alpha and sigma imply",
    ),
    "no noise at t_min": (
        lambda: altered(VP, sigma=lambda self, t: VP.sigma(self, t) - VP.sigma(self, as_time(1e-5))),
        "scales",
        "sigma leaves",
    ),
    "alpha above 1": (lambda: altered(VP, alpha=lambda self, t: 1.5 * VP.alpha(self, t)), "scales", "alpha leaves"),
    "the SNR rises": (
        lambda: altered(VP, sigma=lambda self, t: VP.sigma(self, t) * (1 + 0.9 * (30 * as_time(t)).sin())),
        "monotone",
        "the SNR rises",
    ),
    "the prior is N(0, 1)": (lambda: altered(VP, prior=lambda self, noise: 1.1 * noise), "prior", "the prior is not"),
    "data are left at t_max": (lambda: VP(beta_max=2.0), "prior", "much of the data is left"),
    "t meets the last axis": (
        lambda: altered(
            VP,
            perturb=lambda self, x0, t, eps: (
                (self.alpha(t) * x0 + self.sigma(t) * eps).to(x0.dtype)
                if x0.shape[-1] == t.numel() or t.ndim == 0
                else SDE.perturb(self, x0, t, eps)
            ),
        ),
        "broadcast",
        "along the wrong axis",
    ),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_faulty_processes(name: str) -> None:
    """Against alpha and sigma, against the paper, against its own inverse."""
    make, check, words = PROCESSES[name]
    assert words in failure(make(), check).cause


def test_a_plugins_own_published_coefficients() -> None:
    """A process may state what its paper prints, as `published(t) -> (f, g^2)`."""

    @dataclass(frozen=True, kw_only=True)
    class Mine(VP):  # type: ignore[misc]
        factor: float = 1.0

        def published(self, t: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            beta = 0.1 + 19.9 * t
            return -beta / 2, self.factor * beta

    assert verify.verify(Mine()).passed
    assert "g^2 is 0.5 times the published one" in failure(Mine(factor=2.0), "published").cause


def uniform(sde: SDE, n: int) -> Tensor:
    """Sound."""
    return torch.linspace(sde.t_max, sde.t_min, n + 1, dtype=torch.float64)


GRIDS: dict[str, tuple[Callable[[SDE, int], Tensor], str, str]] = {
    "repeats its last point": (
        lambda sde, n: torch.cat([uniform(sde, n - 1) if n > 1 else uniform(sde, n)[:1], uniform(sde, n)[-1:]]),
        "decreasing[vp]",
        "repeats a time",
    ),
    "increases": (lambda sde, n: uniform(sde, n).flip(0), "decreasing[vp]", "does not decrease"),
    "one too many": (lambda sde, n: uniform(sde, n + 1), "length[vp]", "has another length"),
    "float32": (lambda sde, n: uniform(sde, n).float(), "length[vp]", "dtype"),
    "one too few": (
        lambda sde, n: uniform(sde, n - 1) if n > 1 else uniform(sde, n),
        "length[vp]",
        "has another length",
    ),
    "off by one": (lambda sde, n: karras(sde, n + 1)[:-1], "ends[vp]", "misses an end"),
    "of another process": (lambda sde, n: uniform(VP(), n), "ends[rectified-flow]", "misses an end"),
    "ends at 0": (lambda sde, n: torch.linspace(sde.t_max, 0, n + 1, dtype=torch.float64), "ends[vp]", "misses an end"),
    "default dtype": (
        lambda sde, n: torch.linspace(sde.t_max, sde.t_min, n + 1).double(),
        "repeatable[vp]",
        "default dtype",
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_faulty_grids(name: str) -> None:
    """Length, ends and order, each by its name."""
    grid, check, words = GRIDS[name]
    assert words in failure(grid, check, kind="grid").cause


def test_a_sound_grid() -> None:
    """What the faulty ones were made from."""
    assert verify.verify(uniform, kind="grid", quick=True).passed
