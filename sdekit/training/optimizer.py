"""AdamW and its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from sdekit.runs import TrainOptions


def adamw(network: nn.Module, options: TrainOptions) -> torch.optim.AdamW:
    """Make the AdamW optimizer of all trainable weights of a network.

    The attribute `learning_rate_scale` of a module multiplies the learning rate of the weights in it; without it the
    scale is 1. Each parameter group has one scale, in its entry "scale". A weight that several modules share is
    updated once, at the scale of the first of them.

    Arguments:
        network: Network, on the device of the training.
        options: Training options.
    Returns:
        The optimizer, with the fused implementation.
    """
    groups: dict[float, dict[str, Any]] = {}
    seen = set[nn.Parameter]()

    def collect(module: nn.Module, scale: float) -> None:
        scale = getattr(module, "learning_rate_scale", scale)
        for weight in module.parameters(recurse=False):
            if not weight.requires_grad or weight in seen:
                continue
            seen.add(weight)
            groups.setdefault(scale, {"params": [], "scale": scale})["params"].append(weight)
        for child in module.children():
            collect(child, scale)

    collect(network, 1.0)
    return torch.optim.AdamW(
        list(groups.values()),
        lr=options.learning_rate,
        betas=(0.9, options.beta2),
        weight_decay=options.weight_decay,
        fused=True,
    )


def learning_rate(options: TrainOptions, step: int, progress: float) -> float:
    """Return the learning rate of a step, which rises linearly and then decays as the options say.

    Arguments:
        options: Training options.
        step: Number of steps before this one.
        progress: Completed part of the run, 0 to 1.
    Returns:
        The learning rate of weights with the scale 1.
    """
    rise = min(1.0, (step + 1) / max(1, options.warm_up))
    fall = {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "linear": 1 - progress, "constant": 1.0}
    return options.learning_rate * rise * fall[options.decay]
