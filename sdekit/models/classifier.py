"""A classifier p(y | x_t) of noisy items, at every noise level."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sdekit.arguments import check_instance, check_number, describe_value, to_float64
from sdekit.errors import InputError
from sdekit.processes import LARGEST_RHO, SDE, as_time, broadcast, check_process


class Classifier(nn.Module):
    """Classifier of noisy items: logits = log p(y) + F(c_in x, c_noise) / (1 + (rho / data_std)^2)^(1/2).

    The information of x_t about y decreases as 1 / rho. With this factor outside the network F, gradients of F of
    order 1 suffice for guidance at every noise level. Guidance uses sigma^2 / alpha times the gradient of
    log p(y | x_t).

    Arguments:
        network: Network (x (B, *), c_noise (B,)) -> (B, classes).
        sde: Process of the noise.
        frequencies: Frequencies (classes,) of the labels in the data.
        data_std: Standard deviation of the data in the model's units.
    """

    log_prior: Tensor

    def __init__(self, network: nn.Module, sde: SDE, frequencies: Tensor, *, data_std: float = 1.0) -> None:
        super().__init__()
        check_instance("Classifier: network", network, nn.Module, "a torch.nn.Module")
        check_process("Classifier", sde)
        frequencies = to_float64("Classifier: frequencies", frequencies)
        if frequencies.ndim != 1 or not len(frequencies):
            raise InputError(f"Classifier: frequencies must have the shape (classes,), got {tuple(frequencies.shape)}")
        self.network, self.sde = network, sde
        self.data_std = check_number("Classifier: data_std", data_std, above=0)
        self.register_buffer("log_prior", torch.zeros(len(frequencies)))
        self.set_frequencies(frequencies)

    def set_frequencies(self, frequencies: Tensor) -> None:
        """Set p(y) to the frequencies (classes,) of the labels."""
        self.log_prior.copy_(frequencies.clamp(min=1e-6).log())

    def forward(self, x: Tensor, t: Tensor | float) -> Tensor:
        """Return the logits (B, classes) of x (B, *) at times t of shape () or (B,)."""
        scaled, c_noise, gain = self._network_input(x, as_time(t))
        out = self.network(scaled, c_noise)
        expected = (len(x), len(self.log_prior))
        if not isinstance(out, Tensor) or out.shape != expected:
            got = tuple(out.shape) if isinstance(out, Tensor) else describe_value(out)
            raise InputError(f"the network {type(self.network).__name__} returned {got}, expected logits {expected}")
        logits: Tensor = self.log_prior.to(x.dtype) + gain[:, None] * out
        return logits

    def features(self, x: Tensor, t: Tensor | float) -> Tensor:
        """Return the features (B, d) before the last layer of the network, which must have a method `features`."""
        scaled, c_noise, _ = self._network_input(x, as_time(t))
        features: Tensor = self.network.features(scaled, c_noise)  # type: ignore[operator]
        return features

    def _network_input(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return c_in x (B, *), c_noise (B,), and the factor (B,) of the output."""
        alpha, sigma = self.sde.alpha(t), self.sde.sigma(t)
        signal = alpha * self.data_std
        norm = (signal**2 + sigma**2).rsqrt()  # c_in; signal norm = (1 + (rho / data_std)^2)^(-1/2)
        c_noise = (sigma / alpha).clamp(1e-4, LARGEST_RHO).log() / 4
        gain = (signal * norm).to(x.device, x.dtype).expand(len(x))
        return broadcast(norm, x) * x, c_noise.to(x.device, x.dtype).expand(len(x)), gain
