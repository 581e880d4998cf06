"""Ctrl-C, SIGTERM and SIGHUP during a training: the first ends it after the current step, the second at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .console import note


def signals_to_handle() -> list[signal.Signals]:
    """Return the signals that end a training: SIGINT, SIGTERM, and where the platform has it SIGHUP.

    SIGHUP is sent when the terminal is closed. `nohup` lets a process ignore it, which stays so.
    """
    hang_up: signal.Signals | None = getattr(signal, "SIGHUP", None)
    handled = [signal.SIGINT, signal.SIGTERM]
    if hang_up is not None and signal.getsignal(hang_up) != signal.SIG_IGN:
        handled.append(hang_up)
    return handled


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Context manager in which the first SIGINT, SIGTERM or SIGHUP calls `stop`, and the next one ends the process.

    Arguments:
        stop: Function that asks the training to stop after its current step.
    """
    stop_requested = False

    def handle(number: int, _: Any) -> None:
        nonlocal stop_requested
        again, stop_requested = stop_requested, True
        with suppress(RuntimeError, OSError):  # the signal came while another line was being written
            note("ended at once" if again else "stopping after this step; again to end at once")
        if again:
            raise SystemExit(128 + number)
        stop()

    handlers = {number: signal.signal(number, handle) for number in signals_to_handle()}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
