"""The two ends of the probability flow: from x_0 to t_min, where a model begins, and the density at t_max."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sdekit.processes import SDE, Denoiser, as_time

from .trace import Trace

Divergence = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""`divergence(x, t) -> (D, trace)`: the denoised x (B, d), and estimates (B, K) of the trace of dD/dx."""


ADAMS = (23 / 12, -16 / 12, 5 / 12)
"""Weights of the values at tau, 2 tau and 3 tau in the integral over [0, tau] (Adams's rule of order 3, reflected)."""


def leave_data(sde: SDE, denoise: Denoiser, divergence: Divergence, x0: Tensor) -> tuple[Tensor, Tensor]:
    """Follow the probability flow from x_0 at rho = 0 to t_min.

    With z = x / alpha and tau = rho^2, the flow is dz/dtau = -score / 2. The score is finite at tau = 0, but
    (D - z) / tau can be evaluated only from t_min on. The integral over [0, tau] therefore uses the score at tau,
    2 tau and 3 tau. Its error is of order tau^4.

    Arguments:
        sde: Process.
        denoise: Denoiser of states (B, d).
        divergence: Denoiser and trace.
        x0: Data (B, d).
    Returns:
        State x at t_min (B, d), and log p_0(x_0) - log p_z(z) (B, K), where p_z is the density of z at t_min.
    """
    (t1, t2, t3), tau = _levels(sde)
    f1 = _slope(sde, denoise, x0, t1)
    f1 = _slope(sde, denoise, x0 + tau * f1, t1)
    f2 = _slope(sde, denoise, x0 + 2 * tau * f1, t2)
    nodes = (x0 + tau * (1.5 * f1 - 0.5 * f2), x0 + 2 * tau * f1, x0 + 1.5 * tau * (f1 + f2))  # all of order tau^3
    z, change = x0, x0.new_zeros(())
    for weight, node, t in zip(ADAMS, nodes, (t1, t2, t3), strict=True):
        alpha, rho = sde.alpha(t), sde.rho(t)
        denoised, traces = divergence(alpha * node, t)
        z = z + weight * tau * 0.5 * (node - denoised) / rho**2
        change = change + weight * tau * 0.5 * (x0.shape[1] - alpha * traces) / rho**2
    return sde.alpha(t1) * z, change


def reach_data(sde: SDE, denoise: Denoiser, x: Tensor) -> Tensor:
    """Follow the probability flow from x (B, d) at t_min to x_0, the inverse of `leave_data` up to order tau^4.

    Arguments:
        sde: Process.
        denoise: Denoiser of states (B, d).
        x: State at t_min (B, d).
    Returns:
        x_0 (B, d).
    """
    (t1, t2, t3), tau = _levels(sde)
    z = x / sde.alpha(t1)
    f1 = _slope(sde, denoise, z, t1)
    f2 = _slope(sde, denoise, z + tau * f1, t2)
    f3 = _slope(sde, denoise, z + 2 * tau * f2, t3)
    f2 = _slope(sde, denoise, z + 0.5 * tau * (f1 + f2), t2)
    return z - tau * (ADAMS[0] * f1 + ADAMS[1] * f2 + ADAMS[2] * f3)


def log_density_at_t_max(sde: SDE, denoise: Denoiser, divergence: Divergence, x: Tensor, trace: Trace) -> Tensor:
    """Return log p(x) at t_max, (B,), from the denoiser at t_max.

    If alpha(t_max) = 0, p is N(0, sigma^2 I). Otherwise the prior that samplers start from, N(0, sigma^2 I), is only
    an approximation: its log-density is off by terms of order mean / rho. The line integral of the score,
    log p(x) = log p(0) + int_0^1 x . score(v x) dv, includes them. By Tweedie's formula

        log p(x) = log N(x; 0, sigma^2 I) + alpha / sigma^2 int_0^1 x . D(v x) dv - int_0^u E|x_0|^2 du,
        E|x_0|^2 = |D(0)|^2 + (sigma^2 / alpha) tr dD/dx (0).

    The last term is log p(0) - log N(0; 0, sigma^2 I), with u = 1 / (2 rho^2). Its integrand is evaluated at u and at
    2 u. Simpson's rule makes the line integral exact up to the fourth order of log p in x.

    Arguments:
        sde: Process.
        denoise: Denoiser of states (B, d).
        divergence: Denoiser and trace.
        x: States at t_max (B, d).
        trace: Method of the trace.
    Returns:
        Log-densities in nats (B,).
    """
    t = as_time(sde.t_max)
    alpha, sigma = sde.alpha(t), sde.sigma(t)
    d = x.shape[1]
    normal = -0.5 * (x / sigma).square().sum(1) - d * (sigma.log() + 0.5 * math.log(2 * math.pi))
    if alpha < 1e-6:
        return normal
    at_zero, at_half, at_end = (denoise(u * x, t) for u in (0, 0.5, 1))
    line = (x * (at_zero + 4 * at_half + at_end)).sum(1) / 6
    earlier = sde.time(sde.rho(t) / math.sqrt(2)).clamp(min=sde.t_min)
    squares = []
    for time in (t, earlier):
        mean, traces = divergence(torch.zeros_like(x), time)
        squares.append(mean.square().sum(1) + sde.sigma(time) ** 2 / sde.alpha(time) * traces.mean(1))
    square = 1.5 * squares[0] - 0.5 * squares[1]
    return normal + alpha / sigma**2 * line - 0.5 * (alpha / sigma) ** 2 * square


def _levels(sde: SDE) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Return the times at which rho^2 is tau, 2 tau and 3 tau, and tau, which is rho^2 at t_min."""
    t = as_time(sde.t_min)
    tau = sde.rho(t) ** 2
    double, triple = (sde.time((factor * tau).sqrt()).clamp(max=sde.t_max) for factor in (2, 3))
    return (t, double, triple), tau


def _slope(sde: SDE, denoise: Denoiser, z: Tensor, t: Tensor) -> Tensor:
    """Return dz/dtau = (z - D) / (2 rho^2)."""
    return 0.5 * (z - denoise(sde.alpha(t) * z, t)) / sde.rho(t) ** 2
