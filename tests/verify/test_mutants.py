"""Planted faults of samplers, processes and grids fail the check of the violated law; correct components pass."""

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
    "EtaLeavesNoise": ("eta", "at eta = 0 the step still adds noise"),
    "DropsLastCorrection": ("last step[vp]", "the step that ends at t_min has order 1"),
    "NeverCorrects": ("order[vp]", "a lower order than the declared order 2"),
    "HiddenCall": ("calls[vp]", "more network calls than it declares"),
    "SkipsLastCall": ("calls[vp]", "fewer network calls than it declares"),
    "HiddenBatch": ("calls[vp]", "another batch size than that of x"),
    "SharedNoise": ("own noise", "a sample does not depend on its own draws"),
    "MixedNoise": ("own noise", "the draws of one sample affect other samples"),
    "BatchSizeNoise": ("batch", "so it depends on its batch"),
    "TorchsNoise": ("global generators", "global generator of torch"),
    "NumpysNoise": ("global generators", "global generator of numpy"),
    "PythonsJitter": ("global generators", "global generator of random"),
    "LoudNoise": ("weak order[vp]", "does not converge to the exact solution"),
    "UpwardNoise": ("intervals", "from t down to s"),
    "DrawsTwice": ("intervals", "the steps of two draws overlap"),
    "SilentDeclaration": ("noise", "declare stochastic = True"),
    "Unused": ("noise", "declare stochastic = False"),
    "CallsAtZero": ("times[vp]", "a network call has t = 0,"),
    "Float32Schedule": ("float64 schedule[vp]", "rounded to float32"),
    "Float32Result": ("dtype[float64]", "in the dtype and shape of x"),
    "InPlace": ("inputs", "changes x and a yielded x in place"),
    "InPlaceDenoised": ("inputs", "changes a denoised x_0 in place"),
    "KeepsGraph": ("gradient", "returns a tensor with a graph"),
    "DividesByAlpha": ("runs[rectified-flow]", "declare requires_finite_rho = True"),
    "WrongAxis": ("shape", "along the wrong axis"),
    "Undecorated": ("declaration", "decorate the class with @dataclass(frozen=True, kw_only=True)"),
    "Positional": ("declaration", "add kw_only=True"),
    "EqualStepsOnly": ("order[vp, uneven steps]", "a lower order than the declared order 2"),
    "RatioUpsideDown": ("last step[vp, uneven steps]", "the step that ends at t_min has order 1"),
    "RemembersOutside": ("state", "stores the state of a trajectory in the object"),
    "YieldsTheStart": ("dtype[float64]", "does not yield one x at each of times[1:]"),
    "Drifts": ("flow[vp]", "does not follow the probability flow"),
    "TurnsNoise": ("order[vp]", "does not converge to the exact solution"),
    "IndexAsTime": ("times[vp]", "outside the range of the process"),
    "RhoAsTime": ("times[vp]", "outside the range of the process"),
    "CorrectsTooEarly": ("order[vp]", "at the wrong time"),
    "SkipsLastStep": ("dtype[float64]", "does not yield one x at each of times[1:]"),
    "StopsOneEarly": ("last step[vp]", "the step that ends at t_min has order"),
    "FirstStepEuler": ("one step[vp]", "a step that is the first or the last has order 1"),
    "StaleHistory": ("same seed", "two runs with one seed differ"),
    "SwapsAtTheEnd": ("last step[vp]", "the step that ends at t_min has order"),
    "ForgetsLastNoise": ("one step[vp]", "omits a correction or its noise"),
    "VarianceForStd": ("weak order[vp]", "does not converge to the exact solution"),
    "Clips": ("order[vp]", "does not converge to the exact solution"),
    "Cancels": ("float32[vp]", "significant digits cancel"),
    "Float32Adaptive": ("float64 schedule[vp]", "rounded to float32"),
    "OwnGrid": ("on the way[rectified-flow]", "is not the solution at that time"),
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
    """The samplers without a fault pass all checks."""
    verify.verify(FAULTY[name](), quick=True).raise_on_failure()


@pytest.mark.parametrize("name", SAMPLERS)
def test_faulty_samplers(name: str) -> None:
    """Each fault fails the check of the law that it violates, with the right diagnosis."""
    check, words = SAMPLERS[name]
    failed = failure(FAULTY[name](), check)
    assert words in failed.cause and failed.equation and failed.expected
    with pytest.raises(verify.NotConforming, match="FAILED: measured"):
        failed.raise_on_failure()


@pytest.mark.parametrize("process", ["vp", "rectified-flow"])
def test_a_sound_adaptive_sampler(process: str) -> None:
    """An adaptive sampler, whose x is discontinuous in the times, passes the float64 check."""
    (check,) = (c for c in verify.checks(FAULTY["Adaptive"]()) if str(c) == f"float64 schedule[{process}]")
    check().raise_on_failure()


def test_every_fault_is_tried() -> None:
    """Every class of the three files is tested."""
    assert set(FAULTY) == {*SAMPLERS, *SOUND, "Adaptive", "NoDefault"}


def test_an_option_without_a_default() -> None:
    """A sampler with an option without a default fails the check of its declaration."""
    failed = failure(faulty_steps.NoDefault(scale=1.0), "declaration")
    assert "missing 1 required keyword-only argument: 'scale'" in str(failed.measured)


def altered(base: type, **methods: Any) -> SDE:
    """Return a process with some methods replaced."""
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
        "the published value: correct sigma or g",
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
        "f is not the published one: correct alpha",
    ),
    "sigma in float32": (
        lambda: altered(VP, sigma=lambda self, t: VP.sigma(self, t).float()),
        "scales",
        "sigma changes the dtype",
    ),
    "g in float32": (lambda: altered(VP, g=lambda self, t: VP.g(self, t).float()), "scales", "g changes the dtype"),
    "eps is turned": (
        lambda: altered(VP, eps=lambda self, x, x0, t: -VP.eps(self, x, x0, t)),
        "conversions",
        "eps is not the value that alpha and sigma imply",
    ),
    "twice the score": (
        lambda: altered(VP, score=lambda self, x, x0, t: 2 * VP.score(self, x, x0, t)),
        "conversions",
        "score is not the value that alpha and sigma imply",
    ),
    "no noise at t_min": (
        lambda: altered(VP, sigma=lambda self, t: VP.sigma(self, t) - VP.sigma(self, as_time(1e-5))),
        "scales",
        "sigma is outside its range",
    ),
    "alpha above 1": (
        lambda: altered(VP, alpha=lambda self, t: 1.5 * VP.alpha(self, t)),
        "scales",
        "alpha is outside its range",
    ),
    "the SNR rises": (
        lambda: altered(VP, sigma=lambda self, t: VP.sigma(self, t) * (1 + 0.9 * (30 * as_time(t)).sin())),
        "monotone",
        "rho decreases somewhere",
    ),
    "the prior is N(0, 1)": (lambda: altered(VP, prior=lambda self, noise: 1.1 * noise), "prior", "the prior is not"),
    "data are left at t_max": (lambda: VP(beta_max=2.0), "prior", "x at t_max still depends on the data"),
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
    """Each fault of a process fails the check of the law that it violates."""
    make, check, words = PROCESSES[name]
    assert words in failure(make(), check).cause


def test_a_plugins_own_published_coefficients() -> None:
    """A process may declare published coefficients with `published(t) -> (f, g^2)`."""

    @dataclass(frozen=True, kw_only=True)
    class Mine(VP):  # type: ignore[misc]
        factor: float = 1.0

        def published(self, t: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            beta = 0.1 + 19.9 * t
            return -beta / 2, self.factor * beta

    assert verify.verify(Mine()).passed
    assert "g^2 is 0.5 times the published value" in failure(Mine(factor=2.0), "published").cause


def uniform(sde: SDE, n: int) -> Tensor:
    """A correct grid."""
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
    "off by one": (lambda sde, n: karras(sde, n + 1)[:-1], "ends[vp]", "does not run from t_max to t_min"),
    "of another process": (lambda sde, n: uniform(VP(), n), "ends[rectified-flow]", "does not run from t_max to t_min"),
    "ends at 0": (
        lambda sde, n: torch.linspace(sde.t_max, 0, n + 1, dtype=torch.float64),
        "ends[vp]",
        "does not run from t_max to t_min",
    ),
    "default dtype": (
        lambda sde, n: torch.linspace(sde.t_max, sde.t_min, n + 1).double(),
        "repeatable[vp]",
        "default dtype",
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_faulty_grids(name: str) -> None:
    """Each fault of a grid fails the check of the law that it violates."""
    grid, check, words = GRIDS[name]
    assert words in failure(grid, check, kind="grid").cause


def test_a_sound_grid() -> None:
    """The grid without a fault passes all checks."""
    assert verify.verify(uniform, kind="grid", quick=True).passed
