"""Heun's method on the probability flow."""

from dataclasses import dataclass

from sdekit import InputError, Sampler
from sdekit.processes import FlowCoordinates


@dataclass(frozen=True, kw_only=True)
class Heun(Sampler):
    """Heun's method: a deterministic second-order sampler with a chosen number of corrections per step.

        y_s = y_t + (r_s - r_t) (v_t + v_s) / 2

    y, r and v = dy/dr are the coordinates of `sdekit.processes.FlowCoordinates`.

    Arguments:
        corrections: Number of times that the velocity at s is evaluated, at least 0; 0 is Euler's method (DDIM), 1 is
            Heun's.
    Source:
        Karras et al. 2022, Algorithm 1 with S_churn = 0.
    """

    corrections: int = 1

    default_steps = 18

    def __post_init__(self):
        if self.corrections < 0:
            raise InputError(f"acme-heun: corrections must be at least 0, got {self.corrections}")

    @property
    def order(self):
        """Order of convergence, which `sdekit verify` measures."""
        return 2 if self.corrections else 1

    @property
    def calls_per_step(self):
        """Network calls per step."""
        return 1 + self.corrections

    def step(self, sde, denoise, x, t, s, noise):
        """Take one step from x_t (B, *) to x_s, s < t."""
        flow = FlowCoordinates(sde)
        y, h = x / flow.scale(t), flow.r(s) - flow.r(t)
        v = flow.velocity(x, denoise(x, t), t)
        x_s = flow.scale(s) * (y + h * v)
        for _ in range(self.corrections):
            x_s = flow.scale(s) * (y + h / 2 * (v + flow.velocity(x_s, denoise(x_s, s), s)))
        return x_s
