"""The place of a run: empty, or a run that may be replaced, or that is gone on with."""

import shutil
from pathlib import Path

from sdekit.data import Dataset
from sdekit.errors import InputError, SdekitError

from .files import check_recipe, load_tensors, step_of
from .layout import CHECKPOINT, CONFIG, METRICS, MODEL, PREVIEWS, SNAPSHOTS, TUNED
from .lock import LOCK, FolderLock
from .recipe import Recipe
from .run import load_checkpoint, read_config, read_recipe


def prepare_folder(out: Path, *, overwrite: bool, check_only: bool = False) -> None:
    """An empty place for a run: refuses one that holds something, unless it is a run to be replaced."""
    for place in (out, *out.parents):
        if place.exists() and not place.is_dir():
            raise InputError(f"{place} is a file: choose another --out")
    if out.is_dir() and any(path.name != LOCK for path in out.iterdir()):
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
        for name in (PREVIEWS, SNAPSHOTS, TUNED):
            shutil.rmtree(out / name, ignore_errors=True)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SdekitError(f"cannot write into {out}: {error.strerror or error}") from error


def lock_folder(out: Path, *, resume: bool, overwrite: bool) -> FolderLock:
    """The folder for one trainer alone; InputError where another has it, or where it must not be replaced."""
    if resume:
        read_config(out)
    else:
        prepare_folder(out, overwrite=overwrite, check_only=True)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SdekitError(f"cannot write into {out}: {error.strerror or error}") from error
    return FolderLock(out)


def is_begun(out: Path) -> bool:
    """Whether the run has saved anything that it can go on from, or that would be lost if it were begun again."""
    return (out / CHECKPOINT).exists() or (out / MODEL).exists()


def model_step(out: Path, recipe: Recipe | None = None) -> int | None:
    """The step of the model in a run folder; None where there is none that is whole, and of the recipe."""
    try:
        fields = load_tensors(out / MODEL)[1]
        if recipe is not None:
            check_recipe(out / MODEL, fields, recipe.digest)
        return step_of(out / MODEL, fields)
    except InputError:
        return None


def checkpoint_status(out: Path) -> str:
    """What is left of a training that stops now."""
    if not (out / CHECKPOINT).exists():
        return "no checkpoint had been saved yet"
    step = load_checkpoint(out)[1]["step"]
    return f"the last good checkpoint, of step {step}, is kept (--resume goes on from it)"


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


def when_written(path: str | Path) -> tuple[int, ...]:
    """When the config and the weights in a folder were last written: equal as long as what it holds is the same."""
    files = [file for file in sorted(Path(path).glob("*")) if file.suffix in (".json", ".safetensors")]
    return tuple(file.stat().st_mtime_ns for file in files)
