"""Write the generated table of docs/verify.md, and docs/verify-results.md: the results of all built-in components.

python benchmarks/verify_page.py laws      what each check measures: seconds
python benchmarks/verify_page.py results   run all checks of all built-in components: about 10 minutes
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from sdekit import registry, verify
from sdekit.errors import InputError
from sdekit.models import PREDICTIONS
from sdekit.verify.component_checks import loader_checks

DOCS = Path(__file__).parents[1] / "docs"
LAWS, RESULTS = DOCS / "verify.md", DOCS / "verify-results.md"
# Together these components have every check of their kind.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "sampler": ("ddim", "ddpm", "ode"),
    "sde": ("vp",),
    "prediction": ("v",),
    "grid": ("karras",),
    "network": ("mlp",),
    "backend": ("eager",),
    "guidance": ("cfg", "autoguidance"),
    "dataset": ("moons",),
    "features": ("raw",),
}
SLOW_TO_COMPILE = ("compile", "export", "aoti")
PLURALS = {"sde": "Processes", "features": "Feature extractors"}
HEAD = """\
# Results of verify

Results of `sdekit verify NAME` for every built-in component that needs no file, written by
`python benchmarks/verify_page.py results`. [What verify checks](verify.md) explains the checks.

The backends compile, export and aoti were verified with `--quick`.

The margin is the unused part of the tolerance, relative to the tolerance. For an order it is (measured order / required
order - 1). The table shows the check with the smallest margin. A check without a tolerance has no margin.

| kind | component | checks | result | smallest margin |
|---|---|---|---|---|
"""


def checks_of_kind(kind: str) -> list[verify.Check]:
    """Return the checks of a kind, one for each name before the brackets."""
    if kind == "loader":
        return loader_checks.checks(lambda path: None, path="file")  # type: ignore[arg-type,return-value]
    if kind == "metric":
        return verify.checks(lambda x, y: 0.0, kind="metric")
    checks: dict[str, verify.Check] = {}
    for name in EXAMPLES.get(kind, ()) or registry.component_names(kind)[:1]:
        for check in verify.registered_checks(kind, name):
            checks.setdefault(check.name.partition("[")[0], check)
    return list(checks.values())


def write_laws() -> None:
    """Write the table of checks of each kind between the two comments of the page."""
    lines = []
    for kind in verify.CHECKS_BY_KIND:
        lines += [f"### {PLURALS.get(kind, kind.capitalize() + 's')}", "", "| check | verifies that |", "|---|---|"]
        for check in checks_of_kind(kind):
            lines.append(f"| {check.name.partition('[')[0]} | {check.description.replace('|', chr(92) + '|')} |")
        lines.append("")
    text = LAWS.read_text("utf-8")
    begin, end = "<!-- laws: benchmarks/verify_page.py -->", "<!-- end of laws -->"
    before, after = text.partition(begin)[0], text.partition(end)[2]
    LAWS.write_text("\n".join([f"{before}{begin}", "", *lines, f"{end}{after}"]), "utf-8")


def components() -> Iterator[tuple[str, str]]:
    """Yield kind and name of every component of this distribution that can be verified without a file."""
    for kind in verify.CHECKS_BY_KIND:
        for name in PREDICTIONS if kind == "prediction" else registry.component_names(kind):
            try:
                if kind != "sampler":
                    verify.registered_checks(kind, name, quick=True)
            except InputError:
                continue  # a data set of a file
            yield kind, name


def row(report: verify.Report) -> str:
    """Return the row of one component."""
    count, skipped = len(report.results) - len(report.skipped), len(report.skipped)
    result = "passed" if report.passed else f"failed: {', '.join(r.name for r in report.failures)}"
    result += f", {skipped} skipped" if skipped else ""
    if not count:
        result = f"skipped: {report.skipped[0].measured}".replace("|", "/")
    margins = [(r.margin, r.name) for r in report.results if r.margin is not None]
    smallest = "" if not margins else f"{min(margins)[0]:.2g} ({min(margins)[1]})"
    return f"| {report.kind} | {report.component} | {count} | {result} | {smallest} |"


def write_results() -> None:
    """Verify every component, and write the page after each."""
    rows: list[str] = []
    for kind, name in components():
        rows.append(row(verify.verify(name, kind=kind, quick=kind == "backend" and name in SLOW_TO_COMPILE)))
        print(rows[-1], flush=True)
        RESULTS.write_text(HEAD + "\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    write_laws() if sys.argv[1:] in ([], ["laws"]) else write_results()
