"""Planted faults of operators and restoration methods fail the check of the violated law."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import pytest
import torch
from torch import Tensor

from sdekit.guidance import Guidance
from sdekit.inverse import Problem
from sdekit.inverse.operators import SVD, Average, Mask, Matrix, Operator
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


class Edited(Matrix):
    """A correct matrix of 5 rows, of which subclasses change a method."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        generator = torch.Generator().manual_seed(0)
        super().__init__(torch.randn(5, prod(shape), generator=generator, dtype=torch.float64), shape)


class Signed(Edited):
    """One singular value is negative."""

    def svd(self) -> SVD:
        svd, sign = super().svd(), torch.tensor([-1.0, 1, 1, 1, 1], dtype=torch.float64)
        return SVD(svd.s * sign, svd.v, svd.vt, lambda y: svd.ut(y) * sign.to(y))


class Truncated(Edited):
    """One singular vector is missing."""

    def svd(self) -> SVD:
        svd = super().svd()

        def v(c: Tensor) -> Tensor:
            return svd.v(torch.cat([c, 0 * c[:, :1]], 1))

        return SVD(svd.s[:4], v, lambda x: svd.vt(x)[:, :4], lambda y: svd.ut(y)[:, :4])


class OneAdjoint(Edited):
    """The adjoint of a batch is that of its first row."""

    def adjoint(self, y: Tensor) -> Tensor:
        return super().adjoint(y[:1]).expand(len(y), *self.shape)


class Limited(Edited):
    """Not linear for large x."""

    def apply(self, x: Tensor) -> Tensor:
        return super().apply(x).clamp(-1000, 1000)


class HalfGradient(Edited):
    """Half of the gradient is missing."""

    def apply(self, x: Tensor) -> Tensor:
        return (super().apply(x) + super().apply(x.detach())) / 2


class Counts(Edited):
    """More measured numbers than there are."""

    count = 99


class Transposed(Average):
    """Exchanges height and width."""

    def apply(self, x: Tensor) -> Tensor:
        return super().apply(x).mT if x.ndim > 3 else super().apply(x)


def fresh(shape: tuple[int, ...]) -> Mask:
    """Another mask each time that it is built."""
    return Mask((torch.rand(shape) > 0.5).double().index_fill(-1, torch.tensor(0), 1))


OPERATORS: dict[str, tuple[Callable[[tuple[int, ...]], Operator], str, str]] = {
    "Sums": (lambda shape: Sums(shape, 2), "adjoint[12]", "not the adjoint"),
    "Centred": (lambda shape: Centred(shape, 2), "shape[12]", "a row depends on the other rows"),
    "Cut": (lambda shape: Cut(shape, 2), "gradient[12]", "the measurement has no gradient"),
    "Longer": (lambda shape: Longer(shape, 2), "singular values[12]", "not the singular value decomposition"),
    "Signed": (Signed, "singular values[12]", "s contains negative numbers"),
    "Truncated": (Truncated, "singular values[12]", "add the missing singular vectors"),
    "OneAdjoint": (OneAdjoint, "adjoint[12]", "not the adjoint"),
    "Limited": (Limited, "adjoint[12]", "not linear for very small or large x"),
    "HalfGradient": (HalfGradient, "gradient[12]", "is not its derivative"),
    "Counts": (Counts, "measurement[12]", "`count` is not the number"),
    "Transposed": (lambda shape: Transposed(shape, 2), "shape[1x8x12]", "another shape or dtype than declared"),
    "fresh": (fresh, "repeatable[12]", "the same x gives another measurement"),
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


def with_noise(change: Callable[[float], float]) -> Callable[[Problem], Guidance]:
    """Return a method with another noise_std."""
    return lambda problem: mmps(Problem(problem.operator, problem.measurement, change(problem.noise_std)))


def unconditional(problem: Problem) -> Guidance:
    """Drops the condition of the samples."""

    def guidance(sde: SDE, denoise: Denoiser) -> Denoiser:
        guided = mmps(problem)(sde, denoise)
        return lambda x, t, y=None: guided(x, t)

    return guidance


def masks_only(problem: Problem) -> Guidance:
    """Uses A* in place of the pseudo-inverse."""

    def guidance(sde: SDE, denoise: Denoiser) -> Denoiser:
        def guided(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
            x0 = denoise(x, t, y)
            return x0 + problem.operator.adjoint(problem.residual(x0))  # type: ignore[attr-defined]

        return guided

    return guidance


def first_number(problem: Problem) -> Guidance:
    """Uses one measured number only."""
    matrix = problem.linear("verify").matrix()[:1]
    return mmps(Problem(Matrix(matrix), problem.measurement[:1], problem.noise_std))


def in_float64(problem: Problem) -> Guidance:
    """Returns float64."""

    def guidance(sde: SDE, denoise: Denoiser) -> Denoiser:
        guided = mmps(problem)(sde, denoise)
        return lambda x, t, y=None: guided(x, t, y).double()

    return guidance


METHODS: dict[str, tuple[Callable[[Problem], Guidance], str, str]] = {
    "deaf": (deaf, "posterior[vp]", "hardly closer to the posterior"),
    "deaf, by its residual": (deaf, "measurement[vp]", "hardly agree with the measurement"),
    "backwards": (backwards, "measurement[vp]", "hardly agree with the measurement"),
    "averaged": (averaged, "batch[vp]", "depends on its batch"),
    "ignores the noise": (with_noise(lambda std: 0.02), "noise[vp]", "weight it by noise_std"),
    "takes the variance": (with_noise(lambda std: std**0.5), "scale[vp]", "depend on the units of y"),
    "divides by the noise": (with_noise(lambda std: std * std / std), "noise[vp]", "exception"),
    "unconditional": (unconditional, "condition[vp]", "call denoise(x, t, y)"),
    "masks_only": (masks_only, "scale[vp]", "exception"),
    "first_number": (first_number, "all rows[vp]", "every number of the measurement"),
    "in_float64": (in_float64, "shape[vp]", "exception"),
    "neither": (lambda problem: 3, "builds", "or a Sampler"),  # type: ignore[dict-item,return-value]
}


@pytest.mark.parametrize("name", METHODS)
def test_faulty_methods(name: str) -> None:
    """Each fault of a method fails the check of the law that it violates."""
    method, check, words = METHODS[name]
    assert words in failure(method, check, kind="restorer").cause
