"""Stochastic samplers with one fault each, and the correct samplers from which they derive."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sdekit.processes import SDE, Denoiser, renoise
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class Ancestral(Sampler):
    """Correct: DDPM with eta."""

    eta: float = 1.0

    order = 1
    stochastic = True

    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Return the draw of a step; faulty samplers override this method."""
        return noise(t, s)

    def strength(self) -> float:
        """Return the scale of the noise; faulty samplers override this method."""
        return self.eta

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return renoise(sde, x, denoise(x, t), t, s, self.draw(noise, x, t, s), self.strength())


@dataclass(frozen=True, kw_only=True)
class SqrtEta(Ancestral):
    def strength(self) -> float:
        return self.eta**0.5


@dataclass(frozen=True, kw_only=True)
class EtaLeavesNoise(Ancestral):
    def strength(self) -> float:
        return max(self.eta, 0.1)


@dataclass(frozen=True, kw_only=True)
class SharedNoise(Ancestral):
    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return noise(t, s)[:1].expand_as(x)


@dataclass(frozen=True, kw_only=True)
class MixedNoise(Ancestral):
    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        z = noise(t, s)
        return (z + z.roll(1, 0)) / 2**0.5


@dataclass(frozen=True, kw_only=True)
class BatchSizeNoise(Ancestral):
    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return torch.randn(x.shape, generator=torch.Generator().manual_seed(len(x)), dtype=x.dtype)


@dataclass(frozen=True, kw_only=True)
class TorchsNoise(Ancestral):
    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return torch.randn_like(x)


@dataclass(frozen=True, kw_only=True)
class NumpysNoise(Ancestral):
    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return torch.from_numpy(np.random.standard_normal(x.shape)).to(x)


@dataclass(frozen=True, kw_only=True)
class PythonsJitter(Ancestral):
    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return noise(t, s) * (1 + 0.01 * random.random())


@dataclass(frozen=True, kw_only=True)
class LoudNoise(Ancestral):
    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return 1.1 * noise(t, s)


@dataclass(frozen=True, kw_only=True)
class UpwardNoise(Ancestral):
    """The ends of the step are exchanged."""

    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return noise(s, t)


@dataclass(frozen=True, kw_only=True)
class DrawsTwice(Ancestral):
    """Two draws for one step, which are dependent on a Brownian path."""

    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return (noise(t, s) + noise(t, s)) / 2**0.5


@dataclass(frozen=True, kw_only=True)
class SilentDeclaration(Ancestral):
    stochastic = False
    order = None


@dataclass(frozen=True, kw_only=True)
class Unused(Ancestral):
    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return noise(t, s) * 0


@dataclass(frozen=True, kw_only=True)
class ForgetsLastNoise(Ancestral):
    """The last step removes old noise and adds no new noise."""

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        z = noise(t, s) * float(s > sde.t_min)
        return renoise(sde, x, denoise(x, t), t, s, z, self.eta)


@dataclass(frozen=True, kw_only=True)
class VarianceForStd(Ancestral):
    """The scale of the new noise is squared."""

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        fresh = (1 - (sde.rho(s) / sde.rho(t)) ** 2).sqrt()
        return renoise(sde, x, denoise(x, t), t, s, noise(t, s) * fresh, self.eta)


@dataclass(frozen=True, kw_only=True)
class Adaptive(Sampler):
    """Correct: an adaptive ancestral step, halved until the denoised x_0 changes little."""

    tolerance: float = 0.5

    calls_per_step = None
    stochastic = True
    requires_single_sample = True

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        for t, s in pairwise(times):
            x = self.between(sde, denoise, x, t, s, noise, 0)
            yield x

    def between(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise, depth: int) -> Tensor:
        """Return x at s after as many steps as needed."""
        x0, z = denoise(x, t), noise(t, s)
        x_s = renoise(sde, x, x0, t, s, z)
        if depth == 3 or float((denoise(x_s, s) - x0).abs().max()) < self.tolerance:
            return x_s
        middle = self.middle(sde, t, s)
        x = self.between(sde, denoise, x, t, middle, noise, depth + 1)
        return self.between(sde, denoise, x, middle, s, noise, depth + 1)

    def middle(self, sde: SDE, t: Tensor, s: Tensor) -> Tensor:
        """What the fault alters."""
        return sde.time((sde.rho(t).clamp(max=1e3) * sde.rho(s)).sqrt()).clamp(s, t)


@dataclass(frozen=True, kw_only=True)
class Float32Adaptive(Adaptive):
    """The times between those of the grid are rounded to float32."""

    def middle(self, sde: SDE, t: Tensor, s: Tensor) -> Tensor:
        return super().middle(sde, t, s).float().double()
