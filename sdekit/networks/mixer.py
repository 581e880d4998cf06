"""A network for tiny images: layers that mix all pixels, followed by convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError
from sdekit.models import Condition

from .conv_blocks import ConvBlock, norm
from .embedding import ConditionEmbedding, Frequencies

MOST_PIXELS = 256  # each layer has CHANNELS matrices of size pixels x pixels
CHANNELS, RADIUS = 32, 2  # channels of the mixing layers, and radius of their kernels


class Mixer(nn.Module):
    """Layers that mix all pixels, followed by convolutions, for tiny images.

    In an image of few pixels a matrix from all pixels to all pixels costs less than a convolution and makes lower
    resolutions unnecessary. `depth` mixing layers (32 channels, B, pixels) mix pixels, then channels, as in Tolstikhin
    et al. 2021 ("MLP-Mixer"), but each channel has its own matrix: a convolution plus a matrix that starts at zero.
    Their output (B, width, H, W) and x enter `blocks` residual blocks of convolutions, which add the details. Below
    rho = 1/2 the image is known up to details, and the mixing layers would memorise the training set, so their output
    fades out. All layers and blocks are modulated by the embedding (B, 4 width) of the noise level and the condition.

    Arguments:
        shape: (C, H, W) of one sample, at most 256 pixels.
        classes: Number of labels, 0 for none.
        width: Channels of the convolutions, a multiple of 4, at least 8.
        depth: Number of mixing layers.
        blocks: Number of residual blocks of convolutions.
        dropout: Probability of dropout, in [0, 1).
        embedding: Frequencies of the noise level, "fourier" or "sinusoidal".
        conditions: How many numbers condition a sample in place of a label, 0 for none.
        embedding_size: Width d of an embedding (B, d) that conditions a sample, 0 for none.
        sequence: Width d of the elements of a sequence (B, L, d) that conditions a sample by their mean, 0 for none.
        augmentation: Width of the augmentation vector, 0 for none.
    Raises:
        InputError: If a sample is not a tiny image, or an option is out of its range.
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
        embedding_size: int = 0,
        sequence: int = 0,
        augmentation: int = 0,
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
            width=width,
            depth=depth,
            blocks=blocks,
            dropout=dropout,
            embedding=embedding,
            conditions=conditions,
            embedding_size=embedding_size,
            sequence=sequence,
            augmentation=augmentation,
        )
        embed = 4 * width
        self.condition = ConditionEmbedding(
            embed, classes, embedding, conditions, embedding_size, sequence, augmentation
        )
        self.mixing = _Mixing(shape, width, depth, embed, dropout)
        self.first = nn.Conv2d(shape[0] + width, width, 3, padding=1)
        self.blocks = nn.ModuleList(ConvBlock(width, width, embed, dropout) for _ in range(blocks))
        self.norm = norm(width)
        self.last = nn.Conv2d(width, shape[0], 3, padding=1)
        nn.init.zeros_(self.last.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster, on the CPU too

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        """Map x (B, C, H, W), c_noise (B,) and y, a condition of B samples or None, to (B, C, H, W)."""
        condition = self.condition(c_noise, y)
        seen = self.mixing(x, condition) * torch.sigmoid(8 * c_noise + 1.4)[:, None, None, None]
        h = self.first(torch.cat([x, seen], 1).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.last(F.silu(self.norm(h)))
        return out.contiguous()


class _Mixing(nn.Module):
    """All mixing layers, which map x (B, C, H, W) and the embedding (B, condition) to (B, out, H, W)."""

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
    """Product h_c M_c for each channel c of h (CHANNELS, B, P).

    M_c (P, P) is a convolution plus a matrix that is initialized to zero.
    """

    basis: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        steps = range(-RADIUS, RADIUS + 1)
        near = torch.tensor([max(abs(i), abs(j)) <= 1 for i in steps for j in steps])
        self.kernel = nn.Parameter(torch.randn(CHANNELS, len(near)) * near * 0.3)  # initially 3x3, gain about 1
        self.matrix = nn.Parameter(torch.zeros(CHANNELS, height * width, height * width))
        place = torch.arange(height * width)
        down, right = (z[:, None] - z for z in (place // width, place % width))
        shifts = torch.stack([(down == i) & (right == j) for i in steps for j in steps])
        self.register_buffer("basis", shifts.flatten(1).float(), persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        """Map h (CHANNELS, B, P) to the same shape."""
        return torch.bmm(h, torch.addmm(self.matrix.flatten(1), self.kernel, self.basis).view_as(self.matrix))


class _Layer(nn.Module):
    """Layer h + channels(silu(pixels(norm(h)) (1 + scale) + shift)).

    The axis of channels is the first one, so that no matrix product copies h.
    """

    def __init__(self, height: int, width: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.pixels, self.dropout = _Pixels(height, width), dropout
        self.modulate = nn.Linear(condition, 2 * CHANNELS)
        self.channels = nn.Parameter(torch.zeros(CHANNELS, CHANNELS))
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Map h (CHANNELS, B, P) and condition (B, condition) to (CHANNELS, B, P)."""
        scale, shift = self.modulate(condition).T.contiguous()[:, :, None].chunk(2)
        z = F.silu(torch.addcmul(shift, self.pixels(h), (1 + scale) * _gain(h)))
        return h + _mixed(self.channels, F.dropout(z, self.dropout, self.training))


def _channels(before: int, after: int) -> nn.Parameter:
    """Random weights (after, before) that keep the mean square."""
    return nn.Parameter(torch.randn(after, before) * before**-0.5)


def _mixed(weight: Tensor, h: Tensor) -> Tensor:
    """Apply weight (D, C) to the channels of h (C, B, P); returns (D, B, P)."""
    out: Tensor = (weight @ h.flatten(1)).unflatten(1, h.shape[1:])
    return out


def _gain(h: Tensor) -> Tensor:
    """Factors (1, B, 1) that scale each sample of h (C, B, P) to mean square 1."""
    return (h.square().mean((0, 2), keepdim=True) + 1e-5).rsqrt()
