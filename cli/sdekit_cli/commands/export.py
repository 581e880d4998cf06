"""`sdekit export`."""

from pathlib import Path
from typing import Annotated

import typer

from sdekit_cli.options.model_option import open_run
from sdekit_cli.options.shared_options import PluginFiles, load_plugin_files, pick_device, refuse_export
from sdekit_cli.terminal.console import console, note, print_json, quoted


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`, or LOADER:PATH.")],
    format: Annotated[str, typer.Option(help="onnx, torch (torch.export) or aoti (compiled by AOTInductor).")],
    out: Annotated[Path | None, typer.Option(help="Folder to write; the default is RUN-FORMAT beside RUN.")] = None,
    device: Annotated[str, typer.Option(help="Device that the export is for: cpu, cuda, ...")] = "cpu",
    plugin: PluginFiles = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the export in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Export a model to a folder that can be sampled without the Python code of its network.

    `sdekit sample` draws the same samples from it. An onnx file is data; torch and aoti files contain code, so opening
    them needs --trust. An aoti export works with the torch version and on the kind of machine that it was made on.

    Examples:

      sdekit export run --format onnx

      sdekit export run --format aoti --out compiled

      sdekit sample run-onnx --out samples
    """
    load_plugin_files(plugin, quiet=json)
    from sdekit.export import export_model, format_of
    from sdekit.runs import check_export_folder

    refuse_export(Path(run), "export the run itself")
    format_of(format).check(f"format {format!r}")
    if out is not None:
        check_export_folder(out, overwrite=overwrite)
    opened = open_run(run, device=pick_device(device), quiet=json)
    if out is None:
        source = opened.path.resolve()
        out = source.with_name(f"{source.name if source.is_dir() else source.stem}-{format}")
    with console.status(f"exporting to {format} ..."):
        deviation = export_model(opened, out, format, overwrite=overwrite)
    size = sum(file.stat().st_size for file in out.iterdir())
    if json:
        print_json({"export": str(out), "format": format, "deviation": deviation, "bytes": size})
        return
    trust = " --trust" if format_of(format).code else ""
    sample = f"sdekit sample {quoted(out)}{trust} --out samples"
    facts = (run, size / 1e6, deviation, sample)
    note("exported {}: {:.1f} MB, within {:.1g} of the network. Sample it with  [bold]{}[/]", *facts)
