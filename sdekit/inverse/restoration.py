"""Restoration: samples of p(x_0 | y) by any registered method, and an estimate of the noise in y."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sdekit.arguments import check_count, check_instance, check_tensor
from sdekit.errors import InputError
from sdekit.guidance import Guidance, NamedGuidance, format_component
from sdekit.inverse.operators import LinearOperator, Operator
from sdekit.models import Condition, ScoreModel
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Sampler, Samples, sample

from .problem import Problem


def build_restorer(method: str, problem: Problem, **options: Any) -> Guidance | Sampler:
    """Build a registered restoration method for a problem.

    Arguments:
        method: Registered name.
        problem: The inverse problem.
        options: Options of the method.
    Returns:
        A guidance, which works with any sampler, or a sampler.
    """
    from sdekit.registry import build

    check_instance("restore: problem", problem, Problem, "a Problem(operator, measurement)")
    restorer: Guidance | Sampler = build("restorer", method, problem, **options)
    return restorer if isinstance(restorer, Sampler) else NamedGuidance(restorer, format_component(method, options))


def restore(
    sde: SDE, denoise: Denoiser, problem: Problem, method: str | Guidance | Sampler = "mmps", **arguments: Any
) -> Samples:
    """Draw samples of x_0 given a measurement.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        problem: The inverse problem.
        method: Registered name, or a result of `build_restorer`.
        arguments: Arguments of `sdekit.sample`. `sampler` is "ddim" by default and must be absent if the method is a
            sampler. `guidance` is applied before the guidance of the method. `shape` is by default the shape of a
            sample of the operator.
    Returns:
        The samples.
    Raises:
        InputError: If the method is a sampler and another sampler is given.
    """
    check_instance("restore: problem", problem, Problem, "a Problem(operator, measurement)")
    restorer = build_restorer(method, problem) if isinstance(method, str) else method
    arguments = {"shape": problem.operator.shape, **arguments}
    if isinstance(restorer, Sampler):
        if arguments.pop("sampler", None) is not None:
            raise InputError(f"{type(restorer).__name__} is a sampler itself: leave out `sampler`")
        return sample(sde, denoise, restorer, **arguments)
    others = arguments.pop("guidance", ())
    others = [others] if isinstance(others, str) or callable(others) else list(others)
    sampler = arguments.pop("sampler", None) or "ddim"
    return sample(sde, denoise, sampler, guidance=[*others, restorer], **arguments)


def estimate_noise(
    model: ScoreModel,
    operator: Operator,
    measurement: Tensor,
    *,
    y: Tensor | Condition | None = None,
    rounds: int = 20,
    n: int = 4,
    steps: int = 16,
    device: torch.device | str = "cpu",
) -> float:
    """Estimate the noise's standard deviation that makes a measurement most likely.

    The method is expectation maximisation. Each round draws n samples of p(x_0 | measurement) with the current
    estimate; the next estimate is the root mean square of measurement - A(x_0). The first estimate is the root mean
    square of the measurement. The rounds end when the estimate changes by less than 5 %.

    Arguments:
        model: The model.
        operator: The operator A; samples are drawn with mmps if it is linear, and else with dps.
        measurement: The measurement, (*measured).
        y: Conditions, (k, ...), assigned to the n samples in turn, or None.
        rounds: Largest number of estimates.
        n: Number of samples of each round.
        steps: Number of steps of the sampler.
        device: Device on which samples are drawn.
    Returns:
        The standard deviation in the units of the measurement, at least 1e-6.
    Source:
        Dempster, Laird & Rubin 1977.
    """
    check_instance("estimate_noise: model", model, ScoreModel, "a ScoreModel")
    check_instance("estimate_noise: operator", operator, Operator, "an operator of sdekit.inverse.operators")
    check_tensor("estimate_noise: measurement", measurement)
    rounds, n = check_count("estimate_noise: rounds", rounds, least=1), check_count("estimate_noise: n", n, least=1)
    if y is not None:
        check_instance("estimate_noise: y", y, (Tensor, Condition), "a tensor (k, ...) or a Condition")
        y = y.reshape(1) if isinstance(y, Tensor) and not y.ndim else y
    measured = operator.check(measurement.double())
    y = None if y is None else y[torch.arange(n) % len(y)]
    std = max(float(measured.square().sum().div(operator.count).sqrt()), 1e-6)
    method = "mmps" if isinstance(operator, LinearOperator) else "dps"
    for _ in range(rounds):
        problem = Problem(operator, measured, std)
        x = restore(model.sde, model, problem, method, n=n, steps=steps, device=device, y=y).x.cpu().double()
        variance = problem.residual(x).square().sum() / (n * operator.count)
        std, before = max(float(variance.sqrt()), 1e-6), std
        if abs(std - before) < 0.05 * before:
            break
    return std
