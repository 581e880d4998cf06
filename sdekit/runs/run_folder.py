"""Prepare a folder for training: an empty folder, a run to be replaced, or a run to be resumed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sdekit.data import Dataset
from sdekit.errors import InputError, SdekitError

from .data_fingerprint import fingerprint, is_same_data
from .files import check_recipe, load_json, load_tensors, step_of
from .layout import (
    CHECKPOINT,
    CONFIG,
    EVALUATION,
    LOCK,
    METRICS,
    MODEL,
    PREVIEWS,
    REPORT,
    SNAPSHOTS,
    TRACKERS,
    TUNED,
    RunFolder,
)
from .lock import FolderLock
from .recipe import Recipe
from .run import load_checkpoint, read_config, read_recipe
from .staging import names_in, recover, staged
from .training_options import REMOVED_OPTIONS

SUBFOLDERS = (str(Path(CHECKPOINT).parent), PREVIEWS, SNAPSHOTS, TUNED, EVALUATION, TRACKERS)


def check_run_folder(out: Path, *, overwrite: bool) -> None:
    """Check that a run can be written to a folder without loss of other files.

    A run that was killed before its first checkpoint, so that its lock file remains, may always be replaced.

    Arguments:
        out: Folder, which need not exist.
        overwrite: Whether a run in the folder may be replaced.
    Raises:
        InputError: If the folder contains files that are not a run, or a run without `overwrite`.
    """
    recover_run(out)
    try:
        for place in (out, *out.parents):
            if place.exists() and not place.is_dir():
                raise InputError(f"{place} is a file: choose another --out")
        names = names_in(out)
    except OSError as error:
        raise InputError(f"--out {out} cannot be read ({error.strerror or error}): choose another folder") from error
    if all(name in (LOCK, f"{CONFIG}.partial") for name in names):  # version 0.2 wrote the latter before config.json
        return
    if CONFIG not in names:
        raise InputError(f"{out} is not empty and contains no run: choose another --out")
    try:
        read_config(out)
    except InputError as error:  # other programs write files of these names too
        raise InputError(
            f"{out} is not empty, and its {CONFIG} is not that of a run (or is damaged, or of a newer sdekit): "
            "nothing was changed; choose another --out"
        ) from error
    if not overwrite and (is_begun(out) or LOCK not in names):
        raise InputError(f"{out} already contains a run: go on with --resume, replace it with --overwrite")


@contextmanager
def staged_run(out: Path) -> Iterator[Path]:
    """Context manager that gives an empty folder, whose files at the end replace all files of a run, see `staged`.

    Arguments:
        out: Run folder, which is created. Files that do not belong to a run are not touched.
    Yields:
        The empty folder.
    Raises:
        SdekitError: If the files cannot be written or moved.
    """
    files = (CONFIG, f"{CONFIG}.partial", MODEL, METRICS, REPORT, *SUBFOLDERS)
    with staged(out, lambda: files) as new:
        yield new


def remove_new_run(out: Path) -> None:
    """Remove a run that has no weights yet, and its folder if it contains nothing else.

    Arguments:
        out: Run folder.
    """
    RunFolder(out).config.unlink(missing_ok=True)
    shutil.rmtree(out / TRACKERS, ignore_errors=True)
    if set(names_in(out)) <= {LOCK}:
        shutil.rmtree(out, ignore_errors=True)


def recover_run(out: Path) -> None:
    """Repair a run folder and its sub-folders after a kill, see `recover`.

    Arguments:
        out: Run folder, which need not exist.
    """
    for folder in (out, *(out / name for name in SUBFOLDERS)):
        recover(folder)


def lock_folder(out: Path, *, resume: bool, overwrite: bool) -> FolderLock:
    """Lock a folder for one trainer.

    Arguments:
        out: The folder, which is created unless it is resumed.
        resume: The folder must contain a run.
        overwrite: The folder may contain a run, which will be replaced.
    Returns:
        The lock.
    Raises:
        InputError: If another process has the lock, or the folder does not allow what was requested.
        SdekitError: If the folder cannot be created.
    """
    if resume:
        read_config(out)
    else:
        check_run_folder(out, overwrite=overwrite)
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SdekitError(f"cannot write into {out}: {error.strerror or error}") from error
    return FolderLock(out)


def is_begun(out: Path) -> bool:
    """Return whether a run has saved weights or a checkpoint.

    Arguments:
        out: Run folder.
    Returns:
        True if training again from step 0 would lose them.
    """
    return RunFolder(out).checkpoint.exists() or RunFolder(out).model.exists()


def model_step(out: Path, recipe: Recipe | None = None) -> int | None:
    """Return the training step of the weights in a run folder.

    Arguments:
        out: Run folder.
        recipe: Recipe that the weights must belong to, if given.
    Returns:
        The step, or None if there are no undamaged weights of this recipe.
    """
    file = RunFolder(out).model
    try:
        fields = load_tensors(file)[1]
        if recipe is not None:
            check_recipe(file, fields, recipe)
        return step_of(file, fields)
    except InputError:
        return None


def checkpoint_status(out: Path) -> str:
    """Describe the checkpoint in a run folder, for the message of a training that stops early.

    Arguments:
        out: Run folder.
    Returns:
        Text that continues a sentence.
    """
    if not RunFolder(out).checkpoint.exists():
        return "no checkpoint had been saved yet"
    step = load_checkpoint(out)[1]["step"]
    return f"the last good checkpoint, of step {step}, is kept (--resume goes on from it)"


def check_resumed(out: Path, recipe: Recipe, data: Dataset) -> Recipe:
    """Check that a run can be resumed with a recipe and data.

    Arguments:
        out: Run folder.
        recipe: Recipe to resume with; only the length of training may differ from the run.
        data: The data set.
    Returns:
        The recipe of the run.
    Raises:
        InputError: If the recipe or the data differ from those of the run, or the run used an option that no longer
            exists.
    """
    recorded = read_recipe(out, objective=None)
    train = load_json(out / CONFIG)["train"]
    for name in REMOVED_OPTIONS:
        if train.get(name):
            raise InputError(
                f"{out} was trained with {name}, which this version no longer has: sample from it, or train a new run"
            )
    recorded.check_same(recipe)
    now = (tuple(data.shape), len(data), data.classes, data.units)
    if now != (recorded.shape, recorded.items, recorded.classes, recorded.units):
        raise InputError(
            f"data {recipe.data.name!r} are not what the run was trained on: {len(data)} items of shape "
            f"{tuple(data.shape)} now, {recorded.items} of {recorded.shape} then, or in other units"
        )
    if not is_same_data(recorded.fingerprint, fingerprint(data)):
        raise InputError(
            f"data {recipe.data.name!r} are not what the run was trained on: their items have other values. Put the "
            "data of the run back, or train into another --out"
        )
    return recorded
