"""Where a command writes its results."""

from __future__ import annotations

import shutil
from pathlib import Path

from sdekit.errors import InputError, SdekitError

KNOWN = (
    *("samples.npy", "sample.json", "grid.png", "scatter.png", "images"),
    *("restore.json", "edit.json", "measurement.npy", "measurement.png", "before-after.png"),
    *("mean.npy", "mean.png", "std.npy", "std.png"),
)


def check_out(out: Path, *, overwrite: bool) -> None:
    """Refuse a place that holds something, unless it is an earlier result to be replaced."""
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise InputError(f"--out {out}: {place} is a file, choose a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    others = sorted(p.name for p in out.iterdir() if p.name not in KNOWN)
    if others:
        raise InputError(f"--out {out} holds other files ({others[0]}, ...): choose another folder")
    if not overwrite:
        raise InputError(f"--out {out} already holds samples: choose another folder, or replace them with --overwrite")


def clear(out: Path) -> None:
    """An empty folder; call `check_out` first."""
    try:
        if out.is_dir():
            for name in KNOWN:
                path = out / name
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SdekitError(f"cannot write into {out}: {error.strerror or error}") from error
