"""Backend that stores the channels of a pixel side by side, which is faster for most convolutions."""

import torch
from torch import Tensor, nn


def channels_last(network: nn.Module) -> nn.Module:
    """Weights and x in the channels-last memory format, for networks on images (B, C, H, W).

    The built-in U-Net uses this format without the backend. The weights change their order in memory, not their values.

    Arguments:
        network: Network to run.
    Returns:
        The network in this format.
    """
    return _ChannelsLast(network)


class _ChannelsLast(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """Evaluate the network at x (B, *), c_noise (B,) and y or None; returns (B, *)."""
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        result: Tensor = self.network(x, c_noise, y)
        return result.contiguous()
