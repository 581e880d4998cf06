"""Folders of `sdekit export`. They are written completely or not at all, and replace only earlier exports."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdekit.errors import InputError, SdekitError

from .layout import EXPORT, EXPORTED_NETWORKS


def check_export_folder(out: Path, *, overwrite: bool) -> None:
    """Check that an export can be written to a folder without loss of other files.

    Arguments:
        out: Folder, which need not exist.
        overwrite: Whether an earlier export may be replaced.
    Raises:
        InputError: If the folder contains other files, or an earlier export without `overwrite`.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose another --out")
    if out.is_dir() and any(out.iterdir()):
        names = {path.name for path in out.iterdir()}
        if EXPORT not in names:
            raise InputError(f"{out} is not empty and contains no export: choose another --out")
        if not overwrite:
            raise InputError(f"{out} already contains an export: replace it with --overwrite, or choose another --out")
        foreign = sorted(n for n in names if n != EXPORT and n.partition(".")[0] not in EXPORTED_NETWORKS)
        if foreign:
            raise InputError(f"{out} also contains {foreign[0]!r}, not part of an export: choose another --out")


@contextmanager
def staged_export(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """Context manager that gives a temporary folder, and at the end renames it to `out`.

    Arguments:
        out: Folder of the export.
        overwrite: Replace an earlier export.
    Yields:
        The temporary folder, which is removed if anything fails.
    Raises:
        InputError: If `out` contains files that must not be replaced.
        SdekitError: If the folder cannot be written.
    """
    check_export_folder(out, overwrite=overwrite)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise SdekitError(f"cannot write into {out.parent}: {error.strerror or error}") from error
    try:
        yield stage
        stage.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        stage.rename(out)
    except OSError as error:
        raise SdekitError(f"could not write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
