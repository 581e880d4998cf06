"""Import of optional packages, with the command that installs them."""

from __future__ import annotations

import logging
from importlib import import_module
from types import ModuleType

from sdekit.errors import InputError


def require_package(name: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional package.

    Arguments:
        name: Name of the package.
        extra: Extra of sdekit that installs it.
        purpose: What needs the package, for the message.
    Returns:
        The module.
    Raises:
        InputError: If the package is not installed or cannot be imported. The message contains the pip command.
    """
    try:
        module = import_module(name)
    except (ImportError, RuntimeError) as error:  # transformers raises RuntimeError if a part of it fails
        raise InputError(
            f"{purpose} needs the package {name} ({type(error).__name__}: {error}): pip install 'sdekit[{extra}]'"
        ) from error
    if name in ("diffusers", "transformers"):
        logging.getLogger(name).setLevel(logging.ERROR)
        import_module(f"{name}.utils.logging").disable_progress_bar()
    return module
