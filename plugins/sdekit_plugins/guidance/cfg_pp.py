"""CFG++: guidance of x_0 alone; the noise comes from the unconditional model."""

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import current_context, denoise_pair, require_condition
from sdekit.processes import SDE, Denoiser, broadcast


def cfg_pp(sde: SDE, denoise: Denoiser, *, strength: float = 0.6, ratio: float = 0.8) -> Denoiser:
    """CFG++: a DDIM step with x_0 = D_0 + strength (D_c - D_0) and the noise of D_0.

    D_c is the conditional and D_0 the unconditional denoiser. This step equals a DDIM step from t to s with the
    denoiser D_0 + w (D_c - D_0), w = strength / (1 - rho_s / rho_t). With `ddim` the guidance is exactly CFG++; with
    other samplers it is cfg with the scale w, which grows with the number of steps. One network evaluation, on the
    doubled batch.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        strength: The paper's lambda, in [0, 1]; 0 is the unconditional model.
        ratio: Value of rho_s / rho_t if there is no grid of steps (outside of `sample`, or with an adaptive sampler),
            in [0, 1); 0.8 corresponds to about 50 steps.
    Returns:
        The guided denoiser.
    Raises:
        InputError: If an option is out of range.
    Source:
        Chung et al. 2024, Algorithm 2 and eq. 11.
    """
    if not 0 <= strength <= 1 or not 0 <= ratio < 1:
        raise InputError(f"cfg++: needs strength in [0, 1] and ratio in [0, 1), got {strength} and {ratio}")

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        y = require_condition("cfg++", y)
        if strength == 0:
            return denoise(x, t)
        conditional, unconditional = denoise_pair(denoise, x, t, y)
        w = strength / (1 - _rho_ratio(sde, t, ratio))
        return unconditional + broadcast(w, x) * (conditional - unconditional)

    return guided


def _rho_ratio(sde: SDE, t: Tensor, ratio: float) -> Tensor:
    """Return rho_s / rho_t of the step of the grid that contains t, 0 for the final denoising, or `ratio`."""
    context = current_context()
    if context is None:
        return torch.tensor(ratio, dtype=torch.float64)
    start, end = context.step_containing(t)
    rho_ratio = torch.full_like(start, ratio) if context.adaptive else sde.rho(end) / sde.rho(start)
    return torch.where(t.cpu().double() > context.times[-1], rho_ratio, 0)
