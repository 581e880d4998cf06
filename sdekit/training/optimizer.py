"""AdamW and its learning rate."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from sdekit.runs import TrainOptions


def adamw(network: nn.Module, options: TrainOptions) -> torch.optim.AdamW:
    """AdamW of all weights that are trained, in groups whose learning rate has one scale: the group's entry "scale".

    A module that has `learning_rate_scale` sets it for the weights within; elsewhere it is 1. A weight that several
    modules hold is updated once, at the scale of the first.
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
    """Of the step after `step` others, `progress` (0 to 1) of the run being over: warm-up, then decay to 0."""
    rise = min(1.0, (step + 1) / max(1, options.warm_up))
    fall = {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "linear": 1 - progress, "constant": 1.0}
    return options.learning_rate * rise * fall[options.decay]
