"""Loader of the networks of k-diffusion, from a safetensors file or a checkpoint and their configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from sdekit.errors import InputError
from sdekit.models import OpenedModel, ScoreModel, recognises
from sdekit.processes import EDM
from sdekit_plugins.loaders.pixel_data import pixel_units
from sdekit_plugins.loaders.weight_files.safetensors_file import safetensors_metadata
from sdekit_plugins.loaders.weight_files.state_dict import load_strictly, open_weights, tensors_of

WRAPPER = "inner_model."
"""Prefix of the tensors of a network that receives parameters of augmentations."""

OTHER_CONDITIONS = ("mapping_cond_dim", "unet_cond_dim", "cross_cond_dim")
"""Entries of the configuration that are not 0 if the network takes a condition."""


def _is_k_diffusion(path: Path) -> bool:
    return path.suffix == ".safetensors" and path.with_name("config.json").is_file()


@recognises(_is_k_diffusion)
def k_diffusion(path: str, *, config: str | None = None, ema: bool = True) -> OpenedModel:
    """Open a network `image_v1` of k-diffusion: a U-Net in pixels, preconditioned as EDM, without labels.

    Arguments:
        path: File .safetensors of `convert_for_inference.py`, or a checkpoint .pth of `train.py`.
        config: File of the configuration. By default it is read from the file itself, or is config.json beside it.
        ema: Whether to use the averaged weights of a checkpoint.
    Returns:
        The model, for images in [-1, 1].
    Raises:
        InputError: If a file is missing or damaged, or the configuration is of another network.
    Source:
        github.com/crowsonkb/k-diffusion, models/image_v1.py; Karras et al. 2022.
    """
    from .karras_unet import KarrasUNet

    facts = {}
    with open_weights(path) as content:
        if isinstance(content, Mapping) and "model_ema" in content:
            name = "model_ema" if ema else "model"
            tensors, inside = tensors_of(content.get(name), path, name), content.get("config")
            facts["weights"] = "average (ema)" if ema else "last (not averaged)"
        else:
            tensors, inside = tensors_of(content, path), safetensors_metadata(path).get("config")
        source, settings = _read_config(path, config, inside)
        try:
            sizes, shape, sde, data_std = _parse_config(settings)
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
        with torch.device("meta"):
            network: Any = KarrasUNet(sizes)
        network = network.to_empty(device="cpu")
        load_strictly(network, {name.removeprefix(WRAPPER): tensor for name, tensor in tensors.items()}, path)
    return OpenedModel(
        model=ScoreModel(network, sde, "edm", data_std=data_std),
        shape=shape,
        units=pixel_units(shape[0]),
        kind="image",
        facts={**facts, "configuration": source},
    )


def _read_config(path: str, config: str | None, inside: Any) -> tuple[str, Any]:
    """Return the name of the configuration's source and its content."""
    beside = Path(path).with_name("config.json")
    if config is None and inside is not None and not isinstance(inside, str):
        return path, inside
    file = beside if config is None else Path(config)
    if config is None and isinstance(inside, str):
        source, text = path, inside
    elif file.is_file():
        source, text = str(file), file.read_text("utf-8", errors="replace")
    else:
        raise InputError(f"{path} contains no configuration, and there is no {file}: name it by config=FILE")
    try:
        return source, json.loads(text)
    except ValueError as error:
        raise InputError(f"{source}: the configuration is not valid JSON ({error})") from None


def _parse_config(settings: Any) -> tuple[Any, tuple[int, int, int], EDM, float]:
    """Return the sizes of the network, the shape of an image, the process, and the standard deviation of the data.

    Raises InputError if an entry is missing, has another type, or belongs to another network.
    """
    from .karras_unet import ImageV1

    model = settings.get("model") if isinstance(settings, Mapping) else None
    if not isinstance(model, Mapping):
        raise InputError("the configuration has no section 'model'")
    if model.get("type") != "image_v1":
        raise InputError(f"the type of the network is {model.get('type')!r}, and only 'image_v1' can be opened")
    for name in OTHER_CONDITIONS:
        if model.get(name, 0):
            raise InputError(f"{name} = {model[name]}: networks with this condition cannot be opened")
    try:
        sizes = ImageV1(
            channels=int(model["input_channels"]),
            features=int(model["mapping_out"]),
            depths=tuple(map(int, model["depths"])),
            widths=tuple(map(int, model["channels"])),
            attention=tuple(map(bool, model["self_attn_depths"])),
            patch=int(model.get("patch_size", 1)),
            skipped=int(model.get("skip_stages", 0)),
            augmented=bool(model.get("augment_wrapper", True)),
            variance=bool(model.get("has_variance", False)),
        )
        height, width = map(int, model["input_size"])
        sde = EDM(sigma_min=float(model["sigma_min"]), sigma_max=float(model["sigma_max"]))
        data_std = float(model.get("sigma_data", 1.0))
    except KeyError as error:
        raise InputError(f"the section 'model' has no entry {error}") from None
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"an entry of the section 'model' has another type than expected ({error})") from None
    if not data_std > 0:
        raise InputError(f"sigma_data must be positive, got {data_std}")
    if min(height, width) < 1 or height % sizes.divisor or width % sizes.divisor:
        raise InputError(f"input_size {height} x {width} is not a multiple of {sizes.divisor}, as this network needs")
    return sizes, (sizes.channels, height, width), sde, data_std
