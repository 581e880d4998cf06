"""A logger: it shows the numbers and the previews of a training in a tracker, such as TensorBoard."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from sdekit.errors import InputError
from sdekit.runs import TRACKERS, write_atomically


class Logger(ABC):
    """Connection of one training to a tracker. The hook `sdekit_loggers` registers its subclasses.

    The constructor is called with `(run_folder, recipe, **options)` when the run folder exists and before the first
    step. It starts a tracker's run. If this logger has files in `run_folder / "trackers"` from an earlier session of
    the training, it continues the tracker's run of this session instead. sdekit does not send numbers again that the
    earlier session has sent.

    Only the main process of a training has loggers. An InputError or ImportError of the constructor ends the command
    before the training. Any other exception of a logger is reported once, and the training continues without the
    logger.
    """

    requires: ClassVar[Mapping[str, str]] = {}
    """Modules that the logger imports, and the names by which pip installs them: {"wandb": "sdekit[wandb]"}."""

    @classmethod
    def check(cls, **options: Any) -> None:
        """Check that the logger can be used, before anything is written. By default the required modules are imported.

        Arguments:
            options: All options of the logger.
        Raises:
            InputError: If a module cannot be imported, or an option is not valid. The message contains the remedy.
        """
        for module, package in cls.requires.items():
            try:
                import_module(module)
            except ImportError as error:
                raise InputError(f"logger {cls.__name__} needs {module} ({error}): pip install '{package}'") from error

    @property
    def location(self) -> str:
        """Where to see the tracker's run: an address, or a command that shows it. The default is empty."""
        return ""

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the numbers of a step.

        Arguments:
            step: Training step. It never decreases; several calls for one step have different names.
            values: Numbers by name, such as "loss", "held_out_loss" or "held_out_loss_by_noise/0.5".
        """

    def log_image(self, step: int, name: str, png: bytes) -> None:  # noqa: B027 (optional)
        """Log a picture; by default nothing is done.

        Arguments:
            step: Training step.
            name: Name of the picture, such as "preview".
            png: Contents of a PNG file.
        """

    def close(self) -> None:  # noqa: B027 (optional)
        """End the session. Everything that was logged must then be stored or sent. By default nothing is done."""


def tracker_run_id(run_folder: Path, tracker: str) -> str:
    """Return the identifier of a tracker's run, which the run folder stores for the next sessions.

    Arguments:
        run_folder: Run folder.
        tracker: Name of the tracker.
    Returns:
        Eight hexadecimal digits, random in the first session of the training.
    """
    file = Path(run_folder) / TRACKERS / f"{tracker}.id"
    if file.exists():
        return file.read_text("ascii").strip()
    identifier = secrets.token_hex(4)
    write_atomically(file, f"{identifier}\n".encode())
    return identifier
