"""Predictions: the quantity that a network F is trained to predict, as a table of coefficients (c_skip, c_out)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


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


PREDICTIONS: dict[str, Callable[[Tensor, Tensor, float], tuple[Tensor, Tensor]]] = {
    "x0": _x0,
    "eps": _eps,
    "v": _v,
    "flow": _flow,
    "edm": _edm,
}
"""Functions (alpha, sigma, std) -> (c_skip, c_out) of the denoiser D = c_skip x + c_out F. `std` is the standard
deviation of the data.

- x0: F predicts x_0.
- eps: F predicts eps (Ho et al. 2020).
- v: F predicts (alpha eps - sigma x_0) / sqrt(alpha^2 + sigma^2) (Salimans & Ho 2022).
- flow: F predicts eps - x_0 (Liu et al. 2023).
- edm: the target of F has unit variance, and c_out is as small as possible (Karras et al. 2022, Table 1).
"""
