"""Options of the loader of diffusers folders, and the steps that its pipelines share."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from sdekit.errors import InputError
from sdekit.models import Codec, Conditioning, Encoder, OpenedModel, ScoreModel

from .diffusers_folder import PipelineFolder
from .diffusers_schedule import Schedule, read_schedule
from .extras import require_package
from .pixel_data import pixel_units
from .strict_weights import DTYPES, build_module

MOST_PIXELS = 16384
"""Largest height and width of an image."""


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """Options of the loader.

    Arguments:
        size: Size of the images, "WIDTHxHEIGHT" or one number, or empty for the size of the training.
        dtype: "fp32", "bf16", "fp16", or "auto" for the dtype of the files on a GPU and fp32 on the CPU.
        guidance: Number by which a distilled model is guided.
        text_length: Number of tokens that a T5 encoder reads, or 0 for the makers' number.
        attention_slices: Whether the attention is computed in slices, with less memory.
        device: Device of the weights.
    """

    size: str = ""
    dtype: str = "auto"
    guidance: float = 3.5
    text_length: int = 0
    attention_slices: bool = False
    device: str = "cpu"

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """Dtype of the weights, or None for the dtype of the files."""
        if self.dtype == "auto":
            return torch.float32 if torch.device(self.device).type == "cpu" else None
        return DTYPES[self.dtype]

    def latent_size(self, factor: int, default: Any, multiple: int = 1) -> tuple[int, int]:
        """Return height and width of the latents.

        Arguments:
            factor: Factor between the sizes of images and latents.
            default: Height and width of the latents if the user gives no size, or both of them.
            multiple: Number that must divide both.
        Returns:
            Height and width.
        Raises:
            InputError: If the size is not valid, or not a multiple of `factor` times `multiple`.
        """
        if not self.size:
            h, w = default if isinstance(default, (list, tuple)) else (default, default)
            return int(h), int(w)
        match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6}))?", self.size)
        if match is None or not all(0 < int(n) <= MOST_PIXELS for n in match.groups() if n):
            raise InputError(f"size {self.size!r}: write WIDTHxHEIGHT, or one number, of 1 to {MOST_PIXELS} pixels")
        width, height = int(match[1]), int(match[2] or match[1])
        unit = factor * multiple
        if width % unit or height % unit:
            near = "x".join(str(max(round(n / unit), 1) * unit) for n in (width, height))
            raise InputError(f"size {self.size}: this model makes images in multiples of {unit} pixels, such as {near}")
        return height // factor, width // factor

    def schedule(self, folder: PipelineFolder, time_scale: float | None = None) -> Schedule:
        """Read the schedule of a pipeline.

        Arguments:
            folder: The pipeline.
            time_scale: Factor of t in the network's time input, instead of the scheduler's.
        Returns:
            The schedule.
        """
        file = folder.path / "scheduler" / "scheduler_config.json"
        schedule = read_schedule(folder.config("scheduler", file.name), str(file))
        if time_scale is None:
            return schedule
        return replace(schedule, inputs=replace(schedule.inputs, scale=time_scale))


def read_network(folder: PipelineFolder, name: str, allowed: str | tuple[str, ...], options: PipelineOptions) -> Any:
    """Read the denoising network of a pipeline.

    Arguments:
        folder: The pipeline.
        name: Name of the part.
        allowed: Class name of the part, or several; the first one is built, as the others are its older names.
        options: Options of the loader.
    Returns:
        The network of diffusers.
    Raises:
        InputError: If the part is missing or damaged, or does not support an option.
    """
    names = (allowed,) if isinstance(allowed, str) else allowed
    folder.part(name, *names)
    make: Any = getattr(require_package("diffusers", "diffusers", str(folder.path)), names[0])
    config, source = folder.config(name), folder.path / name / "config.json"
    network: Any = build_module(
        lambda: make.from_config(config), folder.weights(name), dtype=options.torch_dtype, source=source
    )
    if options.attention_slices:
        if not hasattr(network, "set_attention_slice"):
            raise InputError(f"{folder.path}: a {names[0]} has no sliced attention: leave out attention_slices")
        network.set_attention_slice("auto")
    return network


def latent_model(
    folder: PipelineFolder,
    schedule: Schedule,
    network: nn.Module,
    codec: Codec,
    encoder: Encoder | None,
    condition: Conditioning | None,
    *,
    shape: tuple[int, ...] = (),
) -> OpenedModel:
    """Return the opened model of a pipeline that denoises latents of images.

    Arguments:
        folder: The pipeline.
        schedule: Its schedule.
        network: Its network, as a network of sdekit.
        codec: Its autoencoder.
        encoder: Its text encoders, or None.
        condition: Conditions of the network.
        shape: Shape of the latents; by default that of the codec.
    Returns:
        The model.
    """
    model = ScoreModel(
        network,
        schedule.sde,
        schedule.prediction,
        data_std=schedule.data_std,
        condition=condition,
        inputs=schedule.inputs,
    ).eval()
    return OpenedModel(
        model=model,
        shape=shape or codec.latent_shape,  # type: ignore[attr-defined]
        path=folder.path,
        units=pixel_units(codec.data_shape[0]),
        kind="image",
        grid=schedule.grid,
        makers_grid=schedule.makers_grid,
        facts={"format": "diffusers", "pipeline": folder.pipeline, "parts": folder.parts, **schedule.facts},
        guesses={**schedule.guesses, **folder.guesses},
        codec=codec,
        encoder=encoder,
    )
