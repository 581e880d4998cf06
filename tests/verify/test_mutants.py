"""The kit catches planted faults, each by a check that names the cause; what they were made from passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdekit import verify
from sdekit.data.base import Batch
from sdekit.data.memory import MemoryDataset
from sdekit.data.toys import moons
from sdekit.networks.mlp import MLP
from sdekit.processes import VP, SubVP, TabulatedVP
from sdekit.sde import SDE, Denoise, as_time, like
from sdekit.verify.exact import PLANE

from . import faulty

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
    "RemembersOutside": ("state", "remembers a trajectory outside of it"),
    "YieldsTheStart": ("dtype[float64]", "a trajectory yields x at each of times[1:]"),
    "Drifts": ("flow[vp]", "does not follow the probability flow"),
}
SOUND = ("Ancestral", "Heun", "Multistep")


def failure(report: verify.Report, check: str) -> verify.Result:
    """The failed result of that name; all failures are told where it is not among them."""
    found = {result.name: result for result in report.failures}
    assert check in found, f"{check} did not fail; {[str(r) for r in report.failures]}"
    return found[check]


@pytest.mark.parametrize("name", SOUND)
def test_sound_samplers_pass(name: str) -> None:
    """So that a fault is all that its check can have found."""
    verify.verify(getattr(faulty, name)(), quick=True).raise_on_failure()


@pytest.mark.parametrize("name", SAMPLERS)
def test_faulty_samplers(name: str) -> None:
    """Each fault fails the check that is about it, and is told in words."""
    check, words = SAMPLERS[name]
    failed = failure(verify.verify(getattr(faulty, name)(), quick=True), check)
    assert words in failed.cause and failed.equation and failed.expected
    with pytest.raises(verify.NotConforming, match="FAILED: measured"):
        failed.raise_on_failure()


def test_every_fault_is_tried() -> None:
    """No class of `faulty` is left out."""
    module: ModuleType = faulty
    classes = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
    assert {n for n in classes if isinstance(getattr(module, n), type)} == {*SAMPLERS, *SOUND, "NoDefault"}


def test_an_option_without_a_default() -> None:
    """It cannot be built by name, and is told so."""
    failed = failure(verify.verify(faulty.NoDefault(scale=1.0), quick=True), "declaration")
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
    assert words in failure(verify.verify(make()), check).cause


def test_a_plugins_own_published_coefficients() -> None:
    """A process may state what its paper prints, as `published(t) -> (f, g^2)`."""

    @dataclass(frozen=True, kw_only=True)
    class Mine(VP):  # type: ignore[misc]
        factor: float = 1.0

        def published(self, t: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
            beta = 0.1 + 19.9 * t
            return -beta / 2, self.factor * beta

    assert verify.verify(Mine()).passed
    assert "g^2 is 0.5 times the published one" in failure(verify.verify(Mine(factor=2.0)), "published").cause


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
    assert words in failure(verify.verify(grid, kind="grid", quick=True), check).cause
    assert verify.verify(uniform, kind="grid", quick=True).passed


def by_classifier(scales_eps: bool = False, more: float = 0.0, mean: bool = False) -> Callable[..., Denoise]:
    """Classifier guidance with the mixture's exact classifier: score + scale grad log p_t(y | x)."""

    def guidance(sde: SDE, denoise: Denoise, *, scale: float = 1.0) -> Denoise:
        def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            x0, t = denoise(x, t), as_time(t)
            gradient = PLANE.score(x, sde, t, y) - PLANE.score(x, sde, t)
            gradient = gradient.mean(0, keepdim=True) if mean else gradient
            # eps = -sigma score; the fault leaves sigma out
            eps = sde.eps(x, x0, t) - (scale + more) * gradient * (1.0 if scales_eps else like(sde.sigma(t), x))
            return ((x - like(sde.sigma(t), x) * eps) / like(sde.alpha(t), x)).to(x.dtype)

        return guided

    return guidance


GUIDANCES: dict[str, tuple[Callable[..., Denoise], str, str]] = {
    "scales eps": (by_classifier(scales_eps=True), "scale 1[vp]", "scale the score"),
    "scale counts from 1": (by_classifier(more=1.0), "scale 0[vp]", "not the unconditional model"),
    "mean over the batch": (by_classifier(mean=True), "batch[vp]", "a row depends on the others"),
}


@pytest.mark.parametrize("name", GUIDANCES)
def test_faulty_guidances(name: str) -> None:
    """Against the mixture's exact conditionals."""
    guidance, check, words = GUIDANCES[name]
    assert words in failure(verify.verify(guidance, kind="guidance"), check).cause
    assert verify.verify(by_classifier(), kind="guidance").passed


class Normed(MLP):
    """Its output is centred over the batch."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        out = super().forward(x, c_noise, y)
        return out - out.mean(0)


class Dropping(MLP):
    """Dropout that stays on."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return nn.functional.dropout(super().forward(x, c_noise, y), 0.5, training=True)


class Idle(MLP):
    """A layer that nothing passes through."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.idle = nn.Linear(2, 2)


class Flat(MLP):
    """Forgets the shape."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x, c_noise, y).flatten(1)[:, :1]


class Single(MLP):
    """Casts."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x, c_noise, y).float()


class Forgetful(MLP):
    """Does not say how it was built."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.options = {"width": 7}


NETWORKS: dict[str, tuple[type[MLP], str, str]] = {
    "Normed": (Normed, "batch[2]", "depends on its batch"),
    "Dropping": (Dropping, "deterministic[2]", "in evaluation mode"),
    "Idle": (Idle, "gradient[2]", "2 parameters are never used"),
    "Flat": (Flat, "shape[2]", "not shaped as the input"),
    "Single": (Single, "dtype[2]", "fixed to float32"),
    "Forgetful": (Forgetful, "options[2]", "builds another network"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_faulty_networks(name: str) -> None:
    """Shapes, dtypes, determinism, the batch, and what the run folder rebuilds."""
    network, check, words = NETWORKS[name]
    assert words in failure(verify.verify(network, quick=True), check).cause


def test_backends() -> None:
    """What runs a network otherwise gives what the network gives."""
    assert verify.verify(lambda network: network, kind="backend").passed
    report = verify.verify(lambda network: lambda x, c, y: 1.1 * network(x, c, y), kind="backend")
    assert "does not agree" in failure(report, "eager").cause


class Shaken(MemoryDataset):
    """Adds noise of its own."""

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        return Batch(x + 0.01 * torch.randn_like(x), y)


class Sorted(MemoryDataset):
    """Puts a batch into its own order."""

    def batch(self, indices: Any) -> Batch:
        return super().batch(sorted(indices))


class Relabelled(MemoryDataset):
    """Counts labels from 1."""

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        return Batch(x, None if y is None else y + 1)


class Double(MemoryDataset):
    """float64."""

    def batch(self, indices: Any) -> Batch:
        x, y = super().batch(indices)
        return Batch(x.double(), y)


def as_class(kind: type[MemoryDataset]) -> MemoryDataset:
    """Moons, by another class."""
    data = moons(n=50)
    return kind(data.array, units=data.units, labels=data.labels, classes=data.classes)


count = 0


def another() -> MemoryDataset:
    """Moons of another seed each time."""
    global count
    count += 1
    return moons(n=50, seed=count)


DATASETS: dict[str, tuple[Callable[[], MemoryDataset], str, str]] = {
    "Shaken": (lambda: as_class(Shaken), "repeatable", "nothing may be random here"),
    "Sorted": (lambda: as_class(Sorted), "order", "not the items asked for, in order"),
    "Relabelled": (lambda: as_class(Relabelled), "labels", "labels leave [0, classes)"),
    "Double": (lambda: as_class(Double), "shape", "not float32"),
    "another": (another, "restart", "fix a seed"),
}


@pytest.mark.parametrize("name", DATASETS)
def test_faulty_datasets(name: str) -> None:
    """Repeatability, order, labels, dtype."""
    data, check, words = DATASETS[name]
    assert words in failure(verify.verify(data, kind="dataset"), check).cause


def mean_distance(samples: Tensor, reference: Tensor) -> float:
    """Sound."""
    return float((samples.mean(0) - reference.mean(0)).norm())


METRICS: dict[str, tuple[Callable[[Tensor, Tensor], Any], str, str]] = {
    "a tensor": (lambda x, y: torch.tensor(1.0), "number", "return float(value)"),
    "nan": (lambda x, y: math.nan, "number", "return float(value)"),
    "in order": (lambda x, y: float((x[0] - y[0]).norm()), "exchangeable", "depends on the order"),
    "constant": (lambda x, y: 1.0, "tells apart", "look like the reference"),
}


@pytest.mark.parametrize("name", METRICS)
def test_faulty_metrics(name: str) -> None:
    """A number, exchangeable, that tells laws apart."""
    metric, check, words = METRICS[name]
    assert words in failure(verify.verify(metric, kind="metric"), check).cause
    assert verify.verify(mean_distance, kind="metric").passed
