"""Flux of diffusers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sdekit.models import Condition, Conditioning, OpenedModel, condition_parts

from .autoencoder_codec import KLCodec, downsampling, read_autoencoder
from .diffusers_folder import PipelineFolder
from .pipeline_options import PipelineOptions, latent_model, read_network
from .text_encoders import Encoded, PromptEncoder, read_clip, read_t5

T5_LENGTH = 512
"""Number of tokens that the T5 encoder reads."""

DEFAULT_SIZE = 128
"""Height and width of the latents if the user gives no size."""

NO_NULL = (
    "Flux is distilled and has no null condition, so cfg and other guidances that need one do not apply. Set its own "
    "guidance by the option of the loader, diffusers:PATH,guidance=3.5, or give --negative TEXT, which serves as null "
    "condition"
)


class FluxNetwork(nn.Module):
    """A `FluxTransformer2DModel` as a network of sdekit: it packs 2 x 2 latents into one token.

    Arguments:
        transformer: The network of diffusers.
        guidance: The number by which a distilled model is guided; without effect if the model does not take it.
    """

    def __init__(self, transformer: Any, guidance: float) -> None:
        super().__init__()
        self.transformer: Any = transformer
        self.guidance = guidance

    def forward(self, x: Tensor, c_noise: Tensor, y: Condition) -> Tensor:
        """Return the network's output (B, c, h, w)."""
        b, c, h, w = x.shape
        dtype = next(self.transformer.parameters()).dtype
        tokens = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)
        guided = self.transformer.config.guidance_embeds
        sequence = y.parts["sequence"].to(dtype)
        output: Tensor = self.transformer(
            hidden_states=tokens.to(dtype),
            timestep=c_noise,
            guidance=x.new_full((b,), self.guidance, dtype=torch.float32) if guided else None,
            pooled_projections=y.parts["embedding"].to(dtype),
            encoder_hidden_states=sequence,
            txt_ids=x.new_zeros(sequence.shape[1], 3),
            img_ids=_positions(h // 2, w // 2, x),
            return_dict=False,
        )[0]
        return output.view(b, h // 2, w // 2, c, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(b, c, h, w)


def _positions(h: int, w: int, like: Tensor) -> Tensor:
    """Return the row and the column of each token, (h w, 3), after a column of zeros."""
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).view(-1, 3).to(like)


class T5AndPooledClip(PromptEncoder):
    """The states of T5 and the pooled embedding of CLIP."""

    def combine(self, encoded: dict[str, Encoded]) -> Condition:
        """Return the parts "sequence" and "embedding"."""
        pooled = encoded["clip"].pooled
        assert pooled is not None
        return Condition({"sequence": encoded["t5"].states.float(), "embedding": pooled.float()})


def open_flux(folder: PipelineFolder, options: PipelineOptions) -> OpenedModel:
    """Open Flux.

    Arguments:
        folder: The pipeline.
        options: Options of the loader.
    Returns:
        The model of latents, with codec and text encoders.
    Raises:
        InputError: If a part is missing, damaged or not supported.
    """
    dtype = options.torch_dtype
    transformer = read_network(folder, "transformer", "FluxTransformer2DModel", options)
    vae = read_autoencoder(folder, dtype)
    h, w = options.latent_size(downsampling(vae.config), default=DEFAULT_SIZE, multiple=2)
    schedule = options.schedule(folder, time_scale=1.0).for_tokens(h // 2 * (w // 2))
    encoder = T5AndPooledClip(
        clip=read_clip(folder, 1, dtype, penultimate=False),
        t5=read_t5(folder, 2, dtype, length=options.text_length or T5_LENGTH),
    )
    parts = condition_parts(encoder(["a"]))
    condition = Conditioning(parts={n: tuple(p.shape[1:]) for n, p in parts.items()}, null=False, null_refusal=NO_NULL)
    codec = KLCodec(vae, (transformer.config.in_channels // 4, h, w))
    return latent_model(folder, schedule, FluxNetwork(transformer, options.guidance), codec, encoder, condition)
