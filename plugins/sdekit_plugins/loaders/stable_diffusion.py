"""Stable Diffusion 1.x, 2.x, XL and 3.x of diffusers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from sdekit.errors import InputError
from sdekit.models import Condition, Conditioning, OpenedModel, condition_parts

from .autoencoder_codec import KLCodec, downsampling, read_autoencoder
from .diffusers_folder import PipelineFolder
from .pipeline_options import PipelineOptions, latent_model, read_network
from .text_encoders import Encoded, PromptEncoder, read_clip, read_t5

T5_LENGTH = 256
"""Number of tokens that the T5 encoder of Stable Diffusion 3 reads."""


class TextUNet(nn.Module):
    """A `UNet2DConditionModel` as a network of sdekit; y is a sequence, or a `Condition` for Stable Diffusion XL.

    Arguments:
        unet: The network of diffusers.
    """

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet: Any = unet

    def forward(self, x: Tensor, c_noise: Tensor, y: Tensor | Condition) -> Tensor:
        """Return the network's output (B, c, h, w)."""
        dtype, parts = next(self.unet.parameters()).dtype, condition_parts(y)
        text, added = parts.get("sequence", parts.get("y")), None
        if "size" in parts:
            added = {"text_embeds": parts["embedding"].to(dtype), "time_ids": parts["size"]}
        assert text is not None
        result: tuple[Tensor] = self.unet(
            x.to(dtype), c_noise, encoder_hidden_states=text.to(dtype), added_cond_kwargs=added, return_dict=False
        )
        return result[0]


class TextTransformer(nn.Module):
    """An `SD3Transformer2DModel` as a network of sdekit; y has the parts "sequence" and "embedding".

    Arguments:
        transformer: The network of diffusers.
    """

    def __init__(self, transformer: Any) -> None:
        super().__init__()
        self.transformer: Any = transformer

    def forward(self, x: Tensor, c_noise: Tensor, y: Condition) -> Tensor:
        """Return the network's output (B, c, h, w)."""
        dtype = next(self.transformer.parameters()).dtype
        result: tuple[Tensor] = self.transformer(
            hidden_states=x.to(dtype),
            timestep=c_noise,
            encoder_hidden_states=y.parts["sequence"].to(dtype),
            pooled_projections=y.parts["embedding"].to(dtype),
            return_dict=False,
        )
        return result[0]


class LastStates(PromptEncoder):
    """Stable Diffusion 1.x and 2.x: the states of the last layer of one CLIP encoder."""

    def combine(self, encoded: dict[str, Encoded]) -> Tensor:
        """Return the states, (B, L, d)."""
        return encoded["clip"].states.float()


class TwoClips(PromptEncoder):
    """Stable Diffusion XL: states of two CLIP encoders, the pooled embedding of the second one, and sizes.

    Arguments:
        sizes: Original size, crop and target size of the image, six numbers.
        encoders: Text models.
    """

    def __init__(self, sizes: tuple[int, ...], **encoders: Any) -> None:
        super().__init__(**encoders)
        self.sizes = sizes

    def combine(self, encoded: dict[str, Encoded]) -> Condition:
        """Return the parts "sequence", "embedding" and "size"."""
        states = torch.cat([encoded[name].states.float() for name in self.encoders], -1)
        pooled = list(encoded.values())[-1].pooled
        assert pooled is not None
        size = torch.tensor([self.sizes], dtype=torch.float32, device=states.device).expand(len(states), -1)
        return Condition({"sequence": states, "embedding": pooled.float(), "size": size})


class ClipsAndT5(PromptEncoder):
    """Stable Diffusion 3: states of two CLIP encoders, padded to the width of T5, then those of T5, or zeros.

    Arguments:
        width: Width of the sequence.
        length: Number of tokens of T5.
        encoders: Text models.
    """

    def __init__(self, width: int, length: int, **encoders: Any) -> None:
        super().__init__(**encoders)
        self.width, self.length = width, length

    def combine(self, encoded: dict[str, Encoded]) -> Condition:
        """Return the parts "sequence" and "embedding"."""
        clips = [encoded["clip"], encoded["clip_2"]]
        states = torch.cat([clip.states.float() for clip in clips], -1)
        states = pad(states, (0, self.width - states.shape[-1]))
        t5 = encoded["t5"].states.float() if "t5" in encoded else states.new_zeros(len(states), self.length, self.width)
        pooled = [clip.pooled.float() for clip in clips if clip.pooled is not None]
        return Condition({"sequence": torch.cat([states, t5], 1), "embedding": torch.cat(pooled, -1)})


def open_stable_diffusion(folder: PipelineFolder, options: PipelineOptions) -> OpenedModel:
    """Open Stable Diffusion 1.x or 2.x.

    Arguments:
        folder: The pipeline.
        options: Options of the loader.
    Returns:
        The model of latents, with codec and text encoder.
    Raises:
        InputError: If a part is missing, damaged or not supported.
    """
    schedule, dtype = options.schedule(folder), options.torch_dtype
    unet = _unet(folder, options)
    vae = read_autoencoder(folder, dtype)
    factor = downsampling(vae.config)
    h, w = options.latent_size(factor, default=unet.config.sample_size)
    encoder = LastStates(clip=read_clip(folder, 1, dtype, penultimate=False))
    null = encoder([""])
    condition = Conditioning(sequence=(null.shape[1], null.shape[2]), null_value=null)
    _check_width(folder, "unet", unet.config.cross_attention_dim, null.shape[2])
    return latent_model(
        folder, schedule, TextUNet(unet), KLCodec(vae, (unet.config.in_channels, h, w)), encoder, condition
    )


def open_stable_diffusion_xl(folder: PipelineFolder, options: PipelineOptions) -> OpenedModel:
    """Open Stable Diffusion XL.

    Arguments:
        folder: The pipeline.
        options: Options of the loader.
    Returns:
        The model of latents, with codec and text encoders.
    Raises:
        InputError: If a part is missing, damaged or not supported.
    """
    if folder.index.get("requires_aesthetics_score"):
        raise InputError(f"{folder.path} is the refiner of Stable Diffusion XL, which is not supported: open the base")
    schedule, dtype = options.schedule(folder), options.torch_dtype
    unet = _unet(folder, options)
    vae = read_autoencoder(folder, dtype)
    factor = downsampling(vae.config)
    h, w = options.latent_size(factor, default=unet.config.sample_size)
    second = read_clip(folder, 2, dtype, projection=True, penultimate=True)
    first = {"clip": read_clip(folder, 1, dtype, penultimate=True)} if folder.has("text_encoder") else {}
    size = (h * factor, w * factor)
    encoder = TwoClips((*size, 0, 0, *size), **first, clip_2=second)
    null = encoder([""])
    if folder.index.get("force_zeros_for_empty_prompt", True):
        null = Condition({n: p if n == "size" else torch.zeros_like(p) for n, p in null.parts.items()})
    condition = Conditioning(parts={n: tuple(p.shape[1:]) for n, p in null.parts.items()}, null_value=null)
    _check_width(folder, "unet", unet.config.cross_attention_dim, null.parts["sequence"].shape[2])
    return latent_model(
        folder, schedule, TextUNet(unet), KLCodec(vae, (unet.config.in_channels, h, w)), encoder, condition
    )


def open_stable_diffusion_3(folder: PipelineFolder, options: PipelineOptions) -> OpenedModel:
    """Open Stable Diffusion 3 or 3.5.

    Arguments:
        folder: The pipeline.
        options: Options of the loader.
    Returns:
        The model of latents, with codec and text encoders.
    Raises:
        InputError: If a part is missing, damaged or not supported.
    """
    schedule, dtype = options.schedule(folder), options.torch_dtype
    transformer = read_network(folder, "transformer", "SD3Transformer2DModel", options)
    vae, config = read_autoencoder(folder, dtype), transformer.config
    factor, patch = downsampling(vae.config), config.patch_size
    h, w = options.latent_size(factor, default=config.sample_size, multiple=patch)
    largest = config.pos_embed_max_size
    if largest and max(h, w) > largest * patch:
        raise InputError(f"--size: {folder.path} has positions for at most {largest * patch * factor} pixels a side")
    schedule = schedule.for_tokens(h // patch * (w // patch))
    length = options.text_length or T5_LENGTH
    parts: dict[str, Any] = {
        "clip": read_clip(folder, 1, dtype, projection=True, penultimate=True),
        "clip_2": read_clip(folder, 2, dtype, projection=True, penultimate=True),
    }
    if folder.has("text_encoder_3"):
        parts["t5"] = read_t5(folder, 3, dtype, length=length)
    encoder = ClipsAndT5(config.joint_attention_dim, length, **parts)
    null = encoder([""])
    condition = Conditioning(parts={n: tuple(p.shape[1:]) for n, p in null.parts.items()}, null_value=null)
    return latent_model(
        folder, schedule, TextTransformer(transformer), KLCodec(vae, (config.in_channels, h, w)), encoder, condition
    )


def _unet(folder: PipelineFolder, options: PipelineOptions) -> Any:
    """Read the U-Net, and refuse one that needs other inputs than x, the time and the text."""
    unet = read_network(folder, "unet", "UNet2DConditionModel", options)
    config = unet.config
    if config.in_channels != config.out_channels:
        raise InputError(
            f"{folder.path / 'unet'} takes {config.in_channels} channels and returns {config.out_channels}: a model of "
            "inpainting or of image conditions, which is not supported"
        )
    if config.time_cond_proj_dim is not None:
        raise InputError(f"{folder.path / 'unet'} is distilled to few steps (time_cond_proj_dim): not supported")
    return unet


def _check_width(folder: PipelineFolder, name: str, width: Any, got: int) -> None:
    """Check that the network reads sequences of the width that the encoders return."""
    widths = set(width) if isinstance(width, (list, tuple)) else {width}
    if widths != {got}:
        raise InputError(
            f"{folder.path / name} reads text of the width {sorted(widths)}, and the text encoders return {got}: the "
            "parts are of different models"
        )
