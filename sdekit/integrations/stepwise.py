"""A sampler whose denoiser is evaluated by the caller, one evaluation at a time."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from contextvars import Context
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.guidance import Guidance, SamplingContext, compose
from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, Sampler, start_at_finite_rho


@dataclass(frozen=True)
class Evaluation:
    """A request to evaluate the denoiser.

    Arguments:
        x: State x_t, (B, *). The sampler continues from this tensor, so the caller may change it in place.
        t: Time, ().
    """

    x: Tensor
    t: Tensor


def run_sampler(
    sampler: Sampler,
    sde: SDE,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    noise: Noise,
    guidance: Sequence[Guidance] = (),
) -> Tensor:
    """Sample along a grid and return x_0, without the checks and the batches of `sdekit.sampling.sample`.

    Arguments:
        sampler: The sampler.
        sde: Process.
        denoise: Denoiser.
        x: State at times[0], (B, *).
        times: Grid, (n + 1,), decreasing, float64, on the CPU.
        noise: Source of noise.
        guidance: Guidances, the first one innermost.
    Returns:
        x_0, (B, *).
    """
    guided = compose(sde, denoise, guidance)
    times, factor = start_at_finite_rho(sampler, sde, times)
    x = factor * x
    with SamplingContext(times, adaptive=sampler.calls_per_step is None).active():
        for state in sampler.trajectory(sde, guided, x, times, noise):
            x = state
        return guided(x, times[-1])


def evaluation_times(sampler: Sampler, sde: SDE, times: Tensor) -> tuple[Tensor, float | None]:
    """Return the times at which a sampler evaluates the denoiser, in order, by a run without a network.

    Arguments:
        sampler: The sampler.
        sde: Process.
        times: Grid, (n + 1,).
    Returns:
        Times (calls,), float64, and the factor by which the sampler multiplies x before the first evaluation; None
        instead of the factor if it adds noise to x before.
    Raises:
        InputError: If the times depend on x, as those of an adaptive sampler do.
    """
    first = _Recorder(lambda x: torch.zeros_like(x))
    run_sampler(sampler, sde, first, torch.ones(1, 1), times, first.noise)
    if sampler.calls_per_step is None:
        second = _Recorder(lambda x: torch.sin(3 * x + 1))
        run_sampler(sampler, sde, second, torch.ones(1, 1), times, second.noise)
        if first.times != second.times:
            raise InputError(
                f"{type(sampler).__name__} chooses its times while it runs, and a pipeline needs all times in advance: "
                "use a sampler with fixed steps, such as auto, or ode:method=rk4"
            )
    return torch.tensor(first.times, dtype=torch.float64), None if first.drawn_before else first.factor


class _Recorder:
    """A denoiser that records the times of its calls, and x at the first one."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function, self.times = function, list[float]()
        self.factor, self.draws, self.drawn_before = 1.0, 0, False

    def __call__(self, x: Tensor, t: Tensor, /, *args: Any) -> Tensor:
        if not self.times:
            self.factor, self.drawn_before = float(x), self.draws > 0
        self.times.append(float(t))
        return self.function(x)

    def noise(self, t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
        """Return noise of 0."""
        self.draws += 1
        return torch.zeros(1, 1)


class Stepwise:
    """A run of a sampler that stops at each evaluation of the denoiser, and continues with its result.

    The sampler runs in a thread of its own, which waits while the caller evaluates the denoiser: the two never run at
    the same time. The thread ends when the run ends, is closed, or is garbage-collected.

    Arguments:
        run: Function `run(denoise)` that samples and returns x_0.
        device: Device of the samples.
    """

    def __init__(self, run: Callable[[Denoiser], Tensor], device: torch.device) -> None:
        self._messages: SimpleQueue[Any] = SimpleQueue()  # from the thread: an Evaluation, x_0, or an exception
        self._results: SimpleQueue[Tensor | None] = SimpleQueue()  # to the thread: D(x, t), or None to end it
        settings = _thread_settings(device)
        arguments = (run, self._messages, self._results, settings)  # not self, so that an abandoned run is collected
        self.thread = threading.Thread(target=Context().run, args=(_work, *arguments), daemon=True, name="sdekit")
        self.close = weakref.finalize(self, self._results.put, None)
        self.thread.start()

    def start(self) -> Evaluation:
        """Return the first evaluation."""
        first = self._receive()
        assert isinstance(first, Evaluation)  # a run ends with an evaluation
        return first

    def send(self, x0: Tensor) -> Evaluation | Tensor:
        """Continue the run with the result of an evaluation.

        Arguments:
            x0: D(x, t), (B, *).
        Returns:
            The next evaluation, or x_0 at the end of the run.
        """
        self._results.put(x0)
        return self._receive()

    def _receive(self) -> Evaluation | Tensor:
        try:
            message = self._messages.get()
        except BaseException:  # the user interrupts: the message of this evaluation will come too late
            self.close()
            raise
        if isinstance(message, BaseException):
            raise message
        result: Evaluation | Tensor = message
        return result


class _Closed(BaseException):
    """Ends the thread of a run; not an Exception, so that no sampler can catch it by accident."""


def _work(
    run: Callable[[Denoiser], Tensor],
    messages: SimpleQueue[Any],
    results: SimpleQueue[Tensor | None],
    settings: Callable[[], ExitStack],
) -> None:
    """Run the sampler in the thread."""

    def denoise(x: Tensor, t: Tensor, /, *args: Any) -> Tensor:
        messages.put(Evaluation(x, t))
        x0 = results.get()
        if x0 is None:
            raise _Closed
        return x0

    with suppress(_Closed):
        try:
            with settings():
                messages.put(run(denoise))
        except Exception as error:
            messages.put(error)
        except _Closed:
            raise
        except BaseException as error:
            messages.put(SdekitError(f"the sampler was stopped by {type(error).__name__}"))


def _thread_settings(device: torch.device) -> Callable[[], ExitStack]:
    """Return a function that gives another thread torch's settings of this thread, without gradients."""
    inference = torch.is_inference_mode_enabled()
    stream = torch.cuda.current_stream(device) if device.type == "cuda" else None

    def enter() -> ExitStack:
        stack = ExitStack()
        stack.enter_context(torch.inference_mode() if inference else torch.no_grad())
        if stream is not None:
            stack.enter_context(torch.cuda.stream(stream))  # also makes its device the current one
        return stack

    return enter
