"""The command `sdekit verify`."""

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from sdekit.errors import InputError
from sdekit_cli.options.component_kinds import registry_kind
from sdekit_cli.options.shared_options import PluginFiles, load_plugin_files
from sdekit_cli.terminal.console import print_json, show_table, shown

if TYPE_CHECKING:
    from sdekit.verify import Report

COLOURS = {"ok": "green", "skipped": "yellow", "FAILED": "red"}


def verify(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="Components: NAME, NAME:option=value, or NAME:PATH of data or a model."),
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Fewer processes and steps: seconds.")] = False,
    kind: Annotated[str | None, typer.Option(help="Their kind, if two kinds share a name, or `prediction`.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Plot error against steps into this PNG file.")] = None,
    plugin: PluginFiles = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check components against exact answers: order, marginals, noise, network calls, inverses, and more.

    To verify a prediction, which is the quantity that a network predicts, name it: x0, eps, v, flow or edm.

    Exit code 0 if every check passed, 1 if one failed.

    Examples:

      sdekit verify heun --quick

      sdekit verify vp sub-vp:beta_max=15 --json

      sdekit verify my-sampler --plugin my_sampler.py --plot order.png
    """
    from sdekit_cli.terminal.progress import progress_bar

    load_plugin_files(plugin, quiet=json)
    targets = [find_target(name, kind) for name in names]
    if plot is not None and (not plot.parent.is_dir() or plot.suffix.lower() != ".png"):
        raise InputError(f"--plot {plot}: name a .png file in an existing folder")
    if plot is not None and not any(map(_declares_order, targets)):
        raise InputError(f"--plot {plot}: no check of {', '.join(names)} measures an error against steps: omit --plot")
    if plot is not None:
        from sdekit.runs import check_writable

        check_writable(plot, "--plot")
    from sdekit.verify import registered_checks, run_checks

    reports = []
    checks_of = [registered_checks(t.kind, t.name, path=t.path, options=t.options, quick=quick) for t in targets]
    for argument, target, checks in zip(names, targets, checks_of, strict=True):
        with progress_bar(quiet=json) as bar:
            task = bar.add_task(f"verifying {argument}", total=len(checks))
            reports.append(run_checks(argument, target.kind, checks, lambda _: bar.advance(task)))  # noqa: B023
        if not json:
            _show(reports[-1])
    if json:
        passed = all(report.passed for report in reports)
        print_json({"passed": passed, "quick": quick, "components": [report.as_dict() for report in reports]})
    if plot is not None:  # after the results are printed, which a failure must not lose
        _plot(reports, plot)
    if not all(report.passed for report in reports):
        raise typer.Exit(1)


class Target(NamedTuple):
    """Component named by one argument, with the path of NAME:PATH or the options of NAME:option=value."""

    kind: str
    name: str
    path: str | None = None
    options: dict[str, Any] = {}


def _declares_order(target: Target) -> bool:
    """Return whether the component is a sampler that declares an order, so that its checks plot a curve."""
    from sdekit.registry import build

    return target.kind == "sampler" and build("sampler", target.name, **target.options).order is not None


def find_target(argument: str, kind: str | None) -> Target:
    """Find the component named by an argument, or raise InputError with a suggestion."""
    from sdekit.registry import component_options, kind_name, load_plugins, parse_component, unknown_name

    kind = registry_kind(kind, "prediction")
    entries = load_plugins().entries
    from sdekit.models import split_loader_options

    name, colon, path = argument.partition(":")
    name = name.lower()
    kinds = [k for k, n in entries if n == name and kind in (None, k)]
    if len(kinds) == 2 and "loader" in kinds:  # a loader is verified with a path, another component without one
        has_path = bool(colon) and not re.match(r"[\w.]+=", path)
        kinds = [k for k in kinds if (k == "loader") == has_path]
    if len(kinds) > 1:
        raise InputError(f"{name!r} is a {' and a '.join(kinds)}: choose one with --kind")
    if kinds == ["loader"] and colon:
        path, options = split_loader_options(argument)
        return Target("loader", name, path.partition(":")[2], component_options("loader", name, options))
    if kinds and (not colon or kinds[0] in ("dataset", "loader")):
        return Target(kinds[0], name, path if colon else None)
    if kinds:
        return Target(kinds[0], name, options=component_options(kinds[0], name, parse_component(argument, kinds[0])[1]))
    from sdekit.models import PREDICTIONS

    predictions = set(PREDICTIONS) if kind in (None, "prediction") else set()
    if argument.lower() in predictions:
        return Target("prediction", argument.lower())
    installed = sorted({n for k, n in entries if kind in (None, k)} | predictions)
    raise InputError(unknown_name(kind_name(kind or "component"), name, installed, "Installed"))


def _show(report: "Report") -> None:
    """Print a table of all checks, the diagnosis of each failure, and a summary."""
    from rich.markup import escape
    from rich.table import Table

    from sdekit.verify import format_measured

    table = Table("", "check", "measured", "expected", box=None, header_style="bold")
    table.columns[1].no_wrap = True
    for result in report.results:
        mark = f"[{COLOURS[result.verdict]}]{result.verdict}[/]"
        measured = "" if result.skipped else format_measured(result.measured)  # reasons are printed below the table
        table.add_row(mark, *map(escape, (result.name, measured, result.expected)))
    shown.print(f"[bold]{report.kind} {escape(report.component)}[/]", soft_wrap=True)
    show_table(table)
    for result in report.failures:
        diagnosis = f"[red]{escape(result.name)}[/]: {escape(result.cause or str(result.measured))}"
        shown.print(f"{diagnosis}. The law: {escape(result.equation)}", soft_wrap=True)
    for reason in dict.fromkeys(str(result.measured) for result in report.skipped):
        shown.print(f"[yellow]skipped[/]: {escape(reason)}", soft_wrap=True)
    skipped, measured_count = len(report.skipped), len(report.results) - len(report.skipped)
    if not measured_count:
        verdict = f"was not verified: its {skipped} checks are skipped"
    else:
        failed = f"failed {len(report.failures)} of {measured_count} checks"
        verdict = f"passed {measured_count} checks" if report.passed else failed
        verdict += f", {skipped} skipped" if skipped else ""
    shown.print(f"{escape(report.component)} {verdict} in {report.seconds:.1f} s\n", soft_wrap=True)


def _plot(reports: "list[Report]", path: Path) -> None:
    """Plot error against steps on logarithmic axes, with one line for each check that measured an order."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from sdekit.errors import SdekitError
    from sdekit.runs import write_or_keep

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
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_or_keep(path, content.getvalue())
