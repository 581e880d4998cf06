"""Samplers with one fault each, beside the sound ones that they were made from."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdekit.noise import Noise
from sdekit.renoise import renoise
from sdekit.sampling import Sampler
from sdekit.sde import SDE, Denoise, as_time


@dataclass(frozen=True, kw_only=True)
class Ancestral(Sampler):
    """Sound: DDPM with eta."""

    eta: float = 1.0

    order = 1
    stochastic = True

    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """What the faults alter."""
        return noise(t, s)

    def strength(self) -> float:
        """What the faults alter."""
        return self.eta

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
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
class SilentDeclaration(Ancestral):
    stochastic = False
    order = None


@dataclass(frozen=True, kw_only=True)
class Unused(Ancestral):
    def draw(self, noise: Noise, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return noise(t, s) * 0


@dataclass(frozen=True, kw_only=True)
class Heun(Sampler):
    """Sound: Heun's method in rho."""

    order = 2
    calls = 2

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        x0 = denoise(x, t)
        x_s = renoise(sde, x, x0, t, s, None, 0)
        return self.corrected(sde, x_s, x0, denoise(x_s, s), t, s)

    def corrected(self, sde: SDE, x_s: Tensor, x0: Tensor, x0_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """x_s with x_0's change over the step taken into account."""
        r_t, r_s = (sde.sigma(u) / (sde.alpha(u) + sde.sigma(u)) for u in (t, s))
        scale = sde.alpha(s) + sde.sigma(s)
        # dy/dr = eps - x_0, and x_s = DDIM's: y_s + (r_s - r_t) (v_s - v_t) / 2 with both velocities at x_s and x_t
        x_t = sde.perturb(x0, t, sde.eps(x_s, x0, s))
        v_t, v_s = sde.eps(x_t, x0, t) - x0, sde.eps(x_s, x0_s, s) - x0_s
        return x_s + scale * (r_s - r_t) / 2 * (v_s - v_t)


@dataclass(frozen=True, kw_only=True)
class DropsLastCorrection(Heun):
    def corrected(self, sde: SDE, x_s: Tensor, x0: Tensor, x0_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return x_s if s == sde.t_min else super().corrected(sde, x_s, x0, x0_s, t, s)


@dataclass(frozen=True, kw_only=True)
class NeverCorrects(Heun):
    def corrected(self, sde: SDE, x_s: Tensor, x0: Tensor, x0_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return x_s


@dataclass(frozen=True, kw_only=True)
class SkipsLastCall(Heun):
    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        if s == sde.t_min:
            return renoise(sde, x, denoise(x, t), t, s, None, 0)
        return super().step(sde, denoise, x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class HiddenCall(Heun):
    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        denoise(x, (t + s) / 2)
        return super().step(sde, denoise, x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class HiddenBatch(Heun):
    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, lambda x, t: denoise(torch.cat([x, x]), t)[: len(x)], x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class CallsAtZero(Heun):
    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, lambda x, t: denoise(x, t if t > sde.t_min else as_time(0.0)), x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class Float32Schedule(Heun):
    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, denoise, x, t.float().double(), s.float().double(), noise)


@dataclass(frozen=True, kw_only=True)
class Float32Result(Heun):
    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, denoise, x, t, s, noise).float()


@dataclass(frozen=True, kw_only=True)
class InPlace(Heun):
    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return x.copy_(super().step(sde, denoise, x, t, s, noise))


@dataclass(frozen=True, kw_only=True)
class InPlaceDenoised(Heun):
    def corrected(self, sde: SDE, x_s: Tensor, x0: Tensor, x0_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
        result = super().corrected(sde, x_s, x0, x0_s, t, s)
        x0.mul_(2)
        return result


@dataclass(frozen=True, kw_only=True)
class KeepsGraph(Heun):
    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        with torch.enable_grad():
            return super().step(sde, denoise, x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class DividesByAlpha(Heun):
    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, denoise, sde.alpha(t) * (x / sde.alpha(t)), t, s, noise)


@dataclass(frozen=True, kw_only=True)
class WrongAxis(Heun):
    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        x_s = super().step(sde, denoise, x, t, s, noise)
        return x_s if x.ndim == 2 else x_s + 0 * x_s + (x_s - x_s.mean((2, 3), keepdim=True)) * 0.01


class Undecorated(Heun):
    scale: float = 1.0


@dataclass(frozen=True)
class Positional(Heun):
    extra: float = 0.0


@dataclass(frozen=True, kw_only=True)
class NoDefault(Heun):
    scale: float


@dataclass(frozen=True, kw_only=True)
class Multistep(Sampler):
    """Sound: DPM-Solver++(2M) (Lu et al. 2022), exponential Adams-Bashforth of order 2 in log-SNR / 2."""

    order = 2

    def ratio(self, h: Tensor, h_last: Tensor) -> Tensor:
        """What the faults alter."""
        return h / h_last

    def sigmas(self, sde: SDE, t: Tensor, s: Tensor) -> Tensor:
        """What the faults alter."""
        return sde.sigma(s) / sde.sigma(t)

    def trajectory(self, sde: SDE, denoise: Denoise, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        before: tuple[Tensor, Tensor] | None = None
        for t, s in pairwise(times):
            x0, h = denoise(x, t), sde.rho(t).clamp(max=1e8).log() - sde.rho(s).log()
            slope = torch.zeros_like(x) if before is None else (x0 - before[1]) * self.ratio(h, before[0]) / 2
            x = self.sigmas(sde, t, s) * x - sde.alpha(s) * torch.expm1(-h) * (x0 + slope)
            before = self.remembered(h, x0)
            yield x

    def remembered(self, h: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
        """What the faults alter."""
        return h, x0


@dataclass(frozen=True, kw_only=True)
class EqualStepsOnly(Multistep):
    def ratio(self, h: Tensor, h_last: Tensor) -> Tensor:
        return torch.ones_like(h)


@dataclass(frozen=True, kw_only=True)
class SigmaOfT(Multistep):
    def trajectory(self, sde: SDE, denoise: Denoise, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        before: tuple[Tensor, Tensor] | None = None
        for t, s in pairwise(times):
            x0, h = denoise(x, t), sde.rho(t).clamp(max=1e8).log() - sde.rho(s).log()
            slope = torch.zeros_like(x) if before is None else (x0 - before[1]) * self.ratio(h, before[0]) / 2
            # alpha_s (1 - e^-h) is alpha_s - alpha_t sigma_s / sigma_t: here with sigma_t in place of sigma_s
            x = self.sigmas(sde, t, s) * x + (sde.alpha(s) - sde.alpha(t)) * x0 - sde.alpha(s) * torch.expm1(-h) * slope
            before = h, x0
            yield x


@dataclass(frozen=True, kw_only=True)
class RemembersOutside(Multistep):
    memory: dict[str, Any] = field(default_factory=dict, compare=False)

    def trajectory(self, sde: SDE, denoise: Denoise, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        for t, s in pairwise(times):
            x0, h = denoise(x, t), sde.rho(t).clamp(max=1e8).log() - sde.rho(s).log()
            before = self.memory.get("before") if t < times[0] else None
            slope = torch.zeros_like(x) if before is None else (x0 - before[1]) * self.ratio(h, before[0]) / 2
            x = self.sigmas(sde, t, s) * x - sde.alpha(s) * torch.expm1(-h) * (x0 + slope)
            self.memory["before"] = h, x0
            yield x


@dataclass(frozen=True, kw_only=True)
class YieldsTheStart(Heun):
    def trajectory(self, sde: SDE, denoise: Denoise, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        yield x
        yield from super().trajectory(sde, denoise, x, times, noise)


@dataclass(frozen=True, kw_only=True)
class Drifts(Heun):
    order = None

    def step(self, sde: SDE, denoise: Denoise, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, denoise, x, t, s, noise) + 0.1 * (t - s)
