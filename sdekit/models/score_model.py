"""A network read as a denoiser."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sdekit.backends import Backend, BackendNetwork, NetworkCall, apply_backend
from sdekit.errors import InputError
from sdekit.processes import LARGEST_RHO, SDE, as_time, broadcast

from .conditioning import Conditioning
from .predictions import PREDICTIONS


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
        self.backend: BackendNetwork | None = None
        if backend is not None:
            self.run_with(backend)

    def run_with(self, backend: Backend | str, *, name: str = "") -> ScoreModel:
        """From now on the denoiser runs its network with a backend: a registered name, or `backend(network)`.

        `loss` always runs the network itself. Checks and fallback: see `BackendNetwork`. name: for messages.
        Returns the model.
        """
        self.backend = apply_backend(self.network, backend, name=name)
        return self

    def forward(self, x: Tensor, t: Tensor | float, y: Tensor | None = None) -> Tensor:
        """The denoiser: x (B, *), t () or (B,), y (B, ...) or None; returns (B, *) in x's dtype.

        Raises InputError for a y that the network was not trained for.
        """
        t = as_time(t)
        if self.condition is not None:
            self.condition.check(y, values=y is not None and y.device.type == "cpu")
        c_skip, c_out = PREDICTIONS[self.prediction](self.sde.alpha(t), self.sde.sigma(t), self.data_std)
        return broadcast(c_skip, x) * x + broadcast(c_out, x) * self._output(self.backend or self.network, x, t, y).to(
            x.dtype
        )

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
        target = broadcast((1 - c_skip * alpha) / c_out, x0) * x0 - broadcast(c_skip * sigma / c_out, x0) * eps
        if mean is not None:
            target = target + broadcast(1 / c_out, x0) * (mean - x0)
        output = self._output(self.network, self.sde.perturb(x0, t, eps), t, y)
        return (output - target).square().flatten(1).mean(1)

    def _output(self, run: NetworkCall, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        """F(c_in x, c_noise, y), (B, *)."""
        alpha, sigma = self.sde.alpha(t), self.sde.sigma(t)
        c_in = ((alpha * self.data_std) ** 2 + sigma**2).rsqrt()
        c_noise = (sigma / alpha).clamp(1e-4, LARGEST_RHO).log() / 4  # as far as training goes
        if c_noise.ndim == 0 and x.device.type != "cpu" and c_noise.device.type == "cpu":
            c_noise = torch.full((), c_noise.item(), dtype=x.dtype, device=x.device)  # a copy would wait for the GPU
        c_noise = c_noise.to(x.device, x.dtype).expand(len(x)).contiguous()
        output: Tensor = run(broadcast(c_in, x) * x, c_noise, y)
        return output
