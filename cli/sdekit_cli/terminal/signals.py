"""Ctrl-C and SIGTERM end a training after the step under way; a second time, at once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .console import note


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Within it the first of them calls `stop` in place of ending the process, and the next one ends it."""
    asked = False

    def heard(number: int, _: Any) -> None:
        nonlocal asked
        again, asked = asked, True
        with suppress(RuntimeError):  # it came while a line was being written
            note("ended at once" if again else "stopping after this step; again to end at once")
        if again:
            raise SystemExit(128 + number)
        stop()

    handlers = {number: signal.signal(number, heard) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
