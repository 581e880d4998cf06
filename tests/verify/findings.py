"""Run one check that must fail."""

from __future__ import annotations

from typing import Any

from sdekit import verify


def failure(component: Any, check: str, *, kind: str | None = None, quick: bool = True) -> verify.Result:
    """Run only the check with this name, which must fail, and return its result."""
    return failed(verify.checks(component, kind=kind, quick=quick), check)


def failed(checks: list[verify.Check], check: str) -> verify.Result:
    """Run the check with this name of a list of checks, which must fail, and return its result."""
    by_name = {str(one): one for one in checks}
    assert check in by_name, f"there is no check {check}: {', '.join(by_name)}"
    result = by_name[check]()
    assert result.verdict == "FAILED", str(result)
    return result
