"""`sdekit edit`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from sdekit.errors import InputError

from .backends import Backend, Trust, parse_backend, run_with, told
from .conditions import conditions
from .console import console, note, print_json
from .device import pick_device
from .folder import check_out
from .guides import guides
from .local import Plugins, use
from .measuring import as_images, before_after, in_data_units, read_sample
from .options import component
from .output import version, write
from .seeds import parse_seeds


def edit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`.")],
    image: Annotated[Path, typer.Option(help="An image, or a .npy file of one sample in the data's units.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    strength: Annotated[
        float | None, typer.Option(help="0 to 1: how much noise, 0.5 as much as there is signal.", show_default="0.5")
    ] = None,
    t: Annotated[float | None, typer.Option("--t", help="The time to noise to, instead of --strength.")] = None,
    solver: Annotated[str, typer.Option(help="ddim, ddpm, heun, dpmpp-2m, ...")] = "ddim",
    steps: Annotated[int, typer.Option(help="Steps, the final denoising counted.")] = 30,
    n: Annotated[int | None, typer.Option("-n", help="How many samples: seeds 0 to n - 1 (8).")] = None,
    seeds: Annotated[str | None, typer.Option(help="Which samples: 0-63 or 3,17,20-29.")] = None,
    label: Annotated[int | None, typer.Option(help="Class to draw, of a run trained with --condition label.")] = None,
    guidance: Annotated[
        list[str] | None, typer.Option(metavar="NAME:OPTION=VALUE,...", help="cfg, interval, inpaint, ...; repeat it.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    backend: Backend = None,
    trust: Trust = False,
    plugin: Plugins = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Noise an image to some level and denoise it again (SDEdit): variations of it, or a sketch made real.

    Writes samples.npy (in the data's units), edit.json, and for images grid.png, images/ and before-after.png, the
    image and its first variations.

    Examples:

      sdekit edit run --image 7.png --strength 0.4 --out variations

      sdekit edit run --image sketch.png --strength 0.7 --label 3 --guidance cfg:scale=2 --out threes
    """
    use(plugin, quiet=json)
    chosen = parse_seeds(8 if n is None and seeds is None else n, seeds)
    if strength is not None and t is not None:
        raise InputError("give --strength or --t, not both")
    if steps < 1:
        raise InputError(f"--steps must be at least 1, got {steps}")
    check_out(out, overwrite=overwrite)
    component("sampler", solver, {})
    guided, of_guidance = guides(guidance or ())
    of_backend = parse_backend(backend)

    import torch

    from sdekit.drawing import image_grid, png
    from sdekit.edit import edit as edited
    from sdekit.edit import level
    from sdekit.plugins import local_files
    from sdekit.training.run import load_run

    loaded = load_run(run, device=(where := pick_device(device)), trust=trust)
    run_with(loaded, of_backend)
    recipe, sde = loaded.recipe, loaded.model.sde
    given = read_sample(image, recipe, "--image")
    strength = 0.5 if strength is None else strength
    start = level(sde, strength, recipe.data_std) if t is None else torch.tensor(t, dtype=torch.float64)
    y = conditions(loaded, label, chosen, guided=bool(guided))
    x = (given.numpy() - recipe.units.shift) / recipe.units.scale
    began = time.monotonic()
    with console.status(f"sampling {len(chosen)} with {solver}", spinner="dots"):
        drawn = edited(
            sde,
            loaded.model,
            torch.from_numpy(x),
            start,
            sampler=solver,
            steps=steps,
            seeds=chosen,
            y=y,
            guidance=guided,
            device=where,
        )
    seconds = time.monotonic() - began
    record = {
        "run": str(run),
        "run_step": loaded.step,
        "image": str(image),
        "strength": strength if t is None else None,
        "t": float(start),
        "solver": solver,
        "guidance": of_guidance,
        "steps": len(drawn.times),
        "nfe": drawn.nfe,
        "n": len(chosen),
        "seeds": list(chosen),
        "labels": None if y is None else y.tolist(),
        "times": drawn.times.tolist(),
        "seconds": round(seconds, 3),
        "device": where,
        "backend": told(loaded, of_backend, quiet=json),
        "plugins": local_files(),
        "versions": {"sdekit": version("sdekit"), "torch": torch.__version__},
    }
    also = {}
    before = as_images(given[None], recipe)
    after = as_images(in_data_units(drawn.x, recipe), recipe)
    if before is not None and after is not None:
        columns = [before[0], *after[:6]]
        also["before-after.png"] = png(image_grid(before_after(columns), len(columns)))
    picture = write(out, loaded, drawn, record, name="edit.json", also=also)
    picture = out / "before-after.png" if also else picture
    summary = {k: record[k] for k in ("solver", "t", "steps", "nfe", "n", "seconds")} | {
        "samples": str(out / "samples.npy"),
        "picture": None if picture is None else str(picture),
    }
    if json:
        print_json(summary)
        return
    shown = f"look at [bold]{picture}[/]" if picture else f"they are in {out / 'samples.npy'}"
    calls = f"{drawn.nfe} network calls each"
    note(f"drew {len(chosen)} variations from t = {float(start):.3g}: {calls}, {seconds:.1f} s; {shown}")
