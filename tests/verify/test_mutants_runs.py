"""Planted faults of predictions, losses and backends fail the check of the violated law."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sdekit import verify
from sdekit.backends import PreparedNetwork
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS, NetworkInput, ScoreModel
from sdekit.processes import as_time, broadcast

from .findings import failure


class OtherSkip(ScoreModel):
    """The denoiser's c_skip is that of data of unit standard deviation."""

    def forward(self, x: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        t = as_time(t)
        c_skip, _ = PREDICTIONS[self.prediction](self.sde.alpha(t), self.sde.sigma(t), 1.0)
        _, c_out = PREDICTIONS[self.prediction](self.sde.alpha(t), self.sde.sigma(t), self.data_std)
        return broadcast(c_skip, x) * x + broadcast(c_out, x) * self._output(self.network, x, t, y)


class Median(ScoreModel):
    """The absolute error, whose minimiser is the median."""

    def loss(self, *args: Any, **options: Any) -> Tensor:
        return super().loss(*args, **options) ** 0.5


class WeightedByData(ScoreModel):
    """A weight that depends on x_0 moves the minimiser; one that depends on t would not."""

    def loss(self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None = None, **options: Any) -> Tensor:
        return super().loss(x0, t, eps, y, **options) * (1 + x0.flatten(1).square().mean(1))


class MeanIgnored(ScoreModel):
    """The posterior mean is taken twice."""

    def loss(
        self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None = None, *, mean: Tensor | None = None
    ) -> Tensor:
        return super().loss(x0, t, eps, y, mean=None if mean is None else 2 * mean)


class ScoreOverSigma(ScoreModel):
    """eps = -sigma score, taken for the score."""

    def score(self, x: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        return super().score(x, t, y) * broadcast(self.sde.sigma(as_time(t)), x)


class NoDataStd(ScoreModel):
    """c_in of unit data."""

    def _output(self, run: Any, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        alpha, sigma = self.sde.alpha(t), self.sde.sigma(t)
        output: Tensor = run(broadcast((alpha**2 + sigma**2).rsqrt(), x) * x, torch.zeros(len(x), dtype=x.dtype), y)
        return output


class WholeBatch(ScoreModel):
    """One number for the batch."""

    def loss(self, *args: Any, **options: Any) -> Tensor:
        return super().loss(*args, **options).mean()[None]


class Floor(ScoreModel):
    """Never 0."""

    def loss(self, *args: Any, **options: Any) -> Tensor:
        return super().loss(*args, **options) + 0.01


class BreaksAtTheEnd(ScoreModel):
    """Divides by alpha."""

    def forward(self, x: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        scale = broadcast(self.sde.alpha(as_time(t)), x)
        return super().forward(x, t, y) * scale / scale


class DropsLabels(ScoreModel):
    """The denoiser ignores y."""

    def forward(self, x: Tensor, t: Tensor | float, y: Any = None) -> Tensor:
        return super().forward(x, t)


class OtherClock(ScoreModel):
    """The loss gives the network twice the c_noise."""

    def loss(self, *args: Any, **options: Any) -> Tensor:
        other = ScoreModel(self.network, self.sde, "edm", data_std=self.data_std, inputs=NetworkInput(scale=0.5))
        return other.loss(*args, **options)


class EvenClock(ScoreModel):
    """rho and 1 / rho have the same c_noise."""

    def _output(self, run: Any, x: Tensor, t: Tensor, y: Any) -> Tensor:
        return super()._output(lambda x, c_noise, y: run(x, c_noise.abs(), y), x, t, y)


class Clips(ScoreModel):
    """Clips x_0."""

    def forward(self, x: Tensor, t: Tensor | float, y: Any = None) -> Tensor:
        return super().forward(x, t, y).clamp(-10, 10)


class Maximised(ScoreModel):
    """A loss whose minimiser is a maximum."""

    def loss(self, *args: Any, **options: Any) -> Tensor:
        return -super().loss(*args, **options)


class Unweighted(ScoreModel):
    """No weight near t_min."""

    def loss(self, x0: Tensor, t: Tensor, eps: Tensor, y: Any = None, **options: Any) -> Tensor:
        return super().loss(x0, t, eps, y, **options) * (self.sde.rho(as_time(t)) > 0.01)


class Detached(ScoreModel):
    """The network does not see the graph of x."""

    def _output(self, run: Any, x: Tensor, t: Tensor, y: Any) -> Tensor:
        return super()._output(run, x.detach(), t, y)


class Overwrites(ScoreModel):
    """Changes eps in place."""

    def loss(self, x0: Tensor, t: Tensor, eps: Tensor, y: Any = None, **options: Any) -> Tensor:
        result = super().loss(x0, t, eps, y, **options)
        eps.add_(0.1)
        return result


READS: dict[str, tuple[type[ScoreModel], str, str]] = {
    "OtherSkip": (OtherSkip, "minimiser[vp]", "make the target of the loss agree with c_skip and c_out"),
    "Median": (Median, "minimiser[vp]", "does not give the exact denoiser"),
    "WeightedByData": (WeightedByData, "minimiser[vp]", "does not give the exact denoiser"),
    "MeanIgnored": (MeanIgnored, "mean target[vp]", "does not give the exact denoiser"),
    "ScoreOverSigma": (ScoreOverSigma, "score[vp]", "the score is not (alpha D - x) / sigma^2"),
    "NoDataStd": (NoDataStd, "input[vp]", "c_in does not scale the input to variance 1"),
    "WholeBatch": (WholeBatch, "broadcast[vp]", "loss has another shape"),
    "Floor": (Floor, "round trip[vp]", "the smallest loss is above 0"),
    "DropsLabels": (DropsLabels, "inputs[vp]", "D does not pass y to the network"),
    "OtherClock": (OtherClock, "inputs[vp]", "another scaled x or c_noise than D"),
    "EvenClock": (EvenClock, "c_noise[vp]", "two noise levels have the same c_noise"),
    "Clips": (Clips, "linear[vp]", "do not clip it"),
    "Maximised": (Maximised, "linear[vp]", "its weight must be positive"),
    "Unweighted": (Unweighted, "linear[vp]", "its weight must be positive"),
    "Detached": (Detached, "gradient[vp]", "remove detach()"),
    "Overwrites": (Overwrites, "repeatable[vp]", "is changed in place"),
    "BreaksAtTheEnd": (BreaksAtTheEnd, "finite[rectified-flow]", "D is not finite or not float32 at t = 1"),
}


@pytest.mark.parametrize("name", READS)
def test_faulty_predictions(name: str) -> None:
    """Each fault of a loss or model fails the check of the law that it violates."""
    made, check, words = READS[name]

    def read(network: nn.Module, sde: Any, *, data_std: float) -> ScoreModel:
        return made(network, sde, "edm", data_std=data_std)

    assert words in failure(read, check, kind="prediction").cause


TABLES: dict[str, tuple[Any, str, str]] = {
    "v": (lambda a, s, std: (a, s), "target[vp]", "another quantity than the name"),
    "eps": (lambda a, s, std: (1 / a, s / a), "target[vp]", "another quantity than the name"),
    "flow": (lambda a, s, std: (1 + 0 * a, -s), "target[vp]", "another quantity than the name"),
    "x0": (lambda a, s, std: (0 * a, 0.5 + 0 * a), "target[vp]", "another quantity than the name"),
    "edm": (
        lambda a, s, std: ((a * std**2) / (a * std + s) ** 2, s * std / ((a * std) ** 2 + s**2).sqrt()),
        "target[vp]",
        "another quantity than the name",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_faulty_tables(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong sign or factor of (c_skip, c_out) agrees with its own loss, but not with the paper."""
    table, check, words = TABLES[name]
    monkeypatch.setitem(PREDICTIONS, name, table)
    assert words in failure(name, check, kind="prediction").cause


def buffered(network: nn.Module) -> Callable[..., Tensor]:
    """Every result is written into the same memory."""
    kept: dict[Any, Tensor] = {}

    def run(x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return kept.setdefault(x.shape, torch.empty_like(x)).copy_(network(x, c_noise, y))

    return run


def wandering(network: nn.Module) -> Callable[..., Tensor]:
    """Each call gives a slightly different result."""
    calls = [0]

    def run(x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        calls[0] += 1
        return network(x, c_noise, y) * (1 + 1e-5 * calls[0])

    return run


def with_mean(network: nn.Module) -> Callable[..., Tensor]:
    """Adds the mean of the batch."""
    return lambda x, c, y=None: network(x, c, y) + 0.01 * x.mean() * (len(x) > 1)


FIRST: dict[Any, Any] = {}
BACKENDS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "a tenth more": (lambda f: lambda x, c, y=None: 1.1 * f(x, c, y), "eager[mlp]", "does not agree"),
    "no labels": (lambda f: lambda x, c, y=None: f(x, c, None), "eager[mlp]", "does not agree"),
    "half": (lambda f: lambda x, c, y=None: f(x, c, y).half(), "shape[mlp]", "cast and move the result back"),
    "buffered": (buffered, "results[mlp]", "the next call overwrites the last result"),
    "wandering": (wandering, "deterministic[mlp]", "the same input gives another result"),
    "with_mean": (with_mean, "batch[mlp]", "a row depends on the other rows"),
    "in place": (lambda f: lambda x, c, y=None: x.copy_(f(x, c, y)), "inputs[mlp]", "changes x in place"),
    "detached": (lambda f: lambda x, c, y=None: f(x, c, y).detach(), "gradient[mlp]", "the result has no gradient"),
    "three rows": (
        lambda f: lambda x, c, y=None: f(x, c, y) * (torch.arange(len(x)) < 4)[:, None],
        "eager[mlp]",
        "agree",
    ),
    "noise": (lambda f: lambda x, c, y=None: f(x, c.clamp(-1, 1), y), "eager[mlp]", "does not agree"),
    "null": (lambda f: lambda x, c, y=None: f(x, c, y if y is None else y.clamp(min=0)), "eager[mlp]", "agree"),
    "float32": (
        lambda f: lambda x, c, y=None: copy.deepcopy(f).float()(x.float(), c.float(), y).to(x.dtype),
        "float64[mlp]",
        "a network in float64 is rounded",
    ),
    "training": (lambda f: lambda x, c, y=None: f.train()(x, c, y), "network[mlp]", "the training mode"),
    "by name": (
        lambda f: (lambda first: lambda x, c, y=None: first(x, c, y))(FIRST.setdefault(type(f), f)),
        "prepared again[mlp]",
        "with the weights of an earlier one",
    ),
    "numbers": (
        lambda f: lambda x, c, y=None: f(x, c, y.nan_to_num() if isinstance(y, Tensor) else y),
        "embedding[mlp]",
        "pass y on unchanged",
    ),
    "its gradient": (
        lambda f: lambda x, c, y=None: f(x, c, y).detach() + x - x.detach(),
        "gradient[mlp]",
        "the gradient is not that of the network",
    ),
}


@pytest.mark.parametrize("name", BACKENDS)
def test_faulty_backends(name: str) -> None:
    """Each fault of a backend fails the check of the law that it violates."""
    backend, check, words = BACKENDS[name]
    assert words in failure(backend, check, kind="backend").cause


def test_what_a_backend_says_of_itself() -> None:
    """A backend may declare a dtype, which sets the tolerance, and that it has no gradients."""

    def rough(network: nn.Module) -> PreparedNetwork:
        return PreparedNetwork(
            call=lambda x, c, y=None: 1.02 * network(x, c, y), dtype=torch.bfloat16, differentiable=False
        )

    report = verify.verify(rough, kind="backend", quick=True)
    report.raise_on_failure()
    assert [result.name for result in report.skipped] == ["gradient[mlp]"]

    def elsewhere(network: nn.Module) -> PreparedNetwork:
        raise InputError("needs a machine of another kind")

    report = verify.verify(elsewhere, kind="backend", quick=True)
    assert report.passed and all("another kind" in str(result.measured) for result in report.skipped)
    assert len(report.skipped) == len(report.results)
