"""`sdekit verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.markup import escape
from rich.table import Table

from sdekit.errors import InputError
from sdekit.registry import load_plugins, unknown_name
from sdekit_cli.options.assignments import component, named
from sdekit_cli.options.component_kinds import kind_of
from sdekit_cli.options.plugin_option import PluginFiles, load_plugin_files
from sdekit_cli.terminal.console import print_json, progress_bar, show_table, shown

if TYPE_CHECKING:
    from sdekit.verify import Report

COLOURS = {"ok": "green", "skipped": "yellow", "FAILED": "red"}


def verify(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Components: NAME, NAME:option=value, or NAME:PATH of data or a model."),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Fewer processes and steps: seconds.")] = False,
    kind: Annotated[str | None, typer.Option(help="Their kind, where two kinds share a name, or `prediction`.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw error against steps into this PNG file.")] = None,
    plugin: PluginFiles = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check components against exact answers: order, marginals, noise, network calls, inverses, and much else.

    A prediction (x0, eps, v, flow, edm: what a network is trained to be) is verified by its name too.

    Exit code 0 if every check passed, 1 if one failed.

    Examples:

      sdekit verify heun --quick

      sdekit verify vp sub-vp:beta_max=15 --json

      sdekit verify my-sampler --plugin my_sampler.py --plot order.png
    """
    load_plugin_files(plugin, quiet=json)
    chosen = [find(name, kind) for name in names]
    if plot is not None and (not plot.parent.is_dir() or plot.suffix.lower() != ".png"):
        raise InputError(f"--plot {plot}: name a .png file in a folder that is there")
    if plot is not None and not any(map(_measures_order, chosen)):
        raise InputError(f"--plot {plot}: no check of {', '.join(names)} measures an error against steps: leave it out")
    from sdekit.verify import checks_of, run

    reports, made = [], [checks_of(f.kind, f.name, path=f.path, options=f.options, quick=quick) for f in chosen]
    for given, (of_kind, *_), checks in zip(names, chosen, made, strict=True):
        with progress_bar(quiet=json) as bar:
            task = bar.add_task(f"verifying {given}", total=len(checks))
            reports.append(run(given, of_kind, checks, lambda _: bar.advance(task)))  # noqa: B023
        if not json:
            _show(reports[-1])
    if plot is not None:
        _plot(reports, plot)
    if json:
        passed = all(report.passed for report in reports)
        print_json({"passed": passed, "quick": quick, "components": [report.as_dict() for report in reports]})
    if not all(report.passed for report in reports):
        raise typer.Exit(1)


class Found(NamedTuple):
    """What one argument names: path of NAME:PATH, else the options of NAME:option=value."""

    kind: str
    name: str
    path: str | None = None
    options: dict[str, Any] = {}


def _measures_order(found: Found) -> bool:
    """Whether some check of it draws a curve: samplers that declare an order have such checks."""
    from sdekit.registry import build

    return found.kind == "sampler" and build("sampler", found.name, **found.options).order is not None


def find(given: str, kind: str | None) -> Found:
    """What an argument names; InputError with a suggestion where there is no such component or option."""
    kind = kind_of(kind, "prediction")
    known = load_plugins().entries
    name, colon, path = given.partition(":")
    found = [k for k, n in known if n == name and kind in (None, k)]
    if len(found) > 1:
        raise InputError(f"{name!r} is a {' and a '.join(found)}: say which with --kind")
    if found and (not colon or found[0] in ("dataset", "loader")):
        return Found(found[0], name, path if colon else None)
    if found:
        return Found(found[0], name, options=component(found[0], name, named(given)[1]))
    from sdekit.models import PREDICTIONS

    others = set(PREDICTIONS) if kind in (None, "prediction") else set()
    if given in others:
        return Found("prediction", given)
    installed = sorted({n for k, n in known if kind in (None, k)} | others)
    raise InputError(unknown_name(kind or "component", name, installed, "Installed"))


def _show(report: "Report") -> None:
    """A table of every check, then what failed and why."""
    from sdekit.verify import show

    table = Table("", "check", "measured", "expected", box=None, header_style="bold")
    table.columns[1].no_wrap = True
    for result in report.results:
        mark = f"[{COLOURS[result.verdict]}]{result.verdict}[/]"
        measured = "" if result.skipped else show(result.measured)  # why stands below, once
        table.add_row(mark, *map(escape, (result.name, measured, result.expected)))
    shown.print(f"[bold]{report.kind} {escape(report.component)}[/]", soft_wrap=True)
    show_table(table)
    for result in report.failures:
        because = f"[red]{escape(result.name)}[/]: {escape(result.cause or str(result.measured))}"
        shown.print(f"{because}. The law: {escape(result.equation)}", soft_wrap=True)
    for reason in dict.fromkeys(str(result.measured) for result in report.skipped):
        shown.print(f"[yellow]skipped[/]: {escape(reason)}", soft_wrap=True)
    skipped, made = len(report.skipped), len(report.results) - len(report.skipped)
    verdict = f"passed {made} checks" if report.passed else f"failed {len(report.failures)} of {made} checks"
    left = f", {skipped} skipped" if skipped else ""
    said = f"{verdict}{left}" if made else f"was not verified: its {skipped} checks are skipped"
    shown.print(f"{escape(report.component)} {said} in {report.seconds:.1f} s\n", soft_wrap=True)


def _plot(reports: "list[Report]", path: Path) -> None:
    """Error against steps, one line a check that measured an order, log-log."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from sdekit.errors import SdekitError

    curves = [(f"{r.component} {c.name}", c.curve) for r in reports for c in r.results if c.curve]
    if not curves:
        raise SdekitError(f"--plot {path}: no check of these components measures an error against steps")
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label, curve in curves:
        axes.loglog(*zip(*curve, strict=True), marker="o", label=label)
    axes.set(xlabel="steps", ylabel="error")
    axes.legend(fontsize="small")
    try:
        figure.savefig(path)
    except OSError as error:
        raise SdekitError(f"--plot {path}: {error.strerror or error}") from error
