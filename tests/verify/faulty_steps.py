"""Samplers with one fault each in a step of Heun's method, and the correct method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sdekit.processes import SDE, Denoiser, as_time, renoise
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True, kw_only=True)
class Heun(Sampler):
    """Correct: Heun's method in rho."""

    order = 2
    calls_per_step = 2

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        x0 = denoise(x, t)
        x_s = renoise(sde, x, x0, t, s, None, 0)
        return self.corrected(sde, x_s, x0, denoise(x_s, s), t, s)

    def corrected(self, sde: SDE, x_s: Tensor, x0: Tensor, x0_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
        """Return x_s, corrected for the change of x_0 over the step."""
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
    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        if s == sde.t_min:
            return renoise(sde, x, denoise(x, t), t, s, None, 0)
        return super().step(sde, denoise, x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class HiddenCall(Heun):
    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        denoise(x, (t + s) / 2)
        return super().step(sde, denoise, x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class HiddenBatch(Heun):
    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, lambda x, t: denoise(torch.cat([x, x]), t)[: len(x)], x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class CallsAtZero(Heun):
    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, lambda x, t: denoise(x, t if t > sde.t_min else as_time(0.0)), x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class Float32Schedule(Heun):
    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, denoise, x, t.float().double(), s.float().double(), noise)


@dataclass(frozen=True, kw_only=True)
class Float32Result(Heun):
    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, denoise, x, t, s, noise).float()


@dataclass(frozen=True, kw_only=True)
class InPlace(Heun):
    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return x.copy_(super().step(sde, denoise, x, t, s, noise))


@dataclass(frozen=True, kw_only=True)
class InPlaceDenoised(Heun):
    def corrected(self, sde: SDE, x_s: Tensor, x0: Tensor, x0_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
        result = super().corrected(sde, x_s, x0, x0_s, t, s)
        x0.mul_(2)
        return result


@dataclass(frozen=True, kw_only=True)
class KeepsGraph(Heun):
    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        with torch.enable_grad():
            return super().step(sde, denoise, x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class DividesByAlpha(Heun):
    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, denoise, sde.alpha(t) * (x / sde.alpha(t)), t, s, noise)


@dataclass(frozen=True, kw_only=True)
class WrongAxis(Heun):
    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
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
class Drifts(Heun):
    order = None

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, denoise, x, t, s, noise) + 0.1 * (t - s)


@dataclass(frozen=True, kw_only=True)
class TurnsNoise(Heun):
    """The noise in x has the wrong sign."""

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        x0 = denoise(x, t)
        denoise(x, t)
        return sde.perturb(x0, s, -sde.eps(x, x0, t))


@dataclass(frozen=True, kw_only=True)
class RhoAsTime(Heun):
    """The network is called with the noise level instead of the time."""

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, lambda x, u: denoise(x, sde.rho(u).clamp(max=1e3)), x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class CorrectsTooEarly(Heun):
    """The second network call is at t instead of s."""

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, lambda x, u: denoise(x, t), x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class FirstStepEuler(Heun):
    """The first step has no correction: the trajectory keeps its order, but the step does not."""

    def corrected(self, sde: SDE, x_s: Tensor, x0: Tensor, x0_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
        return x_s if t == sde.t_max else super().corrected(sde, x_s, x0, x0_s, t, s)


@dataclass(frozen=True, kw_only=True)
class SwapsAtTheEnd(Heun):
    """The last step exchanges x_0 and eps."""

    def corrected(self, sde: SDE, x_s: Tensor, x0: Tensor, x0_s: Tensor, t: Tensor, s: Tensor) -> Tensor:
        if s == sde.t_min:
            return sde.perturb(sde.eps(x_s, x0_s, s), s, x0_s)
        return super().corrected(sde, x_s, x0, x0_s, t, s)


@dataclass(frozen=True, kw_only=True)
class Clips(Heun):
    """x_0 is clipped to [-1, 1]."""

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return super().step(sde, lambda x, u: denoise(x, u).clamp(-1, 1), x, t, s, noise)


@dataclass(frozen=True, kw_only=True)
class Cancels(Heun):
    """A large number is added and subtracted."""

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        return (super().step(sde, denoise, x, t, s, noise) + 1e5) - 1e5
