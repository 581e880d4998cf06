"""Every built-in component passes its checks; reports are data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sdekit import registry, verify
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS

FROM_FILES = ("images", "mnist", "array", "table", "sequences", "hf", "classifier", "program", "weights")
COMPILED = ("compile", "export")  # slow to compile; the tests of the backends compare them with eager
IN_FULL = ("grid",)  # verified by a test below
COMPONENTS = [
    *(
        (k, n)
        for k in verify.CHECKS_BY_KIND
        if k not in IN_FULL
        for n in registry.component_names(k)
        if n not in COMPILED and not (k in ("dataset", "features") and n in FROM_FILES)
    ),
    *(("prediction", name) for name in PREDICTIONS),
]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids=["-".join(pair) for pair in COMPONENTS])
def test_it_conforms(kind: str, name: str) -> None:
    """Every component passes `sdekit verify NAME --quick`; docs/verify-results.md has the results of all checks."""
    verify.verify(name, kind=kind, quick=True).raise_on_failure()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heun", "dpmpp-2m", "ddpm"])
def test_samplers_in_full(name: str) -> None:
    """A one-step, a multistep and a stochastic sampler pass all checks."""
    verify.verify(name, kind="sampler").raise_on_failure()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("edm-stochastic", {"method": "ddim"}),
        ("edm-stochastic", {"s_churn": 0.0}),
        ("restart", {"method": "ddim"}),
        ("restart", {"repeats": 0}),
        ("er-sde", {"values": 1}),
        ("sa-solver", {"predictor": 1, "corrector": 0}),
        ("sa-solver", {"tau": 0.0}),
        ("dpmpp-sde", {"eta": 0.0}),
        ("dpmpp-2m-sde", {"eta": 0.0}),
        ("dpmpp-3m-sde", {"eta": 0.0}),
        ("euler-ancestral", {"eta": 0.0}),
    ],
)
def test_declarations_follow_the_options(name: str, options: dict[str, Any]) -> None:
    """A sampler declares order and noise for its options, not for the defaults."""
    verify.verify(registry.build("sampler", name, **options), quick=True).raise_on_failure()


@pytest.mark.parametrize("name", registry.component_names("grid"))
def test_grids_in_full(name: str) -> None:
    """Every grid passes all checks, on every process and up to a thousand steps."""
    verify.verify(name, kind="grid").raise_on_failure()


def test_quick_checks_are_a_subset() -> None:
    """All checks include the checks of --quick."""
    for kind, name in (("sampler", "heun"), ("sampler", "ddpm"), ("grid", "karras"), ("prediction", "v")):
        whole, quick = ({str(c) for c in verify.registered_checks(kind, name, quick=q)} for q in (False, True))
        assert quick < whole


def test_a_report_is_data() -> None:
    """A report can be written as JSON, with the curve of each measured order."""
    names = ("order[vp]", "calls[vp]", "noise")
    checks = [c for c in verify.registered_checks("sampler", "heun", quick=True) if str(c) in names]
    report = verify.run_checks("heun", "sampler", checks)
    fields = json.loads(json.dumps(report.as_dict()))
    assert (fields["component"], fields["kind"], fields["passed"]) == ("heun", "sampler", True)
    assert set(fields["checks"][0]) == {
        *("name", "passed", "measured", "expected", "equation", "seconds", "cause", "curve", "skipped", "margin")
    }
    (order,) = (check for check in fields["checks"] if check["name"] == "order[vp]")
    assert 1.7 < order["measured"] < 2.5 and [n for n, _ in order["curve"]][:3] == [20, 40, 80]
    assert all(check["seconds"] >= 0 and check["equation"] for check in fields["checks"])


def test_checks_one_by_one() -> None:
    """`checks` returns a list of named checks, over which a test can be parametrized."""
    checks = verify.checks(registry.build("sde", "vp"))
    assert [str(check) for check in checks] == [check().name for check in checks]


def test_unknown_components_are_refused() -> None:
    """A function needs its kind, and an unknown name or kind gets a suggestion."""
    with pytest.raises(InputError, match="give its kind, one of sde, sampler"):
        verify.verify(lambda sde, n: None)
    with pytest.raises(InputError, match="no checks for kind 'lodaer'; did you mean 'loader'"):
        verify.checks(print, kind="lodaer")
    with pytest.raises(InputError, match="no component 'huen'; did you mean 'heun'"):
        verify.verify("huen")
    with pytest.raises(InputError, match="no prediction 'esp'; did you mean 'eps'"):
        verify.checks("esp", kind="prediction")


def test_a_data_set_needs_its_path() -> None:
    """A data set of a file needs a path, and other data sets accept none."""
    with pytest.raises(InputError, match="data set 'table' needs a path: write table:PATH"):
        verify.registered_checks("dataset", "table")
    with pytest.raises(InputError, match="data set 'moons' takes no path: write moons"):
        verify.registered_checks("dataset", "moons", path="x")


def test_predictions_by_name() -> None:
    """A registered component has precedence over a prediction of the same name."""
    assert verify.find_kind("eps") == "prediction" and verify.find_kind("edm") == "sde"
