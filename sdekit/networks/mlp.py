"""A residual multilayer perceptron, for vectors and anything small enough to flatten."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError

from .embedding import Condition, Frequencies


class MLP(nn.Module):
    """Pre-norm residual blocks, each scaled and shifted by the noise level and label (as adaLN, Peebles & Xie 2023).

    shape: of one sample; classes: number of labels, 0 for none. width: of the hidden layers (None: from the size of
    the data). depth: number of blocks. dropout: probability, in [0, 1). embedding: of the noise level. conditions:
    how many numbers it is told in place of labels.
    """

    learning_rate_scale = 0.25  # what suits convolutions is too fast for layers this wide, which then waver with rho

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        *,
        width: int | None = None,
        depth: int = 4,
        dropout: float = 0.0,
        embedding: Frequencies = "fourier",
        conditions: int = 0,
    ) -> None:
        super().__init__()
        size = prod(shape)
        width = (256 if size <= 16 else 384 if size <= 256 else 512) if width is None else width
        if width < 2 or depth < 1 or not 0 <= dropout < 1:
            raise InputError(f"mlp: needs width >= 2, depth >= 1, 0 <= dropout < 1, got {width}, {depth}, {dropout}")
        self.options: dict[str, Any] = dict(
            width=width, depth=depth, dropout=dropout, embedding=embedding, conditions=conditions
        )
        self.condition = Condition(128, classes, embedding, conditions)
        self.first = nn.Linear(size, width)
        self.blocks = nn.ModuleList(Block(width, 128, dropout) for _ in range(depth))
        self.last = nn.Linear(width, size)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """x (B, *shape), c_noise (B,), y (B,), (B, conditions) or None, to (B, *shape)."""
        condition = self.condition(c_noise, y)
        h = self.first(x.flatten(1))
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.last(F.layer_norm(h, h.shape[1:])).view_as(x)
        return out


class Block(nn.Module):
    """h + second(silu(first(norm(h) (1 + scale) + shift)))."""

    def __init__(self, width: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.modulate = nn.Linear(condition, 2 * width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = dropout
        for layer in (self.modulate, self.second):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """h (B, width), condition (B, condition), to (B, width)."""
        scale, shift = self.modulate(condition).chunk(2, 1)
        z = F.silu(self.first(F.layer_norm(h, h.shape[1:]) * (1 + scale) + shift))
        out: Tensor = h + self.second(F.dropout(z, self.dropout, self.training))
        return out
