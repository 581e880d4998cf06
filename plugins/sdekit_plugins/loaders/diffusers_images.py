"""Pipelines of diffusers without text: DDPM in pixels, LDM in latents, and DiT in latents with labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sdekit.errors import InputError
from sdekit.models import Conditioning, OpenedModel, ScoreModel
from sdekit.registry import parse_component

from .autoencoder_codec import KLCodec, VQCodec, downsampling, read_autoencoder
from .diffusers_folder import PipelineFolder
from .pipeline_options import PipelineOptions, latent_model, read_network
from .pixel_data import pixel_units


def open_ddpm(folder: PipelineFolder, options: PipelineOptions) -> OpenedModel:
    """Open an unconditional pipeline of pixels from -1 to 1 (Ho et al. 2020).

    Arguments:
        folder: The pipeline, with the parts unet and scheduler.
        options: Options of the loader.
    Returns:
        The model.
    """
    network, config = _unet(folder, options)
    schedule = options.schedule(folder)
    levels = len(config.get("block_out_channels") or (1,))
    height, width = options.latent_size(1, _sample_size(folder, "unet"), 2 ** (levels - 1))
    shape = (network.channels, height, width)
    model = ScoreModel(network, schedule.sde, schedule.prediction, data_std=schedule.data_std, inputs=schedule.inputs)
    facts = {"format": "diffusers", "pipeline": folder.pipeline, "parts": folder.parts, **schedule.facts}
    for name, limits in map(parse_component, schedule.guidance):
        if name == "clip":
            low, high = float(limits["low"]), float(limits["high"])
            facts["makers_clip"] = f"x_0 to [{low:g}, {high:g}]: --guidance clip"
    return OpenedModel(
        model=model,
        shape=shape,
        path=folder.path,
        units=pixel_units(shape[0]),
        kind="image",
        grid=schedule.grid,
        makers_grid=schedule.makers_grid,
        facts=facts,
        guesses={**schedule.guesses, **folder.guesses},
    )


def open_ldm(folder: PipelineFolder, options: PipelineOptions) -> OpenedModel:
    """Open an unconditional pipeline of latents (Rombach et al. 2022).

    Arguments:
        folder: The pipeline, with the parts unet, vqvae and scheduler.
        options: Options of the loader.
    Returns:
        The model, with the autoencoder as its codec.
    """
    network, config = _unet(folder, options)
    autoencoder = read_autoencoder(folder, torch.float32, name="vqvae", kinds=("VQModel", "AutoencoderKL"))
    factor, levels = downsampling(autoencoder.config), len(config.get("block_out_channels") or (1,))
    sides = options.latent_size(factor, _sample_size(folder, "unet"), 2 ** (levels - 1))
    shape = _latent_shape(folder, network.channels, sides, autoencoder)
    codec = (VQCodec if type(autoencoder).__name__ == "VQModel" else KLCodec)(autoencoder, shape)
    return latent_model(folder, options.schedule(folder), network, codec, None, None)


def open_dit(folder: PipelineFolder, options: PipelineOptions) -> OpenedModel:
    """Open a diffusion transformer of latents with labels (Peebles & Xie 2023).

    Arguments:
        folder: The pipeline, with the parts transformer, vae and scheduler.
        options: Options of the loader.
    Returns:
        The model, with the autoencoder as its codec.
    """
    transformer = read_network(folder, "transformer", ("DiTTransformer2DModel", "Transformer2DModel"), options)
    config = folder.config("transformer")
    classes = _positive(folder, "transformer", "num_embeds_ada_norm", config)
    channels = _positive(folder, "transformer", "in_channels", config)
    autoencoder = read_autoencoder(folder, torch.float32)
    factor, sides = downsampling(autoencoder.config), _sample_size(folder, "transformer")
    if options.latent_size(factor, sides) != sides:
        trained = f"{sides[1] * factor}x{sides[0] * factor}"
        raise InputError(f"{folder.path}: a DiT makes images of one size, {trained}: leave out size={options.size}")
    shape = _latent_shape(folder, channels, sides, autoencoder)
    condition = Conditioning(classes=classes, class_names=_class_names(folder, classes))
    network = _LabelledTransformer(transformer, channels, classes)
    opened = latent_model(folder, options.schedule(folder), network, KLCodec(autoencoder, shape), None, condition)
    return replace(opened, class_names=condition.class_names)


class _UNet(nn.Module):
    """A UNet2DModel, called as sdekit calls networks; the channels of a learned variance are cut."""

    def __init__(self, unet: Any, channels: int) -> None:
        super().__init__()
        self.unet, self.channels = unet, channels

    def forward(self, x: Tensor, c_noise: Tensor, y: None = None) -> Tensor:
        out: Tensor = self.unet(x.to(self.unet.dtype), c_noise).sample
        return out[:, : self.channels]


class _LabelledTransformer(nn.Module):
    """A DiTTransformer2DModel, called as sdekit calls networks. The label after the last stands for "no label"."""

    def __init__(self, transformer: Any, channels: int, classes: int) -> None:
        super().__init__()
        self.transformer, self.channels, self.classes = transformer, channels, classes

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | None = None) -> Tensor:
        y = torch.full((len(x),), -1, device=x.device) if y is None else y
        labels = torch.where(y < 0, self.classes, y)
        out: Tensor = self.transformer(x.to(self.transformer.dtype), timestep=c_noise, class_labels=labels).sample
        return out[:, : self.channels]


def _unet(folder: PipelineFolder, options: PipelineOptions) -> tuple[_UNet, dict[str, Any]]:
    """Return the part unet and its configuration."""
    config = folder.config("unet") if folder.has("unet") else {}
    if config.get("num_class_embeds") or config.get("class_embed_type"):
        raise InputError(f"{folder.path / 'unet'}: a {folder.pipeline} passes no labels, but this U-Net requires them")
    unet = read_network(folder, "unet", "UNet2DModel", options)
    return _UNet(unet, _positive(folder, "unet", "in_channels", config)), config


def _positive(folder: PipelineFolder, part: str, name: str, config: Mapping[str, Any]) -> int:
    """Return a positive whole number of a part's configuration."""
    value = config.get(name)
    if not isinstance(value, int) or value < 1:
        raise InputError(f"{folder.path / part / 'config.json'}: {name} is {value!r}, expected a positive whole number")
    return value


def _sample_size(folder: PipelineFolder, part: str) -> tuple[int, int]:
    """Return height and width of x in the training."""
    value = folder.config(part).get("sample_size")
    sides = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, list) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        file = folder.path / part / "config.json"
        raise InputError(f"{file}: sample_size is {value!r}, expected the size of the training, one number or two")
    return sides[0], sides[1]


def _latent_shape(
    folder: PipelineFolder, channels: int, sides: tuple[int, int], autoencoder: Any
) -> tuple[int, int, int]:
    """Return the shape of the latents, if network and autoencoder have the same number of channels."""
    if autoencoder.config.latent_channels != channels:
        raise InputError(
            f"{folder.path}: the network has latents of {channels} channels, and the autoencoder of "
            f"{autoencoder.config.latent_channels}"
        )
    return channels, *sides


def _class_names(folder: PipelineFolder, classes: int) -> tuple[str, ...]:
    """Return the names of the labels: the first of several synonyms, or all synonyms if the first are not unique."""
    labels = folder.index.get("id2label")
    if not isinstance(labels, Mapping):
        return ()
    names = tuple(str(labels.get(str(i), i)) for i in range(classes))
    short = tuple(name.partition(",")[0].strip() for name in names)
    return short if len(set(short)) == len(short) else names
