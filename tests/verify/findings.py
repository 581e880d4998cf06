"""What one check must have told."""

from __future__ import annotations

from typing import Any

from sdekit import verify


def failure(component: Any, check: str, *, kind: str | None = None, quick: bool = True) -> verify.Result:
    """The result of the check of that name, which must have failed. Only that one is run: the others cost time."""
    return failed(verify.checks(component, kind=kind, quick=quick), check)


def failed(checks: list[verify.Check], check: str) -> verify.Result:
    """The same, of a list of checks."""
    found = {str(one): one for one in checks}
    assert check in found, f"there is no check {check}: {', '.join(found)}"
    result = found[check]()
    assert result.verdict == "FAILED", str(result)
    return result
