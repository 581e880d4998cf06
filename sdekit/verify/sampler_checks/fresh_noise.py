"""Checks of the option eta, which scales the standard deviation of the fresh noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from functools import partial

import torch
from torch import Tensor

from sdekit.distributions import GaussianMixture
from sdekit.processes import SDE
from sdekit.sampling import Sampler, karras
from sdekit.verify.common.check_results import Check, Finding, skip
from sdekit.verify.common.problems import MIXTURE_2D, AffineMap, initial_x, run_sampler, with_eta


def checks(sampler: Sampler, sde: SDE) -> Iterator[Check]:
    """Yield the checks of eta, if the sampler has this option."""
    if "eta" in {f.name for f in fields(sampler)}:
        law = "std of the fresh noise of each step is proportional to eta (Song, Meng & Ermon 2021, eq. 16)"
        yield Check("eta", law, partial(eta, sampler, sde))
        law = "x is a continuous function of eta at 0 and at 1"
        yield Check("eta limits", law, partial(eta_limits, sampler, sde))


def eta(sampler: Sampler, sde: SDE) -> Finding:
    """Check that the std of the fresh noise of each step is proportional to eta, at four noise levels."""
    levels = [(3.0, 2.95, 2.9), (1.0, 0.98, 0.96), (0.3, 0.295, 0.29), (0.12, 0.118, 0.116)]
    stds = {value: _fresh_stds(other, sde, levels) for value, other in with_eta(sampler, 1.0, 0.5, 0.25, 0.0).items()}
    if len(stds) < 2:
        return skip("fewer than two of the values 0, 0.25, 0.5 and 1 of eta are accepted")
    largest = next(iter(stds))
    full = stds.pop(largest)
    if not full.min() > 0:
        cause = "eta does not change the noise of each step: scale its std by eta"
        return Finding(False, float(full.min()), "noise in proportion to eta", cause)
    worst, result = 0.0, Finding(True, "in proportion", "std of the fresh noise in proportion to eta (2 %)")
    for value, std in stds.items():
        share = float(value.rpartition(" ")[2]) / float(largest.rpartition(" ")[2])
        error, at = ((std / full - share).abs().flatten()).max(0)
        if float(error) > max(worst, 0.02):
            worst, ratio = float(error), float((std / full).flatten()[at])
            powers = {"sqrt(eta)": share**0.5, "eta^2": share**2}
            nearest = min(powers, key=lambda name: abs(powers[name] - ratio))
            law = f"as {nearest}" if abs(powers[nearest] - ratio) < 0.03 else "not in proportion to eta"
            step = f"in step {int(at) % 2 + 1} of 2 at rho = {levels[int(at) // 2][0]:g}, "
            cause = f"{step}the noise scales {law}: scale its std by eta"
            if not share:
                cause = f"{step}at eta = 0 the step still adds noise"
            result = Finding(False, ratio, f"{share:g} (2 %), the share of the std at {largest}", cause)
    return result


def _fresh_stds(sampler: Sampler, sde: SDE, levels: Sequence[tuple[float, ...]]) -> Tensor:
    """Return the std of the noise that each step adds on grids of the given noise levels, (grids, steps)."""
    denoise = GaussianMixture(AffineMap.MEAN[None], AffineMap.STD[None]).denoiser(sde)

    def run(times: Tensor, unit: int) -> tuple[Tensor, int]:
        """Return x after each step if draw number `unit` is 1 and all others are 0, and the number of draws."""
        drawn = 0

        def noise(t: Tensor | None = None, s: Tensor | None = None) -> Tensor:
            nonlocal drawn
            drawn += 1
            return torch.full((1, 3), float(drawn - 1 == unit), dtype=torch.float64)

        states = run_sampler(sampler, sde, denoise, torch.zeros(1, 3, dtype=torch.float64), times, noise)
        return torch.stack(states), drawn

    variances = torch.zeros(len(levels), len(levels[0]) - 1, dtype=torch.float64)
    for row, level in zip(variances, levels, strict=True):
        times = sde.time(torch.tensor(level, dtype=torch.float64))
        zero, count = run(times, -1)
        for unit in range(count):
            change = (run(times, unit)[0] - zero).abs().amax((1, 2))
            first = change.nonzero()[:1]  # the step that uses this draw
            row[first] += change[first] ** 2
    return variances.sqrt()


def eta_limits(sampler: Sampler, sde: SDE) -> Finding:
    """Check that x changes little if eta changes from 0 to 0.001, or from 0.999 to 1, with the same draws."""
    for pair in ((0.0, 0.001), (0.999, 1.0)):
        ends = [
            run_sampler(other, sde, MIXTURE_2D.denoiser(sde), initial_x(sde, 2), karras(sde, 6))[-1]
            for other in with_eta(sampler, *pair).values()
        ]
        if len(ends) == 2 and (change := float((ends[0] - ends[1]).abs().max())) > 0.02:
            cause = f"the result jumps between eta = {pair[0]:g} and {pair[1]:g}: use one formula for all values of eta"
            return Finding(False, change, "at most 0.02", cause)
    return Finding(True, "continuous", "continuous")
