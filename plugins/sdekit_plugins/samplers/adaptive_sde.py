"""The reverse SDE with a step size for each sample."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.errors import InputError, SdekitError
from sdekit.processes import SDE, Denoiser, renoise
from sdekit.sampling import Noise, Sampler, path_time, time_at

SMALLEST = 1e-9  # step, where the solver gives up
LARGEST = -4  # step, 1/2, in quarter powers of 2: after a longer one D(x', s) agrees with x' wherever that may be


@dataclass(frozen=True, kw_only=True)
class AdaptiveSDE(Sampler):
    """A first-order step x' and the second-order x'' from the same noise; what they differ by sets the step size.

    x' = ancestral step with D(x_t, t), x'' = the same with the mean of D(x_t, t) and D(x', s). A sample moves to x''
    where its error E = rms((x' - x'') / (atol + rtol max(|x'|, |x|))) is at most 1; either way h <- 0.9 h E^(-0.9).
    Each sample has its own h, in log(1 + 1000 / rho), finite where alpha is 0; times of the grid are met exactly. Two
    calls a try. rtol, atol: tolerances, > 0; atol in the data's units (1/128 of images in [-1, 1] is one grey level).
    The noise is a Brownian path's: fresh noise after a rejected try, as in the paper, favours small noise and biases.
    Source: Jolicoeur-Martineau et al. 2021, Algorithm 1, with exponential steps in place of Euler-Maruyama's.
    """

    rtol: float = 0.05
    atol: float = 0.0078

    stochastic = True
    calls_per_step = None
    default_steps = 2
    default_noise = "brownian"

    def __post_init__(self) -> None:
        if not (self.rtol > 0 and self.atol > 0):
            raise InputError(f"adaptive-sde: tolerances must be positive, got rtol={self.rtol}, atol={self.atol}")

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        # Each sample runs to the end without waiting for others at the grid's times, so that its draws are its own.
        places, last = x.new_empty((len(times), *x.shape)), len(times) - 1
        ends = path_time(sde, times)
        goal = torch.ones(len(x), dtype=torch.long).clamp(max=last)  # index of the time that a sample heads for
        t, size = times[0].expand(len(x)), torch.full((len(x),), -12.0, dtype=torch.float64)
        while (running := t > times[last]).any():
            now, stop, h = path_time(sde, t), ends[goal], (size / 4).exp2()
            arrives = now + 1.01 * h >= stop
            s = torch.where(running, torch.where(arrives, times[goal], time_at(sde, now + h)), t)
            better, error = self._try(sde, denoise, x, t, s, noise)
            taken = running & (error <= 1)
            x = torch.where(_rows(taken, x), better, x)
            for i in goal[taken & arrives].unique().tolist():
                places[i] = torch.where(_rows(taken & arrives & (goal == i), x), x, places[i])
            t, goal = torch.where(taken, s, t), (goal + (taken & arrives).long()).clamp(max=last)
            # in quarter powers of 2, so that rounding, which differs from batch to batch, changes no step
            factor = (0.9 * error**-0.9).nan_to_num(nan=0.2).clamp(0.2, 2)
            size = (size + (4 * factor.log2() + 1e-6).floor()).clamp(max=LARGEST)
            self._check(t, h, running)
        yield from places[1:]

    def _try(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """x'' (B, *) and the error E (B,), float64 on the CPU; t and s are (B,)."""
        x0, z = denoise(x, t), noise(t, s)
        first = renoise(sde, x, x0, t, s, z)
        better = renoise(sde, x, (x0 + denoise(first, s)) / 2, t, s, z)
        scale = self.atol + self.rtol * first.abs().maximum(x.abs())
        return better, ((first - better) / scale).flatten(1).double().square().mean(1).sqrt().cpu()

    def _check(self, t: Tensor, h: Tensor, running: Tensor) -> None:
        if (bad := running & (h < SMALLEST)).any():
            i = int(bad.nonzero()[0])
            raise SdekitError(
                f"adaptive-sde: cannot meet rtol={self.rtol:g}, atol={self.atol:g} at t = {t[i]:g} (step {h[i]:g} in "
                f"log rho, sample {i} of its batch): raise the tolerances, or see whether the denoiser is finite there"
            )


def _rows(chosen: Tensor, x: Tensor) -> Tensor:
    """chosen (B,), made to select among the rows of x (B, *)."""
    return chosen.to(x.device).view(-1, *[1] * (x.ndim - 1))
