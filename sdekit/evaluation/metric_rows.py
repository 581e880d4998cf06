"""Arguments of metrics as rows of numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def centered_rows(samples: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Flatten samples and reference to rows in float64 and subtract the mean of the reference from both.

    Distances do not change. Products of large numbers with small differences would lose digits otherwise.

    Arguments:
        samples: Samples, (n, *).
        reference: Data, (m, *).
    Returns:
        Rows (n, d) and (m, d), float64.
    """
    x, y = samples.flatten(1).to(torch.float64), reference.flatten(1).to(torch.float64)
    center = y.mean(0)
    return x - center, y - center
