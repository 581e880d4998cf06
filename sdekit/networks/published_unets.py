"""The U-Nets of score_sde and guided-diffusion: DDPM++, NCSN++ and ADM.

The three networks are one design with different choices (Karras et al. 2022, Table 7), so they share their layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdekit.errors import InputError
from sdekit.models import Condition

from .conv_blocks import BlockStyle, ConvBlock, Filter
from .embedding import ConditionEmbedding, Frequencies, NoiseEmbedding
from .unet import Context

Pyramid = Literal["none", "skip", "residual"]
FOURIER_SCALE = 16.0


@dataclass(frozen=True, kw_only=True)
class Design:
    """Choices in which DDPM++, NCSN++ and ADM differ, a column of Table 7 of Karras et al. 2022.

    Arguments:
        embedding: Frequencies of the noise level.
        encoder: How the levels of the encoder receive the input at their own resolution.
        decoder: How the levels of the decoder contribute to the output.
        taps: Taps of the filter that changes the resolution.
        scale_and_shift: Whether the embedding scales and shifts the features of a block, or is added to them.
        residual_scale: Factor of the sums with a skip connection.
        project: Whether a block that changes the resolution has a convolution in its skip connection.
        head_channels: Channels of an attention head, 0 for a single head.
        attention: Sides of the levels with attention, in pixels.
        every_block: Whether every block of such a level has attention in the decoder, or the last block only.
        late: Whether the condition is added after the second layer of the embedding.
        scaled_input: Whether the first convolution has width * multipliers[0] channels, or width.
        eps: Number added to the variance by the group normalizations.
        width: Channels of the first level, for images from 32 pixels.
        multipliers: Channels of the levels in units of width.
        blocks: Blocks of each level, for images from 32 pixels.
    """

    embedding: Frequencies = "positional"
    encoder: Pyramid = "none"
    decoder: Pyramid = "none"
    taps: tuple[int, ...] = (1, 1)
    scale_and_shift: bool = False
    residual_scale: float = 0.5**0.5
    project: bool = True
    head_channels: int = 0
    attention: tuple[int, ...] = (16,)
    every_block: bool = False
    late: bool = False
    scaled_input: bool = False
    eps: float = 1e-6
    width: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 4


class DDPMpp(nn.Module):
    """DDPM++, the U-Net that score_sde and EDM use for VP processes (Song et al. 2021).

    A convolution maps x to (B, width, H, W). Each level of the encoder halves the sides of the previous level, and each
    level of the decoder doubles them. A block of the decoder also receives the output of its counterpart in the
    encoder. With `encoder="skip"` each level adds a 1 x 1 convolution of the filtered input to its features; with
    "residual" a convolution of the previous sum. With `decoder="skip"` each level of the decoder adds to the output.

    Arguments:
        shape: (C, H, W) of one sample. H and W are divisible by 2^(number of levels - 1).
        classes: Number of labels, 0 for none.
        width: Channels of the first level, a multiple of 4; None for the paper's number, or less in images below 32
            pixels.
        multipliers: Channels of each level in units of width; None for the paper's numbers, as far as the sides can be
            halved.
        blocks: Blocks of each level; None for the paper's number, or 2 in images below 32 pixels.
        attention: Longer sides, in pixels, of the levels with attention; None for the paper's sides, or the first level
            below them.
        dropout: Probability of dropout, in [0, 1).
        embedding: Frequencies of the noise level, "positional", "fourier" or "sinusoidal"; None for the paper's.
        encoder: "none", "skip" or "residual"; None for the paper's choice.
        decoder: "none" or "skip"; None for the paper's choice.
        taps: Taps of the filter that changes the resolution, such as (1, 1) or (1, 3, 3, 1); None for the paper's.
        head_channels: Channels of an attention head, 0 for a single head; None for the paper's number. A level with
            fewer channels has no attention.
        heads: Number of attention heads, 0 to derive it from `head_channels`.
        scale_and_shift: Whether the embedding scales and shifts the features; None for the paper's choice.
        conv_resample: Whether a single convolution changes the resolution, in place of a residual block.
        group_channels: Least number of channels in a group of the group normalizations.
        conditions: How many numbers condition a sample in place of a label, 0 for none.
        embedding_size: Width d of an embedding (B, d) that conditions a sample, 0 for none.
        sequence: Width d of the elements of a sequence (B, L, d) that conditions a sample, 0 for none.
        augmentation: Width of the augmentation vector, 0 for none.
    Raises:
        InputError: If the shape is not that of an image, its sides cannot be halved often enough, or an option is out
            of its range.
    Source:
        Song et al. 2021, appendix H; Karras et al. 2022, Table 7.
    """

    design: ClassVar[Design] = Design()
    name: ClassVar[str] = "ddpmpp"

    def __init__(
        self,
        shape: Sequence[int],
        classes: int = 0,
        *,
        width: int | None = None,
        multipliers: tuple[float, ...] | None = None,
        blocks: int | None = None,
        attention: tuple[int, ...] | None = None,
        dropout: float = 0.0,
        embedding: Frequencies | None = None,
        encoder: Pyramid | None = None,
        decoder: Pyramid | None = None,
        taps: tuple[int, ...] | None = None,
        head_channels: int | None = None,
        heads: int = 0,
        scale_and_shift: bool | None = None,
        conv_resample: bool = False,
        group_channels: int = 4,
        conditions: int = 0,
        embedding_size: int = 0,
        sequence: int = 0,
        augmentation: int = 0,
    ) -> None:
        super().__init__()
        design = self.design
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"{self.name}: needs images (C, H, W), got the shape {tuple(shape)}: use mlp")
        sides = tuple(shape[1:])
        small = max(sides) < 32
        width = _or(width, max(32, design.width // 4) if small else design.width)
        multipliers = tuple(_or(multipliers, design.multipliers[: _levels(sides, len(design.multipliers))]))
        blocks = _or(blocks, min(2, design.blocks) if small else design.blocks)
        attention = tuple(_or(attention, _attended(sides, len(multipliers), design.attention)))
        self.options: dict[str, Any] = dict(
            width=width,
            multipliers=multipliers,
            blocks=blocks,
            attention=attention,
            dropout=dropout,
            embedding=_or(embedding, design.embedding),
            encoder=_or(encoder, design.encoder),
            decoder=_or(decoder, design.decoder),
            taps=tuple(_or(taps, design.taps)),
            head_channels=_or(head_channels, design.head_channels),
            heads=heads,
            scale_and_shift=_or(scale_and_shift, design.scale_and_shift),
            conv_resample=conv_resample,
            group_channels=group_channels,
            conditions=conditions,
            embedding_size=embedding_size,
            sequence=sequence,
            augmentation=augmentation,
        )
        self._check(sides)
        taps, embedding = self.options["taps"], self.options["embedding"]
        self.encoder_type, self.decoder_type = self.options["encoder"], self.options["decoder"]
        self.style = style = BlockStyle(
            scale_and_shift=self.options["scale_and_shift"],
            residual_scale=design.residual_scale,
            taps=taps,
            project=design.project,
            heads=heads or (0 if self.options["head_channels"] else 1),
            head_channels=self.options["head_channels"] or 1,
            group_channels=group_channels,
            eps=design.eps,
        )
        features = 2 * width if embedding == "fourier" else width
        self.condition = ConditionEmbedding(
            4 * width,
            classes,
            numbers=conditions,
            embedding=embedding_size,
            sequence=sequence,
            augmentation=augmentation,
            noise=NoiseEmbedding(features, embedding, scale=FOURIER_SCALE),
            late=design.late,
        )
        self.context = Context(sequence) if sequence else None
        self.filter = Filter(taps)

        def block(channels: int, out: int, **kind: Any) -> ConvBlock:
            return ConvBlock(channels, out, 4 * width, dropout, sequence=sequence, style=style, **kind)

        def resample(channels: int, direction: Literal["down", "up"]) -> nn.Module:
            return ConvResample(channels, direction) if conv_resample else block(channels, channels, resample=direction)

        image_channels, longer = shape[0], max(sides)
        channels = int(width * multipliers[0]) if design.scaled_input else width
        self.encoder = nn.ModuleList()
        skips, aux = [], image_channels
        outs = [int(width * multiplier) for multiplier in multipliers]
        for level, out in enumerate(outs):
            attend = longer >> level in attention and self._has_heads(out)
            stage = EncoderLevel()
            stage.enter = resample(channels, "down") if level else nn.Conv2d(image_channels, channels, 3, padding=1)
            skips.append(channels)
            if level and self.encoder_type == "skip":
                stage.pyramid = nn.Conv2d(image_channels, channels, 1)
            if level and self.encoder_type == "residual":
                stage.pyramid = nn.Conv2d(aux, channels, 3, stride=2)
                aux = channels
            for _ in range(blocks):
                stage.blocks.append(block(channels, out, attend=attend))
                channels = out
                skips.append(channels)
            self.encoder.append(stage)
        self.middle = nn.ModuleList(
            block(channels, channels, attend=attend and self._has_heads(channels)) for attend in (True, False)
        )
        decoder_levels: list[DecoderLevel] = []
        for level, out in reversed(list(enumerate(outs))):
            attend = longer >> level in attention and self._has_heads(out)
            last = DecoderLevel()
            if level < len(outs) - 1:
                last.enter = resample(channels, "up")
            for i in range(blocks + 1):
                here = attend and (design.every_block or i == blocks)
                last.blocks.append(block(channels + skips.pop(), out, attend=here))
                channels = out
            if level == 0 or self.decoder_type == "skip":
                last.norm = style.norm(channels)
                last.out = nn.Conv2d(channels, image_channels, 3, padding=1)
                nn.init.zeros_(last.out.weight)
            decoder_levels.append(last)
        self.decoder = nn.ModuleList(decoder_levels)

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition | None = None) -> Tensor:
        """Map x (B, C, H, W), c_noise (B,) and y, a condition of B samples or None, to (B, C, H, W)."""
        condition = self.condition(c_noise, y)
        context = None if self.context is None else self.context(x.shape[0], self.condition.named_parts(y))
        h, aux, skips = x, x, []
        for level in cast("list[EncoderLevel]", self.encoder):
            h = _apply(level.enter, h, condition, context)
            if level.pyramid is not None and self.encoder_type == "skip":
                aux = self.filter.down(aux)
                h = h + level.pyramid(aux)
            elif level.pyramid is not None:
                padding = self.filter.kernel.shape[-1] // 2  # of the filter and of the convolution after it
                h = aux = (h + level.pyramid(self.filter.down(aux, stride=1, padding=padding))) * 0.5**0.5
            skips.append(h)
            for block in level.blocks:
                h = block(h, condition, context)
                skips.append(h)
        for block in self.middle:
            h = block(h, condition, context)
        out: Tensor | None = None
        for stage in cast("list[DecoderLevel]", self.decoder):
            if stage.enter is not None:
                h = _apply(stage.enter, h, condition, context)
            for block in stage.blocks:
                h = block(torch.cat([h, skips.pop()], 1), condition, context)
            if stage.out is not None and stage.norm is not None:
                image = stage.out(F.silu(stage.norm(h)))
                out = image if out is None else self.filter.up(out) + image
        assert out is not None
        return out

    def _has_heads(self, channels: int) -> bool:
        """Whether a level has as many channels as one attention head."""
        return bool(self.style.heads) or channels >= self.style.head_channels

    def _check(self, sides: tuple[int, ...]) -> None:
        """Raise InputError for options out of their range."""
        o = self.options
        if any(side % 2 ** (len(o["multipliers"]) - 1) for side in sides):
            raise InputError(
                f"{self.name}: {len(o['multipliers'])} levels need sides divisible by "
                f"{2 ** (len(o['multipliers']) - 1)}, got {sides[0]} x {sides[1]}: choose fewer multipliers, or unet"
            )
        widths = [o["width"] * m for m in (1, *o["multipliers"])]
        sizes = all(w >= 4 and w % 4 == 0 for w in widths) and len(widths) > 1 and o["blocks"] >= 1
        if not sizes or not 0 <= o["dropout"] < 1 or min(o["heads"], o["head_channels"]) < 0 or o["group_channels"] < 1:
            raise InputError(
                f"{self.name}: needs width and width * multiplier multiples of 4, blocks and group_channels at least "
                "1, heads and head_channels at least 0, 0 <= dropout < 1; got "
                + ", ".join(f"{k}={o[k]}" for k in ("width", "multipliers", "blocks", "group_channels", "heads"))
                + f", head_channels={o['head_channels']}, dropout={o['dropout']}"
            )
        if len(o["taps"]) % 2 or sum(o["taps"]) <= 0:
            raise InputError(f"{self.name}: taps needs an even number of numbers with a positive sum, got {o['taps']}")
        if o["encoder"] not in ("none", "skip", "residual") or o["decoder"] not in ("none", "skip"):
            raise InputError(
                f"{self.name}: encoder must be 'none', 'skip' or 'residual', and decoder 'none' or 'skip'; got "
                f"{o['encoder']!r} and {o['decoder']!r}"
            )


class NCSNpp(DDPMpp):
    """NCSN++, the U-Net that score_sde and EDM use for VE processes (Song et al. 2021).

    It is DDPM++ with random Fourier features of the noise level, a filter that prevents aliasing, and an encoder whose
    levels receive the input. The options are those of DDPM++.
    """

    design: ClassVar[Design] = Design(embedding="fourier", encoder="residual", taps=(1, 3, 3, 1))
    name: ClassVar[str] = "ncsnpp"


class ADM(DDPMpp):
    """ADM, the U-Net of guided-diffusion (Dhariwal & Nichol 2021).

    It differs from DDPM++ in blocks that are scaled and shifted by the embedding, attention at several resolutions with
    heads of 64 channels, sums that are not rescaled, and a label that is added after the second layer of the embedding.
    The options are those of DDPM++.
    """

    design: ClassVar[Design] = Design(
        scale_and_shift=True,
        residual_scale=1.0,
        project=False,
        head_channels=64,
        attention=(32, 16, 8),
        every_block=True,
        late=True,
        scaled_input=True,
        eps=1e-5,
        width=192,
        multipliers=(1, 2, 3, 4),
        blocks=3,
    )
    name: ClassVar[str] = "adm"


class EncoderLevel(nn.Module):
    """One level of an encoder: a first layer, a layer for the input at this resolution, and blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.enter: nn.Module = nn.Identity()
        self.pyramid: nn.Module | None = None
        self.blocks = nn.ModuleList()


class DecoderLevel(nn.Module):
    """One level of a decoder: a first layer that doubles the sides, blocks, and layers for the output."""

    def __init__(self) -> None:
        super().__init__()
        self.enter: nn.Module | None = None
        self.blocks = nn.ModuleList()
        self.norm: nn.Module | None = None
        self.out: nn.Conv2d | None = None


class ConvResample(nn.Module):
    """Convolution that halves the sides, or follows a repetition of the pixels (Dhariwal & Nichol 2021).

    Arguments:
        channels: Channels of the input and of the output.
        direction: "down" or "up".
    """

    def __init__(self, channels: int, direction: Literal["down", "up"]) -> None:
        super().__init__()
        self.direction = direction
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, stride=2 if direction == "down" else 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, channels, H, W) to half or twice the sides."""
        out: Tensor = self.conv(x if self.direction == "down" else F.interpolate(x, scale_factor=2))
        return out


def _apply(layer: nn.Module, h: Tensor, condition: Tensor, context: tuple[Tensor, Tensor] | None) -> Tensor:
    """Apply a residual block, which receives the embedding too, or a plain layer."""
    out: Tensor = layer(h, condition, context) if isinstance(layer, ConvBlock) else layer(h)
    return out


def _or(value: Any, default: Any) -> Any:
    """Return the default in place of None."""
    return default if value is None else value


def _levels(sides: tuple[int, ...], most: int) -> int:
    """Return how many levels the sides allow: each halves even sides, down to at least 4 pixels."""
    levels = 1
    while levels < most and all(side % 2**levels == 0 and side >> levels >= 4 for side in sides):
        levels += 1
    return levels


def _attended(sides: tuple[int, ...], levels: int, wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return the wanted sides that exist, or else the first level below the largest wanted side."""
    existing = [max(sides) >> level for level in range(levels)]
    return tuple(side for side in existing if side in wanted) or tuple(s for s in existing if s <= max(wanted))[:1]
