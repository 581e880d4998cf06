"""Residual networks of He et al. 2016, with the names of weights that torchvision and timm use."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STAGES = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3)}
"""Number of blocks of each stage, by architecture."""
BOTTLENECKS = ("resnet50", "resnet101")
"""Architectures whose blocks have three convolutions."""


class Block(nn.Module):
    """Residual block: two convolutions of 3x3, or of 1x1, 3x3 and 1x1, and a shortcut.

    Arguments:
        channels: Channels of the input.
        width: Channels of the inner convolutions.
        stride: Stride of the convolution of 3x3.
        bottleneck: Whether the block has three convolutions, the last one with four times as many channels.
    """

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        out = 4 * width if bottleneck else width
        sizes = (1, 3, 1) if bottleneck else (3, 3)
        widths = (channels, width, width, out) if bottleneck else (channels, width, out)
        strides = (1, stride, 1) if bottleneck else (stride, 1)
        self.count = len(sizes)
        for i, (size, step) in enumerate(zip(sizes, strides, strict=True)):
            conv = nn.Conv2d(widths[i], widths[i + 1], size, step, size // 2, bias=False)
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        if stride != 1 or channels != out:
            conv = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample: nn.Module = nn.Sequential(conv, nn.BatchNorm2d(out))
        else:
            self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, H, W) to the output of the block."""
        h = x
        for i in range(1, self.count + 1):
            h = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(h))
            h = F.relu(h) if i < self.count else h
        return F.relu(h + self.downsample(x))


class ResidualNetwork(nn.Module):
    """Residual network without its last layer: images (B, 3, H, W) to features (B, d).

    Arguments:
        architecture: Key of `STAGES`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: str) -> None:
        super().__init__()
        bottleneck, channels = architecture in BOTTLENECKS, 64
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        for i, count in enumerate(STAGES[architecture]):
            blocks = []
            for j in range(count):
                blocks.append(Block(channels, 64 * 2**i, 2 if i and not j else 1, bottleneck))
                channels = 64 * 2**i * (4 if bottleneck else 1)
            self.add_module(f"layer{i + 1}", nn.Sequential(*blocks))
        # Mean and standard deviation of the pixels of ImageNet.
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) with pixels from 0 to 1 to features (B, d)."""
        h = F.max_pool2d(F.relu(self.bn1(self.conv1((x - self.mean) / self.std))), 3, 2, 1)
        for i in range(1, 5):
            h = self.get_submodule(f"layer{i}")(h)
        return h.mean((2, 3))
