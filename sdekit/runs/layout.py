"""Names of the files in a run folder, and of the files in an export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONFIG = "config.json"
MODEL = "model.safetensors"
CHECKPOINT = "checkpoint/training.safetensors"
METRICS = "metrics.jsonl"
PREVIEWS = "previews"
SNAPSHOTS = "kept"
TUNED = "tuned"
EVALUATION = "evaluation"
REPORT = "report.html"
TRACKERS = "trackers"
LOCK = ".lock"
EXPORT = "export.json"
"""Description of an export; a run folder does not have this file."""
EXPORTED_NETWORKS = ("unconditional", "conditional")
"""Names of the network's files in an export, without the suffix of their format."""
EXPORT_FILES = (EXPORT, MODEL, REPORT, "README.md", "model_index.json", "unet", "scheduler")
"""All other files and folders of an export."""


def snapshot_name(step: int) -> str:
    """Return the path of the averaged weights of an earlier step, relative to the run folder.

    Arguments:
        step: Training step.
    Returns:
        For example "kept/step-0002000.safetensors".
    """
    return f"{SNAPSHOTS}/step-{step:07d}.safetensors"


@dataclass(frozen=True)
class RunFolder:
    """Paths of the files in a run folder, whether they exist or not.

    Arguments:
        path: The folder.
    """

    path: Path

    @property
    def config(self) -> Path:
        """The recipe."""
        return self.path / CONFIG

    @property
    def model(self) -> Path:
        """Averaged weights of the last checkpoint."""
        return self.path / MODEL

    @property
    def checkpoint(self) -> Path:
        """File with everything that is needed to resume the run."""
        return self.path / CHECKPOINT

    @property
    def metrics(self) -> Path:
        """File of metrics, with one JSON object per line."""
        return self.path / METRICS

    @property
    def evaluation(self) -> Path:
        """Folder of `sdekit evaluate`: the metrics, pictures and samples."""
        return self.path / EVALUATION

    @property
    def loggers(self) -> Path:
        """Names and options of the loggers of the run."""
        return self.path / TRACKERS / "loggers.json"

    def preview(self, step: int) -> Path:
        """Picture of samples drawn at a training step."""
        return self.path / PREVIEWS / f"step-{step:07d}.png"

    def snapshot(self, step: int) -> Path:
        """Averaged weights of an earlier step."""
        return self.path / snapshot_name(step)

    def snapshot_steps(self) -> list[int]:
        """Steps whose averaged weights are stored, in increasing order."""
        files = (self.path / SNAPSHOTS).glob("step-*.safetensors")
        return sorted(int(file.stem.removeprefix("step-")) for file in files)

    def tuned(self, solver: str, calls: int) -> Path:
        """Times and coefficients tuned for a solver and a number of network evaluations."""
        return self.path / TUNED / f"{solver}-{calls}.json"
