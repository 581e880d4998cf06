"""Every built-in component passes its own checks; the reports are data."""

from __future__ import annotations

import json

import pytest

from sdekit import plugins, verify
from sdekit.errors import InputError

FROM_FILES = ("images", "mnist", "array", "table")
COMPONENTS = [(k, n) for k in verify.BY_KIND for n in plugins.names(k) if n not in FROM_FILES]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids=["-".join(pair) for pair in COMPONENTS])
def test_quick(kind: str, name: str) -> None:
    """`sdekit verify NAME --quick`."""
    verify.verify(name, kind=kind, quick=True).raise_on_failure()


@pytest.mark.slow
@pytest.mark.parametrize("name", plugins.names("sampler"))
def test_samplers_in_full(name: str) -> None:
    """Every process and every number of steps."""
    verify.verify(name, kind="sampler").raise_on_failure()


@pytest.mark.slow
@pytest.mark.parametrize("name", plugins.names("grid"))
def test_grids_in_full(name: str) -> None:
    """Every process, up to a thousand steps."""
    verify.verify(name, kind="grid").raise_on_failure()


def test_a_report_is_data() -> None:
    """Name, verdict, numbers and equation of each check, JSON-ready; the curve where an order was measured."""
    report = verify.verify("heun", quick=True)
    fields = json.loads(json.dumps(report.as_dict()))
    assert (fields["component"], fields["kind"], fields["passed"]) == ("heun", "sampler", True)
    assert {"name", "passed", "measured", "expected", "equation", "seconds", "cause", "curve"} == set(
        fields["checks"][0]
    )
    (order,) = (check for check in fields["checks"] if check["name"] == "order[vp]")
    assert 1.7 < order["measured"] < 2.5 and [n for n, _ in order["curve"]][:3] == [20, 40, 80]
    assert all(check["seconds"] >= 0 and check["equation"] for check in fields["checks"])


def test_checks_one_by_one() -> None:
    """A list to parametrize a test over, each with its name."""
    checks = verify.checks(plugins.make("sde", "vp"))
    assert [str(check) for check in checks] == [check().name for check in checks]


def test_what_can_be_verified() -> None:
    """A function does not say what it is; a loader has no checks; an unknown name gets a suggestion."""
    with pytest.raises(InputError, match="give its kind, one of sde, sampler"):
        verify.verify(lambda sde, n: None)
    with pytest.raises(InputError, match="no checks for kind 'loader'"):
        verify.checks(print, kind="loader")
    with pytest.raises(InputError, match="no component 'huen'; did you mean 'heun'"):
        verify.verify("huen")
