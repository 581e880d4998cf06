"""The training loop. Each step is a function of the weights and (seed, step), so a resumed run is the same run."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdekit.data import Dataset, split
from sdekit.errors import InputError, SdekitError
from sdekit.runs import (
    CHECKPOINT,
    CONFIG,
    METRICS,
    MODEL,
    PREVIEWS,
    Recipe,
    check_recipe,
    check_resumed,
    checkpoint_status,
    is_begun,
    lock_folder,
    model_step,
    prepare_folder,
    read_metrics,
    save_json,
    snapshot_name,
    write_atomically,
)

from .batches import Batches
from .noise_levels import times
from .optimizer import learning_rate
from .posterior_mean import PosteriorMean
from .previews import PreviewWarning, preview
from .randomness import seed_from, seeded
from .state import State
from .step_inputs import Inputs, inputs

HELD_OUT_MOST = 1024  # held-out samples that the loss is taken over


@dataclass(frozen=True)
class Step:
    """What the loop tells after each step. loss: of the batch. seconds: trained so far. progress: 0 to 1."""

    step: int
    loss: float
    seconds: float
    progress: float


class Trainer:
    """Trains a recipe on a data set into a run folder; iterate over `run()`.

    data: what the recipe was made for. out: the run folder. device: "cpu", "cuda", ... resume: go on from the last
    checkpoint in `out`, whose recipe must be this one, but for steps and time_limit. overwrite: replace a run
    in `out`. Raises InputError before anything is written. It has the folder for itself until `run()` has ended.
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
    ) -> None:
        self.recipe, self.options, self.data = recipe, recipe.train, data
        self.out, self.device = Path(out), torch.device(device)
        self.indices, self.held_out = split(len(data), self.options.held_out)
        self.model = recipe.build().to(self.device).train()
        self.state = State(self.model.network, self.options)
        self.weights, self.optimizer, self.ema = self.state.weights, self.state.optimizer, self.state.ema
        self.posterior = PosteriorMean.of(data, self.indices, recipe)
        order = (self.indices, self.options.batch_size, self.options.seed)
        self.batches = Batches(data, *order, ahead=self.device.type != "cpu")
        self.step, self.seconds, self._stopped = 0, 0.0, False
        self._losses_since: list[float] = []  # of the steps since the last row of metrics
        self._ahead: dict[int, Inputs] = {}
        self.prepares = self.device.type != "cpu"  # the next step's inputs, while the device computes
        self._previews_fail = False
        self._lock = lock_folder(self.out, resume=resume, overwrite=overwrite)
        with self._lock.released_on_error():
            if resume:
                self._resume()
            else:
                prepare_folder(self.out, overwrite=overwrite)
                save_json(self.out / CONFIG, recipe.as_dict())

    def stop(self) -> None:
        """End `run()` after the step under way; it saves."""
        self._stopped = True

    @property
    def progress(self) -> float:
        """How much of the run is over, 0 to 1."""
        return self.options.progress(self.step, self.seconds)

    @property
    def finished(self) -> bool:
        """Whether all of the run's steps, or its time where that is its horizon, are done."""
        return self.progress >= 1

    @property
    def interrupted(self) -> bool:
        """Whether `stop()` ended it before it was finished."""
        return self._stopped and not self.finished

    def run(self) -> Iterator[Step]:
        """Train until the steps or the time are over, or `stop()`; yields after each step and saves at the end.

        Nothing is saved where it ends before its first step.
        """
        self._lock.take()
        try:
            yield from self._run()
        finally:
            self._lock.release()

    def _run(self) -> Iterator[Step]:
        started, before = time.monotonic(), self.seconds
        last_preview, logged = started, self.step
        limit = math.inf if self.options.steps is None else self.options.time_limit or math.inf  # of this session
        while not (self._stopped or self.finished or time.monotonic() - started >= limit):
            loss = self._step()
            self._losses_since.append(loss)
            self.step += 1
            self.seconds = before + time.monotonic() - started
            yield Step(self.step, loss, self.seconds, self.progress)
            self._lock.check()
            if self.step % self.options.log_every == 0:
                mean = sum(self._losses_since) / len(self._losses_since)
                self._log(loss=mean, learning_rate=learning_rate(self.options, self.step, self.progress))
                self._losses_since = []
            if self.options.keep_every and self.step % self.options.keep_every == 0:
                self._save_average(self.out / snapshot_name(self.step))  # before the step can be resumed from
            if self.step % self.options.checkpoint_every == 0:
                self.save()
                self._log(held_out_loss=self.held_out_loss())
            if self.options.preview_every and time.monotonic() - last_preview >= self.options.preview_every:
                last_preview = time.monotonic()
                self._preview()
            self.seconds = before + time.monotonic() - started
        if self.step > logged:
            self.save()
            if self.step % self.options.checkpoint_every:
                self._log(held_out_loss=self.held_out_loss())
            self._preview()

    def _step(self) -> float:
        """One optimizer step; the loss of the batch. The weights are untouched where it or its gradient is not finite.

        Both are looked at once all is under way, and the next step's inputs are made: so a GPU seldom waits.
        """
        options, step = self.options, self.step
        given = self._ahead.pop(step, None) or self._inputs(step)
        with seeded(seed_from(options.seed, 2, step), self.device):  # dropout
            losses = self._losses(*given)
        self.optimizer.zero_grad(set_to_none=True)
        (loss := losses.mean()).backward()
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), options.clip, foreach=True)
        if self.prepares:
            with suppress(SdekitError):  # of a damaged file, which stops the step that needs it
                self._ahead = {step + 1: self._inputs(step + 1)}
        value = loss.item()
        if not math.isfinite(value):
            worst = int((~losses.isfinite()).nonzero()[0]) if (~losses.isfinite()).any() else 0
            rho = float(self.model.sde.rho(given.t[worst]))
            raise self._diverged(f"the loss is {value} at step {step + 1}, at noise level sigma/alpha = {rho:.4g}")
        if not norm.isfinite():
            raise self._diverged(f"the gradient is not finite at step {step + 1}, where the loss is {value:.4g}")
        rate = learning_rate(options, step, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.step()
        self.ema.update(self.weights.values(), step + 1)
        return value

    def _inputs(self, step: int) -> Inputs:
        with self._reading():
            batch = self.batches(step)
        return inputs(self.recipe, self.model.sde, batch, self.posterior, step)

    def _diverged(self, what: str) -> SdekitError:
        return SdekitError(
            f"{what}: training stopped and {checkpoint_status(self.out)}. Try a lower train.learning_rate, or "
            "precision fp32"
        )

    def _losses(self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None, mean: Tensor | None = None) -> Tensor:
        """(B,) on the device."""
        x0, t, eps = (z.to(self.device, non_blocking=True) for z in (x0, t, eps))
        mean = None if mean is None else mean.to(self.device)
        y = y.to(self.device) if y is not None and self.recipe.condition != "none" else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.precision == "bf16"):
            return self.model.loss(x0, t, eps, y, mean=mean)

    @torch.no_grad()
    def held_out_loss(self) -> float | None:
        """Mean loss of the averaged weights on held-out data at fixed noise levels; None where nothing is held out."""
        if not len(self.held_out):
            return None
        chosen = self.held_out[:HELD_OUT_MOST]
        generator = torch.Generator().manual_seed(seed_from(self.options.seed, 3))
        t = times(self.model.sde, self.options, (torch.arange(len(chosen), dtype=torch.float64) + 0.5) / len(chosen))
        t = t[torch.randperm(len(chosen), generator=generator)]
        total, size = 0.0, self.options.batch_size
        with self._averaged():
            for start in range(0, len(chosen), size):
                part = slice(start, start + size)
                with self._reading():
                    batch = self.data.batch(chosen[part])
                eps = torch.randn(batch.x.shape, generator=generator)
                total += float(self._losses(batch.x, t[part], eps, batch.y).sum())
        return total / len(chosen)

    def save(self) -> None:
        """The checkpoint, then the model; each replaces the old one only when it is whole."""
        fields = {"seconds": self.seconds, "losses": self._losses_since, "recipe": self.recipe.digest}
        self.state.save(self.out / CHECKPOINT, self.step, fields)
        self._save_average(self.out / MODEL)

    def _save_average(self, path: Path) -> None:
        fields = {"step": self.step, "seconds": self.seconds, "recipe": self.recipe.digest}
        self.state.save_average(path, fields)

    def _resume(self) -> None:
        found = check_resumed(self.out, self.recipe, self.data)
        if begun := is_begun(self.out):  # else it ended before its first checkpoint
            fields = self.state.load(self.out / CHECKPOINT)
            check_recipe(self.out / CHECKPOINT, fields, found.digest)
            self.step, self.seconds, self._losses_since = fields["step"], fields["seconds"], fields["losses"]
        if self.options.steps is not None and self.options.steps < self.step:
            raise InputError(
                f"{self.out} has trained {self.step} steps already: ask for more than {self.options.steps}"
            )
        if found != self.recipe:
            save_json(self.out / CONFIG, self.recipe.as_dict())
        if begun and model_step(self.out, found) != self.step:  # it ended between the checkpoint and the model
            self._save_average(self.out / MODEL)
        rows = [row for row in read_metrics(self.out) if row["step"] <= self.step and self._belongs(row)]
        write_atomically(self.out / METRICS, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def _belongs(self, row: dict[str, Any]) -> bool:
        """Whether a run that never stopped has the row: its held-out loss is told at checkpoints, and at its end."""
        return "held_out_loss" not in row or row["step"] % self.options.checkpoint_every == 0 or self.finished

    def _log(self, **values: Any) -> None:
        row = {"step": self.step, "seconds": round(self.seconds, 3), **values}
        if self.batches.skipped:
            row["skipped"] = self.batches.skipped
        self._write(self.out / METRICS, (json.dumps(row) + "\n").encode(), append=True)

    def _preview(self) -> None:
        """Sampling with half-trained weights may fail: that is told once, and is no reason to end the training."""
        try:
            with self._averaged():
                content = preview(self.model, self.recipe)
        except SdekitError as error:
            if not self._previews_fail:
                warnings.warn(f"no preview at step {self.step}: {error}", PreviewWarning, stacklevel=4)
            self._previews_fail = True
            return
        if content is not None:
            self._write(self.out / PREVIEWS / f"step-{self.step:07d}.png", content)

    def _write(self, path: Path, content: bytes, append: bool = False) -> None:
        try:
            path.parent.mkdir(exist_ok=True)
            with open(path, "ab" if append else "wb") as file:
                file.write(content)
        except OSError as error:
            raise SdekitError(
                f"could not write {path}: {error.strerror or error}; {checkpoint_status(self.out)}"
            ) from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Within it a damaged file is an error that says what of the training is kept."""
        try:
            yield
        except SdekitError as error:
            raise SdekitError(
                f"{error}. Training stopped after step {self.step} and {checkpoint_status(self.out)}"
            ) from error

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Within it the model has the averaged weights, in evaluation mode."""
        self.model.eval()
        try:
            with self.state.averaged():
                yield
        finally:
            self.model.train()


def train(recipe: Recipe, data: Dataset, out: str | Path, **kwargs: Any) -> Trainer:
    """Train to the end and return the trainer; arguments as `Trainer`'s."""
    trainer = Trainer(recipe, data, out, **kwargs)
    for _ in trainer.run():
        pass
    return trainer
