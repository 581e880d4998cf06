"""`sdekit decode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from sdekit.errors import InputError
from sdekit_cli.likelihood.data_items import with_dtype
from sdekit_cli.likelihood.latent_files import Latents, check_out, pictures, read_latents, write_latents
from sdekit_cli.options.shared_options import (
    AsJson,
    DeviceName,
    ModelArgument,
    PluginFiles,
    Trust,
    load_plugin_files,
    pick_device,
)
from sdekit_cli.terminal.console import note, print_json


def decode(
    run: ModelArgument,
    latents: Annotated[Path, typer.Option(help="latents.npy of `sdekit encode`, or its folder.")],
    out: Annotated[Path, typer.Option(help="Folder to write: samples.npy, decode.json.")],
    solver: Annotated[str, typer.Option(help="dopri5, bosh3, or a deterministic solver such as ddim.")] = "dopri5",
    tolerance: Annotated[
        float | None, typer.Option(help="Tolerance of dopri5 and bosh3 (default: 1e-5, in float64 3e-6).")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of another solver.")] = None,
    label: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Class to decode as (default: the class of each item).")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    device: DeviceName = "auto",
    trust: Trust = False,
    plugin: PluginFiles = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")] = False,
    json: AsJson = False,
) -> None:
    """Map latents to data by the probability flow, the inverse of `sdekit encode`.

    With --label, latents of a class-conditional model are decoded as another class, which edits the images.

    Examples:

      sdekit decode run --latents latents --out decoded

      sdekit decode run --latents latents --label 8 --out as-eights
    """
    load_plugin_files(plugin, quiet=json)
    check_out(out, overwrite=overwrite)
    import torch

    from sdekit.likelihood import FlowSolver, decode as decode_by_flow
    from sdekit.models import open_model
    from sdekit_cli.options.condition_option import conditions

    flow = FlowSolver(method=solver, tolerance=tolerance, steps=steps)
    place = pick_device(device)
    opened = with_dtype(open_model(run, device=place, trust=trust), dtype)
    source = read_latents(latents, opened)
    y = None
    stored = source.record.get("labels")
    if label is not None:
        y = conditions(opened, label, tuple(range(len(source.z))))
    elif opened.condition == "label":
        if not isinstance(stored, list) or len(stored) != len(source.z):
            raise InputError(f"{latents} has no labels, but {opened.path} was trained with labels: add --label")
        y = torch.tensor(stored)
    z = torch.from_numpy(source.z).to(place, torch.float64 if dtype == "float64" else torch.float32)
    x = decode_by_flow(
        opened.model.sde, opened.model, z, y=None if y is None else y.to(place), solver=flow, batch_size=64
    )
    data = opened.to_data(x)
    record = {"run": str(run), "run_step": opened.step, "latents": str(latents), "solver": solver, "steps": steps,
              "tolerance": tolerance, "labels": None if y is None else y.tolist()}  # fmt: skip
    columns = min(len(data), 8)
    files = pictures(
        opened, [data[i : i + columns] for i in range(0, len(data) // columns * columns, columns)], "grid.png"
    )
    files["samples.npy"] = _npy(data)
    write_latents(out, Latents(source.z, record), "decode.json", files, overwrite=overwrite)
    if json:
        print_json(record | {"samples": str(out / "samples.npy")})
        return
    note("decoded {} latents into [bold]{}[/]", len(data), out / "samples.npy")


def _npy(data: np.ndarray) -> bytes:
    """Return the contents of samples.npy."""
    from sdekit.runs import npy_bytes

    return npy_bytes(data)
