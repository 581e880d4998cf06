"""Sampling of p(x_0 | y) by any registered method."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance, NamedGuidance, format_component
from sdekit.inverse.operators import LinearOperator, Operator
from sdekit.models import ScoreModel
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Sampler, Samples, sample

from .problem import Problem


def build_restorer(method: str, problem: Problem, **options: Any) -> Guidance | Sampler:
    """The registered method for a problem: a guidance, for any sampler, or a sampler of its own."""
    from sdekit.registry import build

    made: Guidance | Sampler = build("restorer", method, problem, **options)
    return made if isinstance(made, Sampler) else NamedGuidance(made, format_component(method, options))


def restore(
    sde: SDE, denoise: Denoiser, problem: Problem, method: str | Guidance | Sampler = "mmps", **arguments: Any
) -> Samples:
    """Draw samples of x_0 given a measurement. method: a registered name, or what `restorer` makes.

    arguments: as for `sdekit.sample`; `sampler` too ("ddim" where none is given), but for methods that are samplers
    themselves. guidance: others, which act before the method's. `shape` is the operator's.
    """
    made = build_restorer(method, problem) if isinstance(method, str) else method
    arguments = {"shape": problem.operator.shape, **arguments}
    if isinstance(made, Sampler):
        if arguments.pop("sampler", None) is not None:
            raise InputError(f"{type(made).__name__} is a sampler itself: name no other one")
        return sample(sde, denoise, made, **arguments)
    others = arguments.pop("guidance", ())
    others = [others] if isinstance(others, str) or callable(others) else list(others)
    sampler = arguments.pop("sampler", None) or "ddim"
    return sample(sde, denoise, sampler, guidance=[*others, made], **arguments)


def estimate_noise(
    model: ScoreModel,
    operator: Operator,
    measurement: Tensor,
    *,
    y: Tensor | None = None,
    rounds: int = 20,
    n: int = 4,
    steps: int = 16,
    device: torch.device | str = "cpu",
) -> float:
    """The noise's standard deviation in the measurement's units, as it makes the measurement most likely.

    Expectation maximisation: draw n samples of p(x_0 | y) at the present value, of which the next is the root mean
    square of y - A(x_0); from the size of y itself downwards, until it changes by less than a twentieth. Each round
    draws with mmps (dps where the operator is not linear) in `steps` steps. y: (k, ...) conditions, taken in turn.
    Source: Dempster, Laird & Rubin 1977.
    """
    measured = operator.check(measurement.double())
    y = None if y is None else y[torch.arange(n) % len(y)]
    std = max(float(measured.square().sum().div(operator.count).sqrt()), 1e-6)
    method = "mmps" if isinstance(operator, LinearOperator) else "dps"
    for _ in range(rounds):
        problem = Problem(operator, measured, std)
        x = restore(model.sde, model, problem, method, n=n, steps=steps, device=device, y=y).x.double().cpu()
        left = problem.residual(x).square().sum() / (n * operator.count)
        std, before = max(float(left.sqrt()), 1e-6), std
        if abs(std - before) < 0.05 * before:
            break
    return std
