"""Trackio."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from sdekit.runs import TRACKERS, Recipe
from sdekit.training import Logger, tracker_run_id


class Trackio(Logger):
    """Trackio, a tracker on this machine or in a Space of Hugging Face: `pip install 'sdekit[trackio]'`.

    Arguments:
        run_folder: Run folder. Trackio stores its data in its own folder (TRACKIO_DIR).
        recipe: Recipe of the run, which becomes the configuration of the run of trackio.
        project: Project of the run.
        name: Name of the run; None for the name of the run folder with an identifier.
        space_id: Space of Hugging Face that stores the run, OWNER/NAME; None for this machine.
    """

    requires = {"trackio": "sdekit[trackio]"}
    trial = {"project": "sdekit-verify"}

    def __init__(
        self,
        run_folder: Path,
        recipe: Recipe,
        *,
        project: str = "sdekit",
        name: str | None = None,
        space_id: str | None = None,
    ) -> None:
        import trackio

        folder = Path(run_folder)
        is_new = not (folder / TRACKERS / "trackio.id").exists()
        name = name or f"{folder.resolve().name}-{tracker_run_id(folder, 'trackio')}"
        resume = "never" if is_new else "allow"
        self.project = project
        with redirect_stdout(sys.stderr):  # stdout is for --json
            self.run: Any = trackio.init(
                project=project, name=name, space_id=space_id, config=recipe.as_dict(), resume=resume
            )

    @property
    def location(self) -> str:
        """The command that shows the project."""
        return f"trackio show --project {self.project}"

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers."""
        with redirect_stdout(sys.stderr):
            self.run.log(dict(values), step=step)

    def log_image(self, step: int, name: str, png: bytes) -> None:
        """Log a picture."""
        import trackio
        from PIL import Image

        with redirect_stdout(sys.stderr):
            self.run.log({name: trackio.Image(Image.open(io.BytesIO(png)))}, step=step)

    def close(self) -> None:
        """Finish the run; everything that was logged is stored."""
        import trackio

        with redirect_stdout(sys.stderr):
            trackio.finish()  # run.finish() would be repeated, with a line on stdout, when the process ends
