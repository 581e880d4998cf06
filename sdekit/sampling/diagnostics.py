"""Where a run fails, or its samples are wild: further runs that say where it began, so that the first costs nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.guidance import Guidance, format_component
from sdekit.processes import SDE, Denoiser

EXPLODED = 10.0
"""So many times larger than samples without guidance, and than 1, the data's size, are values that exploded: a
root mean square. cfg at scale 20 comes to 5 on a small network trained on digits, at 1000 to 100."""

Result = tuple[list[Tensor], int]
"""x at each time that is kept, x_0 last; and the network calls."""


def with_diagnostics(
    run: Callable[[Denoiser, list[Guidance]], Result],
    denoise: Denoiser,
    guides: list[Guidance],
    seeds: Sequence[int],
) -> Result:
    """What a run gives. InputError where its guidance has exploded, SdekitError where the denoiser or a solver failed.

    run: of a denoiser and guidances, always with the same noise. seeds: of its samples, for messages.
    """
    scale = EXPLODED * max(1.0, getattr(denoise, "data_std", 1.0))
    last = None
    try:
        path, made = run(denoise, guides)
        last = path[-1]
        if _finite(last) and not (guides and exploded(last, scale)):
            return path, made
    except InputError:
        raise
    except SdekitError:  # a solver that gave up on wild values
        if not guides:
            raise
    watched = _watched(denoise, seeds)
    if not guides:
        run(watched, [])
    else:
        try:
            plain = run(watched, [])[0][-1]
        except InputError:  # the condition is for the guidance alone
            plain = run(watched, [lambda sde, denoise: lambda x, t, y=None: denoise(x, t)])[0][-1]
        scale = max(scale, EXPLODED * float(_size(plain).max()))
        if last is not None and not exploded(last, scale):  # the data themselves are as large
            return path, made
        run(denoise, [*guides, raise_if_exploded(guides, scale, float(plain.abs().max()))])
    raise SdekitError(
        "sample: the samples were not finite, and the answers of a second run were: the denoiser depends on "
        "more than x, t and y"
    )


def _size(x: Tensor) -> Tensor:
    """Root mean square of each sample of (B, *): (B,)."""
    norm: Tensor = torch.linalg.vector_norm(x.flatten(1), dim=1)
    return norm / math.sqrt(max(x[0].numel(), 1))


def exploded(x: Tensor, limit: float) -> bool:
    """Whether a sample of (B, *) has a root mean square beyond the limit, or is not finite."""
    return not bool((_size(x) <= limit).all())


def raise_if_exploded(guidance: Sequence[Guidance], limit: float, usual: float) -> Guidance:
    """The guidance that raises InputError at the first values that exploded, naming the noise level and `guidance`.

    It has to be the outermost. usual: the largest value in samples without guidance, for the message.
    """

    def guide(sde: SDE, denoise: Denoiser) -> Denoiser:
        def call(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            x0 = denoise(x, t) if y is None else denoise(x, t, y)
            if exploded(x0, limit):
                worst = int(_size(x0).nan_to_num(math.inf).argmax())
                peak, rho = float(x0[worst].abs().max()), float(sde.rho(t.expand(len(x))[worst]))
                how = f"reach {peak:.2g}" if math.isfinite(peak) else "are not finite"
                raise InputError(
                    f"guidance {' '.join(map(guidance_label, guidance))}: the guided values {how} at noise level "
                    f"sigma/alpha = "
                    f"{rho:.3g} (samples without guidance: {usual:.2g} at most): lower its scale or strength, or take "
                    "more steps"
                )
            return x0

        return call

    return guide


def guidance_label(guidance: Guidance) -> str:
    """How a message calls it: "cfg:scale=1000"."""
    if isinstance(guidance, partial):
        return format_component(guidance_label(guidance.func).replace("_", "-"), guidance.keywords)
    return str(getattr(guidance, "name", None) or getattr(guidance, "__name__", type(guidance).__name__))


def _finite(x: Tensor) -> bool:
    """Whether all values are finite. Nothing that is not is lost in a sum, which is far cheaper; it may overflow."""
    return math.isfinite(x.sum().item()) or bool(x.isfinite().all())


def _watched(denoise: Denoiser, seeds: Sequence[int]) -> Denoiser:
    """A denoiser that raises SdekitError at its first answer that is not finite."""
    calls = 0

    def call(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        nonlocal calls
        calls += 1
        x0 = denoise(x, t) if y is None else denoise(x, t, y)
        bad = ~x0[: len(seeds)].flatten(1).isfinite().all(1)
        if bad.any():
            i = int(bad.nonzero()[0])
            fine = bool(x[i].isfinite().all())
            raise SdekitError(
                f"call {calls} of the denoiser, at t = {t.expand(len(x))[i]:g}: {'its answer' if fine else 'x'} is not "
                f"finite for {int(bad.sum())} of {len(bad)} samples (the first has seed {seeds[i]}): "
                + ("look at the model's training" if fine else "the solver diverged: take more steps")
            )
        return x0

    return call
