"""Section of the training: loss curves, the denoising error by noise level, and previews over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from sdekit.errors import SdekitError
from sdekit.runs import PREVIEWS

from .blocks import Block, Chart, Facts, Figures, Image, Section, Text
from .charts import DATA, FOURTH, MUTED, SAMPLES, THIRD, Drawing, log_scale
from .noise_levels_error import NoiseLevelErrors
from .subject import Subject

MOST_PREVIEWS = 8
PREVIEW_WIDTH = 320
"""Largest width in pixels of an embedded preview."""


def training_section(subject: Subject, errors: NoiseLevelErrors | None) -> Section | None:
    """Show the training of a run.

    Arguments:
        subject: The model.
        errors: Denoising errors by noise level, or None if they were not measured.
    Returns:
        The section; None for a model without a recipe and without measured errors.
    """
    blocks: list[Block] = []
    if subject.recipe is not None:
        blocks.append(Facts(rows=tuple(_facts(subject))))
    charts = [chart for chart in (_losses(subject), _by_noise(subject.metrics), _errors(errors)) if chart]
    if charts:
        blocks.append(Figures(items=tuple(charts)))
    if subject.recipe is not None and not subject.metrics:
        blocks.append(Text(text="The folder contains no metrics.jsonl, so there are no loss curves.", warning=True))
    previews = _previews(subject.opened.path / PREVIEWS)
    if previews:
        blocks += [Text(text="Previews: samples that the training drew, in the order of time."), previews]
    return Section(name="training", title="Training", blocks=tuple(blocks)) if blocks else None


def _facts(subject: Subject) -> list[tuple[str, str]]:
    recipe = subject.recipe
    assert recipe is not None
    last = {name: value for row in subject.metrics for name, value in row.items()}
    options, rows = recipe.train, []
    of = f" of {options.steps:,}" if options.steps else ""
    rows.append(("steps", f"{subject.opened.step or 0:,}{of}"))
    seconds = last.get("seconds")
    if isinstance(seconds, (int, float)):
        rows.append(("time of training", duration(float(seconds))))
        if seconds and last.get("step"):
            rate = float(last["step"]) * options.batch_size / float(seconds)
            rows.append(("speed", f"{rate:,.0f} items/s"))
    rows.append(("batch", f"{options.batch_size} items a step"))
    items = recipe.items * (1 - options.held_out)
    rows.append(("epochs", f"{(subject.opened.step or 0) * options.batch_size / max(items, 1):,.1f}"))
    for name, title in (("loss", "training loss at the end"), ("held_out_loss", "held-out loss at the end")):
        if isinstance(last.get(name), (int, float)):
            rows.append((title, f"{last[name]:.4g}"))
    return rows


def duration(seconds: float) -> str:
    """Return a time in words.

    Arguments:
        seconds: The time.
    Returns:
        For example "42 s", "3 min 20 s" or "5 h 3 min".
    """
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def curve(metrics: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    """Return the steps and the values of one number of the metrics.

    Arguments:
        metrics: Rows of metrics.jsonl.
        name: Name of the number.
    Returns:
        Steps and values of the rows that contain it.
    """
    pairs = [(row["step"], float(row[name])) for row in metrics if isinstance(row.get(name), (int, float))]
    return [step for step, _ in pairs], [value for _, value in pairs]


def _losses(subject: Subject) -> Chart | None:
    """Plot the loss of the training and of the held-out data, with the smallest held-out loss."""
    train, held_out = curve(subject.metrics, "loss"), curve(subject.metrics, "held_out_loss")
    if not train[0] and not held_out[0]:
        return None
    baseline = curve(subject.metrics, "baseline_loss")[1]
    values = [*train[1], *held_out[1], *baseline]
    with Drawing("losses", 2.9) as drawing:
        axes = drawing.axes[0, 0]
        for (steps, losses), colour, label in ((train, DATA, "training"), (held_out, SAMPLES, "held out")):
            if steps:
                marker = "o" if len(steps) < 40 else None
                axes.plot(steps, losses, color=colour, marker=marker, markersize=3, label=label)
        if held_out[0]:
            best = min(range(len(held_out[1])), key=held_out[1].__getitem__)
            axes.axvline(held_out[0][best], color=MUTED, linewidth=0.8, linestyle=":")
        if baseline:
            axes.axhline(baseline[-1], color=MUTED, linewidth=1.2, linestyle="--", label="without training")
        if min(values) > 0 and max(values) / min(values) > 5:
            log_scale(axes, "y")
        axes.set(xlabel="training step", ylabel="loss")
        axes.legend(loc="upper right")
    caption = "Mean loss of the training batches, and of the held-out items with the averaged weights."
    if held_out[0]:
        caption += f" The dotted line marks the smallest held-out loss, {min(held_out[1]):.4g}."
    if baseline:
        caption += " The dashed line is the held-out loss of the best denoiser that needs no training."
    recipe = subject.recipe
    if recipe is not None and recipe.items * (1 - recipe.train.held_out) <= recipe.train.exact_target:
        caption += (
            " The training loss of a small data set is smaller: its targets are exact (train.exact_target), so that it "
            "does not contain the variance of x₀ given x_t."
        )
    return Chart(svg=drawing.svg, alt="Training loss and held-out loss by training step", caption=caption)


def _by_noise(metrics: Sequence[Mapping[str, Any]]) -> Chart | None:
    """Plot the held-out loss by noise level at a few steps of the training, if the metrics contain it."""
    rows = [(row["step"], row["held_out_loss_by_noise"]) for row in metrics if row.get("held_out_loss_by_noise")]
    curves = [(step, points) for step, levels in rows if (points := _level_points(levels))]
    if not curves:
        return None
    chosen = [curves[i] for i in sorted({0, len(curves) // 2, len(curves) - 1})]
    with Drawing("loss-by-noise", 2.9) as drawing:
        axes = drawing.axes[0, 0]
        for (step, points), colour in zip(chosen, (DATA, THIRD, SAMPLES)[-len(chosen) :], strict=True):
            axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3, label=f"step {step:,}")
        log_scale(axes, "x")
        axes.set(xlabel="noise level ρ = σ/α", ylabel="held-out loss")
        axes.legend(loc="best")
    caption = "Loss of the held-out items by noise level, during the training."
    return Chart(svg=drawing.svg, alt="Held-out loss by noise level at several training steps", caption=caption)


def _level_points(levels: Any) -> list[tuple[float, float]]:
    """Return pairs (noise level, loss) of a row, in increasing order; empty if the row has another form."""
    if not isinstance(levels, Mapping):
        return []
    try:
        return sorted((float(level), float(loss)) for level, loss in levels.items() if loss is not None)
    except (TypeError, ValueError):
        return []


def _errors(errors: NoiseLevelErrors | None) -> Chart | None:
    """Plot the error of the denoiser by noise level, beside that of the best linear denoiser."""
    if errors is None:
        return None
    with Drawing("noise-levels", 2.9) as drawing:
        axes = drawing.axes[0, 0]
        axes.plot(errors.rho, errors.linear, color=MUTED, linestyle="--", linewidth=1.2, label="linear denoiser")
        axes.plot(errors.rho, errors.training, color=FOURTH, marker="o", markersize=3, label=errors.training_name)
        if errors.held_out is not None:
            axes.plot(errors.rho, errors.held_out, color=SAMPLES, marker="o", markersize=3, label="held-out items")
        log_scale(axes, "x", "y")
        axes.set(xlabel="noise level ρ = σ/α", ylabel="relative error of E[x₀ | x_t]")
        axes.legend(loc="upper left")
    caption = (
        "Squared error of the denoiser, divided by the variance of the data. The dashed line is the best linear "
        "denoiser that knows only this variance; a trained network is below it. A gap between training and held-out "
        "items at low noise levels is a sign of overfitting."
    )
    return Chart(svg=drawing.svg, alt="Relative error of the denoiser by noise level", caption=caption)


def _previews(folder: Path) -> Figures | None:
    """Return a few previews of the run, the first and the last one included."""
    files = sorted(folder.glob("step-*.png"))
    count = min(MOST_PREVIEWS, len(files))
    chosen = [files[round(i * (len(files) - 1) / max(count - 1, 1))] for i in range(count)]
    pictures = [picture for file in chosen if (picture := _preview(file)) is not None]
    return Figures(items=tuple(pictures), small=True) if pictures else None


def _preview(file: Path) -> Image | None:
    """Read a preview and reduce it to the size of the page; None if it is not a picture."""
    from PIL import Image as Pillow

    from sdekit.data.formats import read_regular

    step = file.stem.removeprefix("step-")
    if not step.isdecimal():
        return None
    try:
        with Pillow.open(BytesIO(read_regular(str(file), 2**26)), formats=["PNG"]) as opened:
            opened.thumbnail((PREVIEW_WIDTH, 4 * PREVIEW_WIDTH))
            out = BytesIO()
            opened.convert("L" if opened.mode == "L" else "RGB").save(out, "PNG", optimize=True)
            width = opened.width
    except (OSError, ValueError, SdekitError, Pillow.DecompressionBombError):
        return None
    text = f"step {int(step):,}"
    return Image(png=out.getvalue(), alt=f"Samples at {text}", caption=text, width=width)
