"""The documentation of `sdekit verify` explains every check and has a result for every component."""

import re
from pathlib import Path

import pytest

from sdekit import registry, verify
from sdekit.models import PREDICTIONS

DOCS = Path(__file__).parents[2] / "docs"
NAMED = {"sampler": ("ddim", "adaptive-sde", "dpmpp-sde"), "sde": ("vp", "cosine"), "prediction": ("eps",)}


@pytest.mark.parametrize(
    "kind",
    [
        "sampler",
        "sde",
        "grid",
        "network",
        "backend",
        "guidance",
        "dataset",
        "prediction",
        "operator",
        "restorer",
        "metric",
        "objective",
    ],
)
def test_every_check_is_explained(kind: str) -> None:
    """Every check has a description, and the page contains it."""
    page = (DOCS / "verify.md").read_text("utf-8").splitlines()
    for name in NAMED.get(kind, registry.component_names(kind)[:1] if kind != "dataset" else ("moons",)):
        for check in verify.registered_checks(kind, name):
            assert check.description, f"{check}: its function needs a docstring that starts with 'Check that'"
            name, words = str(check).partition("[")[0], check.description.replace("|", chr(92) + "|")
            rows = [line for line in page if line.startswith(f"| {name} | ") and line.endswith(f" | {words} |")]
            assert rows, "run: python benchmarks/verify_page.py laws"


def test_every_component_has_a_result() -> None:
    """The table of results has every built-in sampler, process, grid and prediction, and no failure."""
    text = (DOCS / "verify-results.md").read_text("utf-8")
    rows = re.findall(r"^\| (\S+) \| (\S+) \| (\d+ of \d+.*?|skipped.*?) \|", text, re.MULTILINE)
    entries = registry.load_plugins().entries
    required = {
        key for key, entry in entries.items() if entry.package == "sdekit" and key[0] in ("sampler", "sde", "grid")
    }
    required |= {("prediction", name) for name in PREDICTIONS}
    missing = required - {(kind, name) for name, kind, _ in rows}
    assert not missing, "run: python benchmarks/verify_page.py results"
    assert not [row for row in rows if "failed" in row[2]]
