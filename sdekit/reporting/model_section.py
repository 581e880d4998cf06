"""Section of the model: network, prediction and process, and the denoiser at several noise levels."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from .blocks import Block, Chart, Facts, Figures, Image, Section
from .charts import DATA, SAMPLES, THIRD, WIDTH, Drawing, dots, log_scale, span
from .item_pictures import items_block
from .subject import Subject

LEVELS = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Noise levels rho, in units of the data's standard deviation, at which the denoiser is shown."""
SHOWN_ROWS = 400
"""Number of points in the picture of the denoiser."""


def model_section(subject: Subject) -> Section:
    """Describe the model, its process, and its denoiser at several noise levels.

    Arguments:
        subject: The model.
    Returns:
        The section.
    """
    blocks: list[Block] = [Facts(rows=tuple(_facts(subject)))]
    charts: list[Chart | Image] = [_schedule(subject)]
    denoiser = _denoiser_picture(subject)
    if denoiser is not None:
        charts.append(denoiser)
    return Section(name="model", title="Model and process", blocks=(*blocks, Figures(items=tuple(charts))))


def _facts(subject: Subject) -> list[tuple[str, str]]:
    opened, recipe = subject.opened, subject.recipe
    count = sum(p.numel() for p in opened.model.parameters())
    network = type(opened.model.network).__name__ if recipe is None else recipe.network.name
    rows = [("network", f"{network}, {_millions(count)} parameters")]
    rows.append(("process", _process(subject)))
    rows.append(("prediction", str(opened.model.prediction)))
    if opened.codec is not None:
        rows.append(("latents", f"shape {'x'.join(map(str, opened.shape))}, mapped to data by a codec"))
    rows.append(("item", "x".join(map(str, opened.data_shape)) + (" pixels" if opened.kind == "image" else " numbers")))
    rows.append(("units", _units(subject)))
    if opened.step is not None:
        rows.append(("weights", f"averaged (EMA), step {opened.step:,}"))
    rows += [(name.replace("_", " "), str(value)) for name, value in opened.facts.items() if isinstance(value, str)]
    rows += [(f"{name.replace('_', ' ')} (assumed)", str(value)) for name, value in opened.guesses.items()]
    return rows


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} million" if count >= 1e6 else f"{count:,}"


def _process(subject: Subject) -> str:
    """Return the name of the process and its options."""
    sde: Any = subject.opened.model.sde
    name = type(sde).__name__ if subject.recipe is None else subject.recipe.sde.name
    names = [field.name for field in dataclasses.fields(sde)] if dataclasses.is_dataclass(sde) else []
    options = {name: getattr(sde, name) for name in names}
    if subject.recipe is not None:
        options = subject.recipe.sde.options
    shown = ", ".join(f"{k} = {v:g}" for k, v in options.items() if isinstance(v, (int, float)))
    return f"{name} ({shown})" if shown else name


def _units(subject: Subject) -> str:
    """Describe the map between the units of the data and those of the model."""
    units = subject.opened.units
    if units.quantiles:
        return "each number is mapped to a standard normal number by the quantiles of its column"
    if isinstance(units.shift, tuple) or isinstance(units.scale, tuple):
        part = "column" if subject.is_vector else "channel"
        return f"each {part} minus its mean, divided by its standard deviation"
    if units.shift == 0 and units.scale == 1:
        return "those of the data"
    return f"(data − {units.shift:g}) / {units.scale:g}"


def _schedule(subject: Subject) -> Chart:
    """Plot alpha, sigma and the noise level of the process."""
    sde = subject.opened.model.sde
    t = torch.linspace(float(sde.t_min), float(sde.t_max), 200, dtype=torch.float64)
    alpha, sigma = (np.asarray([float(f(time)) for time in t]) for f in (sde.alpha, sde.sigma))
    with Drawing("schedule", 2.5) as drawing:
        axes = drawing.axes[0, 0]
        axes.plot(t, alpha, color=THIRD, label="α, scale of the signal")
        axes.plot(t, sigma, color=SAMPLES, label="σ, scale of the noise")
        axes.set(xlabel="time t")
        if sigma.max() > 20:
            log_scale(axes, "y")
        axes.legend(loc="best")
    return Chart(
        svg=drawing.svg,
        alt="The scales alpha of the signal and sigma of the noise as functions of time",
        caption="The process: x_t = α x_0 + σ ε.",
    )


@torch.no_grad()
def _denoiser_picture(subject: Subject) -> Chart | Image | None:
    """Draw noisy items and the denoiser's estimates of the items, at several noise levels; None without data."""
    opened = subject.opened
    if subject.data is None or opened.codec is not None:
        return None
    sde, device = opened.model.sde, subject.device
    held_out = subject.parts[1] if len(subject.parts[1]) else subject.parts[0]
    chosen = held_out[:SHOWN_ROWS] if subject.is_vector else held_out[:1]
    batch = subject.data.batch(chosen)
    x0 = opened.to_model(subject.data.units.to_data(batch.x))
    y = batch.y if opened.condition != "none" and subject.own_data else None
    if y is None and opened.condition != "none" and not opened.conditioning.null:
        return None
    generator = torch.Generator().manual_seed(0)
    noisy, denoised, levels = [], [], []
    for level in LEVELS:
        rho = torch.tensor(level * opened.data_std, dtype=torch.float64)
        if not float(sde.rho(torch.tensor(sde.t_min))) <= float(rho) <= float(sde.rho(torch.tensor(sde.t_max))):
            continue
        t = sde.time(rho)
        x = sde.perturb(x0, t.expand(len(x0)), torch.randn(x0.shape, generator=generator))
        out = opened.model(x.to(device), t, None if y is None else y.to(device)).cpu()
        noisy.append(opened.to_data(x / float(torch.hypot(sde.alpha(t), sde.sigma(t) / opened.data_std))))
        denoised.append(opened.to_data(out))
        levels.append(level)
    if not levels:
        return None
    shown = ", ".join(f"{level:g}" for level in levels)
    caption = (
        f"Top: held-out data with noise of ρ = {shown} standard deviations of the data. Bottom: the model's estimate "
        "of the data, E[x₀ | x_t]."
    )
    alt = "Data with increasing noise, and the model's estimate of the data without noise"
    if not subject.is_vector:
        states = np.concatenate([*noisy, *denoised])
        return items_block(states, opened, opened.units, alt, caption, columns=len(levels))
    return _point_picture(
        x0=opened.to_data(x0), noisy=noisy, denoised=denoised, levels=levels, alt=alt, caption=caption
    )


def _point_picture(
    x0: np.ndarray,
    noisy: list[np.ndarray],
    denoised: list[np.ndarray],
    levels: list[float],
    *,
    alt: str,
    caption: str,
) -> Chart | None:
    """Draw the first two columns of noisy and of denoised rows."""
    if x0.shape[1] < 2:
        return None
    n = len(levels)
    with Drawing("denoiser", 2.3, width=WIDTH, rows=2, columns=n) as drawing:
        for row, (states, colour) in enumerate(((noisy, DATA), (denoised, SAMPLES))):
            for column, points in enumerate(states):
                axes = drawing.axes[row, column]
                dots(axes, points[:, :2], colour)
                axes.set(xlim=span(x0[:, 0]), ylim=span(x0[:, 1]), xticks=[], yticks=[])
                axes.grid(False)
                if row == 0:
                    axes.set_title(f"ρ = {levels[column]:g}", fontsize=8)
    return Chart(svg=drawing.svg, alt=alt, caption=caption)
