"""Every hook, every argument of it and every kind of component stands in the documentation of plugins."""

import inspect
import re
from pathlib import Path

import pytest

from sdekit import registry, verify
from sdekit.registry import hookspecs

DOCS = Path(__file__).parents[2] / "docs"
HOOKS = {name: function for name, function in vars(hookspecs).items() if name.startswith("sdekit_")}


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_documented(name: str) -> None:
    """By name, with its arguments, in the guide; the reference page is made from the module that holds it."""
    arguments = ", ".join(inspect.signature(HOOKS[name]).parameters)
    written = f"`{name}({arguments})`" if arguments else f"`{name}`"
    assert f"| {written} |" in (DOCS / "plugins.md").read_text("utf-8")
    assert "::: sdekit.registry.hookspecs" in (DOCS / "reference" / "plugins.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(set(HOOKS) - {"sdekit_commands"}))
def test_a_hook_says_how_its_targets_are_called(name: str) -> None:
    """The specification of a hook, from which the reference is made, holds the signature of a target."""
    assert re.search(r"`target\(.*\) -> .+`", inspect.getdoc(HOOKS[name]) or "")


def test_what_is_verified_is_documented() -> None:
    """One row for each kind; every one has checks."""
    text = (DOCS / "plugins.md").read_text("utf-8")
    said = {"sde": "process"}
    missing = [kind for kind in verify.CHECKS_BY_KIND if f"| {said.get(kind, kind)} | " not in text]
    assert not missing and set(verify.CHECKS_BY_KIND) == {*registry.KINDS, "prediction"}
