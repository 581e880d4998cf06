"""A U-Net of DDPM++ blocks, for images of any size from 8 pixels and any number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError

from .embedding import Condition, Frequencies
from .mlp import Block

DENSE_WIDTH, DENSE_CHANNELS = 512, 4  # hidden layers and output of the fully connected blocks


class UNet(nn.Module):
    """Residual blocks with scale-shift conditioning, halved and doubled inside the block (Song et al. 2021's DDPM++).

    shape: (C, H, W), H and W at least 8, odd sizes too; classes: number of labels, 0 for none. width: channels of the
    first level; multipliers: channels of each level in units of width, every level half the size of the one before;
    blocks: residual blocks a level; attention: self-attention where the longer side has at most so many pixels;
    dense: fully connected blocks over all pixels, whose output the first convolution sees beside x, as in tiny
    pictures much is decided by where a pixel is; dropout: probability, in [0, 1); embedding: of the noise level;
    conditions: how many numbers it is told in place of labels. None for width, multipliers, attention or
    dense: from the size.
    """

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        *,
        width: int | None = None,
        multipliers: tuple[int, ...] | None = None,
        blocks: int = 1,
        attention: int | None = None,
        dense: int | None = None,
        dropout: float = 0.0,
        embedding: Frequencies = "fourier",
        conditions: int = 0,
    ) -> None:
        super().__init__()
        if len(shape) != 3 or min(shape[1:]) < 8:
            raise InputError(f"unet: needs images (C, H, W) with H and W at least 8, got {tuple(shape)}: use mlp")
        longer = max(shape[1:])
        width = (24 if longer <= 28 else 32) if width is None else width
        multipliers = levels(longer) if multipliers is None else tuple(multipliers)
        attention = (4 if longer <= 12 else 8) if attention is None else attention
        dense = (3 if longer <= 12 else 0) if dense is None else dense
        fits = width >= 8 and width % 4 == 0 and multipliers and min(multipliers) >= 1 and blocks >= 1 and dense >= 0
        if not fits or not 0 <= dropout < 1:
            raise InputError(
                "unet: needs width a multiple of 4 from 8, multipliers and blocks at least 1, dense at least 0, "
                f"0 <= dropout < 1; got {width}, {multipliers}, {blocks}, {dense}, {dropout}"
            )
        self.options: dict[str, Any] = dict(
            width=width,
            multipliers=multipliers,
            blocks=blocks,
            attention=attention,
            dense=dense,
            dropout=dropout,
            embedding=embedding,
            conditions=conditions,
        )
        embed = 4 * width
        self.condition = Condition(embed, classes, embedding, conditions)
        self.dense = _Dense(shape, dense, embed, dropout) if dense else None
        self.first = nn.Conv2d(shape[0] + (DENSE_CHANNELS if dense else 0), width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels, skips, side = width, [width], longer
        sides = []
        for level, multiplier in enumerate(multipliers):
            if level:
                side = (side + 1) // 2
                self.down.append(ConvBlock(channels, channels, embed, dropout, resample="down"))
                skips.append(channels)
            for _ in range(blocks):
                self.down.append(ConvBlock(channels, width * multiplier, embed, dropout, attend=side <= attention))
                channels = width * multiplier
                skips.append(channels)
            sides.append(side)
        self.middle = nn.ModuleList(ConvBlock(channels, channels, embed, dropout, attend=a) for a in (True, False))
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                attend = sides[level] <= attention
                self.up.append(ConvBlock(channels + skips.pop(), width * multiplier, embed, dropout, attend=attend))
                channels = width * multiplier
            if level:
                self.up.append(ConvBlock(channels, channels, embed, dropout, resample="up"))
        self.norm = norm(channels)
        self.last = nn.Conv2d(channels, shape[0], 3, padding=1)
        nn.init.zeros_(self.last.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster, on the CPU too

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """x (B, C, H, W), c_noise (B,), y (B,), (B, conditions) or None, to (B, C, H, W)."""
        condition = self.condition(c_noise, y)
        if self.dense is not None:
            x = torch.cat([x, self.dense(x, c_noise, condition)], 1)
        h = self.first(x.contiguous(memory_format=torch.channels_last))
        skips = [h]
        for block in self.down:
            h = block(h, condition)
            skips.append(h)
        for block in self.middle:
            h = block(h, condition)
        for block in self.up:
            if block.resample:
                h = block(h, condition, size=skips[-1].shape[2:])
            else:
                h = block(torch.cat([h, skips.pop()], 1), condition)
        out: Tensor = self.last(F.silu(self.norm(h)))
        return out.contiguous()


def levels(longer: int) -> tuple[int, ...]:
    """Channel multipliers of the levels down to about 4 pixels, for the longer side of an image."""
    if longer <= 12:
        return (1, 2)
    return (1, 2, 2) if longer <= 36 else (1, 2, 2, 4) if longer <= 80 else (1, 1, 2, 2, 4)


def norm(channels: int) -> nn.GroupNorm:
    """Groups of at least four channels, at most 32 of them."""
    groups = min(32, channels // 4)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def _zero(layer: nn.Module) -> nn.Module:
    """Starts at zero, so that the block starts as its skip."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class ConvBlock(nn.Module):
    """norm, silu, (resample,) conv, norm (1 + scale) + shift, silu, dropout, conv; the sum has unit variance."""

    def __init__(
        self, channels: int, out: int, condition: int, dropout: float, *, resample: str = "", attend: bool = False
    ) -> None:
        super().__init__()
        self.resample, self.dropout = resample, dropout
        self.norm0, self.conv0 = norm(channels), nn.Conv2d(channels, out, 3, padding=1)
        self.modulate = _zero(nn.Linear(condition, 2 * out))
        self.norm1, self.conv1 = norm(out), _zero(nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Conv2d(channels, out, 1) if channels != out else nn.Identity()
        self.attention = _Attention(out) if attend else None

    def forward(self, x: Tensor, condition: Tensor, size: torch.Size | None = None) -> Tensor:
        """x (B, channels, H, W), condition (B, condition), to (B, out, H', W'); size: (H', W') of an upsampling."""
        h = self.conv0(self._resampled(F.silu(self.norm0(x)), size))
        scale, shift = self.modulate(condition)[:, :, None, None].chunk(2, 1)
        h = F.silu(torch.addcmul(shift, self.norm1(h), 1 + scale))
        h = self.conv1(F.dropout(h, self.dropout, self.training))
        h = (self.skip(self._resampled(x, size)) + h) * 0.5**0.5
        out: Tensor = h if self.attention is None else self.attention(h)
        return out

    def _resampled(self, x: Tensor, size: torch.Size | None) -> Tensor:
        if self.resample == "down":
            return F.avg_pool2d(x, 2, ceil_mode=True)
        return F.interpolate(x, size=size) if self.resample == "up" else x


class _Dense(nn.Module):
    """A multilayer perceptron from all pixels to `DENSE_CHANNELS` pictures of the same size.

    They fade out below rho = 1/2, where a picture is known but for details. Wider than the convolutions, it needs a
    smaller learning rate.
    """

    learning_rate_scale = 0.4

    def __init__(self, shape: Sequence[int], blocks: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(prod(shape), DENSE_WIDTH)
        self.blocks = nn.ModuleList(Block(DENSE_WIDTH, condition, dropout) for _ in range(blocks))
        self.last = nn.Linear(DENSE_WIDTH, DENSE_CHANNELS * prod(shape[1:]))

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor) -> Tensor:
        """x (B, C, H, W), c_noise (B,), condition (B, condition), to (B, DENSE_CHANNELS, H, W)."""
        h = self.first(x.flatten(1))
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.last(F.layer_norm(h, h.shape[1:])) * torch.sigmoid(8 * c_noise + 1.4)[:, None]
        return out.view(x.shape[0], DENSE_CHANNELS, *x.shape[2:])  # len(x) would fix the batch in an export


class _Attention(nn.Module):
    """Self-attention over pixels, heads of 64 channels at most."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = next(n for n in range(max(1, channels // 64), 0, -1) if channels % n == 0)
        self.norm, self.qkv = norm(channels), nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).flatten(2).view(b, 3, self.heads, c // self.heads, h * w)
        q, k, v = qkv.transpose(3, 4).unbind(1)  # (B, heads, H W, c / heads)
        z = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(b, c, h, w)
        out: Tensor = (x + self.out(z)) * 0.5**0.5
        return out
