"""Check that the results of a denoiser are finite; name the call, time and seed of the first one that is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sdekit.errors import SdekitError
from sdekit.processes import Denoiser, evaluate_denoiser


def require_finite_results(
    denoise: Denoiser, seeds: Sequence[int], *, first_only: bool = False, also_x: bool = False
) -> Denoiser:
    """Return a denoiser that raises SdekitError at its first result that is not finite.

    An adaptive sampler takes NaN for the error of a step that is too long, and repeats the step until it gives up. So
    its first result with NaN must end the run. x itself may be infinite after a step that is too long, which the
    sampler then rejects.

    Arguments:
        denoise: Denoiser without guidance.
        seeds: Seeds of the samples, for the message. A guidance may double the batch.
        first_only: Check the first call only: a check of each call would slow down short steps.
        also_x: Also raise the error if x is not finite.
    Returns:
        The denoiser.
    """
    calls = 0

    def call(x: Tensor, t: Tensor, y: Any = None) -> Any:
        nonlocal calls
        calls += 1
        x0: Any = evaluate_denoiser(denoise, x, t, y)
        if first_only and calls > 1:
            return x0
        # finite numbers may overflow the sum, but a finite sum proves that all are finite, and costs less
        if isinstance(x0, Tensor) and not math.isfinite(x0.sum().item()):
            _check_rows(x, t, x0, seeds, calls, also_x)
        return x0

    return call


def _check_rows(x: Tensor, t: Tensor, x0: Tensor, seeds: Sequence[int], calls: int, also_x: bool) -> None:
    """Raise SdekitError if a row of x0 is not finite; if `also_x` is False, only for rows with a finite x."""
    if not x0.ndim or x0.shape != x.shape:
        return  # another check reports the shape
    finite_x, bad = (z[: len(seeds)].flatten(1).isfinite().all(1) for z in (x, x0))
    bad = ~bad if also_x else ~bad & finite_x
    if not bad.any():
        return
    i = int(bad.nonzero()[0])
    name, advice = "its result", "check the training of the model"
    if not finite_x[i]:
        name = "x"
        advice = "the solver diverged: take more steps, or limit x_0 to the range of the data (guidance clip)"
    raise SdekitError(
        f"call {calls} of the denoiser, at t = {t.expand(len(x))[i]:g}: {name} is not finite for {int(bad.sum())} of "
        f"{len(bad)} samples (the first has seed {seeds[i]}): {advice}"
    )
