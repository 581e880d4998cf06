"""The place of a run: empty, or a run that may be replaced."""

import shutil
from pathlib import Path

from sdekit.errors import InputError

from .run import CHECKPOINT, CONFIG, METRICS, MODEL, PREVIEWS


def prepare_folder(out: Path, *, overwrite: bool, check_only: bool = False) -> None:
    """An empty place for a run: refuses one that holds something, unless it is a run to be replaced."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file: choose another --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / CONFIG).exists():
            raise InputError(f"{out} is not empty and holds no run: choose another --out")
        if not overwrite:
            raise InputError(f"{out} already holds a run: go on with --resume, replace it with --overwrite")
    if check_only:
        return
    for name in (CHECKPOINT, MODEL, METRICS, CONFIG):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / PREVIEWS, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
