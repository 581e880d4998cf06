"""The sampling context: the grid of the run under way and the count of its network calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import SdekitError
from sdekit.processes import Denoiser, evaluate_denoiser

_current: ContextVar[SamplingContext | None] = ContextVar("sdekit_passage", default=None)


@dataclass
class SamplingContext:
    """One batch on its way from t_max to x_0: what a guidance may want to know of the sampler at work.

    times: the sampler's grid. free: between its times the sampler goes steps of its own, as an adaptive one does. dry:
    nothing is computed, network calls are only counted. calls: of networks, so far.
    """

    times: Tensor
    free: bool = False
    dry: bool = False
    calls: int = 0

    def around(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Start and end of the grid's step that t () or (B,) is in, shaped as t, on the CPU; at the last, it twice."""
        at = t.to("cpu", torch.float64)
        i = torch.searchsorted(-self.times, -at, right=True).clamp(min=1)
        return self.times[i - 1], self.times[i.clamp(max=len(self.times) - 1)]

    @contextmanager
    def entered(self) -> Iterator[SamplingContext]:
        """Within it, this is the passage that calls are counted on."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)


def current_context() -> SamplingContext | None:
    """The passage under way, None outside of `sample`."""
    return _current.get()


def count_calls(denoise: Denoiser) -> Denoiser:
    """A network whose calls are counted, whoever makes them, and whose answers are checked.

    `sample` does it to the model; a guidance does it to a network of its own. One call on a doubled batch is one call.
    Raises SdekitError where the answer has another shape or dtype than x.
    """

    def call(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        passage = current_context()
        if passage is not None:
            passage.calls += 1
            if passage.dry:
                return x / 2
        x0 = evaluate_denoiser(denoise, x, t, y)
        if x0.shape != x.shape or x0.dtype != x.dtype:
            number = "a call" if passage is None else f"call {passage.calls}"
            raise SdekitError(
                f"{number} of the denoiser, at t = {t}: got {tuple(x0.shape)} {x0.dtype}, expected "
                f"{tuple(x.shape)} {x.dtype}, as its input"
            )
        return x0

    return call
