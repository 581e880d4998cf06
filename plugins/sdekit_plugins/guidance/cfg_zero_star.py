"""CFG-Zero*: classifier-free guidance of the velocity, its unconditional part scaled to fit."""

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import current_context, denoise_pair, require_condition, require_finite
from sdekit.processes import SDE, Denoiser, FlowCoordinates, broadcast


def cfg_zero_star(sde: SDE, denoise: Denoiser, *, scale: float = 2.0, zero_steps: int = 0) -> Denoiser:
    """v' = a v_0 + scale (v_c - a v_0), a = <v_c, v_0> / |v_0|^2, v = eps - x_0 the rectified flow's velocity.

    a makes up for a model that is still far off early in training; it is 1 where v_0 fits. scale: as cfg's, 0 and 1
    too. zero_steps: so many steps at the start of the sampler's grid in which v' = 0, the paper's zero-init (there 1,
    or 4 in 100), for models whose first velocity does more harm than good. Any process: v is taken in the coordinates
    x / (alpha + sigma). One call on the doubled batch. Source: Fan et al. 2025, eq. 10 and Algorithm 1.
    """
    require_finite("cfg-zero-star", scale=scale)
    if zero_steps < 0:
        raise InputError(f"cfg-zero-star: zero_steps must not be negative, got {zero_steps}")
    flow = FlowCoordinates(sde)

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        y = require_condition("cfg-zero-star", y)
        if scale in (0, 1) and not zero_steps:
            return denoise(x, t, y if scale else None)
        still = x / broadcast(flow.scale(t), x)  # the x_0 of a velocity of 0
        early = _early(t, zero_steps)
        if zero_steps and early.all():
            return still
        conditional, plain = (flow.velocity(x, x0, t) for x0 in denoise_pair(denoise, x, t, y))
        fit = (conditional * plain).flatten(1).sum(1) / plain.square().flatten(1).sum(1).clamp(min=1e-30)
        velocity = torch.lerp(broadcast(fit, plain) * plain, conditional, scale)
        return still - broadcast(flow.r(t) * ~early, x) * velocity

    return guided


def _early(t: Tensor, steps: int) -> Tensor:
    """Whether t is within the first steps of a sampler's grid that has more of them, shape of t."""
    context = current_context()
    if not steps or context is None or len(context.times) <= steps + 1:
        return torch.zeros_like(t, dtype=torch.bool)
    return t > context.times[steps].to(t.device)
