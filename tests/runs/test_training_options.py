"""Training options: values out of range are refused by name."""

from typing import Any

import pytest

from sdekit.errors import InputError
from sdekit.runs import TrainOptions

NUMBERS = ["learning_rate", "clip", "noise_std", "noise_mean", "weight_decay", "time_limit", "preview_every", "beta2"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"checkpoint_every": 0}, "checkpoint_every must be at least 1"),
        ({"log_every": 0}, "log_every must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"clip": -1.0}, "clip must be positive"),
        ({"noise_std": 0.0}, "noise_std must be positive"),
        ({"ema": 0.25}, "ema must be at least 0 and below 0.25"),
        ({"held_out": 1.0}, "held_out must be at least 0 and below 1"),
        ({"beta2": 1.0}, "beta2 must be at least 0 and below 1"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"steps": None}, "set the length of the training"),
        ({"time_limit": 0.0}, "time_limit must be positive, got 0.0"),
        ({"warm_up": -1}, "train: warm_up must not be negative, got -1"),
        ({"keep_every": -2}, "train: keep_every must not be negative, got -2"),
        ({"preview_every": -0.5}, "train: preview_every must not be negative, got -0.5"),
        ({"weight_decay": -1.0}, "train: weight_decay must not be negative, got -1.0"),
        ({"seed": -1}, "seed must be between 0 and 2\\^32 - 1"),
        ({"seed": 2**32}, "seed must be between 0 and 2\\^32 - 1, got 4294967296"),
        ({"seed": 2**70}, "seed must be between"),
        ({"exact_target": -1}, "exact_target must not be negative"),
        ({"augment": -0.1}, "augment must be between 0 and 1"),
        ({"augment": 1.1}, "augment must be between 0 and 1"),
        ({"decay": "step"}, "decay must be one of cosine, linear, constant"),
        ({"noise": "normal"}, "noise must be one of log-normal, uniform"),
        ({"precision": "fp16"}, "precision must be one of fp32, bf16"),
        *(({name: value}, name) for name in NUMBERS for value in (float("nan"), float("inf"))),
    ],
    ids=str,
)
def test_out_of_range(given: dict[str, Any], named: str) -> None:
    """The message names the option and its range; NaN and infinity are out of every range."""
    with pytest.raises(InputError, match=named):
        TrainOptions(**{"steps": 5} | given)


def test_progress() -> None:
    """Progress is the fraction of steps, or of the time without steps, and at most 1."""
    assert TrainOptions(steps=10, time_limit=1.0).progress(5, 100.0) == 0.5
    assert TrainOptions(time_limit=8.0).progress(1000, 2.0) == 0.25
    assert TrainOptions(steps=10).progress(11, 0.0) == TrainOptions(time_limit=8.0).progress(0, 9.0) == 1.0
