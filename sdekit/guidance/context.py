"""The context of a sampling run: the grid of the sampler and the number of network evaluations so far."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdekit.arguments import describe_value
from sdekit.errors import SdekitError
from sdekit.processes import Denoiser, evaluate_denoiser

_current: ContextVar[SamplingContext | None] = ContextVar("sdekit_sampling_context", default=None)


@dataclass
class SamplingContext:
    """State of the sampling run of one batch, which a guidance can read through `current_context`.

    Arguments:
        times: Grid of the sampler, decreasing, float64, on the CPU.
        adaptive: Whether the sampler chooses its own steps between the times of the grid.
        counting_only: Whether network evaluations are only counted and nothing is computed.
        evaluations: Number of network evaluations so far.
        stepwise: Whether a callback needs each state as soon as it is computed, so that a sampler must not solve many
            steps at once.
    """

    times: Tensor
    adaptive: bool = False
    counting_only: bool = False
    evaluations: int = 0
    stepwise: bool = False

    def step_containing(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Find the step of the grid that contains a time.

        Arguments:
            t: Times, () or (B,).
        Returns:
            Start and end of the step, on the CPU, each of the shape of t. If t is the last time of the grid, both are
            equal to it.
        """
        t = t.cpu().double()
        i = torch.searchsorted(-self.times, -t, right=True).clamp(min=1)
        return self.times[i - 1], self.times[i.clamp(max=len(self.times) - 1)]

    @contextmanager
    def active(self) -> Iterator[SamplingContext]:
        """Make this context the current one in a `with` block, so that `count_calls` counts evaluations in it."""
        token = _current.set(self)
        try:
            yield self
        finally:
            _current.reset(token)


def _describe(x0: Any) -> str:
    """Describe the result of a denoiser: shape, dtype, and a device other than the CPU."""
    if not isinstance(x0, Tensor):
        return describe_value(x0)
    return f"{tuple(x0.shape)} {x0.dtype}" + (f" on {x0.device}" if x0.device.type != "cpu" else "")


def current_context() -> SamplingContext | None:
    """Return the context of the current sampling run, or None outside of `sample`."""
    return _current.get()


def count_calls(denoise: Denoiser) -> Denoiser:
    """Count the calls of a network in the current sampling context, and check its results.

    `sample` applies this function to the model; a guidance must apply it to any other network that it evaluates. A call
    on a doubled batch counts as one evaluation.

    Arguments:
        denoise: Denoiser that evaluates the network once per call.
    Returns:
        The same denoiser with counted calls. It raises SdekitError if the shape or the dtype of the result differs from
        x.
    """

    def call(x: Tensor, t: Tensor, y: Any = None) -> Any:
        context = current_context()
        if context is not None:
            context.evaluations += 1
            if context.counting_only:
                return x / 2
        x0: Any = evaluate_denoiser(denoise, x, t, y)
        if not isinstance(x0, Tensor) or x0.shape != x.shape or x0.dtype != x.dtype or x0.device != x.device:
            number = "a call" if context is None else f"call {context.evaluations}"
            raise SdekitError(
                f"{number} of the denoiser, at t = {t}: got {_describe(x0)}, expected {_describe(x)}, as its input"
            )
        return x0

    return call
