"""Open checkpoints of guided-diffusion (Dhariwal & Nichol 2021), such as `256x256_diffusion.pt`.

Such a file is a state dictionary. Width, levels, attention, classes and the learned variance follow from the tensors.
The schedule, the attention heads and the size of the images do not: they are options. Their defaults are those of the
published models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.models import Conditioning, NetworkInput, OpenedModel, ScoreModel, recognises
from sdekit.networks import ADM
from sdekit.processes import TabulatedVP
from sdekit_plugins.loaders.pixel_data import pixel_units
from sdekit_plugins.loaders.weight_files.state_dict import open_weights, tensors_of
from sdekit_plugins.loaders.weight_files.tensor_in_file import TensorInFile
from sdekit_plugins.loaders.weight_files.torch_file import file_contains

from .conversion import Filling, build_on_meta, check_whole, geometric_frequencies, heads_first

BLOCK = {
    "norm0": "in_layers.0",
    "conv0": "in_layers.2",
    "modulate": "emb_layers.1",
    "norm1": "out_layers.0",
    "conv1": "out_layers.3",
    "skip": "skip_connection",
}
"""Layers of a residual block: their names in sdekit and in guided-diffusion."""


class Published(NamedTuple):
    """Settings of a published model that its file does not contain.

    Attributes:
        size: Side of the images.
        heads: Number of attention heads, 0 for heads of 64 channels.
        schedule: Name of the table of betas.
        attention: Order of queries, keys and values.
    """

    size: int
    heads: int = 0
    schedule: Literal["linear", "cosine"] = "linear"
    attention: Literal["legacy", "new"] = "legacy"


PUBLISHED: dict[tuple[float, ...], Published] = {
    (1, 2, 3, 4): Published(64, schedule="cosine", attention="new"),
    (1, 1, 2, 3, 4): Published(128, heads=4),
    (1, 1, 2, 2, 4, 4): Published(256),
    (0.5, 1, 1, 2, 2, 4, 4): Published(512),
}
"""Settings of the published models, by the channels of their levels in units of the width."""


@dataclass
class Architecture:
    """Network that the shapes of the tensors describe.

    Arguments:
        width: Channels in units of which the levels are counted.
        multipliers: Channels of the levels in units of width.
        blocks: Blocks of each level.
        attention: Levels with attention.
        classes: Number of labels, 0 for none.
        channels: Channels of an image.
        parts: 2 if the output has channels for the variance, else 1.
        scale_and_shift: Whether the embedding scales and shifts the features.
        conv_resample: Whether a single convolution changes the resolution.
    """

    width: int
    multipliers: tuple[float, ...]
    blocks: int
    attention: tuple[int, ...]
    classes: int
    channels: int
    parts: int
    scale_and_shift: bool
    conv_resample: bool


def _recognises(path: Path) -> bool:
    return path.suffix == ".pt" and file_contains(path, b"input_blocks.0.0.weight", b"time_embed.0.weight")


@recognises(_recognises)
def load_guided_diffusion(
    path: str,
    *,
    size: int | None = None,
    schedule: Literal["linear", "cosine"] | None = None,
    steps: int | None = None,
    heads: int | None = None,
    head_channels: int | None = None,
    attention: Literal["legacy", "new"] | None = None,
    prediction: Literal["eps", "x0"] | None = None,
) -> OpenedModel:
    """Open a checkpoint of guided-diffusion with the network ADM (256x256_diffusion.pt and the like).

    The options state what the file does not contain; `sdekit info` lists the values that were assumed. Channels of the
    learned variance are left out.

    Arguments:
        path: The file.
        size: Side of the images in pixels (image_size); None for that of the published model with these channels, or
            else for the side at which the first attention is at 32 pixels.
        schedule: Table of betas (noise_schedule); None for "cosine" at 64 pixels, else "linear".
        steps: Number of betas (diffusion_steps), at least 2; None for 1000.
        heads: Number of attention heads (num_heads); 0 to use head_channels; None for 4 at 128 pixels, else 0.
        head_channels: Channels of an attention head (num_head_channels); None for 64.
        attention: Order of queries, keys and values: "new" (use_new_attention_order) or "legacy"; None for "new" at 64
            pixels, else "legacy".
        prediction: Quantity that the network predicts, "eps" or "x0" (predict_xstart); None for "eps".
    Returns:
        The model, for x in [-1, 1].
    Raises:
        InputError: If the file is damaged, contains another network, or an option does not fit it.
    Source:
        Dhariwal & Nichol 2021; the settings of the published models are in the README of their code.
    """
    with open_weights(path) as content:
        tensors = tensors_of(content, path, prefix="module.")
        design = _architecture(tensors, path)
        published = PUBLISHED.get(design.multipliers, Published(_side(design)))
        guesses: dict[str, Any] = {}

        def choose(name: str, value: Any, assumed: Any) -> Any:
            if value is None:
                guesses[name] = assumed
            return assumed if value is None else value

        side = check_whole("size", choose("size", size, published.size), 1, 2**14, path)
        schedule = choose("schedule", schedule, published.schedule)
        if heads and head_channels:
            raise InputError("heads and head_channels state the same: leave out one of them")
        count = 0 if head_channels else choose("heads", heads, published.heads)
        per_head = 64 if count else choose("head_channels", head_channels, 64)
        order = choose("attention", attention, published.attention)
        steps = check_whole("steps", choose("steps", steps, 1000), 2, 10**6, path)
        prediction = choose("prediction", prediction, "eps")
        network = _fill(design, side, count, per_head, order, tensors, path)
    table = TabulatedVP.cosine(n=steps) if schedule == "cosine" else _linear(steps)
    clock = NetworkInput(clock="t", scale=steps, offset=-1, normalize=False)  # index of the table
    condition = Conditioning(classes=design.classes, null=not design.classes)
    return OpenedModel(
        model=ScoreModel(network, table, prediction, data_std=0.5, inputs=clock, condition=condition),
        shape=(design.channels, side, side),
        path=Path(path),
        units=pixel_units(design.channels) if design.channels in (1, 3) else Units(),
        kind="image",
        facts={"network": "ADM", "variance": "learned, left out" if design.parts == 2 else "fixed"},
        guesses=guesses,
    )


def _linear(steps: int) -> TabulatedVP:
    """Return the table of Ho et al. 2020, scaled to another number of betas."""
    return TabulatedVP.linear(n=steps, beta_min=0.1 / steps, beta_max=min(20 / steps, 0.999))


def _side(design: Architecture) -> int:
    """Return the side of the images at which the first attention is at 32 pixels."""
    return 32 << (design.attention[0] if design.attention else 0)


def _architecture(tensors: Mapping[str, TensorInFile], source: str) -> Architecture:
    """Infer the network from the names and shapes of its tensors."""

    def shape(name: str, dims: int) -> tuple[int, ...]:
        found = tensors.get(name)
        if found is None or len(found.shape) != dims or found.numel == 0:
            raise InputError(f"{source} lacks the tensor {name} with {dims} axes: it is no network of guided-diffusion")
        return found.shape

    if not any(name.startswith("output_blocks.") for name in tensors):
        what = "a classifier" if "input_blocks.0.0.weight" in tensors else "no network"
        raise InputError(f"{source} contains {what} of guided-diffusion, and this loader opens denoisers")
    width = shape("time_embed.0.weight", 2)[1]
    first, channels = shape("input_blocks.0.0.weight", 4)[:2]
    out = shape("out.2.weight", 4)[0]
    if channels == 6 and out in (3, 6):
        raise InputError(f"{source} contains an upsampler, which needs a small image: this loader opens denoisers")
    if out not in (channels, 2 * channels):
        raise InputError(f"{source}: the tensor out.2.weight has {out} channels for images of {channels} channels")
    entries = 1 + max(int(n.split(".")[1]) for n in tensors if re.match(r"output_blocks\.\d{1,4}\.", n))
    upward = [
        int(match[1])
        for name in tensors
        if (match := re.fullmatch(r"output_blocks\.(\d{1,4})\.[12]\.(in_layers\.0|conv)\.weight", name))
    ]
    blocks = min(upward) if upward else entries - 1
    levels = entries // (blocks + 1)
    if blocks < 1 or entries % (blocks + 1) or levels > 12:
        raise InputError(f"{source} has {entries} output blocks, which is no whole number of levels")
    starts = [1 + level * (blocks + 1) for level in range(levels)]
    outs = [shape(f"input_blocks.{n}.0.out_layers.3.weight", 4)[0] for n in starts]
    if first != outs[0]:
        raise InputError(f"{source}: the first convolution has {first} channels, and the first level {outs[0]}")
    return Architecture(
        width=width,
        multipliers=tuple(out / width if out % width else out // width for out in outs),
        blocks=blocks,
        attention=tuple(level for level, n in enumerate(starts) if f"input_blocks.{n}.1.qkv.weight" in tensors),
        classes=shape("label_emb.weight", 2)[0] if "label_emb.weight" in tensors else 0,
        channels=channels,
        parts=out // channels,
        scale_and_shift=shape("input_blocks.1.0.emb_layers.1.weight", 2)[0] == 2 * outs[0],
        conv_resample=any(name.endswith(".op.weight") for name in tensors),
    )


def _fill(
    design: Architecture,
    side: int,
    heads: int,
    head_channels: int,
    order: str,
    tensors: Mapping[str, TensorInFile],
    source: str,
) -> nn.Module:
    """Build the network and fill it."""
    network: Any = build_on_meta(
        ADM,
        source,
        (design.channels, side, side),
        design.classes,
        width=design.width,
        multipliers=design.multipliers,
        blocks=design.blocks,
        attention=tuple(side >> level for level in design.attention),
        heads=heads,
        head_channels=head_channels,
        scale_and_shift=design.scale_and_shift,
        conv_resample=design.conv_resample,
        group_channels=1,
    )
    fill = Filling(network, tensors, source)

    def block(target: str, name: str) -> None:
        for ours, theirs in BLOCK.items():
            fill.layer(f"{target}.{ours}", f"{name}.{theirs}")

    def attention(target: str, name: str) -> None:
        if f"{target}.qkv.weight" in fill.shapes:
            fill.layer(f"{target}.norm", f"{name}.norm")
            convert = heads_first(network.get_submodule(target).heads) if order == "legacy" else None
            fill.layer(f"{target}.qkv", f"{name}.qkv", convert)
            fill.layer(f"{target}.out", f"{name}.proj_out")

    def resample(target: str, name: str, conv: str) -> None:
        if design.conv_resample:
            fill.layer(f"{target}.conv", f"{name}.{conv}")
        else:
            block(target, name)

    fill.values["condition.noise.frequencies"] = geometric_frequencies(design.width // 2, endpoint=False)
    fill.layer("condition.first", "time_embed.0")
    fill.layer("condition.second", "time_embed.2")
    if design.classes:
        fill.tensor("condition.label.weight", "label_emb.weight")
    fill.layer("encoder.0.enter", "input_blocks.0.0")
    levels, n = len(design.multipliers), 1
    for level in range(levels):
        if level:
            resample(f"encoder.{level}.enter", f"input_blocks.{n}.0", "op")
            n += 1
        for i in range(design.blocks):
            block(f"encoder.{level}.blocks.{i}", f"input_blocks.{n}.0")
            attention(f"encoder.{level}.blocks.{i}.attention", f"input_blocks.{n}.1")
            n += 1
    block("middle.0", "middle_block.0")
    attention("middle.0.attention", "middle_block.1")
    block("middle.1", "middle_block.2")
    n = 0
    for stage in range(levels):
        attends = levels - 1 - stage in design.attention
        for i in range(design.blocks + 1):
            block(f"decoder.{stage}.blocks.{i}", f"output_blocks.{n}.0")
            attention(f"decoder.{stage}.blocks.{i}.attention", f"output_blocks.{n}.1")
            n += 1
        if stage < levels - 1:
            resample(f"decoder.{stage + 1}.enter", f"output_blocks.{n - 1}.{1 + attends}", "conv")
    last = f"decoder.{levels - 1}"
    fill.layer(f"{last}.norm", "out.0")
    for part in ("weight", "bias"):
        rows, *rest = fill.shapes[f"{last}.out.{part}"]
        fill.tensor(f"{last}.out.{part}", f"out.2.{part}", _first_rows(rows), (design.parts * rows, *rest))
    return fill.load()


def _first_rows(rows: int) -> Any:
    """Return a function that leaves out the channels of the variance."""

    def convert(value: Tensor) -> Tensor:
        return torch.narrow(value, 0, 0, rows)

    return convert
