"""A training in one call: `run = train(data, "run", steps=2000)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import torch

from sdekit.arguments import check_function, check_path
from sdekit.data import Dataset
from sdekit.distributed import world
from sdekit.errors import InputError
from sdekit.runs import Recipe, Run, check_run_folder, load_run
from sdekit.sampling.watching import Progress, progress_line

from .monitoring.trackers import LoggerChoice
from .planning import plan, resumed_plan
from .trainer import Trainer

if TYPE_CHECKING:
    from .engines.engine import Engine


DEFAULT_STEPS = 5000
"""Number of steps of `train` without `steps` and `time_limit`."""


@overload
def train(
    data: Recipe, out: Dataset, folder: str | Path, *, device: torch.device | str = ..., resume: bool = ...,
    overwrite: bool = ..., engine: Engine | None = ..., loggers: Sequence[LoggerChoice] | None = ...,
    progress: bool | Progress = ...,
) -> Trainer: ...  # fmt: skip
@overload
def train(
    data: Any = ..., out: str | Path | None = ..., *, sde: str = ..., network: Any = ..., prediction: str = ...,
    condition: str = ..., steps: int | None = ..., time_limit: float | None = ..., batch_size: int | None = ...,
    learning_rate: float | None = ..., seed: int | None = ..., options: Mapping[str, Mapping[str, Any]] | None = ...,
    device: torch.device | str = ..., resume: bool = ..., overwrite: bool = ..., engine: Engine | None = ...,
    loggers: Sequence[LoggerChoice] | None = ..., progress: bool | Progress = ...,
) -> Run: ...  # fmt: skip
def train(
    data: Any = None,
    out: Any = None,
    folder: str | Path | None = None,
    *,
    sde: str = "vp",
    network: Any = None,
    prediction: str = "edm",
    condition: str = "none",
    steps: int | None = None,
    time_limit: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    device: torch.device | str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    engine: Engine | None = None,
    loggers: Sequence[LoggerChoice] | None = None,
    progress: bool | Progress = False,
) -> Trainer | Run:
    """Train a model to the end: `run = train(data, "run", steps=2000)`.

    The form `train(recipe, data, folder)` takes the results of `plan`, and returns the trainer.

    Arguments:
        data: SPEC, array, tensor, pair (x, y), list of items, data set of torch, sdekit or Hugging Face, or DataFrame,
            see `plan`. None for digits or, with `resume`, for the data of the run.
        out: Run folder.
        folder: Run folder, if the first two arguments are the results of `plan`.
        sde: Registered name of the process.
        network: Registered name of the network, or a network of your own, see `plan`. A run with a network of your own
            needs it again to be resumed.
        prediction: Quantity that the network predicts, a key of `PREDICTIONS`.
        condition: Condition of the network, see `plan`.
        steps: Number of optimizer steps; 5000 if there is neither this number nor a time limit.
        time_limit: Seconds of training.
        batch_size: Number of items per step; None for a choice by the size of the items.
        learning_rate: Peak learning rate; None for a choice by the size of the items.
        seed: Seed of everything random; None for 0.
        options: Further options by group, see `plan`.
        device: "cpu", "cuda", ...
        resume: Continue the run in the folder. It accepts only the data, the network, `steps`, `time_limit`, `device`,
            `loggers` and `progress`; all other options are those of the run.
        overwrite: Replace a run in the folder.
        engine: How the steps run, see `Trainer`.
        loggers: Trackers, see `Trainer`.
        progress: True shows a bar in a terminal and a line in a notebook; or a function `progress(done, total)` that
            receives the number of steps.
    Returns:
        The run, as `load_run` opens it, with the averaged weights of the step `run.step`, the last one unless the
        held-out loss rose; or the trainer, for the results of `plan`.
    Raises:
        InputError: If the run cannot be started. In this case nothing is written.
    """
    if not isinstance(progress, bool):
        check_function("train: progress", progress, "True, False or a function of (done, total)")
    names = dict(sde=sde, network=network, prediction=prediction, condition=condition)
    length = dict(steps=steps, time_limit=time_limit)
    chosen = dict(batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    given = {name: value for name, value in {**length, **chosen}.items() if value is not None}
    session: dict[str, Any] = dict(device=device, resume=resume, overwrite=overwrite, engine=engine, loggers=loggers)
    if isinstance(data, Recipe):
        if names != dict(sde="vp", network=None, prediction="edm", condition="none") or given or options:
            raise InputError("train: a recipe contains all options: pass them to sdekit.training.plan")
        if folder is None:
            raise InputError("train: expected train(recipe, data, folder) with the results of sdekit.training.plan")
        return _completed(Trainer(data, out, folder, **session), progress)
    if out is None or folder is not None:
        raise InputError("train: expected train(data, out='run'), with the run folder to write")
    check_path("train: out", out)
    if resume:
        recipe, dataset = resumed_plan(out, data, network=network, steps=steps, time_limit=time_limit)
        if (
            set(given) - set(length)
            or options
            or names != dict(sde="vp", network=network, prediction="edm", condition="none")
        ):
            raise InputError(
                "train: resume=True takes all options from the run: pass only data, network, steps, time_limit, "
                "device, loggers and progress"
            )
    else:
        if world().rank == 0:
            check_run_folder(Path(out), overwrite=overwrite)
        groups = {group: dict(values) for group, values in (options or {}).items()}
        groups["train"] = groups.get("train", {}) | given
        if not {"steps", "time_limit"} & set(groups["train"]):
            groups["train"]["steps"] = DEFAULT_STEPS
        recipe, dataset = plan("digits" if data is None else data, **names, options=groups)
    _completed(
        Trainer(recipe, dataset, out, **session), progress
    ).engine.wait()  # until the main process has saved the run
    return load_run(out, device=device, network=recipe.own_network)


def _completed(trainer: Trainer, progress: bool | Progress) -> Trainer:
    """Run a trainer to the end, and report its steps."""
    if progress is True and world().rank == 0:
        name = trainer.recipe.network.name.split(":")[-1]
        show: AbstractContextManager[Progress | bool] = progress_line(f"training {name}", "steps")
    else:
        show = nullcontext(progress)
    with show as report:
        for step in trainer.run():
            if callable(report):
                report(step.step, max(step.step, round(step.step / step.progress)))  # estimated for a time limit
    return trainer
