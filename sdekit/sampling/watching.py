"""Progress bars and callbacks of a sampling run, which observe it and do not change its numbers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from torch import Tensor

from sdekit.guidance import SamplingContext
from sdekit.processes import Denoiser

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

LINE_EVERY, NOTEBOOK_EVERY = 5.0, 0.25
"""Seconds between two progress reports in a file of text, and in a notebook."""

Progress = Callable[[int, int | None], object]
"""`progress(done, total)`: network evaluations, or steps of a training, so far and in all; None if that is unknown."""


class StopSampling(Exception):
    """Raised by a callback of `sample` to leave out the remaining steps: x is denoised at once."""


@dataclass(frozen=True)
class SamplingStep:
    """State of a sampling run after a step, which a callback of `sample` receives.

    Arguments:
        step: Number of steps of this batch so far, 1 to `steps`. The last one is the final denoising.
        steps: Number of steps, the final denoising included.
        t: Time of x.
        x: Copy of the state x_t, (B, *shape), and of x_0 after the final denoising.
        x0: Copy of the latest estimate E[x_0 | x_t] of the guided denoiser within this step, (B, *shape), or None if
            there is none. A method of one call per step evaluates it at the time before the step.
        seeds: Seeds of the B samples of this batch.
        nfe: Network evaluations of this batch so far.
    """

    step: int
    steps: int
    t: float
    x: Tensor
    x0: Tensor | None
    seeds: tuple[int, ...]
    nfe: int


Callback = Callable[[SamplingStep], object]
"""`callback(step)`, called after each step. True as its result, or the error `StopSampling`, ends the batch early."""


class Observer:
    """Observer of the batches of a sampling run, which reports to a progress function and to a callback.

    Arguments:
        times: Grid, (steps,).
        progress: Progress function, or None.
        total: Network evaluations of all batches, or None if unknown.
        callback: Callback, or None.
    """

    def __init__(self, times: Tensor, progress: Progress | None, total: int | None, callback: Callback | None) -> None:
        self.times, self.progress, self.total, self.callback = times, progress, total, callback
        self.evaluations_before = 0
        self.context, self.seeds = SamplingContext(times), tuple[int, ...]()
        self.latest: tuple[Tensor, Tensor] | None = None  # t and the estimate of the last call

    def start(self, denoise: Denoiser, context: SamplingContext, seeds: tuple[int, ...]) -> Denoiser:
        """Start to observe a batch, and return its denoiser with reports after each call."""
        self.evaluations_before += self.context.evaluations
        self.context, self.seeds, self.latest = context, seeds, None

        def observed(x: Tensor, t: Tensor) -> Tensor:
            x0: Tensor = denoise(x, t)
            if self.callback is not None:
                self.latest = t, x0
            if self.progress is not None:
                self.progress(self.evaluations_before + context.evaluations, self.total)
            return x0

        return observed

    def stops_after(self, step: int, x: Tensor) -> bool:
        """Call the callback after a step, and return whether it ends the batch."""
        if self.callback is None:
            return False
        t = float(self.times[step])
        x0, self.latest = self._estimate(t, float(self.times[step - 1])), None
        return self._call(step, t, x, x0)

    def finish(self, t: Tensor, x: Tensor) -> None:
        """Call the callback after the final denoising at time t, whose result is x."""
        self._call(len(self.times), float(t), x, x.clone())

    def _call(self, step: int, t: float, x: Tensor, x0: Tensor | None) -> bool:
        """Call the callback with a copy of x, and return whether it ends the batch."""
        if self.callback is None:
            return False
        state = SamplingStep(step, len(self.times), t, x.clone(), x0, self.seeds, self.context.evaluations)
        try:
            return self.callback(state) is True
        except StopSampling:
            return True

    def _estimate(self, end: float, start: float) -> Tensor | None:
        """Return a copy of the latest estimate if its time is within a step, from `start` down to `end`.

        A sampler that solves the whole grid before it returns the first state has no estimate for most steps.
        """
        if self.latest is None:
            return None
        t, x0 = self.latest
        within = end <= float(t.min()) * (1 + 1e-6) and float(t.max()) <= start * (1 + 1e-6)
        return x0.clone() if within else None


@contextmanager
def progress_line(description: str, unit: str = "network evaluations") -> Iterator[Progress]:
    """Context manager that shows the progress of a computation on stderr.

    In a terminal it is a bar, in a notebook one line that changes, and otherwise a line every five seconds.

    Arguments:
        description: Text before the numbers.
        unit: What is counted.
    Yields:
        The function that shows the numbers.
    """
    if sys.stderr is not None and sys.stderr.isatty():
        with _rich_bar(unit) as bar:
            task = bar.add_task(description, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    is_notebook = _is_notebook()
    line = _Line(description, unit, sys.stdout if is_notebook else sys.stderr, rewrites=is_notebook)
    try:
        yield line.show
    finally:
        line.close()


def _rich_bar(unit: str) -> RichProgress:
    """Return a bar for a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    texts = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    times = (TextColumn(unit), TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn())
    return Progress(*texts, *times, console=Console(stderr=True))


def _is_notebook() -> bool:
    """Whether this is the kernel of a notebook; IPython has then been imported."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


class _Line:
    """Progress as text: one line that is written again and again, or a new line from time to time."""

    def __init__(self, description: str, unit: str, stream: TextIO | None, *, rewrites: bool) -> None:
        self.description, self.unit, self.stream, self.rewrites = description, unit, stream, rewrites
        self.start = time.monotonic()
        self.shown_at, self.text, self.shown = self.start, "", ""

    def show(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        of_total = "" if total is None else f"/{total}"
        self.text = f"{self.description}: {done}{of_total} {self.unit}, {now - self.start:.1f} s"
        if now - self.shown_at >= (NOTEBOOK_EVERY if self.rewrites else LINE_EVERY):
            self.shown_at = now
            self._write(end="" if self.rewrites else "\n")

    def close(self) -> None:
        """Write the last line."""
        if self.text and (self.rewrites or self.text != self.shown):
            self._write(end="\n")

    def _write(self, end: str) -> None:
        if self.stream is not None:
            self.stream.write(("\r" if self.rewrites else "") + self.text + end)
            self.stream.flush()
        self.shown = self.text
