"""CFG-Zero*: classifier-free guidance of the velocity with a fitted unconditional part."""

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import current_context, denoise_pair, require_condition, require_finite
from sdekit.processes import SDE, Denoiser, FlowCoordinates, broadcast


def cfg_zero_star(sde: SDE, denoise: Denoiser, *, scale: float = 2.0, zero_steps: int = 0) -> Denoiser:
    """CFG-Zero*: v' = a v_0 + scale (v_c - a v_0), for the velocity v = eps - x_0.

    v_c is the conditional and v_0 the unconditional velocity of the rectified flow; for other processes, v is computed
    in the coordinates x / (alpha + sigma). The factor a = <v_c, v_0> / |v_0|^2 corrects an inaccurate v_0, as early in
    training. One network evaluation, on the doubled batch.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        scale: Scale as in `cfg`: 1 is the conditional and 0 the unconditional model, exactly.
        zero_steps: Number of steps at the start of the sampler's grid in which v' = 0, at least 0: the paper's
            zero-init (there 1, or 4 of 100), for models that predict the first velocity worse than 0 does.
    Returns:
        The guided denoiser.
    Raises:
        InputError: If an option is out of range.
    Source:
        Fan et al. 2025, eq. 10 and Algorithm 1.
    """
    require_finite("cfg-zero-star", scale=scale)
    if zero_steps < 0:
        raise InputError(f"cfg-zero-star: zero_steps must not be negative, got {zero_steps}")
    flow = FlowCoordinates(sde)

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        y = require_condition("cfg-zero-star", y)
        if scale in (0, 1) and not zero_steps:
            return denoise(x, t, y if scale else None)
        at_rest = x / broadcast(flow.scale(t), x)  # the x_0 at which the velocity is 0
        early = _is_early(t, zero_steps)
        if zero_steps and early.all():
            return at_rest
        v_c, v_0 = (flow.velocity(x, x0, t) for x0 in denoise_pair(denoise, x, t, y))
        a = (v_c * v_0).flatten(1).sum(1) / v_0.square().flatten(1).sum(1).clamp(min=1e-30)
        v = torch.lerp(broadcast(a, v_0) * v_0, v_c, scale)
        return at_rest - broadcast(flow.r(t) * ~early, x) * v

    return guided


def _is_early(t: Tensor, steps: int) -> Tensor:
    """Return whether t is in the first `steps` steps of the sampler's grid, if the grid is longer. Shape of t."""
    context = current_context()
    if not steps or context is None or len(context.times) <= steps + 1:
        return torch.zeros_like(t, dtype=torch.bool)
    return t > context.times[steps].to(t.device)
