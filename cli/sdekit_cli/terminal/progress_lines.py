"""Progress as lines, for output that is no terminal, such as the log file of a batch job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.progress import Progress, TaskID

from .console import console, note

LINE_EVERY = 5.0
"""Seconds between two lines."""
SHARE_OF_TIME = 0.02
"""Share of the time so far that passes between two lines at least, so that a long job writes a short log."""


class ProgressLines(Progress):
    """Progress that prints a line every few seconds: share, description, counts or fields, seconds and time to go.

    Arguments:
        columns: Names of the task fields to print instead of "done/total".
        get_time: Clock in seconds; by default that of the console.
    """

    def __init__(self, *columns: str, get_time: Callable[[], float] | None = None) -> None:
        super().__init__(console=console, disable=True, get_time=get_time)
        self.columns_of_task, self.last = columns, self.get_time()

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Update a task as `rich.progress.Progress.update` does, and print a line if one is due."""
        super().update(task_id, **changes)
        self._print_if_due(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Advance a task, and print a line if one is due."""
        super().advance(task_id, advance)
        self._print_if_due(task_id)

    def _print_if_due(self, task_id: TaskID) -> None:
        """Print the state of a task, unless it is complete or the last line is too recent."""
        task, now = self._tasks[task_id], self.get_time()
        elapsed = task.elapsed or 0.0
        if task.finished or now < self.last + max(LINE_EVERY, SHARE_OF_TIME * elapsed):
            return
        self.last = now
        share = "" if task.total is None else f"{task.percentage:3.0f}%  "
        done = f"{task.completed:.0f}" + ("" if task.total is None else f"/{task.total:.0f}")
        counts = [str(task.fields[name]) for name in self.columns_of_task] or [done]
        rest = "" if task.time_remaining is None else f", {task.time_remaining:.0f} s to go"
        note("{}{}  {}  {:.0f} s{}", share, task.description, "  ".join(filter(None, counts)), elapsed, rest)
