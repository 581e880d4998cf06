"""Statements about the training at the top of a report: trained or not, overfitting or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sdekit.training import diagnose

from .blocks import Statement
from .noise_levels_error import NoiseLevelErrors
from .subject import Subject
from .training_section import curve

CLEARLY = 0.1
"""Share of a linear denoiser's error that a trained model avoids, unless the data are almost Gaussian."""
RISE = 0.1
"""Relative rise of the held-out loss above its minimum that counts as overfitting."""


def training_statements(subject: Subject, errors: NoiseLevelErrors | None) -> list[Statement]:
    """Return the statements about the training.

    Arguments:
        subject: The model.
        errors: Denoising errors by noise level, or None if they were not measured.
    Returns:
        Whether the model is trained and whether it overfits, as far as both are known.
    """
    statements = [_trained(subject.metrics, errors), _overfitting(subject.metrics)]
    return [statement for statement in statements if statement is not None]


def _trained(metrics: Sequence[Mapping[str, Any]], errors: NoiseLevelErrors | None) -> Statement | None:
    """Compare the denoiser with a linear one: an untrained network is not better."""
    diagnosis = diagnose(metrics)
    loss, baseline = diagnosis.held_out_loss, diagnosis.baseline_loss
    if loss is not None and baseline is not None:
        titles = {"untrained": "Not trained yet", "improving": "Still improving"}
        text = f"The held-out loss is {loss:.3g}; denoisers that need no training reach {baseline:.3g}."
        level = "good" if diagnosis.verdict not in titles else "bad" if diagnosis.verdict == "untrained" else "fair"
        return Statement(title=titles.get(diagnosis.verdict, "Trained"), text=text, level=level)
    if errors is None:
        return None
    text = f"The denoiser has {abs(errors.gain):.0%} {'less' if errors.gain > 0 else 'more'} error than a linear one."
    if errors.gain < 0:
        return Statement(title="Not trained yet", text=text, level="bad")
    return Statement(
        title="Trained" if errors.gain > 0.1 else "Trained a little",
        text=text,
        level="good" if errors.gain > 0.1 else "fair",
    )


def _overfitting(metrics: Sequence[Mapping[str, Any]]) -> Statement | None:
    """Compare the last held-out loss with the smallest one."""
    steps, losses = curve(metrics, "held_out_loss")
    if len(losses) < 2:
        return None
    best = min(range(len(losses)), key=losses.__getitem__)
    rise = losses[-1] / losses[best] - 1 if losses[best] > 0 else 0.0
    if rise > RISE:
        text = (
            f"The held-out loss rose by {rise:.0%} after step {steps[best]:,}. Train for fewer steps, or with more "
            "data, augmentation or dropout."
        )
        return Statement(title="Overfitting", text=text, level="bad")
    return Statement(title="No overfitting", text=f"The held-out loss did not rise: {losses[-1]:.3g}.", level="good")
