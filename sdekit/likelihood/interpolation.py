"""Interpolation between latents."""

from __future__ import annotations

import torch
from torch import Tensor


def spherical_interpolation(start: Tensor, end: Tensor, n: int) -> Tensor:
    """Return n latents on the great circle from one latent to another.

    Latents of d numbers have lengths near sqrt(d), and so have the points on the circle; points on the straight line
    would be shorter, and would decode to blurred data. Lengths are interpolated linearly.

    Arguments:
        start: Latent (*shape).
        end: Latent (*shape).
        n: Number of latents, both ends included, at least 2.
    Returns:
        Latents (n, *shape).
    Source:
        Shoemake 1985.
    """
    a, b = start.flatten().double(), end.flatten().double()
    lengths = a.norm().clamp(min=1e-12), b.norm().clamp(min=1e-12)
    a, b = a / lengths[0], b / lengths[1]
    angle = torch.acos((a @ b).clamp(-1, 1))
    u = torch.linspace(0, 1, n, dtype=torch.float64, device=a.device)[:, None]
    if angle < 1e-6:
        directions = (1 - u) * a + u * b
    else:
        directions = (torch.sin((1 - u) * angle) * a + torch.sin(u * angle) * b) / torch.sin(angle)
    points: Tensor = directions * ((1 - u) * lengths[0] + u * lengths[1])
    return points.to(start.dtype).view(n, *start.shape)
