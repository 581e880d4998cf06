"""Verdict at the top of a report: trained or not, overfitting or not, and the distance of samples to the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .blocks import Statement
from .noise_levels_error import NoiseLevelErrors
from .training_section import curve

RISE = 0.1
"""Relative rise of the held-out loss above its minimum that counts as overfitting."""


def overfitting(metrics: Sequence[Mapping[str, Any]]) -> Statement | None:
    """Compare the last held-out loss with the smallest one."""
    steps, losses = curve(metrics, "held_out_loss")
    if len(losses) < 2:
        return None
    best = min(range(len(losses)), key=losses.__getitem__)
    rise = losses[-1] / losses[best] - 1 if losses[best] > 0 else 0.0
    if rise > RISE:
        text = f"The held-out loss rose by {rise:.0%} after step {steps[best]:,}."
        return Statement(title="Overfitting", text=text, level="bad")
    return Statement(title="No overfitting", text="The held-out loss is at its minimum.", level="good")


def verdict(metrics: Sequence[Mapping[str, Any]], errors: NoiseLevelErrors | None) -> tuple[Statement, ...]:
    """Return the statements."""
    statements = [overfitting(metrics)]
    if errors is not None:
        statements.append(Statement(title="Denoiser", text=f"gain {errors.gain:.0%}", level="good"))
    return tuple(s for s in statements if s)
