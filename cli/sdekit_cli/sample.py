"""`sdekit sample`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdekit.errors import InputError

from .console import note, print_json, progress_bar
from .folder import check_out, clear
from .local import Plugins, use
from .options import component, parse
from .train import pick_device

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.sampling import Sampler, Samples
    from sdekit.training.run import Run

MOST_AT_ONCE = 256


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

    import torch

    from sdekit.plugins import local_files, make
    from sdekit.sampling import sample as draw
    from sdekit.training.run import load_run

    sampler: Sampler = make("sampler", solver, **of_solver)
    loaded = load_run(run, device=(where := pick_device(device)))
    y = conditions(loaded, label, chosen)
    size = min(len(chosen), MOST_AT_ONCE) if batch_size is None else batch_size
    started = time.monotonic()
    with progress_bar("calls", quiet=json) as bar:
        batches = -(-len(chosen) // size)
        task = bar.add_task(f"sampling {len(chosen)} with {solver}", total=None, calls="")
        calls = 0

        def denoise(x: "Tensor", t: "Tensor", y: "Tensor | None" = None) -> "Tensor":
            nonlocal calls
            calls += 1
            bar.update(task, advance=1, calls=f"{calls} network calls")
            result: Tensor = loaded.model(x, t, y)
            return result

        if sampler.calls is not None:
            length = (nfe - 1) // sampler.calls + 1 if nfe else steps or sampler.default_steps
            bar.update(task, total=batches * ((length - 1) * sampler.calls + 1))
        drawn = draw(
            loaded.model.sde,
            denoise,
            sampler,
            shape=loaded.recipe.shape,
            seeds=chosen,
            steps=steps,
            nfe=nfe,
            grid=None if grid is None else make("grid", grid, **of_grid),
            y=y,
            batch_size=size,
            device=where,
        )
    seconds = time.monotonic() - started
    record = {
        "run": str(run),
        "run_step": loaded.step,
        "solver": solver,
        "options": _options(sampler),
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
        "versions": {"sdekit": _version("sdekit"), "torch": torch.__version__},
    }
    clear(out)
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


def parse_seeds(n: int | None, text: str | None) -> tuple[int, ...]:
    """`-n 3` or "0-2" or "0,1,2" to (0, 1, 2); 64 seeds where nothing is said."""
    if text is None:
        n = 64 if n is None else n
        if n < 1:
            raise InputError(f"-n must be at least 1, got {n}")
        return tuple(range(n))
    if n is not None:
        raise InputError("give -n or --seeds, not both")
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise InputError(f"--seeds {text!r}: write numbers and ranges, such as 0-63 or 3,17,20-29")
        if int(last or first) >= 2**32:
            raise InputError(f"--seeds {text!r}: a seed is below 2^32")
        seeds.extend(range(int(first), int(last or first) + 1))
    if len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds {text!r} names a seed twice")
    return tuple(seeds)


def conditions(run: "Run", label: int | None, seeds: tuple[int, ...]) -> "Tensor | None":
    """(n,) labels: the one asked for, or each sample's from its seed; None for an unconditional run."""
    import torch

    recipe = run.recipe
    if recipe.condition == "none":
        if label is not None:
            raise InputError(f"--label {label}: {run.path} was trained without labels (--condition label)")
        return None
    if label is not None and not 0 <= label < recipe.classes:
        names = f" ({', '.join(recipe.class_names)})" if recipe.class_names else ""
        raise InputError(f"--label {label}: {run.path} has the labels 0 to {recipe.classes - 1}{names}")
    return torch.tensor([seed % recipe.classes if label is None else label for seed in seeds])


def write(out: Path, run: "Run", drawn: "Samples", record: dict[str, Any]) -> Path | None:
    """samples.npy, the pictures that suit the data, and last sample.json; returns the picture to look at."""
    import numpy as np

    from sdekit.drawing import image_grid, picture, png, scatter, to_pixels
    from sdekit.training.checkpoint import save_json, write_atomically

    data = run.recipe.units.to_data(drawn.x)
    look = None
    try:
        np.save(out / "samples.npy", data)
        if run.recipe.kind == "image":
            pixels = to_pixels(data, run.recipe.units)
            look = out / "grid.png"
            look.write_bytes(png(image_grid(pixels[:1024])))
            (out / "images").mkdir()
            for seed, image in zip(drawn.seeds, pixels, strict=True):
                write_atomically(out / "images" / f"{seed}.png", png(picture(image)))
        elif run.recipe.shape == (2,):
            look = out / "scatter.png"
            look.write_bytes(scatter(data))
    except OSError as error:
        from sdekit.errors import SdekitError

        raise SdekitError(f"could not write to {out}: {error.strerror or error}") from error
    save_json(out / "sample.json", record)
    return look


def _options(sampler: "Sampler") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(sampler)


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)
