"""A U-Net of DDPM++ blocks for sequences, images and volumes of any size from 8 and any number of channels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError
from sdekit.models import Condition

from .conv_blocks import CONVOLUTIONS, ConvBlock, norm
from .embedding import ConditionEmbedding, Frequencies, LinearBlock, counted_elements
from .patches import from_patches, to_patches

DENSE_WIDTH, DENSE_CHANNELS = 512, 4  # hidden layers and output of the fully connected blocks


class UNet(nn.Module):
    """U-Net (DDPM++ of Song et al. 2021) for sequences, images and volumes of at least 8 a side.

    The convolutions have the dimensions of the data: 1 for sequences (C, L), 2 for images (C, H, W), and 3 for volumes
    (C, D, H, W). The first one maps x (B, C, *sides) to (B, width, *sides). On the way down, each level has `blocks`
    residual blocks with width * multiplier channels, at half the side of the previous level (odd sides are rounded up).
    Two blocks follow at the lowest level. On the way up, each block also receives the output of its counterpart on the
    way down. The levels of at most `attention` positions a side and the lowest level have self-attention, and
    cross-attention to the sequence of the condition. All blocks are modulated by the embedding (B, 4 width) of the
    noise level and the condition. The last convolution is initialized to zero.

    Arguments:
        shape: (C, L), (C, H, W) or (C, D, H, W) of one sample, with sides of at least 8; odd sizes are allowed.
        classes: Number of labels, 0 for none.
        width: Channels of the first level, a multiple of 4, at least 8; None for 24 or 32 for images, by their size,
            32 for sequences, and 16 for volumes.
        multipliers: Channels of each level in units of width; None for levels down to about 4 pixels, or 16 points of
            a sequence.
        blocks: Number of residual blocks of each level.
        attention: Longest side of the levels with attention; None for 4 or 8 pixels of an image, by its size, 64 points
            of a sequence, and 4 voxels of a volume.
        dense: Number of fully connected blocks over all pixels. The first convolution receives x and their output
            (B, 4, H, W), because in tiny images much depends on the position of a pixel. None for 3 in images of up to
            12 pixels a side, and 0 otherwise.
        dropout: Probability of dropout, in [0, 1).
        embedding: Frequencies of the noise level, "fourier" or "sinusoidal".
        conditions: How many numbers condition a sample in place of a label, 0 for none.
        embedding_size: Width d of an embedding (B, d) that conditions a sample, 0 for none.
        sequence: Width d of the elements of a sequence (B, L, d) that conditions a sample, 0 for none. Pixels attend to
            its elements, and the mean of the elements is part of the embedding.
        augmentation: Width of the augmentation vector, 0 for none.
        patch: Side of the patches that are the positions of the network, at least 1; a patch is the channels of one
            position. A volume needs 8 times fewer positions with 2. The sides in the other options count patches.
    Raises:
        InputError: If a side is shorter than 8, or an option is out of its range.
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
        embedding_size: int = 0,
        sequence: int = 0,
        augmentation: int = 0,
        patch: int = 1,
    ) -> None:
        super().__init__()
        if len(shape) not in (2, 3, 4) or min(shape[1:]) < 8:
            raise InputError(
                "unet: needs sequences (C, L), images (C, H, W) or volumes (C, D, H, W) with sides of at least 8, got "
                f"{tuple(shape)}: use mlp"
            )
        if not 1 <= patch <= min(shape[1:]) // 4:
            raise InputError(
                f"unet: needs patch from 1 to {min(shape[1:]) // 4}, a quarter of the shortest side, got {patch}"
            )
        dimensions = len(shape) - 1
        shape = (shape[0] * patch**dimensions, *(-(-side // patch) for side in shape[1:]))
        longer, self.patch = max(shape[1:]), patch
        tiny = dimensions == 2 and longer <= 12
        width = {1: 32, 2: 24 if longer <= 28 else 32, 3: 16}[dimensions] if width is None else width
        multipliers = levels(longer, dimensions) if multipliers is None else tuple(multipliers)
        attention = {1: 64, 2: 4 if tiny else 8, 3: 4}[dimensions] if attention is None else attention
        dense = (3 if tiny else 0) if dense is None else dense
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
            embedding_size=embedding_size,
            sequence=sequence,
            augmentation=augmentation,
            patch=patch,
        )
        embed = 4 * width
        self.condition = ConditionEmbedding(
            embed, classes, embedding, conditions, embedding_size, sequence, augmentation
        )
        self.context = Context(sequence) if sequence else None
        self.dense = _Dense(shape, dense, embed, dropout) if dense else None
        self.first = CONVOLUTIONS[dimensions](shape[0] + (DENSE_CHANNELS if dense else 0), width, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        shared: dict[str, Any] = dict(sequence=sequence, dimensions=dimensions)
        channels, skips, side = width, [width], longer
        sides = []
        for level, multiplier in enumerate(multipliers):
            if level:
                side = (side + 1) // 2
                self.down.append(ConvBlock(channels, channels, embed, dropout, resample="down", dimensions=dimensions))
                skips.append(channels)
            for _ in range(blocks):
                attend, out = side <= attention, width * multiplier
                self.down.append(ConvBlock(channels, out, embed, dropout, **shared, attend=attend))
                channels = out
                skips.append(channels)
            sides.append(side)
        self.middle = nn.ModuleList(
            ConvBlock(channels, channels, embed, dropout, **shared, attend=attend) for attend in (True, False)
        )
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                attend, out, skip = sides[level] <= attention, width * multiplier, skips.pop()
                self.up.append(ConvBlock(channels + skip, out, embed, dropout, **shared, attend=attend))
                channels = out
            if level:
                self.up.append(ConvBlock(channels, channels, embed, dropout, resample="up", dimensions=dimensions))
        self.norm = norm(channels)
        self.last = CONVOLUTIONS[dimensions](channels, shape[0], 3, padding=1)
        nn.init.zeros_(self.last.weight)
        self.layout = torch.channels_last if dimensions == 2 else torch.contiguous_format  # faster, on the CPU too
        self.to(memory_format=self.layout)  # type: ignore[call-overload]

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        """Map x (B, C, *sides), c_noise (B,) and y, a condition of B samples or None, to (B, C, *sides)."""
        condition = self.condition(c_noise, y)
        original = x.shape[2:]
        if self.patch > 1:
            x = to_patches(x, self.patch)
        context = None if self.context is None else self.context(x.shape[0], self.condition.named_parts(y))
        if self.dense is not None:
            x = torch.cat([x, self.dense(x, c_noise, condition)], 1)
        h = self.first(x.contiguous(memory_format=self.layout))
        skips = [h]
        for block in self.down:
            h = block(h, condition, context)
            skips.append(h)
        for block in self.middle:
            h = block(h, condition, context)
        for block in self.up:
            if block.resample:
                h = block(h, condition, context, size=skips[-1].shape[2:])
            else:
                h = block(torch.cat([h, skips.pop()], 1), condition, context)
        out: Tensor = self.last(F.silu(self.norm(h)))
        return (from_patches(out, self.patch, original) if self.patch > 1 else out).contiguous()


def levels(longer: int, dimensions: int = 2) -> tuple[int, ...]:
    """Channel multipliers of the levels, down to about 4 pixels of an image or volume, or 16 points of a sequence.

    Arguments:
        longer: Longest side.
        dimensions: Number of spatial dimensions.
    Returns:
        One multiplier for each level.
    """
    if dimensions == 1:
        return tuple(min(4, 2 ** (level // 2)) for level in range(max(2, (longer - 1).bit_length() - 3)))
    if longer <= 12:
        return (1, 2)
    return (1, 2, 2) if longer <= 36 else (1, 2, 2, 4) if longer <= 80 else (1, 1, 2, 2, 4)


class Context(nn.Module):
    """Elements that pixels attend to: one learned element, and those of the condition's sequence after LayerNorm.

    In a null row, only the learned element counts.

    Arguments:
        d: Width of the elements.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.null = nn.Parameter(torch.randn(d))

    def forward(self, n: int, parts: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Map the parts of the condition of n samples to elements (n, L + 1, d) and their mask (n, L + 1)."""
        elements = self.null.expand(n, 1, -1)
        counts = torch.ones_like(elements[..., 0], dtype=torch.bool)
        if (sequence := parts.get("sequence")) is not None:
            sequence_counts = counted_elements(sequence, parts.get("mask"))
            sequence = F.layer_norm(sequence.to(elements.dtype).nan_to_num(), sequence.shape[2:])
            elements, counts = torch.cat([elements, sequence], 1), torch.cat([counts, sequence_counts], 1)
        return elements, counts


class _Dense(nn.Module):
    """A multilayer perceptron from all pixels to `DENSE_CHANNELS` images of the same size.

    Its output fades out below rho = 1/2, where an image is known up to details. It is wider than the convolutions and
    needs a smaller learning rate.
    """

    learning_rate_scale = 0.4

    def __init__(self, shape: Sequence[int], blocks: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(prod(shape), DENSE_WIDTH)
        self.blocks = nn.ModuleList(LinearBlock(DENSE_WIDTH, condition, dropout) for _ in range(blocks))
        self.last = nn.Linear(DENSE_WIDTH, DENSE_CHANNELS * prod(shape[1:]))

    def forward(self, x: Tensor, c_noise: Tensor, condition: Tensor) -> Tensor:
        """Map x (B, C, H, W), c_noise (B,) and condition (B, condition) to (B, DENSE_CHANNELS, H, W)."""
        h = self.first(x.flatten(1))
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.last(F.layer_norm(h, h.shape[1:])) * torch.sigmoid(8 * c_noise + 1.4)[:, None]
        return out.view(x.shape[0], DENSE_CHANNELS, *x.shape[2:])  # len(x) would be a constant in an export
