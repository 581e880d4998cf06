"""The loader `diffusers`: folders of pipelines that diffusers has saved."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from sdekit.errors import InputError
from sdekit.models import OpenedModel, recognises

from .diffusers_folder import INDEX, PipelineFolder
from .diffusers_images import open_ddpm, open_dit, open_ldm
from .extras import require_package
from .flux import open_flux
from .pipeline_options import PipelineOptions
from .stable_diffusion import open_stable_diffusion, open_stable_diffusion_3, open_stable_diffusion_xl

logger = logging.getLogger("sdekit.loaders")

PIPELINES: dict[str, Callable[[PipelineFolder, PipelineOptions], OpenedModel]] = {
    "StableDiffusionPipeline": open_stable_diffusion,
    "StableDiffusionImg2ImgPipeline": open_stable_diffusion,
    "StableDiffusionXLPipeline": open_stable_diffusion_xl,
    "StableDiffusionXLImg2ImgPipeline": open_stable_diffusion_xl,
    "StableDiffusion3Pipeline": open_stable_diffusion_3,
    "StableDiffusion3Img2ImgPipeline": open_stable_diffusion_3,
    "FluxPipeline": open_flux,
    "FluxImg2ImgPipeline": open_flux,
    "DDPMPipeline": open_ddpm,
    "DDIMPipeline": open_ddpm,
    "PNDMPipeline": open_ddpm,
    "LDMPipeline": open_ldm,
    "DiTPipeline": open_dit,
}
"""Functions that open a pipeline, by the class name in model_index.json."""


@recognises(lambda path: (path / INDEX).is_file())
def load_pipeline(
    path: str,
    *,
    size: str = "",
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    variant: str = "",
    guidance: float = 3.5,
    text_length: int = 0,
    attention_slices: bool = False,
    device: str = "cpu",
) -> OpenedModel:
    """A folder of a diffusers pipeline: Stable Diffusion 1, 2, XL and 3, Flux, DDPM, LDM and DiT.

    Nothing in the folder is executed, and only safetensors are read. Safety checkers are not run.

    Arguments:
        path: The folder, with the file model_index.json.
        size: Size of the images, WIDTHxHEIGHT or one number; by default the size of the training.
        dtype: Dtype of the weights: fp32, bf16, fp16, or auto for the dtype of the files on a GPU and fp32 on the CPU.
        variant: Variant of the weight files, such as fp16.
        guidance: Number by which a distilled model (Flux) is guided.
        text_length: Number of tokens that the T5 encoder reads; 0 for the makers' number.
        attention_slices: Compute the attention in slices, which takes less memory.
        device: Device of the weights.
    Returns:
        The model, with its autoencoder as codec and its text encoders.
    Raises:
        InputError: If the folder is not a pipeline, is damaged, or its pipeline is not supported.
    """
    folder = PipelineFolder.read(Path(path), variant)
    require_package("diffusers", "diffusers", path)
    require_package("transformers", "diffusers", path)
    if folder.pipeline not in PIPELINES:
        raise InputError(
            f"{path} is a {folder.pipeline}, which is not supported. It contains {folder.contents}. Supported: "
            + ", ".join(PIPELINES)
        )
    options = PipelineOptions(
        size=size,
        dtype=dtype,
        guidance=guidance,
        text_length=text_length,
        attention_slices=attention_slices,
        device=str(device),
    )
    needed = folder.memory(options.torch_dtype)
    _log_memory(path, needed, torch.device(options.device))
    model = PIPELINES[folder.pipeline](folder, options)
    return replace(model, facts={**model.facts, "memory": {name: _size(n) for name, n in needed.items()}})


def _log_memory(path: str, needed: Mapping[str, int], device: torch.device) -> None:
    """Log the memory that the weights need, before they are read, and warn if the device has less."""
    total, parts = sum(needed.values()), ", ".join(f"{name} {_size(n)}" for name, n in needed.items())
    logger.info("%s: the weights need %s (%s)", path, _size(total), parts)
    if device.type == "cuda" and (free := torch.cuda.mem_get_info(device)[0]) < total:
        logger.warning("%s is free on %s: take dtype=bf16, or --device cpu", _size(free), device)


def _size(n: int) -> str:
    """Write a number of bytes, such as "3.4 GB"."""
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.1f} MB"
