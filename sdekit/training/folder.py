"""The place of a run: empty, or a run that may be replaced, or that is gone on with."""

import shutil
from pathlib import Path

from sdekit.data.base import Dataset
from sdekit.errors import InputError, SdekitError

from .run import CHECKPOINT, CONFIG, KEPT, METRICS, MODEL, PREVIEWS, Recipe, read_config, read_recipe


def prepare_folder(out: Path, *, overwrite: bool, check_only: bool = False) -> None:
    """An empty place for a run: refuses one that holds something, unless it is a run to be replaced."""
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise InputError(f"{place} is a file: choose another --out")
    if out.is_dir() and any(out.iterdir()):
        if not (out / CONFIG).exists():
            raise InputError(f"{out} is not empty and holds no run: choose another --out")
        try:
            read_config(out)
        except InputError as error:  # other programs too write files of these names
            raise InputError(
                f"{out} is not empty, and its {CONFIG} is not that of a run (or is damaged, or of a newer sdekit): it "
                "is left as it is; choose another --out"
            ) from error
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


def check_resumed(out: Path, recipe: Recipe, data: Dataset) -> Recipe:
    """The recipe of the run in `out`; InputError unless it is the one asked for, but for its length, and its data."""
    (found := read_recipe(out)).check_same(recipe)
    now = (tuple(data.shape), len(data), data.classes, data.units)
    if now != (found.shape, found.items, found.classes, found.units):
        raise InputError(
            f"data {found.data.name!r} are not what the run was trained on: {len(data)} items of shape "
            f"{tuple(data.shape)} now, {found.items} of {found.shape} then, or in other units"
        )
    return found
