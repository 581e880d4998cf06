"""Every built-in component passes its own checks; the reports are data."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sdekit import registry, verify
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS

FROM_FILES = ("images", "mnist", "array", "table")
COMPILED = ("compile", "export")  # a minute of compiling; tests/plugins/test_backends.py compares them with eager
IN_FULL = ("sampler", "grid")  # has tests of its own, of which the quick checks are a part
COMPONENTS = [
    *(
        (k, n)
        for k in verify.BY_KIND
        if k not in IN_FULL
        for n in registry.component_names(k)
        if n not in FROM_FILES + COMPILED
    ),
    *(("prediction", name) for name in PREDICTIONS),
]


@pytest.mark.parametrize(("kind", "name"), COMPONENTS, ids=["-".join(pair) for pair in COMPONENTS])
def test_it_conforms(kind: str, name: str) -> None:
    """`sdekit verify NAME`; of networks and backends with --quick, for time's sake."""
    verify.verify(name, kind=kind, quick=kind in ("network", "backend")).raise_on_failure()


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.component_names("sampler"))
def test_samplers_in_full(name: str) -> None:
    """Every process and every number of steps; and what --quick measures otherwise, marginals of fewer samples."""
    found = verify.checks_of("sampler", name) + [
        check for check in verify.checks_of("sampler", name, quick=True) if str(check).startswith("marginals")
    ]
    verify.run(name, "sampler", found).raise_on_failure()


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
    """Order and noise are those of the options that are set, not of the defaults."""
    verify.verify(registry.build("sampler", name, **options), quick=True).raise_on_failure()


@pytest.mark.parametrize("name", registry.component_names("grid"))
def test_grids_in_full(name: str) -> None:
    """Every process, up to a thousand steps."""
    verify.verify(name, kind="grid").raise_on_failure()


def test_a_quick_one_is_part_of_the_whole() -> None:
    """--quick asks nothing that the whole does not ask."""
    for kind, name in (("sampler", "heun"), ("sampler", "ddpm"), ("grid", "karras"), ("prediction", "v")):
        whole, quick = ({str(c) for c in verify.checks_of(kind, name, quick=q)} for q in (False, True))
        assert quick < whole


def test_a_report_is_data() -> None:
    """Name, verdict, numbers and equation of each check, JSON-ready; the curve where an order was measured."""
    some = [c for c in verify.checks_of("sampler", "heun", quick=True) if str(c) in ("order[vp]", "calls[vp]", "noise")]
    report = verify.run("heun", "sampler", some)
    fields = json.loads(json.dumps(report.as_dict()))
    assert (fields["component"], fields["kind"], fields["passed"]) == ("heun", "sampler", True)
    assert set(fields["checks"][0]) == {
        *("name", "passed", "measured", "expected", "equation", "seconds", "cause", "curve", "skipped")
    }
    (order,) = (check for check in fields["checks"] if check["name"] == "order[vp]")
    assert 1.7 < order["measured"] < 2.5 and [n for n, _ in order["curve"]][:3] == [20, 40, 80]
    assert all(check["seconds"] >= 0 and check["equation"] for check in fields["checks"])


def test_checks_one_by_one() -> None:
    """A list to parametrize a test over, each with its name."""
    checks = verify.checks(registry.build("sde", "vp"))
    assert [str(check) for check in checks] == [check().name for check in checks]


def test_what_can_be_verified() -> None:
    """A function does not say what it is; a command has no checks; an unknown name gets a suggestion."""
    with pytest.raises(InputError, match="give its kind, one of sde, sampler"):
        verify.verify(lambda sde, n: None)
    with pytest.raises(InputError, match="no checks for kind 'lodaer'; did you mean 'loader'"):
        verify.checks(print, kind="lodaer")
    with pytest.raises(InputError, match="no component 'huen'; did you mean 'heun'"):
        verify.verify("huen")
    with pytest.raises(InputError, match="no prediction 'esp'; did you mean 'eps'"):
        verify.checks("esp", kind="prediction")


def test_a_data_set_needs_its_path() -> None:
    """And one that opens none is given none."""
    with pytest.raises(InputError, match="data set 'table' needs a path: write table:PATH"):
        verify.checks_of("dataset", "table")
    with pytest.raises(InputError, match="data set 'moons' takes no path: write moons"):
        verify.checks_of("dataset", "moons", path="x")


def test_predictions_by_name() -> None:
    """A registered component goes before a prediction of its name."""
    assert verify.find("eps") == "prediction" and verify.find("edm") == "sde"
