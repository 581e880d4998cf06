"""What a network is trained to predict, as a table of coefficients (c_skip, c_out)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Coefficients = Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]


def _x0(alpha: Tensor, sigma: Tensor, std: float) -> tuple[Tensor, Tensor]:
    return torch.zeros_like(alpha), torch.ones_like(alpha)


def _eps(alpha: Tensor, sigma: Tensor, std: float) -> tuple[Tensor, Tensor]:
    return 1 / alpha, -sigma / alpha


def _v(alpha: Tensor, sigma: Tensor, std: float) -> tuple[Tensor, Tensor]:
    norm2 = alpha**2 + sigma**2
    return alpha / norm2, -sigma / norm2.sqrt()


def _flow(alpha: Tensor, sigma: Tensor, std: float) -> tuple[Tensor, Tensor]:
    return 1 / (alpha + sigma), -sigma / (alpha + sigma)


def _edm(alpha: Tensor, sigma: Tensor, std: float) -> tuple[Tensor, Tensor]:
    variance = (alpha * std) ** 2 + sigma**2
    return alpha * std**2 / variance, sigma * std / variance.sqrt()


PREDICTIONS: dict[str, Coefficients] = {"x0": _x0, "eps": _eps, "v": _v, "flow": _flow, "edm": _edm}
"""(c_skip, c_out) of D = c_skip x + c_out F, from (alpha, sigma, standard deviation of the data):
x0: F = x_0. eps: F = eps (Ho et al. 2020). v: F = (alpha eps - sigma x_0) / sqrt(alpha^2 + sigma^2) (Salimans & Ho
2022). flow: F = eps - x_0 (Liu et al. 2023). edm: F of unit variance and least gain (Karras et al. 2022, Table 1)."""
