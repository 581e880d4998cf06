"""Tiny diffusers pipelines with random weights and the configurations of real ones, made once per session."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

SD_TABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
MERGES = ["a n", "t h", "th e</w>", "an d</w>", "a t</w>", "d o", "do g</w>", "c at</w>", "r e", "re d</w>"]


def tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer with all bytes and a few merges."""
    from transformers import CLIPTokenizer

    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in visible]
    letters = [chr(b) for b in visible] + [chr(256 + i) for i in range(len(hidden))]
    words = letters + [f"{c}</w>" for c in letters] + ["".join(merge.split()) for merge in MERGES]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))
    end = "<|endoftext|>"
    tokens = {"bos_token": "<|startoftext|>", "eos_token": end, "pad_token": end, "unk_token": end}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", **tokens})
    )
    return CLIPTokenizer.from_pretrained(folder)


class Parts:
    """Makers of the parts of pipelines, as small as their classes allow."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = tokenizer(folder / "tokenizer")
        self.words = len(self.tokenizer)

    def clip(self, width: int, *, projection: bool = False) -> Any:
        """A CLIP text encoder."""
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        config = CLIPTextConfig(
            vocab_size=self.words, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=77, projection_dim=width, bos_token_id=self.words - 2,
            eos_token_id=self.words - 1, pad_token_id=self.words - 1,
        )  # fmt: skip
        return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config).eval()

    def t5(self) -> Any:
        """A T5 text encoder of width 16."""
        from transformers import T5Config, T5EncoderModel

        config = T5Config(vocab_size=self.words, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        return T5EncoderModel(config).eval()

    def vae(self, channels: int = 4, **options: Any) -> Any:
        """An autoencoder that halves images three times."""
        from diffusers import AutoencoderKL

        return AutoencoderKL(
            block_out_channels=(8, 8, 8, 8), layers_per_block=1, latent_channels=channels, norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, **options,
        ).eval()  # fmt: skip

    def unet(self, **options: Any) -> Any:
        """A U-Net of latents that reads text."""
        from diffusers import UNet2DConditionModel

        sizes = {"cross_attention_dim": 16, "attention_head_dim": 4, **options}
        return UNet2DConditionModel(
            sample_size=8, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **sizes,
        ).eval()  # fmt: skip


def stable_diffusion(parts: Parts, scheduler: Any, **options: Any) -> Any:
    """Stable Diffusion 1 or 2."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=parts.vae(), text_encoder=parts.clip(16), tokenizer=parts.tokenizer, unet=parts.unet(**options),
        scheduler=scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sd15(parts: Parts) -> Any:
    """Stable Diffusion 1.5."""
    from diffusers import PNDMScheduler

    return stable_diffusion(
        parts, PNDMScheduler(**SD_TABLE, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1)
    )


def sd21(parts: Parts) -> Any:
    """Stable Diffusion 2.1, with v-prediction."""
    from diffusers import DDIMScheduler

    options = {"set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False, "prediction_type": "v_prediction"}
    return stable_diffusion(parts, DDIMScheduler(**SD_TABLE, **options), use_linear_projection=True)


def sd21_zero_snr(parts: Parts) -> Any:
    """Stable Diffusion 2.1 with zero terminal SNR and trailing times."""
    from diffusers import DDIMScheduler

    pipeline = sd21(parts)
    options = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, **options)
    return pipeline


def sdxl(parts: Parts) -> Any:
    """Stable Diffusion XL."""
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline

    unet = parts.unet(
        cross_attention_dim=40, use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=4, projection_class_embeddings_input_dim=24 + 6 * 4,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=parts.vae(scaling_factor=0.13025), text_encoder=parts.clip(16), tokenizer=parts.tokenizer,
        text_encoder_2=parts.clip(24, projection=True), tokenizer_2=parts.tokenizer, unet=unet,
        scheduler=EulerDiscreteScheduler(**SD_TABLE, steps_offset=1, timestep_spacing="leading"),
    )  # fmt: skip


def sd3(parts: Parts) -> Any:
    """Stable Diffusion 3, without T5."""
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=16, num_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=48, caption_projection_dim=16, pooled_projection_dim=40, out_channels=16,
        pos_embed_max_size=8,
    ).eval()  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=parts.vae(16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=parts.clip(16, projection=True), tokenizer=parts.tokenizer,
        text_encoder_2=parts.clip(24, projection=True), tokenizer_2=parts.tokenizer,
        text_encoder_3=None, tokenizer_3=None,
    )  # fmt: skip


def flux(parts: Parts) -> Any:
    """Flux, guided by a number."""
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, guidance_embeds=True, axes_dims_rope=(2, 2, 4),
    ).eval()  # fmt: skip
    return FluxPipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=parts.vae(16, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=parts.clip(16), tokenizer=parts.tokenizer, text_encoder_2=parts.t5(), tokenizer_2=parts.tokenizer,
    )  # fmt: skip


MAKERS: dict[str, Callable[[Parts], Any]] = {
    maker.__name__: maker for maker in (sd15, sd21, sd21_zero_snr, sdxl, sd3, flux)
}


@pytest.fixture(scope="session")
def text_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Function from the name of a pipeline in `MAKERS` to its folder, which is made once."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = tmp_path_factory.mktemp("pipelines")
    parts: list[Parts] = []

    def make(name: str) -> Path:
        if (folder / name).exists():
            return folder / name
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            if not parts:
                parts.append(Parts(folder))
            pipeline = MAKERS[name](parts[0])
            for network in (getattr(pipeline, "unet", None), getattr(pipeline, "transformer", None)):
                for parameter in () if network is None else network.parameters():
                    if not parameter.any():  # layers that start at 0 would hide errors before them
                        parameter.data = 0.1 * torch.randn_like(parameter)
            pipeline.save_pretrained(folder / name)
        return folder / name

    return make


class Folders(NamedTuple):
    """Folders of tiny pipelines without text, with random weights."""

    ddpm: Path
    clipped: Path
    ldm: Path
    dit: Path


def with_weights(network: Any) -> Any:
    """Fill parameters that are zero at first, so that every part of the network has an effect."""
    generator = torch.Generator().manual_seed(9)
    for parameter in network.parameters():
        if not bool(parameter.any()):
            parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Save tiny pipelines without text whose options are those of published ones. Read only."""
    diffusers = pytest.importorskip("diffusers")
    root = tmp_path_factory.mktemp("diffusers-images")
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    sizes = {"layers_per_block": 1, "block_out_channels": (16, 32), "norm_num_groups": 8, "attention_head_dim": 8}
    older = {"flip_sin_to_cos": False, "freq_shift": 1, "downsample_padding": 0, "norm_eps": 1e-6}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        for name, clip in (("ddpm", False), ("clipped", True)):
            unet = with_weights(
                diffusers.UNet2DModel(sample_size=8, in_channels=3, out_channels=3, **sizes, **blocks, **older)
            )
            scheduler = diffusers.DDPMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=clip)
            diffusers.DDPMPipeline(unet, scheduler).save_pretrained(root / name)
        vq = diffusers.VQModel(
            **{"down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3},
            **{"block_out_channels": (8, 8, 8), "latent_channels": 3, "num_vq_embeddings": 64, "norm_num_groups": 8},
        )
        vq.quantize.embedding.weight.data = 20 * torch.randn(64, 3)  # far apart, so that rounding does not matter
        unet = with_weights(diffusers.UNet2DModel(sample_size=8, in_channels=3, out_channels=3, **sizes, **blocks))
        scaled = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear", "clip_sample": False}
        ldm = diffusers.LDMPipeline(vqvae=vq.eval(), unet=unet, scheduler=diffusers.DDIMScheduler(**scaled))
        ldm.save_pretrained(root / "ldm")
        transformer = diffusers.DiTTransformer2DModel(
            **{"num_attention_heads": 2, "attention_head_dim": 8, "in_channels": 4, "out_channels": 8, "num_layers": 2},
            **{"sample_size": 8, "patch_size": 2, "num_embeds_ada_norm": 10, "attention_bias": True},
        )
        vae = diffusers.AutoencoderKL(
            **{"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2},
            **{"block_out_channels": (8, 8), "latent_channels": 4, "norm_num_groups": 8, "sample_size": 16},
        )
        dit = diffusers.DiTPipeline(
            transformer=with_weights(transformer),
            vae=vae.eval(),
            scheduler=diffusers.DDIMScheduler(beta_start=1e-4, beta_end=0.02, clip_sample=False),
        )
        dit.save_pretrained(root / "dit")
        index = json.loads((root / "dit" / "model_index.json").read_text())
        index["id2label"] = {str(i): f"class {i}, the {i}th" for i in range(10)}  # as the published folder has it
        (root / "dit" / "model_index.json").write_text(json.dumps(index))
    return Folders(*(root / name for name in Folders._fields))
