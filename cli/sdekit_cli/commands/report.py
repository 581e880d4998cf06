"""`sdekit report`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from sdekit.errors import InputError
from sdekit_cli.options.shared_options import (
    AsJson,
    DeviceName,
    ModelArgument,
    PluginFiles,
    Trust,
    check_sample_count,
    load_plugin_files,
    pick_device,
)
from sdekit_cli.terminal.console import note, print_json

DEFAULTS = {"solver": "auto", "nfe": 32}
COLOURS = {"good": "green", "fair": "yellow", "bad": "red", "unknown": "dim"}


def report(
    run: ModelArgument,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="HTML file to write (default: report.html in RUN).")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Data to compare with (default: the data of the training).")
    ] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the data set.")] = None,
    n: Annotated[int | None, typer.Option("-n", help="Number of samples (default: 128 images, 1000 vectors).")] = None,
    solver: Annotated[str, typer.Option(metavar="NAME:OPTION=VALUE,...", help="Solver of the samples.")] = "auto",
    nfe: Annotated[int, typer.Option(metavar="N", help="Network evaluations per sample.")] = 32,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the comparison of solvers.")] = False,
    samples: Annotated[bool, typer.Option("--samples/--no-samples", help="Draw samples.")] = True,
    device: DeviceName = "auto",
    trust: Trust = False,
    plugin: PluginFiles = None,
    json: AsJson = False,
) -> None:
    """Write a report of a model as one HTML file: data, training, samples, evaluation, settings.

    The file contains all pictures and needs no network. It begins with a verdict: whether the model is trained, whether
    it overfits, and how far its samples are from the data. Models of other makers are described as far as their data
    are known: name the data by --data.

    Examples:

      sdekit report run

      sdekit report run --no-samples --out quick.html

      sdekit report diffusers:FOLDER --data images:photos --out report.html
    """
    from sdekit.registry import component_options, parse_assignments, parse_component
    from sdekit_cli.options.model_option import open_run
    from sdekit_cli.terminal.progress import working

    load_plugin_files(plugin, quiet=json)
    if option and data is None:
        raise InputError("--option is an option of the data set of --data: add --data SPEC")
    name, assignments = parse_component(solver, "sampler")
    solver_options = component_options("sampler", name, assignments)
    from sdekit.reporting import ReportOptions, check_report_path, default_report_path, write_report

    options = ReportOptions(
        data=data,
        data_options=parse_assignments(option or ()),
        n=None if n is None else check_sample_count("-n", n),
        solver=name,
        solver_options=solver_options,
        nfe=nfe,
        samples=samples,
        quick=quick,
        command=_command(
            run, quick, samples, out=out, data=data, option=option, n=n, solver=solver, nfe=nfe, plugin=plugin
        ),
    )
    if out is not None:
        check_report_path(out)
    with working("opening the model ...") as change:
        opened = open_run(run, device=pick_device(device), trust=trust, quiet=json)
        path = default_report_path(opened) if out is None else out
        show = (lambda text: None) if json else (lambda text: change(f"{text} ..."))
        result = write_report(opened, path, options, name=run, progress=show)
    if json:
        verdict = [{"title": s.title, "text": s.text, "level": s.level} for s in result.verdict]
        print_json({"report": str(path), "bytes": result.size, "verdict": verdict})
        return
    for statement in result.verdict:
        note(f"[{COLOURS[statement.level]}]{{}}:[/] {{}}", statement.title, statement.text)
    note("the report is written ({:.1f} MB): open [bold]{}[/] in a browser", result.size / 1e6, path)


def _command(run: str, quick: bool, samples: bool, **values: Any) -> str:
    """Return the command that makes this report, without options that have their default values."""
    words = ["sdekit", "report", run]
    for name, value in values.items():
        flag = f"{'-' if len(name) == 1 else '--'}{name}"
        for item in value if isinstance(value, list) else [value]:
            words += [] if item is None or item == DEFAULTS.get(name) else [flag, str(item)]
    words += ["--quick"] if quick else []
    words += [] if samples else ["--no-samples"]
    return shlex.join(words)
