"""The state of a training: weights, averages and the moments of AdamW, saved and loaded as tensors by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.runs import CountersRecord, TrainOptions, load_tensors, load_tied, read_record, save_tensors, step_of, untie

from .ema import EMA, swapped
from .monitoring.best_weights import BestWeights
from .optimizer import adamw

MOMENTS = ("exp_avg", "exp_avg_sq")
PARTS = ("weights", "ema", "best", *MOMENTS)


class State:
    """Weights of a network in training, with their optimizer, their average, and the best average so far.

    Arguments:
        network: Network, on the device of the training.
        options: Training options.
    Raises:
        InputError: If the network has no trainable weights.
    """

    def __init__(self, network: nn.Module, options: TrainOptions) -> None:
        self.network = network
        self.weights = {name: p for name, p in network.named_parameters() if p.requires_grad}
        if not self.weights:
            raise InputError(f"the network, {type(network).__name__}, has no weights that can be trained")
        self.optimizer = adamw(network, options)
        self.ema = EMA(self.weights.values(), options.ema)
        self.best = BestWeights()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Context manager that gives the network the averaged weights."""
        with swapped(self.weights.values(), self.ema.average):
            yield

    def save(self, path: Path, step: int, fields: Mapping[str, Any]) -> None:
        """Save everything that an exact continuation needs.

        The field "updates" contains the number of updates of each weight that was not updated in every step, because
        the loss did not depend on it. The best weights are left out if they are the average.

        Arguments:
            path: File to write.
            step: Number of steps so far.
            fields: Further fields to save.
        """
        moments, updates = dict[str, Tensor](), dict[str, int]()
        for name, weight in self.weights.items():
            state = self.optimizer.state.get(weight, {})
            moments |= {f"{m}.{name}": state[m] if state else torch.zeros_like(weight) for m in MOMENTS}
            if (count := int(state.get("step", 0))) != step:
                updates[name] = count
        weights = {f"weights.{name}": tensor for name, tensor in untie(self.network).items()}
        ema = {f"ema.{name}": tensor for name, tensor in zip(self.weights, self.ema.average, strict=True)}
        best = {} if self.best.step in (None, step) else dict(zip(self.weights, self.best.tensors, strict=True))
        tensors = weights | ema | moments | {f"best.{name}": tensor for name, tensor in best.items()}
        record = {"step": step, "updates": updates}
        if self.best.step is not None:
            record |= {"best_step": self.best.step, "smallest_loss": self.best.smallest}
        save_tensors(path, tensors, {**fields, **record})

    def save_average(self, path: Path, fields: Mapping[str, Any]) -> None:
        """Save the network with the averaged weights, for sampling."""
        with self.averaged():
            save_tensors(path, untie(self.network), fields)

    def save_best(self, path: Path, fields: Mapping[str, Any]) -> None:
        """Save the network with the best averaged weights, for sampling."""
        with swapped(self.weights.values(), self.best.tensors):
            save_tensors(path, untie(self.network), fields)

    def load(self, path: Path) -> dict[str, Any]:
        """Load a file written by `save` and return its fields. Raises InputError if it belongs to another network."""
        tensors, fields = load_tensors(path)
        _check_counters(path, fields)
        part = {p: {k.removeprefix(f"{p}."): v for k, v in tensors.items() if k.startswith(f"{p}.")} for p in PARTS}
        try:
            load_tied(self.network, part["weights"])
            for average, (name, weight) in zip(self.ema.average, self.weights.items(), strict=True):
                average.copy_(part["ema"][name])
                # in the memory format of the weight, which the fused kernel expects
                moments = {moment: torch.empty_like(weight).copy_(part[moment][name]) for moment in MOMENTS}
                if updates := fields["updates"].get(name, fields["step"]):
                    step = torch.tensor(float(updates), device=weight.device)
                    self.optimizer.state[weight] = {"step": step, **moments}
            if (best := fields["best_step"]) is not None:
                source = part["ema"] if best == fields["step"] else part["best"]
                self.best.step, self.best.smallest = best, fields["smallest_loss"]
                self.best.tensors = [
                    torch.empty_like(weight, device="cpu").copy_(source[name]) for name, weight in self.weights.items()
                ]
        except (RuntimeError, KeyError) as error:
            raise InputError(f"{path} does not fit the network of the run: {error}") from error
        return fields


def _check_counters(path: Path, fields: dict[str, Any]) -> None:
    """Raise InputError for a counter of a wrong type. Older files have the first two only."""
    fields["step"] = step_of(path, fields)
    record = read_record(CountersRecord, fields, path, "a checkpoint")
    fields |= {name: getattr(record, name) for name in ("losses", "updates", "best_step", "smallest_loss")}
