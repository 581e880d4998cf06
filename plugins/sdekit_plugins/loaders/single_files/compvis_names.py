"""Names of the tensors of latent diffusion (CompVis) in diffusers."""

from __future__ import annotations

import re
from collections.abc import Callable

Rename = Callable[[str], str | None]
"""Function from a name in the file to the name in diffusers; None if it has no counterpart."""

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
"""Layers of a residual block of the U-Net."""

UNET = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
"""Layers of the U-Net outside of its blocks."""

ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
"""Layers of the attention of the autoencoder, whose 1 x 1 convolutions are linear layers in diffusers."""


def unet_names(layers: int) -> Rename:
    """Return the renaming of a U-Net.

    Arguments:
        layers: Number of residual blocks of a level on the way down (`layers_per_block`).
    Returns:
        The renaming, for names without the prefix "model.diffusion_model.".
    """

    def rename(name: str) -> str | None:
        layer, _, leaf = name.rpartition(".")
        if layer in UNET:
            return f"{UNET[layer]}.{leaf}"
        if match := re.fullmatch(r"middle_block\.([012])\.(.+)", layer):
            part = ("resnets.0", "attentions.0", "resnets.1")[int(match[1])]
            return f"mid_block.{part}.{_inner(match[2], part)}.{leaf}"
        match = re.fullmatch(r"(input|output)_blocks\.(\d+)\.(\d)\.(.+)", layer)
        if match is None:
            return None
        down, rest = match[1] == "input", match[4]
        level, place = divmod(int(match[2]) - down, layers + 1)
        block = f"{'down' if down else 'up'}_blocks.{level}"
        if rest == ("op" if down else "conv"):
            return f"{block}.{'down' if down else 'up'}samplers.0.conv.{leaf}"
        part = f"resnets.{place}" if match[3] == "0" else f"attentions.{place}"
        return f"{block}.{part}.{_inner(rest, part)}.{leaf}"

    return rename


def _inner(layer: str, part: str) -> str:
    return RESNET.get(layer, layer) if part.startswith("resnets") else layer


def autoencoder_names(levels: int) -> Rename:
    """Return the renaming of an autoencoder.

    Arguments:
        levels: Number of resolutions.
    Returns:
        The renaming, for names without the prefix "first_stage_model.".
    """

    def rename(name: str) -> str | None:
        layer, _, leaf = name.rpartition(".")
        layer = re.sub(r"\bnin_shortcut$", "conv_shortcut", layer)
        layer = re.sub(r"\bnorm_out$", "conv_norm_out", layer)
        layer = re.sub(r"\bmid\.block_([12])\b", lambda m: f"mid_block.resnets.{int(m[1]) - 1}", layer)
        if match := re.fullmatch(r"(.+)\.mid\.attn_1\.(\w+)", layer):
            return f"{match[1]}.mid_block.attentions.0.{ATTENTION.get(match[2], match[2])}.{leaf}"
        if match := re.fullmatch(r"(encoder|decoder)\.(down|up)\.(\d+)\.(.+)", layer):
            level = int(match[3]) if match[2] == "down" else levels - 1 - int(match[3])
            rest = re.sub(r"^block\.", "resnets.", match[4])
            rest = re.sub(r"^(down|up)sample\.conv$", r"\1samplers.0.conv", rest)
            layer = f"{match[1]}.{match[2]}_blocks.{level}.{rest}"
        return None if layer.startswith("loss") else f"{layer}.{leaf}"

    return rename


def clip_names(name: str) -> str | None:
    """Rename a tensor of the text encoder of Stable Diffusion 1, without the prefix "cond_stage_model.transformer."."""
    return None if name.endswith("position_ids") else name
