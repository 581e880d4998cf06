"""`sdekit export`."""

from pathlib import Path
from typing import Annotated

import typer

from sdekit_cli.options.shared_options import PluginFiles, load_plugin_files, pick_device, refuse_export
from sdekit_cli.terminal.console import console, note, print_json, quoted


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`.")],
    format: Annotated[str, typer.Option(help="onnx, torch (torch.export) or aoti (compiled by AOTInductor).")],
    out: Annotated[Path | None, typer.Option(help="Folder to write; RUN-FORMAT beside the run unless said.")] = None,
    device: Annotated[str, typer.Option(help="For which it is made: cpu, cuda, ...")] = "cpu",
    plugin: PluginFiles = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the export in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a run's network as a file that needs no Python network, and all else that sampling it takes.

    `sdekit sample` draws the same samples from it. onnx is data; torch and aoti files run what they hold, so that
    opening one asks for --trust. aoti serves the torch version and kind of machine that it was made on.

    Examples:

      sdekit export run --format onnx

      sdekit export run --format aoti --out compiled

      sdekit sample run-onnx --out samples
    """
    load_plugin_files(plugin, quiet=json)
    from sdekit.export import check_out, export_run, format_of
    from sdekit.runs import load_run

    refuse_export(run, "one is made of a run folder of `sdekit train`")
    format_of(format).check(f"format {format!r}")
    out = out or run.resolve().with_name(f"{run.resolve().name}-{format}")
    check_out(out, overwrite=overwrite)
    loaded = load_run(run, device=pick_device(device))
    with console.status(f"exporting to {format} ..."):
        deviation = export_run(loaded, out, format, overwrite=overwrite)
    size = sum(file.stat().st_size for file in out.iterdir())
    if json:
        print_json({"export": str(out), "format": format, "deviation": deviation, "bytes": size})
        return
    trust = " --trust" if format_of(format).code else ""
    sample = f"sdekit sample {quoted(out)}{trust} --out samples"
    found = (run, size / 1e6, deviation, sample)
    note("exported {}: {:.1f} MB, within {:.1g} of the network. Sample it with  [bold]{}[/]", *found)
