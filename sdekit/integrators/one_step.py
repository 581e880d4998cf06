"""One-step methods that are linear in x_t, x_0 and new noise."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, Sampler

Coefficients = tuple[Tensor, Tensor, Tensor]
"""Weights of x_t, of the denoised x_0 and of the noise, each with the shape of the times."""


class OneStep(Sampler):
    """Base class of one-step methods x_s = a x_t + b D(x_t, t) + c z, with z standard normal: one call per step.

    The coefficients depend on the times alone. They are computed for the whole grid at once.
    """

    @abstractmethod
    def coefficients(self, sde: SDE, t: Tensor, s: Tensor) -> Coefficients:
        """Return a, b and c of the steps from t to s.

        Arguments:
            sde: Process.
            t: Start of each step, (n,), float64.
            s: End of each step, (n,), s < t.
        Returns:
            a, b, c, (n,) each. No noise is drawn in a step with c = 0.
        """

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        (x_s,) = self.trajectory(sde, denoise, x, torch.stack([t, s]), noise)
        return x_s

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        rows = (v.tolist() for v in self.coefficients(sde, times[:-1], times[1:]))
        for (t, s), a, b, c in zip(pairwise(times.unbind()), *rows, strict=True):
            x0 = denoise(x, t)
            x = (x * a).add_(x0, alpha=b)
            if c:
                x.add_(noise(t, s), alpha=c)
            yield x
