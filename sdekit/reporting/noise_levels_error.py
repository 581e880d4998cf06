"""Error of a denoiser by noise level, on training items and on held-out items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sdekit.data import Dataset

from .subject import Subject

LEVELS = np.geomspace(0.05, 20, 8)
"""Noise levels rho, in units of the data's standard deviation."""
ITEMS, BATCH = 64, 64


@dataclass(frozen=True, kw_only=True)
class NoiseLevelErrors:
    """Relative errors E|D(x_t) - x_0|^2 / (d data_std^2) of a denoiser D.

    Arguments:
        rho: Noise levels.
        training: Errors on items of the training.
        held_out: Errors on held-out items, or None without such items.
        linear: Errors of the linear denoiser x_t -> c x_t with the best c, rho^2 / (rho^2 + data_std^2).
        training_name: "training items", or "items of the data" if the training items are not known.
    """

    rho: np.ndarray
    training: np.ndarray
    held_out: np.ndarray | None
    linear: np.ndarray
    training_name: str

    @property
    def gain(self) -> float:
        """Share of the linear denoiser's error that the model avoids, averaged over the noise levels."""
        errors = self.training if self.held_out is None else self.held_out
        return float(np.mean(1 - errors / self.linear))


def measure_noise_levels(subject: Subject) -> NoiseLevelErrors | None:
    """Measure the error of the denoiser at several noise levels.

    The noise of an item depends on the level and on its position alone, so that both parts have the same noise.

    Arguments:
        subject: The model and its data.
    Returns:
        The errors, or None without data, for a model of latents, or if the conditions of the items are not known.
    """
    opened, data = subject.opened, subject.data
    if data is None or opened.codec is not None:
        return None
    if opened.condition != "none" and not subject.own_data and not opened.conditioning.null:
        return None
    sde = opened.model.sde
    low, high = float(sde.rho(torch.tensor(sde.t_min))), float(sde.rho(torch.tensor(sde.t_max)))
    rho = LEVELS[(LEVELS * opened.data_std >= low) & (LEVELS * opened.data_std <= high)] * opened.data_std
    if not len(rho):
        return None
    held_out = subject.parts[1][:ITEMS]
    return NoiseLevelErrors(
        rho=rho,
        training=_errors(subject, data, subject.chosen(ITEMS), rho),
        held_out=_errors(subject, data, held_out, rho) if len(held_out) >= 2 else None,
        linear=rho**2 / (rho**2 + opened.data_std**2),
        training_name="training items" if subject.own_data else "items of the data",
    )


@torch.no_grad()
def _errors(subject: Subject, data: Dataset, indices: np.ndarray, rho: np.ndarray) -> np.ndarray:
    """Return the mean relative error of items at each noise level."""
    opened, device = subject.opened, subject.device
    conditional = opened.condition != "none" and subject.own_data
    total = np.zeros(len(rho))
    for start in range(0, len(indices), BATCH):
        batch = data.batch(indices[start : start + BATCH])
        x0 = opened.to_model(data.units.to_data(batch.x))
        y = batch.y.to(device) if conditional and batch.y is not None else None
        for i, level in enumerate(rho):
            t = opened.model.sde.time(torch.tensor(level, dtype=torch.float64))
            generator = torch.Generator().manual_seed(1000 * i + start)
            eps = torch.randn(x0.shape, generator=generator)
            x = opened.model.sde.perturb(x0, t.expand(len(x0)), eps)
            error = opened.model(x.to(device), t, y).cpu().double() - x0
            total[i] += float(error.square().mean(tuple(range(1, error.ndim))).sum())
    return total / max(len(indices), 1) / opened.data_std**2
