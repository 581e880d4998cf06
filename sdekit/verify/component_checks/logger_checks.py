"""Checks of loggers: they accept numbers and pictures, continue a training, and leave the run folder as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sdekit.errors import InputError
from sdekit.plotting import png
from sdekit.registry import parameters
from sdekit.runs import TRACKERS, Recipe, RunFolder, save_json
from sdekit.training import Logger, plan
from sdekit.verify.common.check_results import Check, Finding, same, skip

BuildLogger = Callable[[Path, Recipe], Logger]
ROWS: tuple[tuple[int, Mapping[str, float]], ...] = (
    (5, {"seconds": 0.5, "loss": 0.9, "learning_rate": 2e-3}),
    (5, {"seconds": 0.5, "held_out_loss": 0.8, "held_out_loss_by_noise/0.05": 1.0}),
    (10, {"seconds": 1.0, "loss": float("nan"), "learning_rate": 0.0, "energy": 1}),
)
"""Rows of a training: several rows of one step, a table, a whole number, and a loss that is not a number."""


def checks(build: BuildLogger, *, quick: bool = False) -> list[Check]:
    """Return all checks of one logger, on a run folder without weights.

    The checks are skipped if the logger's package is not installed.

    Arguments:
        build: Function that returns the logger for a run folder and a recipe, usually the class. Its attribute `trial`
            may contain options for the checks, such as those of an offline mode.
        quick: Has no effect, because all checks are fast.
    Returns:
        The checks.
    """
    return [
        Check("logger", "target(run_folder, recipe) is a Logger with a location", partial(_tried, is_logger, build)),
        Check("numbers", "log(step, values) accepts all rows of a training", partial(_tried, numbers, build)),
        Check("images", "log_image(step, name, png) accepts a picture", partial(_tried, images, build)),
        Check("resume", "a second logger continues in the same run folder", partial(_tried, resume, build)),
        Check("folder", "only files in RUN/trackers are written", partial(_tried, folder, build)),
        Check("random", "the global random generators are unchanged", partial(_tried, random, build)),
    ]


def _tried(measure: Callable[[BuildLogger, Path], Finding], build: BuildLogger) -> Finding:
    """Measure on a new run folder; skip the check if the logger cannot be used here."""
    function = getattr(build, "func", build)  # the target of a partial function with options
    defaults = {name: parameter.default for name, parameter in parameters(function).items()}
    options: dict[str, Any] = {**defaults, **getattr(function, "trial", {}), **getattr(build, "keywords", {})}
    check = getattr(function, "check", None)
    if check is not None:
        try:
            check(**options)
        except InputError as error:
            return skip(str(error))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        path = Path(place) / "run"
        path.mkdir()
        save_json(RunFolder(path).config, _recipe().as_dict())
        return measure(partial(function, **options), path)


def _recipe() -> Recipe:
    options = {"data": {"n": 20}, "network": {"width": 8, "depth": 1}, "train": {"steps": 10}}
    return plan("moons", network="mlp", options=options)[0].identified()


@contextmanager
def _session(build: BuildLogger, path: Path) -> Iterator[Logger]:
    logger = build(path, _recipe())
    try:
        yield logger
    finally:
        logger.close()


def is_logger(build: BuildLogger, path: Path) -> Finding:
    """Check that the target returns a Logger, whose location is text."""
    with _session(build, path) as logger:
        kind = "a Logger" if issubclass(type(logger), Logger) else type(logger).__name__
        measured = f"{kind}, location of type {type(logger.location).__name__}"
    cause = "derive the class from sdekit.training.Logger; its location is an address or a command, as text"
    return same(measured, "a Logger, location of type str", cause)


def numbers(build: BuildLogger, path: Path) -> Finding:
    """Check that the logger accepts several rows of one step, tables, and numbers that are not finite."""
    with _session(build, path) as logger:
        for step, values in ROWS:
            logger.log(step, values)
    return Finding(True, f"{len(ROWS)} rows", "no exception")


def images(build: BuildLogger, path: Path) -> Finding:
    """Check that the logger accepts a picture."""
    from PIL import Image

    pixels = torch.arange(48, dtype=torch.uint8).reshape(4, 4, 3).numpy()
    with _session(build, path) as logger:
        logger.log_image(5, "preview", png(Image.fromarray(pixels)))
    return Finding(True, "1 picture", "no exception")


def resume(build: BuildLogger, path: Path) -> Finding:
    """Check that a second session continues, and the files of the first session stay."""
    with _session(build, path) as logger:
        logger.log(*ROWS[0])
    before = {file: file.read_bytes() for file in _files(path)}
    with _session(build, path) as logger:
        logger.log(*ROWS[2])
    lost = [file for file, content in before.items() if not file.exists() or len(file.read_bytes()) < len(content)]
    cause = "open the files in run_folder / 'trackers' for appending, or write a new file for each session"
    return same(f"{len(lost)} files removed", "0 files removed", cause)


def folder(build: BuildLogger, path: Path) -> Finding:
    """Check that the logger writes no file of the run folder outside of its folder `trackers`."""
    before = {file: file.read_bytes() for file in _files(path)}
    with _session(build, path) as logger:
        for step, values in ROWS:
            logger.log(step, values)
    own = path / TRACKERS
    after = {file: file.read_bytes() for file in _files(path) if own not in file.parents}
    changed = sorted(str(file.relative_to(path)) for file in before.keys() ^ after.keys())
    changed += sorted(str(file.relative_to(path)) for file in before if before[file] != after.get(file, before[file]))
    cause = "store files of the tracker in run_folder / 'trackers'"
    return same(", ".join(changed) or "no file", "no file", cause)


def random(build: BuildLogger, path: Path) -> Finding:
    """Check that the logger does not draw from the global random generators, or seed them."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with _session(build, path) as logger:
        logger.log(*ROWS[0])
    changed = not torch.equal(before, torch.get_rng_state())
    return same("changed" if changed else "unchanged", "unchanged", "use a generator of the logger's own")


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file() and not file.is_symlink()]
