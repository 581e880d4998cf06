"""Features of a network in a file that the user names: weights of a known architecture, or an exported program."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.evaluation import Extractor
from sdekit.registry import unknown_name

INCEPTION_FEATURES = 2048
"""Number of features of the Inception network of FID."""


def weights(
    *, path: str = "", sha256: str = "", architecture: str = "resnet18", size: int = 224, device: str = "cpu"
) -> Extractor:
    """Features of weights in a safetensors file, of a residual network of torchvision or timm.

    Arguments:
        path: The file.
        sha256: Checksum of the file, which is recorded; empty to accept any file.
        architecture: resnet18, resnet34, resnet50 or resnet101.
        size: Height and width to which images are resized.
        device: Device of the network.
    Returns:
        The extractor. Its name contains architecture and file.
    Raises:
        InputError: If the file is missing, has another checksum, or does not fit the architecture.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    from .residual_network import STAGES, ResidualNetwork

    if architecture not in STAGES:
        raise InputError(unknown_name("architecture", architecture, list(STAGES), "Known"))
    file, content, digest = _checked("weights", path, sha256)
    try:
        tensors = {name: tensor for name, tensor in load(content).items() if not name.startswith("fc.")}
    except SafetensorError as error:
        raise InputError(f"features weights: {file} is not a safetensors file ({error})") from error
    network = ResidualNetwork(architecture)
    try:
        found = network.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise InputError(f"features weights: {file} does not fit {architecture} ({error})") from error
    missing = [name for name in (*found.missing_keys, *found.unexpected_keys) if "num_batches_tracked" not in name]
    if missing:
        names = ", ".join(missing[:3])
        raise InputError(f"features weights: {file} does not fit {architecture}: {len(missing)} names differ ({names})")
    network = network.to(device).eval().requires_grad_(False)

    def extract(x: Tensor) -> Tensor:
        features: Tensor = network(x.to(device))
        return features

    return Extractor(
        name=f"{architecture} {file.name}",
        extract=extract,
        range=(0.0, 1.0),
        channels=3,
        size=(size, size),
        record={"file": str(file), "sha256": digest, "architecture": architecture},
    )


def program(
    *,
    path: str = "",
    sha256: str = "",
    size: int = 0,
    channels: int = 3,
    low: float = 0.0,
    high: float = 1.0,
    inception: bool = False,
    device: str = "cpu",
    trust: bool = False,
) -> Extractor:
    """Features of a program of torch.export that maps images to (B, d). Needs --trust.

    Arguments:
        path: File of `torch.export.save`, whose batch dimension is dynamic.
        sha256: Checksum of the file, which is recorded; empty to accept any file.
        size: Height and width to which images are resized; 0 to leave their size.
        channels: Number of channels; grey images are repeated.
        low: Smallest pixel that the program expects.
        high: Largest pixel that the program expects.
        inception: Whether the program computes the 2048 features of the Inception network of FID. Only then are
            the distances called FID and KID.
        device: Device of the program.
        trust: Whether the file, which may contain code, may be opened.
    Returns:
        The extractor. Its name is that of the file.
    Raises:
        InputError: If the file is missing, has another checksum, is no program, or is not trusted.
    """
    from io import BytesIO

    file, content, digest = _checked("program", path, sha256)
    if not trust:
        raise InputError(f"features program: {file} may contain code that is executed: add --trust if you trust it")
    try:
        module: Any = torch.export.load(BytesIO(content)).module().to(device)
    except Exception as error:
        raise InputError(f"features program: {file} is no program of torch.export ({type(error).__name__})") from error

    def extract(x: Tensor) -> Tensor:
        features = module(x.to(device))
        if inception and (not isinstance(features, Tensor) or features.shape[-1] != INCEPTION_FEATURES):
            raise InputError(f"features program: {file} does not return {INCEPTION_FEATURES} features of Inception")
        result: Tensor = features
        return result

    return Extractor(
        name=file.name,
        extract=extract,
        range=(low, high),
        channels=channels,
        size=(size, size) if size else None,
        inception=inception,
        record={"file": str(file), "sha256": digest},
    )


def _checked(name: str, path: str, expected: str) -> tuple[Path, bytes, str]:
    """Read a file and its checksum. Raises InputError if it is missing or has another checksum."""
    if not path:
        raise InputError(f"features {name}: name a file: --features {name}:path=FILE,sha256=CHECKSUM")
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"features {name}: {file} does not exist")
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if expected and not digest.startswith(expected.lower()):
        raise InputError(f"features {name}: {file} has the checksum {digest}, expected {expected}")
    return file, content, digest
