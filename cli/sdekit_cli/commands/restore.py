"""`sdekit restore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdekit.errors import InputError
from sdekit_cli.options.shared_options import without_backend_warnings
from sdekit_cli.sampling.sampling_options import SamplingOptions, sampling_command
from sdekit_cli.terminal.console import note

if TYPE_CHECKING:
    from torch import Tensor

    from sdekit.guidance import Guidance
    from sdekit.models import OpenedModel
    from sdekit.sampling import Sampler, Samples
    from sdekit_cli.sampling.measurement import Measurement
    from sdekit_cli.sampling.session import SamplingSession

IMPUTATION_METHOD = "tds"
"""Default method of --known and --impute, see `sdekit.inverse.impute`."""


@sampling_command
def restore(
    *,
    operator: Annotated[
        str | None,
        typer.Option(metavar="NAME:OPTION=VALUE,...", help="mask, super-resolution, blur, grayscale, radon, ..."),
    ] = None,
    measurement: Annotated[
        Path | None, typer.Option(help="The measurement: an image, or a .npy file in the units of the data.")
    ] = None,
    degrade: Annotated[
        Path | None, typer.Option(help="For a trial: a clean sample, which is measured with noise and then restored.")
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Crop and resize the image of --degrade to the size of the samples.")
    ] = False,
    noise_std: Annotated[
        str,
        typer.Option(
            help="Standard deviation of the measurement's noise, in the units of the data; auto estimates it."
        ),
    ] = "0",
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:OPTION=VALUE,...",
            help="mmps, tds, dps, pigdm, tmpd, ddrm, diffpir, ...",
            show_default="mmps; of tables tds",
        ),
    ] = None,
    known: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE,...", help="Known columns of a table: draw rows with these values."),
    ] = None,
    impute: Annotated[
        Path | None,
        typer.Option(help="A table (CSV) whose missing cells are drawn, once or in -n imputations."),
    ] = None,
    options: SamplingOptions,
) -> None:
    """Draw samples that agree with a measurement (inpainting, ...) or with known cells of a table.

    Writes samples.npy, mean.npy, std.npy and measurement.npy (in the units of the data), restore.json, and for images
    grid.png, images/, mean.png, std.png and before-after.png. The latter shows the clean image if it is known, the
    measurement, the first samples, their mean and their standard deviation. The methods dps, pigdm, tmpd and mmps work
    with any --solver (default: ddim) and any --guidance; the other methods are solvers themselves.
    To list all operators: sdekit plugins list --kind operator

    Of a table, --known draws rows with the values of some columns. --impute writes imputed.csv, a copy of a table whose
    missing cells (empty, NA, ?, ...) are drawn given the other cells of their row. With -n 5 it contains five complete
    tables, one after the other, and a last column with the number of the imputation.

    Examples:

      sdekit restore run --operator mask:mask=m.png --measurement holes.png --out filled

      sdekit restore run --operator super-resolution:factor=2 --degrade clean.png --noise-std 0.1 --out sharp

      sdekit restore run --operator grayscale --degrade photo.jpg --resize --out coloured

      sdekit restore run --operator blur:std=2 --measurement y.npy --noise-std auto --method tds --out sharp

      sdekit restore run --known "age=40,city=Paris" -n 100 --out parisians

      sdekit restore run --impute incomplete.csv --out filled
    """
    from sdekit.registry import component_options, parse_component, with_data_std
    from sdekit_cli.sampling.measurement import measure
    from sdekit_cli.sampling.sample_results import write_samples
    from sdekit_cli.sampling.session import SamplingSession

    if known or impute is not None:
        used = {"--operator": operator, "--measurement": measurement, "--degrade": degrade, "--resize": resize or None}
        used |= {"--noise-std": None if noise_std == "0" else noise_std}
        _check_task(used, known, impute)
        from sdekit_cli.sampling.imputing import impute_table, restore_known

        session = SamplingSession(options, n=1 if known is None else 8)
        method_name, assignments = parse_component(method or IMPUTATION_METHOD, "restorer")
        method_options = component_options("restorer", method_name, assignments)
        if known:
            restore_known(session, known, method_name, method_options)
        elif impute is not None:
            impute_table(session, impute, method_name, method_options)
        return
    if operator is None:
        raise InputError(
            "give --operator NAME with --measurement FILE or --degrade FILE; or, of a table, --known COLUMN=VALUE,... "
            "or --impute FILE"
        )
    if (measurement is None) == (degrade is None):
        raise InputError("give --measurement FILE, or --degrade FILE with a clean sample to measure")
    if resize and measurement is not None:
        raise InputError(
            "--resize: a measurement is not resized, because resized pixels are no longer A(x) + noise: measure at the "
            "size that the operator makes, or for a trial pass a clean picture by --degrade FILE --resize"
        )
    known_std = _parse_noise_std(noise_std, trial=degrade is not None)
    session = SamplingSession(options)
    operator_name, assignments = parse_component(operator, "operator")
    operator_options = component_options("operator", operator_name, assignments)
    method_name, assignments = parse_component(method or "mmps", "restorer")
    method_options = component_options("restorer", method_name, assignments)
    session.open()

    from sdekit.registry import complete_options
    from sdekit.sampling import Sampler

    opened = session.opened
    measured = measure(opened, operator_name, operator_options, measurement, degrade, known_std or 0.0, resize=resize)
    _note_mask(measured, quiet=options.json)
    method_options = with_data_std("restorer", method_name, method_options, opened.data_std)
    method_options = complete_options("restorer", method_name, method_options)
    restorer, std = _build_restorer(session, measured, method_name, method_options, known_std)
    if isinstance(restorer, Sampler):
        session.check_no_solver(method_name)
        samples = session.draw(restorer, name=method_name)
    else:
        name = f"{method_name} and {session.solver}"
        samples = session.draw(session.sampler, name=name, guidance=[restorer])
    if samples is None:  # only the first of several processes writes
        return
    record = {
        "operator": {"name": operator_name, "options": operator_options},
        "measurement": None if measurement is None else str(measurement),
        "degrade": None if degrade is None else str(degrade),
        "resize": resize,
        "measured_shape": list(measured.operator.measured),
        "noise_std": std,
        "noise_estimated": known_std is None,
        "method": {"name": method_name, "options": method_options},
        **session.solver_record,
        **agreement(measured, samples, opened),
    }
    estimated = f" (noise estimated at {std:.3g})" if known_std is None else ""
    write_samples(
        session,
        samples,
        record,
        f"samples with {method_name}{estimated}",
        keys=("method", "operator", "noise_std", "nfe", "n", "residual_std", "error", "seconds"),
        name="restore.json",
        also=_other_files(opened, measured, samples),
    )


def _check_task(used: Mapping[str, object], known: Sequence[str] | None, impute: Path | None) -> None:
    """Raise InputError if several tasks are given, or options of another task."""
    task = "--known" if known else "--impute"
    others = [name for name, value in used.items() if value is not None]
    others += ["--impute"] if known and impute is not None else []
    if others:
        raise InputError(f"{task} excludes {others[0]}: give one of --operator, --known and --impute")


def _note_mask(measured: Measurement, *, quiet: bool) -> None:
    """Print the share of a sample that a mask measures, so that an inverted mask is noticed."""
    from sdekit.inverse.operators import Mask

    operator = measured.operator
    if isinstance(operator, Mask) and not quiet:
        count, total = operator.count, operator.keep.numel()
        note("the mask measures {:.1%} of a sample: {}", count / total, operator.description or "its nonzero numbers")


def _parse_noise_std(text: str, *, trial: bool) -> float | None:
    """Parse --noise-std: a standard deviation, or None if it is to be estimated."""
    if text == "auto" and not trial:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if text == "auto" or not 0 <= value < float("inf"):
        advice = ": --degrade adds the noise itself, so it needs a number" if text == "auto" else " or auto"
        raise InputError(f"--noise-std {text}: write a number, 0 or more{advice}")
    return value


def _build_restorer(
    session: SamplingSession,
    measured: Measurement,
    method: str,
    method_options: dict[str, object],
    known_std: float | None,
) -> tuple[Guidance | Sampler, float]:
    """Build the method in the units of the model. Return it and the noise's standard deviation in data units."""
    from sdekit.inverse import Problem, build_restorer, estimate_noise
    from sdekit.inverse.operators import Decoded, in_model_units

    model = session.opened.model
    operator, y, unit = in_model_units(measured.operator, session.opened.units, measured.y, 1.0)
    if session.opened.codec is not None:
        operator = Decoded(operator, session.opened.shape, session.opened.decode)
    if known_std is None:
        with without_backend_warnings():
            std = estimate_noise(model, operator, y, y=session.y, device=session.device)
    else:
        std = known_std * unit
    return build_restorer(method, Problem(operator, y, std), **method_options), std / unit


def agreement(measured: Measurement, samples: Samples, opened: OpenedModel) -> dict[str, float | None]:
    """Compare samples with the measurement and the clean sample, in the units of the data.

    Arguments:
        measured: The measurement.
        samples: The samples.
        opened: The model.
    Returns:
        residual_std: root mean square of y - A(x), which is the noise's standard deviation for a correct posterior.
        error: root mean square of the difference between the samples' mean and the clean sample, if that is known.
    """
    from sdekit_cli.sampling.measurement import in_data_units

    x = in_data_units(samples.x, opened)
    residual = measured.operator.check(measured.y) - measured.operator.apply(x)
    scale = residual[0].numel() / measured.operator.count  # entries that are not measured are 0 in both
    error = None if measured.clean is None else float((x.mean(0) - measured.clean).square().mean().sqrt())
    return {"residual_std": float((residual.square().mean() * scale).sqrt()), "error": error}


def _other_files(opened: OpenedModel, measured: Measurement, samples: Samples) -> dict[str, bytes]:
    """Return the files beside the samples: measurement, mean and standard deviation, and pictures of them."""
    from sdekit.plotting import image_grid, picture, png
    from sdekit.runs import npy_bytes
    from sdekit_cli.sampling.measurement import as_images, in_data_units, side_by_side

    x = in_data_units(samples.x, opened)
    mean, std = x.mean(0, keepdim=True), x.std(0, correction=0, keepdim=True)
    files = {
        "measurement.npy": npy_bytes(measured.y.numpy()),
        "mean.npy": npy_bytes(mean[0].numpy()),
        "std.npy": npy_bytes(std[0].numpy()),
    }
    if opened.kind in ("sequence", "volume"):
        return files | {"before-after.png": _before_and_after(opened, measured, x)}
    sample_images, mean_image = as_images(x, opened), as_images(mean, opened)
    if sample_images is None or mean_image is None:
        return files
    low, high = opened.units.low, opened.units.high
    span = float(x.max() - x.min()) if low is None or high is None else high - low
    std_pixels = (std * (255 / max(float(std.max()), 0.02 * span))).clamp(0, 255).round()  # the largest one is white
    std_image = std_pixels.numpy().astype("uint8").transpose(0, 2, 3, 1)[..., : mean_image.shape[-1]]
    files |= {"mean.png": png(picture(mean_image[0])), "std.png": png(picture(std_image[0]))}
    columns = [*sample_images[:4], mean_image[0], std_image[0]]
    if (images := as_images(measured.y[None], opened)) is not None:
        columns.insert(0, images[0])
        files["measurement.png"] = png(picture(images[0]))
    if measured.clean is not None and (images := as_images(measured.clean[None], opened)) is not None:
        columns.insert(0, images[0])
    files["before-after.png"] = png(image_grid(side_by_side(columns), len(columns)))
    return files


def _before_and_after(opened: OpenedModel, measured: Measurement, x: Tensor) -> bytes:
    """Draw sequences or volumes: the clean item if it is known, the measurement, the first samples and their mean."""
    from dataclasses import replace

    import torch

    from sdekit.inverse.operators import Mask
    from sdekit.plotting import item_grid

    shown, captions = [*x[:4]], [f"sample {i}" for i in range(min(4, len(x)))]
    if len(x) > 1:
        shown, captions = [*shown, x.mean(0)], [*captions, "mean of the samples"]
    if tuple(measured.y.shape) == tuple(x.shape[1:]):
        y, operator = measured.y, measured.operator
        hidden = float("nan") if opened.kind == "sequence" else float(x.min())
        shown.insert(0, torch.where(operator.keep > 0, y, hidden) if isinstance(operator, Mask) else y)
        captions.insert(0, "measurement")
    if measured.clean is not None:
        shown, captions = [measured.clean, *shown], ["clean", *captions]
    return item_grid(
        torch.stack([item.double() for item in shown]).numpy(),
        kind=opened.kind,
        units=replace(opened.units, layout="same"),
        columns=2 if opened.kind == "sequence" else len(shown),
        channels=opened.channel_names,
        captions=captions,
        sample_rate=opened.sample_rate,
    )
