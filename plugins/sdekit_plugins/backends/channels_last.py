"""Convolutions with the channels of a pixel side by side in memory, which most kernels prefer."""

import torch
from torch import Tensor, nn


def channels_last(network: nn.Module) -> nn.Module:
    """Weights and x in the channels-last format; for image networks (B, C, H, W) that do not do it themselves.

    The built-in U-Net does. The network's weights change their order in memory, not their values.
    """
    return _ChannelsLast(network)


class _ChannelsLast(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """x (B, *), c_noise (B,), y or None, to (B, *)."""
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        result: Tensor = self.network(x, c_noise, y)
        return result.contiguous()
