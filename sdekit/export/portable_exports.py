"""Exports that other programs read: the weights as safetensors, and pipelines of diffusers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdekit.data import Units
from sdekit.errors import InputError
from sdekit.models import NetworkInput, OpenedModel, ScoreModel, open_with
from sdekit.processes import TabulatedVP
from sdekit.runs import (
    EXPORT,
    MODEL,
    SMALL,
    Recipe,
    Run,
    build_bounded,
    build_recorded,
    load_tensors,
    load_tied,
    save_tensors,
    untie,
)

PREDICTION_TYPES = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
"""Predictions of a DDPMScheduler of diffusers."""


def write_weights(opened: OpenedModel, folder: Path) -> float:
    """Write the weights of a run as a safetensors file, under the names of the tensors in the network.

    Arguments:
        opened: A run.
        folder: Folder to write into.
    Returns:
        0, because the weights are exact.
    Raises:
        InputError: If the model is not a run, so that its network cannot be built again.
    """
    if not isinstance(opened, Run):
        raise InputError(
            f"{opened.path}: format 'safetensors' contains weights and the recipe of a run, from which the network is "
            "built. This model has no recipe: use the file that it was opened from, or another format"
        )
    save_tensors(folder / MODEL, untie(opened.model.network), {"step": opened.step, "recipe": opened.recipe.digest})
    return 0.0


def read_weights(path: Path, recipe: Recipe) -> ScoreModel:
    """Build the model of a recipe with the weights of an export.

    Arguments:
        path: Folder of the export.
        recipe: The recipe in it.
    Returns:
        The model.
    Raises:
        InputError: If the file is missing or damaged, or does not fit the network.
    """
    weights, _ = load_tensors(path / MODEL)
    most = 2 * sum(tensor.numel() for tensor in weights.values()) + SMALL
    model = build_recorded(path / EXPORT, "network", lambda: build_bounded(recipe.build, most))
    try:
        load_tied(model.network, weights)
    except RuntimeError as error:
        raise InputError(f"{path / MODEL} does not fit the network of the recipe: {error}") from error
    return model.eval()


def write_pipeline(opened: OpenedModel, folder: Path) -> float:
    """Write a folder that `DDPMPipeline` of diffusers opens.

    Arguments:
        opened: A model whose network is a `UNet2DModel` of diffusers, such as one opened by the loaders `diffusers` or
            `bare`.
        folder: Folder to write into.
    Returns:
        Largest deviation of the reread network's output, relative to the largest output.
    Raises:
        InputError: If diffusers is missing, or has no counterpart of the network, the process or the units.
    """
    try:
        from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
    except ImportError as error:
        raise InputError(f"format 'diffusers' needs diffusers ({error}): pip install 'sdekit[diffusers]'") from error
    model, where = opened.model, opened.path
    unet = _find_unet(opened, UNet2DModel)
    sde = model.sde
    n = len(sde.betas) if isinstance(sde, TabulatedVP) else 0
    if not isinstance(sde, TabulatedVP) or model.inputs != NetworkInput(clock="t", scale=n, offset=-1, normalize=False):
        raise InputError(
            f"{where}: DDPMPipeline runs networks that receive the index in a table of betas, but this one was trained "
            f"with {type(sde).__name__} and receives {model.inputs}"
        )
    if model.prediction not in PREDICTION_TYPES:
        raise InputError(f"{where}: a DDPMScheduler has no prediction {model.prediction!r}")
    if not _from_minus_one_to_one(opened.units):
        raise InputError(f"{where}: DDPMPipeline shows x from -1 to 1 as black to white; this model has other units")
    scheduler = DDPMScheduler(
        num_train_timesteps=n,
        trained_betas=list(sde.betas),
        prediction_type=PREDICTION_TYPES[model.prediction],
        clip_sample=False,
        variance_type="learned_range" if unet.config.out_channels > opened.shape[0] else "fixed_small",
    )
    DDPMPipeline(unet=unet, scheduler=scheduler).save_pretrained(folder)
    reread = UNet2DModel.from_pretrained(folder / "unet").eval()
    x = torch.randn(4, *opened.shape, generator=torch.Generator().manual_seed(0))
    index = torch.linspace(0, n - 1, 4)
    with torch.no_grad():
        expected = model.network(x.to(unet.device, unet.dtype), index.to(unet.device), None).float().cpu()
        output = reread(x, index).sample[:, : opened.shape[0]]
    return float((output - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def read_pipeline(path: Path, device: torch.device) -> OpenedModel:
    """Open an export in the format of diffusers, by the loader `diffusers`.

    Arguments:
        path: Folder of the export.
        device: Device of the weights.
    Returns:
        The model.
    """
    return open_with("diffusers", path, device=device)


def _find_unet(opened: OpenedModel, kind: type) -> Any:
    """Return the `UNet2DModel` that is the network of a model, or that its network calls."""
    network = opened.model.network
    found = [module for module in network.modules() if isinstance(module, kind)]
    if opened.codec is not None or opened.encoder is not None:
        raise InputError(
            f"{opened.path}: format 'diffusers' writes a DDPMPipeline, which has neither a codec nor a text encoder"
        )
    if len(found) == 1 and sum(p.numel() for p in found[0].parameters()) == _size(network) and _takes_no_y(opened):
        return found[0]
    reason = {
        "UNet": "the blocks of sdekit's unet scale and shift by the noise level, divide sums by sqrt(2) and receive "
        "log(rho) / 4, all unlike UNet2DModel",
    }.get(type(network).__name__, "it has other layers than UNet2DModel")
    raise InputError(
        f"{opened.path}: its network {type(network).__name__} cannot be a UNet2DModel of diffusers: {reason}. Use "
        "--format safetensors, onnx or torch"
    )


def _from_minus_one_to_one(units: Units) -> bool:
    """Whether x from -1 to 1 covers the range of the data."""
    ends = (units.low, units.high)
    if not isinstance(units.scale, (int, float)) or not isinstance(units.shift, (int, float)) or None in ends:
        return False
    return ends == (units.shift - units.scale, units.shift + units.scale)


def _takes_no_y(opened: OpenedModel) -> bool:
    return opened.conditioning.kind == "none"


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


PORTABLE: dict[str, Callable[[OpenedModel, Path], float]] = {"safetensors": write_weights, "diffusers": write_pipeline}
"""Functions that write an export into a folder, by format; they need the Python code of the network, and trace none."""
