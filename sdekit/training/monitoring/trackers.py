"""The loggers of a run: each receives every row of `metrics.jsonl` once, and none can stop the training."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

from sdekit.arguments import check_instance, describe_value
from sdekit.errors import InputError
from sdekit.registry import build, complete_options, find_component
from sdekit.runs import Component, LoggersRecord, Recipe, RunFolder, load_json, read_record, save_json

from .logger import Logger
from .metrics_rows import KINDS, Row, kind_of

LoggerChoice: TypeAlias = str | Component | Logger
Position = tuple[int, int]
"""Place of a row in the order in which rows are written: its step, and the number of its kind in `KINDS`."""


class LoggerWarning(UserWarning):
    """A logger failed; the training continues without it."""


def check_loggers(choices: Iterable[LoggerChoice]) -> list[Component | Logger]:
    """Check loggers before a run is written.

    Arguments:
        choices: Loggers, each a registered name, a name with options, or a `Logger` itself.
    Returns:
        The loggers, with all options of each registered one.
    Raises:
        InputError: If there is no such logger or option, a logger is named twice, or its package is not installed.
    """
    checked: list[Component | Logger] = []
    for choice in choices:
        if isinstance(choice, Logger):
            checked.append(choice)
            continue
        check_instance("train: loggers", choice, (str, Component), "registered names, components or Logger objects")
        name, options = (choice, {}) if isinstance(choice, str) else (choice.name, choice.options)
        options = complete_options("logger", name, options)
        if any(isinstance(other, Component) and other.name == name for other in checked):
            raise InputError(f"logger {name!r} is given twice: choose one of them")
        check = getattr(find_component("logger", name).load(), "check", None)
        if check is not None:
            with _importing(name):
                check(**options)
        checked.append(Component(name=name, options=options))
    return checked


@contextmanager
def _importing(name: str) -> Iterator[None]:
    """Context manager that turns an ImportError of a logger into an InputError with the pip command."""
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        remedy = f": pip install {package}" if package else ""
        raise InputError(f"logger {name!r} needs a package that cannot be imported ({error}){remedy}") from error


@dataclass
class _Tracker:
    """A logger, its name and options (None if it is not registered), and the place of its first failure."""

    name: str
    options: Mapping[str, Any] | None
    logger: Logger | None = None
    failed_at: Position | None = None


class Trackers:
    """The loggers of one session of a training, in the main process.

    If a logger raises an exception, it is reported by one `LoggerWarning` and not called again in this session. The
    next session sends it the rows that it has missed.

    Arguments:
        choices: Loggers that `check_loggers` returned; None for those of the earlier sessions of the run.
        folder: Run folder, which exists.
        recipe: Recipe of the run.
        rows: Rows of `metrics.jsonl` up to the present step. A logger that the earlier sessions did not have receives
            them first.
        earlier: All rows that the earlier sessions have written. They are not sent again.
        step: Present step.
    Raises:
        InputError: If a logger cannot be used.
    """

    def __init__(
        self,
        choices: Sequence[Component | Logger] | None,
        folder: RunFolder,
        recipe: Recipe,
        *,
        rows: Sequence[Row],
        earlier: Sequence[Row],
        step: int,
    ) -> None:
        self._folder, self._train = folder, recipe.train
        recorded = {tracker.name: tracker for tracker in _read(folder)}
        if choices is None:
            choices = check_loggers(Component(name=t.name, options=dict(t.options or {})) for t in recorded.values())
        written = {self._position(row) for row in earlier}
        self._sent = dict[str, set[Position]]()
        self._trackers = list[_Tracker]()
        try:
            for choice in choices:
                tracker, known = self._start(choice, recorded, recipe, step)
                sent = {self._position(row) for row in rows}  # by the user, if the logger is not registered
                if tracker.options is not None:
                    sent = {p for p in written if not known.failed_at or p < known.failed_at} if known else set()
                self._sent[tracker.name] = sent
                self._trackers.append(tracker)
        except InputError:
            self.close()
            raise
        chosen = {tracker.name for tracker in self._trackers}
        self._absent = [tracker for tracker in recorded.values() if tracker.name not in chosen]
        for tracker in self._absent:
            tracker.failed_at = tracker.failed_at or (step + 1, 0)
        self._save()
        for row in rows:
            self.log(row)

    def _start(
        self, choice: Component | Logger, recorded: Mapping[str, _Tracker], recipe: Recipe, step: int
    ) -> tuple[_Tracker, _Tracker | None]:
        """Return a logger with its tracker's run, and the record of it from earlier sessions."""
        if isinstance(choice, Logger):
            return _Tracker(type(choice).__name__, None, choice), None
        known, tracker = recorded.get(choice.name), _Tracker(choice.name, choice.options)
        try:
            with _importing(choice.name):
                logger = build("logger", choice.name, self._folder.path, recipe, **choice.options)
            if not isinstance(logger, Logger):
                got = describe_value(logger)
                raise InputError(f"logger {choice.name!r} must be a sdekit.training.Logger, and it returned {got}")
            tracker.logger = logger
        except InputError:
            raise
        except Exception as error:
            tracker.failed_at = (known.failed_at or (step + 1, 0)) if known else (0, 0)
            _warn(tracker, "could not be started", error)
        return tracker, known

    @property
    def locations(self) -> list[str]:
        """Where to see the trackers' runs, see `Logger.location`."""
        return [t.logger.location for t in self._trackers if t.logger is not None and t.logger.location]

    def log(self, row: Row) -> None:
        """Send a row of metrics to all loggers that have not received it in an earlier session."""
        values, position = flat_values(row), self._position(row)
        for tracker in self._trackers:
            if tracker.logger is not None and position not in self._sent[tracker.name]:
                try:
                    tracker.logger.log(row["step"], values)
                except Exception as error:
                    self._drop(tracker, position, error)

    def log_image(self, step: int, name: str, png: bytes) -> None:
        """Send a picture to all loggers."""
        for tracker in self._trackers:
            if tracker.logger is not None:
                try:
                    tracker.logger.log_image(step, name, png)
                except Exception as error:
                    self._drop(tracker, (step, len(KINDS)), error)

    def close(self) -> None:
        """End the session of all loggers."""
        for tracker in self._trackers:
            if tracker.logger is not None:
                try:
                    tracker.logger.close()
                except Exception as error:
                    _warn(tracker, "could not be closed", error)
                tracker.logger = None

    def _drop(self, tracker: _Tracker, position: Position, error: Exception) -> None:
        """Report the failure of a logger, and do not use it any more."""
        _warn(tracker, f"failed at step {position[0]}", error)
        tracker.logger, tracker.failed_at = None, position
        self._save()

    def _save(self) -> None:
        """Write the names and options of the registered loggers for the next session."""
        registered = [tracker for tracker in (*self._trackers, *self._absent) if tracker.options is not None]
        if registered:
            fields = [{"name": t.name, "options": t.options, "failed_at": t.failed_at} for t in registered]
            save_json(self._folder.loggers, {"loggers": fields})

    def _position(self, row: Row) -> Position:
        return row["step"], KINDS.index(kind_of(row, self._train))


def _warn(tracker: _Tracker, event: str, error: Exception) -> None:
    reason = " ".join(str(error).split()) or "no message"
    warnings.warn(
        f"logger {tracker.name!r} {event} ({type(error).__name__}: {reason}): the training goes on without it, and "
        "metrics.jsonl contains all numbers",
        LoggerWarning,
        stacklevel=4,
    )


def _read(folder: RunFolder) -> list[_Tracker]:
    """Read the loggers of the earlier sessions."""
    if not folder.loggers.exists():
        return []
    record = read_record(LoggersRecord, load_json(folder.loggers), folder.loggers, "the loggers of a run")
    trackers = []
    for logger in record.loggers:
        failed_at = (logger.failed_at[0], logger.failed_at[1]) if logger.failed_at else None
        trackers.append(_Tracker(logger.name, logger.options, failed_at=failed_at))
    return trackers


def flat_values(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of a row of metrics by name; numbers in a table are named "TABLE/NAME".

    Arguments:
        row: Row of `metrics.jsonl`.
        prefix: Text before each name.
    Returns:
        The numbers, without the step and without missing numbers.
    """
    values = dict[str, float]()
    for name, value in row.items():
        if isinstance(value, Mapping):
            values |= flat_values(value, f"{prefix}{name}/")
        elif isinstance(value, (int, float)) and (prefix or name != "step"):
            values[prefix + name] = value
    return values
