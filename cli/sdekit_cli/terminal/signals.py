"""Ctrl-C and SIGTERM during a training: the first ends it after the current step, the second ends it at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .console import note


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Context manager in which the first SIGINT or SIGTERM calls `stop`, and the next one ends the process.

    Arguments:
        stop: Function that asks the training to stop after its current step.
    """
    stop_requested = False

    def handle(number: int, _: Any) -> None:
        nonlocal stop_requested
        again, stop_requested = stop_requested, True
        with suppress(RuntimeError):  # the signal came while another line was being written
            note("ended at once" if again else "stopping after this step; again to end at once")
        if again:
            raise SystemExit(128 + number)
        stop()

    handlers = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
