"""`sdekit restore`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdekit.errors import InputError

from .backends import Backend, Trust, parse_backend, run_with, told
from .conditions import conditions
from .console import note, print_json
from .device import pick_device
from .draw import draw
from .folder import check_out
from .local import Plugins, use
from .measuring import Measured, as_images, before_after, in_data_units, measure
from .options import component, named
from .output import version, write
from .seeds import parse_seeds

if TYPE_CHECKING:
    from sdekit.guidance import Guidance
    from sdekit.sampling import Samples
    from sdekit.training.run import Recipe, Run


def restore(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of `sdekit train`.")],
    operator: Annotated[
        str, typer.Option(metavar="NAME:OPTION=VALUE,...", help="mask, super-resolution, blur, grayscale, radon, ...")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    measurement: Annotated[
        Path | None, typer.Option(help="What was measured: an image, or a .npy file in the data's units.")
    ] = None,
    degrade: Annotated[
        Path | None, typer.Option(help="For a trial, a clean sample instead: it is measured, with noise, and restored.")
    ] = None,
    noise_std: Annotated[
        str, typer.Option(help="Standard deviation of the measurement's noise, in the data's units; auto estimates it.")
    ] = "0",
    method: Annotated[
        str, typer.Option(metavar="NAME:OPTION=VALUE,...", help="mmps, tds, dps, pigdm, tmpd, ddrm, diffpir, ...")
    ] = "mmps",
    solver: Annotated[
        str | None, typer.Option(help="With dps, pigdm, tmpd and mmps: any sampler (ddim).", show_default=False)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps, the final denoising counted.")] = None,
    nfe: Annotated[int | None, typer.Option(help="Network calls at most, instead of steps.")] = None,
    n: Annotated[int | None, typer.Option("-n", help="How many samples: seeds 0 to n - 1 (8).")] = None,
    seeds: Annotated[str | None, typer.Option(help="Which samples: 0-63 or 3,17,20-29.")] = None,
    label: Annotated[int | None, typer.Option(help="Class to draw, of a run trained with --condition label.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples at a time; changes no sample.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    backend: Backend = None,
    trust: Trust = False,
    plugin: Plugins = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the results in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw samples that agree with a measurement: inpainting, super-resolution, deblurring, colours, ...

    Writes samples.npy, mean.npy, std.npy and measurement.npy (in the data's units), restore.json, and for images
    grid.png, images/, mean.png, std.png and before-after.png: the clean image where it is known, the measurement, the
    first samples, their mean and their standard deviation. Operators: sdekit plugins list --kind operator

    Examples:

      sdekit restore run --operator mask:mask=m.png --measurement holes.png --out filled

      sdekit restore run --operator super-resolution:factor=2 --degrade clean.png --noise-std 0.1 --out sharp

      sdekit restore run --operator blur:std=2 --measurement y.npy --noise-std auto --method tds --out sharp
    """
    use(plugin, quiet=json)
    chosen = parse_seeds(8 if n is None and seeds is None else n, seeds)
    for name, value in (("--steps", steps), ("--nfe", nfe), ("--batch-size", batch_size)):
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if (measurement is None) == (degrade is None):
        raise InputError("give --measurement FILE, or --degrade FILE to make one of a clean sample")
    if steps is not None and nfe is not None:
        raise InputError("give --steps or --nfe, not both")
    known = _noise(noise_std, trial=degrade is not None)
    check_out(out, overwrite=overwrite)
    of_operator, of_method = (
        (name, component(kind, name, given))
        for kind, (name, given) in (("operator", named(operator)), ("restorer", named(method)))
    )
    of_solver = None if solver is None else component("sampler", solver, {})
    of_backend = parse_backend(backend)

    import torch

    from sdekit.inverse import Problem, estimate_noise
    from sdekit.operators.units import in_model_units
    from sdekit.plugins import local_files, make
    from sdekit.sampling import Sampler
    from sdekit.training.run import load_run

    loaded = load_run(run, device=(where := pick_device(device)), trust=trust)
    run_with(loaded, of_backend)
    recipe = loaded.recipe
    y = conditions(loaded, label, chosen)
    measured = measure(recipe, *of_operator, measurement, degrade, known or 0.0)
    inner, told_y, unit = in_model_units(measured.operator, recipe.units, measured.y, 1.0)
    std = estimate_noise(loaded.model, inner, told_y, y=y, device=where) if known is None else known * unit
    problem = Problem(inner, told_y, std)
    options = _with_data_std(of_method, recipe)
    made: Guidance | Sampler = make("restorer", of_method[0], problem, **options)
    if isinstance(made, Sampler) and of_solver is not None:
        raise InputError(f"--solver {solver}: {of_method[0]} is a sampler of its own; leave --solver out")
    sampler = made if isinstance(made, Sampler) else make("sampler", solver or "ddim", **(of_solver or {}))
    drawn, seconds = draw(
        loaded,
        sampler,
        name=of_method[0],
        seeds=chosen,
        steps=steps,
        nfe=nfe,
        y=y,
        guidance=[] if isinstance(made, Sampler) else [made],
        batch_size=batch_size,
        device=where,
        quiet=json,
    )
    record = {
        "run": str(run),
        "run_step": loaded.step,
        "operator": {"name": of_operator[0], "options": of_operator[1]},
        "measurement": None if measurement is None else str(measurement),
        "degrade": None if degrade is None else str(degrade),
        "measured_shape": list(inner.measured),
        "noise_std": std / unit,
        "noise_estimated": known is None,
        "method": {"name": of_method[0], "options": options},
        "solver": None if isinstance(made, Sampler) else solver or "ddim",
        "steps": len(drawn.times),
        "nfe": drawn.nfe,
        "n": len(chosen),
        "seeds": list(chosen),
        "labels": None if y is None else y.tolist(),
        "times": drawn.times.tolist(),
        **agreement(measured, drawn, recipe),
        "seconds": round(seconds, 3),
        "device": where,
        "backend": told(loaded, of_backend, quiet=json),
        "plugins": local_files(),
        "versions": {"sdekit": version("sdekit"), "torch": torch.__version__},
    }
    files = _files(loaded, measured, drawn)
    picture = write(out, loaded, drawn, record, name="restore.json", also=files)
    picture = out / "before-after.png" if "before-after.png" in files else picture
    keys = ("noise_std", "nfe", "n", "residual_std", "error", "seconds")
    summary = {"method": of_method[0], "operator": of_operator[0], **{k: record[k] for k in keys}} | {
        "samples": str(out / "samples.npy"),
        "picture": None if picture is None else str(picture),
    }
    if json:
        print_json(summary)
        return
    shown = f"look at [bold]{picture}[/]" if picture else f"they are in {out / 'samples.npy'}"
    guessed = f" (noise estimated at {std / unit:.3g})" if known is None else ""
    note(
        f"drew {len(chosen)} samples with {of_method[0]}{guessed}: {drawn.nfe} network calls each, {seconds:.1f} s; "
        f"{shown}"
    )


def _noise(text: str, *, trial: bool) -> float | None:
    """The standard deviation said; None where it is to be estimated."""
    if text == "auto" and not trial:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if text == "auto" or not 0 <= value < float("inf"):
        end = ": --degrade adds the noise itself, say how much" if text == "auto" else " or auto"
        raise InputError(f"--noise-std {text}: write a number, 0 or more{end}")
    return value


def _with_data_std(of_method: tuple[str, dict[str, Any]], recipe: "Recipe") -> dict[str, Any]:
    """All options of the method; `data_std` is the run's where it is not said."""
    from sdekit.plugins import options

    name, given = of_method
    complete = options("restorer", name, given)
    if "data_std" in complete and "data_std" not in given:
        complete["data_std"] = recipe.data_std
    return complete


def agreement(measured: "Measured", drawn: "Samples", recipe: "Recipe") -> dict[str, float | None]:
    """How far samples are from what is known, in the data's units, root mean square over numbers and samples.

    residual_std: of y - A(x), the noise's standard deviation if all is right. error: of the mean of the samples
    against the clean sample.
    """
    x = in_data_units(drawn.x, recipe)
    residual = measured.operator.check(measured.y) - measured.operator.apply(x)
    scale = residual[0].numel() / measured.operator.count  # what is not measured is 0 in both
    error = None if measured.clean is None else float((x.mean(0) - measured.clean).square().mean().sqrt())
    return {"residual_std": float((residual.square().mean() * scale).sqrt()), "error": error}


def _files(run: "Run", measured: "Measured", drawn: "Samples") -> dict[str, bytes]:
    """What is written beside the samples: the measurement, mean and standard deviation, and pictures of them."""
    from sdekit.drawing import image_grid, picture, png

    from .output import npy

    recipe, x = run.recipe, in_data_units(drawn.x, run.recipe)
    mean, std = x.mean(0, keepdim=True), x.std(0, correction=0, keepdim=True)
    files = {
        "measurement.npy": npy(measured.y.numpy()),
        "mean.npy": npy(mean[0].numpy()),
        "std.npy": npy(std[0].numpy()),
    }
    images, average = as_images(x, recipe), as_images(mean, recipe)
    if images is None or average is None:
        return files
    low, high = recipe.units.low, recipe.units.high
    span = float(x.max() - x.min()) if low is None or high is None else high - low
    spread = (std * (255 / max(float(std.max()), 0.02 * span))).clamp(0, 255).round()  # the largest is white
    spreads = spread.numpy().astype("uint8").transpose(0, 2, 3, 1)
    files |= {"mean.png": png(picture(average[0])), "std.png": png(picture(spreads[0]))}
    columns = [*images[:4], average[0], spreads[0]]
    for known in (measured.y, measured.clean):
        found = None if known is None else as_images(known[None], recipe)
        if found is not None:
            columns.insert(0, found[0])
            if known is measured.y:
                files["measurement.png"] = png(picture(found[0]))
    files["before-after.png"] = png(image_grid(before_after(columns), len(columns)))
    return files
