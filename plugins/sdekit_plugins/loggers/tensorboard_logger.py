"""TensorBoard: event files in the run folder."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sdekit.runs import TRACKERS, Recipe
from sdekit.training import Logger


class TensorBoard(Logger):
    """TensorBoard, with event files in the run folder: `pip install 'sdekit[tensorboard]'`.

    `tensorboard --logdir RUNS` shows all runs in the folder RUNS.

    Arguments:
        run_folder: Run folder; the event files are in trackers/tensorboard.
        recipe: Recipe of the run, which is shown as text.
    """

    requires = {"tensorboard": "sdekit[tensorboard]"}

    def __init__(self, run_folder: Path, recipe: Recipe) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = Path(run_folder) / TRACKERS / "tensorboard"
        is_new = not self.folder.exists()
        self.writer = SummaryWriter(str(self.folder))
        if is_new:
            text = json.dumps(recipe.as_dict(), indent=2)
            self.writer.add_text("recipe", "".join(f"\t{line}\n" for line in text.splitlines()), 0)

    @property
    def location(self) -> str:
        """The command that shows the run."""
        return f"tensorboard --logdir {shlex.quote(str(self.folder))}"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers; they are visible at once."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def log_image(self, step: int, name: str, png: bytes) -> None:
        """Write a picture."""
        from PIL import Image

        pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
        self.writer.add_image(name, pixels, step, dataformats="HWC")
        self.writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self.writer.close()
