"""Explicit Runge-Kutta methods on the probability flow, including exponential ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from sdekit.processes import SDE, Denoiser, FlowCoordinates
from sdekit.sampling import Noise, Sampler

from .multistep import weighted_sum

Stage = tuple[Tensor, Sequence[Tensor | float]]
"""Time u_j of a stage, (n,), and the weights of D_0, ..., D_{j-1} in x_j, (n,) or a number each."""


class RungeKutta(Sampler):
    """Base class of Runge-Kutta methods, which make several calls per step; the last stage is at s.

        x_j = (sigma_j / sigma_t) x_t + sum_{k<j} w_jk D_k,    D_k = D(x_k, u_k), x_0 = x_t, u_0 = t

    Every explicit Runge-Kutta method has this form, in whichever variables the probability flow is written, because it
    is exact for a constant D. The weights of a stage therefore add up to the weight of DDIM's step, `ddim_weight`. The
    weights are computed for the whole grid at once.
    """

    @abstractmethod
    def stages(self, sde: SDE, t: Tensor, s: Tensor) -> list[Stage]:
        """Return the stages of the steps from t to s, in order; the time of the last one is s.

        Arguments:
            sde: Process.
            t: Start of each step, (n,), float64.
            s: End of each step, (n,), s < t.
        Returns:
            One (time, weights) per call.
        """

    def step(self, sde: SDE, denoise: Denoiser, x: Tensor, t: Tensor, s: Tensor, noise: Noise) -> Tensor:
        (x_s,) = self.trajectory(sde, denoise, x, torch.stack([t, s]), noise)
        return x_s

    def trajectory(self, sde: SDE, denoise: Denoiser, x: Tensor, times: Tensor, noise: Noise) -> Iterator[Tensor]:
        if len(times) == 1:
            return
        t, s = times[:-1], times[1:]
        stages = self.stages(sde, t, s)
        sigma = torch.stack([sde.sigma(u) for u, _ in stages], 1)
        ratios = (sigma / sde.sigma(t)[:, None]).tolist()
        calls_at = torch.stack([t, *(u for u, _ in stages[:-1])], 1)
        weights = [torch.stack([w + 0 * t for w in row], 1).tolist() for _, row in stages]
        for i, u in enumerate(calls_at.unbind()):
            denoised, x_j = list[Tensor](), x
            for j, u_j in enumerate(u.unbind()):
                denoised.append(denoise(x_j, u_j))
                x_j = weighted_sum(x * ratios[i][j], weights[j][i], denoised)
            x = x_j
            yield x


def ddim_weight(sde: SDE, t: Tensor, s: Tensor) -> Tensor:
    """Return the weight of D in DDIM's step from t to s, x_s = (sigma_s / sigma_t) x_t + w D.

    Arguments:
        sde: Process.
        t: Start of each step, any shape.
        s: End of each step, shape of t.
    Returns:
        alpha_s - alpha_t sigma_s / sigma_t, shape of t.
    """
    return sde.alpha(s) - sde.alpha(t) * sde.sigma(s) / sde.sigma(t)


def tableau_stages(
    flow: FlowCoordinates, t: Tensor, times: Sequence[Tensor], tableau: Sequence[Sequence[Tensor | float]]
) -> list[Stage]:
    """Return the stages of an explicit Runge-Kutta method for dy/dr = v, in the coordinates of `FlowCoordinates`.

        y_j = y_t + h sum_{k<j} a_jk v_k,    v_k = (y_k - D_k) / r_k,    h = r_s - r_t

    Because v is linear in y and D, y_j = (r_j / r_t) y_t + sum_k q_jk D_k. Inserting v_k gives q_jk recursively.

    Arguments:
        flow: Coordinates y and r.
        t: Start of each step, (n,), float64.
        times: Time of each stage, (n,) each; the last is s.
        tableau: Rows of a, one for each stage, with one entry, (n,) or a number, for each earlier stage. Row j adds up
            to (r_j - r_t) / h; the last row contains the weights of the method.
    Returns:
        Stages in the form of `RungeKutta.stages`.
    """
    r = [flow.r(u) for u in (t, *times)]
    h = r[-1] - r[0]
    q = [list[Tensor]()]  # q[j][k]: weight of D_k in y_j
    for row in tableau:
        q.append([])
        for k in range(len(row)):
            before = sum((row[m] * q[m][k] / r[m] for m in range(k + 1, len(row))), torch.zeros_like(h))
            q[-1].append(h * (before - row[k] / r[k]))
    return [(u, [flow.scale(u) * q_jk for q_jk in row]) for u, row in zip(times, q[1:], strict=True)]
