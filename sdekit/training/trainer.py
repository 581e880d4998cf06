"""The training loop. Each step is a function of the weights and (seed, step), so that runs can be resumed exactly."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from sdekit.arguments import check_device, check_instance, check_path
from sdekit.data import Dataset, split, with_classes
from sdekit.errors import InputError, ProcessLost, SdekitError
from sdekit.models import ScoreModel
from sdekit.registry import build
from sdekit.runs import (
    CONFIG,
    METRICS,
    FolderLock,
    Recipe,
    RunFolder,
    check_recipe,
    check_resumed,
    checkpoint_status,
    is_begun,
    lock_folder,
    model_step,
    recover_run,
    remove_new_run,
    save_json,
    staged_run,
    write_atomically,
)

from .batches import Batches
from .engines.selection import default_engine
from .monitoring.clock import Clock
from .monitoring.metrics_log import MetricsLog
from .monitoring.metrics_rows import (
    LOSS_NAMES,
    is_evaluation_due,
    is_loss_due,
    is_metric_due,
    json_lines,
    missing_kinds,
)
from .monitoring.preview_schedule import PREVIEW_EVALUATIONS, PreviewSchedule
from .monitoring.trackers import LoggerChoice, check_loggers
from .objective import Inputs, Objective
from .optimizer import learning_rate as scheduled_rate
from .sample_metric import SampleMetric
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
        loggers: Trackers that receive the numbers and previews: registered names, components with options, or instances
            of `Logger`. None for no tracker, or the trackers of the run that is resumed.
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
        loggers: Sequence[LoggerChoice] | None = None,
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
        self._metric = self._sample_metric()
        self._loggers = None if loggers is None else check_loggers(loggers)
        self.metrics = MetricsLog(self.folder, recipe.train)
        self._losses_since: list[float] = []  # losses of the steps since the last row of metrics
        self._held_out_loss: tuple[int, float] | None = None  # step and loss of the last evaluation of this session
        self._config = b""  # contents of config.json
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
            self._start_loggers()
            yield from self._run()
        except ProcessLost as error:
            raise ProcessLost(f"{error}: training stopped and {self._status()}") from error
        finally:
            self.metrics.close()
            if self._lock:
                self._lock.release()

    def _run(self) -> Iterator[Step]:
        options, first, evaluated, measured = self.options, self.step, 0, 0
        clock = Clock(self.seconds)
        previews = PreviewSchedule(options.preview_every, self.objective.preview_items, options.batch_size)
        self._complete_metrics()
        while not self._is_over(clock):
            loss = self._step()
            self._losses_since.append(loss)
            self.step += 1
            self.seconds = clock.seconds
            yield Step(self.step, loss, self.seconds, self.progress)
            if self._lock:
                self._lock.check()
            if is_loss_due(options, self.step):
                self._log_loss()
            if options.keep_every and self.step % options.keep_every == 0:
                self._keep_average()  # before the step can be resumed from
            if is_evaluation_due(options, self.step) and not self.finished:
                self._log_evaluation(last=False)  # before saving, because it may change the best weights
                evaluated = self.step
            if self.step % options.checkpoint_every == 0 and not self.finished:
                self.save()
            if is_metric_due(options, self.step):
                self._log_metric()
                measured = self.step
            if previews.is_due(clock.session, self.step - first):
                self._preview(previews, clock)
        if self.step > first:
            if evaluated < self.step:
                self._log_evaluation(last=True)
            self.save()
            if self._metric and self.finished and measured < self.step:
                self._log_metric()
        if self.step > first or (self.finished and not self.folder.preview(self.step).exists()):
            self._preview(previews, clock, evaluations=previews.last_evaluations(clock.session, self.step - first))

    def _is_over(self, clock: Clock) -> bool:
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
        rate = scheduled_rate(options, step, self.progress)
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
            f"{cause.removesuffix(', ')}: training stopped and {self._status()}. Try a lower "
            "train.learning_rate, or precision fp32"
        )

    # Evaluation

    def evaluate(self) -> dict[str, Any]:
        """Evaluate the averaged weights on the held-out data, see `Objective.evaluate`."""
        with self._averaged(), self.engine.autocast():
            return self.objective.evaluate(self.model, self.data, self.held_out)

    def _sample_metric(self) -> SampleMetric | None:
        """Return the metric of samples that `train.evaluate_every` asks for, in the main process."""
        if not self.options.evaluate_every:
            return None
        if not isinstance(self.model, ScoreModel):
            raise InputError(
                f"train: evaluate_every compares samples with data, and the objective {self.recipe.objective!r} trains "
                "no model that draws samples: leave it out"
            )
        return SampleMetric(self.recipe, self.data, self.held_out) if self.is_main else None

    def _log_metric(self) -> None:
        """Compare samples of the averaged weights with held-out data."""
        if self._metric is not None and isinstance(self.model, ScoreModel):
            with self._averaged():
                value = self._metric(self.model)
            self._log(**{self._metric.name: value})

    def _preview(self, schedule: PreviewSchedule, clock: Clock, evaluations: int = PREVIEW_EVALUATIONS) -> None:
        """Draw a preview. If this fails, as it may with half-trained weights, warn once and continue the training."""
        if not self.is_main:
            return
        start, self.objective.preview_evaluations = clock.session, evaluations
        try:
            with self._averaged():
                content = self.objective.preview(self.model)
        except SdekitError as error:
            if not self._previews_fail:
                warnings.warn(f"no preview at step {self.step}: {error}", PreviewWarning, stacklevel=4)
            self._previews_fail, content = True, None
        schedule.record(clock.session, clock.session - start, evaluations)
        if content is not None:
            with self._writing():
                write_atomically(self.folder.preview(self.step), content)
            self.metrics.add_image(self.step, "preview", content)

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
            raise SdekitError(f"{error}. Training stopped after step {self.step} and {self._status()}") from error

    # The run folder

    def save(self) -> None:
        """Save the checkpoint, then the model; each replaces the old file only when it is complete."""
        if self.is_main:
            with self._writing():
                self._save(self.folder)

    def _save(self, folder: RunFolder) -> None:
        fields = {"seconds": self.seconds, "losses": self._losses_since, **self._identity}
        self.state.save(folder.checkpoint, self.step, fields)
        self._save_model(folder)

    def _save_model(self, folder: RunFolder) -> None:
        """Save the averaged weights of this step, or the best ones if those of this step are worse."""
        best = self.state.best
        if best.step is None or self.weights_step == self.step:
            self._save_average(folder.model)
        else:
            self.state.save_best(folder.model, {"step": best.step, "seconds": self.seconds, **self._identity})

    @property
    def weights_step(self) -> int:
        """Step of the weights in `model.safetensors` when the run is saved now, see `TrainOptions.weights`."""
        best, evaluated = self.state.best, self._held_out_loss
        if best.step is None or (evaluated and evaluated[0] == self.step and best.is_close(evaluated[1])):
            return self.step
        return best.step

    def _keep_average(self) -> None:
        if self.is_main:
            with self._writing():
                self._save_average(self.folder.snapshot(self.step))

    def _save_average(self, path: Path) -> None:
        self.state.save_average(path, {"step": self.step, "seconds": self.seconds, **self._identity})

    @property
    def _identity(self) -> dict[str, str]:
        """Fields by which `check_recipe` recognises the weights of this run. Runs of earlier versions have one only."""
        run = {"run": self.recipe.identity} if self.recipe.identity else {}
        return {"recipe": self.recipe.digest} | run

    def _open(self, resume: bool) -> None:
        """Begin a run in the folder, or load the run in it and bring all its files to the same step."""
        if not resume:
            self.recipe = self.recipe.identified()
            with staged_run(self.out) as new:
                save_json(new / CONFIG, self.recipe.as_dict())
            self._config = self.folder.config.read_bytes()
            return
        recover_run(self.out)
        previous = self._load()
        if self.options.steps is not None and self.options.steps < self.step:
            raise InputError(
                f"{self.out} has trained {self.step} steps already: ask for more than {self.options.steps}"
            )
        if previous != self.recipe:
            save_json(self.folder.config, self.recipe.as_dict())
        if self.step and model_step(self.out, previous) not in (self.step, self.state.best.step):
            self._save_model(self.folder)  # the run ended between saving the checkpoint and the model
        self._config = self.folder.config.read_bytes()
        self.metrics.resume(self.step, finished=self.finished)

    def _start_loggers(self) -> None:
        """Start the loggers, in the main process. If one of them cannot be used, a run that is not begun is removed."""
        try:
            if self.is_main:
                self.metrics.start(self._loggers, self.recipe, self.step)
        except InputError:
            if not is_begun(self.out):
                remove_new_run(self.out)
            raise

    def _load(self) -> Recipe:
        """Load the last checkpoint, if there is one, and return the recipe of the folder."""
        previous = check_resumed(self.out, self.recipe, self.data)
        self.recipe = replace(self.recipe, fingerprint=previous.fingerprint, identity=previous.identity)
        if is_begun(self.out):
            fields = self.state.load(self.folder.checkpoint)
            check_recipe(self.folder.checkpoint, fields, previous)
            self.step, self.seconds, self._losses_since = fields["step"], fields["seconds"], fields["losses"]
        return previous

    def _log_loss(self) -> None:
        values, self._losses_since = self._mean_loss(), []  # before writing: a failure saves the run elsewhere
        self._log(**values)

    def _mean_loss(self) -> dict[str, Any]:
        """Return the mean loss of the steps since the last row, and the learning rate; empty without such a step."""
        losses = self._losses_since
        if not losses:
            return {}
        rate = scheduled_rate(self.options, self.step, self.progress)
        return dict(zip(LOSS_NAMES, (sum(losses) / len(losses), rate), strict=True))

    def _log_evaluation(self, *, last: bool) -> None:
        """Evaluate the averaged weights. The last row of a session also contains the loss of the steps since.

        An evaluation that only a stop has caused does not change the best weights, so that a run that is stopped and
        resumed equals an undisturbed one.
        """
        with self._reading():
            try:
                values = self.evaluate()
            except SdekitError:  # a damaged file, which only the evaluation reads
                self.save()
                raise
        self._log(**self._mean_loss() if last else {}, **values)
        loss = values.get("held_out_loss")
        if loss is None or self.options.weights == "last":
            return
        self._held_out_loss = self.step, loss
        if self.finished or is_evaluation_due(self.options, self.step):
            self.state.best.update(self.step, loss, self.ema.average)

    def _complete_metrics(self) -> None:
        """Write the rows that an earlier session did not write, because it was killed after it had saved."""
        for kind in (
            missing_kinds(self.metrics.rows, self.options, self.step, finished=self.finished) if self.is_main else ()
        ):
            if kind == "evaluation":
                self._log_evaluation(last=self.finished)
            else:
                self._log_metric()

    def _log(self, **values: Any) -> None:
        row = {"step": self.step, "seconds": round(self.seconds, 3), **values}
        if self.batches.skipped:
            row["skipped"] = self.batches.skipped
        if not self.is_main:
            return
        self.metrics.rows.append(row)
        with self._writing():
            try:
                self.metrics.write(row)
            except SdekitError as error:
                raise SdekitError(f"{error}; {self._status()}") from error

    # Accidents

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Context manager for changes of the run folder. If they fail, the training is saved in another folder."""
        try:
            self._check_folder()
            yield
        except SdekitError as error:
            raise SdekitError(f"{error}. {self._rescue()}") from error

    def _check_folder(self) -> None:
        """Raise SdekitError if the run folder was moved, removed or replaced. It must not be created again in part."""
        try:
            unchanged = self.folder.config.read_bytes() == self._config
        except OSError as error:
            raise SdekitError(
                f"{self.out} was moved or removed during the training, or cannot be read any more "
                f"({error.strerror or error}): training stopped after step {self.step}"
            ) from error
        if not unchanged:
            raise SdekitError(
                f"{self.out} contains another run now, because its {CONFIG} was replaced during the training: training "
                f"stopped after step {self.step}"
            )

    def _status(self) -> str:
        """Describe the checkpoint in the run folder, for the message of a training that stops early."""
        try:
            if self.is_main:  # the process that wrote the folder
                self._check_folder()
        except SdekitError as error:
            return str(error)
        return checkpoint_status(self.out)

    def _rescue(self) -> str:
        """Save the run in a new folder beside its own one, or in the temporary folder, and describe where it is."""
        whole, number = self.out.absolute(), 1
        for parent in dict.fromkeys((whole.parent, Path(gettempdir()))):
            while os.path.lexists(place := parent / f"{whole.name}-rescued{'' if number == 1 else f'-{number}'}"):
                number += 1
            try:
                with staged_run(place) as new:
                    (new / CONFIG).write_bytes(self._config)
                    self._save(RunFolder(new))
                    (new / METRICS).write_bytes(json_lines(self.metrics.rows))
            except (SdekitError, OSError):
                continue
            return f"The run is saved up to step {self.step} in {place}: go on with --out {place} --resume"
        return "It could not be saved in another folder either"


class _Losses(nn.Module):
    """The losses of an objective as a module, which an engine can wrap."""

    def __init__(self, objective: Objective, module: nn.Module) -> None:
        super().__init__()
        self.objective, self.module = objective, module

    def forward(self, *inputs: Tensor | None) -> Tensor:
        return self.objective.loss(self.module, inputs)
