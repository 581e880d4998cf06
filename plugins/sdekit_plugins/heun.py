"""Heun's method on the probability flow."""

from dataclasses import dataclass

from torch import Tensor

from sdekit.line import Line
from sdekit.noise import Noise
from sdekit.renoise import renoise
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise


@dataclass(frozen=True, kw_only=True)
class Heun(Sampler):
    """Heun's method on the probability flow, as EDM's: y_s = y_t + (r_s - r_t) (v_t + v_s) / 2 (`sdekit.line`).

    Written as DDIM's step plus a correction, so that no digit is lost at high noise. Two calls a step.
    Source: Karras et al. 2022, Algorithm 1 with S_churn = 0.
    """

    order = 2
    calls = 2
    default_steps = 18

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        line = Line.edm(sde)
        x0 = denoise(x, t)
        x_s = renoise(sde, x, x0, t, s, None, 0)
        change = line.velocity(x_s, denoise(x_s, s), s) - line.velocity(x, x0, t)
        return x_s + line.scale(s) * (line.r(s) - line.r(t)) / 2 * change
