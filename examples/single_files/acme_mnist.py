"""The network of a public DDPM of MNIST, so that the loader `bare` can open its weights.

The weights are `ddpm_mnist.pth` of github.com/sdaloglu/diffusion_with_entropy (MIT), saved as safetensors:

    sdekit sample "bare:mnist_ddpm.safetensors,network=acme-mnist,shape=[1,28,28],prefix=gt.,table=beta_t,\
clock_scale=0.001,low=-0.5,high=0.5" --plugin acme_mnist.py --nfe 15 --out digits
"""

import math

import torch
from torch import nn

from sdekit import InputError, hookimpl


class Convolutions(nn.Module):
    """Five convolutions at full resolution, with the time added after the first.

    Arguments:
        shape: Shape of one image.
        classes: Number of labels, 0 for none, as in the published weights.
        widths: Channels of the hidden convolutions.
        frequencies: Number of frequencies of the time.
        hidden: Width of the hidden layers of the embedding of the time.
    """

    def __init__(
        self, shape, classes=0, *, widths: tuple[int, ...] = (16, 32, 32, 16), frequencies: int = 16, hidden: int = 128
    ):
        super().__init__()
        if len(shape) != 3:
            raise InputError(f"acme-mnist: needs images (C, H, W), got the shape {tuple(shape)}")
        self.options = {"widths": widths, "frequencies": frequencies, "hidden": hidden}
        channels, *size = shape
        self.blocks = nn.ModuleList()
        for before, after in zip((channels, *widths), widths, strict=False):
            block = nn.Module()
            block.net = nn.Sequential(nn.Conv2d(before, after, 7, padding=3), nn.LayerNorm((after, *size)), nn.GELU())
            self.blocks.append(block)
        self.blocks.append(nn.Conv2d(widths[-1], channels, 3, padding=1))
        geometric = 2 * math.pi * 1.5 ** torch.arange(frequencies - 1)
        self.register_buffer("frequencies", torch.cat([torch.zeros(1), geometric]))
        layers = [nn.Linear(2 * frequencies, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()]
        self.time_embed = nn.Sequential(*layers, nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, widths[0]))
        self.label = nn.Embedding(classes, widths[0]) if classes else None

    def forward(self, x, c_noise, y=None):
        """Map x (B, C, H, W), the time c_noise (B,) in [0, 1] and labels y to the predicted noise (B, C, H, W)."""
        angle = c_noise[:, None] * self.frequencies
        embedding = self.time_embed(torch.cat([angle.sin(), angle.cos() - 1], 1))
        if y is not None:  # a row of -1 has no label
            embedding = embedding + self.label(y.clamp(min=0)) * (y >= 0)[:, None]
        h = self.blocks[0].net(x) + embedding[:, :, None, None]
        for block in self.blocks[1:-1]:
            h = block.net(h)
        return self.blocks[-1](h)


@hookimpl
def sdekit_networks():
    return {"acme-mnist": Convolutions}
