"""Pictures by kind: each kind has its files, and every layout of the same items gives the same picture."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sdekit.data import Column, Units
from sdekit.plotting import comparison, lines, pictured_items, sample_pictures, slices
from sdekit.runs.results import FILES

SHAPES = {"vector": (2,), "sequence": (2, 30), "image": (1, 8, 8), "volume": (1, 4, 8, 6)}
FIRST = {"vector": "scatter.png", "sequence": "lines.png", "image": "grid.png", "volume": "slices.png"}


@pytest.mark.parametrize("kind", SHAPES)
def test_each_kind_has_a_picture(kind: str) -> None:
    """The first picture is the one to look at, results may contain its file, and a comparison is a picture too."""
    data = np.random.default_rng(0).normal(size=(3, *SHAPES[kind])).astype(np.float32)
    pictures = sample_pictures(data, kind=kind, units=Units(), captions=["$a", "_b", "c"])
    assert next(iter(pictures)) == FIRST[kind] and set(pictures) <= set(FILES)
    assert pictured_items(kind, SHAPES[kind]) > 0
    for content in (*pictures.values(), comparison(data, data + 1, kind=kind, units=Units())):
        assert Image.open(BytesIO(content)).format == "PNG"


def test_vectors_of_other_sizes_have_no_picture() -> None:
    """Only points in the plane are drawn."""
    assert pictured_items("vector", (5,)) == 0
    assert pictured_items("vector", (5,), [Column(name="a"), Column(name="b")]) == 1024
    assert not [
        name for name in sample_pictures(np.zeros((4, 5)), kind="vector", units=Units()) if name == "scatter.png"
    ]


def test_layouts_of_sequences_give_one_picture() -> None:
    """Channels last, and no axis of channels, are drawn as channels first."""
    data = np.random.default_rng(0).normal(size=(2, 1, 20))
    drawn = [
        sample_pictures(values, kind="sequence", units=Units(layout=layout))["lines.png"]
        for layout, values in (("same", data), ("l", data[:, 0]), ("lc", np.moveaxis(data, 1, -1)))
    ]
    assert drawn[0] == drawn[1] == drawn[2]


def test_long_sequences_keep_their_extremes() -> None:
    """A spike of one value among a million is visible."""
    data = np.zeros((1, 1, 1_000_000), np.float32)
    flat = lines(data, limits=(-1, 2))
    data[0, 0, 123_457] = 1.5
    assert lines(data, limits=(-1, 2)) != flat


def test_slices_are_the_three_middle_planes() -> None:
    """A volume becomes a row of its planes at D // 2, H // 2 and W // 2, padded to one size."""
    volume = np.random.default_rng(0).integers(1, 255, (1, 64, 64, 64, 1)).astype(np.uint8)
    grid = np.asarray(slices(volume))
    planes = (volume[0, 32, :, :, 0], volume[0, :, 32, :, 0], volume[0, :, :, 32, 0])
    for i, plane in enumerate(planes):
        assert np.array_equal(grid[2:66, 2 + 66 * i : 66 + 66 * i], plane)
    assert slices(np.zeros((1, 2, 64, 3, 1), np.uint8)).size == (3 * 66 + 2, 68)
