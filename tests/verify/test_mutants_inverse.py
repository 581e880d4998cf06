"""Planted faults of operators and restoration methods fail the check of the violated law."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sdekit.guidance import Guidance
from sdekit.inverse import Problem
from sdekit.inverse.operators import SVD, Average, Matrix, Operator
from sdekit.processes import SDE, Denoiser
from sdekit_plugins.inverse.mmps import mmps

from .findings import failure


def average(shape: tuple[int, ...]) -> Average:
    """A correct operator."""
    return Average(shape, 2)


class Sums(Average):
    """Adds up where it should take the mean; its adjoint still spreads the mean."""

    def apply(self, x: Tensor) -> Tensor:
        return 2 * super().apply(x)


class Centred(Average):
    """Takes away the mean of the batch."""

    def apply(self, x: Tensor) -> Tensor:
        out = super().apply(x)
        return out - out.mean(0)


class Cut(Average):
    """Detaches x."""

    def apply(self, x: Tensor) -> Tensor:
        return super().apply(x.detach())


class Longer(Average):
    """Its vectors are twice too long, and its values half of what they are."""

    def svd(self) -> SVD:
        svd = super().svd()
        return SVD(svd.s / 2, lambda c: 2 * svd.v(c), lambda x: 2 * svd.vt(x), svd.ut)


OPERATORS: dict[str, tuple[Callable[[tuple[int, ...]], Operator], str, str]] = {
    "Sums": (lambda shape: Sums(shape, 2), "adjoint[12]", "not the adjoint"),
    "Centred": (lambda shape: Centred(shape, 2), "shape[12]", "a row depends on the other rows"),
    "Cut": (lambda shape: Cut(shape, 2), "gradient[12]", "the measurement has no gradient"),
    "Longer": (lambda shape: Longer(shape, 2), "singular values[12]", "not the singular value decomposition"),
    "another shape": (
        lambda shape: Matrix(torch.ones(3, 12))[0] if shape else None,
        "shape[12]",
        "raised an exception",
    ),  # type: ignore[index]
}


@pytest.mark.parametrize("name", OPERATORS)
def test_faulty_operators(name: str) -> None:
    """Each fault of an operator fails the check of the law that it violates."""
    build, check, words = OPERATORS[name]
    assert words in failure(build, check, kind="operator").cause


def deaf(problem: Problem) -> Guidance:
    """Ignores the measurement."""
    return lambda sde, denoise: denoise


def backwards(problem: Problem) -> Guidance:
    """Moves away from the measurement."""

    def guidance(sde: SDE, denoise: Denoiser) -> Denoiser:
        towards = mmps(problem)(sde, denoise)
        return lambda x, t, y=None: 2 * denoise(x, t) - towards(x, t)

    return guidance


def averaged(problem: Problem) -> Guidance:
    """Moves every row by the mean of the batch."""

    def guidance(sde: SDE, denoise: Denoiser) -> Denoiser:
        towards = mmps(problem)(sde, denoise)
        return lambda x, t, y=None: denoise(x, t) + (towards(x, t) - denoise(x, t)).mean(0)

    return guidance


METHODS: dict[str, tuple[Callable[[Problem], Guidance], str, str]] = {
    "deaf": (deaf, "posterior[vp]", "hardly closer to the posterior"),
    "deaf, by its residual": (deaf, "measurement[vp]", "hardly agree with the measurement"),
    "backwards": (backwards, "measurement[vp]", "hardly agree with the measurement"),
    "averaged": (averaged, "batch[vp]", "depends on its batch"),
    "neither": (lambda problem: 3, "builds", "or a Sampler"),  # type: ignore[dict-item,return-value]
}


@pytest.mark.parametrize("name", METHODS)
def test_faulty_methods(name: str) -> None:
    """Each fault of a method fails the check of the law that it violates."""
    method, check, words = METHODS[name]
    assert words in failure(method, check, kind="restorer").cause
