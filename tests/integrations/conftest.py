"""Small pipelines of diffusers with random weights. They receive embeddings, so that they need no text encoder."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


@dataclass(frozen=True)
class TinyPipeline:
    """A pipeline, the arguments of its calls, and its network as a function of x and the timestep."""

    pipe: Any
    arguments: dict[str, Any]
    network: Callable[[Tensor, Tensor], Tensor]
    shape: tuple[int, ...]
    config: Any

    def sample(self, scheduler: Any, noise: Tensor, steps: int, pipe: Any = None, **more: Any) -> Tensor:
        """Run the pipeline with a scheduler and return the latents."""
        pipe = pipe or self.pipe
        pipe.scheduler = scheduler
        pipe.set_progress_bar_config(disable=True)
        call = {**self.arguments, "latents": noise.clone(), "num_inference_steps": steps, **more}
        latents: Tensor = pipe(**call, output_type="latent", return_dict=False)[0]
        return latents


def _unet(**options: Any) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
        **options,
    ).eval()


def _vae(channels: int) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=16,
    ).eval()


def _guided(network: Callable[..., Tensor], scale: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return classifier-free guidance, as pipelines compute it."""

    def call(x: Tensor, timestep: Tensor) -> Tensor:
        null, conditional = network(torch.cat([x, x]), timestep.float()).chunk(2)
        return null + scale * (conditional - null)

    return call


def _sd() -> TinyPipeline:
    from diffusers import PNDMScheduler, StableDiffusionPipeline

    scheduler = PNDMScheduler(**SCALED, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1)
    pipe = StableDiffusionPipeline(
        vae=_vae(4), unet=_unet(), scheduler=scheduler, text_encoder=None, tokenizer=None, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    text, null = torch.randn(1, 5, 8), torch.zeros(1, 5, 8)
    arguments = {"prompt_embeds": text, "negative_prompt_embeds": null, "guidance_scale": 3.0}
    network = _guided(lambda x, t: pipe.unet(x, t, torch.cat([null, text]))[0], 3.0)
    return TinyPipeline(pipe, arguments, network, (4, 8, 8), scheduler.config)


def _sdxl() -> TinyPipeline:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    scheduler = EulerDiscreteScheduler(**SCALED, steps_offset=1, timestep_spacing="leading")
    unet = _unet(
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=6 + 6 * 4
    )
    pipe = StableDiffusionXLPipeline(
        vae=_vae(4), unet=unet, scheduler=scheduler, text_encoder=None, text_encoder_2=None, tokenizer=None,
        tokenizer_2=None, add_watermarker=False,
    )  # fmt: skip
    text, null, pooled = torch.randn(1, 5, 8), torch.zeros(1, 5, 8), torch.randn(1, 6)
    # the pipeline takes the size of the pooled embedding from the second encoder
    pipe._get_add_time_ids = lambda size, crop, target, **_: torch.tensor([[*size, *crop, *target]]).float()
    arguments = {
        "prompt_embeds": text, "negative_prompt_embeds": null, "pooled_prompt_embeds": pooled,
        "negative_pooled_prompt_embeds": 0 * pooled, "guidance_scale": 3.0, "height": 16, "width": 16,
    }  # fmt: skip
    ids = torch.tensor([[16, 16, 0, 0, 16, 16]]).float().expand(2, -1)
    added = {"text_embeds": torch.cat([0 * pooled, pooled]), "time_ids": ids}
    network = _guided(lambda x, t: unet(x, t, torch.cat([null, text]), added_cond_kwargs=added)[0], 3.0)
    return TinyPipeline(pipe, arguments, network, (4, 8, 8), scheduler.config)


def _sd3() -> TinyPipeline:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=4, num_attention_heads=2,
        joint_attention_dim=8, caption_projection_dim=8, pooled_projection_dim=6, out_channels=4, pos_embed_max_size=8,
    ).eval()  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    nothing = dict.fromkeys(
        ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
    )
    pipe = StableDiffusion3Pipeline(transformer=transformer, scheduler=scheduler, vae=_vae(4), **nothing)
    text, null, pooled = torch.randn(1, 5, 8), torch.zeros(1, 5, 8), torch.randn(1, 6)
    arguments = {
        "prompt_embeds": text, "negative_prompt_embeds": null, "pooled_prompt_embeds": pooled,
        "negative_pooled_prompt_embeds": 0 * pooled, "guidance_scale": 3.0, "height": 16, "width": 16,
    }  # fmt: skip
    texts, pools = torch.cat([null, text]), torch.cat([0 * pooled, pooled])
    network = _guided(lambda x, t: transformer(x, texts, pools, t.expand(len(x)))[0], 3.0)
    return TinyPipeline(pipe, arguments, network, (4, 8, 8), scheduler.config)


def _flux() -> TinyPipeline:
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=1,
        joint_attention_dim=8, pooled_projection_dim=6, guidance_embeds=True, axes_dims_rope=(2, 2, 4),
    ).eval()  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    nothing = dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))
    pipe = FluxPipeline(transformer=transformer, scheduler=scheduler, vae=_vae(4), **nothing)
    text, pooled = torch.randn(1, 5, 8), torch.randn(1, 6)
    arguments = {
        "prompt_embeds": text, "pooled_prompt_embeds": pooled, "guidance_scale": 3.5, "height": 16, "width": 16,
    }  # fmt: skip
    ids = torch.zeros(16, 3)
    ids[:, 1], ids[:, 2] = torch.arange(16) // 4, torch.arange(16) % 4

    def network(x: Tensor, t: Tensor) -> Tensor:
        output: Tensor = transformer(
            hidden_states=x, timestep=t.float().expand(1) / 1000, guidance=torch.tensor([3.5]),
            pooled_projections=pooled, encoder_hidden_states=text, txt_ids=torch.zeros(5, 3), img_ids=ids,
        )[0]  # fmt: skip
        return output

    return TinyPipeline(pipe, arguments, network, (16, 16), scheduler.config)


@cache
def tiny_pipeline(name: str) -> TinyPipeline:
    """Build a pipeline once."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tiny = {"sd": _sd, "sdxl": _sdxl, "sd3": _sd3, "flux": _flux}[name]()
        network = tiny.pipe.unet if hasattr(tiny.pipe, "unet") else tiny.pipe.transformer
        for parameter in network.parameters():
            parameter.requires_grad_(False)
            if not parameter.any():  # some last layers start at 0, which would hide the network
                parameter.normal_(std=0.1)
    return tiny


@pytest.fixture(scope="session")
def pipelines() -> Callable[[str], TinyPipeline]:
    """Function that returns the tiny pipeline "sd", "sdxl", "sd3" or "flux"."""
    pytest.importorskip("diffusers")
    return tiny_pipeline
