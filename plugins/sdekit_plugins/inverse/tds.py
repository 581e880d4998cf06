"""TDS: the twisted diffusion sampler, with weighted particles that correct the errors of guidance."""

from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.integrators import grid_rho
from sdekit.inverse import LinearizedDenoiser, Problem, shortening_factor
from sdekit.processes import SDE, Denoiser, broadcast, renoise
from sdekit.sampling import Noise, Sampler

LEAST_MODE_STD = 0.03**0.5
"""Standard deviation within a mode of the data, in the units of the model, from which the least variance of the twist
follows. A larger one makes the weights of narrow modes less exact, a smaller one the numbers beside a category."""


@dataclass(frozen=True)
class TDS(Sampler):
    """Twisted diffusion sampler: sequential Monte Carlo with several guided particles for each sample.

    A particle takes a step of DPM-Solver++(2M) of the reverse SDE: a step of DDPM with (1 + c) D_t - c D_u as x_0. D_u
    is the denoised x_0 of the step before, and c = h / (2 h_u) with the lengths h and h_u of both steps in log rho.
    With c = 0, standard deviations are too small, by about 6 % at 96 steps. The denoiser is guided:
    D' = D + C A* r / v, where r = y - A D, C = sigma^2 / alpha dD/dx and v = noise_std^2 + r* A C A* r / |r|^2. This is
    the first iteration of mmps and costs one backward pass through the network.

    Weights correct the errors of the guidance. A weight is the density of the step without guidance divided by its
    density with guidance, times the twist psi_t = N(y; A D, w I) at the end of the step divided by the twist at its
    start. The variance w is v, but at least that within a narrow mode of the data, because the variance of a category
    tends to 0 before the noise level does. The particles of a sample are resampled by weight if their effective number
    is below K / 2, and one is drawn at the end. As the number of particles grows, the samples follow the exact
    posterior of the unguided steps.

    Arguments:
        problem: The inverse problem, with a linear operator.
        particles: Number K of particles for each sample, at least 1; a step costs K network evaluations.
    Raises:
        InputError: If particles is below 1, or the operator is not linear.
    Source:
        Wu et al. 2023, Algorithm 1, with the variance along the residual of the covariance of Rozet et al. 2024, and
        the step of Lu et al. 2022b.
    """

    problem: Problem
    _: KW_ONLY
    particles: int = 8

    stochastic = True
    default_steps = 48

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.particles < 1:
            raise InputError(f"tds: needs particles >= 1, got {self.particles}")
        self.problem.linear("tds")

    @property
    def calls_per_step(self) -> int:
        """Network evaluations per step: one for each particle."""
        return self.particles

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        # at t_max (the same test as in `sample`) each particle starts from its own draw of the prior, else all from x
        at_t_max = bool(times[0] >= sde.t_max * (1 - 1e-6))
        starts = (sde.prior(noise()) if at_t_max else x for _ in range(self.particles - 1))
        xs = torch.stack([x, *starts])  # (K, B, *)
        log_weight = xs.new_zeros(xs.shape[:2])  # (K, B), without the twist
        # the twist is also evaluated at the end; the first step is skipped to save as many evaluations: x is pure noise
        twist_at_end = at_t_max and len(times) > 2
        if twist_at_end:
            yield sde.sigma(times[1]) / sde.sigma(times[0]) * x
            times = torch.cat([times[:1], times[2:]])
        x0_before = guided_before = xs
        for (t, s), c in zip(pairwise(times), extrapolation_weights(sde, times), strict=True):
            x0, guided, twist = self._guide(sde, denoise, xs, t)
            chosen, resampled_weight = resample(log_weight + twist, noise())
            parts = (xs, x0, guided, twist, x0_before, guided_before)
            xs, x0, guided, twist, x0_before, guided_before = (take(part, chosen) for part in parts)
            z = torch.stack([noise(t, s), *(noise() for _ in xs[1:])])  # only one particle uses a Brownian path
            mean, guided_mean = torch.lerp(x0, x0_before, -c), torch.lerp(guided, guided_before, -c)
            # the means of both steps are linear in x_0; shift is their distance in standard deviations of the step
            ratio = (sde.rho(s) / sde.rho(t)) ** 2
            shift = sde.alpha(s) / sde.sigma(s) * (1 - ratio).sqrt() * (guided_mean - mean)
            xs = renoise(sde, xs, guided_mean, t, s, z)
            x0_before, guided_before = x0, guided
            log_weight = resampled_weight - (shift * z + shift**2 / 2).flatten(2).sum(2) - twist
            if s > times[-1]:
                yield xs[0]
        if twist_at_end:
            log_weight = log_weight + self._guide(sde, denoise, xs, times[-1])[2]
        if len(times) > 1:
            yield take(xs, resample(log_weight, noise(), always=True)[0])[0]

    def _guide(self, sde: SDE, denoise: Denoiser, xs: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return D and D', (K, B, *) each, and log psi_t, (K, B), with one network evaluation for each particle."""
        operator, noise_variance = self.problem.linear("tds"), max(self.problem.noise_std**2, 1e-12)
        results = []
        for x in xs:
            linearized = LinearizedDenoiser(sde, denoise, x, t)
            r = self.problem.residual(linearized.x0)
            back = operator.adjoint(r)
            move = linearized.covariance(back)
            rr = r.flatten(1).square().sum(1).clamp(min=1e-30)
            # abs: the Jacobian of a trained network is not exactly a covariance, so that the variance may be negative
            v = noise_variance + (r * operator.apply(move)).flatten(1).sum(1).abs() / rr
            # without a least variance, particles far inside of a category would have a larger twist than others in it
            within_mode = linearized.gaussian_variance(LEAST_MODE_STD)
            gain = (back.flatten(1).square().sum(1) + 1e-12) / (rr + 1e-12)
            floor = noise_variance + within_mode * gain
            twist_variance = torch.maximum(v, floor)
            twist = -0.5 * (rr / twist_variance + operator.counts(x) * twist_variance.log())
            move = move / broadcast(v, x)
            guided = linearized.x0 + shortening_factor(operator.apply(move), r, x) * move
            results.append((linearized.x0, guided, twist))
        x0, guided, twist = (torch.stack(part) for part in zip(*results, strict=True))
        return x0, guided, twist


def extrapolation_weights(sde: SDE, times: Tensor) -> list[float]:
    """Return the weight c of each step in its x_0, (1 + c) D_t - c D_u; 0 for the first step."""
    h = grid_rho(sde, times).log().diff()
    return [0.0, *(h[1:] / (2 * h[:-1])).tolist()][: len(h)]


def resample(log_weight: Tensor, z: Tensor, *, always: bool = False) -> tuple[Tensor, Tensor]:
    """Draw particles by their weights, if the effective number of particles is below K / 2.

    Systematic resampling: its random number is computed from the first number of z. The first index on its own is also
    a draw by weight.

    Arguments:
        log_weight: Logarithms of the weights of the K particles of each sample, (K, B).
        z: Standard normal noise, (B, *).
        always: Whether to resample even if the effective number is large.
    Returns:
        Indices of the particles, (K, B), and their log-weights after resampling, (K, B).
    Source:
        Douc, Cappe & Moulines 2005.
    """
    k = len(log_weight)
    share = log_weight.cpu().double().softmax(0)
    offset = torch.special.ndtr(z.flatten(1)[:, :1].cpu().double())  # (B, 1), uniform in [0, 1]
    points = (torch.arange(k, dtype=torch.float64) / k + offset) % 1
    drawn = torch.searchsorted(share.cumsum(0).T.contiguous(), points).clamp(max=k - 1).T.to(z.device)
    replace = ((share.square().sum(0) * k > 2) | always).to(z.device)
    unchanged = torch.arange(k, device=z.device)[:, None]
    return torch.where(replace, drawn, unchanged), torch.where(replace, 0.0, log_weight)


def take(xs: Tensor, chosen: Tensor) -> Tensor:
    """Select particles by index.

    Arguments:
        xs: Particles, (K, B, *).
        chosen: Indices, (K, B).
    Returns:
        The chosen particles, (K, B, *).
    """
    return xs.gather(0, chosen.view(*chosen.shape, *[1] * (xs.ndim - 2)).expand(*chosen.shape, *xs.shape[2:]))
