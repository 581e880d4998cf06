"""`sdekit encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdekit_cli.likelihood.data_items import labels_for, open_items, with_dtype
from sdekit_cli.likelihood.latent_files import Latents, check_out, pictures, write_latents
from sdekit_cli.options.shared_options import (
    AsJson,
    DeviceName,
    ModelArgument,
    PluginFiles,
    Trust,
    load_plugin_files,
    pick_device,
)
from sdekit_cli.terminal.console import note, print_json, progress_bar


def encode(
    run: ModelArgument,
    out: Annotated[Path, typer.Option(help="Folder to write: latents.npy, encode.json.")],
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Data, such as images:PATH (default: the run's held-out items).")
    ] = None,
    n: Annotated[int | None, typer.Option("-n", help="Number of items, evenly spaced (default: at most 256).")] = None,
    solver: Annotated[str, typer.Option(help="dopri5, bosh3, or a deterministic solver such as ddim.")] = "dopri5",
    tolerance: Annotated[
        float | None, typer.Option(help="Tolerance of dopri5 and bosh3 (default: 1e-5, in float64 3e-6).")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of another solver.")] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Option of the data set.")] = None,
    batch_size: Annotated[int, typer.Option(help="Items at a time; does not change the result.")] = 64,
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    device: DeviceName = "auto",
    trust: Trust = False,
    plugin: PluginFiles = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")] = False,
    json: AsJson = False,
) -> None:
    """Map data to latents by the probability flow, and report the error of mapping them back.

    Writes latents.npy, which is standard normal noise if the data are typical of the model, and round-trip.png, which
    shows images above their decoded latents. `sdekit decode` maps latents to data; --solver ddim --steps N is DDIM
    inversion.

    Examples:

      sdekit encode run --data images:faces -n 8 --out latents

      sdekit encode run --solver ddim --steps 50 --out inverted
    """
    load_plugin_files(plugin, quiet=json)
    check_out(out, overwrite=overwrite)
    import torch

    from sdekit.likelihood import FlowSolver, decode, encode as encode_by_flow
    from sdekit.models import open_model

    flow = FlowSolver(method=solver, tolerance=tolerance, steps=steps)
    place = pick_device(device)
    opened = with_dtype(open_model(run, device=place, trust=trust), dtype)
    items = open_items(opened, data, options=option or (), n=n)
    latents, labels, squares, shown = [], [], 0.0, []
    with progress_bar(quiet=json) as bar:
        task = bar.add_task("encode", total=len(items))
        for first in range(0, len(items), batch_size):
            x, raw, y = items.read(slice(first, first + batch_size))
            y = labels_for(opened, y, items.spec)
            y = None if y is None else y.to(place)
            x = x.to(place, torch.float64 if dtype == "float64" else torch.float32)
            z = encode_by_flow(opened.model.sde, opened.model, x, y=y, solver=flow)
            back = decode(opened.model.sde, opened.model, z, y=y, solver=flow)
            squares += float((back - x).double().square().sum())
            latents.append(z.float().cpu())
            labels += [] if y is None else y.tolist()
            if first == 0:
                shown = [raw[:8], opened.to_data(back[:8])]
            bar.update(task, advance=len(x))
    z = torch.cat(latents)
    error = (squares / z.numel()) ** 0.5
    record = {
        "run": str(run),
        "run_step": opened.step,
        "data": items.spec,
        "items": items.indices.tolist(),
        "labels": labels or None,
        "solver": solver,
        "tolerance": tolerance,
        "steps": steps,
        "dtype": dtype,
        "round_trip_rmse": error,
        "latent_mean": float(z.mean()),
        "latent_std": float(z.std()),
    }
    files = pictures(opened, shown, "round-trip.png")
    write_latents(out, Latents(z.numpy(), record), "encode.json", files, overwrite=overwrite)
    if json:
        print_json(
            {k: v for k, v in record.items() if k not in ("items", "labels")} | {"latents": str(out / "latents.npy")}
        )
        return
    note(
        "encoded {} {}: round-trip error {:.2g} (RMSE; the data have standard deviation {:.3g} in the model's units)",
        *(len(items), items.part, error, opened.data_std),
    )
    note(
        "latents of mean {:.3f} and standard deviation {:.3f} are in [bold]{}[/]",
        *(record["latent_mean"], record["latent_std"], out / "latents.npy"),
    )
