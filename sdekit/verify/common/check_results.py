"""Data classes for checks and their results, and functions that create a `Finding`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

Measured = float | int | str
Curve = tuple[tuple[int, float], ...]
NO_EXCEPTION = "no exception"
"""Expected value of a check that fails by an exception of the component."""


class Finding(NamedTuple):
    """Outcome of one measurement.

    Attributes:
        passed: Whether the component obeys the law.
        measured: Measured value, or the reason if the check was skipped.
        expected: Description of the accepted values.
        cause: Probable cause of a failure and how to correct it.
        curve: Pairs (number of steps, error) if an order was measured.
        skipped: Whether the check was skipped because the measurement is impossible.
        margin: Unused fraction of the tolerance. It is 0 at the limit, and None if the check has no tolerance.
    """

    passed: bool
    measured: Measured
    expected: str
    cause: str = ""
    curve: Curve = ()
    skipped: bool = False
    margin: float | None = None


@dataclass(frozen=True)
class Result:
    """Outcome of one check.

    Arguments:
        name: Name of the check.
        passed: Whether the component obeys the law. A skipped check counts as passed.
        measured: Measured value, or the reason if the check was skipped.
        expected: Description of the accepted values.
        equation: Law that was checked.
        seconds: Duration of the check.
        cause: Probable cause of a failure and how to correct it. Empty if the check passed.
        curve: Pairs (number of steps, error) if an order was measured.
        skipped: Whether the check was skipped because the measurement is impossible.
        margin: Unused fraction of the tolerance. It is 0 at the limit, and None if the check has no tolerance.
    """

    name: str
    passed: bool
    measured: Measured
    expected: str
    equation: str
    seconds: float
    cause: str = ""
    curve: Curve = ()
    skipped: bool = False
    margin: float | None = None

    @property
    def verdict(self) -> str:
        """Verdict of the check: "ok", "skipped" or "FAILED"."""
        return "skipped" if self.skipped else "ok" if self.passed else "FAILED"

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.name}: skipped: {self.measured}"
        reason = f" ({self.cause})" if self.cause else ""
        measured = format_measured(self.measured)
        return f"{self.name}: {self.verdict}: measured {measured}, expected {self.expected}{reason}"

    def raise_on_failure(self) -> None:
        """Raise NotConforming if the check failed."""
        if not self.passed:
            raise NotConforming(f"{self}; {self.equation}")


@dataclass(frozen=True)
class Check:
    """One law that a component must obey. Call the check to measure it.

    Arguments:
        name: Short name, with the measured process or shape in brackets: "order[vp]".
        equation: The law, as an equation or in words.
        measure: Function that measures the component and returns a `Finding`.
        roots: Checks that must pass first. If one of them fails, a failure of this check would only repeat it, so this
            check is skipped.
    """

    name: str
    equation: str
    measure: Callable[[], Finding] = field(repr=False)
    roots: tuple[Check, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return self.name

    @property
    def description(self) -> str:
        """The law in words: the first line of the docstring of `measure`, without the prefix "Check that".

        If `measure` is a partial function, the docstrings of its function and of its arguments are searched for a line
        with this prefix. The description is empty if there is no such line.
        """
        functions = (self.measure.func, *self.measure.args) if isinstance(self.measure, partial) else (self.measure,)
        for function in functions:
            first_line = (getattr(function, "__doc__", None) or "").partition("\n")[0]
            if callable(function) and first_line.startswith("Check that "):
                return first_line.removeprefix("Check that ").removesuffix(".")
        return ""

    def __call__(self) -> Result:
        """Measure the component once. If it raises an exception, the check fails and reports the exception."""
        return self._result

    @property
    def failed_root(self) -> str:
        """Name of the failed check from which a failure of this check would follow, or an empty text."""
        failed = (root.failed_root or (str(root) if not root().passed else "") for root in self.roots)
        return next(filter(None, failed), "")

    @cached_property
    def _result(self) -> Result:
        start = time.perf_counter()
        try:
            root = self.failed_root
            finding = skip(f"follows from {root}") if root else self.measure()
        except Exception as error:
            finding = Finding(
                False,
                f"{type(error).__name__}: {error}",
                NO_EXCEPTION,
                "the component raised an exception: correct its cause",
            )
        return Result(
            name=self.name,
            passed=finding.passed,
            measured=finding.measured,
            expected=finding.expected,
            equation=self.equation,
            seconds=time.perf_counter() - start,
            cause="" if finding.passed else finding.cause,
            curve=finding.curve,
            skipped=finding.skipped,
            margin=finding.margin,
        )


class NotConforming(AssertionError):
    """Raised if a component fails a check of `sdekit.verify`."""


@dataclass(frozen=True)
class Report:
    """Results of every check of one component.

    Arguments:
        component: Name of the component.
        kind: Kind of the component: "sampler", "sde", ...
        results: One result for each check.
    """

    component: str
    kind: str
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether every check passed or was skipped."""
        return all(result.passed for result in self.results)

    @property
    def failures(self) -> tuple[Result, ...]:
        """Results of the failed checks."""
        return tuple(result for result in self.results if not result.passed)

    @property
    def skipped(self) -> tuple[Result, ...]:
        """Results of the skipped checks."""
        return tuple(result for result in self.results if result.skipped)

    @property
    def seconds(self) -> float:
        """Total duration of the checks."""
        return sum(result.seconds for result in self.results)

    def raise_on_failure(self) -> None:
        """Raise NotConforming with one line for each failed check."""
        if not self.passed:
            count = len(self.results) - len(self.skipped)
            lines = [f"{self.kind} {self.component} fails {len(self.failures)} of {count} checks:"]
            raise NotConforming("\n  ".join([*lines, *(f"{r}; {r.equation}" for r in self.failures)]))

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary that can be written as JSON."""
        return {
            "component": self.component,
            "kind": self.kind,
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "checks": [asdict(r) | {"seconds": round(r.seconds, 4)} for r in self.results],
        }


def format_measured(measured: Measured) -> str:
    """Format a measured value for display.

    Arguments:
        measured: Number or text.
    Returns:
        Text. A float is rounded to three significant digits.
    """
    return f"{measured:.3g}" if isinstance(measured, float) else str(measured)


def at_most(measured: float, bound: float, cause: str, prefix: str = "") -> Finding:
    """Compare a measured value with its largest accepted value.

    Arguments:
        measured: Measured value. NaN never passes.
        bound: Largest accepted value.
        cause: Probable cause of a failure and how to correct it.
        prefix: Text before "at most" in the description of the accepted values.
    Returns:
        Finding that passes if measured <= bound.
    """
    margin = 1 - float(measured) / bound if bound > 0 else None
    return Finding(bool(measured <= bound), float(measured), f"{prefix}at most {bound:.2g}", cause, margin=margin)


def same(measured: Measured, expected: Measured, cause: str) -> Finding:
    """Compare a measured value with the only accepted value.

    Arguments:
        measured: Measured value.
        expected: Accepted value.
        cause: Probable cause of a failure and how to correct it.
    Returns:
        Finding that passes if both values are equal.
    """
    return Finding(measured == expected, measured, format_measured(expected), cause)


def skip(reason: str) -> Finding:
    """Return a skipped finding, for a measurement that is impossible.

    Arguments:
        reason: Why the measurement is impossible, and what it needs.
    Returns:
        Skipped finding.
    """
    return Finding(True, reason, "", skipped=True)
