"""Statements about the training at the top of a report: trained or not, overfitting or not."""

from __future__ import annotations

from sdekit.training import Diagnosis, diagnose

from .blocks import Statement
from .noise_levels_error import NoiseLevelErrors
from .subject import Subject

CLEARLY = 0.1
"""Share of a linear denoiser's error that a trained model avoids, unless the data are almost Gaussian."""


def training_statements(subject: Subject, errors: NoiseLevelErrors | None) -> list[Statement]:
    """Return the statements about the training.

    Arguments:
        subject: The model.
        errors: Denoising errors by noise level, or None if they were not measured.
    Returns:
        Whether the model is trained and whether it overfits, as far as both are known.
    """
    diagnosis = diagnose(subject.metrics, subject.opened.step)
    if diagnosis.verdict == "unknown":
        return [] if errors is None else [_compared_with_linear(errors)]
    return [_trained(diagnosis), _overfitting(subject, diagnosis)]


def _trained(diagnosis: Diagnosis) -> Statement:
    """State whether the held-out loss is that of a trained model."""
    text = f"The held-out loss is {diagnosis.held_out_loss:.3g}"
    text += "." if diagnosis.verdict != "improving" else f", and was still falling at step {diagnosis.step:,}."
    if diagnosis.baseline_loss is not None:
        text += f" Denoisers that need no training reach {diagnosis.baseline_loss:.3g}."
    if diagnosis.verdict in ("untrained", "improving"):
        title, level = ("Not trained yet", "bad") if diagnosis.verdict == "untrained" else ("Still improving", "fair")
        return Statement(title=title, text=f"{text} Train longer: sdekit train --resume.", level=level)
    return Statement(title="Trained", text=text, level="good")


def _overfitting(subject: Subject, diagnosis: Diagnosis) -> Statement:
    """State whether the held-out loss rose."""
    smallest = f"{diagnosis.best_loss:.3g} at step {diagnosis.best_step:,}"
    if diagnosis.verdict == "overfitting":
        text = (
            f"The held-out loss rose from {smallest} to {diagnosis.held_out_loss:.3g}. Train for fewer steps, or with "
            "more data, augmentation or dropout."
        )
        return Statement(title="Overfitting", text=text, level="bad")
    text = f"The smallest held-out loss is {smallest}."
    last = diagnose(subject.metrics)
    if last.verdict == "overfitting":
        text += f" It rose to {last.held_out_loss:.3g} at step {last.step:,}, and the report describes earlier weights."
    return Statement(title="No overfitting", text=text, level="good")


def _compared_with_linear(errors: NoiseLevelErrors) -> Statement:
    """Compare the denoiser with a linear one, if there is no held-out loss."""
    text = f"The denoiser has {abs(errors.gain):.0%} {'less' if errors.gain > 0 else 'more'} error than a linear one."
    if errors.gain < 0:
        return Statement(title="Not trained yet", text=text, level="bad")
    clearly = errors.gain > CLEARLY
    title = "Trained" if clearly else "Little better than a linear denoiser"
    return Statement(title=title, text=text, level="good" if clearly else "fair")
