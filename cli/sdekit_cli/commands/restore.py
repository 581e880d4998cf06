"""`sdekit restore`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdekit.errors import InputError
from sdekit_cli.options.assignments import component, named, with_data_std
from sdekit_cli.options.backend_option import without_backend_warnings
from sdekit_cli.sampling.measurement import Measured, as_images, before_after, in_data_units, measure
from sdekit_cli.sampling.sampling_options import SamplingOptions, sampling_command
from sdekit_cli.sampling.session import SamplingSession

if TYPE_CHECKING:
    from sdekit.guidance import Guidance
    from sdekit.runs import Recipe, Run
    from sdekit.sampling import Samples


@sampling_command
def restore(
    asked: SamplingOptions,
    operator: Annotated[
        str, typer.Option(metavar="NAME:OPTION=VALUE,...", help="mask, super-resolution, blur, grayscale, radon, ...")
    ],
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
) -> None:
    """Draw samples that agree with a measurement: inpainting, super-resolution, deblurring, colours, ...

    Writes samples.npy, mean.npy, std.npy and measurement.npy (in the data's units), restore.json, and for images
    grid.png, images/, mean.png, std.png and before-after.png: the clean image where it is known, the measurement, the
    first samples, their mean and their standard deviation. Operators: sdekit plugins list --kind operator. With dps,
    pigdm, tmpd and mmps any --solver (ddim) and any --guidance; the other methods are solvers themselves.

    Examples:

      sdekit restore run --operator mask:mask=m.png --measurement holes.png --out filled

      sdekit restore run --operator super-resolution:factor=2 --degrade clean.png --noise-std 0.1 --out sharp

      sdekit restore run --operator blur:std=2 --measurement y.npy --noise-std auto --method tds --out sharp
    """
    if (measurement is None) == (degrade is None):
        raise InputError("give --measurement FILE, or --degrade FILE to make one of a clean sample")
    known = _noise(noise_std, trial=degrade is not None)
    session = SamplingSession(asked)
    (what, of_operator), (how, of_method) = (
        (name, component(kind, name, given))
        for kind, (name, given) in (("operator", named(operator)), ("restorer", named(method)))
    )
    session.open()

    from sdekit.inverse import Problem, build_restorer, estimate_noise
    from sdekit.inverse.operators import in_model_units
    from sdekit.registry import complete_options
    from sdekit.sampling import Sampler

    recipe, model, device = session.run.recipe, session.run.model, session.device
    measured = measure(recipe, what, of_operator, measurement, degrade, known or 0.0)
    inner, told_y, unit = in_model_units(measured.operator, recipe.units, measured.y, 1.0)
    with without_backend_warnings():
        std = estimate_noise(model, inner, told_y, y=session.y, device=device) if known is None else known * unit
    of_method = complete_options("restorer", how, with_data_std("restorer", how, of_method, recipe.data_std))
    made: Guidance | Sampler = build_restorer(how, Problem(inner, told_y, std), **of_method)
    alone = isinstance(made, Sampler)
    if alone and (asked.solver or session.of_solver):
        raise InputError(f"{how} is a solver itself: leave --solver out, and give options as --method {how}:NAME=VALUE")
    drawn = (
        session.draw(made, name=how)
        if isinstance(made, Sampler)
        else session.draw(session.sampler, name=f"{how} and {session.solver}", guidance=[made])
    )
    if drawn is None:
        return
    record = {
        "operator": {"name": what, "options": of_operator},
        "measurement": None if measurement is None else str(measurement),
        "degrade": None if degrade is None else str(degrade),
        "measured_shape": list(inner.measured),
        "noise_std": std / unit,
        "noise_estimated": known is None,
        "method": {"name": how, "options": of_method},
        **({"solver": None, "options": None} if alone else session.solving),
        **agreement(measured, drawn, recipe),
    }
    session.finish(
        drawn,
        record,
        f"samples with {how}" + (f" (noise estimated at {std / unit:.3g})" if known is None else ""),
        keys=("method", "operator", "noise_std", "nfe", "n", "residual_std", "error", "seconds"),
        name="restore.json",
        also=_files(session.run, measured, drawn),
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
    from sdekit.plotting import image_grid, picture, png
    from sdekit.runs import npy_bytes

    recipe, x = run.recipe, in_data_units(drawn.x, run.recipe)
    mean, std = x.mean(0, keepdim=True), x.std(0, correction=0, keepdim=True)
    files = {
        "measurement.npy": npy_bytes(measured.y.numpy()),
        "mean.npy": npy_bytes(mean[0].numpy()),
        "std.npy": npy_bytes(std[0].numpy()),
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
