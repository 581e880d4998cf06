"""Masks and arrays from files: transparency, depth and missing numbers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdekit.errors import InputError
from sdekit.inverse.operators import (
    Grayscale,
    Mask,
    leave_out_holes,
    measurement_from_array,
    read_array,
    read_mask,
)
from sdekit.inverse.operators.pixels import mask as mask_operator

KEEP = np.zeros((4, 6), bool)
KEEP[:, :2] = True
SHAPE = (1, 4, 6)


def picture(file: Path, colours: np.ndarray | int, alpha: np.ndarray | None, mode: str = "RGBA") -> Path:
    """Save an image with these grey values and this opacity."""
    grey = np.broadcast_to(np.asarray(colours, np.uint8), KEEP.shape)
    rgba = np.stack([grey, grey, grey, np.full(KEEP.shape, 255, np.uint8) if alpha is None else alpha], -1)
    Image.fromarray(np.ascontiguousarray(rgba)).convert(mode).save(file)
    return file


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
@pytest.mark.parametrize("colour", [0, 255, 90])
def test_transparency_is_the_mask(tmp_path: Path, mode: str, colour: int) -> None:
    """Opaque pixels are measured and transparent pixels are holes, also if all colours are black."""
    file = picture(tmp_path / "m.png" if mode != "PA" else tmp_path / "m.webp", colour, KEEP * np.uint8(255), "RGBA")
    if mode == "LA":
        picture(file, colour, KEEP * np.uint8(255), mode)
    assert (read_mask(file, SHAPE)[0].numpy() == KEEP).all()
    assert (read_mask(file, (3, 4, 6), invert=True)[2].numpy() != KEEP).all()


def test_photographs_with_holes_are_masks(tmp_path: Path) -> None:
    """The colours of a photograph do not matter if it has transparent pixels."""
    colours = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    assert (read_mask(picture(tmp_path / "m.png", colours, KEEP * np.uint8(255)), SHAPE)[0].numpy() == KEEP).all()


def test_constant_transparency_is_not_the_mask(tmp_path: Path) -> None:
    """If every pixel is opaque, white pixels are measured; a mask of both kinds is refused."""
    black_and_white = KEEP * np.uint8(255)
    assert (read_mask(picture(tmp_path / "m.png", black_and_white, None), SHAPE)[0].numpy() == KEEP).all()
    alpha = np.full(KEEP.shape, 255, np.uint8)
    alpha[0] = 0
    with pytest.raises(InputError, match="transparency and its black and white pixels may both be the mask"):
        read_mask(picture(tmp_path / "m.png", black_and_white, alpha), SHAPE)


def test_invert(tmp_path: Path) -> None:
    """invert=true measures the other pixels, and the description names the measured ones."""
    np.save(tmp_path / "m.npy", KEEP)
    file = str(tmp_path / "m.npy")
    operator = mask_operator(SHAPE, mask=file, invert=True)
    assert (operator.keep[0].numpy() != KEEP).all() and operator.description == f"the black pixels of {file}"
    assert mask_operator(SHAPE, mask=file).count == 8
    with pytest.raises(InputError, match="invert needs a mask"):
        mask_operator(SHAPE, invert=True)
    np.save(tmp_path / "m.npy", np.ones((4, 6)))
    with pytest.raises(InputError, match="with invert, nothing is measured"):
        read_mask(file, SHAPE, invert=True)


def test_holes_of_a_measurement(tmp_path: Path) -> None:
    """NaN and transparent pixels of a measurement are not measured."""
    transparent = read_array(picture(tmp_path / "y.png", 70, KEEP * np.uint8(255)), "y", holes=True)
    np.save(tmp_path / "y.npy", np.where(KEEP, 70.0, np.nan))
    for array in (transparent[..., :1], read_array(tmp_path / "y.npy", "y", holes=True)):
        whole = mask_operator(SHAPE)
        operator = leave_out_holes(whole, array, only_holes=True, label="y")
        assert isinstance(operator, Mask) and (operator.keep[0].numpy() == KEEP).all()
        assert (measurement_from_array(array, operator, "y")[0].numpy() == 70 * KEEP).all()
        both = leave_out_holes(whole, array, only_holes=False, label="y")
        assert isinstance(both, Mask) and torch.equal(both.keep, whole.keep * operator.keep)
    with pytest.raises(InputError, match="16 of 24 numbers are missing.*use --operator mask"):
        leave_out_holes(Grayscale((3, 4, 6)), array, only_holes=True, label="y")
    nothing = Mask(torch.from_numpy(~KEEP)[None])
    with pytest.raises(InputError, match="every number that the mask measures is missing"):
        leave_out_holes(nothing, array, only_holes=False, label="y")
    with pytest.raises(InputError, match="not finite"):
        read_array(tmp_path / "y.npy", "y")


def test_sixteen_bits(tmp_path: Path) -> None:
    """16 bits are not rounded: scaled to 0..255, or the numbers of the file."""
    numbers = np.arange(24, dtype=np.uint16).reshape(4, 6) * 40
    Image.fromarray(numbers).save(tmp_path / "y.png")
    assert np.allclose(read_array(tmp_path / "y.png", "y"), numbers / 257)
    assert (read_array(tmp_path / "y.png", "y", scale=False) == numbers).all()
    Image.fromarray((KEEP * 800).astype(np.uint16)).save(tmp_path / "m.tif")
    assert (read_mask(tmp_path / "m.tif", SHAPE)[0].numpy() == KEEP).all()


def test_special_files(tmp_path: Path) -> None:
    """Pipes, devices and folders are refused before they are opened."""
    os.mkfifo(tmp_path / "m.png")
    for path in (tmp_path / "m.png", "/dev/zero", tmp_path):
        with pytest.raises(InputError, match=r"expected an array \(.npy\) or an image"):
            read_mask(path, SHAPE)
