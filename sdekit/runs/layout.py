"""File names in a run folder."""

from __future__ import annotations

CONFIG = "config.json"
MODEL = "model.safetensors"
CHECKPOINT = "checkpoint/training.safetensors"
METRICS = "metrics.jsonl"
PREVIEWS = "previews"
SNAPSHOTS = "kept"
TUNED = "tuned"
EXPORT = "export.json"
"""What the folder of `sdekit export` holds in place of these."""


def snapshot_name(step: int) -> str:
    """Where the average of the weights at a step is kept, within the run folder."""
    return f"{SNAPSHOTS}/step-{step:07d}.safetensors"
