"""The loader `hub`: models on the Hugging Face hub, by their name OWNER/NAME."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from sdekit.errors import InputError
from sdekit.models import OpenedModel, open_with
from sdekit.registry import component_names, find_component, parameters

from .diffusers_folder import INDEX, PipelineFolder
from .extras import require_package

SMALL_FILES = ("*.json", "*.txt", "*.model")
"""Files that are fetched first: configurations and tokenizers."""

OTHER_VARIANTS = ("*.fp16*", "*.bf16*", "*.non_ema*", "*.ema*")
"""Variants of weights that are not fetched if the user chooses none."""


def load_from_hub(
    path: str,
    *,
    revision: str = "",
    size: str = "",
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    variant: str = "",
    guidance: float = 3.5,
    text_length: int = 0,
    attention_slices: bool = False,
    device: str = "cpu",
) -> OpenedModel:
    """A model on the Hugging Face hub, OWNER/NAME, in a format that another loader recognises.

    Only configurations, tokenizers and safetensors are fetched, into the cache of huggingface_hub. Files in the cache
    are used without a network.

    Arguments:
        path: OWNER/NAME.
        revision: Branch, tag or commit; by default the main branch.
        size: Size of the images, as for the loader `diffusers`.
        dtype: Dtype of the weights, as for the loader `diffusers`.
        variant: Variant of the weight files, such as fp16.
        guidance: Number by which a distilled model is guided, as for the loader `diffusers`.
        text_length: Number of tokens that a T5 encoder reads, as for the loader `diffusers`.
        attention_slices: Compute the attention in slices, as for the loader `diffusers`.
        device: Device of the weights.
    Returns:
        The model.
    Raises:
        InputError: If the model does not exist, cannot be fetched, or has a format that no loader recognises.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", path):
        raise InputError(f"hub:{path}: write hub:OWNER/NAME, the name of a model on the hub")
    folder = _fetched(path, revision or None, variant)
    chosen: dict[str, Any] = {
        "size": size, "dtype": dtype, "variant": variant, "guidance": guidance, "text_length": text_length,
        "attention_slices": attention_slices,
    }  # fmt: skip
    for name in component_names("loader"):
        if name != "hub" and _recognises(name, folder):
            accepted = parameters(find_component("loader", name).load())
            options = {option: value for option, value in chosen.items() if option in accepted}
            return open_with(name, folder, device=device, options=options)
    content = ", ".join(sorted(file.name for file in folder.iterdir())[:12])
    raise InputError(f"hub:{path} has a format that no loader recognises. It contains {content}")


def _recognises(loader: str, folder: Path) -> bool:
    """Whether a loader recognises a folder; a loader for files, or one that cannot be imported, does not."""
    with suppress(Exception):
        recognises = getattr(find_component("loader", loader).load(), "recognises", None)
        return recognises is not None and bool(recognises(folder))
    return False


def _fetched(name: str, revision: str | None, variant: str) -> Path:
    """Return the folder of a model in the cache, and fetch the files that it lacks."""
    hub = require_package("huggingface_hub", "hub", f"hub:{name}")
    try:
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=list(SMALL_FILES)))
        patterns, ignored = ["*.safetensors"], list(OTHER_VARIANTS)
        if (folder / INDEX).is_file():
            patterns = [f"{part}/*.safetensors" for part in PipelineFolder.read(folder).parts]
        if variant:
            patterns, ignored = [p.replace("*", f"*.{variant}*") for p in patterns], []
        hub.snapshot_download(
            name, revision=revision, allow_patterns=[*SMALL_FILES, *patterns], ignore_patterns=ignored
        )
    except InputError:
        raise
    except Exception as error:  # the client raises errors of several libraries
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        raise InputError(
            f"hub:{name} cannot be fetched ({type(error).__name__}: {reason}). Check the name, the network and, for a "
            "model with terms, `hf auth login`. A folder that was fetched elsewhere opens as diffusers:FOLDER"
        ) from error
    return folder
