"""The U-Net `image_v1` of k-diffusion, with the names of its tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError

HEAD_WIDTH, GROUP_WIDTH = 64, 32


@dataclass(frozen=True, kw_only=True)
class ImageV1:
    """Sizes of the U-Net, from the section `model` of a configuration of k-diffusion.

    Arguments:
        channels: Channels of the images.
        features: Width of the embedding of the noise level.
        depths: Number of residual blocks of each level, the highest resolution first.
        widths: Channels of each level.
        attention: Whether each level has self-attention.
        patch: Side of the squares of pixels that are moved into channels.
        skipped: Number of levels at the highest resolutions that are not used.
        augmented: Whether the network receives the parameters of augmentations, which are 0 for samples.
        variance: Whether the output has another channel for the variance, which is cut.
    Raises:
        InputError: If the sizes do not fit together.
    """

    channels: int
    features: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    attention: tuple[bool, ...]
    patch: int = 1
    skipped: int = 0
    augmented: bool = True
    variance: bool = False

    def __post_init__(self) -> None:
        sizes = (self.channels, self.features // 2, self.patch, *self.depths, *self.widths)
        if not 0 <= self.skipped < len(self.depths) or min(sizes) < 1 or self.features % 2:
            raise InputError(f"expected positive sizes and an even mapping_out, got {self}")
        if not len(self.depths) == len(self.widths) == len(self.attention):
            raise InputError(f"depths, channels and self_attn_depths need the same length, got {self}")
        for width in self.widths:
            if width % max(1, width // GROUP_WIDTH) or width % max(1, width // HEAD_WIDTH):
                raise InputError(f"channels: {width} cannot be divided into groups of {GROUP_WIDTH}")

    @property
    def divisor(self) -> int:
        """Number that the sides of the images must be multiples of."""
        return int(self.patch * 2 ** (len(self.depths) - 1 - self.skipped))


class KarrasUNet(nn.Module):
    """U-Net of residual blocks with adaptive group normalization, for EDM's preconditioning.

    Arguments:
        sizes: Sizes of the network.
    """

    def __init__(self, sizes: ImageV1) -> None:
        super().__init__()
        self.sizes = sizes
        features, first = sizes.features, sizes.widths[max(0, sizes.skipped - 1)]
        pixels = sizes.channels * sizes.patch**2
        self.timestep_embed = _FourierFeatures(features)
        if sizes.augmented:
            self.mapping_cond = nn.Linear(9, features, bias=False)
        self.mapping = nn.Sequential(nn.Linear(features, features), nn.GELU(), nn.Linear(features, features), nn.GELU())
        self.proj_in = nn.Conv2d(pixels, first, 1)
        self.proj_out = nn.Conv2d(first, pixels + sizes.variance, 1)
        downs: list[nn.Module] = []
        ups: list[nn.Module] = []
        for i, (depth, width, attention) in enumerate(zip(sizes.depths, sizes.widths, sizes.attention, strict=True)):
            upper, lowest = sizes.widths[max(0, i - 1)], i == len(sizes.depths) - 1
            down: nn.Module = _Downsample() if i > sizes.skipped else nn.Identity()
            up: nn.Module = _Upsample() if i > sizes.skipped else nn.Identity()
            downs.append(nn.ModuleList([down, *_layers(depth, features, upper, width, width, attention)]))
            into = width if lowest else 2 * width
            ups.append(nn.ModuleList([*_layers(depth, features, into, width, upper, attention), up]))
        self.u_net = nn.ModuleDict({"d_blocks": nn.ModuleList(downs), "u_blocks": nn.ModuleList(reversed(ups))})

    def forward(self, x: Tensor, c_noise: Tensor, y: None = None) -> Tensor:
        """Map x (B, C, H, W) and c_noise (B,) = log(sigma) / 4 to the output (B, C, H, W)."""
        embedding = self.mapping(self.timestep_embed(c_noise))
        h = self.proj_in(F.pixel_unshuffle(x, self.sizes.patch))
        skips: list[Tensor] = []
        blocks: Any = self.u_net
        for block in blocks["d_blocks"][self.sizes.skipped :]:
            skips.append(h := _run(block, h, embedding))
        for i, (block, skip) in enumerate(zip(blocks["u_blocks"], reversed(skips), strict=False)):
            h = _run(block, torch.cat([h, skip], 1) if i else h, embedding)
        out = self.proj_out(h)
        return F.pixel_shuffle(out[:, :-1] if self.sizes.variance else out, self.sizes.patch)


def _run(block: nn.ModuleList, h: Tensor, embedding: Tensor) -> Tensor:
    """Apply the layers of a block in turn."""
    for layer in block:
        h = layer(h, embedding) if isinstance(layer, _ResidualBlock | _SelfAttention) else layer(h)
    return h


def _layers(depth: int, features: int, into: int, middle: int, out: int, attention: bool) -> list[nn.Module]:
    """Return the residual blocks of one level, each followed by self-attention if the level has it."""
    layers: list[nn.Module] = []
    for i in range(depth):
        last = out if i == depth - 1 else middle
        layers.append(_ResidualBlock(features, into if i == 0 else middle, middle, last))
        if attention:
            layers.append(_SelfAttention(features, last))
    return layers


class _FourierFeatures(nn.Module):
    """Cosines and sines of c_noise at random frequencies."""

    weight: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(features // 2, 1))

    def forward(self, c_noise: Tensor) -> Tensor:
        angle = 2 * math.pi * c_noise[:, None] @ self.weight.T
        return torch.cat([angle.cos(), angle.sin()], 1)


class _AdaptiveGroupNorm(nn.Module):
    """group_norm(h) (1 + scale) + shift, with scale and shift linear in the embedding."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.groups, self.mapper = max(1, width // GROUP_WIDTH), nn.Linear(features, 2 * width)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.mapper(embedding)[:, :, None, None].chunk(2, 1)
        out: Tensor = F.group_norm(h, self.groups, eps=1e-5) * (scale + 1) + shift
        return out


class _ResidualBlock(nn.Module):
    """skip(h) + convolution(gelu(norm(convolution(gelu(norm(h))))))."""

    def __init__(self, features: int, into: int, middle: int, out: int) -> None:
        super().__init__()
        self.main = nn.ModuleDict(
            {
                "0": _AdaptiveGroupNorm(features, into),
                "2": nn.Conv2d(into, middle, 3, padding=1),
                "4": _AdaptiveGroupNorm(features, middle),
                "6": nn.Conv2d(middle, out, 3, padding=1),
            }
        )
        self.skip = nn.Identity() if into == out else nn.Conv2d(into, out, 1, bias=False)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        z = self.main["2"](F.gelu(self.main["0"](h, embedding)))
        out: Tensor = self.main["6"](F.gelu(self.main["4"](z, embedding))) + self.skip(h)
        return out


class _SelfAttention(nn.Module):
    """h + out(softmax(Q K^T / sqrt(d)) V), over all pixels."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD_WIDTH)
        self.norm_in = _AdaptiveGroupNorm(features, width)
        self.qkv_proj, self.out_proj = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        q, k, v = self.qkv_proj(self.norm_in(h, embedding)).flatten(2).unflatten(1, (3, self.heads, -1)).unbind(1)
        attended = F.scaled_dot_product_attention(*(part.transpose(-1, -2) for part in (q, k, v)))
        out: Tensor = h + self.out_proj(attended.transpose(-1, -2).flatten(1, 2).unflatten(-1, h.shape[2:]))
        return out


class _Resample(nn.Module):
    """Separable filter of four taps, (1, 3, 3, 1) / 8, on images that are reflected at their edges."""

    kernel: Tensor

    def __init__(self, gain: float) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8 * gain
        self.register_buffer("kernel", taps[:, None] * taps)

    def _filters(self, h: Tensor) -> Tensor:
        return self.kernel.to(h).expand(h.shape[1], 1, 4, 4)


class _Downsample(_Resample):
    """Halving of the sides."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def forward(self, h: Tensor) -> Tensor:
        return F.conv2d(F.pad(h, (1, 1, 1, 1), "reflect"), self._filters(h), stride=2, groups=h.shape[1])


class _Upsample(_Resample):
    """Doubling of the sides."""

    def __init__(self) -> None:
        super().__init__(2.0)

    def forward(self, h: Tensor) -> Tensor:
        padded = F.pad(h, (1, 1, 1, 1), "reflect")
        return F.conv_transpose2d(padded, self._filters(h), stride=2, padding=3, groups=h.shape[1])
