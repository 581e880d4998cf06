"""Weights & Biases."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal

from sdekit.errors import InputError
from sdekit.runs import TRACKERS, Recipe
from sdekit.training import Logger, tracker_run_id


class WandB(Logger):
    """Weights & Biases, online or offline: `pip install 'sdekit[wandb]'`.

    Arguments:
        run_folder: Run folder. Files of wandb are in trackers/wandb.
        recipe: Recipe of the run, which becomes the configuration of the run of wandb.
        project: Project of the run.
        entity: User or team that owns the project; None for the default of the account.
        name: Name of the run; None for the name of the run folder.
        mode: "online"; "offline" for files that `wandb sync` uploads later; "disabled"; None for the value of
            WANDB_MODE.
    """

    requires = {"wandb": "sdekit[wandb]"}
    trial = {"mode": "disabled"}

    def __init__(
        self,
        run_folder: Path,
        recipe: Recipe,
        *,
        project: str = "sdekit",
        entity: str | None = None,
        name: str | None = None,
        mode: Literal["online", "offline", "disabled"] | None = None,
    ) -> None:
        import wandb

        folder = Path(run_folder)
        (folder / TRACKERS).mkdir(exist_ok=True)
        try:
            with redirect_stdout(sys.stderr):  # stdout is for --json
                self.run: Any = wandb.init(
                    project=project,
                    entity=entity,
                    name=name or folder.resolve().name,
                    id=tracker_run_id(folder, "wandb"),
                    resume="allow",
                    dir=str(folder / TRACKERS),
                    config=recipe.as_dict(),
                    mode=mode,
                    settings={"console": "off"},  # otherwise wandb replaces stdout and stderr
                )
        except Exception as error:
            if type(error).__name__ == "UsageError":  # no API key
                remedy = "run `wandb login`, or add mode=offline"
                raise InputError(f"logger 'wandb' cannot start a run ({error}): {remedy}") from error
            raise

    @property
    def location(self) -> str:
        """The address of the run, or the command that uploads an offline run."""
        folder = getattr(getattr(self.run, "settings", None), "sync_dir", "")
        return self.run.url or (f"wandb sync {folder}" if folder else "")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log numbers."""
        self.run.log(dict(values), step=step)

    def log_image(self, step: int, name: str, png: bytes) -> None:
        """Log a picture."""
        import wandb
        from PIL import Image

        self.run.log({name: wandb.Image(Image.open(io.BytesIO(png)))}, step=step)

    def close(self) -> None:
        """Finish the run; everything that was logged is uploaded, or stored for `wandb sync`."""
        self.run.finish()
