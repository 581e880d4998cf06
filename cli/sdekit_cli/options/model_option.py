"""Open the model RUN of a command, and print the notes and warnings of its loader."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sdekit.errors import InputError
from sdekit_cli.terminal.console import note

if TYPE_CHECKING:
    from sdekit.models import OpenedModel


def open_run(
    spec: str, *, device: str = "cpu", trust: bool = False, size: str | None = None, quiet: bool = False
) -> OpenedModel:
    """Open the model that a command names.

    Arguments:
        spec: Run folder, export, or LOADER:PATH,option=value.
        device: Device of the weights.
        trust: Whether formats that run code may be opened.
        size: Size of the images, for models of any size.
        quiet: Whether to print only warnings.
    Returns:
        The model.
    Raises:
        InputError: If it cannot be opened, or has one size only.
    """
    from sdekit.models import open_model

    with model_notes(quiet=quiet):
        try:
            return open_model(spec, device=device, trust=trust, options=None if size is None else {"size": size})
        except InputError as error:
            if size is not None and "named 'size'" in str(error):
                raise InputError(f"--size {size}: {spec} makes samples of one size only") from None
            raise


@contextmanager
def model_notes(*, quiet: bool) -> Iterator[None]:
    """Context manager that prints the log messages of sdekit, and its warnings about prompts, as notes.

    Arguments:
        quiet: Whether to print only warnings.
    """
    from sdekit.models import PromptWarning

    logger, handler, original = logging.getLogger("sdekit"), _Notes(), warnings.showwarning

    def show(message: Any, category: type[Warning], *arguments: Any, **keywords: Any) -> None:
        if issubclass(category, PromptWarning):
            note("[yellow]warning:[/] {}", message)
        else:
            original(message, category, *arguments, **keywords)

    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", PromptWarning)
            warnings.showwarning = show
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Notes(logging.Handler):
    """Handler that prints a message as a note."""

    def emit(self, record: logging.LogRecord) -> None:
        note("{}", record.getMessage())
