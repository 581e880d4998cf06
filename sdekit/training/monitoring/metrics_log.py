"""The metrics of a run: they are written to `metrics.jsonl` and sent to the trackers."""

from __future__ import annotations

from collections.abc import Sequence

from sdekit.errors import SdekitError
from sdekit.runs import Component, Recipe, RunFolder, TrainOptions, read_metrics, write_atomically

from .logger import Logger
from .metrics_rows import Row, json_lines, undisturbed
from .trackers import Trackers


class MetricsLog:
    """Metrics of a run in the main process.

    Arguments:
        folder: Run folder.
        options: Training options of the run.
    """

    def __init__(self, folder: RunFolder, options: TrainOptions) -> None:
        self.folder, self.options = folder, options
        self.rows: list[Row] = []  # of metrics.jsonl, also those that could not be written
        self.earlier: list[Row] = []  # of metrics.jsonl before it was shortened to the step of the checkpoint
        self.trackers: Trackers | None = None

    def resume(self, step: int, *, finished: bool) -> None:
        """Shorten metrics.jsonl to the rows that an uninterrupted run has written up to a step.

        Arguments:
            step: Step of the checkpoint.
            finished: Whether the run ends at this step.
        """
        self.earlier = read_metrics(self.folder.path)
        self.rows = undisturbed(self.earlier, self.options, step, finished=finished)
        write_atomically(self.folder.metrics, json_lines(self.rows))

    def start(self, loggers: Sequence[Component | Logger] | None, recipe: Recipe, step: int) -> None:
        """Start the loggers of a session, see `Trackers`."""
        self.trackers = Trackers(loggers, self.folder, recipe, rows=self.rows, earlier=self.earlier, step=step)

    def write(self, row: Row) -> None:
        """Write a row, which is in `rows` already, and send it to the trackers.

        Arguments:
            row: The row.
        Raises:
            SdekitError: If the file cannot be written.
        """
        try:
            with open(self.folder.metrics, "ab") as file:
                file.write(json_lines([row]))
        except OSError as error:
            raise SdekitError(f"could not write {self.folder.metrics}: {error.strerror or error}") from error
        if self.trackers:
            self.trackers.log(row)

    def add_image(self, step: int, name: str, png: bytes) -> None:
        """Send a picture to the trackers."""
        if self.trackers:
            self.trackers.log_image(step, name, png)

    @property
    def locations(self) -> list[str]:
        """Where to see the trackers' runs."""
        return self.trackers.locations if self.trackers else []

    def close(self) -> None:
        """End the session of the trackers."""
        if self.trackers:
            self.trackers.close()
