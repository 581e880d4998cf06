"""Embedding of the noise level and the condition, and the residual block that it modulates."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError
from sdekit.models import Condition, condition_parts, is_null

Frequencies = Literal["fourier", "sinusoidal", "positional"]


class NoiseEmbedding(nn.Module):
    """Cosine and sine of the noise level at many frequencies.

    Arguments:
        width: Size of the embedding, even.
        kind: "fourier" for random frequencies from N(0, (2 pi scale)^2) (Tancik et al. 2020; Song et al. 2021),
            "positional" for a geometric sequence from 1 to 1/10000 (Vaswani et al. 2017), or "sinusoidal" for one from
            100 to 1/100 (scaled to log noise levels).
        scale: Factor of the random frequencies, > 0.
    Raises:
        InputError: If the width is odd or the kind is unknown.
    """

    frequencies: Tensor

    def __init__(self, width: int, kind: Frequencies = "fourier", *, scale: float = 1.0) -> None:
        super().__init__()
        if width % 2 or kind not in get_args(Frequencies):
            raise InputError(
                "noise embedding: needs an even width and 'fourier', 'sinusoidal' or 'positional', got "
                f"{width}, {kind!r}"
            )
        frequencies = torch.randn(width // 2) * 2 * math.pi * scale
        if kind != "fourier":
            frequencies = torch.logspace(*((2, -2) if kind == "sinusoidal" else (0, -4)), width // 2)
        self.register_buffer("frequencies", frequencies)

    def forward(self, c_noise: Tensor) -> Tensor:
        """Map c_noise (B,) to (B, width)."""
        angle = c_noise[:, None] * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], 1)


class ConditionEmbedding(nn.Module):
    """One vector for each sample from its noise level and its condition; it modulates every block of a network.

    The vector is silu(second(silu(h))). h (B, width) is the sum of `first(noise)` and one term for each kind of
    condition that the network takes. In a null row, or with y=None, the term is zero (labels, numbers) or a learned
    vector (embeddings, sequences). With `late`, all terms but that of the augmentation are added to second(silu(h))
    instead, as in ADM (Dhariwal & Nichol 2021).

    Arguments:
        width: Size of the vector, even.
        classes: Number of labels, 0 for none.
        kind: Frequencies of the noise level, see `NoiseEmbedding`.
        numbers: How many numbers of about unit variance, 0 for none; not together with labels.
        embedding: Width d of an embedding (B, d), 0 for none.
        sequence: Width d of the elements of a sequence (B, L, d), 0 for none; their mean is embedded.
        augmentation: Width a of an augmentation vector (B, a), 0 for none; a missing vector counts as zeros.
        noise: Embedding of the noise level; None for one of size `width` and of this kind.
        late: Whether the condition is added after the second layer.
    Raises:
        InputError: If the network would take both labels and numbers.
    """

    def __init__(
        self,
        width: int,
        classes: int,
        kind: Frequencies = "fourier",
        numbers: int = 0,
        embedding: int = 0,
        sequence: int = 0,
        augmentation: int = 0,
        *,
        noise: NoiseEmbedding | None = None,
        late: bool = False,
    ) -> None:
        super().__init__()
        if classes and numbers:
            raise InputError(f"a network takes labels or numbers as its condition, got {classes} labels and {numbers}")
        self.noise, self.late = NoiseEmbedding(width, kind) if noise is None else noise, late
        self.first = nn.Linear(2 * self.noise.frequencies.numel(), width)
        self.second = nn.Linear(width, width)
        self.label = nn.Embedding(classes, width) if classes else None
        self.numbers = NumberEmbedding(numbers, width) if numbers else None
        self.embedding = VectorEmbedding(embedding, width) if embedding else None
        self.sequence = VectorEmbedding(sequence, width) if sequence else None
        self.augmentation = nn.Linear(augmentation, width, bias=False) if augmentation else None

    def forward(self, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        """Map c_noise (B,) and y, a condition of B samples or None, to (B, width)."""
        h = self.first(self.noise(c_noise))
        parts = self.named_parts(y)
        if not self.late:
            h = self._add_condition(h, parts)
        if self.augmentation is not None and (augmentation := parts.get("augmentation")) is not None:
            h = h + self.augmentation(augmentation.to(h.dtype))
        h = self.second(F.silu(h))
        return F.silu(self._add_condition(h, parts) if self.late else h)

    def _add_condition(self, h: Tensor, parts: dict[str, Tensor]) -> Tensor:
        """Add to h (B, width) one term for each part of the condition."""
        if self.label is not None and (label := parts.get("label")) is not None:
            h = h + self.label(label.clamp(min=0)) * ~is_null(label)[:, None]
        if self.numbers is not None and (numbers := parts.get("numbers")) is not None:
            h = h + self.numbers(numbers.to(h.dtype).nan_to_num()) * ~is_null(numbers)[:, None]
        if self.embedding is not None:
            embedding = parts.get("embedding")
            h = h + (self.embedding.null if embedding is None else self.embedding(embedding, is_null(embedding)))
        if self.sequence is not None:
            sequence = parts.get("sequence")
            if sequence is None:
                h = h + self.sequence.null
            else:
                counts = counted_elements(sequence, parts.get("mask"))
                weights = counts.to(h.dtype) / counts.sum(1, keepdim=True).clamp(min=1)
                mean = (weights[:, None] @ sequence.to(h.dtype).nan_to_num())[:, 0]
                h = h + self.sequence(mean, ~counts.any(1))
        return h

    def named_parts(self, y: Tensor | Condition | None) -> dict[str, Tensor]:
        """Return the parts of a condition by name. A plain tensor, or the part "y", is named by its type and shape.

        Raises InputError if the network was built without one of these parts.
        """
        parts = condition_parts(y)
        plain = parts.pop("y", None)
        if plain is not None:
            vector = "numbers" if self.numbers is not None else "embedding"
            name = "label" if not plain.is_floating_point() else "sequence" if plain.ndim == 3 else vector
            parts[name] = plain
        for name in parts:
            if name not in PARTS or getattr(self, "sequence" if name == "mask" else name) is None:
                built = PARTS.get(name, f"the part {name!r}: leave it out")
                raise InputError(f"a condition was given, but this network was built without {built}")
        return parts


PARTS = {
    "label": "labels (classes = 0): leave it out, or train with --condition label (and --drop 0.1 for cfg)",
    "numbers": "numbers: leave them out, or build it with conditions=HOW_MANY",
    "embedding": "an embedding or numbers: leave it out, or build it with embedding_size=WIDTH or conditions=HOW_MANY",
    **dict.fromkeys(("sequence", "mask"), "a sequence: leave it out, or build it with sequence=WIDTH"),
    "augmentation": "an augmentation vector: leave it out, or build it with augmentation=WIDTH",
}
"""Maps each part of a condition to the end of the error message of a network that was built without it."""


class NumberEmbedding(nn.Module):
    """Embedding of a few numbers of about unit variance, linear in the numbers and in random sine waves of them.

    Arguments:
        d: How many numbers.
        width: Size of the embedding, even.
    """

    directions: Tensor

    def __init__(self, d: int, width: int) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(d, width // 2) * 2)
        self.plain, self.waves = nn.Linear(d, width), nn.Linear(2 * (width // 2), width)

    def forward(self, y: Tensor) -> Tensor:
        """Map y (B, d) to (B, width)."""
        angle = y @ self.directions
        out: Tensor = self.plain(y) + self.waves(torch.cat([angle.cos(), angle.sin()], 1))
        return out


class VectorEmbedding(nn.Module):
    """Embedding of long vectors, such as those of a text encoder: a linear layer and LayerNorm.

    Nearby vectors stay near each other, unlike with the waves of `NumberEmbedding`. Null rows become the learned
    vector `null`, which starts at zero.

    Arguments:
        d: Size of the vectors.
        width: Size of the embedding.
    """

    def __init__(self, d: int, width: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(d, width), nn.LayerNorm(width)
        self.null = nn.Parameter(torch.zeros(width))

    def forward(self, vector: Tensor, null: Tensor) -> Tensor:
        """Map vector (B, d) and the mask `null` (B,) of the null rows to (B, width)."""
        out = self.norm(self.linear(vector.to(self.null.dtype).nan_to_num()))
        return torch.where(null[:, None], self.null.to(out.dtype), out)


class LinearBlock(nn.Module):
    """Residual block of two linear layers: h + second(silu(first(norm(h) (1 + scale) + shift))).

    scale and shift are linear in the embedding of noise level and condition (adaLN, Peebles & Xie 2023). The block
    starts as the identity.

    Arguments:
        width: Size of h.
        condition: Size of the embedding.
        dropout: Probability of dropout, in [0, 1).
    """

    def __init__(self, width: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.modulate = nn.Linear(condition, 2 * width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = dropout
        for layer in (self.modulate, self.second):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Map h (B, width) and condition (B, condition) to (B, width)."""
        scale, shift = self.modulate(condition).chunk(2, 1)
        z = F.silu(self.first(F.layer_norm(h, h.shape[1:]) * (1 + scale) + shift))
        out: Tensor = h + self.second(F.dropout(z, self.dropout, self.training))
        return out


def counted_elements(sequence: Tensor, mask: Tensor | None) -> Tensor:
    """Return which elements of a sequence count: those that the mask selects, and none in a null row.

    Arguments:
        sequence: Elements (B, L, d); a row with NaN is null.
        mask: Boolean (B, L), or None for all elements.
    Returns:
        Boolean tensor (B, L).
    """
    counts = ~is_null(sequence)[:, None].expand(-1, sequence.shape[1])
    return counts if mask is None else counts & mask
