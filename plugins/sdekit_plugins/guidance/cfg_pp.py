"""CFG++: guidance of x_0 alone, while the noise stays that of the unconditional model."""

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import current_context, denoise_pair, require_condition
from sdekit.processes import SDE, Denoiser, broadcast


def cfg_pp(sde: SDE, denoise: Denoiser, *, strength: float = 0.6, ratio: float = 0.8) -> Denoiser:
    """DDIM's step with x_0 = D_0 + strength (D_c - D_0), but the eps of D_0, written as a denoiser.

    That step is DDIM's with D_0 + w (D_c - D_0), w = strength / (1 - rho_s / rho_t): a scale that follows the step of
    the sampler's grid, t to s. With `ddim` this is CFG++ exactly; with other samplers it is cfg at that scale, which
    grows with the number of steps. strength: the paper's lambda, in [0, 1]; 0 is the unconditional model. ratio:
    rho_s / rho_t where there is no grid of steps (an adaptive solver), in [0, 1); 0.8 is that of some 50 steps.
    One call on the doubled batch. Source: Chung et al. 2024, Algorithm 2 and eq. 11.
    """
    if not 0 <= strength <= 1 or not 0 <= ratio < 1:
        raise InputError(f"cfg++: needs strength in [0, 1] and ratio in [0, 1), got {strength} and {ratio}")

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        y = require_condition("cfg++", y)
        if strength == 0:
            return denoise(x, t)
        conditional, plain = denoise_pair(denoise, x, t, y)
        kept = _kept(sde, t, ratio)
        return plain + broadcast(strength / (1 - kept), x) * (conditional - plain)

    return guided


def _kept(sde: SDE, t: Tensor, ratio: float) -> Tensor:
    """rho_s / rho_t of the grid's step that t is in, or ratio where there is none; 0 for the final denoising."""
    context = current_context()
    if context is None:
        return torch.tensor(ratio, dtype=torch.float64)
    start, end = context.step_containing(t)
    kept = torch.full_like(start, ratio) if context.adaptive else sde.rho(end) / sde.rho(start)
    return torch.where(t.to("cpu", torch.float64) > context.times[-1], kept, 0)
