"""Inpainting as a guidance: some pixels of an image are known."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdekit.errors import InputError
from sdekit.guidance import Guidance
from sdekit.inverse import Problem, build_restorer
from sdekit.inverse.operators import Mask, read_array, read_mask
from sdekit.processes import SDE, Denoiser, evaluate_denoiser
from sdekit.sampling import Sampler


def inpaint(
    sde: SDE, denoise: Denoiser, *, mask: str = "", image: str = "", noise_std: float = 0.01, method: str = "mmps"
) -> Denoiser:
    """The denoiser given the pixels of `image` that `mask` keeps: `sdekit restore` in the form of a guidance.

    mask: an image or .npy file of the sample's size, white (1) where the image is known. image: an image file, whose
    black and white are -1 and 1 to the model, or a .npy file in the model's units. noise_std: of the known pixels, in
    these units. method: a registered restorer that is a guidance. Raises InputError for a file of another size.
    """
    if not mask or not image:
        raise InputError("inpaint: say what is known: inpaint:mask=FILE,image=FILE")
    made: dict[tuple[int, ...], Denoiser] = {}

    def conditional(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        shape = tuple(x.shape[1:])
        if shape not in made:
            written = tuple(path.stat().st_mtime_ns for path in map(Path, (mask, image)) if path.exists())
            made[shape] = _guidance(mask, image, noise_std, method, shape, written)(sde, denoise)
        return evaluate_denoiser(made[shape], x, t, y)

    return conditional


@lru_cache(maxsize=4)  # every batch asks for it
def _guidance(
    mask: str, image: str, noise_std: float, method: str, shape: tuple[int, ...], written: tuple[int, ...]
) -> Guidance:
    """The restorer for samples (*shape). written: when the files were, so that changed ones are read anew."""
    numbers = read_array(image, "image")
    known = torch.from_numpy(np.asarray(numbers if image.endswith(".npy") else numbers / 127.5 - 1))
    problem = Problem(Mask(read_mask(mask, shape)), _fitted(known, shape, image), noise_std)
    guidance = build_restorer(method, problem)
    if isinstance(guidance, Sampler):
        raise InputError(f"inpaint: {method} is a sampler and no guidance: use it by sdekit restore")
    return guidance


def _fitted(known: Tensor, shape: tuple[int, ...], image: str) -> Tensor:
    """The image as a sample (*shape): channels first, a grey one for each channel."""
    found = known
    if len(shape) == 3 and tuple(known.shape) != shape:
        found = known.movedim(-1, 0) if known.ndim == 3 else known[None]
        found = found.expand(shape) if tuple(found.shape) == (1, *shape[1:]) else found
    if tuple(found.shape) != shape:
        raise InputError(f"image {image}: has shape {tuple(known.shape)}; it must be as large as a sample, {shape}")
    return found
