"""Inpainting as a guidance, for images of which some pixels are known."""

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
    sde: SDE,
    denoise: Denoiser,
    *,
    mask: str = "",
    image: str = "",
    invert: bool = False,
    noise_std: float = 0.01,
    method: str = "mmps",
) -> Denoiser:
    """Inpainting: guidance to the pixels of `image` at which `mask` is white, as `sdekit restore` does.

    Arguments:
        sde: Process of the denoiser.
        denoise: The denoiser.
        mask: Image or .npy file of the size of a sample, white (1) at known pixels. If the transparency of the image
            varies, its opaque pixels are known.
        image: Image file, in which black is -1 and white is 1 in the model's units, or a .npy file in the model's
            units.
        invert: Whether the other pixels of the mask are known instead.
        noise_std: Standard deviation of the noise in the known pixels, in the model's units.
        method: Name of a registered restorer that is a guidance.
    Returns:
        The guided denoiser.
    Raises:
        InputError: If `mask` or `image` is missing; when called, if a file has another size than a sample.
    """
    if not mask or not image:
        raise InputError("inpaint: say what is known: inpaint:mask=FILE,image=FILE")
    by_shape: dict[tuple[int, ...], Denoiser] = {}

    def guided(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        shape = tuple(x.shape[1:])
        if shape not in by_shape:
            written = tuple(path.stat().st_mtime_ns for path in map(Path, (mask, image)) if path.exists())
            by_shape[shape] = _guidance(mask, image, invert, noise_std, method, shape, written)(sde, denoise)
        return evaluate_denoiser(by_shape[shape], x, t, y)

    return guided


@lru_cache(maxsize=4)  # the guidance is applied anew for each batch
def _guidance(
    mask: str,
    image: str,
    invert: bool,
    noise_std: float,
    method: str,
    shape: tuple[int, ...],
    written: tuple[int, ...],
) -> Guidance:
    """Build the restorer for samples (*shape); `written` has the files' times, so that changed files are read again."""
    numbers = read_array(image, "image")
    known = torch.from_numpy(np.asarray(numbers if image.endswith(".npy") else numbers / 127.5 - 1))
    problem = Problem(Mask(read_mask(mask, shape, invert=invert)), _fitted(known, shape, image), noise_std)
    guidance = build_restorer(method, problem)
    if isinstance(guidance, Sampler):
        raise InputError(f"inpaint: {method} is a sampler, not a guidance: use it with sdekit restore")
    return guidance


def _fitted(known: Tensor, shape: tuple[int, ...], image: str) -> Tensor:
    """Return the image as a sample (*shape), with channels first; a grey image is repeated for each channel."""
    sample = known
    if len(shape) == 3 and tuple(known.shape) != shape:
        sample = known.movedim(-1, 0) if known.ndim == 3 else known[None]
        sample = sample.expand(shape) if tuple(sample.shape) == (1, *shape[1:]) else sample
    if tuple(sample.shape) != shape:
        raise InputError(
            f"image {image}: has shape {tuple(known.shape)}; it must be as large as a sample, {shape}: "
            "crop or resize it before"
        )
    return sample
