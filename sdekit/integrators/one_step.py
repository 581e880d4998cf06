"""One-step methods that are linear in x, x_0 and new noise: the coefficients of all steps of a grid in one go."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, Sampler, kept

Coefficients = tuple[Tensor, Tensor, Tensor]
"""Of x_t, of the denoised x_0 and of the noise, each with the shape of the times."""


class OneStep(Sampler):
    """A sampler of one call a step, x_s = a x_t + b D(x_t, t) + c z: a, b, c know only times, z is standard normal."""

    @abstractmethod
    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        """a, b, c for n steps from t to s, (n,) each, float64, s < t. Where c is 0, no noise is drawn."""

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        (x_s,) = self.trajectory(sde, denoise, x, torch.stack([t, s]), noise)
        return x_s

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        for (t, s), (a, b, c) in zip(pairwise(times.unbind()), kept(self._rows, sde, times), strict=True):
            x0 = denoise(x, t)
            x = (x * a).add_(x0, alpha=b)
            if c:
                x.add_(noise(t, s), alpha=c)
            yield x

    def _rows(self, sde: SDE, times: Tensor) -> list[tuple[float, float, float]]:
        a, b, c = (v.tolist() for v in self.coefficients(sde, times[:-1], times[1:]))
        return list(zip(a, b, c, strict=True))
