"""What a check measured, as data: a name, a number, what was expected, and the equation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

Measured = float | int | str
Curve = tuple[tuple[int, float], ...]


class Finding(NamedTuple):
    """What one measurement came to. cause: what is probably wrong, where it failed. curve: (steps, error) pairs.

    skipped: it could not be measured here; measured says why.
    """

    passed: bool
    measured: Measured
    expected: str
    cause: str = ""
    curve: Curve = ()
    skipped: bool = False


@dataclass(frozen=True)
class Result:
    """The outcome of one check. seconds: what it took; cause: what is probably wrong, empty where it passed.

    skipped: not measured, for the reason in `measured`; it counts neither as a failure nor as proof.
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

    @property
    def verdict(self) -> str:
        """ "ok", "skipped" or "FAILED"."""
        return "skipped" if self.skipped else "ok" if self.passed else "FAILED"

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.name}: skipped: {self.measured}"
        because = f" ({self.cause})" if self.cause else ""
        return f"{self.name}: {self.verdict}: measured {show(self.measured)}, expected {self.expected}{because}"

    def raise_on_failure(self) -> None:
        """NotConforming where the check failed."""
        if not self.passed:
            raise NotConforming(f"{self}; {self.equation}")


@dataclass(frozen=True)
class Check:
    """One law that a component keeps: call it to measure. equation: the law, or what is compared."""

    name: str
    equation: str
    measure: Callable[[], Finding] = field(repr=False)

    def __str__(self) -> str:
        return self.name

    def __call__(self) -> Result:
        """Measure. A component that raises has failed; the error is what was measured."""
        began = time.perf_counter()
        try:
            found = self.measure()
        except Exception as error:
            found = Finding(False, f"{type(error).__name__}: {error}", "no error", "it raised where it should not")
        seconds = time.perf_counter() - began
        cause = "" if found.passed else found.cause
        return Result(
            self.name,
            found.passed,
            found.measured,
            found.expected,
            self.equation,
            seconds,
            cause,
            found.curve,
            found.skipped,
        )


class NotConforming(AssertionError):
    """A component failed a check of `sdekit.verify`."""


@dataclass(frozen=True)
class Report:
    """Every check of one component."""

    component: str
    kind: str
    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(result.passed for result in self.results)

    @property
    def failures(self) -> tuple[Result, ...]:
        """The checks that failed."""
        return tuple(result for result in self.results if not result.passed)

    @property
    def skipped(self) -> tuple[Result, ...]:
        """The checks that could not be made here."""
        return tuple(result for result in self.results if result.skipped)

    @property
    def seconds(self) -> float:
        """All checks together."""
        return sum(result.seconds for result in self.results)

    def raise_on_failure(self) -> None:
        """NotConforming with one line for each check that failed."""
        if not self.passed:
            made = len(self.results) - len(self.skipped)
            lines = [f"{self.kind} {self.component} fails {len(self.failures)} of {made} checks:"]
            raise NotConforming("\n  ".join([*lines, *(f"{r}; {r.equation}" for r in self.failures)]))

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "component": self.component,
            "kind": self.kind,
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "checks": [asdict(r) | {"seconds": round(r.seconds, 4)} for r in self.results],
        }


def show(measured: Measured) -> str:
    """A measured value as people read it."""
    return f"{measured:.3g}" if isinstance(measured, float) else str(measured)


def at_most(measured: float, bound: float, cause: str, what: str = "") -> Finding:
    """Passed where measured <= bound; nan never passes."""
    return Finding(bool(measured <= bound), float(measured), f"{what}at most {bound:.2g}", cause)


def same(measured: Measured, expected: Measured, cause: str) -> Finding:
    """Passed where both are equal."""
    return Finding(measured == expected, measured, show(expected), cause)


def skip(reason: str) -> Finding:
    """What could not be measured, and why."""
    return Finding(True, reason, "", skipped=True)
