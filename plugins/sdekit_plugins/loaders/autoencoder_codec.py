"""Autoencoders of diffusers as codecs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sdekit.errors import InputError

from .diffusers_folder import PipelineFolder
from .strict_weights import build_module


class KLCodec(nn.Module):
    """Codec of an `AutoencoderKL`: z = (raw - shift) * scale, where raw is the mean of the encoder's distribution.

    Arguments:
        autoencoder: The autoencoder.
        latent_shape: Shape (c, h, w) of the latents.
    """

    def __init__(self, autoencoder: Any, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        config, factor = autoencoder.config, downsampling(autoencoder.config)
        self.autoencoder: Any = autoencoder
        self.latent_shape = latent_shape
        self.data_shape = (config.out_channels, factor * latent_shape[1], factor * latent_shape[2])
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        shift = mean if mean is not None else [getattr(config, "shift_factor", None) or 0.0]
        scale = [config.scaling_factor / s for s in std] if std is not None else [config.scaling_factor]
        self.register_buffer("shift", torch.tensor(shift).view(1, -1, 1, 1))
        self.register_buffer("scale", torch.tensor(scale).view(1, -1, 1, 1))
        self.shift: Tensor
        self.scale: Tensor

    def encode(self, x: Tensor) -> Tensor:
        """Return the latents (B, c, h, w) of images x (B, C, H, W) in [-1, 1]."""
        return (self._raw(x).float() - self.shift).mul(self.scale).to(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return the images (B, C, H, W) of latents z (B, c, h, w), about in [-1, 1]."""
        raw = z.to(self.scale) / self.scale + self.shift
        images: Tensor = self.autoencoder.decode(self._moved(raw), return_dict=False)[0]
        return images.to(z)

    def _raw(self, x: Tensor) -> Tensor:
        """Return the output of the encoder for images x."""
        raw: Tensor = self.autoencoder.encode(self._moved(x)).latent_dist.mode()
        return raw

    def _moved(self, x: Tensor) -> Tensor:
        """Return x in the dtype and on the device of the weights."""
        return x.to(next(self.autoencoder.parameters()))


class VQCodec(KLCodec):
    """Codec of a `VQModel`. Latents are not quantized; the decoder replaces them by the nearest entries of its table.

    Arguments:
        autoencoder: The autoencoder.
        latent_shape: Shape (c, h, w) of the latents.
    """

    def _raw(self, x: Tensor) -> Tensor:
        raw: Tensor = self.autoencoder.encode(self._moved(x)).latents
        return raw


def downsampling(config: Any) -> int:
    """Return the factor between the sizes of images and latents.

    Arguments:
        config: Configuration of an autoencoder.
    Returns:
        2 to the number of halvings.
    """
    return int(2 ** (len(config.block_out_channels) - 1))


def read_autoencoder(
    folder: PipelineFolder, dtype: torch.dtype | None, *, name: str = "vae", kinds: tuple[str, ...] = ("AutoencoderKL",)
) -> Any:
    """Read the autoencoder of a pipeline.

    Arguments:
        folder: The pipeline.
        dtype: Dtype of the weights; float32 instead of half precision if the configuration demands it (force_upcast).
        name: Name of the part.
        kinds: Class names that the caller supports.
    Returns:
        The autoencoder.
    Raises:
        InputError: If the part is missing or damaged.
    """
    make: Any = folder.part(name, *kinds)
    config = folder.config(name)
    if config.get("force_upcast", True) and dtype != torch.float64:
        dtype = torch.float32
    source = folder.path / name / "config.json"
    autoencoder: Any = build_module(lambda: make.from_config(config), folder.weights(name), dtype=dtype, source=source)
    factor = autoencoder.config.scaling_factor
    if not isinstance(factor, (int, float)) or not factor > 0:
        raise InputError(f"{source}: scaling_factor is {factor!r}, expected a positive number")
    return autoencoder
