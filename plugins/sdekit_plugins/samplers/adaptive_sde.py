"""The reverse SDE with an adaptive step size for each sample."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.processes import SDE, Denoiser, best_float, renoise
from sdekit.sampling import Noise, Sampler, path_time, time_at

SMALLEST_STEP = 1e-9
"""Step size below which the solver raises an error."""
LARGEST_LOG_STEP = -4
"""Largest step size, 1/2, as four times its log2. After a longer step, D(x', s) would agree with any x', so that the
error is not detected."""


@dataclass(frozen=True, kw_only=True)
class AdaptiveSDE(Sampler):
    """Adaptive SDE: the reverse SDE with a step size for each sample, from the error of two solutions.

    Both solutions use the same noise. x' is the ancestral step with D(x_t, t), of first order. x'' is the same step
    with the mean of D(x_t, t) and D(x', s), of second order. A sample moves to x'' if its error

        E = rms((x' - x'') / (atol + rtol max(|x'|, |x|)))

    is at most 1. In either case its step size becomes h <- 0.9 h E^(-0.9). h is a step in log(1 + 1000 / rho), which is
    finite where alpha is 0. The steps end exactly at the times of the grid. Each attempt takes two calls.

    The noise is taken from a Brownian path. Drawing new noise after a rejected attempt, as in the paper, would
    favour small noise and introduce a bias.

    Arguments:
        rtol: Relative tolerance, > 0.
        atol: Absolute tolerance, > 0, in the data's units; 1/128 of images in [-1, 1] is one grey level.
    Source:
        Jolicoeur-Martineau et al. 2021, Algorithm 1, with exponential steps instead of Euler-Maruyama's.
    """

    rtol: float = 0.05
    atol: float = 0.0078

    stochastic = True
    calls_per_step = None
    default_steps = 2
    default_noise = "brownian"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (self.rtol > 0 and self.atol > 0):
            raise InputError(f"adaptive-sde: tolerances must be positive, got rtol={self.rtol}, atol={self.atol}")

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        # A sample does not wait for others at the times of the grid, so that its draws do not depend on them.
        path, last = x.new_empty((len(times), *x.shape)), len(times) - 1
        ends = path_time(sde, times)
        goal = torch.ones(len(x), dtype=torch.long).clamp(max=last)  # index of the next grid time of each sample
        t, log_step = times[0].expand(len(x)), torch.full((len(x),), -12.0, dtype=torch.float64)  # 4 log2 of the step
        while (running := t > times[last]).any():
            u, h = path_time(sde, t), (log_step / 4).exp2()
            arrives = u + 1.01 * h >= ends[goal]
            s = torch.where(running, torch.where(arrives, times[goal], time_at(sde, u + h)), t)
            x_s, error = self._attempt(sde, denoise, x, t, s, noise)
            accepted = running & (error <= 1)
            x = torch.where(_rows(accepted, x), x_s, x)
            for i in goal[accepted & arrives].unique().tolist():
                path[i] = torch.where(_rows(accepted & arrives & (goal == i), x), x, path[i])
            t, goal = torch.where(accepted, s, t), (goal + (accepted & arrives).long()).clamp(max=last)
            # step sizes are powers of 2^(1/4), so that rounding errors, which depend on the batch, do not change them
            factor = (0.9 * error**-0.9).nan_to_num(nan=0.2).clamp(0.2, 2)
            log_step = (log_step + (4 * factor.log2() + 1e-6).floor()).clamp(max=LARGEST_LOG_STEP)
            self._check_step(t, h, running)
        yield from path[1:]

    def _attempt(
        self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor]:
        """Return x'', (B, *), and the error E, (B,), float64 on the CPU; t and s are (B,)."""
        x0, z = denoise(x, t), noise(t, s)
        first = renoise(sde, x, x0, t, s, z)
        second = renoise(sde, x, (x0 + denoise(first, s)) / 2, t, s, z)
        scale = self.atol + self.rtol * first.abs().maximum(x.abs())
        error = ((first - second) / scale).flatten(1).to(best_float(x.device))
        return second, error.square().mean(1).sqrt().cpu().double()

    def _check_step(self, t: Tensor, h: Tensor, running: Tensor) -> None:
        if (bad := running & (h < SMALLEST_STEP)).any():
            i = int(bad.nonzero()[0])
            raise SdekitError(
                f"adaptive-sde: cannot meet rtol={self.rtol:g}, atol={self.atol:g} at t = {t[i]:g} (step {h[i]:g} in "
                f"log rho, sample {i} of its batch): raise the tolerances, or check that the denoiser is finite there"
            )


def _rows(chosen: Tensor, x: Tensor) -> Tensor:
    """Reshape chosen (B,) so that it selects among the rows of x (B, *)."""
    return chosen.to(x.device).view(-1, *[1] * (x.ndim - 1))
