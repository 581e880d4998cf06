"""`sdekit export`."""

from pathlib import Path
from typing import Annotated

import typer

from sdekit.errors import InputError
from sdekit_cli.options.shared_options import PluginFiles, load_plugin_files, pick_device, refuse_export
from sdekit_cli.terminal.console import note, print_json, quoted


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`, or LOADER:PATH.")],
    format: Annotated[
        str,
        typer.Option(
            help="onnx, torch (torch.export), aoti (compiled by AOTInductor), safetensors (weights and recipe) or "
            "diffusers (a DDPMPipeline)."
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|hub:OWNER/NAME",
            help="Folder to write, or a repository of the Hugging Face hub; the default is RUN-FORMAT beside RUN.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Device that the export is for: cpu, cuda, ...")] = "cpu",
    plugin: PluginFiles = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the export in --out.")] = False,
    public: Annotated[bool, typer.Option("--public", help="Create a public repository of the hub.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Export a model to a folder, with a model card.

    `sdekit sample` draws the same samples from it. The formats onnx, torch and aoti do not need the Python code of the
    network. An onnx file is data; torch and aoti files contain code, so opening them needs --trust. An aoti export
    works with the torch version and on the kind of machine that it was made on. The format diffusers requires a network
    of diffusers, such as one opened by `diffusers:PATH` or `bare:PATH`.

    Examples:

      sdekit export run --format onnx

      sdekit export run --format aoti --out compiled

      sdekit sample run-onnx --out samples

      sdekit export run --format safetensors --out hub:OWNER/NAME
    """
    from sdekit_cli.options.model_option import open_run
    from sdekit_cli.terminal.progress import working

    load_plugin_files(plugin, quiet=json)
    import tempfile

    from sdekit.export import FORMATS, check_format, check_hub, export_model, hub_repository, upload
    from sdekit.runs import check_export_folder, check_writable

    refuse_export(Path(run), "export the run itself")
    check_format(format)
    repository = None if out is None else hub_repository(out)
    if repository is not None:
        check_hub()
    elif public:
        raise InputError("--public applies to a repository of the hub: add --out hub:OWNER/NAME")
    elif out is not None:
        check_export_folder(Path(out), overwrite=overwrite)
    opened = open_run(run, device=pick_device(device), quiet=json)
    source = opened.path.resolve()
    name = f"{source.name if source.is_dir() else source.stem}-{format}"
    with tempfile.TemporaryDirectory() as temporary:
        if repository is not None:
            folder = Path(temporary) / repository.partition("/")[2]
        else:
            folder = source.with_name(name) if out is None else Path(out)
        check_writable(folder, "--out")
        with working(f"exporting to {format} ..."):
            deviation = export_model(opened, folder, format, overwrite=overwrite)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        target = str(folder)
        if repository is not None:
            with working(f"uploading to {repository} ..."):
                target = upload(folder, repository, public=public)
    if json:
        print_json({"export": target, "format": format, "deviation": deviation, "bytes": size})
        return
    if repository is not None:
        note("exported {}: {:.1f} MB, uploaded to [bold]{}[/]", run, size / 1e6, target)
        return
    trust = " --trust" if format in FORMATS and FORMATS[format].code else ""
    sample = f"sdekit sample {quoted(folder)}{trust} --out samples"
    facts = (run, size / 1e6, deviation, sample)
    note("exported {}: {:.1f} MB, within {:.1g} of the network. Sample it with  [bold]{}[/]", *facts)
