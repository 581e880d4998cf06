"""Planted faults of guidances and networks fail the check of the violated law."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sdekit import verify
from sdekit.distributions import GaussianMixture
from sdekit.errors import InputError
from sdekit.networks import MLP
from sdekit.processes import SDE, Denoiser, as_time, broadcast
from sdekit.verify import Trial
from sdekit.verify.common.problems import MIXTURE_2D

from .findings import failure


def by_classifier(scales_eps: bool = False, more: float = 0.0, mean: bool = False) -> Callable[..., Denoiser]:
    """Classifier guidance with the mixture's exact classifier: score + scale grad log p_t(y | x)."""

    def guidance(sde: SDE, denoise: Denoiser, *, scale: float = 1.0) -> Denoiser:
        exact = MIXTURE_2D.denoiser(sde)

        def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            change = exact(x, t, y) - exact(x, t)  # sigma^2 / alpha grad log p_t(y | x)
            change = change.mean(0, keepdim=True) if mean else change
            # eps = -sigma score; the fault leaves sigma out
            change = change / broadcast(sde.sigma(as_time(t)), x) if scales_eps else change
            return denoise(x, t) + (scale + more) * change

        return guided

    return guidance


def held(sde: SDE, denoise: Denoiser, *, scale: float = 1.0) -> Denoiser:
    """Limits the scale to 1."""
    return by_classifier()(sde, denoise, scale=min(scale, 1.0))


def altered(change: Callable[..., Tensor]) -> Callable[..., Denoiser]:
    """Classifier guidance; change(sde, guided, x, t, y) in place of guided(x, t, y)."""

    def guidance(sde: SDE, denoise: Denoiser, *, scale: float = 1.0) -> Denoiser:
        guided = by_classifier()(sde, denoise, scale=scale)
        return lambda x, t, y=None: change(sde, guided, x, as_time(t), y)

    return guidance


def with_graph(sde: SDE, guided: Denoiser, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
    """Differentiates, and does not detach."""
    with torch.enable_grad():
        return guided(x.detach().requires_grad_(), t, y)


def asks_data(sde: SDE, denoise: Denoiser, *, scale: float = 1.0) -> Denoiser:
    """The denoiser at t = 0."""
    guided = by_classifier()(sde, denoise, scale=scale)

    def both(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        denoise(x, as_time(0.0))
        return guided(x, t, y)

    return both


GUIDANCES: dict[str, tuple[Callable[..., Denoiser], str, str]] = {
    "scales eps": (by_classifier(scales_eps=True), "scale 1[vp]", "scale the score"),
    "scale counts from 1": (by_classifier(more=1.0), "scale 0[vp]", "does not give the unconditional model"),
    "scale held at 1": (held, "scale 2[vp]", "the scale is limited to 1 or ignored"),
    "one label for all": (
        altered(lambda sde, d, x, t, y: d(x, t, y[:1].expand_as(y))),
        "batch[vp]",
        "depends on the other rows",
    ),
    "one time for all": (
        altered(lambda sde, d, x, t, y: d(x, t if t.ndim == 0 else t[:1].expand_as(t), y)),
        "broadcast[vp]",
        "one t is used for all rows",
    ),
    "keeps a graph": (altered(with_graph), "inputs[vp]", "the result has a graph: detach it"),
    "in place": (altered(lambda sde, d, x, t, y: x.copy_(d(x, t, y))), "inputs[vp]", "changes x in place"),
    "asks at t = 0": (asks_data, "times[vp]", "a network call has t = 0,"),
    "divides by alpha": (
        altered(lambda sde, d, x, t, y: broadcast(sde.alpha(t) / sde.alpha(t), x) * d(x, t, y)),
        "finite[rectified-flow]",
        "divides by alpha",
    ),
    "labels ignored": (
        altered(lambda sde, d, x, t, y: d(x, t, 0 * y)),
        "scale 1[vp]",
        "does not give the conditional model",
    ),
    "mean over the batch": (by_classifier(mean=True), "batch[vp]", "a row depends on the other rows"),
}


@pytest.mark.parametrize("name", GUIDANCES)
def test_faulty_guidances(name: str) -> None:
    """Each fault of a guidance fails the check of the law that it violates."""
    guidance, check, words = GUIDANCES[name]
    assert words in failure(guidance, check, kind="guidance").cause


def test_a_sound_guidance() -> None:
    """The guidance without a fault passes all checks."""
    verify.verify(by_classifier(), kind="guidance").raise_on_failure()


def first_is(sde: SDE, denoise: Denoiser, *, value: float | None = None, wrong: float = 0.0) -> Denoiser:
    """Sets the first coordinate of the denoised x_0 to a known value; `wrong` is the fault."""
    if value is None:
        raise InputError("first-is: needs value, the first coordinate")

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        x0 = denoise(x, t).clone()
        x0[:, 0] = value + wrong
        return x0

    return guided


def first_is_trial(sde: SDE, mixture: GaussianMixture) -> Trial:
    """The closed form of `first_is`."""

    def exact(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        x0 = mixture.denoiser(sde)(x, t).clone()
        x0[:, 0] = 0.5
        return x0

    return Trial({"value": 0.5}, exact)


def test_a_guidance_that_needs_options() -> None:
    """A guidance that needs options is skipped without a trial, and compared with its closed form with one."""
    report = verify.verify(first_is, kind="guidance")
    assert report.passed and len(report.skipped) == len(report.results)
    assert all("needs options: first-is: needs value" in str(result.measured) for result in report.results)
    assert "shape[vp]: skipped" in str(report.results[0])

    def sound(sde: SDE, denoise: Denoiser, *, value: float | None = None) -> Denoiser:
        return first_is(sde, denoise, value=value)

    def faulty(sde: SDE, denoise: Denoiser, *, value: float | None = None) -> Denoiser:
        return first_is(sde, denoise, value=value, wrong=1e-3)

    sound.trial = faulty.trial = first_is_trial  # type: ignore[attr-defined]
    report = verify.verify(sound, kind="guidance")
    report.raise_on_failure()
    assert not report.skipped and "exact[vp]" in {result.name for result in report.results}
    assert "not the exact one that the trial declares" in failure(faulty, "exact[vp]", kind="guidance").cause


class DeafToNoise(MLP):
    """Sees no noise level."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x, 0 * c_noise, y)


class DeafToLabels(MLP):
    """Sees no labels, though it has their embedding."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x, c_noise, None if y is None else 0 * y)


class NumpysWeights(MLP):
    """Draws a weight from another generator."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        next(self.parameters()).data += float(np.random.standard_normal())


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


class Unregistered(MLP):
    """A weight that no run folder keeps."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register_buffer("scale", torch.rand(()) + 1, persistent=False)

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x, c_noise, y) * self.scale


class TakesTheLastLabel(MLP):
    """The label -1 is an index from the end."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x, c_noise, None if y is None else y % 3)


class Overflows(MLP):
    """Sees rho itself, far too large."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x, (40 * c_noise).exp(), y)


class Scales(MLP):
    """Divides what it was given."""

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x.div_(2), c_noise, y)


NETWORKS: dict[str, tuple[type[MLP], str, str]] = {
    "Normed": (Normed, "batch[2]", "depends on the other rows"),
    "Dropping": (Dropping, "deterministic[2]", "in evaluation mode"),
    "Idle": (Idle, "gradient[2]", "2 parameters have no gradient"),
    "Flat": (Flat, "shape[2]", "does not have the shape of x"),
    "Single": (Single, "dtype[2]", "always computes in float32"),
    "DeafToNoise": (DeafToNoise, "condition[2]", "does not depend on c_noise"),
    "DeafToLabels": (DeafToLabels, "condition[2]", "does not depend on y"),
    "NumpysWeights": (NumpysWeights, "seed[2]", "a run is not repeatable"),
    "Unregistered": (Unregistered, "saved[2]", "a run folder would lose it"),
    "TakesTheLastLabel": (TakesTheLastLabel, "null[2]", "does not give the output of y = None"),
    "Overflows": (Overflows, "range[2]", "the noise level overflows"),
    "Scales": (Scales, "inputs[2]", "changes x in place"),
    "Forgetful": (Forgetful, "options[2]", "builds another network"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_faulty_networks(name: str) -> None:
    """Each fault of a network fails the check of the law that it violates."""
    network, check, words = NETWORKS[name]
    assert words in failure(network, check).cause


def small(change: Callable[..., Any]) -> type[MLP]:
    """Return a network whose inputs are changed by `change(network, x, c_noise, y) -> x, c_noise, y`."""

    class Changed(MLP):
        def __init__(self, shape: Any, classes: int = 0, *, width: int = 16, depth: int = 1) -> None:
            super().__init__(shape, classes, width=width, depth=depth)

        def forward(self, x: Tensor, c_noise: Tensor, y: Any = None) -> Tensor:
            return super().forward(*change(self, x, c_noise, y))

    return Changed


class Undisclosed(MLP):
    """An option that is not recorded."""

    def __init__(self, shape: Any, classes: int = 0, *, gain: float = 1.0) -> None:
        super().__init__(shape, classes)
        self.options, self.gain = {}, gain

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return self.gain * super().forward(x, c_noise, y)


class Counting(MLP):
    """A buffer that changes in evaluation mode."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        self.calls += 1
        return super().forward(x, c_noise, y)


class Constant(MLP):
    """A constant that stays on the CPU."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = torch.ones(3)

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        return super().forward(x, c_noise, y) * self.table[:1]


def any_null(_: Any, x: Tensor, c_noise: Tensor, y: Tensor | None) -> tuple[Any, ...]:
    """Drop all labels of a batch with a label of -1."""
    return x, c_noise, None if y is None or bool((y < 0).any()) else y


def centred(_: Any, x: Tensor, c_noise: Tensor, y: Tensor | None) -> tuple[Any, ...]:
    """Subtract the mean of batches above 4 rows."""
    return x - x.mean(0) * (len(x) > 4), c_noise, y


LATER_NETWORKS: dict[str, tuple[type[MLP], str, str]] = {
    "label 0": (small(lambda _, x, c, y: (x, c, y if y is None else y - (y == 0).long())), "condition[2]", "on y"),
    "last label": (small(lambda _, x, c, y: (x, c, y if y is None else y.clamp(max=1))), "condition[2]", "on y"),
    "even": (small(lambda _, x, c, y: (x, c.abs(), y)), "condition[2]", "on c_noise"),
    "any null": (small(any_null), "batch[2]", "depends on the other rows"),
    "centred": (small(centred), "batch[2]", "depends on the other rows"),
    "detached": (small(lambda _, x, c, y: (x.detach() + 0 * x, c, y)), "slope[2]", "is not the derivative"),
    "rounded": (small(lambda _, x, c, y: (x.float().to(x.dtype), c, y)), "dtype[2]", "in float32"),
    "generator": (small(lambda _, x, c, y: (x + 0 * torch.rand(()), c, y)), "deterministic[2]", "global generator"),
    "Counting": (Counting, "deterministic[2]", "changes calls"),
    "Constant": (Constant, "device[2]", "register it as a buffer"),
    "Undisclosed": (Undisclosed, "options[2]", "gain=2"),
}


@pytest.mark.parametrize("name", LATER_NETWORKS)
def test_subtle_faults_of_networks(name: str) -> None:
    """Faults that need other labels, noise levels, batch sizes or options fail the check of the violated law."""
    network, check, words = LATER_NETWORKS[name]
    assert words in failure(network, check).cause


class TextConditioned(MLP):
    """A correct network that is conditioned on embeddings and accepts no labels."""

    def __init__(self, shape: Any, classes: int = 0, *, embedding_size: int = 0) -> None:
        if classes:
            raise InputError("this network takes embeddings, not labels")
        super().__init__(shape, 0, width=16, depth=1, embedding_size=embedding_size)
        self.options = {"embedding_size": embedding_size}


def test_a_network_without_labels() -> None:
    """A network that accepts embeddings only passes, and its checks of labels are skipped."""
    report = verify.verify(TextConditioned, quick=True)
    report.raise_on_failure()
    assert [result.name for result in report.skipped] == ["null[2]", "null[1x8x12]"]
