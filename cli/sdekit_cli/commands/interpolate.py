"""`sdekit interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdekit.errors import InputError
from sdekit_cli.likelihood.evaluation_options import FlowOptions, ModelOptions, Overwrite
from sdekit_cli.options.option_classes import with_options
from sdekit_cli.options.shared_options import AsJson, load_plugin_files
from sdekit_cli.terminal.console import note, print_json


@with_options(
    changes={
        "label": {"annotation": Annotated[str | None, typer.Option(metavar="NAME", help="Class of all samples.")]},
        "batch_size": None,
        "dtype": None,
    }
)
def interpolate(
    *,
    out: Annotated[Path, typer.Option(help="Folder to write: strip.png, strip.gif, samples.npy, latents.npy.")],
    seeds: Annotated[str | None, typer.Option(help="Two seeds A,B: the samples of both are the ends.")] = None,
    start: Annotated[Path | None, typer.Option("--from", help="Image or .npy at the start.")] = None,
    end: Annotated[Path | None, typer.Option("--to", help="Image or .npy at the end.")] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Crop and resize both images to the size of the samples.")
    ] = False,
    frames: Annotated[int, typer.Option(help="Number of samples, both ends included.")] = 9,
    flow: FlowOptions,
    model: ModelOptions,
    overwrite: Overwrite = False,
    json: AsJson = False,
) -> None:
    """Interpolate between two seeds or two images on the sphere of latents, as a strip and an animation.

    Examples:

      sdekit interpolate run --seeds 3,7 --out between

      sdekit interpolate run --from a.png --to b.png --frames 16 --out morph
    """
    from sdekit_cli.likelihood.evaluated_model import EvaluatedModel
    from sdekit_cli.likelihood.latent_files import Latents, animation, check_out, pictures, write_latents

    load_plugin_files(model.plugin, quiet=json)
    check_out(out, overwrite=overwrite)
    if (seeds is None) == (start is None) or (start is None) != (end is None):
        raise InputError("give --seeds A,B, or --from FILE and --to FILE")
    if resize and seeds is not None:
        raise InputError("--resize is for the images of --from and --to, and does nothing with --seeds")
    if not 2 <= frames <= 1000:
        raise InputError(f"--frames must be from 2 to 1000, got {frames}")
    import numpy as np
    import torch

    from sdekit.likelihood import decode, encode, spherical_interpolation
    from sdekit.runs import npy_bytes
    from sdekit.sampling import SeedNoise, samples_as_csv
    from sdekit_cli.options.shared_options import parse_seeds
    from sdekit_cli.sampling.measurement import read_sample

    solver = flow.build()
    subject = EvaluatedModel.open(model, quiet=json)
    opened = subject.opened
    denoise, sde, guided = opened.model, opened.model.sde, subject.guidance
    solver.check(subject.number_type)
    y = None
    if not opened.conditioning.null or any(value is not None for value in (model.label, model.condition, model.prompt)):
        y = subject.condition(None, (0,), "the command")
    rows = torch.zeros(frames, dtype=torch.int64)
    along, ends = (None, None) if y is None else (y[rows], y[rows[:2]])
    if seeds is not None:
        pair = parse_seeds(None, seeds)
        if len(pair) != 2:
            raise InputError(f"--seeds {seeds!r}: give two seeds, such as 3,7")
        z = SeedNoise(pair, opened.shape)()
    else:
        assert start is not None and end is not None
        ends_of_path = ((start, "--from"), (end, "--to"))
        images = [read_sample(path, opened, name, resize=resize).numpy() for path, name in ends_of_path]
        x = torch.from_numpy(opened.units.model_values(np.stack(images)))
        with torch.no_grad():
            x = opened.encode(x.float().to(subject.device))
        z = encode(sde, denoise, x, y=ends, guidance=guided, solver=solver).cpu()
    path = spherical_interpolation(z[0], z[1], frames)
    data = opened.to_data(
        decode(sde, denoise, subject.place(path), y=along, guidance=guided, solver=solver, batch_size=model.batch_size)
    )
    record = {"run": model.run, "seeds": seeds, "from": None if start is None else str(start),
              "to": None if end is None else str(end), "frames": frames, "solver": flow.solver,
              **subject.record}  # fmt: skip
    files = pictures(opened, [data], "strip.png") | animation(opened, data) | {"samples.npy": npy_bytes(data)}
    if opened.columns:
        files["samples.csv"] = samples_as_csv(opened, data)
    write_latents(out, Latents(path.numpy(), record), "interpolate.json", files, overwrite=overwrite)
    shown = out / ("strip.png" if "strip.png" in files else "samples.npy")
    if json:
        print_json(record | {"samples": str(out / "samples.npy"), "picture": str(shown)})
        return
    note("{} samples between the ends: look at [bold]{}[/]", frames, shown)
