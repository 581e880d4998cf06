"""A network, read as a denoiser: what its output means is a table of coefficients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .backend import Backed, Backend, Run, resolve
from .conditions import Conditioning
from .errors import InputError
from .line import LARGEST_RHO
from .sde import SDE, as_time, like

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


class ScoreModel(nn.Module):
    """D(x, t, y) = c_skip x + c_out F(c_in x, c_noise, y), F the network, c_in = 1 / std(x_t), c_noise = log(rho) / 4.

    network: `network(x (B, *), c_noise (B,), y (B, ...) or None) -> (B, *)`, inputs of about unit variance.
    prediction: a key of `PREDICTIONS`, what F is trained to be. data_std: standard deviation of the data, for c_in
    and "edm"; with VP and 1.0, c_in is 1. Raises InputError for an unknown prediction, and for "eps" on a process
    whose alpha reaches 0 (it divides by alpha). backend: how the network is run, see `run_with`.
    condition: what the network was trained to be told, which is checked on the CPU. Source: Karras et
    al. 2022, eq. 7, on any process.
    """

    def __init__(
        self,
        network: nn.Module,
        sde: SDE,
        prediction: str = "edm",
        *,
        data_std: float = 1.0,
        backend: Backend | str | None = None,
        condition: Conditioning | None = None,
    ) -> None:
        super().__init__()
        if prediction not in PREDICTIONS:
            raise InputError(f"no prediction {prediction!r}: choose one of {', '.join(PREDICTIONS)}")
        if prediction == "eps" and sde.alpha(as_time(sde.t_max)) < 1e-6:
            raise InputError(
                f"prediction 'eps' divides by alpha, which is 0 at t_max of {type(sde).__name__}: choose 'v', 'flow', "
                "'x0' or 'edm'"
            )
        self.network, self.sde, self.prediction, self.data_std = network, sde, prediction, data_std
        self.condition = condition
        self.backend: Backed | None = None
        if backend is not None:
            self.run_with(backend)

    def run_with(self, backend: Backend | str, *, name: str = "") -> ScoreModel:
        """From now on the denoiser runs its network with a backend: a registered name, or `backend(network)`.

        `loss` always runs the network itself. Checks and fallback: see `sdekit.backend.Backed`. name: for messages.
        Returns the model.
        """
        self.backend = resolve(self.network, backend, name=name)
        return self

    def forward(self, x: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        """The denoiser: x (B, *), t () or (B,), y (B, ...) or None; returns (B, *) in x's dtype.

        Raises InputError for a y that the network was not trained for.
        """
        t = as_time(t)
        if self.condition is not None:
            self.condition.check(y, values=y is not None and y.device.type == "cpu")
        c_skip, c_out = PREDICTIONS[self.prediction](self.sde.alpha(t), self.sde.sigma(t), self.data_std)
        return like(c_skip, x) * x + like(c_out, x) * self._output(self.backend or self.network, x, t, y).to(x.dtype)

    def score(self, x: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        """grad log p_t(x | y), (B, *)."""
        t = as_time(t)
        return self.sde.score(x, self(x, t, y), t)

    def loss(
        self, x0: Tensor, t: Tensor, eps: Tensor, y: Tensor | None = None, *, mean: Tensor | None = None
    ) -> Tensor:
        """Mean squared error of the network's output against what it should be, (B,).

        x0, eps (B, *), t () or (B,). mean: (B, *), E[x_0 | x_t] where it is known, to regress on in place of x0. The
        target is (x_0 - c_skip x_t) / c_out, written in x_0 and eps so that no digit is lost where c_out is small.
        For "eps" this is Ho et al. 2020, eq. 14; for "edm", Karras et al. 2022, eq. 8.
        """
        t = as_time(t)
        alpha, sigma = self.sde.alpha(t), self.sde.sigma(t)
        c_skip, c_out = PREDICTIONS[self.prediction](alpha, sigma, self.data_std)
        target = like((1 - c_skip * alpha) / c_out, x0) * x0 - like(c_skip * sigma / c_out, x0) * eps
        if mean is not None:
            target = target + like(1 / c_out, x0) * (mean - x0)
        output = self._output(self.network, self.sde.perturb(x0, t, eps), t, y)
        return (output - target).square().flatten(1).mean(1)

    def _output(self, run: Run, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """F(c_in x, c_noise, y), (B, *)."""
        alpha, sigma = self.sde.alpha(t), self.sde.sigma(t)
        c_in = ((alpha * self.data_std) ** 2 + sigma**2).rsqrt()
        c_noise = (sigma / alpha).clamp(1e-4, LARGEST_RHO).log() / 4  # as far as training goes
        if c_noise.ndim == 0 and x.device.type != "cpu" and c_noise.device.type == "cpu":
            c_noise = torch.full((), c_noise.item(), dtype=x.dtype, device=x.device)  # a copy would wait for the GPU
        c_noise = c_noise.to(x.device, x.dtype).expand(len(x)).contiguous()
        output: Tensor = run(like(c_in, x) * x, c_noise, y)
        return output
