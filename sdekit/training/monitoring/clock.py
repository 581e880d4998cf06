"""The clock of a training."""

from __future__ import annotations

import time


class Clock:
    """Clock of one session of a training.

    Arguments:
        before: Seconds of training in earlier sessions.
    """

    def __init__(self, before: float) -> None:
        self.start, self.before = time.monotonic(), before

    @property
    def session(self) -> float:
        """Seconds of this session so far."""
        return time.monotonic() - self.start

    @property
    def seconds(self) -> float:
        """Seconds of training so far, earlier sessions included."""
        return self.before + self.session
