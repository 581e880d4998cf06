"""Write the generated table of docs/verify.md, and docs/verify-results.md: the results of all built-in components.

python benchmarks/verify_page.py laws      what each check measures: seconds
python benchmarks/verify_page.py results   run all checks of all built-in components: about 10 minutes
python benchmarks/verify_page.py results network heun   only those of some kinds or components; other rows stay
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
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
    "guidance": ("cfg", "autoguidance", "clip"),
    "dataset": ("moons",),
    "features": ("raw",),
}
SLOW_TO_COMPILE = ("compile", "export", "aoti")
PLURALS = {"sde": "Processes", "features": "Feature extractors"}
HEAD = """\
# Results of verify

Results of `sdekit verify NAME` for every built-in component that needs no file, written by
`python benchmarks/verify_page.py results`. [What verify checks](verify.md) explains the checks.

The worst ratio is the largest measured value divided by its tolerance, or the required order divided by the measured
one, and the check in which it occurred. It is at most 1 if the check passed. The backends compile, export and aoti were
verified with `--quick`. Seconds are the processor time of one thread. They are left out in rows of earlier versions.

| component | kind | checks passed | worst ratio to its tolerance | seconds |
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
        lines += [
            f"### {PLURALS.get(kind, kind.capitalize() + 's')}",
            "",
            "| check | law | verifies that |",
            "|---|---|---|",
        ]
        for check in checks_of_kind(kind):
            name, law, words = (t.replace("|", chr(92) + "|") for t in (check.name, check.equation, check.description))
            lines.append(f"| {name.partition('[')[0]} | {law} | {words} |")
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


def ratio(result: verify.Result) -> float:
    """Return the measured value divided by its tolerance, or the required order divided by the measured one."""
    margin = result.margin or 0.0
    return 1 / max(1 + margin, 1e-9) if result.curve else 1 - margin


def row(report: verify.Report, seconds: float) -> str:
    """Return the row of one component."""
    results = [result for result in report.results if not result.skipped]
    if not results:
        reason = str(report.skipped[0].measured).partition(":")[0].replace("|", "/")
        return f"| {report.component} | {report.kind} | skipped: {reason} |  |  |"
    passed = f"{sum(result.passed for result in results)} of {len(results)}"
    if not report.passed:
        passed += f": failed {', '.join(result.name for result in report.failures)}"
    if report.skipped:
        passed += f", {len(report.skipped)} skipped"
    ratios = [(ratio(result), result.name) for result in results if result.margin is not None]
    worst = f"{max(ratios)[0]:.2g} ({max(ratios)[1]})" if ratios else ""
    return f"| {report.component} | {report.kind} | {passed} | {worst} | {seconds:.1f} |"


def read_rows() -> dict[tuple[str, str], str]:
    """Return the rows of the page by kind and component."""
    cells = [line.split(" | ") for line in RESULTS.read_text("utf-8").splitlines() if line.startswith("| ")]
    return {(row[1], row[0].removeprefix("| ")): " | ".join(row) for row in cells[1:]}


def write_results(names: Sequence[str]) -> None:
    """Verify every component, or those of some kinds or names, and write the page after each."""
    rows, order = read_rows(), list(components())
    for kind, name in order:
        if names and kind not in names and name not in names:
            continue
        start = time.process_time()
        report = verify.verify(name, kind=kind, quick=kind == "backend" and name in SLOW_TO_COMPILE)
        rows[kind, name] = row(report, time.process_time() - start)
        print(rows[kind, name], flush=True)
        RESULTS.write_text(HEAD + "\n".join(rows[key] for key in order if key in rows) + "\n", "utf-8")


if __name__ == "__main__":
    write_laws() if sys.argv[1:] in ([], ["laws"]) else write_results(sys.argv[2:])
