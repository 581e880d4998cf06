"""`sdekit sample`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdekit.distributed import world
from sdekit.errors import InputError

from .backends import Backend, Trust, parse_backend, run_with, told
from .conditions import conditions
from .console import note, print_json
from .device import pick_device
from .folder import check_out
from .guides import guides
from .local import Plugins, use
from .options import component, parse, with_data_std
from .output import version, write
from .seeds import parse_seeds
from .shared import draw_shared
from .tables import stored, told_of, used

if TYPE_CHECKING:
    from sdekit.sampling import Sampler


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`, or of `sdekit export`.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    solver: Annotated[
        str | None, typer.Option(help="ode, ddim, ddpm, heun, ...; without it auto for --steps or --nfe, else ode.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps, the final denoising counted.")] = None,
    nfe: Annotated[int | None, typer.Option(help="Network calls at most, instead of steps.")] = None,
    n: Annotated[int | None, typer.Option("-n", help="How many samples: seeds 0 to n - 1 (64).")] = None,
    seeds: Annotated[str | None, typer.Option(help="Which samples: 0-63 or 3,17,20-29.")] = None,
    label: Annotated[int | None, typer.Option(help="Class to draw, of a run trained with --condition label.")] = None,
    condition: Annotated[
        str | None, typer.Option(metavar="X,Y", help="The numbers to draw for, of a run trained on numbers.")
    ] = None,
    guidance: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:OPTION=VALUE,...", help="cfg, interval, ...; repeat it, the first is innermost."),
    ] = None,
    grid: Annotated[str | None, typer.Option(help="karras, uniform, log-snr, ...; each solver has a default.")] = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the solver (grid.NAME: of the grid).")
    ] = None,
    noise: Annotated[str | None, typer.Option(help="seed, or brownian: the same path at any number of steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples at a time; changes no sample.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    backend: Backend = None,
    trust: Trust = False,
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

      sdekit sample run --label 7 --guidance cfg:scale=2 --guidance interval:from=0.2,to=5 --out sevens

      sdekit sample run --solver ode --option method=rk4 --nfe 41 --seeds 0-99 --out rk4
    """
    use(plugin, quiet=json)
    chosen = parse_seeds(n, seeds)
    for name, value in (("--steps", steps), ("--nfe", nfe), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if noise not in (None, "seed", "brownian"):
        raise InputError(f"--noise {noise}: choose seed or brownian")
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
    guided, of_guidance = guides(guidance or ())

    of_backend = parse_backend(backend)

    from dataclasses import asdict

    import torch

    from sdekit.plugins import local_files, make
    from sdekit.training.run import load_run

    loaded = load_run(run, device=(where := pick_device(device)), trust=trust)
    data_std = loaded.recipe.data_std
    sampler: Sampler = make("sampler", solver, **with_data_std("sampler", solver, of_solver, data_std))
    of_grid = of_grid if grid is None else with_data_std("grid", grid, of_grid, data_std)
    run_with(loaded, of_backend)
    y = conditions(loaded, label, chosen, numbers=condition, guided=bool(guided))
    asked = {
        "steps": steps,
        "nfe": nfe,
        "grid": None if grid is None else make("grid", grid, **of_grid),
        "guidance": guided,
    }
    tuned = None if grid or guided else stored(loaded, solver, sampler, steps, nfe, quiet=json)
    drawn, seconds = draw_shared(
        loaded,
        sampler,
        name=solver,
        seeds=chosen,
        y=y,
        noise=noise,
        **(asked if tuned is None else used(loaded, tuned)),
        batch_size=batch_size,
        device=where,
        quiet=json,
    )
    if drawn is None:  # of several processes the first one writes
        return
    record = {
        "run": str(run),
        "run_step": loaded.step,
        "solver": solver,
        "options": asdict(sampler),
        "grid": "tuned" if tuned else grid or sampler.default_grid,
        "tuned": told_of(tuned),
        "grid_options": of_grid,
        "steps": len(drawn.times),
        "nfe": drawn.nfe,
        "n": len(chosen),
        "seeds": list(chosen),
        "labels": None if y is None or condition is not None else y.tolist(),
        "condition": condition,
        "guidance": of_guidance,
        "noise": (noise or sampler.default_noise) if sampler.stochastic else None,
        "times": drawn.times.tolist(),
        "seconds": round(seconds, 3),
        "device": where,
        "processes": world().size,
        "backend": told(loaded, of_backend, quiet=json),
        "plugins": local_files(),
        "versions": {"sdekit": version("sdekit"), "torch": torch.__version__},
    }
    picture = write(out, loaded, drawn, record)
    summary = {k: record[k] for k in ("solver", "grid", "steps", "nfe", "n", "seconds")} | {
        "samples": str(out / "samples.npy"),
        "picture": None if picture is None else str(picture),
    }
    if json:
        print_json(summary)
    else:
        shown = f"look at [bold]{picture}[/]" if picture else f"they are in {out / 'samples.npy'}"
        how = solver if tuned is None else f"{solver}, tuned (--grid {sampler.default_grid}: untuned)"
        note(f"drew {len(chosen)} samples with {how}: {drawn.nfe} network calls each, {seconds:.1f} s; {shown}")
