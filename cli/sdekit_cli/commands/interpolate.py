"""`sdekit interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdekit.errors import InputError
from sdekit_cli.likelihood.data_items import with_dtype
from sdekit_cli.likelihood.latent_files import Latents, animation, check_out, pictures, write_latents
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


def interpolate(
    run: ModelArgument,
    out: Annotated[Path, typer.Option(help="Folder to write: strip.png, strip.gif, samples.npy, latents.npy.")],
    seeds: Annotated[str | None, typer.Option(help="Two seeds A,B: the samples of both are the ends.")] = None,
    start: Annotated[Path | None, typer.Option("--from", help="Image or .npy at the start.")] = None,
    end: Annotated[Path | None, typer.Option("--to", help="Image or .npy at the end.")] = None,
    frames: Annotated[int, typer.Option(help="Number of samples, both ends included.")] = 9,
    label: Annotated[str | None, typer.Option(metavar="NAME", help="Class of all samples.")] = None,
    solver: Annotated[str, typer.Option(help="dopri5, bosh3, or a deterministic solver such as ddim.")] = "dopri5",
    tolerance: Annotated[float | None, typer.Option(help="Tolerance of dopri5 and bosh3 (default: 1e-5).")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps of another solver.")] = None,
    device: DeviceName = "auto",
    trust: Trust = False,
    plugin: PluginFiles = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")] = False,
    json: AsJson = False,
) -> None:
    """Interpolate between two seeds or two images on the sphere of latents, as a strip and an animation.

    Examples:

      sdekit interpolate run --seeds 3,7 --out between

      sdekit interpolate run --from a.png --to b.png --frames 16 --out morph
    """
    load_plugin_files(plugin, quiet=json)
    check_out(out, overwrite=overwrite)
    if (seeds is None) == (start is None) or (start is None) != (end is None):
        raise InputError("give --seeds A,B, or --from FILE and --to FILE")
    if not 2 <= frames <= 1000:
        raise InputError(f"--frames must be from 2 to 1000, got {frames}")
    import torch

    from sdekit.likelihood import FlowSolver, decode, encode, spherical_interpolation
    from sdekit.models import open_model
    from sdekit.sampling import SeedNoise
    from sdekit_cli.options.condition_option import conditions
    from sdekit_cli.options.shared_options import parse_seeds
    from sdekit_cli.sampling.measurement import read_sample

    flow = FlowSolver(method=solver, tolerance=tolerance, steps=steps)
    place = pick_device(device)
    opened = with_dtype(open_model(run, device=place, trust=trust), "float32")
    if opened.condition == "label" and label is None and not opened.conditioning.null:
        raise InputError(f"{opened.path} was trained with labels: add --label")
    y = conditions(opened, label, (0,)) if label is not None else None
    ends = None if y is None else y.to(place).expand(2)
    if seeds is not None:
        pair = parse_seeds(None, seeds)
        if len(pair) != 2:
            raise InputError(f"--seeds {seeds!r}: give two seeds, such as 3,7")
        z = SeedNoise(pair, opened.shape)()
    else:
        assert start is not None and end is not None
        images = [read_sample(path, opened, name).numpy() for path, name in ((start, "--from"), (end, "--to"))]
        x = torch.stack([torch.as_tensor((image - opened.units.shift) / opened.units.scale) for image in images])
        z = encode(opened.model.sde, opened.model, x.float().to(place), y=ends, solver=flow).cpu()
    path = spherical_interpolation(z[0], z[1], frames)
    along = None if y is None else y.to(place).expand(frames)
    data = opened.to_data(decode(opened.model.sde, opened.model, path.to(place), y=along, solver=flow, batch_size=64))
    record = {"run": str(run), "run_step": opened.step, "seeds": seeds, "from": None if start is None else str(start),
              "to": None if end is None else str(end), "frames": frames, "label": label, "solver": solver}  # fmt: skip
    from sdekit.runs import npy_bytes

    files = pictures(opened, [data], "strip.png") | animation(opened, data) | {"samples.npy": npy_bytes(data)}
    write_latents(out, Latents(path.numpy(), record), "interpolate.json", files, overwrite=overwrite)
    shown = out / ("strip.png" if "strip.png" in files else "samples.npy")
    if json:
        print_json(record | {"samples": str(out / "samples.npy"), "picture": str(shown)})
        return
    note("{} samples between the ends: look at [bold]{}[/]", frames, shown)
