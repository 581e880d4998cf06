"""Heun's method on the probability flow."""

from dataclasses import dataclass

from sdekit import InputError, Sampler
from sdekit.processes import FlowCoordinates


@dataclass(frozen=True, kw_only=True)
class Heun(Sampler):
    """Heun's method, y_s = y_t + (r_s - r_t) (v_t + v_s) / 2, in the coordinates of `sdekit.processes.coordinates`.

    corrections: how often the velocity at s is asked for; 0 is Euler's method (DDIM), 1 is Heun's.
    Source: Karras et al. 2022, Algorithm 1 with S_churn = 0.
    """

    corrections: int = 1

    default_steps = 18

    def __post_init__(self):
        if self.corrections < 0:
            raise InputError(f"acme-heun: corrections must be at least 0, got {self.corrections}")

    @property
    def order(self):
        """Of convergence, as `sdekit verify` measures it."""
        return 2 if self.corrections else 1

    @property
    def calls_per_step(self):
        """Network calls a step."""
        return 1 + self.corrections

    def step(self, sde, denoise, x, t, s, noise):
        """From x_t (B, *) to x_s, s < t."""
        line = FlowCoordinates(sde)
        y, h = x / line.scale(t), line.r(s) - line.r(t)
        v = line.velocity(x, denoise(x, t), t)
        x_s = line.scale(s) * (y + h * v)
        for _ in range(self.corrections):
            x_s = line.scale(s) * (y + h / 2 * (v + line.velocity(x_s, denoise(x_s, s), s)))
        return x_s
