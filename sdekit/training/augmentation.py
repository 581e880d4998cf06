"""Non-leaking augmentation: random transforms of training images, which the network receives as a condition.

An augmentation is a vector of `WIDTH` numbers, which are zero for an image that is not transformed:

- 0, 1: flip along x and flip along y, each 0 or 1;
- 2: s, scaling by 2^(0.2 s), s from N(0, 1);
- 3, 4: cos(a) - 1 and sin(a), rotation by a, uniform in [-pi, pi];
- 5, 6: s cos(2b) and s sin(2b), stretching by 2^(0.2 s) along the direction b and by 2^(-0.2 s) across it, s from
  N(0, 1) and b uniform;
- 7, 8: u and v, translation by u / 8 of the width and v / 8 of the height, u and v from N(0, 1).

The transforms are applied in this order by one bilinear interpolation, which reflects the image at its edges. The
network receives the vector as the part "augmentation" of its condition, and zeros when it draws samples. It therefore
learns from transformed images without drawing them.

Source: Karras et al. 2022, appendix F.2 and Table 6. There entries 5 and 6 are s cos(b) and s sin(b), which differ for
b and b + pi although the transform is the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from sdekit.runs import TrainOptions

from .step_seeds import seed_from

WIDTH = 9  # length of the augmentation vector
SCALE, SHIFT = 0.2, 0.125  # standard deviations of log2 of a scale, and of a translation in units of the image


def augment(x0: Tensor, options: TrainOptions, step: int, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
    """Transform the images of a step at random, as a function of (seed, step, row of the global batch).

    Arguments:
        x0: Images (B, C, H, W), the rows `rows` of the global batch, on the CPU.
        options: Training options; each transform is applied with the probability `options.augment`.
        step: Number of the step, from 0.
        rows: Rows of the global batch.
    Returns:
        Transformed images (B, C, H, W), and their augmentation vectors (B, WIDTH).
    """
    generator = torch.Generator().manual_seed(seed_from(options.seed, 5, step))
    vector = random_augmentations(options.batch_size, options.augment, generator)[rows]
    return transform(x0, vector), vector


def random_augmentations(n: int, probability: float, generator: torch.Generator) -> Tensor:
    """Draw augmentation vectors.

    Arguments:
        n: Number of vectors.
        probability: Probability of each of the six transforms, in [0, 1].
        generator: Random numbers on the CPU.
    Returns:
        Tensor (n, WIDTH).
    """
    applied = torch.rand(n, 6, generator=generator) < probability
    flip = torch.randint(2, (n, 2), generator=generator).float()
    angle = (2 * torch.rand(n, 2, generator=generator) - 1) * math.pi
    scale, stretch, *shift = torch.randn(4, n, generator=generator)
    entries = [
        flip[:, 0] * applied[:, 0],
        flip[:, 1] * applied[:, 1],
        scale * applied[:, 2],
        (angle[:, 0].cos() - 1) * applied[:, 3],
        angle[:, 0].sin() * applied[:, 3],
        stretch * (2 * angle[:, 1]).cos() * applied[:, 4],
        stretch * (2 * angle[:, 1]).sin() * applied[:, 4],
        shift[0] * applied[:, 5],
        shift[1] * applied[:, 5],
    ]
    return torch.stack(entries, 1)


def transform(x: Tensor, vector: Tensor) -> Tensor:
    """Transform images as their augmentation vectors describe.

    Arguments:
        x: Images (B, C, H, W).
        vector: Augmentation vectors (B, WIDTH).
    Returns:
        Images (B, C, H, W). Images with a zero vector are unchanged, bit for bit.
    """
    rows = vector.any(1)
    if not rows.any():
        return x
    height, width = x.shape[2:]
    half = vector.new_tensor([width / 2, height / 2])
    linear, shift = _inverse_map(vector[rows], half)
    # affine_grid has the image in [-1, 1]^2, so pixels are divided by half of the image's size
    theta = torch.cat([linear / half[:, None] * half, (shift / half)[:, :, None]], 2)
    grid = F.affine_grid(theta, [int(rows.sum()), *x.shape[1:]], align_corners=False)
    out = x.clone()
    out[rows] = F.grid_sample(x[rows], grid.to(x.dtype), padding_mode="reflection", align_corners=False)
    return out


def _inverse_map(vector: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Return A (B, 2, 2), c (B, 2): the transformed image at p is the image at A p + c, in pixels from the centre."""
    flip = torch.diag_embed(1 - 2 * vector[:, :2])
    inverse_scale = torch.exp2(-SCALE * vector[:, 2])[:, None, None]
    cos, sin = 1 + vector[:, 3], vector[:, 4]
    inverse_rotation = torch.stack([cos, sin, -sin, cos], 1).view(-1, 2, 2)
    strength, direction = vector[:, 5:7].norm(dim=1), torch.atan2(vector[:, 6], vector[:, 5]) / 2
    along = torch.stack([direction.cos(), direction.sin()], 1)
    across = torch.stack([-direction.sin(), direction.cos()], 1)
    inverse_stretch = sum(
        torch.exp2(sign * SCALE * strength)[:, None, None] * axis[:, :, None] * axis[:, None, :]
        for sign, axis in ((-1, along), (1, across))
    )
    linear = inverse_scale * flip @ inverse_rotation @ inverse_stretch
    translation = 2 * SHIFT * half * vector[:, 7:]
    return linear, -(linear @ translation[:, :, None])[:, :, 0]
