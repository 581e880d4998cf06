"""Composition of several guidances around one denoiser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from sdekit.arguments import check_function, describe_value
from sdekit.errors import InputError
from sdekit.processes import SDE, Denoiser, evaluate_denoiser
from sdekit.registry import resolve

from .context import SamplingContext, count_calls
from .guidance import Guidance, GuidedDenoiser, unguided

EXPECTED = "a name or a function of (sde, denoise)"


def compose(sde: SDE, denoise: Denoiser, guidance: Sequence[Guidance]) -> Denoiser:
    """Apply several guidances to a denoiser, the first one innermost.

    A guidance usually returns a plain function; the `unguided` denoiser of the result is then the `unguided` denoiser
    of its input. A guidance may return a `GuidedDenoiser` to choose another one.

    Arguments:
        sde: Process of the denoiser.
        denoise: Denoiser without guidance.
        guidance: Guidances in the order of their application.
    Returns:
        The guided denoiser; `denoise` itself if there is no guidance.
    """
    guided = denoise
    for guide in guidance:
        result = guide(sde, guided)
        check_function("guidance: the result of a function of (sde, denoise)", result, "a denoiser")
        guided = result if isinstance(result, GuidedDenoiser) else GuidedDenoiser(result, unguided(guided))
    return guided


def resolve_guidance(guidance: Guidance | str | Sequence[Guidance | str]) -> list[Guidance]:
    """Convert guidances and registered names to a list of guidances.

    Arguments:
        guidance: One guidance or name, or several. A name is built with its default options.
    Returns:
        The guidances.
    Raises:
        InputError: If a name is not registered, or an object is not callable.
    """
    several: Any = guidance
    if isinstance(guidance, str) or callable(guidance):
        several = [guidance]
    elif not isinstance(several, Iterable) or hasattr(several, "dtype"):
        raise InputError(f"guidance must be {EXPECTED}, got {describe_value(guidance)}")
    guides: list[Guidance] = [resolve("guidance", choice) for choice in several]
    for guide in guides:
        check_function("guidance", guide, EXPECTED)
    return guides


def guidance_cost(sde: SDE, guidance: Sequence[Guidance], x: Tensor, y: Any, levels: int = 17) -> int:
    """Count the network evaluations of one guided denoising, without a network.

    The evaluations are counted at several noise levels, because a guidance may depend on the noise level.

    Arguments:
        sde: Process of the denoiser.
        guidance: Guidances in the order of their application.
        x: One sample with the shape of the run's samples, (1, *); its values have no effect.
        y: Conditions of the kind that the run uses, (B, ...), of which only the first is used, or None.
        levels: Number of noise levels, from 1e3 to 1e-3.
    Returns:
        The largest number of evaluations at any of these noise levels, at least 1.
    """
    cost = 1
    times = sde.time(torch.logspace(3, -3, levels, dtype=torch.float64)).clamp(sde.t_min, sde.t_max)
    for t in times.unbind():
        with SamplingContext(times, counting_only=True).active() as context:
            guided = compose(sde, count_calls(_identity), guidance)
            evaluate_denoiser(guided, x, t, None if y is None else y[:1])
        cost = max(cost, context.evaluations)
    return cost


def _identity(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
    return x
