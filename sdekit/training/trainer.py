"""The training loop. Each step is a function of the weights and (seed, step), so that runs can be resumed exactly."""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sdekit.arguments import check_device, check_instance, check_path
from sdekit.data import Dataset, split, with_classes
from sdekit.errors import InputError, ProcessLost, SdekitError
from sdekit.registry import build
from sdekit.runs import (
    CONFIG,
    FolderLock,
    Recipe,
    RunFolder,
    check_recipe,
    check_resumed,
    checkpoint_status,
    is_begun,
    lock_folder,
    model_step,
    read_metrics,
    recover_run,
    save_json,
    staged_run,
    write_atomically,
)

from .batches import Batches
from .objective import Inputs, Objective
from .optimizer import learning_rate
from .state import State
from .step_seeds import seed_from, seeded

if TYPE_CHECKING:
    from .engines.engine import Engine


class PreviewWarning(UserWarning):
    """A preview could not be drawn; the training continues without it."""


@dataclass(frozen=True)
class Step:
    """Report of the training loop after a step.

    Arguments:
        step: Number of steps so far.
        loss: Mean loss of the batch.
        seconds: Time of training so far, earlier sessions included.
        progress: Completed part of the run, 0 to 1.
    """

    step: int
    loss: float
    seconds: float
    progress: float


class Trainer:
    """Trainer that trains the model of a recipe on a data set and writes a run folder; iterate over `run()`.

    The trainer locks the folder from its construction to the end of `run()`. Several processes (see
    `sdekit.distributed`) train together; then the first one writes the folder.

    Arguments:
        recipe: Recipe of the run.
        data: Data set that the recipe was made for.
        out: Run folder.
        device: "cpu", "cuda", ...
        resume: Continue from the last checkpoint in `out`. Its recipe must equal this one except for steps and
            time_limit.
        overwrite: Replace a run in `out`.
        engine: How the steps run; by default one process, or DDP if several processes were started.
    Raises:
        InputError: If the run cannot be started. In this case nothing is written.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        out: str | Path,
        *,
        device: torch.device | str = "cpu",
        resume: bool = False,
        overwrite: bool = False,
        engine: Engine | None = None,
    ) -> None:
        check_instance("train: recipe", recipe, Recipe, "a recipe, the first result of sdekit.training.plan")
        check_instance("train: data", data, Dataset, "a data set, the second result of sdekit.training.plan")
        self.recipe, self.options = recipe, recipe.train
        self.data = data = with_classes(data, recipe.classes, recipe.class_names)
        self.out, self.device = Path(check_path("train: out", out)), check_device("train", device)
        self.folder = RunFolder(self.out)
        self.engine = engine or default_engine(self.device, self.options.precision)
        self.is_main = self.engine.rank == 0
        self.rows = self.engine.rows(self.options.batch_size)
        self.indices, self.held_out = split(len(data), self.options.held_out)
        if recipe.untrained and (labels := data.labels_of(self.held_out)) is not None:
            self.held_out = self.held_out[~np.isin(labels.numpy(), recipe.untrained)]
        self.objective: Objective = build("objective", recipe.objective, recipe)
        self.model = self.objective.build().to(self.device).train()
        self.objective.start(self.model, data, self.indices)
        self.state = State(self.objective.saved(self.model), self.options)
        self.weights, self.optimizer, self.ema = self.state.weights, self.state.optimizer, self.state.ema
        order = (self.indices, self.options.batch_size, self.options.seed)
        self.batches = Batches(data, *order, rows=self.rows, ahead=self.device.type != "cpu")
        self.step, self.seconds, self._stop_requested, self._stopped = 0, 0.0, False, False
        self._losses_since: list[float] = []  # losses of the steps since the last row of metrics
        self._ahead: dict[int, Inputs] = {}
        self.prepares = self.device.type != "cpu"  # prepare the next step's inputs while the device computes
        self._previews_fail = False
        self._lock: FolderLock | None = None
        if self.is_main:
            self._lock = lock_folder(self.out, resume=resume, overwrite=overwrite)
        with self._lock.released_on_error() if self._lock else nullcontext():
            if self.is_main:
                self._open(resume)
            self.engine.wait()
            if resume and not self.is_main:
                self._load()
            self.engine.wait()
            self._losses = self.engine.prepare(_Losses(self.objective, self.model))

    def stop(self) -> None:
        """End `run()` after the current step and save the run. A stop in one process stops all processes."""
        self._stop_requested = True

    @property
    def progress(self) -> float:
        """Completed part of the run, 0 to 1."""
        return self.options.progress(self.step, self.seconds)

    @property
    def finished(self) -> bool:
        """Whether the run has made all its steps or, if it has no number of steps, used all its time."""
        return self.progress >= 1

    @property
    def interrupted(self) -> bool:
        """Whether `stop()` ended the run before it was complete."""
        return self._stopped and not self.finished

    # The loop

    def run(self) -> Iterator[Step]:
        """Train until the last step, the time limit or a call of `stop()`; yield after each step and save at the end.

        Nothing is saved if the loop ends before its first step.
        """
        if self._lock:
            self._lock.take()
        try:
            yield from self._run()
        except ProcessLost as error:
            raise ProcessLost(f"{error}: training stopped and {checkpoint_status(self.out)}") from error
        finally:
            if self._lock:
                self._lock.release()

    def _run(self) -> Iterator[Step]:
        options, first = self.options, self.step
        clock = _Clock(self.seconds)
        while not self._is_over(clock):
            loss = self._step()
            self._losses_since.append(loss)
            self.step += 1
            self.seconds = clock.seconds
            yield Step(self.step, loss, self.seconds, self.progress)
            if self._lock:
                self._lock.check()
            if self.step % options.log_every == 0:
                mean = sum(self._losses_since) / len(self._losses_since)
                self._log(loss=mean, learning_rate=learning_rate(options, self.step, self.progress))
                self._losses_since = []
            if options.keep_every and self.step % options.keep_every == 0:
                self._save_average(self.folder.snapshot(self.step))  # before the step can be resumed from
            if self.step % options.checkpoint_every == 0:
                self.save()
                self._log(**self.evaluate())
            if options.preview_every and clock.since_preview >= options.preview_every:
                clock.preview()
                self._preview()
        if self.step > first:
            self.save()
            if self.step % options.checkpoint_every:
                self._log(**self.evaluate())
            self._preview()

    def _is_over(self, clock: _Clock) -> bool:
        """Whether the run or its session ends before the next step. All processes use the clock of the first one."""
        limit = math.inf if self.options.steps is None else self.options.time_limit or math.inf  # of this session
        seconds, session = (clock.seconds, clock.session) if self.is_main else (0.0, 0.0)
        self.seconds, session, stop = self.engine.agree(seconds, session, self._stop_requested)
        self._stopped = bool(stop)
        return self._stopped or self.finished or session >= limit

    # One step

    def _step(self) -> float:
        """Make one optimizer step and return the mean loss of the batch.

        The weights do not change if the loss or its gradient is not finite. Both are read after all work of the step
        is under way and the inputs of the next step are prepared, so that a GPU seldom waits.
        """
        options, step = self.options, self.step
        inputs = self._ahead.pop(step, None) or self._inputs(step)
        dropout = seed_from(options.seed, 2, step, self.engine.rank)
        with seeded(dropout, self.device), self.engine.autocast():
            losses: Tensor = self._losses(*inputs)
        self.optimizer.zero_grad(set_to_none=True)
        self.engine.backward(losses, options.batch_size)
        norm = self.engine.clip_grad_norm(self.weights.values(), options.clip)
        if self.prepares:
            with suppress(SdekitError):  # a damaged file stops the step that needs it, not this one
                self._ahead = {step + 1: self._inputs(step + 1)}
        losses = self.engine.gather(losses.detach(), options.batch_size)
        self._check_finite(loss := losses.mean().item(), losses, norm)
        rate = learning_rate(options, step, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.step()
        self.ema.update(self.weights.values(), step + 1)
        return loss

    def _inputs(self, step: int) -> Inputs:
        with self._reading():
            batch = self.batches(step)
        return self.objective.inputs(batch, step, self.rows)

    def _check_finite(self, loss: float, losses: Tensor, norm: Tensor) -> None:
        """Raise SdekitError if the loss or the norm of the gradient is not finite."""
        step = self.step + 1
        if not math.isfinite(loss):
            worst = int((~losses.isfinite()).nonzero()[0]) if (~losses.isfinite()).any() else 0
            cause = f"the loss is {loss} at step {step}, {self.objective.describe(self.step, worst)}"
        elif not norm.isfinite():
            cause = f"the gradient is not finite at step {step}, where the loss is {loss:.4g}"
        else:
            return
        raise SdekitError(
            f"{cause.removesuffix(', ')}: training stopped and {checkpoint_status(self.out)}. Try a lower "
            "train.learning_rate, or precision fp32"
        )

    # Evaluation

    def evaluate(self) -> dict[str, Any]:
        """Evaluate the averaged weights on the held-out data, see `Objective.evaluate`."""
        with self._averaged(), self.engine.autocast(), self._reading():
            return self.objective.evaluate(self.model, self.data, self.held_out)

    def _preview(self) -> None:
        """Draw a preview. If this fails, as it may with half-trained weights, warn once and continue the training."""
        if not self.is_main:
            return
        try:
            with self._averaged():
                content = self.objective.preview(self.model)
        except SdekitError as error:
            if not self._previews_fail:
                warnings.warn(f"no preview at step {self.step}: {error}", PreviewWarning, stacklevel=4)
            self._previews_fail = True
            return
        if content is not None:
            self._write(self.folder.preview(self.step), content)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Context manager that gives the model the averaged weights, in evaluation mode."""
        self.model.eval()
        try:
            with self.state.averaged():
                yield
        finally:
            self.model.train()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Context manager that extends an error of the data set by the step of the checkpoint that is kept."""
        try:
            yield
        except SdekitError as error:
            raise SdekitError(
                f"{error}. Training stopped after step {self.step} and {checkpoint_status(self.out)}"
            ) from error

    # The run folder

    def save(self) -> None:
        """Save the checkpoint, then the model; each replaces the old file only when it is complete."""
        if self.is_main:
            fields = {"seconds": self.seconds, "losses": self._losses_since, "recipe": self.recipe.digest}
            self.state.save(self.folder.checkpoint, self.step, fields)
        self._save_average(self.folder.model)

    def _save_average(self, path: Path) -> None:
        if self.is_main:
            fields = {"step": self.step, "seconds": self.seconds, "recipe": self.recipe.digest}
            self.state.save_average(path, fields)

    def _open(self, resume: bool) -> None:
        """Begin a run in the folder, or load the run in it and bring all its files to the same step."""
        if not resume:
            with staged_run(self.out) as new:
                save_json(new / CONFIG, self.recipe.as_dict())
            return
        recover_run(self.out)
        previous = self._load()
        if self.options.steps is not None and self.options.steps < self.step:
            raise InputError(
                f"{self.out} has trained {self.step} steps already: ask for more than {self.options.steps}"
            )
        if previous != self.recipe:
            save_json(self.folder.config, self.recipe.as_dict())
        if self.step and model_step(self.out, previous) != self.step:  # the run ended between saving these two
            self._save_average(self.folder.model)
        rows = [row for row in read_metrics(self.out) if row["step"] <= self.step and self._belongs(row)]
        write_atomically(self.folder.metrics, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def _load(self) -> Recipe:
        """Load the last checkpoint, if there is one, and return the recipe of the folder."""
        previous = check_resumed(self.out, self.recipe, self.data)
        if is_begun(self.out):
            fields = self.state.load(self.folder.checkpoint)
            check_recipe(self.folder.checkpoint, fields, previous.digest)
            self.step, self.seconds, self._losses_since = fields["step"], fields["seconds"], fields["losses"]
        return previous

    def _belongs(self, row: dict[str, Any]) -> bool:
        """Whether an uninterrupted run, which is evaluated at checkpoints and at its end, has this row of metrics."""
        return "loss" in row or row["step"] % self.options.checkpoint_every == 0 or self.finished

    def _log(self, **values: Any) -> None:
        row = {"step": self.step, "seconds": round(self.seconds, 3), **values}
        if self.batches.skipped:
            row["skipped"] = self.batches.skipped
        self._write(self.folder.metrics, (json.dumps(row) + "\n").encode(), append=True)

    def _write(self, path: Path, content: bytes, append: bool = False) -> None:
        if not self.is_main:
            return
        try:
            path.parent.mkdir(exist_ok=True)
            with open(path, "ab" if append else "wb") as file:
                file.write(content)
        except OSError as error:
            raise SdekitError(
                f"could not write {path}: {error.strerror or error}; {checkpoint_status(self.out)}"
            ) from error


class _Losses(nn.Module):
    """The losses of an objective as a module, which an engine can wrap."""

    def __init__(self, objective: Objective, module: nn.Module) -> None:
        super().__init__()
        self.objective, self.module = objective, module

    def forward(self, *inputs: Tensor | None) -> Tensor:
        return self.objective.loss(self.module, inputs)


class _Clock:
    """Clock of a training: `seconds` includes earlier sessions of the run, `session` is the time of this session."""

    def __init__(self, before: float) -> None:
        self.start = self.last_preview = time.monotonic()
        self.before = before

    @property
    def session(self) -> float:
        return time.monotonic() - self.start

    @property
    def seconds(self) -> float:
        return self.before + self.session

    @property
    def since_preview(self) -> float:
        return time.monotonic() - self.last_preview

    def preview(self) -> None:
        self.last_preview = time.monotonic()


def default_engine(device: torch.device, precision: str) -> Engine:
    """Return the engine of this process: DDP if several processes train together.

    Arguments:
        device: Device of this process.
        precision: "fp32" or "bf16".
    Returns:
        A new engine.
    """
    if "WORLD_SIZE" in os.environ and torch.distributed.is_initialized():
        from .engines.ddp import DDP

        return DDP(device, precision)
    from .engines.single_process import SingleProcess

    return SingleProcess(device, precision)


def train(recipe: Recipe, data: Dataset, out: str | Path, **options: Any) -> Trainer:
    """Train to the end.

    Arguments:
        recipe: Recipe of the run.
        data: Data set that the recipe was made for.
        out: Run folder.
        options: Further arguments of `Trainer`.
    Returns:
        The trainer.
    """
    trainer = Trainer(recipe, data, out, **options)
    for _ in trainer.run():
        pass
    return trainer
