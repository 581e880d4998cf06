"""A residual multilayer perceptron, for vectors and small items that can be flattened."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError
from sdekit.models import Condition

from .embedding import ConditionEmbedding, Frequencies, LinearBlock


class MLP(nn.Module):
    """Residual multilayer perceptron, for vectors and small items that can be flattened.

    x (B, *shape) is flattened to (B, d), and a linear layer maps it to (B, width). `depth` residual blocks follow, each
    modulated by the embedding (B, 128) of the noise level and the condition. LayerNorm and a linear layer, which is
    initialized to zero, map the result to (B, d).

    Arguments:
        shape: Shape of one sample.
        classes: Number of labels, 0 for none.
        width: Width of the hidden layers; None for 256, 384 or 512, depending on the size of a sample.
        depth: Number of residual blocks.
        dropout: Probability of dropout, in [0, 1).
        embedding: Frequencies of the noise level, "fourier" or "sinusoidal".
        conditions: How many numbers condition a sample in place of a label, 0 for none.
        embedding_size: Width d of an embedding (B, d) that conditions a sample, 0 for none.
        sequence: Width d of the elements of a sequence (B, L, d) that conditions a sample by their mean, 0 for none.
        augmentation: Width of the augmentation vector, 0 for none.
    Raises:
        InputError: If an option is out of its range.
    """

    learning_rate_scale = 0.25  # with the learning rate of convolutions, the output would fluctuate with rho

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
        embedding_size: int = 0,
        sequence: int = 0,
        augmentation: int = 0,
    ) -> None:
        super().__init__()
        size = prod(shape)
        width = (256 if size <= 16 else 384 if size <= 256 else 512) if width is None else width
        if width < 2 or depth < 1 or not 0 <= dropout < 1:
            raise InputError(f"mlp: needs width >= 2, depth >= 1, 0 <= dropout < 1, got {width}, {depth}, {dropout}")
        self.options: dict[str, Any] = dict(
            width=width,
            depth=depth,
            dropout=dropout,
            embedding=embedding,
            conditions=conditions,
            embedding_size=embedding_size,
            sequence=sequence,
            augmentation=augmentation,
        )
        self.condition = ConditionEmbedding(128, classes, embedding, conditions, embedding_size, sequence, augmentation)
        self.first = nn.Linear(size, width)
        self.blocks = nn.ModuleList(LinearBlock(width, 128, dropout) for _ in range(depth))
        self.last = nn.Linear(width, size)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        """Map x (B, *shape), c_noise (B,) and y, a condition of B samples or None, to (B, *shape)."""
        condition = self.condition(c_noise, y)
        h = self.first(x.flatten(1))
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.last(F.layer_norm(h, h.shape[1:])).view_as(x)
        return out
