"""How a network is told the noise level and the label."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError
from sdekit.models import is_null

Frequencies = Literal["fourier", "sinusoidal"]


class NoiseEmbedding(nn.Module):
    """c_noise (B,) to cos and sin of many frequencies, (B, width).

    fourier: random frequencies, N(0, (2 pi)^2) (Tancik et al. 2020; Song et al. 2021). sinusoidal: a geometric row
    of them from 100 down to 1/100 (Vaswani et al. 2017, scaled to log-noise levels).
    """

    frequencies: Tensor

    def __init__(self, width: int, kind: Frequencies = "fourier") -> None:
        super().__init__()
        if width % 2 or kind not in ("fourier", "sinusoidal"):
            raise InputError(
                f"noise embedding: needs an even width and 'fourier' or 'sinusoidal', got {width}, {kind!r}"
            )
        random = torch.randn(width // 2) * 2 * math.pi
        self.register_buffer("frequencies", random if kind == "fourier" else torch.logspace(2, -2, width // 2))

    def forward(self, c_noise: Tensor) -> Tensor:
        """c_noise (B,) to (B, width)."""
        angle = c_noise[:, None] * self.frequencies
        return torch.cat([angle.cos(), angle.sin()], 1)


class Condition(nn.Module):
    """Noise level and condition to one vector for every block: (B,), y or None to (B, width).

    classes: number of labels, for y (B,). numbers: how many, for y (B, numbers) of about unit variance. At most one of
    them; without a condition, and for its null rows, nothing is added.
    """

    def __init__(self, width: int, classes: int, kind: Frequencies = "fourier", numbers: int = 0) -> None:
        super().__init__()
        if classes and numbers:
            raise InputError(f"a network takes labels or numbers as its condition, got {classes} labels and {numbers}")
        self.noise = NoiseEmbedding(width, kind)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.label = nn.Embedding(classes, width) if classes else None
        self.numbers = Numbers(numbers, width) if numbers else None

    def forward(self, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        """c_noise (B,), y (B,) labels, (B, numbers) or None, to (B, width)."""
        h = self.first(self.noise(c_noise))
        if y is not None:
            said = ~is_null(y)[:, None]
            if self.label is not None:
                h = h + self.label(y.clamp(min=0)) * said
            elif self.numbers is not None:
                h = h + self.numbers(y.to(h.dtype).nan_to_num()) * said
            else:
                raise InputError(
                    "a condition was given, but this network was built without labels (classes = 0): leave it out, or "
                    "train with --condition label (and --drop 0.1 for cfg)"
                )
        return F.silu(self.second(F.silu(h)))


class Numbers(nn.Module):
    """Numbers (B, d) of about unit variance to (B, width): themselves, and waves of random direction and length."""

    directions: Tensor

    def __init__(self, d: int, width: int) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(d, width // 2) * 2)
        self.plain, self.waves = nn.Linear(d, width), nn.Linear(2 * (width // 2), width)

    def forward(self, y: Tensor) -> Tensor:
        """y (B, d) to (B, width)."""
        angle = y @ self.directions
        out: Tensor = self.plain(y) + self.waves(torch.cat([angle.cos(), angle.sin()], 1))
        return out
