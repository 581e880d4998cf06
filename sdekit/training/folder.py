"""The place of a run: empty, or a run that may be replaced."""

import shutil
from pathlib import Path

from sdekit.errors import InputError, SdekitError

from .run import CHECKPOINT, CONFIG, KEPT, METRICS, MODEL, PREVIEWS


def prepare_folder(out: Path, *, overwrite: bool, check_only: bool = False) -> None:
    """An empty place for a run: refuses one that holds something, unless it is a run to be replaced."""
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise InputError(f"{place} is a file: choose another --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / CONFIG).exists():
            raise InputError(f"{out} is not empty and holds no run: choose another --out")
        if not overwrite:
            raise InputError(f"{out} already holds a run: go on with --resume, replace it with --overwrite")
    if check_only:
        return
    try:
        for name in (CHECKPOINT, MODEL, METRICS, CONFIG):
            (out / name).unlink(missing_ok=True)
        for name in (PREVIEWS, KEPT):
            shutil.rmtree(out / name, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SdekitError(f"cannot write into {out}: {error.strerror or error}") from error
