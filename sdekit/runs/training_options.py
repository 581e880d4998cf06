"""How a network is trained: one frozen dataclass, which is the command line's options and the run's record."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from math import prod
from typing import Literal

from sdekit.errors import InputError

MOST_NUMBERS = 2**31  # in a batch


def check_seed(seed: int, where: str) -> None:
    """InputError outside of [0, 2^32): torch's CPU generator keeps 32 bits, so that others would repeat."""
    if not 0 <= seed < 2**32:
        raise InputError(f"{where}: seed must be between 0 and 2^32 - 1, got {seed}")


def check_batch(batch_size: int, shape: tuple[int, ...], where: str) -> None:
    """InputError for a batch of more than 2^31 numbers: the memory would be full before the first step."""
    if batch_size * prod(shape) > MOST_NUMBERS:
        raise InputError(
            f"{where}: batch_size {batch_size} of items of {prod(shape)} numbers is more than 2^31 numbers a step: at "
            f"most {MOST_NUMBERS // prod(shape)} items go into a batch"
        )


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What a run is trained with; all of it is recorded in the run folder.

    steps: optimizer steps, or None to train for `time_limit`. time_limit: seconds of training; alone, it is the
    horizon of the learning-rate decay, so that a run is finished when its time is over; beside steps it stops a
    session of the run, which the next one resumes for as long. batch_size: items a step. learning_rate: at its peak,
    of AdamW. warm_up: steps until then. decay: of the learning rate to 0 over the run. weight_decay: of AdamW. beta2:
    of AdamW. clip: largest norm of the gradient. ema: length of the weight average relative to the training so far,
    its standard deviation (EDM2's sigma_rel), between 0 and 0.25. noise: distribution of the noise level: log-normal
    in rho = sigma / alpha (Karras et al. 2022, Table 1) with noise_mean and noise_std, or uniform in t. noise_top:
    fraction of levels that lie evenly in log rho from exp(noise_mean) up to t_max instead, where sampling starts.
    exact_target: training sets of at most so many items are regressed on the posterior mean over the whole set
    (`PosteriorMean`); 0 for never. turn_below: noise level rho around and below which images are mirrored and turned
    (`turned`); 0 for never. held_out: fraction of the data that is not trained on. drop: probability that an
    item is shown without its condition, so that the network learns the unconditional model too. seed: of everything
    random. precision: of the network's arithmetic. checkpoint_every, log_every: steps. keep_every: steps between
    averages of the weights that are kept, for autoguidance; 0 for none. preview_every: seconds, 0 for none but the
    last.
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
    turn_below: float = 0.0
    held_out: float = 0.05
    drop: float = 0.0
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    checkpoint_every: int = 1000
    keep_every: int = 0
    log_every: int = 50
    preview_every: float = 60.0

    def __post_init__(self) -> None:
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
            raise InputError("train: say how long: steps or time_limit")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"train: steps must be at least 1, got {self.steps}")
        if self.time_limit is not None and not self.time_limit > 0:
            raise InputError(f"train: time_limit must be positive, got {self.time_limit}")
        for name in ("warm_up", "keep_every", "preview_every", "weight_decay"):
            if getattr(self, name) < 0:
                raise InputError(f"train: {name} must not be negative, got {getattr(self, name)}")
        check_seed(self.seed, "train")
        for name in ("exact_target", "turn_below"):
            if getattr(self, name) < 0:
                raise InputError(f"train: {name} must not be negative (0 is never), got {getattr(self, name)}")
        for name, known in (
            ("decay", ("cosine", "linear", "constant")),
            ("noise", ("log-normal", "uniform")),
            ("precision", ("fp32", "bf16")),
        ):
            if getattr(self, name) not in known:
                raise InputError(f"train: {name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")

    def progress(self, step: int, seconds: float) -> float:
        """How much of the run is over, 0 to 1, after so many steps and seconds of training."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        return min(1.0, seconds / (self.time_limit or 1.0))
