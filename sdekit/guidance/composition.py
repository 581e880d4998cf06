"""Composition of several guidances around one denoiser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.processes import SDE, Denoiser, evaluate_denoiser
from sdekit.registry import resolve

from .context import SamplingContext, count_calls
from .guidance import Guidance, GuidedDenoiser, unguided


def compose(sde: SDE, denoise: Denoiser, guidance: Sequence[Guidance]) -> Denoiser:
    """The denoiser with each guidance around it, the first one innermost.

    A guidance that knows itself what the model is without any gives a `Guided`, whose `plain` holds from then on.
    """
    guided = denoise
    for one in guidance:
        made = one(sde, guided)
        guided = GuidedDenoiser(made, made.plain if isinstance(made, GuidedDenoiser) else unguided(guided))
    return guided


def resolve_guidance(guidance: Guidance | str | Sequence[Guidance | str]) -> list[Guidance]:
    """Objects or registered names, built with their defaults; one of them need not be in a list."""
    several = [guidance] if isinstance(guidance, str) or callable(guidance) else guidance
    if not several:
        return []
    made = [resolve("guidance", one) for one in several]
    for one in made:
        if not callable(one):
            raise InputError(f"guidance: expected a name or a function of (sde, denoise), got {one!r}")
    return made


def guidance_cost(sde: SDE, guidance: Sequence[Guidance], x: Tensor, y: Tensor | None, levels: int = 17) -> int:
    """The most network calls that one guided denoising makes: counted at several noise levels, without a network.

    x: (1, *), y: (B, ...) or None, of the kind that will come; of y the first is used.
    """
    most = 1
    times = sde.time(torch.logspace(3, -3, levels, dtype=torch.float64)).clamp(sde.t_min, sde.t_max)
    for t in times.unbind():
        with SamplingContext(times, dry=True).entered() as passage:
            guided = compose(sde, count_calls(_nothing), guidance)
            evaluate_denoiser(guided, x, t, None if y is None else y[:1])
        most = max(most, passage.calls)
    return most


def _nothing(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
    return x


def check_shape(denoise: Denoiser) -> Denoiser:
    """A guided denoiser that raises SdekitError where a guidance has changed the shape or the dtype."""

    def call(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        x0 = evaluate_denoiser(denoise, x, t, y)
        if x0.shape != x.shape or x0.dtype != x.dtype:
            raise SdekitError(
                f"a guidance returned {tuple(x0.shape)} {x0.dtype}, expected {tuple(x.shape)} {x.dtype}, as its input"
            )
        return x0

    return call
