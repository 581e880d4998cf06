"""`sdekit sample`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdekit.errors import InputError

from .conditions import conditions
from .console import note, print_json
from .device import pick_device
from .draw import draw
from .folder import check_out
from .local import Plugins, use
from .options import component, parse
from .output import version, write
from .seeds import parse_seeds

if TYPE_CHECKING:
    from sdekit.sampling import Sampler


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    solver: Annotated[
        str | None, typer.Option(help="ode, ddim, ddpm, heun, ...; without it auto for --steps or --nfe, else ode.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps, the final denoising counted.")] = None,
    nfe: Annotated[int | None, typer.Option(help="Network calls at most, instead of steps.")] = None,
    n: Annotated[int | None, typer.Option("-n", help="How many samples: seeds 0 to n - 1 (64).")] = None,
    seeds: Annotated[str | None, typer.Option(help="Which samples: 0-63 or 3,17,20-29.")] = None,
    label: Annotated[int | None, typer.Option(help="Class to draw, of a run trained with --condition label.")] = None,
    grid: Annotated[str | None, typer.Option(help="karras, uniform, log-snr, ...; each solver has a default.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the solver (grid.NAME: of the grid).")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples at a time; changes no sample.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    plugin: Plugins = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the samples in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw samples from a trained run with any solver.

    Writes samples.npy (in the data's units), sample.json (how they were made), and pictures: grid.png and images/ for
    images, scatter.png for 2-D data. Sample i depends on seed i alone. A solver's options: sdekit plugins show ode

    Examples:

      sdekit sample run --out samples

      sdekit sample run --nfe 10 --out quick

      sdekit sample run --solver ddpm --steps 500 -n 16 --out ddpm

      sdekit sample run --solver ode --option method=rk4 --nfe 41 --seeds 0-99 --out rk4
    """
    use(plugin, quiet=json)
    chosen = parse_seeds(n, seeds)
    for name, value in (("--steps", steps), ("--nfe", nfe), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    check_out(out, overwrite=overwrite)
    given = parse(option or ())
    of_grid = {k.removeprefix("grid."): v for k, v in given.items() if k.startswith("grid.")}
    of_solver = {k: v for k, v in given.items() if not k.startswith("grid.")}
    if solver is None:
        solver = "auto" if (steps or nfe) and not of_solver else "ode"
    of_solver = component("sampler", solver, of_solver)
    if grid is not None:
        of_grid = component("grid", grid, of_grid)
    elif of_grid:
        raise InputError("options of the grid need its name: add --grid karras, for example")

    from dataclasses import asdict

    import torch

    from sdekit.plugins import local_files, make
    from sdekit.training.run import load_run

    sampler: Sampler = make("sampler", solver, **of_solver)
    loaded = load_run(run, device=(where := pick_device(device)))
    y = conditions(loaded, label, chosen)
    drawn, seconds = draw(
        loaded,
        sampler,
        name=solver,
        seeds=chosen,
        steps=steps,
        nfe=nfe,
        grid=None if grid is None else make("grid", grid, **of_grid),
        y=y,
        batch_size=batch_size,
        device=where,
        quiet=json,
    )
    record = {
        "run": str(run),
        "run_step": loaded.step,
        "solver": solver,
        "options": asdict(sampler),
        "grid": grid or sampler.default_grid,
        "grid_options": of_grid,
        "steps": len(drawn.times),
        "nfe": drawn.nfe,
        "n": len(chosen),
        "seeds": list(chosen),
        "labels": None if y is None else y.tolist(),
        "times": drawn.times.tolist(),
        "seconds": round(seconds, 3),
        "device": where,
        "plugins": local_files(),
        "versions": {"sdekit": version("sdekit"), "torch": torch.__version__},
    }
    picture = write(out, loaded, drawn, record)
    summary = {k: record[k] for k in ("solver", "steps", "nfe", "n", "seconds")} | {
        "samples": str(out / "samples.npy"),
        "picture": None if picture is None else str(picture),
    }
    if json:
        print_json(summary)
    else:
        shown = f"look at [bold]{picture}[/]" if picture else f"they are in {out / 'samples.npy'}"
        note(f"drew {len(chosen)} samples with {solver}: {drawn.nfe} network calls each, {seconds:.1f} s; {shown}")
