"""Folders of `sdekit export`. They are written completely or not at all, and replace only earlier exports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdekit.errors import InputError

from .layout import EXPORT, EXPORT_FILES, EXPORTED_NETWORKS
from .staging import names_in, recover, staged


def check_export_folder(out: Path, *, overwrite: bool) -> None:
    """Check that an export can be written to a folder without loss of other files.

    Arguments:
        out: Folder, which need not exist.
        overwrite: Whether an earlier export may be replaced.
    Raises:
        InputError: If the folder contains other files, or an earlier export without `overwrite`.
    """
    recover(out)
    _check(out, overwrite=overwrite)


@contextmanager
def staged_export(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Context manager that gives an empty folder, and at the end moves its files to `out`, see `staged`.

    Arguments:
        out: Folder of the export, which is created.
        overwrite: Replace an earlier export.
    Yields:
        The empty folder.
    Raises:
        InputError: If `out` contains files that must not be replaced.
        SdekitError: If the files cannot be written or moved.
    """
    check_export_folder(out, overwrite=overwrite)
    with staged(out, lambda: _check(out, overwrite=overwrite)) as new:
        yield new


def _check(out: Path, *, overwrite: bool) -> list[str]:
    """Return the names in a folder. Raises InputError if a new export must not replace them."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose another --out")
    names = names_in(out)
    if not names:
        return names
    if EXPORT not in names:
        raise InputError(f"{out} is not empty and contains no export: choose another --out")
    if not overwrite:
        raise InputError(f"{out} already contains an export: replace it with --overwrite, or choose another --out")
    foreign = [name for name in names if name not in EXPORT_FILES and name.partition(".")[0] not in EXPORTED_NETWORKS]
    if foreign:
        raise InputError(f"{out} also contains {foreign[0]!r}, not part of an export: choose another --out")
    return names
