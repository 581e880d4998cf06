"""Residual blocks of U-Nets in 1, 2 and 3 dimensions: convolutions modulated by an embedding, resampling, attention."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class BlockStyle:
    """Details in which the residual blocks of published U-Nets differ. The defaults are those of `UNet`.

    Arguments:
        scale_and_shift: Whether the embedding scales and shifts the normalized features. Otherwise it is added to the
            features before the second normalization.
        residual_scale: Factor of every sum with a skip connection: sqrt(1/2) keeps unit variance.
        taps: Taps of the separable filter that changes the resolution: (1, 1) averages four pixels and repeats pixels.
        project: Whether the skip connection of a block that changes the resolution has a convolution of 1 pixel.
        heads: Number of attention heads, 0 to derive it from `head_channels`.
        head_channels: Channels of one attention head.
        group_channels: Least number of channels in a group of the group normalizations.
        eps: Number added to the variance by the group normalizations.
    """

    scale_and_shift: bool = True
    residual_scale: float = 0.5**0.5
    taps: tuple[int, ...] = (1, 1)
    project: bool = False
    heads: int = 0
    head_channels: int = 64
    group_channels: int = 4
    eps: float = 1e-5

    def norm(self, channels: int) -> nn.GroupNorm:
        """Return the group normalization of this style."""
        return norm(channels, group_channels=self.group_channels, eps=self.eps)


STYLE = BlockStyle()

CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]] = {
    1: nn.Conv1d,
    2: nn.Conv2d,
    3: nn.Conv3d,
}
"""Convolution by the number of spatial dimensions: of sequences, images and volumes."""
AVERAGE_POOLS: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
"""Mean of neighbouring positions by the number of spatial dimensions."""


def norm(channels: int, *, group_channels: int = 4, eps: float = 1e-5) -> nn.GroupNorm:
    """Group normalization with at most 32 groups of equal size.

    Arguments:
        channels: Number of channels.
        group_channels: Least number of channels in a group.
        eps: Number added to the variance.
    Returns:
        The layer.
    """
    groups = min(32, channels // group_channels)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels, eps=eps)


def zero(layer: nn.Module) -> nn.Module:
    """Set all parameters to zero, so that a block starts as its skip connection.

    Arguments:
        layer: Layer to initialize.
    Returns:
        The layer itself.
    """
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Filter(nn.Module):
    """Low-pass filter that halves or doubles the sides of an image without aliasing (Zhang 2019).

    Arguments:
        taps: Even number of filter taps; the filter is their outer product, divided by its sum.
    """

    kernel: Tensor

    def __init__(self, taps: Sequence[int]) -> None:
        super().__init__()
        row = torch.tensor(taps, dtype=torch.float32, device="cpu")  # real numbers, also in a network on "meta"
        self.register_buffer("kernel", torch.outer(row, row)[None, None] / row.sum() ** 2, persistent=False)

    def down(self, x: Tensor, *, stride: int = 2, padding: int | None = None) -> Tensor:
        """Filter x (B, C, H, W) and keep every second pixel; H and W are even."""
        padding = self.kernel.shape[-1] // 2 - 1 if padding is None else padding
        return F.conv2d(x, self._each(x), stride=stride, padding=padding, groups=x.shape[1])

    def up(self, x: Tensor) -> Tensor:
        """Double the sides of x (B, C, H, W)."""
        padding = self.kernel.shape[-1] // 2 - 1
        return F.conv_transpose2d(x, 4 * self._each(x), stride=2, padding=padding, groups=x.shape[1])

    def _each(self, x: Tensor) -> Tensor:
        """Return the kernel once for each channel of x, (C, 1, k, k)."""
        return self.kernel.to(x.dtype).expand(x.shape[1], -1, -1, -1)


class ConvBlock(nn.Module):
    """Residual block of two convolutions in 1, 2 or 3 dimensions, with the sum scaled to unit variance.

    The layers are norm, silu, resampling, conv, norm * (1 + scale) + shift, silu, dropout, conv. scale and shift are
    linear in the embedding of the noise level and the condition. Attention may follow.

    Arguments:
        channels: Channels of the input.
        out: Channels of the output.
        condition: Size of the embedding.
        dropout: Probability of dropout, in [0, 1).
        resample: "down" to halve the sides, "up" to enlarge them, "" for neither.
        attend: Whether self-attention follows.
        sequence: Width of the elements of the cross-attention that also follows if `attend` is set, 0 for none.
        style: Details of the layers.
        dimensions: Number of spatial dimensions: 1 for sequences, 2 for images, 3 for volumes.
    """

    def __init__(
        self,
        channels: int,
        out: int,
        condition: int,
        dropout: float,
        *,
        resample: str = "",
        attend: bool = False,
        sequence: int = 0,
        style: BlockStyle = STYLE,
        dimensions: int = 2,
    ) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[dimensions]
        self.resample, self.dropout, self.style = resample, dropout, style
        self.filter = Filter(style.taps) if resample and style.taps != STYLE.taps else None
        self.norm0, self.conv0 = style.norm(channels), convolution(channels, out, 3, padding=1)
        self.modulate = zero(nn.Linear(condition, (2 if style.scale_and_shift else 1) * out))
        self.norm1, self.conv1 = style.norm(out), zero(convolution(out, out, 3, padding=1))
        project = channels != out or (style.project and bool(resample))
        self.skip = convolution(channels, out, 1) if project else nn.Identity()
        self.attention = Attention(out, style, dimensions) if attend else None
        self.cross_attention = CrossAttention(out, sequence, dimensions) if attend and sequence else None

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        context: tuple[Tensor, Tensor] | None = None,
        size: torch.Size | None = None,
    ) -> Tensor:
        """Map x (B, channels, *sides) and the embedding (B, condition) to (B, out, *new sides).

        `context` contains the elements (B, L, d) for cross-attention, and a mask (B, L) of those that count. `size`
        contains the new sides if `resample` is "up"; by default the sides are doubled.
        """
        h = self.conv0(self._resampled(F.silu(self.norm0(x)), size))
        modulation = self.modulate(condition).unflatten(1, (-1, *(1,) * (x.ndim - 2)))
        if self.style.scale_and_shift:
            scale, shift = modulation.chunk(2, 1)
            h = F.silu(torch.addcmul(shift, self.norm1(h), 1 + scale))
        else:
            h = F.silu(self.norm1(h + modulation))
        h = self.conv1(F.dropout(h, self.dropout, self.training))
        h = (self.skip(self._resampled(x, size)) + h) * self.style.residual_scale
        out: Tensor = h if self.attention is None else self.attention(h)
        if self.cross_attention is not None and context is not None:
            out = self.cross_attention(out, *context)
        return out

    def _resampled(self, x: Tensor, size: torch.Size | None) -> Tensor:
        if self.filter is not None:
            return self.filter.down(x) if self.resample == "down" else self.filter.up(x)
        if self.resample == "down":
            return AVERAGE_POOLS[x.ndim - 2](x, 2, ceil_mode=True)
        if self.resample == "up":
            return F.interpolate(x, scale_factor=2) if size is None else F.interpolate(x, size=size)
        return x


class Attention(nn.Module):
    """Self-attention of all positions, with one head for every 64 channels.

    Arguments:
        channels: Channels of the input and of the output.
        style: Number of heads, normalization and scale of the sum.
        dimensions: Number of spatial dimensions.
    """

    def __init__(self, channels: int, style: BlockStyle = STYLE, dimensions: int = 2) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[dimensions]
        self.heads, self.residual_scale = attention_heads(channels, style), style.residual_scale
        self.norm, self.qkv = style.norm(channels), convolution(channels, 3 * channels, 1)
        self.out = zero(convolution(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, C, *sides) to (B, C, *sides)."""
        b, c, *sides = x.shape
        qkv = self.qkv(self.norm(x)).flatten(2).view(b, 3, self.heads, c // self.heads, prod(sides))
        q, k, v = qkv.transpose(3, 4).unbind(1)  # (B, heads, positions, c / heads)
        z = F.scaled_dot_product_attention(q, k, v).transpose(2, 3).reshape(b, c, *sides)
        out: Tensor = (x + self.out(z)) * self.residual_scale
        return out


class CrossAttention(nn.Module):
    """Attention of positions to the elements of a sequence (Rombach et al. 2022), with one head for every 64 channels.

    Arguments:
        channels: Channels of the input and of the output.
        d: Width of the elements.
        dimensions: Number of spatial dimensions.
    """

    def __init__(self, channels: int, d: int, dimensions: int = 2) -> None:
        super().__init__()
        convolution = CONVOLUTIONS[dimensions]
        self.heads = attention_heads(channels)
        self.norm, self.q, self.kv = norm(channels), convolution(channels, channels, 1), nn.Linear(d, 2 * channels)
        self.out = zero(convolution(channels, channels, 1))

    def forward(self, x: Tensor, elements: Tensor, counts: Tensor) -> Tensor:
        """Map x (B, C, *sides), elements (B, L, d) and the mask `counts` (B, L) to (B, C, *sides)."""
        b, c, *sides = x.shape
        q = self.q(self.norm(x)).flatten(2).view(b, self.heads, c // self.heads, prod(sides)).transpose(2, 3)
        kv = self.kv(elements).view(b, elements.shape[1], 2, self.heads, c // self.heads)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, L, c / heads)
        z = F.scaled_dot_product_attention(q, k, v, attn_mask=counts[:, None, None])
        out: Tensor = (x + self.out(z.transpose(2, 3).reshape(b, c, *sides))) * 0.5**0.5
        return out


def attention_heads(channels: int, style: BlockStyle = STYLE) -> int:
    """Return the number of attention heads, a divisor of the number of channels.

    Arguments:
        channels: Number of channels.
        style: Its `heads`, or about one head for every `head_channels`.
    Returns:
        Number of heads, at least 1.
    """
    wanted = style.heads or max(1, channels // style.head_channels)
    return next(n for n in range(wanted, 0, -1) if channels % n == 0)
