"""The twisted diffusion sampler: several guided particles a sample, with weights that undo the guidance's errors."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.inverse import LinearizedDenoiser, Problem, bound
from sdekit.processes import SDE, Denoiser, broadcast, renoise
from sdekit.sampling import Noise, Sampler


@dataclass(frozen=True)
class TDS(Sampler):
    """Sequential Monte Carlo on the ancestral process: the exact posterior of its steps as particles grow in number.

    A particle steps as DDPM does under the guidance D' = D + C A* r / v, r = y - A D, C = sigma^2 / alpha dD/dx,
    v = noise_std^2 + r* A C A* r / |r|^2: the first conjugate gradient of mmps, one pass back through the network.
    Where that is wrong weights make it good: the ratio of the process's own step to the guided one, and the twist
    psi_t = N(y; A D, v I) at its end over that at its start. Particles of one sample are drawn anew by weight where
    fewer than half count, and one is drawn at the end. particles: K >= 1, network calls a step.
    Source: Wu et al. 2023, Algorithm 1, with the variance along the residual of Rozet et al. 2024's covariance.
    """

    problem: Problem
    _: KW_ONLY
    particles: int = 8

    stochastic = True
    default_steps = 32

    def __post_init__(self) -> None:
        if self.particles < 1:
            raise InputError(f"tds: needs particles >= 1, got {self.particles}")
        self.problem.linear("tds")

    @property
    def calls_per_step(self) -> int:
        """One for each particle."""
        return self.particles

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        top = bool(times[0] >= sde.t_max * (1 - 1e-6))  # as `sample` sees it; else x is what is known
        xs = torch.stack([x, *(sde.prior(noise()) if top else x for _ in range(self.particles - 1))])  # (K, B, *)
        earlier = xs.new_zeros(xs.shape[:2])  # log-weights (K, B), but for the twist
        last = top and len(times) > 2  # a look at the end too; its calls are saved at the start, where x tells nothing
        if last:
            yield sde.sigma(times[1]) / sde.sigma(times[0]) * x
            times = torch.cat([times[:1], times[2:]])
        for t, s in pairwise(times):
            x0, guided, twist = self._look(sde, denoise, xs, t)
            chosen, weight = resample(earlier + twist, noise())
            xs, x0, guided, twist = (take(part, chosen) for part in (xs, x0, guided, twist))
            z = torch.stack([noise(t, s), *(noise() for _ in xs[1:])])  # a path is one particle's
            # both means are linear in x_0: the guided one lies so many standard deviations from the process's own
            kept = (sde.rho(s) / sde.rho(t)) ** 2
            shift = sde.alpha(s) / sde.sigma(s) * (1 - kept).sqrt() * (guided - x0)
            xs = renoise(sde, xs, guided, t, s, z)
            earlier = weight - (shift * z + shift**2 / 2).flatten(2).sum(2) - twist
            if s > times[-1]:
                yield xs[0]
        if last:
            earlier = earlier + self._look(sde, denoise, xs, times[-1])[2]
        if len(times) > 1:
            yield take(xs, resample(earlier, noise(), always=True)[0])[0]

    def _look(self, sde: SDE, denoise: Denoiser, xs: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """D and the guided D, (K, B, *), and log psi_t, (K, B): one network call a particle."""
        operator, noise = self.problem.linear("tds"), max(self.problem.noise_std**2, 1e-12)
        found = []
        for x in xs:
            local = LinearizedDenoiser(sde, denoise, x, t)
            r = self.problem.residual(local.x0)
            move = local.cov(operator.adjoint(r))
            rr = r.flatten(1).square().sum(1)
            # the slope of a trained network may be no covariance, and tell a negative variance
            v = noise + (r * operator.apply(move)).flatten(1).sum(1).abs() / rr.clamp(min=1e-30)
            twist = -0.5 * (rr / v + operator.count * v.log())
            move = move / broadcast(v, x)
            found.append((local.x0, local.x0 + bound(operator.apply(move), r, x) * move, twist))
        x0, guided, twist = (torch.stack(part) for part in zip(*found, strict=True))
        return x0, guided, twist


def resample(log_weight: Tensor, z: Tensor, *, always: bool = False) -> tuple[Tensor, Tensor]:
    """Indices (K, B) drawn by the weights exp(log_weight) (K, B) of each sample, and the log-weights from then on.

    Only where the effective number of particles is below half of K, or always. Systematic resampling (Douc, Cappe &
    Moulines 2005): the luck is the first number of z (B, *), standard normal; the first index alone is a draw too.
    """
    k = len(log_weight)
    share = log_weight.double().softmax(0)
    luck = torch.special.ndtr(z.flatten(1)[:, :1].double())  # (B, 1), uniform
    places = (torch.arange(k, dtype=torch.float64, device=z.device) / k + luck) % 1
    drawn = torch.searchsorted(share.cumsum(0).T.contiguous(), places).clamp(max=k - 1).T
    poor = (share.square().sum(0) * k > 2) | always
    stay = torch.arange(k, device=z.device)[:, None]
    return torch.where(poor, drawn, stay), torch.where(poor, 0.0, log_weight)


def take(xs: Tensor, chosen: Tensor) -> Tensor:
    """The particles xs (K, B, *) at the indices (K, B)."""
    return xs.gather(0, chosen.view(*chosen.shape, *[1] * (xs.ndim - 2)).expand(*chosen.shape, *xs.shape[2:]))
