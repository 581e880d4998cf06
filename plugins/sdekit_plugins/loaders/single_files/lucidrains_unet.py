"""The U-Net of denoising-diffusion-pytorch, with the names of its tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError
from sdekit_plugins.loaders.weight_files.tensor_in_file import TensorInFile


@dataclass(frozen=True)
class Level:
    """One resolution of the U-Net.

    Arguments:
        width: Number of channels.
        full_attention: Whether its attention is softmax attention over all pixels, and not linear attention.
        heads: Number of attention heads.
        head_width: Number of channels of each head.
        memory: Number of learned keys and values that are added to those of the pixels.
    """

    width: int
    full_attention: bool
    heads: int
    head_width: int
    memory: int


@dataclass(frozen=True)
class Architecture:
    """Sizes of the U-Net, which follow from the shapes of its tensors.

    Arguments:
        inputs: Channels of the input.
        outputs: Channels of the output.
        time_width: Width of the sinusoidal embedding of the time.
        levels: The resolutions, the highest first.
        lowest: Width and attention of the lowest part, between the way down and the way up.
    """

    inputs: int
    outputs: int
    time_width: int
    levels: tuple[Level, ...]
    lowest: Level

    @classmethod
    def of(cls, tensors: Mapping[str, TensorInFile]) -> Architecture:
        """Read the sizes from tensors.

        Arguments:
            tensors: Tensors of the network by name.
        Returns:
            The sizes.
        Raises:
            KeyError: If a tensor that determines a size is missing; the key is its name.
            InputError: If a tensor has another number of axes than expected.
        """
        count = 1 + max((int(k.split(".")[1]) for k in tensors if k.startswith("downs.")), default=-1)
        levels = tuple(_level(tensors, f"downs.{i}.0.block1.proj", f"downs.{i}.2") for i in range(max(count, 1)))
        return cls(
            inputs=_size(tensors, "init_conv.weight", 4, 1),
            outputs=_size(tensors, "final_conv.weight", 4, 0),
            time_width=_size(tensors, "time_mlp.1.weight", 2, 1),
            levels=levels,
            lowest=_level(tensors, "mid_block1.block1.proj", "mid_attn"),
        )


def _size(tensors: Mapping[str, TensorInFile], name: str, axes: int, axis: int) -> int:
    if tensors[name].ndim != axes:
        raise InputError(f"tensor {name} has the shape {tuple(tensors[name].shape)}, expected {axes} axes")
    return tensors[name].shape[axis]


def _level(tensors: Mapping[str, TensorInFile], convolution: str, attention: str) -> Level:
    """Return the sizes of one resolution from its first convolution and its attention."""
    full = f"{attention}.to_out.weight" in tensors
    heads = _size(tensors, f"{attention}.mem_kv", 4, 1)
    memory, head_width = (_size(tensors, f"{attention}.mem_kv", 4, axis) for axis in ((2, 3) if full else (3, 2)))
    return Level(_size(tensors, f"{convolution}.weight", 4, 1), full, heads, head_width, memory)


class LucidrainsUNet(nn.Module):
    """U-Net of residual blocks with RMS normalization and linear attention.

    Each level of the way down has two residual blocks, attention, and a convolution that halves the side. The lowest
    part has attention between two blocks. On the way up, each block also receives the output of its counterpart on the
    way down.

    If the input has twice as many channels as x, the network was trained with self-conditioning on its last estimate
    of x_0, which is zero here. If the output has twice as many channels as x, the second half predicts variances and
    is cut.

    Arguments:
        architecture: Sizes of the network.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.channels = min(architecture.inputs, architecture.outputs)
        self.self_conditioned = architecture.inputs > self.channels
        levels, lowest = architecture.levels, architecture.lowest
        time = 4 * architecture.time_width
        self.init_conv = nn.Conv2d(architecture.inputs, levels[0].width, 7, padding=3)
        self.time_mlp = nn.Sequential(
            _Sinusoids(architecture.time_width),
            nn.Linear(architecture.time_width, time),
            nn.GELU(),
            nn.Linear(time, time),
        )
        below = [*(level.width for level in levels[1:]), lowest.width]
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for i, (level, lower) in enumerate(zip(levels, below, strict=True)):
            w, last = level.width, i == len(levels) - 1
            down: nn.Module = nn.Conv2d(w, lower, 3, padding=1) if last else _halve(w, lower)
            self.downs.append(nn.ModuleList([_Block(w, w, time), _Block(w, w, time), _attention(level), down]))
        self.mid_block1 = _Block(lowest.width, lowest.width, time)
        self.mid_attn = _attention(lowest)
        self.mid_block2 = _Block(lowest.width, lowest.width, time)
        for i, (level, lower) in reversed(list(enumerate(zip(levels, below, strict=True)))):
            upper = level.width
            up: nn.Module = nn.Conv2d(lower, upper, 3, padding=1) if i == 0 else _double(lower, upper)
            attention = _attention(Level(lower, level.full_attention, level.heads, level.head_width, level.memory))
            blocks = [_Block(lower + upper, lower, time), _Block(lower + upper, lower, time)]
            self.ups.append(nn.ModuleList([*blocks, attention, up]))
        self.final_res_block = _Block(2 * levels[0].width, levels[0].width, time)
        self.final_conv = nn.Conv2d(levels[0].width, architecture.outputs, 1)

    @property
    def divisor(self) -> int:
        """Number that the sides of the images must be multiples of."""
        return int(2 ** (len(self.downs) - 1))

    def forward(self, x: Tensor, index: Tensor, y: None = None) -> Tensor:
        """Map x (B, C, H, W) and the index (B,) in the table of betas to the output (B, C, H, W)."""
        if self.self_conditioned:
            x = torch.cat([torch.zeros_like(x), x], 1)
        first = h = self.init_conv(x)
        embedding = self.time_mlp(index)
        skips: list[Tensor] = []
        downs: Any = self.downs  # lists of four modules
        ups: Any = self.ups
        for block1, block2, attention, down in downs:
            skips.append(h := block1(h, embedding))
            skips.append(h := attention(block2(h, embedding)))
            h = down(h)
        h = self.mid_block2(self.mid_attn(self.mid_block1(h, embedding)), embedding)
        for block1, block2, attention, up in ups:
            h = block1(torch.cat([h, skips.pop()], 1), embedding)
            h = attention(block2(torch.cat([h, skips.pop()], 1), embedding))
            h = up(h)
        h = self.final_res_block(torch.cat([h, first], 1), embedding)
        out: Tensor = self.final_conv(h)[:, : self.channels]
        return out


class _Sinusoids(nn.Module):
    """Sines and cosines of the index at frequencies from 1 to 1/10000 (Vaswani et al. 2017)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.count = width // 2

    def forward(self, index: Tensor) -> Tensor:
        exponents = torch.arange(self.count, device=index.device) / max(self.count - 1, 1)
        angle = index[:, None] * torch.exp(-math.log(10000) * exponents)
        return torch.cat([angle.sin(), angle.cos()], 1)


class _RMSNorm(nn.Module):
    """Division of each pixel's channels by their root mean square, and a learned gain `g`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, width, 1, 1))

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = F.normalize(h, dim=1) * self.g * h.shape[1] ** 0.5
        return out


class _Convolution(nn.Module):
    """silu(norm(convolution(h)) (1 + scale) + shift)."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.proj, self.norm = nn.Conv2d(width, out, 3, padding=1), _RMSNorm(out)

    def forward(self, h: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        h = self.norm(self.proj(h))
        return F.silu(h if scale is None or shift is None else h * (scale + 1) + shift)


class _Block(nn.Module):
    """Residual block of two convolutions; the embedding of the time scales and shifts the first."""

    def __init__(self, width: int, out: int, time: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time, 2 * out))
        self.block1, self.block2 = _Convolution(width, out), _Convolution(out, out)
        self.res_conv = nn.Conv2d(width, out, 1) if width != out else nn.Identity()

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.mlp(embedding)[:, :, None, None].chunk(2, 1)
        out: Tensor = self.block2(self.block1(h, scale, shift)) + self.res_conv(h)
        return out


class _LinearAttention(nn.Module):
    """h + norm(out(V softmax(K)^T softmax(Q))): attention at a cost linear in the number n of pixels."""

    def __init__(self, level: Level) -> None:
        super().__init__()
        inner = level.heads * level.head_width
        self.norm = _RMSNorm(level.width)
        self.mem_kv = nn.Parameter(torch.randn(2, level.heads, level.head_width, level.memory))
        self.to_qkv = nn.Conv2d(level.width, 3 * inner, 1, bias=False)
        self.to_out = nn.Sequential(nn.Conv2d(inner, level.width, 1), _RMSNorm(level.width))

    def forward(self, h: Tensor) -> Tensor:
        heads, head_width = self.mem_kv.shape[1:3]
        q, k, v = (
            self.to_qkv(self.norm(h)).unflatten(1, (3, heads, head_width)).flatten(4).unbind(1)
        )  # (B, heads, d, n)
        memory_k, memory_v = self.mem_kv.unsqueeze(1).expand(-1, len(h), -1, -1, -1)
        k, v = torch.cat([memory_k, k], -1), torch.cat([memory_v, v], -1)
        q = q.softmax(-2) * head_width**-0.5
        context = k.softmax(-1) @ v.transpose(-1, -2)  # (B, heads, d, d), from (B, heads, d, n)
        attended = (context.transpose(-1, -2) @ q).flatten(1, 2).unflatten(-1, h.shape[2:])
        out: Tensor = h + self.to_out(attended)
        return out


class _Attention(nn.Module):
    """h + out(softmax(Q K^T / sqrt(d)) V): attention over all pixels."""

    def __init__(self, level: Level) -> None:
        super().__init__()
        inner = level.heads * level.head_width
        self.norm = _RMSNorm(level.width)
        self.mem_kv = nn.Parameter(torch.randn(2, level.heads, level.memory, level.head_width))
        self.to_qkv = nn.Conv2d(level.width, 3 * inner, 1, bias=False)
        self.to_out = nn.Conv2d(inner, level.width, 1)

    def forward(self, h: Tensor) -> Tensor:
        heads, _, head_width = self.mem_kv.shape[1:]
        q, k, v = self.to_qkv(self.norm(h)).unflatten(1, (3, heads, head_width)).flatten(4).transpose(-1, -2).unbind(1)
        memory_k, memory_v = self.mem_kv.unsqueeze(1).expand(-1, len(h), -1, -1, -1)
        attended = F.scaled_dot_product_attention(q, torch.cat([memory_k, k], -2), torch.cat([memory_v, v], -2))
        out: Tensor = h + self.to_out(attended.transpose(-1, -2).flatten(1, 2).unflatten(-1, h.shape[2:]))
        return out


def _attention(level: Level) -> nn.Module:
    return _Attention(level) if level.full_attention else _LinearAttention(level)


def _halve(width: int, out: int) -> nn.Sequential:
    """Return the layer that maps squares of 2 x 2 pixels to one pixel."""
    return nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * width, out, 1))


def _double(width: int, out: int) -> nn.Sequential:
    """Return the layer that repeats each pixel 2 x 2 times, followed by a convolution."""
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, out, 3, padding=1))
