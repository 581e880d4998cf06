"""Checksums of the files of an export, which are recorded in export.json and checked before a file is opened."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from sdekit.errors import InputError
from sdekit.runs import EXPORT, EXPORTED_NETWORKS

from .model_card import CARD


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder and its sub-folders, by path relative to the folder.

    Arguments:
        folder: The folder.
    Returns:
        Hexadecimal digits by path, with "/" between the names.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): _sha256(file) for file in files}


def _sha256(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check_files(path: Path, recorded: Mapping[str, str] | None) -> str:
    """Check the files of an export against the recorded checksums, before any of them is opened.

    The model card may be edited, and other files may lie beside the export; both are reported.

    Arguments:
        path: Folder of the export.
        recorded: SHA-256 of each file by path, or None for an export of version 0.2 or earlier.
    Returns:
        Result of the check, for `sdekit info`.
    Raises:
        InputError: If a file is missing or altered, or a file of a network is not recorded.
    """
    if recorded is None:
        return "not recorded, because an earlier version of sdekit wrote the export: the files were not checked"
    again, edited = "Restore it from a copy, or export the model again", ""
    for name, expected in recorded.items():
        file, parts = path / name, PurePosixPath(name).parts
        if not parts or ".." in parts or "\\" in name or name in (EXPORT, ".") or PurePosixPath(name).is_absolute():
            raise InputError(f"{path / EXPORT} does not describe an export (files contains the name {name[:60]!r})")
        if name == CARD and not file.is_file():
            edited = f"; {CARD} was removed"
        elif not file.is_file():
            raise InputError(f"{file} is missing: export the model again")
        elif (actual := _sha256(file)) != expected and name != CARD:
            raise InputError(f"{file} was altered: its SHA-256 is {actual[:16]}, recorded is {expected[:16]}. {again}")
        elif actual != expected:
            edited = f"; {CARD} was edited"
    known = {name.partition("/")[0] for name in recorded} | {EXPORT}
    others = sorted(file.name for file in path.iterdir() if file.name not in known)
    if networks := [name for name in others if name.partition(".")[0] in EXPORTED_NETWORKS]:
        raise InputError(f"{path / networks[0]} is not part of this export, which does not record it: remove it")
    unrecorded = f"; not part of the export: {', '.join(others[:5])}" if others else ""
    return f"all {len(recorded)} files are unaltered{edited}{unrecorded}"
