"""The network of a classifier: from a noisy item to one number per class."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError

from .conv_blocks import CONVOLUTIONS, ConvBlock
from .embedding import ConditionEmbedding, LinearBlock
from .unet import levels


class Encoder(nn.Module):
    """Encoder of a classifier: the downward half of a U-Net for images, sequences and volumes, or residual layers.

    A linear layer maps the features to the classes. Vectors, and data with a side shorter than 8, have residual layers.

    Arguments:
        shape: Shape of one sample.
        classes: Number of classes, at least 2.
        width: Channels of the first level, or width of the layers, a multiple of 4 from 8; by default 24 with
            convolutions and 128 with residual layers.
        depth: Number of residual layers, at least 1.
        dropout: Probability of dropout, in [0, 1).
    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(
        self, shape: Sequence[int], classes: int, *, width: int | None = None, depth: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        image, dimensions = len(shape) in (2, 3, 4) and min(shape[1:]) >= 8, len(shape) - 1
        width = (24 if image else 128) if width is None else width
        if classes < 2 or width < 8 or width % 4 or depth < 1 or not 0 <= dropout < 1:
            raise InputError(
                "classifier: needs 2 classes or more, width a multiple of 4 from 8, depth >= 1, 0 <= dropout < 1; got "
                f"{classes}, {width}, {depth}, {dropout}"
            )
        self.options: dict[str, Any] = dict(width=width, depth=depth, dropout=dropout)
        self.image, self.dropout = image, dropout
        self.condition = ConditionEmbedding(128, 0)
        self.blocks = nn.ModuleList()
        if image:
            channels, size = width, torch.Size(shape[1:])
            self.first: nn.Module = CONVOLUTIONS[dimensions](shape[0], width, 3, padding=1)
            for level, multiplier in enumerate(levels(max(shape[1:]), dimensions)):
                if level:
                    self.blocks.append(
                        ConvBlock(channels, channels, 128, dropout, resample="down", dimensions=dimensions)
                    )
                    size = torch.Size((side + 1) // 2 for side in size)
                self.blocks.append(ConvBlock(channels, width * multiplier, 128, dropout, dimensions=dimensions))
                channels = width * multiplier
            features = channels * prod(size)
        else:
            self.first, features = nn.Linear(prod(shape), width), width
            self.blocks.extend(LinearBlock(width, 128, dropout) for _ in range(depth))
        self.last = nn.Linear(features, classes)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, c_noise: Tensor) -> Tensor:
        """Map x (B, *shape) and c_noise (B,) to (B, classes)."""
        out: Tensor = self.last(F.dropout(self.features(x, c_noise), self.dropout, self.training))
        return out

    def features(self, x: Tensor, c_noise: Tensor) -> Tensor:
        """Map x (B, *shape) and c_noise (B,) to the features (B, d) before the last layer."""
        condition = self.condition(c_noise)
        h = self.first(x if self.image else x.flatten(1))
        for block in self.blocks:
            h = block(h, condition)
        return F.layer_norm(h.flatten(1), (h[0].numel(),))
