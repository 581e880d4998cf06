"""Options of a training: the options of the command line and part of the record of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import Any, Literal

from sdekit.arguments import check_options
from sdekit.errors import InputError
from sdekit.registry import unknown_option

REMOVED_OPTIONS = ("turn_below",)
"""Options of version 0.1 that no longer exist. Runs that recorded them can be opened, but not resumed."""

MOST_NUMBERS = 2**31  # largest number of entries of a batch


def check_seed(seed: int, where: str) -> None:
    """Check that a seed is in [0, 2^32), because torch's CPU generator uses 32 bits of it.

    Arguments:
        seed: Seed.
        where: Option or command, for the message.
    Raises:
        InputError: If the seed is out of range.
    """
    if not 0 <= seed < 2**32:
        raise InputError(f"{where}: seed must be between 0 and 2^32 - 1, got {seed}")


def check_batch(batch_size: int, shape: tuple[int, ...], where: str) -> None:
    """Check that a batch has at most 2^31 numbers; a larger one would not fit into memory.

    Arguments:
        batch_size: Number of items.
        shape: Shape of one item.
        where: Option or command, for the message.
    Raises:
        InputError: If the batch is too large.
    """
    if batch_size * prod(shape) > MOST_NUMBERS:
        raise InputError(
            f"{where}: batch_size {batch_size} of items of {prod(shape)} numbers is more than 2^31 numbers a step: at "
            f"most {MOST_NUMBERS // prod(shape)} items go into a batch"
        )


_TYPES: dict[str, Any] = {"int": int, "int | None": int | None, "float": float, "float | None": float | None}


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training; the run folder records all of them.

    Arguments:
        steps: Number of optimizer steps, at least 1; None to train for `time_limit`.
        time_limit: Seconds of training. Without `steps`, it is the length of the run, over which the learning rate
            decays. With `steps`, it is the length of one session; the next session may train for as long.
        batch_size: Number of items per step, at least 1; over all processes, if there are several.
        learning_rate: Peak learning rate of AdamW, positive.
        warm_up: Number of steps in which the learning rate rises to its peak, at least 0.
        decay: How the learning rate decays over the run: "cosine" or "linear" to 0, or "constant".
        weight_decay: Weight decay of AdamW, at least 0.
        beta2: Decay of AdamW's second moment, in [0, 1).
        clip: Largest norm of the gradient, positive.
        ema: Standard deviation of the average of the weights over training time, relative to the training so far
            (sigma_rel of Karras et al. 2024), in [0, 0.25); 0 for no average.
        noise: Distribution of the noise levels: "log-normal" in rho = sigma / alpha (Karras et al. 2022, Table 1), or
            "uniform" in t.
        noise_mean: Mean of log rho, for "log-normal".
        noise_std: Standard deviation of log rho, for "log-normal", positive.
        noise_top: Share of the noise levels that are instead log-uniform from exp(noise_mean) up to t_max, where
            sampling starts, in [0, 1); for "log-normal".
        exact_target: Largest number of training items for which the target is the posterior mean over the training set
            (`PosteriorMean`) in place of x_0; 0 for never.
        augment: Probability of each transform of an image (flips, scaling, rotation, stretching, translation), in
            [0, 1]; 0 for no augmentation. The network receives the transform as a condition, so that samples are not
            transformed (Karras et al. 2022, appendix F.2).
        held_out: Fraction of the data that is not trained on, in [0, 1).
        weights: Averaged weights in `model.safetensors`: "best" for the last ones whose held-out loss is close to the
            smallest one (see `BestWeights`), or "last".
        drop: Probability that an item is trained without its condition, in [0, 1); classifier-free guidance needs it.
        seed: Seed of everything random, in [0, 2^32).
        precision: Arithmetic of the network: "fp32", or "bf16" for bfloat16 autocast.
        checkpoint_every: Number of steps between checkpoints, at least 1.
        keep_every: Number of steps between averages of the weights that are kept, for autoguidance; 0 for none.
        log_every: Number of steps between rows of `metrics.jsonl`, at least 1.
        preview_every: Least number of seconds between previews, which take at most 5% of the time; 0 for one at the
            end only.
        evaluate_every: Number of steps between comparisons of samples with held-out data; 0 for none.
        metric: Registered metric of these comparisons, as NAME or NAME:option=value,...
    Raises:
        InputError: If an option is out of its range.
    """

    steps: int | None = None
    time_limit: float | None = None
    batch_size: int = 32
    learning_rate: float = 2e-3
    warm_up: int = 50
    decay: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = 0.0
    beta2: float = 0.99
    clip: float = 1.0
    ema: float = 0.05
    noise: Literal["log-normal", "uniform"] = "log-normal"
    noise_mean: float = -1.0
    noise_std: float = 1.2
    noise_top: float = 0.02
    exact_target: int = 2048
    augment: float = 0.0
    held_out: float = 0.05
    weights: Literal["best", "last"] = "best"
    drop: float = 0.0
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every: int = 1000
    keep_every: int = 0
    log_every: int = 50
    preview_every: float = 60.0
    evaluate_every: int = 0
    metric: str = "energy"

    def __post_init__(self) -> None:
        check_options("train", vars(self), {field.name: _TYPES.get(str(field.type), str) for field in fields(self)})
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"train: {field.name} must be a finite number, got {value}")
        for name in ("batch_size", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise InputError(f"train: {name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "clip", "noise_std"):
            if not getattr(self, name) > 0:
                raise InputError(f"train: {name} must be positive, got {getattr(self, name)}")
        for name, high in {"ema": 0.25, "held_out": 1, "beta2": 1, "drop": 1, "noise_top": 1}.items():
            if not 0 <= getattr(self, name) < high:
                raise InputError(f"train: {name} must be at least 0 and below {high}, got {getattr(self, name)}")
        if self.steps is None and self.time_limit is None:
            raise InputError("train: set the length of the training: steps or time_limit")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"train: steps must be at least 1, got {self.steps}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise InputError(f"train: time_limit must be positive, got {self.time_limit}")
        for name in ("warm_up", "keep_every", "preview_every", "evaluate_every", "weight_decay"):
            if getattr(self, name) < 0:
                raise InputError(f"train: {name} must not be negative, got {getattr(self, name)}")
        check_seed(self.seed, "train")
        if self.exact_target < 0:
            raise InputError(f"train: exact_target must not be negative (0 is never), got {self.exact_target}")
        if not 0 <= self.augment <= 1:
            raise InputError(f"train: augment must be between 0 and 1, got {self.augment}")
        for name, known in (
            ("decay", ("cosine", "linear", "constant")),
            ("noise", ("log-normal", "uniform")),
            ("weights", ("best", "last")),
            ("precision", ("fp32", "bf16")),
        ):
            if getattr(self, name) not in known:
                raise InputError(f"train: {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")

    @property
    def metric_name(self) -> str:
        """Name of the metric without its options."""
        return self.metric.partition(":")[0]

    def progress(self, step: int, seconds: float) -> float:
        """Return the finished part of the run.

        Arguments:
            step: Number of finished steps.
            seconds: Seconds of training so far.
        Returns:
            A number from 0 to 1.
        """
        if self.steps is not None:
            return min(1.0, step / self.steps)
        return min(1.0, seconds / (self.time_limit or 1.0))


def train_options(options: Mapping[str, Any]) -> TrainOptions:
    """Create the options of a training from values by name.

    Arguments:
        options: Values of some options.
    Returns:
        All options.
    Raises:
        InputError: If there is no such option (the message suggests a similar name), or a value is invalid.
    """
    known = [field.name for field in fields(TrainOptions)]
    for name in options:
        if name not in known:
            raise InputError(unknown_option("train", str(name), known))
    return TrainOptions(**options)
