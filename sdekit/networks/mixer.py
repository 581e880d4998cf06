"""Layers that mix all pixels, then convolutions: for tiny images, where it learns more in a minute than a U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError

from .embedding import Condition, Frequencies
from .unet import ConvBlock, norm

MOST_PIXELS = 256  # a layer holds CHANNELS matrices of pixels x pixels
CHANNELS, RADIUS = 32, 2  # of the mixing layers; of their kernels


class Mixer(nn.Module):
    """A few layers see the whole image at once and tell residual blocks of convolutions, which settle the details.

    Where an image has few pixels, a matrix from all of them to all of them costs less than a convolution and needs no
    lower levels. As in Tolstikhin et al. 2021 ("MLP-Mixer") layers mix pixels, then channels; but each channel has a
    matrix of its own, of which a part is the same everywhere, a convolution. What they tell fades out below rho = 1/2,
    where an image is known but for details and they would learn the training set by heart.

    shape: (C, H, W), at most 256 pixels; classes: number of labels, 0 for none. width: channels of the convolutions.
    depth: mixing layers. blocks: of convolutions, as the U-Net's. dropout: probability, in [0, 1). embedding: of the
    noise level. conditions: how many numbers it is told in place of labels.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        *,
        width: int = 24,
        depth: int = 4,
        blocks: int = 4,
        dropout: float = 0.0,
        embedding: Frequencies = "fourier",
        conditions: int = 0,
    ) -> None:
        super().__init__()
        if len(shape) != 3 or shape[1] * shape[2] > MOST_PIXELS:
            raise InputError(
                f"mixer: needs images (C, H, W) of at most {MOST_PIXELS} pixels, got {tuple(shape)}: use unet, or mlp "
                "for vectors"
            )
        if width < 8 or width % 4 or depth < 1 or blocks < 1 or not 0 <= dropout < 1:
            raise InputError(
                "mixer: needs width a multiple of 4 from 8, depth and blocks at least 1, 0 <= dropout < 1; got "
                f"{width}, {depth}, {blocks}, {dropout}"
            )
        self.options: dict[str, Any] = dict(
            width=width, depth=depth, blocks=blocks, dropout=dropout, embedding=embedding, conditions=conditions
        )
        embed = 4 * width
        self.condition = Condition(embed, classes, embedding, conditions)
        self.mixing = _Mixing(shape, width, depth, embed, dropout)
        self.first = nn.Conv2d(shape[0] + width, width, 3, padding=1)
        self.blocks = nn.ModuleList(ConvBlock(width, width, embed, dropout) for _ in range(blocks))
        self.norm = norm(width)
        self.last = nn.Conv2d(width, shape[0], 3, padding=1)
        nn.init.zeros_(self.last.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster, on the CPU too

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), c_noise (B,), y (B,), (B, conditions) or None, to (B, C, H, W)."""
        condition = self.condition(c_noise, y)
        seen = self.mixing(x, condition) * torch.sigmoid(8 * c_noise + 1.4)[:, None, None, None]
        h = self.first(torch.cat([x, seen], 1).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.last(F.silu(self.norm(h)))
        return out.contiguous()


class _Mixing(nn.Module):
    """All layers: x (B, C, H, W), condition (B, condition), to (B, out, H, W)."""

    def __init__(self, shape: Sequence[int], out: int, depth: int, condition: int, dropout: float) -> None:
        super().__init__()
        channels, height, width = shape
        self.enter, self.leave = _channels(channels, CHANNELS), _channels(CHANNELS, out)
        self.pixels = _Pixels(height, width)
        self.layers = nn.ModuleList(_Layer(height, width, condition, dropout) for _ in range(depth))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        h = self.pixels(_mixed(self.enter, x.flatten(2).transpose(0, 1)))
        for layer in self.layers:
            h = layer(h, condition)
        return _mixed(self.leave, h * _gain(h)).transpose(0, 1).reshape(x.shape[0], -1, *x.shape[2:])


class _Pixels(nn.Module):
    """h_c M_c for each channel c: h (CHANNELS, B, P), M_c (P, P) a convolution's matrix and one that starts at zero."""

    basis: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        steps = range(-RADIUS, RADIUS + 1)
        near = torch.tensor([max(abs(i), abs(j)) <= 1 for i in steps for j in steps])
        self.kernel = nn.Parameter(torch.randn(CHANNELS, len(near)) * near * 0.3)  # starts as 3x3, of gain about 1
        self.matrix = nn.Parameter(torch.zeros(CHANNELS, height * width, height * width))
        place = torch.arange(height * width)
        down, right = (z[:, None] - z for z in (place // width, place % width))
        shifts = torch.stack([(down == i) & (right == j) for i in steps for j in steps])
        self.register_buffer("basis", shifts.flatten(1).float(), persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """h (CHANNELS, B, P), to the same."""
        return torch.bmm(h, torch.addmm(self.matrix.flatten(1), self.kernel, self.basis).view_as(self.matrix))


class _Layer(nn.Module):
    """h + channels(silu(pixels(norm(h)) (1 + scale) + shift)). h has its channels first: no product needs a copy."""

    def __init__(self, height: int, width: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.pixels, self.dropout = _Pixels(height, width), dropout
        self.modulate = nn.Linear(condition, 2 * CHANNELS)
        self.channels = nn.Parameter(torch.zeros(CHANNELS, CHANNELS))
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """h (CHANNELS, B, P), condition (B, condition), to (CHANNELS, B, P)."""
        scale, shift = self.modulate(condition).T.contiguous()[:, :, None].chunk(2)
        z = F.silu(torch.addcmul(shift, self.pixels(h), (1 + scale) * _gain(h)))
        return h + _mixed(self.channels, F.dropout(z, self.dropout, self.training))


def _channels(before: int, after: int) -> nn.Parameter:
    """(after, before), of gain 1."""
    return nn.Parameter(torch.randn(after, before) * before**-0.5)


def _mixed(weight: Tensor, h: Tensor) -> Tensor:
    """weight (D, C) on the channels of h (C, B, P): (D, B, P)."""
    out: Tensor = (weight @ h.flatten(1)).unflatten(1, h.shape[1:])
    return out


def _gain(h: Tensor) -> Tensor:
    """What brings each sample of h (C, B, P) to mean square 1: (1, B, 1)."""
    return (h.square().mean((0, 2), keepdim=True) + 1e-5).rsqrt()
