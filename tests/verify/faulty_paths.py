"""Samplers with one fault each in the trajectory or in the history of a multistep method."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sdekit.processes import SDE, Denoiser, as_time
from sdekit.sampling import Noise, Sampler

from .faulty_steps import Heun


@dataclass(frozen=True, kw_only=True)
class Multistep(Sampler):
    """Correct: DPM-Solver++(2M) (Lu et al. 2022), exponential Adams-Bashforth of order 2 in log-SNR / 2."""

    order = 2

    def ratio(self, h: Tensor, h_last: Tensor) -> Tensor:
        """Return a quantity of the step; faulty samplers override this method."""
        return h / h_last

    def sigmas(self, sde: SDE, t: Tensor, s: Tensor) -> Tensor:
        """Return a quantity of the step; faulty samplers override this method."""
        return sde.sigma(s) / sde.sigma(t)

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        before: tuple[Tensor, Tensor] | None = None
        for t, s in pairwise(times):
            x0, h = denoise(x, t), sde.rho(t).clamp(max=1e8).log() - sde.rho(s).log()
            slope = torch.zeros_like(x) if before is None else (x0 - before[1]) * self.ratio(h, before[0]) / 2
            x = self.sigmas(sde, t, s) * x - sde.alpha(s) * torch.expm1(-h) * (x0 + slope)
            before = self.remembered(h, x0)
            yield x

    def remembered(self, h: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
        """Return a quantity of the step; faulty samplers override this method."""
        return h, x0


@dataclass(frozen=True, kw_only=True)
class EqualStepsOnly(Multistep):
    def ratio(self, h: Tensor, h_last: Tensor) -> Tensor:
        return torch.ones_like(h)


@dataclass(frozen=True, kw_only=True)
class RatioUpsideDown(Multistep):
    """The errors of two neighbouring steps cancel, except in the last step."""

    def ratio(self, h: Tensor, h_last: Tensor) -> Tensor:
        return h_last / h


@dataclass(frozen=True, kw_only=True)
class SigmaOfT(Multistep):
    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
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

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        for t, s in pairwise(times):
            x0, h = denoise(x, t), sde.rho(t).clamp(max=1e8).log() - sde.rho(s).log()
            before = self.memory.get("before") if t < times[0] else None
            slope = torch.zeros_like(x) if before is None else (x0 - before[1]) * self.ratio(h, before[0]) / 2
            x = self.sigmas(sde, t, s) * x - sde.alpha(s) * torch.expm1(-h) * (x0 + slope)
            self.memory["before"] = h, x0
            yield x


@dataclass(frozen=True, kw_only=True)
class YieldsTheStart(Heun):
    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        yield x
        yield from super().trajectory(sde, denoise, x, times, noise)


@dataclass(frozen=True, kw_only=True)
class IndexAsTime(Heun):
    """The network is called with the index of the step as time."""

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        for i, (t, s) in enumerate(pairwise(times)):
            x = self.step(sde, lambda x, _, i=i: denoise(x, as_time(i)), x, t, s, noise)  # type: ignore[misc]
            yield x


@dataclass(frozen=True, kw_only=True)
class SkipsLastStep(Heun):
    """The last step is omitted."""

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        return super().trajectory(sde, denoise, x, times[:-1], noise)


@dataclass(frozen=True, kw_only=True)
class StopsOneEarly(Heun):
    """The last x is yielded twice, the second time as x at t_min."""

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        for x_s in super().trajectory(sde, denoise, x, times[:-1], noise):
            yield (x := x_s)
        denoise(x, times[-1])
        denoise(x, times[-1])
        yield x


@dataclass(frozen=True, kw_only=True)
class StaleHistory(Multistep):
    """The first step uses the history of the previous trajectory."""

    memory: dict[str, Any] = field(default_factory=dict, compare=False)

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        for t, s in pairwise(times):
            x0, h = denoise(x, t), sde.rho(t).clamp(max=1e8).log() - sde.rho(s).log()
            before = self.memory.get("before")
            fits = before is not None and before[1].shape == x0.shape
            slope = (x0 - before[1]) * self.ratio(h, before[0]) / 2 if fits and before else torch.zeros_like(x)
            x = self.sigmas(sde, t, s) * x - sde.alpha(s) * torch.expm1(-h) * (x0 + slope)
            self.memory["before"] = h, x0
            yield x


@dataclass(frozen=True, kw_only=True)
class OwnGrid(Heun):
    """It uses equal steps in t instead of the given times."""

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        own = torch.linspace(float(times[0]), float(times[-1]), len(times), dtype=torch.float64)
        return super().trajectory(sde, denoise, x, own, noise)
