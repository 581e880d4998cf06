"""Diagnostics of a failed sampling run: further runs that find the first call at which something went wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.guidance import Guidance, format_component
from sdekit.processes import SDE, Denoiser, evaluate_denoiser

from .finite_results import require_finite_results
from .sampling_loop import EXPLOSION_FACTOR, BatchResult, has_exploded, root_mean_square


def find_cause(
    run: Callable[[Denoiser, list[Guidance]], BatchResult],
    denoise: Denoiser,
    guidance: list[Guidance],
    seeds: Sequence[int],
    limit: float,
    result: BatchResult | None,
) -> BatchResult:
    """Run a batch again to find out why its samples are very large or not finite.

    Arguments:
        run: Function of a denoiser and guidances that draws the batch, always with the same noise.
        denoise: Denoiser without guidance.
        guidance: Guidances of the run.
        seeds: Seeds of the samples.
        limit: Root mean square above which guided samples are suspected to have exploded.
        result: Result of the run; None if the solver raised an error.
    Returns:
        `result`, if samples without guidance are as large, because the data themselves are then large.
    Raises:
        InputError: If the guidance exploded.
        SdekitError: If the denoiser or the solver failed.
    """
    watched = require_finite_results(denoise, seeds, also_x=True)
    if not guidance:
        run(watched, [])
    else:
        try:
            plain = run(watched, []).path[-1]
        except InputError:  # the model supports no condition: y is for the guidance alone
            plain = run(watched, [lambda sde, denoise: lambda x, t, y=None: denoise(x, t)]).path[-1]
        limit = max(limit, EXPLOSION_FACTOR * float(root_mean_square(plain).max()))
        if result is not None and not has_exploded(result.path[-1], limit):
            return result
        run(denoise, [*guidance, raise_if_exploded(guidance, limit, float(plain.abs().max()))])
    raise SdekitError(
        "sample: the samples contained NaN or infinity, but when the run was repeated every result of the denoiser "
        "was finite. The denoiser depends on something other than x, t and y, such as a random state: make it "
        "deterministic"
    )


def raise_if_exploded(guidance: Sequence[Guidance], limit: float, usual: float) -> Guidance:
    """Return a guidance that raises InputError at the first guided values that exploded; it must be the outermost.

    Arguments:
        guidance: Guidances of the run, for the message.
        limit: Largest root mean square of a sample.
        usual: Largest value in samples without guidance, for the message.
    Returns:
        The guidance.
    """

    def guide(sde: SDE, denoise: Denoiser) -> Denoiser:
        def call(x: Tensor, t: Tensor, y: Any = None) -> Tensor:
            x0 = evaluate_denoiser(denoise, x, t, y)
            if has_exploded(x0, limit):
                worst = int(root_mean_square(x0).nan_to_num(math.inf).argmax())
                peak, rho = float(x0[worst].abs().max()), float(sde.rho(t.expand(len(x))[worst]))
                size = f"reach {peak:.2g}" if math.isfinite(peak) else "are not finite"
                names = " ".join(map(guidance_label, guidance))
                raise InputError(
                    f"guidance {names}: the guided values {size} at noise level sigma/alpha = {rho:.3g} (samples "
                    f"without guidance: {usual:.2g} at most): lower its scale or strength, or take more steps"
                )
            return x0

        return call

    return guide


def guidance_label(guidance: Guidance) -> str:
    """Return the name and options of a guidance, as in "cfg:scale=1000".

    Arguments:
        guidance: Guidance, built by the registry or not.
    Returns:
        Text for messages.
    """
    if isinstance(guidance, partial):
        return format_component(guidance_label(guidance.func).replace("_", "-"), guidance.keywords)
    return str(getattr(guidance, "name", None) or getattr(guidance, "__name__", type(guidance).__name__))
