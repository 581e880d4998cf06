"""The loader `diffusers`: folders of pipelines that diffusers has saved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from sdekit.errors import InputError
from sdekit.models import OpenedModel, recognises

from .diffusers_folder import INDEX, PipelineFolder
from .diffusers_images import open_ddpm, open_dit, open_ldm
from .extras import require_package
from .flux import open_flux
from .pipeline_options import PipelineOptions
from .stable_diffusion import open_stable_diffusion, open_stable_diffusion_3, open_stable_diffusion_xl

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
    return PIPELINES[folder.pipeline](folder, options)
