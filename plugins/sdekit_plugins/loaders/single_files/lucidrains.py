"""Loader of the checkpoints of denoising-diffusion-pytorch, `model-N.pt`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import torch

from sdekit.errors import InputError
from sdekit.models import NetworkInput, OpenedModel, ScoreModel, recognises
from sdekit.processes import TabulatedVP
from sdekit_plugins.loaders.pipeline_options import PipelineOptions
from sdekit_plugins.loaders.pixel_data import pixel_units
from sdekit_plugins.loaders.weight_files.state_dict import load_strictly, open_weights, tensors_of
from sdekit_plugins.loaders.weight_files.tensor_in_file import TensorInFile

TABLE = ("betas", "alphas_cumprod", "loss_weight")
"""Buffers of the diffusion that define its process and prediction."""

MOST_BETAS = 10**6

BUFFER = re.compile(r"(\w*alphas_cumprod\w*|betas|posterior_\w+|\w*loss_weight)")
"""Names of the buffers of the diffusion, which all follow from its betas."""


@recognises(lambda path: path.is_file() and re.fullmatch(r"model-\w+\.pt", path.name) is not None)
def lucidrains(
    path: str,
    *,
    size: str = "",
    prediction: Literal["eps", "x0", "v"] | None = None,
    ema: bool = True,
) -> OpenedModel:
    """Open a checkpoint of denoising-diffusion-pytorch: a U-Net in pixels, without labels.

    The file contains the table of betas, the widths of the network follow from its tensors, and the prediction follows
    from the weights of the loss. The size of the images is not in the file. A network with self-conditioning receives
    zeros in place of its last estimate, and learned variances are not used.

    Arguments:
        path: File `model-N.pt` of the trainer, or a state dict of its `GaussianDiffusion`.
        size: Size of the images, WIDTHxHEIGHT or one number; required.
        prediction: Prediction of the network, for a file whose loss weights do not determine it.
        ema: Whether to use the averaged weights, if the file contains them.
    Returns:
        The model, for images in [-1, 1].
    Raises:
        InputError: If the file is damaged or has another content, or the size is missing or does not fit the network.
    Source:
        github.com/lucidrains/denoising-diffusion-pytorch, versions with learned memory in the attention.
    """
    from .lucidrains_unet import Architecture, LucidrainsUNet

    with open_weights(path) as content:
        tensors, weights, step = _diffusion(content, path, ema)
        table = tensors["betas"]
        if table.ndim != 1 or not all(tensors[name].shape == table.shape for name in TABLE if name in tensors):
            raise InputError(f"{path}: the table of betas has the shape {table.shape}, expected one row")
        if table.numel > MOST_BETAS:
            raise InputError(f"{path}: the table has {table.numel} betas, more than {MOST_BETAS}")
        betas = table.load().double()
        predicted = prediction or _prediction(tensors, path)
        network_tensors = {name.removeprefix("model."): v for name, v in tensors.items() if name.startswith("model.")}
        if extra := [name for name in tensors if not name.startswith("model.") and not BUFFER.fullmatch(name)]:
            raise InputError(f"{path}: a tensor does not belong to this diffusion: {', '.join(extra[:6])}")
        try:
            architecture = Architecture.of(network_tensors)
        except KeyError as error:
            raise InputError(
                f"{path}: a tensor is missing: model.{error.args[0]}. Checkpoints of versions without learned memory "
                "in the attention, and of other networks than `Unet`, cannot be opened"
            ) from None
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        with torch.device("meta"):
            network: Any = LucidrainsUNet(architecture)
        network = network.to_empty(device="cpu")
        load_strictly(network, network_tensors, path)
    shape = _shape(size, network, path)
    try:
        sde = TabulatedVP(tuple(betas.tolist()))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    inputs = NetworkInput(clock="t", scale=len(betas), offset=-1, normalize=False)
    return OpenedModel(
        model=ScoreModel(network, sde, predicted, inputs=inputs),
        shape=shape,
        units=pixel_units(shape[0]),
        kind="image",
        step=step,
        facts={
            "weights": weights,
            "network_inputs": f"{architecture.inputs} channels"
            + network.self_conditioned * ", self-conditioning: zeros",
            "recognised": f"{len(betas)} betas, prediction {prediction}, U-Net of {len(architecture.levels)} levels",
            "guessed": "pixels in [-1, 1] (auto_normalize)",
        },
    )


def _diffusion(content: Any, path: str, ema: bool) -> tuple[dict[str, TensorInFile], str, int | None]:
    """Return the tensors of the `GaussianDiffusion` in a file, a name for these weights, and the training step."""
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected the checkpoint of a trainer, got a {type(content).__name__}")
    step = content.get("step")
    step = step if isinstance(step, int) else None
    weights = "as saved"
    if "model" in content:
        average: Any = content.get("ema") if ema else None
        average = average if isinstance(average, Mapping) else {}
        averaged = {k.removeprefix("ema_model."): v for k, v in average.items() if str(k).startswith("ema_model.")}
        if averaged:
            tensors, weights = tensors_of(averaged, path, "ema"), "average (ema)"
        else:
            tensors, weights = tensors_of(content["model"], path, "model"), "last (not averaged)"
    else:
        tensors = tensors_of(content, path)
    if "betas" not in tensors or not any(name.startswith("model.") for name in tensors):
        missing = "betas" if "betas" not in tensors else "model.*"
        raise InputError(
            f"{path}: a tensor is missing: {missing}. Expected a checkpoint of denoising-diffusion-pytorch; a network "
            "without the table of its diffusion can be opened by the loader bare"
        )
    return tensors, weights, step


def _prediction(tensors: Mapping[str, TensorInFile], path: str) -> str:
    """Return the prediction that the weights of the loss belong to.

    With snr clipped at an unknown gamma they are snr / snr for eps, snr for x0, and snr / (snr + 1) for v.
    """
    weights = tensors.get("loss_weight")
    if weights is not None:
        snr = (1 - tensors["betas"].load().double()).cumprod(0)
        snr = snr / (1 - snr)
        for prediction, factor in (("eps", snr), ("x0", torch.ones_like(snr)), ("v", snr + 1)):
            clipped = weights.load().double() * factor
            if torch.allclose(clipped, snr.clamp(max=float(clipped.max())), rtol=1e-3, atol=0):
                return prediction
    raise InputError(
        f"{path}: the weights of the loss do not determine the prediction of the network: add prediction=eps, "
        "prediction=x0 or prediction=v"
    )


def _shape(size: str, network: Any, path: str) -> tuple[int, int, int]:
    """Return (C, H, W), or raise InputError if the size is missing or the network cannot process it."""
    if not size:
        raise InputError(f"{path} does not contain the size of the images: add it, such as lucidrains:{path},size=64")
    try:
        height, width = PipelineOptions(size=size).latent_size(1, None, network.divisor)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return network.channels, height, width
