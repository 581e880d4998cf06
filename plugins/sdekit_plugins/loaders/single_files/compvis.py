"""Loader of single files of latent diffusion (CompVis), such as Stable Diffusion 1."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from sdekit.errors import InputError
from sdekit.models import OpenedModel, recognises
from sdekit_plugins.loaders.diffusers_folder import STEMS, PipelineFolder
from sdekit_plugins.loaders.diffusers_pipelines import load_pipeline
from sdekit_plugins.loaders.weight_files.state_dict import open_weights, tensors_of
from sdekit_plugins.loaders.weight_files.tensor_in_file import TensorInFile

from .compvis_names import Rename, autoencoder_names, clip_names, unet_names

CONFIGURATION = ("*.json", "*.txt", "*.model")
"""Files of a pipeline that are not weights."""


@recognises(lambda path: path.suffix == ".ckpt")
def compvis(path: str, *, config: str = "", size: str = "", dtype: str = "auto", device: str = "cpu") -> OpenedModel:
    """Open a single file of Stable Diffusion 1 with the names of CompVis (model.diffusion_model...).

    The tensors are written to a temporary folder under their names in diffusers, and opened from there: it needs as
    much free disk space as the file. The configuration of the networks and the tokenizer are not in such a file.
    They are read from a local folder, and nothing is downloaded.

    Arguments:
        path: File .safetensors or .ckpt.
        config: Folder of a diffusers pipeline with the same networks; its weights are not used and may be missing.
        size: Size of the images, WIDTHxHEIGHT or one number; by default the size of the training.
        dtype: Dtype of the weights, as for the loader diffusers.
        device: Device of the weights.
    Returns:
        The model, with its autoencoder and its text encoder.
    Raises:
        InputError: If the file is damaged, a tensor is missing, left over or of another shape, or the folder is of
            another pipeline.
    """
    with open_weights(path) as content:
        tensors = _state_dict(content, path)
        if not config:
            raise InputError(
                f"{path} does not contain the configuration of its networks: name a local folder of a diffusers "
                f"pipeline with the same networks, whose weights may be missing: compvis:{path},config=FOLDER"
            )
        folder = PipelineFolder.read(Path(config))
        if folder.pipeline != "StableDiffusionPipeline":
            raise InputError(f"{config} is a {folder.pipeline}: single files of StableDiffusionPipeline can be opened")
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            copy = Path(name) / "pipeline"
            for file in (file for pattern in CONFIGURATION for file in Path(config).rglob(pattern)):
                target = copy / file.relative_to(config)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
            unused = _convert(tensors, folder, copy, path)
            try:
                opened = load_pipeline(str(copy), size=size, dtype=dtype, device=device)  # type: ignore[arg-type]
            except InputError as error:
                raise InputError(str(error).replace(str(copy), f"{path} with {config}")) from error
    facts = {**opened.facts, "format": "compvis", "configuration": config, "tensors_not_used": unused}
    return OpenedModel(**{**vars(opened), "path": Path(path), "facts": facts})


def _state_dict(content: Any, path: str) -> dict[str, TensorInFile]:
    """Return the tensors of a file, which must have the names of latent diffusion."""
    inside = content.get("state_dict") if isinstance(content, Mapping) else None
    tensors = tensors_of(content if inside is None else inside, path)
    if not any(name.startswith("model.diffusion_model.") for name in tensors):
        raise InputError(f"{path}: a tensor is missing: model.diffusion_model.*, as in files of latent diffusion")
    return tensors


def _convert(tensors: Mapping[str, TensorInFile], folder: PipelineFolder, copy: Path, path: str) -> int:
    """Write the tensors of each part under their names in diffusers. Return the number of tensors that are not used."""
    layers, channels = folder.config("unet").get("layers_per_block", 2), folder.config("vae").get("block_out_channels")
    if not isinstance(layers, int) or not isinstance(channels, list):
        raise InputError(f"{folder.path}: layers_per_block of unet and block_out_channels of vae must be stated")
    parts: dict[str, tuple[str, Rename]] = {
        "unet": ("model.diffusion_model.", unet_names(layers)),
        "vae": ("first_stage_model.", autoencoder_names(len(channels))),
        "text_encoder": ("cond_stage_model.transformer.", clip_names),
    }
    used = 0
    for part, (prefix, rename) in parts.items():
        own = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        if not own:
            raise InputError(f"{path}: a tensor is missing: {prefix}*, for the part {part}")
        renamed: dict[str, Tensor] = {}
        for name, tensor in own.items():
            if (new := rename(name.removeprefix(prefix))) is not None:
                linear = part == "vae" and ".attentions." in new and tensor.ndim == 4
                value = tensor.load()
                renamed[new] = (value[:, :, 0, 0] if linear else value).contiguous()
        used += len(renamed)
        file = copy / part / f"{STEMS[folder.index[part][0]]}.safetensors"
        save_file(renamed, file, {"format": "pt"})
    return len(tensors) - used
