"""The page on `sdekit verify` has every check, and that of its output every component."""

import re
from pathlib import Path

import pytest

from sdekit import registry, verify
from sdekit.models import PREDICTIONS

DOCS = Path(__file__).parents[2] / "docs"
NAMED = {"sampler": ("ddim", "adaptive-sde", "dpmpp-sde"), "sde": ("vp", "cosine"), "prediction": ("eps",)}


@pytest.mark.parametrize("kind", ["sampler", "sde", "grid", "network", "backend", "guidance", "dataset", "prediction"])
def test_every_check_is_explained(kind: str) -> None:
    """By name and with its law, as `python benchmarks/verify_page.py laws` writes them."""
    text = (DOCS / "verify.md").read_text("utf-8")
    for name in NAMED.get(kind, registry.component_names(kind)[:1] if kind != "dataset" else ("moons",)):
        for check in verify.checks_of(kind, name):
            told = f"| {str(check).partition('[')[0]} | `{check.equation}` | "
            assert told in text, "run: python benchmarks/verify_page.py laws"


def test_every_component_has_its_output() -> None:
    """What `python benchmarks/verify_page.py outputs` wrote; that all passes is for tests/verify."""
    told = re.findall(r"<summary>(\S+) (\S+): (.*)</summary>", (DOCS / "verify-output.md").read_text("utf-8"))
    found = {(kind, name) for kind, name, _ in told}
    own = {key for key, entry in registry.load_plugins().entries.items() if entry.package == "sdekit"}
    needed = {key for key in own if key[0] in ("sampler", "sde", "grid")} | {
        ("prediction", name) for name in PREDICTIONS
    }
    assert needed <= found, "run: python benchmarks/verify_page.py outputs"
    assert all(" passed " in verdict or " was not verified: " in verdict for *_, verdict in told)
