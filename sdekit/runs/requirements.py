"""What a run leans on that lies outside of its folder: the plugin files, and the data, that it was trained with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from sdekit.errors import InputError
from sdekit.registry import component_names, plugin_files

FILES = ("images", "mnist", "array", "table")
"""Data sets whose path is that of a file or folder; a plugin's may be anything."""


def check_files(path: Path, needed: Mapping[str, str], recorded: Sequence[str]) -> None:
    """InputError naming the plugin files of the run's record, where something that it needs is not there."""
    files = [file for file in recorded if file not in plugin_files()]
    for kind, name in needed.items():
        name = name.partition(":")[0]
        if files and name not in component_names(kind):
            gone = ", ".join(file for file in files if not Path(file).is_file())
            raise InputError(
                f"{path} was trained with a plugin file, and its {kind} {name!r} is not there without it: add "
                + " ".join(f"--plugin {file}" for file in files)
                + (f" (not found: {gone}; say where it is now)" if gone else "")
            )


def check_data(path: Path, spec: str) -> None:
    """InputError that says what to do, where the files that the run was trained on are not there."""
    name, _, place = spec.partition(":")
    if name not in FILES or not place or os.path.exists(os.path.expanduser(place)):
        return
    if os.path.isabs(os.path.expanduser(place)):
        raise InputError(
            f"{path} was trained on {spec}, which is not there any more: put the data back, or a link to where they "
            "are now"
        )
    raise InputError(
        f"{path} was trained on {spec}, a path from the folder that the run was begun in, and from here there is no "
        f"such file or folder ({os.path.abspath(place)}): give the command in that folder, or put a link to the data "
        "here"
    )
