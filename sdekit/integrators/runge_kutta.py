"""Runge-Kutta methods on the probability flow: the coefficients of all stages of a whole grid in one go."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from sdekit.processes import SDE, Denoiser
from sdekit.sampling import Noise, Sampler, kept

from .multistep import add_weighted


class RungeKutta(Sampler):
    """A sampler of several calls a step: from x_t, stage j leads to time u_j, and the last stage to s.

    x_j = alpha_j D_0 + sigma_j eps_0 + sum_k w_jk (D_k - D_0), k < j: DDIM's step from t, plus what the denoised D_k
    at the stages before adds. Any explicit Runge-Kutta or exponential method has this form, whatever its variable.
    """

    @abstractmethod
    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """For n steps from t to s, (n,) each, float64: the times u_1, ..., u_S = s, (n, S), and w_jk, (n, S, S - 1)."""

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        (x_s,) = self.trajectory(sde, denoise, x, torch.stack([t, s]), noise)
        return x_s

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if len(times) == 1:
            return
        asked, table = kept(self._table, sde, times)
        for u, row in zip(asked.clone().unbind(), table, strict=True):  # what is kept is not for a denoiser to change
            d, x_j = [], x
            for u_j, (keep, w) in zip(u.unbind(), row, strict=True):
                d.append(denoise(x_j, u_j))
                x_j = add_weighted(x * keep, w, d)
            x = x_j
            yield x

    def _table(self, sde: SDE, times: Tensor) -> tuple[Tensor, list[list[tuple[float, list[float]]]]]:
        """Of each step, of each call: its time, (n, S), and the weights of x_t and of the D's in what it leads to."""
        u, change = self.stages(sde, times[:-1], times[1:])
        u = torch.cat([times[:-1, None], u], 1)
        sigma = sde.sigma(u)
        clock = sde.alpha(u) / sigma
        whole = sigma * (clock - clock[:, :1])  # DDIM's weight of D_0
        keep = (sigma / sigma[:, :1])[:, 1:].tolist()
        w = torch.cat([whole[:, 1:, None] - change.sum(2, keepdim=True), change], 2).tolist()
        return u[:, :-1], [list(zip(*row, strict=True)) for row in zip(keep, w, strict=True)]
